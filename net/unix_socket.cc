#include "net/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace remora::net {
namespace {

// What unix_create accepts; SOCK_RAW is another word for datagrams there.
ErrnoOr<int32_t> CheckedType(int32_t type, int32_t protocol) {
  if (protocol != 0 && protocol != PF_UNIX) return Errno(EPROTONOSUPPORT);
  if (type == SOCK_RAW) return SOCK_DGRAM;
  if (type == SOCK_STREAM || type == SOCK_DGRAM || type == SOCK_SEQPACKET) return type;
  return Errno(ESOCKTNOSUPPORT);
}

// The bit of an option that is kept without effect; 0 for others.
constexpr uint32_t KeptBit(int32_t option) {
  switch (option) {
    case SO_REUSEADDR:
      return 1;
    case SO_KEEPALIVE:
      return 2;
    case SO_BROADCAST:
      return 4;
    case SO_DONTROUTE:
      return 8;
    case SO_REUSEPORT:
      return 16;
    case SO_OOBINLINE:
      return 32;
    default:
      return 0;
  }
}

}  // namespace

UnixSocket::UnixSocket(fs::AnonymousFiles* files, Ref<UnixEndpoint> endpoint, uint32_t flags)
    : Socket(MakeSocketInode(*files, endpoint->owner().uid, endpoint->owner().gid), O_RDWR | (flags & O_NONBLOCK)),
      files_(files),
      endpoint_(std::move(endpoint)) {}

ErrnoOr<Ref<UnixSocket>> UnixSocket::Make(const UnixSocketContext& context, int32_t type, int32_t protocol,
                                          uint32_t flags) {
  REMORA_ASSIGN_OR_RETURN(type, CheckedType(type, protocol));
  return MakeRef<UnixSocket>(context.files,
                             MakeRef<UnixEndpoint>(Ref<UnixNamespace>(context.names), type, context.owner), flags);
}

ErrnoOr<UnixSocket::Pair> UnixSocket::MakePair(const UnixSocketContext& context, int32_t type, int32_t protocol,
                                               uint32_t flags) {
  REMORA_ASSIGN_OR_RETURN(Ref<UnixSocket> first, Make(context, type, protocol, flags));
  REMORA_ASSIGN_OR_RETURN(Ref<UnixSocket> second, Make(context, type, protocol, flags));
  UnixEndpoint::Join(first->endpoint_, second->endpoint_);
  return Pair{std::move(first), std::move(second)};
}

int32_t UnixSocket::domain() const { return AF_UNIX; }

ErrnoOr<void> UnixSocket::Bind(SocketCaller& caller, const SocketAddress& address) {
  return endpoint_->Bind(caller, address);
}

ErrnoOr<void> UnixSocket::Listen(SocketCaller& caller, int32_t backlog) {
  return endpoint_->Listen(caller.credentials(), backlog);
}

ErrnoOr<Ref<Socket>> UnixSocket::Accept(uint32_t flags) {
  REMORA_ASSIGN_OR_RETURN(Ref<UnixEndpoint> accepted, endpoint_->Accept());
  return Ref<Socket>(MakeRef<UnixSocket>(files_.get(), std::move(accepted), flags));
}

ErrnoOr<void> UnixSocket::Connect(SocketCaller& caller, const SocketAddress& address) {
  return endpoint_->Connect(caller, address);
}

ErrnoOr<void> UnixSocket::Shutdown(bool receive, bool send) {
  endpoint_->Shutdown(receive, send);
  return Ok();
}

ErrnoOr<uint64_t> UnixSocket::Send(SocketCaller* caller, OutgoingMessage& message) {
  return endpoint_->Send(caller, message);
}

bool UnixSocket::broken_pipe_signals() const { return endpoint_->type() == SOCK_STREAM; }
bool UnixSocket::keeps_boundaries() const { return endpoint_->type() != SOCK_STREAM; }

ErrnoOr<uint64_t> UnixSocket::Read(mm::IoBuffer& to, uint64_t) {
  IncomingMessage message;  // files that come along are dropped with it
  message.bytes = &to;
  message.nonblocking = nonblocking();
  return Receive(message);
}

ErrnoOr<uint64_t> UnixSocket::Write(mm::IoBuffer& from, uint64_t) {
  OutgoingMessage message;
  message.bytes = &from;
  message.sender = endpoint_->owner();
  return Send(nullptr, message);
}

ErrnoOr<uint64_t> UnixSocket::Ioctl(const fs::IoctlContext& context, uint32_t request, uint64_t argument) {
  if (request != FIONREAD) return Errno(ENOTTY);
  REMORA_ASSIGN_OR_RETURN(const uint64_t available, endpoint_->bytes_available());
  REMORA_RETURN_IF_ERROR(context.memory.Write(GuestAddr(argument), static_cast<int32_t>(available)));
  return uint64_t{0};
}

ErrnoOr<int32_t> UnixSocket::GetOption(int32_t option) {
  switch (option) {
    case SO_TYPE:
      return endpoint_->type();
    case SO_DOMAIN:
      return AF_UNIX;
    case SO_PROTOCOL:
      return 0;
    case SO_ERROR:
      return endpoint_->TakeError();
    case SO_ACCEPTCONN:
      return endpoint_->listening() ? 1 : 0;
    case SO_SNDBUF:
      return static_cast<int32_t>(endpoint_->send_buffer());
    case SO_RCVBUF:
      return static_cast<int32_t>(receive_buffer_.load(std::memory_order_relaxed));
    case SO_PASSCRED:
      return endpoint_->passes_credentials() ? 1 : 0;
    default:
      break;
  }
  const uint32_t bit = KeptBit(option);
  if (bit == 0) return Errno(ENOPROTOOPT);
  return (kept_options_.load(std::memory_order_relaxed) & bit) != 0 ? 1 : 0;
}

ErrnoOr<void> UnixSocket::SetOption(int32_t option, int32_t value) {
  switch (option) {
    case SO_SNDBUF:
      endpoint_->SetSendBuffer(static_cast<uint32_t>(value));
      return Ok();
    case SO_RCVBUF:
      receive_buffer_.store(std::max(std::min(static_cast<uint32_t>(value), UnixEndpoint::kDefaultBuffer) * 2,
                                     UnixEndpoint::kMinReceiveBuffer),
                            std::memory_order_relaxed);
      return Ok();
    case SO_PASSCRED:
      endpoint_->set_passes_credentials(value != 0);
      return Ok();
    default:
      break;
  }
  const uint32_t bit = KeptBit(option);
  if (bit == 0) return Errno(ENOPROTOOPT);
  if (value != 0)
    kept_options_.fetch_or(bit, std::memory_order_relaxed);
  else
    kept_options_.fetch_and(~bit, std::memory_order_relaxed);
  return Ok();
}

}  // namespace remora::net
