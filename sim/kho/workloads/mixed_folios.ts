/** Folios of all orders of the buddy allocator, each at a random place: Mike Rapoport's measurement of April 2025. */
import { integer, type Options } from "../../core/options.ts";
import { ORDER_PAGES } from "../../memory/range.ts";
import { alignedArea, Places, refuseTooDense } from "./place.ts";
import { callsByIndex, KhoCall, khoWorkload, type KhoWorkloadPlugin } from "./workload.ts";

/** Options of mixed-folios. */
interface MixedFolios {
  readonly folios: number;
  readonly orderMax: number;
}

const options: Options<MixedFolios> = {
  fields: {
    folios: integer(1000, 1, 1e8, { summary: "folios of each order", source: "Mike Rapoport, April 2025: about 1000" }),
    orderMax: integer(10, 0, 18, { summary: "largest order", source: "Mike Rapoport, April 2025: orders 0 to 10" }),
  },
};

/** As many folios of each order. */
export const mixedFolios: KhoWorkloadPlugin = khoWorkload({
  name: "mixed-folios",
  summary: "as many folios of each order from 0 to 10, each at a random place",
  source: "Mike Rapoport, April 2025 (8 GiB, about 1000 folios of each order)",
  options,
  create({ area, random }, { folios, orderMax }) {
    const aligned = alignedArea(area, orderMax);
    refuseTooDense(folios * (ORDER_PAGES[orderMax + 1] - 1), aligned, "folios");
    const places = new Places(aligned, random("places"));
    // The largest first, while there is room for them; then they come by order.
    return callsByIndex(folios * (orderMax + 1), (batch, row, index) => {
      const order = orderMax - Math.floor(index / folios);
      batch.set(row, KhoCall.preserve, places.take(order), ORDER_PAGES[order], order);
    });
  },
});
