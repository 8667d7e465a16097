#include "net/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "fs/special/faulting_buffer_for_testing.h"
#include "fs/special/pipe.h"
#include "fs/vfs_for_testing.h"
#include "gtest/gtest.h"

namespace remora::net {
namespace {

using mm::IoBuffer;
using mm::KernelBuffer;

int64_t Plain(const ErrnoOr<uint64_t>& result) {
  return result.ok() ? static_cast<int64_t>(*result) : -int64_t{result.error_number()};
}

SocketAddress AddressOf(std::string_view name) { return UnixAddress{std::string(name)}.ToSocketAddress(); }

constexpr std::string_view kAbstract("\0abstract", 9);

class UnixSocketTest : public ::testing::TestWithParam<int32_t> {
 protected:
  class Caller final : public SocketCaller {
   public:
    explicit Caller(UnixSocketTest* test) : test_(test) {}
    fs::Vfs& vfs() override { return test_->files_.vfs(); }
    fs::WalkContext Walk() override { return test_->walk_; }
    uint32_t ApplyUmask(uint32_t mode) override { return mode & ~022u; }
    PeerCredentials credentials() override { return {7, 1000, 100}; }

   private:
    UnixSocketTest* const test_;
  };

  UnixSocketTest() {
    files_.vfs().MountRoot(files_.NewTmpfs({.root_permissions = 0755}), 0);
    walk_ = files_.context();
  }
  UnixSocketContext Context() { return {&files_.vfs().anonymous_files(), names_.get(), {1, 2, 3}}; }
  Ref<UnixSocket> Make(int32_t type) { return *UnixSocket::Make(Context(), type, 0, O_NONBLOCK); }
  UnixSocket::Pair MakePair(int32_t type) { return *UnixSocket::MakePair(Context(), type, 0, O_NONBLOCK); }
  int Bind(UnixSocket& socket, std::string_view name) { return socket.Bind(caller_, AddressOf(name)).error_number(); }
  int Connect(UnixSocket& socket, std::string_view name) {
    return socket.Connect(caller_, AddressOf(name)).error_number();
  }

  int64_t Send(Socket& socket, std::string_view text, const SocketAddress* to = nullptr,
               std::vector<Ref<fs::File>> files = {}) {
    KernelBuffer from(IoBuffer::Direction::kDrain,
                      std::as_writable_bytes(std::span(const_cast<char*>(text.data()), text.size())));
    OutgoingMessage message;
    message.bytes = &from;
    message.to = to;
    message.files = std::move(files);
    message.sender = caller_.credentials();
    return Plain(socket.Send(&caller_, message));
  }
  static int64_t Receive(Socket& socket, std::string* text, uint64_t length, IncomingMessage* message) {
    text->assign(length, '\0');
    KernelBuffer to(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text->data(), length)));
    message->bytes = &to;
    message->nonblocking = true;
    const int64_t n = Plain(socket.Receive(*message));
    text->resize(n > 0 ? static_cast<size_t>(n) : 0);
    return n;
  }
  static std::string Receive(Socket& socket, uint64_t length = 100) {
    IncomingMessage message;
    std::string text;
    const int64_t n = Receive(socket, &text, length, &message);
    return n < 0 ? "errno " + std::to_string(-n) : text;
  }
  static void Check(UnixSocket& socket) { socket.endpoint().CheckInvariants(); }

  fs::VfsForTesting files_;
  fs::WalkContext walk_;
  Ref<UnixNamespace> names_ = MakeRef<UnixNamespace>();
  Caller caller_{this};
};

TEST_F(UnixSocketTest, BytesGoBothWays) {
  auto [a, b] = MakePair(SOCK_STREAM);
  EXPECT_EQ(Send(*a, "hello "), 6);
  EXPECT_EQ(Send(*a, "world"), 5);
  EXPECT_EQ(Send(*b, "back"), 4);
  EXPECT_EQ(Receive(*b, 8), "hello wo");
  EXPECT_EQ(Receive(*b), "rld");
  EXPECT_EQ(Receive(*a), "back");
  EXPECT_EQ(a->peer_credentials(), (PeerCredentials{1, 2, 3}));
}

TEST_F(UnixSocketTest, InodeIsASocketWithANumberOfItsOwn) {
  auto [a, b] = MakePair(SOCK_STREAM);
  const fs::Attributes attributes = *a->inode()->GetAttributes();
  EXPECT_EQ(attributes.mode, 0140777u);
  EXPECT_EQ(a->DescribePath(), "socket:[" + std::to_string(attributes.inode_number) + "]");
  EXPECT_NE(a->DescribePath(), b->DescribePath());
  EXPECT_EQ(Socket::From(*a), a.get());
}

TEST_F(UnixSocketTest, BadTypesAndProtocolsAreRefused) {
  EXPECT_EQ(UnixSocket::Make(Context(), SOCK_RDM, 0, 0).error_number(), ESOCKTNOSUPPORT);
  EXPECT_EQ(UnixSocket::Make(Context(), SOCK_STREAM, 5, 0).error_number(), EPROTONOSUPPORT);
  EXPECT_EQ((*UnixSocket::Make(Context(), SOCK_RAW, 0, 0))->type(), SOCK_DGRAM);
}

TEST_F(UnixSocketTest, ConnectionsAreMadeByPathAndByAbstractName) {
  for (const std::string_view name : {std::string_view("/socket"), kAbstract}) {
    Ref<UnixSocket> listener = Make(SOCK_STREAM), client = Make(SOCK_STREAM);
    EXPECT_EQ(Connect(*client, name), name == kAbstract ? ECONNREFUSED : ENOENT);
    EXPECT_EQ(Bind(*listener, name), 0);
    EXPECT_EQ(Bind(*client, name), EADDRINUSE);
    EXPECT_EQ(Connect(*client, name), ECONNREFUSED);
    EXPECT_TRUE(listener->Listen(caller_, 1).ok());
    EXPECT_EQ(listener->Accept(0).error_number(), EAGAIN);
    EXPECT_EQ(Connect(*client, name), 0);
    EXPECT_EQ(Connect(*client, name), EISCONN);
    EXPECT_EQ(listener->Readiness(sync::kReadable), sync::kReadable);
    Ref<Socket> server = *listener->Accept(0);
    EXPECT_EQ(server->peer_credentials(), (PeerCredentials{7, 1000, 100}));
    EXPECT_EQ(server->Name()->length_bytes, AddressOf(name).length_bytes);
    EXPECT_EQ(client->PeerName()->length_bytes, AddressOf(name).length_bytes);
    EXPECT_EQ(Send(*client, "x"), 1);
    EXPECT_EQ(Receive(*server), "x");
    listener = nullptr;
    EXPECT_EQ(Connect(*Make(SOCK_STREAM), name), ECONNREFUSED);
  }
  EXPECT_EQ(names_->FindAbstract(SOCK_STREAM, std::string(kAbstract)).get(), nullptr);
}

TEST_F(UnixSocketTest, ConnectWantsTheRightToWrite) {
  Ref<UnixSocket> listener = Make(SOCK_STREAM);
  ASSERT_EQ(Bind(*listener, "/socket"), 0);
  ASSERT_TRUE(listener->Listen(caller_, 5).ok());
  walk_ = files_.ContextOf(1000, 1000);  // the node is root's, rwxr-xr-x
  EXPECT_EQ(Connect(*Make(SOCK_STREAM), "/socket"), EACCES);
}

TEST_F(UnixSocketTest, AFullBacklogTellsTheClientWhenThereIsRoom) {
  struct Counter final : sync::Waiter {
    ~Counter() override { Disarm(); }
    void Notify(sync::Events) override { ++count; }
    std::atomic<int> count{0};
  };
  Ref<UnixSocket> listener = Make(SOCK_STREAM), first = Make(SOCK_STREAM), second = Make(SOCK_STREAM);
  ASSERT_EQ(Bind(*listener, kAbstract), 0);
  ASSERT_TRUE(listener->Listen(caller_, 0).ok());
  EXPECT_EQ(Connect(*first, kAbstract), 0);
  EXPECT_EQ(Connect(*second, kAbstract), EAGAIN);
  Counter counter;
  second->wait_queue()->Arm(&counter, sync::kWritable);
  Ref<Socket> accepted = *listener->Accept(0);
  EXPECT_EQ(counter.count, 1);
  EXPECT_EQ(Connect(*second, kAbstract), 0);
  // What is still pending when the listener goes is reset.
  listener = nullptr;
  EXPECT_EQ(Receive(*second), "errno " + std::to_string(ECONNRESET));
  EXPECT_EQ(Receive(*first), "errno " + std::to_string(EAGAIN));
}

TEST_F(UnixSocketTest, DatagramsTellTheirSenderAndAFullQueueIsNotWritable) {
  Ref<UnixSocket> server = Make(SOCK_DGRAM), client = Make(SOCK_DGRAM);
  ASSERT_EQ(Bind(*server, kAbstract), 0);
  ASSERT_EQ(Bind(*client, "/client"), 0);
  const SocketAddress to = AddressOf(kAbstract);
  EXPECT_EQ(Send(*client, "one", &to), 3);
  IncomingMessage message;
  std::string text;
  EXPECT_EQ(Receive(*server, &text, 2, &message), 2);
  EXPECT_TRUE(message.truncated);
  EXPECT_EQ(message.message_bytes, 3u);
  EXPECT_EQ(message.from->length_bytes, AddressOf("/client").length_bytes);
  ASSERT_EQ(Connect(*client, kAbstract), 0);
  int n = 0;
  while (Send(*client, "x") == 1) ++n;
  EXPECT_EQ(n, 11);
  EXPECT_EQ(client->Readiness(sync::kWritable), 0u);
  EXPECT_EQ(Receive(*server), "x");
  EXPECT_EQ(client->Readiness(sync::kWritable), sync::kWritable);
  server = nullptr;
  EXPECT_EQ(Send(*client, "x"), -ECONNREFUSED);
  EXPECT_EQ(Send(*client, "x"), -ENOTCONN);
}

TEST_F(UnixSocketTest, FilesLiveInMessagesAndGoWithThem) {
  auto [a, b] = MakePair(SOCK_STREAM);
  fs::PipeEnds pipe = fs::MakePipe(files_.vfs().anonymous_files(), {}, O_NONBLOCK);
  EXPECT_EQ(Send(*a, "before "), 7);
  EXPECT_EQ(Send(*a, "with ", nullptr, {std::move(pipe.writer)}), 5);
  EXPECT_EQ(Send(*a, "behind"), 6);
  EXPECT_EQ(pipe.reader->Readiness(sync::kReadable), 0u);
  IncomingMessage message;
  std::string text;
  EXPECT_EQ(Receive(*b, &text, 100, &message), 12);
  EXPECT_EQ(text, "before with ");
  ASSERT_EQ(message.files.size(), 1u);
  EXPECT_EQ(Send(*b, "x", nullptr, std::move(message.files)), 1);
  a = nullptr;
  EXPECT_EQ(pipe.reader->Readiness(sync::kReadable), sync::kHangup) << "dropped with a's queue";
  Check(*b);
}

TEST_F(UnixSocketTest, ASocketInItsOwnQueueGoesAtTheEnd) {
  fs::PipeEnds pipe = fs::MakePipe(files_.vfs().anonymous_files(), {}, O_NONBLOCK);
  {
    auto [a, b] = MakePair(SOCK_STREAM);
    ASSERT_EQ(Send(*b, "x", nullptr, {Ref<fs::File>(a), std::move(pipe.writer)}), 1);
  }
  EXPECT_EQ(pipe.reader->Readiness(sync::kReadable), 0u);
  names_->CloseAll();
  EXPECT_EQ(pipe.reader->Readiness(sync::kReadable), sync::kHangup);
}

TEST_F(UnixSocketTest, ALongChainOfSocketsInsideSocketsFallsWithoutADeepStack) {
  fs::PipeEnds pipe = fs::MakePipe(files_.vfs().anonymous_files(), {}, O_NONBLOCK);
  Ref<fs::File> carried = std::move(pipe.writer);
  for (int i = 0; i < 10'000; ++i) {
    auto [a, b] = MakePair(SOCK_DGRAM);
    ASSERT_EQ(Send(*a, "x", nullptr, {std::move(carried)}), 1);
    carried = std::move(b);
  }
  EXPECT_EQ(pipe.reader->Readiness(sync::kReadable), 0u);
  carried = nullptr;
  EXPECT_EQ(pipe.reader->Readiness(sync::kReadable), sync::kHangup);
}

TEST_F(UnixSocketTest, FilesUnderWayAreLimited) {
  auto [a, b] = MakePair(SOCK_STREAM);
  EXPECT_TRUE(names_->AddInFlight(UnixNamespace::kMaxFilesInFlight).ok());
  EXPECT_EQ(Send(*a, "x", nullptr, {b}), -ETOOMANYREFS);
  EXPECT_EQ(Receive(*b), "errno " + std::to_string(EAGAIN));
  names_->RemoveInFlight(UnixNamespace::kMaxFilesInFlight);
}

// The host kernel's sockets and ours get the same operations and must answer the same.
TEST_P(UnixSocketTest, RandomOperationsMatchTheHost) {
  const int32_t type = GetParam();
  constexpr size_t kGood = 3 * 4096;
  auto* memory =
      static_cast<std::byte*>(mmap(nullptr, kGood + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_EQ(munmap(memory + kGood, 4096), 0);
  std::vector<std::byte> ours(kGood);
  std::string big(300'000, 'b');
  std::mt19937 random(11);
  for (int round = 0; round < 40; ++round) {
    int host[2];
    ASSERT_EQ(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, host), 0);
    auto pair = MakePair(type);
    Ref<UnixSocket> mine[2] = {std::move(pair.first), std::move(pair.second)};
    for (int step = 0; step < 150; ++step) {
      const uint32_t what = random() % 100;
      const int end = random() % 2;
      uint64_t length = random() % 2 == 0 ? random() % 300 : random() % 9000;
      if (random() % 8 == 0) length = random() % 250'000;
      SCOPED_TRACE(::testing::Message() << "type " << type << " round " << round << " step " << step << " what " << what
                                        << " length " << length << " end " << end);
      if (host[end] < 0) continue;
      if (what < 45) {
        for (size_t i = 0; i < length; i += 97) big[i] = static_cast<char>(random());
        const bool faulting = what < 5 && length <= kGood;
        int64_t expected, actual;
        if (faulting) {
          const uint64_t good = length == 0 ? 0 : random() % length;
          expected = send(host[end], memory + kGood - good, length, MSG_NOSIGNAL);
          if (expected < 0) expected = -errno;
          std::memcpy(ours.data(), memory, kGood);
          fs::FaultingBuffer from(IoBuffer::Direction::kDrain, std::span(ours).last(good), length);
          actual = Plain(mine[end]->Write(from, 0));
        } else {
          expected = send(host[end], big.data(), length, MSG_NOSIGNAL);
          if (expected < 0) expected = -errno;
          actual = Send(*mine[end], std::string_view(big).substr(0, length));
        }
        ASSERT_EQ(actual, expected);
      } else if (what < 95) {
        const bool faulting = what < 50 && length <= kGood;
        if (faulting) {
          const uint64_t good = length == 0 ? 0 : random() % length;
          int64_t expected = recv(host[end], memory + kGood - good, length, 0);
          if (expected < 0) expected = -errno;
          fs::FaultingBuffer to(IoBuffer::Direction::kFill, std::span(ours).last(good), length);
          ASSERT_EQ(Plain(mine[end]->Read(to, 0)), expected);
        } else {
          const bool peek = what < 60, truncate = what % 2 == 0;
          std::string expected_text(length, '\0'), text;
          iovec iov = {expected_text.data(), length};
          msghdr header = {};
          header.msg_iov = &iov;
          header.msg_iovlen = 1;
          int64_t expected = recvmsg(host[end], &header, (peek ? MSG_PEEK : 0) | (truncate ? MSG_TRUNC : 0));
          if (expected < 0) expected = -errno;
          IncomingMessage message;
          message.peek = peek;
          int64_t actual = Receive(*mine[end], &text, length, &message);
          if (actual >= 0) {
            ASSERT_EQ(message.truncated, (header.msg_flags & MSG_TRUNC) != 0);
            if (message.truncated && truncate) actual = static_cast<int64_t>(message.message_bytes);
          }
          ASSERT_EQ(actual, expected);
          expected_text.resize(text.size());
          ASSERT_TRUE(text == expected_text);
        }
      } else if (what < 97) {
        if (random() % 4 != 0) continue;
        const int how = static_cast<int>(random() % 3);
        shutdown(host[end], how);
        ASSERT_TRUE(mine[end]->Shutdown(how != SHUT_WR, how != SHUT_RD).ok());
      } else if (what == 97 && random() % 4 == 0) {
        close(host[end]);
        host[end] = -1;
        Check(*mine[end]);
        mine[end] = nullptr;
      }
      for (int i = 0; i < 2; ++i) {
        if (host[i] < 0) continue;
        pollfd polled = {host[i], POLLIN | POLLOUT | POLLRDHUP, 0};
        poll(&polled, 1, 0);
        ASSERT_EQ(mine[i]->Readiness(POLLIN | POLLOUT | POLLRDHUP), static_cast<uint32_t>(polled.revents)) << i;
        Check(*mine[i]);
      }
    }
    for (const int fd : host)
      if (fd >= 0) close(fd);
  }
  munmap(memory, kGood);
}
INSTANTIATE_TEST_SUITE_P(Types, UnixSocketTest, ::testing::Values(SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET));

TEST_F(UnixSocketTest, TwoThreadsMoveAMebibyteInOrder) {
  auto [a, b] = MakePair(SOCK_STREAM);
  constexpr size_t kBytes = 1 << 20;
  std::string sent(kBytes, '\0');
  for (size_t i = 0; i < kBytes; ++i) sent[i] = static_cast<char>(i * 7 >> 3);
  std::thread writer([&sent, end = std::move(a)] {
    KernelBuffer from(IoBuffer::Direction::kDrain, std::as_writable_bytes(std::span(sent)));
    while (from.remaining() != 0)
      if (!end->Write(from, 0).ok()) std::this_thread::yield();
  });
  std::string got;
  for (;;) {
    const std::string piece = Receive(*b, 5000);
    if (piece.empty()) break;
    if (piece.starts_with("errno "))
      std::this_thread::yield();
    else
      got += piece;
  }
  writer.join();
  EXPECT_TRUE(got == sent);
}

}  // namespace
}  // namespace remora::net
