/** No policy: the guest tells the host nothing. The baseline of every comparison. */
import { policyPlugin } from "../sim/guest/plugin.ts";
import type { PolicyPlugin } from "../sim/guest/plugin.ts";

/** The plug-in. */
export const none: PolicyPlugin = policyPlugin({
  name: "none",
  summary: "the guest tells the host nothing",
  source: "baseline",
  options: { fields: {} },
  create: () => ({}),
});
