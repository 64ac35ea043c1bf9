/** What huge page faults may do for a block. */

/** How huge page faults that find no block may try (/sys/kernel/mm/transparent_hugepage/defrag), for memory without advice. */
export const THP_DEFRAGS = ["always", "defer", "defer+madvise", "madvise", "never"] as const;

/** See {@link THP_DEFRAGS}. */
export type ThpDefrag = (typeof THP_DEFRAGS)[number];
