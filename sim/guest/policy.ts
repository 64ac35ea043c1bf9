/** The interfaces between the guest, a policy and the link to the host. They belong to the guest, which calls them. */
import type { HostAction } from "../host/host.ts";
import type { Range } from "../memory/range.ts";
import type { Task } from "../core/sim.ts";
import type { Zone } from "./zone.ts";

/** A request that the host makes of the guest's driver. */
export interface HostRequest {
  /** Number of the request, from 1. */
  readonly id: number;
}

/** A design: when to tell the host about which pages. Every hook is optional. */
export interface HintingPolicy {
  /** Only merged blocks of at least this order reach {@link onFree}; the cheap test of the hot path. */
  readonly freeOrderMin?: number;
  /**
   * A block was freed by a CPU and merged into this one; `cpu` is -1 where none did. May return the time that the policy's
   * work adds to the free, ns.
   */
  onFree?(zone: Zone, pfn: number, order: number, cpu: number): number | void;
  /** Whether {@link beforeUse} has something to do for these newly allocated pages. */
  needsUse?(zone: Zone, pfn: number, order: number): boolean;
  /** Runs before newly allocated pages are used, when {@link needsUse} says so. */
  beforeUse?(zone: Zone, pfn: number, order: number): Task;
  /** An allocation failed: try to get memory back. True when the allocation should be tried again. */
  onPressure?(order: number): Task<boolean>;
  /** The host asks for a pass, which the driver's worker makes. A request that comes during one is dropped and counted. */
  onRequest?(request: HostRequest): Task;
  /** The host asks, as {@link onRequest}, but the policy sees it at once, and decides what it does with it. */
  onCommand?(request: HostRequest): void;
  /** The run starts: called once, at time 0. */
  start?(): void;
  /** Counters of the policy's own, with units in their names; they are columns `policy_<name>` of the summary. */
  counters?(): Readonly<Record<string, number>>;
  /**
   * Whether pages that the driver holds stay with it (a balloon): an allocation that fails does not wait for them, where it
   * waits for blocks that only travel.
   */
  readonly keepsHeld?: boolean;
  /** Whether nothing is running or waiting to run. A policy without it is idle when its worker is. */
  idle?(): boolean;
}

/** How a message is sent. */
export interface SendOptions {
  /** The device's queue, `request` unless told; each has a ring of its own. */
  readonly queue?: string;
  /** Whether the driver spins until the answer is there, and wants no interrupt (the 2016 sets up to v8). */
  readonly busyWait?: boolean;
  /** Payload of a message that is no list of pages, such as a command id, bytes; the encoding is not asked then. */
  readonly payloadBytes?: number;
  /** Called when the device takes the message; false when it must not act on the pages (QEMU pops a hint after STOP). */
  readonly taken?: () => boolean;
}

/** A message that was handed over. */
export interface Posted {
  /** Number of the message, from 1. */
  readonly id: number;
  /** Whether the driver has the answer. */
  readonly answered: boolean;
}

/** What one message on a queue may be. */
export interface MessageLimits {
  /** Largest payload in bytes that queue, buffer and encoding allow. */
  readonly payloadMax: number;
  /** Most pieces of memory of one message. */
  readonly descriptorsMax: number;
}

/** The way to the host. */
export interface HostLink {
  /** Largest payload of one message in bytes that queue, buffer and encoding allow. */
  readonly payloadMax: number;
  /** Payload bytes of these ranges. */
  sizeOf(ranges: readonly Range[]): number;
  /** Whether the range can be said in the encoding. */
  accepts(range: Range): boolean;
  /** Pieces of memory that a message of these ranges consists of; one unless the encoding scatters it. */
  descriptorsOf?(ranges: readonly Range[]): number;
  /** Most pieces of memory of one message; no limit unless told. */
  readonly descriptorsMax?: number;
  /** The same two limits for a queue by its name, where queues differ. */
  limits?(queue?: string): MessageLimits;
  /**
   * Sends one message and waits until the host has answered. False when it was not sent because the run is ending.
   * `prepareNs` is time that the driver spent on the message and that is charged with it.
   */
  send(action: HostAction, ranges: readonly Range[], prepareNs: number, options?: SendOptions): Task<boolean>;
}

/** A way to the host that lets several messages travel at once; what the assembly gives to drivers. */
export interface PostingLink extends HostLink {
  /** Hands one message over and goes on; undefined when it was not sent because the run is ending. */
  post(
    action: HostAction,
    ranges: readonly Range[],
    prepareNs: number,
    options?: SendOptions,
  ): Task<Posted | undefined>;
  /** Waits for the answer to a message that was posted. */
  wait(posted: Posted): Task;
  /** Descriptors of a queue that are free now. */
  room(queue?: string): number;
  /** Takes the answers of a queue whose driver has no interrupt handler. */
  poll(queue?: string): void;
  /** Whether the run ends: nothing is sent any more. */
  readonly closing: boolean;
  /** The device polls a queue from now on, or no more: while it does it wants no kicks and sees buffers at once. */
  devicePolls(queue: string, polls: boolean): void;
  /** Reads or writes a field of the device's configuration space: an exit to the VMM. */
  config(): Task;
}
