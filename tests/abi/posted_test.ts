import assert from "node:assert/strict";
import fc from "fast-check";
import { encodings } from "../../sim/abi/mod.ts";
import { acceptedArbitrary, messageOf, NUM_RUNS, subjectOf } from "./subjects.ts";

/** The posted bugs: what arrives is not what was listed, but the laws hold, and the bytes are as many as announced. */
for (const { name, create, optionNames } of encodings.filter(({ optionNames }) => optionNames.includes("asPosted"))) {
  const garbages = optionNames.includes("garbage") ? [0, 1, 8, 63] : [0];
  for (const garbage of garbages) {
    const posted = create({ asPosted: true, garbage });
    const { error } = posted;
    const accepted = acceptedArbitrary(subjectOf(`${name} as posted`, posted));

    Deno.test(`${name} as posted, garbage ${garbage}: the laws hold for what the receiver makes of the bytes`, () => {
      fc.assert(
        fc.property(accepted, (ranges) => {
          const bytes = posted.encode(ranges);
          const seen = posted.canonical(ranges);
          assert.equal(bytes.length, posted.sizeOf(ranges));
          assert.deepEqual(posted.decode(bytes), seen);
          for (const range of seen) assert.equal(error(range), undefined);
          assert.equal(posted.descriptors!(ranges).reduce((sum, length) => sum + length, 0), bytes.length);
        }),
        { numRuns: NUM_RUNS },
      );
    });

    Deno.test(`${name} as posted, garbage ${garbage}: decode takes any bytes for an error or for ranges`, () => {
      const spoilt = fc.tuple(accepted, fc.nat(), fc.nat(255)).map(([ranges, at, byte]) => {
        const bytes = posted.encode(ranges);
        bytes[at % bytes.length] = byte;
        return bytes;
      });
      fc.assert(
        fc.property(fc.oneof(spoilt, fc.uint8Array({ maxLength: 64 })), (bytes) => {
          const message = messageOf(() => posted.decode(bytes));
          if (message !== undefined) assert.match(message, /^Cannot decode \S+ at byte \d+: .*[^.]$/);
        }),
        { numRuns: NUM_RUNS },
      );
    });
  }
}
