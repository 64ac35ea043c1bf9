/** Bytes of messages as the tests write them down, independent of the code under test. */

/** The bytes of 64-bit words, little-endian. */
export function ofWords(...words: bigint[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * words.length));
  words.forEach((word, index) => view.setBigUint64(8 * index, word, true));
  return new Uint8Array(view.buffer);
}

/** A response header {cmd 8, flag 8, id 16, data_len 32} in one word, before its data. */
export function withHead(data: Uint8Array, dataLen = data.length): Uint8Array {
  const head = ofWords(BigInt(dataLen) << 32n);
  return Uint8Array.from([...head, ...data]);
}

/** The words of a message. */
export function wordsOf(bytes: Uint8Array): bigint[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / 8 }, (_, index) => view.getBigUint64(8 * index, true));
}
