/**
 * What all levels of a replay share: the zones, the rows of isolation, rotation and compaction, which are inputs at every
 * level, and the account of pages that went wrong.
 */
import { ORDER_PAGES } from "../../memory/range.ts";
import { type Allocator, MIGRATETYPE_COUNT, MOVABLE, ORDERS, PAGEBLOCK_ORDER } from "../allocator.ts";
import type { Kernel, KernelZone } from "../kernel.ts";
import type { RecordedState } from "../operations.ts";
import { takesByFallback } from "../recorded_parts.ts";
import type { Recording } from "../recording.ts";
import type { Zone } from "../zone.ts";
import { problem } from "./kernel_pages.ts";

/** The first page that differs. */
export interface Divergence {
  /** Row of the recording, the header being 1. */
  readonly row: number;
  /** The page the kernel picked. */
  readonly expectedPfn: number;
  /** The page the allocator picked, -1 for none. */
  readonly actualPfn: number;
}

/** What a fallback row says. */
export interface Fallback {
  /** 6.1: first page of the block that another type gave; 6.12: of the pages handed out. */
  readonly pfn: number;
  /** Order of the block that another type gave. */
  readonly order: number;
  /** That type. */
  readonly type: number;
  /** Whether the pageblock is of the type that asked in the end (change_ownership). */
  readonly owned: boolean;
}

/** A compaction under way. */
interface Compaction {
  readonly order: number;
  readonly cpu: number;
}

/** The lists of a replay. */
export abstract class ReplayLists {
  /** Blocks for which another page was taken than the kernel's, or that were not where the kernel had them. */
  wrongPfns = 0;
  /** The first of them. */
  first: Divergence | undefined;
  protected readonly recording: Recording;
  protected readonly kernel: Kernel;
  protected readonly zones: readonly KernelZone[];
  readonly #compactions = new Map<string, Compaction>();
  /** Our page for pages that the kernel has elsewhere. */
  readonly #moved = new Map<number, number>();

  /** Lists of these zones. */
  constructor(recording: Recording, zones: readonly Zone[], kernel: Kernel) {
    this.recording = recording;
    this.kernel = kernel;
    this.zones = zones.map(({ allocator }) => ({
      allocator,
      mayClaim: (_first: number, freePages: number, _wanted: number, _present: number, order: number) =>
        this.mayClaim(freePages, order),
      boost: () => {},
    }));
  }

  /** Does what a row says; rows that say nothing at this level change nothing. */
  abstract apply(row: number): void;

  /** Notes when the rows up to a snapshot do not lead to it, where the level has rows that do not drive. */
  compareRows(_row: number, _state: RecordedState): void {}

  /** Whether the pageblock of a block of this order, so many of whose pages are free, changes its type. */
  protected abstract mayClaim(freePages: number, order: number): boolean;

  /** Rows that are inputs at every level; false for other rows. */
  protected applyInput(row: number, event: string): boolean {
    if (event === "I") this.#isolate(row);
    else if (event === "U") this.#putBack(row);
    else if (event === "T") this.#rotate(row);
    else if (event === "H") this.kernel.movePageblock(this.zoneOfPage(row), this.recording.pfn[row], this.typeOf(row));
    else if (event === "C" || event === "c") this.#compaction(row, event);
    else return false;
    return true;
  }

  /** The zone of the block of a row. Throws InputError when it has none. */
  protected zoneOf(row: number): KernelZone {
    const order = this.recording.order[row];
    if (order < 0) throw problem(row, "column order is empty");
    const pfn = this.recording.pfn[row];
    const zone = this.zoneOfPage(row);
    const pages = ORDER_PAGES[order];
    if (pfn % pages !== 0) throw problem(row, `page ${pfn} is not aligned to order ${order}`);
    if (spans(zone.allocator, pfn + pages - 1)) return zone;
    throw problem(row, `the ${pages} pages from ${pfn} on end outside of their zone`);
  }

  /** The zone of the page of a row. Throws InputError when it has none. */
  protected zoneOfPage(row: number): KernelZone {
    const pfn = this.recording.pfn[row];
    for (const zone of this.zones) if (spans(zone.allocator, pfn)) return zone;
    throw problem(row, pfn < 0 ? "column pfn is empty" : `page ${pfn} lies outside of every zone`);
  }

  /** What a fallback row says. Throws InputError when it says something else. */
  protected fallbackOf(row: number): Fallback {
    const { pfn, text } = this.recording;
    this.typeOf(row);
    const [, order, type, owned] = /^(\d+)\/(\d+)\/([01])$/.exec(text.get(row) ?? "") ?? [];
    if (Number(order) < ORDERS && Number(type) < MIGRATETYPE_COUNT) {
      return { pfn: pfn[row], order: Number(order), type: Number(type), owned: owned === "1" };
    }
    throw problem(row, "a fallback needs order, type and change of ownership, like 9/1/1");
  }

  /** Compares the page taken with the kernel's. */
  protected compare(row: number, taken: number): void {
    const { pfn, order } = this.recording;
    if (taken === pfn[row]) return this.forget(row);
    this.wrong(row, taken);
    const pages = ORDER_PAGES[order[row]];
    for (let page = 0; page < pages; page++) this.#moved.set(pfn[row] + page, taken < 0 ? -1 : taken + page);
  }

  /** Notes that a row did not happen as in the kernel. */
  protected wrong(row: number, actualPfn: number): void {
    this.wrongPfns++;
    this.first ??= { row: row + 2, expectedPfn: this.recording.pfn[row], actualPfn };
  }

  /** Frees the block of a row past the per-CPU lists, wherever we have it. */
  protected freeBlock(row: number, zone: KernelZone, migratetype: number, toTail: boolean): void {
    const ours = this.ours(row);
    if (ours < 0) return;
    this.kernel.free(zone, ours, this.recording.order[row], migratetype, toTail);
  }

  /** Where we have the block of a row; -1, and the row is wrong, when it is not in use with us as one block of a zone. */
  protected ours(row: number, order: number = this.recording.order[row]): number {
    const pfn = this.recording.pfn[row];
    const ours = this.#moved.size === 0 ? pfn : this.#moved.get(pfn) ?? pfn;
    if (ours >= 0 && this.isInUse(ours, order)) return ours;
    this.wrong(row, ours);
    return -1;
  }

  /** Whether a block lies in one zone and no page of it is free with us. */
  protected isInUse(pfn: number, order: number): boolean {
    const pages = ORDER_PAGES[order];
    const zone = this.zones.find(({ allocator }) => spans(allocator, pfn));
    if (zone === undefined || pfn % pages !== 0 || !spans(zone.allocator, pfn + pages - 1)) return false;
    for (let outer = order + 1; outer < ORDERS; outer++) {
      if (zone.allocator.orderAt(pfn - pfn % ORDER_PAGES[outer]) === outer) return false;
    }
    for (let page = pfn; page < pfn + pages; page++) if (zone.allocator.orderAt(page) >= 0) return false;
    return true;
  }

  /** We have the block of a row where the kernel has it. */
  protected forget(row: number): void {
    if (this.#moved.size === 0) return;
    const { pfn, order } = this.recording;
    for (let page = pfn[row]; page < pfn[row] + ORDER_PAGES[order[row]]; page++) this.#moved.delete(page);
  }

  /** Compaction takes a freed block as soon as it has merged to the order it works for, with the buddies it needs. */
  protected capture(row: number, zone: KernelZone): void {
    const { order, cpu } = this.recording;
    const wanted = this.capturingOrder(cpu[row]);
    if (wanted < order[row]) throw problem(row, "a block is captured, but no compaction of its order runs");
    let head = this.ours(row);
    for (let current = order[row]; head >= 0 && current < wanted; current++) {
      const pages = ORDER_PAGES[current];
      const buddy = head % (2 * pages) === 0 ? head + pages : head - pages;
      if (zone.allocator.orderAt(buddy) !== current) return this.wrong(row, -1);
      zone.allocator.remove(buddy, current);
      head = Math.min(head, buddy);
    }
  }

  /** The order for which a CPU compacts, -1 for none; other CPUs count where it does not, as tasks move. */
  protected capturingOrder(cpu: number): number {
    let order = -1;
    for (const compaction of this.#compactions.values()) {
      if (compaction.cpu === cpu) return compaction.order;
      order = compaction.order;
    }
    return order;
  }

  /** A block leaves the free lists, or comes back to them, by a row that is an input. */
  protected abstract noteTaken(row: number): void;
  /** See {@link noteTaken}. */
  protected abstract noteGiven(row: number): void;

  #isolate(row: number): void {
    const { pfn, order } = this.recording;
    const zone = this.zoneOf(row);
    this.noteTaken(row);
    if (zone.allocator.orderAt(pfn[row]) !== order[row]) return this.wrong(row, -1);
    zone.allocator.remove(pfn[row], order[row]);
    if (order[row] >= PAGEBLOCK_ORDER - 1) this.kernel.retypeIsolated(zone, pfn[row], order[row]);
    this.forget(row);
  }

  #putBack(row: number): void {
    const zone = this.zoneOf(row);
    this.noteGiven(row);
    const ours = this.ours(row);
    if (ours >= 0) zone.allocator.free(ours, this.recording.order[row], this.typeOf(row), true);
  }

  #rotate(row: number): void {
    const { pfn, order, text } = this.recording;
    const { allocator } = this.zoneOf(row);
    const end = text.get(row);
    if (end !== "head" && end !== "tail") throw problem(row, "a turned list needs the word head or tail");
    if (allocator.orderAt(pfn[row]) !== order[row]) return this.wrong(row, -1);
    if (allocator.listOf(pfn[row], order[row]) !== MOVABLE) return this.wrong(row, -1);
    const head = end === "head" ? pfn[row] : allocator.next(pfn[row], order[row]);
    if (head >= 0) allocator.rotate(head, order[row], MOVABLE);
  }

  #compaction(row: number, event: string): void {
    const { text, order, cpu } = this.recording;
    const [pid] = (text.get(row) ?? "").split("/");
    if (event === "C") this.#compactions.set(pid, { order: order[row], cpu: cpu[row] });
    else this.#compactions.delete(pid);
  }

  /** The type of a row. Throws InputError when it has none. */
  protected typeOf(row: number): number {
    const migratetype = this.recording.migratetype[row];
    if (migratetype < 0) throw problem(row, "column mt is empty");
    return migratetype;
  }
}

/**
 * Whether fallback rows stand for the allocation itself, as the kernel that was recorded wrote them (6.12). It is the one that
 * replays unless the snapshot says otherwise, or the rows are those of the other.
 */
export function fallbacksTake(recording: Recording, state: RecordedState, { version }: Kernel): boolean {
  return takesByFallback(recording, 0, state.kernel ?? (version === "6.1" ? version : undefined));
}

function spans(allocator: Allocator, pfn: number): boolean {
  return pfn >= allocator.startPfn && pfn < allocator.startPfn + allocator.pages;
}
