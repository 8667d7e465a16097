#ifndef REMORA_BENCHMARKS_GUEST_MEMORY_H_
#define REMORA_BENCHMARKS_GUEST_MEMORY_H_

#include <fcntl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/guest_addr.h"
#include "fs/device_registry.h"
#include "fs/file.h"
#include "fs/tmpfs/tmpfs.h"
#include "fs/vfs.h"
#include "mm/address_space.h"
#include "mm/io_buffer.h"
#include "mm/memory_for_testing.h"
#include "mm/tlb.h"
#include "mm/user_memory.h"
#include "sync/reclaimer.h"

namespace remora {

// What a running kernel has between a system call and a file, without tasks: guest memory, a TLB for each worker, a
// tmpfs with one file. For benchmarks and the tests of their rivals.
class GuestMemory {
 public:
  static constexpr GuestAddr kBase = GuestAddr(uint64_t{1} << 32);

  // One worker's view: used by one thread, which is online (a participant) as long as it lives.
  class Worker {
   public:
    explicit Worker(GuestMemory* memory) : participant_(&memory->memory_.reclaimer) {
      participant_.Online();
      tlb_->Bind(memory->space_.get(), memory->space_->id());
    }
    ~Worker() { participant_.Offline(); }
    mm::UserMemory user() { return mm::UserMemory(tlb_.get(), &scratch_); }
    void Quiesce() { participant_.Quiesce(); }

   private:
    sync::Reclaimer::Participant participant_;
    std::unique_ptr<mm::Tlb> tlb_ = std::make_unique<mm::Tlb>();
    mm::ScratchBuffer scratch_;
  };

  // A file of `file_bytes` and guest memory of `guest_bytes` from kBase on, all of it present.
  GuestMemory(uint64_t file_bytes, uint64_t guest_bytes) : memory_(2 * (file_bytes + guest_bytes) + (64 << 20)) {
    vfs_.MountRoot(MakeRef<fs::Tmpfs>(&memory_.context, &clock_, &devices_, vfs_.NewDeviceId(), fs::Tmpfs::Options{}),
                   0);
    const fs::WalkContext root{.root = vfs_.root(), .start = vfs_.root(), .credentials = {}, .caller = {}};
    auto file = vfs_.Open(root, "/file", {.flags = O_CREAT | O_RDWR, .permissions = 0600, .resolve = 0});
    CHECK(file.ok());
    file_ = *std::move(file);
    std::vector<std::byte> block(64 << 10);
    for (uint64_t at = 0; at < file_bytes; at += block.size()) {
      for (size_t i = 0; i < block.size(); i += 8)
        block[i] = static_cast<std::byte>((at + i) * 0x9e3779b97f4a7c15 >> 56);
      const std::span<std::byte> piece(block.data(), std::min<uint64_t>(block.size(), file_bytes - at));
      mm::KernelBuffer buffer(mm::IoBuffer::Direction::kDrain, piece);
      const auto n = file_->Write(buffer, at);
      CHECK(n.ok() && *n == piece.size());
    }
    const uint64_t pages = (guest_bytes + kPageSize - 1) >> kPageShift;
    CHECK(space_->Map(mm::FixedRequest(kBase, pages)).ok());
    Worker worker(this);
    for (uint64_t page = 0; page < pages; ++page) CHECK(worker.user().Write(kBase + page * kPageSize, page).ok());
  }

  fs::File& file() { return *file_; }
  mm::AddressSpace& space() { return *space_; }

 private:
  mm::MemoryForTesting memory_;
  HostClock clock_;
  fs::DeviceRegistry devices_;
  sync::Reclaimer::ReadSection section_{&memory_.reclaimer};
  fs::Vfs vfs_{&clock_, &memory_.reclaimer};
  Ref<fs::File> file_;
  Ref<mm::AddressSpace> space_ = mm::AddressSpace::Create(&memory_.context, memory_.layout);
};

}  // namespace remora

#endif  // REMORA_BENCHMARKS_GUEST_MEMORY_H_
