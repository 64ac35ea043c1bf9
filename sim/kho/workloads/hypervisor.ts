/** Hypervisor live update: the memory of a few large guests, in long ranges, and small state of each. */
import { integer, type Options, size } from "../../core/options.ts";
import { PAGE_SIZE } from "../../memory/range.ts";
import { Places, refuseParts, refuseTooLarge } from "./place.ts";
import { callsByIndex, KhoCall, khoWorkload, type KhoWorkloadPlugin, RANGE } from "./workload.ts";

/** Options of hypervisor-live-update. */
interface Hypervisor {
  readonly guests: number;
  readonly guestMemory: number;
  readonly statePages: number;
}

const options: Options<Hypervisor> = {
  fields: {
    guests: integer(8, 1, 4096, { summary: "guests", source: "assumed" }),
    guestMemory: size("4GiB", 2 ** 21, 2 ** 46, { summary: "memory of each", source: "assumed" }),
    statePages: integer(64, 0, 2 ** 20, {
      summary: "pages of state of each guest (devices, page tables), of order 0 and anywhere",
      unit: "pages",
      source: "assumed",
    }),
  },
};

/** Few huge ranges. */
export const hypervisorLiveUpdate: KhoWorkloadPlugin = khoWorkload({
  name: "hypervisor-live-update",
  summary: "the memory of guests in few long ranges, and pages of state of each",
  source: "the use of live update that the thread names: guests go on over a kexec of their host",
  options,
  create({ area, random }, { guests, guestMemory, statePages }) {
    const each = guestMemory / PAGE_SIZE;
    refuseParts(guestMemory, 0, "guestMemory");
    const state = guests * statePages;
    refuseTooLarge(guests * each + 2 * state, area, "guestMemory");
    const rest = { pfn: area.pfn + guests * each, count: area.count - guests * each };
    const places = new Places(rest, random("state"));
    return callsByIndex(guests + state, (batch, row, index) => {
      if (index < guests) batch.set(row, KhoCall.preserve, area.pfn + index * each, each, RANGE);
      else batch.set(row, KhoCall.preserve, places.take(0), 1, 0);
    });
  },
});
