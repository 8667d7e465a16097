#ifndef REMORA_RUNNER_GDB_SYMBOLS_H_
#define REMORA_RUNNER_GDB_SYMBOLS_H_

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "base/mutex.h"

namespace remora::runner {

// Tells gdb which guest code the host's code is a translation of, by gdb's interface for programs that make code: a
// list of ELF files in memory, and a function that gdb stops at whenever the list changes. A file here has the symbols
// of pieces that lie one behind the other: new ones have one each, and are put together, since gdb takes the longer for
// each change the more files there are.
// The list is the process's, as the interface wants it; each instance takes its own files off it in the end.
// Thread safety: Add and num_files from any thread. Source: "JIT Compilation Interface" in gdb's manual.
class GdbSymbols {
 public:
  GdbSymbols();
  ~GdbSymbols();
  GdbSymbols(const GdbSymbols&) = delete;
  GdbSymbols& operator=(const GdbSymbols&) = delete;

  // `code` is not empty. The latest of two at one place is right.
  void Add(std::span<const std::byte> code, const std::string& name);
  // Where pieces come by address: at most one for kMostPieces of them, and 2 * (kTogether - 1) more.
  size_t num_files() const;
  static constexpr size_t kTogether = 16, kMostPieces = kTogether * kTogether;

 private:
  struct File;
  // By where their first piece begins. No two overlap.
  using Files = std::map<const std::byte*, std::unique_ptr<File>>;

  // Leaves no piece between `first` and `end`.
  void Forget(const std::byte* first, const std::byte* end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Files::iterator Insert(std::unique_ptr<File> file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Puts the file together with those before it, if there are enough of its size.
  void Collect(Files::iterator last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  static Mutex mu_;  // of the process's list, too
  Files files_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::runner

#endif  // REMORA_RUNNER_GDB_SYMBOLS_H_
