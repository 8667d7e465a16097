#include "runner/options.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace remora::runner {

// A flag that may be given several times: its texts, in order. Abseil keeps the last text only, so ParseCommandLine
// hands over all of them at once, separated by a byte that no argument holds.
struct Repeated {
  std::vector<std::string> values;
};
inline constexpr char kSeparator = '\x1f';
bool AbslParseFlag(absl::string_view text, Repeated* to, std::string*) {
  to->values = absl::StrSplit(text, kSeparator);
  return true;
}
std::string AbslUnparseFlag(const Repeated&) { return ""; }

}  // namespace remora::runner

ABSL_FLAG(std::string, root, "/", "host folder that becomes the guest's /");
ABSL_FLAG(remora::runner::Repeated, bind, {}, "SRC:DST[:ro|rw]");
ABSL_FLAG(remora::runner::Repeated, env, {}, "NAME=VALUE");
ABSL_FLAG(std::string, chdir, "", "working directory");
ABSL_FLAG(uint32_t, workers, 0, "host threads that run guest code");
ABSL_FLAG(uint64_t, memory, 0, "MiB");
ABSL_FLAG(std::string, strace, "", "regular expression");
ABSL_FLAG(std::string, engine, "", "translator or interpreter");
ABSL_FLAG(uint64_t, code_cache, 64, "MiB");
ABSL_FLAG(std::string, cpu_opt, "", "[+-]NAME,...");
ABSL_FLAG(std::string, dump_blocks, "", "regular expression");
ABSL_FLAG(std::string, cpu, "",
          "host, x86-64, x86-64-v2, x86-64-v3 or x86-64-v4; the interpreter's default is host without AVX-512");
ABSL_FLAG(bool, gdb_symbols, false, "tell gdb of translated code");
ABSL_FLAG(bool, perf_map, false, "write /tmp/perf-PID.map");
ABSL_FLAG(std::string, translations, "", "folder, or none");
ABSL_FLAG(std::string, stats, "", "text or json");
ABSL_FLAG(double, stats_every, 0, "seconds");
ABSL_FLAG(bool, version, false, "print the version");

namespace remora::runner {
namespace {

// Flags that may stand without a value, and what that means.
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kBareValues = {
    {{"strace", ".*"}, {"stats", "text"}, {"gdb-symbols", "true"}, {"perf-map", "true"}, {"version", "true"}}};
constexpr std::array<std::string_view, 18> kFlags = {
    "root",        "bind",  "env",      "chdir",       "workers", "memory",
    "strace",      "stats", "engine",   "code-cache",  "cpu-opt", "dump-blocks",
    "stats-every", "cpu",   "perf-map", "gdb-symbols", "version", "translations"};
constexpr std::array<std::pair<std::string_view, cpu::CpuLevel>, 5> kLevels = {{{"host", cpu::CpuLevel::kHost},
                                                                                {"x86-64", cpu::CpuLevel::kV1},
                                                                                {"x86-64-v2", cpu::CpuLevel::kV2},
                                                                                {"x86-64-v3", cpu::CpuLevel::kV3},
                                                                                {"x86-64-v4", cpu::CpuLevel::kV4}}};
constexpr std::array<std::string_view, 2> kRepeated = {"bind", "env"};

absl::Status Refuse(std::string_view flag, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("--", std::string(flag), ": ", std::string(why)));
}

// A second call begins afresh. (absl::FlagSaver would do, but it logs each value that it puts back.)
void ResetFlags() {
  absl::SetFlag(&FLAGS_root, "/");
  absl::SetFlag(&FLAGS_bind, Repeated());
  absl::SetFlag(&FLAGS_env, Repeated());
  absl::SetFlag(&FLAGS_chdir, "");
  absl::SetFlag(&FLAGS_workers, 0u);
  absl::SetFlag(&FLAGS_memory, uint64_t{0});
  absl::SetFlag(&FLAGS_strace, "");
  absl::SetFlag(&FLAGS_engine, "");
  absl::SetFlag(&FLAGS_code_cache, uint64_t{64});
  absl::SetFlag(&FLAGS_cpu_opt, "");
  absl::SetFlag(&FLAGS_dump_blocks, "");
  absl::SetFlag(&FLAGS_cpu, "");
  absl::SetFlag(&FLAGS_gdb_symbols, false);
  absl::SetFlag(&FLAGS_perf_map, false);
  absl::SetFlag(&FLAGS_translations, "");
  absl::SetFlag(&FLAGS_stats, "");
  absl::SetFlag(&FLAGS_stats_every, 0.0);
  absl::SetFlag(&FLAGS_version, false);
}

absl::StatusOr<Bind> ParseBind(const std::string& text) {
  std::vector<std::string> parts = absl::StrSplit(text, ':');
  Bind bind;
  if (parts.size() == 3 && (parts[2] == "ro" || parts[2] == "rw")) {
    bind.writable = parts[2] == "rw";
    parts.pop_back();
  }
  if (parts.size() != 2 || parts[0].empty() || parts[1].empty() || parts[1][0] != '/')
    return Refuse("bind", absl::StrCat("\"", text, "\" is not SRC:DST[:ro|rw] with an absolute DST"));
  bind.source = std::move(parts[0]);
  bind.target = std::move(parts[1]);
  return bind;
}

absl::StatusOr<Options> FromFlags() {
  Options options;
  options.root = absl::GetFlag(FLAGS_root);
  for (const std::string& text : absl::GetFlag(FLAGS_bind).values) {
    absl::StatusOr<Bind> bind = ParseBind(text);
    if (!bind.ok()) return bind.status();
    options.binds.push_back(*std::move(bind));
  }
  options.environment = absl::GetFlag(FLAGS_env).values;
  for (const std::string& text : options.environment)
    if (text.find('=') == std::string::npos || text[0] == '=')
      return Refuse("env", absl::StrCat("\"", text, "\" is not NAME=VALUE"));
  if (const std::string directory = absl::GetFlag(FLAGS_chdir); !directory.empty()) options.directory = directory;
  options.num_workers = absl::GetFlag(FLAGS_workers);
  if (options.num_workers > 256) return Refuse("workers", "at most 256");
  options.max_memory_mib = absl::GetFlag(FLAGS_memory);
  if (const std::string pattern = absl::GetFlag(FLAGS_strace); !pattern.empty()) options.strace = pattern;
  if (const std::string engine = absl::GetFlag(FLAGS_engine); engine == "translator") {
    options.engine = EngineKind::kTranslator;
  } else if (engine == "interpreter") {
    options.engine = EngineKind::kInterpreter;
  } else if (engine == "verify") {
    options.engine = EngineKind::kVerify;
    if (options.num_workers > 1) return Refuse("engine", "verify has one worker: --workers=1");
  } else if (!engine.empty()) {
    return Refuse("engine", absl::StrCat("\"", engine, "\" is none of translator, interpreter, verify"));
  }
  options.code_cache_mib = absl::GetFlag(FLAGS_code_cache);
  if (options.code_cache_mib < 1 || options.code_cache_mib > 1024) return Refuse("code-cache", "1 to 1024 MiB");
  options.cpu_optimizations = absl::GetFlag(FLAGS_cpu_opt);
  if (const std::string pattern = absl::GetFlag(FLAGS_dump_blocks); !pattern.empty()) options.dump_blocks = pattern;
  const bool interprets = options.engine == EngineKind::kInterpreter;
  const std::string chosen = absl::GetFlag(FLAGS_cpu), level = chosen.empty() ? "host" : chosen;
  const auto known = std::find_if(kLevels.begin(), kLevels.end(), [&](auto& entry) {
    return level == entry.first || "x86-64-" + level == entry.first;
  });
  if (known == kLevels.end())
    return Refuse("cpu", absl::StrCat("\"", level, "\" is none of host, x86-64, x86-64-v2, x86-64-v3, x86-64-v4"));
  options.cpu_level = chosen.empty() && interprets ? cpu::CpuLevel::kHostWithoutAvx512 : known->second;
  if (options.cpu_level == cpu::CpuLevel::kV4 && !cpu::LevelHasAvx512(options.cpu_level))
    return Refuse("cpu", "x86-64-v4 has AVX-512, which the host's CPU has not");
  options.gdb_symbols = absl::GetFlag(FLAGS_gdb_symbols);
  options.perf_map = absl::GetFlag(FLAGS_perf_map);
  for (const auto& [flag, wanted] : {std::pair("gdb-symbols", options.gdb_symbols), {"perf-map", options.perf_map}})
    if (wanted && options.engine == EngineKind::kInterpreter)
      return Refuse(flag, "the interpreter makes no code: --engine=translator does");
  const std::string folder = absl::GetFlag(FLAGS_translations);
  const bool sees_all =
      options.engine == EngineKind::kVerify || options.dump_blocks || options.gdb_symbols || options.perf_map;
  options.keeps_translations = folder != "none" && options.engine != EngineKind::kInterpreter && !sees_all;
  if (!folder.empty() && folder != "none") {
    options.translations = folder;
    if (options.engine == EngineKind::kInterpreter)
      return Refuse("translations", "the interpreter makes no code: --engine=translator does");
    if (sees_all)
      return Refuse("translations",
                    "not with --engine=verify, --dump-blocks, --gdb-symbols or --perf-map, which have to see all code "
                    "made");
  }
  const std::string stats = absl::GetFlag(FLAGS_stats);
  if (stats == "text") {
    options.stats = StatsFormat::kText;
  } else if (stats == "json") {
    options.stats = StatsFormat::kJson;
  } else if (!stats.empty()) {
    return Refuse("stats", absl::StrCat("\"", stats, "\" is neither text nor json"));
  }
  options.stats_every_seconds = absl::GetFlag(FLAGS_stats_every);
  if (!(options.stats_every_seconds >= 0 && options.stats_every_seconds <= 1e6))
    return Refuse("stats-every", "wants seconds, such as 1 or 0.5");
  if (options.stats_every_seconds > 0 && options.stats == StatsFormat::kNone) options.stats = StatsFormat::kText;
  options.version = absl::GetFlag(FLAGS_version);
  return options;
}

}  // namespace

absl::StatusOr<Options> ParseCommandLine(int argc, const char* const* argv) {
  ResetFlags();
  bool help = false;
  std::array<std::string, kRepeated.size()> repeated;
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; ++i) {
    std::string_view argument = argv[i];
    if (argument == "--") {
      ++i;
      break;
    }
    if (argument == "-h" || argument == "--help") {
      help = true;
      continue;
    }
    const std::string unknown = absl::StrCat("no such flag: ", std::string(argument), " (remora --help lists them)");
    if (!argument.starts_with("--")) return absl::InvalidArgumentError(unknown);
    argument.remove_prefix(2);
    const size_t equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    if (std::find(kFlags.begin(), kFlags.end(), name) == kFlags.end()) return absl::InvalidArgumentError(unknown);
    std::string value;
    if (equals != std::string_view::npos) {
      value = std::string(argument.substr(equals + 1));
    } else {
      const auto bare = std::find_if(kBareValues.begin(), kBareValues.end(), [&](auto& b) { return b.first == name; });
      if (bare == kBareValues.end()) return Refuse(name, "needs a value: --flag=value");
      value = std::string(bare->second);
    }
    if (const auto r = std::find(kRepeated.begin(), kRepeated.end(), name); r != kRepeated.end()) {
      std::string& all = repeated[r - kRepeated.begin()];
      if (!all.empty()) all += kSeparator;
      all += value;
      value = all;
    }
    std::string error;
    std::string variable(name);
    std::replace(variable.begin(), variable.end(), '-', '_');
    absl::CommandLineFlag* flag = absl::FindCommandLineFlag(variable);
    if (flag == nullptr || !flag->ParseFrom(value, &error))
      return Refuse(name, absl::StrCat("cannot take \"", value, "\"", error.empty() ? "" : ": ", error));
  }
  absl::StatusOr<Options> options = FromFlags();
  if (!options.ok()) return options;
  options->help = help;
  options->program.assign(argv + i, argv + argc);
  if (options->program.empty() && !options->help && !options->version)
    return absl::InvalidArgumentError("no PROGRAM given (remora --help tells more)");
  return options;
}

std::string VersionText() { return "remora 0.1\n"; }

std::string HelpText() {
  return R"(usage: remora [FLAGS] PROGRAM [ARGS]

Runs an unmodified x86-64 Linux program inside this one process. By default it sees the host's files and
cannot change them: what it writes stays in memory and is gone at the end.

  --root=DIR               DIR instead of the host's / becomes the guest's /
  --bind=SRC:DST[:ro|rw]   show the host's SRC at DST; rw: writes go to the host (may be given several times)
  --env=NAME=VALUE         add to or change the environment (may be given several times)
  --chdir=DIR              start in DIR instead of the present folder
  --workers=N              host threads that run guest code (default: one for each core)
  --memory=MiB             the most memory that all guests together may use
  --engine=NAME            translator (default where the CPU allows it), interpreter, or verify: both, compared
  --code-cache=MiB         the most translated code (default: 64)
  --translations=DIR|none  where translated code is kept for the next run (default: ~/.cache/remora; docs/engines.md)
  --cpu-opt=-NAME,...      switch optimisations of the translator off (docs/engines.md lists them)
  --cpu=LEVEL              show the guest a CPU of x86-64 or x86-64-v2, -v3, -v4 (default: host, all there is)
  --dump-blocks=REGEX      print guest and host code of translated blocks whose address (hex) or symbol matches
  --gdb-symbols            let gdb know the names of translated code; --perf-map: perf(1), by /tmp/perf-PID.map
  --strace[=REGEX]         print syscalls (whose names match) to stderr, as strace(1) does
  --stats[=text|json]      at the end, print to stderr what was done; --stats-every=SECONDS: while PROGRAM runs, too
  --version, --help

PROGRAM is looked up in PATH when it has no slash. The exit status is PROGRAM's; 128+N when signal N ended it;
125 when remora itself could not start, 126 when PROGRAM cannot be executed, 127 when there is no such program.
)";
}

}  // namespace remora::runner
