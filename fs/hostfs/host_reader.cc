#include "fs/hostfs/host_reader.h"

#include <errno.h>

#include <span>
#include <utility>
#include <vector>

#include "base/guest_addr.h"
#include "fs/hostfs/host_io.h"

namespace remora::fs {
namespace {

constexpr uint64_t kMaxBytes = 0x7ffff000;  // of one host call, as Linux's

}  // namespace

HostReader::HostReader(HostReadPool* pool, Ref<HostFd> fd, Ref<HostWindows> windows)
    : pool_(pool),
      disk_(pool != nullptr ? &pool->disk() : nullptr),
      fd_(std::move(fd)),
      windows_(std::move(windows)),
      way_(pool != nullptr ? Way::kNow : Way::kDirect) {}

ErrnoOr<uint64_t> HostReader::ReadAt(mm::IoBuffer& to, uint64_t offset) {
  uint64_t done = 0;
  // What came before an error is told first.
  const auto answer = [&done](int error_number) -> ErrnoOr<uint64_t> {
    if (done != 0) return done;
    return Errno(error_number);
  };
  while (to.remaining() != 0) {
    const Way way = way_.load(std::memory_order_relaxed);
    if (way == Way::kDirect) {
      const auto rest = host_io::ReadAt(fd_->get(), to, offset + done);
      if (!rest.ok()) return answer(rest.error_number());
      return done + *rest;
    }
    iovec pieces[host_io::kMaxPieces];
    const auto count = to.Gather(pieces, kMaxBytes);
    if (!count.ok()) return answer(count.error_number());
    if (*count == 0) break;
    uint64_t asked = 0;
    for (uint32_t i = 0; i < *count; ++i) asked += pieces[i].iov_len;
    if (offset + done > static_cast<uint64_t>(INT64_MAX) - asked) return answer(EINVAL);
    const auto n = way == Way::kPool ? ErrnoOr<uint64_t>(Errno(EAGAIN))
                                     : disk_->ReadNow(fd_->get(), std::span(pieces, *count), offset + done);
    if (n.ok()) {
      windows_->NoteServed(offset + done, *n);
      to.Advance(*n);
      done += *n;
      // What is in memory ends at a page's end; elsewhere it is the file that ends.
      if (*n == 0 || (*n < asked && ((offset + done) & kPageMask) != 0)) break;
      continue;
    }
    if (n.error_number() == EOPNOTSUPP) {
      way_.store(disk_->MayHang(fd_->get()) ? Way::kPool : Way::kDirect, std::memory_order_relaxed);
      continue;
    }
    if (n.error_number() != EAGAIN) return answer(n.error_number());
    const auto taken = windows_->Take(to, offset + done);
    if (!taken) {
      Request(offset + done);
      return Errno(EAGAIN);
    }
    if (!taken->ok()) return answer(taken->error_number());
    done += (*taken)->num_bytes;
    if ((*taken)->file_ended) break;
  }
  return done;
}

uint64_t HostReader::ReadAtOnce(std::span<std::byte> to, uint64_t offset) {
  if (offset > static_cast<uint64_t>(INT64_MAX) - to.size()) return 0;
  const Way way = way_.load(std::memory_order_relaxed);
  if (way == Way::kPool) return 0;
  const iovec piece{to.data(), to.size()};
  const auto n = way == Way::kNow ? disk_->ReadNow(fd_->get(), std::span(&piece, 1), offset)
                                  : host_io::ReadVector(fd_->get(), std::span(&piece, 1), static_cast<int64_t>(offset));
  if (!n.ok()) return 0;
  windows_->NoteServed(offset, *n);
  return *n;
}

void HostReader::Request(uint64_t offset) {
  const uint64_t start = PageRoundDown(offset);
  uint64_t num_drops = 0;
  if (windows_->BeginFetch(start, &num_drops)) pool_->Submit(Ref<HostReader>(this), start, num_drops);
}

void HostReader::Fetch(uint64_t start, uint64_t num_drops) {
  HostWindows::Fetched fetched{.bytes = std::vector<std::byte>(HostWindows::kBytes)};
  uint64_t done = 0;
  while (done < fetched.bytes.size()) {
    const auto n = disk_->ReadWaiting(fd_->get(), std::span(fetched.bytes).subspan(done), start + done);
    if (!n.ok()) {
      // Behind what came it is told to who asks for that.
      if (done == 0) fetched.error_number = n.error_number();
      break;
    }
    fetched.ends_file = *n == 0;
    if (fetched.ends_file) break;
    done += *n;
  }
  fetched.bytes.resize(done);
  windows_->Put(start, num_drops, std::move(fetched));
}

}  // namespace remora::fs
