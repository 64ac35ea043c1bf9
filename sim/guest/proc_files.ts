/**
 * Texts of /proc that say how a kernel's memory is laid out: zoneinfo, buddyinfo and pagetypeinfo. They are read as Linux 6.1
 * and 6.12 print them; the first line that does not fit is refused by its number.
 */
import { InputError, show } from "../core/options.ts";
import { MIGRATETYPES, ORDERS } from "./allocator.ts";
import type { RecordedZone } from "./operations.ts";

/** A zone of /proc/zoneinfo. */
export interface ProcZone extends RecordedZone {
  /** NUMA node. */
  readonly node: number;
  /** Pages on the free lists. */
  readonly freePages: number;
  /** Pages on the per-CPU lists, by CPU. */
  readonly pcpPages: readonly number[];
}

/** Free blocks and pageblocks by migratetype of one zone of /proc/pagetypeinfo. */
export interface ProcPageTypes {
  /** NUMA node. */
  readonly node: number;
  /** Name of the zone. */
  readonly name: string;
  /** Free blocks: `free[migratetype][order]`; from 100,000 on the kernel stops counting. */
  readonly free: number[][];
  /** Pageblocks by migratetype. */
  readonly blocks: number[];
}

/** The most that a number of these files may be. */
const NUMBER_MAX = 2 ** 52;

class Lines {
  #lines: string[];
  at = 0;

  constructor(text: string) {
    this.#lines = text.split("\n");
  }

  /** Visits every line that is not empty. */
  *[Symbol.iterator](): Generator<string> {
    for (; this.at < this.#lines.length; this.at++) {
      if (this.#lines[this.at].trim() !== "") yield this.#lines[this.at];
    }
  }

  problem(message: string): InputError {
    return new InputError(["row", this.at + 1], message);
  }

  number(text: string): number {
    const value = Number(text);
    if (/^\d+$/.test(text) && value <= NUMBER_MAX) return value;
    throw this.problem(`${show(text)} is not a number of pages or blocks`);
  }
}

const ZONE = /^Node\s+(\d+), zone\s+(\S+)/;

/** The zones of /proc/zoneinfo that have pages. Throws {@link InputError}. */
export function parseZoneinfo(text: string): ProcZone[] {
  const lines = new Lines(text);
  const zones: { node: number; name: string; fields: Map<string, number>; pcpPages: number[] }[] = [];
  for (const line of lines) {
    const start = ZONE.exec(line);
    if (start !== null) {
      zones.push({ node: lines.number(start[1]), name: start[2], fields: new Map(), pcpPages: [] });
      continue;
    }
    if (zones.length === 0) throw lines.problem("is not /proc/zoneinfo: it begins with Node 0, zone");
    const { fields, pcpPages } = zones[zones.length - 1];
    const named = /^\s+(?:pages )?(\w+):?\s+(\S+)$/.exec(line);
    if (named === null) continue;
    if (named[1] === "count") pcpPages.push(lines.number(named[2]));
    else if (WANTED.has(named[1]) && !fields.has(named[1])) fields.set(named[1], lines.number(named[2]));
  }
  const present = zones.filter(({ fields }) => (fields.get("present") ?? 0) > 0);
  if (present.length === 0) throw new InputError([], "has no zone with pages");
  return present.map(({ node, name, fields, pcpPages }) => {
    const value = (field: string) => {
      const found = fields.get(field);
      if (found === undefined) throw new InputError([], `zone ${name} has no line ${field}`);
      return found;
    };
    return {
      node,
      name,
      startPfn: value("start_pfn"),
      spannedPages: value("spanned"),
      presentPages: value("present"),
      managedPages: value("managed"),
      watermarks: [value("min"), value("low"), value("high")],
      freePages: value("free"),
      pcpPages,
    };
  });
}

const WANTED = new Set(["free", "min", "low", "high", "spanned", "present", "managed", "start_pfn"]);

/** Free blocks by order of every zone of /proc/buddyinfo, by `node/zone`. Throws {@link InputError}. */
export function parseBuddyinfo(text: string): Map<string, number[]> {
  const lines = new Lines(text);
  const zones = new Map<string, number[]>();
  for (const line of lines) {
    const start = ZONE.exec(line);
    if (start === null) throw lines.problem("is not a line of /proc/buddyinfo: Node 0, zone DMA and counts by order");
    zones.set(`${start[1]}/${start[2]}`, countsByOrder(lines, line.slice(start[0].length)));
  }
  return zones;
}

/** The zones of /proc/pagetypeinfo. Throws {@link InputError}. */
export function parsePagetypeinfo(text: string): ProcPageTypes[] {
  const lines = new Lines(text);
  const zones = new Map<string, ProcPageTypes>();
  let columns: number[] | undefined;
  const zoneOf = (node: string, name: string) => {
    const key = `${node}/${name}`;
    const empty = () => MIGRATETYPES.map(() => new Array<number>(ORDERS).fill(0));
    const zone = zones.get(key) ?? { node: Number(node), name, free: empty(), blocks: MIGRATETYPES.map(() => 0) };
    zones.set(key, zone);
    return zone;
  };
  for (const line of lines) {
    const free = /^Node\s+(\d+), zone\s+(\S+), type\s+(\w+)\s(.*)$/.exec(line);
    const blocks = ZONE.exec(line);
    const heading = /^Number of blocks type\s+(.*)$/.exec(line);
    if (free !== null) {
      const counts = countsByOrder(lines, free[4]);
      const type = typeIndex(free[3]);
      if (type >= 0) zoneOf(free[1], free[2]).free[type] = counts;
      else if (counts.some((count) => count > 0)) throw lines.problem(`migratetype ${free[3]} is not modelled`);
    } else if (heading !== null) columns = heading[1].trim().split(/\s+/).map(typeIndex);
    else if (blocks !== null && columns !== undefined) {
      const counts = line.slice(blocks[0].length).trim().split(/\s+/).map((cell) => lines.number(cell));
      const zone = zoneOf(blocks[1], blocks[2]);
      counts.forEach((count, index) => {
        if (columns![index] >= 0) zone.blocks[columns![index]] = count;
      });
    } else if (!/^(Page block order|Pages per block|Free pages count)/.test(line)) {
      throw lines.problem(`${show(line.slice(0, 60))} is not a line of /proc/pagetypeinfo`);
    }
  }
  if (zones.size === 0) throw new InputError([], "has no zone");
  return [...zones.values()];
}

function typeIndex(name: string): number {
  return MIGRATETYPES.indexOf(name.toLowerCase());
}

function countsByOrder(lines: Lines, cells: string): number[] {
  const counts = cells.trim().split(/\s+/).map((cell) => lines.number(cell.replace(/^>/, "")));
  if (counts.length === ORDERS) return counts;
  throw lines.problem(`has ${counts.length} orders; wanted are ${ORDERS}`);
}
