// UnixEndpoint: what is sent and received.

#include <errno.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <span>
#include <utility>

#include "net/unix_endpoint.h"

namespace remora::net {
namespace {

// The sizes that Linux's socket buffers have, because they decide when a socket is full. A buffer is a struct sk_buff,
// a linear head with struct skb_shared_info behind it, and whole pages.
constexpr uint32_t kBufferBytes = 256;
constexpr uint32_t kHeadTrailerBytes = 320;
constexpr uint32_t kPageBytes = 4096;
constexpr uint32_t kMaxStreamHead = kPageBytes - kHeadTrailerBytes;        // SKB_MAX_HEAD(0)
constexpr uint32_t kMaxStreamPages = 32'768;                               // UNIX_SKB_FRAGS_SZ
constexpr uint32_t kMaxDatagramHead = 4 * kPageBytes - kHeadTrailerBytes;  // SKB_MAX_ALLOC
constexpr uint32_t kMaxDatagramPages = 17;                                 // MAX_SKB_FRAGS
constexpr uint32_t kDatagramOverhead = 32;

constexpr uint32_t RoundToPages(uint32_t n) { return (n + kPageBytes - 1) / kPageBytes * kPageBytes; }

constexpr uint32_t HeadAndPages(uint32_t size_bytes, uint32_t paged_bytes) {
  const uint32_t in_head = size_bytes - std::min(size_bytes, paged_bytes);
  return kBufferBytes + std::bit_ceil(std::max(in_head + kHeadTrailerBytes, 512u)) + paged_bytes;
}
constexpr uint32_t ChargeOfStream(uint32_t size_bytes) {
  return HeadAndPages(size_bytes, size_bytes <= kMaxStreamHead ? 0 : RoundToPages(size_bytes - kMaxStreamHead));
}
constexpr uint32_t ChargeOfDatagram(uint32_t size_bytes) {
  return HeadAndPages(size_bytes,
                      size_bytes <= kMaxDatagramHead
                          ? 0
                          : RoundToPages(std::min(size_bytes - kMaxDatagramHead, kMaxDatagramPages * kPageBytes)));
}
static_assert(ChargeOfStream(1) == 768);

}  // namespace

ErrnoOr<uint64_t> UnixEndpoint::Send(SocketCaller* caller, OutgoingMessage& message) {
  return is_stream() ? SendStream(message) : SendDatagram(caller, message);
}

ErrnoOr<void> UnixEndpoint::AttachFiles(OutgoingMessage& from, Message* to) {
  if (from.files.empty()) return Ok();
  REMORA_RETURN_IF_ERROR(names_->AddInFlight(static_cast<uint32_t>(from.files.size())));
  to->files = std::move(from.files);
  from.files.clear();
  return Ok();
}

ErrnoOr<UnixEndpoint::Message> UnixEndpoint::MakeMessage(OutgoingMessage& from, uint32_t size_bytes) {
  Message message;
  message.bytes = std::make_unique_for_overwrite<std::byte[]>(size_bytes);
  message.size_bytes = size_bytes;
  message.charge_bytes = is_stream() ? ChargeOfStream(size_bytes) : ChargeOfDatagram(size_bytes);
  REMORA_ASSIGN_OR_RETURN(const uint64_t copied, from.bytes->Read(std::span(message.bytes.get(), size_bytes)));
  if (copied != size_bytes) return Errno(EFAULT);
  message.sender = Ref<UnixEndpoint>(this);
  message.credentials = from.sender;
  {
    MutexLock lock(&mu_);
    message.from = address_;
  }
  return message;
}

ErrnoOr<uint64_t> UnixEndpoint::SendStream(OutgoingMessage& message) {
  Ref<UnixEndpoint> peer;
  {
    MutexLock lock(&mu_);
    if (message.to != nullptr) return Errno(state_ == State::kConnected ? EISCONN : EOPNOTSUPP);
    if (!peer_) return Errno(ENOTCONN);
    if (shut_send_) return Errno(EPIPE);
    peer = peer_;
  }
  uint64_t sent = 0;
  while (message.bytes->remaining() != 0) {
    const uint32_t limit = send_buffer();
    // Looked at before a byte is taken: a blocked sender comes back with the same buffer.
    if (charge_.load(std::memory_order_acquire) >= limit) {
      if (sent == 0) return Errno(EAGAIN);
      break;
    }
    const auto size = static_cast<uint32_t>(
        std::min<uint64_t>({message.bytes->remaining(), limit / 2 - 64, kMaxStreamHead + kMaxStreamPages}));
    auto part = MakeMessage(message, size);
    if (!part.ok()) return sent != 0 ? ErrnoOr<uint64_t>(sent) : part.error();
    auto delivered = AttachFiles(message, &*part);
    if (delivered.ok()) delivered = peer->Deliver(*part);
    if (!delivered.ok()) {
      DropFiles(std::move(part->files));
      if (sent == 0) return Errno(delivered.error_number() == ECONNREFUSED ? EPIPE : delivered.error_number());
      break;
    }
    sent += size;
  }
  return sent;
}

ErrnoOr<void> UnixEndpoint::FindTarget(SocketCaller& caller, const UnixAddress& name, Ref<UnixEndpoint>* target) {
  REMORA_ASSIGN_OR_RETURN(*target, Find(caller, name));
  return Ok();
}

ErrnoOr<void> UnixEndpoint::PeerAsTarget(Ref<UnixEndpoint>* target) {
  MutexLock lock(&mu_);
  if (!peer_) return Errno(ENOTCONN);
  *target = peer_;
  return Ok();
}

ErrnoOr<uint64_t> UnixEndpoint::SendDatagram(SocketCaller* caller, OutgoingMessage& message) {
  const bool named = is_datagram() && message.to != nullptr;
  UnixAddress name;
  Ref<UnixEndpoint> target;
  if (named) {
    REMORA_ASSIGN_OR_RETURN(name, UnixAddress::Parse(*message.to));
  }
  const uint32_t limit = send_buffer();
  const uint64_t size = message.bytes->remaining();
  {
    MutexLock lock(&mu_);
    if (!is_datagram() && !peer_) return Errno(ENOTCONN);
    if (size > limit - kDatagramOverhead) return Errno(EMSGSIZE);
    if (error_ != 0) return Errno(std::exchange(error_, 0));
    if (shut_send_) return Errno(EPIPE);
  }
  if (charge_.load(std::memory_order_acquire) >= limit) return Errno(EAGAIN);
  // Whether anybody is there to take it is looked at behind all else.
  REMORA_ASSIGN_OR_RETURN(Message datagram, MakeMessage(message, static_cast<uint32_t>(size)));
  auto delivered = named ? FindTarget(*caller, name, &target) : PeerAsTarget(&target);
  if (delivered.ok()) delivered = AttachFiles(message, &datagram);
  if (delivered.ok()) delivered = target->Deliver(datagram);
  if (delivered.ok()) return size;
  // The files stay the caller's, who may come back with them.
  names_->RemoveInFlight(static_cast<uint32_t>(datagram.files.size()));
  if (message.files.empty()) message.files = std::move(datagram.files);
  datagram.files.clear();
  if (delivered.error_number() == ECONNREFUSED && !named && target) {
    if (!is_datagram()) return Errno(EPIPE);
    // A peer that is gone is told of once, and what it sent goes too.
    Ref<UnixEndpoint> gone;  // goes behind the lock
    std::vector<Message> messages;
    {
      MutexLock lock(&mu_);
      if (peer_ == target) {
        gone = std::move(peer_);
        TakeIncoming(messages);
      }
    }
    Discard(std::move(messages));
  }
  return delivered.error();
}

bool UnixEndpoint::FullFor(const UnixEndpoint& sender) const {
  return is_datagram() && &sender != this && peer_.get() != &sender && incoming_.size() > backlog_;
}

void UnixEndpoint::TellWhenNotFull(UnixEndpoint& sender) {
  for (const Ref<UnixEndpoint>& waiting : waiting_)
    if (waiting.get() == &sender) return;
  waiting_.emplace_back(&sender);
}

ErrnoOr<void> UnixEndpoint::Deliver(Message& message) {
  {
    MutexLock lock(&mu_);
    if (closed_) return Errno(ECONNREFUSED);
    if (is_datagram() && peer_ && peer_ != message.sender) return Errno(EPERM);
    if (shut_receive_) return Errno(EPIPE);
    if (FullFor(*message.sender)) {
      TellWhenNotFull(*message.sender);
      return Errno(EAGAIN);
    }
    // Not before: a sender that finds a queue full must not wake itself by taking its charge back.
    message.sender->charge_.fetch_add(message.charge_bytes, std::memory_order_acq_rel);
    incoming_.push_back(std::move(message));
  }
  queue_.NotifyOne(sync::kReadable);
  return Ok();
}

ErrnoOr<uint64_t> UnixEndpoint::Receive(IncomingMessage& message) {
  return is_stream() ? ReceiveStream(message) : ReceiveDatagram(message);
}

ErrnoOr<uint64_t> UnixEndpoint::NothingLocked(bool end_is_zero) {
  if (error_ != 0) return Errno(std::exchange(error_, 0));
  if (shut_receive_ && end_is_zero) return uint64_t{0};
  return Errno(EAGAIN);
}

void UnixEndpoint::GiveFiles(Message& from, IncomingMessage& to) {
  if (from.files.empty()) return;
  to.ends_here = true;
  if (to.peek) {
    to.files = from.files;
    return;
  }
  names_->RemoveInFlight(static_cast<uint32_t>(from.files.size()));
  to.files = std::move(from.files);
  from.files.clear();
}

ErrnoOr<uint64_t> UnixEndpoint::ReceiveStream(IncomingMessage& message) {
  std::vector<Message> done;
  ErrnoOr<uint64_t> received = uint64_t{0};
  {
    MutexLock lock(&mu_);
    received = ReceiveStreamLocked(message, done);
  }
  Discard(std::move(done));
  return received;
}

ErrnoOr<uint64_t> UnixEndpoint::ReceiveStreamLocked(IncomingMessage& message, std::vector<Message>& done) {
  if (state_ != State::kConnected) return Errno(EINVAL);
  if (incoming_.empty()) return NothingLocked(/*end_is_zero=*/true);
  uint64_t received = 0;
  for (size_t i = 0; i < incoming_.size(); i += message.peek) {
    Message& part = incoming_[i];
    if (received == 0) {
      message.sender = part.credentials;
      if (part.from) message.from = part.from->ToSocketAddress();
    } else if (passes_credentials() && part.credentials != message.sender) {
      message.ends_here = true;
      break;
    }
    const uint64_t n = std::min<uint64_t>(part.size_bytes - part.consumed_bytes, message.bytes->remaining());
    const auto copied = message.bytes->Write(std::span(part.bytes.get() + part.consumed_bytes, n));
    // A part whose copy faults stays as a whole, as in Linux.
    if (!copied.ok() || *copied != n) {
      if (received == 0) return Errno(EFAULT);
      break;
    }
    received += n;
    GiveFiles(part, message);
    if (!message.peek) {
      part.consumed_bytes += static_cast<uint32_t>(n);
      if (part.consumed_bytes == part.size_bytes) {
        done.push_back(std::move(part));
        incoming_.pop_front();
      }
    }
    if (message.ends_here || message.bytes->remaining() == 0) break;
  }
  return received;
}

ErrnoOr<uint64_t> UnixEndpoint::ReceiveDatagram(IncomingMessage& message) {
  const auto copy_out = [&message](const Message& datagram) -> ErrnoOr<uint64_t> {
    message.sender = datagram.credentials;
    if (datagram.from) message.from = datagram.from->ToSocketAddress();
    message.message_bytes = datagram.size_bytes;
    const uint64_t n = std::min<uint64_t>(datagram.size_bytes, message.bytes->remaining());
    message.truncated = n < datagram.size_bytes;
    REMORA_ASSIGN_OR_RETURN(const uint64_t copied, message.bytes->Write(std::span(datagram.bytes.get(), n)));
    if (copied != n) return Errno(EFAULT);
    return n;
  };
  std::vector<Message> done;
  std::vector<Ref<UnixEndpoint>> waiting;
  {
    MutexLock lock(&mu_);
    if (!is_datagram() && state_ != State::kConnected) return Errno(ENOTCONN);
    if (error_ != 0) return Errno(std::exchange(error_, 0));
    // Linux tells the end of a datagram socket only to those who wait for it.
    if (incoming_.empty()) return NothingLocked(!is_datagram() || !message.nonblocking);
    if (message.peek) {
      const auto copied = copy_out(incoming_.front());
      if (copied.ok()) GiveFiles(incoming_.front(), message);
      return copied;
    }
    done.push_back(std::move(incoming_.front()));
    incoming_.pop_front();
    waiting.swap(waiting_);
  }
  for (const Ref<UnixEndpoint>& sender : waiting) sender->queue_.Notify(sync::kWritable);
  // Off the queue whether or not the copy faults, as in Linux.
  const auto copied = copy_out(done.front());
  if (copied.ok()) GiveFiles(done.front(), message);
  Discard(std::move(done));
  return copied;
}

ErrnoOr<uint64_t> UnixEndpoint::bytes_available() const {
  MutexLock lock(&mu_);
  if (state_ == State::kListening) return Errno(EINVAL);
  if (incoming_.empty()) return uint64_t{0};
  if (!is_stream()) return uint64_t{incoming_.front().size_bytes};
  uint64_t sum = 0;
  for (const Message& message : incoming_) sum += message.size_bytes - message.consumed_bytes;
  return sum;
}

void UnixEndpoint::Uncharge(uint32_t charge_bytes) {
  const uint64_t before = charge_.fetch_sub(charge_bytes, std::memory_order_acq_rel);
  const uint64_t limit = send_buffer();
  // Senders are told once three quarters are free; then of each message, as in Linux: those who wait for an edge can
  // tell.
  if (HasRoom(before - charge_bytes, limit)) queue_.NotifyOne(sync::kWritable);
}

void UnixEndpoint::Discard(std::vector<Message> messages) {
  std::vector<Ref<fs::File>> files;
  for (Message& message : messages) {
    message.sender->Uncharge(message.charge_bytes);
    for (Ref<fs::File>& file : message.files) files.push_back(std::move(file));
  }
  DropFiles(std::move(files));
}

void UnixEndpoint::DropFiles(std::vector<Ref<fs::File>> files) {
  if (files.empty()) return;
  names_->RemoveInFlight(static_cast<uint32_t>(files.size()));
  names_->Drop(std::move(files));
}

}  // namespace remora::net
