#ifndef REMORA_CPU_VERIFY_VERIFY_ENGINE_H_
#define REMORA_CPU_VERIFY_VERIFY_ENGINE_H_

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/entropy.h"
#include "cpu/engine.h"
#include "cpu/verify/replayed_inputs.h"
#include "mm/frame_pool.h"

namespace remora::cpu {

struct VerifyOptions {
  mm::FramePool* frames = nullptr;
  // What both engines get for clock and entropy; may be null where they get none.
  std::shared_ptr<ReplayedClock> clock;
  std::shared_ptr<ReplayedEntropy> entropy;
  // Called at each difference with a text for people: what differs, and the instructions before it.
  std::function<void(const std::string& report)> on_difference;
};

// Both engines in lock-step. Guest code runs in units of at most 3,000 instructions: by `subject`, then, with registers
// and memory put back, by `reference`; how the unit ended, registers, flags that are defined and memory must be the
// same, and what the reference did stands. System calls are made once, since they happen between two units.
//
// Of a difference it finds the shortest beginning of the unit that shows it, that is the end of the block at fault.
// What is not compared: undefined flags; x87's last instruction and operand pointers, and what stores them; time and
// randomness, which both get alike. The subject must show exact flags wherever it stops.
// Thread safety: as the engines'; one worker only, because nobody else may write to memory meanwhile.
std::unique_ptr<Engine> MakeVerifyEngine(std::unique_ptr<Engine> subject, std::unique_ptr<Engine> reference,
                                         VerifyOptions options);

}  // namespace remora::cpu

#endif  // REMORA_CPU_VERIFY_VERIFY_ENGINE_H_
