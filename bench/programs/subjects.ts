/** The parts of the simulator that are measured, under the names that the programs use: a renamed class changes one line here. */
export { LadderQueue as EventQueue } from "../../sim/core/ladder_queue.ts";
export { EventHeap as ReferenceHeap } from "../../tests/core/event_heap.ts";
export { EventsCsv } from "../../sim/core/csv_writer.ts";
export { Buddy } from "../../sim/guest/buddy.ts";
export { layoutZones } from "../../sim/guest/layout.ts";
