/**
 * The registry of users of memory: one file a kind, one line here.
 *
 * @module
 */
import { anonymous } from "./anonymous.ts";
import { dropCaches } from "./drop_caches.ts";
import { kernelPages } from "./kernel_pages.ts";
import { memoryReclaim } from "./memory_reclaim.ts";
import { network } from "./network.ts";
import { pageCache } from "./page_cache.ts";
import { pageFault } from "./page_fault.ts";
import { processes } from "./processes.ts";
import { slab } from "./slab.ts";
import { tmpfs } from "./tmpfs.ts";
import type { UserKind } from "./user.ts";

/** All kinds of users. */
export const userKinds: readonly UserKind[] = [
  processes,
  anonymous,
  pageCache,
  slab,
  kernelPages,
  tmpfs,
  network,
  pageFault,
  dropCaches,
  memoryReclaim,
];
