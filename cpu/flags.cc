#include "cpu/flags.h"

namespace remora::cpu {

uint64_t MaterializeFlags(uint64_t a, uint64_t b, uint64_t kind) {
  const unsigned shift = static_cast<unsigned>(kind >> 8);
  uint64_t result = a;
  uint64_t flags = 0;
  switch (static_cast<FlagKind>(kind & 3)) {
    case FlagKind::kExplicit:
      return a & kStatusFlags;
    case FlagKind::kResult:
      flags = b & (kFlagCF | kFlagAF | kFlagOF);
      break;
    case FlagKind::kSub: {
      const FlagsOf<FlagKind::kSub> sub{a, b};
      result = sub.result();
      flags = (sub.carry() ? kFlagCF : 0) | (sub.overflow() ? kFlagOF : 0) | (((a ^ b ^ result) >> shift) & kFlagAF);
      break;
    }
    case FlagKind::kAdd: {
      const FlagsOf<FlagKind::kAdd> add{a, b};
      result = add.result();
      flags = (add.carry() ? kFlagCF : 0) | (add.overflow() ? kFlagOF : 0) | (((a ^ b ^ result) >> shift) & kFlagAF);
      break;
    }
  }
  if (result == 0) flags |= kFlagZF;
  if (static_cast<int64_t>(result) < 0) flags |= kFlagSF;
  return flags | ParityFlag(result >> shift);
}

}  // namespace remora::cpu
