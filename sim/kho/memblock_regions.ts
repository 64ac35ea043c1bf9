/**
 * The sorted array of memblock as its numbers: where an index is, what stands there, what lies before it.
 *
 * The kernel scans the array and moves its tail. Here it is cut into chunks of at most 1024 regions with a tree of their sums
 * (Fenwick), so that an index is found in O(log n) and an insertion moves at most a chunk: 10 million regions that come in
 * random order cost about a microsecond each, and those that come ascending are appended. What the kernel would have visited
 * is an index, and what it would have moved the rest of the length, so both stay exact.
 */

const CHUNK = 1024;

/** Up to 1024 neighbours. */
class Chunk {
  readonly pfn: Float64Array = new Float64Array(CHUNK);
  readonly count: Float64Array = new Float64Array(CHUNK);
  readonly flags: Uint8Array = new Uint8Array(CHUNK);
  size = 0;

  /** Moves what begins at `from` to begin at `to`. */
  shift(from: number, to: number): void {
    this.pfn.copyWithin(to, from, this.size);
    this.count.copyWithin(to, from, this.size);
    this.flags.copyWithin(to, from, this.size);
  }

  /** Moves the upper half into a new chunk. */
  split(): Chunk {
    const upper = new Chunk();
    const from = this.size >> 1;
    upper.pfn.set(this.pfn.subarray(from, this.size));
    upper.count.set(this.count.subarray(from, this.size));
    upper.flags.set(this.flags.subarray(from, this.size));
    upper.size = this.size - from;
    this.size = from;
    return upper;
  }
}

/** Regions sorted by page frame, which do not overlap. Indices are those of the kernel's array. */
export class MemblockRegions {
  #chunks: Chunk[] = [new Chunk()];
  /** First page frame of each chunk; of the first chunk anything below. */
  #firsts: Float64Array = new Float64Array(64);
  /** Fenwick tree of the sizes, from 1. */
  #sums: Float64Array = new Float64Array(65);
  #length = 0;
  /** The chunk that was used last, and the index of its first region. */
  #at = 0;
  #start = 0;

  /** Number of regions. */
  get length(): number {
    return this.#length;
  }

  /** First page frame of a region. */
  pfn(index: number): number {
    this.#locate(index);
    return this.#chunks[this.#at].pfn[index - this.#start];
  }

  /** Page frame after the last of a region. */
  end(index: number): number {
    this.#locate(index);
    const chunk = this.#chunks[this.#at];
    return chunk.pfn[index - this.#start] + chunk.count[index - this.#start];
  }

  /** Flags of a region. */
  flags(index: number): number {
    this.#locate(index);
    return this.#chunks[this.#at].flags[index - this.#start];
  }

  /** Gives a region flags. */
  setFlags(index: number, flags: number): void {
    this.#locate(index);
    this.#chunks[this.#at].flags[index - this.#start] = flags;
  }

  /** Gives a region other pages; the order must stay. */
  setRange(index: number, pfn: number, count: number): void {
    this.#locate(index);
    const chunk = this.#chunks[this.#at];
    chunk.pfn[index - this.#start] = pfn;
    chunk.count[index - this.#start] = count;
    if (index === this.#start) this.#firsts[this.#at] = pfn;
  }

  /** Index of the first region that ends beyond a page frame; the length when none does. */
  firstEndingBeyond(pfn: number): number {
    const at = this.#chunkOf(pfn);
    if (at !== this.#at) {
      this.#at = at;
      this.#start = this.#sumBefore(at);
    }
    const chunk = this.#chunks[at];
    let low = 0;
    let high = chunk.size;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (chunk.pfn[middle] + chunk.count[middle] > pfn) high = middle;
      else low = middle + 1;
    }
    return this.#start + low;
  }

  /** Puts a region in front of the one at `index`. */
  insert(index: number, pfn: number, count: number, flags: number): void {
    this.#locate(index);
    let chunk = this.#chunks[this.#at];
    if (chunk.size === CHUNK) {
      this.#splitChunk(index);
      this.#locate(index);
      chunk = this.#chunks[this.#at];
    }
    const offset = index - this.#start;
    if (offset < chunk.size) chunk.shift(offset, offset + 1);
    chunk.pfn[offset] = pfn;
    chunk.count[offset] = count;
    chunk.flags[offset] = flags;
    chunk.size++;
    if (offset === 0) this.#firsts[this.#at] = pfn;
    this.#length++;
    this.#add(this.#at, 1);
  }

  /** Takes a region out. */
  remove(index: number): void {
    this.#locate(index);
    const chunk = this.#chunks[this.#at];
    const offset = index - this.#start;
    chunk.shift(offset + 1, offset);
    chunk.size--;
    this.#length--;
    this.#add(this.#at, -1);
    if (chunk.size === 0 && this.#chunks.length > 1) {
      this.#chunks.splice(this.#at, 1);
      this.#rebuild();
    } else if (offset === 0) this.#firsts[this.#at] = chunk.size > 0 ? chunk.pfn[0] : 0;
  }

  /** Makes the chunk of an index the present one; the index behind the last belongs to the last chunk. */
  #locate(index: number): void {
    const offset = index - this.#start;
    const { size } = this.#chunks[this.#at];
    if (offset >= 0 && (offset < size || offset === size && index === this.#length)) return;
    let left = index >= this.#length ? this.#length - 1 : index;
    let at = 0;
    const { length } = this.#chunks;
    let step = 1;
    while (step * 2 <= length) step *= 2;
    for (; step > 0; step >>= 1) {
      if (at + step > length || this.#sums[at + step] > left) continue;
      at += step;
      left -= this.#sums[at];
    }
    this.#at = Math.min(at, length - 1);
    this.#start = this.#length === 0 ? 0 : Math.min(index, this.#length - 1) - left;
  }

  /** The last chunk that begins at or before a page frame. */
  #chunkOf(pfn: number): number {
    const { length } = this.#chunks;
    const near = this.#at;
    if ((near === 0 || this.#firsts[near] <= pfn) && (near + 1 === length || this.#firsts[near + 1] > pfn)) return near;
    let low = 0;
    let high = length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#firsts[middle] <= pfn) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Makes room in the present chunk, which is full: a new one behind it for what is appended, else its upper half moves. */
  #splitChunk(index: number): void {
    const isAppended = index === this.#length;
    const fresh = isAppended ? new Chunk() : this.#chunks[this.#at].split();
    this.#chunks.splice(this.#at + 1, 0, fresh);
    if (isAppended) {
      this.#firsts = this.#room(this.#firsts, this.#chunks.length);
      this.#sums = this.#room(this.#sums, this.#chunks.length + 1);
      this.#firsts[this.#at + 1] = Infinity;
      this.#appendSum();
      this.#at++;
      this.#start = index;
    } else this.#rebuild();
  }

  /** The sum of the last node of the tree, for a chunk that is still empty. */
  #appendSum(): void {
    const node = this.#chunks.length;
    const low = node & -node;
    let sum = 0;
    for (let inner = 1; inner < low; inner <<= 1) sum += this.#sums[node - inner];
    this.#sums[node] = sum;
  }

  #room(column: Float64Array, length: number): Float64Array {
    if (column.length >= length) return column;
    const longer = new Float64Array(length * 2);
    longer.set(column);
    return longer;
  }

  /** Firsts and sums of all chunks anew. */
  #rebuild(): void {
    const chunks = this.#chunks;
    this.#firsts = this.#room(this.#firsts, chunks.length);
    this.#sums = this.#room(this.#sums, chunks.length + 1);
    this.#sums.fill(0, 0, chunks.length + 1);
    for (let i = 0; i < chunks.length; i++) {
      this.#firsts[i] = chunks[i].size > 0 ? chunks[i].pfn[0] : 0;
      this.#sums[i + 1] += chunks[i].size;
      const parent = i + 1 + ((i + 1) & -(i + 1));
      if (parent <= chunks.length) this.#sums[parent] += this.#sums[i + 1];
    }
    this.#at = 0;
    this.#start = 0;
  }

  #sumBefore(chunk: number): number {
    let sum = 0;
    for (let node = chunk; node > 0; node -= node & -node) sum += this.#sums[node];
    return sum;
  }

  #add(chunk: number, change: number): void {
    for (let node = chunk + 1; node <= this.#chunks.length; node += node & -node) this.#sums[node] += change;
  }
}
