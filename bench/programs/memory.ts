/**
 * What a process holds, from /proc/self/status: `memory.ts KIND MEMORY_MIB`. Kinds: empty, zones, machine, huge, random,
 * checkerboard, and boot (CPU time of the boot in a warm process).
 */
import { Trace } from "../../sim/core/trace.ts";
import { ORDER_MAX } from "../../sim/guest/allocator.ts";
import { Backing, HostMemory } from "../../sim/host/backing.ts";
import { costProfiles, costsOf } from "../../sim/host/costs.ts";
import { Judge } from "../../sim/host/judge.ts";
import { Random } from "../../sim/core/random.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import { spreadOf } from "../harness.ts";
import { argument, build, open, report, timeNs } from "./measure.ts";
import { layoutZones } from "./subjects.ts";

const MOVABLE = 1;
const HUGE_ORDER = 9;
const kind = Deno.args[0];
const memoryMiB = argument(1);
const pages = memoryMiB * 256;

const idle = (mib: number) =>
  open({ machine: { memory: `${mib}MiB` }, host: { memory: "2TiB" }, workload: { kind: "idle", duration: "1s" } });

/** Pages of every order-10 block that are free, by a bit each: every second one, or a random half. */
function drawFree(free: Uint32Array, random: Random | undefined): void {
  for (let i = 0; i < free.length; i++) free[i] = random === undefined ? 0x55555555 : random.nextUint32();
}

/**
 * All memory in use, then single pages of it free. The host backs the pages in use and no others, so that owners, contents and
 * residency are all as ragged as the free lists.
 */
function fragment(random: Random | undefined): unknown {
  const zones = layoutZones(memoryMiB * 2 ** 20, true);
  const judge = new Judge(pages);
  const trace = new Trace([]);
  const memory = new HostMemory(2 ** 50, () => {});
  const backing = new Backing({ trace, memory, judge, costs: costsOf(costProfiles[0]), kind: "4k", pages, guest: 0 });
  judge.own(0, pages);
  judge.write(0, pages);
  const free = new Uint32Array(ORDER_PAGES[ORDER_MAX] / 32);
  for (const { allocator } of zones) {
    for (let pfn = allocator.alloc(ORDER_MAX, MOVABLE); pfn >= 0; pfn = allocator.alloc(ORDER_MAX, MOVABLE)) {
      drawFree(free, random);
      for (let page = 0; page < ORDER_PAGES[ORDER_MAX]; page++) {
        if ((free[page >> 5] >>> (page & 31) & 1) === 0) backing.populateAtStart(pfn + page, 1);
        else {
          allocator.free(pfn + page, 0, MOVABLE);
          judge.release(pfn + page, 1);
        }
      }
    }
  }
  return [zones, judge, backing];
}

/** 90 % of the memory in use as huge pages, written, through the guest. */
async function hugePages(): Promise<unknown> {
  const machine = build(await idle(memoryMiB));
  const { guest } = machine.guests[0];
  const blocks = Math.floor(pages * 0.9 / ORDER_PAGES[HUGE_ORDER]);
  for (let handle = 0; handle < blocks; handle++) {
    if (guest.alloc(handle, HUGE_ORDER, MOVABLE, -1, 0) < 0) throw new Error("the guest is full");
    guest.use(handle, ORDER_PAGES[HUGE_ORDER], 0);
  }
  return machine;
}

/** CPU time of a boot, ms: the middle of several in a warm process. */
function bootMs(boot: () => unknown): number {
  const timesNs = Array.from({ length: 13 }, () => timeNs(() => void boot()));
  return spreadOf(timesNs.slice(4)).median / 1e6;
}

/** kB of a line of /proc/self/status, as MiB. */
function statusMiB(status: string, name: string): number {
  return Number(status.match(new RegExp(`^${name}:\\s+(\\d+) kB`, "m"))![1]) / 1024;
}

const KINDS: Readonly<Record<string, () => unknown>> = {
  empty: async () => build(await idle(64)),
  zones: () => layoutZones(memoryMiB * 2 ** 20, true),
  machine: async () => build(await idle(memoryMiB)),
  huge: hugePages,
  random: () => fragment(Random.fromState([1, 2, 3, 4])),
  checkerboard: () => fragment(undefined),
};

if (kind === "boot") {
  const loaded = await idle(memoryMiB);
  report("", {
    zonesMs: bootMs(() => layoutZones(memoryMiB * 2 ** 20, true)),
    machineMs: bootMs(() => build(loaded)),
  });
} else {
  const kept = await KINDS[kind]();
  const status = Deno.readTextFileSync("/proc/self/status");
  report(typeof kept, {
    peakMiB: statusMiB(status, "VmHWM"),
    residentMiB: statusMiB(status, "VmRSS"),
  });
}
