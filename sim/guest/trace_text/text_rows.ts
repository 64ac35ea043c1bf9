/**
 * From the body of one line to a row of a recording. Rows that need their neighbours on the same CPU (a return after its call,
 * a free after the probe of its function, a fallback after its block) are completed when those come.
 */
import { InputError } from "../../core/options.ts";
import { MIGRATETYPE_COUNT } from "../allocator.ts";
import { readRecording } from "../recording.ts";
import { TraceRows } from "../trace_rows.ts";
import { gfpFlags, type KernelGeneration } from "./gfp_flags.ts";
import { FieldError, fieldNumber, fieldText, isReturn, Kind, orderOf, pointer } from "./kernel_events.ts";
import { PageBase } from "./page_base.ts";

/** Character codes of the events. */
export const CODE = {
  A: 65,
  B: 66,
  D: 68,
  F: 70,
  I: 73,
  K: 75,
  M: 77,
  O: 79,
  P: 80,
  S: 83,
  U: 85,
  X: 88,
  Y: 89,
  Z: 90,
  i: 105,
  p: 112,
  z: 122,
} as const;

/** What marks begin with that stand for rows: a snapshot, and any row that has no event of the kernel. */
export const SNAPSHOT_MARK = "hintsim:S ";
/** A row without an event of its own: event, page, order, migratetype and x. */
export const ROW_MARK = "hintsim:row ";
/** What a mark of the workload must not begin with. */
export const OWN_MARK = "hintsim:";

/** Most CPUs of a recording. */
export const CPUS_MAX = 4096;

const PFN_MAX = 2 ** 36;
const TYPE_MAX = MIGRATETYPE_COUNT - 1;

/** Rows while they are read from a text. */
export class TextRows {
  /** The rows so far; event 0 marks one that is dropped at the end. */
  readonly rows = new TraceRows();
  /** Allocations that the kernel could not serve. */
  failedAllocations = 0;
  /** Probe rows that were dropped because their page is not known. */
  unknownPages = 0;
  #base = new PageBase();
  #gfp = new Map<string, number>();
  #last = new Int32Array(CPUS_MAX).fill(-1);
  /** A call that waits for its return, and a free that waits for its page, by CPU. */
  #isolate = new Int32Array(CPUS_MAX).fill(-1);
  #freePagesOk = new Int32Array(CPUS_MAX).fill(-1);
  #zones: { row: number; zone: bigint }[] = [];
  #kernel: () => KernelGeneration;
  #none: number;

  /** Rows of a kernel, which may become known late. */
  constructor(kernel: () => KernelGeneration) {
    this.#kernel = kernel;
    this.#none = this.rows.number("");
  }

  /** Adds what a line says. Throws {@link FieldError}. */
  add(kind: number, body: string, cpu: number, timeUs: number): void {
    switch (kind) {
      case Kind.alloc:
        return this.#alloc(body, cpu, timeUs);
      case Kind.zoneLocked:
        return this.#zoneLocked(body, cpu, timeUs);
      case Kind.free:
        return this.#free(body, cpu, timeUs);
      case Kind.freeBatched:
        return this.#push(timeUs, CODE.B, pfnOf(body), -1, -1, this.#none, cpu);
      case Kind.drain:
        return this.#push(timeUs, CODE.D, pfnOf(body), orderOf(body), typeOf(body), this.#none, cpu);
      case Kind.extfrag:
        return this.#extfrag(body, cpu, timeUs);
      case Kind.mark:
        return this.#mark(body.slice(1), cpu, timeUs);
      case Kind.print:
        return this.#mark(body.replace(/^ *(?:tracing_mark_write|[0-9a-fx]+):(?: |$)/, ""), cpu, timeUs);
      case Kind.bulk:
        return this.#bulk(body, cpu, timeUs);
      case Kind.isolate:
        return isReturn(body) ? this.#isolated(body, cpu) : this.#probe(CODE.I, kind, body, cpu, timeUs);
      case Kind.decay:
        return this.#decay(body, cpu, timeUs);
      default:
        return this.#probe(probeEvent(kind, this.#kernel()), kind, body, cpu, timeUs);
    }
  }

  /** The zones of decay_pcp_high are addresses in one array: in ascending order they are the zones. */
  resolveZones(): void {
    const zones = [...new Set(this.#zones.map(({ zone }) => zone))].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    for (const { row, zone } of this.#zones) this.rows.migratetype[row] = Math.min(TYPE_MAX, zones.indexOf(zone));
    this.unknownPages += this.#freePagesOk.reduce((sum, row) => sum + (row >= 0 ? 1 : 0), 0);
  }

  #push(timeUs: number, event: number, pfn: number, order: number, type: number, x: number, cpu: number): void {
    this.#last[cpu] = this.rows.push(timeUs, event, pfn, order, type, x, cpu);
  }

  #alloc(body: string, cpu: number, timeUs: number): void {
    const pfn = pfnOf(body);
    if (pfn === 0) return void this.failedAllocations++;
    this.#base.learn(body, pfn);
    const text = fieldText(body, "gfp_flags") ?? "";
    let x = this.#gfp.get(text);
    if (x === undefined) {
      // The kernel prints nothing here when addresses are not hashed (6.1).
      const flags = text === "" ? undefined : gfpFlags(text, this.#kernel());
      if (flags === undefined && text !== "") throw new FieldError("gfp_flags", text);
      this.#gfp.set(text, x = this.rows.number(flags === undefined ? "" : flags.toString(16)));
    }
    this.#push(timeUs, CODE.A, pfn, orderOf(body), typeOf(body), x, cpu);
  }

  #zoneLocked(body: string, cpu: number, timeUs: number): void {
    const pfn = pfnOf(body);
    if (pfn === 0) return void this.failedAllocations++;
    const refill = fieldNumber(body, "percpu_refill", 1, false);
    const x = refill < 0 ? this.#none : this.rows.number(String(refill));
    this.#push(timeUs, CODE.Z, pfn, orderOf(body), typeOf(body), x, cpu);
  }

  #free(body: string, cpu: number, timeUs: number): void {
    const pfn = pfnOf(body);
    const order = orderOf(body);
    const waiting = this.#freePagesOk[cpu];
    if (waiting >= 0 && this.rows.order[waiting] === order) {
      this.rows.pfn[waiting] = pfn;
      this.rows.event[waiting] = probeEvent(Kind.freePagesOk, this.#kernel());
      this.#freePagesOk[cpu] = -1;
    }
    this.#push(timeUs, CODE.F, pfn, order, -1, this.#none, cpu);
  }

  #extfrag(body: string, cpu: number, timeUs: number): void {
    const pfn = pfnOf(body);
    const last = this.#last[cpu];
    // Since 6.10 the row of the block comes first when the pageblock was claimed; the fallback carries the allocation.
    if (this.#kernel() === "6.12" && last >= 0 && this.rows.event[last] === CODE.Z && this.rows.pfn[last] === pfn) {
      this.rows.event[last] = CODE.z;
    }
    const order = orderOf(body, "fallback_order");
    const type = fieldNumber(body, "fallback_migratetype", TYPE_MAX);
    const x = this.rows.number(`${order}/${type}/${fieldNumber(body, "change_ownership", 1)}`);
    const wanted = fieldNumber(body, "alloc_migratetype", TYPE_MAX);
    this.#push(timeUs, CODE.X, pfn, orderOf(body, "alloc_order"), wanted, x, cpu);
  }

  #bulk(body: string, cpu: number, timeUs: number): void {
    if (!isReturn(body)) return;
    const pages = fieldNumber(body, "ret", 2 ** 31);
    if (pages > 0) this.#push(timeUs, CODE.K, -1, -1, -1, this.rows.number(String(pages)), cpu);
  }

  #decay(body: string, cpu: number, timeUs: number): void {
    const zone = pointer(fieldText(body, "zone"));
    if (zone === undefined) throw new FieldError("zone", fieldText(body, "zone"));
    const index = zone <= BigInt(TYPE_MAX) ? Number(zone) : -1;
    this.#push(timeUs, CODE.Y, -1, -1, index, this.#none, cpu);
    if (index < 0) this.#zones.push({ row: this.#last[cpu], zone });
  }

  /** The function of a block: its page may be told by its number or by the address of its descriptor. */
  #probe(event: number, kind: number, body: string, cpu: number, timeUs: number): void {
    const order = orderOf(body);
    let pfn = fieldNumber(body, "pfn", PFN_MAX, false);
    if (pfn < 0) pfn = this.#base.pfnOf(body, PFN_MAX);
    const type = kind === Kind.isolate ? -1 : fieldNumber(body, "mt", TYPE_MAX, false);
    const fpi = fieldNumber(body, "fpi", 2 ** 32, false);
    const x = fpi < 0 ? this.#none : this.rows.number(fpi.toString(16));
    if (pfn < 0 && kind !== Kind.freePagesOk) return void this.unknownPages++;
    if (pfn < 0 && this.#freePagesOk[cpu] >= 0) this.unknownPages++;
    this.#push(timeUs, pfn < 0 ? 0 : event, pfn, order, type, x, cpu);
    if (pfn < 0) this.#freePagesOk[cpu] = this.#last[cpu];
    if (kind === Kind.isolate) this.#isolate[cpu] = this.#last[cpu];
  }

  #isolated(body: string, cpu: number): void {
    const row = this.#isolate[cpu];
    if (row < 0) return;
    if (fieldNumber(body, "ret", Number.MAX_SAFE_INTEGER) === 0) this.rows.event[row] = CODE.i;
    this.#isolate[cpu] = -1;
  }

  #mark(text: string, cpu: number, timeUs: number): void {
    if (text.startsWith(SNAPSHOT_MARK)) {
      this.#push(timeUs, CODE.S, -1, -1, -1, this.rows.number(csvText(text.slice(SNAPSHOT_MARK.length))), cpu);
    } else if (text.startsWith(ROW_MARK)) this.#row(text.slice(ROW_MARK.length), cpu, timeUs);
    else this.#push(timeUs, CODE.M, -1, -1, -1, this.rows.number(csvText(text)), cpu);
  }

  #row(text: string, cpu: number, timeUs: number): void {
    const cells = /^(\w),(\d*),(\d*),(\d*),(.*)$/.exec(text);
    try {
      if (cells === null) throw new InputError([], "");
      const row = readRecording(new TextEncoder().encode(`dt_us,ev,pfn,order,mt,x\n0,${text}\n`));
      const { event, pfn, order, migratetype } = row;
      this.#push(timeUs, event[0], pfn[0], order[0], migratetype[0], this.rows.number(cells[5]), cpu);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      throw new FieldError("row", text);
    }
  }
}

function probeEvent(kind: number, kernel: KernelGeneration): number {
  if (kind === Kind.freeOnePage) return CODE.O;
  if (kind === Kind.putback) return CODE.U;
  // Since 6.10 __free_pages_ok calls free_one_page, whose row carries the free.
  return kernel === "6.12" ? CODE.p : CODE.P;
}

/** A text as a cell at the end of a row: quoted only where it would be taken for a quoted one. */
function csvText(text: string): string {
  return text.startsWith('"') && text.endsWith('"') ? `"${text.replaceAll('"', '""')}"` : text;
}

function pfnOf(body: string): number {
  return fieldNumber(body, "pfn", PFN_MAX);
}

function typeOf(body: string): number {
  return fieldNumber(body, "migratetype", TYPE_MAX);
}
