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
  /** A block was freed and merged into this one. May return the time that the policy's work adds to the free, ns. */
  onFree?(zone: Zone, pfn: number, order: number): number | void;
  /** Whether {@link beforeUse} has something to do for these newly allocated pages. */
  needsUse?(zone: Zone, pfn: number, order: number): boolean;
  /** Runs before newly allocated pages are used, when {@link needsUse} says so. */
  beforeUse?(zone: Zone, pfn: number, order: number): Task;
  /** An allocation failed: try to get memory back. True when the allocation should be tried again. */
  onPressure?(order: number): Task<boolean>;
  /** The host asks for a pass. */
  onRequest?(request: HostRequest): Task;
  /** The run starts: called once, at time 0. */
  start?(): void;
  /** Whether nothing is running or waiting to run. A policy without it is idle when its worker is. */
  idle?(): boolean;
}

/** The way to the host. */
export interface HostLink {
  /** Largest payload of one message in bytes that queue, buffer and encoding allow. */
  readonly payloadMax: number;
  /** Payload bytes of these ranges. */
  sizeOf(ranges: readonly Range[]): number;
  /** Whether the range can be said in the encoding. */
  accepts(range: Range): boolean;
  /**
   * Sends one message and waits until the host has answered. False when it was not sent because the run is ending.
   * `prepareNs` is time that the driver spent on the message and that is charged with it.
   */
  send(action: HostAction, ranges: readonly Range[], prepareNs: number): Task<boolean>;
}
