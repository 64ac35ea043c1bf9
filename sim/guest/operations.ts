/**
 * What a workload asks of the guest: operations in typed columns.
 *
 * An operation names an allocation by a handle that the workload chose, never by a page: so every policy sees the same
 * requests whatever it did to the lists.
 */
import type { Random } from "../core/random.ts";
import type { StartBlocks } from "./start_blocks.ts";

/** Kinds of operations. */
export const Op = {
  /** Allocate 2^order pages under a handle. */
  alloc: 0,
  /** Free what the handle names; skipped and counted when its allocation failed. */
  free: 1,
  /** Write the first `touch` pages of what the handle names. */
  touch: 2,
  /** Only let time pass. */
  wait: 3,
  /** Drop clean caches (`/proc/sys/vm/drop_caches`): `touch` is 1 for the page cache, 2 for reclaimable slab, 3 for both. */
  dropCaches: 4,
  /** Reclaim `touch` pages now (cgroup v2 `memory.reclaim`). */
  reclaim: 5,
} as const;

/** Flags of an operation. */
export const OpFlag = {
  /** The allocation cannot wait (GFP_ATOMIC): it fails at once, but may use part of what the watermarks keep. */
  atomic: 1,
  /**
   * A clean page of the page cache (movable) or of a shrinkable slab (reclaimable): the guest may drop it at any time. An
   * allocation of a handle that still names a page is a hit: nothing is allocated, the page counts as referenced.
   */
  cache: 2,
  /**
   * A fault that wants a folio of this order, of 9 at most, and has a handle for each of its pages: when there is no such block
   * smaller folios are allocated, each under the handle of its first page, and single pages only after a huge page fault (9).
   * Network buffers do so, too, with {@link OpFlag.atomic}: then the page that cannot be had is the last that is tried.
   * A touch and a free with this flag and the same order reach whatever it became.
   */
  fallback: 4,
  /** With {@link OpFlag.fallback}: faults of single pages one after the other, taken as one operation. */
  singles: 8,
} as const;

/** Rows of operations; a stream fills the first `count` of them. */
export class OpColumns {
  /** Number of rows. */
  readonly size: number;
  /** Kind, see {@link Op}. */
  readonly kind: Uint8Array;
  /** Handle of the allocation; small integers, reused after a free. */
  readonly handle: Int32Array;
  /** Order of an allocation. */
  readonly order: Uint8Array;
  /** Migratetype of an allocation. */
  readonly migratetype: Uint8Array;
  /** Zone index the request is bound to, or -1 for the usual zone list. */
  readonly zone: Int8Array;
  /** Open loop: virtual time of the operation, ns. Closed loop: pause after the operation before it, ns. */
  readonly timeNs: Float64Array;
  /** Pages written at an allocation or touch. */
  readonly touch: Int32Array;
  /** The page a recording saw, for verification only; -1 when there is none. */
  readonly pfn: Float64Array;
  /** Virtual CPU. */
  readonly cpu: Int16Array;
  /** Flags, see {@link OpFlag}; none unless told. */
  readonly flags: Uint8Array;
  /**
   * The process for which it is asked, 0 for nobody. The process has what is allocated, unless that is page cache; when it was
   * killed its operations are passed over. Numbers are not used again.
   */
  readonly owner: Int32Array;

  /** Columns of `size` rows. */
  constructor(size: number) {
    this.size = size;
    this.kind = new Uint8Array(size);
    this.handle = new Int32Array(size);
    this.order = new Uint8Array(size);
    this.migratetype = new Uint8Array(size);
    this.zone = new Int8Array(size);
    this.timeNs = new Float64Array(size);
    this.touch = new Int32Array(size);
    this.pfn = new Float64Array(size);
    this.cpu = new Int16Array(size);
    this.flags = new Uint8Array(size);
    this.owner = new Int32Array(size);
  }

  /** Writes one row. */
  set(
    row: number,
    kind: number,
    handle: number,
    order: number,
    migratetype: number,
    timeNs: number,
    touch: number,
    cpu: number,
    zone = -1,
    pfn = -1,
    flags = 0,
    owner = 0,
  ): void {
    this.kind[row] = kind;
    this.handle[row] = handle;
    this.order[row] = order;
    this.migratetype[row] = migratetype;
    this.zone[row] = zone;
    this.timeNs[row] = timeNs;
    this.touch[row] = touch;
    this.pfn[row] = pfn;
    this.cpu[row] = cpu;
    this.flags[row] = flags;
    this.owner[row] = owner;
  }

  /** Copies `count` rows of another set of columns, from its row `from` on, to the beginning of this one. */
  copy(other: OpColumns, from: number, count: number): void {
    const end = from + count;
    this.kind.set(other.kind.subarray(from, end));
    this.handle.set(other.handle.subarray(from, end));
    this.order.set(other.order.subarray(from, end));
    this.migratetype.set(other.migratetype.subarray(from, end));
    this.zone.set(other.zone.subarray(from, end));
    this.timeNs.set(other.timeNs.subarray(from, end));
    this.touch.set(other.touch.subarray(from, end));
    this.pfn.set(other.pfn.subarray(from, end));
    this.cpu.set(other.cpu.subarray(from, end));
    this.flags.set(other.flags.subarray(from, end));
    this.owner.set(other.owner.subarray(from, end));
  }
}

/** A stream of operations of one virtual CPU (closed loop), or of a whole recording (open loop). */
export interface OpStream {
  /** True when times are virtual times, false when they are pauses. */
  readonly open: boolean;
  /** Fills at most `columns.size` rows; returns how many, 0 at the end of the stream. */
  fill(columns: OpColumns): number;
}

/** A zone as a recording describes it. */
export interface RecordedZone {
  /** DMA, DMA32, Normal or Movable. */
  readonly name: string;
  /** First page frame. */
  readonly startPfn: number;
  /** Pages from the first to the last. */
  readonly spannedPages: number;
  /** Pages that exist. */
  readonly presentPages: number;
  /** Pages given to the allocator. */
  readonly managedPages: number;
  /** min, low and high watermark in pages. */
  readonly watermarks: readonly [number, number, number];
}

/** The lists of one CPU and zone as a recording describes them. */
export interface RecordedPerCpu {
  /** Index of the zone. */
  readonly zone: number;
  /** The CPU. */
  readonly cpu: number;
  /** Pages of one ordinary refill or drain. */
  readonly batch: number;
  /** Pages that may be kept. */
  readonly high: number;
  /** 6.12: the least and the most that `high` moves between; else both are `high`. */
  readonly highMin: number;
  /** See {@link RecordedPerCpu.highMin}. */
  readonly highMax: number;
  /** 6.1: how often the drain was doubled. */
  readonly freeFactor: number;
  /** 6.12: how often the refill was doubled. */
  readonly allocFactor: number;
  /** 6.12: pages freed one after the other. */
  readonly freeCount: number;
  /** 6.12: flags of the lists; 1 the block freed last was of order 1 to 3, 2 all is drained only from a batch on. */
  readonly flags: number;
  /** The fourteen lists, heads first. */
  readonly lists: readonly (readonly number[])[];
  /** 6.1: the types as which their pages were freed. */
  readonly types: readonly (readonly number[])[] | undefined;
}

/** Free lists, zones and pageblock types at one moment of a recording. */
export interface RecordedState {
  /** Pages of the guest's physical address space. */
  readonly pages: number;
  /** The zones, ascending. */
  readonly zones: readonly RecordedZone[];
  /** Every list that is not empty, heads first. */
  readonly free: readonly {
    readonly zone: number;
    readonly order: number;
    readonly migratetype: number;
    readonly pfns: readonly number[];
  }[];
  /** Heads of the blocks marked Reported. */
  readonly reported: readonly number[];
  /** The per-CPU lists, where they were recorded. */
  readonly perCpu: readonly RecordedPerCpu[];
  /** The kernel generation that was recorded, where the file says it. */
  readonly kernel: string | undefined;
  /** The migratetype of a pageblock by its number, or -1 where it is not known. */
  pageblockType(block: number): number;
}

/** A workload, ready to run. */
export interface Workload {
  /** One stream per virtual CPU, or one for a recording. */
  readonly streams: readonly OpStream[];
  /** What is allocated when the run starts, in the order of allocation. */
  readonly start: StartBlocks;
  /** The state of the free lists when the run starts, from a recording. */
  readonly state?: RecordedState;
  /** Whether its operations are what the zones were asked, below the per-CPU lists, which must be passed by. */
  readonly zoneRequests?: boolean;
  /** Whether its guest lives: reclaims, compacts and drops caches on its own; not unless told. */
  readonly living?: boolean;
  /** About how many rows of the trace its operations write, for estimates. */
  readonly estimatedRows: number;
  /** When its last operation is due, ns; Infinity for an endless workload. */
  readonly durationNs: number;
}

/** What a workload may ask for while it is made. */
export interface WorkloadContext {
  /** Pages of memory of the guest. */
  readonly memoryPages: number;
  /** Virtual CPUs. */
  readonly vcpus: number;
  /** Whether CPUs may keep pages; not unless told. */
  readonly perCpu?: boolean;
  /** A random stream of this name, the same for every policy. */
  random(name: string): Random;
  /** The decompressed bytes of a file that the workload named. */
  file(path: string): Uint8Array;
  /** Makes the n-th of the workloads that this one is made of; `name` separates their random streams. */
  child(index: number, name: string): Workload;
}
