/** The cases of docs/policies-by-hand.md, run and compared with the numbers that stand there. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { policies } from "../../policies/mod.ts";
import { encodings } from "../../sim/abi/mod.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import type { SummaryRow } from "../../sim/summary_row.ts";
import { type GuestBlock, plainZone, runOn } from "./fixed_guest.ts";

const root = new URL("../../", import.meta.url);
const page = Deno.readTextFileSync(new URL("docs/policies-by-hand.md", root));

/** First page, order, and how many of them follow each other. */
type Blocks = readonly (readonly [pfn: number, order: number, count?: number])[];

/** A case as it is written. */
interface Written {
  readonly pages: number;
  readonly free: Blocks;
  readonly freed?: Blocks;
  readonly again?: number;
  readonly policy: { readonly kind: string };
  readonly encoding: string;
}

/** The columns of the tables, as summary.csv names them. */
const COLUMNS: Readonly<Record<string, string>> = {
  messages: "messages",
  bytes: "payload_bytes",
  kicks: "kicks",
  exits: "exits",
  interrupts: "interrupts",
  ranges: "ranges",
  sent: "sent_pages",
  dropped: "discarded_pages",
};

function blocksOf(blocks: Blocks = []): GuestBlock[] {
  return blocks.flatMap(([pfn, order, count = 1]) =>
    Array.from({ length: count }, (_, n) => ({ pfn: pfn + n * ORDER_PAGES[order], order }))
  );
}

/** The cells of a row of a table. */
function cells(line: string): string[] {
  return line.split("|").slice(1, -1).map((cell) => cell.trim());
}

/** The sections of the page by their heading. */
const sections = new Map(
  page.split(/^## /m).slice(1).map((text) => [text.slice(0, text.indexOf("\n")), text]),
);

async function run({ pages, free, freed, again = 0, policy, encoding }: Written): Promise<SummaryRow> {
  const guest = { zones: [plainZone(pages)], free: blocksOf(free), freed: blocksOf(freed), again };
  const machine = { vcpus: 1, perCpu: false, keepMarks: false, initOnAlloc: false, resident: "all" };
  const { summary, problems, finding } = await runOn(guest, { machine, policy, encoding }, { check: true });
  assert.deepEqual([problems, finding, summary.violations], [[], undefined, 0]);
  return summary;
}

for (const { name } of policies) {
  Deno.test(`by hand: ${name} does what docs/policies-by-hand.md derives`, async () => {
    const section = sections.get(name);
    assert.ok(section !== undefined, "the page has a section for each policy");
    const written = parse(section.match(/^```yaml case\n(.*?)^```/ms)![1]) as Written;
    assert.equal(written.policy.kind, name);
    const summary = await run(written);
    const [head, , figures] = section.split("\n").filter((line) => line.startsWith("|")).map(cells);
    assert.deepEqual(head, Object.keys(COLUMNS));
    assert.deepEqual(head.map((column) => String(summary[COLUMNS[column]])), figures);
  });
}

Deno.test("every posted bug of the page is shown by a test that exists, and every asPosted option has one", () => {
  const rows = sections.get("Bugs of the posted code")!.split("\n").filter((line) => line.startsWith("|")).slice(2);
  const options = new Set<string>();
  for (const [, , option, shown] of rows.map(cells)) {
    options.add(option.match(/`([^`]+)`/)![1]);
    const [, path, title] = shown.match(/^(\S+): "(.*)"$/)!;
    assert.ok(Deno.readTextFileSync(new URL(path, root)).includes(title), `${path} has no test "${title}"`);
  }
  const expected = [
    ...policies.filter((plugin) => "asPosted" in plugin.options.fields).map(({ name }) => name),
    ...encodings.filter(({ optionNames }) => optionNames.includes("asPosted")).map(({ name }) => name),
  ];
  assert.deepEqual([...options].sort(), expected.sort());
});
