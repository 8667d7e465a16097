// System V message queues.

#include <algorithm>

#include "base/abi/ipc.h"
#include "proc/ipc/ipc_namespace.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/ipc_args.h"

namespace remora::syscalls {
namespace {

using proc::IpcNamespace;
using proc::MessageQueue;

struct MessageWait : proc::SyscallState {
  MessageWait(proc::Task* task, Ref<MessageQueue> waited) : queue(std::move(waited)), waiter(task) {}
  Ref<MessageQueue> queue;        // before the waiter: outlives it
  MessageQueue::Message message;  // msgsnd's
  MessageQueue::Wanted wanted;    // msgrcv's
  bool nowait = false;
  proc::TaskWaiter waiter;
};

// EAGAIN or ENOMSG was answered: waits, unless nobody wants to. nullopt: try again.
std::optional<SyscallOutcome> Wait(SyscallContext& c, MessageWait& state, int error, sync::Events events) {
  if (state.nowait) return Errno(error);
  if (SyscallContext::Arm(state.waiter, state.queue->queue(), events)) return std::nullopt;
  // Never restarted, as Linux says in signal(7).
  if (c.task().signal_pending()) return Errno(EINTR);
  return c.Park(Interrupted::kRestartWithoutHandler);
}

SyscallOutcome RunSend(SyscallContext& c, MessageWait& state) {
  for (;;) {
    const auto sent = state.queue->Send(state.message, *c.task().credentials(), c.group().pid(), NowSeconds(c));
    if (sent.error_number() != EAGAIN) return sent;
    if (auto outcome = Wait(c, state, EAGAIN, sync::kWritable)) return *std::move(outcome);
  }
}

SyscallOutcome RunReceive(SyscallContext& c, MessageWait& state) {
  for (;;) {
    const auto got = state.queue->Receive(state.wanted, *c.task().credentials(), c.group().pid(), NowSeconds(c));
    if (got.ok()) {
      const uint64_t length = std::min(got->length_bytes, state.wanted.max_bytes);
      // As in Linux the message is gone when this faults.
      REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(1), got->type));
      REMORA_RETURN_IF_ERROR(c.memory().CopyOut(c.addr(1) + sizeof(int64_t), std::span(got->bytes.get(), length)));
      return SyscallOutcome::Return(static_cast<int64_t>(length));
    }
    if (got.error_number() != ENOMSG) return got.error();
    if (auto outcome = Wait(c, state, ENOMSG, sync::kReadable)) return *std::move(outcome);
  }
}

abi::MsqidDs ToMsqidDs(const MessageQueue& queue) {
  const MessageQueue::Facts facts = queue.facts();
  abi::MsqidDs out{};
  out.msg_perm = ToIpcPerm(facts.permissions, queue.id());
  out.msg_stime = facts.sent_seconds;
  out.msg_rtime = facts.received_seconds;
  out.msg_ctime = facts.changed_seconds;
  out.msg_cbytes = facts.num_bytes;
  out.msg_qnum = facts.num_messages;
  out.msg_qbytes = facts.max_bytes;
  out.msg_lspid = facts.last_sender;
  out.msg_lrpid = facts.last_receiver;
  return out;
}

SyscallOutcome Information(SyscallContext& c, int32_t command) {
  const auto& queues = c.kernel().ipc().queues;
  abi::Msginfo out{};
  out.msgmax = MessageQueue::kMaxMessageBytes;
  out.msgmnb = MessageQueue::kDefaultBytes;
  out.msgmni = static_cast<int32_t>(IpcNamespace::kMaxQueues);
  out.msgssz = 16;
  out.msgseg = 0xffff;
  if (command == abi::kMSG_INFO) {
    out.msgpool = static_cast<int32_t>(queues.num_objects());
    for (int32_t slot = queues.max_slot(); slot >= 0; --slot) {
      const Ref<MessageQueue> queue = queues.At(slot);
      if (!queue) continue;
      out.msgmap += static_cast<int32_t>(queue->facts().num_messages);
      out.msgtql += static_cast<int32_t>(queue->facts().num_bytes);
    }
  } else {
    out.msgpool = static_cast<int32_t>(IpcNamespace::kMaxQueues * MessageQueue::kDefaultBytes / 1024);
    out.msgmap = out.msgtql = MessageQueue::kDefaultBytes;
  }
  REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(2), out));
  return SyscallOutcome::Return(std::max(queues.max_slot(), 0));
}

}  // namespace

SyscallOutcome SysMsgget(SyscallContext& c) {
  const int32_t key = c.i32(0);
  const uint32_t flags = c.u32(1);
  return GetByKey(
      c, c.kernel().ipc().queues, key, flags, [](const MessageQueue&) -> ErrnoOr<void> { return Ok(); },
      [&]() -> ErrnoOr<Ref<MessageQueue>> {
        return MakeRef<MessageQueue>(NewPermissions(c, key, flags), NowSeconds(c));
      });
}

SyscallOutcome SysMsgsnd(SyscallContext& c) {
  if (auto* state = c.state<MessageWait>()) return RunSend(c, *state);
  const uint64_t length = c.arg(2);
  REMORA_ASSIGN_OR_RETURN(const int64_t type, c.memory().Read<int64_t>(c.addr(1)));
  if (length > MessageQueue::kMaxMessageBytes || c.i32(0) < 0 || type < 1) return Errno(EINVAL);
  MessageQueue::Message message;
  message.type = type;
  message.length_bytes = length;
  message.bytes = std::make_unique<std::byte[]>(length);
  REMORA_RETURN_IF_ERROR(c.memory().CopyIn(std::span(message.bytes.get(), length), c.addr(1) + sizeof(int64_t)));
  const Ref<MessageQueue> queue = c.kernel().ipc().queues.Find(c.i32(0));
  if (!queue) return Errno(EINVAL);
  auto& state = c.MakeState<MessageWait>(&c.task(), queue);
  state.message = std::move(message);
  state.nowait = (c.u32(3) & abi::kIPC_NOWAIT) != 0;
  return RunSend(c, state);
}

SyscallOutcome SysMsgrcv(SyscallContext& c) {
  if (auto* state = c.state<MessageWait>()) return RunReceive(c, *state);
  const uint32_t flags = c.u32(4);
  if (c.i32(0) < 0 || c.i64(2) < 0) return Errno(EINVAL);
  if ((flags & abi::kMSG_COPY) != 0) return Errno(ENOSYS);  // as without CONFIG_CHECKPOINT_RESTORE
  const Ref<MessageQueue> queue = c.kernel().ipc().queues.Find(c.i32(0));
  if (!queue) return Errno(EINVAL);
  auto& state = c.MakeState<MessageWait>(&c.task(), queue);
  state.wanted.type = std::max<int64_t>(c.i64(3), -INT64_MAX);
  state.wanted.except = state.wanted.type > 0 && (flags & abi::kMSG_EXCEPT) != 0;
  state.wanted.may_cut = (flags & abi::kMSG_NOERROR) != 0;
  state.wanted.max_bytes = c.arg(2);
  state.nowait = (flags & abi::kIPC_NOWAIT) != 0;
  return RunReceive(c, state);
}

SyscallOutcome SysMsgctl(SyscallContext& c) {
  const int32_t command = c.i32(1);
  if (c.i32(0) < 0 || command < 0) return Errno(EINVAL);
  auto& queues = c.kernel().ipc().queues;
  const auto credentials = c.task().credentials();
  switch (command) {
    case abi::kIPC_INFO:
    case abi::kMSG_INFO:
      return Information(c, command);
    case abi::kIPC_STAT:
    case abi::kMSG_STAT:
    case abi::kMSG_STAT_ANY: {
      const bool by_slot = command != abi::kIPC_STAT;
      const Ref<MessageQueue> queue = by_slot ? queues.At(c.i32(0)) : queues.Find(c.i32(0));
      if (!queue) return Errno(EINVAL);
      if (command != abi::kMSG_STAT_ANY && !queue->facts().permissions.Allows(*credentials, 0444)) return Errno(EACCES);
      REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(2), ToMsqidDs(*queue)));
      return SyscallOutcome::Return(by_slot ? queue->id() : 0);
    }
    case abi::kIPC_SET:
    case abi::kIPC_RMID: {
      abi::MsqidDs in{};
      if (command == abi::kIPC_SET) {
        REMORA_ASSIGN_OR_RETURN(in, c.memory().Read<abi::MsqidDs>(c.addr(2)));
      }
      const Ref<MessageQueue> queue = queues.Find(c.i32(0));
      if (!queue) return Errno(EINVAL);
      if (!queue->facts().permissions.Owns(*credentials)) return Errno(EPERM);
      if (command == abi::kIPC_RMID) {
        queues.Remove(queue->id());
        queue->MarkRemoved();
        return SyscallOutcome::Return(0);
      }
      // Only root may make it larger than the default: what is in it is the host's memory.
      constexpr uint64_t kMostBytes = uint64_t{1} << 24;
      if (in.msg_qbytes > MessageQueue::kDefaultBytes && !credentials->privileged()) return Errno(EPERM);
      queue->SetOwner(in.msg_perm.uid, in.msg_perm.gid, in.msg_perm.mode, std::min(in.msg_qbytes, kMostBytes),
                      NowSeconds(c));
      return SyscallOutcome::Return(0);
    }
    default:
      return Errno(EINVAL);
  }
}

}  // namespace remora::syscalls
