/**
 * The response header of Liang Li's v4 to v6 and Wei Wang's v8: 8 bytes {cmd 8, flag 8, id 16, data_len 32} before an array
 * of 64-bit words. v4 to v6 declare it as bit fields of one le64, v8 as u8, u8, le16 and le32: the same bytes.
 *
 * Not an encoding of its own.
 *
 * @module
 */
import { ORDER_PAGES } from "../memory/range.ts";
import type { MessageHead } from "./encoding.ts";
import { decodeError, refuseLongMessage, viewOf } from "./wire.ts";

/** Bytes of the header. */
export const RESP_HEAD_BYTES = 8;

/** data_len has 32 bits and counts whole words. */
export const RESP_MESSAGE_MAX: number = RESP_HEAD_BYTES + ORDER_PAGES[32] - 8;

/** The header of a message of which nothing else is said. */
export const NO_HEAD: MessageHead = { cmd: 0, flag: 0, id: 0 };

const ID_VALUES = 65_536;

/** Throws RangeError when a header field is no whole number from 0 to `max`. */
export function refuseField(name: string, field: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= max) return;
  throw new RangeError(
    `Cannot encode ${field} ${value} in a header of ${name}: wanted a whole number from 0 to ${max}`,
  );
}

/**
 * A message of `dataBytes` bytes behind its header, all zeros but for that. The id goes in modulo 2^16.
 *
 * @example
 * ```ts
 * import { respMessage } from "./resp_head.ts";
 *
 * const { buffer } = respMessage("v4-heads", 16, { cmd: 0, flag: 1, id: 0x10203 });
 * if (new Uint8Array(buffer, 0, 8).join() !== "0,1,3,2,16,0,0,0") throw new Error("another header");
 * ```
 */
export function respMessage(name: string, dataBytes: number, head: MessageHead = NO_HEAD): DataView {
  refuseField(name, "cmd", head.cmd, 255);
  refuseField(name, "flag", head.flag, 255);
  refuseField(name, "id", head.id, Number.MAX_SAFE_INTEGER);
  refuseLongMessage(name, RESP_HEAD_BYTES + dataBytes, RESP_MESSAGE_MAX);
  const view = viewOf(new Uint8Array(RESP_HEAD_BYTES + dataBytes));
  view.setUint8(0, head.cmd);
  view.setUint8(1, head.flag);
  view.setUint16(2, head.id % ID_VALUES, true);
  view.setUint32(4, dataBytes, true);
  return view;
}

/** The bytes of a message made by {@link respMessage}. */
export function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Reads the header. Throws RangeError when bytes are missing or data_len is not what follows, in whole `recordBytes`. */
export function decodeRespHead(name: string, bytes: Uint8Array, recordBytes = 8): MessageHead {
  if (bytes.length < RESP_HEAD_BYTES) {
    throw decodeError(name, 0, `${bytes.length} bytes in all, wanted a header of ${RESP_HEAD_BYTES} bytes`);
  }
  const view = viewOf(bytes);
  const dataBytes = view.getUint32(4, true);
  const wanted = bytes.length - RESP_HEAD_BYTES;
  if (dataBytes !== wanted) throw decodeError(name, 4, `data_len ${dataBytes}, but ${wanted} bytes follow the header`);
  const rest = dataBytes % recordBytes;
  if (rest !== 0) {
    const why = `${rest} bytes left over, wanted whole records of ${recordBytes} bytes`;
    throw decodeError(name, bytes.length - rest, why);
  }
  return { cmd: view.getUint8(0), flag: view.getUint8(1), id: view.getUint16(2, true) };
}

/** The buffers of v4 to v6, whose `send_resp_data` posts header and array as two entries, also when the array is empty. */
export function respDescriptors(messageBytes: number): number[] {
  return [RESP_HEAD_BYTES, messageBytes - RESP_HEAD_BYTES];
}
