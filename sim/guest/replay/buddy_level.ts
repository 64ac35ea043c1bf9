/**
 * Replay at level `buddy`: the rows that hold the zone lock drive the lists, and the page that the allocator takes for each is
 * compared with the kernel's. What an allocator cannot know is read from the rows: when pages move, whether enough of a
 * pageblock was alike to be claimed, which block compaction took or rotated.
 */
import { ORDER_PAGES } from "../../memory/range.ts";
import { PAGEBLOCK_ORDER } from "../allocator.ts";
import { type AllocFlags, type Kernel, NO_FLAGS } from "../kernel.ts";
import type { RecordedState } from "../operations.ts";
import type { Recording } from "../recording.ts";
import type { Zone } from "../zone.ts";
import { KernelPages } from "./kernel_pages.ts";
import { type Fallback, ReplayLists } from "./replay_lists.ts";

const STEALING: AllocFlags = { noFragment: false, stealing: true };

/** The flag of a freed block that goes to the tail of its list (FPI_TO_TAIL). */
const TO_TAIL = 2;

/** One replay. */
export class BuddyLevel extends ReplayLists {
  /** Blocks taken, with the page compared. */
  allocations = 0;
  /** Blocks given back. */
  frees = 0;
  readonly #pages: KernelPages;
  /** The fallback that the next allocation of a CPU will make (6.1). */
  readonly #fallbacks = new Map<number, Fallback>();
  /** The page that a claim of a CPU is about to take (6.12). */
  readonly #claims = new Map<number, number>();
  /** What is known of the fallback of the allocation under way. */
  #pending: Fallback | undefined;

  /** A replay from a state with these zones. */
  constructor(recording: Recording, state: RecordedState, zones: readonly Zone[], kernel: Kernel) {
    super(recording, zones, kernel);
    this.#pages = new KernelPages(state);
  }

  /** Does what a row says. */
  override apply(row: number): void {
    const event = String.fromCharCode(this.recording.event[row]);
    if (event === "Z") this.#alloc(row, this.#takeFallback(row), NO_FLAGS);
    else if (event === "D" || event === "O" || event === "P") this.#free(row, event);
    else if (event === "X") this.#fallback(row);
    else if (event === "z") this.#claims.set(this.recording.cpu[row], this.recording.pfn[row]);
    else this.applyInput(row, event);
  }

  protected override mayClaim(freePages: number, order: number): boolean {
    if (this.#pending === undefined) return freePages >= ORDER_PAGES[PAGEBLOCK_ORDER - 1];
    return this.#pending.claimed && this.#pending.order === order;
  }

  protected override noteTaken(row: number): void {
    this.#pages.take(row, this.recording.pfn[row], this.recording.order[row]);
  }

  protected override noteGiven(row: number): void {
    this.#pages.give(row, this.recording.pfn[row], this.recording.order[row]);
  }

  #takeFallback(row: number): Fallback | undefined {
    const cpu = this.recording.cpu[row];
    const fallback = this.#fallbacks.get(cpu);
    this.#fallbacks.delete(cpu);
    return fallback;
  }

  #alloc(row: number, fallback: Fallback | undefined, flags: AllocFlags): void {
    const { order, migratetype } = this.recording;
    this.noteTaken(row);
    this.#pending = fallback;
    const taken = this.kernel.alloc(this.zoneOf(row), order[row], migratetype[row], flags);
    this.#pending = undefined;
    this.allocations++;
    this.compare(row, taken);
  }

  /** 6.1 tells of a fallback before the page is taken, 6.12 after it and instead of its own row. */
  #fallback(row: number): void {
    const { cpu, pfn } = this.recording;
    const { order, claimed } = this.fallbackOf(row);
    if (this.kernel.version === "6.1") {
      this.#fallbacks.set(cpu[row], { order, claimed });
      return;
    }
    const claims = this.#claims.get(cpu[row]) === pfn[row];
    this.#claims.delete(cpu[row]);
    this.#alloc(row, { order, claimed: claims }, claims || order >= PAGEBLOCK_ORDER ? NO_FLAGS : STEALING);
  }

  #free(row: number, event: string): void {
    const { pfn, migratetype, text, cpu } = this.recording;
    const zone = this.zoneOf(row);
    this.noteGiven(row);
    this.frees++;
    if (text.get(row) !== "captured") {
      const toTail = event === "P" && (Number(text.get(row)) & TO_TAIL) !== 0;
      this.freeBlock(row, zone, migratetype[row], toTail);
    } else if (this.capture(row, zone) >= 0) {
      const order = this.capturingOrder(cpu[row]);
      this.#pages.take(row, Math.floor(pfn[row] / ORDER_PAGES[order]) * ORDER_PAGES[order], order);
    }
  }
}
