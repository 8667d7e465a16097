#include "proc/rseq.h"

#include <cstddef>

#include "base/abi/sched.h"
#include "proc/task.h"

namespace remora::proc {

namespace {

constexpr uint32_t kFlagUnregister = 1;

GuestAddr Field(const RseqState& state, size_t offset) { return state.area + offset; }

ErrnoOr<void> TellCpu(RseqState& state, mm::UserMemory memory, uint32_t start, uint32_t cpu) {
  REMORA_RETURN_IF_ERROR(memory.Write(Field(state, offsetof(abi::Rseq, cpu_id_start)), start));
  REMORA_RETURN_IF_ERROR(memory.Write(Field(state, offsetof(abi::Rseq, cpu_id)), cpu));
  REMORA_RETURN_IF_ERROR(memory.Write(Field(state, offsetof(abi::Rseq, node_id)), uint32_t{0}));
  REMORA_RETURN_IF_ERROR(memory.Write(Field(state, offsetof(abi::Rseq, mm_cid)), start));
  state.told_cpu = cpu;
  return Ok();
}

// Where rip must go on, if it stands inside the section that the area names.
ErrnoOr<void> LeaveSection(Task& task, mm::UserMemory memory) {
  RseqState& state = task.rseq;
  const GuestAddr pointer = Field(state, offsetof(abi::Rseq, rseq_cs));
  REMORA_ASSIGN_OR_RETURN(const uint64_t at, memory.Read<uint64_t>(pointer));
  if (at == 0) return Ok();
  REMORA_ASSIGN_OR_RETURN(const auto section, memory.Read<abi::RseqCs>(GuestAddr(at)));
  uint64_t end = 0;
  if (section.start_ip >= kUserAddressEnd || section.abort_ip >= kUserAddressEnd || section.version > 0 ||
      section.flags != 0 || __builtin_add_overflow(section.start_ip, section.post_commit_offset, &end) ||
      end >= kUserAddressEnd || section.abort_ip - section.start_ip < section.post_commit_offset)
    return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const uint32_t signature, memory.Read<uint32_t>(GuestAddr(section.abort_ip - 4)));
  if (signature != state.signature) return Errno(EINVAL);
  REMORA_RETURN_IF_ERROR(memory.Write(pointer, uint64_t{0}));
  if (task.cpu.rip - section.start_ip < section.post_commit_offset) task.cpu.rip = section.abort_ip;
  return Ok();
}

}  // namespace

ErrnoOr<void> RegisterRseq(Task& task, mm::UserMemory memory, GuestAddr area, uint32_t length_bytes, uint32_t flags,
                           uint32_t signature) {
  RseqState& state = task.rseq;
  if ((flags & kFlagUnregister) != 0) {
    if ((flags & ~kFlagUnregister) != 0 || state.area.is_null() || state.area != area ||
        state.length_bytes != length_bytes)
      return Errno(EINVAL);
    if (state.signature != signature) return Errno(EPERM);
    REMORA_RETURN_IF_ERROR(TellCpu(state, memory, 0, abi::kRSEQ_CPU_ID_UNINITIALIZED));
    state = RseqState();
    return Ok();
  }
  if (flags != 0) return Errno(EINVAL);
  if (!state.area.is_null()) {
    if (state.area != area || state.length_bytes != length_bytes) return Errno(EINVAL);
    return Errno(state.signature != signature ? EPERM : EBUSY);
  }
  if (area.value() % alignof(abi::Rseq) != 0 || length_bytes != sizeof(abi::Rseq)) return Errno(EINVAL);
  if (area.is_null() || area.value() > kUserAddressEnd - sizeof(abi::Rseq)) return Errno(EFAULT);
  state.area = area;
  state.length_bytes = length_bytes;
  state.signature = signature;
  state.due = true;
  return Ok();
}

ErrnoOr<void> SettleRseq(Task& task, mm::UserMemory memory) {
  RseqState& state = task.rseq;
  if (state.area.is_null()) return Ok();
  memory.tlb().ForgetFault();
  ErrnoOr<void> settled = LeaveSection(task, memory);
  const uint32_t cpu = task.cpu_number();
  if (settled.ok() && state.told_cpu != cpu) settled = TellCpu(state, memory, cpu, cpu);
  if (!settled.ok() && memory.tlb().last_fault().kind == mm::FaultKind::kNotReady) return Ok();
  state.due = false;
  return settled;
}

}  // namespace remora::proc
