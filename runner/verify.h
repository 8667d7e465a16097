#ifndef REMORA_RUNNER_VERIFY_H_
#define REMORA_RUNNER_VERIFY_H_

#include <memory>

#include "base/clock.h"
#include "base/entropy.h"
#include "cpu/translator/translator.h"
#include "cpu/verify/replayed_inputs.h"
#include "mm/frame_pool.h"
#include "proc/kernel.h"

namespace remora::runner {

// --engine=verify: the translator and the interpreter in lock-step. The first difference is printed to stderr and ends
// Remora with exit status 125.
class Verify {
 public:
  // Both outlive this.
  Verify(Clock* clock, Entropy* entropy);

  // Makes a Kernel's options those of such a run: one worker, its engine, a vDSO without a clock. `translator_options`
  // as they would be without this; this outlives the Kernel.
  void SetUp(cpu::TranslatorOptions translator_options, proc::Kernel::Options* kernel_options);
  // Before guest code runs.
  void set_frames(mm::FramePool* frames) { frames_ = frames; }

 private:
  const std::shared_ptr<cpu::ReplayedClock> clock_;
  const std::shared_ptr<cpu::ReplayedEntropy> entropy_;
  mm::FramePool* frames_ = nullptr;
};

}  // namespace remora::runner

#endif  // REMORA_RUNNER_VERIFY_H_
