#include "runner/verify.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/check.h"
#include "cpu/interpreter.h"
#include "cpu/verify/verify_engine.h"
#include "runner/host_signals.h"

namespace remora::runner {
namespace {

constexpr int kEnginesDiffer = 125;

void ReportAndEnd(const std::string& report) {
  HostSignals::RestoreTerminal();
  std::fprintf(stderr, "remora: %s", report.c_str());
  std::fflush(stderr);
  std::_Exit(kEnginesDiffer);
}

}  // namespace

Verify::Verify(Clock* clock, Entropy* entropy)
    : clock_(std::make_shared<cpu::ReplayedClock>(clock)), entropy_(std::make_shared<cpu::ReplayedEntropy>(entropy)) {}

void Verify::SetUp(cpu::TranslatorOptions translator_options, proc::Kernel::Options* kernel_options) {
  translator_options.interpreter.host_tsc = false;
  translator_options.interpreter.clock = clock_.get();
  translator_options.interpreter.entropy = entropy_.get();
  CHECK(translator_options.optimizations.Apply("+exact-flags,+exact-count,-warm"));
  kernel_options->num_workers = 1;
  kernel_options->engines_show_host_tsc = false;
  kernel_options->make_engine = [this, translator_options](cpu::BlockCache* blocks) {
    std::unique_ptr<cpu::Engine> translator = cpu::MakeTranslator(blocks, translator_options);
    CHECK_MSG(translator != nullptr && frames_ != nullptr, "whoever sets this up has asked TranslatorRunsHere");
    return cpu::MakeVerifyEngine(
        std::move(translator), cpu::MakeInterpreter(blocks, translator_options.interpreter),
        {.frames = frames_, .clock = clock_, .entropy = entropy_, .on_difference = ReportAndEnd});
  };
}

}  // namespace remora::runner
