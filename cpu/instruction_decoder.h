#ifndef REMORA_CPU_INSTRUCTION_DECODER_H_
#define REMORA_CPU_INSTRUCTION_DECODER_H_

#include <Zydis/Zydis.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/zeroed.h"
#include "cpu/cpu_level.h"
#include "cpu/op.h"

namespace remora::cpu {

// Zydis, with its answers remembered: code says the same few thousand things again and again. What an instruction is
// follows from its bytes up to ModRM and SIB; only the values of its displacement and immediates are in those behind.
// So an answer is found by the former, and gets the latter put in.
//
// What is seldom (EVEX, XOP, 3DNow!, registers in immediates, more than kMaxOperands) goes to Zydis each time.
//
// Thread safety: one instance for each engine. Memory: some 700 bytes for each different beginning, at most 5.5 MiB,
// and whole large pages where the host gives them.
class InstructionDecoder {
 public:
  explicit InstructionDecoder(CpuLevel level);

  // Room for who decodes to remember, beside an answer, what follows from it for all displacements and immediates.
  struct Notes {
    std::array<uint32_t, 4> words;
    bool made;
  };

  // As ZydisDecoderDecodeFull, at most 15 bytes; but of the operands behind the last one only the types may be filled
  // in, of the next one or all. *notes, if asked for: the same at each such instruction, until the next call; null
  // where nothing is remembered.
  ZyanStatus Decode(const void* bytes, size_t available, DecodedInstruction* out, Notes** notes = nullptr);
  // The same without operands, for who asks for little: until the next call. Null: it is no instruction.
  const ZydisDecodedInstruction* DecodeWithoutOperands(const void* bytes, size_t available);

  const ZydisDecoder* zydis() const { return &zydis_; }

 private:
  // The start of python has 7,700 different beginnings; with an eighth of these entries a fifth of all instructions
  // went to Zydis.
  static constexpr uint32_t kEntries = 8192;
  static constexpr int kMaxOperands = 4;

  // Where the answer for a key is: direct mapped.
  struct Place {
    uint64_t key;    // 0: none
    uint32_t entry;  // its number, plus 1; 0: it never had one
  };
  struct Entry {
    ZydisDecodedInstruction info;
    std::array<ZydisDecodedOperand, kMaxOperands> operands;
    // Operands whose values come from the bytes; kNone.
    uint8_t displaced, immediate[2];
    Notes notes;
  };
  static constexpr uint8_t kNone = 0xff;

  // An instruction's bytes, and what its answer is found by.
  struct Question {
    uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH] = {};
    uint32_t key_bytes = 0;  // 0: nothing is remembered of it
    uint64_t key = 0;
  };
  static Question Ask(const void* bytes, size_t available);
  Place& PlaceOf(const Question& question);
  // Null: it has to be asked for.
  Entry* Find(const Question& question, size_t available);
  // Asks Zydis. *entry: where the answer is remembered now, or null.
  ZyanStatus AskZydis(const Question& question, size_t available, DecodedInstruction* out, Entry** entry);
  // Whether all of it follows from the bytes before displacement and immediates; then the operands are noted.
  static bool CanBeRemembered(const DecodedInstruction& in, uint32_t key_bytes, Entry* entry);
  // Displacement and immediates.
  static void PutValuesIn(const uint8_t* bytes, ZydisDecodedInstruction* info);
  static void CopyOperands(const Entry& entry, DecodedInstruction* out);

  ZydisDecoder zydis_;
  const Zeroed<Place> places_ = MakeZeroed<Place>(kEntries);
  const Zeroed<Entry> entries_ = MakeZeroedInLargePages<Entry>(kEntries);  // used in order
  uint32_t num_entries_ = 0;
  DecodedInstruction answer_;  // of DecodeWithoutOperands, where it is not remembered
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_INSTRUCTION_DECODER_H_
