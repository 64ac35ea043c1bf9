/** Free places for folios: random ones that do not overlap. */
import { InputError } from "../../core/options.ts";
import type { Random } from "../../core/random.ts";
import { PageBitmap } from "../../memory/bitmap.ts";
import { ORDER_PAGES, PAGE_SIZE, type Range } from "../../memory/range.ts";

/** Draws before a place is given up for the next free one behind it. */
const TRIES = 32;

/** Gives random aligned places in an area, each once. */
export class Places {
  #area: Range;
  #random: Random;
  #taken: PageBitmap;

  /** An area of which nothing is taken. */
  constructor(area: Range, random: Random) {
    this.#area = area;
    this.#random = random;
    this.#taken = new PageBitmap(area.count);
  }

  /** A random place for a folio; -1 when there is none left. */
  take(order: number): number {
    const pages = ORDER_PAGES[order];
    const places = Math.floor(this.#area.count / pages);
    for (let i = 0; i < TRIES; i++) {
      const at = this.#random.nextBelow(places) * pages;
      if (this.#isFree(at, pages)) return this.#mark(at, pages);
    }
    const start = this.#random.nextBelow(places);
    for (let i = 0; i < places; i++) {
      const at = (start + i) % places * pages;
      if (this.#isFree(at, pages)) return this.#mark(at, pages);
    }
    return -1;
  }

  /** Takes one page if it is in the area and free. */
  takeAt(pfn: number): boolean {
    const at = pfn - this.#area.pfn;
    if (at < 0 || at >= this.#area.count || this.#taken.has(at)) return false;
    this.#mark(at, 1);
    return true;
  }

  /** Gives a place back. */
  give(pfn: number, order: number): void {
    this.#taken.clearRange(pfn - this.#area.pfn, ORDER_PAGES[order]);
  }

  #isFree(at: number, pages: number): boolean {
    return pages === 1 ? !this.#taken.has(at) : this.#taken.countRange(at, pages) === 0;
  }

  #mark(at: number, pages: number): number {
    this.#taken.setRange(at, pages);
    return this.#area.pfn + at;
  }
}

/** What is left of an area from the first page on at which a folio of this order may begin. */
export function alignedArea({ pfn, count }: Range, order: number): Range {
  const start = Math.ceil(pfn / ORDER_PAGES[order]) * ORDER_PAGES[order];
  return { pfn: start, count: Math.max(0, pfn + count - start) };
}

/** Refuses what needs more pages than the area has. */
export function refuseTooLarge(pages: number, { count }: Range, key: string): void {
  if (pages <= count) return;
  throw new InputError(
    [key],
    `${pages * PAGE_SIZE} bytes do not fit into the ${count * PAGE_SIZE} bytes that can be preserved; ` +
      `give the machine more memory`,
  );
}

/** Refuses random places for more than half of the area: the last ones would not be random. */
export function refuseTooDense(pages: number, { count }: Range, key: string): void {
  if (2 * pages <= count) return;
  throw new InputError(
    [key],
    `${pages * PAGE_SIZE} bytes at random places are more than half of the ${count * PAGE_SIZE} bytes that can be ` +
      `preserved; give the machine more memory`,
  );
}

/** Refuses a size that is not made of whole folios of this order. */
export function refuseParts(bytes: number, order: number, key: string): void {
  if (bytes % (ORDER_PAGES[order] * PAGE_SIZE) === 0) return;
  throw new InputError(
    [key],
    `${bytes} bytes are not whole ${order === 0 ? "pages of 4 KiB" : `folios of order ${order}`}`,
  );
}
