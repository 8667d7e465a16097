#include "fs/special/pipe_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include <utility>

namespace remora::fs {
namespace {

constexpr uint32_t kODirect = 0040000;  // O_DIRECT: packets

}  // namespace

Ref<File> PipeFile::OpenAnonymous(Ref<Inode> inode, const Path& path, Ref<Pipe> pipe, uint32_t flags) {
  const uint32_t mode = flags & O_ACCMODE;
  auto end = pipe->Open(mode != O_WRONLY, mode != O_RDONLY, /*is_fifo=*/false, /*nonblocking=*/false);
  return MakeRef<PipeFile>(std::move(inode), path, flags, std::move(pipe), std::move(end).value());
}

ErrnoOr<Ref<File>> PipeFile::OpenFifo(Ref<Inode> inode, const Path& path, Ref<Pipe> pipe, uint32_t flags) {
  const uint32_t mode = flags & O_ACCMODE;
  REMORA_ASSIGN_OR_RETURN(Pipe::End end, pipe->Open(mode != O_WRONLY, mode == O_WRONLY || mode == O_RDWR,
                                                    /*is_fifo=*/true, (flags & O_NONBLOCK) != 0));
  return Ref<File>(MakeRef<PipeFile>(std::move(inode), path, flags, std::move(pipe), end));
}

PipeFile::PipeFile(Ref<Inode> inode, const Path& path, uint32_t flags, Ref<Pipe> pipe, Pipe::End end)
    : File(std::move(inode), path, flags), pipe_(std::move(pipe)), end_(end) {}

ErrnoOr<uint64_t> PipeFile::Read(mm::IoBuffer& to, uint64_t) { return pipe_->Read(to); }

ErrnoOr<uint64_t> PipeFile::Write(mm::IoBuffer& from, uint64_t) {
  return pipe_->Write(from, (flags() & kODirect) != 0);
}

ErrnoOr<uint64_t> PipeFile::Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument) {
  if (request != FIONREAD) return Errno(ENOTTY);
  const auto available = static_cast<int32_t>(pipe_->bytes_available());
  REMORA_RETURN_IF_ERROR(context.memory.Write(GuestAddr(argument), available));
  return 0u;
}

sync::Events PipeFile::Readiness(sync::Events interest) {
  return pipe_->Readiness(end_) & (interest | sync::kError | sync::kHangup);
}

std::string PipeFile::DescribePath() const {
  if (auto* anonymous = dynamic_cast<AnonymousInode*>(inode().get())) return anonymous->Describe();
  return File::DescribePath();
}

}  // namespace remora::fs
