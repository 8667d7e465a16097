#include "cpu/translator/routines.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/guest_addr.h"
#include "cpu/translator/context_assembler.h"
#include "cpu/translator/host_code.h"
#include "mm/tlb.h"

namespace remora::cpu::translator {
namespace {

using namespace Xbyak::util;  // the registers' names

// The permanent code: routines, then the ways' thunks.
constexpr uint64_t kAllThunkBytes = uint64_t{GuestContext::kWays} * 2 * GuestContext::kWayThunkBytes;
static_assert(kAllThunkBytes < CodeBuffer::kPermanentBytes);
constexpr uint64_t kRoutineBytes = CodeBuffer::kPermanentBytes - kAllThunkBytes;

constexpr int kVectors = 16, kWideVectors = 32, kOpmasks = 8;
constexpr int kGeneral = 16, kHostRsp = 4;
const Xbyak::Reg64 kScratchRegister(kScratch), kStackPlace(kGuestRspHost);
// What C++ may spoil, in the order of PushedRegisters, from the last one on; the scratch register is pushed last.
const Xbyak::Reg64 kCallerSaved[] = {rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11};

// Whether the host's register has the guest's of the same name.
constexpr bool IsSame(int i) { return i != kHostRsp && i != kGuestRspHost && i != kScratch; }

class RoutineWriter : public ContextAssembler {
 public:
  RoutineWriter(const HostCalls& calls, bool has_avx512)
      : ContextAssembler(kRoutineBytes), calls_(calls), has_avx512_(has_avx512) {}

  size_t Enter() {
    const size_t at = Begin();
    for (const Xbyak::Reg64& reg : {rbx, rbp, r12, r13, r14, r15}) push(reg);
    sub(rsp, 8);
    StoreField(REMORA_FIELD(host_rsp), rsp);
    LoadField(kScratchRegister, REMORA_FIELD(state));
    for (const auto& [guest, field] : kInContext) {
      mov(rax, qword[kScratchRegister + 8 * guest]);
      StoreField(field, rax);
    }
    LoadStackPlace();
    for (int i = 0; i < kGeneral; ++i)
      if (IsSame(i)) mov(Xbyak::Reg64(i), qword[kScratchRegister + 8 * i]);
    LoadField(rsp, REMORA_FIELD(frame));
    JumpField(REMORA_FIELD(entry));
    return at;
  }

  // `leave_` and `return_` are generated first.
  size_t Leave() {
    leave_ = Begin();
    SaveState();
    return_ = getSize();
    LoadField(rsp, REMORA_FIELD(host_rsp));
    add(rsp, 8);
    for (const Xbyak::Reg64& reg : {r15, r14, r13, r12, rbp, rbx}) pop(reg);
    ret();
    return leave_;
  }

  size_t LeaveWith(cpu::translator::Leave why) {
    const size_t at = Begin();
    StoreField(REMORA_FIELD(exit_pc), kScratchRegister);
    GoLeave(why);
    return at;
  }

  size_t GoOn() {
    const size_t at = Begin();
    Xbyak::Label leave;
    push(rax);
    LoadField(rax, REMORA_FIELD(interrupt));
    cmp(dword[rax], 0);
    jne(leave);
    LoadField(rax, REMORA_FIELD(reserve));
    sub(rax, GuestContext::kPortion);
    jb(leave);
    StoreField(REMORA_FIELD(reserve), rax);
    Gs(), add(dword[At(REMORA_FIELD(remaining))], GuestContext::kPortion);
    pop(rax);
    ret();
    L(leave);
    pop(rax);
    PopField(REMORA_FIELD(exit_host_pc));
    GoLeave(cpu::translator::Leave::kShort);
    return at;
  }

  // Called from where its block is left. `flags_in_host`: to be saved.
  size_t LeaveFrom(cpu::translator::Leave why, bool flags_in_host) {
    const size_t at = Begin();
    PopField(REMORA_FIELD(exit_host_pc));
    if (flags_in_host) SaveFlags();
    GoLeave(why);
    return at;
  }

  // `returns`: to what has been popped.
  size_t GoByTable(bool returns) {
    const size_t at = Begin();
    if (returns) mov(kScratchRegister, qword[kStackPlace - 8]);
    const auto behind_frame = [](size_t field) {
      return static_cast<int>(field) - static_cast<int>(REMORA_FIELD(r10));
    };
    const auto spill = qword[rsp + behind_frame(REMORA_FIELD(spill[1]))];
    const auto target = [&](size_t member) {
      return qword[rsp + rax * 8 + behind_frame(REMORA_FIELD(indirect) + member)];
    };
    mov(spill, rax);
    movzx(eax, kScratchRegister.cvt16());
    and_(eax, -2);
    cmp(kScratchRegister, target(offsetof(GuestContext::IndirectTarget, pc)));
    jne(getCode() + indirect_miss_);
    mov(kScratchRegister, target(offsetof(GuestContext::IndirectTarget, code)));
    mov(rax, spill);
    jmp(kScratchRegister);
    return at;
  }

  // Generated before those that jump to it.
  size_t IndirectMiss() {
    const size_t at = indirect_miss_ = Begin();
    Xbyak::Label unknown;
    StoreField(REMORA_FIELD(target), kScratchRegister);
    LoadField(rax, REMORA_FIELD(spill[1]));
    PushAll();
    LoadField(rdi, REMORA_FIELD(self));
    CallHost(reinterpret_cast<const void*>(calls_.fast_target));
    PopAllAndAnswer();
    test(kScratchRegister, kScratchRegister);
    jz(unknown);
    jmp(kScratchRegister);
    L(unknown);
    LoadField(kScratchRegister, REMORA_FIELD(target));
    StoreField(REMORA_FIELD(exit_pc), kScratchRegister);
    GoLeave(cpu::translator::Leave::kLookup);
    return at;
  }

  // `flags_in_host`: to be saved.
  size_t WayUnset(bool flags_in_host) {
    const size_t at = Begin();
    PopField(REMORA_FIELD(way_return));
    if (flags_in_host) SaveFlags();
    Xbyak::Label unknown;
    PushAll();
    LoadField(rdi, REMORA_FIELD(self));
    CallHost(reinterpret_cast<const void*>(calls_.fast_way));
    PopAllAndAnswer();
    test(kScratchRegister, kScratchRegister);
    jz(unknown);
    jmp(kScratchRegister);
    L(unknown);
    GoLeave(cpu::translator::Leave::kLookup);
    return at;
  }

  size_t Trap() {
    const size_t at = Begin();
    StoreField(REMORA_FIELD(exit_host_pc), kScratchRegister);
    pushfq();
    PopField(REMORA_FIELD(trap_flags));
    GoLeave(cpu::translator::Leave::kTrap);
    return at;
  }

  size_t LoadVectors() {
    const size_t at = Begin();
    LoadField(kScratchRegister, REMORA_FIELD(state));
    LoadVectorsFrom(kScratchRegister);
    ret();
    return at;
  }

  size_t LoadAvx512() {
    const size_t at = Begin();
    LoadField(kScratchRegister, REMORA_FIELD(state));
    mov(byte[kScratchRegister + offsetof(CpuState, avx512_live)], 1);
    Xbyak::Label vectors_are_there;
    CompareField8(REMORA_FIELD(vectors_live), 1);
    je(vectors_are_there, T_NEAR);
    LoadWideVectorsFrom(kScratchRegister);
    ret();
    L(vectors_are_there);
    for (int i = kVectors; i < kWideVectors; ++i) vpxord(Xbyak::Zmm(i), Xbyak::Zmm(i), Xbyak::Zmm(i));
    for (int i = 0; i < kOpmasks; ++i) kxorq(Xbyak::Opmask(i), Xbyak::Opmask(i), Xbyak::Opmask(i));
    SetField8(REMORA_FIELD(vectors_live), 2);
    ret();
    return at;
  }

  size_t AccessPlace() {
    const size_t at = Begin();
    mov(kScratchRegister, qword[rsp]);
    mov(kScratchRegister.cvt32(), dword[kScratchRegister + Routines::kSiteBehindReturn]);
    Gs(), mov(dword[At(REMORA_FIELD(site))], kScratchRegister.cvt32());
    CallAccess(calls_.fast_place, calls_.fill_place, [&] {
      PopAllAndAnswer();
      ret();
    });
    PopAll();
    LeaveWithoutAccess();
    return at;
  }

  // `as_delta`: what has to be added to the guest's address, rather than the host's address.
  size_t Access(bool writes, bool as_delta) {
    const size_t at = Begin();
    LookAround(writes, as_delta);
    CallAccess(calls_.fast_access, calls_.fill_access, [&] {
      if (as_delta) {
        sub(rax, qword[rsp]);
      }
      PopAllAndAnswer();
      ret();
    });
    PopAll();
    LeaveWithoutAccess();
    return at;
  }

  size_t AccessAroundStack() {
    const size_t at = Begin();
    StoreField(REMORA_FIELD(held), kScratchRegister);
    push(rax);
    mov(rax, qword[rsp + 8]);
    movsxd(kScratchRegister, dword[rax + Routines::kDistanceBehindReturn]);
    mov(eax, dword[rax + Routines::kSiteBehindReturn]);
    Gs(), mov(dword[At(REMORA_FIELD(site))], eax);
    pop(rax);
    add(kScratchRegister, kStackPlace);
    Gs(), add(kScratchRegister, Field(REMORA_FIELD(minus_stack_delta)));
    LookForStack([&] { LoadField(kScratchRegister, REMORA_FIELD(held)); });
    return at;
  }
  size_t AccessStack() {
    const size_t at = Begin();
    LookForStack([] {});
    return at;
  }

  size_t String() {
    const size_t at = Begin();
    Xbyak::Label again, done, leave;
    StoreField(REMORA_FIELD(exit_pc), kScratchRegister);
    PushAll();  // PushedRegisters
    L(again);
    LoadField(rdi, REMORA_FIELD(self));
    mov(rsi, rsp);
    CallHost(reinterpret_cast<const void*>(calls_.run_string));
    cmp(rax, static_cast<uint32_t>(StringEnd::kFill));
    jb(done, T_NEAR);
    ja(leave, T_NEAR);
    WithVectorsSaved([&] {
      LoadField(rdi, REMORA_FIELD(self));
      lea(rsi, ptr[rsp + kPushedByWithVectorsSaved]);
      CallHost(reinterpret_cast<const void*>(calls_.fill_string));
    });
    test(al, al);
    jnz(again, T_NEAR);
    L(leave);
    PopAll();
    GoLeave(cpu::translator::Leave::kString);
    L(done);
    PopAll();
    ret();
    return at;
  }

  // C++ keeps what callees must keep, and of the state a call changes RAX only: the rest is loaded again. The guest's
  // R10 and R11 are where they belong already.
  size_t Syscall() {
    const size_t at = Begin();
    StoreField(REMORA_FIELD(exit_pc), kScratchRegister);
    SaveState(/*overwritten=*/1 << kRcx | 1 << kR11);
    LoadField(rdi, REMORA_FIELD(self));
    CallHost(reinterpret_cast<const void*>(calls_.carry_out_syscall));
    test(rax, rax);
    jz(getCode() + return_);
    mov(kScratchRegister, rax);
    for (const Xbyak::Reg64& reg : kCallerSaved)
      if (IsSame(reg.getIdx())) mov(reg, qword[kScratchRegister + 8 * reg.getIdx()]);
    LoadStackPlace();
    ret();
    return at;
  }

  size_t LearnBranch() {
    const size_t at = Begin();
    PushAll();
    WithVectorsSaved([&] {
      constexpr int kPushed = kPushedByWithVectorsSaved + 8 * static_cast<int>(std::size(kCallerSaved));
      LoadField(rdi, REMORA_FIELD(self));
      mov(rsi, qword[rsp + kPushed]);
      mov(rdx, qword[rsp + kPushedByWithVectorsSaved]);
      CallHost(reinterpret_cast<const void*>(calls_.learn_branch));
    });
    PopAll();
    ret();
    return at;
  }

  size_t LoadX87() {
    const size_t at = Begin();
    PushAll();
    WithVectorsSaved([&] {
      LoadField(rdi, REMORA_FIELD(self));
      CallHost(reinterpret_cast<const void*>(calls_.prepare_x87));
    });
    RestoreX87();
    PopAll();
    ret();
    return at;
  }

 private:
  size_t Begin() {
    align(16);
    return getSize();
  }
  void SaveFlags() {
    StoreField(REMORA_FIELD(spill[1]), rax);
    lahf();
    seto(al);
    Gs(), mov(word[At(REMORA_FIELD(flags))], ax);
    LoadField(rax, REMORA_FIELD(spill[1]));
  }
  // From the state, which R11 points to.
  void LoadStackPlace() {
    mov(kStackPlace, qword[kScratchRegister + 8 * kRsp]);
    Gs(), add(kStackPlace, Field(REMORA_FIELD(stack_delta)));
  }
  // All that the guest has in the host's registers, but for its flags, and those that are about to be overwritten (a
  // bit each). R10, R11 and RAX are spoilt.
  void SaveState(unsigned overwritten = 0) {
    const auto is_saved = [overwritten](int i) { return (overwritten >> i & 1) == 0; };
    LoadField(kScratchRegister, REMORA_FIELD(state));
    for (int i = 0; i < kGeneral; ++i)
      if (IsSame(i) && is_saved(i)) mov(qword[kScratchRegister + 8 * i], Xbyak::Reg64(i));
    Gs(), add(kStackPlace, Field(REMORA_FIELD(minus_stack_delta)));
    mov(qword[kScratchRegister + 8 * kRsp], kStackPlace);
    for (const auto& [guest, field] : kInContext) {
      if (!is_saved(guest)) continue;
      LoadField(rax, field);
      mov(qword[kScratchRegister + 8 * guest], rax);
    }
    Xbyak::Label no_units, no_vectors, no_x87;
    static_assert(offsetof(GuestContext, x87_live) == offsetof(GuestContext, vectors_live) + 1);
    Gs(), cmp(word[At(REMORA_FIELD(vectors_live))], 0);
    je(no_units, T_NEAR);
    CompareField8(REMORA_FIELD(vectors_live), 0);
    je(no_vectors, T_NEAR);
    SaveVectors(kScratchRegister);
    L(no_vectors);
    CompareField8(REMORA_FIELD(x87_live), 1);
    jne(no_x87, T_NEAR);
    SaveX87();
    L(no_x87);
    L(no_units);
  }
  // The end of a routine, with an address in R11. While C++ looks for the stack, R10 is RSP: where it is may change.
  template <typename Found>
  void LookForStack(Found found) {
    Gs(), add(kStackPlace, Field(REMORA_FIELD(minus_stack_delta)));
    const auto pop_all = [&] {
      PopAll();
      Gs(), add(kStackPlace, Field(REMORA_FIELD(stack_delta)));
    };
    CallAccess(calls_.fast_stack, calls_.fill_stack, [&] {
      pop_all();
      found();
      ret();
    });
    pop_all();
    LeaveWithoutAccess();
  }
  // Returns from the routine if one of the runs recorded last has the address in R11, or the TLB's first way. At about
  // each 8th miss the site's extent becomes that run; at about each 128th C++ is asked.
  static constexpr int kExtentShift = 5;
  static_assert(sizeof(Extent) == 1 << kExtentShift);
  static constexpr uint32_t kSizeShift = 13, kSizeMask = 0x1ff;  // AccessSite::size_less_one
  void LookAround(bool writes, bool as_delta) {
    Xbyak::Label unknown, record, unknown_record, miss;
    push(rax);
    Gs(), add(dword[At(REMORA_FIELD(misses))], static_cast<int>(GuestContext::kOneMiss));
    jc(record, T_NEAR);
    FindRecent(writes, unknown);
    Gs();
    if (as_delta)
      mov(kScratchRegister, RecentField(writes, offsetof(GuestContext::Recent, delta)));
    else
      add(kScratchRegister, RecentField(writes, offsetof(GuestContext::Recent, host)));
    pop(rax);
    ret();
    L(unknown);
    MakeAddress(writes);
    push(rcx);
    TakeSite();
    LookAtTlb(writes, as_delta);
    jmp(miss, T_NEAR);
    L(record);
    push(rcx);
    TakeSite();
    FindRecent(writes, unknown_record);
    MakeAddress(writes);
    Gs(), add(dword[At(REMORA_FIELD(records))], static_cast<int>(GuestContext::kOneRecord));
    jc(miss, T_NEAR);
    RecordRecent(writes, as_delta, miss);
    L(unknown_record);
    MakeAddress(writes);
    L(miss);
    pop(rcx);
    pop(rax);
  }
  // From behind the call to its place in the context. ECX has it, too.
  void TakeSite() {
    constexpr int kPushed = 16;
    mov(rcx, qword[rsp + kPushed]);
    mov(ecx, dword[rcx + Routines::kSiteBehindReturn]);
    Gs(), mov(dword[At(REMORA_FIELD(site))], ecx);
  }
  // A member of the run that FindRecent has found.
  Xbyak::Address RecentField(bool writes, size_t member) const {
    using Recent = GuestContext::Recent;
    const size_t first = REMORA_FIELD(recents) + (writes ? sizeof(Recent) * GuestContext::kRecents : 0);
    return qword[rax + static_cast<int>(first + member)];
  }
  // The run recorded last around the address in R11, which becomes how far it is in the run, wherever this leads: RAX
  // leads to it.
  void FindRecent(bool writes, const Xbyak::Label& missed) {
    using Recent = GuestContext::Recent;
    constexpr int kRecentBits = 5;
    static_assert(sizeof(Recent) == 1 << kRecentBits);
    mov(rax, kScratchRegister);
    shr(rax, GuestContext::kRecentShift - kRecentBits);
    and_(eax, (GuestContext::kRecents - 1) << kRecentBits);
    Gs(), sub(kScratchRegister, RecentField(writes, offsetof(Recent, start)));
    Gs(), cmp(kScratchRegister, RecentField(writes, offsetof(Recent, limit)));
    jae(missed, T_NEAR);
  }
  // What FindRecent has made of the address becomes the address.
  void MakeAddress(bool writes) {
    Gs(), add(kScratchRegister, RecentField(writes, offsetof(GuestContext::Recent, start)));
  }
  // RecordRecent and LookAtTlb return from the routine if they know where the address is. RAX and RCX are pushed.

  // As RecordExtent, from what FindRecent has found, of an extent that is among the used ones. ECX: the site.
  void RecordRecent(bool writes, bool as_delta, const Xbyak::Label& miss) {
    using Recent = GuestContext::Recent;
    Xbyak::Label unused;
    constexpr size_t kFirst = REMORA_FIELD(extent_rows) + offsetof(ExtentRow, extents);
    const auto extent = [this](size_t member) { return qword[rdx + static_cast<int>(kFirst + member)]; };
    push(rdx);
    push(rsi);
    mov(edx, ecx);
    and_(edx, 2 * kNumExtents - 1);
    // Rows are a little longer than their extents. The quotient is exact for all numbers.
    constexpr uint32_t kReciprocalShift = 16, kReciprocal = (1u << kReciprocalShift) / ExtentRow::kExtents + 1;
    static_assert((kReciprocal * ExtentRow::kExtents - (1u << kReciprocalShift)) * 2 * kNumExtents <
                  1u << kReciprocalShift);
    imul(esi, edx, kReciprocal);
    shr(esi, kReciprocalShift);
    imul(esi, esi, static_cast<int>(sizeof(ExtentRow) - sizeof(ExtentRow::extents)));
    shl(edx, kExtentShift);
    add(edx, esi);
    Gs(), cmp(extent(offsetof(Extent, host)), 0);
    je(unused);
    // The class is how many bits the size less one has; a recent limit allows for the largest class.
    shr(ecx, kSizeShift);
    and_(ecx, kSizeMask);
    lea(ecx, ptr[rcx * 2 + 1]);
    bsr(ecx, ecx);
    mov(rsi, -1);
    shl(rsi, cl);
    Gs(), add(rsi, RecentField(writes, offsetof(Recent, limit)));
    add(rsi, 1 << (kSizeClasses - 1));
    Gs(), mov(extent(offsetof(Extent, limit)), rsi);
    Gs(), mov(rsi, RecentField(writes, offsetof(Recent, start)));
    Gs(), mov(extent(offsetof(Extent, start)), rsi);
    Gs(), mov(rsi, RecentField(writes, offsetof(Recent, host)));
    Gs(), mov(extent(offsetof(Extent, host)), rsi);
    Gs(), mov(rcx, RecentField(writes, offsetof(Recent, delta)));
    Gs(), mov(extent(offsetof(Extent, delta)), rcx);
    if (as_delta)
      mov(kScratchRegister, rcx);
    else
      add(kScratchRegister, rcx);
    pop(rsi);
    pop(rdx);
    pop(rcx);
    pop(rax);
    ret();
    L(unused);
    pop(rsi);
    pop(rdx);
    jmp(miss, T_NEAR);
  }
  // By way 0, if the access does not go on in the next page.
  void LookAtTlb(bool writes, bool as_delta) {
    Xbyak::Label missed;
    push(rdx);
    Gs(), mov(eax, dword[At(REMORA_FIELD(site))]);
    shr(eax, kSizeShift);
    and_(eax, kSizeMask);  // size_less_one
    mov(ecx, kScratchRegister.cvt32());
    and_(ecx, static_cast<uint32_t>(kPageMask));
    add(eax, ecx);
    cmp(eax, static_cast<uint32_t>(kPageSize));
    jae(missed);
    mov(rax, kScratchRegister);
    and_(rax, -static_cast<int>(kPageSize));
    mov(rcx, rax);
    shr(rcx, static_cast<int>(kPageShift));
    mov(rdx, rcx);
    shr(rdx, static_cast<int>(mm::Tlb::kSetBits));
    add(ecx, edx);
    and_(ecx, mm::Tlb::kSets - 1);
    imul(ecx, ecx, static_cast<int>(mm::Tlb::kFrontBytes));
    Gs(), add(rcx, Field(REMORA_FIELD(tlb_front)));
    cmp(rax, qword[rcx + (writes ? mm::Tlb::kWriteTagOffset : mm::Tlb::kReadTagOffset)]);
    jne(missed);
    if (as_delta)
      mov(kScratchRegister, qword[rcx + mm::Tlb::kDeltaOffset]);
    else
      add(kScratchRegister, qword[rcx + mm::Tlb::kDeltaOffset]);
    pop(rdx);
    pop(rcx);
    pop(rax);
    ret();
    L(missed);
    pop(rdx);
  }
  // Asks `fast`, then `fill`, for the guest address in R11. All is pushed then; `found` comes with the answer in RAX.
  template <typename Function, typename Found>
  void CallAccess(Function fast, Function fill, Found found) {
    PushAll();
    LoadField(rdi, REMORA_FIELD(self));
    mov(rsi, kScratchRegister);
    CallHost(reinterpret_cast<const void*>(fast));
    Xbyak::Label is_found, is_not_found;
    test(rax, rax);
    jz(is_not_found, T_NEAR);
    L(is_found);
    found();
    L(is_not_found);
    WithVectorsSaved([&] {
      LoadField(rdi, REMORA_FIELD(self));
      mov(rsi, qword[rsp + kPushedByWithVectorsSaved]);
      CallHost(reinterpret_cast<const void*>(fill));
    });
    test(rax, rax);
    jnz(is_found, T_NEAR);
  }
  // The site's call is what is on the stack.
  void LeaveWithoutAccess() {
    mov(kScratchRegister, qword[rsp]);
    StoreField(REMORA_FIELD(exit_host_pc), kScratchRegister);
    GoLeave(cpu::translator::Leave::kNoAccess);
  }
  void CallHost(const void* function) {
    mov(rax, reinterpret_cast<size_t>(function));
    StoreField(REMORA_FIELD(routine_rsp), rsp);
    LoadField(rsp, REMORA_FIELD(host_rsp));
    call(rax);
    LoadField(rsp, REMORA_FIELD(routine_rsp));
  }
  void PushAll() {
    for (const Xbyak::Reg64& reg : kCallerSaved) push(reg);
  }
  void PopAll() {
    for (size_t i = std::size(kCallerSaved); i-- > 0;) pop(kCallerSaved[i]);
  }
  // The scratch register becomes what RAX is.
  void PopAllAndAnswer() {
    mov(qword[rsp], rax);
    PopAll();
  }
  void GoLeave(cpu::translator::Leave why) {
    SetField32(REMORA_FIELD(leave), static_cast<uint32_t>(why));
    jmp(getCode() + leave_, T_NEAR);
  }
  // C++ that may use vectors: what of the guest's is in the host's registers goes to its place and comes back. RAX is
  // the answer, RDI and RSI are the caller's to set.
  static constexpr int kPushedByWithVectorsSaved = 16;
  template <typename F>
  void WithVectorsSaved(F call_host) {
    Xbyak::Label no_vectors, no_x87, no_vectors_again, no_x87_again;
    push(rbx);
    push(r14);
    Gs(), movzx(ebx, word[At(REMORA_FIELD(vectors_live))]);  // the upper byte is x87_live
    LoadField(r14, REMORA_FIELD(state));
    test(bl, bl);
    jz(no_vectors, T_NEAR);
    SaveVectors(r14);
    L(no_vectors);
    test(bh, 1);
    jz(no_x87, T_NEAR);
    SaveX87();
    L(no_x87);
    call_host();
    test(bh, 1);
    jz(no_x87_again, T_NEAR);
    mov(r14, rax);
    RestoreX87();
    mov(rax, r14);
    L(no_x87_again);
    test(bl, bl);
    jz(no_vectors_again, T_NEAR);
    LoadField(r14, REMORA_FIELD(state));
    LoadVectorsFrom(r14);
    L(no_vectors_again);
    pop(r14);
    pop(rbx);
  }
  static constexpr size_t VectorOffset(int i) { return offsetof(CpuState, vector) + sizeof(VectorRegister) * i; }
  static constexpr size_t OpmaskOffset(int i) { return offsetof(CpuState, opmask) + sizeof(uint64_t) * i; }
  void SaveVectors(const Xbyak::Reg64& state) {
    Xbyak::Label saved, not_wide;
    if (has_avx512_) {
      CompareField8(REMORA_FIELD(vectors_live), 2);
      jne(not_wide, T_NEAR);
      for (int i = 0; i < kWideVectors; ++i) vmovups(zword[state + VectorOffset(i)], Xbyak::Zmm(i));
      for (int i = 0; i < kOpmasks; ++i) kmovq(qword[state + OpmaskOffset(i)], Xbyak::Opmask(i));
      jmp(saved, T_NEAR);
    }
    L(not_wide);
    for (int i = 0; i < kVectors; ++i) vmovups(yword[state + VectorOffset(i)], Xbyak::Ymm(i));
    L(saved);
    vzeroupper();
    stmxcsr(dword[state + offsetof(CpuState, mxcsr)]);
    Gs(), ldmxcsr(Field(REMORA_FIELD(host_mxcsr)));
    SetField8(REMORA_FIELD(vectors_live), 0);
  }
  // Where all upper halves are zero the host's are left as VZEROUPPER does: SSE code then runs without waiting for
  // them.
  void LoadVectorsFrom(const Xbyak::Reg64& state) {
    Xbyak::Label uppers, done, wide, all_done;
    if (has_avx512_) {
      cmp(byte[state + offsetof(CpuState, avx512_live)], 0);
      jne(wide, T_NEAR);
    }
    constexpr int kUpper = 16;
    vmovups(xmm0, xword[state + VectorOffset(0) + kUpper]);
    for (int i = 1; i < kVectors; ++i) vorps(xmm0, xmm0, xword[state + VectorOffset(i) + kUpper]);
    vptest(xmm0, xmm0);
    jnz(uppers, T_NEAR);
    vzeroupper();
    for (int i = 0; i < kVectors; ++i) movups(Xbyak::Xmm(i), xword[state + VectorOffset(i)]);
    jmp(done, T_NEAR);
    L(uppers);
    for (int i = 0; i < kVectors; ++i) vmovups(Xbyak::Ymm(i), yword[state + VectorOffset(i)]);
    L(done);
    ldmxcsr(dword[state + offsetof(CpuState, mxcsr)]);
    SetField8(REMORA_FIELD(vectors_live), 1);
    if (has_avx512_) {
      jmp(all_done, T_NEAR);
      L(wide);
      LoadWideVectorsFrom(state);
    }
    L(all_done);
  }
  // Like LoadVectorsFrom.
  void LoadWideVectorsFrom(const Xbyak::Reg64& state) {
    Xbyak::Label uppers, done;
    constexpr int kLowQwords = 2;
    vmovups(zmm0, zword[state + VectorOffset(0)]);
    for (int i = 1; i < kVectors; ++i) vporq(zmm0, zmm0, zword[state + VectorOffset(i)]);
    vptestmq(k1, zmm0, zmm0);
    kshiftrw(k1, k1, kLowQwords);
    kortestw(k1, k1);
    jnz(uppers, T_NEAR);
    vzeroupper();
    for (int i = 0; i < kVectors; ++i) movups(Xbyak::Xmm(i), xword[state + VectorOffset(i)]);
    jmp(done, T_NEAR);
    L(uppers);
    for (int i = 0; i < kVectors; ++i) vmovups(Xbyak::Zmm(i), zword[state + VectorOffset(i)]);
    L(done);
    for (int i = kVectors; i < kWideVectors; ++i) vmovups(Xbyak::Zmm(i), zword[state + VectorOffset(i)]);
    for (int i = 0; i < kOpmasks; ++i) kmovq(Xbyak::Opmask(i), qword[state + OpmaskOffset(i)]);
    ldmxcsr(dword[state + offsetof(CpuState, mxcsr)]);
    SetField8(REMORA_FIELD(vectors_live), 2);
  }
  void SaveX87() {
    SaveFx(REMORA_FIELD(x87_image));
    fninit();
    SetField8(REMORA_FIELD(x87_live), 2);
  }
  // RAX and RDX are spoilt. Of the image only the x87 unit is loaded.
  void RestoreX87() {
    mov(eax, 1);
    xor_(edx, edx);
    RestoreX(REMORA_FIELD(x87_image));
    SetField8(REMORA_FIELD(x87_live), 1);
  }

  const HostCalls calls_;
  const bool has_avx512_;
  size_t leave_ = 0;   // saves the state, then
  size_t return_ = 0;  // returns to C++
  size_t indirect_miss_ = 0;
};

}  // namespace

Routines MakeRoutines(CodeBuffer* buffer, const HostCalls& calls, bool has_avx512) {
  RoutineWriter writer(calls, has_avx512);
  struct Placed {
    const void** to;
    size_t offset;
  };
  Routines routines;
  const void* enter = nullptr;
  writer.Leave();
  const Placed placed[] = {
      {&enter, writer.Enter()},
      {&routines.leave_lookup, writer.LeaveWith(Leave::kLookup)},
      {&routines.indirect_miss, writer.IndirectMiss()},
      {&routines.go_by_table, writer.GoByTable(/*returns=*/false)},
      {&routines.return_by_table, writer.GoByTable(/*returns=*/true)},
      {&routines.leave_interpret, writer.LeaveWith(Leave::kInterpret)},
      {&routines.leave_repeat, writer.LeaveWith(Leave::kRepeat)},
      {&routines.go_on, writer.GoOn()},
      {&routines.dropped_host_flags, writer.LeaveFrom(Leave::kDropped, /*flags_in_host=*/true)},
      {&routines.dropped_saved_flags, writer.LeaveFrom(Leave::kDropped, /*flags_in_host=*/false)},
      {&routines.unlinked_host_flags, writer.LeaveFrom(Leave::kUnlinked, /*flags_in_host=*/true)},
      {&routines.unlinked_saved_flags, writer.LeaveFrom(Leave::kUnlinked, /*flags_in_host=*/false)},
      {&routines.way_unset_host_flags, writer.WayUnset(true)},
      {&routines.way_unset_saved_flags, writer.WayUnset(false)},
      {&routines.trap, writer.Trap()},
      {&routines.load_vectors, writer.LoadVectors()},
      {&routines.load_avx512, has_avx512 ? writer.LoadAvx512() : 0},
      {&routines.access[0], writer.Access(/*writes=*/false, /*as_delta=*/false)},
      {&routines.access[1], writer.Access(/*writes=*/true, /*as_delta=*/false)},
      {&routines.access_delta[0], writer.Access(/*writes=*/false, /*as_delta=*/true)},
      {&routines.access_delta[1], writer.Access(/*writes=*/true, /*as_delta=*/true)},
      {&routines.access_stack, writer.AccessStack()},
      {&routines.access_around_stack, writer.AccessAroundStack()},
      {&routines.access_place, writer.AccessPlace()},
      {&routines.load_x87, writer.LoadX87()},
      {&routines.string, writer.String()},
      {&routines.syscall, writer.Syscall()},
      {&routines.learn_branch, writer.LearnBranch()},
  };
  CHECK_MSG(Xbyak::GetError() == Xbyak::ERR_NONE, Xbyak::ConvertErrorToString(Xbyak::GetError()));
  // Jumps among the routines are relative, so the code may be moved as a whole.
  std::memcpy(buffer->Writable(buffer->permanent()), writer.getCode(), writer.getSize());
  for (const Placed& routine : placed) *routine.to = buffer->permanent() + routine.offset;
  routines.way_thunks = buffer->permanent() + kRoutineBytes;
  routines.enter = reinterpret_cast<void (*)(GuestContext*)>(const_cast<void*>(enter));
  return routines;
}

void ForEachRoutine(const Routines& routines, absl::FunctionRef<void(std::string_view, const void*)> routine) {
  const std::pair<std::string_view, const void*> all[] = {
      {"enter", reinterpret_cast<const void*>(routines.enter)},
      {"leave_lookup", routines.leave_lookup},
      {"go_by_table", routines.go_by_table},
      {"return_by_table", routines.return_by_table},
      {"leave_interpret", routines.leave_interpret},
      {"leave_repeat", routines.leave_repeat},
      {"go_on", routines.go_on},
      {"dropped_host_flags", routines.dropped_host_flags},
      {"dropped_saved_flags", routines.dropped_saved_flags},
      {"unlinked_host_flags", routines.unlinked_host_flags},
      {"unlinked_saved_flags", routines.unlinked_saved_flags},
      {"way_unset_host_flags", routines.way_unset_host_flags},
      {"way_unset_saved_flags", routines.way_unset_saved_flags},
      {"way_thunks", routines.way_thunks},
      {"indirect_miss", routines.indirect_miss},
      {"learn_branch", routines.learn_branch},
      {"trap", routines.trap},
      {"access_read", routines.access[0]},
      {"access_write", routines.access[1]},
      {"access_delta_read", routines.access_delta[0]},
      {"access_delta_write", routines.access_delta[1]},
      {"access_stack", routines.access_stack},
      {"access_around_stack", routines.access_around_stack},
      {"access_place", routines.access_place},
      {"string", routines.string},
      {"syscall", routines.syscall},
      {"load_vectors", routines.load_vectors},
      {"load_avx512", routines.load_avx512},
      {"load_x87", routines.load_x87},
  };
  for (const auto& [name, code] : all) routine(name, code);
}

std::vector<NamedCode> NamesOf(const Routines& routines, const CodeBuffer& buffer) {
  std::vector<NamedCode> names = {{"leave", {buffer.permanent(), 0}}};  // the first one, which others end with
  ForEachRoutine(routines, [&](std::string_view name, const void* code) {
    // What the host's CPU has no use for has no place of its own.
    if (code != buffer.permanent()) names.push_back({name, {static_cast<const std::byte*>(code), 0}});
  });
  std::ranges::sort(names, {}, [](const NamedCode& named) { return named.code.data(); });
  for (size_t i = 0; i < names.size(); ++i) {
    const std::byte* end =
        i + 1 < names.size() ? names[i + 1].code.data() : buffer.permanent() + CodeBuffer::kPermanentBytes;
    names[i].code = {names[i].code.data(), end};
  }
  return names;
}

uint64_t LayoutOf(const Routines& routines, const std::byte* buffer) {
  uint64_t sum = 0;
  ForEachRoutine(routines, [&](std::string_view, const void* code) {
    constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
    sum = (sum ^ static_cast<uint64_t>(static_cast<const std::byte*>(code) - buffer)) * kOdd;
  });
  return sum;
}

void WriteWayThunks(const Routines& routines, const CodeBuffer& buffer, uint32_t way) {
  const void* const called[] = {routines.way_unset_host_flags, routines.way_unset_saved_flags};
  for (uint32_t i = 0; i < std::size(called); ++i) {
    constexpr uint8_t kCallRel32 = 0xe8;
    constexpr uint32_t kCallBytes = 5;
    const std::byte* at = routines.way_thunks + (2 * way + i) * GuestContext::kWayThunkBytes;
    const auto displacement = static_cast<int32_t>(static_cast<const std::byte*>(called[i]) - (at + kCallBytes));
    std::byte* writable = buffer.Writable(at);
    std::memcpy(writable, &kCallRel32, 1);
    std::memcpy(writable + 1, &displacement, sizeof(displacement));
  }
}

bool HostCanTranslate() {
  // XSAVE itself has no name there; whoever has AVX has it.
  return __builtin_cpu_supports("avx");
}

}  // namespace remora::cpu::translator
