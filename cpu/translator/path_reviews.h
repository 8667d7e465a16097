#ifndef REMORA_CPU_TRANSLATOR_PATH_REVIEWS_H_
#define REMORA_CPU_TRANSLATOR_PATH_REVIEWS_H_

#include <array>
#include <bit>
#include <cstdint>
#include <utility>

namespace remora::cpu::translator {

// When it is looked at whether paths still are what is run. What a program's data made of one at first may be left
// early from then on (numbers that have become large, a list that has become long), and slices then end where it
// begins, not where the time is spent.
//
// What begins at an address is reviewed the first, second, fourth, eighth and so on time that it is hot, whatever has
// replaced it meanwhile, and only while all reviews have taken a small part of all instructions: each step is the
// interpreter's.
//
// Thread safety: one instance for each engine.
class PathReviews {
 public:
  // What one review takes at most.
  static constexpr uint64_t kMostSteps = 2'000;

  // Whether there is enough left for a review, after so many instructions of the program's.
  bool HasStepsLeft(uint64_t instructions_retired) const {
    constexpr uint64_t kStepsAtFirst = 2 * kMostSteps, kInstructionsForStep = 100'000;
    return steps_ + kMostSteps <= kStepsAtFirst + instructions_retired / kInstructionsForStep;
  }
  // The beginning of a path is hot. Whether to review it now.
  bool IsDue(uint64_t begin, uint64_t instructions_retired) {
    return HasStepsLeft(instructions_retired) && std::has_single_bit(++PlaceFor(begin).times_hot);
  }
  // So many instructions have been followed for it.
  void Spend(uint64_t steps) { steps_ += steps; }
  // The path was left behind `steps` of its instructions. Whether it was left there at its last review, too: once is
  // chance.
  bool NoteLeft(uint64_t begin, uint32_t steps) { return std::exchange(PlaceFor(begin).left_behind, steps) == steps; }
  // The path was gone through, or is another one now.
  void ForgetLeft(uint64_t begin) { NoteLeft(begin, 0); }

 private:
  struct Place {
    uint64_t begin = 0;
    uint32_t times_hot = 0;
    uint32_t left_behind = 0;  // 0: not left
  };
  static constexpr uint32_t kPlaces = 1024;

  // Whoever comes last has it.
  Place& PlaceFor(uint64_t begin) {
    Place& place = places_[(begin ^ begin >> 10) % kPlaces];
    if (place.begin != begin) place = {.begin = begin};
    return place;
  }

  uint64_t steps_ = 0;
  std::array<Place, kPlaces> places_{};
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_PATH_REVIEWS_H_
