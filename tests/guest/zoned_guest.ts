/** A guest with the zones of a machine that keeps house, without per-CPU lists; its CPUs run operations given one by one, and its rows are kept. */
import { allCheckers } from "../../sim/core/checkers.ts";
import { MemorySink } from "../../sim/core/memory_sink.ts";
import { Sim } from "../../sim/core/sim.ts";
import { Event, EVENTS, Trace } from "../../sim/core/trace.ts";
import { MOVABLE } from "../../sim/guest/allocator.ts";
import { Background } from "../../sim/guest/background.ts";
import { Guest } from "../../sim/guest/guest.ts";
import { layoutMachine } from "../../sim/guest/layout.ts";
import type { LayoutOptions } from "../../sim/guest/layout_options.ts";
import { Op, type OpColumns } from "../../sim/guest/operations.ts";
import type { ThpDefrag } from "../../sim/guest/thp_defrag.ts";
import { Vcpus } from "../../sim/guest/vcpu.ts";
import type { Zone } from "../../sim/guest/zone.ts";
import { useOfLayout } from "../../sim/guest/zone_use.ts";
import { Backing, HostMemory } from "../../sim/host/backing.ts";
import { costProfiles, costsOf } from "../../sim/host/costs.ts";
import { Judge } from "../../sim/host/judge.ts";

const costs = costsOf(costProfiles[0]);

/** One operation. */
export interface Step {
  readonly kind?: number;
  readonly handle?: number;
  readonly order?: number;
  readonly type?: number;
  readonly touch?: number;
  readonly flags?: number;
  readonly pauseNs?: number;
  /** Index of the zone that the request is bound to. */
  readonly zone?: number;
  readonly cpu?: number;
}

/** A row, with its event by name. */
export interface Row {
  readonly event: string;
  readonly pfn: number;
  readonly pages: number;
  readonly order: number;
  /** Name of the zone, where the row has one. */
  readonly zone: string | undefined;
  readonly cpu: number;
  readonly timeNs: number;
  readonly costNs: number;
}

/** What makes such guests different. */
export interface ZonedOptions extends Partial<LayoutOptions> {
  readonly kernel?: "6.1" | "6.12";
  readonly vcpus?: number;
  readonly thpDefrag?: ThpDefrag;
  readonly initOnAlloc?: boolean;
  readonly initOnFree?: boolean;
}

/** The guest. */
export class ZonedGuest {
  readonly sim: Sim;
  readonly guest: Guest;
  readonly zones: readonly Zone[];
  readonly host: Backing;
  readonly background: Background;
  readonly #sink = new MemorySink();
  readonly #checkers;
  readonly #vcpus: Vcpus;

  constructor(memoryBytes: number, options: ZonedOptions = {}) {
    const { kernel = "6.1", vcpus = 1, thpDefrag = "madvise" } = options;
    const plain: LayoutOptions = { zones: { layout: "auto" }, holes: [], numa: [], reserved: "none", ...options };
    const layout = layoutMachine(memoryBytes, { ...plain, thp: false, vcpus, kernel });
    const { zones } = layout;
    const pages = layout.endPfn;
    this.zones = zones;
    this.#checkers = allCheckers([pages], { hugetlb: false });
    const trace = new Trace([this.#sink, ...this.#checkers], true);
    const sim = this.sim = new Sim(trace);
    const judge = new Judge(pages);
    const memory = new HostMemory(Infinity, () => {});
    this.host = new Backing({ trace, memory, judge, costs, kind: "4k", pages, guest: 0 });
    this.guest = new Guest({
      sim,
      index: 0,
      zones,
      host: this.host,
      judge,
      costs,
      initOnAlloc: options.initOnAlloc ?? false,
      initOnFree: options.initOnFree,
      use: useOfLayout(layout),
      pages: { perCpu: 0, keepMarks: true, reclaims: true },
      thpDefrag,
    });
    for (const zone of zones) {
      for (const { pfn, count } of zone.present) {
        trace.write(Event.present, pfn, count, -1, zone.index, -1, -1, 0, 0, -1);
        judge.release(pfn, count);
      }
    }
    const compaction = { proactiveness: 0 };
    this.background = new Background({ sim, guest: this.guest, costs, compaction, khugepaged: false });
    this.#vcpus = new Vcpus(sim, this.guest);
  }

  /** The zone of a name; on the node of this number where there are several. */
  zone(name: string, node = 0): Zone {
    return this.zones.filter((zone) => zone.name === name)[node];
  }

  /** Runs operations, a microsecond apart unless they say otherwise, and all that follows from them; returns the new rows. */
  run(steps: Iterable<Step>): Row[] {
    const before = this.rows().length;
    const left = steps[Symbol.iterator]();
    this.#vcpus.start({
      open: false,
      fill(columns: OpColumns) {
        const { value, done } = left.next();
        if (done) return 0;
        const { kind = Op.alloc, handle = 0, order = 0, type = MOVABLE, touch = 0, flags = 0, cpu = 0 } = value as Step;
        const { pauseNs = 1000, zone = -1 } = value as Step;
        columns.set(0, kind, handle, order, type, pauseNs, touch, cpu, zone, -1, flags);
        return 1;
      },
    });
    // kcompactd does not look ahead of need; what it is woken for is done.
    this.sim.run(this.sim.now + 100e9);
    return this.rows().slice(before);
  }

  /** All rows so far. */
  rows(): Row[] {
    this.sim.trace.flush();
    const { event, pfn, pages, order, zone, cpu, timeNs, costNs } = this.#sink.columns();
    return Array.from(event, (code, row) => {
      return {
        event: EVENTS[code],
        pfn: pfn[row],
        pages: pages[row],
        order: order[row],
        zone: this.zones[zone[row]]?.name,
        cpu: cpu[row],
        timeNs: timeNs[row],
        costNs: costNs[row],
      };
    });
  }

  /** What the checkers found so far. */
  problems(): string[] {
    this.sim.trace.flush();
    return this.#checkers.flatMap(({ problems }) => [...problems]);
  }
}
