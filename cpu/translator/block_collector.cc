#include "cpu/translator/block_collector.h"

#include <algorithm>

#include "base/guest_addr.h"
#include "cpu/guest_access.h"

namespace remora::cpu::translator {
namespace {

// Whether a path may go on behind it.
bool CanBeFollowed(const GuestInstruction& instruction) {
  switch (instruction.action) {
    case Action::kInterpret:
    case Action::kLoop:
    case Action::kJrcxz:
    case Action::kSyscall:
    case Action::kString:
      return false;
    default:
      return true;
  }
}

// Whether what runs behind it may be at `pc`.
bool LeadsTo(const GuestInstruction& instruction, uint64_t pc) {
  switch (instruction.action) {
    case Action::kRet:
      return true;
    case Action::kCall:
    case Action::kJmp:
      return !instruction.is_direct_branch() || pc == instruction.target();
    case Action::kJcc:
      return pc == instruction.target() || pc == instruction.next_pc();
    default:
      return pc == instruction.next_pc();
  }
}

}  // namespace

BlockCollector::BlockCollector(InstructionDecoder* decoder, Optimizations optimizations, CpuLevel level, bool host_tsc)
    : decoder_(decoder), optimizations_(optimizations), level_(level), host_tsc_(host_tsc) {
  instructions_.reserve(kMaxInstructions + 1);
  pcs_.reserve(kMaxInstructions + 1);
}

uint64_t BlockCollector::Copy(GuestInstruction* instruction, const std::byte* page, const std::byte* next_page) {
  const uint64_t offset = instruction->pc % kPageSize;
  const uint64_t here = std::min<uint64_t>(kMaxInstructionBytes, kPageSize - offset);
  CopyFromGuest(instruction->bytes.data(), page + offset, here);
  if (next_page == nullptr) return here;
  CopyFromGuest(instruction->bytes.data() + here, next_page, kMaxInstructionBytes - here);
  return kMaxInstructionBytes;
}

ZyanStatus BlockCollector::Finish(GuestInstruction* instruction, uint64_t available) {
  InstructionDecoder::Notes* notes = nullptr;
  const ZyanStatus status = decoder_->Decode(instruction->bytes.data(), available, &instruction->decoded, &notes);
  if (!ZYAN_SUCCESS(status)) return status;
  ClassifyWithNotes(instruction, notes);
  // The interpreter raises #UD.
  if ((level_ != CpuLevel::kHost || instruction->uses_avx512) && !LevelHas(level_, instruction->decoded.info.isa_set))
    instruction->action = Action::kInterpret;
  if (host_tsc_ && instruction->decoded.info.mnemonic == ZYDIS_MNEMONIC_RDTSC) {
    instruction->action = Action::kReemit;
    instruction->may_leave = false;
  }
  return status;
}

bool BlockCollector::Collect(uint64_t pc, const std::byte* page, const std::byte* next_page) {
  instructions_.clear();
  pcs_.clear();
  const uint64_t page_start = PageRoundDown(pc);
  const uint64_t end = page_start + (next_page == nullptr ? kPageSize : 2 * kPageSize);
  while (instructions_.size() < kMaxInstructions && pc < end) {
    GuestInstruction& instruction = instructions_.emplace_back();
    instruction.pc = pc;
    pcs_.push_back(pc);
    const bool in_next = pc - page_start >= kPageSize;
    const uint64_t available = Copy(&instruction, in_next ? next_page : page, in_next ? nullptr : next_page);
    const ZyanStatus status = Finish(&instruction, available);
    if (status == ZYDIS_STATUS_NO_MORE_DATA && available < kMaxInstructionBytes) {
      // It goes on behind: the next block's, if there is one before it.
      instructions_.pop_back();
      return !instructions_.empty();
    }
    if (!ZYAN_SUCCESS(status)) return true;  // to be interpreted
    pc = instruction.next_pc();
    if (!instruction.ends_block()) continue;
    if (!optimizations_.trace || next_page != nullptr) return true;
    // Along what goes on within the page, until it meets itself.
    if (instruction.action == Action::kJmp && instruction.is_direct_branch()) {
      const uint64_t target = instruction.target();
      if (PageRoundDown(target) != page_start || Collected(target)) return true;
      pc = target;
    } else if (instruction.action == Action::kJcc) {
      const uint64_t target = instruction.target();
      if (!Collected(target)) {
        if (instructions_.size() < kLongTrace) continue;
        return true;
      }
      if (target == instructions_[0].pc && optimizations_.unroll) Unroll();
      return true;
    } else {
      return true;
    }
  }
  return true;
}

bool BlockCollector::AddStep(const Step& step) {
  GuestInstruction& instruction = instructions_.emplace_back();
  instruction.pc = step.pc;
  const uint64_t available = Copy(&instruction, step.page, step.next_page);
  if (ZYAN_SUCCESS(Finish(&instruction, available)) && CanBeFollowed(instruction)) return true;
  instructions_.pop_back();
  return false;
}

bool BlockCollector::CollectPath(std::span<const Step> steps, uint64_t again) {
  instructions_.clear();
  uint32_t calls = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!AddStep(steps[i])) return false;
    const GuestInstruction& instruction = instructions_.back();
    if (i > 0 && instructions_[i - 1].action == Action::kJcc)
      instructions_[i - 1].goes_on_at_target = instruction.pc != instructions_[i - 1].next_pc();
    const uint64_t next = i + 1 == steps.size() ? again : steps[i + 1].pc;
    // Its bytes may not be those that were run any more.
    if (!LeadsTo(instruction, next)) return false;
    if (instruction.is_returned_to()) ++calls;
    if (instruction.action != Action::kRet) continue;
    // Where it returns to is known only of what it has called; of the rest the host's CPU knows it better.
    if (calls == 0) return false;
    --calls;
  }
  return true;
}

std::vector<size_t> BlockCollector::OutermostOf(std::span<const Step> steps) {
  instructions_.clear();
  std::vector<size_t> outermost = {0};
  int depth = 0, least = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!AddStep(steps[i])) return {};
    if (instructions_.back().is_returned_to()) ++depth;
    if (instructions_.back().action != Action::kRet) continue;
    if (--depth > least) continue;
    if (depth < least) outermost.clear();
    least = depth;
    outermost.push_back((i + 1) % steps.size());
  }
  return outermost;
}

void BlockCollector::CutPath(size_t length) {
  instructions_.resize(length);
  if (length > 0) instructions_.back().goes_on_at_target = false;
}

bool BlockCollector::Collected(uint64_t pc) const { return std::ranges::find(pcs_, pc) != pcs_.end(); }

void BlockCollector::Unroll() {
  const size_t once = instructions_.size();
  const size_t copies = std::min<size_t>(kMaxCopies, kMaxInstructions / once);
  for (size_t copy = 1; copy < copies; ++copy) {
    instructions_.back().goes_on_at_target = true;
    for (size_t i = 0; i < once; ++i) instructions_.push_back(instructions_[i]);
    instructions_.back().goes_on_at_target = false;
  }
}

}  // namespace remora::cpu::translator
