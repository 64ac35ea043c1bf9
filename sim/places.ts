/** Where the parts of a scenario were written, to say where a problem is. */
import { type Document, isMap, isSeq, type LineCounter } from "yaml";
import type { InputError } from "./core/options.ts";
import type { Setting } from "./grid.ts";

/** Where the parts of a scenario were written. */
export class Places {
  #label: string;
  #document: Document | undefined;
  #lines: LineCounter;
  #settings: readonly Setting[];

  /** Places in `document`, or in no file; `label` names the scenario. */
  constructor(label: string, document: Document | undefined, lines: LineCounter, settings: readonly Setting[]) {
    this.#label = label;
    this.#document = document;
    this.#lines = lines;
    this.#settings = settings;
  }

  /** One sentence: place, path and what is wrong. */
  sentence({ path, message }: InputError): string {
    if (path[0] === "file:") {
      const [, file, ...inner] = path;
      const place = inner[0] === "row" ? `:${inner[1]}` : inner.length === 0 ? "" : `: ${inner.join(".")}`;
      return `${file}${place}: ${message}`;
    }
    const dotted = path.join(".");
    const parent = path.slice(0, -1).join(".");
    const setting = this.#settings.find(({ key }) => dotted === key || dotted.startsWith(`${key}.`)) ??
      this.#settings.find(({ key }) =>
        key.startsWith(`${dotted}.`) || (path.length > 2 && key.startsWith(`${parent}.`))
      );
    if (setting !== undefined) return `${setting.origin}${setting.key === dotted ? "" : ` (${dotted})`}: ${message}`;
    if (message.startsWith("--")) return message;
    const place = this.#document === undefined ? this.#label : `${this.#label}:${this.#position(path, message)}`;
    return `${place}: ${dotted === "" ? "" : `${dotted}: `}${message}`;
  }

  #position(path: readonly (string | number)[], message: string): string {
    const offset = offsetOf(this.#document!, path, message.startsWith("unknown key"));
    const { line, col } = this.#lines.linePos(offset);
    return `${Math.max(1, line)}:${Math.max(1, col)}`;
  }
}

/** Where a path stands in a YAML document, as an offset: its value, or its key, or the nearest outer one that exists. */
function offsetOf(document: Document, path: readonly (string | number)[], wantKey: boolean): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const [index, key] of path.entries()) {
    if (isSeq(node)) {
      const item: unknown = node.items[Number(key)];
      if (item === undefined) return offset;
      node = item;
    } else if (isMap(node)) {
      const pair = node.items.find((one) => String((one.key as { value?: unknown })?.value) === String(key));
      if (pair === undefined) return offset;
      const keyRange = (pair.key as { range?: [number, number, number] | null }).range;
      if (keyRange) offset = keyRange[0];
      if (wantKey && index === path.length - 1) return offset;
      node = pair.value;
    } else return offset;
    const range = (node as { range?: [number, number, number] | null } | null)?.range;
    if (range) offset = range[0];
  }
  return offset;
}
