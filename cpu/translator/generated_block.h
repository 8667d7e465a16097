#ifndef REMORA_CPU_TRANSLATOR_GENERATED_BLOCK_H_
#define REMORA_CPU_TRANSLATOR_GENERATED_BLOCK_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace remora::cpu::translator {

// The registers that a loop has R10 and R11 in, as it leaves them alone itself (stand_ins.h).
using StandIns = std::array<uint8_t, 2>;
inline constexpr uint8_t kNoStandIn = 0xff;
inline constexpr StandIns kNoStandIns = {kNoStandIn, kNoStandIn};

// Where the code of one instruction begins, and what is known there.
struct Mark {
  uint16_t host_offset = 0;          // from the block's code
  int16_t guest_offset = 0;          // from the block's pc; in a path's Translation, from the beginning of its page
  int16_t stack_moved = 0;           // RSP is that many bytes behind where R10 says
  uint8_t page = 0;                  // which of a path's Translation::pages
  uint8_t flags_in_context : 1 = 0;  // else they are the host's
  uint8_t spilled : 7 = kNone;  // general register that is in GuestContext::spill[0] while the instruction itself runs
  static constexpr uint8_t kNone = 0x7f;
};

// A jump within the page: its 4-byte displacement, within 16 aligned bytes, leads to cold code of the block until the
// target is translated.
struct Link {
  uint32_t displacement_offset = 0;
  bool flags_saved = false;  // leads to the target's `saved` entry
  bool forward = false;      // to a higher address: the target's `forward` entry will do
  uint64_t target = 0;
};

// Likewise to another page of the same mapping (mm::CodeMapping): it may have to lead to the cold code again.
struct FarLink : Link {
  uint32_t cold_offset = 0;
};

// What is where in a block's code, in bytes from its beginning, and how it behaves.
struct BlockShape {
  uint16_t code_bytes = 0;
  uint16_t charge = 0;  // instructions that are taken off the budget when it is entered
  // Entries: with the flags in the host's register; with the flags saved (or dead). They begin with an instruction of
  // at least 5 bytes, 8-byte aligned, so that a jump can be put there in one store; they are one where no flag is live.
  uint16_t host_entry = 0, saved_entry = 0;
  // Like saved_entry, but does not count; that itself if there is none. Its first 5 bytes lie in 8 aligned ones.
  uint16_t forward_entry = 0;
  uint16_t cold_offset = 0;  // what is seldom run begins there
  // Where links lead that mean a block which goes on in the next page: by the table, as what is there depends on the
  // address space. With the flags in the host's register, and saved.
  uint16_t by_table_host = 0, by_table_saved = 0;
  // The indirect branch that the block ends with, if it may have an inline cache: the 4-byte displacement of a jump,
  // within 16 aligned bytes, where that leads without one, and where it leads if there is to be none. Else 0.
  uint16_t branch_displacement = 0, branch_unknown = 0, branch_by_table = 0;
  // Of a path that comes through several pages: which of GuestContext::gates it looks at first; else kNoGate.
  uint16_t gate : 15 = 0;
  bool loops : 1 = false;            // it goes on at its own beginning
  StandIns stand_ins = kNoStandIns;  // between its entries and whatever leads out of it
};

// Code of one block as BlockWriter makes it, before it has an address.
struct GeneratedBlock : BlockShape {
  struct Relocation {
    uint32_t displacement_offset = 0;
    const void* target = nullptr;  // a routine
  };
  // A 4-byte word that becomes a BranchSite.
  struct Branch {
    uint32_t word_offset = 0;
    uint32_t code_offset = 0;  // the branch's own code
    bool popped = false;
  };
  // A 4-byte word that follows from a number of BlockNumbers'.
  struct Numbered {
    enum class Kind : uint8_t {
      kWayField,   // the displacement of a member of GuestContext::ways
      kPageField,  // of GuestContext::pages
      kPage,       // the number itself
    };
    uint32_t word_offset = 0;
    Kind kind = Kind::kWayField;
    uint32_t number = 0;
  };
  std::span<const uint8_t> code;
  std::vector<Relocation> relocations;
  std::vector<Numbered> numbered;
  std::vector<Link> links;
  std::vector<FarLink> far_links;
  std::vector<Branch> branches;
  std::vector<Mark> marks;
  // Where the guest goes on after a call, or what the interpreter does, that the block ends with; 0: with neither.
  uint64_t comes_back_at = 0;
  std::vector<uint64_t> path;  // the address of each instruction, if it is a path; else empty
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_GENERATED_BLOCK_H_
