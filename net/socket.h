#ifndef REMORA_NET_SOCKET_H_
#define REMORA_NET_SOCKET_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/path_walk.h"
#include "fs/special/anonymous_file.h"
#include "fs/special/anonymous_files.h"
#include "fs/vfs.h"
#include "mm/io_buffer.h"

namespace remora::net {

// Who is at an end of a connection, or sent a message: struct ucred.
struct PeerCredentials {
  int32_t pid = 0;
  uint32_t uid = ~uint32_t{0}, gid = ~uint32_t{0};
  friend bool operator==(const PeerCredentials&, const PeerCredentials&) = default;
};
static_assert(sizeof(PeerCredentials) == 12);

// What a socket call may need to know of its caller, without knowing tasks: names in the file system are resolved and
// made on its behalf. Asked for only where a name is one of the file system's.
class SocketCaller {
 public:
  virtual fs::Vfs& vfs() = 0;
  virtual fs::WalkContext Walk() = 0;
  virtual uint32_t ApplyUmask(uint32_t mode) = 0;
  virtual PeerCredentials credentials() = 0;

 protected:
  ~SocketCaller() = default;
};

// struct sockaddr_storage with the length that was given or is to be told.
struct SocketAddress {
  std::array<std::byte, 128> bytes{};
  uint32_t length_bytes = 0;
};

// What one send hands over. `files` and `credentials` are the ancillary data; files are moved out once the message (or
// its first part) stands in the queue.
struct OutgoingMessage {
  mm::IoBuffer* bytes = nullptr;
  const SocketAddress* to = nullptr;  // null: the peer
  std::vector<Ref<fs::File>> files;
  PeerCredentials sender;
};

// What one receive gives back.
struct IncomingMessage {
  mm::IoBuffer* bytes = nullptr;
  bool peek = false;
  bool nonblocking = false;
  // The answer:
  std::optional<SocketAddress> from;  // none: the sender has no name
  uint64_t message_bytes = 0;         // how long a datagram was before it was cut
  bool truncated = false;
  bool ends_here = false;  // MSG_WAITALL goes no further: files or other credentials came
  std::vector<Ref<fs::File>> files;
  PeerCredentials sender;
};

// Base of all sockets: an open file without a name ("socket:[7]"), and the calls that only sockets have. As files do,
// sockets never block: EAGAIN (and, for Connect, EAGAIN where the listener's queue is full) means: arm a waiter on
// wait_queue() for any event and come back. Linux twin: struct socket with proto_ops.
// Thread safety: all methods from any thread.
class Socket : public fs::AnonymousFile {
 public:
  // The socket behind a file; null for other files (ENOTSOCK).
  static Socket* From(fs::File& file);

  virtual int32_t domain() const = 0;
  virtual int32_t type() const = 0;

  virtual ErrnoOr<void> Bind(SocketCaller& caller, const SocketAddress& address) = 0;
  virtual ErrnoOr<void> Listen(SocketCaller& caller, int32_t backlog) = 0;
  // `flags`: O_NONBLOCK of the new file.
  virtual ErrnoOr<Ref<Socket>> Accept(uint32_t flags) = 0;
  virtual ErrnoOr<void> Connect(SocketCaller& caller, const SocketAddress& address) = 0;
  virtual ErrnoOr<void> Shutdown(bool receive, bool send) = 0;
  virtual ErrnoOr<SocketAddress> Name() = 0;
  virtual ErrnoOr<SocketAddress> PeerName() = 0;

  // Bytes sent (a stream may take a part), or received. `caller` is null for write(2): no address then.
  virtual ErrnoOr<uint64_t> Send(SocketCaller* caller, OutgoingMessage& message) = 0;
  virtual ErrnoOr<uint64_t> Receive(IncomingMessage& message) = 0;
  // Does EPIPE raise SIGPIPE?
  virtual bool broken_pipe_signals() const = 0;
  // Datagrams and packets: a receive takes one, whole or cut; a send is never split.
  virtual bool keeps_boundaries() const = 0;

  // Of level SOL_SOCKET: integers. ENOPROTOOPT. SO_PEERCRED is peer_credentials().
  virtual ErrnoOr<int32_t> GetOption(int32_t option) = 0;
  virtual ErrnoOr<void> SetOption(int32_t option, int32_t value) = 0;
  virtual PeerCredentials peer_credentials() = 0;
  virtual bool wants_credentials() const = 0;  // SO_PASSCRED

 protected:
  Socket(Ref<fs::AnonymousInode> inode, uint32_t flags) : AnonymousFile(std::move(inode), flags) {}
};

// The inode of a new socket.
Ref<fs::AnonymousInode> MakeSocketInode(fs::AnonymousFiles& files, uint32_t uid, uint32_t gid);

}  // namespace remora::net

#endif  // REMORA_NET_SOCKET_H_
