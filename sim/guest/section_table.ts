/**
 * Which sections of memory exist in a zone, and where the pages of each are numbered: sections of 128 MiB, anywhere in 64 TiB,
 * that get slots without gaps.
 *
 * A slot numbers the pages of its section from slot * SECTION_PAGES on. What does not exist costs four bytes for each section
 * of the span, and those only where something was ever added nearby.
 */

/** Pages of a section: 128 MiB (arch/x86/include/asm/sparsemem.h SECTION_SIZE_BITS 27). */
export const SECTION_PAGES = 32768;
/** Sections up to 64 TiB (MAX_PHYSMEM_BITS 46). */
export const SECTIONS_MAX = 2 ** 19;

/** Sections and slots of one zone. */
export class SectionTable {
  /**
   * By section: the number of its first page plus SECTION_PAGES, 0 for a section that does not exist. An array that nobody wrote
   * costs no memory.
   */
  readonly bases: Int32Array = new Int32Array(SECTIONS_MAX);
  /** By slot: its section. */
  readonly sections: Int32Array;
  /** By slot: the pages of the section that exist begin and end here. At boot it may exist in part; 0 and 0 for an empty slot. */
  readonly #begins: Int32Array;
  readonly #ends: Int32Array;
  /** Slots whose section was removed. */
  readonly #emptySlots: number[] = [];
  #slotsUsed = 0;
  #startPfn = 0;
  #endPfn = 0;

  /** A table without sections that has room for `sectionsMax`. */
  constructor(sectionsMax: number) {
    this.sections = new Int32Array(sectionsMax);
    this.#begins = new Int32Array(sectionsMax);
    this.#ends = new Int32Array(sectionsMax);
  }

  /** First page that exists, 0 when none does. */
  get startPfn(): number {
    return this.#startPfn;
  }

  /** The page after the last one that exists, 0 when none does. */
  get endPfn(): number {
    return this.#endPfn;
  }

  /** Sections that exist. */
  get count(): number {
    return this.#slotsUsed - this.#emptySlots.length;
  }

  /**
   * The pages of a section from offset `begin` up to `end` exist now, together with those that did. Throws RangeError when the
   * section cannot be or there is no room.
   */
  add(section: number, begin: number, end: number): void {
    if (!(section >= 0 && section < SECTIONS_MAX)) {
      throw new RangeError(`Section ${section} lies outside of the ${SECTIONS_MAX} sections that a machine can have`);
    }
    let slot = this.#slotOf(section);
    if (slot < 0) {
      if (this.count === this.sections.length) {
        throw new RangeError(`The zone was made for ${this.sections.length} sections, and all exist`);
      }
      slot = this.#emptySlots.pop() ?? this.#slotsUsed++;
      this.bases[section] = (slot + 1) * SECTION_PAGES;
      this.sections[slot] = section;
      this.#begins[slot] = begin;
    }
    this.#begins[slot] = Math.min(this.#begins[slot], begin);
    this.#ends[slot] = Math.max(this.#ends[slot], end);
    this.#cover(slot);
  }

  /** A section that exists does so no longer; at an end of the span this shrinks to what exists (`shrink_zone_span`). */
  remove(section: number): void {
    const slot = this.#slotOf(section);
    this.bases[section] = 0;
    this.#ends[slot] = 0;
    this.#emptySlots.push(slot);
    const start = section * SECTION_PAGES;
    if (start <= this.#startPfn || start + SECTION_PAGES >= this.#endPfn) this.#measure();
  }

  /** Whether a page exists. */
  has(pfn: number): boolean {
    const section = Math.floor(pfn / SECTION_PAGES);
    const slot = this.#slotOf(section);
    const offset = pfn - section * SECTION_PAGES;
    return slot >= 0 && offset >= this.#begins[slot] && offset < this.#ends[slot];
  }

  /** The number of the first page of a section, or -1 when it does not exist. */
  numberOf(section: number): number {
    const slot = this.#slotOf(section);
    return slot < 0 ? -1 : slot * SECTION_PAGES;
  }

  /** Checks the span. Throws Error when it is not from the first to the last page that exists. */
  validate(): void {
    const { startPfn, endPfn } = this;
    this.#measure();
    if (startPfn !== this.startPfn || endPfn !== this.endPfn) {
      throw new Error(`The zone spans pages ${startPfn} to ${endPfn}, but has ${this.startPfn} to ${this.endPfn}`);
    }
  }

  #slotOf(section: number): number {
    const base = this.bases[section];
    return base > 0 ? base / SECTION_PAGES - 1 : -1;
  }

  /** The span, anew from all sections. */
  #measure(): void {
    this.#startPfn = 0;
    this.#endPfn = 0;
    for (let slot = 0; slot < this.#slotsUsed; slot++) if (this.#ends[slot] > 0) this.#cover(slot);
  }

  #cover(slot: number): void {
    const first = this.sections[slot] * SECTION_PAGES;
    const start = first + this.#begins[slot];
    if (this.#endPfn === 0 || start < this.#startPfn) this.#startPfn = start;
    this.#endPfn = Math.max(this.#endPfn, first + this.#ends[slot]);
  }
}
