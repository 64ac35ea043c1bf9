/** Preserve a range of folios, take random ones back, preserve them again: ranges split and must merge. */
import { fraction, integer, type Options, size } from "../../core/options.ts";
import { ORDER_PAGES, PAGE_SIZE } from "../../memory/range.ts";
import { Places, refuseParts, refuseTooLarge } from "./place.ts";
import { callsByIndex, KhoCall, khoWorkload, type KhoWorkloadPlugin } from "./workload.ts";

/** Options of split-merge. */
interface SplitMerge {
  readonly size: number;
  readonly order: number;
  readonly holes: number;
  readonly refill: number;
  readonly rounds: number;
}

const options: Options<SplitMerge> = {
  fields: {
    size: size("1GiB", 2 ** 20, 2 ** 44, { summary: "how much is preserved" }),
    order: integer(0, 0, 10, { summary: "order of its folios" }),
    holes: fraction(0.05, 0, 0.5, { summary: "share of the folios that are taken back in a round" }),
    refill: fraction(1, 0, 1, { summary: "share of the holes that are preserved again in the last round" }),
    rounds: integer(4, 1, 1000, { summary: "rounds; all but the last refill all holes" }),
  },
};

/** Holes and refills. */
export const splitMerge: KhoWorkloadPlugin = khoWorkload({
  name: "split-merge",
  summary: "a range of folios is preserved; random holes are taken back and preserved again",
  source: "where ranges should win: what is left in the end is one range again",
  options,
  create({ area, random }, { size: bytes, order, holes, refill, rounds }) {
    const unit = ORDER_PAGES[order];
    const start = Math.ceil(area.pfn / unit) * unit;
    const folios = bytes / PAGE_SIZE / unit;
    refuseParts(bytes, order, "size");
    refuseTooLarge(start - area.pfn + folios * unit, area, "size");
    const each = Math.floor(folios * holes);
    const last = Math.round(each * refill);
    const places = new Places({ pfn: start, count: folios * unit }, random("holes"));
    const taken = new Float64Array(each);
    return callsByIndex(1 + (rounds - 1) * 2 * each + each + last, (batch, row, index) => {
      if (index === 0) return batch.set(row, KhoCall.preserve, start, folios * unit, order);
      const step = (index - 1) % (2 * each);
      if (step < each) {
        taken[step] = places.take(order);
        return batch.set(row, KhoCall.unpreserve, taken[step], unit, order);
      }
      places.give(taken[step - each], order);
      batch.set(row, KhoCall.preserve, taken[step - each], unit, order);
    });
  },
});
