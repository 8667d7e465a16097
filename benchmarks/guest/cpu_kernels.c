// Small programs, one kind of work each: cpu_kernels NAME [TIMES]. Without a name it lists them. Each prints a sum, so that engines can be
// compared and the compiler leaves nothing out.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state = 88172645463325252u;
static uint64_t Random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}

static uint64_t Fibonacci(uint64_t n) { return n < 2 ? n : Fibonacci(n - 1) + Fibonacci(n - 2); }
static uint64_t Fib(void) { return Fibonacci(29); }

static uint64_t Sieve(void) {
  static unsigned char composite[1 << 20];
  memset(composite, 0, sizeof composite);
  uint64_t count = 0;
  for (size_t i = 2; i < sizeof composite; ++i) {
    if (composite[i]) continue;
    ++count;
    for (size_t j = i * i; j < sizeof composite; j += i) composite[j] = 1;
  }
  return count;
}

static uint64_t Collatz(void) {
  uint64_t longest = 0;
  for (uint64_t start = 1; start < 60000; ++start) {
    uint64_t length = 0;
    for (uint64_t n = start; n != 1; n = n & 1 ? 3 * n + 1 : n / 2) ++length;
    if (length > longest) longest = length;
  }
  return longest;
}

static uint64_t Division(void) {
  uint64_t sum = 0;
  for (uint64_t i = 1; i < 2000000; ++i) sum += (0xfedcba9876543210u ^ i) / (i | 3) % 1000;
  return sum;
}

// A machine with an accumulator, a counter and a jump table.
static uint64_t Bytecode(void) {
  static const unsigned char program[] = {0, 1, 2, 3, 1, 0, 2, 4};
  uint64_t a = 1, counter = 3000000;
  for (size_t pc = 0;;) {
    switch (program[pc++]) {
      case 0: a += counter; break;
      case 1: a ^= a << 3; break;
      case 2: a -= a >> 5; break;
      case 3: if (a & 1) a += 7; break;
      case 4: if (--counter == 0) return a; pc = 0; break;
      default: return 0;
    }
  }
}

static uint32_t Rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }
static uint64_t Sha256(void) {
  uint32_t k[64], w[64], h[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (int i = 0; i < 64; ++i) k[i] = (uint32_t)Random();
  for (int block = 0; block < 12000; ++block) {
    for (int i = 0; i < 16; ++i) w[i] = (uint32_t)(block * 16 + i) * 2654435761u;
    for (int i = 16; i < 64; ++i)
      w[i] = w[i - 16] + (Rotate(w[i - 15], 7) ^ Rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
             (Rotate(w[i - 2], 17) ^ Rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    uint32_t s[8];
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; ++i) {
      const uint32_t t1 = s[7] + (Rotate(s[4], 6) ^ Rotate(s[4], 11) ^ Rotate(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
      const uint32_t t2 = (Rotate(s[0], 2) ^ Rotate(s[0], 13) ^ Rotate(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
      memmove(s + 1, s, 7 * sizeof *s);
      s[4] += t1;
      s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; ++i) h[i] += s[i];
  }
  return h[0];
}

static uint64_t Memcpy(void) {
  enum { kBytes = 1 << 18 };
  static char from[kBytes], to[kBytes + 64];
  for (int i = 0; i < 2000; ++i) {
    memcpy(to + i % 64, from, kBytes - 64);
    from[i] = to[i + 1] + 1;
  }
  return (unsigned char)to[100];
}

static int Compare(const void* a, const void* b) {
  const uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return (x > y) - (x < y);
}
static uint64_t Qsort(void) {
  enum { kCount = 200000 };
  static uint64_t values[kCount];
  for (int i = 0; i < kCount; ++i) values[i] = Random();
  qsort(values, kCount, sizeof *values, Compare);
  return values[kCount / 2];
}

struct Tree {
  struct Tree *left, *right;
};
static struct Tree* Grow(int depth) {
  struct Tree* tree = malloc(sizeof *tree);
  tree->left = depth > 0 ? Grow(depth - 1) : NULL;
  tree->right = depth > 0 ? Grow(depth - 1) : NULL;
  return tree;
}
static uint64_t Fell(struct Tree* tree) {
  if (tree == NULL) return 0;
  const uint64_t nodes = 1 + Fell(tree->left) + Fell(tree->right);
  free(tree);
  return nodes;
}
static uint64_t BinaryTrees(void) {
  uint64_t nodes = 0;
  for (int i = 0; i < 30; ++i) nodes += Fell(Grow(13));
  return nodes;
}

static uint64_t Chase(size_t count, uint64_t steps) {
  void** cells = malloc(count * sizeof *cells);
  size_t* order = malloc(count * sizeof *order);
  for (size_t i = 0; i < count; ++i) order[i] = i;
  for (size_t i = count - 1; i > 0; --i) {
    const size_t j = Random() % i, other = order[i];
    order[i] = order[j];
    order[j] = other;
  }
  for (size_t i = 0; i < count; ++i) cells[order[i]] = &cells[order[(i + 1) % count]];
  void** at = cells;
  for (uint64_t i = 0; i < steps; ++i) at = *at;
  return (uint64_t)(at - cells);
}
static uint64_t Chase1MiB(void) { return Chase((1 << 20) / sizeof(void*), 20000000); }
static uint64_t Chase64MiB(void) { return Chase((64 << 20) / sizeof(void*), 2000000); }

static uint64_t Strings(void) {
  char text[512] = "";
  uint64_t sum = 0;
  for (int i = 0; i < 60000; ++i) {
    snprintf(text, sizeof text, "item %d of a longer line with %x in it", i, i * 31);
    sum += strlen(text) + (strchr(text, 'x') != NULL) + (strstr(text, "longer") - text) + (uint64_t)(strcmp(text, "item 5") > 0);
  }
  return sum;
}

static uint64_t Mandelbrot(void) {
  uint64_t inside = 0;
  for (int y = 0; y < 200; ++y)
    for (int x = 0; x < 200; ++x) {
      const double cr = x / 100.0 - 1.5, ci = y / 100.0 - 1.0;
      double r = 0, i = 0;
      int n = 0;
      for (; n < 300 && r * r + i * i < 4; ++n) {
        const double next = r * r - i * i + cr;
        i = 2 * r * i + ci;
        r = next;
      }
      inside += n == 300;
    }
  return inside;
}

static uint64_t Matmul(void) {
  enum { kSize = 192 };
  static double a[kSize][kSize], b[kSize][kSize], c[kSize][kSize];
  for (int i = 0; i < kSize; ++i)
    for (int j = 0; j < kSize; ++j) a[i][j] = i + j, b[i][j] = i - j;
  for (int times = 0; times < 5; ++times)
    for (int i = 0; i < kSize; ++i)
      for (int k = 0; k < kSize; ++k)
        for (int j = 0; j < kSize; ++j) c[i][j] += a[i][k] * b[k][j];
  return (uint64_t)(int64_t)c[7][9];
}

static uint64_t Libm(void) {
  double sum = 0;
  for (int i = 1; i < 400000; ++i) sum += sin(i) * exp(-i * 1e-5) + log(i) / sqrt(i);
  return (uint64_t)sum;
}

static uint64_t X87(void) {
  long double sum = 0;
  for (int i = 1; i < 3000000; ++i) sum += 1.0L / ((long double)i * i + 0.25L);
  return (uint64_t)(sum * 1e9L);
}

// REP MOVSB, STOSB, REPE CMPSB and REPNE SCASB over `size` bytes, some MiB in all.
static uint64_t RepeatedStrings(size_t size) {
  enum { kMost = 1 << 20, kTotal = 8 << 20 };
  static unsigned char a[kMost], b[kMost];
  uint64_t sum = 0;
  for (size_t done = 0; done < kTotal; done += size) {
    unsigned char *to = a, *from = b;
    size_t count = size;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(done) : "memory");
    to = b, from = a, count = size;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
    if (done % (4 * size) == 0) {
      b[size - 1] ^= 1;
      to = b, from = a, count = size;
      __asm__ volatile("repe cmpsb" : "+D"(to), "+S"(from), "+c"(count)::"memory", "cc");
      sum += (uint64_t)(to - b);
      to = b, count = size;
      __asm__ volatile("repne scasb" : "+D"(to), "+c"(count) : "a"(b[size - 1]) : "memory", "cc");
      sum += (uint64_t)(to - b);
    }
    sum += b[0];
  }
  return sum;
}
static uint64_t Rep64(void) { return RepeatedStrings(64); }
static uint64_t Rep4KiB(void) { return RepeatedStrings(4096); }
static uint64_t Rep1MiB(void) { return RepeatedStrings(1 << 20); }

static const struct {
  const char* name;
  uint64_t (*run)(void);
} kKernels[] = {
    {"fib", Fib},           {"sieve", Sieve},     {"collatz", Collatz},      {"division", Division},      {"bytecode", Bytecode},
    {"sha256", Sha256},     {"memcpy", Memcpy},   {"qsort", Qsort},          {"binary_trees", BinaryTrees}, {"chase_1m", Chase1MiB},
    {"chase_64m", Chase64MiB}, {"strings", Strings}, {"mandelbrot", Mandelbrot}, {"matmul", Matmul},          {"libm", Libm},
    {"x87", X87},           {"rep_64", Rep64},    {"rep_4k", Rep4KiB},       {"rep_1m", Rep1MiB},
};
enum { kListed = 16 };  // the others stand beside the table of bench_cpu

int main(int argc, char** argv) {
  const int times = argc > 2 ? atoi(argv[2]) : 1;
  for (size_t i = 0; i < sizeof kKernels / sizeof *kKernels; ++i) {
    if (argc < 2) {
      if (i < kListed) puts(kKernels[i].name);
    } else if (strcmp(argv[1], kKernels[i].name) == 0) {
      uint64_t sum = 0;
      for (int n = 0; n < times; ++n) sum += kKernels[i].run();
      printf("%s %lu\n", argv[1], sum);
      return 0;
    }
  }
  return argc < 2 ? 0 : 2;
}
