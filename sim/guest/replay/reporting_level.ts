/**
 * Replay at level `reporting`: the zone-locked rows drive the lists as at level `buddy`, but what the reporting worker isolates,
 * reports and puts back is the model's own; the recording only says when a pass begins and when a message was answered.
 */
import { PAGEBLOCK_ORDER } from "../allocator.ts";
import type { Kernel } from "../kernel.ts";
import type { RecordedState } from "../operations.ts";
import type { Recording } from "../recording.ts";
import type { Zone } from "../zone.ts";
import { BuddyLevel } from "./buddy_level.ts";
import { problem } from "./kernel_pages.ts";
import { type MakePolicy, SteppedWorker } from "./stepped_worker.ts";

/** One replay. */
export class ReportingLevel extends BuddyLevel {
  /** Blocks isolated, messages, and blocks put back, by the recording. */
  isolates = 0;
  /** See {@link isolates}. */
  reports = 0;
  /** See {@link isolates}. */
  putBacks = 0;
  readonly #worker: SteppedWorker;
  /** CPU of the pass under way, -1 for none. */
  #passCpu = -1;
  /** A pass has begun whose first steps were not run yet. */
  #begun = false;

  /** A replay with the worker of a policy, whose passes begin `delayNs` after they are asked for. */
  constructor(
    recording: Recording,
    state: RecordedState,
    zones: readonly Zone[],
    kernel: Kernel,
    makePolicy: MakePolicy,
    delayNs: number,
  ) {
    super(recording, state, zones, kernel);
    this.#worker = new SteppedWorker(zones, makePolicy, delayNs);
  }

  /** Does what a row says. */
  override apply(row: number): void {
    const event = String.fromCharCode(this.recording.event[row]);
    if (event === "W") this.#begin(row);
    else if (event === "w") this.#end(row);
    else if (event === "R") this.#report(row);
    else if (event === "I" && this.#isWorkers(row)) this.#isolated(row);
    else if (event === "U" && this.#isWorkers(row)) this.#putBack(row);
    else super.apply(row);
  }

  /** Compaction isolates blocks too, on other CPUs or smaller ones. */
  #isWorkers(row: number): boolean {
    const { cpu, order } = this.recording;
    return cpu[row] === this.#passCpu && order[row] >= PAGEBLOCK_ORDER;
  }

  #begin(row: number): void {
    if (this.#passCpu >= 0) throw problem(row, "a pass begins, but the one before has not ended");
    this.#passCpu = this.recording.cpu[row];
    this.#begun = true;
  }

  #end(row: number): void {
    if (this.#passCpu < 0) throw problem(row, "a pass ends that has not begun");
    this.#goOn();
    this.#passCpu = -1;
    const { isolated, reported, putBack } = this.#worker.steps;
    if (isolated.length + reported.length + putBack.length > 0 || this.#worker.sending) this.wrong(row, -1);
  }

  #isolated(row: number): void {
    this.zoneOf(row);
    this.noteTaken(row);
    this.isolates++;
    this.#step(row, this.#worker.steps.isolated);
  }

  #putBack(row: number): void {
    this.zoneOf(row);
    this.noteGiven(row);
    this.putBacks++;
    this.#step(row, this.#worker.steps.putBack);
  }

  /** The next block of one kind must be the row's. */
  #step(row: number, blocks: number[]): void {
    if (blocks.length === 0) this.#goOn();
    const pfn = blocks.shift() ?? -1;
    if (pfn !== this.recording.pfn[row]) this.wrong(row, pfn);
  }

  #report(row: number): void {
    const expected = Number(this.recording.text.get(row));
    if (!(expected > 0)) throw problem(row, "a report needs its number of blocks");
    if (this.#passCpu < 0) throw problem(row, "a report belongs to no pass");
    this.reports++;
    const { reported } = this.#worker.steps;
    if (reported.length === 0) this.#goOn();
    if (reported.shift() !== expected) this.wrong(row, -1);
  }

  /** Runs the worker as far as it can go: lists are walked when the kernel is seen to have the lock, not before. */
  #goOn(): void {
    if (this.#begun) {
      this.#begun = false;
      this.#worker.begin();
    } else this.#worker.answer();
  }
}
