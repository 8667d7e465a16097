#ifndef REMORA_BENCHMARKS_RIVALS_PROC_LOOKUP_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_PROC_LOOKUP_RIVAL_H_

#include <charconv>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errno_or.h"

namespace remora::benchmarks {

// The plain way: a directory can list its children, and a look-up lists them until a name is the one that is asked for.
// The names of processes are numbers, formatted one after the other.
class ProcLookupRival {
 public:
  explicit ProcLookupRival(std::vector<int32_t> pids) : pids_(std::move(pids)) {}

  // The pid whose name this is. ENOENT.
  ErrnoOr<int32_t> Lookup(std::string_view name) const {
    for (int32_t pid : pids_) {
      char text[12];
      const char* end = std::to_chars(text, text + sizeof text, pid).ptr;
      if (std::string_view(text, static_cast<size_t>(end - text)) == name) return pid;
    }
    return Errno(ENOENT);
  }

 private:
  const std::vector<int32_t> pids_;
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_PROC_LOOKUP_RIVAL_H_
