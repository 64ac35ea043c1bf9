/** One range: a reserved area of the kernel, or as many folios of one order in a row. */
import { integer, optional, type Options, size } from "../../core/options.ts";
import { ORDER_PAGES, PAGE_SIZE } from "../../memory/range.ts";
import { refuseParts, refuseTooLarge } from "./place.ts";
import { callsByIndex, KhoCall, khoWorkload, type KhoWorkloadPlugin, RANGE } from "./workload.ts";

/** Options of one-range. */
interface OneRange {
  readonly size: number;
  readonly order?: number | undefined;
}

const options: Options<OneRange> = {
  fields: {
    size: size("1GiB", PAGE_SIZE, 2 ** 50, { summary: "how much is preserved" }),
    order: optional(
      integer(undefined, 0, 18, { summary: "order of the folios that it is made of; one range without" }),
    ),
  },
};

/** Calls of a run of folios carry so many pages, so that time and rows stay fine. */
const CALL_PAGES = 2 ** 18;

/** One range. */
export const oneRange: KhoWorkloadPlugin = khoWorkload({
  name: "one-range",
  summary: "one range in a row, as one or as folios of one order",
  source: "kho_preserve_phys of a reserved area; folios: the measurement of 3 April 2025 (K1: 48 GiB of order 0)",
  options,
  create({ area }, { size: bytes, order }) {
    const unit = order === undefined ? 1 : ORDER_PAGES[order];
    const pages = bytes / PAGE_SIZE;
    refuseParts(bytes, order ?? 0, "size");
    refuseTooLarge(pages, area, "size");
    if (order === undefined) {
      return callsByIndex(1, (batch, row) => batch.set(row, KhoCall.preserve, area.pfn, pages, RANGE));
    }
    const step = Math.max(CALL_PAGES, unit);
    const start = Math.ceil(area.pfn / unit) * unit;
    refuseTooLarge(start - area.pfn + pages, area, "size");
    return callsByIndex(Math.ceil(pages / step), (batch, row, index) => {
      batch.set(row, KhoCall.preserve, start + index * step, Math.min(step, pages - index * step), order);
    });
  },
});
