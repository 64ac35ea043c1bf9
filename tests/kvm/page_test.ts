/** The figures in the text of docs/memslots.md are those of the model. */
import assert from "node:assert/strict";
import { policies } from "../../policies/mod.ts";
import { LOOKUP_COSTS, REFAULT_COST, refaultNs } from "../../sim/kvm/costs.ts";
import { loadMemslots } from "../../sim/memslots_scenario.ts";
import { runMemslots } from "../../sim/memslots_run.ts";
import { v16 } from "../../sim/validation/v16.ts";
import { solveSetUp, v17 } from "../../sim/validation/v17.ts";
import { workloads } from "../../workloads/mod.ts";

const slow = Deno.env.get("HINTSIM_TIER") === "slow";
const context = { registries: { policies, workloads }, read: () => undefined };
const page = Deno.readTextFileSync(new URL("../../docs/memslots.md", import.meta.url)).replaceAll(/\s+/g, " ");

function says(sentence: string): void {
  assert.ok(page.includes(sentence), `docs/memslots.md does not say: ${sentence}`);
}

function rows(memslots: string) {
  const [scenario] = loadMemslots(`hintsim: 1\nmemslots: ${memslots}\n`, "page");
  const none = () => {
    throw new Error("nothing is simulated");
  };
  return Array.from(runMemslots(scenario, none), ({ row }) => row);
}

Deno.test("docs/memslots.md: cycles of lookups", async () => {
  const [linear, binary] = (await v16.run(context))!.map(({ simulated }) => simulated.toFixed(0));
  says(
    `${linear.replace(/(?=...$)/, ",")} cycles for 117 slots (13,000 measured), and for the binary search ${binary}`,
  );
  const { cycles } = LOOKUP_COSTS.fetch;
  says(`takes 1450 cycles, ${cycles.toFixed(1)} for each 128 bytes`);
  says(`With the halves alone it would be ${(7 * cycles).toFixed(0)}`);
  const [scan, search] = rows(`{ tables: [{ kind: sorted-by-size, user: 125, private: 3 }, sorted-by-gfn],
    guests: { kind: windows-boot, slots: 117 } }`);
  says(
    `the streams named \`boot\` then give ${Math.round(Number(scan.boot_cycles))} and ` +
      `${Math.round(Number(search.boot_cycles))} (30 and 35 measured)`,
  );
});

Deno.test("docs/memslots.md: what a delete and its refaults take", () => {
  const tables = "[{ kind: tree, deleteZap: [all, slot] }]";
  const [all, slot] = rows(`{ tables: ${tables}, guests: { kind: slots, count: 64, size: 64MiB }, lookups: 1 }`);
  says(`With the trees a delete itself takes ${Math.round(Number(all.delete_ns) / 1000)} us`);
  // 4 GiB in mappings of 2 MiB; the slot that is gone is not wanted again.
  const whole = 2 ** 32 / 2 ** 21;
  assert.deepEqual([all.delete_refaults, slot.delete_refaults, slot.move_refaults], [whole * 63 / 64, 0, whole / 64]);
  says(`A refault takes ${(REFAULT_COST.valueNs / 1000).toFixed(1)} us`);
  says(`${(refaultNs(whole) / 1e6).toFixed(1)} ms for 4 GiB in pages of 2 MiB`);
  assert.equal(slot.delete_refault_ns, 0);
});

Deno.test("docs/memslots.md: set-up of many slots", { ignore: !slow }, async () => {
  const { swapNs, byteNs } = solveSetUp();
  says(`gives ${(swapNs / 1000).toFixed(1)} us for a swap with its wait and ${byteNs.toFixed(3)} ns for a byte copied`);
  const [array, tree] = (await v17.run(context))!.map(({ simulated }) => simulated);
  says(`32,764 slots then take ${array.toFixed(1)} s as an array and ${tree.toFixed(2)} s as trees`);
});
