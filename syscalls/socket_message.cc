// send, recv and their kin: arguments, ancillary data and waiting around net/socket.h's Send and Receive.

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/abi/socket.h"
#include "base/abi/uio.h"
#include "mm/user_buffer.h"
#include "net/socket.h"
#include "syscalls/handlers.h"
#include "syscalls/socket_args.h"
#include "syscalls/transfer.h"

namespace remora::syscalls {
namespace {

using Direction = mm::IoBuffer::Direction;

constexpr uint64_t kMaxControlBytes = 20'480;  // /proc/sys/net/core/optmem_max of old: ENOBUFS beyond

// The one buffer of sendto and recvfrom.
ErrnoOr<mm::UserBuffer::Ranges> OneRange(GuestAddr start, uint64_t length_bytes) {
  length_bytes = std::min<uint64_t>(length_bytes, abi::kMAX_RW_COUNT);
  const auto end = start.CheckedAdd(length_bytes);
  if (!end || end->value() > kUserAddressEnd) return Errno(EFAULT);
  return mm::UserBuffer::Ranges{{start, length_bytes}};
}

ErrnoOr<mm::UserBuffer::Ranges> RangesOf(SyscallContext& c, const abi::Msghdr& header) {
  if (header.msg_iovlen > abi::kIOV_MAX) return Errno(EMSGSIZE);
  return mm::UserBuffer::ReadIovecs(c.memory(), GuestAddr(header.msg_iov), header.msg_iovlen);
}

// ---- sending ----

struct SendCall {
  SocketFile socket;
  uint32_t flags = 0;
  mm::UserBuffer::Ranges ranges;
  std::optional<net::SocketAddress> to;
  std::vector<Ref<fs::File>> files;
  net::PeerCredentials sender;
  uint64_t done = 0;

  bool nonblocking() const { return (flags & abi::kMSG_DONTWAIT) != 0 || socket.file->nonblocking(); }
};

struct SendState : proc::SyscallState {
  SendState(proc::Task* task, SendCall c) : call(std::move(c)), waiter(task) {}
  SendCall call;  // holds the file: before the waiter
  proc::TaskWaiter waiter;
};

// Sends until there is an answer; nullopt: the rest has to wait.
std::optional<SyscallOutcome> TrySend(SyscallContext& c, SendCall& call) {
  net::Socket& socket = *call.socket.socket;
  mm::UserBuffer buffer(c.memory(), Direction::kDrain, call.ranges);
  if (call.done != 0) buffer.Advance(call.done);
  TaskSocketCaller caller(c);
  for (;;) {
    net::OutgoingMessage message;
    message.bytes = &buffer;
    if (call.to) message.to = &*call.to;
    message.files = std::move(call.files);
    message.sender = call.sender;
    const auto sent = socket.Send(&caller, message);
    call.files = std::move(message.files);
    if (sent.ok()) {
      call.done += *sent;
      if (!socket.keeps_boundaries() && buffer.remaining() != 0) continue;
      return SyscallOutcome::Return(static_cast<int64_t>(call.done));
    }
    if (sent.error_number() == EAGAIN && !call.nonblocking()) return std::nullopt;
    if (call.done != 0) return SyscallOutcome::Return(static_cast<int64_t>(call.done));
    if (sent.error_number() == EPIPE && socket.broken_pipe_signals() && (call.flags & abi::kMSG_NOSIGNAL) == 0)
      RaiseSigpipe(c.task());
    return sent.error();
  }
}

SyscallOutcome ResumeSend(SyscallContext& c) {
  auto& state = *c.state<SendState>();
  if (auto outcome = TrySend(c, state.call)) return *outcome;
  if (state.call.done != 0 && c.task().signal_pending())
    return SyscallOutcome::Return(static_cast<int64_t>(state.call.done));
  return c.Park();
}

SyscallOutcome RunSend(SyscallContext& c, SendCall call) {
  if ((call.flags & abi::kMSG_OOB) != 0) return Errno(EOPNOTSUPP);
  if (auto outcome = TrySend(c, call)) return *outcome;
  auto& state = c.MakeState<SendState>(&c.task(), std::move(call));
  SyscallContext::Arm(state.waiter, *state.call.socket.file, sync::kWritable);
  return ResumeSend(c);
}

// A process may say who it is, not who others are.
ErrnoOr<void> CheckCredentials(SyscallContext& c, const net::PeerCredentials& claimed) {
  const auto own = c.task().credentials();
  if (own->privileged()) return Ok();
  const bool pid_is_own = claimed.pid == c.group().pid();
  const bool uid_is_own = claimed.uid == own->uid || claimed.uid == own->euid || claimed.uid == own->suid;
  const bool gid_is_own = claimed.gid == own->gid || claimed.gid == own->egid || claimed.gid == own->sgid;
  return pid_is_own && uid_is_own && gid_is_own ? Ok() : Errno(EPERM);
}

// The ancillary data of a send, item by item out of the guest's memory.
ErrnoOr<void> ReadControl(SyscallContext& c, const abi::Msghdr& header, SendCall& call) {
  if (header.msg_control == 0 || header.msg_controllen == 0) return Ok();
  if (header.msg_controllen > kMaxControlBytes) return Errno(ENOBUFS);
  const uint64_t end = header.msg_controllen;
  for (uint64_t at = 0; at + sizeof(abi::Cmsghdr) <= end;) {
    const GuestAddr item(header.msg_control + at);
    REMORA_ASSIGN_OR_RETURN(const auto head, c.memory().Read<abi::Cmsghdr>(item));
    if (head.cmsg_len < sizeof(head) || head.cmsg_len > end - at) return Errno(EINVAL);
    const GuestAddr data(item.value() + sizeof(head));
    const uint64_t length = head.cmsg_len - sizeof(head);
    at += abi::CmsgAlign(head.cmsg_len);
    if (head.cmsg_level != abi::kSOL_SOCKET) continue;
    if (head.cmsg_type == static_cast<int32_t>(abi::kSCM_RIGHTS)) {
      const uint64_t num_files = length / sizeof(int32_t);
      if (call.files.size() + num_files > abi::kSCM_MAX_FD) return Errno(EINVAL);
      for (uint64_t i = 0; i < num_files; ++i) {
        REMORA_ASSIGN_OR_RETURN(const int32_t fd,
                                c.memory().Read<int32_t>(GuestAddr(data.value() + i * sizeof(int32_t))));
        REMORA_ASSIGN_OR_RETURN(Ref<fs::File> file, c.task().fds()->Lookup(fd));
        call.files.push_back(std::move(file));
      }
    } else if (head.cmsg_type == static_cast<int32_t>(abi::kSCM_CREDENTIALS)) {
      if (length != sizeof(net::PeerCredentials)) return Errno(EINVAL);
      REMORA_ASSIGN_OR_RETURN(call.sender, c.memory().Read<net::PeerCredentials>(data));
      REMORA_RETURN_IF_ERROR(CheckCredentials(c, call.sender));
    } else {
      return Errno(EINVAL);
    }
  }
  return Ok();
}

// ---- receiving ----

struct ReceiveCall {
  SocketFile socket;
  uint32_t flags = 0;
  mm::UserBuffer::Ranges ranges;
  uint64_t done = 0;
  // What came with the first part.
  std::optional<net::SocketAddress> from;
  std::vector<Ref<fs::File>> files;
  net::PeerCredentials sender;
  bool received_any = false;
  bool truncated = false;
  uint64_t message_bytes = 0;
  // Where the answer goes: recvmsg's header, or recvfrom's address.
  GuestAddr header_address;
  abi::Msghdr header{};
  GuestAddr name, name_length;

  bool nonblocking() const { return (flags & abi::kMSG_DONTWAIT) != 0 || socket.file->nonblocking(); }
};

struct ReceiveState : proc::SyscallState {
  ReceiveState(proc::Task* task, ReceiveCall c) : call(std::move(c)), waiter(task) {}
  ReceiveCall call;  // holds the file: before the waiter
  proc::TaskWaiter waiter;
};

// Writes ancillary data into the guest's buffer, as put_cmsg() does.
class ControlWriter {
 public:
  ControlWriter(SyscallContext& c, const abi::Msghdr& header)
      : c_(c), start_(header.msg_control), room_(header.msg_control == 0 ? 0 : header.msg_controllen) {}

  ErrnoOr<void> PutCredentials(const net::PeerCredentials& sender) {
    constexpr uint64_t kWhole = sizeof(abi::Cmsghdr) + sizeof(sender);
    if (left() < sizeof(abi::Cmsghdr)) {
      cut_ = true;
      return Ok();
    }
    const uint64_t n = std::min(kWhole, left());
    cut_ |= n < kWhole;
    REMORA_RETURN_IF_ERROR(PutHead(abi::kSCM_CREDENTIALS, n));
    REMORA_RETURN_IF_ERROR(c_.memory().CopyOut(at(sizeof(abi::Cmsghdr)),
                                               std::as_bytes(std::span(&sender, 1)).first(n - sizeof(abi::Cmsghdr))));
    used_ += std::min(abi::CmsgAlign(n), left());
    return Ok();
  }

  // Files that find no room, in the buffer or in the table of descriptors, are closed.
  ErrnoOr<void> PutFiles(std::vector<Ref<fs::File>> files, bool close_on_exec) {
    const uint64_t room = left() <= sizeof(abi::Cmsghdr) ? 0 : (left() - sizeof(abi::Cmsghdr)) / sizeof(int32_t);
    uint64_t n = 0;
    for (; n < std::min<uint64_t>(room, files.size()); ++n) {
      const auto fd = c_.AddFd(std::move(files[n]), close_on_exec);
      if (!fd.ok()) break;
      const auto written = c_.memory().Write(at(sizeof(abi::Cmsghdr) + n * sizeof(int32_t)), *fd);
      if (!written.ok()) {
        (void)c_.task().fds()->Close(*fd);
        break;
      }
    }
    cut_ |= n < files.size();
    if (n == 0) return Ok();
    const uint64_t length = sizeof(abi::Cmsghdr) + n * sizeof(int32_t);
    REMORA_RETURN_IF_ERROR(PutHead(abi::kSCM_RIGHTS, length));
    used_ += std::min(abi::CmsgAlign(length), left());
    return Ok();
  }

  uint64_t used() const { return used_; }
  bool cut() const { return cut_; }

 private:
  uint64_t left() const { return room_ - used_; }
  GuestAddr at(uint64_t offset) const { return GuestAddr(start_ + used_ + offset); }
  ErrnoOr<void> PutHead(uint32_t type, uint64_t length) {
    return c_.memory().Write(at(0), abi::Cmsghdr{length, abi::kSOL_SOCKET, static_cast<int32_t>(type)});
  }

  SyscallContext& c_;
  const uint64_t start_, room_;
  uint64_t used_ = 0;
  bool cut_ = false;
};

ErrnoOr<void> FinishMessage(SyscallContext& c, ReceiveCall& call) {
  ControlWriter control(c, call.header);
  if (call.received_any && call.socket.socket->wants_credentials())
    REMORA_RETURN_IF_ERROR(control.PutCredentials(call.sender));
  if (!call.files.empty())
    REMORA_RETURN_IF_ERROR(control.PutFiles(std::move(call.files), (call.flags & abi::kMSG_CMSG_CLOEXEC) != 0));
  const auto field = [&](size_t offset) { return GuestAddr(call.header_address.value() + offset); };
  const net::SocketAddress from = call.from.value_or(net::SocketAddress());
  if (call.header.msg_name != 0) {
    const auto room = static_cast<uint32_t>(call.header.msg_namelen);
    REMORA_RETURN_IF_ERROR(c.memory().CopyOut(GuestAddr(call.header.msg_name),
                                              std::span(from.bytes).first(std::min(room, from.length_bytes))));
    REMORA_RETURN_IF_ERROR(c.memory().Write(field(offsetof(abi::Msghdr, msg_namelen)), from.length_bytes));
  }
  uint32_t flags = call.flags & abi::kMSG_CMSG_CLOEXEC;
  if (call.truncated) flags |= abi::kMSG_TRUNC;
  if (control.cut()) flags |= abi::kMSG_CTRUNC;
  REMORA_RETURN_IF_ERROR(c.memory().Write(field(offsetof(abi::Msghdr, msg_flags)), flags));
  return c.memory().Write(field(offsetof(abi::Msghdr, msg_controllen)), control.used());
}

SyscallOutcome FinishReceive(SyscallContext& c, ReceiveCall& call) {
  if (!call.header_address.is_null()) {
    REMORA_RETURN_IF_ERROR(FinishMessage(c, call));
  } else if (!call.name.is_null()) {
    REMORA_RETURN_IF_ERROR(
        WriteSocketAddress(c, call.from.value_or(net::SocketAddress()), call.name, call.name_length));
  }
  const bool whole_length = call.truncated && (call.flags & abi::kMSG_TRUNC) != 0;
  return SyscallOutcome::Return(static_cast<int64_t>(whole_length ? call.message_bytes : call.done));
}

// Receives until there is an answer; nullopt: nothing (or, with MSG_WAITALL, not all) is there yet.
std::optional<SyscallOutcome> TryReceive(SyscallContext& c, ReceiveCall& call) {
  net::Socket& socket = *call.socket.socket;
  const bool wants_all =
      (call.flags & (abi::kMSG_WAITALL | abi::kMSG_PEEK)) == abi::kMSG_WAITALL && !socket.keeps_boundaries();
  mm::UserBuffer buffer(c.memory(), Direction::kFill, call.ranges);
  if (call.done != 0) buffer.Advance(call.done);
  for (;;) {
    net::IncomingMessage message;
    message.bytes = &buffer;
    message.peek = (call.flags & abi::kMSG_PEEK) != 0;
    message.nonblocking = call.nonblocking();
    const auto received = socket.Receive(message);
    if (!received.ok()) {
      if (received.error_number() == EAGAIN && !call.nonblocking()) return std::nullopt;
      if (call.done == 0) return received.error();
      return FinishReceive(c, call);
    }
    if (!call.received_any) {
      call.from = message.from;
      call.sender = message.sender;
      call.received_any = *received != 0 || message.sender != net::PeerCredentials() || !message.files.empty();
    }
    call.done += *received;
    call.truncated = message.truncated;
    call.message_bytes = message.message_bytes;
    if (!message.files.empty()) call.files = std::move(message.files);
    if (wants_all && *received != 0 && !message.ends_here && buffer.remaining() != 0) continue;
    return FinishReceive(c, call);
  }
}

SyscallOutcome ResumeReceive(SyscallContext& c) {
  auto& state = *c.state<ReceiveState>();
  if (auto outcome = TryReceive(c, state.call)) return *outcome;
  if (state.call.done != 0 && c.task().signal_pending()) return FinishReceive(c, state.call);
  return c.Park();
}

SyscallOutcome RunReceive(SyscallContext& c, ReceiveCall call) {
  if ((call.flags & abi::kMSG_OOB) != 0) return Errno(EOPNOTSUPP);
  if (auto outcome = TryReceive(c, call)) return *outcome;
  auto& state = c.MakeState<ReceiveState>(&c.task(), std::move(call));
  SyscallContext::Arm(state.waiter, *state.call.socket.file, sync::kReadable | sync::kReadHangup);
  return ResumeReceive(c);
}

}  // namespace

SyscallOutcome SysSendto(SyscallContext& c) {
  if (c.task().syscall_state) return ResumeSend(c);
  SendCall call;
  REMORA_ASSIGN_OR_RETURN(call.ranges, OneRange(c.addr(1), c.arg(2)));
  REMORA_ASSIGN_OR_RETURN(call.socket, SocketArg(c, 0));
  call.flags = c.u32(3);
  call.sender = TaskSocketCaller(c).credentials();
  if (!c.addr(4).is_null()) {
    REMORA_ASSIGN_OR_RETURN(const net::SocketAddress to, ReadSocketAddress(c, c.addr(4), c.i32(5)));
    if (to.length_bytes != 0) call.to = to;
  }
  return RunSend(c, std::move(call));
}

SyscallOutcome SysSendmsg(SyscallContext& c) {
  if (c.task().syscall_state) return ResumeSend(c);
  SendCall call;
  REMORA_ASSIGN_OR_RETURN(call.socket, SocketArg(c, 0));
  REMORA_ASSIGN_OR_RETURN(const auto header, c.memory().Read<abi::Msghdr>(c.addr(1)));
  call.flags = c.u32(2);
  call.sender = TaskSocketCaller(c).credentials();
  if (header.msg_namelen < 0) return Errno(EINVAL);
  if (header.msg_name != 0 && header.msg_namelen != 0) {
    // Longer ones are cut, unlike sendto's.
    REMORA_ASSIGN_OR_RETURN(
        call.to, ReadSocketAddress(c, GuestAddr(header.msg_name), std::min(header.msg_namelen, int32_t{128})));
  }
  REMORA_ASSIGN_OR_RETURN(call.ranges, RangesOf(c, header));
  REMORA_RETURN_IF_ERROR(ReadControl(c, header, call));
  return RunSend(c, std::move(call));
}

SyscallOutcome SysRecvfrom(SyscallContext& c) {
  if (c.task().syscall_state) return ResumeReceive(c);
  ReceiveCall call;
  REMORA_ASSIGN_OR_RETURN(call.ranges, OneRange(c.addr(1), c.arg(2)));
  REMORA_ASSIGN_OR_RETURN(call.socket, SocketArg(c, 0));
  call.flags = c.u32(3);
  call.name = c.addr(4);
  call.name_length = c.addr(5);
  return RunReceive(c, std::move(call));
}

SyscallOutcome SysRecvmsg(SyscallContext& c) {
  if (c.task().syscall_state) return ResumeReceive(c);
  ReceiveCall call;
  REMORA_ASSIGN_OR_RETURN(call.socket, SocketArg(c, 0));
  REMORA_ASSIGN_OR_RETURN(call.header, c.memory().Read<abi::Msghdr>(c.addr(1)));
  if (call.header.msg_namelen < 0) return Errno(EINVAL);
  call.header_address = c.addr(1);
  call.flags = c.u32(2);
  REMORA_ASSIGN_OR_RETURN(call.ranges, RangesOf(c, call.header));
  return RunReceive(c, std::move(call));
}

}  // namespace remora::syscalls
