/** Files in memory, and other small long-lived memory of daemons: movable, and nothing drops it. */
import { type Options, size } from "../../sim/core/options.ts";
import { MOVABLE } from "../../sim/guest/allocator.ts";
import { type Lifetime, lifetimeField, ordersField, type Weights } from "../distribution_options.ts";
import { type Amount, amountField } from "./amounts.ts";
import { arrivals } from "./arrivals.ts";
import { type UserKind, userKind } from "./user.ts";

/** Options of tmpfs. */
export interface TmpfsOptions {
  /** What it has at once. */
  readonly start: Amount;
  /** Bytes written a second. */
  readonly rate: number;
  /** How long a folio lives, ns. */
  readonly lifetime: Lifetime;
  /** Orders. */
  readonly orders: Weights;
}

const options: Options<TmpfsOptions> = {
  fields: {
    start: amountField("16MiB", "memory at the start of the phase"),
    rate: size("0", 0, 2 ** 44, { summary: "bytes written a second" }),
    lifetime: lifetimeField("1h"),
    orders: ordersField({ 0: 1 }),
  },
};

/** The kind. */
export const tmpfs: UserKind = userKind<TmpfsOptions>({
  kind: "tmpfs",
  summary: "files in memory: movable, not reclaimable",
  source: "mm/shmem.c",
  options,
  create: (context, settings) => arrivals(context, "tmpfs", { ...settings, migratetype: MOVABLE }),
});
