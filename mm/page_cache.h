#ifndef REMORA_MM_PAGE_CACHE_H_
#define REMORA_MM_PAGE_CACHE_H_

#include <cstdint>
#include <memory>
#include <span>

#include "base/errno_or.h"
#include "mm/address_space.h"
#include "mm/io_buffer.h"
#include "mm/mappable.h"
#include "mm/memory_context.h"

namespace remora::mm {

// Where a file's pages come from and go to. Implemented by fs/hostfs over pread/pwrite; absent for tmpfs and shared
// anonymous memory, whose pages start as zeros and live in the cache only.
class PageBacking {
 public:
  virtual ~PageBacking() = default;
  // Fills `page` (4096 bytes) from page_index; what lies behind the file's end is zeroed. EIO. EAGAIN where that would
  // take long: the page is fetched, and MemoryContext::page_arrivals notified then.
  virtual ErrnoOr<void> ReadPage(uint64_t page_index, std::span<std::byte> page) = 0;
  // Fills whole pages of the file from first_page_index on, as many as it can without waiting and as `pages` (a
  // multiple of 4096 bytes) has room for; how many. For pages that nobody has asked for yet: none is no error, and
  // nothing is fetched.
  virtual uint64_t ReadPagesAtOnce(uint64_t /*first_page_index*/, std::span<std::byte> /*pages*/) { return 0; }
  virtual ErrnoOr<void> WritePage(uint64_t page_index, std::span<const std::byte> page) = 0;
  // The file's size now, in bytes.
  virtual ErrnoOr<uint64_t> Size() = 0;
};

// A file's frames: what read, write, mmap and the block cache share. Linux's address_space.
//
// Invariants:
//  1. The cache holds one reference to each of its frames, so no mapping of such a frame is ever exclusive: a private
//     mapping copies before it writes.
//  2. Pages at or behind the size are in no mapping once Truncate has returned; the bytes of the last page behind it
//  are
//     zero then.
//  3. A frame that differs from the backing has kDirty. It keeps the bit while a space maps it, which may write any
//  time.
// A page that is read brings those behind it along, as many as are present just before it and the backing has at once.
// Differences from Linux: pages are never evicted while the object lives; dirty pages go to the backing at Sync and at
// the object's end only; nothing is read around a page unless asked for (ReadAround: a program's data), since what
// costs is copying, the host reads its disk ahead. Thread safety: all methods from any thread; for Read and Write it is
// an online participant of the reclaimer (or in a ReadSection), since they look present pages up in a FrameMap without
// lock or count: threads that read one file write to no common cache line. Writes within the size run side by side; one
// that extends it, Truncate and PunchHole run alone.
class FilePages final : public Mappable {
 public:
  // `backing` may be null, and is owned; `describe` is what /proc/PID/maps shows.
  FilePages(MemoryContext* context, std::unique_ptr<PageBacking> backing, Description describe);

  ErrnoOr<FrameId> GetFrame(uint64_t page_index, bool for_write) override;
  void FindFrames(uint64_t first_page_index, uint64_t wanted, std::span<FrameId> found) override;
  void ReadAround(uint64_t first_page_index, uint64_t num_pages) override;
  void OnMapped(AddressSpace* space, PageRange range, uint64_t first_page_index) override;
  void OnUnmapped(AddressSpace* space, PageRange range, uint64_t first_page_index) override;
  uint64_t object_id() const override { return object_id_; }
  uint64_t place_key() const override;
  bool outlives_kernel() const override;
  Description Describe() const override;

  // Streams between the cache and a buffer: bytes moved, short at the end of the file (Read) or where the buffer
  // faults; EFAULT if the first byte faults; EAGAIN, also after some bytes, where a page is still on its way. Write
  // extends size_bytes(); ENOMEM when no frame is left and nothing was written, EFBIG at offsets behind 2^63 - 4097.
  ErrnoOr<uint64_t> Read(IoBuffer& to, uint64_t offset_bytes);
  ErrnoOr<uint64_t> Write(IoBuffer& from, uint64_t offset_bytes);
  // The backing has been given `bytes` at `offset_bytes`: pages that are present follow, absent ones are read later.
  void NoteBackingWritten(std::span<const std::byte> bytes, uint64_t offset_bytes);
  // Changes the size; pages behind it are dropped and taken out of every space that maps them (SIGBUS from then on);
  // the tail of the last page is zeroed.
  ErrnoOr<void> Truncate(uint64_t size_bytes);
  // Frees whole pages in the range and zeroes the parts (FALLOC_FL_PUNCH_HOLE). The backing has done so already.
  ErrnoOr<void> PunchHole(uint64_t offset_bytes, uint64_t length_bytes);
  // Writes dirty pages to the backing.
  ErrnoOr<void> Sync();

  uint64_t size_bytes() const;
  uint64_t num_pages_present() const;  // st_blocks of tmpfs is 8 times this

 private:
  ~FilePages() override;
  const uint64_t object_id_;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What MAP_SHARED | MAP_ANONYMOUS maps, and shmget: zeros at first, `length_bytes` long.
Ref<FilePages> CreateSharedAnonymous(MemoryContext* context, uint64_t length_bytes);

}  // namespace remora::mm

#endif  // REMORA_MM_PAGE_CACHE_H_
