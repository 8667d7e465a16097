#include "cpu/verify/verify_engine.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/cpu_level.h"
#include "cpu/verify/state_difference.h"
#include "cpu/verify/verified_memory.h"
#include "mm/address_space.h"
#include "mm/tlb.h"

namespace remora::cpu {
namespace {

constexpr uint64_t kUnitInstructions = 3000;
constexpr size_t kShownInstructions = 64;
const PageRange kEverything{PageNumber(0), PageNumber(kUserAddressEnd >> kPageShift)};

constexpr uint64_t kNowhere = ~uint64_t{0};

// What x87's last instruction and operand are is not compared, and so cannot be where it is stored.
bool StoresX87Environment(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
      return true;
    default:
      return false;
  }
}

class VerifyEngine final : public Engine {
 public:
  VerifyEngine(std::unique_ptr<Engine> subject, std::unique_ptr<Engine> reference, VerifyOptions options)
      : options_(std::move(options)), memory_(options_.frames) {
    subject_.engine = std::move(subject);
    reference_.engine = std::move(reference);
    InitializeDecoder(CpuLevel::kHost, &decoder_);
    ZydisFormatterInit(&formatter_, ZYDIS_FORMATTER_STYLE_INTEL);
  }

  Exit Run(CpuState& state, mm::Tlb& tlb, uint64_t budget, const std::atomic<uint32_t>& interrupt) override;
  std::string_view name() const override { return "verify"; }
  Counters counters() const override { return reference_.engine->counters(); }

 private:
  struct Side {
    std::unique_ptr<Engine> engine;
    std::unique_ptr<mm::Tlb> tlb = std::make_unique<mm::Tlb>();
  };
  struct Outcome {
    Exit exit;
    CpuState state;
  };
  struct Step {
    uint64_t pc;
    std::string text;
  };

  void Bind(mm::Tlb& tlb);
  Exit RunUnit(CpuState& state, uint64_t budget);
  // From `before`, with memory as it was at Begin.
  Outcome RunSide(Side& side, const CpuState& before, uint64_t budget);
  // How the subject's outcome, and the memory it left, differ from the reference's, which ran last. Empty: not at all.
  std::string Compare(const Outcome& subject, const std::vector<VerifiedMemory::Page>& memory, const Outcome& reference,
                      const CpuState& before);
  struct Walk {
    uint64_t undefined_flags = 0;               // behind the last instruction
    uint64_t environment_stored_at = kNowhere;  // the first instruction that stores x87's pointers
  };
  // Runs the reference again, one instruction at a time, from `before`; memory is as it is behind them in the end. The
  // last instructions, if wanted.
  Walk WalkAgain(const CpuState& before, uint64_t instructions, std::deque<Step>* steps);
  void Report(const CpuState& before, uint64_t budget, const std::string& difference);

  const VerifyOptions options_;
  VerifiedMemory memory_;
  Side subject_, reference_;
  const mm::TlbSource* bound_ = nullptr;
  uint64_t bound_id_ = 0, num_binds_ = 0;
  ZydisDecoder decoder_;
  ZydisFormatter formatter_;
  const std::atomic<uint32_t> never_{0};
};

void VerifyEngine::Bind(mm::Tlb& tlb) {
  // A space may stand where another one stood.
  const auto* space = dynamic_cast<const mm::AddressSpace*>(tlb.source());
  const uint64_t id = space != nullptr ? space->id() : 0;
  if (bound_ == tlb.source() && bound_id_ == id) return;
  bound_ = tlb.source();
  bound_id_ = id;
  memory_.set_inner(tlb.source());
  ++num_binds_;
  for (Side* side : {&subject_, &reference_}) side->tlb->Bind(&memory_, num_binds_);
}

Exit VerifyEngine::Run(CpuState& state, mm::Tlb& tlb, uint64_t budget, const std::atomic<uint32_t>& interrupt) {
  Bind(tlb);
  uint64_t retired = 0;
  for (;;) {
    Exit exit;
    if (interrupt.load(std::memory_order_relaxed) != 0) {
      exit.reason = ExitReason::kInterrupt;
    } else {
      exit = RunUnit(state, std::min(budget - retired, kUnitInstructions));
    }
    retired += exit.instructions_retired;
    if (exit.reason == ExitReason::kBudget && retired < budget) continue;
    exit.instructions_retired = retired;
    return exit;
  }
}

VerifyEngine::Outcome VerifyEngine::RunSide(Side& side, const CpuState& before, uint64_t budget) {
  if (options_.entropy) options_.entropy->Rewind();
  // Each page's first write has to come by.
  side.tlb->InvalidateWriteRights(kEverything);
  side.tlb->Synchronize();
  Outcome outcome{.exit = {}, .state = before};
  outcome.exit = side.engine->Run(outcome.state, *side.tlb, budget, never_);
  return outcome;
}

Exit VerifyEngine::RunUnit(CpuState& state, uint64_t budget) {
  if (options_.clock) options_.clock->Advance();
  if (options_.entropy) options_.entropy->Forget();
  const CpuState before = state;
  // Where somebody has to be waited for, as if nothing had happened.
  const auto again_later = [&](const Outcome& outcome) {
    memory_.Undo();
    Exit exit = outcome.exit;
    exit.instructions_retired = 0;
    return exit;
  };
  memory_.Begin();
  const Outcome subject = RunSide(subject_, before, budget);
  if (subject.exit.reason == ExitReason::kMustWait) return again_later(subject);
  const std::vector<VerifiedMemory::Page> written = memory_.Undo();
  const Outcome reference = RunSide(reference_, before, budget);
  if (reference.exit.reason == ExitReason::kMustWait) return again_later(reference);
  if (const std::string difference = Compare(subject, written, reference, before); !difference.empty()) {
    memory_.Undo();
    const uint64_t stored_at = WalkAgain(before, budget, nullptr).environment_stored_at;
    memory_.Undo();
    // Those before it are compared, and it is the reference's alone.
    if (stored_at != kNowhere && stored_at != 0) return RunUnit(state, stored_at);
    if (stored_at == 0) {
      const Outcome alone = RunSide(reference_, before, 1);
      state = alone.state;
      return alone.exit;
    }
    Report(before, budget, difference);
  }
  state = reference.state;
  return reference.exit;
}

std::string VerifyEngine::Compare(const Outcome& subject, const std::vector<VerifiedMemory::Page>& memory,
                                  const Outcome& reference, const CpuState& before) {
  std::string text;
  if (subject.exit.reason != reference.exit.reason) {
    text += std::string(ExitReasonName(subject.exit.reason)) + " and " +
            std::string(ExitReasonName(reference.exit.reason)) + "\n";
  } else if (subject.exit.reason == ExitReason::kFault && (subject.exit.fault.kind != reference.exit.fault.kind ||
                                                           subject.exit.fault.addr != reference.exit.fault.addr ||
                                                           subject.exit.fault.access != reference.exit.fault.access)) {
    text += "another fault\n";
  }
  if (subject.exit.instructions_retired != reference.exit.instructions_retired) {
    char line[96];
    std::snprintf(line, sizeof line, "instructions: %lu and %lu\n", subject.exit.instructions_retired,
                  reference.exit.instructions_retired);
    text += line;
  }
  if (const std::string difference = memory_.DifferenceTo(memory); !difference.empty()) text += difference + "\n";
  std::string registers = StateDifference(subject.state, reference.state, 0);
  if (registers.empty() || !text.empty()) return text + registers;
  // Perhaps only flags that the manual leaves open; a system call copies them into R11.
  memory_.Undo();
  const uint64_t undefined = WalkAgain(before, reference.exit.instructions_retired, nullptr).undefined_flags;
  CpuState left = subject.state, right = reference.state;
  if (reference.exit.reason == ExitReason::kSyscall)
    for (CpuState* state : {&left, &right}) state->gpr[kR11] &= ~undefined;
  return StateDifference(left, right, undefined);
}

VerifyEngine::Walk VerifyEngine::WalkAgain(const CpuState& before, uint64_t instructions, std::deque<Step>* steps) {
  Walk walk;
  CpuState state = before;
  if (options_.entropy) options_.entropy->Rewind();
  reference_.tlb->InvalidateWriteRights(kEverything);
  for (uint64_t i = 0; i < instructions; ++i) {
    reference_.tlb->Synchronize();
    uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
    size_t length = 0;
    while (length < sizeof bytes) {
      const GuestAddr at(state.rip + length);
      const std::byte* host = reference_.tlb->Lookup<mm::Access::kFetch>(at);
      if (host == nullptr) break;
      const size_t n = std::min<size_t>(sizeof bytes - length, kPageSize - (at.value() & kPageMask));
      std::memcpy(bytes + length, host, n);
      length += n;
    }
    ZydisDecodedInstruction info;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    const bool known = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, bytes, length, &info, operands));
    if (known && walk.environment_stored_at == kNowhere && StoresX87Environment(info.mnemonic))
      walk.environment_stored_at = i;
    // SYSCALL leaves the flags as they are.
    if (known && info.cpu_flags != nullptr && info.mnemonic != ZYDIS_MNEMONIC_SYSCALL) {
      walk.undefined_flags &= ~uint64_t{info.cpu_flags->modified | info.cpu_flags->set_0 | info.cpu_flags->set_1};
      walk.undefined_flags |= info.cpu_flags->undefined & kStatusFlags;
    }
    if (steps != nullptr) {
      char line[128] = "?";
      if (known)
        ZydisFormatterFormatInstruction(&formatter_, &info, operands, info.operand_count_visible, line, sizeof line,
                                        state.rip, nullptr);
      steps->push_back({state.rip, line});
      if (steps->size() > kShownInstructions) steps->pop_front();
    }
    const Exit exit = reference_.engine->Run(state, *reference_.tlb, 1, never_);
    if (exit.reason != ExitReason::kBudget) break;
  }
  return walk;
}

void VerifyEngine::Report(const CpuState& before, uint64_t budget, const std::string& difference) {
  std::string text = difference;
  uint64_t shown = budget;
  // The shortest beginning that shows it.
  for (uint64_t n = 1; n <= budget; ++n) {
    memory_.Undo();
    const Outcome subject = RunSide(subject_, before, n);
    const std::vector<VerifiedMemory::Page> written = memory_.Undo();
    const Outcome reference = RunSide(reference_, before, n);
    const std::string now = Compare(subject, written, reference, before);
    if (now.empty()) continue;
    text = now;
    shown = n;
    break;
  }
  memory_.Undo();
  std::deque<Step> steps;
  WalkAgain(before, shown, &steps);
  std::string report = "engines differ, " + std::string(subject_.engine->name()) + " from " +
                       std::string(reference_.engine->name()) + ":\n" + text + "behind\n";
  for (const Step& step : steps) {
    char line[192];
    std::snprintf(line, sizeof line, "  %lx  %s\n", step.pc, step.text.c_str());
    report += line;
  }
  options_.on_difference(report);
  // On with what the reference does.
  memory_.Undo();
  RunSide(reference_, before, budget);
}

}  // namespace

std::unique_ptr<Engine> MakeVerifyEngine(std::unique_ptr<Engine> subject, std::unique_ptr<Engine> reference,
                                         VerifyOptions options) {
  return std::make_unique<VerifyEngine>(std::move(subject), std::move(reference), std::move(options));
}

}  // namespace remora::cpu
