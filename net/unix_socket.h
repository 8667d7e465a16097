#ifndef REMORA_NET_UNIX_SOCKET_H_
#define REMORA_NET_UNIX_SOCKET_H_

#include <atomic>
#include <cstdint>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/special/anonymous_files.h"
#include "net/socket.h"
#include "net/unix_endpoint.h"
#include "net/unix_namespace.h"

namespace remora::net {

// What new sockets need. The pointers outlive the call only.
struct UnixSocketContext {
  fs::AnonymousFiles* files = nullptr;
  UnixNamespace* names = nullptr;
  PeerCredentials owner;
};

// An open AF_UNIX socket: SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET. What it does stands in UnixEndpoint.
// Absent: MSG_OOB, SO_RCVTIMEO and SO_SNDTIMEO, SO_PEEK_OFF, SO_PEERSEC, SO_PEERPIDFD.
class UnixSocket final : public Socket {
 public:
  // `type` without flags; `flags`: O_NONBLOCK. ESOCKTNOSUPPORT; EPROTONOSUPPORT.
  static ErrnoOr<Ref<UnixSocket>> Make(const UnixSocketContext& context, int32_t type, int32_t protocol,
                                       uint32_t flags);
  struct Pair {
    Ref<UnixSocket> first, second;
  };
  static ErrnoOr<Pair> MakePair(const UnixSocketContext& context, int32_t type, int32_t protocol, uint32_t flags);

  int32_t domain() const override;
  int32_t type() const override { return endpoint_->type(); }
  ErrnoOr<void> Bind(SocketCaller& caller, const SocketAddress& address) override;
  ErrnoOr<void> Listen(SocketCaller& caller, int32_t backlog) override;
  ErrnoOr<Ref<Socket>> Accept(uint32_t flags) override;
  ErrnoOr<void> Connect(SocketCaller& caller, const SocketAddress& address) override;
  ErrnoOr<void> Shutdown(bool receive, bool send) override;
  ErrnoOr<SocketAddress> Name() override { return endpoint_->Name(); }
  ErrnoOr<SocketAddress> PeerName() override { return endpoint_->PeerName(); }
  ErrnoOr<uint64_t> Send(SocketCaller* caller, OutgoingMessage& message) override;
  ErrnoOr<uint64_t> Receive(IncomingMessage& message) override { return endpoint_->Receive(message); }
  bool broken_pipe_signals() const override;
  bool keeps_boundaries() const override;
  ErrnoOr<int32_t> GetOption(int32_t option) override;
  ErrnoOr<void> SetOption(int32_t option, int32_t value) override;
  PeerCredentials peer_credentials() override { return endpoint_->peer_credentials(); }
  bool wants_credentials() const override { return endpoint_->passes_credentials(); }

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) override;
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t offset) override;
  ErrnoOr<uint64_t> Ioctl(const fs::IoctlContext& context, uint32_t request, uint64_t argument) override;
  sync::Events Readiness(sync::Events interest) override { return endpoint_->Readiness(interest); }
  sync::WaitQueue* wait_queue() override { return endpoint_->wait_queue(); }
  void OnLastClose() override { endpoint_->Close(); }

  UnixEndpoint& endpoint() { return *endpoint_; }

 private:
  template <typename T, typename... Args>
  friend Ref<T> remora::MakeRef(Args&&... args);
  UnixSocket(fs::AnonymousFiles* files, Ref<UnixEndpoint> endpoint, uint32_t flags);

  const Ref<fs::AnonymousFiles> files_;
  const Ref<UnixEndpoint> endpoint_;
  // Options that are kept and have no effect on a unix socket, one bit for each.
  std::atomic<uint32_t> kept_options_{0};
  std::atomic<uint32_t> receive_buffer_{UnixEndpoint::kDefaultBuffer};
};

}  // namespace remora::net

#endif  // REMORA_NET_UNIX_SOCKET_H_
