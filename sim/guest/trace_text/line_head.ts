/**
 * The part of a line of a kernel trace before the event: task, CPU, flags and time.
 *
 * The files `trace` and `trace_pipe` of tracefs, `trace-cmd report` and `perf script` agree in what is read here:
 *
 * ```text
 *  bash-1977  [000] d..1.  17.184560: mm_page_alloc: page=…      tracefs, trace-cmd
 *  bash  1977 [000]        17.184560:  kmem:mm_page_alloc: page=… perf script
 * ```
 *
 * A clock that does not count ns (x86-tsc) is printed as a plain number instead of seconds.
 */

/** A line up to its event. The time is in two parts, so that no digit is lost. */
export interface LineHead {
  /** CPU. */
  cpu: number;
  /** Whether the time is in seconds, not a plain count. */
  isSeconds: boolean;
  /** Seconds, or the digits of a count before its last nine. */
  high: number;
  /** Nanoseconds, or the last nine digits of a count. */
  low: number;
  /** Name of the event, without the system that perf puts before it. */
  event: string;
  /** The rest of the line, beginning with the space behind the colon. */
  body: string;
}

/** A head to be filled. */
export function emptyHead(): LineHead {
  return { cpu: 0, isSeconds: true, high: 0, low: 0, event: "", body: "" };
}

const SPACE = 32;
const COLON = 58;
const DIGIT_0 = 48;
const DIGIT_9 = 57;

/** Nanoseconds of the last digit of a fraction, by its number of digits. */
const SCALE: readonly number[] = [1e9, 1e8, 1e7, 1e6, 1e5, 1e4, 1e3, 100, 10, 1];

/** Reads the head of a line; false when it is not a line of a trace. */
export function readHead(line: string, head: LineHead): boolean {
  const cpuEnd = findCpu(line, head);
  if (cpuEnd < 0) return false;
  let start = skipSpaces(line, cpuEnd);
  let end = line.indexOf(" ", start);
  if (end < 0) return false;
  if (line.charCodeAt(end - 1) !== COLON || !isDigit(line.charCodeAt(start))) {
    // The column of flags.
    start = skipSpaces(line, end);
    end = line.indexOf(" ", start);
    if (end < 0 || line.charCodeAt(end - 1) !== COLON) return false;
  }
  if (!readTime(line, start, end - 1, head)) return false;
  start = skipSpaces(line, end);
  end = line.indexOf(" ", start);
  if (end < 0) end = line.length;
  if (line.charCodeAt(end - 1) !== COLON) return false;
  const name = line.slice(start, end - 1);
  head.event = name.slice(name.indexOf(":") + 1);
  head.body = line.slice(end);
  return head.event !== "";
}

/** Finds ` [000] `, which no name of a task holds; returns where it ends, or -1. */
function findCpu(line: string, head: LineHead): number {
  for (let open = line.indexOf("["); open > 0; open = line.indexOf("[", open + 1)) {
    let at = open + 1;
    let cpu = 0;
    for (; isDigit(line.charCodeAt(at)); at++) cpu = cpu * 10 + line.charCodeAt(at) - DIGIT_0;
    const isCpu = at > open + 1 && at < open + 6 && line[at] === "]" && line.charCodeAt(at + 1) === SPACE;
    if (!isCpu || line.charCodeAt(open - 1) !== SPACE) continue;
    head.cpu = cpu;
    return at + 1;
  }
  return -1;
}

/** Reads `17.184560` or a plain count of at most 20 digits. */
function readTime(line: string, start: number, end: number, head: LineHead): boolean {
  const dot = line.indexOf(".", start);
  head.isSeconds = dot > start && dot < end;
  if (head.isSeconds) {
    if (end - dot > 10 || end - dot < 2 || dot - start > 12) return false;
    head.high = digits(line, start, dot);
    head.low = digits(line, dot + 1, end) * SCALE[end - dot - 1];
  } else {
    if (end - start > 20 || end <= start) return false;
    const cut = Math.max(start, end - 9);
    head.high = cut === start ? 0 : digits(line, start, cut);
    head.low = digits(line, cut, end);
  }
  return head.high >= 0 && head.low >= 0;
}

/** A number of digits only, or NaN. */
function digits(line: string, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at++) {
    const code = line.charCodeAt(at);
    if (!isDigit(code)) return NaN;
    value = value * 10 + code - DIGIT_0;
  }
  return value;
}

function isDigit(code: number): boolean {
  return code >= DIGIT_0 && code <= DIGIT_9;
}

function skipSpaces(line: string, at: number): number {
  while (line.charCodeAt(at) === SPACE) at++;
  return at;
}
