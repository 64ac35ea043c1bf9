/* The free lists as Linux keeps them: a list_head inside a page descriptor of 64 bytes. */
#include "buddy.h"

enum { BUDDY = 0x80 };

struct list_head {
  struct list_head *next, *prev;
};

struct page {
  uint64_t flags;
  struct list_head lru;
  void *mapping;
  uint64_t private; /* the order of a free block */
  uint32_t page_type;
  int32_t refcount;
  uint64_t unused[2];
};
_Static_assert(sizeof(struct page) == 64, "a page descriptor has 64 bytes");

static struct page *mem_map;
static struct list_head lists[ORDERS][TYPES];
static uint64_t nr_free[ORDERS];

static void lists_open(uint32_t pages) {
  mem_map = (struct page *)huge_memory((size_t)pages * sizeof(struct page));
  for (int order = 0; order < ORDERS; order++) {
    for (int type = 0; type < TYPES; type++) lists[order][type].next = lists[order][type].prev = &lists[order][type];
  }
}

static inline struct page *page_of(struct list_head *entry) {
  return (struct page *)((char *)entry - offsetof(struct page, lru));
}

static inline void link_between(struct list_head *entry, struct list_head *before, struct list_head *after) {
  after->prev = entry;
  entry->next = after;
  entry->prev = before;
  before->next = entry;
}

static void list_push(uint32_t pfn, int order, int type, int tail) {
  struct page *page = &mem_map[pfn];
  struct list_head *head = &lists[order][type];
  page->private = (uint64_t)order;
  page->page_type = BUDDY;
  if (tail) link_between(&page->lru, head->prev, head);
  else link_between(&page->lru, head, head->next);
  nr_free[order]++;
}

static void list_remove(uint32_t pfn, int order, int type) {
  (void)type;
  struct page *page = &mem_map[pfn];
  page->lru.next->prev = page->lru.prev;
  page->lru.prev->next = page->lru.next;
  page->page_type = 0;
  page->private = 0;
  nr_free[order]--;
}

static int64_t pfn_or_end(struct list_head *entry, int order, int type) {
  return entry == &lists[order][type] ? -1 : page_of(entry) - mem_map;
}

static int64_t list_first(int order, int type) { return pfn_or_end(lists[order][type].next, order, type); }

static int64_t list_next(uint32_t pfn, int order, int type) {
  return pfn_or_end(mem_map[pfn].lru.next, order, type);
}

static int free_order_is(uint32_t pfn, int order) {
  struct page *page = &mem_map[pfn];
  return page->page_type == BUDDY && page->private == (uint64_t)order;
}
