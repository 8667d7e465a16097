// The only place where modules, flags and the host's environment meet.

#include "runner/main.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/entropy.h"
#include "base/tsc_clock.h"
#include "cpu/interpreter.h"
#include "cpu/translator/translator.h"
#include "proc/kernel.h"
#include "proc/thread_group.h"
#include "runner/block_watch.h"
#include "runner/file_systems.h"
#include "runner/first_process.h"
#include "runner/host_signals.h"
#include "runner/inherited_attributes.h"
#include "runner/inherited_fds.h"
#include "runner/options.h"
#include "runner/periodic_stats.h"
#include "runner/report.h"
#include "runner/translation_files.h"
#include "runner/verify.h"
#include "sync/reclaimer.h"
#include "syscalls/dispatcher.h"

namespace remora::runner {
namespace {

// Exit statuses of env(1), timeout(1) and the shells.
constexpr int kSetUpFailed = 125;
constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;

int Fail(int exit_status, std::string_view sentence) {
  std::fprintf(stderr, "remora: %.*s\n", static_cast<int>(sentence.size()), sentence.data());
  return exit_status;
}

std::string_view Message(const absl::Status& status) { return {status.message().data(), status.message().size()}; }

int ExitStatusOf(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

// Null where none are kept: the usual folder is used if it can be, the named one must.
absl::StatusOr<std::unique_ptr<TranslationFiles>> OpenTranslations(const Options& options,
                                                                   const cpu::TranslatorOptions& translator_options) {
  if (!options.keeps_translations || (!options.translations && !cpu::TranslatorRunsHere())) return nullptr;
  if (BuildId().empty()) {
    if (!options.translations) return nullptr;
    return absl::FailedPreconditionError("this program was linked without a build ID");
  }
  std::vector<std::string> guests_own;
  for (const Bind& bind : options.binds)
    if (bind.writable) guests_own.push_back(bind.source);
  const uint64_t settings = cpu::SettingsOf(translator_options, BuildId());
  if (options.translations) return TranslationFiles::Open(*options.translations, settings, guests_own);
  return TranslationFiles::OpenUsual(settings, guests_own);
}

int Run(const Options& options, const MoreMounts& more_mounts) {
  auto attributes = CallersAttributes();
  RaiseDescriptorLimit();
  RaiseStackLimit();
  InheritedFds inherited;  // before anything opens a descriptor
  HostSignals signals;     // before any thread: all inherit the mask

  auto dispatcher = syscalls::Dispatcher::Create({.strace = options.strace.has_value(),
                                                  .strace_filter = options.strace.value_or(""),
                                                  .strace_sink = nullptr,
                                                  .measure_time = options.stats != StatsFormat::kNone});
  if (!dispatcher.ok())
    return Fail(kSetUpFailed, std::string("--strace: ") + std::string(Message(dispatcher.status())));

  proc::Kernel::Options kernel_options;
  kernel_options.num_workers =
      options.num_workers != 0 ? options.num_workers : std::max(1u, std::thread::hardware_concurrency());
  if (options.max_memory_mib != 0) kernel_options.max_memory_bytes = options.max_memory_mib << 20;
  kernel_options.dispatcher = dispatcher->get();
  HostEntropy entropy;
  kernel_options.entropy = &entropy;
  const std::unique_ptr<Clock> tsc_clock = TscClock::TryMake();
  kernel_options.clock = tsc_clock.get();
  kernel_options.engines_show_host_tsc = tsc_clock != nullptr;
  const bool count_accesses = options.stats != StatsFormat::kNone;
  cpu::TranslatorOptions translator_options;
  translator_options.interpreter = {
      .host_tsc = tsc_clock != nullptr, .entropy = &entropy, .count_accesses = count_accesses};
  translator_options.max_code_bytes = options.code_cache_mib << 20;
  if (!translator_options.optimizations.Apply(options.cpu_optimizations))
    return Fail(kSetUpFailed, "--cpu-opt: names of optimisations, each with + or -, separated by commas");
  translator_options.interpreter.level = kernel_options.cpu_level = options.cpu_level;
  BlockWatch watch;
  if (absl::Status set = watch.SetUp(options, &translator_options); !set.ok()) return Fail(kSetUpFailed, Message(set));
  const bool must_translate = options.engine == EngineKind::kTranslator || options.engine == EngineKind::kVerify;
  if (must_translate && !cpu::TranslatorRunsHere())
    return Fail(kSetUpFailed, "--engine: the host's CPU has no AVX, which the translator needs");
  const bool translate = options.engine != EngineKind::kInterpreter;
  const auto translations = OpenTranslations(options, translator_options);
  if (!translations.ok())
    return Fail(kSetUpFailed, absl::StrCat("--translations: ", std::string(Message(translations.status()))));
  if (*translations != nullptr) {
    translator_options.store = (*translations)->store();
    kernel_options.layout_entropy = (*translations)->layout_entropy();
  }
  kernel_options.make_engine = [translate, translator_options](cpu::BlockCache* blocks) {
    std::unique_ptr<cpu::Engine> engine = translate ? cpu::MakeTranslator(blocks, translator_options) : nullptr;
    return engine != nullptr ? std::move(engine) : cpu::MakeInterpreter(blocks, translator_options.interpreter);
  };
  HostClock host_clock;
  Verify verify(tsc_clock != nullptr ? tsc_clock.get() : static_cast<Clock*>(&host_clock), &entropy);
  if (options.engine == EngineKind::kVerify) verify.SetUp(translator_options, &kernel_options);
  kernel_options.on_first_process_stopped = HostSignals::StopSelf;
  kernel_options.on_fatal_fault = [](proc::Task& task, const proc::SignalInfo& info) {
    const std::string report = FatalFaultReport(task, info);
    std::fwrite(report.data(), 1, report.size(), stderr);
  };
  char host_name[256] = "remora";
  gethostname(host_name, sizeof host_name - 1);
  kernel_options.host_name = host_name;
  FileSystems file_systems;
  proc::Kernel kernel(std::move(kernel_options));
  watch.set_frames(&kernel.frames());
  verify.set_frames(&kernel.frames());

  const Ref<fs::HostTerminal> terminal = inherited.FindTerminal(&kernel.terminals());
  if (absl::Status built = file_systems.Build(&kernel, options, terminal); !built.ok())
    return Fail(kSetUpFailed, Message(built));
  if (more_mounts) {
    sync::Reclaimer::ReadSection reading(&kernel.reclaimer());
    if (absl::Status mounted = more_mounts(kernel, file_systems); !mounted.ok())
      return Fail(kSetUpFailed, Message(mounted));
  }
  int exit_status = kSetUpFailed;
  auto first = MakeFirstProcess(options, &kernel, file_systems, inherited, terminal, &exit_status);
  if (!first.ok()) return Fail(exit_status, Message(first.status()));
  first->attributes = std::move(attributes);
  int error_number = 0;
  if (absl::Status started = kernel.Start(*std::move(first), &error_number); !started.ok())
    return Fail(error_number == ENOENT ? kNotFound : kNotExecutable, Message(started));
  first = absl::CancelledError();  // the guest's descriptors are its own now
  inherited.LetGo();
  if (terminal) {
    const Ref<proc::ThreadGroup> group = kernel.first_group();
    terminal->SetSession(group->session(), group->process_group());
  }

  signals.Start(&kernel, terminal.get());
  std::optional<PeriodicStats> periodic_stats;
  if (options.stats_every_seconds > 0)
    periodic_stats.emplace(options.stats_every_seconds, [&] {
      const std::string report = StatsReport(options.stats, kernel, **dispatcher);
      return options.stats == StatsFormat::kText ? report + "\n" : report;
    });
  const int32_t wait_status = kernel.Run();
  watch.Stop();
  periodic_stats.reset();
  signals.Stop();
  if (terminal) terminal->restore().Restore();
  if (options.stats != StatsFormat::kNone) {
    const std::string report = StatsReport(options.stats, kernel, **dispatcher);
    std::fwrite(report.data(), 1, report.size(), stderr);
  }
  if (*translations != nullptr) {
    // Who did not ask for it need not know that there is no room, say.
    if (absl::Status saved = (*translations)->Save(); !saved.ok() && options.translations)
      std::fprintf(stderr, "remora: --translations: %s\n", std::string(Message(saved)).c_str());
  }
  return ExitStatusOf(wait_status);
}

}  // namespace

int Main(int argc, char** argv, const MoreMounts& more_mounts) {
  const auto options = ParseCommandLine(argc, argv);
  if (!options.ok()) return Fail(kSetUpFailed, Message(options.status()));
  if (options->help || options->version) {
    const std::string text = options->help ? HelpText() : VersionText();
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0 ? 0 : 1;
  }
  return Run(*options, more_mounts);
}

}  // namespace remora::runner
