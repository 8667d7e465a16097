#ifndef REMORA_CPU_TRANSLATOR_PATH_SHAPE_H_
#define REMORA_CPU_TRANSLATOR_PATH_SHAPE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace remora::cpu::translator {

// Which of the instructions that are run one after the other, from a hot place on, make a path.
//
// The best one goes round: what it consists of has been run once, and then once more. If there is none, it ends where
// it has come back, where another path begins, or after a while; but as far as it is known to be taken twice it may be
// longer. A round that has gone on for a while is steady: that is seldom chance, so it may come behind what was
// different, and replace a path.
//
// Thread safety: none.
class PathShape {
 public:
  // Instructions that have been seen once, and that have been seen twice.
  static constexpr size_t kMaxOnce = 180, kMaxTwice = 1000;
  // For so many, and once round at least, a steady round has been run through again.
  static constexpr size_t kSteady = 512;

  void Clear();
  // The instruction at `pc` has been run; what comes behind it is at `next`. `ends`: no path goes through that.
  void Add(uint64_t pc, uint64_t next, bool ends);
  // Whether a path without a round has ended, so that `ends` does not matter any more.
  bool has_ended() const { return end_ != 0; }
  // Whether it is known what a path without a round is.
  bool is_known() const { return length_ != 0; }
  // Whether there may be a round yet: to make a path where there is none.
  bool may_go_round() const { return round_ == 0 && has_room(); }
  // Whether there may be a steady one yet: to replace a path.
  bool may_become_steady() const { return !is_steady_ && has_room(); }

  // What goes round, as of the last instruction; empty: nothing does. It may begin anywhere.
  std::span<const uint64_t> Round() const { return std::span(pcs_).last(round_); }
  bool is_steady() const { return is_steady_; }
  // A path without a round; how many of its instructions, from the first one on, have been seen twice.
  std::span<const uint64_t> Path() const;
  size_t SeenTwice() const;

 private:
  bool has_room() const { return pcs_.size() < (back_ != 0 ? 2 * kMaxTwice : kMaxTwice); }
  // Whether the last `count` instructions are those that were run `length` before them once more.
  bool AreRepeated(size_t count, size_t length) const;

  std::vector<uint64_t> pcs_;
  // How many there were when it came back to its beginning, when it came to where none goes on, and of a path without a
  // round; 0: not yet.
  size_t back_ = 0, end_ = 0, length_ = 0;
  std::vector<size_t> laps_;  // where it began, and each time that it came back
  size_t round_ = 0;
  bool is_steady_ = false;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_PATH_SHAPE_H_
