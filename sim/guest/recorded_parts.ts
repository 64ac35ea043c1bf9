/**
 * Which rows of a recording take blocks from the zone lists and which give them back, and in what parts the taken blocks will
 * come back: a block that compaction took, or that was split, is freed page by page.
 */
import { ORDER_PAGES } from "../memory/range.ts";
import type { Recording } from "./recording.ts";

const TAKES = codes("ZXI");
const GIVES = codes("DOPU");
const [Z, X, C, C_END, CLAIM, CARRIED] = [..."ZXCczp"].map((event) => event.charCodeAt(0));

function codes(events: string): Uint8Array {
  const table = new Uint8Array(256);
  for (const event of events) table[event.charCodeAt(0)] = 1;
  return table;
}

/** What is known of the blocks of a recording before it is replayed. */
export class PartsOfBlocks {
  /** Operations that the rows become: one for each part taken, one for each block given back. */
  readonly operations: number = 0;
  readonly #recording: Recording;
  /** 6.12 tells of a fallback instead of its Z row, 6.1 beside it. */
  readonly #fallbackTakes: boolean;
  readonly #parts = new Map<number, readonly number[]>();
  /** Captured blocks: the order for which the compaction of each such row works. */
  readonly #captured = new Map<number, number>();

  /** Looks through the rows from `first` on; `kernel` is the generation that was recorded, where it is known. */
  constructor(recording: Recording, first: number, kernel: string | undefined) {
    this.#recording = recording;
    this.#fallbackTakes = takesByFallback(recording, first, kernel);
    this.#findCaptures(first);
    this.operations = this.#lookBack(first);
  }

  /** Whether a row takes a block from the lists. */
  takes(row: number): boolean {
    const event = this.#recording.event[row];
    if (event === X) return this.#fallbackTakes;
    return TAKES[event] === 1 || this.#captured.has(row);
  }

  /** Whether a row gives a block back. */
  gives(row: number): boolean {
    return GIVES[this.#recording.event[row]] === 1;
  }

  /** Whether compaction took the block that the row gave back, and what it merged with. */
  captured(row: number): boolean {
    return this.#captured.has(row);
  }

  /** First page and order of each part of the block that a row takes, one after the other; undefined when it stays whole. */
  partsOf(row: number): readonly number[] | undefined {
    return this.#parts.get(row);
  }

  #findCaptures(first: number): void {
    const { count, event, text, order, cpu } = this.#recording;
    const running = new Map<string, { readonly order: number; readonly cpu: number }>();
    for (let row = first; row < count; row++) {
      const [pid] = (text.get(row) ?? "").split("/");
      if (event[row] === C) running.set(pid, { order: order[row], cpu: cpu[row] });
      else if (event[row] === C_END) running.delete(pid);
      else if (pid === "captured" && this.gives(row)) {
        const all = [...running.values()];
        const own = all.find((one) => one.cpu === cpu[row]) ?? all.at(-1);
        if (own !== undefined && own.order >= order[row]) this.#captured.set(row, own.order);
      }
    }
  }

  /** Goes backwards, so that each taken block meets the frees of its pages. Returns the number of operations. */
  #lookBack(first: number): number {
    const { count, pfn, order } = this.#recording;
    /** Order of the next free that starts at a page. */
    const freed = new Map<number, number>();
    let operations = 0;
    for (let row = count - 1; row >= first; row--) {
      if (this.takes(row)) {
        const taken = this.#captured.get(row) ?? order[row];
        const head = Math.floor(pfn[row] / ORDER_PAGES[taken]) * ORDER_PAGES[taken];
        const whole = freed.get(head) === taken;
        let parts = whole ? undefined : partsOf(head, taken, freed);
        if (this.#captured.has(row)) parts ??= [head, taken];
        if (parts !== undefined) this.#parts.set(row, parts);
        freed.delete(head);
        operations += parts === undefined ? 1 : parts.length / 2;
      }
      if (this.gives(row)) {
        freed.set(pfn[row], order[row]);
        operations++;
      }
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
    while (next < count && (cpu[next] !== cpu[row] || TAKES[event[next]] === 0)) next++;
    if (next < count && event[next] === Z && pfn[next] === pfn[row]) return false;
  }
  return fallbacks > 0;
}
