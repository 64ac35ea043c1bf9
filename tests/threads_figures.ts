/** What mails said of handovers and of memory slots, and what the laboratories say: rows of docs/threads.md. */
import { policies } from "../policies/mod.ts";
import { validateV15 } from "../sim/kho/handover_validation.ts";
import { trackers } from "../sim/kho/mod.ts";
import { allKhoWorkloads, runKho } from "../sim/kho_run.ts";
import { loadKho } from "../sim/kho_scenario.ts";
import { devicesThatFit, FUNCTIONS_MAX, SLOTS_TYPICAL, SLOTS_WORST } from "../sim/kvm/devices.ts";
import { figureBytes, figures } from "../sim/kvm/figures.ts";
import { metadataBytes } from "../sim/kvm/metadata.ts";
import { PAGE_SIZE } from "../sim/memory/range.ts";
import { formatSize } from "../sim/memory/units.ts";
import { v16 } from "../sim/validation/v16.ts";
import { v17 } from "../sim/validation/v17.ts";
import { workloads } from "../workloads/mod.ts";

const GIB = 2 ** 30;
const TIB = 2 ** 40;

/** Memory that one bitmap of this tracker covers: folios that are told one after the other until a second bitmap is there. */
export function bitmapReach(tracker: string, bitmapBytes: number, order: number): number {
  let next = 2 ** 40 / PAGE_SIZE;
  const one = trackers.find(({ name }) => name === tracker)!
    .create((bytes) => (next += Math.ceil(bytes / PAGE_SIZE)) - Math.ceil(bytes / PAGE_SIZE));
  const bitmaps = () => one.explain().find(({ bytesEach }) => bytesEach === bitmapBytes)!.count;
  let folios = 0;
  do one.preserveFolio(folios++ * 2 ** order, order); while (bitmaps() === 1);
  return (folios - 1) * 2 ** order * PAGE_SIZE;
}

/** Summaries of a handover with memblock, by tracker. */
function handovers(workload: string) {
  const text = `hintsim: 1\nkho:\n  trackers: [xarray-bitmaps-512, maple-ranges]\n  workload: ${workload}\n`;
  const [scenario] = loadKho(text, "figures", allKhoWorkloads({ policies, workloads }));
  const rows = [...runKho(scenario)].map(({ row }) => row);
  return (tracker: string, restore: string, column: string): number =>
    Number(rows.find((row) => row.tracker === tracker && row.restore === restore)![column]);
}

/** What was said of handovers, 2025. */
export function handoverFigures(): string[][] {
  const size = (bytes: number) => formatSize(bytes).replace(".0", "");
  const validated = validateV15();
  const [k1, ratio, k3] = [/^K1, /, /^K1 : K2/, /^K3/]
    .map((figure) => validated.find(({ name }) => figure.test(name))!.value);
  const mixed = handovers("{ kind: mixed-folios, folios: 1000 }");
  const row = handovers("{ kind: one-range, size: 8GiB, order: 0 }");
  const gain = (of: typeof row, column: string) =>
    of("xarray-bitmaps-512", "memblock", column) / of("maple-ranges", "memblock", column);
  const single = bitmapReach("xarray-bitmaps-512", 512, 0);
  const visits = (restore: string) => row("xarray-bitmaps-512", restore, "reserve_visits");
  return [
    ["commit fc33e4b44b27", "a bitmap of 512 bytes covers 16 MiB of single pages", size(single), "confirmed"],
    ["commit fc33e4b44b27", "16 GiB take at most 512 KiB of them", size(16 * GIB / single * 512), "confirmed"],
    [
      "commit fc33e4b44b27",
      "1 TB of 1 GiB pages fits into one",
      size(bitmapReach("xarray-bitmaps-512", 512, 18)),
      "confirmed, four times over",
    ],
    [
      "kernel, late 2025",
      "8 TB of 1 GiB pages fit into a bitmap of a page",
      size(bitmapReach("xarray-bitmaps-page", 4096, 18)),
      "confirmed, four times over",
    ],
    [
      "Yadav, 3 Apr 2025",
      "48 GiB page by page: 577 ms with bitmaps, 469 ms with tables",
      `${k1.toFixed(0)} ms, ${(k1 / ratio).toFixed(0)} ms`,
      "the first is the input",
    ],
    ["Yadav, 3 Apr 2025", "their reservations take more than 2 s", `${k3.toFixed(1)} s`, "confirmed, from assumptions"],
    [
      "Rapoport, Apr 2025",
      "ranges of a maple tree take 6 times less than the bitmaps",
      `${gain(mixed, "kept_bytes").toFixed(1)} times; ${gain(row, "kept_bytes").toFixed(0)} in a row`,
      "confirmed, for all that is kept",
    ],
    [
      "Rapoport, Apr 2025",
      "and are restored 10 times as fast",
      `${gain(mixed, "restore_ns").toFixed(2)} times; ${gain(row, "restore_ns").toFixed(1)} in a row`,
      "not where folios are scattered",
    ],
    [
      "Gunthorpe, Apr 2025",
      "not representative: neighbours could be joined before they are reserved",
      `${visits("memblock")} visits become ${visits("memblock-coalesced")}`,
      "confirmed in a row",
    ],
  ];
}

/** What was said of memory slots, 2012 to 2023. */
export async function slotFigures(): Promise<string[][]> {
  const context = { registries: { policies, workloads }, read: () => undefined };
  const [linear, binary] = (await v16.run(context))!.map(({ simulated }) => simulated.toFixed(0));
  const [array, tree] = (await v17.run(context))!.map(({ simulated }) => simulated.toPrecision(3));
  const bytes = (name: RegExp) => String(figureBytes(figures().find((one) => name.test(one.name))!));
  const gib = (tdpMmu: boolean) => (metadataBytes(TIB, { tdpMmu, smm: true, dirtyLog: true }) / GIB).toFixed(2);
  const mail = "mail of 5 Dec 2012";
  return [
    [mail, "32 + 4 slots take 2456 bytes", bytes(/^32 \+ 4/), "confirmed, without three pointers a slot"],
    [mail, "128 + 4 take 9000", bytes(/^128 \+ 4 .* 8 bytes$/), "the same"],
    [mail, "with short numbers 7680", bytes(/^128 \+ 4 .* short/), "the same"],
    [mail, "and a round 128 of them 7440", bytes(/^124 \+ 4/), "the same"],
    [mail, "8 devices", String(devicesThatFit(32, SLOTS_TYPICAL)), "in 32 slots, 4 each"],
    [mail, "16+", String(devicesThatFit(128, SLOTS_WORST)), "in 128 slots, 8 each at worst"],
    [mail, "32", String(devicesThatFit(128, SLOTS_TYPICAL)), "in 128 slots, 4 each"],
    [mail, "2048", String(FUNCTIONS_MAX * SLOTS_WORST), "slots of 256 functions at worst"],
    [
      "commit 9c1a5d3878",
      "the slowest lookup in 117 slots: 13,000 cycles, with a binary search 2000",
      `${linear}, ${binary}`,
      "confirmed; predicted from 13 slots",
    ],
    ["Christopherson, 2019", "arrays of a VM take ~90k", bytes(/90 KB/), "confirmed"],
    ["Christopherson, 2019", "30 slots in an array of their size ~2.6 KB", bytes(/2\.6 KB/), "confirmed"],
    [
      "Szmigiero, 2021",
      "making 32,764 slots: 16.1 s as an array, 0.59 s as trees",
      `${array} s, ${tree} s`,
      "the trees confirmed, the array a fifth low",
    ],
    ["Hildenbrand, 2023", "dirty bitmaps of a TiB: 536870912 = 64 MiB", bytes(/dirty/), "64 MiB; the other are bits"],
    [
      "Hildenbrand, 2023",
      "all metadata of a TiB with SMM: 5 GiB, with the TDP MMU 1 GiB",
      `${gib(false)} GiB, ${gib(true)} GiB`,
      "confirmed",
    ],
  ];
}
