/**
 * A packed ring as the specification describes it (virtio specification, packed-ring.tex): descriptors with their flags in an
 * array, a wrap counter for each side, and each side's event structure. Nothing is known that is not read from the array, but
 * for the chain lengths that a driver keeps.
 */
import type { Ring, RingBuffer } from "../../sim/virtio/ring.ts";

interface Descriptor {
  id: number;
  avail: number;
  used: number;
  next: boolean;
}

/** A side's place in the ring. */
class Cursor {
  position = 0;
  wrap = 1;
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  step(): void {
    if (++this.position < this.#size) return;
    this.position = 0;
    this.wrap = 1 - this.wrap;
  }
}

interface Event {
  offset: number;
  wrap: number;
  flags: "enable" | "disable" | "descriptor";
}

export class NaivePackedRing implements Ring {
  readonly size: number;
  readonly #eventIndex: boolean;
  readonly #descriptors: Descriptor[];
  readonly #nextAvailable: Cursor;
  readonly #lastUsed: Cursor;
  readonly #deviceAvailable: Cursor;
  readonly #deviceUsed: Cursor;
  readonly #chains = new Map<number, number>();
  readonly #deviceEvent: Event;
  readonly #driverEvent: Event;

  constructor(size: number, eventIndex: boolean) {
    this.size = size;
    this.#eventIndex = eventIndex;
    this.#descriptors = Array.from({ length: size }, () => ({ id: -1, avail: 0, used: 0, next: false }));
    this.#nextAvailable = new Cursor(size);
    this.#lastUsed = new Cursor(size);
    this.#deviceAvailable = new Cursor(size);
    this.#deviceUsed = new Cursor(size);
    const flags = eventIndex ? "descriptor" : "enable";
    this.#deviceEvent = { offset: 0, wrap: 1, flags };
    this.#driverEvent = { offset: 0, wrap: 1, flags };
  }

  /** 16 bytes a descriptor, and offset, wrap counter and flags in 4 bytes for each side. */
  get bytes(): number {
    return 16 * this.size + 2 * 4;
  }

  get freeDescriptors(): number {
    return this.size - [...this.#chains.values()].reduce((sum, length) => sum + length, 0);
  }

  get availableCount(): number {
    const at = this.#copy(this.#deviceAvailable);
    let count = 0;
    for (let seen = 0; seen < this.size && this.#isAvailable(at); count++) seen += this.#skipChain(at);
    return count;
  }

  get usedCount(): number {
    const at = this.#copy(this.#lastUsed);
    let count = 0;
    for (let seen = 0; seen < this.size && this.#isUsed(at); count++) {
      const length = this.#chains.get(this.#descriptors[at.position].id)!;
      for (let i = 0; i < length; i++) at.step();
      seen += length;
    }
    return count;
  }

  add(id: number, descriptors: number): boolean {
    if (descriptors > this.freeDescriptors) throw new RangeError("full");
    this.#chains.set(id, descriptors);
    let notify = false;
    for (let i = 0; i < descriptors; i++) {
      const { position, wrap } = this.#nextAvailable;
      this.#descriptors[position] = { id, avail: wrap, used: 1 - wrap, next: i < descriptors - 1 };
      notify = this.#wants(this.#deviceEvent, this.#nextAvailable) || notify;
      this.#nextAvailable.step();
    }
    return notify;
  }

  take(): RingBuffer | undefined {
    this.#deviceEvent.flags = "disable";
    if (!this.#isAvailable(this.#deviceAvailable)) return undefined;
    const { id } = this.#descriptors[this.#deviceAvailable.position];
    return { id, descriptors: this.#skipChain(this.#deviceAvailable) };
  }

  watchAvailable(): void {
    this.#watch(this.#deviceEvent, this.#nextAvailable);
  }

  finish({ id, descriptors }: RingBuffer): boolean {
    const { position, wrap } = this.#deviceUsed;
    this.#descriptors[position] = { id, avail: wrap, used: wrap, next: false };
    let notify = false;
    for (let i = 0; i < descriptors; i++) {
      notify = this.#wants(this.#driverEvent, this.#deviceUsed) || notify;
      this.#deviceUsed.step();
    }
    return notify;
  }

  collect(): number[] {
    const ids: number[] = [];
    while (this.#isUsed(this.#lastUsed)) {
      const { id } = this.#descriptors[this.#lastUsed.position];
      const length = this.#chains.get(id)!;
      for (let i = 0; i < length; i++) this.#lastUsed.step();
      this.#chains.delete(id);
      ids.push(id);
    }
    return ids;
  }

  watchUsed(wanted: boolean): void {
    if (wanted) this.#watch(this.#driverEvent, this.#deviceUsed);
    else this.#driverEvent.flags = "disable";
  }

  #isAvailable({ position, wrap }: Cursor): boolean {
    const { avail, used } = this.#descriptors[position];
    return avail === wrap && used !== wrap;
  }

  #isUsed({ position, wrap }: Cursor): boolean {
    const { avail, used, id } = this.#descriptors[position];
    return avail === wrap && used === wrap && this.#chains.has(id);
  }

  /** Moves over a chain; its length. */
  #skipChain(at: Cursor): number {
    let length = 1;
    for (; this.#descriptors[at.position].next; length++) at.step();
    at.step();
    return length;
  }

  #wants({ offset, wrap, flags }: Event, at: Cursor): boolean {
    if (flags !== "descriptor") return flags === "enable";
    return offset === at.position && wrap === at.wrap;
  }

  #watch(event: Event, at: Cursor): void {
    event.offset = at.position;
    event.wrap = at.wrap;
    event.flags = this.#eventIndex ? "descriptor" : "enable";
  }

  #copy(at: Cursor): Cursor {
    return Object.assign(new Cursor(this.size), { position: at.position, wrap: at.wrap });
  }
}
