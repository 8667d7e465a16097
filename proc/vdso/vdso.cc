#include "proc/vdso/vdso.h"

#include <cstring>
#include <new>
#include <utility>

#include "base/check.h"
#include "mm/frame_pool.h"
#include "mm/types.h"
#include "proc/vdso/vdso_image.h"

namespace remora::proc {
namespace {

Ref<mm::FilePages> MakePage(mm::MemoryContext* context, const char* name) {
  mm::Mappable::Description description;
  description.path = name;
  Ref<mm::FilePages> pages = MakeRef<mm::FilePages>(context, nullptr, std::move(description));
  CHECK(pages->Truncate(kPageSize).ok());
  return pages;
}

// The page's bytes; the file holds its frame as long as it lives.
std::byte* BytesOf(mm::MemoryContext* context, mm::FilePages& pages) {
  const ErrnoOr<mm::FrameId> frame = pages.GetFrame(0, true);
  CHECK_MSG(frame.ok(), "no memory for the vDSO");
  std::byte* const bytes = context->frames->Data(*frame);
  context->frames->Release(*frame);
  return bytes;
}

ErrnoOr<GuestAddr> MapPage(mm::AddressSpace& space, GuestAddr at, const Ref<mm::FilePages>& pages, uint8_t protection,
                           uint8_t max_protection) {
  mm::MapRequest request;
  request.address = at;
  request.length_bytes = kPageSize;
  request.placement = mm::MapRequest::Placement::kFixedNoReplace;
  request.protection = mm::Protection(protection);
  request.max_protection = mm::Protection(max_protection);
  request.object = pages;
  const ErrnoOr<GuestAddr> mapped = space.Map(std::move(request));
  if (!mapped.ok()) return Errno(ENOMEM);
  return mapped;
}

}  // namespace

Vdso::Vdso(mm::MemoryContext* context, Clock* clock)
    : clock_(clock), vvar_(MakePage(context, "[vvar]")), code_(MakePage(context, "[vdso]")) {
  const std::span<const std::byte> image = VdsoImage();
  CHECK(image.size() <= kCodePages * kPageSize);
  std::memcpy(BytesOf(context, *code_), image.data(), image.size());
  TscTimebase* const timebase = new (BytesOf(context, *vvar_)) TscTimebase;
  kept_ = clock_ != nullptr && clock_->KeepTimebaseIn(timebase);
}

Vdso::~Vdso() {
  if (kept_) clock_->KeepTimebaseIn(nullptr);
}

ErrnoOr<GuestAddr> Vdso::Map(mm::AddressSpace& space, GuestAddr start) const {
  constexpr uint8_t kRead = mm::Protection::kRead;
  REMORA_RETURN_IF_ERROR(MapPage(space, start, vvar_, kRead, kRead));
  // As in Linux, a debugger or the program itself may write to its own copy.
  return MapPage(space, start + kVvarPages * kPageSize, code_, kRead | mm::Protection::kExec, 7);
}

}  // namespace remora::proc
