/** The options of a machine that say where its memory lies, and what the kernel makes of it. */
import { z } from "zod";
import { type Field, field, integer, optional, type Options, show, sizeSchema } from "../core/options.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { parseSize } from "../memory/units.ts";
import type { MemoryLayout } from "./memory_map.ts";
import { LOCAL_DISTANCE } from "./zonelist.ts";

/** How the zones lie. */
export interface ZonesOption {
  /** What lies where. */
  readonly layout: MemoryLayout;
  /** Bytes of ZONE_MOVABLE (movablecore=). */
  readonly movable?: number | undefined;
  /** Bytes that ZONE_MOVABLE leaves to the kernel (kernelcore=). */
  readonly kernelcore?: number | undefined;
}

/** Addresses without memory. */
export interface HoleOption {
  /** First byte. */
  readonly at: number;
  /** Bytes. */
  readonly size: number;
}

/** A NUMA node. */
export interface NodeOption {
  /** Bytes of memory. */
  readonly memory: number;
  /** Virtual CPUs; the CPUs are dealt out in turn unless every node says. */
  readonly vcpus?: number | undefined;
  /** Distance to each node, 10 to itself; 20 to every other unless said. */
  readonly distances?: readonly number[] | undefined;
}

/** The options that are described here. */
export interface LayoutOptions {
  /** How the zones lie. */
  readonly zones: ZonesOption;
  /** Addresses without memory, ascending. */
  readonly holes: readonly HoleOption[];
  /** NUMA nodes, none for a single one. */
  readonly numa: readonly NodeOption[];
  /** What the kernel keeps of the memory: what Debian's kernel does, nothing, or so many bytes. */
  readonly reserved: "auto" | "none" | number;
  /** min_free_kbytes instead of what the kernel calculates. */
  readonly minFreeKbytes?: number | undefined;
}

/** Addresses end here: 64 TiB, what a guest with four levels of page tables can have. */
export const ADDRESS_MAX: number = 64 * 2 ** 40;

const LAYOUTS: readonly [MemoryLayout, ...MemoryLayout[]] = ["auto", "q35", "i440fx"];
const NODES_MAX = 64;

const pagesSchema = (min: number): z.ZodType<number> =>
  sizeSchema(min, ADDRESS_MAX).superRefine((bytes, context) => {
    if (bytes % PAGE_SIZE !== 0) {
      context.addIssue({ code: "custom", message: `${bytes} bytes are not whole pages of 4 KiB` });
    }
  });

const zonesSchema: z.ZodType<ZonesOption> = z.union([
  z.enum(LAYOUTS).transform((layout): ZonesOption => ({ layout })),
  z.strictObject({
    layout: z.enum(LAYOUTS).default("auto"),
    movable: pagesSchema(0).optional(),
    kernelcore: pagesSchema(0).optional(),
  }),
]);

const holesSchema: z.ZodType<readonly HoleOption[]> = z.array(
  z.strictObject({ at: pagesSchema(0), size: pagesSchema(PAGE_SIZE) }),
).superRefine((holes, context) => {
  holes.forEach(({ at, size }, index) => {
    const problem = at + size > ADDRESS_MAX
      ? "the hole ends above 64TiB"
      : index > 0 && at < holes[index - 1].at + holes[index - 1].size
      ? "the hole begins before the end of the one before it"
      : undefined;
    if (problem !== undefined) context.addIssue({ code: "custom", message: problem, path: [index, "at"] });
  });
});

const numaSchema: z.ZodType<readonly NodeOption[]> = z.array(z.strictObject({
  memory: pagesSchema(2 ** 20),
  vcpus: z.int().min(0).max(1024).optional(),
  distances: z.array(z.int().min(LOCAL_DISTANCE).max(254)).optional(),
})).max(NODES_MAX).superRefine((nodes, context) => {
  nodes.forEach(({ distances, vcpus }, index) => {
    const refuse = (key: string, message: string) => context.addIssue({ code: "custom", message, path: [index, key] });
    if ((vcpus === undefined) !== (nodes[0].vcpus === undefined)) {
      refuse("vcpus", "either every node has vcpus or none");
    }
    if (distances === undefined) return;
    if (distances.length !== nodes.length) {
      refuse("distances", `${distances.length} distances are not one for each of the ${nodes.length} nodes`);
    } else if (distances.some((distance, other) => (distance === LOCAL_DISTANCE) !== (other === index))) {
      refuse("distances", `${show(distances)} is not ${LOCAL_DISTANCE} to the node itself, and more to every other`);
    }
  });
});

const reservedSchema: z.ZodType<"auto" | "none" | number> = z.unknown().transform((value, context) => {
  if (value === "auto" || value === "none") return value;
  try {
    return parseSize(typeof value === "number" || typeof value === "string" ? value : show(value));
  } catch (error) {
    context.addIssue({ code: "custom", message: `${(error as Error).message}, or auto, or none` });
    return z.NEVER;
  }
});

/** The fields of {@link LayoutOptions}. */
export const LAYOUT: Options<LayoutOptions> = {
  fields: {
    zones: field(zonesSchema, "auto", {
      summary:
        "where memory and zones lie: auto (from 0 on), q35, i440fx, or {layout: q35, movable: 1GiB} or {kernelcore: 2GiB}",
      source: "QEMU hw/i386/pc_q35.c, pc_piix.c; movablecore=, kernelcore=",
    }),
    holes: field(holesSchema, [], {
      summary: "addresses without memory, which moves up: [{at: 2GiB, size: 2GiB}]",
      unit: "bytes",
    }),
    numa: field(numaSchema, [], {
      summary: "NUMA nodes, which own the memory in turn: [{memory: 2GiB, vcpus: 2, distances: [10, 20]}, ...]",
      unit: "bytes",
      source: "mm/page_alloc.c build_zonelists",
    }),
    reserved: field(reservedSchema, "none", {
      summary: "what the kernel keeps of the memory: none, auto (as Debian's kernel does), or a size",
      unit: "bytes",
      source: "six recorded boots, docs/decisions/zones.md",
    }),
    minFreeKbytes: optional(integer(undefined, 1, 2 ** 31 - 1, {
      summary: "min_free_kbytes, which sets the watermarks, instead of what the kernel calculates",
      source: "vm.min_free_kbytes",
    })) as Field<number | undefined>,
  },
};

/** The memory of all NUMA nodes together in bytes, undefined when there are none. */
export function numaBytes(numa: readonly NodeOption[]): number | undefined {
  return numa.length === 0 ? undefined : numa.reduce((sum, { memory }) => sum + memory, 0);
}

/** The first of the options that differs from a machine without them: one that a recorded start state cannot have. */
export function layoutChanged({ zones, holes, numa, reserved, minFreeKbytes }: LayoutOptions): string | undefined {
  if (zones.layout !== "auto" || zones.movable !== undefined || zones.kernelcore !== undefined) return "zones";
  if (holes.length > 0) return "holes";
  if (numa.length > 0) return "numa";
  if (reserved !== "none") return "reserved";
  return minFreeKbytes === undefined ? undefined : "minFreeKbytes";
}
