/** Windows over a guest of 1 TiB through the whole machine, and the figures that the mails of 2016 gave for it. */
import assert from "node:assert/strict";
import { load, simulate } from "../../mod.ts";
import { pfnOrder } from "../../sim/abi/pfn_order.ts";
import { bitmap } from "../../sim/abi/bitmap.ts";
import { ORDER_PAGES, PAGE_SIZE, pagesOf } from "../../sim/memory/range.ts";
import type { SummaryRow } from "../../sim/summary_row.ts";

const GIB = 2 ** 30;

/** An idle guest of 1 TiB, all of which is free: 2^28 pages in 262,144 blocks of 4 MiB. */
async function idle(layout: string, version: "v3" | "v4", maxBitmaps: number): Promise<SummaryRow> {
  const [{ summary, finding }] = simulate(
    await load({
      hintsim: 1,
      machine: { memory: "1TiB", zones: { layout } },
      workload: { kind: "idle", duration: "2s" },
      policy: { kind: "bitmap-windows", version, maxBitmaps, requests: { at: ["1s"] } },
      encoding: version === "v4" ? "v4-heads" : "v3-bitmap",
    }),
    { samples: false },
  );
  assert.equal(finding, undefined);
  return summary;
}

const BLOCKS = 2 ** 18;
const slow = Deno.env.get("HINTSIM_TIER") === "slow";

Deno.test(
  "1 TiB, one bitmap of 32 KiB: 1024 windows, where the mail of 4 November 2016 says 256",
  { ignore: !slow },
  async () => {
    const v4 = await idle("auto", "v4", 1);
    // 2^28 pages / 2^18 bits. Each window walks all blocks: 2^10 * 2^18 visits, 20 ns each, are 5.4 s of walking.
    assert.deepEqual([v4.passes, v4.policy_windows, v4.walk_visits], [1024, 1024, 1024 * BLOCKS]);
    assert.equal(v4.zone_lock_ns, 1024 * BLOCKS * 20);
    // 1 GiB in one run is one head of a block behind a header of 8 bytes; the driver spins, so nothing interrupts it.
    assert.deepEqual([v4.messages, v4.payload_bytes, v4.exits, v4.interrupts], [1024, 1024 * 16, 1024, 0]);
    const v3 = await idle("auto", "v3", 1);
    assert.deepEqual([v3.messages, v3.payload_bytes], [1024, 1024 * (32 + 32 * 1024)]);
  },
);

Deno.test("1 TiB, 32 bitmaps as posted: 32 windows of 32 GiB each, not 8 of 128 GiB", async () => {
  const { passes, messages, walk_visits, policy_failed_bitmaps, metadata_peak_bytes } = await idle("auto", "v4", 32);
  assert.deepEqual([passes, messages, policy_failed_bitmaps], [32, 32, 0]);
  // The bitmaps come out of one block of 4 MiB, 128 pieces of order 3. The CPU's list is refilled with 63 >> 3 = 7 pieces at a
  // time, so that 31 bitmaps take 5 refills, 35 pieces. 93 = 64 + 16 + 8 + 4 + 1 pieces are left: 5 blocks in place of one.
  assert.equal(walk_visits, 32 * (BLOCKS + 4));
  // Bitmaps and the buffer of v4.
  assert.equal(metadata_peak_bytes, 33 * 32 * 1024);
});

Deno.test("1 TiB on q35: the hole below 4 GiB pushes max pfn up, 33 windows of 32 GiB and 1026 of 1 GiB", async () => {
  // 2 GiB lie below the hole and 1022 GiB from 4 GiB on: max pfn is at 1026 GiB.
  assert.equal((await idle("q35", "v4", 32)).passes, 33);
  const v3 = await idle("q35", "v3", 1);
  // The two windows of the hole have no page; v3 answers with a header.
  assert.deepEqual([v3.passes, v3.messages], [1026, 1026]);
  assert.equal(v3.payload_bytes, 1024 * (32 + 32 * 1024) + 2 * 32);
});

Deno.test("with blocks of 4 MiB a data page says 128 GiB in bits and 2 GiB in records: 64 times again", () => {
  const window = [{ pfn: 0, count: 32_768 * ORDER_PAGES[10] }];
  assert.equal(bitmap({ granule: "4MiB" }).sizeOf(window), 8 + 4096);
  assert.equal(pagesOf(window) * PAGE_SIZE, 128 * GIB);
  const records = Array.from({ length: 512 }, (_, n) => ({ pfn: n * ORDER_PAGES[10], count: ORDER_PAGES[10] }));
  assert.equal(pfnOrder.sizeOf(records), 4096);
  assert.equal(pagesOf(records) * PAGE_SIZE, 2 * GIB);
  assert.equal((128 * GIB) / (2 * GIB), 64);
  // Neighbours merged, one record says it all; a bitmap never gains more than 32 where every second block is free
  // (tests/abi/density_test.ts).
});
