/** memblock.reserved by the letter: an array of regions that is really scanned, for comparison. */

/** One region. */
export interface NaiveRegion {
  pfn: number;
  count: number;
  flags: number;
}

const NOINIT = 0x10;

/** The array and what was looked at and moved. */
export class NaiveMemblock {
  regions: NaiveRegion[] = [];
  max = 128;
  visits = 0;
  movedBytes = 0;
  #array: { pfn: number; pages: number } | undefined;
  #nextArray: number;

  /** Arrays are placed from `arrays` down, one below the other, as long as nothing is given back. */
  constructor(arrays: number) {
    this.#nextArray = arrays;
  }

  reserve(pfn: number, count: number): void {
    if (this.regions.length === 0) return void this.regions.push({ pfn, count, flags: 0 });
    let insert = this.regions.length * 2 + 1 <= this.max;
    for (let round = 0; round < 2; round++) {
      let base = pfn;
      const end = pfn + count;
      let fresh = 0;
      let first = -1;
      let last = 0;
      let i = 0;
      const put = (at: number, from: number, to: number) => {
        fresh++;
        if (!insert) return 0;
        if (first < 0) first = at;
        last = at + 1;
        this.#insert(at, { pfn: from, count: to - from, flags: 0 });
        return 1;
      };
      for (; i < this.regions.length; i++) {
        this.visits++;
        const region = this.regions[i];
        const regionEnd = region.pfn + region.count;
        if (region.pfn >= end) break;
        if (regionEnd <= base) continue;
        if (region.pfn > base) i += put(i, base, region.pfn);
        base = Math.min(regionEnd, end);
      }
      if (base < end) put(i, base, end);
      if (fresh === 0) return;
      if (insert) return this.#merge(first, last);
      while (this.regions.length + fresh > this.max) this.#double();
      insert = true;
    }
  }

  markNoinit(pfn: number, count: number): void {
    const [first, last] = this.#isolate(pfn, pfn + count);
    for (let i = first; i < last; i++) this.regions[i].flags |= NOINIT;
    this.#merge(first, last);
  }

  remove(pfn: number, count: number): void {
    const [first, last] = this.#isolate(pfn, pfn + count);
    for (let i = last - 1; i >= first; i--) {
      this.movedBytes += (this.regions.length - i - 1) * 24;
      this.regions.splice(i, 1);
    }
  }

  #insert(at: number, region: NaiveRegion): void {
    this.movedBytes += (this.regions.length - at) * 24;
    this.regions.splice(at, 0, region);
  }

  #isolate(pfn: number, end: number): [number, number] {
    while (this.regions.length + 2 > this.max) this.#double();
    let first = 0;
    let last = 0;
    for (let i = 0; i < this.regions.length; i++) {
      this.visits++;
      const region = this.regions[i];
      const regionEnd = region.pfn + region.count;
      if (region.pfn >= end) break;
      if (regionEnd <= pfn) continue;
      if (region.pfn < pfn) {
        this.regions[i] = { ...region, pfn, count: regionEnd - pfn };
        this.#insert(i, { ...region, count: pfn - region.pfn });
      } else if (regionEnd > end) {
        this.regions[i] = { ...region, pfn: end, count: regionEnd - end };
        this.#insert(i--, { ...region, count: end - region.pfn });
      } else {
        if (last === 0) first = i;
        last = i + 1;
      }
    }
    return [first, last];
  }

  #merge(first: number, last: number): void {
    let i = Math.max(0, first - 1);
    let end = Math.min(last, this.regions.length - 1);
    while (i < end) {
      this.visits++;
      const [here, next] = [this.regions[i], this.regions[i + 1]];
      if (here.pfn + here.count !== next.pfn || here.flags !== next.flags) {
        i++;
        continue;
      }
      here.count += next.count;
      this.movedBytes += (this.regions.length - i - 2) * 24;
      this.regions.splice(i + 1, 1);
      end--;
    }
  }

  #double(): void {
    const old = this.#array;
    const oldBytes = this.max * 24;
    this.movedBytes += oldBytes;
    this.max *= 2;
    const pages = Math.ceil(this.max * 24 / 4096);
    this.#nextArray -= pages;
    this.#array = { pfn: this.#nextArray, pages };
    if (old !== undefined) this.remove(old.pfn, old.pages);
    this.reserve(this.#array.pfn, pages);
  }
}
