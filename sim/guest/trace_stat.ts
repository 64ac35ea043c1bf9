/**
 * What a recording holds: operations by order and migratetype, how long blocks live, how many pages are in use over time.
 *
 * A recording may be seen at two levels. Requests are what the kernel's callers asked for (A and F); block operations are
 * what reached the free lists (Z, D, O and P). Each level is counted on its own.
 */
import { PAGEBLOCK_PAGES } from "./allocator.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import type { Recording } from "./recording.ts";

/** Points of the table of pages in use. */
const POINTS = 20;

/** How long blocks of one order lived, us; only those whose allocation and free are both recorded. */
export interface Lifetimes {
  /** Order of the blocks. */
  readonly order: number;
  /** Number of blocks. */
  readonly count: number;
  /** Half of them lived no longer. */
  readonly p50Us: number;
  /** Nine of ten lived no longer. */
  readonly p90Us: number;
  /** 99 of 100 lived no longer. */
  readonly p99Us: number;
  /** The longest life. */
  readonly maxUs: number;
  /** Blocks freed without a recorded allocation: they were in use when the recording began. */
  readonly aliveAtStart: number;
  /** Blocks allocated and not freed. */
  readonly aliveAtEnd: number;
}

/** Operations of one level. */
export interface LevelStat {
  /** Requests (A, F) or blocks of the free lists (Z, D, O, P). */
  readonly level: "requests" | "free lists";
  /** Number of allocations. */
  readonly allocations: number;
  /** Number of frees. */
  readonly frees: number;
  /** Operations a second of recorded time. */
  readonly operationsPerSecond: number;
  /** By order: allocations and frees. */
  readonly orders: readonly { readonly order: number; readonly allocations: number; readonly frees: number }[];
  /** Allocations by migratetype. */
  readonly migratetypes: readonly {
    readonly migratetype: number;
    readonly allocations: number;
    readonly pages: number;
  }[];
  /** By order, how long blocks lived. */
  readonly lifetimes: readonly Lifetimes[];
  /** Frees of a block in other parts than it was allocated in; each ends the life of what begins at its page. */
  readonly freedInParts: number;
  /** Pages known to be in use, at equal distances of time; what was in use before and is never freed is not known. */
  readonly live: readonly { readonly timeUs: number; readonly pages: number }[];
  /** The most pages known to be in use. */
  readonly livePagesMax: number;
}

/** What a recording holds. */
export interface TraceStat {
  /** Number of rows. */
  readonly rows: number;
  /** Time from the first row to the last, us. */
  readonly durationUs: number;
  /** Rows by event. */
  readonly events: Readonly<Record<string, number>>;
  /** Rows by CPU. */
  readonly cpus: Readonly<Record<string, number>>;
  /** The levels of which the recording has rows. */
  readonly levels: readonly LevelStat[];
  /** Snapshots: tag, row of the file, time. */
  readonly snapshots: readonly Place[];
  /** Marks of the workload. */
  readonly marks: readonly Place[];
}

/** A row with a text. */
export interface Place {
  /** The text. */
  readonly text: string;
  /** Row of the file; the header is 1. */
  readonly row: number;
  /** Time since the first row, us. */
  readonly timeUs: number;
}

/**
 * Counts a recording.
 *
 * ```ts
 * import { readRecording } from "./recording.ts";
 * import { traceStat } from "./trace_stat.ts";
 * const text = "dt_us,ev,pfn,order,mt,x\n0,Z,512,9,1,\n7,D,512,9,1,\n";
 * const [level] = traceStat(readRecording(new TextEncoder().encode(text))).levels;
 * if (level.lifetimes[0].maxUs !== 7) throw new Error("one block lived 7 us");
 * ```
 */
export function traceStat(recording: Recording): TraceStat {
  const { count, event, cpu, text } = recording;
  const timeUs = timesUs(recording);
  const events = new Float64Array(256);
  const cpus = new Map<number, number>();
  for (let row = 0; row < count; row++) {
    events[event[row]]++;
    cpus.set(cpu[row], (cpus.get(cpu[row]) ?? 0) + 1);
  }
  const places = (code: number) =>
    [...text].filter(([row]) => event[row] === code).map(([row, name]) => ({
      text: name,
      row: row + 2,
      timeUs: timeUs[row],
    }));
  const named = Array.from(events, (rows, code): [string, number] => [String.fromCharCode(code), rows]);
  const levels = [
    levelOf(recording, timeUs, "requests", "A", "F"),
    levelOf(recording, timeUs, "free lists", fallbacksAllocate(recording) ? "ZX" : "Z", "DOP"),
  ];
  return {
    rows: count,
    durationUs: count === 0 ? 0 : timeUs[count - 1],
    events: Object.fromEntries(named.filter(([, rows]) => rows > 0).sort((a, b) => b[1] - a[1])),
    cpus: Object.fromEntries([...cpus].sort((a, b) => a[0] - b[0])),
    levels: levels.filter(({ allocations, frees }) => allocations + frees > 0),
    snapshots: places(83),
    marks: places(77),
  };
}

/** Times of the rows since the first one. */
function timesUs({ count, deltaUs }: Recording): Float64Array {
  const timeUs = new Float64Array(count);
  for (let row = 1; row < count; row++) timeUs[row] = timeUs[row - 1] + deltaUs[row];
  return timeUs;
}

/** Up to Linux 6.9 the row of the block follows its fallback directly; since 6.10 the fallback is the allocation. */
function fallbacksAllocate({ count, event, cpu }: Recording): boolean {
  const lastOfCpu = new Map<number, number>();
  for (let row = 0; row < count; row++) {
    if (lastOfCpu.get(cpu[row]) === 88 && event[row] !== 90) return true;
    lastOfCpu.set(cpu[row], event[row]);
  }
  return false;
}

function levelOf(
  recording: Recording,
  timeUs: Float64Array,
  level: LevelStat["level"],
  allocs: string,
  frees: string,
): LevelStat {
  const kinds = new Int8Array(256);
  for (const name of allocs) kinds[name.charCodeAt(0)] = 1;
  for (const name of frees) kinds[name.charCodeAt(0)] = -1;
  const counter = new LevelCounter(recording, timeUs, kinds);
  return { level, ...counter.count() };
}

/** Counts one level: `kinds` is 1 for the events that allocate and -1 for those that free. */
class LevelCounter {
  #recording: Recording;
  #timeUs: Float64Array;
  #kinds: Int8Array;
  /** Row of the allocation of a page, + 1, by chunks of pages, so that a far page costs no memory for those before it. */
  #chunks = new Map<number, Int32Array>();
  #orders = Array.from({ length: ORDER_PAGES.length }, () => new OrderCounter());
  #types = new Map<number, { allocations: number; pages: number }>();
  #freedInParts = 0;
  /** Pages freed that were in use before. */
  #startPages = 0;

  constructor(recording: Recording, timeUs: Float64Array, kinds: Int8Array) {
    this.#recording = recording;
    this.#timeUs = timeUs;
    this.#kinds = kinds;
  }

  count(): Omit<LevelStat, "level"> {
    const { count, event, pfn, order } = this.#recording;
    for (let row = 0; row < count; row++) {
      const kind = this.#kinds[event[row]];
      if (kind === 0 || pfn[row] < 0 || order[row] < 0) continue;
      if (kind > 0) this.#alloc(row);
      else this.#free(row);
    }
    for (const chunk of this.#chunks.values()) {
      for (const row of chunk) if (row > 0) this.#orders[order[row - 1]].aliveAtEnd++;
    }
    const used = this.#orders.map((counter, index) => ({ order: index, counter })).filter(({ counter }) =>
      counter.used
    );
    const sum = (of: (counter: OrderCounter) => number) => used.reduce((total, { counter }) => total + of(counter), 0);
    const [allocations, frees] = [sum((one) => one.allocations), sum((one) => one.frees)];
    const seconds = count === 0 ? 0 : this.#timeUs[count - 1] / 1e6;
    return {
      allocations,
      frees,
      operationsPerSecond: seconds > 0 ? (allocations + frees) / seconds : 0,
      orders: used.map(({ order, counter }) => ({ order, allocations: counter.allocations, frees: counter.frees })),
      migratetypes: [...this.#types].sort((a, b) => a[0] - b[0]).map(([migratetype, of]) => ({ migratetype, ...of })),
      lifetimes: used.map(({ order, counter }) => ({ order, ...counter.lifetimes() })),
      freedInParts: this.#freedInParts,
      ...this.#live(),
    };
  }

  #alloc(row: number): void {
    const { pfn, order, migratetype } = this.#recording;
    this.#orders[order[row]].allocations++;
    const type = this.#types.get(migratetype[row]) ?? { allocations: 0, pages: 0 };
    type.allocations++;
    type.pages += ORDER_PAGES[order[row]];
    this.#types.set(migratetype[row], type);
    const chunk = this.#chunk(pfn[row]);
    chunk[pfn[row] % PAGEBLOCK_PAGES] = row + 1;
  }

  #free(row: number): void {
    const { pfn, order } = this.#recording;
    const counter = this.#orders[order[row]];
    counter.frees++;
    const chunk = this.#chunk(pfn[row]);
    const start = chunk[pfn[row] % PAGEBLOCK_PAGES] - 1;
    chunk[pfn[row] % PAGEBLOCK_PAGES] = 0;
    if (start < 0) {
      counter.aliveAtStart++;
      this.#startPages += ORDER_PAGES[order[row]];
      return;
    }
    if (order[start] !== order[row]) this.#freedInParts++;
    this.#orders[order[start]].ended(this.#timeUs[row] - this.#timeUs[start]);
  }

  #chunk(pfn: number): Int32Array {
    const index = Math.floor(pfn / PAGEBLOCK_PAGES);
    let chunk = this.#chunks.get(index);
    if (chunk === undefined) this.#chunks.set(index, chunk = new Int32Array(PAGEBLOCK_PAGES));
    return chunk;
  }

  /** Pages in use over time: those that are freed later count from the beginning. */
  #live(): Pick<LevelStat, "live" | "livePagesMax"> {
    const { count, event, order } = this.#recording;
    const durationUs = count === 0 ? 0 : this.#timeUs[count - 1];
    const live: { timeUs: number; pages: number }[] = [];
    let pages = this.#startPages;
    let livePagesMax = pages;
    for (let row = 0, point = 0; point <= POINTS; point++) {
      const timeUs = durationUs * (point / POINTS);
      for (; row < count && this.#timeUs[row] <= timeUs; row++) {
        const kind = this.#kinds[event[row]];
        if (kind === 0 || order[row] < 0) continue;
        pages += kind * ORDER_PAGES[order[row]];
        livePagesMax = Math.max(livePagesMax, pages);
      }
      live.push({ timeUs: Math.round(timeUs), pages });
    }
    return { live, livePagesMax };
  }
}

/** Operations and lifetimes of one order. */
class OrderCounter {
  allocations = 0;
  frees = 0;
  aliveAtStart = 0;
  aliveAtEnd = 0;
  #livesUs: number[] = [];

  get used(): boolean {
    return this.allocations + this.frees > 0;
  }

  ended(lifeUs: number): void {
    this.#livesUs.push(lifeUs);
  }

  lifetimes(): Omit<Lifetimes, "order"> {
    const sorted = Float64Array.from(this.#livesUs).sort();
    const count = sorted.length;
    const rank = (share: number) => count === 0 ? 0 : sorted[Math.max(0, Math.ceil(count * share) - 1)];
    return {
      count,
      p50Us: rank(0.5),
      p90Us: rank(0.9),
      p99Us: rank(0.99),
      maxUs: rank(1),
      aliveAtStart: this.aliveAtStart,
      aliveAtEnd: this.aliveAtEnd,
    };
  }
}
