#ifndef REMORA_FS_TTY_LINE_DISCIPLINE_H_
#define REMORA_FS_TTY_LINE_DISCIPLINE_H_

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>

#include "base/abi/termios.h"

namespace remora::fs {

// A terminal's line discipline: what the keys that somebody types become before a program reads them, what is echoed,
// and what a program's output becomes on its way to the screen. A state machine without locks, files and processes:
// bytes and settings go in, bytes and a few events come out through a Driver. Linux's N_TTY (drivers/tty/n_tty.c).
//
// Invariants:
//  1. tail <= head <= tail + kBufferBytes. In line mode tail <= canon_head <= head: tail..canon_head are finished
//  lines,
//     canon_head..head is the one that is being edited. Else tail <= commit_head <= head, and tail..commit_head counts.
//  2. A bit in line_ends_ marks the byte that ends a line; where that byte is 0 it is an end of file, never read.
//  3. Echoes wait in echoes_, in order with what a program writes, while there is no room for them in the output.
//
// Differences from Linux: no BREAK and no parity (a pty has none, so IGNBRK, BRKINT, INPCK do nothing and PARMRK only
// doubles 0xff); ^S and ^Q act when their turn comes, also where a full buffer lets input wait; an echo that overruns
// its 4096 bytes loses its oldest part.
// Thread safety: none; the owner serializes.
class LineDiscipline {
 public:
  static constexpr uint32_t kBufferBytes = 4096;

  // The other end of the line: where output goes, and who hears of what was typed.
  class Driver {
   public:
    // How many bytes Output may be given now.
    virtual uint64_t OutputRoom() = 0;
    virtual void Output(std::span<const uint8_t> bytes) = 0;
    // Output that has not gone out yet is to be forgotten (a signal was typed).
    virtual void DropOutput() = 0;
    virtual void OnInputFlushed() = 0;
    // ^S and ^Q, or TCXONC.
    virtual void OnFlowChange(bool stopped) = 0;
    // SIGINT, SIGQUIT or SIGTSTP was typed: for the foreground process group.
    virtual void OnSignal(int signal) = 0;

   protected:
    ~Driver() = default;
  };

  // `driver` outlives this.
  explicit LineDiscipline(Driver* driver);
  LineDiscipline(const LineDiscipline&) = delete;
  LineDiscipline& operator=(const LineDiscipline&) = delete;

  // What a new pty is set to.
  static abi::Termios2 DefaultSettings();
  const abi::Termios2& settings() const { return settings_; }
  void SetSettings(const abi::Termios2& settings);

  // ---- from the keyboard ----
  // The number of bytes taken: fewer where the buffer is full and nobody has read.
  uint64_t Receive(std::span<const uint8_t> bytes);

  // ---- for the reader ----
  // Is there something that one read gives: a line, or a byte?
  bool has_input() const;
  // poll(2)'s idea of readable: VMIN bytes, where no VTIME limits the wait.
  bool readable() const;
  // TIOCINQ: ends of file do not count.
  uint32_t num_readable() const;
  // What a read of at most `max_bytes` (not 0) would give now.
  struct Take {
    bool ready = false;         // else it has to wait, though num_bytes may be there already (VMIN)
    uint32_t num_bytes = 0;     // 0 and ready: end of file
    uint32_t num_consumed = 0;  // these and perhaps an end-of-file mark behind them
  };
  Take NextTake(uint64_t max_bytes) const;
  // A contiguous piece of the readable bytes, from `offset` on, at most `max_bytes` long.
  std::span<const uint8_t> Piece(uint32_t offset, uint32_t max_bytes) const;
  void Consume(uint32_t num_bytes);
  void FlushInput();

  // ---- from programs ----
  // The number of bytes taken: fewer where the output has no room. Echoes that wait go first.
  uint64_t Write(std::span<const uint8_t> bytes);
  // Lets waiting echoes go as far as there is room.
  void ProcessEchoes();

  bool stopped() const { return stopped_; }
  // `by_call`: TCXONC. What a call stopped only a call starts, and a call starts nothing else.
  void Stop(bool by_call);
  void Start(bool by_call);

  void CheckInvariants() const;

 private:
  struct Sink;

  bool Has(uint32_t local_flag) const { return (settings_.c_lflag & local_flag) != 0; }
  bool HasInput(uint32_t input_flag) const { return (settings_.c_iflag & input_flag) != 0; }
  bool HasOutput(uint32_t output_flag) const { return (settings_.c_oflag & output_flag) != 0; }
  bool Is(uint8_t c, uint32_t index) const { return c == settings_.c_cc[index]; }
  bool line_mode() const { return Has(abi::kICANON) && !Has(abi::kEXTPROC); }
  bool IsContinuation(uint8_t c) const { return HasInput(abi::kIUTF8) && (c & 0xc0) == 0x80; }

  uint8_t& At(uint64_t position) { return buffer_[position % kBufferBytes]; }
  uint8_t At(uint64_t position) const { return buffer_[position % kBufferBytes]; }
  void Put(uint8_t c) { At(head_++) = c; }
  void PutDoubled(uint8_t c);

  void FindSpecialBytes();
  uint8_t Transform(uint8_t c) const;
  void ReceivePiece(std::span<const uint8_t> bytes);
  void ReceiveOrdinary(uint8_t c);
  void ReceiveSpecial(uint8_t c);
  bool ReceiveEditing(uint8_t c);
  void ReceiveSignal(uint8_t c, int signal);
  void EndLine(uint8_t c);
  void Reprint(uint8_t c);
  void Erase(uint8_t c);
  void EraseKilledLine();
  void EchoErasure(uint8_t c, uint64_t position, uint32_t num_bytes, bool single);
  void EchoTabErasure();
  void RestartByAnyKey();

  void AddEcho(uint16_t token);
  void EchoRaw(uint8_t c) { AddEcho(c); }
  void Echo(uint8_t c);
  void FinishErasing();
  void NoteCanonColumn();
  void CommitEchoes();
  void FlushEchoes();
  void EmitEchoes();
  bool EmitEcho(uint16_t token, Sink& sink);
  // False if there is no room; nothing has happened then.
  bool OutputByte(uint8_t c, Sink& sink);

  Driver* const driver_;
  abi::Termios2 settings_;
  std::bitset<256> special_;  // bytes that ReceiveSpecial looks at
  bool raw_ = false;          // none is, and nothing is echoed

  std::array<uint8_t, kBufferBytes> buffer_;
  std::bitset<kBufferBytes> line_ends_;
  uint64_t tail_ = 0, canon_head_ = 0, commit_head_ = 0, head_ = 0;
  bool literal_next_ = false;
  bool erasing_ = false;  // within ECHOPRT's \.../

  // Echoes as tokens, and how many bytes they count for since the last flush: see line_discipline.cc.
  std::deque<uint16_t> echoes_;
  uint64_t echo_tail_ = 0, echo_commit_ = 0, echo_mark_ = 0, echo_head_ = 0;

  uint32_t column_ = 0, canon_column_ = 0;
  bool stopped_ = false, stopped_by_call_ = false;
};

}  // namespace remora::fs

#endif  // REMORA_FS_TTY_LINE_DISCIPLINE_H_
