/** V18: the bytes that the threads on memory slots quote. */
import { figureBytes, figures } from "../kvm/figures.ts";
import { judged, type Validation } from "./row.ts";

/** The validation. */
export const v18: Validation = {
  name: "V18",
  experiment: "memory slots: bytes",
  run() {
    return Promise.resolve(
      figures().map((figure) =>
        judged(v18, {
          profile: "none",
          inputs: figure.source,
          quantity: figure.name,
          unit: "bytes",
          target: figure.target,
          simulated: figureBytes(figure),
          tolerance: 0,
        })
      ),
    );
  },
};
