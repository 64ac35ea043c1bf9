/**
 * Page faults in a loop: map a region, write each page, unmap, again. will-it-scale's page_fault1 (anonymous memory) and
 * page_fault2 (a private mapping of a file, whose pages are read and then copied), one task per CPU.
 */
import { choice, duration, flag, type Options, size } from "../../sim/core/options.ts";
import { MOVABLE, PAGEBLOCK_ORDER, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { HUGE_PAGES, PAGE_SIZE } from "../../sim/memory/range.ts";
import { TABLE_PAGES } from "./region.ts";
import { type MemoryUser, type OpSink, type UserContext, type UserKind, userKind } from "./user.ts";

/** Faults of one turn; between two of them other users of the CPU may act. */
const TURN_FAULTS = 64;

/** Options of a task. */
export interface PageFaultOptions {
  /** Memory that is mapped, written and unmapped, bytes. */
  readonly memory: number;
  /** What is mapped. */
  readonly mapping: "anonymous" | "file";
  /** Whether anonymous memory is faulted 2 MiB at a time. */
  readonly huge: boolean;
  /** Time of a fault beside what the guest and the host take for it, ns. */
  readonly fault: number;
}

const options: Options<PageFaultOptions> = {
  fields: {
    memory: size("128MiB", PAGE_SIZE, 2 ** 40, {
      summary: "memory of a task that is mapped, written and unmapped",
      source: "will-it-scale tests/page_fault1.c MEMSIZE",
    }),
    mapping: choice<"anonymous" | "file">("anonymous", ["anonymous", "file"], {
      summary: "what is mapped: anonymous memory (page_fault1), or a file, privately (page_fault2)",
      source: "will-it-scale tests/page_fault2.c",
    }),
    huge: flag(false, { summary: "anonymous memory is faulted 2 MiB at a time", source: "mm/huge_memory.c" }),
    fault: duration("2us", {
      summary: "time of a fault of 4 KiB beside what guest and host take for the page",
      source: "assumed: some 500,000 faults a second and core",
    }),
  },
};

/** One task on one CPU. */
class PageFaultTask implements MemoryUser {
  dueNs = 0;
  readonly #options: PageFaultOptions;
  readonly #pages: number;
  readonly #handles: Int32Array;
  /** Handles of what is mapped now. */
  #mapped = 0;
  /** Pages of the region that were written. */
  #written = 0;
  #owner = 0;
  /** First handle of the file's pages, which stay in the page cache; -1 without a file. */
  #file: number;

  constructor(context: UserContext, settings: PageFaultOptions) {
    this.#options = settings;
    this.#pages = Math.ceil(settings.memory / PAGE_SIZE);
    this.#file = settings.mapping === "file" ? context.range(this.#pages) : -1;
    this.#handles = new Int32Array(this.#pages + Math.ceil(this.#pages / TABLE_PAGES));
  }

  act(sink: OpSink): void {
    if (this.#owner === 0) this.#owner = sink.newOwner();
    sink.owner = this.#owner;
    if (this.#written >= this.#pages) this.#unmap(sink);
    else if (this.#options.huge && this.#file < 0) this.#faultHuge(sink);
    else this.#faultPages(sink);
  }

  end(sink: OpSink): void {
    sink.owner = this.#owner;
    this.#unmap(sink);
    if (this.#file < 0) return;
    // The file was unlinked when it was made: its pages, which are the page cache's, go with the task.
    sink.owner = 0;
    for (let page = 0; page < this.#pages; page++) sink.free(this.#file + page);
  }

  #faultHuge(sink: OpSink): void {
    const pages = Math.min(HUGE_PAGES, this.#pages - this.#written);
    this.#keep(sink.fault(PAGEBLOCK_ORDER, pages));
    this.#written += pages;
    this.dueNs += this.#options.fault;
  }

  #faultPages(sink: OpSink): void {
    const end = Math.min(this.#pages, this.#written + TURN_FAULTS);
    for (let page = this.#written; page < end; page++) {
      if (page % TABLE_PAGES === 0) this.#keep(sink.alloc(0, UNMOVABLE, 1));
      if (this.#file >= 0) sink.read(this.#file + page, 0);
      this.#keep(sink.alloc(0, MOVABLE, 1));
    }
    this.dueNs += (end - this.#written) * this.#options.fault;
    this.#written = end;
  }

  #unmap(sink: OpSink): void {
    for (let n = 0; n < this.#mapped; n++) sink.free(this.#handles[n]);
    this.#mapped = 0;
    this.#written = 0;
    this.dueNs += this.#options.fault;
  }

  #keep(handle: number): void {
    this.#handles[this.#mapped++] = handle;
  }
}

/** The kind. */
export const pageFault: UserKind = userKind<PageFaultOptions>({
  kind: "page-fault",
  summary: "map, write each page, unmap, again: one task per CPU",
  source: "will-it-scale page_fault1, page_fault2",
  options,
  create: (context, settings) => new PageFaultTask(context, settings),
});
