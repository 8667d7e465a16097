// Names, connections, the end. What is sent and received: net/unix_message.cc.

#include "net/unix_endpoint.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "fs/dentry_cache.h"

namespace remora::net {

UnixEndpoint::UnixEndpoint(Ref<UnixNamespace> names, int32_t type, const PeerCredentials& owner)
    : names_(std::move(names)), type_(type), owner_(owner) {
  names_->Add(this);
}

UnixEndpoint::~UnixEndpoint() { names_->Remove(this); }

bool UnixEndpoint::is_stream() const { return type_ == SOCK_STREAM; }
bool UnixEndpoint::is_datagram() const { return type_ == SOCK_DGRAM; }

void UnixEndpoint::Join(const Ref<UnixEndpoint>& a, const Ref<UnixEndpoint>& b) {
  for (const auto& [end, other] : {std::pair(a, b), std::pair(b, a)}) {
    const PeerCredentials others = other->owner();
    MutexLock lock(&end->mu_);
    end->peer_ = other;
    end->peer_credentials_ = others;
    if (!end->is_datagram()) end->state_ = State::kConnected;
  }
}

ErrnoOr<void> UnixEndpoint::Bind(SocketCaller& caller, const SocketAddress& address) {
  Ref<UnixEndpoint> self(this);
  UnixAddress name;
  uint16_t family = 0;
  std::memcpy(&family, address.bytes.data(), sizeof(family));
  const bool any_name = address.length_bytes == UnixAddress::kFamilyBytes && family == AF_UNIX;
  if (!any_name) {
    REMORA_ASSIGN_OR_RETURN(name, UnixAddress::Parse(address));
  }
  {
    MutexLock lock(&mu_);
    if (address_) return any_name ? Ok() : Errno(EINVAL);
  }
  Ref<fs::Inode> inode;
  if (any_name) {
    REMORA_ASSIGN_OR_RETURN(name.name, names_->BindFree(type_, self));
  } else if (name.abstract()) {
    REMORA_RETURN_IF_ERROR(names_->BindAbstract(type_, name.name, self));
  } else {
    const fs::WalkContext walk = caller.Walk();
    const auto made = caller.vfs().MakeNode(walk, name.name, S_IFSOCK | caller.ApplyUmask(0777), 0, 0);
    if (!made.ok()) return made.error_number() == EEXIST ? Errno(EADDRINUSE) : made.error();
    REMORA_ASSIGN_OR_RETURN(const fs::Path path, caller.vfs().Resolve(walk, name.name, {.follow_last = false}));
    inode = path.dentry->inode();
    names_->BindInode(inode, self);
  }
  {
    MutexLock lock(&mu_);
    if (!address_) {
      bound_inode_ = std::move(inode);
      address_ = std::make_shared<const UnixAddress>(std::move(name));
      owns_name_ = true;
      return Ok();
    }
  }
  // Another thread was faster.
  if (inode)
    names_->UnbindInode(inode.get());
  else
    names_->UnbindAbstract(type_, name.name);
  return Errno(EINVAL);
}

ErrnoOr<void> UnixEndpoint::Listen(const PeerCredentials& owner, int32_t backlog) {
  if (is_datagram()) return Errno(EOPNOTSUPP);
  std::vector<Ref<UnixEndpoint>> waiting;
  {
    MutexLock lock(&mu_);
    if (!address_ || (state_ != State::kUnconnected && state_ != State::kListening)) return Errno(EINVAL);
    state_ = State::kListening;
    backlog_ = std::min(static_cast<uint32_t>(backlog), kMaxBacklog);
    owner_ = owner;
    waiting.swap(waiting_);
  }
  for (const Ref<UnixEndpoint>& client : waiting) client->queue_.Notify(sync::kWritable);
  return Ok();
}

ErrnoOr<Ref<UnixEndpoint>> UnixEndpoint::Accept() {
  if (is_datagram()) return Errno(EOPNOTSUPP);
  Ref<UnixEndpoint> accepted;
  std::vector<Ref<UnixEndpoint>> waiting;
  {
    MutexLock lock(&mu_);
    if (state_ != State::kListening) return Errno(EINVAL);
    if (pending_.empty()) return Errno(shut_receive_ ? EINVAL : EAGAIN);
    accepted = std::move(pending_.front());
    pending_.pop_front();
    waiting.swap(waiting_);
  }
  for (const Ref<UnixEndpoint>& client : waiting) client->queue_.Notify(sync::kWritable);
  return accepted;
}

ErrnoOr<Ref<UnixEndpoint>> UnixEndpoint::Find(SocketCaller& caller, const UnixAddress& address) const {
  Ref<UnixEndpoint> found;
  if (address.abstract()) {
    found = names_->FindAbstract(type_, address.name);
  } else {
    const fs::WalkContext walk = caller.Walk();
    REMORA_ASSIGN_OR_RETURN(const fs::Path path, caller.vfs().Resolve(walk, address.name));
    fs::Inode& inode = *path.dentry->inode();
    REMORA_ASSIGN_OR_RETURN(const fs::Attributes attributes, inode.GetAttributes());
    if (!walk.credentials.privileged() && !fs::Vfs::Permits(walk.credentials, attributes, W_OK)) return Errno(EACCES);
    if (inode.type() == S_IFSOCK) found = names_->FindInode(&inode);
  }
  if (!found) return Errno(ECONNREFUSED);
  if (found->type_ != type_) return Errno(EPROTOTYPE);
  return found;
}

ErrnoOr<void> UnixEndpoint::Connect(SocketCaller& caller, const SocketAddress& address) {
  if (is_datagram()) return ConnectDatagram(caller, address);
  REMORA_ASSIGN_OR_RETURN(const UnixAddress name, UnixAddress::Parse(address));
  {
    MutexLock lock(&mu_);
    if (state_ == State::kConnected || state_ == State::kConnecting) return Errno(EISCONN);
    if (state_ == State::kListening) return Errno(EINVAL);
    state_ = State::kConnecting;
  }
  auto connected = ConnectStream(caller, name);
  if (!connected.ok()) {
    MutexLock lock(&mu_);
    state_ = State::kUnconnected;
  }
  return connected;
}

ErrnoOr<void> UnixEndpoint::ConnectStream(SocketCaller& caller, const UnixAddress& address) {
  REMORA_ASSIGN_OR_RETURN(const Ref<UnixEndpoint> listener, Find(caller, address));
  const PeerCredentials own = caller.credentials();
  Ref<UnixEndpoint> server_end = MakeRef<UnixEndpoint>(names_, type_, PeerCredentials());
  {
    MutexLock lock(&server_end->mu_);
    server_end->state_ = State::kConnected;
    server_end->peer_ = Ref<UnixEndpoint>(this);
    server_end->peer_credentials_ = own;
  }
  const auto added = listener->AddPending(Ref<UnixEndpoint>(this), server_end);
  if (!added.ok()) {
    Ref<UnixEndpoint> self;  // goes behind the lock
    MutexLock lock(&server_end->mu_);
    self = std::move(server_end->peer_);
    return added.error();
  }
  // From here on the server may already have sent, or closed.
  MutexLock lock(&mu_);
  state_ = State::kConnected;
  peer_ = server_end;
  peer_credentials_ = *added;
  return Ok();
}

ErrnoOr<PeerCredentials> UnixEndpoint::AddPending(const Ref<UnixEndpoint>& client,
                                                  const Ref<UnixEndpoint>& server_end) {
  PeerCredentials owner;
  std::shared_ptr<const UnixAddress> address;
  {
    MutexLock lock(&mu_);
    owner = owner_;
    address = address_;
  }
  {
    MutexLock lock(&server_end->mu_);
    server_end->owner_ = owner;
    server_end->address_ = address;
  }
  server_end->set_passes_credentials(passes_credentials());
  {
    MutexLock lock(&mu_);
    if (closed_ || state_ != State::kListening || shut_receive_) return Errno(ECONNREFUSED);
    if (pending_.size() > backlog_) {
      TellWhenNotFull(*client);
      return Errno(EAGAIN);
    }
    pending_.push_back(server_end);
  }
  queue_.NotifyOne(sync::kReadable);
  return owner;
}

ErrnoOr<void> UnixEndpoint::ConnectDatagram(SocketCaller& caller, const SocketAddress& address) {
  uint16_t family = 0;
  std::memcpy(&family, address.bytes.data(), sizeof(family));
  if (address.length_bytes < sizeof(family)) return Errno(EINVAL);
  Ref<UnixEndpoint> peer;
  if (family != AF_UNSPEC) {
    REMORA_ASSIGN_OR_RETURN(const UnixAddress name, UnixAddress::Parse(address));
    REMORA_ASSIGN_OR_RETURN(peer, Find(caller, name));
    MutexLock lock(&peer->mu_);
    if (peer->peer_ && peer->peer_.get() != this) return Errno(EPERM);
  }
  // What an old peer sent goes with it, and the peer is told.
  std::vector<Message> messages;
  const Ref<UnixEndpoint> next = peer;
  {
    MutexLock lock(&mu_);
    std::swap(peer_, peer);
    if (peer && peer != next) TakeIncoming(messages);
  }
  if (!messages.empty()) {
    {
      MutexLock lock(&peer->mu_);
      if (!peer->closed_ && peer->peer_.get() == this) peer->error_ = ECONNRESET;
    }
    peer->queue_.Notify(sync::kError);
    Discard(std::move(messages));
  }
  queue_.Notify(sync::kWritable);
  return Ok();
}

void UnixEndpoint::Shutdown(bool receive, bool send) {
  Ref<UnixEndpoint> peer;
  {
    MutexLock lock(&mu_);
    shut_receive_ |= receive;
    shut_send_ |= send;
    if (!is_datagram()) peer = peer_;
  }
  if (peer) peer->OnPeerShutdown(/*receive=*/send, /*send=*/receive);
  queue_.Notify(sync::kAllEvents);
}

void UnixEndpoint::OnPeerShutdown(bool receive, bool send) {
  {
    MutexLock lock(&mu_);
    shut_receive_ |= receive;
    shut_send_ |= send;
  }
  queue_.Notify(sync::kAllEvents);
}

void UnixEndpoint::OnPeerClosed(bool reset) {
  {
    MutexLock lock(&mu_);
    shut_receive_ = shut_send_ = true;
    if (reset) error_ = ECONNRESET;
  }
  queue_.Notify(sync::kAllEvents);
}

void UnixEndpoint::CloseWith(bool reset_peer) {
  Ref<UnixEndpoint> peer;
  Ref<fs::Inode> inode;
  std::shared_ptr<const UnixAddress> abstract_name;
  std::vector<Message> messages;
  std::deque<Ref<UnixEndpoint>> pending;
  std::vector<Ref<UnixEndpoint>> waiting;
  {
    MutexLock lock(&mu_);
    closed_ = shut_receive_ = shut_send_ = true;
    peer = std::move(peer_);
    inode = std::move(bound_inode_);
    if (owns_name_ && address_->abstract()) abstract_name = address_;
    owns_name_ = false;
    TakeIncoming(messages);
    pending.swap(pending_);
    waiting.swap(waiting_);
  }
  if (inode) names_->UnbindInode(inode.get());
  if (abstract_name) names_->UnbindAbstract(type_, abstract_name->name);
  if (peer && !is_datagram()) peer->OnPeerClosed(reset_peer || !messages.empty());
  for (const Ref<UnixEndpoint>& end : pending) end->CloseWith(/*reset_peer=*/true);
  for (const Ref<UnixEndpoint>& sender : waiting) sender->queue_.Notify(sync::kAllEvents);
  Discard(std::move(messages));
  queue_.Notify(sync::kAllEvents);
}

void UnixEndpoint::TakeIncoming(std::vector<Message>& messages) {
  messages.reserve(incoming_.size());
  for (Message& message : incoming_) messages.push_back(std::move(message));
  incoming_.clear();
}

SocketAddress UnixEndpoint::Name() const {
  MutexLock lock(&mu_);
  return (address_ ? *address_ : UnixAddress()).ToSocketAddress();
}

ErrnoOr<SocketAddress> UnixEndpoint::PeerName() const {
  Ref<UnixEndpoint> peer;
  {
    MutexLock lock(&mu_);
    peer = peer_;
  }
  if (!peer) return Errno(ENOTCONN);
  return peer->Name();
}

sync::Events UnixEndpoint::Readiness(sync::Events interest) {
  sync::Events ready = 0;
  Ref<UnixEndpoint> one_way_peer;
  bool writable = HasRoom(charge_.load(std::memory_order_acquire), send_buffer());
  {
    MutexLock lock(&mu_);
    if (error_ != 0) ready |= sync::kError;
    if (shut_receive_ && shut_send_) ready |= sync::kHangup;
    if (shut_receive_) ready |= sync::kReadHangup | sync::kReadable;
    if (!incoming_.empty() || !pending_.empty()) ready |= sync::kReadable;
    // One that may yet be connected hangs up; a listener neither does nor can be written to.
    if (!is_datagram() && (state_ == State::kUnconnected || state_ == State::kConnecting)) ready |= sync::kHangup;
    if (state_ == State::kListening) writable = false;
    if (is_datagram() && writable && (interest & sync::kWritable) != 0) one_way_peer = peer_;
  }
  if (one_way_peer && one_way_peer.get() != this) {
    MutexLock lock(&one_way_peer->mu_);
    if (one_way_peer->FullFor(*this)) {
      one_way_peer->TellWhenNotFull(*this);
      writable = false;
    }
  }
  if (writable) ready |= sync::kWritable;
  return ready & (interest | sync::kError | sync::kHangup);
}

bool UnixEndpoint::listening() const {
  MutexLock lock(&mu_);
  return state_ == State::kListening;
}

int32_t UnixEndpoint::TakeError() {
  MutexLock lock(&mu_);
  return std::exchange(error_, 0);
}

PeerCredentials UnixEndpoint::owner() const {
  MutexLock lock(&mu_);
  return owner_;
}

PeerCredentials UnixEndpoint::peer_credentials() const {
  MutexLock lock(&mu_);
  return peer_credentials_;
}

void UnixEndpoint::SetSendBuffer(uint32_t size_bytes) {
  send_limit_.store(std::max(std::min(size_bytes, kDefaultBuffer) * 2, kMinSendBuffer), std::memory_order_relaxed);
  queue_.Notify(sync::kWritable);
}

void UnixEndpoint::CheckInvariants() const {
  MutexLock lock(&mu_);
  if (closed_) CHECK(incoming_.empty() && pending_.empty() && !peer_ && !owns_name_);  // 2
  for (const Message& message : incoming_) {
    CHECK(message.consumed_bytes < message.size_bytes || !is_stream());
    CHECK(message.charge_bytes >= message.size_bytes);
    CHECK(message.sender->charge_.load() >= message.charge_bytes);  // 4
  }
}

}  // namespace remora::net
