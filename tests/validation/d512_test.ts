/** The pages that a balloon of 256 MiB really took, in the order in which QEMU saw them, in every encoding. */
import assert from "node:assert/strict";
import { encodings } from "../../sim/abi/mod.ts";
import type { Encoding } from "../../sim/abi/encoding.ts";
import { messagesOf } from "../../sim/guest/messages.ts";
import { forEachAlignedBlock, mergeRanges, pagesOf, type Range } from "../../sim/memory/range.ts";
import { documentedTable, recordedRows } from "./recorded.ts";

const DOCUMENT = new URL("../../docs/recordings-reporting.md", import.meta.url);

/** Pages of one message, VIRTIO_BALLOON_ARRAY_PFNS_MAX. */
const MESSAGE_PAGES = 256;
const ORDER_MAX = 10;

/** The pages of each way of the balloon: inflate, deflate, inflate, deflate. */
async function recordedWays(): Promise<{ direction: string; pfns: number[] }[]> {
  const ways: { direction: string; pfns: number[] }[] = [];
  for (const { dir, pfn, step, count } of await recordedRows("d512-pfns.runs.csv.gz")) {
    if (ways.at(-1)?.direction !== dir) ways.push({ direction: dir, pfns: [] });
    for (let n = 0; n < Number(count); n++) ways.at(-1)!.pfns.push(Number(pfn) + n * Number(step));
  }
  return ways;
}

function messagesOfBalloon(pfns: readonly number[]): number[][] {
  const messages: number[][] = [];
  for (let from = 0; from < pfns.length; from += MESSAGE_PAGES) messages.push(pfns.slice(from, from + MESSAGE_PAGES));
  return messages;
}

/** Neighbours in the order sent make one range, whether the pages ascend or descend: what a driver sees without sorting. */
function runsAsSent(pfns: readonly number[]): Range[] {
  const runs: { pfn: number; count: number }[] = [];
  let step = 0;
  for (const [index, pfn] of pfns.entries()) {
    const change = pfn - pfns[index - 1];
    const last = runs.at(-1);
    if (last !== undefined && Math.abs(change) === 1 && (step === 0 || change === step)) {
      last.pfn = Math.min(last.pfn, pfn);
      last.count++;
      step = change;
    } else {
      runs.push({ pfn, count: 1 });
      step = 0;
    }
  }
  return runs;
}

const sorted = (pfns: readonly number[]) => mergeRanges(pfns.map((pfn) => ({ pfn, count: 1 })));

/** Ranges as an encoding can say them: whole where it has a length, else as aligned blocks. */
function sayable(encoding: Encoding, ranges: readonly Range[]): Range[] {
  return ranges.flatMap((range) => {
    if (encoding.error(range) === undefined) return [range];
    const blocks: Range[] = [];
    forEachAlignedBlock(range.pfn, range.count, ORDER_MAX, (pfn, order) => blocks.push({ pfn, count: 2 ** order }));
    return blocks;
  });
}

/** Bytes of ranges in as many messages as they need. */
function bytesOf(encoding: Encoding, ranges: readonly Range[]): number {
  const accepts = (range: Range) => encoding.error(range) === undefined;
  const sized = { sizeOf: (message: readonly Range[]) => encoding.sizeOf(message), accepts };
  let bytes = 0;
  for (const message of messagesOf(sayable(encoding, ranges), encoding.messageMax, sized)) {
    const payload = encoding.encode(message);
    assert.equal(payload.length, encoding.sizeOf(message));
    assert.deepEqual(mergeRanges(encoding.decode(payload)), mergeRanges(message), encoding.name);
    bytes += payload.length;
  }
  return bytes;
}

const total = (numbers: readonly number[]) => numbers.reduce((sum, number) => sum + number, 0);

function figures(encoding: Encoding, pfns: readonly number[]): [asSent: number, merged: number, batch: number] {
  const messages = messagesOfBalloon(pfns);
  const perMessage = (runs: (pfns: readonly number[]) => Range[]) =>
    total(messages.map((message) => bytesOf(encoding, runs(message)))) / messages.length;
  return [perMessage(runsAsSent), perMessage(sorted), bytesOf(encoding, sorted(pfns))];
}

Deno.test("d512: 256 pages a message, 2.4 runs a message as sent, 21 and 23 runs in all", async () => {
  const ways = await recordedWays();
  assert.deepEqual(ways.map(({ direction }) => direction), ["inflate", "deflate", "inflate", "deflate"]);
  // 256 MiB are 65,536 pages, 256 messages of 256 pages each, none of them shorter.
  for (const { pfns } of ways) {
    assert.equal(pfns.length, 65_536);
    assert.equal(new Set(pfns).size, 65_536);
  }
  // Deflation takes the list from its other end.
  assert.deepEqual(ways[1].pfns, [...ways[0].pfns].reverse());
  assert.deepEqual(ways[3].pfns, [...ways[2].pfns].reverse());
  const runs = (of: (pfns: readonly number[]) => Range[]) =>
    ways.map(({ pfns }) => messagesOfBalloon(pfns).map((message) => of(message).length));
  const mean = (counts: readonly number[]) => total(counts) / counts.length;
  // As sent: a run ends where the step is neither -1 nor +1, 605 and 629 times, or where a message does.
  assert.deepEqual(runs(runsAsSent).map(mean), [606 / 256, 606 / 256, 630 / 256, 630 / 256]);
  assert.deepEqual(runs(runsAsSent).map((counts) => Math.max(...counts)), [41, 41, 70, 70]);
  // Sorted within the message some of them touch: 396 and 424 runs in 256 messages.
  assert.deepEqual(runs(sorted).map(mean), [396 / 256, 396 / 256, 424 / 256, 424 / 256]);
  assert.deepEqual(runs(sorted).map((counts) => Math.max(...counts)), [15, 15, 35, 35]);
  assert.deepEqual(ways.map(({ pfns }) => sorted(pfns).length), [21, 21, 23, 23]);
});

Deno.test("d512: bytes of pfn-len, pfn-list and a bitmap by hand", async () => {
  const [{ pfns }] = await recordedWays();
  const of = (name: string) => figures(encodings.find((one) => one.name === name)!.create({}), pfns);
  // 16 bytes a run: 606 runs in 256 messages, 396 sorted, 21 in one batch.
  assert.deepEqual(of("pfn-len"), [16 * 606 / 256, 16 * 396 / 256, 336]);
  // 4 bytes a page, whatever the order.
  assert.deepEqual(of("pfn-list"), [1024, 1024, 262_144]);
  // Windows of 32,768 pages begin at 0, 32,768 and 65,536: the batch touches three, 4104 bytes each.
  const pages = sorted(pfns);
  const last = pages[pages.length - 1];
  assert.deepEqual([pages[0].pfn, last.pfn + last.count - 1], [7_682, 95_411]);
  assert.equal(of("bitmap")[2], 3 * 4104);
  // The bits alone, without heads: 87,730 pages from the first to the last, 10,967 bytes.
  assert.equal(Math.ceil((95_411 - 7_682 + 1) / 8), 10_967);
  assert.equal(pagesOf(pages), 65_536);
});

Deno.test("d512: the table of bytes in the document has every encoding of the registry (HINTSIM_UPDATE=1 writes it anew)", async () => {
  const [first, , second] = await recordedWays();
  const cells = (name: string, create: (options: Record<string, never>) => Encoding) => {
    const encoding = create({});
    const both = [figures(encoding, first.pfns), figures(encoding, second.pfns)];
    const number = (value: number) => Number(value.toFixed(1)).toLocaleString("en-US");
    return `| ${name} | ${both.flat().map(number).join(" | ")} |`;
  };
  const rows = encodings.map(({ name, create }) => cells(name, create));
  const head = "| encoding | 1st: as sent | sorted | one batch | 2nd: as sent | sorted | one batch |";
  const wanted = [head, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |", ...rows].join("\n");
  const squeezed = (text: string) => text.replace(/ +/g, " ").replace(/-+/g, "-");
  const shown = squeezed(await documentedTable(DOCUMENT, "d512", wanted)).split("\n");
  for (const row of squeezed(wanted).split("\n")) {
    assert(shown.includes(row), `not in ${DOCUMENT.pathname}, HINTSIM_UPDATE=1 writes it anew: ${row}`);
  }
});
