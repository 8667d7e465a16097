#ifndef REMORA_NET_UNIX_ENDPOINT_H_
#define REMORA_NET_UNIX_ENDPOINT_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/inode.h"
#include "net/socket.h"
#include "net/unix_address.h"
#include "net/unix_namespace.h"
#include "sync/wait_queue.h"

namespace remora::net {

// What stands behind an open AF_UNIX socket: its name, its peer and what has arrived. Apart from the open file
// (UnixSocket) because peers and messages refer to one another, while the last close of a file must be seen.
//
// A message is charged to its sender until it is received, at the size that Linux's socket buffers have: a guest can
// tell when a socket becomes full. So no message queue outgrows what its senders may have under way.
//
// Invariants:
//  1. No two endpoints are locked at once: a call takes a counted reference out of one, then locks the other.
//  2. A closed endpoint has no messages, no peer, no pending connections and no name.
//  3. No file and no message goes while a lock is held.
//  4. charge_ is the sum of the charges of the messages in others' queues that name this endpoint as their sender.
// Linux twin: struct unix_sock. Difference: write(2) sends with the credentials of whoever made the socket.
// Thread safety: all methods from any thread. The receiver's lock is held while a stream is copied to guest memory.
class UnixEndpoint final : public RefCounted {
 public:
  static constexpr uint32_t kDefaultBuffer = 212'992;  // /proc/sys/net/core/wmem_default, wmem_max
  static constexpr uint32_t kMinSendBuffer = 4'608;
  static constexpr uint32_t kMinReceiveBuffer = 2'304;
  static constexpr uint32_t kMaxQueuedDatagrams = 10;  // /proc/sys/net/unix/max_dgram_qlen
  static constexpr uint32_t kMaxBacklog = 4'096;       // /proc/sys/net/core/somaxconn

  // `type`: SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
  UnixEndpoint(Ref<UnixNamespace> names, int32_t type, const PeerCredentials& owner);

  // socketpair(2).
  static void Join(const Ref<UnixEndpoint>& a, const Ref<UnixEndpoint>& b);

  // As in net/socket.h.
  ErrnoOr<void> Bind(SocketCaller& caller, const SocketAddress& address);
  ErrnoOr<void> Listen(const PeerCredentials& owner, int32_t backlog);
  ErrnoOr<Ref<UnixEndpoint>> Accept();
  ErrnoOr<void> Connect(SocketCaller& caller, const SocketAddress& address);
  void Shutdown(bool receive, bool send);
  SocketAddress Name() const;
  ErrnoOr<SocketAddress> PeerName() const;
  ErrnoOr<uint64_t> Send(SocketCaller* caller, OutgoingMessage& message);
  ErrnoOr<uint64_t> Receive(IncomingMessage& message);
  // The last close of the open file.
  void Close() { CloseWith(/*reset_peer=*/false); }

  sync::Events Readiness(sync::Events interest);
  sync::WaitQueue* wait_queue() { return &queue_; }
  ErrnoOr<uint64_t> bytes_available() const;  // FIONREAD: EINVAL while listening

  int32_t type() const { return type_; }
  bool listening() const;
  int32_t TakeError();
  PeerCredentials owner() const;
  PeerCredentials peer_credentials() const;
  uint32_t send_buffer() const { return send_limit_.load(std::memory_order_relaxed); }
  void SetSendBuffer(uint32_t size_bytes);
  bool passes_credentials() const { return passes_credentials_.load(std::memory_order_relaxed); }
  void set_passes_credentials(bool value) { passes_credentials_.store(value, std::memory_order_relaxed); }

  void CheckInvariants() const;

 private:
  enum class State : uint8_t { kUnconnected, kConnecting, kConnected, kListening };
  struct Message {
    std::unique_ptr<std::byte[]> bytes;
    uint32_t size_bytes = 0;
    uint32_t consumed_bytes = 0;  // of a stream's
    uint32_t charge_bytes = 0;
    Ref<UnixEndpoint> sender;
    std::shared_ptr<const UnixAddress> from;
    PeerCredentials credentials;
    std::vector<Ref<fs::File>> files;
  };
  ~UnixEndpoint() override;

  bool is_stream() const;
  bool is_datagram() const;
  ErrnoOr<Ref<UnixEndpoint>> Find(SocketCaller& caller, const UnixAddress& address) const;
  ErrnoOr<void> ConnectDatagram(SocketCaller& caller, const SocketAddress& address);
  ErrnoOr<void> ConnectStream(SocketCaller& caller, const UnixAddress& address);
  // A connection that `client` asks for comes to this listener. ECONNREFUSED; EAGAIN: the queue is full, and the client
  // is told when that changes.
  ErrnoOr<PeerCredentials> AddPending(const Ref<UnixEndpoint>& client, const Ref<UnixEndpoint>& server_end);

  ErrnoOr<uint64_t> SendStream(OutgoingMessage& message);
  ErrnoOr<uint64_t> SendDatagram(SocketCaller* caller, OutgoingMessage& message);
  // To whom a datagram goes.
  ErrnoOr<void> FindTarget(SocketCaller& caller, const UnixAddress& name, Ref<UnixEndpoint>* target);
  ErrnoOr<void> PeerAsTarget(Ref<UnixEndpoint>* target);
  // Reads size_bytes out of `from` into a message. EFAULT.
  ErrnoOr<Message> MakeMessage(OutgoingMessage& from, uint32_t size_bytes);
  ErrnoOr<void> AttachFiles(OutgoingMessage& from, Message* to);
  // Puts a message into this endpoint's queue, and charges it to its sender. ECONNREFUSED: closed. EPIPE: receives no
  // more. EPERM: has another peer. EAGAIN: too many datagrams; the sender is told when that changes. On failure the
  // message is untouched.
  ErrnoOr<void> Deliver(Message& message);
  bool FullFor(const UnixEndpoint& sender) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TellWhenNotFull(UnixEndpoint& sender) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  ErrnoOr<uint64_t> ReceiveStream(IncomingMessage& message);
  ErrnoOr<uint64_t> ReceiveStreamLocked(IncomingMessage& message, std::vector<Message>& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  ErrnoOr<uint64_t> ReceiveDatagram(IncomingMessage& message);
  // 0, EAGAIN or the pending error, where nothing has arrived.
  ErrnoOr<uint64_t> NothingLocked(bool end_is_zero) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Hands the files of a message over, or copies of them.
  void GiveFiles(Message& from, IncomingMessage& to);

  // Does poll(2) say writable? Linux's unix_writable(), whose count of charges begins at 1.
  static bool HasRoom(uint64_t charge_bytes, uint64_t limit_bytes) { return (charge_bytes + 1) * 4 <= limit_bytes; }
  void Uncharge(uint32_t charge_bytes);
  void TakeIncoming(std::vector<Message>& messages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Discard(std::vector<Message> messages);
  void DropFiles(std::vector<Ref<fs::File>> files);  // that were under way
  void CloseWith(bool reset_peer);
  void OnPeerClosed(bool reset);
  void OnPeerShutdown(bool receive, bool send);

  const Ref<UnixNamespace> names_;
  const int32_t type_;
  std::atomic<uint64_t> charge_{0};
  std::atomic<uint32_t> send_limit_{kDefaultBuffer};
  std::atomic<bool> passes_credentials_{false};

  mutable Mutex mu_{LockRank::kPipe};
  State state_ ABSL_GUARDED_BY(mu_) = State::kUnconnected;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  bool shut_receive_ ABSL_GUARDED_BY(mu_) = false;
  bool shut_send_ ABSL_GUARDED_BY(mu_) = false;
  int32_t error_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t backlog_ ABSL_GUARDED_BY(mu_) = kMaxQueuedDatagrams;
  PeerCredentials owner_ ABSL_GUARDED_BY(mu_);
  PeerCredentials peer_credentials_ ABSL_GUARDED_BY(mu_);
  // Stays when the peer closes, so that its name can still be asked for.
  Ref<UnixEndpoint> peer_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<const UnixAddress> address_ ABSL_GUARDED_BY(mu_);  // null: none; never changes once set
  Ref<fs::Inode> bound_inode_ ABSL_GUARDED_BY(mu_);
  bool owns_name_ ABSL_GUARDED_BY(mu_) = false;  // an accepted connection shows its listener's name
  std::deque<Message> incoming_ ABSL_GUARDED_BY(mu_);
  std::deque<Ref<UnixEndpoint>> pending_ ABSL_GUARDED_BY(mu_);   // connections not yet accepted
  std::vector<Ref<UnixEndpoint>> waiting_ ABSL_GUARDED_BY(mu_);  // senders and clients that found a queue full
  sync::WaitQueue queue_;
};

}  // namespace remora::net

#endif  // REMORA_NET_UNIX_ENDPOINT_H_
