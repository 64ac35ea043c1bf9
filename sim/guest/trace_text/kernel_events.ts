/**
 * The events of the kernel that a recording is made of, as texts: the tracepoints of kmem in the form of their TP_printk
 * (include/trace/events/kmem.h, Linux 5.19 to 6.12), and kprobes by the name of the function that they sit on.
 */
import { ORDER_MAX } from "../allocator.ts";

/** What a line is. */
export const Kind = {
  /** Not an event of the page allocator. */
  other: 0,
  /** mm_page_alloc. */
  alloc: 1,
  /** mm_page_alloc_zone_locked. */
  zoneLocked: 2,
  /** mm_page_free. */
  free: 3,
  /** mm_page_free_batched. */
  freeBatched: 4,
  /** mm_page_pcpu_drain. */
  drain: 5,
  /** mm_page_alloc_extfrag. */
  extfrag: 6,
  /** free_one_page. */
  freeOnePage: 7,
  /** __free_pages_ok. */
  freePagesOk: 8,
  /** __isolate_free_page, and its return. */
  isolate: 9,
  /** __putback_isolated_page. */
  putback: 10,
  /** The return of __alloc_pages_bulk. */
  bulk: 11,
  /** decay_pcp_high. */
  decay: 12,
  /** A text written to trace_marker, as tracefs prints it. */
  mark: 13,
  /** The same as trace-cmd and perf print it. */
  print: 14,
} as const;

const TRACEPOINTS: ReadonlyMap<string, number> = new Map([
  ["mm_page_alloc", Kind.alloc],
  ["mm_page_alloc_zone_locked", Kind.zoneLocked],
  ["mm_page_free", Kind.free],
  ["mm_page_free_batched", Kind.freeBatched],
  ["mm_page_pcpu_drain", Kind.drain],
  ["mm_page_alloc_extfrag", Kind.extfrag],
  ["tracing_mark_write", Kind.mark],
  ["print", Kind.print],
]);

/** Functions without leading underscores and without what compilers append. */
const FUNCTIONS: ReadonlyMap<string, number> = new Map([
  ["free_one_page", Kind.freeOnePage],
  ["free_pages_ok", Kind.freePagesOk],
  ["isolate_free_page", Kind.isolate],
  ["putback_isolated_page", Kind.putback],
  ["alloc_pages_bulk", Kind.bulk],
  ["decay_pcp_high", Kind.decay],
]);

/**
 * What an event is, by its name; a kprobe with a name of its own is known by the function in its line, such as
 * `(__free_pages_ok+0x0/0x3f0)`. A return has its caller there too: after the arrow in tracefs, before it in trace-cmd.
 */
export function kindOf(event: string, body: string): number {
  const kind = TRACEPOINTS.get(event);
  if (kind !== undefined) return kind;
  const place = /^ *\(([\w.]+)(?:\+\S+)?(?: <- ([\w.]+)(?:\+\S+)?)?\)/.exec(body);
  return functionKind(place?.[1]) ?? functionKind(place?.[2]) ??
    functionKind(event.replace(/^[pr]_/, "").replace(/_0$|__return$|_ret$/, "")) ?? Kind.other;
}

function functionKind(name: string | undefined): number | undefined {
  return name === undefined
    ? undefined
    : FUNCTIONS.get(name.replace(/^_+/, "").replace(/(\.|_noprof$|_constprop).*$/, ""));
}

/** Whether the line is that of a return. */
export function isReturn(body: string): boolean {
  return body.includes(" <- ") || /\bret=/.test(body);
}

/** A field that is not what it should be: its name. */
export class FieldError extends Error {
  /** The field `name` is missing or out of range. */
  constructor(name: string, value: string | undefined) {
    super(value === undefined ? `has no ${name}` : `has ${name}=${value}`);
    this.name = "FieldError";
  }
}

/** The text of a field, up to the next space; undefined when there is none. */
export function fieldText(body: string, name: string): string | undefined {
  const key = ` ${name}=`;
  const start = body.indexOf(key);
  if (start < 0) return undefined;
  const end = body.indexOf(" ", start + key.length);
  return body.slice(start + key.length, end < 0 ? body.length : end);
}

const ZERO = 48;
const NINE = 57;

/** A field as a number from 0 to `max`: decimal, or hexadecimal with `0x`; -1 where it is missing and need not be there. */
export function fieldNumber(body: string, name: string, max: number, isNeeded = true): number {
  const key = ` ${name}=`;
  const found = body.indexOf(key);
  if (found < 0) {
    if (isNeeded) throw new FieldError(name, undefined);
    return -1;
  }
  let at = found + key.length;
  const isHex = body.charCodeAt(at) === ZERO && body.charCodeAt(at + 1) === 120;
  if (isHex) at += 2;
  const start = at;
  let value = 0;
  for (; at < body.length; at++) {
    const code = body.charCodeAt(at);
    if (code >= ZERO && code <= NINE) value = value * (isHex ? 16 : 10) + code - ZERO;
    else if (isHex && code >= 97 && code <= 102) value = value * 16 + code - 87;
    else break;
  }
  const isWhole = at > start && (at === body.length || body.charCodeAt(at) === 32);
  if (!isWhole || value > max) throw new FieldError(name, fieldText(body, name));
  return value;
}

/** The order of a line. */
export function orderOf(body: string, name = "order"): number {
  return fieldNumber(body, name, ORDER_MAX);
}

/** A pointer as the kernel prints it, hexadecimal with or without `0x`; undefined when it is none. */
export function pointer(text: string | undefined): bigint | undefined {
  const match = /^(?:0x)?([0-9a-f]{1,16})$/.exec(text ?? "");
  return match === null ? undefined : BigInt(`0x${match[1]}`);
}
