/** The ready builds in tests: how they are read, and the clang build against the recorded means. */
import assert from "node:assert/strict";
import { load, type Loaded, simulate } from "../../mod.ts";

const REPOSITORY = `${import.meta.dirname}/../..`;
const GIB = 2 ** 30;

/** Whether whole builds are run. */
export const slow: boolean = Deno.env.get("HINTSIM_TIER") === "slow";

/** A ready workload with settings of its own. */
export function scenario(name: string, set: readonly string[]): Promise<Loaded> {
  return load(`${REPOSITORY}/workloads/living/${name}.yaml`, { read: (path) => Deno.readFile(path), set: [...set] });
}

/** Rows of a recorded table of numbers. */
export function table(name: string): number[][] {
  const file = Deno.readTextFileSync(`${REPOSITORY}/workloads/recordings/${name}`);
  return file.trim().split("\n").slice(1).map((line) => line.split(",").map(Number));
}

/** The recorded means, in GiB: rows of t_s, used, free, free in whole 2 MiB blocks, cached, and resident on the host. */
function recorded(): number[][] {
  const resident = new Map(table("clang-build-rss.csv").map(([timeS, gib]) => [timeS, gib]));
  return table("clang-build-guest.csv").map((row) => [...row, resident.get(row[0])!]);
}

/** A whole build under the checkers, sampled every 30 s: rows as those of the recording, by their time in s. */
async function build(set: readonly string[]): Promise<Map<number, number[]>> {
  const [{ samples, problems }] = simulate(await scenario("clang-build", set), { check: true });
  assert.deepEqual(problems, []);
  return new Map(Array.from(samples.time_ns, (timeNs, row) => {
    const timeS = Math.round(timeNs / 1e9);
    const { free_bytes, free_huge_bytes, cache_bytes, resident_bytes } = samples;
    const gib = [free_bytes, free_huge_bytes, cache_bytes, resident_bytes].map((column) => column[row] / GIB);
    return [timeS, [timeS, 16 - gib[0], ...gib]];
  }));
}

/** Largest and mean error of one curve in GiB: 10 % and 5 % of 16 GiB are allowed. */
function assertNear(what: string, column: number, rows: ReadonlyMap<number, number[]>): void {
  const points = recorded();
  assert.equal(points.length, 103);
  const errors = points.map((point) => Math.abs(rows.get(point[0])![column] - point[column]));
  const worst = errors.indexOf(Math.max(...errors));
  assert(errors[worst] <= 1.6, `${what} is ${errors[worst]} GiB off at ${points[worst][0]} s`);
  const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
  assert(mean <= 0.8, `${what} is ${mean} GiB off on the average`);
}

/**
 * Declares the test of a seed, with every row checked, for the buddy and for LLFree. Each seed is a test file of its own, so that
 * they run side by side.
 */
export function testClangBuild(seed: number): void {
  Deno.test(`clang-build, seed ${seed}: the curves of the recording, and LLFree`, { ignore: !slow }, async (t) => {
    const rows = await build([`seed=${seed}`]);
    // How much the host has follows from the largest use between two samples, too.
    for (const [index, what] of ["used", "free", "free in whole 2 MiB", "cache", "resident on the host"].entries()) {
      await t.step(`${what} lies near the recorded mean`, () => assertNear(what, index + 1, rows));
    }
    await t.step(
      "after make clean LLFree leaves nearly twice as much in whole 2 MiB, of as much free memory",
      async () => {
        const llfree = await build([`seed=${seed}`, "machine.allocator=llfree"]);
        for (let timeS = 2730; timeS <= 2850; timeS += 30) {
          const [, , free, freeHuge] = rows.get(timeS)!;
          assert(
            llfree.get(timeS)![3] >= 1.8 * freeHuge,
            `${llfree.get(timeS)![3]} against ${freeHuge} GiB at ${timeS} s`,
          );
          assert(Math.abs(llfree.get(timeS)![2] - free) < 0.1, `${llfree.get(timeS)![2]} against ${free} GiB are free`);
        }
      },
    );
  });
}
