#include "fs/devfs/memory_devices.h"

#include <errno.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

#include "fs/file.h"
#include "mm/page_cache.h"

namespace remora::fs {
namespace {

constexpr uint32_t kMajor = 1;
constexpr uint64_t kZeroObjectBytes = uint64_t{1} << 46;

// What null, zero, full and random have in common: no position, no end, never waiting, and writes vanish.
class MemoryDevice : public File {
 public:
  MemoryDevice(Ref<Inode> inode, const Path& path, uint32_t flags) : File(std::move(inode), path, flags) {}
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t) override {
    const uint64_t n = from.remaining();
    from.Advance(n);
    return n;
  }
  ErrnoOr<uint64_t> Append(mm::IoBuffer& from, uint64_t* end) override {
    *end = 0;
    return Write(from, 0);
  }
  // pread and lseek work, and the position stays 0.
  bool seekable() const override { return true; }
  ErrnoOr<uint64_t> SizeForSeek() override { return 0u; }
  uint64_t position() const override { return 0; }
  void set_position(uint64_t) override {}
};

class NullDevice final : public MemoryDevice {
 public:
  using MemoryDevice::MemoryDevice;
  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return 0u; }
};

class ZeroDevice final : public MemoryDevice {
 public:
  ZeroDevice(Ref<Inode> inode, const Path& path, uint32_t flags, mm::MemoryContext* memory)
      : MemoryDevice(std::move(inode), path, flags), memory_(memory) {}
  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t) override { return to.WriteZeros(to.remaining()); }
  // Each mapping has zeros of its own.
  ErrnoOr<Ref<mm::Mappable>> Mappable() override {
    if (memory_ == nullptr) return Errno(ENODEV);
    auto pages = MakeRef<mm::FilePages>(
        memory_, nullptr,
        mm::Mappable::Description{
            .device_major = 0, .device_minor = 1, .inode = inode()->number(), .path = "/dev/zero"});
    REMORA_RETURN_IF_ERROR(pages->Truncate(kZeroObjectBytes));
    return Ref<mm::Mappable>(std::move(pages));
  }

 private:
  mm::MemoryContext* const memory_;
};

class FullDevice final : public MemoryDevice {
 public:
  using MemoryDevice::MemoryDevice;
  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t) override { return to.WriteZeros(to.remaining()); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(ENOSPC); }
};

class RandomDevice final : public MemoryDevice {
 public:
  RandomDevice(Ref<Inode> inode, const Path& path, uint32_t flags, Entropy* entropy)
      : MemoryDevice(std::move(inode), path, flags), entropy_(entropy) {}
  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t) override {
    return to.Produce(to.remaining(), [this](std::span<std::byte> piece) { entropy_->Fill(piece); });
  }

 private:
  Entropy* const entropy_;
};

}  // namespace

void RegisterMemoryDevices(DeviceRegistry* registry, Entropy* entropy, mm::MemoryContext* memory) {
  const auto add = [&](uint32_t minor, auto make) {
    registry->Register(DeviceRegistry::Kind::kCharacter, kMajor, minor,
                       [make](DeviceRegistry::Opening opening) -> ErrnoOr<Ref<File>> {
                         return Ref<File>(make(std::move(opening.inode), opening.path, opening.flags));
                       });
  };
  add(3, [](Ref<Inode> inode, const Path& path, uint32_t flags) {
    return MakeRef<NullDevice>(std::move(inode), path, flags);
  });
  add(5, [memory](Ref<Inode> inode, const Path& path, uint32_t flags) {
    return MakeRef<ZeroDevice>(std::move(inode), path, flags, memory);
  });
  add(7, [](Ref<Inode> inode, const Path& path, uint32_t flags) {
    return MakeRef<FullDevice>(std::move(inode), path, flags);
  });
  for (const uint32_t minor : {8u, 9u}) {
    add(minor, [entropy](Ref<Inode> inode, const Path& path, uint32_t flags) {
      return MakeRef<RandomDevice>(std::move(inode), path, flags, entropy);
    });
  }
}

}  // namespace remora::fs
