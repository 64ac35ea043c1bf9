/** Which slots are asked for: streams of guest pages by their locality. */
import type { Random } from "../core/random.ts";
import type { MemorySlot } from "./slot_table.ts";

/** Names of the streams. */
export const LOCALITIES = ["same", "boot", "sequential", "random"] as const;

/** How lookups follow each other: one slot for ever, as a Windows boot, all in turn, or none like the other. */
export type Locality = typeof LOCALITIES[number];

/** Of so many lookups of a boot all but one stay in the memory that was used last. */
const BOOT_RUN = 50;
/** Of so many of the others one goes to any slot, for once; the rest go on in one of the two largest slots. */
const BOOT_ELSEWHERE = 5;

/** A stream of guest pages over these slots, which are in use. */
export function lookupStream(locality: Locality, slots: readonly MemorySlot[], random: Random): () => number {
  const inside = ({ gfn, pages }: MemorySlot) => gfn + random.nextBelow(pages);
  const bySize = slots.toSorted((a, b) => b.pages - a.pages || a.gfn - b.gfn);
  switch (locality) {
    case "same": {
      const middle = slots[Math.floor(slots.length / 2)];
      return () => inside(middle);
    }
    case "sequential": {
      const ascending = slots.toSorted((a, b) => a.gfn - b.gfn);
      let at = -1;
      return () => inside(ascending[++at % ascending.length]);
    }
    case "random":
      return () => inside(slots[random.nextBelow(slots.length)]);
    case "boot": {
      let memory = bySize[0];
      return () => {
        if (random.nextBelow(BOOT_RUN) > 0) return inside(memory);
        if (random.nextBelow(BOOT_ELSEWHERE) === 0) return inside(slots[random.nextBelow(slots.length)]);
        memory = bySize[random.nextBelow(Math.min(2, bySize.length))];
        return inside(memory);
      };
    }
  }
}
