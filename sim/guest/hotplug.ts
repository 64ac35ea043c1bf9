/**
 * Memory hotplug: memory blocks come into Normal or Movable and go again (mm/memory_hotplug.c).
 *
 * The model changes zones and lists at once and tells what it took; the time is the caller's. A memory block is what the kernel
 * puts into use or takes out of use as a whole: one section of 128 MiB, or several on large guests.
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { MOVABLE, ORDER_MAX, PAGEBLOCK_PAGES } from "./allocator.ts";
import type { HotplugParts, HotplugResult, HotplugZone, OnlinePolicy } from "./hotplug_parts.ts";
import { isolateRange, unisolateRange } from "./page_isolation.ts";
import { SECTION_PAGES } from "./section_table.ts";
import type { SparseLists } from "./sparse_lists.ts";

/** Memory can be added from 4 GiB on: below it DMA and DMA32 have their fixed places. */
export const HOTPLUG_START: number = 2 ** 20;
/** QEMU puts added memory after the memory of the boot, at the next multiple of 1 GiB. */
const DEVICE_ALIGN = 2 ** 18;
/** MEM_SIZE_FOR_LARGE_BLOCK, 64 GiB, and MAX_BLOCK_SIZE, 2 GiB, in pages (arch/x86/mm/init_64.c). */
const LARGE_BLOCKS_FROM = 2 ** 24;
const BLOCK_PAGES_MAX = 2 ** 19;
/** Movable pages for every 100 kernel pages of the boot (auto_movable_ratio). */
const AUTO_MOVABLE_RATIO = 301;

/** Pages of a memory block in a guest whose boot memory ends at a page (`probe_memory_block_size` under a hypervisor). */
export function memoryBlockPages(bootEndPfn: number): number {
  if (bootEndPfn < LARGE_BLOCKS_FROM) return SECTION_PAGES;
  let pages = BLOCK_PAGES_MAX;
  while (pages > SECTION_PAGES && bootEndPfn % pages !== 0) pages /= 2;
  return pages;
}

/** The first gap of `count` pages above the memory of the boot; `taken` says of the first page of a memory block. */
export function firstGap(
  bootEndPfn: number,
  blockPages: number,
  count: number,
  taken: (pfn: number) => boolean,
): number {
  const above = Math.max(HOTPLUG_START, Math.ceil(bootEndPfn / DEVICE_ALIGN) * DEVICE_ALIGN);
  let start = Math.ceil(above / blockPages) * blockPages;
  for (let pfn = start; pfn < start + count; pfn += blockPages) {
    if (taken(pfn)) start = pfn + blockPages;
  }
  return start;
}

/** Memory hotplug of one guest. */
export class Hotplug {
  /** Pages of a memory block. */
  readonly blockPages: number;
  readonly #parts: HotplugParts;
  /** First pages of the memory blocks that did not exist at boot. */
  readonly #added = new Set<number>();
  /** Order + 1 of the movable block in use that begins at a page of the memory block at hand, else 0. */
  readonly #orders: Uint8Array;
  /** Whether a pageblock of the memory block at hand has pages that cannot be migrated. */
  readonly #unmovable: Uint8Array;
  #earlyPages: number;
  #costNs = 0;

  /** Hotplug over two zones that have their boot memory already. */
  constructor(parts: HotplugParts) {
    this.#parts = parts;
    this.#earlyPages = parts.earlyPages;
    this.blockPages = memoryBlockPages(parts.bootEndPfn);
    this.#orders = new Uint8Array(this.blockPages);
    this.#unmovable = new Uint8Array(this.blockPages / PAGEBLOCK_PAGES);
  }

  /** The zone that has a page, Normal or Movable; their spans may overlap. */
  zoneOf(pfn: number): HotplugZone | undefined {
    const { normal, movable } = this.#parts;
    if (normal.allocator.has(pfn)) return normal;
    return movable.allocator.has(pfn) ? movable : undefined;
  }

  /** Where QEMU would put `count` more pages: the first gap above the boot memory. */
  placeFor(count: number): number {
    return firstGap(this.#parts.bootEndPfn, this.blockPages, count, (pfn) => this.zoneOf(pfn) !== undefined);
  }

  /**
   * Adds a range of memory blocks and puts them into use. Throws RangeError when the range is not made of memory blocks, lies
   * below 4 GiB or exists in part.
   */
  online(pfn: number, count: number, policy: OnlinePolicy): HotplugResult {
    this.#checkRange(pfn, count);
    for (let page = pfn; page < pfn + count; page += SECTION_PAGES) {
      if (this.zoneOf(page) !== undefined) throw new RangeError(`Memory at page ${page} exists already`);
    }
    this.#costNs = 0;
    const movable = this.#isForMovable(count, policy);
    for (let block = pfn; block < pfn + count; block += this.blockPages) {
      const odd = policy === "alternating" && block % (2 * this.blockPages) !== 0;
      this.#added.add(block);
      this.#onlineBlock(movable || odd ? this.#parts.movable : this.#parts.normal, block);
    }
    return { pages: count, costNs: this.#costNs };
  }

  /**
   * Takes all memory blocks of a range out of use and removes them, or none: when one stays, those before it are put back into
   * use in their zones (`offline_and_remove_memory`). Throws RangeError when the range is not made of memory blocks that exist
   * as a whole in one zone.
   */
  offline(pfn: number, count: number): HotplugResult {
    this.#checkRange(pfn, count);
    const zones: HotplugZone[] = [];
    for (let block = pfn; block < pfn + count; block += this.blockPages) {
      const zone = this.#zoneOfBlock(block);
      if (zone === undefined) throw new RangeError(`No zone has the whole memory block at page ${block}`);
      zones.push(zone);
    }
    this.#costNs = 0;
    const busy = zones.findIndex((zone, n) => !this.#offlineBlock(zone, pfn + n * this.blockPages));
    for (let n = 0; n < busy; n++) this.#onlineBlock(zones[n], pfn + n * this.blockPages);
    if (busy >= 0) return { pages: 0, costNs: this.#costNs };
    for (let block = pfn; block < pfn + count; block += this.blockPages) this.#added.delete(block);
    return { pages: count, costNs: this.#costNs };
  }

  /** Removes memory blocks from the highest address down, passing over those that cannot go, until `pages` pages are gone. */
  remove(pages: number): HotplugResult {
    const { normal, movable } = this.#parts;
    const end = Math.max(...[normal, movable].map(({ allocator }) => allocator.startPfn + allocator.pages));
    this.#costNs = 0;
    let removed = 0;
    let block = Math.floor(end / this.blockPages) * this.blockPages;
    for (; removed < pages && block >= HOTPLUG_START; block -= this.blockPages) {
      const zone = this.#zoneOfBlock(block);
      if (zone === undefined || !this.#offlineBlock(zone, block)) continue;
      this.#added.delete(block);
      removed += this.blockPages;
    }
    return { pages: removed, costNs: this.#costNs };
  }

  #checkRange(pfn: number, count: number): void {
    if (pfn % this.blockPages !== 0 || count % this.blockPages !== 0 || count === 0) {
      throw new RangeError(`${count} pages from ${pfn} on are not made of memory blocks of ${this.blockPages} pages`);
    }
    if (pfn < HOTPLUG_START) throw new RangeError(`Page ${pfn} lies below 4 GiB, where memory cannot come and go`);
  }

  /** Whether all that is added now goes to Movable (`zone_for_pfn_range`, `auto_movable_can_online_movable`). */
  #isForMovable(count: number, policy: OnlinePolicy): boolean {
    if (policy !== "auto") return policy === "movable";
    return this.#parts.movable.presentPages + count <= Math.floor(AUTO_MOVABLE_RATIO * this.#earlyPages / 100);
  }

  /** The zone that has all of a memory block. */
  #zoneOfBlock(block: number): HotplugZone | undefined {
    const zone = this.zoneOf(block);
    if (zone === undefined) return undefined;
    for (let page = block; page < block + this.blockPages; page += SECTION_PAGES) {
      if (!zone.allocator.has(page) || !zone.allocator.has(page + SECTION_PAGES - 1)) return undefined;
    }
    return zone;
  }

  /**
   * `online_pages`. The kernel frees the chunks as isolated, to the tail, and then puts their pageblocks into use, which moves
   * or merges them to the tail again: what is left is all chunks of order 10 behind the movable list, ascending.
   */
  #onlineBlock(zone: HotplugZone, block: number): void {
    const { blockPages } = this;
    const { costs, guest, observer } = this.#parts;
    for (let page = block; page < block + blockPages; page += SECTION_PAGES) {
      zone.allocator.addSection(page / SECTION_PAGES);
    }
    zone.allocator.insertRange(block, blockPages, MOVABLE);
    zone.grow(block, blockPages);
    if (zone === this.#parts.normal && !this.#added.has(block)) this.#earlyPages += blockPages;
    // The memmap is written page by page, the chunks are freed.
    const costNs = Math.round(blockPages * costs.visitNs + blockPages / ORDER_PAGES[ORDER_MAX] * costs.freeNs);
    this.#costNs += costNs;
    observer.onlined(zone.index, block, blockPages, costNs);
    guest.resized();
  }

  /** `offline_pages`; false, with everything free and in use as before or migrated, when a page stays (EBUSY). */
  #offlineBlock(zone: HotplugZone, block: number): boolean {
    const { blockPages } = this;
    const { costs, guest, observer } = this.#parts;
    const { allocator } = zone;
    guest.drain(zone.index);
    this.#noteUsed(zone, block);
    const splits = this.#parts.splitsLargeBlocks;
    let costNs = blockPages * costs.visitNs;
    let busyPfn = isolateRange(allocator, block, blockPages, splits, (pageblock) => {
      return this.#unmovable[(pageblock - block) / PAGEBLOCK_PAGES] === 0;
    });
    if (busyPfn < 0) {
      const migrated = this.#migrate(block);
      costNs += migrated.costNs;
      busyPfn = migrated.busyPfn < 0 ? firstBusy(allocator, block, blockPages) : migrated.busyPfn;
      if (busyPfn >= 0) unisolateRange(allocator, block, blockPages, splits);
    }
    if (busyPfn < 0) costNs += removeFree(allocator, block, blockPages) * costs.isolateNs;
    costNs = Math.round(costNs);
    this.#costNs += costNs;
    if (busyPfn >= 0) {
      observer.offlineFailed(zone.index, block, blockPages, busyPfn, costNs);
      return false;
    }
    for (let page = block; page < block + blockPages; page += SECTION_PAGES) {
      allocator.removeSection(page / SECTION_PAGES);
    }
    zone.shrink(block, blockPages);
    if (zone === this.#parts.normal && !this.#added.has(block)) this.#earlyPages -= blockPages;
    observer.offlined(zone.index, block, blockPages, costNs);
    guest.resized();
    return true;
  }

  /** Notes where movable blocks of the memory block begin, and which pageblocks have others (`has_unmovable_pages`). */
  #noteUsed(zone: HotplugZone, block: number): void {
    this.#orders.fill(0);
    this.#unmovable.fill(0);
    this.#parts.guest.forEachUsed(block, this.blockPages, (pfn, order, movable) => {
      const page = pfn - block;
      if (movable) this.#orders[page] = order + 1;
      // In Movable the kernel takes everything for movable until it tries.
      if (movable || zone === this.#parts.movable) return;
      for (let part = page; part < page + ORDER_PAGES[order]; part += PAGEBLOCK_PAGES) {
        this.#unmovable[Math.floor(part / PAGEBLOCK_PAGES)] = 1;
      }
    });
  }

  /** Migrates what was noted, ascending, up to the first block for which there is no place (`do_migrate_range`). */
  #migrate(block: number): { costNs: number; busyPfn: number } {
    let costNs = 0;
    for (let page = 0; page < this.blockPages; page++) {
      const order = this.#orders[page] - 1;
      if (order < 0) continue;
      const ns = this.#parts.guest.migrate(block + page, order);
      if (ns < 0) return { costNs, busyPfn: block + page };
      costNs += ns;
    }
    return { costNs, busyPfn: -1 };
  }
}

/** The first page of a range that is not free, or -1 (`test_pages_isolated`). */
function firstBusy(lists: SparseLists, pfn: number, count: number): number {
  for (let page = pfn; page < pfn + count;) {
    const order = lists.orderAt(page);
    if (order < 0) return page;
    page += ORDER_PAGES[order];
  }
  return -1;
}

/** Takes the free blocks of a range off their lists; returns how many (`__offline_isolated_pages`). */
function removeFree(lists: SparseLists, pfn: number, count: number): number {
  let blocks = 0;
  for (let page = pfn; page < pfn + count; blocks++) {
    const order = lists.orderAt(page);
    lists.remove(page, order);
    page += ORDER_PAGES[order];
  }
  return blocks;
}
