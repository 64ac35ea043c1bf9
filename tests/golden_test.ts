import assert from "node:assert/strict";
import { load } from "../mod.ts";
import { EventsCsv } from "../sim/core/csv_writer.ts";
import type { LoadedScenario } from "../sim/load.ts";
import { buildMachine } from "../sim/simulate.ts";

/** Small enough to be followed by hand: one block is freed, told to the host, dropped, and used again. */
const SCENARIO = {
  hintsim: 1,
  machine: { memory: "8MiB", vcpus: 1, initOnAlloc: false },
  workload: {
    kind: "fill-drain",
    occupancy: 0.25,
    orders: { 9: 1 },
    cycles: 2,
    fill: "0s",
    hold: "1ms",
    drain: "0s",
    pause: "1ms",
  },
  policy: { kind: "single-batch", action: "reclaim", isolate: true, requests: { at: ["1500us"] } },
};

const GOLDEN = new URL("golden/one_block.csv", import.meta.url);

Deno.test("golden: the way of one block, row by row (HINTSIM_UPDATE=1 writes it anew)", async () => {
  const loaded = await load(SCENARIO) as LoadedScenario;
  const parts: string[] = [];
  const csv = new EventsCsv((bytes) => parts.push(new TextDecoder().decode(bytes)));
  const machine = buildMachine(loaded, loaded.runs[0], { readers: () => [csv] });
  const { fingerprint } = machine.runToEnd();
  csv.close();
  const text = `${parts.join("")}# ${fingerprint}\n`;
  if (Deno.env.get("HINTSIM_UPDATE") === "1") Deno.writeTextFileSync(GOLDEN, text);
  assert.equal(text, Deno.readTextFileSync(GOLDEN));
});
