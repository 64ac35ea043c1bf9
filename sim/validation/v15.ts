/** V15: the handover of 48 GiB of order-0 pages; the experiment stands with the trackers. */
import { validateV15 } from "../kho/handover_validation.ts";
import { judged, type Validation } from "./row.ts";

/** The unit that the name of a figure carries, or none. */
function unitOf(name: string): string {
  return /, (ms|s)(?:,|$)/.exec(name)?.[1] ?? "";
}

/** The validation. */
export const v15: Validation = {
  name: "V15",
  experiment: "handover, 48 GiB of order-0 pages",
  run() {
    return Promise.resolve(
      validateV15().map(({ name, target, value, tolerance, assumed }) =>
        judged(v15, {
          profile: "kho-2025",
          inputs: "K1 per page",
          quantity: name,
          unit: unitOf(name),
          target,
          simulated: value,
          tolerance: tolerance === Infinity ? 0 : tolerance,
          absolute: true,
          bound: tolerance === Infinity ? "above" : "within",
          assumed: assumed.map(({ name: cost, values: [low, high] }) => ({ cost, low, high })),
        })
      ),
    );
  },
};
