// Sockets: making, naming and connecting them, their options. What they carry: syscalls/socket_message.cc.

#include "base/abi/socket.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "net/unix_socket.h"
#include "syscalls/handlers.h"
#include "syscalls/socket_args.h"

namespace remora::syscalls {

ErrnoOr<SocketFile> SocketArg(const SyscallContext& c, int i) {
  SocketFile found;
  REMORA_ASSIGN_OR_RETURN(found.file, c.FileArg(i));
  found.socket = net::Socket::From(*found.file);
  if (found.socket == nullptr) return Errno(ENOTSOCK);
  return found;
}

ErrnoOr<net::SocketAddress> ReadSocketAddress(const SyscallContext& c, GuestAddr from, int32_t length_bytes) {
  net::SocketAddress address;
  if (length_bytes < 0 || static_cast<uint32_t>(length_bytes) > address.bytes.size()) return Errno(EINVAL);
  address.length_bytes = static_cast<uint32_t>(length_bytes);
  REMORA_RETURN_IF_ERROR(c.memory().CopyIn(std::span(address.bytes).first(address.length_bytes), from));
  return address;
}

ErrnoOr<void> WriteSocketAddress(const SyscallContext& c, const net::SocketAddress& address, GuestAddr to,
                                 GuestAddr length) {
  REMORA_ASSIGN_OR_RETURN(const int32_t room, c.memory().Read<int32_t>(length));
  if (room < 0) return Errno(EINVAL);
  const uint32_t n = std::min(static_cast<uint32_t>(room), address.length_bytes);
  REMORA_RETURN_IF_ERROR(c.memory().CopyOut(to, std::span(address.bytes).first(n)));
  return c.memory().Write(length, address.length_bytes);
}

namespace {

// The type without its flags. EINVAL for flags that there are not.
ErrnoOr<int32_t> TypeOf(uint32_t type_and_flags) {
  if ((type_and_flags & ~(abi::kSOCK_TYPE_MASK | abi::kSOCK_CLOEXEC | abi::kSOCK_NONBLOCK)) != 0) return Errno(EINVAL);
  const uint32_t type = type_and_flags & abi::kSOCK_TYPE_MASK;
  if (type >= abi::kSOCK_MAX) return Errno(EINVAL);
  return static_cast<int32_t>(type);
}

net::UnixSocketContext MakeContext(const SyscallContext& c) {
  return {&c.vfs().anonymous_files(), &c.kernel().unix_names(), TaskSocketCaller(c).credentials()};
}

// Runs `operation` on a socket; where it answers EAGAIN and the socket may block, waits for `events` and runs it again.
// nullopt: `result` is the answer.
template <typename State = FileWait, typename T, typename F>
std::optional<SyscallOutcome> TryOrWait(SyscallContext& c, const SocketFile& s, sync::Events events, ErrnoOr<T>& result,
                                        F operation) {
  result = operation();
  if (result.error_number() != EAGAIN || s.file->nonblocking()) return std::nullopt;
  auto* wait = c.state<State>();
  if (wait == nullptr) wait = &c.MakeState<State>(&c.task(), s.file);
  if (SyscallContext::Arm(wait->waiter, *s.file, events)) {
    result = operation();
    if (result.error_number() != EAGAIN) return std::nullopt;
  }
  return c.Park();
}

// The socket that an earlier run waited for, or that of argument 0.
ErrnoOr<SocketFile> WaitedSocket(const SyscallContext& c) {
  if (const auto* wait = c.state<FileWait>()) return SocketFile{wait->file, net::Socket::From(*wait->file)};
  return SocketArg(c, 0);
}

// A connect that waits for room in the listener's queue.
struct ConnectWait : FileWait {
  using FileWait::FileWait;
  net::SocketAddress address;  // copied in once
};

SyscallOutcome Accept(SyscallContext& c, uint32_t flags) {
  if ((flags & ~(abi::kSOCK_CLOEXEC | abi::kSOCK_NONBLOCK)) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const SocketFile s, WaitedSocket(c));
  ErrnoOr<Ref<net::Socket>> accepted = Errno(EAGAIN);
  if (auto outcome = TryOrWait(c, s, sync::kReadable, accepted, [&] { return s.socket->Accept(flags); }))
    return *outcome;
  if (!accepted.ok()) return accepted.error();
  if (!c.addr(1).is_null()) {
    REMORA_ASSIGN_OR_RETURN(const net::SocketAddress name, (*accepted)->PeerName());
    REMORA_RETURN_IF_ERROR(WriteSocketAddress(c, name, c.addr(1), c.addr(2)));
  }
  return c.AddFd(*std::move(accepted), (flags & abi::kSOCK_CLOEXEC) != 0);
}

}  // namespace

SyscallOutcome SysSocket(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const int32_t type, TypeOf(c.u32(1)));
  if (c.i32(0) != abi::kAF_UNIX) return Errno(EAFNOSUPPORT);
  REMORA_ASSIGN_OR_RETURN(Ref<net::UnixSocket> socket,
                          net::UnixSocket::Make(MakeContext(c), type, c.i32(2), c.u32(1) & abi::kSOCK_NONBLOCK));
  return c.AddFd(std::move(socket), (c.u32(1) & abi::kSOCK_CLOEXEC) != 0);
}

SyscallOutcome SysSocketpair(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const int32_t type, TypeOf(c.u32(1)));
  if (c.i32(0) != abi::kAF_UNIX) return Errno(EAFNOSUPPORT);
  REMORA_ASSIGN_OR_RETURN(net::UnixSocket::Pair pair,
                          net::UnixSocket::MakePair(MakeContext(c), type, c.i32(2), c.u32(1) & abi::kSOCK_NONBLOCK));
  const bool close_on_exec = (c.u32(1) & abi::kSOCK_CLOEXEC) != 0;
  fs::FdTable& fds = *c.task().fds();
  REMORA_ASSIGN_OR_RETURN(const int32_t first, c.AddFd(std::move(pair.first), close_on_exec));
  const auto second = c.AddFd(std::move(pair.second), close_on_exec);
  if (!second.ok()) {
    (void)fds.Close(first);
    return second.error();
  }
  const auto written = c.memory().Write(c.addr(3), std::array<int32_t, 2>{first, *second});
  if (!written.ok()) {
    (void)fds.Close(first);
    (void)fds.Close(*second);
  }
  return written;
}

SyscallOutcome SysBind(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const SocketFile s, SocketArg(c, 0));
  REMORA_ASSIGN_OR_RETURN(const net::SocketAddress address, ReadSocketAddress(c, c.addr(1), c.i32(2)));
  TaskSocketCaller caller(c);
  return s.socket->Bind(caller, address);
}

SyscallOutcome SysListen(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const SocketFile s, SocketArg(c, 0));
  TaskSocketCaller caller(c);
  return s.socket->Listen(caller, c.i32(1));
}

SyscallOutcome SysAccept(SyscallContext& c) { return Accept(c, 0); }
SyscallOutcome SysAccept4(SyscallContext& c) { return Accept(c, c.u32(3)); }

SyscallOutcome SysConnect(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const SocketFile s, WaitedSocket(c));
  net::SocketAddress address;
  if (const auto* wait = c.state<ConnectWait>()) {
    address = wait->address;
  } else {
    REMORA_ASSIGN_OR_RETURN(address, ReadSocketAddress(c, c.addr(1), c.i32(2)));
  }
  TaskSocketCaller caller(c);
  ErrnoOr<void> connected = Errno(EAGAIN);
  const auto connect = [&] { return s.socket->Connect(caller, address); };
  if (auto outcome = TryOrWait<ConnectWait>(c, s, sync::kAllEvents, connected, connect)) {
    c.state<ConnectWait>()->address = address;
    return *outcome;
  }
  return connected;
}

SyscallOutcome SysShutdown(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const SocketFile s, SocketArg(c, 0));
  const int32_t how = c.i32(1);
  if (how < abi::kSHUT_RD || how > abi::kSHUT_RDWR) return Errno(EINVAL);
  return s.socket->Shutdown(how != abi::kSHUT_WR, how != abi::kSHUT_RD);
}

SyscallOutcome SysGetsockname(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const SocketFile s, SocketArg(c, 0));
  REMORA_ASSIGN_OR_RETURN(const net::SocketAddress name, s.socket->Name());
  return WriteSocketAddress(c, name, c.addr(1), c.addr(2));
}

SyscallOutcome SysGetpeername(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const SocketFile s, SocketArg(c, 0));
  REMORA_ASSIGN_OR_RETURN(const net::SocketAddress name, s.socket->PeerName());
  return WriteSocketAddress(c, name, c.addr(1), c.addr(2));
}

SyscallOutcome SysGetsockopt(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const SocketFile s, SocketArg(c, 0));
  if (c.i32(1) != abi::kSOL_SOCKET) return Errno(EOPNOTSUPP);
  REMORA_ASSIGN_OR_RETURN(const int32_t room, c.memory().Read<int32_t>(c.addr(4)));
  if (room < 0) return Errno(EINVAL);
  const auto answer = [&](std::span<const std::byte> value) -> SyscallOutcome {
    const size_t n = std::min(static_cast<size_t>(room), value.size());
    REMORA_RETURN_IF_ERROR(c.memory().CopyOut(c.addr(3), value.first(n)));
    return c.memory().Write(c.addr(4), static_cast<int32_t>(n));
  };
  if (c.i32(2) == abi::kSO_PEERCRED) {
    const net::PeerCredentials peer = s.socket->peer_credentials();
    return answer(std::as_bytes(std::span(&peer, 1)));
  }
  REMORA_ASSIGN_OR_RETURN(const int32_t value, s.socket->GetOption(c.i32(2)));
  return answer(std::as_bytes(std::span(&value, 1)));
}

SyscallOutcome SysSetsockopt(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const SocketFile s, SocketArg(c, 0));
  if (c.i32(4) < 0) return Errno(EINVAL);
  if (c.i32(1) != abi::kSOL_SOCKET) return Errno(EOPNOTSUPP);
  if (c.i32(4) < static_cast<int32_t>(sizeof(int32_t))) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const int32_t value, c.memory().Read<int32_t>(c.addr(3)));
  return s.socket->SetOption(c.i32(2), value);
}

}  // namespace remora::syscalls
