/* The free lists in the layout of the simulator: one 32-bit word per pair of pages (4 bits of state, 28 bits of position in an
 * arena), every list a deque of chunks of 1024 entries with tombstones, heads of order 9 and 10 beside, per pageblock. */
#include "buddy.h"

enum { CHUNK = 1024, SPARSE = CHUNK / 2, DEAD = -1, NOTHING = -1 };

/* States: 0 none, 1 the even page is a block of order 0, 2 the odd page, order + 2 for a block of order 1 to 8. */
static uint32_t *words;
static int32_t *entries;

struct chunk {
  int32_t next, prev;
  uint16_t begin, end, live, unused; /* the entries at begin and end - 1 are live */
};
static struct chunk *chunks;
static int32_t chunks_used, chunk_free = NOTHING;

struct list {
  int32_t first, last;
};
static struct list lists[PAGEBLOCK_ORDER * TYPES];
static uint64_t nr_free[ORDERS];

/* Rings of pageblocks; the sentinels of the lists follow the pageblocks. */
static int32_t *block_next, *block_prev;
static uint8_t *block_order;
static uint32_t blocks;

static void lists_open(uint32_t pages) {
  words = (uint32_t *)huge_memory((size_t)pages / 2 * 4);
  entries = (int32_t *)huge_memory((size_t)pages * 4);
  chunks = (struct chunk *)huge_memory(((size_t)pages / CHUNK + 64) * sizeof(struct chunk));
  for (int i = 0; i < PAGEBLOCK_ORDER * TYPES; i++) lists[i].first = lists[i].last = NOTHING;
  blocks = pages >> PAGEBLOCK_ORDER;
  block_next = (int32_t *)malloc((blocks + 2 * TYPES) * 4);
  block_prev = (int32_t *)malloc((blocks + 2 * TYPES) * 4);
  block_order = (uint8_t *)calloc(blocks, 1);
  for (uint32_t i = blocks; i < blocks + 2 * TYPES; i++) block_next[i] = block_prev[i] = (int32_t)i;
}

static inline int32_t sentinel(int order, int type) { return (int32_t)(blocks + (order - PAGEBLOCK_ORDER) * TYPES + type); }

static inline uint32_t state_of(uint32_t pfn, int order) { return order == 0 ? 1 + (pfn & 1) : (uint32_t)order + 2; }

static int32_t take_chunk(uint16_t at) {
  int32_t index = chunk_free;
  if (index == NOTHING) index = chunks_used++;
  else chunk_free = chunks[index].next;
  chunks[index] = (struct chunk){NOTHING, NOTHING, at, at, 0, 0};
  return index;
}

static void drop_chunk(struct list *list, int32_t index) {
  struct chunk *chunk = &chunks[index];
  if (chunk->prev == NOTHING) list->first = chunk->next;
  else chunks[chunk->prev].next = chunk->next;
  if (chunk->next == NOTHING) list->last = chunk->prev;
  else chunks[chunk->next].prev = chunk->prev;
  chunk->next = chunk_free;
  chunk_free = index;
}

static void push_block(uint32_t block, int order, int type, int tail) {
  int32_t head = sentinel(order, type);
  int32_t before = tail ? block_prev[head] : head, after = block_next[before];
  block_next[before] = block_prev[after] = (int32_t)block;
  block_prev[block] = before;
  block_next[block] = after;
  block_order[block] = (uint8_t)order;
}

static void list_push(uint32_t pfn, int order, int type, int tail) {
  nr_free[order]++;
  if (order >= PAGEBLOCK_ORDER) {
    push_block(pfn >> PAGEBLOCK_ORDER, order, type, tail);
    return;
  }
  struct list *list = &lists[order * TYPES + type];
  int32_t index = tail ? list->last : list->first;
  if (index == NOTHING || (tail ? chunks[index].end == CHUNK : chunks[index].begin == 0)) {
    int32_t fresh = take_chunk(tail ? 0 : CHUNK);
    if (index == NOTHING) list->first = list->last = fresh;
    else if (tail) {
      chunks[index].next = fresh;
      chunks[fresh].prev = index;
      list->last = fresh;
    } else {
      chunks[index].prev = fresh;
      chunks[fresh].next = index;
      list->first = fresh;
    }
    index = fresh;
  }
  struct chunk *chunk = &chunks[index];
  uint32_t position = (uint32_t)index * CHUNK + (tail ? chunk->end++ : --chunk->begin);
  chunk->live++;
  entries[position] = (int32_t)pfn;
  words[pfn >> 1] = position << 4 | state_of(pfn, order);
}

/* Moves the live entries of a chunk and of its successor into the front of the first. */
static void merge_chunks(struct list *list, int32_t index) {
  int32_t from[2] = {index, chunks[index].next};
  int32_t kept[CHUNK];
  uint16_t live = 0;
  for (int i = 0; i < 2; i++) {
    for (uint16_t at = chunks[from[i]].begin; at < chunks[from[i]].end; at++) {
      int32_t pfn = entries[from[i] * CHUNK + at];
      if (pfn != DEAD) kept[live++] = pfn;
    }
  }
  for (uint16_t at = 0; at < live; at++) {
    uint32_t *word = &words[(uint32_t)kept[at] >> 1];
    entries[index * CHUNK + at] = kept[at];
    *word = ((uint32_t)index * CHUNK + at) << 4 | (*word & 15);
  }
  chunks[index].begin = 0;
  chunks[index].end = chunks[index].live = live;
  drop_chunk(list, from[1]);
}

static void list_remove(uint32_t pfn, int order, int type) {
  nr_free[order]--;
  if (order >= PAGEBLOCK_ORDER) {
    uint32_t block = pfn >> PAGEBLOCK_ORDER;
    block_next[block_prev[block]] = block_next[block];
    block_prev[block_next[block]] = block_prev[block];
    block_order[block] = 0;
    return;
  }
  struct list *list = &lists[order * TYPES + type];
  uint32_t position = words[pfn >> 1] >> 4;
  int32_t index = (int32_t)(position / CHUNK);
  struct chunk *chunk = &chunks[index];
  words[pfn >> 1] = 0;
  entries[position] = DEAD;
  if (--chunk->live == 0) {
    drop_chunk(list, index);
    return;
  }
  while (entries[index * CHUNK + chunk->begin] == DEAD) chunk->begin++;
  while (entries[index * CHUNK + chunk->end - 1] == DEAD) chunk->end--;
  if (chunk->live > SPARSE) return;
  if (chunk->next != NOTHING && chunk->live + chunks[chunk->next].live <= SPARSE) merge_chunks(list, index);
  else if (chunk->prev != NOTHING && chunk->live + chunks[chunk->prev].live <= SPARSE) merge_chunks(list, chunk->prev);
}

static int64_t list_first(int order, int type) {
  if (order < PAGEBLOCK_ORDER) {
    int32_t index = lists[order * TYPES + type].first;
    return index == NOTHING ? -1 : entries[index * CHUNK + chunks[index].begin];
  }
  int32_t block = block_next[sentinel(order, type)];
  return block >= (int32_t)blocks ? -1 : (int64_t)block << PAGEBLOCK_ORDER;
}

/* Where the walk stands: the successor of its last page is found without reading the word of that page. */
static uint32_t walk_position;
static int64_t walk_pfn = NOTHING;

static int64_t walk_to(uint32_t position) {
  walk_position = position;
  walk_pfn = entries[position];
  return walk_pfn;
}

static int64_t list_next(uint32_t pfn, int order, int type) {
  (void)type;
  if (order >= PAGEBLOCK_ORDER) {
    int32_t block = block_next[pfn >> PAGEBLOCK_ORDER];
    return block >= (int32_t)blocks ? -1 : (int64_t)block << PAGEBLOCK_ORDER;
  }
  const int known = walk_pfn == (int64_t)pfn && entries[walk_position] == (int32_t)pfn;
  uint32_t position = known ? walk_position : words[pfn >> 1] >> 4;
  int32_t index = (int32_t)(position / CHUNK);
  const struct chunk *chunk = &chunks[index];
  for (position++; position < (uint32_t)index * CHUNK + chunk->end; position++) {
    if (entries[position] != DEAD) return walk_to(position);
  }
  index = chunk->next;
  return index == NOTHING ? -1 : walk_to((uint32_t)index * CHUNK + chunks[index].begin);
}

static int free_order_is(uint32_t pfn, int order) {
  if (order >= PAGEBLOCK_ORDER) return block_order[pfn >> PAGEBLOCK_ORDER] == order;
  return (words[pfn >> 1] & 15) == state_of(pfn, order);
}
