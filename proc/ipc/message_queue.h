#ifndef REMORA_PROC_IPC_MESSAGE_QUEUE_H_
#define REMORA_PROC_IPC_MESSAGE_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "proc/ipc/ipc_table.h"
#include "sync/wait_queue.h"

namespace remora::proc {

// A System V message queue. Linux twin: struct msg_queue. Difference: who waits is not served first come first served;
// after each change all try again.
//
// Invariant: the bytes in it are at most its limit, and so is their number.
// Thread safety: all methods from any thread.
class MessageQueue final : public RefCounted {
 public:
  static constexpr uint64_t kMaxMessageBytes = 8192;  // msgmax
  static constexpr uint64_t kDefaultBytes = 16384;    // msgmnb

  struct Message {
    int64_t type = 0;
    uint64_t length_bytes = 0;
    std::unique_ptr<std::byte[]> bytes;
  };

  MessageQueue(const IpcPermissions& permissions, int64_t now_seconds);

  int32_t id() const { return id_; }
  void SetId(int32_t id) { id_ = id; }  // before others see it
  sync::WaitQueue& queue() { return queue_; }

  // Takes `message` if there is room. EAGAIN, EACCES, EIDRM.
  ErrnoOr<void> Send(Message& message, const fs::Credentials& who, int32_t pid, int64_t now_seconds);
  // Which message msgrcv(2) asks for: type 0 the first; > 0 the first of that type (`except`: of any other); < 0 the
  // lowest type up to -type. ENOMSG, EACCES, EIDRM; E2BIG if it is longer than max_bytes and may not be cut.
  struct Wanted {
    int64_t type = 0;
    bool except = false;
    bool may_cut = false;
    uint64_t max_bytes = 0;
  };
  ErrnoOr<Message> Receive(const Wanted& wanted, const fs::Credentials& who, int32_t pid, int64_t now_seconds);

  struct Facts {
    IpcPermissions permissions;
    bool removed = false;
    uint64_t num_messages = 0, num_bytes = 0, max_bytes = kDefaultBytes;
    int32_t last_sender = 0, last_receiver = 0;
    int64_t sent_seconds = 0, received_seconds = 0, changed_seconds = 0;
  };
  Facts facts() const;
  void SetOwner(uint32_t uid, uint32_t gid, uint32_t mode, uint64_t max_bytes, int64_t now_seconds);
  void MarkRemoved();

 private:
  int32_t id_ = -1;
  sync::WaitQueue queue_;
  mutable Mutex mu_{LockRank::kPipe};
  std::deque<Message> messages_ ABSL_GUARDED_BY(mu_);
  Facts facts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::proc

#endif  // REMORA_PROC_IPC_MESSAGE_QUEUE_H_
