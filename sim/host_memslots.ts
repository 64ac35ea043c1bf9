/** The option `host.memslots`: a table of memory slots that each fault and each discard is looked up in. */
import { z } from "zod";
import { type Field, field, InputError, optional, parseOptions } from "./core/options.ts";
import type { SlotPath } from "./host/slot_path.ts";
import { HostSlots } from "./kvm/host_slots.ts";
import { slotTables } from "./kvm/mod.ts";
import { KvmError } from "./kvm/slot_table.ts";

/** The memory slots of each guest. */
export interface HostMemslots {
  /** Name of the table. */
  readonly table: string;
  /** Slots that the memory of each guest is cut into. */
  readonly slots: number;
  /** Options of the table, in input form. */
  readonly options: Readonly<Record<string, unknown>>;
}

const schema = z.strictObject({
  table: z.enum(slotTables.map(({ name }) => name) as [string, ...string[]]),
  slots: z.int().min(1).max(32_764).default(64),
  options: z.record(z.string(), z.unknown()).default({}),
}) as unknown as z.ZodType<HostMemslots>;

/** The option. */
export const hostMemslotsField: Field<HostMemslots | undefined> = optional(
  field(schema, undefined, {
    summary: "`{table, slots, options}`: each fault and each discard also takes what finding its memory slot takes",
    source: "sim/kvm/costs.ts, cycles at 2 GHz",
  }),
);

/** The slots of a guest of so many pages; undefined when finding them takes no time. Throws {@link InputError}. */
export function hostSlots(memslots: HostMemslots | undefined, pages: number): SlotPath | undefined {
  if (memslots === undefined) return undefined;
  const { table, slots, options } = memslots;
  const plugin = slotTables.find(({ name }) => name === table)!;
  const path = ["host", "memslots"];
  const { value } = parseOptions(plugin.options, options, [...path, "options"]);
  try {
    return new HostSlots(plugin, value, pages, slots);
  } catch (error) {
    if (!(error instanceof KvmError)) throw error;
    throw new InputError([...path, "slots"], `${error.code}: ${error.message}`);
  }
}
