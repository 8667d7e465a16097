#include "fs/tty/line_discipline.h"

#include <algorithm>
#include <utility>

#include "base/abi/signal.h"
#include "base/check.h"

namespace remora::fs {
namespace {

constexpr uint8_t kEndOfFile = 0;  // _POSIX_VDISABLE: in line mode no key has this code, so it marks ends of file

// Character classes as Linux's lib/ctype.c has them: Latin-1.
bool IsControl(uint8_t c) { return c < 0x20 || c == 0x7f; }
bool IsUpper(uint8_t c) { return (c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7); }
bool IsLower(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= 0xdf && c != 0xf7); }
bool IsWord(uint8_t c) { return IsUpper(c) || IsLower(c) || (c >= '0' && c <= '9') || c == '_'; }
uint8_t ToLower(uint8_t c) { return IsUpper(c) ? static_cast<uint8_t>(c + 0x20) : c; }
uint8_t ToUpper(uint8_t c) { return IsLower(c) ? static_cast<uint8_t>(c - 0x20) : c; }

// A token is a byte that is echoed as it is, or one of these with its operand in the low byte.
enum EchoKind : uint16_t {
  kEchoByte = 0x000,
  kEchoCaret = 0x100,        // ^X
  kEchoMoveBack = 0x200,     // the byte before took no column
  kEchoCanonColumn = 0x300,  // the line that is edited begins here
  kEchoEraseTab = 0x400,     // operand: columns before the tab modulo 8, kAfterTab if they are counted from another tab
};
constexpr uint16_t kEchoKindMask = 0xff00;
constexpr uint8_t kAfterTab = 0x80;

// Linux keeps echoes in a ring of bytes with an escape, and when they are let out depends on its fill: tokens count
// for as many bytes as there.
constexpr uint64_t kEchoBytes = LineDiscipline::kBufferBytes;
constexpr uint64_t kEchoBlock = 256;
constexpr uint64_t kEchoDiscardAt = kEchoBytes - (kEchoBlock + 32);
uint32_t EchoCost(uint16_t token) {
  if (token == 0xff) return 2;
  switch (token & kEchoKindMask) {
    case kEchoByte:
      return 1;
    case kEchoEraseTab:
      return 3;
    default:
      return 2;
  }
}

constexpr uint32_t kTabColumns = 8;

}  // namespace

// Output, collected so that the driver is called for pieces and not for bytes.
struct LineDiscipline::Sink {
  explicit Sink(LineDiscipline* line) : driver(*line->driver_), room(line->stopped_ ? 0 : driver.OutputRoom()) {}
  ~Sink() { Flush(); }
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  void Add(uint8_t c) {
    if (num_bytes == bytes.size()) Flush();
    bytes[num_bytes++] = c;
    --room;
  }
  void Flush() {
    if (num_bytes != 0) driver.Output(std::span(bytes).first(num_bytes));
    num_bytes = 0;
  }

  Driver& driver;
  uint64_t room;
  size_t num_bytes = 0;
  std::array<uint8_t, 256> bytes;
};

LineDiscipline::LineDiscipline(Driver* driver) : driver_(driver), settings_(DefaultSettings()) { FindSpecialBytes(); }

abi::Termios2 LineDiscipline::DefaultSettings() {
  abi::Termios2 settings{};
  settings.c_iflag = abi::kICRNL | abi::kIXON;
  settings.c_oflag = abi::kOPOST | abi::kONLCR;
  settings.c_cflag = abi::kB38400 | abi::kCS8 | abi::kCREAD;
  settings.c_lflag =
      abi::kISIG | abi::kICANON | abi::kECHO | abi::kECHOE | abi::kECHOK | abi::kECHOCTL | abi::kECHOKE | abi::kIEXTEN;
  const auto control = [](char c) { return static_cast<uint8_t>(c & 0x1f); };
  settings.c_cc[abi::kVINTR] = control('C');
  settings.c_cc[abi::kVQUIT] = control('\\');
  settings.c_cc[abi::kVERASE] = 0x7f;
  settings.c_cc[abi::kVKILL] = control('U');
  settings.c_cc[abi::kVEOF] = control('D');
  settings.c_cc[abi::kVMIN] = 1;
  settings.c_cc[abi::kVSTART] = control('Q');
  settings.c_cc[abi::kVSTOP] = control('S');
  settings.c_cc[abi::kVSUSP] = control('Z');
  settings.c_cc[abi::kVREPRINT] = control('R');
  settings.c_cc[abi::kVDISCARD] = control('O');
  settings.c_cc[abi::kVWERASE] = control('W');
  settings.c_cc[abi::kVLNEXT] = control('V');
  settings.c_ispeed = settings.c_ospeed = 38400;
  return settings;
}

void LineDiscipline::FindSpecialBytes() {
  const uint8_t* const keys = settings_.c_cc;
  const bool any =
      HasInput(abi::kISTRIP | abi::kIUCLC | abi::kIGNCR | abi::kICRNL | abi::kINLCR | abi::kIXON | abi::kPARMRK) ||
      Has(abi::kICANON | abi::kISIG | abi::kECHO);
  raw_ = !any;
  special_.reset();
  if (raw_) return;
  if (HasInput(abi::kIGNCR | abi::kICRNL)) special_.set('\r');
  if (HasInput(abi::kINLCR)) special_.set('\n');
  if (Has(abi::kICANON)) {
    for (const uint32_t key : {abi::kVERASE, abi::kVKILL, abi::kVEOF, abi::kVEOL}) special_.set(keys[key]);
    special_.set('\n');
    if (Has(abi::kIEXTEN)) {
      for (const uint32_t key : {abi::kVWERASE, abi::kVLNEXT, abi::kVEOL2}) special_.set(keys[key]);
      if (Has(abi::kECHO)) special_.set(keys[abi::kVREPRINT]);
    }
  }
  if (HasInput(abi::kIXON))
    for (const uint32_t key : {abi::kVSTART, abi::kVSTOP}) special_.set(keys[key]);
  if (Has(abi::kISIG))
    for (const uint32_t key : {abi::kVINTR, abi::kVQUIT, abi::kVSUSP}) special_.set(keys[key]);
  special_.reset(kEndOfFile);
}

void LineDiscipline::SetSettings(const abi::Termios2& settings) {
  const abi::Termios2 old = settings_;
  settings_ = settings;
  if (((old.c_lflag ^ settings.c_lflag) & (abi::kICANON | abi::kEXTPROC)) != 0) {
    // What is there already is one line for the line mode, and just bytes for the others.
    line_ends_.reset();
    canon_head_ = tail_;
    if (Has(abi::kICANON) && head_ != tail_) {
      line_ends_.set((head_ - 1) % kBufferBytes);
      canon_head_ = head_;
    }
    commit_head_ = head_;
    erasing_ = literal_next_ = false;
  }
  FindSpecialBytes();
  if ((old.c_iflag & abi::kIXON) != 0 && !HasInput(abi::kIXON) && !stopped_by_call_) {
    Start(false);
    ProcessEchoes();
  }
}

// ---- from the keyboard ----

uint64_t LineDiscipline::Receive(std::span<const uint8_t> bytes) {
  uint64_t done = 0;
  while (done < bytes.size()) {
    int64_t room = kBufferBytes - static_cast<int64_t>(head_ - tail_);
    if (HasInput(abi::kPARMRK)) room = (room + 2) / 3;  // one byte may become three
    --room;
    if (room <= 0) {
      // A line that is longer than the buffer goes on at its last byte: it can still be erased, or ended.
      if (!Has(abi::kICANON) || canon_head_ != tail_) break;
      if (room < 0) --head_;
      room = 1;
    }
    const uint64_t n = std::min<uint64_t>(bytes.size() - done, static_cast<uint64_t>(room));
    ReceivePiece(bytes.subspan(done, n));
    done += n;
  }
  return done;
}

uint8_t LineDiscipline::Transform(uint8_t c) const {
  if (HasInput(abi::kISTRIP)) c &= 0x7f;
  if (HasInput(abi::kIUCLC) && Has(abi::kIEXTEN)) c = ToLower(c);
  return c;
}

void LineDiscipline::ReceivePiece(std::span<const uint8_t> bytes) {
  const bool transforms = HasInput(abi::kISTRIP) || (HasInput(abi::kIUCLC) && Has(abi::kIEXTEN));
  if (raw_ || (Has(abi::kEXTPROC) && !transforms)) {
    for (const uint8_t c : bytes) Put(c);
  } else {
    for (uint8_t c : bytes) {
      c = Transform(c);
      if (Has(abi::kEXTPROC)) {
        Put(c);
      } else if (literal_next_) {
        literal_next_ = false;
        ReceiveOrdinary(c);
      } else if (special_.test(c)) {
        ReceiveSpecial(c);
      } else {
        ReceiveOrdinary(c);
      }
    }
    FlushEchoes();
  }
  if (!line_mode()) commit_head_ = head_;
}

void LineDiscipline::PutDoubled(uint8_t c) {
  if (c == 0xff && HasInput(abi::kPARMRK)) Put(c);
  Put(c);
}

void LineDiscipline::RestartByAnyKey() {
  if (!stopped_ || stopped_by_call_ || !HasInput(abi::kIXON) || !HasInput(abi::kIXANY)) return;
  Start(false);
  ProcessEchoes();
}

void LineDiscipline::ReceiveOrdinary(uint8_t c) {
  RestartByAnyKey();
  if (Has(abi::kECHO)) {
    FinishErasing();
    NoteCanonColumn();
    Echo(c);
    CommitEchoes();
  }
  PutDoubled(c);
}

void LineDiscipline::ReceiveSpecial(uint8_t c) {
  if (HasInput(abi::kIXON)) {
    if (Is(c, abi::kVSTART)) {
      Start(false);
      ProcessEchoes();
      return;
    }
    if (Is(c, abi::kVSTOP)) return Stop(false);
  }
  if (Has(abi::kISIG)) {
    if (Is(c, abi::kVINTR)) return ReceiveSignal(c, abi::kSIGINT);
    if (Is(c, abi::kVQUIT)) return ReceiveSignal(c, abi::kSIGQUIT);
    if (Is(c, abi::kVSUSP)) return ReceiveSignal(c, abi::kSIGTSTP);
  }
  RestartByAnyKey();
  if (c == '\r') {
    if (HasInput(abi::kIGNCR)) return;
    if (HasInput(abi::kICRNL)) c = '\n';
  } else if (c == '\n' && HasInput(abi::kINLCR)) {
    c = '\r';
  }
  if (Has(abi::kICANON) && ReceiveEditing(c)) return;
  if (Has(abi::kECHO)) {
    FinishErasing();
    if (c == '\n') {
      EchoRaw(c);
    } else {
      NoteCanonColumn();
      Echo(c);
    }
    CommitEchoes();
  }
  PutDoubled(c);
}

void LineDiscipline::ReceiveSignal(uint8_t c, int signal) {
  driver_->OnSignal(signal);
  if (!Has(abi::kNOFLSH)) {
    echoes_.clear();
    echo_tail_ = echo_commit_ = echo_mark_ = echo_head_ = 0;
    driver_->DropOutput();
    FlushInput();
  }
  if (HasInput(abi::kIXON)) Start(false);
  if (Has(abi::kECHO)) {
    Echo(c);
    CommitEchoes();
  } else {
    ProcessEchoes();
  }
}

void LineDiscipline::EndLine(uint8_t c) {
  line_ends_.set(head_ % kBufferBytes);
  Put(c);
  canon_head_ = head_;
}

// True if the line mode has dealt with it.
bool LineDiscipline::ReceiveEditing(uint8_t c) {
  const bool extended = Has(abi::kIEXTEN);
  if (Is(c, abi::kVERASE) || Is(c, abi::kVKILL) || (Is(c, abi::kVWERASE) && extended)) {
    Erase(c);
    CommitEchoes();
    return true;
  }
  if (Is(c, abi::kVLNEXT) && extended) {
    literal_next_ = true;
    if (Has(abi::kECHO)) {
      FinishErasing();
      if (Has(abi::kECHOCTL)) {
        EchoRaw('^');
        EchoRaw('\b');
        CommitEchoes();
      }
    }
    return true;
  }
  if (Is(c, abi::kVREPRINT) && Has(abi::kECHO) && extended) {
    Reprint(c);
    return true;
  }
  if (c == '\n') {
    if (Has(abi::kECHO | abi::kECHONL)) {
      EchoRaw('\n');
      CommitEchoes();
    }
    EndLine(c);
    return true;
  }
  if (Is(c, abi::kVEOF)) {
    EndLine(kEndOfFile);
    return true;
  }
  if (Is(c, abi::kVEOL) || (Is(c, abi::kVEOL2) && extended)) {
    if (Has(abi::kECHO)) {
      NoteCanonColumn();
      Echo(c);
      CommitEchoes();
    }
    if (c == 0xff && HasInput(abi::kPARMRK)) Put(c);
    EndLine(c);
    return true;
  }
  return false;
}

void LineDiscipline::Reprint(uint8_t c) {
  FinishErasing();
  Echo(c);
  EchoRaw('\n');
  for (uint64_t i = canon_head_; i % kBufferBytes != head_ % kBufferBytes; ++i) Echo(At(i));
  CommitEchoes();
}

// KILL, where the line is not rubbed out byte by byte.
void LineDiscipline::EraseKilledLine() {
  head_ = canon_head_;
  if (!Has(abi::kECHO)) return;
  FinishErasing();
  Echo(settings_.c_cc[abi::kVKILL]);
  if (Has(abi::kECHOK)) EchoRaw('\n');
}

void LineDiscipline::Erase(uint8_t key) {
  if (head_ == canon_head_) return;
  const bool single = Is(key, abi::kVERASE);
  const bool word = !single && Is(key, abi::kVWERASE);
  if (!single && !word && !(Has(abi::kECHO) && Has(abi::kECHOK) && Has(abi::kECHOKE) && Has(abi::kECHOE)))
    return EraseKilledLine();
  bool in_word = false;
  while (head_ % kBufferBytes != canon_head_ % kBufferBytes) {
    // A character of several bytes goes as a whole, or not at all.
    uint64_t start = head_;
    uint8_t c;
    do c = At(--start);
    while (IsContinuation(c) && start % kBufferBytes != canon_head_ % kBufferBytes);
    if (IsContinuation(c)) break;
    if (word) {
      if (IsWord(c))
        in_word = true;
      else if (in_word)
        break;
    }
    const auto num_bytes = static_cast<uint32_t>(head_ - start);
    head_ = start;
    if (Has(abi::kECHO)) EchoErasure(c, start, num_bytes, single);
    if (single) break;
  }
  if (head_ == canon_head_ && Has(abi::kECHO)) FinishErasing();
}

void LineDiscipline::EchoErasure(uint8_t c, uint64_t position, uint32_t num_bytes, bool single) {
  if (Has(abi::kECHOPRT)) {
    if (!erasing_) EchoRaw('\\');
    erasing_ = true;
    Echo(c);
    for (uint32_t i = 1; i < num_bytes; ++i) {
      EchoRaw(At(position + i));
      AddEcho(kEchoMoveBack);
    }
  } else if (single && !Has(abi::kECHOE)) {
    Echo(settings_.c_cc[abi::kVERASE]);
  } else if (c == '\t') {
    EchoTabErasure();
  } else {
    const int num_columns = !IsControl(c) ? 1 : Has(abi::kECHOCTL) ? 2 : 0;
    for (int i = 0; i < num_columns; ++i)
      for (const char back : {'\b', ' ', '\b'}) EchoRaw(static_cast<uint8_t>(back));
  }
}

// How far a tab went depends on the columns before it: since the tab before, or since the line's beginning.
void LineDiscipline::EchoTabErasure() {
  uint32_t num_columns = 0;
  bool after_tab = false;
  for (uint64_t i = head_; !after_tab && i % kBufferBytes != canon_head_ % kBufferBytes;) {
    const uint8_t c = At(--i);
    if (c == '\t')
      after_tab = true;
    else if (IsControl(c))
      num_columns += Has(abi::kECHOCTL) ? 2 : 0;
    else if (!IsContinuation(c))
      ++num_columns;
  }
  AddEcho(static_cast<uint16_t>(kEchoEraseTab | num_columns % kTabColumns | (after_tab ? kAfterTab : 0)));
}

// ---- echo ----

void LineDiscipline::AddEcho(uint16_t token) {
  echoes_.push_back(token);
  echo_head_ += EchoCost(token);
  while (echo_head_ - echo_tail_ > kEchoBytes) {
    echo_tail_ += EchoCost(echoes_.front());
    echoes_.pop_front();
  }
  echo_commit_ = std::max(echo_commit_, echo_tail_);
  echo_mark_ = std::max(echo_mark_, echo_tail_);
}

void LineDiscipline::Echo(uint8_t c) {
  AddEcho(Has(abi::kECHOCTL) && IsControl(c) && c != '\t' ? static_cast<uint16_t>(kEchoCaret | c) : c);
}

void LineDiscipline::FinishErasing() {
  if (!erasing_) return;
  EchoRaw('/');
  erasing_ = false;
}

void LineDiscipline::NoteCanonColumn() {
  if (canon_head_ == head_) AddEcho(kEchoCanonColumn);
}

// Echoes are let out in blocks, or when a piece of input is through.
void LineDiscipline::CommitEchoes() {
  echo_mark_ = echo_head_;
  const uint64_t before = echo_commit_ - echo_tail_, now = echo_head_ - echo_tail_;
  if (now < kEchoBlock || now % kEchoBlock > before % kEchoBlock) return;
  echo_commit_ = echo_head_;
  EmitEchoes();
}

void LineDiscipline::ProcessEchoes() {
  if (echo_mark_ == echo_tail_) return;
  echo_commit_ = echo_mark_;
  EmitEchoes();
}

void LineDiscipline::FlushEchoes() {
  if (!Has(abi::kECHO | abi::kECHONL) || echo_commit_ == echo_head_) return;
  echo_commit_ = echo_head_;
  EmitEchoes();
}

void LineDiscipline::EmitEchoes() {
  Sink sink(this);
  const auto drop_first = [&] {
    echo_tail_ += EchoCost(echoes_.front());
    echoes_.pop_front();
  };
  while (echo_tail_ < echo_commit_ && EmitEcho(echoes_.front(), sink)) drop_first();
  // Nearly full, and no room outside: the oldest give way.
  while (echo_commit_ > echo_tail_ && echo_commit_ - echo_tail_ >= kEchoDiscardAt) drop_first();
}

bool LineDiscipline::EmitEcho(uint16_t token, Sink& sink) {
  const auto operand = static_cast<uint8_t>(token);
  switch (token & kEchoKindMask) {
    case kEchoCaret:
      if (sink.room < 2) return false;
      sink.Add('^');
      sink.Add(operand ^ 0x40);
      column_ += 2;
      return true;
    case kEchoMoveBack:
      if (column_ != 0) --column_;
      return true;
    case kEchoCanonColumn:
      canon_column_ = column_;
      return true;
    case kEchoEraseTab: {
      const uint32_t before = operand + ((operand & kAfterTab) != 0 ? 0 : canon_column_);
      const uint32_t width = kTabColumns - before % kTabColumns;
      if (sink.room < width) return false;
      for (uint32_t i = 0; i < width; ++i) sink.Add('\b');
      column_ -= std::min(column_, width);
      return true;
    }
    default:
      // 0xff is Linux's escape and goes out past the output's processing.
      if (operand != 0xff && HasOutput(abi::kOPOST)) return OutputByte(operand, sink);
      if (sink.room == 0) return false;
      sink.Add(operand);
      if (operand == 0xff) ++column_;
      return true;
  }
}

// ---- from programs ----

bool LineDiscipline::OutputByte(uint8_t c, Sink& sink) {
  if (sink.room == 0) return false;
  switch (c) {
    case '\n':
      if (HasOutput(abi::kONLRET)) column_ = 0;
      if (HasOutput(abi::kONLCR)) {
        if (sink.room < 2) return false;
        column_ = 0;
        sink.Add('\r');
      }
      canon_column_ = column_;
      break;
    case '\r':
      if (HasOutput(abi::kONOCR) && column_ == 0) return true;
      if (HasOutput(abi::kOCRNL)) {
        c = '\n';
        if (HasOutput(abi::kONLRET)) canon_column_ = column_ = 0;
        break;
      }
      canon_column_ = column_ = 0;
      break;
    case '\t': {
      const uint32_t width = kTabColumns - column_ % kTabColumns;
      const bool expand = (settings_.c_oflag & abi::kTABDLY) == abi::kXTABS;
      if (expand && sink.room < width) return false;
      column_ += width;
      if (!expand) break;
      for (uint32_t i = 0; i < width; ++i) sink.Add(' ');
      return true;
    }
    case '\b':
      if (column_ != 0) --column_;
      break;
    default:
      if (IsControl(c)) break;
      if (HasOutput(abi::kOLCUC)) c = ToUpper(c);
      if (!IsContinuation(c)) ++column_;
      break;
  }
  sink.Add(c);
  return true;
}

uint64_t LineDiscipline::Write(std::span<const uint8_t> bytes) {
  ProcessEchoes();
  Sink sink(this);
  if (HasOutput(abi::kOPOST)) {
    uint64_t done = 0;
    while (done < bytes.size() && OutputByte(bytes[done], sink)) ++done;
    return done;
  }
  const uint64_t n = std::min<uint64_t>(bytes.size(), sink.room);
  if (n != 0) driver_->Output(bytes.first(n));
  return n;
}

void LineDiscipline::Stop(bool by_call) {
  stopped_by_call_ |= by_call;
  if (stopped_) return;
  stopped_ = true;
  driver_->OnFlowChange(true);
}

void LineDiscipline::Start(bool by_call) {
  if (by_call && !std::exchange(stopped_by_call_, false)) return;
  if (!stopped_ || stopped_by_call_) return;
  stopped_ = false;
  driver_->OnFlowChange(false);
}

// ---- for the reader ----

bool LineDiscipline::has_input() const { return line_mode() ? canon_head_ != tail_ : commit_head_ != tail_; }

bool LineDiscipline::readable() const {
  if (line_mode()) return canon_head_ != tail_;
  const uint8_t minimum = settings_.c_cc[abi::kVMIN];
  const bool counts = settings_.c_cc[abi::kVTIME] == 0 && minimum != 0;
  return commit_head_ - tail_ >= (counts ? minimum : 1u);
}

uint32_t LineDiscipline::num_readable() const {
  if (!line_mode()) return static_cast<uint32_t>(head_ - tail_);
  auto n = static_cast<uint32_t>(canon_head_ - tail_);
  // Linux takes a full buffer for one without ends of file.
  for (uint64_t i = tail_; i % kBufferBytes != canon_head_ % kBufferBytes; ++i)
    n -= line_ends_.test(i % kBufferBytes) && At(i) == kEndOfFile;
  return n;
}

LineDiscipline::Take LineDiscipline::NextTake(uint64_t max_bytes) const {
  const auto is_end = [&](uint64_t i) { return line_ends_.test(i % kBufferBytes); };
  if (line_mode()) {
    const uint64_t limit = std::min(max_bytes, canon_head_ - tail_);
    Take take{.ready = canon_head_ != tail_};
    while (take.num_consumed < limit) {
      const uint64_t i = tail_ + take.num_consumed++;
      if (is_end(i) && At(i) == kEndOfFile) return take;
      ++take.num_bytes;
      if (is_end(i)) return take;
    }
    // The end of file behind a line that just fits belongs to it.
    const uint64_t next = tail_ + take.num_consumed;
    if (take.ready && next != canon_head_ && is_end(next) && At(next) == kEndOfFile) ++take.num_consumed;
    return take;
  }
  const uint64_t available = commit_head_ - tail_;
  if (Has(abi::kICANON)) {  // EXTPROC: whoever writes to the master edits the lines
    if (available == 1 && Is(At(tail_), abi::kVEOF)) return {.ready = true, .num_bytes = 0, .num_consumed = 1};
    const auto n = static_cast<uint32_t>(std::min(max_bytes, available));
    return {.ready = n != 0, .num_bytes = n, .num_consumed = n};
  }
  // Linux counts VMIN within pieces of 64 bytes: a read that wants more gives exactly one piece.
  constexpr uint64_t kPiece = 64;
  const uint64_t minimum = std::max<uint64_t>(settings_.c_cc[abi::kVMIN], 1), piece = std::min(max_bytes, kPiece);
  const auto n = static_cast<uint32_t>(std::min(available, minimum > piece ? piece : max_bytes));
  return {.ready = n >= std::min(minimum, piece), .num_bytes = n, .num_consumed = n};
}

std::span<const uint8_t> LineDiscipline::Piece(uint32_t offset, uint32_t max_bytes) const {
  const uint32_t start = static_cast<uint32_t>((tail_ + offset) % kBufferBytes);
  return std::span(buffer_).subspan(start, std::min(max_bytes, kBufferBytes - start));
}

void LineDiscipline::Consume(uint32_t num_bytes) {
  for (uint32_t i = 0; i < num_bytes; ++i) line_ends_.reset(tail_++ % kBufferBytes);
  DCHECK(tail_ <= head_);
}

void LineDiscipline::FlushInput() {
  tail_ = canon_head_ = commit_head_ = head_ = 0;
  line_ends_.reset();
  erasing_ = false;
  driver_->OnInputFlushed();
}

void LineDiscipline::CheckInvariants() const {
  CHECK(tail_ <= head_ && head_ - tail_ <= kBufferBytes);
  CHECK(!line_mode() || (tail_ <= canon_head_ && canon_head_ <= head_));
  CHECK(line_mode() || (tail_ <= commit_head_ && commit_head_ <= head_));
  uint64_t cost = 0;
  for (const uint16_t token : echoes_) cost += EchoCost(token);
  CHECK(cost == echo_head_ - echo_tail_ && cost <= kEchoBytes);
  CHECK(echo_tail_ <= echo_commit_ && echo_commit_ <= echo_head_);
}

}  // namespace remora::fs
