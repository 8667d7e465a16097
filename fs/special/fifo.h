#ifndef REMORA_FS_SPECIAL_FIFO_H_
#define REMORA_FS_SPECIAL_FIFO_H_

#include <cstdint>
#include <utility>

#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/special/pipe.h"
#include "fs/special/pipe_file.h"

namespace remora::fs {

// What a FIFO's inode keeps: the pipe that all its openers share. It is empty again after the last close.
// Thread safety: all methods from any thread.
class FifoBuffer final : public RefCounted {
 public:
  FifoBuffer() = default;
  const Ref<Pipe>& pipe() const { return pipe_; }

 private:
  const Ref<Pipe> pipe_ = MakeRef<Pipe>();
};

// Registers the end and returns; where open(2) has to wait for the other end, the file's open_pending() says so.
// ENXIO: O_WRONLY | O_NONBLOCK without a reader.
inline ErrnoOr<Ref<File>> OpenFifo(const Ref<FifoBuffer>& buffer, Ref<Inode> inode, const Path& path, uint32_t flags) {
  return PipeFile::OpenFifo(std::move(inode), path, buffer->pipe(), flags);
}

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_FIFO_H_
