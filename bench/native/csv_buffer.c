/* A hand-written CSV writer: digits in pairs from a table into one buffer. */
#include "rows.h"

enum { ROW_BYTES_MAX = 400 };

static char buffer[BUFFER_BYTES + ROW_BYTES_MAX];
static size_t used_bytes;
static char pairs[200];
static size_t name_bytes[NAMES];

static void writer_open(void) {
  for (int i = 0; i < 100; i++) {
    pairs[2 * i] = (char)('0' + i / 10);
    pairs[2 * i + 1] = (char)('0' + i % 10);
  }
  for (int i = 0; i < NAMES; i++) name_bytes[i] = strlen(names[i]);
  used_bytes = strlen(header);
  memcpy(buffer, header, used_bytes);
}

static inline char *put_integer(char *at, int64_t value) {
  if (value < 0) return at;
  char digits[20];
  int begin = 20;
  uint64_t rest = (uint64_t)value;
  while (rest >= 100) {
    begin -= 2;
    memcpy(digits + begin, pairs + 2 * (rest % 100), 2);
    rest /= 100;
  }
  if (rest >= 10) {
    begin -= 2;
    memcpy(digits + begin, pairs + 2 * rest, 2);
  } else digits[--begin] = (char)('0' + rest);
  memcpy(at, digits + begin, (size_t)(20 - begin));
  return at + 20 - begin;
}

static void write_block(uint32_t count) {
  char *at = buffer + used_bytes;
  for (uint32_t i = 0; i < count; i++) {
    if (at - buffer >= BUFFER_BYTES) {
      write_bytes(buffer, (size_t)(at - buffer));
      at = buffer;
    }
    at = put_integer(at, block[TIME][i]);
    *at++ = ',';
    const int64_t event = block[EVENT][i];
    memcpy(at, names[event], NAME_BYTES);
    at += name_bytes[event];
    for (int field = PFN; field < FIELDS; field++) {
      *at++ = ',';
      at = put_integer(at, block[field][i]);
    }
    *at++ = '\n';
  }
  used_bytes = (size_t)(at - buffer);
}

static void writer_close(void) { write_bytes(buffer, used_bytes); }
