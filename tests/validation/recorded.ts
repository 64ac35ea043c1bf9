/** Tables recorded beside guests, as rows of text. */
import { unpack } from "../../sim/unpack.ts";

/** The rows of a recorded table, cells by the name of their column. */
export async function recordedRows(name: string): Promise<Record<string, string>[]> {
  const path = `tests/recordings/${name}`;
  const bytes = await unpack(path, await Deno.readFile(new URL(`../recordings/${name}`, import.meta.url)));
  const [header, ...lines] = new TextDecoder().decode(bytes).trimEnd().split("\n");
  const names = header.split(",");
  return lines.map((line) => {
    const cells = line.split(",");
    return Object.fromEntries(names.map((column, index) => [column, cells[index]]));
  });
}

/** A table of a document between the lines `<!-- name -->` and `<!-- /name -->`; HINTSIM_UPDATE=1 writes it anew. */
export async function documentedTable(file: URL, name: string, wanted: string): Promise<string> {
  const page = await Deno.readTextFile(file);
  const [open, close] = [`<!-- ${name} -->\n`, `<!-- /${name} -->`];
  const from = page.indexOf(open) + open.length;
  const to = page.indexOf(close);
  if (from < open.length || to < from) throw new Error(`${file.pathname} has no table ${name}`);
  if (Deno.env.get("HINTSIM_UPDATE") !== "1") return page.slice(from, to);
  await Deno.writeTextFile(file, `${page.slice(0, from)}\n${wanted}\n${page.slice(to)}`);
  return `\n${wanted}\n`;
}
