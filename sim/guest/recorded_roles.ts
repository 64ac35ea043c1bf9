/**
 * What the rows of a recording mean to a workload, at two levels.
 *
 * Requests are what tasks asked for and freed; per-CPU lists lie between them and the zones. Below them
 * are the rows of the zones themselves, at which pages leave or join the free lists.
 */
import { InputError } from "../core/options.ts";
import { type RowRoles, takesByFallback } from "./recorded_parts.ts";
import type { Recording } from "./recording.ts";

const [A, B, C, F, I, K, U, X, C_END] = codes("ABCFIKUXc");

function codes(events: string): number[] {
  return [...events].map((event) => event.charCodeAt(0));
}

function table(events: string): Uint8Array {
  const values = new Uint8Array(256);
  for (const code of codes(events)) values[code] = 1;
  return values;
}

const ZONE_TAKES = table("ZXI");
const ZONE_GIVES = table("DOPU");

/** Whether a recording says from row `first` on what tasks asked for and freed; one of kind `buddy` does not. */
export function hasRequests({ count, event }: Recording, first: number): boolean {
  const rows = event.subarray(first, count);
  return rows.includes(A) && rows.includes(F);
}

/** Whether a recording says from row `first` on what the zones were asked. */
export function hasZoneRows({ count, event }: Recording, first: number): boolean {
  for (let row = first; row < count; row++) if (ZONE_TAKES[event[row]] + ZONE_GIVES[event[row]] > 0) return true;
  return false;
}

/**
 * The rows at which pages leave or join the free lists of a zone: Z (refill), X (6.12: taken from another type), I (taken by
 * compaction or the driver), D (drain), O and P (freed past the per-CPU lists), U (put back).
 */
export class ZoneRoles implements RowRoles {
  readonly #recording: Recording;
  /** 6.12 tells of a fallback instead of its Z row, 6.1 beside it. */
  readonly #fallbackTakes: boolean;
  /** Captured blocks: the order for which the compaction of each such row works. */
  readonly #captured = new Map<number, number>();

  /** The roles from row `first` on; `kernel` is the generation that was recorded, where it is known. */
  constructor(recording: Recording, first: number, kernel: string | undefined) {
    this.#recording = recording;
    this.#fallbackTakes = takesByFallback(recording, first, kernel);
    this.#findCaptures(first);
  }

  /** See {@link RowRoles.takes}. */
  takes(row: number): boolean {
    const event = this.#recording.event[row];
    if (event === X) return this.#fallbackTakes;
    return ZONE_TAKES[event] === 1 || this.#captured.has(row);
  }

  /** See {@link RowRoles.gives}. */
  gives(row: number): boolean {
    return ZONE_GIVES[this.#recording.event[row]] === 1;
  }

  /** See {@link RowRoles.orderGiven}. */
  orderGiven(row: number): number {
    return this.#recording.order[row];
  }

  /** See {@link RowRoles.orderTaken}. */
  orderTaken(row: number): number {
    return this.#captured.get(row) ?? this.#recording.order[row];
  }

  /** See {@link RowRoles.unnamed}. */
  unnamed(): number {
    return 0;
  }

  /** See {@link RowRoles.captured}. */
  captured(row: number): boolean {
    return this.#captured.has(row);
  }

  #findCaptures(first: number): void {
    const { count, event, text, order, cpu } = this.#recording;
    const running = new Map<string, { readonly order: number; readonly cpu: number }>();
    for (let row = first; row < count; row++) {
      const [pid] = (text.get(row) ?? "").split("/");
      if (event[row] === C) running.set(pid, { order: order[row], cpu: cpu[row] });
      else if (event[row] === C_END) running.delete(pid);
      else if (pid === "captured" && this.gives(row)) {
        const all = [...running.values()];
        const own = all.find((one) => one.cpu === cpu[row]) ?? all.at(-1);
        if (own !== undefined && own.order >= order[row]) this.#captured.set(row, own.order);
      }
    }
  }
}

/**
 * What tasks asked for and freed: A, F, and B where the freed page goes back later than its F says; K (a bulk allocation, which
 * names no page), and what compaction and the driver take and put back, who ask no per-CPU list: I, U. A captured block has a
 * row A of its own.
 */
export class RequestRoles implements RowRoles {
  readonly #recording: Recording;
  /** Orders of the blocks that rows give back, one more than the order; 0 for rows that give none. */
  readonly #given: Uint8Array;

  /** The roles from row `first` on. */
  constructor(recording: Recording, first: number) {
    this.#recording = recording;
    this.#given = ordersGiven(recording, first);
  }

  /** See {@link RowRoles.takes}. */
  takes(row: number): boolean {
    const { event, pfn } = this.#recording;
    // A request that failed has no page.
    return event[row] === I || (event[row] === A && pfn[row] >= 0);
  }

  /** See {@link RowRoles.gives}. */
  gives(row: number): boolean {
    return this.#given[row] > 0;
  }

  /** See {@link RowRoles.orderGiven}. */
  orderGiven(row: number): number {
    return this.#given[row] - 1;
  }

  /** See {@link RowRoles.orderTaken}. */
  orderTaken(row: number): number {
    return this.#recording.order[row];
  }

  /** See {@link RowRoles.unnamed}. */
  unnamed(row: number): number {
    const { event, text } = this.#recording;
    if (event[row] !== K) return 0;
    const pages = text.get(row) ?? "";
    return /^\d{1,6}$/.test(pages) ? Number(pages) : -1;
  }

  /** See {@link RowRoles.captured}. */
  captured(): boolean {
    return false;
  }
}

/** A page that is freed with many others goes back at the B row behind its F; what was freed before the first row is order 0. */
function ordersGiven({ count, event, pfn, order }: Recording, first: number): Uint8Array {
  const given = new Uint8Array(count);
  const freedAt = new Map<number, number>();
  for (let row = first; row < count; row++) {
    if (event[row] === F) {
      if (pfn[row] < 0 || order[row] < 0) throw new InputError(["row", row + 2], "a free needs its page and its order");
      given[row] = order[row] + 1;
      freedAt.set(pfn[row], row);
    } else if (event[row] === U) given[row] = order[row] + 1;
    else if (event[row] === A) freedAt.delete(pfn[row]);
    else if (event[row] === B) {
      const before = freedAt.get(pfn[row]);
      given[row] = before === undefined ? 1 : given[before];
      if (before !== undefined) given[before] = 0;
      freedAt.delete(pfn[row]);
    }
  }
  return given;
}
