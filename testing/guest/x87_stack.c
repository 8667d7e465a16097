// The x87 stack: overflow and underflow, tags, FXAM classes, environment and state saved and restored, MMX over it.
#include "check.h"

static unsigned short Status(void) {
  unsigned short status;
  __asm__ volatile("fnstsw %0" : "=m"(status));
  return status;
}
static unsigned Class(long double value) {
  unsigned short status;
  __asm__ volatile("fldt %1; fxam; fnstsw %0; fstp %%st(0)" : "=m"(status) : "m"(value));
  return status >> 8 & 0x45;  // C3, C2, C0
}

int main(void) {
  __asm__ volatile("fninit");
  CHECK_EQ(Status() >> 11 & 7, 0);
  __asm__ volatile("fld1; fldz; fldpi");
  CHECK_EQ(Status() >> 11 & 7, 5);
  __asm__ volatile("fincstp; ffree %%st(0); fdecstp" ::: "memory");
  struct {
    unsigned short control, r0, status, r1, tags, r2;
    unsigned ip, cs, dp, ds;
  } env;
  __asm__ volatile("fnstenv %0" : "=m"(env));
  CHECK_EQ(env.tags, 0x33ff);  // registers 5 and 7 valid (pi, 1), 6 freed
  __asm__ volatile("fninit");
  // Nine pushes: the ninth is an invalid operation with C1 set.
  for (int i = 0; i < 8; ++i) __asm__ volatile("fld1");
  CHECK_EQ(Status() & 0x41, 0);
  __asm__ volatile("fldz");
  CHECK_EQ(Status() & 0x241, 0x241);
  long double top;
  __asm__ volatile("fstpt %0" : "=m"(top));
  uint64_t bits;
  memcpy(&bits, &top, 8);
  CHECK_EQ(bits, 0xc000000000000000);  // the default NaN
  __asm__ volatile("fninit; fstp %st(0)");
  CHECK_EQ(Status() & 0x241, 0x041);  // underflow: C1 clear
  __asm__ volatile("fninit");

  CHECK_EQ(Class(1.0L), 0x04);
  CHECK_EQ(Class(0.0L), 0x40);
  CHECK_EQ(Class(__builtin_infl()), 0x05);
  CHECK_EQ(Class(__builtin_nanl("")), 0x01);
  CHECK_EQ(Class(0x1p-16400L), 0x44);

  // MMX writes the registers' significands and marks all valid; EMMS empties them.
  uint64_t value = 0x0123456789abcdef;
  long double seen;
  __asm__ volatile("movq %0, %%mm0" ::"m"(value));
  __asm__ volatile("fnstenv %0; fldenv %0" : "+m"(env));
  CHECK_EQ(env.tags & 3, 2);  // a special: its exponent is all ones
  __asm__ volatile("emms");
  __asm__ volatile("fnstenv %0; fldenv %0" : "+m"(env));
  CHECK_EQ(env.tags, 0xffff);

  _Alignas(16) unsigned char area[108];
  __asm__ volatile("fninit; fldpi; fldl2e; fnsave %0" : "=m"(area));
  CHECK_EQ(Status() >> 11 & 7, 0);
  __asm__ volatile("frstor %1; fstpt %0" : "=m"(seen) : "m"(area));
  CHECK(seen > 1.4426950408889634L && seen < 1.4426950408889635L);
  __asm__ volatile("fstpt %0" : "=m"(seen));
  CHECK(seen > 3.14159265358979323L && seen < 3.1415926535897933L);
  return Finish();
}
