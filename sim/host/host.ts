/** The host as the floors above see it: something that backs a guest's pages and acts on messages. It has no clock. */

/** What a message allows the host to do with its ranges. */
export type HostAction = "reclaim" | "skip" | "give_back";

/** The host side of one guest. Costs are integer ns; the caller lets that time pass. */
export interface Host {
  /** Bytes of this guest that the host backs. */
  readonly residentBytes: number;
  /**
   * Does `action` on `count` pages from `pfn` on, writes the rows, and returns what it takes, ns.
   * `extraNs` is work that belongs to the message (waking, parsing) and is charged with this range.
   */
  apply(action: HostAction, pfn: number, count: number, message: number, extraNs: number): number;
  /** The guest accesses pages: those not backed are populated. Returns the time of the faults, ns. */
  touch(pfn: number, count: number, write: boolean, cpu: number): number;
  /** Pages that the host backs and that somebody in the guest owns. */
  residentOwnedPages(): number;
  /** Whether the host backs the page. */
  isResident(pfn: number): boolean;
  /** How many of `count` pages from `pfn` on the host backs. */
  residentIn(pfn: number, count: number): number;
}
