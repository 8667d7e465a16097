#include "proc/program_loader.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/abi/elf.h"
#include "base/abi/fcntl.h"
#include "base/abi/personality.h"
#include "base/abi/resource.h"
#include "base/abi/stat.h"
#include "cpu/cpuid.h"
#include "proc/elf_loader.h"
#include "proc/kernel.h"
#include "proc/program_stack.h"
#include "proc/script_line.h"
#include "proc/signal_frame.h"
#include "proc/thread_group.h"
#include "proc/vdso/vdso.h"

namespace remora::proc {

namespace {

constexpr int kMaxScriptDepth = 5;
constexpr int64_t kSlowFileRetryNanos = 1'000'000;
// Below the stack pointer, mapped from the start.
constexpr uint64_t kInitialStackSlackBytes = 128 << 10;

struct OpenedProgram {
  Ref<fs::File> file;
  fs::Attributes attributes;
  std::array<std::byte, kExecStartBytes> bytes{};
  size_t num_bytes = 0;
  std::span<const std::byte> start() const { return std::span(bytes).first(num_bytes); }
};

fs::WalkContext WalkContextOf(const Task& task) {
  fs::WalkContext context;
  context.root = task.fs_context()->root();
  context.start = task.fs_context()->cwd();
  context.credentials = *task.credentials();
  context.caller = {task.group().pid(), task.tid()};
  return context;
}

// One sentence; the first one that was found stays.
void Diagnose(std::string* diagnosis, std::string_view path, std::string_view what) {
  if (diagnosis && diagnosis->empty()) *diagnosis = absl::StrCat(std::string(path), ": ", std::string(what));
}

ErrnoOr<Ref<fs::File>> OpenByPath(Task& task, const std::string& path) {
  const fs::WalkContext context = WalkContextOf(task);
  REMORA_ASSIGN_OR_RETURN(const fs::Path found, task.kernel().vfs().Resolve(context, path));
  // What it is and whether it may be executed is asked below; reading it needs no right of its own, as in Linux.
  fs::WalkContext reader = context;
  reader.credentials.euid = reader.credentials.fsuid = 0;
  return task.kernel().vfs().OpenAt(reader, found, abi::kO_RDONLY);
}

// Opens (unless `file` is given), checks that it may be executed, reads its beginning.
ErrnoOr<OpenedProgram> OpenProgram(Task& task, const std::string& path, Ref<fs::File> file, std::string* diagnosis) {
  OpenedProgram program;
  if (!file) {
    ErrnoOr<Ref<fs::File>> opened = OpenByPath(task, path);
    if (!opened.ok()) {
      const int error = opened.error_number();
      if (error == ENOENT) Diagnose(diagnosis, path, "no such file");
      // A device without a driver, a socket: not executable whatever it is.
      return Errno(error == ENXIO ? EACCES : error);
    }
    file = *std::move(opened);
  }
  program.file = std::move(file);
  REMORA_ASSIGN_OR_RETURN(program.attributes, program.file->inode()->GetAttributes());
  if (program.attributes.is_directory()) {
    Diagnose(diagnosis, path, "is a directory");
    return Errno(EACCES);
  }
  if (!program.attributes.is_regular()) {
    Diagnose(diagnosis, path, "is not a regular file");
    return Errno(EACCES);
  }
  // root too needs one x bit.
  if ((program.attributes.mode & 0111) == 0 || !fs::Vfs::Permits(*task.credentials(), program.attributes, X_OK)) {
    Diagnose(diagnosis, path, "is not executable: permission denied");
    return Errno(EACCES);
  }
  REMORA_ASSIGN_OR_RETURN(program.num_bytes, ReadFileAt(*program.file, 0, program.bytes));
  return program;
}

// Follows #! lines until something else comes; argv and `path` become what that is to be run with.
ErrnoOr<OpenedProgram> FollowScripts(Task& task, const ExecRequest& request, std::vector<std::string>* argv,
                                     std::string* diagnosis) {
  std::string path = request.path;
  REMORA_ASSIGN_OR_RETURN(OpenedProgram program, OpenProgram(task, path, request.file, diagnosis));
  for (int depth = 0;; ++depth) {
    const std::string_view text(reinterpret_cast<const char*>(program.bytes.data()), program.num_bytes);
    auto line = ParseScriptLine(text);
    if (!line.ok()) {
      Diagnose(diagnosis, path, "has a #! line that names no interpreter");
      return line.error();
    }
    if (!*line) {
      if (!ElfImage::HasMagic(program.start()))
        Diagnose(diagnosis, path,
                 program.num_bytes == 0 ? "is an empty file" : "is neither an ELF program nor a script with a #! line");
      return program;
    }
    if (depth == kMaxScriptDepth) {
      Diagnose(diagnosis, path, "is a script whose interpreter is a script, more than 5 deep");
      return Errno(ELOOP);
    }
    // argv[0] gives way to the interpreter, its argument, and the script's path.
    (*argv)[0] = path;
    if ((*line)->argument) argv->insert(argv->begin(), *(*line)->argument);
    argv->insert(argv->begin(), (*line)->interpreter);
    std::string inner;
    auto next = OpenProgram(task, (*line)->interpreter, nullptr, &inner);
    if (!next.ok()) {
      Diagnose(diagnosis, path, absl::StrCat("its interpreter ", inner.empty() ? (*line)->interpreter : inner));
      return next.error();
    }
    path = (*line)->interpreter;
    program = *std::move(next);
  }
}

struct Interpreter {
  OpenedProgram program;
  ElfImage image;
};

ErrnoOr<std::optional<Interpreter>> OpenInterpreter(Task& task, const std::string& path, fs::File& file,
                                                    const ElfImage& image, std::string* diagnosis) {
  if (image.interpreter.length_bytes == 0) return std::optional<Interpreter>();
  std::vector<std::byte> name(image.interpreter.length_bytes);
  REMORA_ASSIGN_OR_RETURN(const uint64_t n, ReadFileAt(file, image.interpreter.offset, name));
  if (n != name.size() || name.back() != std::byte{0}) {
    Diagnose(diagnosis, path, "names its interpreter in a way that makes no sense");
    return Errno(ENOEXEC);
  }
  const std::string interpreter_path(reinterpret_cast<const char*>(name.data()));
  Interpreter result;
  std::string inner;
  ErrnoOr<OpenedProgram> opened = OpenProgram(task, interpreter_path, nullptr, &inner);
  if (!opened.ok()) {
    Diagnose(diagnosis, path, absl::StrCat("its ELF interpreter ", inner.empty() ? interpreter_path : inner));
    return opened.error();
  }
  result.program = *std::move(opened);
  inner.clear();
  ErrnoOr<ElfImage> parsed = ReadElfImage(*result.program.file, result.program.start(), &inner);
  if (!parsed.ok()) {
    Diagnose(diagnosis, path, absl::StrCat("its ELF interpreter ", interpreter_path, " ", inner));
    return Errno(parsed.error_number() == ENOEXEC ? ELIBBAD : parsed.error_number());
  }
  result.image = *std::move(parsed);
  return std::optional<Interpreter>(std::move(result));
}

std::vector<std::pair<uint64_t, uint64_t>> AuxiliaryVector(const Task& task, const ElfImage& image,
                                                           const MappedElf& mapped, uint64_t interpreter_base,
                                                           GuestAddr vdso) {
  const std::shared_ptr<const Credentials> credentials = task.credentials();
  const cpu::CpuLevel level = task.kernel().options().cpu_level;
  return {
      {abi::kAT_SYSINFO_EHDR, vdso.value()},
      {abi::kAT_MINSIGSTKSZ, MinSignalStackBytes(cpu::EnabledXstate(level))},
      {abi::kAT_HWCAP, cpu::Cpuid(1, 0, level).edx},
      {abi::kAT_PAGESZ, kPageSize},
      {abi::kAT_CLKTCK, 100},
      {abi::kAT_PHDR, mapped.headers_address},
      {abi::kAT_PHENT, sizeof(abi::Elf64Phdr)},
      {abi::kAT_PHNUM, image.num_headers},
      {abi::kAT_BASE, interpreter_base},
      {abi::kAT_FLAGS, 0},
      {abi::kAT_ENTRY, mapped.entry},
      {abi::kAT_UID, credentials->uid},
      {abi::kAT_EUID, credentials->euid},
      {abi::kAT_GID, credentials->gid},
      {abi::kAT_EGID, credentials->egid},
      {abi::kAT_SECURE, 0},
      {abi::kAT_RANDOM, 0},
      {abi::kAT_HWCAP2, level >= cpu::CpuLevel::kHost ? abi::kAT_HWCAP2_FSGSBASE : 0},
      {abi::kAT_EXECFN, 0},
      {abi::kAT_PLATFORM, 0},
  };
}

ErrnoOr<ProgramStack> PushStack(Task& task, mm::AddressSpace& space, ProgramStackInput input, bool executable_stack) {
  task.kernel().entropy().Fill(input.random_bytes);
  ProgramStack stack = BuildProgramStack(input);
  const uint64_t size = PageRoundUp(stack.bytes.size() + kInitialStackSlackBytes);
  mm::MapRequest request;
  request.address = input.top - size;
  request.length_bytes = size;
  request.placement = mm::MapRequest::Placement::kFixedNoReplace;
  request.protection = mm::Protection(executable_stack ? 7 : 3);
  request.grows_down = true;
  request.name = "[stack]";
  const ErrnoOr<GuestAddr> mapped = space.Map(std::move(request));
  if (!mapped.ok()) return Errno(ENOMEM);
  space.set_stack_limit(task.group().limit(abi::kRLIMIT_STACK).soft);
  if (space.WriteRemote(stack.stack_pointer, stack.bytes) != stack.bytes.size()) return Errno(ENOMEM);
  return stack;
}

// ADDR_NO_RANDOMIZE: the same for all programs, and for dynamic ones what Linux has then, but that [vvar] and [vdso]
// stay above the stack. Below it there is room for what it may grow to.
mm::AddressLayout FixedLayout(const mm::AddressLayout& random, uint64_t stack_limit) {
  constexpr uint64_t kExecutables = 0x555555554000;
  constexpr uint64_t kLeastGapBytes = 128 << 20, kMostStackBytes = uint64_t{8} << 30;
  constexpr uint64_t kGuardBytes = 1 << 20;  // what is kept free below a stack that grows
  const uint64_t gap = std::min(PageRoundDown(stack_limit), kMostStackBytes) + Vdso::kBytes + kGuardBytes;
  mm::AddressLayout layout = random;
  layout.stack_top = GuestAddr(kUserAddressEnd - Vdso::kBytes);
  layout.mmap_top = GuestAddr(kUserAddressEnd - std::max(gap, kLeastGapBytes));
  layout.executable_base = GuestAddr(kExecutables);
  layout.brk_gap_bytes = 0;
  return layout;
}

ErrnoOr<LoadedProgram> Load(Task& task, const ExecRequest& request, std::string* diagnosis) {
  const uint64_t stack_limit = task.group().limit(abi::kRLIMIT_STACK).soft;
  // Linux: a quarter of the stack limit, at least 128 KiB, at most 6 MiB.
  const uint64_t argument_limit = std::clamp<uint64_t>(stack_limit / 4, 128 << 10, 6 << 20);
  if (!CheckArgumentSize(request.argv, request.envp, argument_limit).ok()) {
    Diagnose(diagnosis, request.path, "its arguments and environment are too long");
    return Errno(E2BIG);
  }
  std::vector<std::string> argv = request.argv;
  if (argv.empty()) argv.emplace_back();
  REMORA_ASSIGN_OR_RETURN(const OpenedProgram program, FollowScripts(task, request, &argv, diagnosis));
  // A script's may be the path of its interpreter: the clause is about what was to be run.
  std::string clause;
  const ErrnoOr<ElfImage> parsed = ReadElfImage(*program.file, program.start(), &clause);
  if (!parsed.ok()) {
    Diagnose(diagnosis, argv[0] == request.argv.front() || request.argv.empty() ? request.path : argv[0], clause);
    return parsed.error();
  }
  const ElfImage& image = *parsed;
  REMORA_ASSIGN_OR_RETURN(const std::optional<Interpreter> interpreter,
                          OpenInterpreter(task, request.path, *program.file, image, diagnosis));

  Kernel& kernel = task.kernel();
  const mm::AddressLayout layout =
      task.HasPersonality(abi::kADDR_NO_RANDOMIZE) ? FixedLayout(kernel.layout(), stack_limit) : kernel.layout();
  LoadedProgram loaded;
  loaded.space = mm::AddressSpace::Create(&kernel.memory(), layout);
  clause.clear();
  const ErrnoOr<MappedElf> mapped =
      MapElf(*loaded.space, *program.file, image, layout.executable_base.value(), &clause);
  if (!mapped.ok()) {
    if (!clause.empty()) Diagnose(diagnosis, request.path, clause);
    return mapped.error();
  }
  loaded.entry = GuestAddr(mapped->entry);
  uint64_t interpreter_base = 0;
  if (interpreter) {
    const ErrnoOr<MappedElf> placed =
        MapElf(*loaded.space, *interpreter->program.file, interpreter->image, layout.interpreter_base.value(), nullptr);
    if (!placed.ok()) {
      Diagnose(diagnosis, request.path, "its ELF interpreter cannot be mapped");
      return placed.error();
    }
    interpreter_base = placed->bias;
    loaded.entry = GuestAddr(placed->entry);
  }
  const ErrnoOr<GuestAddr> vdso = kernel.vdso().Map(*loaded.space, layout.stack_top);
  if (!vdso.ok()) {
    Diagnose(diagnosis, request.path, "leaves no room for the vDSO");
    return vdso.error();
  }
  const GuestAddr heap(PageRoundUp(mapped->end) + layout.brk_gap_bytes);
  loaded.space->InitializeBreak(heap);

  ProgramStackInput input;
  input.top = layout.stack_top;
  input.executable_path = request.path;
  input.argv = std::move(argv);
  input.envp = request.envp;
  input.auxv = AuxiliaryVector(task, image, *mapped, interpreter_base, *vdso);
  REMORA_ASSIGN_OR_RETURN(ProgramStack stack, PushStack(task, *loaded.space, std::move(input), image.executable_stack));
  loaded.stack_pointer = stack.stack_pointer;

  mm::AddressSpace::ProgramInfo info;
  info.start_code = GuestAddr(mapped->start_code);
  info.end_code = GuestAddr(mapped->end_code);
  info.start_data = GuestAddr(mapped->start_data);
  info.end_data = GuestAddr(mapped->end_data);
  info.start_brk = heap;
  info.start_stack = stack.stack_pointer;
  info.arg_start = stack.arg_start;
  info.arg_end = stack.arg_end;
  info.env_start = stack.env_start;
  info.env_end = stack.env_end;
  info.auxv = std::move(stack.auxv);
  loaded.space->set_program_info(std::move(info));
  loaded.executable = program.file->path();
  loaded.name = request.path.substr(request.path.rfind('/') + 1);
  return loaded;
}

}  // namespace

ErrnoOr<LoadedProgram> LoadProgram(Task& task, const ExecRequest& request, std::string* diagnosis) {
  std::string sentence;
  ErrnoOr<LoadedProgram> result = Load(task, request, &sentence);
  if (!result.ok() && result.error_number() == EAGAIN) {
    task.park_deadline_nanos = task.kernel().clock().MonotonicNanos() + kSlowFileRetryNanos;
    if (sync::WaitQueue* arrivals = task.kernel().memory().page_arrivals)
      task.memory_wait = std::make_unique<MemoryWait>(&task, *arrivals);
  }
  if (!result.ok() && diagnosis) *diagnosis = std::move(sentence);
  return result;
}

void BecomeProgram(Task& task, LoadedProgram program) {
  task.tlb = nullptr;
  task.ReplaceSpace(std::move(program.space));
  task.cpu = cpu::CpuState();
  task.cpu.x87.registers = {};
  task.cpu.rip = program.entry.value();
  task.cpu.gpr[cpu::kRsp] = program.stack_pointer.value();
  task.restartable = false;
  task.personality.fetch_and(~abi::kREAD_IMPLIES_EXEC, std::memory_order_relaxed);
  task.alternate_stack = AlternateStack();
  task.set_name(program.name);
  task.group().set_executable(std::move(program.executable));
}

}  // namespace remora::proc
