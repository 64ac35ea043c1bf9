/** The bugs of posted formats through the whole machine: what the host does under `asPosted`, and not otherwise. */
import assert from "node:assert/strict";
import { type FixedGuest, plainZone, runOn } from "../policies/fixed_guest.ts";
import { rowsOf } from "../policies/conformance/machine.ts";

type Raw = Readonly<Record<string, unknown>>;

/** What the host leaves out of a migration, as [pfn, pages], and the bytes that said it. */
async function told(free: FixedGuest["free"], encoding: Raw, merge = "none"): Promise<[number[][], unknown]> {
  const guest = { zones: [plainZone(65_536)], free, freed: [], again: 0 };
  const machine = { vcpus: 1, perCpu: false, keepMarks: false };
  const policy = { kind: "single-batch", merge, requests: { at: ["1s"] } };
  const result = await runOn(guest, { machine, policy, encoding }, { check: true, events: true });
  assert.deepEqual([result.problems, result.finding], [[], undefined]);
  return [rowsOf(result, "skip").map(({ pfn, pages }) => [pfn, pages]), result.summary.payload_bytes];
}

Deno.test("v3-bitmap as posted tells a small guest's host nothing", async () => {
  const free = [{ pfn: 1024, order: 10 }, { pfn: 8, order: 3 }];
  // Pages 0 to 2047 are 32 words behind a header of 32 bytes.
  assert.deepEqual(await told(free, { kind: "v3-bitmap" }), [[[8, 8], [1024, 1024]], 32 + 256]);
  // 2048 pages are less than one bitmap of 262,144: no bitmap is sent.
  assert.deepEqual(await told(free, { kind: "v3-bitmap", asPosted: true }), [[], 32]);
});

Deno.test("v5-heads as posted makes the host skip pages that nobody named", async () => {
  const free = [{ pfn: 1024, order: 10 }, { pfn: 2, order: 0 }];
  assert.deepEqual(await told(free, { kind: "v5-heads" }), [[[1024, 1024], [2, 1]], 8 + 16]);
  // A buffer that happened to be zero does no harm.
  assert.deepEqual(await told(free, { kind: "v5-heads", asPosted: true }), [[[1024, 1024], [2, 1]], 8 + 16]);
  // With 8 in it the second head, 8 * 2^58 + 12 * 2^52 + 2, is read as a bitmap of granules of 4 MiB from page 1024 on: bits
  // 1, 54, 55 and 61. The last three begin at pages 56,320 and 63,488, all in use, and page 2 is lost.
  const [skipped, bytes] = await told(free, { kind: "v5-heads", asPosted: true, garbage: 8 });
  assert.deepEqual(skipped, [[2048, 1024], [1024 + 54 * 1024, 2048], [1024 + 61 * 1024, 1024]]);
  assert.equal(bytes, 8 + 16);
});

Deno.test("v6-extended as posted makes one record of a run of 4096 pages and the next", async () => {
  // Four blocks of 4 MiB side by side, sorted and merged to a run of exactly 4096 pages; then a single page.
  const free = [0, 1, 2, 3].map((n) => ({ pfn: 8192 + 1024 * n, order: 10 }));
  const single = { pfn: 20_000, order: 0 };
  const right = [[8192, 4096], [20_000, 1]];
  // The run takes two words, the page one.
  assert.deepEqual(await told([...free, single], { kind: "v6-extended" }, "sorted"), [right, 8 + 24]);
  // The run is the word 8193 * 2^12, whose length is 0: the word of the page, 20,000 * 2^12 + 1, is taken for it. The host
  // cuts that at the end of the guest: it skips all pages from 8193 on, 57,343.
  const posted = await told([...free, single], { kind: "v6-extended", asPosted: true }, "sorted");
  assert.deepEqual(posted, [[[8193, 65_536 - 8193]], 8 + 16]);
  // A run of three blocks is short enough, and nothing is wrong.
  const short = free.slice(1);
  assert.deepEqual(
    await told(short, { kind: "v6-extended", asPosted: true }, "sorted"),
    await told(short, { kind: "v6-extended" }, "sorted"),
  );
});
