/** Slots that VMMs make: which calls in which order, for each kind of guest of the argument. */
import { flag, integer, type Options, size } from "../core/options.ts";
import type { MemoryRegion } from "./memory_region.ts";

/** A kind of guest. */
export interface LayoutPlugin<O = unknown> {
  /** Name in scenarios. */
  readonly name: string;
  /** One line: what it is. */
  readonly summary: string;
  /** Where it comes from. */
  readonly source: string;
  /** Its options. */
  readonly options: Options<O>;
  /** The calls, in order; slots are numbered from 0. */
  create(options: O): readonly MemoryRegion[];
}

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
/** Where devices begin below 4 GiB on a q35 machine. */
const HOLE = 2 * GIB;
/** VMM addresses begin there, so that no slot has the address 0. */
const HVA = 64 * GIB;

/** Calls are collected here; VMM memory is taken in the order of the calls. */
class Calls {
  readonly regions: MemoryRegion[] = [];
  #hva = HVA;

  add(gpa: number, bytes: number): void {
    this.regions.push({ slot: this.regions.length, gpa, size: bytes, hva: this.#hva, flags: 0 });
    this.#hva += bytes;
  }

  /** Memory below the hole and the rest above 4 GiB; returns where the next may begin. */
  addMemory(bytes: number): number {
    const below = Math.min(bytes, HOLE);
    this.add(0, below);
    if (bytes > below) this.add(4 * GIB, bytes - below);
    return 4 * GIB + Math.ceil((bytes - below) / GIB) * GIB;
  }
}

function layoutPlugin<O>(plugin: LayoutPlugin<O>): LayoutPlugin {
  return plugin as unknown as LayoutPlugin;
}

const slots = layoutPlugin<{ count: number; size: number }>({
  name: "slots",
  summary: "slots of one size, one after the other",
  source: "the selftest of the patches by Szmigiero, memslot_perf_test",
  options: {
    fields: {
      count: integer(32, 1, 100_000, { summary: "slots" }),
      size: size("2MiB", 4096, 2 ** 40, { summary: "size of each" }),
    },
  },
  create({ count, size: bytes }) {
    const calls = new Calls();
    for (let n = 0; n < count; n++) calls.add(n * bytes, bytes);
    return calls.regions;
  },
});

/** Options of devices that are given to the guest. */
export interface PciOptions {
  /** Memory of the guest, bytes; 0 leaves all slots to devices. */
  readonly memory: number;
  /** Devices. */
  readonly devices: number;
  /** Functions of each. */
  readonly functions: number;
  /** Memory BARs of each function. */
  readonly bars: number;
  /** Whether each function has a ROM. */
  readonly rom: boolean;
  /** Whether the page of the MSI-X table splits one BAR into two slots. */
  readonly msixSplit: boolean;
}

/** A page of the MSI-X table is not mapped: the VMM has to see its writes. */
const MSIX_PAGE = 4096;

const pciAssignment = layoutPlugin<PciOptions>({
  name: "pci-assignment",
  summary: "devices given to the guest: each function has BARs, a ROM, and an MSI-X table that splits a BAR",
  source: "thread of Dec 2012: 32 devices x 8 functions x (6 BARs + ROM + split)",
  options: {
    fields: {
      memory: size("4GiB", 0, 2 ** 44, { summary: "memory of the guest; 0 leaves all slots to devices" }),
      devices: integer(32, 1, 32, { summary: "devices, 32 on a bus" }),
      functions: integer(8, 1, 8, { summary: "functions of each device" }),
      bars: integer(6, 0, 6, { summary: "memory BARs of each function" }),
      rom: flag(true, { summary: "whether a function has a ROM" }),
      msixSplit: flag(true, { summary: "whether the page of the MSI-X table splits the first BAR" }),
    },
  },
  create(options) {
    const { memory, devices, functions, bars, rom, msixSplit } = options;
    const calls = new Calls();
    let next = memory > 0 ? calls.addMemory(memory) : 0;
    for (let n = 0; n < devices * functions; n++) {
      for (let bar = 0; bar < bars; bar++) {
        // From 64 KiB on, twice as large each.
        const bytes = 64 * KIB * 2 ** bar;
        next = Math.ceil(next / bytes) * bytes;
        if (bar === 0 && msixSplit) {
          calls.add(next, bytes / 2);
          calls.add(next + bytes / 2 + MSIX_PAGE, bytes / 2 - MSIX_PAGE);
        } else calls.add(next, bytes);
        next += bytes;
      }
      if (rom) {
        calls.add(next, 64 * KIB);
        next += 64 * KIB;
      }
    }
    return calls.regions;
  },
});

const dimmHotplug = layoutPlugin<{ memory: number; dimms: number; size: number }>({
  name: "dimm-hotplug",
  summary: "memory of the boot, then DIMMs one after the other above it",
  source: "QEMU pc-dimm, at most 256 slots",
  options: {
    fields: {
      memory: size("4GiB", 2 ** 20, 2 ** 44, { summary: "memory of the boot" }),
      dimms: integer(256, 1, 256, { summary: "DIMMs" }),
      size: size("1GiB", 2 * MIB, 2 ** 40, { summary: "size of each" }),
    },
  },
  create({ memory, dimms, size: bytes }) {
    const calls = new Calls();
    const start = calls.addMemory(memory);
    for (let n = 0; n < dimms; n++) calls.add(start + n * bytes, bytes);
    return calls.regions;
  },
});

const virtioMem = layoutPlugin<{ memory: number; slots: number; size: number }>({
  name: "virtio-mem",
  summary: "a sparse device whose memory is mapped by many small slots, as far as it is plugged",
  source: "David Hildenbrand, virtio-mem with dynamic memslots, Aug 2023; at least 128 MiB each in QEMU",
  options: {
    fields: {
      memory: size("4GiB", 2 ** 20, 2 ** 44, { summary: "memory of the boot" }),
      slots: integer(32_762, 1, 32_764, { summary: "slots of the device" }),
      size: size("128MiB", 2 * MIB, 2 ** 40, { summary: "size of each" }),
    },
  },
  create({ memory, slots: count, size: bytes }) {
    const calls = new Calls();
    const start = calls.addMemory(memory);
    // Every second one is plugged, so that none are neighbours.
    for (let n = 0; n < count; n++) calls.add(start + 2 * n * bytes, bytes);
    return calls.regions;
  },
});

const windowsBoot = layoutPlugin<{ memory: number; slots: number }>({
  name: "windows-boot",
  summary: "the slots of a PC: memory in a few parts, BIOS, ROMs, video memory, small BARs",
  source: "9c1a5d3878, a Windows guest of 13 and of 117 slots",
  options: {
    fields: {
      memory: size("4GiB", 16 * MIB, 2 ** 44, { summary: "memory of the guest" }),
      slots: integer(13, 8, 509, { summary: "slots of the guest" }),
    },
  },
  create({ memory, slots: count }) {
    const calls = new Calls();
    const below = Math.min(memory, HOLE);
    calls.add(0, 640 * KIB);
    calls.add(0xc0000, 128 * KIB);
    calls.add(0xe0000, 64 * KIB);
    calls.add(0xf0000, 64 * KIB);
    calls.add(MIB, below - MIB);
    calls.add(4 * GIB, Math.max(memory - below, 2 * MIB));
    calls.add(0xfc000000, 16 * MIB);
    calls.add(0xfffc0000, 256 * KIB);
    for (let n = 8; n < count; n++) calls.add(0xe0000000 + (n - 8) * 64 * KIB, 32 * KIB);
    return calls.regions;
  },
});

/** All kinds of guests. */
export const layouts: readonly LayoutPlugin[] = [slots, pciAssignment, dimmHotplug, virtioMem, windowsBoot];
