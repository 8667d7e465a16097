#include "cpu/decoder.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/guest_addr.h"
#include "cpu/guest_access.h"
#include "cpu/handler_env.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

constexpr uint32_t kMaxInstructionBytes = 15;

// Appends ops to a buffer and counts instructions.
class Builder {
 public:
  Builder(BlockBuffer* out, mm::FrameId frame, uint32_t page_offset)
      : out_(out), frame_(frame), page_offset_(page_offset) {
    out->num_ops = 0;
  }

  Op* AddInstruction() {
    Op* op = Add();
    op->uncounted = static_cast<uint8_t>(num_instructions_++);
    return op;
  }
  // An op that is no instruction; it counts as belonging to the next one.
  Op* AddHelper() {
    Op* op = Add();
    op->uncounted = static_cast<uint8_t>(num_instructions_);
    return op;
  }
  // Behind the branch `op`.
  void AddLinks(const Op& op) {
    auto* links = new (&out_->ops[out_->num_ops]) BranchLinks;
    links->frame = frame_.value();
    links->taken_in_page = InPage(op.immediate);
    links->not_taken_in_page = InPage(int64_t{op.offset} + op.length);
    is_op_[out_->num_ops++] = false;
  }
  void AddTail(const std::byte* bytes, uint32_t count) {
    auto* tail = new (&out_->ops[out_->num_ops]) TailBytes;
    tail->count = static_cast<uint8_t>(count);
    std::memcpy(tail->bytes.data(), bytes, count);
    is_op_[out_->num_ops++] = false;
  }
  // Behind the op of an instruction of AVX-512.
  void AddDetails(const EvexDetails& details) {
    new (&out_->ops[out_->num_ops]) EvexDetails(details);
    is_op_[out_->num_ops++] = false;
  }
  // Before the instructions: counts what they access once Finish knows it.
  void AddAccessCount() {
    access_count_ = AddHelper();
    access_count_->handler = CountAccessesHandler();
  }
  void AddFallThrough(uint32_t offset) {
    Op* op = AddHelper();
    op->handler = FallThroughHandler();
    op->offset = static_cast<uint16_t>(offset);
    AddLinks(*op);
  }
  // `op` gets a handler that does the branch behind it as well.
  void FuseWithBranch(Op* op, Handler handler) {
    op->handler = handler;
    fused_branch_ = static_cast<uint32_t>(op - out_->ops.data());
  }
  uint32_t num_instructions() const { return num_instructions_; }
  // Whether there is no room for another instruction once `ops` more are added.
  bool full(uint32_t ops = 0) const { return out_->num_ops + ops + 4 > kMaxBlockOps; }

  // `uncounted` held the number of instructions before the op until here.
  void Finish() {
    FuseNeighbours();
    for (uint32_t i = 0; i < out_->num_ops; ++i) {
      if (!is_op_[i]) continue;
      out_->ops[i].uncounted = static_cast<uint8_t>(num_instructions_ - out_->ops[i].uncounted);
      if (access_count_ != nullptr) access_count_->immediate += out_->ops[i].accesses;
    }
  }

 private:
  // Gives each op that can be done together with what is behind it a handler that does so. The ops stay: where that
  // handler meets something uncommon it does its own instruction only.
  void FuseNeighbours() {
    for (uint32_t i = out_->num_ops; i-- > 1;) {
      if (!is_op_[i - 1] || !is_op_[i] || out_->ops[i].length == 0) continue;
      Op& first = out_->ops[i - 1];
      Handler fused = FuseStackRun(first, out_->ops[i]);
      if (fused == nullptr) fused = FuseMoves(&first, out_->ops[i]);
      if (fused == nullptr) fused = FuseSimple(first, out_->ops[i]);
      if (fused == nullptr && i == fused_branch_) fused = FuseBeforeBranch(first, out_->ops[i]);
      if (fused != nullptr) first.handler = fused;
    }
  }
  bool InPage(int64_t offset_in_block) const {
    const int64_t offset = int64_t{page_offset_} + offset_in_block;
    return offset >= 0 && offset < static_cast<int64_t>(kPageSize);
  }
  Op* Add() {
    is_op_[out_->num_ops] = true;
    return new (&out_->ops[out_->num_ops++]) Op;
  }

  BlockBuffer* const out_;
  const mm::FrameId frame_;
  const uint32_t page_offset_;
  uint32_t num_instructions_ = 0;
  Op* access_count_ = nullptr;
  uint32_t fused_branch_ = 0;  // 0: there is none, or nothing stands before it
  std::array<bool, kMaxBlockOps> is_op_{};
};

void MakeRaise(uint32_t offset, ExitReason reason, Op* op) {
  const uint8_t uncounted = op->uncounted;
  *op = Op();
  op->uncounted = uncounted;
  op->offset = static_cast<uint16_t>(offset);
  op->handler = RaiseHandler();
  op->immediate = static_cast<int64_t>(reason);
}

// How often it probes the TLB where nothing goes wrong. A REP counts its iterations itself.
uint8_t CountAccesses(const DecodedInstruction& in, const Op& op) {
  if (op.repeat != 0 || in.info.mnemonic == ZYDIS_MNEMONIC_NOP || in.info.category == ZYDIS_CATEGORY_PREFETCH) return 0;
  constexpr uint8_t kMost = 7;
  uint8_t accesses = 0;
  for (int i = 0; i < in.info.operand_count; ++i) {
    const DecodedOperand& operand = in.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.mem.type != ZYDIS_MEMOP_TYPE_MEM) continue;
    if ((operand.actions & (ZYDIS_OPERAND_ACTION_MASK_READ | ZYDIS_OPERAND_ACTION_MASK_WRITE)) != 0) ++accesses;
  }
  return std::min(accesses, kMost);
}

// Whether it goes elsewhere, so that what stands behind it mostly is not the next instruction of its block.
bool IsBranch(const DecodedInstruction& in) {
  const ZydisInstructionCategory category = in.info.category;
  return category == ZYDIS_CATEGORY_COND_BR || category == ZYDIS_CATEGORY_UNCOND_BR ||
         category == ZYDIS_CATEGORY_CALL || category == ZYDIS_CATEGORY_RET || category == ZYDIS_CATEGORY_SYSCALL;
}

// Whether the instruction gives new values to all status flags, reads none, and cannot fault.
bool OverwritesFlags(const DecodedInstruction& in) {
  switch (in.info.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
      break;
    default:
      return false;
  }
  for (int i = 0; i < in.info.operand_count_visible; ++i)
    if (in.operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY) return false;
  return true;
}

}  // namespace

Decoder::Decoder(CpuLevel level, bool count_accesses)
    : level_(level), count_accesses_(count_accesses), instructions_(level) {}

Decoder::Status Decoder::DecodeOne(const std::byte* bytes, uint32_t available, DecodedInstruction* out) {
  const ZyanStatus status = instructions_.Decode(bytes, available, out);
  if (ZYAN_SUCCESS(status)) return Status::kGood;
  if (status == ZYDIS_STATUS_NO_MORE_DATA)
    return available < kMaxInstructionBytes ? Status::kTruncated : Status::kTooLong;
  return status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG ? Status::kTooLong : Status::kIllegal;
}

Decoder::Result Decoder::Decode(const std::byte* page, uint32_t page_offset, mm::FrameId frame,
                                uint32_t max_instructions, BlockBuffer* out) {
  Builder builder(out, frame, page_offset);
  max_instructions = std::min(max_instructions, kMaxBlockInstructions);
  struct Fetched : DecodedInstruction {
    std::byte bytes[kMaxInstructionBytes];
  };
  Fetched slots[2];
  Fetched* in = &slots[0];
  Fetched* next = &slots[1];
  uint32_t at = page_offset;
  const auto decode_at = [&](uint32_t offset, Fetched* to) {
    const uint32_t available = std::min<uint32_t>(kMaxInstructionBytes, kPageSize - offset);
    CopyFromGuest(to->bytes, page + offset, available);
    return DecodeOne(to->bytes, available, to);
  };
  Status status = decode_at(at, in);
  if (status == Status::kTruncated) return Result::kNeedsTail;
  KnownFlags flags = KnownFlags::kUnknown;
  if (count_accesses_) builder.AddAccessCount();
  while (true) {
    const uint32_t offset = at - page_offset;
    if (status == Status::kTruncated || builder.full() || builder.num_instructions() == max_instructions) {
      builder.AddFallThrough(offset);
      break;
    }
    if (status == Status::kIllegal || status == Status::kTooLong) {
      MakeRaise(offset, status == Status::kIllegal ? ExitReason::kIllegal : ExitReason::kProtection,
                builder.AddInstruction());
      break;
    }
    at += in->info.length;
    const auto decode_next = [&] { status = at < kPageSize ? decode_at(at, next) : Status::kTruncated; };
    const bool is_branch = IsBranch(*in);
    if (!is_branch) decode_next();
    const bool next_belongs =
        !is_branch && status == Status::kGood && builder.num_instructions() + 1 < max_instructions && !builder.full(1);

    Op* op = builder.AddInstruction();
    Lowering lowering{*in, in->bytes, op};
    lowering.flags = flags;
    lowering.flags_dead = next_belongs && OverwritesFlags(*next);
    if (!LevelHas(level_, in->info.isa_set) || !Lower(*in, offset, &lowering)) {
      MakeRaise(offset, ExitReason::kIllegal, op);
      lowering.end = BlockEnd::kPlain;
      lowering.has_details = false;
    }
    if (count_accesses_) op->accesses = CountAccesses(*in, *op) & 7;
    if (lowering.has_details) builder.AddDetails(lowering.details);
    if (lowering.end == BlockEnd::kLinked) builder.AddLinks(*op);
    if (lowering.end != BlockEnd::kNone) break;
    if (is_branch) decode_next();
    flags = lowering.flags;
    if (next_belongs && next->info.category == ZYDIS_CATEGORY_COND_BR)
      if (const Handler fused = FuseWithBranch(lowering, next->info.mnemonic)) builder.FuseWithBranch(op, fused);
    std::swap(in, next);
  }
  builder.Finish();
  return Result::kDone;
}

void Decoder::DecodeCrossing(const std::byte* page, uint32_t page_offset, const std::byte* next_page, mm::FrameId frame,
                             BlockBuffer* out) {
  Builder builder(out, frame, page_offset);
  std::byte bytes[kMaxInstructionBytes];
  const uint32_t in_first = static_cast<uint32_t>(kPageSize) - page_offset;
  CopyFromGuest(bytes, page + page_offset, in_first);
  CopyFromGuest(bytes + in_first, next_page, kMaxInstructionBytes - in_first);
  DecodedInstruction in;
  const Status status = DecodeOne(bytes, kMaxInstructionBytes, &in);
  const uint32_t length = status == Status::kGood ? in.info.length : kMaxInstructionBytes;

  Op* validate = builder.AddHelper();
  validate->handler = ValidateTailHandler();
  builder.AddTail(bytes + in_first, length - in_first);
  if (count_accesses_) builder.AddAccessCount();
  Op* op = builder.AddInstruction();
  if (status != Status::kGood) {
    MakeRaise(0, status == Status::kIllegal ? ExitReason::kIllegal : ExitReason::kProtection, op);
  } else {
    Lowering lowering{in, bytes, op};
    if (!LevelHas(level_, in.info.isa_set) || !Lower(in, 0, &lowering)) {
      MakeRaise(0, ExitReason::kIllegal, op);
      lowering.end = BlockEnd::kPlain;
    }
    op->uncounted = 0;
    if (count_accesses_) op->accesses = CountAccesses(in, *op) & 7;
    if (lowering.has_details) builder.AddDetails(lowering.details);
    if (lowering.end == BlockEnd::kLinked) builder.AddLinks(*op);
    if (lowering.end == BlockEnd::kNone) builder.AddFallThrough(length);
  }
  builder.Finish();
}

}  // namespace remora::cpu
