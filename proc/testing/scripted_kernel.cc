#include "proc/testing/scripted_kernel.h"

#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/abi/elf.h"
#include "base/abi/fcntl.h"
#include "base/check.h"
#include "fs/tmpfs/tmpfs.h"
#include "mm/io_buffer.h"
#include "proc/exit.h"
#include "proc/thread_group.h"

namespace remora::proc {

class ScriptedKernel::Engine final : public cpu::Engine {
 public:
  explicit Engine(const ScriptedKernel* script) : script_(*script) {}
  cpu::Exit Run(cpu::CpuState& state, mm::Tlb& tlb, uint64_t budget, const std::atomic<uint32_t>& interrupt) override {
    const auto step = script_.steps_.find(state.rip);
    if (step != script_.steps_.end()) return step->second(state, tlb, budget, interrupt);
    state.gpr[cpu::kRax] = kDone;
    state.gpr[cpu::kRdi] = 99;
    return {.reason = cpu::ExitReason::kSyscall, .fault = {}, .instructions_retired = 1};
  }
  std::string_view name() const override { return "scripted"; }
  Counters counters() const override { return {}; }

 private:
  const ScriptedKernel& script_;
};

class ScriptedKernel::Dispatcher final : public SyscallDispatcher {
 public:
  explicit Dispatcher(const ScriptedKernel* script) : script_(*script) {}
  SyscallOutcome Dispatch(Task& task, mm::UserMemory memory) override {
    task.park_deadline_nanos = Task::kNoDeadline;
    if (task.syscall_number == kDone) {
      ExitGroup(task, static_cast<int32_t>(task.syscall_arg(0) & 0xff) << 8);
      return SyscallOutcome::NoReturn();
    }
    const auto call = script_.calls_.find(task.syscall_number);
    const SyscallOutcome outcome =
        call == script_.calls_.end() ? SyscallOutcome::Fail(ENOSYS) : call->second(task, memory);
    if (outcome.kind() != SyscallOutcome::Kind::kBlocked && outcome.value() != -kRestartBlock)
      task.syscall_state.reset();
    return outcome;
  }

 private:
  const ScriptedKernel& script_;
};

namespace {

// One page at 0x400000, readable and executable; its content is never run.
std::vector<std::byte> TinyProgram() {
  abi::Elf64Ehdr header = {};
  std::memcpy(header.e_ident, abi::kElfMagic, 4);
  header.e_ident[abi::kEI_CLASS] = abi::kELFCLASS64;
  header.e_ident[abi::kEI_DATA] = abi::kELFDATA2LSB;
  header.e_type = abi::kET_EXEC;
  header.e_machine = abi::kEM_X86_64;
  header.e_entry = ScriptedKernel::At(0);
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(abi::Elf64Phdr);
  header.e_phnum = 1;
  const abi::Elf64Phdr load = {
      abi::kPT_LOAD, abi::kPF_R | abi::kPF_W | abi::kPF_X, 0, ScriptedKernel::At(0), 0, 4096, 8192, 4096};
  std::vector<std::byte> file(4096);
  std::memcpy(file.data(), &header, sizeof(header));
  std::memcpy(file.data() + sizeof(header), &load, sizeof(load));
  return file;
}

}  // namespace

ScriptedKernel::ScriptedKernel(uint32_t num_workers) : dispatcher_(std::make_unique<Dispatcher>(this)) {
  Kernel::Options options;
  options.num_workers = num_workers;
  options.max_memory_bytes = uint64_t{256} << 20;
  options.dispatcher = dispatcher_.get();
  options.make_engine = [this](cpu::BlockCache*) { return std::make_unique<Engine>(this); };
  kernel_ = std::make_unique<Kernel>(std::move(options));
  fs::Vfs& vfs = kernel_->vfs();
  vfs.MountRoot(MakeRef<fs::Tmpfs>(&kernel_->memory(), &kernel_->clock(), &devices_, vfs.NewDeviceId()), 0);
}

ScriptedKernel::~ScriptedKernel() = default;

void ScriptedKernel::CallAt(uint64_t n, uint64_t number, uint64_t a, uint64_t b) {
  OnStep(n, [=](cpu::CpuState& state, mm::Tlb&, uint64_t, const std::atomic<uint32_t>&) {
    state.rip += 2;  // a SYSCALL instruction, and the next step's address is reached by the first half of this one
    state.gpr[cpu::kRax] = number;
    state.gpr[cpu::kRdi] = a;
    state.gpr[cpu::kRsi] = b;
    return cpu::Exit{.reason = cpu::ExitReason::kSyscall, .fault = {}, .instructions_retired = 1};
  });
  steps_[At(n) + 2] = [n](cpu::CpuState& state, mm::Tlb&, uint64_t, const std::atomic<uint32_t>&) {
    state.rip = At(n + 1);
    return cpu::Exit{.reason = cpu::ExitReason::kBudget, .fault = {}, .instructions_retired = 1};
  };
}

void ScriptedKernel::SpinAt(uint64_t n) {
  OnStep(n, [](cpu::CpuState&, mm::Tlb&, uint64_t budget, const std::atomic<uint32_t>& interrupt) {
    for (int i = 0; i < 1000; ++i) {
      if (interrupt.load() != 0)
        return cpu::Exit{.reason = cpu::ExitReason::kInterrupt, .fault = {}, .instructions_retired = 1};
    }
    return cpu::Exit{.reason = cpu::ExitReason::kBudget, .fault = {}, .instructions_retired = budget};
  });
}

int32_t ScriptedKernel::Run() {
  {
    const sync::Reclaimer::ReadSection section(&kernel_->reclaimer());
    fs::Vfs& vfs = kernel_->vfs();
    fs::WalkContext context;
    context.root = context.start = vfs.root();
    {
      const auto file =
          vfs.Open(context, "/program", {.flags = abi::kO_WRONLY | abi::kO_CREAT, .permissions = 0755, .resolve = 0});
      CHECK(file.ok());
      std::vector<std::byte> bytes = TinyProgram();
      mm::KernelBuffer buffer(mm::IoBuffer::Direction::kDrain, bytes);
      CHECK(*(*file)->Write(buffer, 0) == bytes.size());
    }
    Kernel::FirstProcess first;
    first.exec.path = "/program";
    first.exec.argv = {"program"};
    first.fds = MakeRef<fs::FdTable>(&kernel_->reclaimer(), fs::FdTable::kMaxFds, &kernel_->open_files());
    first.fs_context = MakeRef<FsContext>(context.root, context.start, 022);
    const absl::Status started = kernel_->Start(std::move(first), nullptr);
    CHECK_MSG(started.ok(), std::string(started.message()).c_str());
  }
  return kernel_->Run();
}

void ScriptedKernel::Log(std::string line) {
  MutexLock lock(&mu_);
  log_ += line + ";";
}

std::string ScriptedKernel::log() const {
  MutexLock lock(&mu_);
  return log_;
}

}  // namespace remora::proc
