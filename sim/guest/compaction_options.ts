/** The options `machine.compaction` and `machine.khugepaged`. */
import { z } from "zod";
import { durationSchema, type Field, field, optional, show } from "../core/options.ts";
import type { KhugepagedOptions } from "./khugepaged.ts";

/** How a guest compacts its memory. */
export interface CompactionOptions {
  /** How eagerly it does so ahead of need, 0 for never to 100. */
  readonly proactiveness: number;
}

/** sysctl_compaction_proactiveness. */
const PROACTIVENESS = 20;
/** khugepaged_pages_to_scan, HPAGE_PMD_NR * 8. */
const SCAN_PAGES = 4096;

/** Refuses what is neither false nor a mapping, with an example of one. */
const falseOr = (example: string) =>
  z.unknown().transform((input, context) => {
    if (input === false || (typeof input === "object" && input !== null && !Array.isArray(input))) return input;
    context.addIssue({ code: "custom", message: `${show(input)} is neither false nor ${example}` });
    return z.NEVER;
  });

const compactionSchema = falseOr("{proactiveness: 20}").pipe(z.union([
  z.literal(false),
  z.strictObject({ proactiveness: z.int().min(0).max(100).default(PROACTIVENESS) }),
])) as unknown as z.ZodType<
  CompactionOptions | false
>;

const khugepagedSchema = falseOr("{scan: 4096, sleep: 10s}").pipe(z.union([
  z.literal(false),
  z.strictObject({
    scan: z.int().min(512).max(2 ** 31).default(SCAN_PAGES),
    sleep: durationSchema(1e6).prefault("10s"),
  }),
])) as unknown as z.ZodType<
  KhugepagedOptions | false
>;

/** Whether and how the guest compacts its memory; as its workload has it when left out. */
export const compactionField: Field<CompactionOptions | false | undefined> = optional(
  field(compactionSchema, undefined, {
    summary:
      "compaction of memory, directly and by kcompactd: `{proactiveness: 20}`, the percentage of effort ahead of " +
      "need, 0 for none; or false (with guests that live as the default of the kernel, else off)",
    source: "mm/compaction.c, sysctl_compaction_proactiveness",
  }),
);

/** Whether and how the guest puts huge pages together later; as its workload has it when left out. */
export const khugepagedField: Field<KhugepagedOptions | false | undefined> = optional(
  field(khugepagedSchema, undefined, {
    summary: "huge faults that fell back to single pages are put together later: `{scan: 4096, sleep: 10s}`, pages " +
      "looked at in a round and the time between rounds; or false (on with guests that live and have `thp`, else off)",
    source: "mm/khugepaged.c, khugepaged_pages_to_scan, scan_sleep_millisecs",
  }),
);

/** The settings of a guest that lives and says nothing else. */
export const COMPACTION_DEFAULT: CompactionOptions = { proactiveness: PROACTIVENESS };

/** The settings of a guest that lives and says nothing else. */
export const KHUGEPAGED_DEFAULT: KhugepagedOptions = { scan: SCAN_PAGES, sleep: 10e9 };
