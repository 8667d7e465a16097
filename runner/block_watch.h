#ifndef REMORA_RUNNER_BLOCK_WATCH_H_
#define REMORA_RUNNER_BLOCK_WATCH_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "cpu/translator/block_dump.h"
#include "cpu/translator/translator.h"
#include "mm/frame_pool.h"
#include "proc/symbols/symbolizer.h"
#include "runner/gdb_symbols.h"
#include "runner/options.h"
#include "runner/perf_map.h"

namespace remora::runner {

// What the user wants to know of translated blocks, by --dump-blocks, --gdb-symbols and --perf-map, with the guest's
// symbols. Outlives the engines, except for the Kernel's frames, which it reads while they run.
class BlockWatch {
 public:
  // InvalidArgument, FailedPrecondition: a sentence for the user. `options` gets a dumper if there is something to do.
  absl::Status SetUp(const Options& options, cpu::TranslatorOptions* translator_options);
  // Before guest code runs.
  void set_frames(mm::FramePool* frames) { symbolizer_ = std::make_unique<proc::Symbolizer>(frames); }
  // After the last guest code has run, and before the frames go.
  void Stop() { symbolizer_.reset(); }

 private:
  std::string NameOf(uint64_t pc, const mm::Tlb& tlb);

  cpu::translator::BlockDumper dumper_;
  std::unique_ptr<GdbSymbols> gdb_symbols_;
  std::unique_ptr<PerfMap> perf_map_;
  std::unique_ptr<proc::Symbolizer> symbolizer_;
};

}  // namespace remora::runner

#endif  // REMORA_RUNNER_BLOCK_WATCH_H_
