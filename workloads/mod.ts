/**
 * The registry of workloads: one file a workload, one line here.
 *
 * @module
 */
import type { WorkloadPlugin } from "../sim/guest/plugin.ts";
import { churn } from "./churn.ts";
import { fillDrain } from "./fill_drain.ts";
import { freeCurve } from "./free_curve.ts";
import { idle } from "./idle.ts";
import { living } from "./living.ts";
import { pageTrace } from "./page_trace.ts";
import { phases } from "./phases.ts";
import { storm } from "./storm.ts";

/** All workloads, in the order in which they are listed. */
export const workloads: readonly WorkloadPlugin[] = [
  idle,
  fillDrain,
  churn,
  storm,
  phases,
  pageTrace,
  freeCurve,
  living,
];
