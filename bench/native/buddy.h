/* The rules of the buddy allocator of Linux 6.1 (mm/page_alloc.c), over the lists of whoever includes this file:
 * lists_open, list_push, list_remove, list_first, list_next and free_order_is. */
#ifndef HINTSIM_BENCH_BUDDY_H
#define HINTSIM_BENCH_BUDDY_H

#include "common.h"

#include <sys/mman.h>

enum { ORDERS = 11, ORDER_MAX = 10, TYPES = 5, PAGEBLOCK_ORDER = 9, MOVABLE = 1, RECLAIMABLE = 2 };

static uint32_t zone_pages;
static uint32_t free_pages;
static uint8_t *pageblock_types;

static void lists_open(uint32_t pages);
static void list_push(uint32_t pfn, int order, int type, int tail);
static void list_remove(uint32_t pfn, int order, int type);
static int64_t list_first(int order, int type);
static int64_t list_next(uint32_t pfn, int order, int type);
static int free_order_is(uint32_t pfn, int order);

/* Zeroed memory in huge pages where the kernel grants them. */
static void *huge_memory(size_t bytes) {
  const size_t huge = 2u << 20;
  size_t size = (bytes + huge - 1) / huge * huge;
  char *memory = (char *)mmap(NULL, size + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    perror("mmap");
    exit(2);
  }
  memory += (huge - (uintptr_t)memory % huge) % huge;
  madvise(memory, size, MADV_HUGEPAGE);
  return memory;
}

static void insert(uint32_t pfn, int order, int type, int tail) {
  list_push(pfn, order, type, tail);
  free_pages += 1u << order;
}

/* All pages free, movable and in blocks of the highest order, ascending. */
static void zone_open(uint32_t pages) {
  zone_pages = pages;
  free_pages = 0;
  pageblock_types = (uint8_t *)malloc(pages >> PAGEBLOCK_ORDER);
  memset(pageblock_types, MOVABLE, pages >> PAGEBLOCK_ORDER);
  lists_open(pages);
  for (uint32_t pfn = 0; pfn < pages; pfn += 1u << ORDER_MAX) insert(pfn, ORDER_MAX, MOVABLE, 1);
}

/* __rmqueue_smallest and expand. */
static int64_t zone_alloc(int order, int type) {
  for (int current = order; current < ORDERS; current++) {
    int64_t pfn = list_first(current, type);
    if (pfn < 0) continue;
    list_remove((uint32_t)pfn, current, type);
    free_pages -= 1u << current;
    while (current > order) {
      current--;
      insert((uint32_t)pfn + (1u << current), current, type, 0);
    }
    return pfn;
  }
  return -1;
}

static inline int is_free(uint32_t pfn, int order) { return pfn < zone_pages && free_order_is(pfn, order); }

/* __free_one_page with buddy_merge_likely. */
static void zone_free(uint32_t pfn, int order, int type) {
  while (order < ORDER_MAX) {
    uint32_t buddy = pfn ^ (1u << order);
    if (!is_free(buddy, order)) break;
    if (order >= PAGEBLOCK_ORDER) {
      int a = pageblock_types[pfn >> PAGEBLOCK_ORDER], b = pageblock_types[buddy >> PAGEBLOCK_ORDER];
      if (a != b && (a > RECLAIMABLE || b > RECLAIMABLE)) break;
    }
    list_remove(buddy, order, type);
    free_pages -= 1u << order;
    pfn &= buddy;
    order++;
  }
  int tail = 0;
  if (order < PAGEBLOCK_ORDER) {
    uint32_t combined = pfn & ~(1u << order);
    tail = is_free(combined ^ (1u << (order + 1)), order + 1);
  }
  insert(pfn, order, type, tail);
}

/* Visits every free block in order; returns the checksum and counts the blocks. */
static uint32_t zone_walk(uint64_t *blocks) {
  uint32_t checksum = 0;
  for (int order = 0; order < ORDERS; order++) {
    for (int type = 0; type < TYPES; type++) {
      for (int64_t pfn = list_first(order, type); pfn >= 0; pfn = list_next((uint32_t)pfn, order, type)) {
        checksum = mix(checksum, (uint32_t)pfn);
        ++*blocks;
      }
      checksum = mix(checksum, (uint32_t)(order * TYPES + type));
    }
  }
  return checksum;
}

/* The run, the same as in bench/programs/alloc.ts: 2^PAGES_LOG2 pages, OPERATIONS. A bitmap knows what is in use: it stays in
 * the cache, so that the allocator is measured and not the one who asks. */
static struct random_stream random_numbers = {1, 2, 3, 4};
static uint32_t pages_log2;
static uint32_t *used_bits;
static uint32_t used_count;

static void alloc_one(void) {
  uint32_t pfn = (uint32_t)zone_alloc(0, MOVABLE);
  used_bits[pfn >> 5] |= 1u << (pfn & 31);
  used_count++;
}

static int free_if_used(uint32_t pfn) {
  if ((used_bits[pfn >> 5] >> (pfn & 31) & 1) == 0) return 0;
  used_bits[pfn >> 5] &= ~(1u << (pfn & 31));
  used_count--;
  zone_free(pfn, 0, MOVABLE);
  return 1;
}

static void free_one(void) {
  while (!free_if_used(next_uint32(&random_numbers) >> (32 - pages_log2))) continue;
}

/* Frees and allocates in turn, more of the one or of the other: the occupancy goes up and down between 70 and 95 %. */
static void churn(uint64_t operations) {
  enum { BATCH = 64, PAIRS = 24 };
  static int rising;
  const uint32_t low = (uint32_t)((uint64_t)zone_pages * 70 / 100), high = (uint32_t)((uint64_t)zone_pages * 95 / 100);
  for (uint64_t done = 0; done < operations; done += BATCH) {
    if (used_count >= high) rising = 0;
    else if (used_count <= low) rising = 1;
    for (int i = 0; i < PAIRS; i++) {
      free_one();
      alloc_one();
    }
    for (int i = 2 * PAIRS; i < BATCH; i++) {
      if (rising) alloc_one();
      else free_one();
    }
  }
}

/* Frees all pages in an order that a bijection of their numbers makes irregular. */
static void drain(void) {
  for (uint32_t i = 0; i < zone_pages; i++) {
    uint32_t pfn = (i * 0x9e3779b1u) & (zone_pages - 1);
    pfn ^= pfn >> (pages_log2 / 2);
    free_if_used((pfn * 0x85ebca6bu) & (zone_pages - 1));
  }
}

int main(int count, char **values) {
  pages_log2 = (uint32_t)argument(count, values, 1);
  const uint64_t operations = argument(count, values, 2);
  zone_open(1u << pages_log2);
  used_bits = (uint32_t *)calloc(zone_pages / 32, 4);
  while (used_count < (uint64_t)zone_pages * 95 / 100) alloc_one();
  churn(operations / 2);
  double start_ns = cpu_ns();
  churn(operations);
  const double churn_ns = (cpu_ns() - start_ns) / (double)operations;
  uint64_t blocks = 0;
  uint32_t checksum = zone_walk(&blocks);
  blocks = 0;
  start_ns = cpu_ns();
  for (int i = 0; i < 4; i++) checksum = mix(checksum, zone_walk(&blocks));
  const double walk_ns = (cpu_ns() - start_ns) / (double)blocks;
  const uint32_t drained = used_count;
  start_ns = cpu_ns();
  drain();
  const double drain_ns = (cpu_ns() - start_ns) / drained;
  checksum = mix(checksum, zone_walk(&blocks));
  checksum = mix(checksum, free_pages);
  printf("{\"checksum\":\"%u\",\"figures\":{\"churnNs\":%.3f,\"drainNs\":%.3f,\"walkNs\":%.3f}}\n", checksum, churn_ns,
         drain_ns, walk_ns);
  return 0;
}

#endif
