/** Cutting a list of ranges into messages of a limited size. */
import type { Range } from "../memory/range.ts";

/** What the cut needs to know of an encoding. */
export interface SizedEncoding {
  /** Payload bytes of these ranges. */
  sizeOf(ranges: readonly Range[]): number;
  /** Whether the range can be said in the encoding. */
  accepts(range: Range): boolean;
  /** Pieces of memory that a message of these ranges consists of, where there is a limit to them. */
  descriptorsOf?(ranges: readonly Range[]): number;
  /** Most pieces of memory of one message. */
  readonly descriptorsMax?: number;
}

/**
 * Cuts ranges into messages of at most `limit` bytes, in order, each as full as possible. Where every page takes room of its
 * own (a list of pages) a range may be cut in two to fill a message; elsewhere only one that does not fit alone is cut.
 * Throws RangeError when not even one page fits.
 */
export function* messagesOf(
  ranges: readonly Range[],
  limit: number,
  encoding: SizedEncoding,
  descriptorsMax = encoding.descriptorsMax ?? Infinity,
): Generator<Range[]> {
  const fits = (message: readonly Range[]) =>
    encoding.sizeOf(message) <= limit && (encoding.descriptorsOf?.(message) ?? 1) <= descriptorsMax;
  if (ranges.length > 0 && fits(ranges)) {
    yield [...ranges];
    return;
  }
  const pagesTakeRoom = encoding.sizeOf([{ pfn: 0, count: 2 }]) > encoding.sizeOf([{ pfn: 0, count: 1 }]);
  let from = 0;
  let head: Range | undefined;
  const take = (count: number): Range[] => {
    const message = ranges.slice(from, from + count);
    if (head !== undefined && count > 0) message[0] = head;
    return message;
  };
  while (from < ranges.length) {
    const whole = largest(ranges.length - from, (count) => fits(take(count)));
    const message = take(whole);
    const next = whole === 0 ? head ?? ranges[from] : ranges[from + whole];
    from += whole;
    if (whole > 0) head = undefined;
    if (next !== undefined && (whole === 0 || pagesTakeRoom)) {
      const unit = unitOf(next, encoding);
      const part = (units: number): Range => ({ pfn: next.pfn, count: units * unit });
      const last = unit * largest(Math.ceil(next.count / unit) - 1, (units) => fits([...message, part(units)]));
      if (last > 0) {
        message.push({ pfn: next.pfn, count: last });
        head = { pfn: next.pfn + last, count: next.count - last };
      }
    }
    if (message.length === 0) throw new RangeError(`A message of ${limit} bytes cannot hold a single page`);
    yield message;
  }
}

/** The smallest piece of a range that can be said in the encoding, in pages: a page, or the granule of a bitmap. */
function unitOf({ pfn, count }: Range, encoding: SizedEncoding): number {
  let unit = 1;
  while (unit < count && !encoding.accepts({ pfn, count: unit })) unit *= 2;
  return unit;
}

/** The largest count up to `max` for which a monotone test holds (it holds for 0): doubling, then halving. */
function largest(max: number, holds: (count: number) => boolean): number {
  let low = 0;
  let step = 1;
  while (low + step <= max && holds(low + step)) {
    low += step;
    step *= 2;
  }
  for (; step >= 1; step = Math.floor(step / 2)) {
    while (low + step <= max && holds(low + step)) low += step;
  }
  return low;
}
