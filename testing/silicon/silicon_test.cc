#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "cpu/canonical.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/interpreter.h"
#include "cpu/translator/translator.h"
#include "testing/silicon/catalogue.h"
#include "testing/silicon/difference.h"
#include "testing/silicon/engine_machine.h"
#include "testing/silicon/generator.h"
#include "testing/silicon/machine.h"
#include "testing/silicon/native_machine.h"
#include "testing/silicon/random.h"

namespace remora::silicon {
namespace {

struct Options {
  uint64_t cases = 500'000;
  uint64_t seed = 1;
  uint64_t first = 0;  // index of the first case: with --cases=1, just that one
  std::string only;    // mnemonics that contain it
  uint64_t shown = 1;  // failures shown for each mnemonic
};
Options g_options;

uint64_t FlagsWritten(const Decoded& decoded) {
  if (decoded.info.cpu_flags == nullptr) return 0;
  const ZydisAccessedFlags& flags = *decoded.info.cpu_flags;
  return flags.modified | flags.set_0 | flags.set_1 | flags.undefined;
}

// `flags_at_faults`: the engine shows the status flags at an exception even where the instruction would have written
// them without reading any.
void CompareWithTheHostsCpu(const MakeEngine& make, bool flags_at_faults = true) {
  const Catalogue catalogue = MakeCatalogue();
  std::printf("seed %lu: %lu cases over %zu forms of %zu mnemonics\n", g_options.seed, g_options.cases,
              catalogue.num_forms, catalogue.forms.size());
  Generator generator(&catalogue, g_options.only);
  ASSERT_GT(generator.num_mnemonics(), 0u) << "no mnemonic contains " << g_options.only;
  const std::unique_ptr<Machine> native = MakeNativeMachine();
  const std::unique_ptr<Machine> remora = MakeEngineMachine(make);

  const bool any_stack = RunsWithNonCanonicalStack(native.get());
  uint64_t left_out = 0, interrupted = 0;

  struct Tally {
    uint64_t run = 0, failed = 0;
  };
  std::map<ZydisMnemonic, Tally> tallies;
  std::map<cpu::ExitReason, uint64_t> exits;
  uint64_t run = 0, failed = 0;
  auto test_case = std::make_unique<TestCase>();
  auto on_host = std::make_unique<Outcome>(), in_remora = std::make_unique<Outcome>();
  Decoded decoded;
  for (uint64_t index = g_options.first; run < g_options.cases; ++index) {
    Random random(g_options.seed, index);
    if (!generator.Make(random, test_case.get(), &decoded)) {
      if (g_options.cases == 1) break;
      continue;
    }
    if (!any_stack && !cpu::IsCanonical(test_case->state.gpr[cpu::kRsp])) {
      ++left_out;
      if (g_options.cases == 1) break;
      continue;
    }
    ++run;
    native->Run(*test_case, on_host.get());
    // Where an interrupt comes right behind what has left RSP so, such a host raises an exception, too.
    if (!any_stack && on_host->reason != cpu::ExitReason::kBreakpoint &&
        !cpu::IsCanonical(on_host->state.gpr[cpu::kRsp])) {
      native->Run(*test_case, on_host.get());
      if (on_host->reason == cpu::ExitReason::kBreakpoint) ++interrupted;
    }
    remora->Run(*test_case, in_remora.get());
    if (!flags_at_faults && on_host->reason != cpu::ExitReason::kBreakpoint) {
      const uint64_t masked = cpu::kStatusFlags & FlagsWritten(decoded);
      in_remora->state.rflags = (in_remora->state.rflags & ~masked) | (on_host->state.rflags & masked);
    }
    ++exits[on_host->reason];
    Tally& tally = tallies[decoded.info.mnemonic];
    ++tally.run;
    const std::string difference = Difference(*test_case, decoded, *on_host, *in_remora);
    if (difference.empty()) continue;
    ++failed;
    if (++tally.failed <= g_options.shown)
      std::printf("case %lu (--seed=%lu --first=%lu --cases=1%s%s):\n%s%s", index, g_options.seed, index,
                  g_options.only.empty() ? "" : " --only=", g_options.only.c_str(),
                  Describe(*test_case, decoded).c_str(), difference.c_str());
  }
  if (!any_stack)
    std::printf("left out, this host does not run code whose RSP is not canonical: %lu others; run again: %lu\n",
                left_out, interrupted);
  std::printf("ended natively by:");
  for (const auto& [reason, count] : exits)
    std::printf(" %s %lu", std::string(cpu::ExitReasonName(reason)).c_str(), count);
  std::printf("\n");
  for (const auto& [mnemonic, tally] : tallies)
    if (tally.failed != 0)
      std::printf("%s: %lu of %lu differ\n", ZydisMnemonicGetString(mnemonic), tally.failed, tally.run);
  EXPECT_EQ(failed, 0u) << "of " << run << " cases";
}

TEST(SiliconTest, InterpreterAgreesWithTheHostsCpu) {
  CompareWithTheHostsCpu([](cpu::BlockCache* cache) { return cpu::MakeInterpreter(cache); });
}

TEST(SiliconTest, TranslatorAgreesWithTheHostsCpu) {
  cpu::TranslatorOptions options;
  options.optimizations.warm = false;
  options.optimizations.exact_flags = true;
  options.optimizations.exact_count = true;
  CompareWithTheHostsCpu([options](cpu::BlockCache* cache) { return cpu::MakeTranslator(cache, options); });
}

TEST(SiliconTest, TranslatorWithoutExactFlagsAgreesWithTheHostsCpu) {
  cpu::TranslatorOptions options;
  options.optimizations.warm = false;
  CompareWithTheHostsCpu([options](cpu::BlockCache* cache) { return cpu::MakeTranslator(cache, options); },
                         /*flags_at_faults=*/false);
}

// What stays outside is said, so that nobody takes silence for coverage.
TEST(SiliconTest, SaysWhatIsNotCovered) {
  const Catalogue catalogue = MakeCatalogue();
  EXPECT_GT(catalogue.forms.size(), 400u);
  for (const auto& [reason, mnemonics] : catalogue.left_out) {
    std::printf("not covered, %s (%zu):", reason.c_str(), mnemonics.size());
    for (const ZydisMnemonic mnemonic : mnemonics) {
      EXPECT_FALSE(catalogue.forms.contains(mnemonic));
      // The thousand names of AVX and its kind say no more than their number.
      if (mnemonics.size() < 500) std::printf(" %s", ZydisMnemonicGetString(mnemonic));
    }
    std::printf("\n");
  }
}

bool ParseFlag(std::string_view argument, std::string_view name, std::string* value) {
  if (!argument.starts_with(name)) return false;
  *value = argument.substr(name.size());
  return true;
}

bool ParseOptions(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string value;
    if (ParseFlag(argv[i], "--cases=", &value))
      g_options.cases = std::strtoull(value.c_str(), nullptr, 0);
    else if (ParseFlag(argv[i], "--seed=", &value))
      g_options.seed = std::strtoull(value.c_str(), nullptr, 0);
    else if (ParseFlag(argv[i], "--first=", &value))
      g_options.first = std::strtoull(value.c_str(), nullptr, 0);
    else if (ParseFlag(argv[i], "--shown=", &value))
      g_options.shown = std::strtoull(value.c_str(), nullptr, 0);
    else if (!ParseFlag(argv[i], "--only=", &g_options.only))
      return false;
  }
  return true;
}

}  // namespace
}  // namespace remora::silicon

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  testing::InitGoogleTest(&argc, argv);
  if (!remora::silicon::ParseOptions(argc, argv)) {
    std::fprintf(stderr, "flags: --cases=N --seed=N --first=INDEX --only=PART_OF_MNEMONIC --shown=N\n");
    return 2;
  }
  return RUN_ALL_TESTS();
}
