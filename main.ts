/** The command line of hintsim: hands the registries down. */
import { policies } from "./policies/mod.ts";
import { processIo } from "./sim/cli/io.ts";
import { runProgram } from "./sim/cli/program.ts";
import { workloads } from "./workloads/mod.ts";

if (import.meta.main) {
  const projectFolder = new URL(".", import.meta.url).pathname.replace(/\/$/, "");
  Deno.exit(await runProgram(Deno.args, processIo(decodeURIComponent(projectFolder)), { policies, workloads }));
}
