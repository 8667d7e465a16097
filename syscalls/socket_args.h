#ifndef REMORA_SYSCALLS_SOCKET_ARGS_H_
#define REMORA_SYSCALLS_SOCKET_ARGS_H_

#include <cstdint>

#include "net/socket.h"
#include "syscalls/context.h"

namespace remora::syscalls {

// The calling task as net/ sees it. Lives for one run of a handler.
class TaskSocketCaller final : public net::SocketCaller {
 public:
  explicit TaskSocketCaller(const SyscallContext& c) : c_(c) {}
  fs::Vfs& vfs() override { return c_.vfs(); }
  fs::WalkContext Walk() override { return c_.WalkFromCwd(); }
  uint32_t ApplyUmask(uint32_t mode) override { return c_.ApplyUmask(mode); }
  net::PeerCredentials credentials() override {
    const auto ids = c_.task().credentials();
    return {c_.group().pid(), ids->euid, ids->egid};
  }

 private:
  const SyscallContext& c_;
};

// A descriptor's file, and the socket that it is.
struct SocketFile {
  Ref<fs::File> file;
  net::Socket* socket = nullptr;  // file's
};
// EBADF; ENOTSOCK.
ErrnoOr<SocketFile> SocketArg(const SyscallContext& c, int i);

// A struct sockaddr of the guest's. EINVAL: a length below 0 or above 128.
ErrnoOr<net::SocketAddress> ReadSocketAddress(const SyscallContext& c, GuestAddr from, int32_t length_bytes);
// As many bytes as *length says, and the whole length into *length. EINVAL: it is negative.
ErrnoOr<void> WriteSocketAddress(const SyscallContext& c, const net::SocketAddress& address, GuestAddr to,
                                 GuestAddr length);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_SOCKET_ARGS_H_
