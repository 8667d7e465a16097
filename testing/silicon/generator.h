#ifndef REMORA_TESTING_SILICON_GENERATOR_H_
#define REMORA_TESTING_SILICON_GENERATOR_H_

#include <Zydis/Zydis.h>

#include <string>
#include <vector>

#include "testing/silicon/catalogue.h"
#include "testing/silicon/machine.h"
#include "testing/silicon/random.h"

namespace remora::silicon {

struct Decoded {
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

// Makes test cases: one form, free bits chosen at random, registers such that what the instruction touches lies in the
// machine's little world (or just beside it, where a fault is wanted), and interesting values there.
//
// A case that could touch other memory of this process is never given out. Thread safety: none.
class Generator {
 public:
  // Only mnemonics that contain `only` (all where it is empty).
  Generator(const Catalogue* catalogue, std::string_view only);

  // False where no safe instance was found for the form that was drawn.
  bool Make(Random& random, TestCase* test_case, Decoded* decoded);
  bool Decode(const TestCase& test_case, Decoded* decoded) const;
  size_t num_mnemonics() const { return mnemonics_.size(); }

 private:
  bool TryMake(Random& random, const InstructionForm& form, TestCase* test_case, Decoded* decoded);
  void Encode(Random& random, const InstructionForm& form, TestCase* test_case) const;
  bool PlaceMemory(Random& random, const Decoded& decoded, TestCase* test_case) const;
  void PrepareSpecial(Random& random, const Decoded& decoded, TestCase* test_case) const;
  // Whether all that the instruction reads and writes is harmless.
  bool IsSafe(const Decoded& decoded, const TestCase& test_case) const;

  const Catalogue* const catalogue_;
  ZydisDecoder decoder_;
  std::vector<ZydisMnemonic> mnemonics_;
};

}  // namespace remora::silicon

#endif  // REMORA_TESTING_SILICON_GENERATOR_H_
