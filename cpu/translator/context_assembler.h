#ifndef REMORA_CPU_TRANSLATOR_CONTEXT_ASSEMBLER_H_
#define REMORA_CPU_TRANSLATOR_CONTEXT_ASSEMBLER_H_

#include <xbyak/xbyak.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/cpu_state.h"
#include "cpu/translator/guest_context.h"

namespace remora::cpu::translator {

// The place of a member of GuestContext.
#define REMORA_FIELD(member) static_cast<uint32_t>(offsetof(::remora::cpu::translator::GuestContext, member))

// Xbyak with what it lacks: operands behind the GS base. Thread safety: none.
class ContextAssembler : public Xbyak::CodeGenerator {
 public:
  explicit ContextAssembler(size_t max_bytes) : CodeGenerator(max_bytes) {}

  void LoadField(const Xbyak::Reg& to, uint32_t field) { Gs(), mov(to, ptr[At(field)]); }
  void StoreField(uint32_t field, const Xbyak::Reg& from) { Gs(), mov(ptr[At(field)], from); }
  void SetField32(uint32_t field, uint32_t value) { Gs(), mov(dword[At(field)], value); }
  void SetField8(uint32_t field, uint8_t value) { Gs(), mov(byte[At(field)], value); }
  void CompareField8(uint32_t field, uint8_t value) { Gs(), cmp(byte[At(field)], value); }
  void CompareField32(uint32_t field, uint32_t value) { Gs(), cmp(dword[At(field)], value); }
  void PushField(uint32_t field) { Gs(), push(qword[At(field)]); }
  void PopField(uint32_t field) { Gs(), pop(qword[At(field)]); }
  void JumpField(uint32_t field) { Gs(), jmp(qword[At(field)]); }
  // An operand behind GS for the next instruction, whose prefix must come first: Gs(), add(reg, Field(f)).
  void Gs() { db(0x65); }
  Xbyak::Address Field(uint32_t field) { return ptr[At(field)]; }
  Xbyak::RegExp At(uint32_t field) { return Xbyak::RegExp(static_cast<size_t>(field)); }

  // FXSAVE64, XRSTOR64 of a field.
  void SaveFx(uint32_t field) { Bytes({0x65, 0x48, 0x0f, 0xae, 0x04, 0x25}), dd(field); }
  void RestoreX(uint32_t field) { Bytes({0x65, 0x48, 0x0f, 0xae, 0x2c, 0x25}), dd(field); }

 private:
  void Bytes(std::initializer_list<int> bytes) {
    for (const int byte : bytes) db(byte);
  }
};

// The guest's registers that live in the context.
inline constexpr std::pair<Gpr, uint32_t> kInContext[] = {{kR10, REMORA_FIELD(r10)}, {kR11, REMORA_FIELD(r11)}};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_CONTEXT_ASSEMBLER_H_
