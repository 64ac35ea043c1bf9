/** The kernel generations that are modelled, by version. */
import type { Kernel } from "./kernel.ts";
import { kernel61 } from "./kernel_6_1.ts";
import { kernel612 } from "./kernel_6_12.ts";

/** All generations; the first is the default. */
export const kernels: readonly Kernel[] = [kernel61, kernel612];
