/** What a rehearsal writes down: which pages are free from when to when. */
import { CapacityError } from "../core/capacity_error.ts";
import { grown } from "../memory/grown.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { Future, type FutureSegment, KnownFree, SEGMENT_PAGES } from "./future.ts";
import type { PolicyContext } from "./plugin.ts";
import type { HintingPolicy } from "./policy.ts";
import type { Zone } from "./zone.ts";

/** The most page frames times the times that they were free: 4 bytes each. */
const ENTRIES_MAX = 2 ** 30;

/** The policy of a rehearsal: it does nothing but write down which pages are free from when to when. */
export class FutureRecorder implements HintingPolicy {
  readonly freeOrderMin = 0;
  #context: PolicyContext;
  #known: KnownFree;
  #count = 0;
  #pfn = new Float64Array(1024);
  /** Pages of a run; negative when it is used. */
  #pages = new Float64Array(1024);
  #timeNs = new Float64Array(1024);

  /** Nothing is known. */
  constructor(context: PolicyContext) {
    this.#context = context;
    this.#known = new KnownFree(context.maxPfn);
  }

  /** What is free at the start. */
  start(): void {
    for (const zone of this.#context.zones) zone.forEachFree((pfn, order) => this.onFree(zone, pfn, order));
  }

  /** A block is free. */
  onFree(_zone: Zone, pfn: number, order: number): void {
    this.#known.freed(pfn, ORDER_PAGES[order], (run, count) => this.#note(run, count));
  }

  /** Pages are used; there is nothing to do before. */
  needsUse(_zone: Zone, pfn: number, order: number): boolean {
    this.#known.used(pfn, ORDER_PAGES[order], (run, count) => this.#note(run, -count));
    return false;
  }

  /** What was seen. Throws {@link CapacityError} when it is too much. */
  future(): Future {
    const segments = this.#segments();
    for (let n = 0; n < this.#count; n++) {
      const used = this.#pages[n] < 0;
      this.#forEachPage(n, (index, page) => {
        const { asked, first, freeNs, timeNs } = segments[index]!;
        if (used) freeNs[first[page] + asked[page]++] = this.#timeNs[n] - timeNs[page];
        else timeNs[page] = this.#timeNs[n];
      });
    }
    for (const segment of segments) segment?.asked.fill(0);
    return new Future(segments);
  }

  /** Segments with room for every time that a page was free, which is forever until it is used. */
  #segments(): (FutureSegment | undefined)[] {
    const times: (Uint32Array | undefined)[] = new Array(Math.ceil(this.#context.maxPfn / SEGMENT_PAGES));
    for (let n = 0; n < this.#count; n++) {
      if (this.#pages[n] > 0) {
        this.#forEachPage(n, (index, page) => (times[index] ??= new Uint32Array(SEGMENT_PAGES + 1))[page + 1]++);
      }
    }
    let entries = 0;
    return Array.from(times, (first) => {
      if (first === undefined) return undefined;
      for (let page = 0; page < SEGMENT_PAGES; page++) first[page + 1] += first[page];
      entries += first[SEGMENT_PAGES];
      if (entries > ENTRIES_MAX) throw new CapacityError(`the rehearsal frees more than ${ENTRIES_MAX} pages`);
      const freeNs = new Float32Array(first[SEGMENT_PAGES]).fill(Infinity);
      return { first, freeNs, asked: new Uint32Array(SEGMENT_PAGES), timeNs: new Float64Array(SEGMENT_PAGES) };
    });
  }

  #forEachPage(n: number, visit: (segment: number, page: number) => void): void {
    const end = this.#pfn[n] + Math.abs(this.#pages[n]);
    for (let pfn = this.#pfn[n]; pfn < end; pfn++) visit(Math.floor(pfn / SEGMENT_PAGES), pfn % SEGMENT_PAGES);
  }

  #note(pfn: number, pages: number): void {
    if (this.#count === this.#pfn.length) {
      const length = 2 * this.#count;
      this.#pfn = grown(this.#pfn, length);
      this.#pages = grown(this.#pages, length);
      this.#timeNs = grown(this.#timeNs, length);
    }
    this.#pfn[this.#count] = pfn;
    this.#pages[this.#count] = pages;
    this.#timeNs[this.#count++] = this.#context.sim.now;
  }
}
