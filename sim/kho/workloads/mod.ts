/**
 * The registry of what is preserved: a new workload is a new file and a line here.
 *
 * @module
 */
import { calls } from "./calls.ts";
import { checkpoint } from "./checkpoint.ts";
import { hugetlb1g } from "./hugetlb.ts";
import { hypervisorLiveUpdate } from "./hypervisor.ts";
import { mixedFolios } from "./mixed_folios.ts";
import { oneRange } from "./one_range.ts";
import { splitMerge } from "./split_merge.ts";
import type { KhoWorkloadPlugin } from "./workload.ts";

/** All workloads that need nothing but the machine. */
export const khoWorkloads: readonly KhoWorkloadPlugin[] = [
  hypervisorLiveUpdate,
  checkpoint,
  mixedFolios,
  hugetlb1g,
  splitMerge,
  oneRange,
  calls,
];
