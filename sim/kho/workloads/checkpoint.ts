/** Checkpoint of a process into a memfd: single pages from anywhere in memory, in the order of the file. */
import { fraction, type Options, size } from "../../core/options.ts";
import { PAGE_SIZE } from "../../memory/range.ts";
import { Places, refuseParts, refuseTooDense } from "./place.ts";
import { callsByIndex, KhoCall, khoWorkload, type KhoWorkloadPlugin } from "./workload.ts";

/** Options of checkpoint. */
interface Checkpoint {
  readonly size: number;
  readonly clustered: number;
}

const options: Options<Checkpoint> = {
  fields: {
    size: size("1GiB", PAGE_SIZE, 2 ** 44, { summary: "how much is preserved, in single pages" }),
    clustered: fraction(0, 0, 1, {
      summary: "share of pages that lie behind the page before, as in a file that was read in order",
    }),
  },
};

/** Random pages of order 0. */
export const checkpoint: KhoWorkloadPlugin = khoWorkload({
  name: "checkpoint",
  summary: "single pages at random, in random order: the memfd of a process that was checkpointed",
  source: "CRIU-style checkpoints over kexec; the vector of random pages of order 0 in 64 GiB",
  options,
  create({ area, random }, { size: bytes, clustered }) {
    const pages = bytes / PAGE_SIZE;
    refuseParts(bytes, 0, "size");
    refuseTooDense(pages, area, "size");
    const places = new Places(area, random("pages"));
    const next = random("clustered");
    let last = -1;
    return callsByIndex(pages, (batch, row) => {
      const follows = clustered > 0 && last >= 0 && next.nextFloat() < clustered && places.takeAt(last + 1);
      last = follows ? last + 1 : places.take(0);
      batch.set(row, KhoCall.preserve, last, 1, 0);
    });
  },
});
