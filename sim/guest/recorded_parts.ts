/** In what parts the blocks of a recording come back: one that compaction took, or that was split, is freed page by page. */
import { InputError } from "../core/options.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import type { Recording } from "./recording.ts";

const [Z, X, CLAIM, CARRIED] = [..."ZXzp"].map((event) => event.charCodeAt(0));
const ISOLATED = "I".charCodeAt(0);

/** What the rows of a recording mean to a workload: which take pages, which give them back. */
export interface RowRoles {
  /** Whether the row takes the block that it names. */
  takes(row: number): boolean;
  /** Whether the row gives the block that it names back. A row may do both: give a block back that somebody takes at once. */
  gives(row: number): boolean;
  /** Order of the block that a row gives back. */
  orderGiven(row: number): number;
  /** Order of the block that a row takes. */
  orderTaken(row: number): number;
  /** How many single pages the row takes without naming them; -1 when it should say so and does not. */
  unnamed(row: number): number;
  /** Whether compaction took the block that the row gave back, and what it merged with. */
  captured(row: number): boolean;
}

/** What is known of the blocks of a recording before it is replayed. */
export class PartsOfBlocks {
  /** Operations that the rows become: one for each part taken, one for each block given back. */
  readonly operations: number = 0;
  readonly #recording: Recording;
  readonly #roles: RowRoles;
  readonly #parts = new Map<number, readonly number[]>();

  /** Looks through the rows from `first` on, which mean what `roles` says. */
  constructor(recording: Recording, first: number, roles: RowRoles) {
    this.#recording = recording;
    this.#roles = roles;
    this.operations = this.#lookBack(first);
  }

  /** First page and order of each part of the block that a row takes, one after the other; undefined when it stays whole. */
  partsOf(row: number): readonly number[] | undefined {
    return this.#parts.get(row);
  }

  /** Goes backwards, so that each taken block meets the frees of its pages. Returns the number of operations. */
  #lookBack(first: number): number {
    const { count, pfn } = this.#recording;
    const roles = this.#roles;
    /** Order of the next free that starts at a page. */
    const freed = new Map<number, number>();
    let operations = 0;
    for (let row = count - 1; row >= first; row--) {
      if (roles.takes(row)) {
        const taken = roles.orderTaken(row);
        if (taken < 0) throw new InputError(["row", row + 2], "column order is empty");
        const head = Math.floor(pfn[row] / ORDER_PAGES[taken]) * ORDER_PAGES[taken];
        const whole = freed.get(head) === taken;
        let parts = whole ? undefined : partsOf(head, taken, freed);
        if (roles.captured(row)) parts ??= [head, taken];
        if (parts !== undefined) this.#parts.set(row, parts);
        freed.delete(head);
        operations += parts === undefined ? 1 : parts.length / 2;
      }
      if (roles.gives(row)) {
        freed.set(pfn[row], roles.orderGiven(row));
        operations++;
      }
      const unnamed = roles.unnamed(row);
      if (unnamed < 0) throw new InputError(["row", row + 2], "a bulk allocation needs its number of pages");
      operations += unnamed;
    }
    return operations;
  }
}

/** The parts in which a block comes back, those that never do included; undefined when it stays whole. */
function partsOf(head: number, order: number, freed: Map<number, number>): number[] | undefined {
  const end = head + ORDER_PAGES[order];
  const parts: number[] = [];
  for (let page = head; page < end;) {
    const freedOrder = freed.get(page);
    if (freedOrder !== undefined && page + ORDER_PAGES[freedOrder] <= end) {
      parts.push(page, freedOrder);
      freed.delete(page);
      page += ORDER_PAGES[freedOrder];
    } else {
      parts.push(page, -1);
      page++;
    }
  }
  if (parts.every((value, index) => index % 2 === 0 || value < 0)) return undefined;
  return withoutGaps(parts, end);
}

/** Pages that never come back as the largest aligned blocks that hold them. */
function withoutGaps(parts: readonly number[], end: number): number[] {
  const filled: number[] = [];
  for (let at = 0; at < parts.length;) {
    if (parts[at + 1] >= 0) {
      filled.push(parts[at], parts[at + 1]);
      at += 2;
      continue;
    }
    let to = at;
    while (to < parts.length && parts[to + 1] < 0) to += 2;
    const stop = to < parts.length ? parts[to] : end;
    for (let page = parts[at]; page < stop;) {
      let order = 0;
      while (page % ORDER_PAGES[order + 1] === 0 && page + ORDER_PAGES[order + 1] <= stop) order++;
      filled.push(page, order);
      page += ORDER_PAGES[order];
    }
    at = to;
  }
  return filled;
}

/**
 * Whether a fallback row stands for the allocation itself. The kernel of the snapshot tells; without one, rows that only 6.12
 * has, or that no fallback is followed by the allocation of its very page.
 */
export function takesByFallback(
  { count, event, pfn, cpu }: Recording,
  first: number,
  kernel: string | undefined,
): boolean {
  if (kernel !== undefined) return kernel !== "6.1";
  let fallbacks = 0;
  for (let row = first; row < count; row++) {
    if (event[row] === CLAIM || event[row] === CARRIED) return true;
    if (event[row] !== X) continue;
    fallbacks++;
    let next = row + 1;
    while (next < count && (cpu[next] !== cpu[row] || !isTaken(event[next]))) next++;
    if (next < count && event[next] === Z && pfn[next] === pfn[row]) return false;
  }
  return fallbacks > 0;
}

function isTaken(event: number): boolean {
  return event === Z || event === X || event === ISOLATED;
}
