#include "fs/tty/pty.h"

#include <errno.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/abi/signal.h"
#include "mm/guest_copy.h"

namespace remora::fs {
namespace {

constexpr size_t kChunkBytes = 1024;  // copied from a writer at once
constexpr int64_t kTenthNanos = 100'000'000;

}  // namespace

void Pty::Tell(const Effects& effects) {
  for (uint32_t signals = effects.signals; signals != 0; signals &= signals - 1)
    SignalForeground(__builtin_ctz(signals) + 1);
  if (effects.master != 0) master_queue_.Notify(effects.master);
  if (effects.slave != 0) slave_queue_.Notify(effects.slave);
}

// ---- the line discipline's other end ----

void Pty::State::Output(std::span<const uint8_t> bytes) {
  to_master.Append(bytes);
  effects.master |= sync::kReadable;
}

// What lies in the master's own buffer can no longer be called back.
void Pty::State::DropOutput() {
  to_master.Truncate(kReadableBytes);
  NotePacketEvent(abi::kTIOCPKT_FLUSHWRITE);
  effects.slave |= sync::kWritable;
}

void Pty::State::OnInputFlushed() {
  NotePacketEvent(abi::kTIOCPKT_FLUSHREAD);
  effects.master |= sync::kWritable;
}

void Pty::State::OnFlowChange(bool stopped) {
  if (stopped)
    NotePacketEvent(abi::kTIOCPKT_STOP, abi::kTIOCPKT_START);
  else
    NotePacketEvent(abi::kTIOCPKT_START, abi::kTIOCPKT_STOP);
  if (!stopped) effects.slave |= sync::kWritable;
}

void Pty::State::NotePacketEvent(uint8_t set, uint8_t clear) {
  if (!packet) return;
  packet_status = static_cast<uint8_t>((packet_status & ~clear) | set);
  effects.master |= sync::kReadable | sync::kPriority;
}

void Pty::State::Pump() {
  bool moved = false;
  while (!to_slave.empty()) {
    const uint64_t n = line.Receive(to_slave.front());
    if (n == 0) break;
    to_slave.Consume(n);
    moved = true;
  }
  if (!moved) return;
  effects.master |= sync::kWritable;
  if (line.has_input()) effects.slave |= sync::kReadable;
}

// ---- transfers ----

ErrnoOr<uint64_t> Pty::ReadMaster(mm::IoBuffer& to) {
  return Locked([&](State& state) -> ErrnoOr<uint64_t> {
    if (state.packet && state.packet_status != 0) {
      REMORA_RETURN_IF_ERROR(to.Write(std::as_bytes(std::span(&state.packet_status, 1))));
      state.packet_status = 0;
      return 1u;
    }
    if (state.to_master.empty()) return Errno(state.slave_was_opened && state.num_slave_files == 0 ? EIO : EAGAIN);
    uint64_t done = 0;
    if (state.packet) {
      const uint8_t data = abi::kTIOCPKT_DATA;
      REMORA_ASSIGN_OR_RETURN(done, to.Write(std::as_bytes(std::span(&data, 1))));
    }
    const size_t length =
        static_cast<size_t>(std::min<uint64_t>({to.remaining(), state.to_master.size(), State::kReadableBytes}));
    if (length == 0) return done;
    const ErrnoOr<uint64_t> n = to.Write(std::as_bytes(state.to_master.front().first(length)));
    if (!n.ok()) {
      if (done == 0) return n.error();
      return done;
    }
    state.to_master.Consume(*n);
    state.effects.slave |= sync::kWritable;
    state.line.ProcessEchoes();
    return done + *n;
  });
}

ErrnoOr<uint64_t> Pty::WriteMaster(mm::IoBuffer& from) {
  return Locked([&](State& state) -> ErrnoOr<uint64_t> {
    uint64_t done = 0;
    while (from.remaining() != 0) {
      std::array<uint8_t, kChunkBytes> chunk;
      const size_t length =
          static_cast<size_t>(std::min<uint64_t>({chunk.size(), state.to_slave.room(), from.remaining()}));
      if (length == 0) break;
      const ErrnoOr<uint64_t> n = from.Read(std::as_writable_bytes(std::span(chunk).first(length)));
      if (!n.ok()) {
        if (done == 0) return n.error();
        break;
      }
      state.to_slave.Append(std::span(chunk).first(*n));
      done += *n;
      state.Pump();
      if (*n < length) break;
    }
    if (done == 0 && from.remaining() != 0) return Errno(EAGAIN);
    return done;
  });
}

ErrnoOr<uint64_t> Pty::State::TakeInput(mm::IoBuffer& to, const LineDiscipline::Take& take) {
  uint32_t done = 0;
  while (done < take.num_bytes) {
    const std::span<const uint8_t> piece = line.Piece(done, take.num_bytes - done);
    const ErrnoOr<uint64_t> n = to.Write(std::as_bytes(piece));
    if (!n.ok()) {
      if (done == 0) return n.error();
      break;
    }
    done += static_cast<uint32_t>(*n);
    if (*n < piece.size()) break;
  }
  line.Consume(done == take.num_bytes ? take.num_consumed : done);
  Pump();
  return uint64_t{done};
}

ErrnoOr<uint64_t> Pty::ReadSlave(mm::IoBuffer& to, bool nonblocking, std::atomic<bool>* waited) {
  return Locked([&](State& state) -> ErrnoOr<uint64_t> {
    // Linux's answers for who waited when the line was cut, and for who comes later.
    if (!state.master_open && waited->exchange(false, std::memory_order_relaxed)) return Errno(EIO);
    if (!state.master_open) return 0u;
    const LineDiscipline::Take take = state.line.NextTake(to.remaining());
    if (!take.ready) {
      const abi::Termios2& settings = state.line.settings();
      const bool no_wait =
          (settings.c_lflag & abi::kICANON) == 0 && settings.c_cc[abi::kVMIN] == 0 && settings.c_cc[abi::kVTIME] == 0;
      if (no_wait) return 0u;
      if (!nonblocking) waited->store(true, std::memory_order_relaxed);
      if (!nonblocking || take.num_bytes == 0) return Errno(EAGAIN);
    }
    waited->store(false, std::memory_order_relaxed);
    return state.TakeInput(to, take);
  });
}

ErrnoOr<uint64_t> Pty::ReadSlaveImpatiently(mm::IoBuffer& to) {
  return Locked([&](State& state) -> ErrnoOr<uint64_t> {
    if (!state.master_open) return 0u;
    return state.TakeInput(to, state.line.NextTake(to.remaining()));
  });
}

File::Patience Pty::ReadPatience() const {
  MutexLock lock(&mu_);
  const abi::Termios2& settings = state_.line.settings();
  const uint8_t tenths = settings.c_cc[abi::kVTIME];
  if ((settings.c_lflag & abi::kICANON) != 0 || tenths == 0) return {};
  // With VMIN the clock starts at the first byte, and again at each.
  const uint32_t num_bytes = state_.line.num_readable();
  if (settings.c_cc[abi::kVMIN] != 0 && num_bytes == 0) return {};
  return {.nanos = tenths * kTenthNanos, .restarts = settings.c_cc[abi::kVMIN] != 0 ? num_bytes : 0};
}

ErrnoOr<uint64_t> Pty::WriteSlave(mm::IoBuffer& from) {
  return Locked([&](State& state) -> ErrnoOr<uint64_t> {
    if (!state.master_open) return Errno(EIO);
    uint64_t done = 0;
    while (from.remaining() != 0) {
      const ErrnoOr<std::span<std::byte>> piece = from.Peek(kChunkBytes);
      if (!piece.ok()) {
        if (done == 0) return piece.error();
        break;
      }
      if (piece->empty()) break;
      std::array<uint8_t, kChunkBytes> chunk;  // the guest may change its own memory meanwhile
      mm::CopyGuestMemory(std::as_writable_bytes(std::span(chunk)).data(), piece->data(), piece->size());
      const uint64_t n = state.line.Write(std::span(chunk).first(piece->size()));
      from.Advance(n);
      done += n;
      if (n < piece->size()) break;
    }
    if (done == 0 && from.remaining() != 0) return Errno(EAGAIN);
    return done;
  });
}

ErrnoOr<void> Pty::CheckWrite(TerminalCaller& caller) {
  {
    MutexLock lock(&mu_);
    if ((state_.line.settings().c_lflag & abi::kTOSTOP) == 0) return Ok();
  }
  return CheckChange(caller);
}

// ---- open, close, readiness ----

ErrnoOr<void> Pty::SlaveOpened(bool privileged) {
  return Locked([&](State& state) -> ErrnoOr<void> {
    if (!state.master_open || state.locked) return Errno(EIO);
    if (state.exclusive && state.num_slave_files != 0 && !privileged) return Errno(EBUSY);
    ++state.num_slave_files;
    state.slave_was_opened = true;
    state.effects.master |= sync::kWritable;
    return Ok();
  });
}

void Pty::SlaveClosed() {
  const bool last = Locked([&](State& state) {
    if (--state.num_slave_files != 0) return false;
    state.exclusive = false;
    state.effects.master |= sync::kReadable | sync::kHangup;
    return true;
  });
  // Nobody has it open: nobody's terminal is it.
  if (last) SetSession(0, 0);
}

void Pty::MasterClosed() {
  Locked([&](State& state) {
    state.master_open = state.packet = false;
    state.effects.slave |= sync::kReadable | sync::kWritable | sync::kHangup | sync::kError;
    return true;
  });
  if (names_ != nullptr) names_->Remove(number_);
  HangUp();
}

bool Pty::master_open() const {
  MutexLock lock(&mu_);
  return state_.master_open;
}

sync::Events Pty::Readiness(End end, sync::Events interest) const {
  MutexLock lock(&mu_);
  sync::Events ready = 0;
  if (end == End::kMaster) {
    const bool event = state_.packet && state_.packet_status != 0;
    if (event) ready |= sync::kPriority;
    if (event || !state_.to_master.empty()) ready |= sync::kReadable;
    if (state_.to_slave.room() != 0) ready |= sync::kWritable;
    if (state_.slave_was_opened && state_.num_slave_files == 0) ready |= sync::kHangup;
  } else if (!state_.master_open) {
    ready = sync::kReadable | sync::kWritable | sync::kError | sync::kHangup;
  } else {
    if (state_.line.readable()) ready |= sync::kReadable;
    if (!state_.line.stopped() && state_.to_master.room() != 0) ready |= sync::kWritable;
  }
  return ready & (interest | sync::kError | sync::kHangup);
}

}  // namespace remora::fs
