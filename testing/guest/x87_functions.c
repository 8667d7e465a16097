// x87 functions: results of FSIN, FPATAN, F2XM1, FYL2X, FPREM, FSCALE, FXTRACT, BCD, to the last bit.
#include "check.h"

static uint64_t Low(long double x) {
  uint64_t bits;
  memcpy(&bits, &x, 8);
  return bits;
}
static unsigned High(long double x) {
  unsigned short high;
  memcpy(&high, (const char*)&x + 8, 2);
  return high;
}
#define UNARY(op, x)                                        \
  ({                                                        \
    long double r;                                          \
    __asm__ volatile(op : "=t"(r) : "0"((long double)(x))); \
    r;                                                      \
  })
#define BINARY(op, top, below)                                                                     \
  ({                                                                                               \
    long double r;                                                                                 \
    __asm__ volatile(op : "=t"(r) : "0"((long double)(top)), "u"((long double)(below)) : "st(1)"); \
    r;                                                                                             \
  })

int main(void) {
  __asm__ volatile("fninit");
  CHECK_EQ(Low(UNARY("fsqrt", 2)), 0xb504f333f9de6484);
  CHECK_EQ(Low(UNARY("fsin", 1)), 0xd76aa47848677021);
  CHECK_EQ(Low(UNARY("fcos", 1)), 0x8a51407da8345c92);
  CHECK_EQ(Low(UNARY("f2xm1", 0.5)), 0xd413cccfe7799211);
  CHECK_EQ(Low(BINARY("fpatan", 1, 1)), 0xc90fdaa22168c235);
  CHECK_EQ(Low(BINARY("fyl2x", 10, 1)), 0xd49a784bcd1b8afe);
  CHECK_EQ(High(UNARY("frndint", 2.5)), 0x4000);
  CHECK(UNARY("frndint", 2.5) == 2);
  CHECK(UNARY("fabs", -3) == 3 && UNARY("fchs", 3) == -3);
  long double rest;
  __asm__ volatile("fprem" : "=t"(rest) : "0"(17.5L), "u"(5.0L));
  CHECK(rest == 2.5L);
  __asm__ volatile("fprem1" : "=t"(rest) : "0"(17.5L), "u"(4.0L));
  CHECK(rest == 1.5L);
  unsigned short status;
  __asm__ volatile("fprem; fnstsw %1" : "=t"(rest), "=a"(status) : "0"(0x1p80L), "u"(3.0L));
  CHECK(status & 0x400);  // not done: more than 64 bits of quotient
  long double scaled;
  __asm__ volatile("fscale" : "=t"(scaled) : "0"(1.5L), "u"(10.9L));
  CHECK(scaled == 1536);
  long double significand, exponent;
  __asm__ volatile("fxtract" : "=t"(significand), "=u"(exponent) : "0"(-20.0L));
  CHECK(significand == -1.25L && exponent == 4);
  unsigned char bcd[10];
  __asm__ volatile("fbstp %0" : "=m"(bcd) : "t"(-1234567890.0L) : "st");
  CHECK(bcd[0] == 0x90 && bcd[1] == 0x78 && bcd[4] == 0x12 && bcd[5] == 0 && bcd[9] == 0x80);
  long double read_back;
  __asm__ volatile("fbld %1" : "=t"(read_back) : "m"(bcd));
  CHECK(read_back == -1234567890.0L);
  long double sine, cosine;
  __asm__ volatile("fsincos" : "=t"(cosine), "=u"(sine) : "0"(0.5L));
  CHECK(sine == UNARY("fsin", 0.5) && cosine == UNARY("fcos", 0.5));
  __asm__ volatile("fptan; fstp %%st(0)" : "=t"(sine) : "0"(0.5L));
  CHECK(sine > 0.5463L && sine < 0.5464L);
  return Finish();
}
