/** Progress on standard error: a bar on a terminal, a plain line every ten seconds elsewhere. */
import type { SingleBar } from "cli-progress";
import { formatDuration } from "../memory/units.ts";
import type { Io } from "./io.ts";

const PLAIN_INTERVAL_MS = 10_000;
const BAR_INTERVAL_MS = 100;

/** Where a run stands. */
export interface Standing {
  /** Name of the run. */
  readonly run: string;
  /** Number of the run, from 1. */
  readonly number: number;
  /** Runs in all. */
  readonly runs: number;
  /** Events so far. */
  readonly events: number;
  /** Virtual time, ns. */
  readonly timeNs: number;
  /** Expected end, ns; Infinity when not known. */
  readonly endNs: number;
}

/** Shows how far the runs are. */
export class Progress {
  #io: Io;
  #quiet: boolean;
  #bar: SingleBar | undefined;
  #startedMs = performance.now();
  #shownMs = performance.now();

  /** Nothing is shown when quiet. */
  constructor(io: Io, quiet: boolean) {
    this.#io = io;
    this.#quiet = quiet;
  }

  /** Shows the bar on a terminal; the library is loaded only then, as it takes a fifth of a short command's time. */
  async start(): Promise<void> {
    if (this.#quiet || !this.#io.isTerminal) return;
    const { default: cliProgress } = await import("cli-progress");
    this.#bar = new cliProgress.SingleBar({
      format: "{run} [{bar}] {percentage}% | {speed} events/s | {time} | ETA {left}",
      hideCursor: true,
      clearOnComplete: true,
      barsize: 24,
    });
    this.#bar.start(100, 0, { run: "", speed: "-", time: "-", left: "-" });
  }

  /** A run starts: its speed is counted from here. */
  startRun(): void {
    this.#startedMs = performance.now();
  }

  /** Shows a standing when it is time to. */
  update(standing: Standing): void {
    if (this.#quiet) return;
    const nowMs = performance.now();
    if (nowMs - this.#shownMs < (this.#bar === undefined ? PLAIN_INTERVAL_MS : BAR_INTERVAL_MS)) return;
    this.#shownMs = nowMs;
    const seconds = Math.max(0.001, (nowMs - this.#startedMs) / 1000);
    const speed = Math.round(standing.events / seconds).toLocaleString("en-US");
    const share = standing.endNs === Infinity ? 0 : Math.min(1, standing.timeNs / Math.max(1, standing.endNs));
    const left = share > 0 ? `${Math.round(seconds / share - seconds)}s` : "?";
    const time = formatDuration(standing.timeNs);
    const run = `${standing.run} (${standing.number}/${standing.runs})`;
    if (this.#bar !== undefined) {
      const done = (standing.number - 1 + share) / standing.runs;
      this.#bar.update(Math.floor(done * 100), { run, speed, time, left });
    } else this.#io.err(`${run}: ${Math.floor(share * 100)} %, ${speed} events/s, at ${time}, ETA ${left}\n`);
  }

  /** Takes the bar away. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
