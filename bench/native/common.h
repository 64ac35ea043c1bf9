/* What the C and C++ baselines share: the clock, the random numbers of sim/core/random.ts and the exponential increments of
 * sim/core/distributions.ts, bit by bit. Compile with -ffp-contract=off: a fused multiply-add would round differently. */
#ifndef HINTSIM_BENCH_COMMON_H
#define HINTSIM_BENCH_COMMON_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* CPU time of the process, ns. */
static inline double cpu_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static inline uint32_t rotate_left(uint32_t word, int bits) { return (word << bits) | (word >> (32 - bits)); }

/* xoshiro128** 1.1. */
struct random_stream {
  uint32_t a, b, c, d;
};

static inline uint32_t next_uint32(struct random_stream *r) {
  uint32_t result = rotate_left(r->b * 5u, 7) * 9u;
  uint32_t shifted = r->b << 9;
  r->c ^= r->a;
  r->d ^= r->b;
  r->b ^= r->c;
  r->a ^= r->d;
  r->c ^= shifted;
  r->d = rotate_left(r->d, 11);
  return result;
}

static inline double next_float(struct random_stream *r) {
  uint32_t high = next_uint32(r) >> 5;
  uint32_t low = next_uint32(r) >> 6;
  return ((double)high * 67108864.0 + (double)low) / 9007199254740992.0;
}

static inline double log_of_ratio(double z) {
  double square = z * z, sum = 0, power = z;
  for (int odd = 1; sum + power / odd != sum; odd += 2) {
    sum += power / odd;
    power *= square;
  }
  return 2 * sum;
}

/* naturalLog() for normal numbers, which is all that 1 - next_float() gives. */
static inline double natural_log(double x) {
  const double ln2_high = 6.93147180369123816490e-1, ln2_low = 1.90821492927058770002e-10;
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int exponent = (int)((bits >> 52) & 0x7ff) - 1023;
  bits = (bits & 0xfffffffffffffull) | (1023ull << 52);
  memcpy(&x, &bits, sizeof x);
  if (x >= 1.5) {
    x *= 0.5;
    exponent++;
  }
  int k = (int)(x * 128 + 0.5);
  double center = k / 128.0;
  double z = (x - center) / (x + center);
  double square = z * z;
  double near = 2 * (z + z * square * (1 / 3.0 + square * (1 / 5.0 + square * (1 / 7.0))));
  return exponent * ln2_high + (log_of_ratio((k - 128.0) / (k + 128.0)) + (near + exponent * ln2_low));
}

/* Exponential increments of this mean, whole ns; see bench/programs/measure.ts. */
#define INCREMENTS 65536u
static inline uint32_t *exponential_increments(double mean_ns) {
  struct random_stream random = {1, 2, 3, 4};
  uint32_t *increments = (uint32_t *)malloc(INCREMENTS * sizeof(uint32_t));
  for (uint32_t i = 0; i < INCREMENTS; i++) {
    increments[i] = (uint32_t)(mean_ns * (0 - natural_log(1 - next_float(&random))) + 0.5);
  }
  return increments;
}

/* Mixes a value into a checksum that depends on the order. */
static inline uint32_t mix(uint32_t checksum, uint32_t value) { return checksum * 31u + value; }

/* The n-th argument as a whole number. */
static inline uint64_t argument(int count, char **values, int index) {
  if (index >= count) {
    fprintf(stderr, "argument %d is missing\n", index);
    exit(2);
  }
  return strtoull(values[index], NULL, 10);
}

#endif
