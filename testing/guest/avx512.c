// AVX-512: registers across calls, signals, fork and threads; masks that suppress faults; what other encodings do to
// the upper halves. Skips where the CPU has none.
#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "check.h"

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512cd"), noinline))

static int HasAvx512(void) {
  unsigned a, b, c, d, low, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0xe6) != 0xe6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  const unsigned wanted = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL | bit_AVX512CD;
  return (b & wanted) == wanted;
}

// --- computation ---

AVX512 static void Computes(void) {
  int32_t in[16], out[16];
  for (int i = 0; i < 16; ++i) in[i] = i;
  const __m512i v = _mm512_loadu_si512(in);
  _mm512_storeu_si512(out, _mm512_mask_add_epi32(v, 0xaaaa, v, _mm512_set1_epi32(100)));
  for (int i = 0; i < 16; ++i) CHECK_EQ(out[i], i % 2 ? i + 100 : i);
  CHECK_EQ(_mm512_cmpgt_epi32_mask(v, _mm512_set1_epi32(11)), 0xf000);
  CHECK_EQ(_mm512_reduce_add_epi32(v), 120);

  memset(out, -1, sizeof out);
  _mm512_mask_compressstoreu_epi32(out, 0x8421, v);
  CHECK(out[0] == 0 && out[1] == 5 && out[2] == 10 && out[3] == 15 && out[4] == -1);
  _mm512_storeu_si512(out, _mm512_maskz_expandloadu_epi32(0x8421, in));
  CHECK(out[0] == 0 && out[5] == 1 && out[10] == 2 && out[15] == 3 && out[1] == 0);

  const __m512i reversed = _mm512_sub_epi32(_mm512_set1_epi32(15), v);
  _mm512_storeu_si512(out, _mm512_mask_i32gather_epi32(v, 0x00ff, reversed, in, 4));
  for (int i = 0; i < 16; ++i) CHECK_EQ(out[i], i < 8 ? 15 - i : i);
  memset(out, 0, sizeof out);
  _mm512_mask_i32scatter_epi32(out, 0xff00, reversed, v, 4);
  for (int i = 0; i < 16; ++i) CHECK_EQ(out[i], i < 8 ? 15 - i : 0);

  // A rounding mode of its own, whatever MXCSR says.
  const __m512 third = _mm512_set1_ps(3);
  const __m512 up = _mm512_div_round_ps(_mm512_set1_ps(1), third, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
  const __m512 down = _mm512_div_round_ps(_mm512_set1_ps(1), third, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  CHECK_EQ(_mm512_cmp_ps_mask(up, down, _CMP_GT_OQ), 0xffff);
}

// KORTEST's flags decide a loop.
AVX512 static size_t Length(const char* text) {
  for (size_t i = 0;; i += 64) {
    const __mmask64 zeros = _mm512_testn_epi8_mask(_mm512_loadu_si512(text + i), _mm512_loadu_si512(text + i));
    if (!_kortestz_mask64_u8(zeros, zeros)) return i + (size_t)__builtin_ctzll(zeros);
  }
}

// --- the upper halves ---

struct Zmm {
  uint64_t words[8];
};

AVX512 static void UpperHalves(void) {
  struct Zmm ones, sse, vex, evex, after, high;
  memset(&ones, 0xff, sizeof ones);
  __asm__ volatile(
      "vmovdqu64 %5, %%zmm5\n vmovdqa64 %%zmm5, %%zmm6\n vmovdqa64 %%zmm5, %%zmm7\n vmovdqa64 %%zmm5, %%zmm8\n"
      "vmovdqa64 %%zmm5, %%zmm20\n"
      "paddd %%xmm5, %%xmm5\n vmovdqu64 %%zmm5, %0\n"
      "vpaddd %%ymm6, %%ymm6, %%ymm6\n vmovdqu64 %%zmm6, %1\n"
      "%{evex%} vpaddd %%xmm7, %%xmm7, %%xmm7\n vmovdqu64 %%zmm7, %2\n"
      "vzeroupper\n vmovdqu64 %%zmm8, %3\n vmovdqu64 %%zmm20, %4\n"
      : "=m"(sse), "=m"(vex), "=m"(evex), "=m"(after), "=m"(high)
      : "m"(ones)
      : "xmm5", "xmm6", "xmm7", "xmm8", "xmm20", "memory");
  CHECK(sse.words[0] == 0xfffffffefffffffe && sse.words[2] == ~0ull && sse.words[7] == ~0ull);
  CHECK(vex.words[3] == 0xfffffffefffffffe && vex.words[4] == 0 && vex.words[7] == 0);
  CHECK(evex.words[1] == 0xfffffffefffffffe && evex.words[2] == 0 && evex.words[7] == 0);
  CHECK(after.words[1] == ~0ull && after.words[2] == 0 && after.words[7] == 0);
  CHECK(high.words[0] == ~0ull && high.words[7] == ~0ull);
}

// --- registers that somebody else must not touch ---

struct Registers {
  struct Zmm zmm3, zmm17, zmm31;
  uint64_t k1, k6;
};

// Loads them, makes a system call, stores them. The call's answer.
AVX512 static long AcrossCall(long number, long a, long b, const struct Registers* in, struct Registers* out) {
  long result = number;
  __asm__ volatile(
      "vmovdqu64 (%[in]), %%zmm3\n vmovdqu64 64(%[in]), %%zmm17\n vmovdqu64 128(%[in]), %%zmm31\n"
      "kmovq 192(%[in]), %%k1\n kmovq 200(%[in]), %%k6\n"
      "syscall\n"
      "vmovdqu64 %%zmm3, (%[out])\n vmovdqu64 %%zmm17, 64(%[out])\n vmovdqu64 %%zmm31, 128(%[out])\n"
      "kmovq %%k1, 192(%[out])\n kmovq %%k6, 200(%[out])\n"
      : "+a"(result)
      : "D"(a), "S"(b), [in] "r"(in), [out] "r"(out)
      : "rcx", "r11", "xmm3", "xmm17", "xmm31", "k1", "k6", "memory");
  return result;
}

static struct Registers Pattern(unsigned seed) {
  struct Registers registers;
  unsigned char* bytes = (unsigned char*)&registers;
  for (size_t i = 0; i < sizeof registers; ++i) bytes[i] = (unsigned char)(i * 7 + seed * 31 + 1);
  return registers;
}

static void SystemCallKeepsThem(void) {
  const struct Registers in = Pattern(1);
  struct Registers out = {0};
  CHECK_EQ(AcrossCall(SYS_getpid, 0, 0, &in, &out), getpid());
  CHECK(memcmp(&in, &out, sizeof in) == 0);
}

static void ForkKeepsThem(void) {
  const struct Registers in = Pattern(2);
  struct Registers out = {0};
  const long pid = AcrossCall(SYS_fork, 0, 0, &in, &out);
  CHECK(pid >= 0);
  CHECK(memcmp(&in, &out, sizeof in) == 0);
  if (pid == 0) _exit(memcmp(&in, &out, sizeof in) == 0 ? 42 : 1);
  int status;
  CHECK_EQ(waitpid((pid_t)pid, &status, 0), pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void* Yields(void* argument) {
  const unsigned seed = (unsigned)(uintptr_t)argument;
  for (unsigned i = 0; i < 300; ++i) {
    const struct Registers in = Pattern(seed + 16 * i);
    struct Registers out = {0};
    CHECK_EQ(AcrossCall(SYS_sched_yield, 0, 0, &in, &out), 0);
    CHECK(memcmp(&in, &out, sizeof in) == 0);
  }
  return NULL;
}

static void ThreadsHaveTheirOwn(void) {
  pthread_t threads[4];
  for (uintptr_t i = 0; i < 4; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Yields, (void*)(i + 1)), 0);
  for (int i = 0; i < 4; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

// --- signal frames ---

static volatile int frame_is_good;
static struct Registers expected;

static size_t OffsetOf(unsigned component) {
  unsigned a, b, c, d;
  CHECK(__get_cpuid_count(13, component, &a, &b, &c, &d));
  return b;
}

AVX512 static void OnUsr1(int number, siginfo_t* info, void* raw) {
  (void)number, (void)info;
  // A handler begins with registers as a reset leaves them.
  uint64_t k6;
  struct Zmm zmm31;
  __asm__ volatile("kmovq %%k6, %0\n vmovdqu64 %%zmm31, %1" : "=r"(k6), "=m"(zmm31));
  int good = k6 == 0 && zmm31.words[0] == 0 && zmm31.words[7] == 0;
  ucontext_t* context = raw;
  unsigned char* image = (unsigned char*)context->uc_mcontext.fpregs;
  uint32_t magic, size;
  uint64_t features, present;
  memcpy(&magic, image + 464, 4);
  memcpy(&features, image + 472, 8);
  memcpy(&size, image + 480, 4);
  memcpy(&present, image + 512, 8);
  good &= magic == 0x46505853 && (features & 0xe0) == 0xe0 && (present & 0xe0) == 0xe0;
  const size_t opmask = OffsetOf(5), high = OffsetOf(6), more = OffsetOf(7);
  good &= size >= opmask + 64 && size >= high + 512 && size >= more + 1024;
  uint32_t magic2;
  memcpy(&magic2, image + size, 4);
  good &= magic2 == 0x46505845;
  good &= memcmp(image + opmask + 8, &expected.k1, 8) == 0 && memcmp(image + opmask + 48, &expected.k6, 8) == 0;
  good &= memcmp(image + high + 3 * 32, &expected.zmm3.words[4], 32) == 0;
  good &=
      memcmp(image + more + 64, &expected.zmm17, 64) == 0 && memcmp(image + more + 15 * 64, &expected.zmm31, 64) == 0;
  // What it changes there comes into the registers.
  expected.k1 = 0x1234;
  expected.zmm17.words[5] = 77;
  memcpy(image + opmask + 8, &expected.k1, 8);
  memcpy(image + more + 64, &expected.zmm17, 64);
  frame_is_good = good;
}

static void SignalFramesHoldThem(void) {
  struct sigaction action = {0};
  action.sa_sigaction = OnUsr1;
  action.sa_flags = SA_SIGINFO;
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  const struct Registers in = expected = Pattern(3);
  struct Registers out = {0};
  CHECK_EQ(AcrossCall(SYS_kill, getpid(), SIGUSR1, &in, &out), 0);
  CHECK(frame_is_good);
  CHECK(memcmp(&out, &expected, sizeof out) == 0);
  // An alternate stack of the size that the kernel says suffices for the frame; and for a handler of some size.
  CHECK(getauxval(AT_MINSIGSTKSZ) >= OffsetOf(7) + 1024);
  const size_t size = getauxval(AT_MINSIGSTKSZ) + 8192;
  stack_t stack = {.ss_sp = malloc(size), .ss_size = size};
  CHECK_EQ(sigaltstack(&stack, NULL), 0);
  action.sa_flags |= SA_ONSTACK;
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  frame_is_good = 0;
  const struct Registers again = expected = Pattern(4);
  CHECK_EQ(AcrossCall(SYS_kill, getpid(), SIGUSR1, &again, &out), 0);
  CHECK(frame_is_good);
  CHECK(memcmp(&out, &expected, sizeof out) == 0);
}

// --- faults ---

static sigjmp_buf after_fault;
static void* volatile fault_address;
static volatile int fault_code;
static uint64_t mask_at_fault;

static void OnFault(int number, siginfo_t* info, void* raw) {
  (void)number;
  ucontext_t* context = raw;
  fault_address = info->si_addr;
  fault_code = info->si_code;
  unsigned a, offset, c, d;
  if (__get_cpuid_count(13, 5, &a, &offset, &c, &d))
    memcpy(&mask_at_fault, (unsigned char*)context->uc_mcontext.fpregs + offset + 8, 8);  // k1
  siglongjmp(after_fault, 1);
}

AVX512 static void MasksSuppressFaults(void) {
  const size_t page = 4096;
  unsigned char* memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED && mprotect(memory + page, page, PROT_NONE) == 0);
  for (size_t i = 0; i < page; ++i) memory[i] = (unsigned char)i;
  struct sigaction action = {0};
  action.sa_sigaction = OnFault;
  action.sa_flags = SA_SIGINFO;
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGFPE, &action, NULL) == 0);

  // The last 20 bytes that are there; of 64.
  unsigned char* end = memory + page;
  unsigned char bytes[64];
  _mm512_storeu_si512(bytes, _mm512_maskz_loadu_epi8((1u << 20) - 1, end - 20));
  for (int i = 0; i < 64; ++i) CHECK_EQ(bytes[i], i < 20 ? (unsigned char)(page - 20 + i) : 0);
  _mm512_mask_storeu_epi32(end - 20, 0x1f, _mm512_set1_epi32(0x5a5a5a5a));
  CHECK(end[-1] == 0x5a && end[-20] == 0x5a && end[-21] == (unsigned char)(page - 21));
  CHECK_EQ(_mm512_mask_cmpeq_epi8_mask(0xff, _mm512_loadu_si512(end - 64), _mm512_maskz_loadu_epi8(0xff, end - 8)), 0);
  // Nothing at all, from nowhere: as a broadcast, too.
  volatile __mmask8 none = 0;
  const __m512d nothing = _mm512_maskz_add_pd(none, _mm512_set1_pd(1), _mm512_set1_pd(*(double*)memory));
  CHECK_EQ(_mm512_cmp_pd_mask(nothing, _mm512_setzero_pd(), _CMP_EQ_OQ), 0xff);
  __asm__ volatile(
      "kxorq %%k1, %%k1, %%k1\n vaddpd (%0)%{1to8%}, %%zmm1, %%zmm2%{%%k1%}\n vmovdqa64 %%zmm3, (%0)%{%%k1%}"
      :
      : "r"(end + 64)
      : "xmm2", "k1", "memory");

  // One element too many: the first byte that is not there.
  if (sigsetjmp(after_fault, 1) == 0) {
    __asm__ volatile("kmovq %1, %%k1\n vmovdqu32 (%0), %%zmm4%{%%k1%}%{z%}"
                     :
                     : "r"(end - 20), "r"(0x3full)
                     : "xmm4", "k1");
    CHECK(!"reached");
  }
  CHECK(fault_address == end && fault_code == SEGV_ACCERR);
  // A store of which a part would be there writes nothing of it.
  const unsigned char before = end[-1];
  if (sigsetjmp(after_fault, 1) == 0) {
    __asm__ volatile("vpternlogd $255, %%zmm4, %%zmm4, %%zmm4\n vmovdqu32 %%zmm4, (%0)"
                     :
                     : "r"(end - 20)
                     : "xmm4", "memory");
    CHECK(!"reached");
  }
  CHECK(fault_address == end && end[-1] == before);
  // A gather stops at the third element, and its mask says so.
  const int32_t offsets[16] = {0, 4, 4096, 8};
  if (sigsetjmp(after_fault, 1) == 0) {
    __asm__ volatile("vmovdqu32 %1, %%zmm5\n kmovq %2, %%k1\n vpgatherdd (%0,%%zmm5), %%zmm6%{%%k1%}"
                     :
                     : "r"(memory), "m"(offsets), "r"(0xfull)
                     : "xmm5", "xmm6", "k1", "memory");
    CHECK(!"reached");
  }
  CHECK(fault_address == end);
  CHECK_EQ(mask_at_fault, 0xc);
  // An aligned move that is not aligned.
  if (sigsetjmp(after_fault, 1) == 0) {
    __asm__ volatile("vmovdqa64 (%0), %%zmm4" : : "r"(memory + 32) : "xmm4", "memory");
    CHECK(!"reached");
  }
  CHECK_EQ(fault_code, SI_KERNEL);
  // A division by zero that is not masked, in one lane; and where the mask leaves that lane out.
  const float divisors[16] = {1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const unsigned csr = _mm_getcsr();
  _mm_setcsr(csr & ~_MM_MASK_DIV_ZERO & ~0x3fu);
  __asm__ volatile("kmovq %1, %%k1\n vmovups %0, %%zmm1\n vdivps %%zmm1, %%zmm1, %%zmm2%{%%k1%}"
                   :
                   : "m"(divisors), "r"(0xfff7ull)
                   : "xmm1", "xmm2", "k1");
  if (sigsetjmp(after_fault, 1) == 0) {
    __asm__ volatile("vbroadcastss %1, %%zmm3\n vmovups %0, %%zmm1\n vdivps %%zmm1, %%zmm3, %%zmm2"
                     :
                     : "m"(divisors), "m"(divisors[0])
                     : "xmm1", "xmm2", "xmm3");
    CHECK(!"reached");
  }
  CHECK_EQ(fault_code, FPE_FLTDIV);
  _mm_setcsr(csr);
}

int main(void) {
  if (!HasAvx512()) {
    dprintf(2, "skipped: the CPU has no AVX-512\n");
    return Finish();
  }
  Computes();
  char text[200];
  memset(text, 'x', sizeof text);
  text[131] = 0;
  CHECK_EQ(Length(text), 131);
  UpperHalves();
  SystemCallKeepsThem();
  ForkKeepsThem();
  ThreadsHaveTheirOwn();
  SignalFramesHoldThem();
  MasksSuppressFaults();
  return Finish();
}
