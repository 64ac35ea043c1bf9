/** The queues of a device, as a scenario's transport describes them. */
import { InputError } from "../core/options.ts";
import { HostThread } from "./host_thread.ts";
import type { AckWait } from "./link.ts";
import { Hypercall, type Transport, type TransportParts } from "./transport.ts";
import { Virtqueue, type VirtqueueOptions } from "./virtqueue.ts";
import { type Vmm, type VmmQueue, vmms } from "./vmms.ts";

/** When a device asks for kicks: while it sleeps, or again with each buffer that it takes. */
export type Kicks = "sleeping" | "each-pop";

/** What a scenario says of its transport. */
export interface QueueOptions {
  /** A virtqueue or a hypercall. */
  readonly kind: "virtqueue" | "hypercall";
  /** Name of the VMM whose queues are meant, or `none`. */
  readonly preset: string;
  /** Descriptors of each queue; undefined leaves them to the VMM. */
  readonly size?: number | undefined;
  /** Whether notifications are suppressed by index; undefined leaves it to the VMM. */
  readonly eventIndex?: boolean | undefined;
  /** Whether the rings have the packed layout. */
  readonly packed: boolean;
  /** Whether a message of several pieces takes one descriptor in the ring. */
  readonly indirect: boolean;
  /** When the device asks for kicks; undefined leaves it to the VMM. */
  readonly kicks?: Kicks | undefined;
  /** How drivers wait for answers. */
  readonly ack: AckWait;
}

/** Descriptors of every queue when neither a VMM nor a size is given. */
export const SIZE_DEFAULT = 128;

/** The queue without an interrupt handler: `init_vqs` gives it no callback (Linux 6.1 drivers/virtio/virtio_balloon.c). */
const POLLED = "hinting";

/** Makes the queues of one device by their names. Throws {@link InputError} when the options do not fit each other. */
export function queuesOf(parts: TransportParts, options: QueueOptions): (name: string) => Transport {
  if (options.kind === "hypercall") return () => new Hypercall(parts);
  const { size, packed } = options;
  if (size !== undefined && !packed && (size & (size - 1)) !== 0) {
    const message = `${size} is not a power of two, as a split ring wants; packed: true takes any size`;
    throw new InputError(["transport", "size"], message);
  }
  const vmm = vmms.find(({ name }) => name === options.preset);
  const threads = new Map<string, HostThread>();
  const threadOf = (name: string): HostThread => {
    let thread = threads.get(name);
    if (thread === undefined) threads.set(name, thread = new HostThread(parts.sim));
    return thread;
  };
  return (name) => {
    const settings = { ...settingsOf(options, vmm, name), polled: name === POLLED };
    if (vmm === undefined) return new Virtqueue(parts, settings);
    return new Virtqueue(parts, { ...settings, thread: threadOf(queueOf(vmm, name).thread.value) });
  };
}

/** The queue of a VMM that stands for a name; designs that no VMM has implemented get its queue for anything else. */
export function queueOf(vmm: Vmm, name: string): VmmQueue {
  return vmm.queues[name] ?? vmm.other;
}

function settingsOf(options: QueueOptions, vmm: Vmm | undefined, name: string): VirtqueueOptions {
  const { packed, indirect } = options;
  const queue = vmm === undefined ? undefined : queueOf(vmm, name);
  const kicks = options.kicks ?? vmm?.kicks.value ?? "sleeping";
  return {
    size: options.size ?? queue?.size.value ?? SIZE_DEFAULT,
    eventIndex: options.eventIndex ?? vmm?.eventIndex.value ?? true,
    packed,
    indirect,
    kickEach: kicks === "each-pop",
    usedTogether: vmm?.usedTogether.value ?? false,
    neverPolls: vmm?.pollsHints.value === false,
    discards: queue?.discards.value ?? "each",
  };
}
