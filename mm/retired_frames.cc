#include "mm/retired_frames.h"

#include <array>
#include <cstdint>

namespace remora::mm {

struct RetiredFrames::Batch {
  static constexpr uint32_t kCapacity = 250;
  FramePool* frames;
  Batch* next;
  uint32_t count = 0;
  std::array<FrameId, kCapacity> ids;
};

void RetiredFrames::Add(FrameId frame) {
  if (frame == frames_->zero_frame()) return;
  if (batches_ == nullptr || batches_->count == Batch::kCapacity) {
    auto* batch = new Batch;
    batch->frames = frames_;
    batch->next = batches_;
    batches_ = batch;
  }
  batches_->ids[batches_->count++] = frame;
}

void RetiredFrames::DropCode() {
  for (const Batch* batch = batches_; batch != nullptr; batch = batch->next)
    for (uint32_t i = 0; i < batch->count; ++i) frames_->DropCode(batch->ids[i]);
}

void RetiredFrames::Flush() {
  while (batches_ != nullptr) {
    Batch* batch = batches_;
    batches_ = batch->next;
    // A frame that somebody else refers to stays whatever happens; only last references have to wait.
    uint32_t kept = 0;
    for (uint32_t i = 0; i < batch->count; ++i)
      if (!frames_->ReleaseUnlessLast(batch->ids[i])) batch->ids[kept++] = batch->ids[i];
    batch->count = kept;
    if (kept == 0) {
      delete batch;
      continue;
    }
    reclaimer_->Retire(batch, [](void* object) {
      auto* due = static_cast<Batch*>(object);
      for (uint32_t i = 0; i < due->count; ++i) due->frames->Release(due->ids[i]);
      delete due;
    });
  }
}

}  // namespace remora::mm
