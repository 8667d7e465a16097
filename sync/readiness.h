#ifndef REMORA_SYNC_READINESS_H_
#define REMORA_SYNC_READINESS_H_

#include <cstdint>

#include "base/abi/poll.h"
#include "sync/pollable.h"

namespace remora::sync {

// What a guest asks of one descriptor, in poll(2)'s bits, and what it is told: the one place where poll, select and
// epoll ask a file. Files speak of kReadable and kWritable; a guest may ask for their normal-band twins.
inline constexpr Events kInBits = abi::kPOLLIN | abi::kPOLLRDNORM | abi::kPOLLRDBAND;
inline constexpr Events kOutBits = abi::kPOLLOUT | abi::kPOLLWRNORM | abi::kPOLLWRBAND;

// Those of `asked` that hold now, with kError and kHangup, which are always told.
inline Events AskReadiness(Pollable& pollable, Events asked) {
  Events interest = asked & (kPriority | kReadHangup);
  if ((asked & kInBits) != 0) interest |= kReadable;
  if ((asked & kOutBits) != 0) interest |= kWritable;
  Events ready = pollable.Readiness(interest);
  if ((ready & kReadable) != 0) ready |= abi::kPOLLRDNORM;
  if ((ready & kWritable) != 0) ready |= abi::kPOLLWRNORM;
  return ready & (asked | kError | kHangup);
}

// For what a waiter is armed whom `asked` interests: whatever may change the answer.
inline Events WakingEvents(Events asked) {
  Events events = (asked & (kPriority | kReadHangup)) | kError | kHangup;
  if ((asked & kInBits) != 0) events |= kReadable | kReadHangup;
  if ((asked & kOutBits) != 0) events |= kWritable;
  return events;
}

}  // namespace remora::sync

#endif  // REMORA_SYNC_READINESS_H_
