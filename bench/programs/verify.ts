/** `sim trace verify` of b2-mixed in a warm process, unpacking and parsing included: `verify.ts REPEATS`. */
import { kernel61 } from "../../sim/guest/kernel_6_1.ts";
import { readRecording } from "../../sim/guest/recording.ts";
import { verifyRecording } from "../../sim/guest/replay/verification.ts";
import { readSnapshots } from "../../sim/guest/snapshot.ts";
import { unpack } from "../../sim/unpack.ts";
import { spreadOf } from "../harness.ts";
import { argument, cpuNs, report } from "./measure.ts";

const folder = new URL("../../workloads/recordings/", import.meta.url);
const read = (name: string) => unpack(name, Deno.readFileSync(new URL(name, folder)));

/** Verifies once; CPU time, ms. */
async function verify(): Promise<number> {
  const startNs = cpuNs();
  const snapshots = readSnapshots(await read("b2-mixed.snaps.json.gz"));
  const recording = readRecording(await read("b2-mixed.buddy.csv.gz"));
  const { identical } = verifyRecording(recording, snapshots, { level: "buddy", kernel: kernel61 });
  if (!identical) throw new Error("the replay differs from the kernel");
  return (cpuNs() - startNs) / 1e6;
}

const times: number[] = [];
for (let i = 0; i < argument(0) + 2; i++) times.push(await verify());
report("identical", { verifyMs: spreadOf(times.slice(2)).median });
