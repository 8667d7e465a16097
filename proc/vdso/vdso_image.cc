#include "proc/vdso/vdso_image.h"

namespace remora::proc {
namespace {

alignas(8) constexpr unsigned char kImage[] = {
#include "proc/vdso/guest_vdso.inc"
};

}  // namespace

std::span<const std::byte> VdsoImage() { return std::as_bytes(std::span(kImage)); }

}  // namespace remora::proc
