/** The slots of a guest as the way of a fault and of a discard sees them; sim/kvm has the tables. */

/** What it takes to find the slots that a fault or a discard concerns. */
export interface SlotPath {
  /** Time that all lookups and walks have taken so far, ns, not rounded. */
  readonly lookupNs: number;
  /** Faults of a vCPU on pages in turn, each with a lookup by guest page; whole ns. */
  faultNs(pfn: number, faults: number, cpu: number): number;
  /** The walk over all slots in a discarded range, by address of the VMM; ns, not rounded. */
  discardNs(pfn: number, count: number): number;
}
