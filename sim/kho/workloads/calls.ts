/** Calls that the scenario lists, to ask the interface itself. */
import { z } from "zod";
import { field, InputError, type Options, show, sizeSchema } from "../../core/options.ts";
import { ORDER_PAGES, PAGE_SIZE } from "../../memory/range.ts";
import { callsByIndex, KhoCall, khoWorkload, type KhoWorkloadPlugin, RANGE } from "./workload.ts";

/** One call. */
interface Call {
  readonly call: "preserve" | "unpreserve" | "finalize";
  readonly at?: number | undefined;
  readonly size?: number | undefined;
  readonly order?: number | undefined;
}

/** Options of calls. */
interface Calls {
  readonly calls: readonly Call[];
}

const call = z.strictObject({
  call: z.enum(["preserve", "unpreserve", "finalize"]),
  at: sizeSchema(0, 2 ** 52).optional(),
  size: sizeSchema(1, 2 ** 52).optional(),
  order: z.int().min(0).max(40).optional(),
});

const options: Options<Calls> = {
  fields: {
    calls: field<readonly Call[]>(
      z.array(call).min(1).max(100_000) as unknown as z.ZodType<readonly Call[]>,
      undefined,
      {
        summary: "list of {call: preserve or unpreserve, at: address, size: bytes of a range, or order: of a folio}, " +
          "and {call: finalize}, after which the image stands",
        unit: "bytes",
        source: "kho_preserve_phys, kho_preserve_folio, kho_unpreserve_phys, kho_unpreserve_folio, kho_finalize",
      },
    ),
  },
};

/** What the scenario says, call by call. */
export const calls: KhoWorkloadPlugin = khoWorkload({
  name: "calls",
  summary: "the calls that the scenario lists, at addresses of memory",
  source: "include/linux/kexec_handover.h",
  options,
  create(_context, { calls: list }) {
    list.forEach(({ call: name, at, size, order }, index) => {
      if (name === "finalize") {
        if (at === undefined && size === undefined && order === undefined) return;
        throw new InputError(["calls", index], "finalize is about all that is preserved; leave at, size and order out");
      }
      if (at === undefined) throw new InputError(["calls", index, "at"], "is missing");
      if ((size === undefined) !== (order === undefined)) return;
      const given = size === undefined ? "neither size nor order" : `both size ${show(size)} and order ${show(order)}`;
      throw new InputError(["calls", index], `${given}: a call is about a range (size) or a folio (order)`);
    });
    return callsByIndex(list.length, (batch, row, index) => {
      const { call: name, at, size, order } = list[index];
      if (name === "finalize") {
        batch.set(row, KhoCall.finalize, 0, 0, RANGE);
        return;
      }
      const pages = size === undefined ? ORDER_PAGES[order!] : size / PAGE_SIZE;
      batch.set(row, KhoCall[name], at! / PAGE_SIZE, pages, order ?? RANGE);
    });
  },
});
