/** SparseLists beside NaiveBuddy: every call goes to both, and what they answer is compared. */
import assert from "node:assert/strict";
import { MOVABLE } from "../../sim/guest/allocator.ts";
import { SECTION_PAGES } from "../../sim/guest/section_table.ts";
import { SparseLists } from "../../sim/guest/sparse_lists.ts";
import { forEachAlignedBlock } from "../../sim/memory/range.ts";
import { NaiveBuddy } from "./naive_buddy.ts";

/** The twin knows no sections: to it the zone is all of 64 TiB, of which most is never free. */
export class TwinLists extends SparseLists {
  readonly naive = new NaiveBuddy(0, 2 ** 34);
  /** Sections that exist, as a set. */
  readonly present = new Set<number>();

  override addSection(section: number): void {
    super.addSection(section);
    this.present.add(section);
  }

  override removeSection(section: number): void {
    super.removeSection(section);
    this.present.delete(section);
    for (let page = 0; page < SECTION_PAGES; page += 512) this.naive.setType(section * SECTION_PAGES + page, MOVABLE);
  }

  override alloc(order: number, migratetype: number): number {
    const pfn = super.alloc(order, migratetype);
    assert.equal(pfn, this.naive.alloc(order, migratetype));
    return pfn;
  }

  override free(pfn: number, order: number, migratetype: number, toTail = false): number {
    const merged = super.free(pfn, order, migratetype, toTail);
    assert.equal(merged, this.naive.free(pfn, order, migratetype, toTail));
    return merged;
  }

  override allocBulk(order: number, migratetype: number, out: Float64Array): number {
    const taken = super.allocBulk(order, migratetype, out);
    for (let n = 0; n < taken; n++) assert.equal(out[n], this.naive.alloc(order, migratetype));
    if (taken < out.length) assert.equal(this.naive.alloc(order, migratetype), -1);
    return taken;
  }

  override freeBulk(pfns: Float64Array, count: number, order: number): void {
    super.freeBulk(pfns, count, order);
    for (const pfn of pfns.subarray(0, count)) this.naive.free(pfn, order, this.naive.type(pfn), false);
  }

  override remove(pfn: number, order: number): void {
    super.remove(pfn, order);
    this.naive.remove(pfn, order);
  }

  override insert(pfn: number, order: number, migratetype: number, toTail: boolean): void {
    super.insert(pfn, order, migratetype, toTail);
    const list = this.naive.lists[order][migratetype];
    if (toTail) list.push({ pfn, reported: false });
    else list.unshift({ pfn, reported: false });
  }

  override insertRange(pfn: number, count: number, migratetype: number): void {
    super.insertRange(pfn, count, migratetype);
    forEachAlignedBlock(pfn, count, 10, (block, order) => {
      this.naive.lists[order][migratetype].push({ pfn: block, reported: false });
    });
  }

  override moveFreePages(pfn: number, count: number, migratetype: number): number {
    const inside = this.naive.blocks().filter((block) => block.pfn >= pfn && block.pfn < pfn + count);
    let pages = 0;
    for (const block of inside.sort((a, b) => a.pfn - b.pfn)) {
      this.naive.remove(block.pfn, block.order);
      this.naive.lists[block.order][migratetype].push({ pfn: block.pfn, reported: false });
      pages += 2 ** block.order;
    }
    assert.equal(super.moveFreePages(pfn, count, migratetype), pages);
    return pages;
  }

  override rotate(pfn: number, order: number, migratetype: number): void {
    super.rotate(pfn, order, migratetype);
    this.naive.rotate(pfn, order, migratetype);
  }

  override setPageblockType(pfn: number, migratetype: number): void {
    super.setPageblockType(pfn, migratetype);
    this.naive.setType(pfn, migratetype);
  }

  /** All that can be seen is the same. */
  check(): void {
    this.validate();
    const out = new Float64Array(129);
    for (let order = 0; order <= 10; order++) {
      assert.equal(this.nrFree(order), this.naive.nrFree(order));
      for (let type = 0; type < 5; type++) {
        const pfns: number[] = [];
        for (let read = out.length; read === out.length;) {
          read = this.read(order, type, pfns.at(-1) ?? -1, out);
          pfns.push(...out.subarray(0, read));
        }
        assert.deepEqual(pfns, this.naive.lists[order][type].map(({ pfn }) => pfn));
        assert.equal(this.first(order, type), pfns[0] ?? -1);
        if (pfns.length > 1) assert.equal(this.next(pfns[0], order), pfns[1]);
      }
    }
    assert.equal(this.freePages, this.naive.freePages);
    assert.equal(this.sections, this.present.size);
    const sections = [...this.present].sort((a, b) => a - b);
    for (const section of sections) {
      for (let pfn = section * SECTION_PAGES; pfn < (section + 1) * SECTION_PAGES; pfn += 512) {
        assert.equal(this.pageblockType(pfn), this.naive.type(pfn));
      }
    }
    assert.equal(this.startPfn, (sections[0] ?? 0) * SECTION_PAGES);
    assert.equal(this.pages, sections.length === 0 ? 0 : (sections.at(-1)! + 1 - sections[0]) * SECTION_PAGES);
  }
}
