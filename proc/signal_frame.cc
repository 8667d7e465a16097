#include "proc/signal_frame.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include "base/abi/signal.h"
#include "cpu/cpuid.h"
#include "cpu/xsave.h"
#include "proc/kernel.h"
#include "proc/siginfo.h"

namespace remora::proc {

namespace {

constexpr uint16_t kUserCodeSegment = 0x33, kUserDataSegment = 0x2b;
// What rt_sigreturn may change: Linux's FIX_EFLAGS.
constexpr uint64_t kRestorableFlags = cpu::kStatusFlags | cpu::kFlagDF | cpu::kFlagTF | cpu::kFlagRF | cpu::kFlagAC;

bool OnAlternateStack(const AlternateStack& stack, uint64_t rsp) {
  return rsp > stack.base.value() && rsp - stack.base.value() <= stack.size_bytes;
}

abi::SigaltStack Encode(const AlternateStack& stack, uint64_t rsp) {
  abi::SigaltStack out = {};
  out.ss_sp = stack.base.value();
  out.ss_size = stack.size_bytes;
  out.ss_flags = stack.flags & abi::kSS_AUTODISARM;
  if (stack.size_bytes == 0)
    out.ss_flags |= abi::kSS_DISABLE;
  else if ((stack.flags & abi::kSS_AUTODISARM) == 0 && OnAlternateStack(stack, rsp))
    out.ss_flags |= abi::kSS_ONSTACK;
  return out;
}

abi::Sigcontext EncodeContext(const Task& task, uint64_t fpstate) {
  const cpu::CpuState& cpu = task.cpu;
  abi::Sigcontext out = {};
  out.r8 = cpu.gpr[cpu::kR8];
  out.r9 = cpu.gpr[cpu::kR9];
  out.r10 = cpu.gpr[cpu::kR10];
  out.r11 = cpu.gpr[cpu::kR11];
  out.r12 = cpu.gpr[cpu::kR12];
  out.r13 = cpu.gpr[cpu::kR13];
  out.r14 = cpu.gpr[cpu::kR14];
  out.r15 = cpu.gpr[cpu::kR15];
  out.rdi = cpu.gpr[cpu::kRdi];
  out.rsi = cpu.gpr[cpu::kRsi];
  out.rbp = cpu.gpr[cpu::kRbp];
  out.rbx = cpu.gpr[cpu::kRbx];
  out.rdx = cpu.gpr[cpu::kRdx];
  out.rax = cpu.gpr[cpu::kRax];
  out.rcx = cpu.gpr[cpu::kRcx];
  out.rsp = cpu.gpr[cpu::kRsp];
  out.rip = cpu.rip;
  out.eflags = cpu.rflags;
  out.cs = kUserCodeSegment;
  out.ss = kUserDataSegment;
  out.err = task.trap.error_code;
  out.trapno = task.trap.number;
  out.cr2 = task.trap.fault_address;
  out.oldmask = task.blocked_signals().bits();
  out.fpstate = fpstate;
  return out;
}

void DecodeContext(const abi::Sigcontext& in, cpu::CpuState* cpu) {
  cpu->gpr[cpu::kR8] = in.r8;
  cpu->gpr[cpu::kR9] = in.r9;
  cpu->gpr[cpu::kR10] = in.r10;
  cpu->gpr[cpu::kR11] = in.r11;
  cpu->gpr[cpu::kR12] = in.r12;
  cpu->gpr[cpu::kR13] = in.r13;
  cpu->gpr[cpu::kR14] = in.r14;
  cpu->gpr[cpu::kR15] = in.r15;
  cpu->gpr[cpu::kRdi] = in.rdi;
  cpu->gpr[cpu::kRsi] = in.rsi;
  cpu->gpr[cpu::kRbp] = in.rbp;
  cpu->gpr[cpu::kRbx] = in.rbx;
  cpu->gpr[cpu::kRdx] = in.rdx;
  cpu->gpr[cpu::kRax] = in.rax;
  cpu->gpr[cpu::kRcx] = in.rcx;
  cpu->gpr[cpu::kRsp] = in.rsp;
  cpu->rip = in.rip;
  cpu->rflags = (cpu->rflags & ~kRestorableFlags) | (in.eflags & kRestorableFlags) | cpu::kFlagsFixed;
}

// As exec leaves it: how a handler begins.
void ResetFpState(cpu::CpuState* cpu) {
  cpu->x87 = {};
  cpu->mxcsr = cpu::CpuState().mxcsr;
  cpu->vector = {};
  cpu->opmask = {};
  cpu->avx512_live = false;
}

uint64_t EnabledXstate(const Task& task) { return cpu::EnabledXstate(task.kernel().options().cpu_level); }

// The XSAVE image and the word that ends it.
constexpr size_t FpStateBytes(uint64_t enabled) { return cpu::XsaveBytes(enabled) + sizeof(uint32_t); }
constexpr size_t kMaxFpStateBytes = FpStateBytes(cpu::kXstateAll);

abi::FxsaveArea::Software DescribeFpState(uint64_t enabled) {
  abi::FxsaveArea::Software software = {};
  software.magic1 = abi::kFP_XSTATE_MAGIC1;
  software.extended_size = static_cast<uint32_t>(FpStateBytes(enabled));
  software.xfeatures = enabled;
  software.xstate_size = static_cast<uint32_t>(cpu::XsaveBytes(enabled));
  return software;
}

// FpStateBytes of them count.
std::array<std::byte, kMaxFpStateBytes> EncodeFpState(const cpu::CpuState& cpu, uint64_t enabled) {
  cpu::XsaveImage image;
  cpu::WriteXsaveImage(cpu, &image);
  const abi::FxsaveArea::Software software = DescribeFpState(enabled);
  std::memcpy(image.data() + offsetof(abi::FxsaveArea, sw), &software, sizeof(software));
  // Linux always says that x87 and SSE are there: a debugger or handler may change them.
  image[cpu::kXsaveComponentsOffset] |= static_cast<std::byte>(cpu::kXstateX87 | cpu::kXstateSse);
  std::array<std::byte, kMaxFpStateBytes> out = {};
  std::memcpy(out.data(), image.data(), image.size());
  std::memcpy(out.data() + software.xstate_size, &abi::kFP_XSTATE_MAGIC2, sizeof(abi::kFP_XSTATE_MAGIC2));
  return out;
}

// Where what the software bytes say is not what Linux writes there, only FXSAVE's 512 bytes count.
ErrnoOr<void> DecodeFpState(mm::UserMemory memory, GuestAddr fpstate, uint64_t enabled, cpu::CpuState* cpu) {
  cpu::XsaveImage image = {};
  const std::span<std::byte> bytes(image);
  REMORA_RETURN_IF_ERROR(memory.CopyIn(bytes.first(sizeof(abi::FxsaveArea)), fpstate));
  abi::FxsaveArea::Software software;
  std::memcpy(&software, image.data() + offsetof(abi::FxsaveArea, sw), sizeof(software));
  uint64_t components = software.xfeatures & enabled;
  bool extended = software.magic1 == abi::kFP_XSTATE_MAGIC1 && software.xstate_size >= cpu::kXsaveExtendedOffset &&
                  software.xstate_size <= cpu::XsaveBytes(enabled) && software.xstate_size <= software.extended_size;
  if (extended) {
    const ErrnoOr<uint32_t> magic2 = memory.Read<uint32_t>(fpstate + software.xstate_size);
    extended = magic2.ok() && *magic2 == abi::kFP_XSTATE_MAGIC2;
  }
  if (extended) {
    const size_t rest = software.xstate_size - sizeof(abi::FxsaveArea);
    REMORA_RETURN_IF_ERROR(
        memory.CopyIn(bytes.subspan(sizeof(abi::FxsaveArea), rest), fpstate + sizeof(abi::FxsaveArea)));
    for (const cpu::XsaveComponent& component : cpu::kXsaveComponents)
      if (software.xstate_size < component.offset + component.bytes) components &= ~(uint64_t{1} << component.number);
  } else {
    components = cpu::kXstateX87 | cpu::kXstateSse;
    image[cpu::kXsaveComponentsOffset] = static_cast<std::byte>(components);
  }
  if (!cpu::ReadXsaveImage(image, components, enabled, cpu)) return Errno(EFAULT);
  // What the frame does not name begins anew.
  const cpu::XsaveImage nothing = {};
  const uint32_t mxcsr = cpu->mxcsr;
  if (!cpu::ReadXsaveImage(nothing, enabled & ~components, enabled, cpu)) return Errno(EFAULT);
  cpu->mxcsr = mxcsr;
  return Ok();
}

}  // namespace

uint64_t MinSignalStackBytes(uint64_t enabled_xstate) {
  constexpr uint64_t kBesideFpState = 1216;
  return kBesideFpState + cpu::XsaveBytes(enabled_xstate);
}

ErrnoOr<void> PushSignalFrame(Task& task, mm::UserMemory memory, const SignalInfo& info, const SignalAction& action,
                              SignalSet restored_mask) {
  cpu::CpuState& cpu = task.cpu;
  const uint64_t interrupted_rsp = cpu.gpr[cpu::kRsp];
  const AlternateStack& alternate = task.alternate_stack;
  uint64_t sp = interrupted_rsp - abi::kRedZoneBytes;
  bool on_alternate = alternate.size_bytes != 0 && (alternate.flags & abi::kSS_AUTODISARM) == 0 &&
                      OnAlternateStack(alternate, interrupted_rsp);
  const bool enters_alternate = (action.flags & abi::kSA_ONSTACK) != 0 && alternate.size_bytes != 0 && !on_alternate;
  if (enters_alternate) sp = alternate.base.value() + alternate.size_bytes;
  on_alternate |= enters_alternate;

  const uint64_t enabled = EnabledXstate(task), fpstate_bytes = FpStateBytes(enabled);
  const uint64_t fpstate = (sp - fpstate_bytes) & ~uint64_t{63};
  const uint64_t frame = ((fpstate - sizeof(abi::RtSigframe)) & ~uint64_t{15}) - 8;
  // A frame that would leave the alternate stack at its lower end is refused, as one that wraps.
  if (on_alternate && !OnAlternateStack(alternate, frame)) return Errno(EFAULT);
  if (frame >= interrupted_rsp && !enters_alternate) return Errno(EFAULT);
  // Linux too gives no handler without a restorer on x86-64.
  if ((action.flags & abi::kSA_RESTORER) == 0) return Errno(EFAULT);

  const std::array<std::byte, kMaxFpStateBytes> image = EncodeFpState(cpu, enabled);
  REMORA_RETURN_IF_ERROR(memory.CopyOut(GuestAddr(fpstate), std::span(image).first(fpstate_bytes)));

  abi::RtSigframe out = {};
  out.return_address = action.restorer.value();
  out.context.uc_flags = abi::kUC_FP_XSTATE | abi::kUC_SIGCONTEXT_SS | abi::kUC_STRICT_RESTORE_SS;
  out.context.uc_stack = Encode(alternate, interrupted_rsp);
  out.context.uc_mcontext = EncodeContext(task, fpstate);
  out.context.uc_mcontext.oldmask = restored_mask.bits();
  out.context.uc_sigmask = restored_mask.bits();
  out.info = EncodeSignalInfo(info);
  REMORA_RETURN_IF_ERROR(memory.Write(GuestAddr(frame), out));

  if ((alternate.flags & abi::kSS_AUTODISARM) != 0) task.alternate_stack = AlternateStack();
  cpu.gpr[cpu::kRdi] = static_cast<uint64_t>(info.signal);
  cpu.gpr[cpu::kRax] = 0;
  cpu.gpr[cpu::kRsi] = frame + offsetof(abi::RtSigframe, info);
  cpu.gpr[cpu::kRdx] = frame + offsetof(abi::RtSigframe, context);
  cpu.gpr[cpu::kRsp] = frame;
  cpu.rip = action.handler;
  cpu.rflags &= ~(cpu::kFlagDF | cpu::kFlagRF | cpu::kFlagTF);
  ResetFpState(&cpu);
  return Ok();
}

ErrnoOr<SignalSet> PopSignalFrame(Task& task, mm::UserMemory memory) {
  cpu::CpuState& cpu = task.cpu;
  const GuestAddr frame(cpu.gpr[cpu::kRsp] - 8);
  REMORA_ASSIGN_OR_RETURN(const abi::RtSigframe in, memory.Read<abi::RtSigframe>(frame));
  const abi::Sigcontext& context = in.context.uc_mcontext;
  if (context.fpstate != 0) {
    REMORA_RETURN_IF_ERROR(DecodeFpState(memory, GuestAddr(context.fpstate), EnabledXstate(task), &cpu));
  } else {
    ResetFpState(&cpu);
  }
  DecodeContext(context, &cpu);
  if (cpu.rip >= kUserAddressEnd) return Errno(EFAULT);
  // As sigaltstack(2) would set it; what it would refuse is left out, and a stack in use cannot be changed.
  const abi::SigaltStack& stack = in.context.uc_stack;
  const int32_t mode = stack.ss_flags & ~abi::kSS_AUTODISARM;
  if ((mode == 0 || mode == abi::kSS_ONSTACK || mode == abi::kSS_DISABLE) &&
      (mode == abi::kSS_DISABLE || stack.ss_size >= abi::kMINSIGSTKSZ)) {
    AlternateStack restored;
    restored.flags = stack.ss_flags;
    if (mode != abi::kSS_DISABLE) {
      restored.base = GuestAddr(stack.ss_sp);
      restored.size_bytes = stack.ss_size;
      restored.flags &= abi::kSS_AUTODISARM;
    }
    task.alternate_stack = restored;
  }
  return SignalSet(in.context.uc_sigmask);
}

}  // namespace remora::proc
