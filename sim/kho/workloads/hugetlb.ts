/** 1 GiB pages of hugetlb, each a folio of order 18, at random places. */
import { integer, type Options } from "../../core/options.ts";
import { ORDER_PAGES } from "../../memory/range.ts";
import { alignedArea, Places, refuseTooLarge } from "./place.ts";
import { callsByIndex, KhoCall, khoWorkload, type KhoWorkloadPlugin } from "./workload.ts";

/** Options of hugetlb-1g. */
interface Hugetlb {
  readonly folios: number;
}

const ORDER = 18;

const options: Options<Hugetlb> = {
  fields: {
    folios: integer(32, 1, 2 ** 16, {
      summary: "1 GiB pages",
      source: "assumed; Usama Arif 2023 (S2) had 500 of 512 GiB",
    }),
  },
};

/** Gigantic pages. */
export const hugetlb1g: KhoWorkloadPlugin = khoWorkload({
  name: "hugetlb-1g",
  summary: "1 GiB pages at random places, each one folio of order 18",
  source: "guest_memfd and hugetlb over live update; Usama Arif 2023",
  options,
  create({ area, random }, { folios }) {
    const aligned = alignedArea(area, ORDER);
    const fitting = Math.floor(aligned.count / ORDER_PAGES[ORDER]) * ORDER_PAGES[ORDER];
    refuseTooLarge(folios * ORDER_PAGES[ORDER], { pfn: aligned.pfn, count: fitting }, "folios");
    const places = new Places(aligned, random("places"));
    return callsByIndex(folios, (batch, row) => {
      batch.set(row, KhoCall.preserve, places.take(ORDER), ORDER_PAGES[ORDER], ORDER);
    });
  },
});
