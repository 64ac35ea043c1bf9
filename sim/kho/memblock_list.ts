/**
 * Plain reservations: memblock's own sorted array, kept in the running kernel and handed over as it is. Nobody posted it as a
 * tracker; it is what the others are measured against, since all of them end as memblock reservations in the next kernel.
 *
 * It knows no orders: neighbours are one region.
 */
import { Operations } from "../memory/page_set.ts";
import { ORDER_PAGES, PAGE_SIZE, type Range } from "../memory/range.ts";
import { Memblock, REGION_BYTES, STATIC_REGIONS } from "./memblock.ts";
import {
  Admission,
  type Allocate,
  bytesOf,
  type BytesTerm,
  checkRange,
  type Handover,
  type HandoverPage,
  KhoError,
  ORDER_MAX,
  pagesText,
  type Preserved,
  type Tracker,
  type TrackerOptions,
  type TrackerPlugin,
} from "./tracker.ts";
import { Frames, hex, Image, type ImagePage } from "./tracker_memory.ts";

/** struct memblock_type: cnt 8, max 8, total_size 8, regions 8, name 8. */
const TYPE_BYTES = 40;

/** The array of regions. */
class MemblockList implements Tracker {
  readonly operations: Operations = new Operations();
  readonly #admission: Admission;
  readonly #memblock: Memblock;
  #arrayPfn: number;
  #count = 0;

  constructor(allocate: Allocate, options: TrackerOptions | undefined) {
    this.#admission = new Admission(options);
    this.#arrayPfn = allocate(STATIC_REGIONS * REGION_BYTES);
    this.#memblock = new Memblock((bytes) => this.#arrayPfn = allocate(bytes), () => this.operations.frees++, true);
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return bytesOf(this.explain());
  }

  explain(): readonly BytesTerm[] {
    const regions = this.#memblock.bytes / REGION_BYTES;
    const what = `room for regions, ${this.#memblock.count} in use (128, doubled when full)`;
    return [{ what, count: regions, bytesEach: REGION_BYTES }];
  }

  preserve(pfn: number, count: number): void {
    this.#admission.range(pfn, count);
    this.#count += count - this.#memblock.covered(pfn, count);
    this.#memblock.reserve(pfn, count);
    this.#tally();
  }

  preserveFolio(pfn: number, order: number): void {
    this.#admission.folio(pfn, order);
    this.preserve(pfn, ORDER_PAGES[order]);
  }

  unpreserve(pfn: number, count: number): void {
    checkRange(pfn, count);
    const covered = this.#memblock.covered(pfn, count);
    if (covered < count) {
      const problem = `cannot unpreserve ${pagesText(pfn, count)}: ${count - covered} of them not preserved`;
      throw new KhoError("silent", `${problem} (memblock_remove takes out what is there)`);
    }
    this.#memblock.remove(pfn, count);
    this.#count -= count;
    this.#tally();
  }

  contains(pfn: number): boolean {
    return this.#memblock.covered(pfn, 1) === 1;
  }

  *ranges(): Generator<Range> {
    const [pfns, counts] = this.#columns();
    for (let i = 0; i < pfns.length; i++) yield { pfn: pfns[i], count: counts[i] };
  }

  serialize(allocate: Allocate): Handover {
    const regions = this.#memblock.count;
    const type = new Frames(allocate);
    type.add();
    type.setWord64(0, 0, regions);
    type.setWord64(0, 8, this.#memblock.bytes / REGION_BYTES);
    type.setWord64(0, 16, this.#count * PAGE_SIZE);
    type.setWord64(0, 24, this.#arrayPfn * PAGE_SIZE);
    this.operations.allocations++;
    this.operations.writes += 4;
    const terms = [{ what: "struct memblock_type", count: 1, bytesEach: TYPE_BYTES }];
    return {
      pages: [...type.pages(TYPE_BYTES), ...this.#arrayPages()],
      terms,
      serializedBytes: TYPE_BYTES,
      keptBytes: TYPE_BYTES + this.bytes,
      rootPfn: type.pfnOf(0),
    };
  }

  /** The array as it lies in memory: base 8, size 8, flags 4, node 4. */
  #arrayPages(): HandoverPage[] {
    const [pfns, counts] = this.#columns();
    const bytes = new Uint8Array(pfns.length * REGION_BYTES);
    const words = new Uint32Array(bytes.buffer);
    for (let i = 0; i < pfns.length; i++) {
      const word = i * REGION_BYTES / 4;
      words[word] = pfns[i] * PAGE_SIZE;
      words[word + 1] = pfns[i] * PAGE_SIZE / 2 ** 32;
      words[word + 2] = counts[i] * PAGE_SIZE;
      words[word + 3] = counts[i] * PAGE_SIZE / 2 ** 32;
    }
    return Array.from({ length: Math.ceil(bytes.length / PAGE_SIZE) }, (_, page) => ({
      pfn: this.#arrayPfn + page,
      bytes: bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE),
    }));
  }

  #columns(): [pfns: Float64Array, counts: Float64Array] {
    const [pfns, counts] = [new Float64Array(this.#memblock.count), new Float64Array(this.#memblock.count)];
    let region = 0;
    this.#memblock.forEach((pfn, count) => {
      pfns[region] = pfn;
      counts[region++] = count;
    });
    return [pfns, counts];
  }

  /** What memblock counted, and the region that was written. */
  #tally(): void {
    this.operations.visits = this.#memblock.visits;
    this.operations.movedBytes = this.#memblock.movedBytes;
    this.operations.allocations = this.#memblock.doublings;
    this.operations.writes++;
  }
}

/** Reads the 64-bit words of an array that begins at a page and goes on in the next page frames. */
class ArrayReader {
  readonly #pages: Map<number, HandoverPage>;
  readonly #image: Image;
  readonly #base: number;
  #page: ImagePage | undefined;

  constructor(handover: Handover, image: Image, base: number) {
    this.#pages = new Map(handover.pages.map((page) => [page.pfn, page]));
    this.#image = image;
    this.#base = base;
  }

  /** The page that a byte of the array lies in, and the byte there. */
  at(byte: number): [page: ImagePage, byte: number] {
    const pfn = this.#base + Math.floor(byte / PAGE_SIZE);
    if (this.#page?.pfn !== pfn) {
      if (!this.#pages.has(pfn)) {
        throw new KhoError("corrupt", `page ${pfn}, of the array of regions, is not in the handover`);
      }
      this.#page = this.#image.root(pfn);
    }
    return [this.#page!, byte % PAGE_SIZE];
  }
}

/** The next kernel's walk over the array; looks at each region. */
function walk(handover: Handover, visit: Preserved, operations: Operations): void {
  const image = new Image(handover);
  const type = image.root(handover.rootPfn);
  const [regions, max, total] = [type.word64(0), type.word64(8), type.word64(16)];
  if (max < STATIC_REGIONS) throw type.corrupt(8, `an array of ${max} regions: it has at least ${STATIC_REGIONS}`);
  if (regions > max) throw type.corrupt(0, `${regions} regions in an array of ${max}`);
  if (regions === 0) return;
  const [first] = image.follow(type, 24, PAGE_SIZE);
  const array = new ArrayReader(handover, image, first.pfn);
  let [end, size] = [0, 0];
  for (let region = 0; region < regions; region++) {
    operations.visits++;
    const [page, byte] = array.at(region * REGION_BYTES);
    const start = page.word64(byte);
    if (start % PAGE_SIZE !== 0) throw page.corrupt(byte, `address ${hex(start)} starts no page`);
    if (start < end) throw page.corrupt(byte, `address ${hex(start)} is below the end of the region before it`);
    const [sizePage, sizeByte] = array.at(region * REGION_BYTES + 8);
    const bytes = sizePage.word64(sizeByte);
    if (bytes === 0 || bytes % PAGE_SIZE !== 0) throw sizePage.corrupt(sizeByte, `${bytes} bytes are no pages`);
    end = start + bytes;
    size += bytes;
    if (end > ORDER_PAGES[ORDER_MAX] * PAGE_SIZE) {
      throw sizePage.corrupt(sizeByte, `${bytes} bytes go beyond the last physical address`);
    }
    visit(start / PAGE_SIZE, bytes / PAGE_SIZE, -1);
  }
  if (size !== total) throw type.corrupt(16, `${size} bytes in the regions, not ${total}`);
}

/** A region is 24 bytes. */
export const memblockList: TrackerPlugin = {
  name: "memblock",
  summary: "memblock's sorted array of regions, handed over as it is",
  source: "not posted as a tracker; mm/memblock.c, v6.12",
  remembers: "pages",
  create: (allocate, options): Tracker => new MemblockList(allocate, options),
  walk,
};
