/** Messages, bytes, exits and interrupts of every policy and every encoding on three fixed guests, as golden tables. */
import assert from "node:assert/strict";
import { policies } from "../../policies/mod.ts";
import { encodings } from "../../sim/abi/mod.ts";
import { GUESTS, runOn } from "./fixed_guest.ts";

type Raw = Readonly<Record<string, unknown>>;

/** A policy with options, and what it says things in. */
interface Subject {
  readonly policy: string;
  readonly options: Raw;
  readonly encoding: string;
  readonly encodingOptions: Raw;
}

/** Where the bugs of what was posted can be switched on, and which version shows them. */
const POSTED_POLICIES: Readonly<Record<string, Raw>> = {
  "bitmap-windows": { version: "v3", asPosted: true },
  "per-order": { asPosted: true },
  "spill-batch": { asPosted: true },
  "page-hinting": { version: "v10", asPosted: true },
};
const POSTED_ENCODINGS: Readonly<Record<string, Raw>> = {
  "v3-bitmap": { asPosted: true },
  "v5-heads": { asPosted: true, garbage: 8 },
  "v6-extended": { asPosted: true },
};

const SUBJECTS: readonly Subject[] = [
  ...policies.flatMap(({ name }) =>
    [{}, POSTED_POLICIES[name]].filter((options) => options !== undefined).map((options) => ({
      policy: name,
      options,
      encoding: "pfn-len",
      encodingOptions: {},
    }))
  ),
  ...["balloon", "balloon-huge"].map((policy) => ({
    policy,
    options: {},
    encoding: "pfn-list",
    encodingOptions: {},
  })),
  ...encodings.flatMap(({ name }) =>
    [{}, POSTED_ENCODINGS[name]].filter((options) => options !== undefined).map((encodingOptions) => ({
      policy: "single-batch",
      options: {},
      encoding: name,
      encodingOptions,
    }))
  ),
];

const FIGURES = [
  "passes",
  "messages",
  "payload_bytes",
  "kicks",
  "exits",
  "interrupts",
  "ranges",
  "sent_pages",
  "discarded_pages",
  "skipped_pages",
  "violations",
] as const;

/** One row of a table. */
type Row = Readonly<Record<string, string>>;

async function rowOf(guestName: string, memoryBytes: number, subject: Subject): Promise<Row> {
  const { policy, options, encoding, encodingOptions } = subject;
  const plugin = policies.find(({ name }) => name === policy)!;
  const requests = "requests" in plugin.options.fields ? { requests: { at: ["400ms"] } } : {};
  const scenario = {
    machine: { vcpus: 1, resident: "all" },
    host: { memory: "128GiB" },
    policy: { kind: policy, ...requests, ...options },
    encoding: { kind: encoding, ...encodingOptions },
  };
  const { summary, finding = "" } = await runOn(GUESTS[guestName](memoryBytes), scenario);
  return {
    guest: guestName,
    policy,
    policy_options: plain(options),
    encoding,
    encoding_options: plain(encodingOptions),
    ...Object.fromEntries(FIGURES.map((name) => [name, String(summary[name])])),
    finding: finding.replaceAll(",", ";"),
  };
}

function plain(options: Raw): string {
  return Object.entries(options).map(([name, value]) => `${name}=${value}`).join(" ");
}

function csvOf(rows: readonly Row[]): string {
  return [Object.keys(rows[0]), ...rows.map((row) => Object.values(row))].map((cells) => `${cells.join()}\n`).join("");
}

function readCsv(text: string): Row[] {
  const [head, ...lines] = text.trimEnd().split("\n").map((line) => line.split(","));
  return lines.map((cells) => Object.fromEntries(head.map((name, column) => [name, cells[column]])));
}

const update = Deno.env.get("HINTSIM_UPDATE") === "1";
const slow = Deno.env.get("HINTSIM_TIER") === "slow";

function keyOf({ guest, policy, policy_options, encoding, encoding_options }: Row): string {
  return [guest, policy, policy_options, encoding, encoding_options].join();
}

/** 16 or 8 million single pages take some seconds, hundreds of thousands of blocks in every encoding as many together. */
function takesLong(guestName: string, gib: number, { policy, encoding }: Subject): boolean {
  if (gib === 1 || guestName === "nearly-full" || policy !== "single-batch") return false;
  return guestName === "fragmented" ? encoding !== "pfn-len" : encoding === "pfn-list";
}

for (const gib of [1, 64]) {
  const golden = new URL(`../golden/policies-${gib}gib.csv`, import.meta.url);
  for (const guestName of Object.keys(GUESTS)) {
    Deno.test(`golden counts: every policy and encoding on ${guestName}, ${gib} GiB (HINTSIM_UPDATE=1 writes anew)`, async () => {
      const rows: Row[] = [];
      for (const subject of SUBJECTS) {
        if (takesLong(guestName, gib, subject) && !slow && !update) continue;
        rows.push(await rowOf(guestName, gib * 2 ** 30, subject));
      }
      const known = readTable(golden);
      if (update) {
        const others = known.filter(({ guest }) => guest !== guestName);
        const order = Object.keys(GUESTS);
        const all = [...others, ...rows].sort((a, b) => order.indexOf(a.guest) - order.indexOf(b.guest));
        Deno.writeTextFileSync(golden, csvOf(all));
        return;
      }
      const expected = new Map(known.map((row) => [keyOf(row), row]));
      for (const row of rows) assert.deepEqual(row, expected.get(keyOf(row)), keyOf(row));
      const count = known.filter(({ guest }) => guest === guestName).length;
      assert.equal(count, SUBJECTS.length, "the table has a row for each policy and encoding, and no other");
    });
  }
}

function readTable(golden: URL): Row[] {
  try {
    return readCsv(Deno.readTextFileSync(golden));
  } catch (error) {
    if (update && error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

Deno.test("golden counts follow from the numbers of blocks and pages", () => {
  for (const gib of [1, 64]) {
    const rows = readTable(new URL(`../golden/policies-${gib}gib.csv`, import.meta.url));
    for (const guestName of Object.keys(GUESTS)) {
      const { free } = GUESTS[guestName](gib * 2 ** 30);
      const pages = free.reduce((sum, { order }) => sum + 2 ** order, 0);
      // 1 GiB are 64 times 16 MiB, each with 11 blocks and 32 single pages: 2752 blocks.
      if (guestName === "fragmented") assert.deepEqual([free.length, pages], [64 * gib * 43, 64 * gib * (2047 + 32)]);
      const row = (policy: string, encoding = "pfn-len") =>
        rows.find((one) => one.guest === guestName && one.policy === policy && one.encoding === encoding)!;
      const bytes = (encoding: string) => Number(row("single-batch", encoding).payload_bytes);
      const sizes = { "pfn-len": 16, "pfn-order": 8, "sg": 16 };
      for (const [encoding, size] of Object.entries(sizes)) assert.equal(bytes(encoding), size * free.length);
      for (const [encoding, size] of Object.entries({ "v5-heads": 8, "v6-extended": 8, "v8-chunks": 16 })) {
        assert.equal(bytes(encoding), 8 + size * free.length);
      }
      const messages = (policy: string, encoding?: string) => Number(row(policy, encoding).messages);
      // A ring of 128 descriptors, one for each range; 256 pages of a list.
      assert.equal(messages("single-batch", "sg"), Math.ceil(free.length / 128));
      assert.equal(messages("single-batch", "pfn-list"), Math.ceil(pages / 256));
      assert.equal(messages("per-order"), new Set(free.map(({ order }) => order)).size);
      // 64 MiB in single pages: 64 rounds of a notification and two accesses to the configuration. In blocks it is one round.
      assert.deepEqual([row("balloon").messages, row("balloon").exits, row("balloon").ranges], ["64", "192", "16384"]);
      assert.deepEqual([messages("balloon-huge", "pfn-list"), row("balloon-huge", "pfn-list").exits], [64, "66"]);
      assert.deepEqual([messages("balloon-huge"), row("balloon-huge").exits, row("balloon-huge").ranges], [
        1,
        "3",
        "32",
      ]);
      // An id, each block of 4 MiB in a buffer of its own, and the stop; one kick and two reads of the configuration.
      const hinted = row("free-page-hinting");
      assert.deepEqual([Number(hinted.messages), hinted.exits, hinted.interrupts], [
        Number(hinted.ranges) + 2,
        "3",
        "0",
      ]);
      // Sixteen frees of 4 MiB; what is free from the start has no bit.
      assert.deepEqual([messages("page-hinting"), row("page-hinting").sent_pages], [1, "16384"]);
      // 32 GiB are a window of 32 bitmaps.
      assert.equal(row("bitmap-windows").passes, String(Math.ceil(gib / 32)));
    }
  }
});
