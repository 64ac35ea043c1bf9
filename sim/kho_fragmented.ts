/** What a host that has run for a while has in use: the free lists of a simulated guest, seen from the other side. */
import { fraction, InputError, type Options, size } from "./core/options.ts";
import {
  callsByIndex,
  KhoCall,
  type KhoContext,
  khoWorkload,
  type KhoWorkloadPlugin,
  RANGE,
} from "./kho/workloads/workload.ts";
import { Machine } from "./machine.ts";
import { PageBitmap } from "./memory/bitmap.ts";
import { PAGE_SIZE } from "./memory/range.ts";
import { parseScenario, type Registries } from "./scenario.ts";

/** Options of fragmented-host. */
interface Fragmented {
  readonly memory: number;
  readonly peak: number;
  readonly occupancy: number;
}

const options: Options<Fragmented> = {
  fields: {
    memory: size("4GiB", 2 ** 26, 2 ** 40, { summary: "memory of the host that has worked; the rest is untouched" }),
    peak: fraction(0.9, 0.02, 0.95, { summary: "share of it that was in use at the worst time" }),
    occupancy: fraction(0.5, 0.01, 0.95, { summary: "share of it in use; the difference was freed at random" }),
  },
};

/** Weights of the orders: nine tenths of the pages are in blocks of 2 MiB, the rest in small ones. */
const ORDERS = { 0: 60, 2: 20, 3: 15, 9: 5 };

/** Filling and draining take so long that what the operations themselves take does not count, ns. */
const PHASE_NS = 1e13;

/** Ranges in columns. */
interface Used {
  readonly pfn: Float64Array;
  readonly count: Float64Array;
}

/** The workload; it needs the workloads of the simulator, which the top of the program hands down. */
export function fragmentedHost(registries: Registries): KhoWorkloadPlugin {
  const kept = new Map<string, Used>();
  return khoWorkload({
    name: "fragmented-host",
    summary: "all that is in use on a machine whose memory was nearly full and then freed at random, as ranges",
    source: "the free lists of a simulated guest (kernel 6.12), workload fill-drain",
    options,
    check,
    create(context, wanted) {
      check(context, wanted);
      const { area, random } = context;
      const seed = random("guest").nextUint32();
      const key = JSON.stringify([wanted, seed]);
      if (!kept.has(key)) kept.set(key, usedAfterDrain(wanted, seed, registries));
      const { pfn, count } = kept.get(key)!;
      const last = pfn.length - 1;
      if (last >= 0 && pfn[last] + count[last] > area.count) {
        throw new InputError(
          ["memory"],
          `its pages end at ${(pfn[last] + count[last]) * PAGE_SIZE} bytes, holes included; ` +
            `${area.count * PAGE_SIZE} bytes can be preserved`,
        );
      }
      return callsByIndex(pfn.length, (batch, row, index) => {
        batch.set(row, KhoCall.preserve, area.pfn + pfn[index], count[index], RANGE);
      });
    },
  });
}

/** What is wrong before anything is simulated. */
function check({ area }: KhoContext, { memory, peak, occupancy }: Fragmented): void {
  if (peak < occupancy) throw new InputError(["peak"], `${peak} is less than the occupancy, ${occupancy}`);
  const bytes = Math.floor(memory * occupancy);
  if (bytes <= area.count * PAGE_SIZE) return;
  throw new InputError(
    ["memory"],
    `${bytes} bytes of it are in use; ${area.count * PAGE_SIZE} bytes can be preserved`,
  );
}

/** Fills a guest and drains it for a part; what is on none of its free lists then, as ranges. */
function usedAfterDrain({ memory, peak, occupancy }: Fragmented, seed: number, registries: Registries): Used {
  const drainedNs = Math.round(PHASE_NS * (1 - occupancy / peak));
  const scenario = parseScenario({
    hintsim: 1,
    seed,
    until: PHASE_NS + drainedNs,
    machine: { memory, vcpus: 4, kernel: "6.12" },
    workload: { kind: "fill-drain", occupancy: peak, orders: ORDERS, fill: PHASE_NS, hold: 0, drain: PHASE_NS },
  }, registries);
  const machine = new Machine({ scenario, rep: 0, file: () => new Uint8Array() });
  machine.runToEnd();
  const [{ guest, pages }] = machine.guests;
  const free = new PageBitmap(pages);
  for (const zone of guest.zones) zone.forEachFree((pfn, order) => free.setRange(pfn, 2 ** order));
  const used: number[] = [];
  for (const { present } of guest.zones) {
    for (const { pfn, count } of present) {
      free.forEachRun(pfn, count, false, (start, length) => {
        const before = used.length - 2;
        if (before >= 0 && used[before] + used[before + 1] === start) used[before + 1] += length;
        else used.push(start, length);
      });
    }
  }
  return {
    pfn: Float64Array.from({ length: used.length / 2 }, (_, i) => used[2 * i]),
    count: Float64Array.from({ length: used.length / 2 }, (_, i) => used[2 * i + 1]),
  };
}
