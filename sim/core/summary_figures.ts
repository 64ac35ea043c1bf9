/** The names of what a run comes to; `summary.ts` computes them. */

/** What a run comes to. A figure is undefined when it has no value: a quantile of nothing, a time that never came. */
export interface SummaryFigures {
  /** Virtual time of the last row, which is `end`, ns. */
  readonly simTimeNs: number;
  /** Rows before `end`, those for checkers included. */
  readonly events: number;
  /** Allocations; the start state is none. */
  readonly allocs: number;
  /** Frees. */
  readonly frees: number;
  /** Allocations that failed. */
  readonly allocFails: number;
  /** Passes of the policy. */
  readonly passes: number;
  /** Messages sent. */
  readonly messages: number;
  /** Kicks of a queue. */
  readonly kicks: number;
  /** Exits to the host for a message. */
  readonly exits: number;
  /** Interrupts of the guest. */
  readonly interrupts: number;
  /** Payload of all messages, bytes. */
  readonly payloadBytes: number;
  /** Ranges that the host handled. */
  readonly ranges: number;
  /** Pages named in messages. */
  readonly sentPages: number;
  /** Pages that the host unmapped. */
  readonly discardedPages: number;
  /** Pages that the host left out of a migration. */
  readonly skippedPages: number;
  /** Pages populated again after the host had unmapped them. */
  readonly refaultPages: number;
  /** Runs of pages whose content was lost. */
  readonly violations: number;
  /** Runs of pages that were discarded while owned and not yet written. */
  readonly nearMisses: number;
  /** Peak of the memory that drivers hold, bytes. */
  readonly heldPeakBytes: number;
  /** Memory that the host backs at the start, bytes. */
  readonly residentStartBytes: number;
  /** Memory that the host backs at the end, bytes. */
  readonly residentEndBytes: number;
  /** Memory on the free lists at the end, bytes. */
  readonly freeEndBytes: number;
  /** Memory given back and not populated again, bytes. */
  readonly returnedBytes: number;
  /** Time from the first free until half of what is returned at the end was returned, ns. */
  readonly timeTo50Ns: number | undefined;
  /** The same for nine tenths, ns. */
  readonly timeTo90Ns: number | undefined;
  /** Integral of the resident memory over time, GiB·min. */
  readonly residentGibMin: number;
  /** CPU time of the driver and its kicks, exits and interrupts, ns. */
  readonly driverCpuNs: number;
  /** CPU time of the host: ranges, swap and faults, ns. */
  readonly hostCpuNs: number;
  /** Time the guest waited for faults, swap and memory, ns. */
  readonly guestStallNs: number;
  /** 99 % quantile of one such wait, ns. */
  readonly stallP99Ns: number | undefined;
  /** The longest such wait, ns. */
  readonly stallMaxNs: number | undefined;
  /** Median round trip of a message, ns. */
  readonly ackP50Ns: number | undefined;
  /** 99 % quantile of the round trip, ns. */
  readonly ackP99Ns: number | undefined;
  /** Peak of the memory that drivers isolated, bytes. */
  readonly isolatedPeakBytes: number;
  /** Pages whose content was lost. */
  readonly violationPages: number;
  /** Pages that were discarded while owned and not yet written. */
  readonly nearMissPages: number;
  /** Pages of processes that were killed for want of memory. */
  readonly oomKilledPages: number;
  /** Pages that kswapd dropped. */
  readonly kswapdPages: number;
  /** Pages that tasks dropped which found no memory, or were told to reclaim. */
  readonly directReclaimPages: number;
  /** Pages that `drop_caches` dropped. */
  readonly dropCachesPages: number;
  /** Pages that compaction moved. */
  readonly compactionPages: number;
  /** CPU time of compaction, without frees and faults, ns. */
  readonly compactionNs: number;
  /** Pages that khugepaged put together. */
  readonly khugepagedPages: number;
}
