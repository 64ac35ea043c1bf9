/* The rows that the CSV writers write: csv_* FOLDER PASSES. FOLDER holds what bench/csv.ts made: rows.bin (columns of doubles, in
 * the order of the fields below) and names.txt (the header of the file, then actor and event by code). In each pass the rows
 * come again at later times. */
#ifndef HINTSIM_BENCH_ROWS_H
#define HINTSIM_BENCH_ROWS_H

#include "common.h"

#include <fcntl.h>
#include <unistd.h>

enum { TIME, EVENT, PFN, PAGES, ORDER, ZONE, MESSAGE, BYTES, COST, GUEST, CPU, FIELDS };
enum { NAMES = 64, NAME_BYTES = 64, BLOCK_ROWS = 2048, BUFFER_BYTES = 64 * 1024 };

static uint64_t rows;
static double *columns[FIELDS];
static double pass_ns;
static char header[256];
static char names[NAMES][NAME_BYTES];
static uint32_t crc_table[256];

static FILE *open_input(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    exit(2);
  }
  return file;
}

static void read_rows(const char *folder) {
  FILE *file = open_input(folder, "names.txt");
  if (fgets(header, sizeof header, file) == NULL) exit(2);
  for (int i = 0; i < NAMES && fgets(names[i], NAME_BYTES, file) != NULL; i++) names[i][strcspn(names[i], "\n")] = 0;
  fclose(file);
  file = open_input(folder, "rows.bin");
  fseek(file, 0, SEEK_END);
  rows = (uint64_t)ftell(file) / sizeof(double) / FIELDS;
  rewind(file);
  for (int i = 0; i < FIELDS; i++) {
    columns[i] = (double *)malloc(rows * sizeof(double));
    if (fread(columns[i], sizeof(double), rows, file) != rows) exit(2);
  }
  fclose(file);
  pass_ns = columns[TIME][rows - 1];
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t word = i;
    for (int bit = 0; bit < 8; bit++) word = word >> 1 ^ (word & 1 ? 0xedb88320u : 0);
    crc_table[i] = word;
  }
}

static uint32_t crc32_of(uint32_t crc, const char *bytes, size_t count) {
  crc = ~crc;
  for (size_t i = 0; i < count; i++) crc = crc_table[(crc ^ (uint8_t)bytes[i]) & 255] ^ crc >> 8;
  return ~crc;
}

/* One block of rows as whole numbers, at the times of the pass; the writer is timed without this. */
static int64_t block[FIELDS][BLOCK_ROWS];

static uint32_t take_block(uint64_t from, uint64_t pass) {
  uint32_t count = rows - from < BLOCK_ROWS ? (uint32_t)(rows - from) : BLOCK_ROWS;
  for (int field = 0; field < FIELDS; field++) {
    for (uint32_t i = 0; i < count; i++) block[field][i] = (int64_t)columns[field][from + i];
  }
  for (uint32_t i = 0; i < count; i++) block[TIME][i] += (int64_t)(pass_ns * (double)pass);
  return count;
}

static void writer_open(void);
static void write_block(uint32_t count);
static void writer_close(void);
/* The writer hands its bytes to this: to a checksum in the first turn, to /dev/null in the second. */
static uint32_t checksum;
static int sink = -1;

static inline void write_bytes(const char *bytes, size_t count) {
  if (sink < 0) checksum = crc32_of(checksum, bytes, count);
  else if (write(sink, bytes, count) != (ssize_t)count) exit(2);
}

static double write_all(uint64_t passes) {
  double spent_ns = 0;
  writer_open();
  for (uint64_t pass = 0; pass < passes; pass++) {
    for (uint64_t from = 0; from < rows; from += BLOCK_ROWS) {
      uint32_t count = take_block(from, pass);
      double start_ns = cpu_ns();
      write_block(count);
      spent_ns += cpu_ns() - start_ns;
    }
  }
  writer_close();
  return spent_ns;
}

int main(int count, char **values) {
  const uint64_t passes = argument(count, values, 2);
  read_rows(values[1]);
  write_all(passes);
  sink = open("/dev/null", O_WRONLY);
  double spent_ns = write_all(passes);
  printf("{\"checksum\":\"%u\",\"figures\":{\"rowNs\":%.3f}}\n", checksum, spent_ns / (double)(passes * rows));
  return 0;
}

#endif
