/**
 * Replay at level `pcp`: only what was asked for and what was freed drives the guest. Its per-CPU lists decide when the zone is
 * asked, and every page they hand out is compared with the kernel's.
 */
import { InputError } from "../../core/options.ts";
import type { PageBitmap } from "../../memory/bitmap.ts";
import { ORDER_PAGES } from "../../memory/range.ts";
import { HIGHATOMIC, PAGEBLOCK_ORDER, UNMOVABLE } from "../allocator.ts";
import { type Kernel, type KernelZone, NO_FLAGS, wantsPageblock } from "../kernel.ts";
import type { RecordedState } from "../operations.ts";
import { keepsOrder, type PcpZone, type PerCpuPages } from "../pcp.ts";
import { Pcp612 } from "../pcp_6_12.ts";
import { perCpuOf } from "../pcp_state.ts";
import type { Recording } from "../recording.ts";
import type { Zone } from "../zone.ts";
import { KernelPages, problem } from "./kernel_pages.ts";
import { freeAndKept } from "./kept_pages.ts";
import { type Fallback, fallbacksTake, ReplayLists } from "./replay_lists.ts";

/** How a freed page goes back. */
const TO_LISTS = 0;
/** At the later row that says so: many pages freed at once. */
const LATER = 1;
/** Past the per-CPU lists, whose lock was held. */
const PAST_LISTS = 2;

/** CPUs of a recording; 4095 is the largest number. */
const CPUS = 4096;

/** One replay. */
export class PcpLevel extends ReplayLists {
  /** Blocks asked for, with the page compared. */
  allocations = 0;
  /** Blocks freed. */
  frees = 0;
  /** The lists, by zone and CPU. */
  readonly #lists = new Map<number, PerCpuPages>();
  /** Fallbacks of a CPU whose pageblock changes its type, or does not, and which its refill has not come to yet. */
  readonly #claims = new Map<number, Fallback[]>();
  /** The page that a claim of a CPU is about to take (6.12). */
  readonly #claimed = new Map<number, number>();
  readonly #fallbackTakes: boolean;
  /** What the zone-locked rows say, which do not drive at this level: they must lead to the same pages. */
  readonly #pages: KernelPages;
  /** How each free of the recording goes back. */
  readonly #ways: Uint8Array;
  /** Type as which a page was freed that goes to the lists later. */
  readonly #laterTypes = new Map<number, { readonly order: number; readonly migratetype: number }>();
  /** Pages that no one has asked for: free, on a per-CPU list, or on the way to it. */
  readonly #freed: PageBitmap;
  #row = 0;
  #cpu = 0;

  /** A replay from a state with these zones. Throws InputError when the state has no per-CPU lists. */
  constructor(recording: Recording, state: RecordedState, zones: readonly Zone[], kernel: Kernel) {
    super(recording, zones, kernel);
    if (state.perCpu.length === 0) throw new InputError(["pcp"], "the snapshot has no per-CPU lists");
    this.#freed = freeAndKept(state);
    for (const lists of state.perCpu) {
      this.#lists.set(
        lists.zone * CPUS + lists.cpu,
        perCpuOf(lists, this.#source(this.zones[lists.zone]), kernel.version),
      );
    }
    this.#fallbackTakes = fallbacksTake(recording, state, kernel);
    this.#pages = new KernelPages(state);
    this.#ways = waysOfFrees(recording);
  }

  /** The lists of a zone and CPU, where the state had some. */
  lists(zone: number, cpu: number): PerCpuPages | undefined {
    return this.#lists.get(zone * CPUS + cpu);
  }

  /** Does what a row says. */
  override apply(row: number): void {
    const event = String.fromCharCode(this.recording.event[row]);
    this.#row = row;
    this.#cpu = this.recording.cpu[row];
    if (event === "A") this.#alloc(row);
    else if (event === "F") this.#free(row);
    else if (event === "B") this.#freeLater(row);
    else if (event === "K") this.#allocMany(row);
    else if (event === "Y") this.#decay(row);
    else if (event === "X") this.#fallback(row);
    else if (event === "z") this.#claimed.set(this.#cpu, this.recording.pfn[row]);
    else if (event === "Z") this.#noteRefill(row);
    else if (event === "D" || event === "O" || event === "P") this.#noteDrain(row);
    else this.applyInput(row, event);
  }

  /** Whether the zone-locked rows lead to the free pages of a snapshot. */
  override compareRows(row: number, state: RecordedState): void {
    if (!this.#pages.agreesWith(state)) this.wrong(row, -1);
  }

  /** The next claim of this CPU that its rows told of, in order; without one what is free decides. */
  protected override mayClaim(freePages: number, order: number): boolean {
    const claims = this.#claims.get(this.#cpu);
    if (claims === undefined || claims.length === 0) return freePages >= ORDER_PAGES[PAGEBLOCK_ORDER - 1];
    if (claims[0].order !== order) return false;
    return claims.shift()!.owned;
  }

  protected override noteTaken(row: number): void {
    const { pfn, order } = this.recording;
    this.#pages.take(row, pfn[row], order[row]);
    this.#freed.clearRange(pfn[row], ORDER_PAGES[order[row]]);
  }

  protected override noteGiven(row: number): void {
    const { pfn, order } = this.recording;
    this.#pages.give(row, pfn[row], order[row]);
    this.#freed.setRange(pfn[row], ORDER_PAGES[order[row]]);
  }

  #noteRefill(row: number): void {
    this.zoneOf(row);
    this.#pages.take(row, this.recording.pfn[row], this.recording.order[row]);
  }

  #noteDrain(row: number): void {
    const { pfn, order, text } = this.recording;
    this.zoneOf(row);
    this.#pages.give(row, pfn[row], order[row]);
    if (text.get(row) !== "captured") return;
    const wanted = this.capturingOrder(this.#cpu);
    if (wanted < order[row]) throw problem(row, "a block is captured, but no compaction of its order runs");
    this.#pages.capture(row, pfn[row], wanted);
  }

  #source(zone: KernelZone): PcpZone {
    return {
      refill: (order, migratetype, count, pfns) =>
        this.kernel.allocBulk(zone, order, migratetype, count, NO_FLAGS, pfns),
      giveBack: (pfn, order, migratetype) => {
        // Once a page went wrong, our lists may hold one that is free already.
        if (this.wrongPfns === 0 || this.isInUse(pfn, order)) zone.allocator.free(pfn, order, migratetype);
        else this.wrong(this.#row, pfn);
      },
      pageblockType: (pfn) => zone.allocator.pageblockType(pfn),
    };
  }

  #alloc(row: number): void {
    const { pfn, order, migratetype } = this.recording;
    const zone = this.zoneOf(row);
    this.typeOf(row);
    const pages = ORDER_PAGES[order[row]];
    if (this.wrongPfns === 0 && !this.#freed.hasAll(pfn[row], pages)) {
      throw problem(row, `allocates page ${pfn[row]}, which is in use`);
    }
    const taken = keepsOrder(order[row]) && migratetype[row] < HIGHATOMIC
      ? this.#listsOf(row, zone).alloc(order[row], migratetype[row])
      : this.kernel.alloc(zone, order[row], migratetype[row], NO_FLAGS);
    this.#claims.delete(this.#cpu);
    this.allocations++;
    this.#freed.clearRange(pfn[row], pages);
    this.compare(row, taken);
  }

  #free(row: number): void {
    const { pfn, order } = this.recording;
    const zone = this.zoneOf(row);
    const pages = ORDER_PAGES[order[row]];
    if (this.#freed.setRange(pfn[row], pages) !== pages && this.wrongPfns === 0) {
      throw problem(row, `frees page ${pfn[row]}, which is not allocated`);
    }
    this.frees++;
    const ours = this.ours(row);
    if (ours < 0) return;
    const migratetype = zone.allocator.pageblockType(ours);
    if (!keepsOrder(order[row]) || this.#ways[row] === PAST_LISTS) {
      this.freeBlock(row, zone, migratetype, false);
    } else if (this.#ways[row] === LATER) {
      this.#laterTypes.set(pfn[row], { order: order[row], migratetype });
    } else this.#listsOf(row, zone).free(ours, order[row], migratetype);
  }

  #freeLater(row: number): void {
    const pfn = this.recording.pfn[row];
    const freed = this.#laterTypes.get(pfn);
    if (freed === undefined) {
      if (this.wrongPfns === 0) throw problem(row, `frees page ${pfn}, which is not allocated`);
      return;
    }
    this.#laterTypes.delete(pfn);
    const ours = this.ours(row, freed.order);
    if (ours >= 0) this.#listsOf(row, this.zoneOfPage(row)).free(ours, freed.order, freed.migratetype);
  }

  /** Pages that `__alloc_pages_bulk` takes leave no rows of their own; they are unmovable and come from the highest zone. */
  #allocMany(row: number): void {
    const text = this.recording.text.get(row) ?? "";
    if (!/^\d{1,6}$/.test(text)) throw problem(row, "a bulk allocation needs its number of pages");
    const lists = this.#listsOf(row, this.zones[this.zones.length - 1]);
    for (let n = 0; n < Number(text); n++) {
      const pfn = lists.allocOfMany(UNMOVABLE);
      if (pfn >= 0) this.#freed.clearRange(pfn, 1);
    }
    this.#claims.delete(this.#cpu);
  }

  #decay(row: number): void {
    const lists = this.lists(this.recording.migratetype[row], this.#cpu);
    if (lists instanceof Pcp612) lists.decay();
  }

  /** Notes what the refill of the next allocation will ask: whether a pageblock changes its type. */
  #fallback(row: number): void {
    const { migratetype, pfn } = this.recording;
    const fallback = this.fallbackOf(row);
    this.zoneOf(row);
    if (this.#fallbackTakes) this.#noteRefill(row);
    const asks = this.#fallbackTakes
      ? this.#claimed.get(this.#cpu) === pfn[row]
      : fallback.order < PAGEBLOCK_ORDER && wantsPageblock(fallback.order, migratetype[row]);
    this.#claimed.delete(this.#cpu);
    if (!asks) return;
    const claims = this.#claims.get(this.#cpu) ?? [];
    claims.push(fallback);
    this.#claims.set(this.#cpu, claims);
  }

  #listsOf(row: number, zone: KernelZone): PerCpuPages {
    const lists = this.lists(this.zones.indexOf(zone), this.#cpu);
    if (lists === undefined) throw problem(row, `the snapshot has no per-CPU lists of CPU ${this.#cpu}`);
    return lists;
  }
}

/** Looks ahead: which frees reach the lists at a later row (B), and which go past them (O). */
function waysOfFrees({ count, event, pfn }: Recording): Uint8Array {
  const ways = new Uint8Array(count).fill(TO_LISTS);
  const last = new Map<number, number>();
  for (let row = 0; row < count; row++) {
    const name = String.fromCharCode(event[row]);
    if (name === "F") last.set(pfn[row], row);
    if (name !== "B" && name !== "O") continue;
    const freed = last.get(pfn[row]);
    if (freed !== undefined) ways[freed] = name === "B" ? LATER : PAST_LISTS;
  }
  return ways;
}
