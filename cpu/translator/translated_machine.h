#ifndef REMORA_CPU_TRANSLATOR_TRANSLATED_MACHINE_H_
#define REMORA_CPU_TRANSLATOR_TRANSLATED_MACHINE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cpu/engine.h"
#include "cpu/testing/fake_memory.h"
#include "cpu/translator/block_dump.h"
#include "cpu/translator/options.h"
#include "cpu/translator/translator.h"

namespace remora::cpu::translator {

// For tests: a machine whose code is translated at once, and which shows it. Thread safety: none.
class TranslatedMachine {
 public:
  explicit TranslatedMachine(Optimizations optimizations = {},
                             uint64_t max_code_bytes = TranslatorOptions().max_code_bytes)
      : machine([this, optimizations, max_code_bytes](BlockCache* cache) {
          TranslatorOptions options;
          options.optimizations = optimizations;
          options.optimizations.warm = false;
          options.max_code_bytes = max_code_bytes;
          options.dumper = &dumper_;
          return MakeTranslator(cache, options);
        }) {}

  // Guest and host code of each block, and of each path, a heading first.
  const std::vector<std::string>& blocks() const { return blocks_; }
  const std::vector<std::string>& paths() const { return paths_; }
  // To the end, in slices: where they end tells what is hot.
  Exit RunInSlices(uint64_t rip, uint64_t slice = 500) {
    machine.state.rip = rip;
    while (true) {
      const Exit exit = machine.Run(slice);
      if (exit.reason != ExitReason::kBudget) return exit;
    }
  }

 private:
  std::vector<std::string> blocks_, paths_;
  const BlockDumper dumper_ = {
      .wanted = [](uint64_t, const mm::Tlb&) { return true; },
      .show = [this](const std::string& text) { (text.starts_with("block ") ? blocks_ : paths_).push_back(text); }};

 public:
  FakeMachine machine;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_TRANSLATED_MACHINE_H_
