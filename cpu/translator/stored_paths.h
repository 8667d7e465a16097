#ifndef REMORA_CPU_TRANSLATOR_STORED_PATHS_H_
#define REMORA_CPU_TRANSLATOR_STORED_PATHS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"

namespace remora::cpu::translator {

// A path that an earlier run has made: where its instructions are, one after the other. What they are is looked at when
// it is made again, so there is nothing that could be wrong about it; it may be of no use.
struct StoredPath {
  static constexpr size_t kMaxSteps = 1000;  // no run has made a longer one

  bool goes_round = false;  // from the last one to the first
  std::span<const uint64_t> steps;

  bool operator==(const StoredPath& other) const {
    return goes_round == other.goes_round && std::ranges::equal(steps, other.steps);
  }
};

// Those that this run has not made yet, by where code comes to them. Thread safety: none.
class StoredPaths {
 public:
  // The steps, one at least, outlive this. A path that is here already is not added.
  void Add(const StoredPath& path);

  // Where code goes on in a path.
  struct Place {
    uint32_t number = 0;  // the path's
    uint32_t step = 0;
    StoredPath path;
  };
  // Adds to `places` where paths have `pc` first, or behind what cannot have run on into it, but for the last
  // kMinFollowed of a path that does not go round. At most kMaxPlaces: the others' turn comes when these are forgotten.
  void FindAt(uint64_t pc, std::vector<Place>* places) const;
  bool IsAnyAt(uint64_t pc) const { return by_pc_.contains(pc); }
  static constexpr size_t kMinFollowed = 8, kMaxPlaces = 16;
  // It has been made, or was come to kMaxMisses times and not followed. A number that is not known does no harm.
  void Forget(uint32_t number);
  void NoteMiss(uint32_t number);
  static constexpr uint8_t kMaxMisses = 3;

  size_t num_paths() const { return paths_.size(); }

 private:
  struct Known {
    StoredPath path;
    uint8_t misses = 0;
  };
  struct Step {
    uint32_t number, step;
  };
  // Whether it is found by the step. Slices end at the beginning of blocks, most of which are jumped to.
  static bool IsFoundBy(const StoredPath& path, size_t step);

  uint32_t last_number_ = 0;
  absl::flat_hash_map<uint32_t, Known> paths_;
  absl::flat_hash_map<uint64_t, absl::InlinedVector<Step, 2>> by_pc_;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_STORED_PATHS_H_
