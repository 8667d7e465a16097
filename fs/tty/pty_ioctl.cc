// Pty: what ioctl(2) asks of either end. Settings, window and foreground group are the slave's, whichever end is asked.

#include <errno.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

#include "base/abi/signal.h"
#include "fs/tty/pty.h"

namespace remora::fs {
namespace {

// Bits per second by the code in CBAUD: B0 to B38400, then, behind CBAUDEX, B57600 to B4000000.
constexpr std::array<uint32_t, 31> kBauds = {0,       50,      75,      110,     134,     150,     200,    300,
                                             600,     1200,    1800,    2400,    4800,    9600,    19200,  38400,
                                             57600,   115200,  230400,  460800,  500000,  576000,  921600, 1000000,
                                             1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000};

uint32_t BaudOf(uint32_t code, uint32_t own) {
  if (code == abi::kBOTHER) return own;
  const uint32_t extended = code & abi::kBOTHER, low = code & 017;
  const uint32_t index = extended != 0 ? low + 15 : low;
  return index < kBauds.size() ? kBauds[index] : 0;
}

// The speeds follow from the codes, but for BOTHER.
void SetSpeeds(abi::Termios2& t) {
  const uint32_t input = t.c_cflag >> abi::kIBSHIFT & abi::kCBAUD;
  t.c_ospeed = BaudOf(t.c_cflag & abi::kCBAUD, t.c_ospeed);
  t.c_ispeed = input == abi::kB0 ? t.c_ospeed : BaudOf(input, t.c_ispeed);
}

enum class Layout : uint8_t { kTermios, kTermios2, kTermio };
struct SettingsRequest {
  uint32_t request;
  Layout layout;
  bool get, flush;
};
constexpr SettingsRequest kSettingsRequests[] = {
    {abi::kTCGETS, Layout::kTermios, true, false},     {abi::kTCSETS, Layout::kTermios, false, false},
    {abi::kTCSETSW, Layout::kTermios, false, false},   {abi::kTCSETSF, Layout::kTermios, false, true},
    {abi::kTCGETS2, Layout::kTermios2, true, false},   {abi::kTCSETS2, Layout::kTermios2, false, false},
    {abi::kTCSETSW2, Layout::kTermios2, false, false}, {abi::kTCSETSF2, Layout::kTermios2, false, true},
    {abi::kTCGETA, Layout::kTermio, true, false},      {abi::kTCSETA, Layout::kTermio, false, false},
    {abi::kTCSETAW, Layout::kTermio, false, false},    {abi::kTCSETAF, Layout::kTermio, false, true},
};

const SettingsRequest* FindSettingsRequest(uint32_t request) {
  for (const SettingsRequest& each : kSettingsRequests)
    if (each.request == request) return &each;
  return nullptr;
}

abi::Termio ToTermio(const abi::Termios2& t) {
  abi::Termio termio{};
  termio.c_iflag = static_cast<uint16_t>(t.c_iflag);
  termio.c_oflag = static_cast<uint16_t>(t.c_oflag);
  termio.c_cflag = static_cast<uint16_t>(t.c_cflag);
  termio.c_lflag = static_cast<uint16_t>(t.c_lflag);
  termio.c_line = t.c_line;
  std::memcpy(termio.c_cc, t.c_cc, sizeof termio.c_cc);
  return termio;
}

// The upper halves stay.
void FromTermio(const abi::Termio& termio, abi::Termios2& t) {
  const auto low = [](uint32_t& flags, uint16_t value) { flags = (flags & 0xffff0000) | value; };
  low(t.c_iflag, termio.c_iflag);
  low(t.c_oflag, termio.c_oflag);
  low(t.c_cflag, termio.c_cflag);
  low(t.c_lflag, termio.c_lflag);
  t.c_line = termio.c_line;
  std::memcpy(t.c_cc, termio.c_cc, sizeof termio.c_cc);
}

ErrnoOr<void> WriteSettings(const IoctlContext& context, GuestAddr to, Layout layout, const abi::Termios2& t) {
  const auto bytes = std::as_bytes(std::span(&t, 1));
  switch (layout) {
    case Layout::kTermios:  // which is a Termios2's beginning
      return context.memory.CopyOut(to, bytes.first(sizeof(abi::Termios)));
    case Layout::kTermios2:
      return context.memory.CopyOut(to, bytes);
    case Layout::kTermio:
      return context.memory.Write(to, ToTermio(t));
  }
  return Errno(EINVAL);
}

// `t` holds what is set now.
ErrnoOr<void> ReadSettings(const IoctlContext& context, GuestAddr from, Layout layout, abi::Termios2& t) {
  const auto bytes = std::as_writable_bytes(std::span(&t, 1));
  switch (layout) {
    case Layout::kTermios:
      return context.memory.CopyIn(bytes.first(sizeof(abi::Termios)), from);
    case Layout::kTermios2:
      return context.memory.CopyIn(bytes, from);
    case Layout::kTermio: {
      REMORA_ASSIGN_OR_RETURN(const auto termio, context.memory.Read<abi::Termio>(from));
      FromTermio(termio, t);
      return Ok();
    }
  }
  return Errno(EINVAL);
}

// As TIOCPKT_DOSTOP tells: ^S and ^Q are those of the keyboard.
bool HasPlainFlowControl(const abi::Termios2& t) {
  return (t.c_iflag & abi::kIXON) != 0 && t.c_cc[abi::kVSTOP] == 023 && t.c_cc[abi::kVSTART] == 021;
}

}  // namespace

bool Pty::IsSettingsRequest(uint32_t request) { return FindSettingsRequest(request) != nullptr; }

ErrnoOr<uint64_t> Pty::SettingsIoctl(const IoctlContext& context, uint32_t request, uint64_t argument) {
  const SettingsRequest& what = *FindSettingsRequest(request);
  const auto current = [&] {
    MutexLock lock(&mu_);
    return state_.line.settings();
  };
  abi::Termios2 settings = current();
  if (what.get) {
    REMORA_RETURN_IF_ERROR(WriteSettings(context, GuestAddr(argument), what.layout, settings));
    return 0u;
  }
  REMORA_RETURN_IF_ERROR(CheckChange(context));
  REMORA_RETURN_IF_ERROR(ReadSettings(context, GuestAddr(argument), what.layout, settings));
  SetSpeeds(settings);
  // A pty's line always has eight bits and can read.
  settings.c_cflag &= ~(abi::kCSIZE | abi::kPARENB);
  settings.c_cflag |= abi::kCS8 | abi::kCREAD;
  Locked([&](State& state) {
    if (what.flush) state.line.FlushInput();
    const abi::Termios2 old = state.line.settings();
    state.line.SetSettings(settings);
    const bool flow = HasPlainFlowControl(settings);
    if (flow != HasPlainFlowControl(old))
      state.NotePacketEvent(flow ? abi::kTIOCPKT_DOSTOP : abi::kTIOCPKT_NOSTOP,
                            abi::kTIOCPKT_DOSTOP | abi::kTIOCPKT_NOSTOP);
    if (((old.c_lflag | settings.c_lflag) & abi::kEXTPROC) != 0) state.NotePacketEvent(abi::kTIOCPKT_IOCTL);
    state.Pump();
    // What may be read changes with the mode.
    state.effects.slave |= sync::kReadable | sync::kWritable;
    return true;
  });
  return 0u;
}

ErrnoOr<uint64_t> Pty::QueueIoctl(End end, const IoctlContext& context, uint32_t request, uint64_t argument) {
  switch (request) {
    case abi::kTIOCINQ: {
      const auto count = [&] {
        MutexLock lock(&mu_);
        return end == End::kSlave ? state_.line.num_readable()
                                  : static_cast<uint32_t>(std::min(state_.to_master.size(), State::kReadableBytes));
      };
      REMORA_RETURN_IF_ERROR(context.memory.Write(GuestAddr(argument), static_cast<int32_t>(count())));
      return 0u;
    }
    case abi::kTIOCOUTQ:
      REMORA_RETURN_IF_ERROR(context.memory.Write(GuestAddr(argument), int32_t{0}));
      return 0u;
    case abi::kTCFLSH:
      REMORA_RETURN_IF_ERROR(CheckChange(context));
      if (argument > abi::kTCIOFLUSH) return Errno(EINVAL);
      return Locked([&](State& state) -> ErrnoOr<uint64_t> {
        const bool input = argument != abi::kTCOFLUSH, output = argument != abi::kTCIFLUSH;
        if (end == End::kSlave) {
          if (input) {
            state.to_slave.Clear();
            state.line.FlushInput();
          }
          if (output) state.DropOutput();
        } else {
          if (input) state.to_master.Clear();
          if (output) state.to_slave.Clear();
          state.effects.slave |= sync::kWritable;
          state.effects.master |= sync::kWritable;
        }
        return 0u;
      });
    case abi::kTCXONC:
      REMORA_RETURN_IF_ERROR(CheckChange(context));
      return Locked([&](State& state) -> ErrnoOr<uint64_t> {
        switch (argument) {
          case abi::kTCOOFF:
            if (end == End::kSlave) state.line.Stop(/*by_call=*/true);
            return 0u;
          case abi::kTCOON:
            if (end == End::kSlave) state.line.Start(/*by_call=*/true);
            return 0u;
          case abi::kTCIOFF:
          case abi::kTCION: {
            // The other end is to stop: it is sent the character that asks for it.
            const uint32_t key = argument == abi::kTCIOFF ? abi::kVSTOP : abi::kVSTART;
            const uint8_t character = state.line.settings().c_cc[key];
            if (character != 0 && end == End::kSlave && state.to_master.room() != 0)
              state.Output(std::span(&character, 1));
            return 0u;
          }
          default:
            return Errno(EINVAL);
        }
      });
    default:  // TCSBRK and its kin: output goes out at once, and a break is nothing that a pty could show
      REMORA_RETURN_IF_ERROR(CheckChange(context));
      return 0u;
  }
}

ErrnoOr<uint64_t> Pty::MasterIoctl(const IoctlContext& context, uint32_t request, uint64_t argument) {
  const GuestAddr address(argument);
  const auto tell = [&](int32_t value) -> ErrnoOr<uint64_t> {
    REMORA_RETURN_IF_ERROR(context.memory.Write(address, value));
    return 0u;
  };
  const auto peek = [&](bool State::* member) {
    MutexLock lock(&mu_);
    return state_.*member ? 1 : 0;
  };
  switch (request) {
    case abi::kTIOCGPTN:
      return tell(static_cast<int32_t>(number_));
    case abi::kTIOCGPTLCK:
      return tell(peek(&State::locked));
    case abi::kTIOCGPKT:
      return tell(peek(&State::packet));
    case abi::kTIOCSPTLCK:
    case abi::kTIOCPKT: {
      REMORA_ASSIGN_OR_RETURN(const int32_t value, context.memory.Read<int32_t>(address));
      return Locked([&](State& state) -> ErrnoOr<uint64_t> {
        if (request == abi::kTIOCSPTLCK) {
          state.locked = value != 0;
        } else {
          if (value != 0 && !state.packet) state.packet_status = 0;
          state.packet = value != 0;
        }
        return 0u;
      });
    }
    case abi::kTIOCSIG: {
      const auto signal = static_cast<int32_t>(argument);
      if (signal != abi::kSIGINT && signal != abi::kSIGQUIT && signal != abi::kSIGTSTP) return Errno(EINVAL);
      SignalForeground(signal);
      return 0u;
    }
    default:
      return Errno(ENOTTY);
  }
}

ErrnoOr<uint64_t> Pty::SetWindow(const IoctlContext& context, uint64_t argument) {
  REMORA_ASSIGN_OR_RETURN(const auto window, context.memory.Read<abi::Winsize>(GuestAddr(argument)));
  const bool changed = Locked([&](State& state) {
    const bool other = std::memcmp(&state.window, &window, sizeof window) != 0;
    state.window = window;
    return other;
  });
  if (changed) SignalForeground(abi::kSIGWINCH);
  return 0u;
}

// TIOCSTI: one byte as if it had been typed.
ErrnoOr<uint64_t> Pty::FakeInput(End end, const IoctlContext& context, uint64_t argument) {
  const TerminalCaller* caller = context.terminal_caller;
  const bool own = caller != nullptr && end == End::kSlave && session() != 0 && caller->session() == session();
  if (!own && (caller == nullptr || !caller->privileged())) return Errno(EPERM);
  REMORA_ASSIGN_OR_RETURN(const uint8_t byte, context.memory.Read<uint8_t>(GuestAddr(argument)));
  return Locked([&](State& state) -> ErrnoOr<uint64_t> {
    if (end == End::kMaster) {
      if (state.to_master.room() != 0) state.Output(std::span(&byte, 1));
    } else if (state.to_slave.room() != 0) {
      state.to_slave.Append(std::span(&byte, 1));
      state.Pump();
    }
    return 0u;
  });
}

ErrnoOr<uint64_t> Pty::Ioctl(End end, const IoctlContext& context, uint32_t request, uint64_t argument, bool may_read) {
  const bool master = end == End::kMaster;
  if (!master && !master_open()) return Errno(request == abi::kTIOCSPGRP ? ENOTTY : EIO);
  if (IsSettingsRequest(request)) return SettingsIoctl(context, request, argument);
  if (auto done = JobControl(context, request, argument, master, may_read)) return *std::move(done);
  const auto tell = [&](uint32_t value) -> ErrnoOr<uint64_t> {
    REMORA_RETURN_IF_ERROR(context.memory.Write(GuestAddr(argument), value));
    return 0u;
  };
  switch (request) {
    case abi::kTIOCGWINSZ: {
      const auto window = [&] {
        MutexLock lock(&mu_);
        return state_.window;
      };
      REMORA_RETURN_IF_ERROR(context.memory.Write(GuestAddr(argument), window()));
      return 0u;
    }
    case abi::kTIOCSWINSZ:
      return SetWindow(context, argument);
    case abi::kTIOCINQ:
    case abi::kTIOCOUTQ:
    case abi::kTCFLSH:
    case abi::kTCXONC:
    case abi::kTCSBRK:
    case abi::kTCSBRKP:
    case abi::kTIOCSBRK:
    case abi::kTIOCCBRK:
      return QueueIoctl(end, context, request, argument);
    case abi::kTIOCSTI:
      return FakeInput(end, context, argument);
    case abi::kTIOCEXCL:
    case abi::kTIOCNXCL:
      return Locked([&](State& state) -> ErrnoOr<uint64_t> {
        state.exclusive = request == abi::kTIOCEXCL;
        return 0u;
      });
    case abi::kTIOCGEXCL: {
      const auto exclusive = [&] {
        MutexLock lock(&mu_);
        return state_.exclusive;
      };
      return tell(exclusive() ? 1 : 0);
    }
    case abi::kTIOCGETD:  // N_TTY, and no other
      return tell(0);
    case abi::kTIOCSETD: {
      REMORA_ASSIGN_OR_RETURN(const int32_t discipline, context.memory.Read<int32_t>(GuestAddr(argument)));
      if (discipline != 0) return Errno(EINVAL);
      return 0u;
    }
    case abi::kTIOCGDEV:
      return tell(kMajor << 8 | (number_ & 0xff) | (number_ & 0xfff00) << 12);
    default:
      if (master) return MasterIoctl(context, request, argument);
      return Errno(ENOTTY);
  }
}

}  // namespace remora::fs
