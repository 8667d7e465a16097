#include "fs/hostfs/host_pages.h"

#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "base/guest_addr.h"
#include "fs/hostfs/host_io.h"

namespace remora::fs {

ErrnoOr<void> HostPageBacking::ReadPage(uint64_t page_index, std::span<std::byte> page) {
  const Ref<HostReader> reader = this->reader();
  const uint64_t start = page_index * kPageSize;
  mm::KernelBuffer buffer(mm::IoBuffer::Direction::kFill, page);
  while (true) {
    const auto n = reader->ReadAt(buffer, start + buffer.transferred());
    if (!n.ok()) return Errno(n.error_number() == EAGAIN ? EAGAIN : EIO);
    if (buffer.remaining() == 0) return Ok();
    // Behind the file's end there are zeros. They would stay, so it is not believed lightly that it has come.
    REMORA_ASSIGN_OR_RETURN(const uint64_t size, Size());
    if (start + buffer.transferred() >= size) break;
    if (*n == 0) return Errno(EIO);
  }
  std::memset(page.data() + buffer.transferred(), 0, buffer.remaining());
  return Ok();
}

uint64_t HostPageBacking::ReadPagesAtOnce(uint64_t first_page_index, std::span<std::byte> pages) {
  return reader()->ReadAtOnce(pages, first_page_index * kPageSize) / kPageSize;
}

ErrnoOr<void> HostPageBacking::WritePage(uint64_t page_index, std::span<const std::byte> page) {
  REMORA_ASSIGN_OR_RETURN(const uint64_t size, Size());
  const Ref<HostFd> fd = this->fd();
  const uint64_t start = page_index * kPageSize;
  if (start >= size) return Ok();
  const uint64_t length = std::min<uint64_t>(page.size(), size - start);
  uint64_t done = 0;
  while (done < length) {
    const iovec piece{const_cast<std::byte*>(page.data()) + done, length - done};
    REMORA_ASSIGN_OR_RETURN(const uint64_t n,
                            host_io::WriteVector(fd->get(), std::span(&piece, 1), static_cast<int64_t>(start + done)));
    if (n == 0) return Errno(EIO);
    done += n;
  }
  return Ok();
}

ErrnoOr<uint64_t> HostPageBacking::Size() {
  struct stat status;
  if (fstat(fd()->get(), &status) < 0) return Errno(EIO);
  return static_cast<uint64_t>(status.st_size);
}

}  // namespace remora::fs
