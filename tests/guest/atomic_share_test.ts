import assert from "node:assert/strict";
import { parseOptions } from "../../sim/core/options.ts";
import { randomStream } from "../../sim/core/random.ts";
import { UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Op, OpColumns, OpFlag, type WorkloadContext } from "../../sim/guest/operations.ts";
import { workloads } from "../../workloads/mod.ts";

/** The first rows that a generator makes for the second of two CPUs. */
function rowsOf(kind: string, atomic: number | undefined): OpColumns {
  const plugin = workloads.find(({ name }) => name === kind)!;
  const context: WorkloadContext = {
    memoryPages: 2 ** 18,
    vcpus: 2,
    perCpu: false,
    random: (name) => randomStream(1, 0, name),
    file: () => new Uint8Array(),
    child: () => {
      throw new Error("no workload of several");
    },
  };
  const { value } = parseOptions(plugin.options, atomic === undefined ? {} : { atomic }, []);
  const columns = new OpColumns(10_000);
  assert.equal(plugin.create(context, value).streams[1].fill(columns), columns.size);
  return columns;
}

const NAMES = ["kind", "handle", "order", "zone", "timeNs", "touch", "pfn", "cpu"] as const;

for (const kind of ["churn", "storm"]) {
  Deno.test(`${kind}: whatever share cannot wait, the same blocks are asked for at the same times`, () => {
    const plain = rowsOf(kind, undefined);
    for (const atomic of [0, 0.3, 1]) {
      const columns = rowsOf(kind, atomic);
      for (const name of NAMES) assert.deepEqual(columns[name], plain[name], name);
      const allocations = Array.from(columns.kind.keys()).filter((row) => columns.kind[row] === Op.alloc);
      const urgent = allocations.filter((row) => columns.flags[row] === OpFlag.atomic);
      assert.ok(Math.abs(urgent.length / allocations.length - atomic) < 0.03);
      for (const row of columns.kind.keys()) {
        const isUrgent = columns.flags[row] !== 0;
        assert.equal(columns.migratetype[row], isUrgent ? UNMOVABLE : plain.migratetype[row]);
        if (isUrgent) assert.equal(columns.kind[row], Op.alloc);
      }
    }
  });
}

Deno.test("flags go with their rows, and a row that is written without is an ordinary one", () => {
  const from = new OpColumns(3);
  for (let row = 0; row < 3; row++) from.set(row, Op.alloc, row, 0, 1, 0, 0, 0, -1, -1, row === 1 ? OpFlag.atomic : 0);
  const to = new OpColumns(2);
  to.copy(from, 1, 2);
  assert.deepEqual([...to.flags], [OpFlag.atomic, 0]);
  to.set(0, Op.free, 1, 0, 1, 0, 0, 0);
  assert.deepEqual([...to.flags], [0, 0]);
});
