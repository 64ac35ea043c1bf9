/**
 * Replay at level `buddy`: the rows that hold the zone lock drive the lists, and the page that the allocator takes for each is
 * compared with the kernel's. What an allocator cannot know is read from the rows: when pages move, whether enough of a
 * pageblock was alike to be claimed, which block compaction took or rotated.
 */
import { ORDER_PAGES } from "../../memory/range.ts";
import { type Allocator, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES } from "../allocator.ts";
import { type AllocFlags, type Kernel, NO_FLAGS } from "../kernel.ts";
import type { RecordedState } from "../operations.ts";
import type { Recording } from "../recording.ts";
import type { Zone } from "../zone.ts";
import { KernelPages } from "./kernel_pages.ts";
import { type Fallback, fallbacksTake, ReplayLists } from "./replay_lists.ts";

/** A fallback, as it is replayed. */
interface FallbackRow extends Fallback {
  /** Whether all of a pageblock changes its type for a smaller block. */
  readonly claims: boolean;
  /** Whether it names the first page of the block, not one that was handed out of a claimed pageblock. */
  readonly namesBlock: boolean;
}

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
  /** Whether a fallback row of the recording stands for the allocation itself (6.12). */
  readonly #fallbackTakes: boolean;
  /** The fallback that the next allocation of a CPU will make (6.1). */
  readonly #fallbacks = new Map<number, FallbackRow>();
  /** The page that a claim of a CPU is about to take (6.12). */
  readonly #claims = new Map<number, number>();
  /** What is known of the fallback of the allocation under way. */
  #pending: FallbackRow | undefined;

  /** A replay from a state with these zones. */
  constructor(recording: Recording, state: RecordedState, zones: readonly Zone[], kernel: Kernel) {
    super(recording, zones, kernel);
    this.#pages = new KernelPages(state);
    this.#fallbackTakes = fallbacksTake(recording, state, kernel);
  }

  /** Does what a row says. */
  override apply(row: number): void {
    const event = String.fromCharCode(this.recording.event[row]);
    if (event === "Z") this.#refill(row);
    else if (event === "D" || event === "O" || event === "P") this.#free(row, event);
    else if (event === "X") this.#fallback(row);
    else if (event === "z") this.#claim(row);
    else this.applyInput(row, event);
  }

  protected override mayClaim(freePages: number, order: number): boolean {
    if (this.#pending === undefined) return freePages >= ORDER_PAGES[PAGEBLOCK_ORDER - 1];
    return this.#pending.claims && this.#pending.order === order;
  }

  protected override noteTaken(row: number): void {
    this.#pages.take(row, this.recording.pfn[row], this.recording.order[row]);
  }

  protected override noteGiven(row: number): void {
    this.#pages.give(row, this.recording.pfn[row], this.recording.order[row]);
  }

  #refill(row: number): void {
    const cpu = this.recording.cpu[row];
    const fallback = this.#fallbacks.get(cpu);
    // A claim that no fallback follows.
    if (this.#claims.delete(cpu)) this.wrong(row, -1);
    this.#fallbacks.delete(cpu);
    this.#alloc(row, fallback, NO_FLAGS);
  }

  #claim(row: number): void {
    const { cpu, pfn } = this.recording;
    if (this.#claims.has(cpu[row])) this.wrong(row, -1);
    this.#claims.set(cpu[row], pfn[row]);
  }

  /** Takes a block: from the lists of its own type where no row tells of a fallback, else from the block that it names. */
  #alloc(row: number, fallback: FallbackRow | undefined, flags: AllocFlags): void {
    const { pfn, order } = this.recording;
    const zone = this.zoneOf(row);
    const type = this.typeOf(row);
    this.noteTaken(row);
    this.allocations++;
    let taken = zone.allocator.alloc(order[row], type);
    let asTold = fallback === undefined ? taken >= 0 : taken < 0 && isSource(zone.allocator, fallback);
    if (taken < 0) {
      this.#pending = fallback;
      taken = this.kernel.alloc(zone, order[row], type, flags);
      this.#pending = undefined;
    }
    if (fallback !== undefined) {
      const owned = zone.allocator.pageblockType(fallback.pfn) === type;
      asTold &&= owned === fallback.owned;
    }
    if (!asTold && taken === pfn[row]) this.wrong(row, -1);
    this.compare(row, taken);
  }

  /** 6.1 tells of a fallback before the page is taken, 6.12 after it and instead of its own row. */
  #fallback(row: number): void {
    const { cpu, pfn } = this.recording;
    const fallback = this.fallbackOf(row);
    this.zoneOf(row);
    if (!this.#fallbackTakes) {
      if (this.#fallbacks.has(cpu[row])) this.wrong(row, -1);
      this.#fallbacks.set(cpu[row], { ...fallback, claims: fallback.owned, namesBlock: true });
      return;
    }
    const claim = this.#claims.get(cpu[row]);
    this.#claims.delete(cpu[row]);
    if (claim !== undefined && claim !== pfn[row]) this.wrong(row, -1);
    const claims = claim === pfn[row];
    const flags = claims || fallback.order >= PAGEBLOCK_ORDER ? NO_FLAGS : STEALING;
    this.#alloc(row, { ...fallback, claims, namesBlock: !claims }, flags);
  }

  #free(row: number, event: string): void {
    const { pfn, text, cpu } = this.recording;
    const zone = this.zoneOf(row);
    const type = this.typeOf(row);
    this.noteGiven(row);
    this.frees++;
    if (text.get(row) !== "captured") {
      const toTail = event !== "D" && (parseInt(text.get(row) ?? "", 16) & TO_TAIL) !== 0;
      this.freeBlock(row, zone, type, toTail);
    } else {
      this.capture(row, zone);
      this.#pages.capture(row, pfn[row], this.capturingOrder(cpu[row]));
    }
  }
}

/** Whether the block that a fallback names is free, and on the list that it names. */
function isSource(lists: Allocator, { pfn, order, type, namesBlock }: FallbackRow): boolean {
  if (!namesBlock) return pageblock(lists.first(order, type)) === pageblock(pfn);
  return lists.orderAt(pfn) === order && lists.listOf(pfn, order) === type;
}

function pageblock(pfn: number): number {
  return Math.floor(pfn / PAGEBLOCK_PAGES);
}
