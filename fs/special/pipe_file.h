#ifndef REMORA_FS_SPECIAL_PIPE_FILE_H_
#define REMORA_FS_SPECIAL_PIPE_FILE_H_

#include <cstdint>
#include <string>

#include "fs/file.h"
#include "fs/special/pipe.h"

namespace remora::fs {

// One open end of a pipe or FIFO. The syscall layer raises SIGPIPE where Write answers EPIPE.
class PipeFile final : public File {
 public:
  // An end of a pipe without a name.
  static Ref<File> OpenAnonymous(Ref<Inode> inode, const Path& path, Ref<Pipe> pipe, uint32_t flags);
  // An end of a FIFO: see Pipe::Open. ENXIO.
  static ErrnoOr<Ref<File>> OpenFifo(Ref<Inode> inode, const Path& path, Ref<Pipe> pipe, uint32_t flags);

  // The file as a pipe's end; null if it is something else.
  static PipeFile* From(File& file) { return dynamic_cast<PipeFile*>(&file); }
  Pipe& pipe() const { return *pipe_; }

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) override;
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t offset) override;
  ErrnoOr<uint64_t> Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument) override;
  bool open_pending() override { return pipe_->OpenPending(end_); }
  ErrnoOr<uint64_t> PipeCapacity() override { return pipe_->capacity_bytes(); }
  ErrnoOr<uint64_t> SetPipeCapacity(uint64_t size_bytes) override { return pipe_->SetCapacity(size_bytes); }
  sync::Events Readiness(sync::Events interest) override;
  sync::WaitQueue* wait_queue() override { return pipe_->wait_queue(); }
  std::string DescribePath() const override;
  void OnLastClose() override { pipe_->Close(end_); }

 private:
  template <typename T, typename... Args>
  friend Ref<T> remora::MakeRef(Args&&... args);
  PipeFile(Ref<Inode> inode, const Path& path, uint32_t flags, Ref<Pipe> pipe, Pipe::End end);

  const Ref<Pipe> pipe_;
  const Pipe::End end_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_PIPE_FILE_H_
