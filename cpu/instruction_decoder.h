#ifndef REMORA_CPU_INSTRUCTION_DECODER_H_
#define REMORA_CPU_INSTRUCTION_DECODER_H_

#include <Zydis/Zydis.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/populate.h"
#include "base/zeroed.h"
#include "cpu/cpu_level.h"
#include "cpu/decoded_instruction.h"

namespace remora::cpu {

// Zydis, with its answers remembered: code says the same few thousand things again and again. What an instruction is
// follows from its bytes up to ModRM and SIB; only the values of its displacement and immediates are in those behind.
// So an answer is found by the former, and gets the latter put in.
//
// What is seldom (EVEX, XOP, 3DNow!, registers in immediates, more than kMaxOperands) goes to Zydis each time.
//
// Thread safety: one instance for each engine. Memory: 16 KiB, and 192 bytes for each beginning, 1.5 MiB at most.
class InstructionDecoder {
 public:
  explicit InstructionDecoder(CpuLevel level);

  // Room for who decodes to remember, beside an answer, what follows from it for all displacements and immediates. That
  // there is something has to be told by the words themselves.
  struct Notes {
    std::array<uint32_t, 3> words;  // zeros before anything is noted
  };

  // As ZydisDecoderDecodeFull, abridged; at most 15 bytes. Behind the last operand there may be one that is unused, and
  // nothing to rely on; where it fails out->info is all zeros. *notes, if asked for: the same at each such instruction,
  // until the next call; null where nothing is remembered.
  ZyanStatus Decode(const void* bytes, size_t available, DecodedInstruction* out, Notes** notes = nullptr);
  // The same without operands, for who asks for little: until the next call. Null: it is no instruction.
  const InstructionInfo* DecodeWithoutOperands(const void* bytes, size_t available);

  const ZydisDecoder* zydis() const { return &zydis_; }

 private:
  // The start of python has 7,700 different beginnings; with an eighth of these entries a fifth of all instructions
  // went to Zydis.
  static constexpr uint32_t kEntries = 8192;
  static constexpr int kMaxOperands = 4;

  // The answer for a key. Each hash has one place, given away when the first key comes that has it: so a short program,
  // which has a third of all, touches a third of the memory.
  struct alignas(64) Entry {
    uint64_t key;  // 0: none
    InstructionInfo info;
    std::array<DecodedOperand, kMaxOperands> operands;
    Notes notes;
    // Operands whose values come from the bytes; kNone.
    uint8_t displaced, immediate[2];
  };
  static_assert(sizeof(Entry) == 192);  // three lines of the cache
  static constexpr uint8_t kNone = 0xff;

  // An instruction's bytes, and what its answer is found by.
  struct Question {
    uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH] = {};
    uint32_t key_bytes = 0;  // 0: nothing is remembered of it
    uint64_t key = 0;
  };
  static Question Ask(const void* bytes, size_t available);
  static uint32_t HashOf(const Question& question);
  // Null: it has to be asked for.
  Entry* Find(const Question& question, size_t available);
  // Asks Zydis. *entry: where the answer is remembered now, or null.
  ZyanStatus AskZydis(const Question& question, size_t available, DecodedInstruction* out, Entry** entry);
  // Whether all of it follows from the bytes before displacement and immediates; then the operands are noted.
  static bool CanBeRemembered(const ZydisDecodedInstruction& in, const ZydisDecodedOperand* operands,
                              uint32_t key_bytes, Entry* entry);
  // Displacement and immediates.
  static void PutValuesIn(const uint8_t* bytes, InstructionInfo* info);
  static void CopyOperands(const Entry& entry, DecodedInstruction* out);

  ZydisDecoder zydis_;
  std::array<uint16_t, kEntries> places_{};  // in entries_, by hash; 0: none yet
  uint16_t num_places_ = 0;
  const Zeroed<Entry> entries_ = MakeZeroed<Entry>(kEntries + 1);  // the first one stays as it is
  PopulatedAhead entries_ahead_;
  DecodedInstruction answer_;  // of DecodeWithoutOperands, where it is not remembered
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_INSTRUCTION_DECODER_H_
