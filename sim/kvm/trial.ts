/** One table with the slots of one guest: what setting up, asking, discarding and changing takes. */
import type { Random } from "../core/random.ts";
import { PAGE_SIZE, type Range } from "../memory/range.ts";
import { coldCycles, updateNs, warmCycles } from "./costs.ts";
import { type Locality, lookupStream } from "./lookups.ts";
import { type MemoryRegion, VmSlots } from "./memory_region.ts";
import { KvmError, type MemorySlot, SlotOperations, type SlotTablePlugin } from "./slot_table.ts";

/** Of each kind of update so many are tried, on slots from the first to the last. */
const UPDATES = 16;
/** So many discards are walked. */
const DISCARDS = 256;

/** Lookups, in cycles. */
export interface LookupFigures {
  /** Mean slots and nodes looked at. */
  readonly compares: number;
  /** Mean cycles, the table in the caches. */
  readonly meanCycles: number;
  /** Cycles of the slowest, with nothing in the caches. */
  readonly worstCycles: number;
}

/** Updates of one kind, means. */
export interface UpdateFigures {
  /** Time, ns. */
  readonly ns: number;
  /** Swaps, each with a wait for its readers. */
  readonly swaps: number;
  /** Bytes copied. */
  readonly copiedBytes: number;
  /** Mappings of EPT that the guest has to fault in again. */
  readonly refaults: number;
}

/** Kinds of updates that are tried. */
export const UPDATE_KINDS = ["create", "flags", "move", "delete"] as const;

/** What is tried. */
export interface TrialParts {
  /** The design. */
  readonly plugin: SlotTablePlugin;
  /** Its parsed options. */
  readonly options: unknown;
  /** Kernel memory for the slots, bytes. */
  readonly memory: number;
  /** Bytes that one mapping of EPT covers. */
  readonly mapping: number;
}

/** A VM that counts. */
export class Trial {
  readonly vm: VmSlots;
  /** Why a call was refused that the guest made, and which. */
  refusal: { readonly index: number; readonly error: KvmError } | undefined;
  /** Time of all calls that made the slots, ns. */
  setupNs = 0;
  /** Mappings that these calls dropped and that have to be faulted in again. */
  setupRefaults = 0;
  readonly #mappingPages: number;
  #mapped = 0;
  #dropped = 0;

  /** A VM without slots. Throws {@link KvmError} when not even the empty table has room. */
  constructor({ mapping, ...parts }: TrialParts) {
    this.#mappingPages = mapping / PAGE_SIZE;
    this.vm = new VmSlots({ ...parts, zap: (range) => this.#zap(range) });
  }

  /** Makes calls until one is refused. */
  setUp(regions: readonly MemoryRegion[]): void {
    const before = this.vm.table.operations.now();
    for (const [index, region] of regions.entries()) {
      try {
        this.#call(region);
      } catch (error) {
        if (!(error instanceof KvmError)) throw error;
        this.refusal = { index, error };
        break;
      }
    }
    this.setupNs = updateNs(this.vm.table.operations.since(before));
    this.setupRefaults = this.#dropped;
  }

  /** Lookups by one locality, the vCPUs in turn. */
  lookups(locality: Locality, count: number, vcpus: number, random: Random): LookupFigures {
    const next = lookupStream(locality, [...this.vm.table.all()], random);
    return this.ask(count, (table, n) => void table.byGfn(next(), n % vcpus));
  }

  /** Discards of so many pages, anywhere in the VMM's memory. */
  discards(pages: number, random: Random): LookupFigures {
    const slots = [...this.vm.table.all()];
    return this.ask(Math.min(DISCARDS, 4 * slots.length), (table) => {
      const slot = slots[random.nextBelow(slots.length)];
      const pfn = slot.hvaPage + random.nextBelow(Math.max(1, slot.pages - pages + 1));
      table.walkHva({ pfn, count: Math.min(pages, slot.pages) }, () => {});
    });
  }

  /** Asks so many times, and says what it took. */
  ask(count: number, question: (table: VmSlots["table"], n: number) => void): LookupFigures {
    const { table } = this.vm;
    const { operations, slotBytes } = table;
    const before = operations.now();
    const one = new SlotOperations();
    let worstCycles = 0;
    for (let n = 0; n < count; n++) {
      const { scans, cacheLooks, probes, writes } = operations;
      question(table, n);
      one.scans = operations.scans - scans;
      one.cacheLooks = operations.cacheLooks - cacheLooks;
      one.probes = operations.probes - probes;
      one.writes = operations.writes - writes;
      worstCycles = Math.max(worstCycles, coldCycles(one, slotBytes));
    }
    const did = operations.since(before);
    return { compares: did.compares / count, meanCycles: warmCycles(did, count) / count, worstCycles };
  }

  /** Tries each kind of update on some of the slots; all are as before at the end. Throws {@link KvmError} without memory for one. */
  updates(): Readonly<Record<typeof UPDATE_KINDS[number], UpdateFigures>> {
    const slots = [...this.vm.table.all()];
    const tried = slots.filter((_, at) =>
      Math.floor(at * UPDATES / slots.length) !== Math.floor((at - 1) * UPDATES / slots.length)
    );
    const top = Math.max(...slots.map(({ gfn, pages }) => gfn + pages));
    const sums = Object.fromEntries(UPDATE_KINDS.map((kind) => [kind, new SlotOperations()]));
    const refaults: Record<string, number> = { create: 0, flags: 0, move: 0, delete: 0 };
    const timed = (kind: typeof UPDATE_KINDS[number], region: MemoryRegion) => {
      const before = this.vm.table.operations.now();
      this.#dropped = 0;
      this.#call(region);
      add(sums[kind], this.vm.table.operations.since(before));
      refaults[kind] += this.#dropped;
    };
    for (const slot of tried) {
      const region = regionOf(slot);
      timed("flags", { ...region, flags: region.flags ^ 1 });
      this.#call(region);
      timed("move", { ...region, gpa: top * PAGE_SIZE });
      this.#call(region);
      timed("delete", { ...region, size: 0 });
      timed("create", region);
    }
    const mean = (kind: typeof UPDATE_KINDS[number]): UpdateFigures => ({
      ns: updateNs(sums[kind]) / tried.length,
      swaps: sums[kind].swaps / tried.length,
      copiedBytes: sums[kind].copiedBytes / tried.length,
      refaults: refaults[kind] / tried.length,
    });
    return { create: mean("create"), flags: mean("flags"), move: mean("move"), delete: mean("delete") };
  }

  /** A call; what is mapped follows the slots. All of a slot is mapped, and comes back after it was dropped. */
  #call(region: MemoryRegion): void {
    const old = region.size === 0 ? this.vm.table.byId(region.slot) : undefined;
    const change = this.vm.setRegion(region);
    if (change === "create") this.#mapped += this.#mappings(region.size / PAGE_SIZE);
    if (change !== "delete") return;
    const gone = this.#mappings(old!.pages);
    this.#mapped -= gone;
    // What is deleted is not faulted in again.
    this.#dropped -= gone;
  }

  #zap(range: Range | undefined): void {
    this.#dropped += range === undefined ? this.#mapped : this.#mappings(range.count);
  }

  #mappings(pages: number): number {
    return Math.ceil(pages / this.#mappingPages);
  }
}

function regionOf({ id, gfn, pages, hvaPage, flags }: MemorySlot): MemoryRegion {
  return { slot: id, gpa: gfn * PAGE_SIZE, size: pages * PAGE_SIZE, hva: hvaPage * PAGE_SIZE, flags };
}

function add(sum: SlotOperations, did: SlotOperations): void {
  sum.scans += did.scans;
  sum.probes += did.probes;
  sum.swaps += did.swaps;
  sum.copiedBytes += did.copiedBytes;
}
