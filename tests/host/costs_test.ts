import assert from "node:assert/strict";
import { costProfiles, costsOf } from "../../sim/host/costs.ts";

Deno.test("every cost lies inside the range in which it is believed, in whole ns, with a role and a source", () => {
  for (const { name, costs } of costProfiles) {
    for (const [cost, { valueNs, range: [low, high], role, source }] of Object.entries(costs)) {
      const where = `${name} ${cost}`;
      assert.ok(Number.isSafeInteger(valueNs) && valueNs >= 0, where);
      assert.ok(low >= 0 && low <= valueNs && valueNs <= high, `${where}: ${valueNs} is not in ${low} to ${high}`);
      assert.ok(["measured", "derived", "assumed"].includes(role), where);
      assert.ok(source.length > 10 && !source.endsWith("."), where);
    }
  }
});

Deno.test("profiles have different names, a summary, and the same costs by name", () => {
  const names = costProfiles.map(({ name }) => name);
  assert.deepEqual(names, ["e5-2016", "xeon6252-2024"]);
  const [first, ...others] = costProfiles.map(({ costs }) => Object.keys(costs).sort());
  for (const other of others) assert.deepEqual(other, first);
  for (const { summary } of costProfiles) assert.ok(summary.length > 10);
});

Deno.test("costsOf gives the values alone", () => {
  for (const profile of costProfiles) {
    const costs = costsOf(profile);
    assert.deepEqual(Object.keys(costs), Object.keys(profile.costs));
    assert.equal(costs.discardNs, profile.costs.discardNs.valueNs);
  }
});

Deno.test("what one profile took from the machine of another is assumed, not measured", () => {
  const e5 = costProfiles[0].costs;
  for (const [name, { source, role }] of Object.entries(e5)) {
    if (/HyperAlloc|llfree|Gold/.test(source)) assert.equal(role, "assumed", name);
  }
});

Deno.test("the figures of e5-2016 are the ones of the mail of 21 October 2016: shares of 4126 ms over 7 GiB of pages", () => {
  const nsPerPage = 4126e6 / (7 * 2 ** 30 / 4096);
  const { allocNs, recordNs, discardNs } = costProfiles[0].costs;
  const shares: [number, number][] = [[allocNs.valueNs, 0.065], [recordNs.valueNs, 0.061], [discardNs.valueNs, 0.19]];
  for (const [valueNs, share] of shares) assert.ok(Math.abs(valueNs - nsPerPage * share) < 1);
});

Deno.test("the figures of xeon6252-2024 follow from HyperAlloc's times", () => {
  const { unmap4kNs, unmap2mNs, fault4kNs, fault2mNs } = costProfiles[1].costs;
  assert.ok(Math.abs(unmap4kNs.valueNs - (4.45 - 2.54) * 1000) < 10);
  assert.equal(unmap2mNs.valueNs, 15_938 - 7_545);
  assert.ok(Math.abs(fault4kNs.valueNs - (19.578 - 1.926) * 1e9 / (19 * 2 ** 18)) < 1);
  assert.ok(Math.abs(fault2mNs.valueNs - (4.4234 - 1.1168) * 1e9 / 9728) < 10);
});
