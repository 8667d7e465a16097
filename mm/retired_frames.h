#ifndef REMORA_MM_RETIRED_FRAMES_H_
#define REMORA_MM_RETIRED_FRAMES_H_

#include "mm/frame_pool.h"
#include "mm/types.h"
#include "sync/reclaimer.h"

namespace remora::mm {

// References to frames that an operation took out of page tables or of a page cache. They are dropped when it goes out
// of scope, which must be after the change was made known (the generation was bumped): each last reference after a
// grace period, since other workers may still read through host pointers that they hold.
// Thread safety: none.
class RetiredFrames {
 public:
  RetiredFrames(FramePool* frames, sync::Reclaimer* reclaimer) : frames_(frames), reclaimer_(reclaimer) {}
  ~RetiredFrames() { Flush(); }
  RetiredFrames(const RetiredFrames&) = delete;
  RetiredFrames& operator=(const RetiredFrames&) = delete;

  // Takes over one reference. The zero frame is ignored.
  void Add(FrameId frame);
  // FramePool::DropCode of all that are here.
  void DropCode();
  void Flush();
  FramePool& frames() const { return *frames_; }

 private:
  struct Batch;
  FramePool* const frames_;
  sync::Reclaimer* const reclaimer_;
  Batch* batches_ = nullptr;
};

}  // namespace remora::mm

#endif  // REMORA_MM_RETIRED_FRAMES_H_
