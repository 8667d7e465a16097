#include "fs/device_registry.h"

#include <utility>

namespace remora::fs {

void DeviceRegistry::Register(Kind kind, uint32_t major, uint32_t minor, OpenFunction open) {
  WriterLock lock(&mu_);
  devices_[Key{kind, major, minor}] = std::move(open);
}

void DeviceRegistry::RegisterMajor(Kind kind, uint32_t major, OpenFunction open) {
  Register(kind, major, kAnyMinor, std::move(open));
}

ErrnoOr<Ref<File>> DeviceRegistry::Open(Kind kind, uint32_t major, Opening opening) const {
  OpenFunction open;
  {
    ReaderLock lock(&mu_);
    auto it = devices_.find(Key{kind, major, opening.minor});
    if (it == devices_.end()) it = devices_.find(Key{kind, major, kAnyMinor});
    if (it == devices_.end()) return Errno(ENXIO);
    open = it->second;
  }
  return open(std::move(opening));
}

}  // namespace remora::fs
