/** Memory that is plugged into a running guest, and memory that is taken out. */
import { z } from "zod";
import { durationSchema, type Field, field, show, sizeSchema } from "../core/options.ts";
import type { OnlinePolicy } from "./hotplug_parts.ts";
import { ADDRESS_MAX } from "./layout_options.ts";

/** What is plugged or taken out is a multiple of this, aligned to it: a section of 128 MiB (SECTION_SIZE_BITS 27). */
export const SECTION_BYTES: number = 2 ** 27;

/** Memory comes. */
export interface PlugEvent {
  /** When, ns. */
  readonly at: number;
  /** What happens. */
  readonly kind: "add";
  /** How much, bytes. */
  readonly bytes: number;
  /** Its zone. */
  readonly zone: OnlinePolicy;
  /** Its first byte; undefined for the first place above all memory. */
  readonly address: number | undefined;
}

/** Memory goes. */
export interface UnplugEvent {
  /** When, ns. */
  readonly at: number;
  /** What happens. */
  readonly kind: "remove";
  /** How much, bytes. */
  readonly bytes: number;
  /** Its first byte; undefined for the highest sections that can be taken. */
  readonly address: number | undefined;
  /** Whether the device gives what has gone back to the host. */
  readonly discard: boolean;
}

/** One entry of `machine.hotplug`. */
export type HotplugEvent = PlugEvent | UnplugEvent;

const ZONES: readonly [OnlinePolicy, ...OnlinePolicy[]] = ["auto", "normal", "movable", "alternating"];

const sectionsSchema = (min: number): z.ZodType<number> =>
  z.unknown().transform((value, context) => {
    const parsed = sizeSchema(min, ADDRESS_MAX).safeParse(value);
    const message = !parsed.success
      ? parsed.error.issues[0].message
      : parsed.data % SECTION_BYTES === 0
      ? undefined
      : `${show(value)} is not a multiple of 128MiB, the size of a section`;
    if (message === undefined) return parsed.data as number;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  });

const eventSchema = z.strictObject({
  at: durationSchema(),
  add: sectionsSchema(SECTION_BYTES).optional(),
  remove: sectionsSchema(SECTION_BYTES).optional(),
  zone: z.enum(ZONES).optional(),
  address: sectionsSchema(0).optional(),
  discard: z.boolean().optional(),
}).transform((event, context): HotplugEvent => {
  const { at, add, remove, zone, address, discard } = event;
  const refuse = (message: string, ...path: string[]) => {
    context.addIssue({ code: "custom", message, path });
    return z.NEVER;
  };
  const bytes = add ?? remove;
  if (bytes === undefined || (add !== undefined && remove !== undefined)) {
    return refuse("wanted is either add or remove, with a size");
  }
  if (remove !== undefined && zone !== undefined) return refuse("only memory that is added has a zone", "zone");
  if (add !== undefined && discard !== undefined) return refuse("only memory that is removed is discarded", "discard");
  if (address !== undefined && address + bytes > ADDRESS_MAX) return refuse("the memory ends above 64TiB", "address");
  return remove === undefined
    ? { at, kind: "add", bytes, zone: zone ?? "auto", address }
    : { at, kind: "remove", bytes, address, discard: discard ?? true };
});

const hotplugSchema = z.array(eventSchema).superRefine((events, context) => {
  for (let index = 1; index < events.length; index++) {
    if (events[index].at >= events[index - 1].at) continue;
    context.addIssue({ code: "custom", message: "the times are not ascending", path: [index, "at"] });
    return;
  }
}) as unknown as z.ZodType<readonly HotplugEvent[]>;

/** The option `machine.hotplug`. */
export function hotplugField(): Field<readonly HotplugEvent[]> {
  return field(hotplugSchema, [], {
    summary: "memory that comes and goes in sections of 128 MiB: " +
      "[{at: 5s, add: 1GiB, zone: movable, address: 256GiB}, {at: 20s, remove: 512MiB}]; " +
      "zone auto, normal, movable or alternating; discard: false leaves what is removed with the guest's host memory",
    source: "mm/memory_hotplug.c",
  });
}
