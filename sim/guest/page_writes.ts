/** What a guest writes to its pages: the host backs them, the judge knows that they hold data, checkers get a row. */
import { Event, NONE, type Trace } from "../core/trace.ts";
import type { Host } from "../host/host.ts";
import type { Judge } from "../host/judge.ts";

/** What it needs. */
export interface PageWritesParts {
  /** Where the rows go. */
  readonly trace: Trace;
  /** Index of the guest. */
  readonly index: number;
  /** What backs its pages. */
  readonly host: Host;
  /** Who judges. */
  readonly judge: Judge;
  /** Whether the kernel zeroes, and so touches, every page that it allocates (init_on_alloc=1). */
  readonly initOnAlloc: boolean;
  /** Whether it zeroes every page that it frees (init_on_free=1); not unless told. */
  readonly initOnFree?: boolean | undefined;
  /** Whether it writes a pattern to every page that it frees, and looks at it when it allocates (page_poison=1); not unless told. */
  readonly pagePoison?: boolean | undefined;
}

/** The writes of one guest. */
export class PageWrites {
  readonly #trace: Trace;
  readonly #guest: number;
  readonly #host: Host;
  readonly #judge: Judge;
  readonly #initOnAlloc: boolean;
  readonly #scrubs: boolean;
  readonly #poisons: boolean;

  /** Writes of a guest. */
  constructor(parts: PageWritesParts) {
    const { trace, index, host, judge, initOnAlloc, initOnFree = false, pagePoison = false } = parts;
    this.#trace = trace;
    this.#guest = index;
    this.#host = host;
    this.#judge = judge;
    this.#initOnAlloc = initOnAlloc;
    this.#scrubs = initOnFree || pagePoison;
    this.#poisons = pagePoison;
  }

  /**
   * The kernel zeroes pages that it allocated, if it does so, after it has looked for the poison (mm/page_alloc.c
   * `post_alloc_hook`). Returns the time of the faults, ns.
   */
  zero(pfn: number, pages: number, cpu: number): number {
    if (!this.#initOnAlloc) return this.#poisons ? this.#host.touch(pfn, pages, false, cpu) : 0;
    const ns = this.#host.touch(pfn, pages, true, cpu);
    this.#row(Event.zero, pfn, pages, cpu);
    return ns;
  }

  /**
   * The kernel zeroes or poisons pages just before it frees them, if it does so (mm/page_alloc.c `free_pages_prepare`): the
   * host must back them. That is no content; a page that only comes back from the driver's isolation is not written. Returns the
   * time of the faults, ns.
   */
  scrub(pfn: number, pages: number, cpu: number): number {
    if (!this.#scrubs) return 0;
    const ns = this.#host.touch(pfn, pages, true, cpu);
    this.#row(Event.zero, pfn, pages, cpu);
    return ns;
  }

  /** The owner of pages writes them. Returns the time of the faults, ns. */
  write(pfn: number, pages: number, cpu: number): number {
    if (pages === 0) return 0;
    const ns = this.#host.touch(pfn, pages, true, cpu);
    this.#judge.write(pfn, pages);
    this.#row(Event.write, pfn, pages, cpu);
    return ns;
  }

  #row(event: number, pfn: number, pages: number, cpu: number): void {
    const trace = this.#trace;
    if (trace.checked) trace.write(event, pfn, pages, NONE, NONE, NONE, NONE, 0, this.#guest, cpu);
  }
}
