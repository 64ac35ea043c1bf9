import assert from "node:assert/strict";

/** The floors from top to bottom: a file imports only from its own folder or from floors below. */
const FLOORS: readonly (readonly string[])[] = [
  ["main.ts", "worker.ts", "mod.ts"],
  ["policies", "workloads"],
  ["sim/cli"],
  ["sim", "sim/validation"],
  ["sim/virtio"],
  ["sim/guest", "sim/kho", "sim/kvm"],
  ["sim/abi", "sim/host"],
  ["sim/core"],
  ["sim/memory"],
];

/** Index of the floor of a file, and the folder on it. */
function floorOf(file: string): [floor: number, folder: string] {
  const folder = file.includes("/") ? file.slice(0, file.lastIndexOf("/")) : file;
  const floor = FLOORS.findIndex((folders) =>
    folders.some((one) => folder === one || folder.startsWith(`${one}/`) && one !== "sim")
  );
  assert.ok(floor >= 0, `${file} stands on no floor`);
  return [floor, folder];
}

interface Dependency {
  specifier: string;
  code?: { specifier?: string };
  type?: { specifier?: string };
}

async function imports(entry: string): Promise<Map<string, string[]>> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", entry] }).output();
  const info = JSON.parse(new TextDecoder().decode(stdout)) as {
    modules: { specifier: string; dependencies?: Dependency[] }[];
  };
  const root = new URL("..", import.meta.url).href;
  const graph = new Map<string, string[]>();
  for (const { specifier, dependencies } of info.modules) {
    if (!specifier.startsWith(root)) continue;
    const targets = (dependencies ?? []).flatMap(({ code, type }) => [code?.specifier, type?.specifier])
      .filter((target): target is string => target !== undefined && target.startsWith(root));
    graph.set(specifier.slice(root.length), targets.map((target) => target.slice(root.length)));
  }
  return graph;
}

/** What is wrong with one import, or undefined. */
export function upwardImport(file: string, target: string): string | undefined {
  const [from, fromFolder] = floorOf(file);
  const [to, toFolder] = floorOf(target);
  if (to > from || fromFolder === toFolder) return undefined;
  // On one floor a file imports from its own folder, the folder around it and the folders inside it.
  if (to === from && fromFolder.startsWith(`${toFolder}/`)) return undefined;
  if (to === from && toFolder.startsWith(`${fromFolder}/`)) return undefined;
  return `${file} imports ${target}`;
}

Deno.test("no import points upward and none runs in a circle", async () => {
  const graph = new Map([...await imports("main.ts"), ...await imports("mod.ts")]);
  assert.ok(graph.size > 40, "the graph holds the project");
  const upward = [...graph].flatMap(([file, targets]) => targets.map((target) => upwardImport(file, target)));
  assert.deepEqual(upward.filter((one) => one !== undefined), []);
  const done = new Set<string>();
  const visit = (file: string, path: string[]) => {
    assert.ok(!path.includes(file), `circle: ${[...path, file].join(" > ")}`);
    if (done.has(file)) return;
    for (const target of graph.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
});

Deno.test("the floors test sees an upward import", () => {
  assert.equal(upwardImport("sim/core/sim.ts", "sim/guest/guest.ts"), "sim/core/sim.ts imports sim/guest/guest.ts");
  assert.equal(upwardImport("sim/guest/guest.ts", "policies/none.ts"), "sim/guest/guest.ts imports policies/none.ts");
  assert.equal(upwardImport("sim/guest/guest.ts", "sim/core/sim.ts"), undefined);
});
