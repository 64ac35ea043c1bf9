/**
 * What a kernel and its users preserve before a handover, as a stream of calls in typed columns.
 *
 * A call preserves or takes back pages: as folios of one order that follow each other, or as a range (`kho_preserve_phys`,
 * which cuts it into aligned blocks). A workload knows addresses only; every tracker sees the same calls.
 */
import type { Options } from "../../core/options.ts";
import type { Random } from "../../core/random.ts";
import type { Range } from "../../memory/range.ts";

/** Kinds of calls. `finalize` is the write into debugfs `kho/out/finalize`; it has no pages. */
export const KhoCall = { preserve: 0, unpreserve: 1, finalize: 2 } as const;

/** A range, not folios of an order. */
export const RANGE = -1;

/** A batch of calls. */
export class KhoCalls {
  /** Calls that fit. */
  readonly size: number;
  /** {@link KhoCall}. */
  readonly kind: Uint8Array;
  /** First page frame. */
  readonly pfn: Float64Array;
  /** Pages. */
  readonly count: Float64Array;
  /** Order of the folios, or {@link RANGE}. */
  readonly order: Int8Array;

  /** An empty batch. */
  constructor(size: number) {
    this.size = size;
    this.kind = new Uint8Array(size);
    this.pfn = new Float64Array(size);
    this.count = new Float64Array(size);
    this.order = new Int8Array(size);
  }

  /** Writes a call into a row. */
  set(row: number, kind: number, pfn: number, count: number, order: number): void {
    this.kind[row] = kind;
    this.pfn[row] = pfn;
    this.count[row] = count;
    this.order[row] = order;
  }
}

/** A workload with its options, on a machine. */
export interface KhoWorkload {
  /** Calls in all. */
  readonly calls: number;
  /** Writes the next calls into the batch, from row 0 on; how many, 0 at the end. */
  fill(batch: KhoCalls): number;
}

/** What a workload is made for. */
export interface KhoContext {
  /** Pages that can be preserved. */
  readonly area: Range;
  /** A random stream of its own, by name. */
  readonly random: (name: string) => Random;
}

/** A workload as the registry holds it; made by {@link khoWorkload}. */
export interface KhoWorkloadPlugin {
  /** Name in scenarios. */
  readonly name: string;
  /** One line: what is preserved. */
  readonly summary: string;
  /** What it imitates. */
  readonly source: string;
  /** Its options. */
  readonly options: Options<unknown>;
  /** Refuses as `create` does what can be refused before a long preparation; without it, `create` is short. */
  readonly check?: (context: KhoContext, options: unknown) => void;
  /** Makes one. Throws InputError, its path inside the options, when it does not fit the machine. */
  create(context: KhoContext, options: unknown): KhoWorkload;
}

/** Declares a workload with typed options. */
export function khoWorkload<O>(plugin: {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly options: Options<O>;
  readonly check?: (context: KhoContext, options: O) => void;
  readonly create: (context: KhoContext, options: O) => KhoWorkload;
}): KhoWorkloadPlugin {
  const { check, ...others } = plugin;
  return {
    ...others,
    options: plugin.options as Options<unknown>,
    ...(check === undefined ? {} : { check: (context, options) => check(context, options as O) }),
    create: (context, options) => plugin.create(context, options as O),
  };
}

/** A workload whose call `index` is written by a function. */
export function callsByIndex(calls: number, write: (batch: KhoCalls, row: number, index: number) => void): KhoWorkload {
  let next = 0;
  return {
    calls,
    fill(batch) {
      const rows = Math.min(batch.size, calls - next);
      for (let row = 0; row < rows; row++) write(batch, row, next++);
      return rows;
    },
  };
}
