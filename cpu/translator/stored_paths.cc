#include "cpu/translator/stored_paths.h"

#include <algorithm>

#include "base/check.h"

namespace remora::cpu::translator {

bool StoredPaths::IsFoundBy(const StoredPath& path, size_t step) {
  constexpr uint64_t kMaxInstructionBytes = 15;
  if (step == 0) return true;
  if (!path.goes_round && path.steps.size() - step <= kMinFollowed) return false;
  // Backwards it is more, too.
  return path.steps[step] - path.steps[step - 1] > kMaxInstructionBytes;
}

void StoredPaths::Add(const StoredPath& path) {
  DCHECK(!path.steps.empty());
  if (const auto here = by_pc_.find(path.steps[0]); here != by_pc_.end())
    for (const Step& step : here->second)
      if (paths_.at(step.number).path == path) return;
  const uint32_t number = ++last_number_;
  paths_[number] = {.path = path};
  for (uint32_t step = 0; step < path.steps.size(); ++step)
    if (IsFoundBy(path, step)) by_pc_[path.steps[step]].push_back({number, step});
}

void StoredPaths::FindAt(uint64_t pc, std::vector<Place>* places) const {
  const auto here = by_pc_.find(pc);
  if (here == by_pc_.end()) return;
  for (const Step& step : std::span(here->second).first(std::min(here->second.size(), kMaxPlaces)))
    places->push_back({step.number, step.step, paths_.at(step.number).path});
}

void StoredPaths::Forget(uint32_t number) {
  const auto known = paths_.find(number);
  if (known == paths_.end()) return;
  const StoredPath path = known->second.path;
  for (size_t step = 0; step < path.steps.size(); ++step) {
    if (!IsFoundBy(path, step)) continue;
    const auto here = by_pc_.find(path.steps[step]);
    if (here == by_pc_.end()) continue;
    auto& of_others = here->second;
    of_others.erase(std::remove_if(of_others.begin(), of_others.end(),
                                   [number](const Step& other) { return other.number == number; }),
                    of_others.end());
    if (of_others.empty()) by_pc_.erase(here);
  }
  paths_.erase(known);
}

void StoredPaths::NoteMiss(uint32_t number) {
  const auto known = paths_.find(number);
  if (known != paths_.end() && ++known->second.misses == kMaxMisses) Forget(number);
}

}  // namespace remora::cpu::translator
