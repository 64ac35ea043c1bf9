/** The option `atomic` of generators: which of their allocations cannot wait. */
import { type Field, fraction } from "../sim/core/options.ts";
import type { Random } from "../sim/core/random.ts";
import { UNMOVABLE } from "../sim/guest/allocator.ts";
import { type OpColumns, OpFlag } from "../sim/guest/operations.ts";

/** The option `atomic`. */
export function atomicField(): Field<number> {
  return fraction(0, 0, 1, {
    summary: "share of allocations that cannot wait: kernel pages, which may go below the watermarks; from 0 to 1",
    source: "GFP_ATOMIC, mm/page_alloc.c reserve_highatomic_pageblock",
  });
}

/** Makes a share of the allocations of one stream atomic. */
export class AtomicShare {
  readonly #share: number;
  readonly #random: Random;

  /** With random numbers of its own: whatever the share, the workload asks for the same blocks at the same times. */
  constructor(share: number, random: Random) {
    this.#share = share;
    this.#random = random;
  }

  /** Makes the allocation of a row atomic, if it is the turn of one. */
  mark(columns: OpColumns, row: number): void {
    if (this.#share === 0 || this.#random.nextFloat() >= this.#share) return;
    columns.migratetype[row] = UNMOVABLE;
    columns.flags[row] = OpFlag.atomic;
  }
}
