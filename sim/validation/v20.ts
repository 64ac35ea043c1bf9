/** V20: the reporting worker of a recorded 6.1 guest, from the start of each of its passes. */
import { parseOptions } from "../core/options.ts";
import { kernels } from "../guest/kernels.ts";
import { readRecording } from "../guest/recording.ts";
import { isIdentical, verifyRecording } from "../guest/replay/verification.ts";
import { readSnapshots } from "../guest/snapshot.ts";
import { unpack } from "../unpack.ts";
import { judged, type Validation } from "./row.ts";

const FOLDER = "tests/recordings/";
const RECORDING = `${FOLDER}c2-reporting.buddy.csv.gz`;
const SNAPSHOTS = `${FOLDER}c2-reporting.snaps.json.gz`;

/** The validation. */
export const v20: Validation = {
  name: "V20",
  experiment: "reporting worker of the recording c2",
  async run({ read, registries }) {
    const files = [read(RECORDING), read(SNAPSHOTS)];
    const plugin = registries.policies.find(({ name }) => name === "free-page-reporting");
    if (plugin === undefined || files.some((file) => file === undefined)) return undefined;
    const snapshots = readSnapshots(await unpack(SNAPSHOTS, files[1]!));
    const [first] = snapshots.values();
    const { value } = parseOptions(plugin.options, {}, []);
    const { delay: delayNs } = value as { readonly delay: number };
    const result = verifyRecording(readRecording(await unpack(RECORDING, files[0]!)), snapshots, {
      level: "reporting",
      kernel: kernels.find(({ version }) => version === first.kernel) ?? kernels[0],
      worker: { makePolicy: (context) => plugin.create(context, value), delayNs },
    });
    const common = { profile: "none (order of events)", inputs: "requests, start of each pass", tolerance: 0 };
    const exact = (quantity: string, unit: string, simulated: number, target: number) =>
      judged(v20, { ...common, quantity, unit, simulated, target, absolute: true });
    const { isolates, reports, putBacks } = result.reporting!;
    const different = result.snapshots.filter((one) => !isIdentical(one)).length;
    return [
      exact("isolated blocks as recorded", "blocks", isolates, 317),
      exact("reports as recorded", "reports", reports, 12),
      exact("blocks put back as recorded", "blocks", putBacks, 317),
      exact("steps, pages and lists that differ", "", result.identical ? 0 : 1 + different + result.wrongPfns, 0),
    ];
  },
};
