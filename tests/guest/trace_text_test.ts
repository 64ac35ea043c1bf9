import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError } from "../../sim/core/options.ts";
import { readTraceRows, writeTraceRows } from "../../sim/guest/trace_rows.ts";
import { generationOf, gfpFlags, gfpText } from "../../sim/guest/trace_text/gfp_flags.ts";
import { type KernelText, type KernelTextOptions, readKernelText } from "../../sim/guest/trace_text/kernel_text.ts";
import { kernelOf, TEXT_FORMATS, writeKernelText } from "../../sim/guest/trace_text/text_writer.ts";
import { unpack } from "../../sim/unpack.ts";

const HEADER = "dt_us,ev,pfn,order,mt,x";

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function joined(pieces: Iterable<Uint8Array>): string {
  const decoder = new TextDecoder();
  let text = "";
  for (const piece of pieces) text += decoder.decode(piece);
  return text;
}

function read(lines: readonly string[], options: KernelTextOptions = {}): KernelText {
  return readKernelText(bytes(`${lines.join("\n")}\n`), options);
}

/** The rows of a text, without the header. */
function rowsOf(lines: readonly string[], options: KernelTextOptions = {}): string[] {
  return joined(writeTraceRows(read(lines, options).rows)).trimEnd().split("\n").slice(1);
}

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof InputError, `${error}`);
    return `${error.path.join(" ")}: ${error.message}`;
  }
  return "accepted";
}

/** A line of tracefs. */
function line(time: string, text: string, cpu = 0): string {
  return `            bash-1977    [00${cpu}] d..1. ${time}: ${text}`;
}

const FREE = "mm_page_free: page=0000000009d0df47 pfn=0x18c4 order=1";
const DRAIN = "mm_page_pcpu_drain: page=00000000aa pfn=0x18c4 order=1 migratetype=0";

Deno.test("gfp flags: the names that the kernels print", () => {
  const rows: [flags: number, old: string, now: string][] = [
    [0, "none", "none"],
    [0x140dca, "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO", "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO"],
    [0x400dc0, "GFP_KERNEL_ACCOUNT|__GFP_ZERO", "GFP_KERNEL_ACCOUNT|__GFP_ZERO"],
    [0x500cc2, "GFP_HIGHUSER|__GFP_ACCOUNT", "GFP_HIGHUSER|__GFP_ACCOUNT"],
    [0x2800, "GFP_NOWAIT|__GFP_NOWARN", "GFP_NOWAIT"],
    [0xa20, "GFP_ATOMIC", "GFP_ATOMIC|0x200"],
    [0x820, "GFP_NOWAIT|__GFP_HIGH", "GFP_ATOMIC"],
    [0x3d20ca, "GFP_TRANSHUGE_LIGHT|__GFP_NORETRY|__GFP_THISNODE", "GFP_TRANSHUGE_LIGHT|__GFP_NORETRY|__GFP_THISNODE"],
    [0x1000cc0, "GFP_KERNEL|0x1000000", "GFP_KERNEL|0x1000000"],
  ];
  for (const [flags, old, now] of rows) assert.deepEqual([gfpText(flags, "6.1"), gfpText(flags, "6.12")], [old, now]);
  assert.equal(gfpFlags("GFP_KERNEL|__GFP_NO_OBJ_EXT", "6.12"), 0x1000cc0);
  assert.equal(gfpFlags("GFP_KERNEL|GFP_SURPRISE", "6.12"), undefined);
  assert.deepEqual(["6.1.0-56-amd64", "6.9", "6.10.1", "7.0", "x"].map(generationOf), [
    "6.1",
    "6.1",
    "6.12",
    "6.12",
    undefined,
  ]);
});

Deno.test("gfp flags: names lead back to the bits, on both kernels", () => {
  fc.assert(fc.property(fc.nat(0xffffffff), fc.constantFrom("6.1", "6.12"), (flags, kernel) => {
    assert.equal(gfpFlags(gfpText(flags, kernel), kernel), flags);
  }));
});

Deno.test("tracefs: lines of a Linux 6.1 guest, with the clock x86-tsc", () => {
  const rows = rowsOf([
    "# tracer: nop",
    "#",
    "# entries-in-buffer/entries-written: 9/9   #P:2",
    "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION",
    "              sh-92      [000] .....  24877633586: tracing_mark_write: hintsim:S s0",
    "              sh-92      [000] .....  24880393382: tracing_mark_write: begin dd",
    "              sh-92      [000] .....  24882013910: mm_page_alloc: page=0000000009d0df47 pfn=0x163d0 order=0 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO",
    "     kworker/0:1-92      [000] d..3.  24885444168: mm_page_alloc_zone_locked: page=000000003e0940aa pfn=0x3825 order=0 migratetype=0 percpu_refill=1",
    "              sh-92      [000] .....  24886454242: alloc_pages_bulk_ret: (__vmalloc_node_range+0x264/0x880 <- __alloc_pages_bulk) ret=4",
    "              sh-92      [001] d..1.  25257558768: isolate_free_page: (__isolate_free_page+0x0/0x2b0) page=0xffbe542b807c0000 base=0xffbe542b80000000 order=4",
    "              sh-92      [001] d..1.  25258300782: isolate_free_page_ret: (isolate_freepages_block+0x261/0x410 <- __isolate_free_page) ret=0x10",
    "              sh-92      [001] d..1.  25258300782: mm_page_pcpu_drain: page=00000000aa pfn=0x163d0 order=0 migratetype=1",
  ], { tscMhz: 2596.117 });
  assert.deepEqual(rows, [
    "0,S,,,,s0",
    "1063,M,,,,begin dd",
    "624,A,91088,0,1,100dca,0",
    "1322,Z,14373,0,0,1,0",
    "389,K,,,,4,0",
    "142946,I,126976,4,,,1",
    "285,D,91088,0,1,,1",
  ]);
});

Deno.test("trace-cmd report and perf script: lines of the same guest", () => {
  const report = rowsOf([
    "cpus=2",
    "              sh-102   [000]     7.158536: mm_page_alloc:        page=0xffffffff9ca172f2 pfn=0x1bc2 order=1 migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO",
    "              sh-102   [000]     7.164958: print:                tracing_mark_write: hintsim:S s0",
    "              sh-102   [000]     7.165241: print:                tracing_mark_write: begin x",
    "              sh-102   [000]     7.165736: alloc_pages_bulk_ret: (ffffffff9b8f9560 <- ffffffff9b8f0994) ret=4",
    "              sh-102   [000]     7.206732: isolate_free_page:    (ffffffff9b8f6860) page=0xfffb9e1f00133000 base=0xfffb9e1f00000000 order=6",
    "              sh-102   [000]     7.206959: isolate_free_page_ret: (ffffffff9b8f6860 <- ffffffff9b8bbc41) ret=0x0",
  ]);
  assert.deepEqual(report, [
    "0,A,7106,1,0,400dc0,0",
    "6422,S,,,,s0",
    "283,M,,,,begin x",
    "495,K,,,,4,0",
    "40996,i,19648,6,,,0",
  ]);
  const script = rowsOf([
    "# ========",
    "# os release : 6.12.117+deb12-amd64",
    "#",
    "            perf   125 [001]    18.291831:             kmem:mm_page_alloc: page=0x235fb pfn=0x235fb order=0 migratetype=0 gfp_flags=GFP_NOWAIT",
    "      Web Content 9/12 [000]    18.310957:      hint:alloc_pages_bulk_ret: (ffffffff9b8f9560 <- ffffffff9b8f0994) ret=4",
    "",
    "\tffffffff9b8f9560 __alloc_pages_bulk+0x0 ([kernel.kallsyms])",
    "              sh   128 [000]    18.340917:        probe:free_one_page: (ffffffff9b8f35f0) pfn=512 order=0 mt=1 fpi=0x0",
  ]);
  assert.deepEqual(script, ["0,A,144891,0,0,2800,1", "19126,K,,,,4,0", "29960,O,512,0,1,0,0"]);
});

Deno.test("CPUs are merged by time; the rows of one CPU stay in order even where its clock went back", () => {
  const drain = (pfn: number) => `mm_page_pcpu_drain: page=1 pfn=${pfn} order=0 migratetype=1`;
  const rows = rowsOf([
    line("1.000030", drain(3), 1),
    line("1.000020", drain(4), 1),
    line("1.000060", drain(6), 1),
    line("1.000010", drain(1)),
    line("1.000030", drain(5)),
  ]);
  assert.deepEqual(rows, ["0,D,1,0,1,,0", "20,D,3,0,1,,1", "0,D,4,0,1,,1", "0,D,5,0,1,,0", "30,D,6,0,1,,1"]);
});

Deno.test("a claim of 6.12: the row of the block before its fallback becomes z; on 6.1 both count", () => {
  const lines = [
    line("1.0", "mm_page_alloc_zone_locked: page=1 pfn=0x400 order=0 migratetype=1 percpu_refill=1"),
    line(
      "1.1",
      "mm_page_alloc_extfrag: page=1 pfn=0x400 alloc_order=0 fallback_order=8 pageblock_order=9 alloc_migratetype=1 fallback_migratetype=0 fragmenting=1 change_ownership=1",
    ),
  ];
  assert.deepEqual(rowsOf(lines, { kernel: "6.12" }), ["0,z,1024,0,1,1", "100000,X,1024,0,1,8/0/1"]);
  assert.deepEqual(rowsOf(lines), ["0,Z,1024,0,1,1", "100000,X,1024,0,1,8/0/1"]);
});

Deno.test("probes without a page number or a migratetype take them from their neighbours", () => {
  const { rows, notices } = read([
    line("1.000001", "mm_page_pcpu_drain: page=1 pfn=0x400 order=0 migratetype=2"),
    line("1.000002", "free_pages_ok: (__free_pages_ok+0x0/0x3f0) page=0xffffea0000010000 order=4 fpi=0x0"),
    line("1.000003", "mm_page_free: page=1 pfn=0x410 order=4"),
    line("1.000004", "p_free_one_page_0: (free_one_page.constprop.0+0x0/0x1) pfn=9000 order=0"),
    line("1.000005", "isolate_free_page: (__isolate_free_page+0x0/0x2b0) page=0xffffea0000010000 order=4"),
    line("1.000006", "decay_pcp_high: (decay_pcp_high+0x0/0x1) zone=0xffff88807ffd9600"),
    line("1.000007", "decay_pcp_high: (decay_pcp_high+0x0/0x1) zone=0xffff88807ffd9000"),
    line("1.000008", "sched_switch: prev_comm=a"),
    line("1.000009", "mm_page_alloc: page=(null) pfn=0x0 order=9 migratetype=1 gfp_flags=GFP_TRANSHUGE"),
  ]);
  assert.deepEqual(joined(writeTraceRows(rows)).trimEnd().split("\n").slice(1), [
    "0,D,1024,0,2,",
    "1,P,1040,4,2,0",
    "1,F,1040,4,,",
    "1,O,9000,0,1,",
    "2,Y,,,1,",
    "1,Y,,,0,",
  ]);
  assert.deepEqual(notices, [
    "passed over, as they are not events of the page allocator: 1 sched_switch",
    "left out: 1 allocations that failed",
    "left out: 1 rows of probes whose page is not known",
    "2 rows of probes have no migratetype: that of their pageblock's last row is taken",
  ]);
});

Deno.test("addresses that are not hashed tell the pages of probes", () => {
  const alloc = (pfn: number, page: string) =>
    `mm_page_alloc: page=${page} pfn=0x${pfn.toString(16)} order=0 migratetype=1 gfp_flags=`;
  const rows = rowsOf([
    line("1.0", alloc(0x100, "ffffea0000004000")),
    line("1.0", alloc(0x101, "ffffea0000004040")),
    line("1.0", "__putback_isolated_page: (__putback_isolated_page+0x0/0x1) page=0xffffea0000008000 order=9 mt=1"),
  ]);
  assert.deepEqual(rows.slice(1), ["0,A,257,0,1,", "0,U,512,9,1,"]);
});

Deno.test("marks: any text comes through, also one that looks quoted or like a row of its own", () => {
  for (const text of ["", " a", '"', '"a"', "a,5", "hintsim: x", "b\tc", "tracing_mark_write: z", "ä€"]) {
    const [row] = rowsOf([line("1.0", `tracing_mark_write: ${text}`)]);
    const csv = `${HEADER}\n${row}\n`;
    for (const format of TEXT_FORMATS) {
      const written = joined(writeKernelText(readTraceRows(bytes(csv)), { format, kernel: "6.1" }));
      assert.equal(joined(writeTraceRows(readKernelText(bytes(written), {}).rows)), csv, written);
    }
  }
});

Deno.test("what cannot be read is refused with the number of its line", () => {
  const cases: [lines: string[], message: string][] = [
    [
      [line("1.0", FREE), "CPU:0 [LOST 12 EVENTS]"],
      "row 2: 12 events were lost; record with a larger buffer, or keep what there is with --lost-ok",
    ],
    [["CPU:7 [204600 EVENTS DROPPED]"], "row 1: 204600 events were lost; "],
    [["# entries-in-buffer/entries-written: 3/5   #P:1"], "row 1: 2 events were lost; "],
    [["# hintsim: kernel=6.1.0 lost=7"], "row 1: 7 events were lost; "],
    [[line("123456", FREE)], "row 1: the times are counts of a clock such as x86-tsc; give its rate with --tsc-mhz"],
    [[line("1.0", FREE), line("2", FREE)], "row 2: the time is of another clock than that of the lines before"],
    [[line("1.0", "mm_page_free: page=1 order=1")], "row 1: mm_page_free has no pfn"],
    [[line("1.0", "mm_page_free: page=1 pfn=0x1 order=11")], "row 1: mm_page_free has order=11"],
    [[line("1.0", DRAIN.replace("type=0", "type=5"))], "row 1: mm_page_pcpu_drain has migratetype=5"],
    [[line("1.0", "mm_page_free: page=1 pfn=0x1z order=1")], "row 1: mm_page_free has pfn=0x1z"],
    [
      [line("1.0", "mm_page_alloc: page=1 pfn=0x1 order=1 migratetype=1 gfp_flags=GFP_SURPRISE")],
      "row 1: mm_page_alloc has gfp_flags=GFP_SURPRISE",
    ],
    [[line("1.0", "tracing_mark_write: hintsim:row Q,1,2,3,")], "row 1: tracing_mark_write has row=Q,1,2,3,"],
    [
      ["bash-1977 d..1. 1.0: mm_page_free: pfn=1 order=0"],
      'row 1: "bash-1977 d..1. 1.0: mm_page_free: pfn=1 order=0" is not a line of a kernel trace',
    ],
    [["# only a header"], ": holds no event of the page allocator and no mark"],
    [[line("1.0", FREE).replace("[000]", "[4096]")], "row 1: CPU 4096 is beyond the 4096 that a recording may have"],
    [["# hintsim: zero=never"], 'row 1: "never" is not a time'],
    [
      ["# hintsim: zero=1.0", line("9999999999.0", FREE)],
      "row 2: the time lies more than 35 years from that of the first line",
    ],
  ];
  for (const [lines, message] of cases) {
    const found = refusal(() => read(lines));
    assert.ok(found.startsWith(message), `${found}\nwanted ${message}`);
  }
  const { notices } = read([line("1.0", FREE), "CPU:0 [LOST 12 EVENTS]"], { lostOk: true });
  assert.deepEqual(notices, ["12 events are missing: a replay is not exact from there on"]);
});

Deno.test("a text with mistakes is read or refused, and never anything else", () => {
  const sample = [
    "# entries-in-buffer/entries-written: 3/3   #P:2",
    "# hintsim: kernel=6.1 zero=0.000000 cpus=2",
    line("1.000001", FREE),
    line("1.000002", "mm_page_alloc: page=1 pfn=0x1 order=1 migratetype=1 gfp_flags=GFP_KERNEL|0x2000", 1),
    line("1.000003", "isolate_free_page: (__isolate_free_page+0x0/0x2b0) pfn=12 order=4"),
    line("1.000004", "isolate_free_page_ret: (x <- __isolate_free_page) ret=0x10"),
    line("1.000005", "tracing_mark_write: hintsim:row T,1,2,1,head"),
    line("1.000006", "decay_pcp_high: (decay_pcp_high+0x0/0x0) zone=0x1"),
  ].join("\n");
  const original = bytes(sample);
  const edit = fc.tuple(fc.nat(original.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), fc.nat(original.length), (edits, end) => {
      const text = original.slice(0, Math.max(end, 40));
      for (const [at, byte] of edits) if (at < text.length) text[at] = byte;
      refusal(() => {
        // What was accepted is a recording.
        readTraceRows(bytes(joined(writeTraceRows(readKernelText(text, {}).rows))));
      });
    }),
    { numRuns: 2000 },
  );
});

/** Rows of any kind, as the format allows them. */
const anyRow = fc.oneof(
  fc.tuple(
    fc.constantFrom(..."ZDOPXUTHCz"),
    fc.nat(2 ** 36),
    fc.nat(10),
    fc.nat(4),
    fc.constantFrom("", "0", "1", "captured", "9/2/1", "1f"),
  )
    .map(([event, pfn, order, type, x]) => [event, pfn, order, type, x].join(",")),
  fc.tuple(
    fc.constantFrom(..."AFBiKYGVWwRcp"),
    fc.option(fc.nat(5000)),
    fc.option(fc.nat(10)),
    fc.option(fc.nat(4)),
    fc.constantFrom("", "4", "dc0", "2800", "0x1", "text/1"),
  )
    .map(([event, pfn, order, type, x]) => [event, pfn ?? "", order ?? "", type ?? "", x].join(",")),
  fc.tuple(fc.nat(5000), fc.nat(10), fc.constantFrom("", "0x1")).map(([pfn, order, x]) => `I,${pfn},${order},,${x}`),
  fc.tuple(fc.constantFrom("S", "M"), fc.constantFrom("", "s0", "a b", '"q"', "x,7", "hintsim:S t")).map(([event, x]) =>
    `${event},,,,${x}`
  ),
);

Deno.test("recording, text, recording: the same bytes for rows of every kind, in every format, on both kernels", () => {
  const rows = fc.array(fc.tuple(fc.nat(3e9), anyRow, fc.nat(3)), { minLength: 1, maxLength: 12 });
  const kernel = fc.constantFrom("6.1" as const, "6.12" as const);
  const clock = fc.constantFrom(undefined, 2596.14, 1);
  fc.assert(
    fc.property(
      rows,
      fc.boolean(),
      fc.constantFrom(...TEXT_FORMATS),
      kernel,
      clock,
      (list, hasCpu, format, of, tscMhz) => {
        // Texts stand without a cpu, unless one must be told from the end of the text.
        const cell = (row: string, cpu: number) =>
          !hasCpu || /^[SM]/.test(row) && !/,\d+$/.test(row) ? "" : `,${/^[SM]/.test(row) ? 0 : cpu}`;
        const csv = `${HEADER}${hasCpu ? ",cpu" : ""}\n${
          list.map(([us, row, cpu]) => `${us},${row}${cell(row, cpu)}\n`).join("")
        }`;
        const parsed = readTraceRows(bytes(csv));
        assert.equal(joined(writeTraceRows(parsed)), csv);
        const text = joined(writeKernelText(parsed, { format, kernel: of, tscMhz }));
        assert.equal(joined(writeTraceRows(readKernelText(bytes(text), {}).rows)), csv, text);
      },
    ),
    { numRuns: 500 },
  );
});

for (const name of ["b2-mixed", "b3-fallback"]) {
  Deno.test(`${name}: through the text of tracefs, trace-cmd and perf to the same bytes`, async () => {
    const file = new URL(`../../workloads/recordings/${name}.buddy.csv.gz`, import.meta.url);
    const csv = await unpack(name, Deno.readFileSync(file));
    const rows = readTraceRows(csv);
    for (const format of TEXT_FORMATS) {
      const text = bytes(joined(writeKernelText(rows, { format, kernel: kernelOf(rows) })));
      const { rows: back, notices } = readKernelText(text, {});
      assert.deepEqual(notices, []);
      assert.equal(joined(writeTraceRows(back)), new TextDecoder().decode(csv), format);
    }
  });
}
