/** HOLD on one of our queues, as bench/native/queue.cpp: `queue.ts ladder|heap PENDING HOLDS`. */
import { argument, exponentialIncrements, INCREMENTS, mix, report, timeNs } from "./measure.ts";
import { EventQueue, ReferenceHeap } from "./subjects.ts";

/** What both queues offer. */
interface Queue {
  readonly timeNs: number;
  readonly kind: number;
  readonly target: number;
  readonly payload: number;
  push(timeNs: number, priority: number, kind: number, target: number, payload: number): number;
  pop(): boolean;
}

const increments = exponentialIncrements();
let drawn = 0;
let checksum = 0;

function hold(queue: Queue, times: number): void {
  for (let i = 0; i < times; i++) {
    queue.pop();
    checksum = mix(checksum, queue.timeNs + queue.kind);
    const increment = increments[drawn++ & (INCREMENTS - 1)];
    queue.push(queue.timeNs + increment, 0, (queue.kind + 1) & 7, queue.target, queue.payload);
  }
}

function fill(queue: Queue, pending: number): void {
  for (let i = 0; i < pending; i++) queue.push(increments[drawn++ & (INCREMENTS - 1)], 0, i & 7, i, 0.5);
}

const make = (): Queue => Deno.args[0] === "ladder" ? new EventQueue() : new ReferenceHeap();
const pending = argument(1);
const holds = argument(2);

// Compiled before it is measured; then everything starts again.
const warm = make();
fill(warm, Math.min(pending, 10_000));
hold(warm, 1_000_000);
drawn = checksum = 0;

const queue = make();
fill(queue, pending);
hold(queue, Math.floor(holds / 2));
const spentNs = timeNs(() => hold(queue, holds));
report(checksum, { holdNs: spentNs / holds });
