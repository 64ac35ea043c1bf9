/** What trackers remember, as plain maps: one entry for each folio or page. The conformance suite compares with it. */
import type { Range } from "../../sim/memory/range.ts";

/** What comes back from a walk. */
export type Piece = readonly [pfn: number, count: number, order: number];

/** Memory that gives page frames which no test preserves, one after the other. */
export function allocator(first: number = 2 ** 36): (bytes: number) => number {
  let next = first;
  return (bytes) => {
    const pfn = next;
    next += Math.ceil(bytes / 4096);
    return pfn;
  };
}

/** The aligned blocks of a range, largest first at each place (domain.md §8.2). */
export function blocksOf(pfn: number, count: number): [pfn: number, order: number][] {
  const blocks: [number, number][] = [];
  for (let left = count; left > 0;) {
    let order = 0;
    while (pfn % 2 ** (order + 1) === 0 && 2 ** (order + 1) <= left) order++;
    blocks.push([pfn, order]);
    pfn += 2 ** order;
    left -= 2 ** order;
  }
  return blocks;
}

/** Numbers as maximal runs. */
export function runsOf(pages: Iterable<number>): Range[] {
  const runs: { pfn: number; count: number }[] = [];
  for (const pfn of [...pages].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && last.pfn + last.count === pfn) last.count++;
    else runs.push({ pfn, count: 1 });
  }
  return runs;
}

/** The model of a tracker. Changes say whether they were accepted; one that was not changes nothing. */
export interface Model {
  preserve(pfn: number, count: number): boolean;
  preserveFolio(pfn: number, order: number): boolean;
  unpreserve(pfn: number, count: number): boolean;
  contains(pfn: number): boolean;
  readonly count: number;
  /** Pages, each once. */
  pages(): Set<number>;
  /** Pieces, by address, then order. */
  pieces(): Piece[];
}

/** Folios: one bit for each, whatever other orders have there. */
class Folios implements Model {
  readonly #folios = new Map<string, readonly [pfn: number, order: number]>();

  preserve(pfn: number, count: number): boolean {
    for (const [block, order] of blocksOf(pfn, count)) this.preserveFolio(block, order);
    return true;
  }

  preserveFolio(pfn: number, order: number): boolean {
    this.#folios.set(`${pfn} ${order}`, [pfn, order]);
    return true;
  }

  unpreserve(pfn: number, count: number): boolean {
    const keys = blocksOf(pfn, count).map(([block, order]) => `${block} ${order}`);
    if (!keys.every((key) => this.#folios.has(key))) return false;
    for (const key of keys) this.#folios.delete(key);
    return true;
  }

  contains(pfn: number): boolean {
    for (let order = 0; order <= 20; order++) {
      if (this.#folios.has(`${pfn - pfn % 2 ** order} ${order}`)) return true;
    }
    return false;
  }

  get count(): number {
    let pages = 0;
    for (const [, order] of this.#folios.values()) pages += 2 ** order;
    return pages;
  }

  pages(): Set<number> {
    const pages = new Set<number>();
    for (const [pfn, order] of this.#folios.values()) for (let i = 0; i < 2 ** order; i++) pages.add(pfn + i);
    return pages;
  }

  pieces(): Piece[] {
    const pieces = [...this.#folios.values()].map(([pfn, order]): Piece => [pfn, 2 ** order, order]);
    return pieces.sort((a, b) => a[0] - b[0] || a[2] - b[2]);
  }
}

/** Pages with the order of their folio. */
class Orders implements Model {
  readonly #orders = new Map<number, number>();

  preserve(pfn: number, count: number): boolean {
    return this.#preserve(pfn, count, 0);
  }

  preserveFolio(pfn: number, order: number): boolean {
    return this.#preserve(pfn, 2 ** order, order);
  }

  unpreserve(pfn: number, count: number): boolean {
    for (let page = pfn; page < pfn + count; page++) {
      const order = this.#orders.get(page);
      if (order === undefined) return false;
      const folio = page - page % 2 ** order;
      if (folio < pfn || folio + 2 ** order > pfn + count) return false;
    }
    for (let page = pfn; page < pfn + count; page++) this.#orders.delete(page);
    return true;
  }

  contains(pfn: number): boolean {
    return this.#orders.has(pfn);
  }

  get count(): number {
    return this.#orders.size;
  }

  pages(): Set<number> {
    return new Set(this.#orders.keys());
  }

  pieces(): Piece[] {
    const pieces: [number, number, number][] = [];
    for (const pfn of [...this.#orders.keys()].sort((a, b) => a - b)) {
      const [last, order] = [pieces.at(-1), this.#orders.get(pfn)!];
      if (last !== undefined && last[0] + last[1] === pfn && last[2] === order) last[1]++;
      else pieces.push([pfn, 1, order]);
    }
    return pieces;
  }

  #preserve(pfn: number, count: number, order: number): boolean {
    for (let page = pfn; page < pfn + count; page++) if ((this.#orders.get(page) ?? order) !== order) return false;
    for (let page = pfn; page < pfn + count; page++) this.#orders.set(page, order);
    return true;
  }
}

/** Pages. */
class Pages implements Model {
  readonly #pages = new Set<number>();

  preserve(pfn: number, count: number): boolean {
    for (let page = pfn; page < pfn + count; page++) this.#pages.add(page);
    return true;
  }

  preserveFolio(pfn: number, order: number): boolean {
    return this.preserve(pfn, 2 ** order);
  }

  unpreserve(pfn: number, count: number): boolean {
    for (let page = pfn; page < pfn + count; page++) if (!this.#pages.has(page)) return false;
    for (let page = pfn; page < pfn + count; page++) this.#pages.delete(page);
    return true;
  }

  contains(pfn: number): boolean {
    return this.#pages.has(pfn);
  }

  get count(): number {
    return this.#pages.size;
  }

  pages(): Set<number> {
    return this.#pages;
  }

  pieces(): Piece[] {
    return runsOf(this.#pages).map(({ pfn, count }) => [pfn, count, -1]);
  }
}

/** The model of what a design remembers. */
export function modelOf(remembers: "folios" | "orders" | "pages"): Model {
  return remembers === "folios" ? new Folios() : remembers === "orders" ? new Orders() : new Pages();
}
