/** What our sides of the comparisons share: the clock, the increments, the runs of the library, and the line of the result. */
import process from "node:process";
import { policies } from "../../policies/mod.ts";
import { exponential } from "../../sim/core/distributions.ts";
import { Random } from "../../sim/core/random.ts";
import { type LoadedScenario, loadScenario } from "../../sim/load.ts";
import type { Machine, MachineParts } from "../../sim/machine.ts";
import { buildMachine } from "../../sim/simulate.ts";
import { workloads } from "../../workloads/mod.ts";

/** How many increments are drawn; the programs use them in turn, again and again. */
export const INCREMENTS = 65536;

/** CPU time of the process, ns: user and system, with the collector's and the compiler's threads. */
export function cpuNs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

/** CPU time that something takes, ns. */
export function timeNs(run: () => void): number {
  const startNs = cpuNs();
  run();
  return cpuNs() - startNs;
}

/** Exponential increments of mean 10^8 ns in whole ns, the same as in bench/native/common.h. */
export function exponentialIncrements(): Uint32Array {
  const random = Random.fromState([1, 2, 3, 4]);
  const distribution = exponential(1e8);
  return Uint32Array.from({ length: INCREMENTS }, () => Math.floor(distribution.draw(random) + 0.5));
}

/** Mixes a value into a checksum that depends on the order. */
export function mix(checksum: number, value: number): number {
  return (Math.imul(checksum, 31) + (value | 0)) | 0;
}

/** The n-th argument as a number. */
export function argument(index: number): number {
  const value = Number(Deno.args[index]);
  if (!Number.isFinite(value)) throw new RangeError(`argument ${index} is missing`);
  return value;
}

/** Prints the result of a program. */
export function report(checksum: number | string, figures: Readonly<Record<string, number>>): void {
  const text = typeof checksum === "number" ? String(checksum >>> 0) : checksum;
  console.log(JSON.stringify({ checksum: text, figures }));
}

/** Loads a scenario; files are relative to the folder of the workloads. */
export function open(scenario: Readonly<Record<string, unknown>>): Promise<LoadedScenario> {
  const folder = new URL("../../workloads/", import.meta.url);
  const read = (path: string) => Deno.readFileSync(new URL(path, folder));
  return loadScenario({ hintsim: 1, ...scenario }, { read }, { policies, workloads });
}

/** Builds the machine of the first run of a scenario. */
export function build(loaded: LoadedScenario, parts: Pick<MachineParts, "readers"> = {}): Machine {
  return buildMachine(loaded, loaded.runs[0], { ...parts, eventsMax: 1e10 });
}

/** Runs a machine to its end; CPU time (ns), operations of its CPUs, rows and fingerprint. Fails where the run found something. */
export function runMachine(
  machine: Machine,
): { spentNs: number; operations: number; rows: number; fingerprint: string } {
  const spentNs = timeNs(() => {
    while (!machine.advance(1e6));
  });
  const { fingerprint, finding } = machine.result();
  if (finding !== undefined) throw new Error(finding);
  const operations = machine.guests.reduce((sum, { vcpus }) => sum + vcpus.operations, 0);
  return { spentNs, operations, rows: machine.sim.trace.written, fingerprint };
}
