#include "cpu/translator/flag_lookahead.h"

#include "base/guest_addr.h"
#include "cpu/cpu_state.h"
#include "cpu/guest_access.h"
#include "cpu/translator/guest_instruction.h"

namespace remora::cpu::translator {

namespace {

constexpr auto kAllFlags = static_cast<uint32_t>(kStatusFlags);

}  // namespace

void FlagLookahead::Begin(uint64_t page_start, const std::byte* page, mm::FrameId frame, uint64_t generation) {
  if (page_start == page_start_ && page == page_ && frame == frame_ && generation == generation_) return;
  page_start_ = page_start;
  page_ = page;
  frame_ = frame;
  generation_ = generation;
  ++epoch_;
}

uint32_t FlagLookahead::LiveAt(uint64_t pc) {
  Known& known = known_[pc % kKnown];
  if (known.pc != pc || known.epoch != epoch_) known = {pc, epoch_, Scan(pc, kAllFlags, kMaxDepth)};
  return known.live;
}

uint32_t FlagLookahead::Scan(uint64_t pc, uint32_t wanted, int depth) {
  uint32_t live = 0;
  for (int i = 0; i < kMaxInstructions; ++i) {
    const uint64_t offset = pc - page_start_;
    if (offset >= kPageSize) return live | wanted;
    const uint64_t available = offset + kMaxInstructionBytes <= kPageSize ? kMaxInstructionBytes : kPageSize - offset;
    uint8_t bytes[kMaxInstructionBytes];
    CopyFromGuest(bytes, page_ + offset, available);
    const InstructionInfo* decoded = decoder_->DecodeWithoutOperands(bytes, available);
    if (decoded == nullptr) return live | wanted;
    const InstructionInfo& info = *decoded;
    switch (info.category) {
      case ZYDIS_CATEGORY_RET:
      case ZYDIS_CATEGORY_SYSCALL:
      case ZYDIS_CATEGORY_SYSRET:
      case ZYDIS_CATEGORY_SYSTEM:
      case ZYDIS_CATEGORY_INTERRUPT:
        return live | wanted;
      default:
        break;
    }
    const FlagsOfInstruction flags = FlagsOf(info);
    live |= flags.read & wanted;
    wanted &= ~(flags.read | flags.written);
    if (wanted == 0) return live;
    pc += info.length;
    const bool near = info.branch_type == ZYDIS_BRANCH_TYPE_NEAR || info.branch_type == ZYDIS_BRANCH_TYPE_SHORT;
    switch (info.category) {
      case ZYDIS_CATEGORY_COND_BR:
        if (depth == 0 || !info.immediate_is_relative) return live | wanted;
        live |= Scan(pc + static_cast<uint64_t>(info.immediates[0]), wanted & ~live, --depth);
        wanted &= ~live;
        if (wanted == 0) return live;
        break;
      case ZYDIS_CATEGORY_UNCOND_BR:
      case ZYDIS_CATEGORY_CALL:
        if (depth == 0 || !near || !info.immediate_is_relative) return live | wanted;
        --depth;
        pc += static_cast<uint64_t>(info.immediates[0]);
        break;
      default:
        break;
    }
  }
  return live | wanted;
}

}  // namespace remora::cpu::translator
