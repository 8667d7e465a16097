// Hostile prefixes and paths: the index beside a scan of all prefixes, by components.
//
// The input is a list of steps: a byte for what, then a string, a length byte and as many characters.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/ref_counted.h"
#include "fs/mount_index.h"
#include "sync/reclaimer.h"

namespace {

using Components = std::vector<std::string>;

struct Number final : remora::RefCounted {
  explicit Number(int number) : number(number) {}
  const int number;
};

Components Split(std::string_view path) {
  Components parts;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    if (slash != 0) parts.emplace_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return parts;
}

bool IsPrefix(const Components& prefix, const Components& path) {
  return prefix.size() <= path.size() && std::equal(prefix.begin(), prefix.end(), path.begin());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  remora::sync::Reclaimer reclaimer;
  remora::sync::Reclaimer::ReadSection section(&reclaimer);
  // The last references are the model's: nothing is freed while a look-up may count it.
  std::map<Components, remora::Ref<Number>> model;
  std::vector<remora::Ref<Number>> all;
  remora::fs::MountIndex<Number> index(&reclaimer);
  size_t at = 0;
  const auto byte = [&] { return at < size ? data[at++] : uint8_t{0}; };
  while (at < size) {
    const uint8_t what = byte();
    std::string path = "/";
    for (size_t length = byte() % 32; length != 0; --length) {
      const uint8_t c = byte();
      path += c >= 240 ? static_cast<char>(c) : "/./abc//"[c % 8];
    }
    const Components parts = Split(path);
    switch (what % 4) {
      case 0: {
        all.push_back(remora::MakeRef<Number>(static_cast<int>(all.size())));
        const auto old = index.Set(path, all.back());
        const auto it = model.find(parts);
        CHECK(old == (it == model.end() ? nullptr : it->second));
        model[parts] = all.back();
        break;
      }
      case 1: {
        const auto removed = index.Remove(path);
        const auto it = model.find(parts);
        CHECK(removed == (it == model.end() ? nullptr : it->second));
        if (it != model.end()) model.erase(it);
        break;
      }
      case 2: {
        bool any = false;
        for (const auto& [prefix, number] : model) any |= IsPrefix(parts, prefix);
        CHECK(index.AnyAtOrBelow(path) == any);
        break;
      }
      default: {
        remora::Ref<Number> best;
        size_t best_size = 0;
        for (const auto& [prefix, number] : model) {
          if (!IsPrefix(prefix, parts) || (best && prefix.size() < best_size)) continue;
          best = number;
          best_size = prefix.size();
        }
        const auto match = index.Lookup(path);
        CHECK(match.value == best);
        if (!best) break;
        CHECK(match.suffix.data() + match.suffix.size() == path.data() + path.size());
        CHECK(Split(match.suffix) == Components(parts.begin() + static_cast<ptrdiff_t>(best_size), parts.end()));
        CHECK(match.suffix.empty() || match.suffix.front() != '/');
      }
    }
    index.CheckInvariants();
  }
  return 0;
}
