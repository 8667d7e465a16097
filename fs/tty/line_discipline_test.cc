#include "fs/tty/line_discipline.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/abi/signal.h"

namespace remora::fs {
namespace {

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

struct Screen final : LineDiscipline::Driver {
  uint64_t OutputRoom() override { return room; }
  void Output(std::span<const uint8_t> bytes) override {
    EXPECT_LE(bytes.size(), room);
    room -= bytes.size();
    shown.append(bytes.begin(), bytes.end());
  }
  void DropOutput() override { (void)Take(); }
  void OnInputFlushed() override { ++num_input_flushes; }
  void OnFlowChange(bool stopped) override { flow.push_back(stopped); }
  void OnSignal(int signal) override { signals.push_back(signal); }

  std::string Take() {
    room += shown.size();
    return std::exchange(shown, {});
  }

  uint64_t room = 10'000;
  std::string shown;
  int num_input_flushes = 0;
  std::vector<bool> flow;
  std::vector<int> signals;
};

class LineDisciplineTest : public ::testing::Test {
 protected:
  uint64_t Type(std::string_view keys) { return line_.Receive(Bytes(keys)); }
  // What one read gives; "(wait)" where it would have to wait.
  std::string Read(uint64_t max_bytes = 100) {
    const LineDiscipline::Take take = line_.NextTake(max_bytes);
    if (!take.ready) return "(wait)";
    std::string text;
    while (text.size() < take.num_bytes) {
      const auto piece =
          line_.Piece(static_cast<uint32_t>(text.size()), static_cast<uint32_t>(take.num_bytes - text.size()));
      text.append(piece.begin(), piece.end());
    }
    line_.Consume(take.num_consumed);
    line_.CheckInvariants();
    return text;
  }
  template <typename F>
  void Change(F change) {
    abi::Termios2 settings = line_.settings();
    change(settings);
    line_.SetSettings(settings);
  }

  Screen screen_;
  LineDiscipline line_{&screen_};
};

TEST_F(LineDisciplineTest, ALineCanBeEditedUntilItIsFinished) {
  Type(
      "cat\x7f\x7f"
      "d fo\x17 x");
  EXPECT_EQ(Read(), "(wait)");
  EXPECT_FALSE(line_.readable());
  EXPECT_EQ(line_.num_readable(), 0u);
  Type("\r");
  EXPECT_EQ(line_.num_readable(), 6u);
  EXPECT_EQ(Read(), "cd  x\n");
  EXPECT_EQ(screen_.Take(), "cat\b \b\b \bd fo\b \b\b \b x\r\n");
}

TEST_F(LineDisciplineTest, ReadsGiveOneLineEach) {
  Type("one\ntwo\n");
  EXPECT_EQ(Read(2), "on");
  EXPECT_EQ(Read(), "e\n");
  EXPECT_EQ(Read(), "two\n");
}

TEST_F(LineDisciplineTest, EndOfFileEndsALineOrTheFile) {
  Type("ab\x04\x04");
  EXPECT_EQ(Read(), "ab");
  EXPECT_EQ(Read(), "");
  Type("ab\x04");
  EXPECT_EQ(Read(2), "ab") << "and the end that is just behind goes with it";
  EXPECT_EQ(Read(), "(wait)");
}

TEST_F(LineDisciplineTest, SignalsFlushUnlessNoflsh) {
  Type("abc\x03");
  EXPECT_EQ(screen_.signals, std::vector<int>{abi::kSIGINT});
  EXPECT_EQ(screen_.num_input_flushes, 1);
  EXPECT_EQ(screen_.Take(), "^C");
  Change([](abi::Termios2& t) { t.c_lflag |= abi::kNOFLSH; });
  Type("abc\x1a\n");
  EXPECT_EQ(screen_.signals.back(), abi::kSIGTSTP);
  EXPECT_EQ(Read(), "abc\n");
}

TEST_F(LineDisciplineTest, OutputStopsAndStarts) {
  Type("\x13");
  EXPECT_TRUE(line_.stopped());
  EXPECT_EQ(line_.Write(Bytes("x")), 0u);
  Type("abc\x11");
  EXPECT_EQ(screen_.Take(), "abc") << "the echo waited, too";
  EXPECT_EQ(line_.Write(Bytes("x\n")), 2u);
  EXPECT_EQ(screen_.Take(), "x\r\n");
  EXPECT_EQ(screen_.flow, (std::vector<bool>{true, false}));
  line_.Stop(/*by_call=*/true);
  Type("\x11");
  EXPECT_TRUE(line_.stopped()) << "only a call undoes what a call did";
  line_.Start(/*by_call=*/true);
  EXPECT_FALSE(line_.stopped());
}

TEST_F(LineDisciplineTest, RawReadsWaitForVmin) {
  Change([](abi::Termios2& t) {
    t.c_lflag = t.c_iflag = 0;
    t.c_cc[abi::kVMIN] = 3;
  });
  Type("ab");
  EXPECT_FALSE(line_.readable());
  EXPECT_TRUE(line_.has_input());
  EXPECT_FALSE(line_.NextTake(10).ready);
  EXPECT_EQ(line_.NextTake(10).num_bytes, 2u);
  EXPECT_EQ(Read(2), "ab") << "who asks for less than VMIN gets that";
  Type("cdef");
  EXPECT_EQ(Read(), "cdef");
}

TEST_F(LineDisciplineTest, AFullBufferRefusesRawBytesAndOverwritesALinesLast) {
  EXPECT_EQ(Type(std::string(5000, 'a')), 5000u);
  Type("b\n");
  EXPECT_TRUE(Read(5000) == std::string(4095, 'a') + "\n");
  Change([](abi::Termios2& t) { t.c_lflag = t.c_iflag = 0; });
  EXPECT_EQ(Type(std::string(5000, 'a')), 4095u);
}

TEST_F(LineDisciplineTest, EchoWaitsForRoom) {
  screen_.room = 1;
  Type("ab");
  EXPECT_EQ(screen_.shown, "a");
  screen_.room = 10;
  EXPECT_EQ(line_.Write(Bytes("c")), 1u);
  EXPECT_EQ(screen_.shown, "abc");
}

// ---- the host as judge ----

// A pty of the host's, and a LineDiscipline that gets the same settings and bytes. Random, but reproducible.
//
// The host works a written chunk off in a kernel thread. A poll or a read that finds nothing waits for it, but one that
// finds a first part of it does not; so a session that differs is run again, and only one that always does is a
// difference.
class Session {
 public:
  explicit Session(uint64_t seed) : random_(seed) {
    EXPECT_EQ(openpty(&master_, &slave_, nullptr, nullptr, nullptr), 0);
    for (const int fd : {master_, slave_}) fcntl(fd, F_SETFL, O_NONBLOCK);
  }
  ~Session() {
    close(master_);
    close(slave_);
  }

  // Empty: no difference.
  std::string Run(int num_steps, int* num_compared) {
    abi::Termios2 host{};
    if (ioctl(slave_, abi::kTCGETS2, &host) != 0) return "no TCGETS2";
    if (std::memcmp(&host, &line_.settings(), sizeof host) != 0) return "a new pty's settings";
    for (int i = 0; i < num_steps; ++i) {
      log_ += "\n ";
      const uint64_t kind = Below(20);
      if (i == 0 || kind < 4)
        SetSettings();
      else if (kind < 6)
        Write();
      else if (kind == 6)
        Flush();
      else if (kind == 7)
        StopOrStart();
      else
        Type();
      if (ambiguous_) return {};
      if (std::string difference = Compare(); !difference.empty()) return log_ + "\n" + difference;
      if (ambiguous_ || last_) return {};
      line_.CheckInvariants();
      ++*num_compared;
    }
    return {};
  }

 private:
  uint64_t Below(uint64_t n) { return random_() % n; }
  bool Chance(uint64_t of) { return Below(of) == 0; }
  uint32_t Some(std::initializer_list<uint32_t> flags, uint64_t of) {
    uint32_t result = 0;
    for (const uint32_t flag : flags) result |= Chance(of) ? flag : 0;
    return result;
  }

  void SetSettings() {
    abi::Termios2 t = LineDiscipline::DefaultSettings();
    if (!Chance(8)) {
      t.c_iflag ^= Some(
          {abi::kISTRIP, abi::kINLCR, abi::kIGNCR, abi::kICRNL, abi::kIUCLC, abi::kIXON, abi::kIXANY, abi::kPARMRK}, 6);
      t.c_iflag |= Chance(2) ? abi::kIUTF8 : 0;
      t.c_oflag ^= Some({abi::kOPOST, abi::kOLCUC, abi::kONLCR, abi::kOCRNL, abi::kONOCR, abi::kONLRET}, 6);
      t.c_oflag |= Chance(4) ? abi::kXTABS : 0;
      t.c_lflag ^= Some({abi::kISIG, abi::kICANON, abi::kECHO, abi::kECHOE, abi::kECHOK, abi::kECHOCTL, abi::kECHOKE,
                         abi::kIEXTEN, abi::kECHONL, abi::kECHOPRT, abi::kNOFLSH},
                        5);
      if (Chance(3)) t.c_cc[abi::kVEOL] = static_cast<uint8_t>("x\xff;0"[Below(4)]);
      if (Chance(3)) t.c_cc[abi::kVEOL2] = 'y';
      if (Chance(8)) t.c_cc[Below(17)] = static_cast<uint8_t>("ab\n\r\t\x7f\0\xe9"[Below(8)]);
      t.c_cc[abi::kVMIN] = static_cast<uint8_t>(Chance(3) ? Below(100) : 1);
      t.c_cc[abi::kVTIME] = 0;
    }
    if (Chance(10)) {
      t.c_iflag = t.c_lflag = 0;
      t.c_oflag &= ~abi::kOPOST;
    }
    log_ += "settings i" + std::to_string(t.c_iflag) + " o" + std::to_string(t.c_oflag) + " l" +
            std::to_string(t.c_lflag) + " cc " + ::testing::PrintToString(std::string(t.c_cc, t.c_cc + 17));
    EXPECT_EQ(ioctl(slave_, abi::kTCSETS2, &t), 0);
    line_.SetSettings(t);
  }

  std::string RandomText(uint64_t length) {
    static constexpr std::string_view kPieces[] = {
        "a",    "b",    "Z",    "0",    " ",    "_",    "\t",   "\n",       "\r",
        "\x7f", "\x7f", "\x17", "\x15", "\x04", "\x12", "\x16", "\xc3\xa9", "\xe2\x82\xac",
        "\xff", "\x01", "\x1b", "\b",   "x",    "y",    ";"};
    static constexpr std::string_view kRare[] = {"\x03", "\x1c", "\x1a", "\x13", "\x11", "\x80", "\xc3", "\x0f"};
    std::string text;
    while (text.size() < length) {
      if (Chance(30))
        text += kRare[Below(std::size(kRare))];
      else if (Chance(40))
        text += static_cast<char>(Below(256));
      else
        text += kPieces[Below(std::size(kPieces))];
    }
    return text;
  }

  void Type() {
    std::string text = RandomText(1 + Below(Chance(10) ? 200 : 30));
    if (Chance(100)) {
      // Killed or shown again, a line of this length would overrun the buffer of echoes: it is the session's last.
      text = std::string(3000 + Below(2000), 'q') + (Chance(2) ? "\n" : "\x04");
      last_ = true;
    }
    log_ += "type " + ::testing::PrintToString(text.size() < 300 ? text : "(long) " + text.substr(text.size() - 300));
    const int flushes = screen_.num_input_flushes;
    // What the line does not take stays with the host, and no longer fits later in the same way.
    const uint64_t taken = line_.Receive(Bytes(text));
    if (taken < text.size()) ambiguous_ = true;
    flushed_by_key_ = screen_.num_input_flushes != flushes;
    EXPECT_EQ(write(master_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  void Write() {
    const std::string text = RandomText(1 + Below(40));
    log_ += "write " + ::testing::PrintToString(text);
    const ssize_t native = write(slave_, text.data(), text.size());
    const uint64_t n = line_.Write(Bytes(text));
    if (static_cast<uint64_t>(std::max<ssize_t>(native, 0)) != n) different_ = "write: " + std::to_string(native);
  }

  void Flush() {
    log_ += "flush";
    EXPECT_EQ(ioctl(slave_, TCFLSH, TCIFLUSH), 0);
    line_.FlushInput();
  }

  void StopOrStart() {
    const bool stop = Chance(2);
    log_ += stop ? "stop" : "start";
    EXPECT_EQ(ioctl(slave_, TCXONC, stop ? TCOOFF : TCOON), 0);
    stop ? line_.Stop(true) : line_.Start(true);
  }

  std::string ReadMaster() {
    std::string text;
    char bytes[1000];
    for (ssize_t n; (n = read(master_, bytes, sizeof bytes)) > 0;) text.append(bytes, static_cast<size_t>(n));
    return text;
  }

  std::string Compare() {
    if (!different_.empty()) return different_;
    pollfd poll_slave{slave_, POLLIN, 0};
    int count = 0;
    for (int i = 0; i < 1000; ++i) {  // the host's thread may be in the middle of it
      poll(&poll_slave, 1, 0);
      EXPECT_EQ(ioctl(slave_, FIONREAD, &count), 0);
      if (static_cast<uint32_t>(count) == line_.num_readable()) break;
      usleep(200);
    }
    if (static_cast<uint32_t>(count) != line_.num_readable())
      return "FIONREAD: " + std::to_string(count) + ", not " + std::to_string(line_.num_readable());
    poll(&poll_slave, 1, 0);
    if (((poll_slave.revents & POLLIN) != 0) != line_.readable()) return "poll";
    // Whoever may be read is read: only then the host is through with what was typed.
    while (line_.readable()) {
      const uint64_t max_bytes = Chance(2) ? 1 + Below(80) : 8000;
      const std::string expected = Read(max_bytes);
      std::string got(max_bytes, '\0');
      const ssize_t n = read(slave_, got.data(), got.size());
      got.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
      if (n < 0 || got != expected)
        return "read(" + std::to_string(max_bytes) + "): " + std::to_string(n) + " " + ::testing::PrintToString(got) +
               ", not " + ::testing::PrintToString(expected);
    }
    const std::string shown = ReadMaster(), expected = screen_.Take();
    if (shown == expected) return {};
    // A signal that was typed forgets what the host's thread has not sent yet.
    if (flushed_by_key_ && shown.ends_with(expected)) {
      ambiguous_ = true;
      return {};
    }
    const size_t same = static_cast<size_t>(
        std::mismatch(shown.begin(), shown.end(), expected.begin(), expected.end()).first - shown.begin());
    return "shown, behind " + std::to_string(same) + " bytes: " + ::testing::PrintToString(shown.substr(same, 300)) +
           ", not " + ::testing::PrintToString(expected.substr(same, 300));
  }

  std::string Read(uint64_t max_bytes) {
    const LineDiscipline::Take take = line_.NextTake(max_bytes);
    std::string text;
    while (text.size() < take.num_bytes) {
      const auto piece =
          line_.Piece(static_cast<uint32_t>(text.size()), static_cast<uint32_t>(take.num_bytes - text.size()));
      text.append(piece.begin(), piece.end());
    }
    line_.Consume(take.num_consumed);
    return text;
  }

  std::mt19937_64 random_;
  int master_ = -1, slave_ = -1;
  Screen screen_;
  LineDiscipline line_{&screen_};
  std::string log_, different_;
  bool flushed_by_key_ = false, ambiguous_ = false, last_ = false;
};

TEST(LineDisciplineOracleTest, DoesWhatTheHostsDoes) {
  int num_compared = 0, num_repeated = 0;
  for (uint64_t seed = 0; num_compared < 60'000; ++seed) {
    ASSERT_LT(seed, 20'000u) << "hardly any session is compared";
    std::string difference;
    constexpr int kMaxTries = 5;
    for (int i = 0; i < kMaxTries; ++i) {
      int n = 0;
      difference = Session(seed).Run(20, &n);
      if (difference.empty()) {
        num_compared += n;
        break;
      }
      ++num_repeated;
    }
    ASSERT_TRUE(difference.empty()) << "seed " << seed << ", " << num_compared << " steps before: " << difference;
  }
  RecordProperty("sessions_repeated", num_repeated);
}

}  // namespace
}  // namespace remora::fs
