#include "runner/translation_files.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/entropy.h"
#include "runner/guests_reach.h"

namespace remora::runner {
namespace {

constexpr std::string_view kImageEnd = ".translations";
constexpr char kSeedName[] = "layout";
constexpr int kReadFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
// Whether the next run gains more than it takes to write: a program does not come by quite the same code each time.
bool IsWorthAFile(const cpu::translator::TranslationStore& store) {
  constexpr uint64_t kManyNew = 32, kForPath = 16;  // blocks, pages, and what a path counts for
  constexpr uint64_t kWholeProgram = 8;             // pages
  const bool is_new_program = store.num_new_pages() >= kWholeProgram && 2 * store.num_new_pages() > store.num_pages();
  return store.num_added() + kForPath * store.num_added_paths() >= kManyNew || is_new_program;
}

constexpr std::string_view kUnfinished = "new-";
// How old the time of a file's last use may be told; how old a file is that nobody writes any more.
constexpr time_t kUseResolution = 24 * 60 * 60, kAbandoned = 60 * 60;

// A descriptor, closed at the end.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  bool ok() const { return fd_ >= 0; }
  int get() const { return fd_; }

 private:
  const int fd_;
};

bool IsOurs(const struct stat& status) {
  return status.st_uid == geteuid() && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

// Whether it is the caller's own folder, and no other machine can take a file away that is mapped from there.
bool IsForOneselfAlone(const std::string& folder) {
  constexpr std::array<uint32_t, 10> kShared = {NFS_SUPER_MAGIC,  SMB_SUPER_MAGIC, CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC,
                                                AFS_SUPER_MAGIC,  AFS_FS_MAGIC,    CODA_SUPER_MAGIC, CEPH_SUPER_MAGIC,
                                                FUSE_SUPER_MAGIC, V9FS_MAGIC};
  struct stat status;
  struct statfs system;
  return stat(folder.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && IsOurs(status) &&
         statfs(folder.c_str(), &system) == 0 &&
         std::ranges::find(kShared, static_cast<uint32_t>(system.f_type)) == kShared.end();
}

time_t Now() {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec;
}

std::string ImageName(uint64_t settings) {
  return absl::StrFormat("%016x-%016x", settings, HostEntropy().NextU64()) + std::string(kImageEnd);
}

// Calls visit(name) for each entry.
void ForEachName(int folder_fd, const std::function<void(std::string_view)>& visit) {
  const int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const folder = fd < 0 ? nullptr : fdopendir(fd);
  if (folder == nullptr) {
    if (fd >= 0) close(fd);
    return;
  }
  while (const dirent* entry = readdir(folder)) visit(entry->d_name);
  closedir(folder);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TranslationFiles>> TranslationFiles::Open(const std::string& folder, uint64_t settings,
                                                                         std::span<const std::string> guests_own) {
  const auto look = [&]() -> absl::Status {
    const std::optional<std::string> guests = GuestsFolderOnTheWay(folder, guests_own);
    if (!guests) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat(folder, ": the guest may write there (", *guests, "), and so run code in this process"));
  };
  if (absl::Status out_of_reach = look(); !out_of_reach.ok()) return out_of_reach;
  std::unique_ptr<TranslationFiles> files(new TranslationFiles(folder));
  if (absl::Status opened = files->OpenFolder(); !opened.ok()) return opened;
  // What has just been made may be the guest's.
  if (absl::Status out_of_reach = look(); !out_of_reach.ok()) return out_of_reach;
  const absl::StatusOr<uint64_t> seed = files->ReadSeed();
  if (!seed.ok()) return seed.status();
  files->layout_entropy_.emplace(*seed);
  // What belongs to another layout is of no use, and shall grow old.
  files->settings_ = settings ^ SeededEntropy(~*seed).NextU64();
  files->store_.emplace(files->settings_);
  files->ReadImages();
  return files;
}

std::unique_ptr<TranslationFiles> TranslationFiles::OpenUsual(uint64_t settings,
                                                              std::span<const std::string> guests_own) {
  const auto value_of = [](const char* name) -> std::string {
    const char* const value = std::getenv(name);
    return value != nullptr && value[0] == '/' ? value : "";
  };
  std::string cache = value_of("XDG_CACHE_HOME");
  if (cache.empty()) {
    const std::string home = value_of("HOME");
    if (home.empty() || home == "/" || !IsForOneselfAlone(home)) return nullptr;
    cache = home + "/.cache";
    if (GuestsFolderOnTheWay(cache, guests_own)) return nullptr;
    (void)mkdir(cache.c_str(), 0700);
  }
  if (!IsForOneselfAlone(cache)) return nullptr;
  const std::string folder = cache + "/remora";
  absl::StatusOr<std::unique_ptr<TranslationFiles>> files = Open(folder, settings, guests_own);
  return files.ok() && IsForOneselfAlone(folder) ? *std::move(files) : nullptr;
}

TranslationFiles::~TranslationFiles() {
  for (const Image& image : images_) munmap(const_cast<std::byte*>(image.bytes.data()), image.bytes.size());
  if (folder_fd_ >= 0) close(folder_fd_);
}

absl::Status TranslationFiles::Failure(const std::string& name) const {
  return absl::FailedPreconditionError(
      absl::StrCat(folder_, name.empty() ? "" : "/", name, ": ", strerrordesc_np(errno)));
}

absl::Status TranslationFiles::OpenFolder() {
  if (mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) return Failure("");
  folder_fd_ = open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat status;
  if (folder_fd_ < 0 || fstat(folder_fd_, &status) != 0) return Failure("");
  if (IsOurs(status)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(folder_, ": others may write there, and so run code in this process"));
}

absl::StatusOr<uint64_t> TranslationFiles::ReadSeed() {
  constexpr int kTries = 3;  // another run may make it at the same time
  for (int i = 0; i < kTries; ++i) {
    const Fd file(openat(folder_fd_, kSeedName, kReadFlags));
    uint64_t seed;
    if (file.ok()) {
      struct stat status;
      if (fstat(file.get(), &status) != 0) return Failure(kSeedName);
      if (!IsOurs(status) || !S_ISREG(status.st_mode))
        return absl::FailedPreconditionError(absl::StrCat(folder_, "/", kSeedName, ": not a file of the caller's own"));
      if (read(file.get(), &seed, sizeof(seed)) == sizeof(seed)) return seed;
    } else if (errno != ENOENT) {
      return Failure(kSeedName);
    }
    seed = HostEntropy().NextU64();
    // What is cut off is replaced.
    const absl::Status written = Write(kSeedName, /*replace=*/file.ok(), [&](cpu::translator::ByteSink sink) {
      sink(std::as_bytes(std::span(&seed, 1)));
    });
    if (!written.ok()) return written;
  }
  return absl::FailedPreconditionError(absl::StrCat(folder_, "/", kSeedName, ": cannot be read"));
}

void TranslationFiles::ReadImages() {
  const std::string prefix = absl::StrFormat("%016x-", settings_);
  ForEachName(folder_fd_, [&](std::string_view name) {
    if (!name.starts_with(prefix) || !name.ends_with(kImageEnd)) return;
    const std::string file_name(name);
    const Fd file(openat(folder_fd_, file_name.c_str(), kReadFlags));
    struct stat status;
    if (!file.ok() || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) || !IsOurs(status)) return;
    const auto size = static_cast<size_t>(status.st_size);
    void* const memory = size == 0 ? MAP_FAILED : mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (memory == MAP_FAILED) return;
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(memory), size);
    if (!store_->AddImage(bytes)) {
      munmap(memory, size);
      unlinkat(folder_fd_, file_name.c_str(), 0);  // cut off, say
      return;
    }
    images_.push_back({file_name, bytes});
    if (Now() - status.st_mtim.tv_sec > kUseResolution) futimens(file.get(), nullptr);
  });
  std::ranges::sort(images_, {}, [](const Image& image) { return image.bytes.size(); });
}

absl::Status TranslationFiles::Write(const std::string& name, bool replace,
                                     absl::FunctionRef<void(cpu::translator::ByteSink sink)> produce) {
  const std::string unfinished = std::string(kUnfinished) + absl::StrFormat("%016x", HostEntropy().NextU64());
  absl::Status result = absl::OkStatus();
  {
    const Fd file(openat(folder_fd_, unfinished.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file.ok()) return Failure(name);
    const auto write_all = [&](std::span<const std::byte> bytes) {
      while (!bytes.empty() && result.ok()) {
        const ssize_t written = write(file.get(), bytes.data(), bytes.size());
        if (written > 0)
          bytes = bytes.subspan(static_cast<size_t>(written));
        else if (errno != EINTR)
          result = Failure(name);
      }
    };
    constexpr size_t kBufferBytes = 1 << 18;
    std::vector<std::byte> buffer;
    buffer.reserve(kBufferBytes);
    const auto flush = [&] {
      write_all(buffer);
      buffer.clear();
    };
    produce([&](std::span<const std::byte> bytes) {
      if (buffer.size() + bytes.size() > kBufferBytes) flush();
      if (bytes.size() > kBufferBytes) return write_all(bytes);
      buffer.insert(buffer.end(), bytes.begin(), bytes.end());
    });
    flush();
  }
  if (result.ok() && replace && renameat(folder_fd_, unfinished.c_str(), folder_fd_, name.c_str()) != 0)
    result = Failure(name);
  if (result.ok() && !replace && linkat(folder_fd_, unfinished.c_str(), folder_fd_, name.c_str(), 0) != 0 &&
      errno != EEXIST)
    result = Failure(name);
  if (!result.ok() || !replace) unlinkat(folder_fd_, unfinished.c_str(), 0);
  return result;
}

absl::Status TranslationFiles::Save() {
  const bool is_worth_a_file = IsWorthAFile(*store_);
  if (!is_worth_a_file && images_.size() <= kMaxImages) return absl::OkStatus();
  uint64_t bytes = store_->added_bytes();
  std::vector<std::span<const std::byte>> replaced;
  for (const Image& image : images_) {
    const bool are_many = images_.size() - replaced.size() >= kMaxImages;
    if ((image.bytes.size() > 2 * bytes && !are_many) || bytes + image.bytes.size() > kMaxBytes / 2) break;
    bytes += image.bytes.size();
    replaced.push_back(image.bytes);
  }
  if (!is_worth_a_file && replaced.size() < 2) return absl::OkStatus();
  const absl::Status written = Write(ImageName(settings_), /*replace=*/true,
                                     [&](cpu::translator::ByteSink sink) { store_->WriteImage(replaced, sink); });
  if (!written.ok()) return written;
  for (size_t i = 0; i < replaced.size(); ++i) unlinkat(folder_fd_, images_[i].name.c_str(), 0);
  RemoveOldest();
  return absl::OkStatus();
}

void TranslationFiles::RemoveOldest() {
  struct File {
    std::string name;
    time_t used;
    uint64_t bytes;
  };
  std::vector<File> files;
  uint64_t bytes = 0;
  ForEachName(folder_fd_, [&](std::string_view name) {
    const bool is_unfinished = name.starts_with(kUnfinished);
    File file = {.name = std::string(name), .used = 0, .bytes = 0};
    struct stat status;
    if ((!is_unfinished && !name.ends_with(kImageEnd)) ||
        fstatat(folder_fd_, file.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return;
    if (is_unfinished) {
      // Of a run that was killed.
      if (Now() - status.st_mtim.tv_sec > kAbandoned) unlinkat(folder_fd_, file.name.c_str(), 0);
      return;
    }
    file.used = status.st_mtim.tv_sec;
    file.bytes = static_cast<uint64_t>(status.st_size);
    bytes += file.bytes;
    files.push_back(std::move(file));
  });
  std::ranges::sort(files, {}, &File::used);
  for (size_t i = 0; i + 1 < files.size() && bytes > kMaxBytes; ++i) {
    unlinkat(folder_fd_, files[i].name.c_str(), 0);
    bytes -= files[i].bytes;
  }
}

std::span<const std::byte> BuildId() {
  std::span<const std::byte> id;
  // The first object is the program itself.
  dl_iterate_phdr(
      [](dl_phdr_info* program, size_t, void* found) {
        for (size_t i = 0; i < program->dlpi_phnum; ++i) {
          const ElfW(Phdr)& header = program->dlpi_phdr[i];
          if (header.p_type != PT_NOTE) continue;
          const auto* at = reinterpret_cast<const std::byte*>(program->dlpi_addr + header.p_vaddr);
          const auto padded = [](size_t bytes) { return (bytes + 3) & ~size_t{3}; };
          for (size_t left = header.p_memsz; left >= sizeof(ElfW(Nhdr));) {
            ElfW(Nhdr) note;
            std::memcpy(&note, at, sizeof(note));
            const size_t whole = sizeof(note) + padded(note.n_namesz) + padded(note.n_descsz);
            if (whole > left) break;
            const std::byte* const description = at + sizeof(note) + padded(note.n_namesz);
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof(ELF_NOTE_GNU) &&
                std::memcmp(at + sizeof(note), ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) == 0)
              *static_cast<std::span<const std::byte>*>(found) = {description, note.n_descsz};
            at += whole;
            left -= whole;
          }
        }
        return 1;
      },
      &id);
  return id;
}

}  // namespace remora::runner
