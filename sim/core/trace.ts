/**
 * The event trace: every step of a run is one row, written by the models and read by readers.
 *
 * Rows are kept in typed columns and handed to the readers in blocks, so that a row costs no object. Models never read the
 * trace; CSV, metrics, fingerprints and invariants are readers of it.
 */

/** Who writes an event. */
export type Actor = "guest" | "driver" | "queue" | "host";

/** Event names by code. Codes are part of the fingerprint: append only, never reorder. */
export const EVENTS: readonly string[] = [
  "present",
  "alloc",
  "free",
  "alloc_fail",
  "isolate",
  "put_back",
  "hold",
  "release",
  "stall",
  "end",
  "write",
  "zero",
  "pin",
  "unpin",
  "pass",
  "send",
  "ack",
  "kick",
  "exit",
  "interrupt",
  "discard",
  "skip",
  "give_back",
  "drop",
  "fault",
  "swap_out",
  "swap_in",
  "near_miss",
  "violation",
  "log_sync",
  "log_clear",
  "page_sent",
  "round",
  "pause",
  "resume",
  "online_pages",
  "offline_pages",
  "offline_fail",
  "preserve",
  "unpreserve",
  "serialize",
  "kexec",
  "kho_walk",
  "reserve",
  "init_memmap",
  "free_all",
  "restore",
  "kswapd",
  "direct_reclaim",
  "drop_caches",
  "compaction",
  "khugepaged",
  "oom_kill",
];

/** Event codes by name, for the models. */
export const Event = {
  present: 0,
  alloc: 1,
  free: 2,
  allocFail: 3,
  isolate: 4,
  putBack: 5,
  hold: 6,
  release: 7,
  stall: 8,
  end: 9,
  write: 10,
  zero: 11,
  pin: 12,
  unpin: 13,
  pass: 14,
  send: 15,
  ack: 16,
  kick: 17,
  exit: 18,
  interrupt: 19,
  discard: 20,
  skip: 21,
  giveBack: 22,
  drop: 23,
  fault: 24,
  swapOut: 25,
  swapIn: 26,
  nearMiss: 27,
  violation: 28,
  logSync: 29,
  logClear: 30,
  pageSent: 31,
  round: 32,
  pause: 33,
  resume: 34,
  onlinePages: 35,
  offlinePages: 36,
  offlineFail: 37,
  preserve: 38,
  unpreserve: 39,
  serialize: 40,
  kexec: 41,
  khoWalk: 42,
  reserve: 43,
  initMemmap: 44,
  freeAll: 45,
  restore: 46,
  kswapd: 47,
  directReclaim: 48,
  dropCaches: 49,
  compaction: 50,
  khugepaged: 51,
  oomKill: 52,
} as const;

/** The actor of an event code. */
export function actorOf(event: number): Actor {
  // Codes are only appended, so those of memory hotplug stand behind the host's.
  if (event <= Event.unpin || (event >= Event.onlinePages && event <= Event.offlineFail)) return "guest";
  if (event >= Event.kswapd) return "guest";
  if (event <= Event.ack) return "driver";
  if (event <= Event.interrupt) return "queue";
  return "host";
}

/** Rows that exist only under `--check`; they are not part of the fingerprint. */
export function isCheckOnly(event: number): boolean {
  return event >= Event.write && event <= Event.unpin;
}

/** Rows in one block handed to the readers. */
export const BLOCK_ROWS = 2048;

/** A field that does not apply to a row (an empty cell of the CSV). */
export const NONE = -1;

/** A block of rows in typed columns; only the first `count` entries are valid, and only until the reader returns. */
export class TraceRows {
  /** Number of valid rows. */
  count = 0;
  /** Virtual time, ns. */
  readonly timeNs: Float64Array = new Float64Array(BLOCK_ROWS);
  /** Event code, see {@link EVENTS}. */
  readonly event: Uint8Array = new Uint8Array(BLOCK_ROWS);
  /** First page frame number of the pages the row is about. */
  readonly pfn: Float64Array = new Float64Array(BLOCK_ROWS);
  /** Number of pages. */
  readonly pages: Float64Array = new Float64Array(BLOCK_ROWS);
  /** Order of the block, 0 to 10. */
  readonly order: Int8Array = new Int8Array(BLOCK_ROWS);
  /** Index of the zone. */
  readonly zone: Int8Array = new Int8Array(BLOCK_ROWS);
  /** Message id. */
  readonly message: Float64Array = new Float64Array(BLOCK_ROWS);
  /** Payload bytes on the wire. */
  readonly bytes: Float64Array = new Float64Array(BLOCK_ROWS);
  /** Time the step takes, ns. */
  readonly costNs: Float64Array = new Float64Array(BLOCK_ROWS);
  /** Index of the guest. */
  readonly guest: Int16Array = new Int16Array(BLOCK_ROWS);
  /** Index of the virtual CPU. */
  readonly cpu: Int16Array = new Int16Array(BLOCK_ROWS);
}

/** Something that reads the rows of a run in order: a writer, a metric, a checker. */
export interface TraceReader {
  /** Reads a block of rows. The block is reused afterwards: copy what must be kept. */
  read(rows: TraceRows): void;
}

/** The trace of one run. */
export class Trace {
  /** Virtual time of the rows written now, ns; moved by the engine. */
  timeNs = 0;
  /** Whether the rows that only checkers need ({@link isCheckOnly}) are wanted. */
  readonly checked: boolean;
  #readers: readonly TraceReader[];
  #rows = new TraceRows();
  #written = 0;
  #counted = 0;
  #limit = Infinity;
  #limitReached = () => {};

  /** A trace that hands its rows to `readers`; `checked` asks for the rows that only checkers need. */
  constructor(readers: readonly TraceReader[], checked = false) {
    this.#readers = readers;
    this.checked = checked;
  }

  /** Hands the rows that are written from now on to these readers instead. */
  readTo(readers: readonly TraceReader[]): void {
    this.flush();
    this.#readers = readers;
  }

  /** Rows written so far. */
  get written(): number {
    return this.#written;
  }

  /** Rows written so far, without those that only checkers need. */
  get counted(): number {
    return this.#counted;
  }

  /** Calls `reached` as soon as `rows` rows are written that do not only serve checkers. */
  watchLimit(rows: number, reached: () => void): void {
    this.#limit = rows;
    this.#limitReached = reached;
  }

  /**
   * Appends a row at the current virtual time. Fields that do not apply are {@link NONE}.
   * `pages`, `bytes` and `costNs` (ns) are non-negative integers.
   */
  write(
    event: number,
    pfn: number,
    pages: number,
    order: number,
    zone: number,
    message: number,
    bytes: number,
    costNs: number,
    guest: number,
    cpu: number,
  ): void {
    const rows = this.#rows;
    const row = rows.count;
    rows.timeNs[row] = this.timeNs;
    rows.event[row] = event;
    rows.pfn[row] = pfn;
    rows.pages[row] = pages;
    rows.order[row] = order;
    rows.zone[row] = zone;
    rows.message[row] = message;
    rows.bytes[row] = bytes;
    rows.costNs[row] = costNs;
    rows.guest[row] = guest;
    rows.cpu[row] = cpu;
    rows.count = row + 1;
    this.#written++;
    if (!isCheckOnly(event) && ++this.#counted === this.#limit) this.#limitReached();
    if (row + 1 === BLOCK_ROWS) this.flush();
  }

  /** Hands the rows written so far to the readers. */
  flush(): void {
    if (this.#rows.count === 0) return;
    for (const reader of this.#readers) reader.read(this.#rows);
    this.#rows.count = 0;
  }
}
