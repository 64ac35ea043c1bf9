/** The registry of slot tables, in the order of their years. */
import { fixed } from "./fixed.ts";
import { growable } from "./growable.ts";
import type { SlotTablePlugin } from "./slot_table.ts";
import { sortedByGfn } from "./sorted_by_gfn.ts";
import { sortedBySize } from "./sorted_by_size.ts";
import { tree } from "./tree.ts";

/** All slot tables. */
export const slotTables: readonly SlotTablePlugin[] = [fixed, sortedBySize, growable, sortedByGfn, tree];
