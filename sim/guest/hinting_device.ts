/**
 * The host's side of free page hinting (QEMU 7.2 hw/virtio/virtio-balloon.c): command ids in the configuration space, and the
 * state that decides whether a hint counts.
 */
import type { Task } from "../core/sim.ts";
import type { PolicyContext } from "./plugin.ts";

/** The queue of hints and ids. */
export const HINTING_QUEUE = "hinting";

/** Ids that stand for themselves (VIRTIO_BALLOON_CMD_ID_*, include/uapi/linux/virtio_balloon.h). */
export const HINTING_STOP = 0;
/** The guest may free what it holds. */
export const HINTING_DONE = 1;
/** Real ids lie from here (VIRTIO_BALLOON_FREE_PAGE_HINT_CMD_ID_MIN) to the end of 32 bits; the first is one more. */
const ID_MIN = 0x80000000;
const ID_MAX = 0xffffffff;

/** How a migration goes. */
export interface MigrationSettings {
  /** After how long the host stops a round for a sync of its bitmap, ns; never when undefined. */
  readonly stopAfter?: number | undefined;
  /** Rounds of a migration, each with an id of its own. */
  readonly rounds: number;
  /** Time between a stop and the next id, ns. */
  readonly sync: number;
  /** When the host says DONE. */
  readonly done: "end" | "guest-stop" | "never";
}

/** States of the device (enum virtio_balloon_free_page_hint_status). */
type Status = "stop" | "requested" | "start" | "done";

/** What the device tells its driver. */
export interface HintingDriver {
  /** The configuration space has another id. */
  configChanged(): void;
  /** The migration is over. */
  migrationEnded(): void;
}

/** The device of one guest. */
export class HintingDevice {
  /** The id that the configuration space holds. */
  commandId: number = HINTING_STOP;
  /** Whether a migration is under way. */
  migrating = false;
  /** Hints that were taken when the device was not started. */
  staleHints = 0;
  #context: PolicyContext;
  #settings: MigrationSettings;
  #driver: HintingDriver;
  #status: Status = "stop";
  #lastId = ID_MIN;

  /** A device that waits for a migration. */
  constructor(context: PolicyContext, settings: MigrationSettings, driver: HintingDriver) {
    this.#context = context;
    this.#settings = settings;
    this.#driver = driver;
  }

  /** A migration starts; false when another is under way. */
  migrate(): boolean {
    if (this.migrating) return false;
    this.migrating = true;
    this.#context.sim.spawn(this.#rounds());
    return true;
  }

  /** The device takes an id from the queue (`get_free_page_hints`). */
  takeId(id: number): void {
    if (this.#status === "requested" && id === this.commandId) {
      this.#status = "start";
      this.#context.driver.devicePolls(HINTING_QUEUE, true);
    } else if (this.#status === "start") {
      // The guest is through; the configuration says so from now on, but nobody is told.
      this.#status = "stop";
      this.commandId = HINTING_STOP;
      this.#context.driver.devicePolls(HINTING_QUEUE, false);
      const { done, stopAfter } = this.#settings;
      if (done === "guest-stop" || stopAfter === undefined) this.#end(done !== "never");
    }
  }

  /** The device takes a hint: whether it acts on it. */
  takeHint(): boolean {
    if (this.#status === "start") return true;
    this.staleHints++;
    return false;
  }

  *#rounds(): Task {
    const { stopAfter, rounds, sync, done } = this.#settings;
    for (let round = 1; round <= rounds; round++) {
      this.#lastId = this.#lastId === ID_MAX ? ID_MIN : this.#lastId + 1;
      this.#set("requested", this.#lastId);
      if (stopAfter === undefined) return;
      yield stopAfter;
      if (!this.migrating) return;
      // The guest's own stop has no need of another.
      if (this.#status !== "stop") this.#set("stop", HINTING_STOP);
      if (round < rounds) yield sync;
    }
    this.#end(done === "end");
  }

  /** The migration is over: without DONE the guest keeps its blocks until the next one. */
  #end(done: boolean): void {
    this.migrating = false;
    if (done) this.#set("done", HINTING_DONE);
    this.#driver.migrationEnded();
  }

  /** The device changes its state and tells the driver that the configuration changed. */
  #set(status: Status, id: number): void {
    this.#context.driver.devicePolls(HINTING_QUEUE, false);
    this.#status = status;
    this.commandId = id;
    this.#driver.configChanged();
  }
}
