#include "proc/procfs/system_files.h"

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cpu/cpuid.h"
#include "fs/pseudo/pseudo_symlink.h"
#include "fs/pseudo/snapshot_file.h"
#include "proc/host_metrics.h"
#include "proc/kernel.h"
#include "proc/linux_version.h"
#include "proc/pid_table.h"
#include "proc/scheduler.h"

namespace remora::proc {

namespace {

constexpr uint64_t kNanosPerTick = 10'000'000;

// The host's memory, which is what guests live in, unless --memory gives them less.
ErrnoOr<std::string> MeminfoText(Kernel& kernel) {
  const MemorySample sample = GuestMemory(kernel);
  std::string out;
  for (size_t row = 0; row < kNumMemoryRows; ++row)
    absl::StrAppendFormat(&out, "%-15s %8u kB\n", absl::StrCat(std::string(kMemoryRowNames[row]), ":"),
                          sample.bytes[row] / 1024);
  return out;
}

ErrnoOr<std::string> CpuinfoText(Kernel& kernel) {
  std::string out;
  const uint32_t n = kernel.options().num_workers;
  const double host_mhz = kernel.options().engines_show_host_tsc ? kernel.clock().tsc_mhz() : 0;
  const double mhz = host_mhz != 0 ? host_mhz : cpu::kCpuMhz;
  for (uint32_t i = 0; i < n; ++i) {
    absl::StrAppendFormat(&out,
                          "processor\t: %u\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\n"
                          "stepping\t: %u\ncpu MHz\t\t: %.3f\ncache size\t: 512 KB\nphysical id\t: 0\n"
                          "siblings\t: %u\ncore id\t\t: %u\ncpu cores\t: %u\n",
                          i, cpu::kCpuVendor, cpu::kCpuFamily, cpu::kCpuModel, cpu::kCpuBrand, cpu::kCpuStepping, mhz,
                          n, i, n);
    absl::StrAppendFormat(&out,
                          "fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: %u\nwp\t\t: yes\nflags\t\t: %s\n"
                          "bogomips\t: %.2f\nclflush size\t: 64\ncache_alignment\t: 64\n"
                          "address sizes\t: 40 bits physical, 48 bits virtual\n\n",
                          cpu::Cpuid(0, 0).eax, cpu::CpuFlagNames(kernel.options().cpu_level), 2 * mhz);
  }
  return out;
}

// CLOCK_BOOTTIME, as Linux shows it: the guest's monotonic clock is the host's.
uint64_t UptimeNanos(Kernel& kernel) {
  return static_cast<uint64_t>(std::max<int64_t>(kernel.clock().MonotonicNanos(), 0));
}

// The times of the host's CPUs: a guest's share of them is in its processes' own files. As many as the guest has.
ErrnoOr<std::string> StatText(Kernel& kernel) {
  CpuSample sample = kernel.host_metrics().SampleCpus();
  sample.cpus.resize(kernel.options().num_workers);
  CpuSample::Ticks sum{};
  for (const CpuSample::Ticks& cpu : sample.cpus)
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += cpu[i];
  std::string out;
  const auto append = [&out](std::string_view name, const CpuSample::Ticks& ticks) {
    out += name;
    for (uint64_t value : ticks) absl::StrAppend(&out, " ", value);
    out += '\n';
  };
  append("cpu ", sum);  // two blanks
  for (size_t i = 0; i < sample.cpus.size(); ++i) append(absl::StrCat("cpu", i), sample.cpus[i]);
  const int64_t boot_seconds =
      (kernel.clock().RealtimeNanos() - static_cast<int64_t>(UptimeNanos(kernel))) / kNanosPerSecond;
  absl::StrAppendFormat(&out, "ctxt %u\nbtime %d\nprocesses %u\nprocs_running %u\nprocs_blocked 0\n",
                        kernel.scheduler().num_switches(), boot_seconds, kernel.pids().num_groups(),
                        kernel.scheduler().num_runnable());
  return out;
}

ErrnoOr<std::string> UptimeText(Kernel& kernel) {
  const uint64_t up = UptimeNanos(kernel);
  CpuSample sample = kernel.host_metrics().SampleCpus();
  sample.cpus.resize(kernel.options().num_workers);
  uint64_t idle = 0;
  for (const CpuSample::Ticks& cpu : sample.cpus) idle += cpu[CpuSample::kIdle];
  return absl::StrFormat("%u.%02u %u.%02u\n", up / kNanosPerSecond, up / kNanosPerTick % 100, idle / 100, idle % 100);
}

// The averages are the host's, whose CPUs the guests share; the tasks are Remora's.
ErrnoOr<std::string> LoadavgText(Kernel& kernel) {
  std::string out;
  for (uint32_t average : kernel.host_metrics().SampleLoad().hundredths)
    absl::StrAppendFormat(&out, "%u.%02u ", average / 100, average % 100);
  absl::StrAppendFormat(&out, "%u/%u %d\n", kernel.scheduler().num_runnable(), kernel.scheduler().num_live(),
                        kernel.pids().last_number());
  return out;
}

ErrnoOr<std::string> VersionText(Kernel&) {
  return absl::StrFormat("Linux version %s (remora@remora) (clang) %s\n", kLinuxRelease, kLinuxVersion);
}

ErrnoOr<std::string> FilesystemsText(Kernel&) {
  return std::string("nodev\tproc\nnodev\ttmpfs\nnodev\tdevtmpfs\nnodev\toverlay\nnodev\thostfs\n");
}

ErrnoOr<std::string> HostnameText(Kernel& kernel) { return absl::StrCat(kernel.host_name(), "\n"); }
ErrnoOr<void> WriteHostname(Kernel& kernel, std::string_view text) {
  kernel.set_host_name(std::string(text.substr(0, std::min<size_t>(text.find('\n'), 64))));
  return Ok();
}

std::string Uuid(Kernel& kernel) {
  std::array<std::byte, 16> bytes;
  kernel.entropy().Fill(bytes);
  bytes[6] = (bytes[6] & std::byte{0x0f}) | std::byte{0x40};
  bytes[8] = (bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    absl::StrAppendFormat(&out, "%02x", static_cast<unsigned>(bytes[i]));
  }
  return out + "\n";
}
ErrnoOr<std::string> UuidText(Kernel& kernel) { return Uuid(kernel); }

ErrnoOr<std::string> OstypeText(Kernel&) { return std::string("Linux\n"); }
ErrnoOr<std::string> OsreleaseText(Kernel&) { return absl::StrFormat("%s\n", kLinuxRelease); }
ErrnoOr<std::string> KernelVersionText(Kernel&) { return absl::StrFormat("%s\n", kLinuxVersion); }
ErrnoOr<std::string> PidMaxText(Kernel& kernel) { return absl::StrCat(kernel.options().max_pid, "\n"); }
ErrnoOr<std::string> ThreadsMaxText(Kernel&) { return std::string("100000\n"); }
ErrnoOr<std::string> RandomizeText(Kernel&) { return std::string("2\n"); }
ErrnoOr<std::string> NgroupsText(Kernel&) { return std::string("65536\n"); }
ErrnoOr<std::string> CapLastText(Kernel&) { return std::string("40\n"); }
// Memory is handed out when it is touched, never promised: Linux's mode 1.
ErrnoOr<std::string> OvercommitText(Kernel&) { return std::string("1\n"); }
ErrnoOr<std::string> MmapMinText(Kernel&) { return std::string("65536\n"); }
ErrnoOr<std::string> MaxMapText(Kernel&) { return std::string("65530\n"); }
// No limit but that of each process: Linux's largest.
constexpr uint64_t kFileMax = INT64_MAX;
ErrnoOr<std::string> FileMaxText(Kernel&) { return absl::StrCat(kFileMax, "\n"); }
ErrnoOr<std::string> FileNrText(Kernel& kernel) {
  return absl::StrFormat("%u\t0\t%u\n", kernel.open_files().num_alive(), kFileMax);
}
ErrnoOr<std::string> NrOpenText(Kernel&) { return std::string("1048576\n"); }
ErrnoOr<std::string> PipeMaxText(Kernel&) { return std::string("1048576\n"); }

struct Entry {
  std::string_view path;
  ErrnoOr<std::string> (*generate)(Kernel&);
  ErrnoOr<void> (*write)(Kernel&, std::string_view) = nullptr;
};

// The table is the only source: directories follow from the paths.
constexpr Entry kEntries[] = {
    {"cpuinfo", CpuinfoText},
    {"filesystems", FilesystemsText},
    {"loadavg", LoadavgText},
    {"meminfo", MeminfoText},
    {"stat", StatText},
    {"uptime", UptimeText},
    {"version", VersionText},
    {"sys/fs/file-max", FileMaxText},
    {"sys/fs/file-nr", FileNrText},
    {"sys/fs/nr_open", NrOpenText},
    {"sys/fs/pipe-max-size", PipeMaxText},
    {"sys/kernel/cap_last_cap", CapLastText},
    {"sys/kernel/hostname", HostnameText, WriteHostname},
    {"sys/kernel/ngroups_max", NgroupsText},
    {"sys/kernel/osrelease", OsreleaseText},
    {"sys/kernel/ostype", OstypeText},
    {"sys/kernel/pid_max", PidMaxText},
    {"sys/kernel/random/uuid", UuidText},
    {"sys/kernel/randomize_va_space", RandomizeText},
    {"sys/kernel/threads-max", ThreadsMaxText},
    {"sys/kernel/version", KernelVersionText},
    {"sys/vm/max_map_count", MaxMapText},
    {"sys/vm/mmap_min_addr", MmapMinText},
    {"sys/vm/overcommit_memory", OvercommitText},
};

// The directories made so far, by path.
class Tree {
 public:
  Tree(fs::PseudoFileSystem* file_system, fs::PseudoDirectory* root) : file_system_(file_system) {
    directories_.emplace("", root);
  }

  void Add(std::string_view path, Ref<fs::Inode> inode) {
    const size_t slash = path.rfind('/');
    const std::string_view parent = slash == path.npos ? "" : path.substr(0, slash);
    DirectoryOf(parent)->Add(std::string(path.substr(slash == path.npos ? 0 : slash + 1)), std::move(inode));
  }

 private:
  fs::PseudoDirectory* DirectoryOf(std::string_view path) {
    if (const auto found = directories_.find(path); found != directories_.end()) return found->second;
    auto directory = MakeRef<fs::PseudoDirectory>(file_system_);
    fs::PseudoDirectory* raw = directory.get();
    directories_.emplace(std::string(path), raw);
    Add(path, std::move(directory));
    return raw;
  }

  fs::PseudoFileSystem* const file_system_;
  std::map<std::string, fs::PseudoDirectory*, std::less<>> directories_;
};

}  // namespace

void AddSystemFiles(Kernel* kernel, fs::PseudoFileSystem* file_system, fs::PseudoDirectory* root) {
  Tree tree(file_system, root);
  for (const Entry& entry : kEntries) {
    fs::SnapshotInode::WriteFunction write;
    if (entry.write != nullptr)
      write = [kernel, function = entry.write](std::string_view text) { return function(*kernel, text); };
    tree.Add(entry.path, MakeRef<fs::SnapshotInode>(
                             file_system, [kernel, function = entry.generate] { return function(*kernel); },
                             entry.write != nullptr ? 0644 : 0444, std::move(write)));
  }
  // One number for the life of the Kernel.
  const std::string boot_id = Uuid(*kernel);
  tree.Add("sys/kernel/random/boot_id",
           MakeRef<fs::SnapshotInode>(file_system, [boot_id]() -> ErrnoOr<std::string> { return boot_id; }));
  tree.Add("mounts", MakeRef<fs::PseudoSymlink>(file_system, [](const fs::CallerIds&) -> ErrnoOr<std::string> {
             return std::string("self/mounts");
           }));
}

}  // namespace remora::proc
