#ifndef REMORA_RUNNER_OPTIONS_H_
#define REMORA_RUNNER_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cpu/cpu_level.h"

namespace remora::runner {

// --bind=SRC:DST[:ro|rw]: a host folder or file shown in the guest.
struct Bind {
  std::string source;
  std::string target;
  bool writable = false;
};

enum class StatsFormat : uint8_t { kNone, kText, kJson };

// kFastest: of those the host can run. kVerify: both, compared.
enum class EngineKind : uint8_t { kFastest, kInterpreter, kTranslator, kVerify };

// What the command line asks for.
struct Options {
  std::string root = "/";
  std::vector<Bind> binds;
  std::vector<std::string> environment;  // NAME=VALUE, in order
  std::optional<std::string> directory;  // --chdir; else the caller's
  uint32_t num_workers = 0;              // 0: as many as the host has cores
  uint64_t max_memory_mib = 0;           // 0: no limit of Remora's own
  std::optional<std::string> strace;     // a regular expression over syscall names; ".*" for plain --strace
  EngineKind engine = EngineKind::kFastest;
  uint64_t code_cache_mib = 64;            // of translated code
  std::string cpu_optimizations;           // --cpu-opt: names of the translator's switches, each with + or -
  std::optional<std::string> dump_blocks;  // over addresses (hex) and symbols of translated blocks
  cpu::CpuLevel cpu_level = cpu::CpuLevel::kHost;
  bool gdb_symbols = false;                 // gdb is told of translated code
  bool perf_map = false;                    // /tmp/perf-PID.map of translated code
  bool keeps_translations = true;           // translated code outlives the run, where it can
  std::optional<std::string> translations;  // --translations: in this folder; else in the usual one
  StatsFormat stats = StatsFormat::kNone;
  double stats_every_seconds = 0;  // 0: at the end only
  bool help = false;
  bool version = false;
  std::vector<std::string> program;  // PROGRAM and its arguments
};

// Flags stand before PROGRAM, as --flag or --flag=value; the first argument without a leading dash is PROGRAM, all
// behind it is the guest's. InvalidArgument with one sentence for what it does not understand.
absl::StatusOr<Options> ParseCommandLine(int argc, const char* const* argv);

// What --help prints: fits on a screen.
std::string HelpText();
std::string VersionText();

}  // namespace remora::runner

#endif  // REMORA_RUNNER_OPTIONS_H_
