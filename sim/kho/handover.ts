/**
 * The life of a handover on the engine: the old kernel preserves and takes back, serialises, jumps; the successor walks,
 * reserves, initialises its page descriptors, releases what is free, and runs. Every step is a row of the trace.
 *
 * From serialising to the successor's release of free memory nothing runs: the blackout. What comes before and after it
 * costs, but stops nobody.
 *
 * A design that serialises is finalized then (`kho_finalize`), and calls after that are refused; who finalizes before the last
 * call begins the blackout early. Linux 6.16 to 6.18; "kho: allow memory preservation state updates after finalization"
 * (Pasha Tatashin, November 2025) took that away on the way to the stateless design, which has nothing to finalize.
 */
import { Sim, type Task } from "../core/sim.ts";
import { Event, NONE, Trace, type TraceReader } from "../core/trace.ts";
import { PageBitmap } from "../memory/bitmap.ts";
import { Operations } from "../memory/page_set.ts";
import { ORDER_PAGES, PAGE_SIZE } from "../memory/range.ts";
import { BUDDY_ORDER_MAX, type FreeBlocks } from "./buddy_release.ts";
import { type KhoCosts, operationsNs } from "./costs.ts";
import { freeBeside, type Restored, restoreHandover, type RestoreMode } from "./restore.ts";
import { type KhoLayout, metadataAllocator } from "./scratch.ts";
import { type Handover, KhoError, pagesText, type Tracker, type TrackerPlugin } from "./tracker.ts";
import { KhoCall, KhoCalls, type KhoWorkload, RANGE } from "./workloads/workload.ts";

const BATCH = 4096;

/** What a handover is made of. */
export interface HandoverParts {
  /** The tracker's design. */
  readonly plugin: TrackerPlugin;
  /** What is preserved. */
  readonly workload: KhoWorkload;
  /** The machine. */
  readonly layout: KhoLayout;
  /** What things take. */
  readonly costs: KhoCosts;
  /** The time over which the calls come, ns. */
  readonly overNs: number;
  /** Regions that the successor reserves for itself before it restores. */
  readonly bootRegions: number;
  /** Threads of the successor that initialise page descriptors; 0 without deferred initialisation. */
  readonly threads: number;
}

/** What the old kernel did, and left. */
export interface HandedOver {
  /** What it handed over. */
  readonly handover: Handover;
  /** The tracker as it was when the blackout began. */
  readonly tracker: Tracker;
  /** What is preserved by all calls. */
  readonly kept: PageBitmap;
  /** The memory that the successor will have free. */
  readonly free: FreeBlocks;
  /** When the blackout began, ns. */
  readonly blackoutAtNs: number;
  /** Serialising, ns. */
  readonly serializeNs: number;
  /** Calls that preserve: of folios each counts. */
  readonly preserves: number;
  /** Calls that take back. */
  readonly unpreserves: number;
  /** What the calls took, ns; not rounded. */
  readonly callsNs: number;
  /** What the tracker did before the blackout. */
  readonly before: Operations;
  /** What it did in serialising. */
  readonly serializing: Operations;
}

/** A call that the kernel refuses. */
export class RefusedCall extends KhoError {
  /** Number of the call, from 0. */
  readonly call: number;

  /** The error of a call. */
  constructor(call: number, { code, message }: KhoError) {
    super(code, message);
    this.call = call;
  }
}

/** Runs the old kernel up to the end of serialising. Throws {@link RefusedCall}, and KhoError when its memory ends. */
export function handOver(parts: HandoverParts, readers: readonly TraceReader[]): HandedOver {
  const sim = new Sim(new Trace(readers));
  const old = new OldKernel(parts, sim);
  sim.spawn(old.run());
  sim.run();
  sim.trace.flush();
  return old.result!;
}

/**
 * Runs the successor: the rest of the blackout and what follows. Throws KhoError where it does not boot, and Error when it sees
 * other pages than were preserved.
 */
export function takeOver(
  parts: HandoverParts,
  handed: HandedOver,
  mode: RestoreMode,
  readers: readonly TraceReader[],
): TakenOver {
  const restored = restoreHandover({ ...parts, handover: handed.handover, free: handed.free, mode });
  refuseOther(handed.kept, restored.kept);
  const sim = new Sim(new Trace(readers));
  const startNs = handed.blackoutAtNs + handed.serializeNs;
  let endNs = startNs;
  const kind = sim.register("kexec", () => sim.spawn(successor(parts, handed, restored, sim, (ns) => endNs = ns)));
  sim.at(startNs, kind);
  sim.run();
  sim.trace.flush();
  return { restored, blackoutNs: endNs - handed.blackoutAtNs, endNs: sim.now };
}

/** What a successor took over. */
export interface TakenOver {
  /** The restore by its parts. */
  readonly restored: Restored;
  /** From the begin of serialising until the successor runs, ns. */
  readonly blackoutNs: number;
  /** The end of everything, ns. */
  readonly endNs: number;
}

/** The kernel that preserves. */
class OldKernel {
  result: HandedOver | undefined;
  #parts: HandoverParts;
  #sim: Sim;
  #tracker: Tracker;
  #allocate: (bytes: number) => number;
  #kept: PageBitmap;
  #kind: number;
  #preserves = 0;
  #unpreserves = 0;
  #index = 0;
  #callsNs = 0;
  #chargedNs = 0;

  constructor(parts: HandoverParts, sim: Sim) {
    const { layout, plugin } = parts;
    this.#parts = parts;
    this.#sim = sim;
    this.#kind = sim.register("preserve", () => {});
    this.#allocate = metadataAllocator(layout);
    this.#tracker = plugin.create(this.#allocate, { scratch: [layout.scratch] });
    this.#kept = new PageBitmap(layout.pages);
  }

  *run(): Task {
    const { workload, overNs } = this.#parts;
    const batch = new KhoCalls(BATCH);
    for (let rows = workload.fill(batch); rows > 0; rows = workload.fill(batch)) {
      for (let row = 0; row < rows; row++) {
        yield* this.#at(Math.floor(this.#index / workload.calls * overNs));
        if (batch.kind[row] === KhoCall.finalize) {
          yield* this.#finalize();
          this.#index++;
          continue;
        }
        const costNs = this.#call(batch, row);
        this.#index++;
        yield* this.#at(this.#sim.now + costNs);
      }
    }
    if (this.result !== undefined) return;
    yield* this.#at(overNs);
    yield* this.#serialize();
  }

  /** The user finalizes before the end (debugfs `kho/out/finalize`, `kho_out_finalize_set`). */
  *#finalize(): Task {
    if (this.#parts.plugin.stateless) return;
    if (this.result !== undefined) {
      throw new RefusedCall(this.#index, new KhoError("EEXIST", "KHO is finalized already"));
    }
    yield* this.#serialize();
  }

  /** Waits until a time; without the queue as long as nothing else happens. */
  *#at(timeNs: number): Task {
    if (timeNs > this.#sim.now && !this.#sim.proceed(timeNs, this.#kind)) yield timeNs - this.#sim.now;
  }

  /** One call, with its row; returns what it takes, ns. */
  #call(batch: KhoCalls, row: number): number {
    const pfn = batch.pfn[row];
    const count = batch.count[row];
    const order = batch.order[row];
    const isPreserve = batch.kind[row] === KhoCall.preserve;
    const before = operationsNs(this.#tracker.operations, this.#parts.costs);
    try {
      this.#refuseFinalized(isPreserve, pfn, count);
      if (isPreserve) this.#preserve(pfn, count, order);
      else this.#unpreserve(pfn, count, order);
    } catch (error) {
      throw error instanceof KhoError ? new RefusedCall(this.#index, error) : error;
    }
    this.#callsNs += operationsNs(this.#tracker.operations, this.#parts.costs) - before;
    const costNs = Math.round(this.#callsNs) - this.#chargedNs;
    this.#chargedNs += costNs;
    const event = isPreserve ? Event.preserve : Event.unpreserve;
    const shown = order > BUDDY_ORDER_MAX ? NONE : order;
    this.#sim.trace.write(event, pfn, count, shown, NONE, NONE, NONE, costNs, NONE, NONE);
    return costNs;
  }

  /** What is serialised does not change any more (`kho_out.finalized` in `kho_preserve_folio`, `kho_unpreserve_phys`...). */
  #refuseFinalized(isPreserve: boolean, pfn: number, count: number): void {
    if (this.result === undefined) return;
    const what = isPreserve ? "preserve" : "unpreserve";
    throw new KhoError(
      "EBUSY",
      `cannot ${what} ${pagesText(pfn, count)}: KHO is finalized, what is preserved is serialised`,
    );
  }

  #preserve(pfn: number, count: number, order: number): void {
    const { pages } = this.#parts.layout;
    if (pfn + count > pages) {
      throw new KhoError("EINVAL", `cannot preserve ${pagesText(pfn, count)}: memory ends with page ${pages - 1}`);
    }
    const tracker = this.#tracker;
    if (order === RANGE) {
      this.#preserves++;
      tracker.preserve(pfn, count);
    } else {
      const step = ORDER_PAGES[order];
      for (let at = pfn; at < pfn + count; at += step) tracker.preserveFolio(at, order);
      this.#preserves += count / step;
    }
    this.#kept.setRange(pfn, count);
  }

  #unpreserve(pfn: number, count: number, order: number): void {
    const step = order === RANGE ? count : ORDER_PAGES[order];
    for (let at = pfn; at < pfn + count; at += step) this.#tracker.unpreserve(at, step);
    this.#unpreserves += count / step;
    this.#kept.clearRange(pfn, count);
  }

  /** The first part of the blackout. */
  *#serialize(): Task {
    const tracker = this.#tracker;
    const before = Object.assign(new Operations(), tracker.operations);
    const blackoutAtNs = this.#sim.now;
    const handover = tracker.serialize(this.#allocate);
    const serializing = difference(tracker.operations, before);
    const serializeNs = Math.round(operationsNs(serializing, this.#parts.costs));
    const { serializedBytes } = handover;
    this.#sim.trace.write(Event.serialize, NONE, NONE, NONE, NONE, NONE, serializedBytes, serializeNs, NONE, NONE);
    yield* this.#at(blackoutAtNs + serializeNs);
    this.result = {
      handover,
      tracker,
      kept: this.#kept,
      free: freeBeside(this.#kept, this.#parts.layout, this.#parts.bootRegions),
      blackoutAtNs,
      serializeNs,
      preserves: this.#preserves,
      unpreserves: this.#unpreserves,
      callsNs: this.#callsNs,
      before,
      serializing,
    };
  }
}

function difference(after: Operations, before: Operations): Operations {
  const result = new Operations();
  for (const key of Object.keys(before) as (keyof Operations)[]) result[key] = after[key] - before[key];
  return result;
}

/** The new kernel; `ran` hears when the blackout is over. */
function* successor(
  { costs }: HandoverParts,
  { handover, kept, free }: HandedOver,
  restored: Restored,
  sim: Sim,
  ran: (timeNs: number) => void,
): Task {
  const { trace } = sim;
  const step = function* (event: number, pages: number, bytes: number, ns: number): Task {
    const costNs = Math.round(ns);
    trace.write(event, NONE, pages, NONE, NONE, NONE, bytes, costNs, NONE, NONE);
    if (costNs > 0) yield costNs;
  };
  const { walk, reserve, memmap, buddy, claimNs, memblockBytes } = restored;
  yield* step(Event.kexec, NONE, NONE, costs.kexecNs + costs.bootNs);
  yield* step(Event.khoWalk, kept.count, handover.keptBytes, walk.ns);
  if (reserve.visits > 0) yield* step(Event.reserve, kept.count, memblockBytes, reserve.ns);
  yield* step(Event.initMemmap, memmap.descriptors, NONE, memmap.ns);
  yield* step(Event.freeAll, free.pages, NONE, buddy.ns);
  ran(sim.now);
  yield* step(Event.restore, kept.count, NONE, claimNs);
  trace.write(Event.end, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE);
}

/** What is handed over must be what arrives. */
function refuseOther(kept: PageBitmap, seen: PageBitmap): void {
  const both = kept.countBoth(seen);
  if (both === kept.count && both === seen.count) return;
  const [missing, more] = [kept.count - both, seen.count - both];
  throw new Error(
    `the successor sees other pages than were preserved: ${missing * PAGE_SIZE} bytes are missing, ` +
      `${more * PAGE_SIZE} were never preserved`,
  );
}
