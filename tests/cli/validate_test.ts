import assert from "node:assert/strict";
import { MISSING, validations } from "../../sim/validate.ts";
import { judged } from "../../sim/validation/row.ts";
import { CliFolder } from "./run_cli.ts";

async function validate(...args: string[]) {
  using folder = new CliFolder();
  const result = await folder.run(["validate", ...args]);
  assert.deepEqual(folder.list("out"), []);
  return result;
}

interface Row {
  name: string;
  quantity: string;
  simulated: number;
  target: number;
  error: number;
  tolerance: number;
  ok: boolean;
  assumed: { low: number; high: number }[];
}

async function rowsOf(...names: string[]): Promise<Row[]> {
  const { status, out, err } = await validate(...names, "--json");
  const { ok, rows } = JSON.parse(out);
  assert.deepEqual([status, err, ok], [0, "", true]);
  assert.deepEqual(new Set(rows.map((row: Row) => row.name)), new Set(names));
  return rows;
}

// The rows are tested one by one elsewhere; all of them with ±50 % on what is assumed take ten seconds.
const ignore = Deno.env.get("HINTSIM_TIER") !== "slow";
Deno.test(
  "validate: all that the models answer is inside of its tolerance, and what is missing is named",
  { ignore },
  async () => {
    const { status, out, err } = await validate();
    assert.deepEqual([status, err], [0, ""], out);
    assert.doesNotMatch(out, /OUTSIDE/);
    for (const { name } of validations) assert.match(out, new RegExp(`^${name} `, "m"));
    assert.ok(out.endsWith(`\nnot answered yet: ${MISSING.join(", ")}\n`));
    assert.match(out, /^ {2}assumed hostWakeNs at 50 and 150 %: time \d+ ms and \d+ ms$/m);
  },
);

Deno.test("validate V16: 117 slots linear within 2 %, binary within 20 %, from 13 slots alone", async () => {
  const [linear, binary] = await rowsOf("V16");
  // 1450 / 13 for each of 117 slots.
  assert.ok(Math.abs(linear.simulated - 1450 / 13 * 117) < 1e-6);
  // Header, cached slot, seven halves and the store that remembers: ten fetches of 128 bytes; a scan has 1.6 slots in each.
  assert.ok(Math.abs(binary.simulated - 10 * 1450 / 13 * 1.6) < 1e-6);
  assert.ok(Math.abs(linear.error) < 0.02 && Math.abs(binary.error) < 0.2);
});

Deno.test("validate V17: set-up of 32764 slots within 50 %, also with the assumed cost at 50 and 150 %", async () => {
  const rows = await rowsOf("V17");
  assert.deepEqual(rows.map(({ target }) => target).slice(0, 2), [16.1, 0.59]);
  for (const { target, tolerance, assumed, simulated } of rows) {
    for (const value of [simulated, ...assumed.flatMap(({ low, high }) => [low, high])]) {
      assert.ok(Math.abs(value / target - 1) <= tolerance);
    }
  }
  assert.equal(rows[0].assumed.length, 1);
});

Deno.test("validate V15: the handover's ratio, its bitmaps, and reservations above 2 s", async () => {
  const rows = await rowsOf("V15");
  assert.ok(
    rows.some(({ quantity, simulated }) => quantity.startsWith("K1 : K2") && Math.abs(simulated - 577 / 469) <= 0.05),
  );
  assert.ok(rows.some(({ simulated, target }) => target === 3072 && simulated === 3072));
  assert.ok(rows.some(({ simulated, target }) => target === 2 && simulated > 2));
});

Deno.test("validate V18 and V19: exact", async () => {
  const rows = await rowsOf("V18", "V19");
  assert.equal(rows.length, 16);
  for (const { simulated, target } of rows) assert.equal(simulated, target);
});

Deno.test("a row is outside as soon as one end of an assumed cost is", () => {
  const [validation] = validations;
  const figures = { profile: "", inputs: "", quantity: "", unit: "ms", target: 100, simulated: 101, tolerance: 0.05 };
  assert.equal(judged(validation, figures).ok, true);
  assert.equal(judged(validation, { ...figures, assumed: [{ cost: "x", low: 96, high: 104 }] }).ok, true);
  assert.equal(judged(validation, { ...figures, assumed: [{ cost: "x", low: 94, high: 104 }] }).ok, false);
  assert.equal(judged(validation, { ...figures, simulated: 106 }).ok, false);
  assert.equal(judged(validation, { ...figures, simulated: 106, absolute: true, tolerance: 6 }).ok, true);
  assert.equal(judged(validation, { ...figures, simulated: 1e6, tolerance: 0, bound: "above" }).ok, true);
  assert.equal(judged(validation, { ...figures, simulated: 100, tolerance: 0, bound: "above" }).ok, false);
});

Deno.test("validate: a row that is none, and one that no model answers, are refused", async () => {
  for (
    const [name, sentence] of [["V61", /^validate: unknown row "V61"; did you mean V1\w?\?$/], [
      "V8",
      /^validate V8: no model/,
    ]] as const
  ) {
    const { status, out, err } = await validate(name);
    assert.deepEqual([status, out], [2, ""]);
    assert.match(err.trimEnd(), sentence);
  }
});
