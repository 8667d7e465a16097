// cpuid, xgetbv agree, and each feature that is announced works.
#include "check.h"

#include <cpuid.h>
#include <sys/auxv.h>

__attribute__((target("sse4.2"))) static int Sse42(void) {
  return __builtin_ia32_crc32qi(0, 'a') != 0 && __builtin_ia32_crc32di(1, 2) != 0;
}
__attribute__((target("popcnt"))) static int Popcnt(void) { return __builtin_popcountll(0xff00ff00ff) == 24; }
__attribute__((target("avx2"))) static int Avx2(void) {
  typedef int Vector __attribute__((vector_size(32)));
  volatile Vector a = {1, 2, 3, 4, 5, 6, 7, 8};
  Vector b = a * a + a;
  return b[7] == 72 && b[0] == 2;
}
__attribute__((target("fma"))) static int Fma(void) {
  volatile double x = 0x1.0000001p0;
  return __builtin_fma(x, x, -1.0) != x * x - 1.0;
}
__attribute__((target("bmi,bmi2,lzcnt"))) static int Bmi(void) {
  volatile uint64_t x = 0x50;
  return __builtin_ia32_lzcnt_u64(x) == 57 && __builtin_ia32_pdep_di(3, x) == 0x50 &&
         __builtin_ia32_bextr_u64(x, 0x404) == 5;
}
__attribute__((target("movbe"))) static int Movbe(void) {
  volatile uint32_t x = 0x01020304;
  return __builtin_bswap32(x) == 0x04030201;
}
static int Cmpxchg16b(void) {
  static _Alignas(16) uint64_t pair[2] = {1, 2};
  uint64_t low = 1, high = 2;
  unsigned char done;
  __asm__("lock cmpxchg16b %1; sete %0" : "=q"(done), "+m"(pair), "+a"(low), "+d"(high) : "b"(3ull), "c"(4ull) : "cc");
  return done && pair[0] == 3 && pair[1] == 4;
}

int main(void) {
  unsigned a, b, c, d;
  CHECK(__get_cpuid(1, &a, &b, &c, &d));
  CHECK((d & bit_SSE2) && (d & bit_FXSAVE) && (d & bit_CMOV) && (d & bit_MMX));
  CHECK(getauxval(AT_PLATFORM) != 0);
  unsigned vendor[4];
  CHECK(__get_cpuid(0, &vendor[3], &vendor[0], &vendor[2], &vendor[1]));
  CHECK(vendor[3] >= 7);
  if (c & bit_SSE4_2) CHECK(Sse42());
  if (c & bit_POPCNT) CHECK(Popcnt());
  if (c & bit_MOVBE) CHECK(Movbe());
  if (c & bit_CMPXCHG16B) CHECK(Cmpxchg16b());
  unsigned leaf7 = 0;
  CHECK(__get_cpuid_count(7, 0, &a, &leaf7, &d, &d));
  if (c & bit_OSXSAVE) {
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    CHECK_EQ(low & 3, 3);
    unsigned size_now, size_all;
    CHECK(__get_cpuid_count(13, 0, &a, &size_now, &size_all, &d));
    CHECK(size_now >= 576 && size_now <= size_all && (low & ~a) == 0);
    if (c & bit_AVX) CHECK_EQ(low & 4, 4);
    if ((c & bit_AVX) && (leaf7 & bit_AVX2)) CHECK(Avx2());
    if (c & bit_FMA) CHECK(Fma());
  } else {
    CHECK(!(c & bit_AVX) && !(leaf7 & bit_AVX2));
  }
  if ((leaf7 & bit_BMI) && (leaf7 & bit_BMI2)) CHECK(Bmi());
  if (c & bit_RDRND) {
    uint64_t r = 0, s = 0;
    unsigned char ok = 0;
    for (int i = 0; i < 100 && !ok; ++i) __asm__ volatile("rdrand %0; setc %1" : "=r"(r), "=q"(ok)::"cc");
    CHECK(ok);
    __asm__ volatile("rdrand %0" : "=r"(s)::"cc");
    CHECK(r != s);
  }
  return Finish();
}
