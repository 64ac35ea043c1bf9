/** How many devices fit into the slots of a table: the question that began the thread of 2012. */

/** Slots that a function takes typically, and at worst: 6 BARs, a ROM and a BAR split by its MSI-X table. */
export const SLOTS_TYPICAL = 4;
/** See {@link SLOTS_TYPICAL}. */
export const SLOTS_WORST = 8;
/** Functions of all devices of one bus: 32 devices of 8 functions. */
export const FUNCTIONS_MAX = 256;

/** Functions that fit, as the thread counts devices: at most those of one bus. */
export function devicesThatFit(slots: number, slotsEach: number): number {
  return Math.min(FUNCTIONS_MAX, Math.floor(slots / slotsEach));
}
