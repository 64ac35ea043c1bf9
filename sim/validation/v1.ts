/** V1: the classic balloon, page by page. */
import { costProfiles } from "../host/costs.ts";
import { type AssumedRange, judged, type Validation } from "./row.ts";
import { inflation, INFLATION_START_NS, type Sums, sumsOf } from "./simulated.ts";

const PROFILE = costProfiles.find(({ name }) => name === "e5-2016")!;
const PAGES = 7 * 2 ** 18;

/**
 * What an assumed latency of the round trip does. The fixed work of a message is the measured 393 us less these latencies, so
 * half of one more would leave half of it less there; here the message keeps its work, which is the worse case.
 */
function latencies({ rows }: Sums, totalMs: number): AssumedRange[] {
  const counts = { exitNs: rows.kick, hostWakeNs: rows.send, interruptNs: rows.interrupt, guestWakeNs: rows.ack };
  return Object.entries(counts).map(([name, count]) => {
    const halfMs = PROFILE.costs[name as keyof typeof counts].valueNs * count / 2 / 1e6;
    return { cost: name, low: totalMs - halfMs, high: totalMs + halfMs };
  });
}

/** The validation. */
export const v1: Validation = {
  name: "V1",
  experiment: "classic balloon, 7 of 8 GiB, one 256-pfn message a time",
  async run(context) {
    const sums = await sumsOf(context, inflation({}, "pfn-list"));
    const { costNs, ackNs, rows } = sums;
    const totalMs = (ackNs - INFLATION_START_NS) / 1e6;
    const { recordNs, discardNs, hostWakeNs, guestWakeNs } = PROFILE.costs;
    const translate = PAGES * recordNs.valueNs;
    const madvise = PAGES * discardNs.valueNs;
    const waits = rows.send * (hostWakeNs.valueNs + guestWakeNs.valueNs);
    const send = costNs.send + costNs.exit + costNs.interrupt + costNs.discard - translate - madvise + waits;
    const common = { profile: PROFILE.name, inputs: "unit costs L1-L5 of mail-measurements.csv" };
    const share = (quantity: string, ns: number, target: number) =>
      judged(v1, {
        ...common,
        quantity,
        unit: "%",
        target,
        simulated: ns / 1e4 / totalMs,
        tolerance: 1,
        absolute: true,
      });
    return [
      judged(v1, {
        ...common,
        quantity: "time",
        unit: "ms",
        target: 4126,
        simulated: totalMs,
        tolerance: 0.02,
        assumed: latencies(sums, totalMs),
      }),
      share("share of allocating", costNs.hold, 6.5),
      share("share of sending", send, 68.3),
      share("share of translating", translate, 6.1),
      share("share of madvise", madvise, 19),
    ];
  },
};
