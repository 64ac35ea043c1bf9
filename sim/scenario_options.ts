/** The options of a scenario outside of its plug-ins: machine, transport, host, output, and the top. */
import { z } from "zod";
import {
  choice,
  duration,
  durationSchema,
  field,
  flag,
  InputError,
  integer,
  optional,
  type Options,
  show,
  size,
} from "./core/options.ts";
import { compactionField, type CompactionOptions, khugepagedField } from "./guest/compaction_options.ts";
import { type HotplugEvent, hotplugField } from "./guest/hotplug_options.ts";
import { kernels } from "./guest/kernels.ts";
import type { KhugepagedOptions } from "./guest/khugepaged.ts";
import { type AllocatorKind, ALLOCATORS } from "./guest/layout.ts";
import { LAYOUT, type LayoutOptions } from "./guest/layout_options.ts";
import { THP_DEFRAGS, type ThpDefrag } from "./guest/thp_defrag.ts";
import { type BackingKind, BACKINGS } from "./host/backing.ts";
import { costProfiles } from "./host/costs.ts";
import { type HostMemslots, hostMemslotsField } from "./host_memslots.ts";
import { type ShownRow, shownRow } from "./summary_columns.ts";
import type { AckWait } from "./virtio/link.ts";
import { type Kicks, type QueueOptions, SIZE_DEFAULT } from "./virtio/queues.ts";
import { RING_SIZE_MAX } from "./virtio/ring.ts";
import { vmms } from "./virtio/vmms.ts";

/** The machine of a guest. */
export interface MachineOptions extends LayoutOptions {
  /** Memory, bytes; undefined when the workload brings its own. */
  readonly memory?: number | undefined;
  /** Virtual CPUs. */
  readonly vcpus: number;
  /** Whether transparent huge pages raise the watermarks. */
  readonly thp: boolean;
  /** Kernel generation. */
  readonly kernel: string;
  /** What the free pages of a zone are kept in. */
  readonly allocator: AllocatorKind;
  /** Whether requests leave watermarks and reserves alone; `auto` unless the workload is what the zones were asked. */
  readonly keepMarks: boolean | "auto";
  /** Whether the guest reclaims, and kills, on its own; `auto`: where the workload says that it lives. */
  readonly housekeeping: boolean | "auto";
  /** What huge page faults may do when no block is free. */
  readonly thpDefrag: ThpDefrag;
  /** Whether the CPUs keep pages of their own; `auto` unless the workload is what the zones were asked. */
  readonly perCpu: boolean | "auto";
  /** How memory is compacted; as the workload has it when left out. */
  readonly compaction?: CompactionOptions | false | undefined;
  /** How huge pages are put together later; as the workload has it when left out. */
  readonly khugepaged?: KhugepagedOptions | false | undefined;
  /** What the host backs at the start. */
  readonly resident: "none" | "used" | "all";
  /** Whether the kernel zeroes what it allocates. */
  readonly initOnAlloc: boolean;
  /** Whether the kernel zeroes what it frees. */
  readonly initOnFree: boolean;
  /** Whether the kernel poisons what it frees. */
  readonly pagePoison: boolean;
  /** Memory that comes and goes, in order of time. */
  readonly hotplug: readonly HotplugEvent[];
}

/** The most memory that the present page layout holds. */
const MEMORY_MAX = 8 * 2 ** 40;

const autoFlag: z.ZodType<boolean | "auto"> = z.custom<boolean | "auto">(
  (value) => typeof value === "boolean" || value === "auto",
  { error: ({ input }) => `${show(input)} is neither true, false nor auto` },
);

/** The options of `machine`. */
export const MACHINE: Options<MachineOptions> = {
  fields: {
    memory: optional(
      size(undefined, 2 ** 20, MEMORY_MAX, { summary: "memory of the guest (4GiB unless the workload says)" }),
    ),
    vcpus: integer(4, 1, 1024, { summary: "virtual CPUs" }),
    thp: flag(true, { summary: "transparent huge pages, which raise the watermarks", source: "mm/khugepaged.c" }),
    kernel: choice<string>("6.1", kernels.map(({ version }) => version), { summary: "kernel generation, a text" }),
    allocator: choice<AllocatorKind>("buddy", ALLOCATORS, {
      summary:
        "page allocator: the kernel's free lists, or LLFree's bits, which know no lists, per-CPU pages or zone lock",
      source: "LLFree, USENIX ATC 2023; as in HyperAlloc, October 2024",
    }),
    keepMarks: field(autoFlag, "auto", {
      summary:
        "requests leave watermarks and lowmem reserves alone, and fail below the minimum; auto: but for recorded zone requests",
      source: "mm/page_alloc.c get_page_from_freelist",
    }),
    perCpu: field(autoFlag, "auto", {
      summary:
        "each CPU keeps pages of orders 0 to 3 and 9 that the free lists do not show; auto: but for recorded zone requests",
      source: "mm/page_alloc.c struct per_cpu_pages",
    }),
    housekeeping: field(autoFlag, "auto", {
      summary:
        "kswapd keeps free memory above the low mark, tasks without memory reclaim; auto: where the workload is a guest's life",
      source: "mm/vmscan.c balance_pgdat, mm/page_alloc.c __alloc_pages_slowpath",
    }),
    thpDefrag: choice<ThpDefrag>("madvise", THP_DEFRAGS, {
      summary:
        "huge page faults without a block: always compacts at once, defer and defer+madvise wake kswapd; the others do nothing",
      source: "/sys/kernel/mm/transparent_hugepage/defrag, mm/huge_memory.c vma_thp_gfp_mask",
    }),
    compaction: compactionField,
    khugepaged: khugepagedField,
    resident: choice<"none" | "used" | "all">("used", ["none", "used", "all"], {
      summary: "what the host backs at the start",
    }),
    initOnAlloc: flag(true, {
      summary: "the kernel zeroes, and so touches, what it allocates",
      source: "init_on_alloc=1",
    }),
    initOnFree: flag(false, {
      summary:
        "the kernel zeroes, and so touches, what it frees; with `resident: all` as after a boot, which does so too",
      source: "init_on_free=1, mm/page_alloc.c free_pages_prepare",
    }),
    pagePoison: flag(false, {
      summary:
        "the kernel writes a pattern to what it frees and reads it when it allocates; hosts keep what is reported then",
      source: "page_poison=1; QEMU virtio_balloon_handle_report, poison_val",
    }),
    zones: LAYOUT.fields.zones,
    holes: LAYOUT.fields.holes,
    numa: LAYOUT.fields.numa,
    hotplug: hotplugField(),
    reserved: LAYOUT.fields.reserved,
    minFreeKbytes: LAYOUT.fields.minFreeKbytes,
  },
};

/** The way to the host. */
export type TransportOptions = QueueOptions;

/** The options of `transport`. */
export const TRANSPORT: Options<TransportOptions> = {
  fields: {
    kind: choice<"virtqueue" | "hypercall">("virtqueue", ["virtqueue", "hypercall"], {
      summary: "how messages travel",
    }),
    preset: choice<string>("none", ["none", ...vmms.map(({ name }) => name)], {
      summary: "the VMM whose queues are meant: sizes, notifications, threads, runs of discards",
      source: "sim/virtio/vmms.ts",
    }),
    size: optional(
      integer(undefined, 1, RING_SIZE_MAX, {
        summary: `descriptors of every queue, a power of two unless packed (as the preset, else ${SIZE_DEFAULT})`,
        unit: "descriptors",
        source: "QEMU 7.2 virtio_balloon_device_realize",
      }),
    ),
    eventIndex: optional(
      flag(true, {
        summary: "suppress notifications by index (as the preset, else true)",
        source: "VIRTIO_F_EVENT_IDX",
      }),
    ),
    packed: flag(false, {
      summary: "one ring of descriptors that both sides write, of any size",
      source: "VIRTIO_F_RING_PACKED",
    }),
    indirect: flag(false, {
      summary: "a message of several pieces takes one descriptor and an allocated table of 16 bytes for each piece",
      source: "VIRTIO_F_INDIRECT_DESC; off in Linux's balloon driver, virtballoon_validate",
    }),
    kicks: optional(
      choice<Kicks>("sleeping", ["sleeping", "each-pop"], {
        summary:
          "whether the device wants kicks while it sleeps, or again with each message (as the preset, else sleeping)",
        source: "QEMU hw/virtio/virtio.c virtqueue_split_pop: each",
      }),
    ),
    ack: choice<AckWait>("policy", ["policy", "sleep", "busy-wait"], {
      summary: "how drivers wait for an answer: as their policy has it, asleep until the interrupt, or spinning",
      source: "Liang Li's sets up to v8 spin",
    }),
  },
};

/** The host. */
export interface HostOptions {
  /** Memory for guests, bytes. */
  readonly memory: number;
  /** What backs the guests. */
  readonly backing: BackingKind;
  /** How pages are dropped. */
  readonly discard: "madv_dontneed";
  /** Name of the cost profile. */
  readonly costs: string;
  /** Whether the host takes messages and discards nothing. */
  readonly inhibit: boolean;
  /** How long the serving thread is busy with something else before it takes a message, ns. */
  readonly delay: number;
  /** The guest's memory slots; finding them takes no time when left out. */
  readonly memslots?: HostMemslots | undefined;
}

/** The options of `host`. */
export const HOST: Options<HostOptions> = {
  fields: {
    memory: size("64GiB", 2 ** 20, 2 ** 50, { summary: "memory of the host for its guests" }),
    backing: choice<BackingKind>("thp", BACKINGS, { summary: "what backs the guests' pages" }),
    discard: choice<"madv_dontneed">("madv_dontneed", ["madv_dontneed"], { summary: "how pages are dropped" }),
    costs: choice<string>("xeon6252-2024", costProfiles.map(({ name }) => name), { summary: "cost profile" }),
    inhibit: flag(false, {
      summary: "the host answers messages and discards nothing, as with VFIO or while postcopy comes in",
      source: "QEMU virtio_balloon_handle_report, ram_block_discard_is_disabled",
    }),
    delay: duration("0s", { summary: "how long the serving thread does something else before it takes a message" }),
    memslots: hostMemslotsField,
  },
};

/** What events are written as. */
export type EventFormat = "csv" | "csv.zst";

const FORMATS: readonly string[] = ["csv", "csv.zst"] satisfies EventFormat[];

/** Later formats of the contract, named in the message that refuses them. */
const LATER_FORMATS = ["parquet", "perfetto"];

/** What a run writes. */
export interface OutputOptions {
  /** Formats of the events, none for an empty list; undefined leaves them to the size of the run. */
  readonly events?: readonly EventFormat[] | undefined;
  /** Time between samples, ns. */
  readonly sample: number;
  /** Rows of the comparison; the usual ones when empty. */
  readonly show: readonly ShownRow[];
}

const formatsSchema = z.unknown().transform((input, context): readonly EventFormat[] => {
  try {
    return eventFormats(typeof input === "string" ? input : show(input));
  } catch (error) {
    context.addIssue({ code: "custom", message: (error as Error).message });
    return z.NEVER;
  }
}) as unknown as z.ZodType<readonly EventFormat[]>;

const shownSchema = z.array(
  z.string().transform((input, context): ShownRow => {
    try {
      return shownRow(input);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
      return z.NEVER;
    }
  }),
) as unknown as z.ZodType<readonly ShownRow[]>;

/** The options of `output`. */
export const OUTPUT: Options<OutputOptions> = {
  fields: {
    events: optional(
      field(formatsSchema, undefined, {
        summary: "formats of the events: `none`, or `csv` and `csv.zst`, both with a comma",
      }),
    ),
    sample: duration("100ms", { summary: "time between samples" }, 1000),
    show: field(shownSchema, [], {
      summary:
        "rows of the comparison: columns of summary.csv, the ratio of two (`host_cpu_ns / ranges`), or how far a run " +
        "is below the first one (`gain host_cpu_ns`); the usual rows when empty",
    }),
  },
};

/** The formats of a text such as `csv,csv.zst`; an empty list for `none`. Throws {@link InputError}. */
export function eventFormats(text: string): readonly EventFormat[] {
  if (text === "none") return [];
  const names = text.split(",").map((name) => name.trim());
  const refuse = (problem: string): never => {
    throw new InputError([], `${problem}; use none, ${FORMATS.join(" or ")}, several with a comma`);
  };
  names.forEach((name, index) => {
    if (LATER_FORMATS.includes(name)) refuse(`the format ${name} is not written yet`);
    if (name === "none") refuse("none stands alone");
    if (!FORMATS.includes(name)) refuse(`${show(name)} is not a format`);
    if (names.indexOf(name) < index) refuse(`${name} stands there twice`);
  });
  return names as EventFormat[];
}

const NAME = z.string().min(1).max(200).superRefine((name, context) => {
  if (/[/\\\0]|^\./.test(name)) {
    context.addIssue({
      code: "custom",
      message: `${show(name)} is not a name: it must not hold a path separator or begin with a dot`,
    });
  }
});

/** The top of a scenario. */
export interface TopOptions {
  /** Version of the format. */
  readonly hintsim: number;
  /** Name of the scenario. */
  readonly name?: string | undefined;
  /** Seed of all random streams. */
  readonly seed: number;
  /** When the run ends, ns. */
  readonly until?: number | undefined;
}

/** The options at the top of a scenario. */
export const TOP: Options<TopOptions> = {
  fields: {
    hintsim: field(
      z.literal(1, {
        error: ({ input }) => `${show(input)} is not a version of the format; wanted is 1`,
      }) as unknown as z.ZodType<
        number
      >,
      undefined,
      { summary: "version of the format, 1" },
    ),
    name: optional(field<string>(NAME, undefined, { summary: "name of the scenario and of its output folder" })),
    seed: integer(1, 0, Number.MAX_SAFE_INTEGER, { summary: "seed of all random streams" }),
    until: optional(field(durationSchema(1), undefined, { summary: "when the run ends", unit: "ns" })),
  },
};
