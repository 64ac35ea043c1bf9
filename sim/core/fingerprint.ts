/**
 * The fingerprint of a run: a rolling 64-bit hash over the numeric fields of every row, in order.
 *
 * Each row is seven numbers as IEEE doubles (time; event, order, zone, guest and cpu packed into one; pfn; pages; message;
 * bytes; cost), read as fourteen little-endian 32-bit words. Two 32-bit lanes take each word with a multiply and a rotation.
 * Rows that exist only under `--check` are left out, so a fingerprint does not depend on what is written, sampled or checked.
 */
import { isCheckOnly, type TraceReader, type TraceRows } from "./trace.ts";

/** A reader that computes the fingerprint of the rows it sees. */
export class Fingerprint implements TraceReader {
  #a = 0x9e3779b9 | 0;
  #b = 0x7f4a7c15 | 0;
  #row = new Float64Array(7);
  #words = new Uint32Array(this.#row.buffer);

  /** Takes a block of rows into the hash. */
  read(rows: TraceRows): void {
    const row = this.#row;
    const words = this.#words;
    let a = this.#a;
    let b = this.#b;
    for (let i = 0; i < rows.count; i++) {
      const event = rows.event[i];
      if (isCheckOnly(event)) continue;
      row[0] = rows.timeNs[i];
      // Each field is shifted by one so that NONE is 0: order < 2^4, zone < 2^7, guest and cpu < 2^15.
      row[1] = (((event * 16 + rows.order[i] + 1) * 128 + rows.zone[i] + 1) * 32768 + rows.guest[i] + 1) * 32768 +
        rows.cpu[i] + 1;
      row[2] = rows.pfn[i];
      row[3] = rows.pages[i];
      row[4] = rows.message[i];
      row[5] = rows.bytes[i];
      row[6] = rows.costNs[i];
      for (let w = 0; w < 14; w++) {
        a = Math.imul(a ^ words[w], 0x85ebca6b);
        a = (a << 13) | (a >>> 19);
        b = Math.imul((b + words[w]) ^ a, 0xc2b2ae35);
        b = (b << 15) | (b >>> 17);
      }
    }
    this.#a = a;
    this.#b = b;
  }

  /** The hash so far, as 16 hexadecimal digits. */
  get hex(): string {
    const mix = (h: number): number => {
      h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
      h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
      return (h ^ (h >>> 16)) >>> 0;
    };
    const high = mix(this.#a);
    const low = mix(this.#b ^ high);
    return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
  }
}
