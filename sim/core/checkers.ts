/**
 * The invariants of the simulator, each as a reader of the trace.
 *
 * They find bugs of the simulator, not of a policy: a page that is lost and flagged as a `violation` is no problem for them, a
 * page that is lost and not flagged is one.
 */
import type { Checker } from "./checkers/checker.ts";
import { MessageChecker } from "./checkers/messages.ts";
import { ConservationChecker, PlaceChecker } from "./checkers/pages.ts";
import { ReclaimChecker } from "./checkers/reclaim.ts";
import { ResidencyChecker } from "./checkers/residency.ts";
import { TimeChecker } from "./checkers/time.ts";

export type { Checker };

/** What checkers have to know of a run. */
export interface CheckerOptions {
  /** Whether the host backs the guests with a pool of 2 MiB pages, so that it drops only whole ones. */
  readonly hugetlb: boolean;
}

/**
 * One checker of each kind for a run of guests with so many physical pages each, holes included. The trace must be checked
 * (have the rows that only checkers need).
 */
export function allCheckers(guestPages: readonly number[], options: CheckerOptions): Checker[] {
  return [
    new TimeChecker(),
    new MessageChecker(guestPages.length),
    new PlaceChecker(guestPages),
    new ConservationChecker(guestPages),
    new ResidencyChecker(guestPages),
    new ReclaimChecker(guestPages, options.hugetlb),
  ];
}
