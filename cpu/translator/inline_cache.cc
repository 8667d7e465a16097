#include "cpu/translator/inline_cache.h"

#include "base/check.h"
#include "cpu/translator/block_frame.h"

namespace remora::cpu::translator {

void WriteInlineCache(std::span<const BranchTarget> targets, const std::byte* otherwise, HostCode* code,
                      std::vector<GeneratedBlock::Relocation>* relocations) {
  constexpr unsigned kEqual = 4, kJneShort = 0x75, kIndirect = 0xff, kJmp = 4;
  code->Clear();
  relocations->clear();
  // Constants that do not fit lie behind the code.
  struct Constant {
    uint32_t displacement_offset;
    uint64_t value;
  };
  std::vector<Constant> constants;
  for (const BranchTarget& target : targets) {
    if (FitsSigned32(target.pc)) {
      for (const unsigned byte : {0x49u, 0x81u, 0xfbu}) code->Byte(byte);  // CMP R11, pc
      code->Dword(static_cast<uint32_t>(target.pc));
    } else {
      for (const unsigned byte : {0x4cu, 0x3bu, 0x1du}) code->Byte(byte);  // CMP R11, [RIP + n]
      constants.push_back({code->size(), target.pc});
      code->Dword(0);
    }
    if (target.entry != nullptr) {
      relocations->push_back({code->JumpIf(kEqual), target.entry});
      continue;
    }
    DCHECK(target.way != GuestContext::kNoWay);
    const uint32_t next = code->ShortJump(kJneShort);
    code->Memory(kIndirect, kJmp, WayField(target.way, /*flags_saved=*/true, target.forward), /*wide=*/false);
    code->LandShort(next);
  }
  relocations->push_back({code->Jump(), otherwise});
  if (constants.empty()) return;
  code->Align(sizeof(uint64_t));
  for (const Constant& constant : constants) {
    code->Land(constant.displacement_offset);
    code->Qword(constant.value);
  }
}

}  // namespace remora::cpu::translator
