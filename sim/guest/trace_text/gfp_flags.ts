/**
 * Allocation flags as the kernel prints them (`GFP_KERNEL|__GFP_ZERO`) and as a recording keeps them (`dc0`, hexadecimal).
 *
 * The bits are those of include/linux/gfp_types.h on x86-64 without the tags of KASAN and without lockdep; the names and their
 * order are those of include/trace/events/mmflags.h. Between 6.1 and 6.12 `__GFP_ATOMIC` went away (GFP_ATOMIC lost its bit),
 * and GFP_NOWAIT took `__GFP_NOWARN` in.
 */

/** The generations of the kernel that the traces are told apart by. */
export type KernelGeneration = "6.1" | "6.12";

/** Single bits by name, both generations. */
const BITS: readonly (readonly [name: string, mask: number])[] = [
  ["__GFP_HIGHMEM", 0x2],
  ["__GFP_HIGH", 0x20],
  ["__GFP_ATOMIC", 0x200],
  ["__GFP_IO", 0x40],
  ["__GFP_FS", 0x80],
  ["__GFP_NOWARN", 0x2000],
  ["__GFP_RETRY_MAYFAIL", 0x4000],
  ["__GFP_NOFAIL", 0x8000],
  ["__GFP_NORETRY", 0x10000],
  ["__GFP_COMP", 0x40000],
  ["__GFP_ZERO", 0x100],
  ["__GFP_NOMEMALLOC", 0x80000],
  ["__GFP_MEMALLOC", 0x20000],
  ["__GFP_HARDWALL", 0x100000],
  ["__GFP_THISNODE", 0x200000],
  ["__GFP_RECLAIMABLE", 0x10],
  ["__GFP_MOVABLE", 0x8],
  ["__GFP_ACCOUNT", 0x400000],
  ["__GFP_WRITE", 0x1000],
  ["__GFP_RECLAIM", 0xc00],
  ["__GFP_DIRECT_RECLAIM", 0x400],
  ["__GFP_KSWAPD_RECLAIM", 0x800],
  ["__GFP_ZEROTAGS", 0x800000],
];

/** Sets of bits with a name of their own, which the kernel tries first, in its order. */
function sets(kernel: KernelGeneration): readonly (readonly [name: string, mask: number])[] {
  const isOld = kernel === "6.1";
  return [
    ["GFP_TRANSHUGE", 0x1c24ca],
    ["GFP_TRANSHUGE_LIGHT", 0x1c20ca],
    ["GFP_HIGHUSER_MOVABLE", 0x100cca],
    ["GFP_HIGHUSER", 0x100cc2],
    ["GFP_USER", 0x100cc0],
    ["GFP_KERNEL_ACCOUNT", 0x400cc0],
    ["GFP_KERNEL", 0xcc0],
    ["GFP_NOFS", 0xc40],
    ["GFP_ATOMIC", isOld ? 0xa20 : 0x820],
    ["GFP_NOIO", 0xc00],
    ["GFP_NOWAIT", isOld ? 0x800 : 0x2800],
    ["GFP_DMA", 0x1],
    ["GFP_DMA32", 0x4],
  ];
}

/** Names that other configurations and versions print; all are one bit. */
const MORE_BITS: readonly (readonly [name: string, mask: number])[] = [
  ["__GFP_DMA", 0x1],
  ["__GFP_DMA32", 0x4],
  ["__GFP_NO_OBJ_EXT", 0x1000000],
];

function namesOf(kernel: KernelGeneration) {
  const bits = kernel === "6.1" ? BITS : BITS.filter(([name]) => name !== "__GFP_ATOMIC");
  return [...sets(kernel), ...bits];
}

const PRINTED: Readonly<Record<KernelGeneration, readonly (readonly [string, number])[]>> = {
  "6.1": namesOf("6.1"),
  "6.12": namesOf("6.12"),
};

const MASKS: Readonly<Record<KernelGeneration, ReadonlyMap<string, number>>> = {
  "6.1": new Map([...BITS, ...MORE_BITS, ...sets("6.1")]),
  "6.12": new Map([...BITS, ...MORE_BITS, ...sets("6.12")]),
};

/** The generation of a version such as `6.1.0-56-amd64`: up to 6.9 the older one; undefined when it is no version. */
export function generationOf(version: string): KernelGeneration | undefined {
  const match = /^(\d+)\.(\d+)/.exec(version);
  if (match === null) return undefined;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  return major > 6 || (major === 6 && minor >= 10) ? "6.12" : "6.1";
}

/**
 * The flags as the kernel prints them; bits without a name stay a number at the end.
 *
 * ```ts
 * import { gfpText } from "./gfp_flags.ts";
 * if (gfpText(0x140dca, "6.1") !== "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO") throw new Error("an anonymous page");
 * ```
 */
export function gfpText(flags: number, kernel: KernelGeneration): string {
  if (flags === 0) return "none";
  const words: string[] = [];
  let rest = flags;
  for (const [name, mask] of PRINTED[kernel]) {
    if ((rest & mask) !== mask) continue;
    words.push(name);
    rest &= ~mask;
  }
  if (rest !== 0) words.push(`0x${(rest >>> 0).toString(16)}`);
  return words.join("|");
}

/** The flags of a printed text, or of a number with `0x`; undefined when a word is not known. */
export function gfpFlags(text: string, kernel: KernelGeneration): number | undefined {
  if (text === "none" || text === "0") return 0;
  let flags = 0;
  for (const word of text.split("|")) {
    const isNumber = /^0x[0-9a-f]{1,8}$/i.test(word);
    const mask = isNumber ? Number(word) : MASKS[kernel].get(word);
    if (mask === undefined) return undefined;
    flags |= mask;
  }
  return flags >>> 0;
}
