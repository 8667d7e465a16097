#include "testing/silicon/native_machine.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "cpu/fxsave.h"
#include "cpu/translator/host_gs_base.h"
#include "cpu/xsave.h"

namespace remora::silicon {
namespace {

constexpr int kSignals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
constexpr size_t kStackBytes = 1 << 17;
// The frame's software bytes: a magic number where more than FXSAVE's image follows, and how much.
constexpr size_t kMagicOffset = 464, kXfeaturesOffset = 472;
constexpr uint32_t kMagic = 0x46505853;

constexpr int kGprOf[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                            REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

enum class Phase { kIdle, kEntering, kRunning };

// What the signal handler works on: the one thing that a handler can only reach by a global.
struct Channel {
  volatile Phase phase = Phase::kIdle;
  const TestCase* test_case = nullptr;
  Outcome* outcome = nullptr;
  gregset_t host_registers;
  cpu::XsaveImage host_vectors;
} g_channel;

cpu::ExitReason ReasonOf(int trap, const siginfo_t& info) {
  switch (trap) {
    case 0:
      return cpu::ExitReason::kDivide;
    case 1:
      return cpu::ExitReason::kSingleStep;
    case 3:
      return cpu::ExitReason::kBreakpoint;
    case 6:
      return cpu::ExitReason::kIllegal;
    case 12:  // #SS: a stack access that is not canonical
    case 13:
      return cpu::ExitReason::kProtection;
    case 14:
      return cpu::ExitReason::kFault;
    case 16:
      return cpu::ExitReason::kX87Error;
    case 17:
      return cpu::ExitReason::kAlignment;
    case 19:
      return cpu::ExitReason::kSimdError;
    default:
      std::fprintf(stderr, "silicon: unexpected trap %d, signal %d\n", trap, info.si_signo);
      std::abort();
  }
}

bool HasSoftware(const std::byte* vectors) {
  uint32_t magic;
  std::memcpy(&magic, vectors + kMagicOffset, sizeof(magic));
  return magic == kMagic;
}
// The host may have the components elsewhere than Remora.
size_t HostOffset(unsigned component) {
  static const auto offsets = [] {
    std::array<size_t, 8> found{};
    for (unsigned i = 2; i < found.size(); ++i) {
      unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
      __get_cpuid_count(0xd, i, &eax, &ebx, &ecx, &edx);
      found[i] = ebx;
    }
    return found;
  }();
  return offsets[component];
}
// Calls f(where a component is in the frame, where in an image, how long it is).
template <typename F>
void ForEachComponent(const std::byte* vectors, F f) {
  if (!HasSoftware(vectors)) return;
  for (const cpu::XsaveComponent& component : cpu::kXsaveComponents)
    if ((std::to_integer<unsigned>(vectors[kXfeaturesOffset]) >> component.number & 1) != 0)
      f(HostOffset(component.number), component.offset, component.bytes);
}
void ToFrame(const cpu::XsaveImage& image, std::byte* vectors) {
  std::memcpy(vectors, image.data(), cpu::kFxsaveUsedBytes);
  ForEachComponent(vectors, [&](size_t in_frame, size_t in_image, size_t length) {
    std::memcpy(vectors + in_frame, image.data() + in_image, length);
  });
}
void FromFrame(const std::byte* vectors, cpu::XsaveImage* image) {
  std::memcpy(image->data(), vectors, HasSoftware(vectors) ? cpu::kXsaveExtendedOffset : cpu::kFxsaveBytes);
  ForEachComponent(vectors, [&](size_t in_frame, size_t in_image, size_t length) {
    std::memcpy(image->data() + in_image, vectors + in_frame, length);
  });
}
void MarkPresent(std::byte* vectors) {
  if (HasSoftware(vectors))
    vectors[cpu::kXsaveComponentsOffset] |= std::byte{cpu::kXstateAll} & vectors[kXfeaturesOffset];
}

void EnterTestCase(ucontext_t* context) {
  auto* vectors = reinterpret_cast<std::byte*>(context->uc_mcontext.fpregs);
  std::memcpy(g_channel.host_registers, context->uc_mcontext.gregs, sizeof(gregset_t));
  FromFrame(vectors, &g_channel.host_vectors);
  const cpu::CpuState& state = g_channel.test_case->state;
  greg_t* registers = context->uc_mcontext.gregs;
  for (int i = 0; i < 16; ++i) registers[kGprOf[i]] = static_cast<greg_t>(state.gpr[i]);
  registers[REG_RIP] = static_cast<greg_t>(state.rip);
  registers[REG_EFL] = static_cast<greg_t>(state.rflags);
  cpu::XsaveImage image;
  cpu::WriteXsaveImage(state, &image);
  ToFrame(image, vectors);
  MarkPresent(vectors);
}

void LeaveTestCase(const siginfo_t& info, ucontext_t* context) {
  auto* vectors = reinterpret_cast<std::byte*>(context->uc_mcontext.fpregs);
  const greg_t* registers = context->uc_mcontext.gregs;
  Outcome* outcome = g_channel.outcome;
  const int trap = static_cast<int>(registers[REG_TRAPNO]);
  outcome->reason = ReasonOf(trap, info);
  outcome->fault = {};
  if (outcome->reason == cpu::ExitReason::kFault) {
    outcome->fault.addr = GuestAddr(static_cast<uint64_t>(registers[REG_CR2]));
    outcome->fault.access = (registers[REG_ERR] & 16)  ? mm::Access::kFetch
                            : (registers[REG_ERR] & 2) ? mm::Access::kWrite
                                                       : mm::Access::kRead;
    outcome->fault.kind = info.si_code == SEGV_MAPERR ? mm::FaultKind::kUnmapped : mm::FaultKind::kProtection;
  }
  cpu::CpuState& state = outcome->state;
  state = g_channel.test_case->state;
  cpu::XsaveImage image = {};
  FromFrame(vectors, &image);
  // The frame leaves out what is as a reset leaves it; other components than these are the host's business.
  if (HasSoftware(vectors)) {
    image[cpu::kXsaveComponentsOffset] &= std::byte{cpu::kXstateAll};
    std::fill(image.begin() + cpu::kXsaveComponentsOffset + 1, image.begin() + cpu::kXsaveExtendedOffset, std::byte{0});
  } else {
    image[cpu::kXsaveComponentsOffset] = std::byte{cpu::kXstateX87 | cpu::kXstateSse};
  }
  cpu::ReadXsaveImage(image, cpu::kXstateAll, cpu::kXstateAll, &state);
  for (int i = 0; i < 16; ++i) state.gpr[i] = static_cast<uint64_t>(registers[kGprOf[i]]);
  state.rip = static_cast<uint64_t>(registers[REG_RIP]);
  state.rflags = static_cast<uint64_t>(registers[REG_EFL]);

  std::memcpy(context->uc_mcontext.gregs, g_channel.host_registers, sizeof(gregset_t));
  ToFrame(g_channel.host_vectors, vectors);
  // What the image did not have when it was taken is zero in there, or as a reset leaves it.
  if (HasSoftware(vectors))
    std::memcpy(vectors + cpu::kXsaveComponentsOffset, g_channel.host_vectors.data() + cpu::kXsaveComponentsOffset, 1);
}

void OnSignal(int signal, siginfo_t* info, void* raw_context) {
  auto* context = static_cast<ucontext_t*>(raw_context);
  if (g_channel.phase == Phase::kEntering && signal == SIGTRAP) {
    g_channel.phase = Phase::kRunning;
    EnterTestCase(context);
  } else if (g_channel.phase == Phase::kRunning) {
    g_channel.phase = Phase::kIdle;
    LeaveTestCase(*info, context);
  } else {
    // Not ours: say where, so that the offset tells the function, and let it kill.
    Dl_info place = {};
    dladdr(reinterpret_cast<void*>(context->uc_mcontext.gregs[REG_RIP]), &place);
    std::fprintf(
        stderr, "silicon: signal %d at offset %#lx of %s\n", signal,
        static_cast<uint64_t>(context->uc_mcontext.gregs[REG_RIP]) - reinterpret_cast<uint64_t>(place.dli_fbase),
        place.dli_fname == nullptr ? "?" : place.dli_fname);
    ::signal(signal, SIG_DFL);
  }
}

class NativeMachine final : public Machine {
 public:
  NativeMachine() {
    MapAt(kCodeStart, kCodePages * kPage, PROT_READ | PROT_WRITE | PROT_EXEC);
    std::memset(reinterpret_cast<void*>(kCodeStart), 0xcc, kCodePages * kPage);
    MapAt(kScratchStart, kDataBytes, PROT_READ | PROT_WRITE);
    stack_t stack = {.ss_sp = stack_.get(), .ss_flags = 0, .ss_size = kStackBytes};
    sigaltstack(&stack, nullptr);
    for (const int signal : kSignals) {
      struct sigaction action = {};
      action.sa_sigaction = OnSignal;
      action.sa_flags = SA_SIGINFO | SA_ONSTACK;
      sigfillset(&action.sa_mask);
      for (const int other : kSignals) sigdelset(&action.sa_mask, other);
      sigaction(signal, &action, nullptr);
    }
  }

  ~NativeMachine() override {
    stack_t none = {};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
    munmap(reinterpret_cast<void*>(kCodeStart), kCodePages * kPage);
    munmap(reinterpret_cast<void*>(kScratchStart), kDataBytes);
  }

  void Run(const TestCase& test_case, Outcome* outcome) override {
    auto* scratch = reinterpret_cast<uint8_t*>(kScratchStart);
    auto* code = reinterpret_cast<uint8_t*>(test_case.state.rip);
    std::memcpy(scratch, test_case.data.data(), kScratchBytes);
    auto* read_only = reinterpret_cast<uint8_t*>(kReadOnlyStart);
    if (std::memcmp(read_only, test_case.data.data() + kScratchBytes, kPage) != 0 || !protected_) {
      mprotect(read_only, kPage, PROT_READ | PROT_WRITE);
      std::memcpy(read_only, test_case.data.data() + kScratchBytes, kPage);
      mprotect(read_only, kPage, PROT_READ);
      protected_ = true;
    }
    std::memcpy(code, test_case.bytes.data(), test_case.length);
    // Each time: the translator has a use of its own for it.
    cpu::translator::ForgetHostGsBase();
    syscall(SYS_arch_prctl, ARCH_SET_GS, test_case.state.gs_base);
    g_channel.test_case = &test_case;
    g_channel.outcome = outcome;
    g_channel.phase = Phase::kEntering;
    __builtin_debugtrap();
    std::memset(code, 0xcc, test_case.length);
    std::memcpy(outcome->data.data(), scratch, kDataBytes);
  }

 private:
  static void MapAt(uint64_t address, size_t length, int protection) {
    void* wanted = reinterpret_cast<void*>(address);
    if (mmap(wanted, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != wanted) {
      std::perror("silicon: cannot map the test's memory");
      std::abort();
    }
  }
  const std::unique_ptr<std::byte[]> stack_ = std::make_unique<std::byte[]>(kStackBytes);  // of the signal handlers
  bool protected_ = false;
};

}  // namespace

std::unique_ptr<Machine> MakeNativeMachine() { return std::make_unique<NativeMachine>(); }

bool RunsWithNonCanonicalStack(Machine* native) {
  auto test_case = std::make_unique<TestCase>();
  auto outcome = std::make_unique<Outcome>();
  constexpr uint8_t kNop = 0x90;
  test_case->state.rip = kCodeStart;
  test_case->state.gpr[cpu::kRsp] = uint64_t{1} << 47;
  test_case->state.rflags = cpu::kFlagsFixed;
  test_case->bytes[0] = kNop;
  test_case->length = 1;
  native->Run(*test_case, outcome.get());
  return outcome->reason == cpu::ExitReason::kBreakpoint;
}

}  // namespace remora::silicon
