import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { zstdDecompressSync } from "node:zlib";
import { UsageError } from "../../sim/cli/io.ts";
import { ZstdWriter } from "../../sim/cli/zstd_writer.ts";
import { CliFolder, REPOSITORY, SMALL } from "./run_cli.ts";

const decompressed = (path: string): Uint8Array => new Uint8Array(zstdDecompressSync(Deno.readFileSync(path)));

Deno.test("csv and csv.zst together hold the same bytes, and the same command writes the same again", async () => {
  using folder = new CliFolder();
  const file = folder.write("small.yaml", SMALL);
  const packed: Uint8Array[] = [];
  for (const formats of ["csv,csv.zst", "csv.zst,csv"]) {
    const { status, err } = await folder.run([file, "--events", formats]);
    assert.equal(status, 0, err);
    assert.equal(err, "");
    const bytes = Deno.readFileSync(`${folder.path}/out/small/run/events.csv`);
    assert.deepEqual(decompressed(`${folder.path}/out/small/run/events.csv.zst`), bytes);
    packed.push(Deno.readFileSync(`${folder.path}/out/small/run/events.csv.zst`));
    assert.ok(packed[0].length < bytes.length / 2);
  }
  assert.deepEqual(packed[0], packed[1]);
});

Deno.test("csv.zst alone, chosen in the scenario, in every run of a grid", async () => {
  using folder = new CliFolder();
  const file = folder.write("small.yaml", SMALL.replace("sample: 100ms", "sample: 100ms, events: csv.zst"));
  assert.equal((await folder.run([file, "--set", "machine.vcpus=1,2", "--quiet"])).status, 0);
  const files = folder.list("out/small").filter((name) => name.includes("/events"));
  assert.deepEqual(files, ["machine.vcpus=1/events.csv.zst", "machine.vcpus=2/events.csv.zst"]);
  for (const name of files) {
    const text = new TextDecoder().decode(decompressed(`${folder.path}/out/small/${name}`));
    assert.ok(text.startsWith("time_ns,actor,") && text.endsWith(",guest,end,,,,,,,0,,\n"));
  }
});

Deno.test("an interrupt leaves no compressed file of its run; --continue ends with the same bytes", async () => {
  using folder = new CliFolder();
  const args = [folder.write("small.yaml", SMALL), "--set", "machine.vcpus=1,2,3", "--events", "csv.zst", "--quiet"];
  assert.equal((await folder.run([...args, "--out", `${folder.path}/whole`])).status, 0);
  folder.interrupt = (now) => {
    const look = setInterval(() => {
      if (!folder.list("out/.partial/small").includes("machine.vcpus=1")) return;
      clearInterval(look);
      now();
    }, 0);
  };
  assert.equal((await folder.run(args)).status, 130);
  assert.ok(!folder.list("out").some((name) => name.includes(".running")));
  folder.interrupt = undefined;
  assert.equal((await folder.run([...args, "--continue"])).status, 0);
  for (const name of ["machine.vcpus=1", "machine.vcpus=2", "machine.vcpus=3"]) {
    const read = (result: string) => Deno.readFileSync(`${folder.path}/${result}/${name}/events.csv.zst`);
    assert.deepEqual(read("out/small"), read("whole"));
  }
  // And one that comes before the worker has done anything.
  folder.interrupt = (now) => now();
  const { err } = await folder.run([folder.write("one.yaml", SMALL), "--events", "csv.zst"]);
  assert.equal(err, "interrupted: nothing was kept\n");
});

Deno.test("the formats are part of what --continue compares", async () => {
  using folder = new CliFolder();
  const args = [folder.write("small.yaml", SMALL), "--set", "machine.vcpus=1,2", "--quiet"];
  folder.interrupt = (now) => {
    const look = setInterval(() => {
      if (!folder.list("out/.partial/small").includes("machine.vcpus=1")) return;
      clearInterval(look);
      now();
    }, 0);
  };
  assert.equal((await folder.run([...args, "--events", "csv"])).status, 130);
  folder.interrupt = undefined;
  assert.equal((await folder.run([...args, "--events", "csv.zst", "--continue"])).status, 0);
  const files = folder.list("out/small").filter((name) => name.includes("/events"));
  assert.deepEqual(files, ["machine.vcpus=1/events.csv.zst", "machine.vcpus=2/events.csv.zst"]);
});

Deno.test("csv.zst is written under the permissions of the task sim", async () => {
  using folder = new CliFolder();
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${REPOSITORY}/deno.json`));
  const [, , ...flags] = tasks.sim.command.split(" ");
  assert.equal(flags.pop(), "main.ts");
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", ...flags, "--config", `${REPOSITORY}/deno.json`, `${REPOSITORY}/main.ts`],
      ...[folder.write("small.yaml", SMALL), "--events", "csv.zst", "--quiet", "--out", "out/small"],
    ],
    cwd: folder.path,
    env: { INIT_CWD: folder.path, NO_COLOR: "1" },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  assert.ok(decompressed(`${folder.path}/out/small/run/events.csv.zst`).length > 100_000);
});

/** Bytes that compress a little, different in every place. */
function noise(count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  for (let i = 0, state = 1; i < count; i++) {
    state = Math.imul(state, 1664525) + 1013904223 | 0;
    bytes[i] = state >>> 28;
  }
  return bytes;
}

Deno.test("a writer keeps the order over many blocks and files, whatever the sizes of the pieces", async () => {
  using folder = new CliFolder();
  const bytes = noise(24 * 2 ** 20 + 12_345);
  const zstd = new ZstdWriter();
  try {
    for (const [index, piece] of [bytes.length, 100_003].entries()) {
      zstd.open(`${folder.path}/${index}.zst`);
      for (let at = 0; at < bytes.length; at += piece) {
        zstd.write(bytes.subarray(at, at + piece));
        await zstd.ready();
      }
      await zstd.finish();
      // Compared as one: a list of 24 million numbers would be slow to print and to compare.
      assert.ok(Buffer.from(bytes).equals(decompressed(`${folder.path}/${index}.zst`)));
    }
    zstd.open(`${folder.path}/empty.zst`);
    await zstd.finish();
    assert.equal(decompressed(`${folder.path}/empty.zst`).length, 0);
  } finally {
    zstd.stop();
  }
});

Deno.test("a file that cannot be made is one sentence, at the latest when it is finished", async () => {
  const zstd = new ZstdWriter();
  try {
    zstd.open("/nowhere/events.csv.zst");
    const write = async () => {
      for (let i = 0; i < 100; i++) {
        zstd.write(noise(2 ** 20));
        await zstd.ready();
      }
      await zstd.finish();
    };
    const sentence = /^the result cannot be written: No such file [^\n]+$/;
    await assert.rejects(write, (error) => error instanceof UsageError && sentence.test(error.message));
    await zstd.abandon();
  } finally {
    zstd.stop();
  }
});

Deno.test("a disk that is full while the worker writes is one sentence and status 2, and nothing is left", async () => {
  using folder = new CliFolder();
  const file = folder.write("long.yaml", SMALL.replace("duration: 1s", "duration: 20s"));
  // A limit on the size of files stands for the full disk.
  const limited = `trap "" XFSZ; ulimit -f 32; exec "$0" "$@"`;
  const { code, stderr } = await new Deno.Command("sh", {
    args: [
      ...["-c", limited, Deno.execPath(), "run", "-A", "--quiet", "--no-code-cache"],
      ...["--config", `${REPOSITORY}/deno.json`, `${REPOSITORY}/main.ts`],
      ...[file, "--events", "csv.zst", "--quiet", "--out", `${folder.path}/out/long`],
    ],
    env: { NO_COLOR: "1" },
  }).output();
  assert.match(new TextDecoder().decode(stderr), /^the result cannot be written: File too large [^\n]+\n$/);
  assert.equal(code, 2);
  assert.deepEqual(folder.list("out"), []);
});

Deno.test("what was not finished can be abandoned, also before the worker has begun", async () => {
  using folder = new CliFolder();
  const zstd = new ZstdWriter();
  try {
    await zstd.abandon();
    await zstd.finish();
    for (const name of ["a", "b"]) {
      zstd.open(`${folder.path}/${name}.zst`);
      zstd.write(noise(3 * 2 ** 20 + 5));
      await zstd.abandon();
    }
    zstd.open(`${folder.path}/c.zst`);
    zstd.write(new TextEncoder().encode("whole"));
    await zstd.finish();
    assert.equal(new TextDecoder().decode(decompressed(`${folder.path}/c.zst`)), "whole");
  } finally {
    zstd.stop();
  }
});
