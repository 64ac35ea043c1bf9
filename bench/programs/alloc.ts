/** The page allocator under the run of bench/native/buddy.h: `alloc.ts PAGES_LOG2 OPERATIONS`. */
import { Random } from "../../sim/core/random.ts";
import { argument, mix, report, timeNs } from "./measure.ts";
import { Buddy } from "./subjects.ts";

const ORDERS = 11;
const TYPES = 5;
const MOVABLE = 1;
/** Operations between two looks at the occupancy, of which frees and allocations in turn. */
const BATCH = 64;
const PAIRS = 24;

/** One run on one zone. */
class Run {
  blocks = 0;
  #buddy: Buddy;
  #pages: number;
  #shift: number;
  #usedBits: Int32Array;
  #usedCount = 0;
  #rising = false;
  #read = new Float64Array(1024);
  #random = Random.fromState([1, 2, 3, 4]);

  constructor(pagesLog2: number) {
    const pages = 2 ** pagesLog2;
    this.#pages = pages;
    this.#shift = 32 - pagesLog2;
    this.#buddy = new Buddy(0, pages, MOVABLE);
    this.#buddy.insertRange(0, pages, MOVABLE);
    this.#usedBits = new Int32Array(pages / 32);
    while (this.#usedCount < Math.floor(pages * 95 / 100)) this.#allocOne();
  }

  get usedCount(): number {
    return this.#usedCount;
  }

  get freePages(): number {
    return this.#buddy.freePages;
  }

  /** Frees and allocates in turn, more of the one or of the other, between 70 and 95 % of occupancy. */
  churn(operations: number): void {
    const low = Math.floor(this.#pages * 70 / 100);
    const high = Math.floor(this.#pages * 95 / 100);
    for (let done = 0; done < operations; done += BATCH) {
      if (this.#usedCount >= high) this.#rising = false;
      else if (this.#usedCount <= low) this.#rising = true;
      for (let i = 0; i < PAIRS; i++) {
        this.#freeOne();
        this.#allocOne();
      }
      for (let i = 2 * PAIRS; i < BATCH; i++) {
        if (this.#rising) this.#allocOne();
        else this.#freeOne();
      }
    }
  }

  /** Frees all pages in an irregular order. */
  drain(): void {
    const mask = this.#pages - 1;
    const half = (32 - this.#shift) >> 1;
    for (let i = 0; i < this.#pages; i++) {
      const pfn = Math.imul(i, 0x9e3779b1) & mask;
      this.#freeIfUsed(Math.imul(pfn ^ (pfn >>> half), 0x85ebca6b) & mask);
    }
  }

  /** Visits all free blocks in order; returns their checksum and counts them. */
  walk(): number {
    const buddy = this.#buddy;
    const read = this.#read;
    let checksum = 0;
    for (let order = 0; order < ORDERS; order++) {
      for (let type = 0; type < TYPES; type++) {
        for (let pfn = -1, count = read.length; count === read.length; pfn = read[count - 1]) {
          count = buddy.read(order, type, pfn, read);
          for (let i = 0; i < count; i++) checksum = mix(checksum, read[i]);
          this.blocks += count;
        }
        checksum = mix(checksum, order * TYPES + type);
      }
    }
    return checksum;
  }

  #allocOne(): void {
    const pfn = this.#buddy.alloc(0, MOVABLE);
    this.#usedBits[pfn >> 5] |= 1 << (pfn & 31);
    this.#usedCount++;
  }

  #freeIfUsed(pfn: number): boolean {
    if ((this.#usedBits[pfn >> 5] >>> (pfn & 31) & 1) === 0) return false;
    this.#usedBits[pfn >> 5] &= ~(1 << (pfn & 31));
    this.#usedCount--;
    this.#buddy.free(pfn, 0, MOVABLE);
    return true;
  }

  #freeOne(): void {
    while (!this.#freeIfUsed(this.#random.nextUint32() >>> this.#shift));
  }
}

const pagesLog2 = argument(0);
const operations = argument(1);

const warm = new Run(14);
warm.churn(1_000_000);
for (let i = 0; i < 50; i++) warm.walk();
warm.drain();

const run = new Run(pagesLog2);
run.churn(Math.floor(operations / 2));
const churnNs = timeNs(() => run.churn(operations)) / operations;
let checksum = run.walk();
run.blocks = 0;
const walkNs = timeNs(() => {
  for (let i = 0; i < 4; i++) checksum = mix(checksum, run.walk());
}) / run.blocks;
const drained = run.usedCount;
const drainNs = timeNs(() => run.drain()) / drained;
checksum = mix(mix(checksum, run.walk()), run.freePages);
report(checksum, { churnNs, drainNs, walkNs });
