/** The laboratory of memory slots: every table with every guest, one row each. */
import { InputError } from "./core/options.ts";
import { randomStream } from "./core/random.ts";
import { Event } from "./core/trace.ts";
import { runName } from "./grid.ts";
import { refaultNs } from "./kvm/costs.ts";
import { devicesThatFit, SLOTS_TYPICAL, SLOTS_WORST } from "./kvm/devices.ts";
import type { MemoryRegion } from "./kvm/memory_region.ts";
import { metadataBytes } from "./kvm/metadata.ts";
import { type ByteTerm, KvmError } from "./kvm/slot_table.ts";
import { LOCALITIES } from "./kvm/lookups.ts";
import { type LookupFigures, Trial } from "./kvm/trial.ts";
import { axisColumns } from "./lab_grid.ts";
import type { LoadedScenario } from "./load.ts";
import { HUGE_PAGES, PAGE_SIZE } from "./memory/range.ts";
import type { GuestSlots, MemslotsScenario, SimulationSpec, TableSpec } from "./memslots_scenario.ts";
import { simulateRun } from "./simulate.ts";
import type { SummaryRow } from "./summary_row.ts";

/** What a simulated guest asked of its slots. */
export interface SimulatedLookups {
  /** Pages of its address space. */
  readonly pages: number;
  /** Faulting pages, in order. */
  readonly faultPfn: Float64Array;
  /** The vCPU of each. */
  readonly faultCpu: Int16Array;
  /** Discarded ranges, in order. */
  readonly discardPfn: Float64Array;
  /** Pages of each. */
  readonly discardPages: Float64Array;
}

/** A table with a guest. */
export interface MemslotsResult {
  /** The row of summary.csv. */
  readonly row: SummaryRow;
  /** The sum that its bytes are. */
  readonly terms: readonly ByteTerm[];
  /** Why not all slots of the guest fit, or none of them can be changed any more; undefined when all is well. */
  readonly refused: string | undefined;
}

/** Where slots of a simulated guest stand in the VMM, in bytes. */
const HVA = 64 * 2 ** 30;

/**
 * Runs a scenario and keeps the pages that faulted and were discarded, of its first run and its first guest. A fault of a whole
 * 2 MiB is one lookup, and each other page is one.
 */
export function simulatedLookups(loaded: LoadedScenario): SimulatedLookups {
  const { events } = simulateRun(loaded, loaded.runs[0], { events: true, samples: false });
  const { count, event, pfn, pages, guest, costNs, cpu } = events!;
  const huge = loaded.runs[0].scenario.host.backing !== "4k";
  const faultPfn: number[] = [];
  const faultCpu: number[] = [];
  const discards: number[] = [];
  let end = 1;
  for (let row = 0; row < count; row++) {
    if (guest[row] > 0) continue;
    if (event[row] === Event.present) end = Math.max(end, pfn[row] + pages[row]);
    if (event[row] === Event.discard) discards.push(row);
    // What is backed at the start costs nothing and was no fault.
    if (event[row] !== Event.fault || costNs[row] === 0) continue;
    const lookups = huge && pages[row] === HUGE_PAGES ? 1 : pages[row];
    for (let n = 0; n < lookups; n++) {
      faultPfn.push(pfn[row] + n);
      faultCpu.push(Math.max(0, cpu[row]));
    }
  }
  return {
    pages: end,
    faultPfn: Float64Array.from(faultPfn),
    faultCpu: Int16Array.from(faultCpu),
    discardPfn: Float64Array.from(discards, (row) => pfn[row]),
    discardPages: Float64Array.from(discards, (row) => pages[row]),
  };
}

/** Guest memory cut into slots of 2 MiB and its multiples. */
function cut(pages: number, slots: number): MemoryRegion[] {
  const blocks = Math.ceil(pages / HUGE_PAGES);
  const count = Math.min(slots, blocks);
  return Array.from({ length: count }, (_, slot) => {
    const first = Math.floor(slot * blocks / count) * HUGE_PAGES * PAGE_SIZE;
    const end = Math.floor((slot + 1) * blocks / count) * HUGE_PAGES * PAGE_SIZE;
    return { slot, gpa: first, size: end - first, hva: HVA + first, flags: 0 };
  });
}

/** Runs every table with every guest. Throws {@link InputError} where calls that a scenario lists are refused. */
export function* runMemslots(
  scenario: MemslotsScenario,
  simulated: (spec: SimulationSpec) => SimulatedLookups,
): Generator<MemslotsResult> {
  for (const guest of scenario.guests) {
    const lookups = guest.kind === "simulation" ? simulated(guest) : undefined;
    const regions = guest.kind === "simulation" ? cut(lookups!.pages, guest.slots) : guest.regions;
    for (const table of scenario.tables) yield tryOne(scenario, table, guest, regions, lookups);
  }
}

/** The axes of the grid that vary, then those of the comparison, or `run`. */
function nameOf({ axes, tables, guests }: MemslotsScenario, table: TableSpec, guest: GuestSlots): string {
  const all = [...axes];
  if (tables.length > 1) all.push({ key: "memslots.tables", label: table.label });
  if (guests.length > 1) all.push({ key: "memslots.guests", label: guest.label });
  return runName(all);
}

/** The names of the runs of a scenario, in order. Throws {@link InputError} when one is too long. */
export function memslotsRunNames(scenario: MemslotsScenario): readonly string[] {
  return scenario.guests.flatMap((guest) => scenario.tables.map((table) => nameOf(scenario, table, guest)));
}

function tryOne(
  scenario: MemslotsScenario,
  table: TableSpec,
  guest: GuestSlots,
  regions: readonly MemoryRegion[],
  simulated: SimulatedLookups | undefined,
): MemslotsResult {
  const { lab, seed } = scenario;
  const make = () => inWords(guest, table, () => new Trial({ ...table, memory: lab.memory, mapping: lab.mapping }));
  const trial = make();
  trial.setUp(regions);
  const { refusal, vm } = trial;
  if (refusal !== undefined && guest.kind === "calls") {
    throw new InputError([...guest.path, refusal.index], `${table.label}: ${sentenceOf(refusal.error)}`);
  }
  let refused = refusal === undefined ? undefined : sentenceOf(refusal.error);
  const small = make();
  small.setUp(cut(8 * HUGE_PAGES, 8));
  const random = (name: string) => randomStream(seed, 0, `${guest.label}/${name}`);
  const row: Record<string, string | number | undefined> = {
    run: nameOf(scenario, table, guest),
    table: table.label,
    guest: guest.label,
    seed,
    ...axisColumns(scenario.axes),
    slots_wanted: regions.length,
    slots: vm.table.slots,
    bytes: vm.table.bytes,
    guest_of_8_bytes: small.vm.table.bytes,
    metadata_bytes: [...vm.table.all()].reduce((sum, { pages }) => sum + metadataBytes(pages * PAGE_SIZE, METADATA), 0),
    devices_typical: devicesThatFit(vm.table.slotsMax, SLOTS_TYPICAL),
    devices_worst: devicesThatFit(vm.table.slotsMax, SLOTS_WORST),
    setup_ns: Math.round(trial.setupNs),
    setup_refaults: trial.setupRefaults,
    setup_refault_ns: refaultNs(trial.setupRefaults),
  };
  const terms = vm.table.terms();
  if (vm.table.slots > 0) {
    for (const locality of LOCALITIES) {
      put(row, locality, trial.lookups(locality, lab.lookups, lab.vcpus, random(locality)));
    }
    put(row, "discard", trial.discards(lab.discard / PAGE_SIZE, random("discard")));
    if (simulated !== undefined) feed(row, trial, simulated);
    const update = putUpdates(row, trial);
    refused ??= update === undefined ? undefined : sentenceOf(update);
  }
  return { row, terms, refused };
}

/** Today's kernel: reverse maps only for nested guests, no log of dirty pages. */
const METADATA = { tdpMmu: true, smm: false, dirtyLog: false } as const;

function sentenceOf(error: KvmError): string {
  return `${error.code}: ${error.message}`;
}

/** A table that has no room for itself is a problem of the scenario. */
function inWords<T>(guest: GuestSlots, table: TableSpec, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof KvmError) throw new InputError(["memslots", "memory"], `${table.label}: ${sentenceOf(error)}`);
    throw error instanceof InputError ? new InputError([...guest.path, ...error.path], error.message) : error;
  }
}

function put(row: Record<string, unknown>, name: string, figures: LookupFigures): void {
  row[`${name}_compares`] = rounded(figures.compares);
  row[`${name}_cycles`] = rounded(figures.meanCycles);
  row[`${name}_worst_cycles`] = Math.round(figures.worstCycles);
}

/** Returns why an update was refused, for which there may be no memory where all slots have some; then there are no figures. */
function putUpdates(row: Record<string, unknown>, trial: Trial): KvmError | undefined {
  let updates: ReturnType<Trial["updates"]>;
  try {
    updates = trial.updates();
  } catch (error) {
    if (error instanceof KvmError) return error;
    throw error;
  }
  for (const [kind, { ns, swaps, copiedBytes, refaults }] of Object.entries(updates)) {
    row[`${kind}_ns`] = Math.round(ns);
    row[`${kind}_swaps`] = swaps;
    row[`${kind}_copied_bytes`] = Math.round(copiedBytes);
    row[`${kind}_refaults`] = Math.round(refaults);
    row[`${kind}_refault_ns`] = refaultNs(refaults);
  }
  return undefined;
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

/** The simulated guest's own faults and discards. */
function feed(row: Record<string, unknown>, trial: Trial, simulated: SimulatedLookups): void {
  const { faultPfn, faultCpu, discardPfn, discardPages } = simulated;
  row.faults = faultPfn.length;
  row.discards = discardPfn.length;
  if (faultPfn.length > 0) {
    put(row, "fault", trial.ask(faultPfn.length, (table, n) => void table.byGfn(faultPfn[n], faultCpu[n])));
  }
  if (discardPfn.length === 0) return;
  const own = trial.ask(discardPfn.length, (table, n) => {
    table.walkHva({ pfn: HVA / PAGE_SIZE + discardPfn[n], count: discardPages[n] }, () => {});
  });
  put(row, "own_discard", own);
}
