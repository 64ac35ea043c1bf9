/**
 * The balloon devices of four VMMs: their queues, when they want kicks, which thread serves them, and how they discard.
 *
 * Each fact says where it comes from and whether it was read there (`verified`) or stands in for what was not (`assumed`). The
 * sources were read in 2026; a commit is named by its first digits. No VMM has the queues of the designs that were given up;
 * such a queue is taken to be like the others of its VMM, so that a design can be tried there.
 *
 * The features of packed rings and of indirect descriptors are not part of the table. All four offer split rings unless told
 * otherwise, and Linux's balloon driver turns indirect descriptors off (`virtballoon_validate`, Linux 6.12).
 */
import type { DiscardMode } from "./discards.ts";

/** A value of the table, and how far it can be trusted. */
export interface Fact<T> {
  /** The value. */
  readonly value: T;
  /** Whether it was read at the source. */
  readonly status: "verified" | "assumed";
  /** File and function, or why it is plausible. */
  readonly source: string;
}

/** One queue of a VMM. */
export interface VmmQueue {
  /** Descriptors. */
  readonly size: Fact<number>;
  /** The thread that serves it; queues with the same thread wait for each other. */
  readonly thread: Fact<string>;
  /** What it makes of the ranges of a message. */
  readonly discards: Fact<DiscardMode>;
}

/** A VMM, as far as a guest can tell by its queues. */
export interface Vmm {
  /** Name in scenarios. */
  readonly name: string;
  /** One line: what is special. */
  readonly summary: string;
  /** What was read. */
  readonly source: string;
  /** Whether it offers EVENT_IDX. */
  readonly eventIndex: Fact<boolean>;
  /** Whether it asks for a kick with each buffer that it takes, or when it has found the ring empty. */
  readonly kicks: Fact<"sleeping" | "each-pop">;
  /** Whether it tells of used buffers once, when it has found the ring empty. */
  readonly usedTogether: Fact<boolean>;
  /** Whether it polls the hinting queue while it hints, without wanting kicks. */
  readonly pollsHints: Fact<boolean>;
  /** System calls of one discard, in words; a discard of the host model is always one call. */
  readonly discardCall: Fact<string>;
  /** Its queues by name: inflate, deflate, stats, hinting, reporting, virtio-mem; only those that it has. */
  readonly queues: Readonly<Record<string, VmmQueue>>;
  /** A queue that it does not have, such as that of the designs of 2016. */
  readonly other: VmmQueue;
}

const verified = <T>(value: T, source: string): Fact<T> => ({ value, status: "verified", source });
const assumed = <T>(value: T, source: string): Fact<T> => ({ value, status: "assumed", source });

const NO_DISCARD = verified<DiscardMode>("each", "statistics name no pages");
const NO_QUEUE = "the VMM has no such queue; like its others";

const QEMU_REALIZE = "hw/virtio/virtio-balloon.c virtio_balloon_device_realize";
const QEMU_MAIN = verified("main loop", "hw/virtio/virtio-balloon.c: handlers run in the main loop under the big lock");
const QEMU_EACH_PFN = verified<DiscardMode>("each", "hw/virtio/virtio-balloon.c balloon_inflate_page, for each pfn");

const qemu: Vmm = {
  name: "qemu-7.2",
  summary: "a queue of 32 for reports; all but hints wait for one main loop; one madvise for each pfn",
  source: "QEMU 7.2 hw/virtio/virtio-balloon.c, hw/virtio/virtio.c",
  eventIndex: verified(true, "include/hw/virtio/virtio.h DEFINE_VIRTIO_COMMON_FEATURES, event_idx on"),
  kicks: verified("each-pop", "hw/virtio/virtio.c virtqueue_split_pop sets avail_event at each buffer"),
  usedTogether: verified(false, "virtqueue_push and virtio_notify for each element"),
  pollsHints: verified(
    true,
    "virtio_ballloon_get_free_page_hints loops while FREE_PAGE_HINT_S_START, notifications off",
  ),
  discardCall: verified(
    "one madvise(MADV_DONTNEED); for a memfd fallocate(PUNCH_HOLE) before it, two calls",
    "softmmu/physmem.c ram_block_discard_range",
  ),
  queues: {
    inflate: { size: verified(128, QEMU_REALIZE), thread: QEMU_MAIN, discards: QEMU_EACH_PFN },
    deflate: { size: verified(128, QEMU_REALIZE), thread: QEMU_MAIN, discards: QEMU_EACH_PFN },
    stats: { size: verified(128, QEMU_REALIZE), thread: QEMU_MAIN, discards: NO_DISCARD },
    hinting: {
      size: verified(1024, `${QEMU_REALIZE}, VIRTQUEUE_MAX_SIZE`),
      thread: verified(
        "iothread",
        `${QEMU_REALIZE}: free-page-hint requires an iothread, its bottom half polls the queue`,
      ),
      discards: verified("each", "get_free_page_hints: qemu_guest_free_page_hint for each element"),
    },
    reporting: {
      size: verified(32, QEMU_REALIZE),
      thread: QEMU_MAIN,
      discards: verified("each", "virtio_balloon_handle_report: one ram_block_discard_range for each descriptor"),
    },
    "virtio-mem": {
      size: verified(128, "hw/virtio/virtio-mem.c virtio_mem_device_realize"),
      thread: QEMU_MAIN,
      discards: verified("each", "virtio_mem_set_block_state: one discard for each request"),
    },
  },
  other: {
    size: assumed(128, "as inflate: the sets of 2016 added their queue beside it"),
    thread: assumed("main loop", NO_QUEUE),
    discards: assumed("each", NO_QUEUE),
  },
};

const FIRECRACKER_SIZE = verified(256, "devices/virtio/balloon/mod.rs BALLOON_QUEUE_SIZE = FIRECRACKER_MAX_QUEUE_SIZE");
const FIRECRACKER_THREAD = assumed(
  "VMM",
  "balloon/event_handler.rs takes events of the VMM's event manager, one thread",
);
const FIRECRACKER_EACH = verified<DiscardMode>(
  "each",
  "devices/virtio/balloon/device.rs process_free_page_reporting_queue, process_free_page_hinting_queue",
);

const firecracker: Vmm = {
  name: "firecracker",
  summary: "queues of 256 without EVENT_IDX on one thread; inflated pages are sorted and discarded in runs",
  source: "Firecracker src/vmm/src/devices/virtio/balloon (2026, with hinting and reporting)",
  eventIndex: verified(false, "devices/virtio/balloon/device.rs Balloon::new: avail_features without EVENT_IDX"),
  kicks: assumed("each-pop", "without EVENT_IDX the device would have to turn notifications off, and is not seen to"),
  usedTogether: verified(true, "device.rs: advance_used_ring_idx and signal_used_queue after the loop over the queue"),
  pollsHints: verified(false, "device.rs process_free_page_hinting_queue runs at a kick and ends with the queue"),
  discardCall: verified(
    "one madvise(MADV_DONTNEED); after a restore from a file an mmap before it",
    "vstate/memory.rs discard_range; older: balloon/util.rs remove_range",
  ),
  queues: {
    inflate: {
      size: FIRECRACKER_SIZE,
      thread: FIRECRACKER_THREAD,
      discards: verified("sorted", "device.rs process_inflate, util.rs compact_page_frame_numbers: up to 2048 pfns"),
    },
    deflate: {
      size: FIRECRACKER_SIZE,
      thread: FIRECRACKER_THREAD,
      discards: verified("each", "device.rs process_deflate_queue answers and does nothing else"),
    },
    stats: { size: FIRECRACKER_SIZE, thread: FIRECRACKER_THREAD, discards: NO_DISCARD },
    hinting: { size: FIRECRACKER_SIZE, thread: FIRECRACKER_THREAD, discards: FIRECRACKER_EACH },
    reporting: { size: FIRECRACKER_SIZE, thread: FIRECRACKER_THREAD, discards: FIRECRACKER_EACH },
  },
  other: {
    size: assumed(256, NO_QUEUE),
    thread: assumed("VMM", NO_QUEUE),
    discards: assumed("each", NO_QUEUE),
  },
};

const CH_BALLOON = "virtio-devices/src/balloon.rs (00a8c87)";
const CH_SIZE = verified(128, `${CH_BALLOON} QUEUE_SIZE`);
const CH_THREAD = verified("balloon", `${CH_BALLOON} activate: spawn_virtio_thread, one for the device`);
const CH_EACH = verified<DiscardMode>("each", `${CH_BALLOON} process_queue: release_memory_range for each pfn`);

const cloudHypervisor: Vmm = {
  name: "cloud-hypervisor",
  summary: "a thread for the balloon, without EVENT_IDX; no hints; one discard for each pfn",
  source: "cloud-hypervisor virtio-devices/src/balloon.rs 00a8c87, virtio-devices/src/mem.rs 01f9376",
  eventIndex: verified(false, `${CH_BALLOON} Balloon::new: avail_features without EVENT_IDX`),
  kicks: assumed("each-pop", "the queues of rust-vmm leave notifications on unless a device turns them off"),
  usedTogether: verified(
    true,
    `${CH_BALLOON}: one signal after the loop, though the used ring is written at each buffer`,
  ),
  pollsHints: assumed(false, NO_QUEUE),
  discardCall: verified(
    "madvise(MADV_DONTNEED); for memory with a file fallocate(PUNCH_HOLE) before it, two calls",
    `${CH_BALLOON} release_memory_range`,
  ),
  queues: {
    inflate: { size: CH_SIZE, thread: CH_THREAD, discards: CH_EACH },
    deflate: { size: CH_SIZE, thread: CH_THREAD, discards: CH_EACH },
    reporting: {
      size: verified(32, `${CH_BALLOON} REPORTING_QUEUE_SIZE`),
      thread: CH_THREAD,
      discards: verified("each", `${CH_BALLOON} process_reporting_queue: one for each descriptor`),
    },
    "virtio-mem": {
      size: verified(128, "virtio-devices/src/mem.rs (01f9376) QUEUE_SIZE"),
      thread: verified("virtio-mem", "virtio-devices/src/mem.rs (01f9376): a thread of its own"),
      discards: verified("each", "virtio-devices/src/mem.rs (01f9376) discard_memory_range for each request"),
    },
  },
  other: {
    size: assumed(128, NO_QUEUE),
    thread: assumed("balloon", NO_QUEUE),
    discards: assumed("each", NO_QUEUE),
  },
};

const CROSVM_BALLOON = "devices/src/virtio/balloon.rs";
const CROSVM_SIZE = verified(128, `${CROSVM_BALLOON} (2023) QUEUE_SIZE, one for all queues`);
const CROSVM_THREAD = verified("balloon", `${CROSVM_BALLOON} run_worker: one executor for all queues`);
const CROSVM_ADJACENT = verified<DiscardMode>("adjacent", `${CROSVM_BALLOON} handle_address_chain joins neighbours`);

const crosvm: Vmm = {
  name: "crosvm",
  summary: "queues of 128 on one worker; pages that follow each other in a message are discarded together",
  source: "crosvm devices/src/virtio/balloon.rs (2022 and 2023), virtio/mod.rs, virtio/queue/split_queue.rs 019d6ba",
  eventIndex: verified(true, "devices/src/virtio/mod.rs base_features"),
  kicks: verified("each-pop", "devices/src/virtio/queue/split_queue.rs pop_peeked sets avail_event at each buffer"),
  usedTogether: verified(false, `${CROSVM_BALLOON} handle_queue: add_used and trigger_interrupt for each buffer`),
  pollsHints: assumed(false, NO_QUEUE),
  discardCall: assumed("one madvise(MADV_REMOVE) of the memfd", "GuestMemory::remove_range was not read"),
  queues: {
    inflate: { size: CROSVM_SIZE, thread: CROSVM_THREAD, discards: CROSVM_ADJACENT },
    deflate: { size: CROSVM_SIZE, thread: CROSVM_THREAD, discards: CROSVM_ADJACENT },
    stats: { size: CROSVM_SIZE, thread: CROSVM_THREAD, discards: NO_DISCARD },
    reporting: {
      size: CROSVM_SIZE,
      thread: CROSVM_THREAD,
      discards: verified("each", `${CROSVM_BALLOON} handle_reported_buffer, release_ranges`),
    },
  },
  other: {
    size: assumed(128, NO_QUEUE),
    thread: assumed("balloon", NO_QUEUE),
    discards: assumed("each", NO_QUEUE),
  },
};

/** The VMMs whose queues a scenario may name as the preset of its transport. */
export const vmms: readonly Vmm[] = [qemu, firecracker, cloudHypervisor, crosvm];
