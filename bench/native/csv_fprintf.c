/* The usual CSV writer in C: fprintf for every cell. */
#define _GNU_SOURCE
#include "rows.h"

static FILE *out;

static ssize_t take(void *cookie, const char *bytes, size_t count) {
  (void)cookie;
  write_bytes(bytes, count);
  return (ssize_t)count;
}

static void writer_open(void) {
  cookie_io_functions_t functions = {NULL, take, NULL, NULL};
  out = fopencookie(NULL, "w", functions);
  setvbuf(out, NULL, _IOFBF, BUFFER_BYTES);
  fputs(header, out);
}

static void write_block(uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    fprintf(out, "%lld,%s", (long long)block[TIME][i], names[block[EVENT][i]]);
    for (int field = PFN; field < FIELDS; field++) {
      if (block[field][i] < 0) fputc(',', out);
      else fprintf(out, ",%lld", (long long)block[field][i]);
    }
    fputc('\n', out);
  }
}

static void writer_close(void) { fclose(out); }
