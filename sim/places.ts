/** Where the parts of a scenario were written, to say where a problem is. */
import type { Document, LineCounter } from "yaml";
import type { InputError } from "./core/options.ts";
import { offsetOf, type Setting } from "./grid.ts";

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
    const setting = this.#settings.find(({ key }) => dotted === key || dotted.startsWith(`${key}.`));
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
