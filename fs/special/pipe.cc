#include "fs/special/pipe.h"

#include <errno.h>

#include <algorithm>
#include <bit>
#include <span>

#include "base/check.h"
#include "fs/special/pipe_file.h"

namespace remora::fs {
namespace {

constexpr sync::Events kReadNormal = 0x040;   // POLLRDNORM
constexpr sync::Events kWriteNormal = 0x100;  // POLLWRNORM

// The inode of a pipe without a name. It can be opened again through /proc/PID/fd/N: that gives one more reader or
// writer of the same pipe (how `<(...)` of a shell works).
class PipeInode final : public AnonymousInode {
 public:
  using AnonymousInode::AnonymousInode;
  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override {
    return PipeFile::OpenAnonymous(Ref<Inode>(this), path, pipe_, flags);
  }
  const Ref<Pipe>& pipe() const { return pipe_; }

 private:
  const Ref<Pipe> pipe_ = MakeRef<Pipe>();
};

}  // namespace

Pipe::Pipe() : slots_(kDefaultSlots) {}

void Pipe::PopFrontLocked() {
  Slot& slot = SlotAt(0);
  if (!spare_page_) spare_page_ = std::move(slot.page);
  slot = Slot();
  first_ = (first_ + 1) & static_cast<uint32_t>(slots_.size() - 1);
  --used_;
}

ErrnoOr<uint64_t> Pipe::Read(mm::IoBuffer& to) {
  bool slot_freed = false, was_full = false;
  ErrnoOr<uint64_t> result = 0u;
  {
    MutexLock lock(&mu_);
    was_full = full();
    result = ReadLocked(to, &slot_freed);
  }
  // Room is news only where there was none, as in Linux: an edge-triggered writer can tell.
  if (slot_freed && was_full) queue_.NotifyOne(sync::kWritable | kWriteNormal);
  return result;
}

ErrnoOr<uint64_t> Pipe::ReadLocked(mm::IoBuffer& to, bool* slot_freed) {
  uint64_t done = 0;
  while (to.remaining() != 0) {
    if (used_ == 0) {
      if (done != 0 || num_writers_ == 0) return done;
      return Errno(EAGAIN);
    }
    Slot& slot = SlotAt(0);
    const uint64_t n = std::min<uint64_t>(slot.length, to.remaining());
    const auto copied = to.Write(std::span<const std::byte>(slot.page.get() + slot.offset, n));
    if (!copied.ok() || *copied < n) {
      // The slot stays whole, also where some of its bytes already stand in the user's buffer.
      if (done != 0) return done;
      return copied.ok() ? Errno(EFAULT) : copied.error();
    }
    done += n;
    slot.offset = static_cast<uint16_t>(slot.offset + n);
    slot.length = static_cast<uint16_t>(slot.length - n);
    const bool packet = slot.packet;
    if (slot.length == 0 || packet) {
      PopFrontLocked();
      *slot_freed = true;
    }
    if (packet) break;
  }
  return done;
}

ErrnoOr<uint64_t> Pipe::Write(mm::IoBuffer& from, bool packets) {
  ErrnoOr<uint64_t> result = 0u;
  {
    MutexLock lock(&mu_);
    result = WriteLocked(from, packets);
  }
  if (result.ok() && *result != 0) queue_.NotifyOne(sync::kReadable | kReadNormal);
  return result;
}

ErrnoOr<uint64_t> Pipe::WriteLocked(mm::IoBuffer& from, bool packets) {
  const uint64_t total = from.remaining();
  if (total == 0) return 0u;
  if (num_readers_ == 0) return Errno(EPIPE);
  uint64_t done = 0;
  // The part that fills no page joins the last slot where it fits as a whole.
  if (const uint64_t odd = total % kSlotBytes; odd != 0 && used_ != 0 && !packets) {
    Slot& last = SlotAt(used_ - 1);
    const uint64_t end = uint64_t{last.offset} + last.length;
    if (!last.packet && end + odd <= kSlotBytes) {
      const auto copied = from.Read(std::span<std::byte>(last.page.get() + end, odd));
      if (!copied.ok()) return copied.error();
      if (*copied < odd) return Errno(EFAULT);
      last.length = static_cast<uint16_t>(last.length + odd);
      done = odd;
    }
  }
  while (done < total) {
    if (full()) {
      if (done != 0) return done;
      return Errno(EAGAIN);
    }
    auto page = spare_page_ ? std::move(spare_page_) : std::make_unique_for_overwrite<std::byte[]>(kSlotBytes);
    const uint64_t n = std::min<uint64_t>(kSlotBytes, total - done);
    const auto copied = from.Read(std::span<std::byte>(page.get(), n));
    if (!copied.ok() || *copied < n) {
      spare_page_ = std::move(page);
      if (done != 0) return done;
      return copied.ok() ? Errno(EFAULT) : copied.error();
    }
    SlotAt(used_) = Slot{std::move(page), 0, static_cast<uint16_t>(n), packets};
    ++used_;
    done += n;
  }
  return done;
}

ErrnoOr<uint64_t> Pipe::Peek(mm::IoBuffer& to) const {
  MutexLock lock(&mu_);
  if (used_ == 0) {
    if (num_writers_ == 0 || to.remaining() == 0) return 0u;
    return Errno(EAGAIN);
  }
  uint64_t done = 0;
  for (uint32_t i = 0; i < used_ && to.remaining() != 0; ++i) {
    const Slot& slot = slots_[(first_ + i) & (slots_.size() - 1)];
    const auto copied = to.Write(std::span<const std::byte>(slot.page.get() + slot.offset, slot.length));
    if (!copied.ok()) {
      if (done != 0) return done;
      return copied.error();
    }
    done += *copied;
    if (slot.packet) break;
  }
  return done;
}

void Pipe::PutBack(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  {
    MutexLock lock(&mu_);
    const auto needed = static_cast<uint32_t>((bytes.size() + kSlotBytes - 1) / kSlotBytes);
    if (used_ + needed > slots_.size()) {
      std::vector<Slot> larger(std::bit_ceil(used_ + needed));
      for (uint32_t i = 0; i < used_; ++i) larger[i] = std::move(SlotAt(i));
      slots_ = std::move(larger);
      first_ = 0;
    }
    // The last piece first: each goes before what is there.
    for (uint32_t i = needed; i-- > 0;) {
      const auto piece = bytes.subspan(uint64_t{i} * kSlotBytes)
                             .first(std::min<uint64_t>(kSlotBytes, bytes.size() - uint64_t{i} * kSlotBytes));
      auto page = std::make_unique_for_overwrite<std::byte[]>(kSlotBytes);
      std::copy(piece.begin(), piece.end(), page.get());
      first_ = (first_ + static_cast<uint32_t>(slots_.size()) - 1) & static_cast<uint32_t>(slots_.size() - 1);
      ++used_;
      SlotAt(0) = Slot{std::move(page), 0, static_cast<uint16_t>(piece.size()), false};
    }
  }
  queue_.Notify(sync::kReadable | kReadNormal);
}

uint64_t Pipe::bytes_free() const {
  MutexLock lock(&mu_);
  return (slots_.size() - used_) * kSlotBytes;
}

uint64_t Pipe::bytes_available() const {
  MutexLock lock(&mu_);
  uint64_t sum = 0;
  for (const Slot& slot : slots_) sum += slot.length;
  return sum;
}

uint64_t Pipe::capacity_bytes() const {
  MutexLock lock(&mu_);
  return slots_.size() * kSlotBytes;
}

ErrnoOr<uint64_t> Pipe::SetCapacity(uint64_t size_bytes) {
  if (size_bytes > (uint64_t{1} << 31)) return Errno(EINVAL);
  const uint64_t rounded = std::bit_ceil(std::max<uint64_t>(size_bytes, kSlotBytes));
  const auto num_slots = static_cast<uint32_t>(rounded / kSlotBytes);
  bool grew = false;
  {
    MutexLock lock(&mu_);
    if (num_slots > slots_.size() && num_slots > kMaxSlots) return Errno(EPERM);
    if (num_slots < used_) return Errno(EBUSY);
    grew = num_slots > slots_.size();
    std::vector<Slot> slots(num_slots);
    for (uint32_t i = 0; i < used_; ++i) slots[i] = std::move(SlotAt(i));
    slots_ = std::move(slots);
    first_ = 0;
  }
  if (grew) queue_.Notify(sync::kWritable | kWriteNormal);
  return rounded;
}

ErrnoOr<Pipe::End> Pipe::Open(bool reads, bool writes, bool is_fifo, bool nonblocking) {
  End end;
  {
    MutexLock lock(&mu_);
    if (is_fifo && writes && !reads && nonblocking && num_readers_ == 0) return Errno(ENXIO);
    end.reads = reads;
    end.writes = writes;
    end.writers_before = writer_openings_;
    end.readers_before = reader_openings_;
    if (is_fifo && reads != writes) {
      if (reads && num_writers_ == 0) (nonblocking ? end.hangup_needs_new_writer : end.waits_for_writer) = true;
      if (writes && num_readers_ == 0) end.waits_for_reader = true;
    }
    if (reads) ++num_readers_, ++reader_openings_;
    if (writes) ++num_writers_, ++writer_openings_;
  }
  if (is_fifo) queue_.Notify(sync::kAllEvents);  // an open(2) that waits for its partner
  return end;
}

void Pipe::Close(const End& end) {
  bool one_sided;
  {
    MutexLock lock(&mu_);
    if (end.reads) --num_readers_;
    if (end.writes) --num_writers_;
    if (num_readers_ == 0 && num_writers_ == 0) {
      slots_ = std::vector<Slot>(kDefaultSlots);
      first_ = used_ = 0;
      spare_page_.reset();
    }
    one_sided = (num_readers_ == 0) != (num_writers_ == 0);
  }
  if (one_sided) queue_.Notify(sync::kAllEvents);  // hangup or error at the other end
}

bool Pipe::OpenPending(const End& end) const {
  if (!end.waits_for_reader && !end.waits_for_writer) return false;
  MutexLock lock(&mu_);
  if (end.waits_for_writer) return writer_openings_ == end.writers_before;
  return reader_openings_ == end.readers_before;
}

sync::Events Pipe::Readiness(const End& end) const {
  MutexLock lock(&mu_);
  sync::Events events = 0;
  if (end.reads) {
    if (used_ != 0) events |= sync::kReadable | kReadNormal;
    if (num_writers_ == 0 && !(end.hangup_needs_new_writer && writer_openings_ == end.writers_before))
      events |= sync::kHangup;
  }
  if (end.writes) {
    if (!full()) events |= sync::kWritable | kWriteNormal;
    if (num_readers_ == 0) events |= sync::kError;
  }
  return events;
}

void Pipe::CheckInvariants() const {
  MutexLock lock(&mu_);
  CHECK(used_ <= slots_.size() && std::has_single_bit(slots_.size()));
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[(first_ + i) & (slots_.size() - 1)];
    if (i < used_) {
      CHECK(slot.page != nullptr && slot.length > 0);
      CHECK(uint32_t{slot.offset} + slot.length <= kSlotBytes);
    } else {
      CHECK(slot.page == nullptr && slot.length == 0);
    }
  }
  if (num_readers_ == 0 && num_writers_ == 0) CHECK(used_ == 0 && slots_.size() == kDefaultSlots);
}

PipeEnds MakePipe(AnonymousFiles& files, const Credentials& credentials, uint32_t flags) {
  auto inode = files.MakeInodeOf<PipeInode>("pipe", 0010600, credentials.fsuid, credentials.fsgid);
  return {PipeFile::OpenAnonymous(Ref<Inode>(inode), Path(), inode->pipe(), flags | 0 /* O_RDONLY */),
          PipeFile::OpenAnonymous(Ref<Inode>(inode), Path(), inode->pipe(), flags | 1 /* O_WRONLY */)};
}

}  // namespace remora::fs
