#include "runner/report.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/abi/signal.h"
#include "proc/thread_group.h"

namespace remora::runner {
namespace {

using Rows = std::vector<std::pair<const char*, uint64_t>>;

// All, in whatever way: those of the guest's instructions that never came to the TLB's slow side, and those of the slow
// side, the kernel's own accesses included.
uint64_t TlbHits(const proc::Kernel::Counters& counters) {
  const cpu::Engine::Counters& engine = counters.engine;
  const uint64_t inline_hits = engine.memory_accesses - std::min(engine.memory_accesses, engine.slow_memory_accesses);
  return inline_hits + counters.tlb.hits + counters.tlb.way_hits;
}

// Everything but the syscalls: a name that is also the JSON key, and the figure. The guests may be running: each figure
// has to be readable from any thread.
Rows Figures(const proc::Kernel& kernel) {
  const proc::Kernel::Counters counters = kernel.counters();
  const sync::FutexTable::Counters futexes = kernel.futexes().counters();
  const fs::Vfs::Counters names = kernel.vfs().counters();
  const fs::FileSystem::InodeCounts inodes = kernel.vfs().CountInodes();
  const Ref<proc::ThreadGroup> first = kernel.first_group();
  const int64_t elapsed_nanos = first ? kernel.clock().MonotonicNanos() - first->start_time_nanos() : 0;
  Rows rows = {
      {"elapsed_ms", static_cast<uint64_t>(elapsed_nanos) / 1'000'000},
      {"instructions", counters.engine.instructions},
      {"blocks_decoded", counters.engine.blocks_decoded},
      {"blocks_entered_slowly", counters.engine.blocks_entered_slowly},
      {"TLB_hits", TlbHits(counters)},
      {"TLB_way_hits", counters.tlb.way_hits},
      {"TLB_misses", counters.tlb.misses},
      {"TLB_evictions_by_conflict", counters.tlb.evictions_by_conflict},
      {"TLB_evictions_by_range", counters.tlb.evictions_by_range},
      {"TLB_evictions_by_flush", counters.tlb.evictions_by_flush},
      {"task_switches", counters.task_switches},
      {"dentry_hits", names.dentry_hits},
      {"dentry_misses", names.dentry_misses},
      {"negative_dentry_hits", names.negative_hits},
      {"hole_searches", counters.hole_searches},
      {"peak_scratch_bytes", counters.peak_scratch_bytes},
      {"snapshots_built", kernel.snapshots().built.load(std::memory_order_relaxed)},
      {"snapshots_reused", kernel.snapshots().reused.load(std::memory_order_relaxed)},
      {"futex_bucket_collisions", futexes.collisions},
      {"futex_wakes_without_waiters", futexes.wakes_without_waiters},
      {"inode_table_entries", inodes.num_entries},
      {"inode_table_longest_chain", inodes.longest_chain},
      {"frames", kernel.frames().num_allocated()},
      {"open_files", kernel.open_files().num_alive()},
      {"tasks", kernel.tasks_alive().num_alive()},
  };
  if (const uint64_t bytes = counters.engine.guest_bytes_translated; bytes != 0) {
    rows.emplace_back("guest_bytes_translated", bytes);
    rows.emplace_back("host_bytes_translated", counters.engine.host_bytes_translated);
  }
  if (const uint64_t adopted = counters.engine.blocks_adopted; adopted != 0)
    rows.emplace_back("blocks_of_earlier_runs", adopted);
  if (const uint64_t paths = counters.engine.paths_made_again; paths != 0)
    rows.emplace_back("paths_of_earlier_runs", paths);
  // Only the interpreter counts them.
  if (const uint64_t accesses = counters.engine.memory_accesses; accesses != 0)
    rows.emplace_back("memory_accesses", accesses);
  return rows;
}

std::string AsText(const Rows& figures, const std::vector<syscalls::Dispatcher::CallCount>& calls) {
  std::string out;
  for (const auto& [name, value] : figures) absl::StrAppendFormat(&out, "%-28s %15u\n", name, value);
  absl::StrAppendFormat(&out, "\n%-28s %15s %12s\n", "syscall", "calls", "microseconds");
  for (const auto& call : calls)
    absl::StrAppendFormat(&out, "%-28s %15u %12.1f%s\n",
                          call.name.empty() ? absl::StrCat("#", call.number) : std::string(call.name), call.calls,
                          static_cast<double>(call.nanos) / 1000, call.absent ? "  absent: ENOSYS" : "");
  return out;
}

std::string AsJson(const Rows& figures, const std::vector<syscalls::Dispatcher::CallCount>& calls) {
  std::string out = "{";
  for (const auto& [name, value] : figures) absl::StrAppendFormat(&out, "\"%s\": %u, ", name, value);
  out += "\"syscalls\": [";
  const char* separator = "";
  for (const auto& call : calls) {
    absl::StrAppendFormat(&out, "%s{\"name\": \"%s\", \"number\": %u, \"calls\": %u, \"nanos\": %u, \"absent\": %s}",
                          separator, std::string(call.name), call.number, call.calls, call.nanos,
                          call.absent ? "true" : "false");
    separator = ", ";
  }
  return out + "]}\n";
}

}  // namespace

std::string StatsReport(StatsFormat format, const proc::Kernel& kernel, const syscalls::Dispatcher& dispatcher) {
  const Rows figures = Figures(kernel);
  return format == StatsFormat::kJson ? AsJson(figures, dispatcher.counts()) : AsText(figures, dispatcher.counts());
}

std::string FatalFaultReport(proc::Task& task, const proc::SignalInfo& info) {
  if (info.signal != abi::kSIGILL) return "";
  std::array<std::byte, 15> bytes;  // the longest instruction
  const uint64_t num_bytes = task.space() ? task.space()->ReadRemote(info.address, bytes) : 0;
  std::string report =
      absl::StrFormat("remora: process %d (%s) is killed by an illegal instruction at %#x:", task.group().pid(),
                      task.name(), info.address.value());
  for (uint64_t i = 0; i < num_bytes; ++i) absl::StrAppendFormat(&report, " %02x", static_cast<unsigned>(bytes[i]));
  return report + "\n";
}

}  // namespace remora::runner
