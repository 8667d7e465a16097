#include "proc/ipc/message_queue.h"

#include <utility>

namespace remora::proc {

MessageQueue::MessageQueue(const IpcPermissions& permissions, int64_t now_seconds) {
  MutexLock lock(&mu_);
  facts_.permissions = permissions;
  facts_.changed_seconds = now_seconds;
}

ErrnoOr<void> MessageQueue::Send(Message& message, const fs::Credentials& who, int32_t pid, int64_t now_seconds) {
  {
    MutexLock lock(&mu_);
    if (facts_.removed) return Errno(EIDRM);
    if (!facts_.permissions.Allows(who, 0222)) return Errno(EACCES);
    if (message.length_bytes + facts_.num_bytes > facts_.max_bytes || facts_.num_messages + 1 > facts_.max_bytes)
      return Errno(EAGAIN);
    facts_.num_bytes += message.length_bytes;
    ++facts_.num_messages;
    facts_.last_sender = pid;
    facts_.sent_seconds = now_seconds;
    messages_.push_back(std::move(message));
  }
  queue_.Notify(sync::kReadable);
  return Ok();
}

ErrnoOr<MessageQueue::Message> MessageQueue::Receive(const Wanted& wanted, const fs::Credentials& who, int32_t pid,
                                                     int64_t now_seconds) {
  Message message;
  {
    MutexLock lock(&mu_);
    if (facts_.removed) return Errno(EIDRM);
    if (!facts_.permissions.Allows(who, 0444)) return Errno(EACCES);
    auto found = messages_.end();
    for (auto it = messages_.begin(); it != messages_.end(); ++it) {
      if (wanted.type < 0) {
        // The lowest type; of equal ones the first.
        if (it->type <= -wanted.type && (found == messages_.end() || it->type < found->type)) found = it;
        continue;
      }
      if (wanted.type == 0 || (it->type == wanted.type) != wanted.except) {
        found = it;
        break;
      }
    }
    if (found == messages_.end()) return Errno(ENOMSG);
    if (found->length_bytes > wanted.max_bytes && !wanted.may_cut) return Errno(E2BIG);
    message = std::move(*found);
    messages_.erase(found);
    facts_.num_bytes -= message.length_bytes;
    --facts_.num_messages;
    facts_.last_receiver = pid;
    facts_.received_seconds = now_seconds;
  }
  queue_.Notify(sync::kWritable);
  return message;
}

MessageQueue::Facts MessageQueue::facts() const {
  MutexLock lock(&mu_);
  return facts_;
}

void MessageQueue::SetOwner(uint32_t uid, uint32_t gid, uint32_t mode, uint64_t max_bytes, int64_t now_seconds) {
  {
    MutexLock lock(&mu_);
    facts_.permissions.uid = uid;
    facts_.permissions.gid = gid;
    facts_.permissions.mode = mode & 0777;
    facts_.max_bytes = max_bytes;
    facts_.changed_seconds = now_seconds;
  }
  queue_.Notify(sync::kAllEvents);
}

void MessageQueue::MarkRemoved() {
  {
    MutexLock lock(&mu_);
    facts_.removed = true;
    messages_.clear();
  }
  queue_.Notify(sync::kAllEvents);
}

}  // namespace remora::proc
