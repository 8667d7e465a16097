#ifndef REMORA_PROC_VDSO_VDSO_IMAGE_H_
#define REMORA_PROC_VDSO_VDSO_IMAGE_H_

#include <cstddef>
#include <span>

namespace remora::proc {

// The vDSO as an ELF file, made of guest_vdso.c: one segment, which is the file from its beginning.
std::span<const std::byte> VdsoImage();

}  // namespace remora::proc

#endif  // REMORA_PROC_VDSO_VDSO_IMAGE_H_
