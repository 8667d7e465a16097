#ifndef REMORA_FS_DEVFS_MEMORY_DEVICES_H_
#define REMORA_FS_DEVFS_MEMORY_DEVICES_H_

#include "base/entropy.h"
#include "fs/device_registry.h"
#include "mm/memory_context.h"

namespace remora::fs {

// Registers the character devices of major 1: null (3), zero (5), full (7), random (8), urandom (9). Linux's
// drivers/char/mem.c and random.c. The pointers outlive the registry; `memory` may be null: then /dev/zero cannot be
// mapped. Differences: random and urandom are the same and never block; one read gives at most 32 MiB - 1 bytes.
void RegisterMemoryDevices(DeviceRegistry* registry, Entropy* entropy, mm::MemoryContext* memory);

}  // namespace remora::fs

#endif  // REMORA_FS_DEVFS_MEMORY_DEVICES_H_
