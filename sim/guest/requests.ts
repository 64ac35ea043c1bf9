/** When the host asks a host-driven policy for a pass. */
import { z } from "zod";
import { durationSchema, type Field, field } from "../core/options.ts";

/** Requests are at least this far apart, so that a run ends. */
export const REQUEST_GAP_MIN_NS = 1000;

/** Regular requests, or requests at given times. */
export interface Requests {
  /** A request each so many ns, the first after that time. */
  readonly every?: number | undefined;
  /** Requests at these times, ns, ascending. */
  readonly at?: readonly number[] | undefined;
}

const timesSchema = z.array(durationSchema()).min(1).superRefine((times, context) => {
  for (let i = 1; i < times.length; i++) {
    if (times[i] - times[i - 1] >= REQUEST_GAP_MIN_NS) continue;
    context.addIssue({ code: "custom", message: `requests are not ascending and at least 1us apart`, path: [i] });
    return;
  }
});

const schema: z.ZodType<Requests> = z.union([
  z.strictObject({ every: durationSchema(REQUEST_GAP_MIN_NS) }),
  z.strictObject({ at: timesSchema }),
]);

/** The option of every host-driven policy. */
export function requestsField(): Field<Requests> {
  return field(schema, { every: "5s" }, {
    summary: "when the host asks: {every: 5s} or {at: [1s, 4s]}",
    unit: "ns",
    source: "GET_UNUSED_PAGES on the request queue (Liang Li, 2016); the request itself is free",
  });
}
