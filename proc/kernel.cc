#include "proc/kernel.h"

#include <string.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/abi/signal.h"
#include "base/check.h"
#include "base/thread_heap.h"
#include "fs/special/epoll_nesting.h"
#include "mm/reverse_map.h"
#include "net/unix_namespace.h"
#include "proc/ipc/ipc_namespace.h"
#include "proc/pid_table.h"
#include "proc/process_tree.h"
#include "proc/program_loader.h"
#include "proc/scheduler.h"
#include "proc/signal_state.h"
#include "proc/task_builder.h"
#include "proc/terminal_caller.h"
#include "proc/thread_group.h"
#include "proc/vdso/vdso.h"
#include "proc/worker.h"

namespace remora::proc {

namespace {

// As Linux: 22 random bits of pages for the stack, 28 for mmap and for executables, 32 MiB for the heap's gap.
mm::AddressLayout RandomLayout(Entropy& entropy, Entropy& of_code) {
  constexpr uint64_t kStackBits = 22, kMmapBits = 28, kBrkBits = 13;
  constexpr uint64_t kGapBytes = uint64_t{8} << 30;  // what the stack may grow to
  mm::AddressLayout layout;
  // Above it lie [vvar] and [vdso].
  layout.stack_top = GuestAddr(kUserAddressEnd - Vdso::kBytes - entropy.Below(uint64_t{1} << kStackBits) * kPageSize);
  layout.mmap_top = GuestAddr(kUserAddressEnd - ((uint64_t{1} << kStackBits) * kPageSize + kGapBytes) -
                              of_code.Below(uint64_t{1} << kMmapBits) * kPageSize);
  layout.executable_base = GuestAddr(0x555555554000 + of_code.Below(uint64_t{1} << kMmapBits) * kPageSize);
  layout.brk_gap_bytes = entropy.Below(uint64_t{1} << kBrkBits) * kPageSize;
  return layout;
}

}  // namespace

// Members stand in the order in which they need each other; ~Kernel empties before the destructors run.
struct Kernel::Impl {
  Impl(Kernel* kernel, Options given)
      : options(std::move(given)),
        clock(options.clock ? options.clock : &host_clock),
        entropy(options.entropy ? options.entropy : &host_entropy),
        host_metrics(options.host_files ? options.host_files : &real_host_files),
        layout(RandomLayout(*entropy, options.layout_entropy ? *options.layout_entropy : *entropy)),
        frames(mm::FramePool::Options{options.max_memory_bytes}),
        reverse_map(&frames),
        memory{&frames, &reclaimer, &reverse_map},
        vdso(std::make_unique<Vdso>(&memory, options.engines_show_host_tsc ? clock : nullptr)),
        blocks(&frames, &reclaimer),
        vfs(std::make_unique<fs::Vfs>(clock, &reclaimer)),
        pids(std::make_unique<PidTable>(&reclaimer, options.max_pid)),
        tree(pids.get()),
        scheduler(clock, options.num_workers),
        terminal_signals(kernel),
        terminals(&terminal_signals) {}

  const Options options;
  HostClock host_clock;
  HostEntropy host_entropy;
  Clock* const clock;
  Entropy* const entropy;
  RealHostFiles real_host_files;
  const HostMetrics host_metrics;
  const mm::AddressLayout layout;

  mm::FramePool frames;
  mm::ReverseMap reverse_map;
  // Before whatever has files and tasks.
  StripedCounter open_files, tasks_alive;
  sync::Reclaimer reclaimer;
  mm::MemoryContext memory;
  std::unique_ptr<Vdso> vdso;
  IpcNamespace ipc;
  cpu::BlockCache blocks;
  const Ref<fs::EpollNesting> epoll_nesting = MakeRef<fs::EpollNesting>();
  const Ref<net::UnixNamespace> unix_names = MakeRef<net::UnixNamespace>();
  std::unique_ptr<fs::Vfs> vfs;
  sync::FutexTable futexes;
  sync::WaitQueue signal_arrivals;
  std::unique_ptr<PidTable> pids;
  ProcessTree tree;
  Scheduler scheduler;
  KernelTerminalSignals terminal_signals;
  fs::TerminalSessions terminals;

  std::atomic<uint64_t> next_serial{1};
  fs::SnapshotCounters snapshots;

  Ref<ThreadGroup> first;  // set by Start
  std::atomic<int32_t> first_status{0};
  std::atomic<bool> shutting_down{false};

  Mutex mu{LockRank::kLeaf};
  std::string host_name ABSL_GUARDED_BY(mu);
  std::vector<std::unique_ptr<Worker>> workers ABSL_GUARDED_BY(mu);
};

Kernel::Kernel(Options options) : impl_(std::make_unique<Impl>(this, std::move(options))) {
  CHECK_MSG(impl_->options.dispatcher != nullptr && impl_->options.make_engine, "a Kernel needs calls and an engine");
  impl_->options.dispatcher->Prepare(impl_->options.num_workers);
  {
    MutexLock lock(&impl_->mu);
    impl_->host_name = impl_->options.host_name;
  }
  impl_->frames.set_code_observer(&impl_->blocks);
  // 1 is Remora itself, the parent of orphans.
  const ErrnoOr<int32_t> own = impl_->pids->Allocate();
  CHECK(own.ok() && *own == 1);
}

Kernel::~Kernel() {
  // What tasks and files still hold goes while everything that they may touch is there.
  std::vector<std::unique_ptr<Worker>> workers;
  {
    MutexLock lock(&impl_->mu);
    workers.swap(impl_->workers);
  }
  workers.clear();
  impl_->first.reset();
  impl_->pids.reset();
  while (impl_->reclaimer.num_pending() != 0) impl_->reclaimer.Collect();
  impl_->unix_names->CloseAll();
  // Nobody runs code any more: it goes with the cache, not frame by frame with the files' pages.
  impl_->frames.set_code_observer(nullptr);
  impl_->vfs.reset();
  impl_->vdso.reset();
  while (impl_->reclaimer.num_pending() != 0) impl_->reclaimer.Collect();
}

absl::Status Kernel::Start(FirstProcess first, int* error_number) {
  CHECK(!impl_->first);
  const sync::Reclaimer::ReadSection section(&impl_->reclaimer);
  const auto fail = [&](int error, std::string message) {
    if (error_number) *error_number = error;
    return error == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
  };
  const ErrnoOr<int32_t> pid = impl_->pids->Allocate();
  if (!pid.ok()) return fail(pid.error_number(), "no process number is free");
  Ref<ThreadGroup> group = TaskBuilder::NewGroup(this, *pid);
  Ref<Task> task = TaskBuilder::NewTask(this, *pid, group);
  task->set_credentials(std::make_shared<const Credentials>(first.credentials));
  task->ReplaceFds(std::move(first.fds));
  task->ReplaceFsContext(std::move(first.fs_context));
  for (const auto& [resource, limit] : first.attributes.limits) group->set_limit(resource, limit);
  SignalAction ignore;
  ignore.handler = abi::kSIG_IGN;
  for (int signal = 1; signal <= kNumSignals; ++signal)
    if (first.attributes.ignored_signals.Contains(signal)) group->ExchangeAction(signal, ignore);
  task->set_blocked_signals(first.attributes.blocked_signals);
  task->nice = first.attributes.nice;

  std::string diagnosis;
  // No worker runs yet, so this thread may wait for a slow host file.
  ErrnoOr<LoadedProgram> program = LoadProgram(*task, first.exec, &diagnosis);
  while (!program.ok() && program.error_number() == EAGAIN) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    program = LoadProgram(*task, first.exec, &diagnosis);
  }
  if (!program.ok()) {
    const int error = program.error_number();
    task->ReplaceFds(nullptr);
    task->ReplaceFsContext(nullptr);
    impl_->pids->Remove(*pid);
    if (diagnosis.empty()) diagnosis = absl::StrCat(first.exec.path, ": ", strerrordesc_np(error));
    return fail(error, std::move(diagnosis));
  }
  BecomeProgram(*task, *std::move(program));
  CHECK(SignalState::AddTask(*group, task));
  impl_->pids->Publish(*pid, task);
  impl_->tree.AddFirst(*group);
  impl_->first = group;
  impl_->scheduler.Add(*task);
  if (error_number) *error_number = 0;
  return absl::OkStatus();
}

int32_t Kernel::Run() {
  CHECK(impl_->first);
  std::vector<std::unique_ptr<Worker>> workers;
  for (uint32_t i = 0; i < impl_->options.num_workers; ++i) workers.push_back(std::make_unique<Worker>(this, i));
  std::vector<std::thread> threads;
  for (auto& worker : workers)
    threads.emplace_back([worker = worker.get()] {
      ReserveThreadHeap();
      worker->Run();
    });
  {
    MutexLock lock(&impl_->mu);
    impl_->workers = std::move(workers);
  }
  for (std::thread& thread : threads) thread.join();
  return impl_->first_status.load(std::memory_order_acquire);
}

bool Kernel::OnProcessDead(ThreadGroup& group, int32_t status) {
  const bool is_first = &group == impl_->first.get();
  const auto credentials = [&] {
    const Ref<Task> leader = impl_->pids->FindTask(group.pid());
    return leader ? leader->credentials() : nullptr;
  }();
  if (impl_->tree.OnDead(group, status, credentials ? credentials->uid : 0)) impl_->pids->Remove(group.pid());
  if (!is_first) return false;
  impl_->first_status.store(status, std::memory_order_release);
  impl_->shutting_down.store(true, std::memory_order_seq_cst);
  for (Ref<ThreadGroup> other = impl_->pids->NextGroup(1); other; other = impl_->pids->NextGroup(other->pid() + 1))
    if (other.get() != &group) SignalState::BeginGroupExit(*other, abi::kSIGKILL);
  return true;
}

bool Kernel::shutting_down() const { return impl_->shutting_down.load(std::memory_order_seq_cst); }

void Kernel::OnTaskRetired() {
  if (shutting_down() && impl_->scheduler.num_live() == 0) impl_->scheduler.Stop();
}

Clock& Kernel::clock() const { return *impl_->clock; }
const Vdso& Kernel::vdso() const { return *impl_->vdso; }
Entropy& Kernel::entropy() const { return *impl_->entropy; }
fs::Vfs& Kernel::vfs() const { return *impl_->vfs; }
fs::EpollNesting& Kernel::epoll_nesting() const { return *impl_->epoll_nesting; }
IpcNamespace& Kernel::ipc() const { return impl_->ipc; }
net::UnixNamespace& Kernel::unix_names() const { return *impl_->unix_names; }
fs::TerminalSessions& Kernel::terminals() const { return impl_->terminals; }
mm::MemoryContext& Kernel::memory() const { return impl_->memory; }
mm::FramePool& Kernel::frames() const { return impl_->frames; }
sync::FutexTable& Kernel::futexes() const { return impl_->futexes; }
sync::WaitQueue& Kernel::signal_arrivals() const { return impl_->signal_arrivals; }
StripedCounter& Kernel::open_files() const { return impl_->open_files; }
StripedCounter& Kernel::tasks_alive() const { return impl_->tasks_alive; }
sync::Reclaimer& Kernel::reclaimer() const { return impl_->reclaimer; }
cpu::BlockCache& Kernel::blocks() const { return impl_->blocks; }
PidTable& Kernel::pids() const { return *impl_->pids; }
ProcessTree& Kernel::tree() const { return impl_->tree; }
Scheduler& Kernel::scheduler() const { return impl_->scheduler; }
const mm::AddressLayout& Kernel::layout() const { return impl_->layout; }
const Kernel::Options& Kernel::options() const { return impl_->options; }
uint64_t Kernel::NewProcessSerial() { return impl_->next_serial.fetch_add(1, std::memory_order_relaxed); }
fs::SnapshotCounters& Kernel::snapshots() const { return impl_->snapshots; }
const HostMetrics& Kernel::host_metrics() const { return impl_->host_metrics; }

MemorySample GuestMemory(const Kernel& kernel) {
  return WithinLimit(kernel.host_metrics().SampleMemory(), kernel.frames().max_frames() * kPageSize,
                     kernel.frames().num_allocated() * kPageSize);
}

Ref<ThreadGroup> Kernel::first_group() const { return impl_->first; }

std::string Kernel::host_name() const {
  MutexLock lock(&impl_->mu);
  return impl_->host_name;
}
void Kernel::set_host_name(std::string name) {
  MutexLock lock(&impl_->mu);
  impl_->host_name = std::move(name);
}

Kernel::Counters Kernel::counters() const {
  Counters sum;
  sum.task_switches = impl_->scheduler.num_switches();
  sum.hole_searches = impl_->memory.hole_searches.load(std::memory_order_relaxed);
  MutexLock lock(&impl_->mu);
  for (const auto& worker : impl_->workers) {
    const cpu::Engine::Counters engine = worker->engine_counters();
    sum.engine.instructions += engine.instructions;
    sum.engine.blocks_decoded += engine.blocks_decoded;
    sum.engine.guest_bytes_translated += engine.guest_bytes_translated;
    sum.engine.host_bytes_translated += engine.host_bytes_translated;
    sum.engine.blocks_adopted += engine.blocks_adopted;
    sum.engine.paths_made_again += engine.paths_made_again;
    sum.engine.blocks_entered_slowly += engine.blocks_entered_slowly;
    sum.engine.memory_accesses += engine.memory_accesses;
    sum.engine.slow_memory_accesses += engine.slow_memory_accesses;
    const mm::Tlb::Counters tlb = worker->tlb_counters();
    sum.tlb.hits += tlb.hits;
    sum.tlb.way_hits += tlb.way_hits;
    sum.tlb.misses += tlb.misses;
    sum.tlb.evictions_by_conflict += tlb.evictions_by_conflict;
    sum.tlb.evictions_by_range += tlb.evictions_by_range;
    sum.tlb.evictions_by_flush += tlb.evictions_by_flush;
    sum.peak_scratch_bytes += worker->peak_scratch_bytes();
  }
  return sum;
}

}  // namespace remora::proc
