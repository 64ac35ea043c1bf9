/** Compiles the baselines in C and C++ and finds Python, or says in one line which Debian package is missing. */

/** How a source is compiled: like the best a user of the machine could do, but without fused operations, which round differently. */
const FLAGS = ["-O3", "-march=native", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"];

/** Debian's Python: the one for which python3-simpy3 installs. */
const PYTHON = "/usr/bin/python3";

const NATIVE = new URL("native/", import.meta.url);

/** What was compiled and what was found, once a command. */
export class Baselines {
  /** One line for each baseline that is left out. */
  readonly skipped = new Set<string>();
  #folder: string;
  #compiled = new Map<string, string | undefined>();
  #modules = new Map<string, boolean>();

  /** Compiles into `folder`. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The path of a compiled source, or undefined when its compiler or library is missing. Throws Error when it does not compile. */
  native(source: string): string | undefined {
    if (!this.#compiled.has(source)) this.#compiled.set(source, this.#compile(source));
    return this.#compiled.get(source);
  }

  /** The path of Python when it has the module. */
  python(source: string, module: string): string | undefined {
    if (!this.#modules.has(module)) this.#modules.set(module, succeeds(PYTHON, ["-c", `import ${module}`]));
    if (this.#modules.get(module)) return PYTHON;
    this.skipped.add(`${source} is skipped: install ${module === "simpy" ? "python3-simpy3" : "python3"}`);
    return undefined;
  }

  /** The path of a source in Python. */
  sourcePath(source: string): string {
    return new URL(source, NATIVE).pathname;
  }

  #compile(source: string): string | undefined {
    const isC = source.endsWith(".c");
    const compiler = isC ? "gcc" : "g++";
    const ns3 = source.includes("ns3");
    if (!succeeds(compiler, ["--version"])) return this.#skip(source, compiler);
    if (ns3 && !exists("/usr/include/ns3/simulator.h")) return this.#skip(source, "libns3-dev");
    Deno.mkdirSync(this.#folder, { recursive: true });
    const path = `${this.#folder}/${source.replace(/\.\w+$/, "")}`;
    const args = [...FLAGS, this.sourcePath(source), "-o", path, ...(ns3 ? ["-lns3-core"] : [])];
    const { success, stderr } = new Deno.Command(compiler, { args }).outputSync();
    if (!success) throw new Error(`${source} does not compile:\n${new TextDecoder().decode(stderr)}`);
    return path;
  }

  #skip(source: string, debianPackage: string): undefined {
    this.skipped.add(`${source} is skipped: install ${debianPackage}`);
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function succeeds(command: string, args: readonly string[]): boolean {
  try {
    return new Deno.Command(command, { args: [...args], stdout: "null", stderr: "null" }).outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The first line that a command prints, or undefined when there is no such command. */
export function firstLine(command: string, ...args: string[]): string | undefined {
  try {
    const { stdout } = new Deno.Command(command, { args, stderr: "null" }).outputSync();
    return new TextDecoder().decode(stdout).split("\n")[0];
  } catch {
    return undefined;
  }
}
