// poll, ppoll, select, pselect6: one readiness core (syscalls/poll_set.h) behind four shapes of arguments.

#include "base/abi/poll.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <span>

#include "absl/container/inlined_vector.h"
#include "base/abi/personality.h"
#include "base/abi/resource.h"
#include "base/abi/time.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/poll_set.h"
#include "syscalls/time_args.h"

namespace remora::syscalls {
namespace {

struct PollState : proc::SyscallState {
  PollSet rows;
  int64_t deadline_nanos = proc::Task::kNoDeadline;
  bool armed = false;
  std::deque<proc::TaskWaiter> waiters;  // behind the rows: a waiter goes before its file
};

// Arms a waiter for each file and asks again: what became ready meanwhile counts.
uint32_t ArmAndAsk(SyscallContext& c, PollState& state) {
  state.armed = true;
  return state.rows.ArmAndAsk([&]() -> sync::Waiter& { return state.waiters.emplace_back(&c.task()); });
}

// nullopt: the call has to wait. Else how many are ready, 0 at the deadline.
std::optional<uint32_t> Look(SyscallContext& c, PollState& state) {
  // Rows were asked as they were added.
  uint32_t num_ready = state.armed ? state.rows.Ask() : state.rows.num_ready();
  if (num_ready != 0 || c.Expired(state.deadline_nanos)) return num_ready;
  if (!state.armed) {
    num_ready = ArmAndAsk(c, state);
    if (num_ready != 0) return num_ready;
  }
  return std::nullopt;
}

// ---- poll ----

// Pollfds are copied in and out through a fixed buffer.
constexpr uint64_t kPollfdsAtOnce = 128;
using PollfdChunk = std::array<abi::Pollfd, kPollfdsAtOnce>;

ErrnoOr<void> ReadPollfds(SyscallContext& c, GuestAddr from, uint64_t count, PollSet& rows) {
  rows.Reserve(count);
  const Ref<fs::FdTable>& fds = c.task().fds();
  PollfdChunk chunk;
  for (uint64_t done = 0; done < count;) {
    const uint64_t n = std::min(kPollfdsAtOnce, count - done);
    REMORA_RETURN_IF_ERROR(
        c.memory().CopyIn(std::as_writable_bytes(std::span(chunk).first(n)), from + done * sizeof(abi::Pollfd)));
    for (uint64_t i = 0; i < n; ++i) rows.Add(*fds, chunk[i].fd, static_cast<uint16_t>(chunk[i].events));
    done += n;
  }
  return Ok();
}

ErrnoOr<void> WriteRevents(SyscallContext& c, GuestAddr to, const PollSet& rows) {
  for (uint64_t i = 0; i < rows.size(); ++i)
    REMORA_RETURN_IF_ERROR(c.memory().Write(to + i * sizeof(abi::Pollfd) + offsetof(abi::Pollfd, revents),
                                            static_cast<uint16_t>(rows[i].revents)));
  return Ok();
}

// The state of a poll that begins; nothing is armed yet.
ErrnoOr<PollState*> BeginPoll(SyscallContext& c) {
  const uint64_t count = c.u32(1);
  if (count > c.Limit(abi::kRLIMIT_NOFILE)) return Errno(EINVAL);
  PollSet rows;
  REMORA_RETURN_IF_ERROR(ReadPollfds(c, c.addr(0), count, rows));
  auto& state = c.MakeState<PollState>();
  state.rows = std::move(rows);
  return &state;
}

// Both polls: look, and either tell what was found or wait.
SyscallOutcome RunPoll(SyscallContext& c, PollState& state, Interrupted interrupted) {
  const auto num_ready = Look(c, state);
  if (!num_ready) return c.Park(interrupted, state.deadline_nanos);
  REMORA_RETURN_IF_ERROR(WriteRevents(c, c.addr(0), state.rows));
  return SyscallOutcome::Return(*num_ready);
}

// ---- select ----

constexpr uint32_t kMaxSelectFds = 1 << 20;
using FdBits = absl::InlinedVector<uint64_t, 16>;

struct SelectState : PollState {
  uint32_t num_fds = 0;
  GuestAddr timeout;  // where the time left is stored; null if nowhere
  std::array<bool, 3> wanted{};
  absl::InlinedVector<uint32_t, 8> fds;  // of the rows
};

// What each of the three sets asks for, and which answers put a bit into it.
constexpr std::array<uint32_t, 3> kSelectAsks = {abi::kPOLLIN, abi::kPOLLOUT, abi::kPOLLPRI};
constexpr std::array<uint32_t, 3> kSelectAnswers = {sync::kInBits | abi::kPOLLHUP | abi::kPOLLERR,
                                                    sync::kOutBits | abi::kPOLLERR, abi::kPOLLPRI};

ErrnoOr<FdBits> ReadSet(SyscallContext& c, GuestAddr from, uint64_t num_words) {
  FdBits bits(num_words, 0);
  if (!from.is_null()) REMORA_RETURN_IF_ERROR(c.memory().CopyIn(std::as_writable_bytes(std::span(bits)), from));
  return bits;
}

ErrnoOr<SelectState*> BeginSelect(SyscallContext& c) {
  if (c.i32(0) < 0) return Errno(EINVAL);
  const uint32_t n = std::min(c.u32(0), kMaxSelectFds);
  const uint64_t num_words = (n + 63) / 64;
  std::array<FdBits, 3> sets;
  for (int i = 0; i < 3; ++i) {
    REMORA_ASSIGN_OR_RETURN(sets[i], ReadSet(c, c.addr(i + 1), num_words));
  }
  auto& state = c.MakeState<SelectState>();
  state.num_fds = n;
  for (int i = 0; i < 3; ++i) state.wanted[i] = !c.addr(i + 1).is_null();
  for (uint64_t word = 0; word < num_words; ++word) {
    uint64_t any = sets[0][word] | sets[1][word] | sets[2][word];
    if (word == num_words - 1 && n % 64 != 0) any &= (uint64_t{1} << n % 64) - 1;
    for (; any != 0; any &= any - 1) {
      const auto bit = static_cast<uint32_t>(__builtin_ctzll(any));
      uint32_t events = 0;
      for (int i = 0; i < 3; ++i)
        if ((sets[i][word] >> bit & 1) != 0) events |= kSelectAsks[i];
      const auto fd = static_cast<uint32_t>(word * 64 + bit);
      if (!state.rows.Add(*c.task().fds(), static_cast<int32_t>(fd), events)) return Errno(EBADF);
      state.fds.push_back(fd);
    }
  }
  return &state;
}

// Linux counts each bit that it sets, so a descriptor that is readable and writable counts twice.
ErrnoOr<uint32_t> WriteSets(SyscallContext& c, const SelectState& state) {
  uint32_t num_bits = 0;
  for (int i = 0; i < 3; ++i) {
    if (!state.wanted[i]) continue;
    FdBits bits((state.num_fds + 63) / 64, 0);
    for (uint64_t j = 0; j < state.rows.size(); ++j) {
      const PollSet::Row& row = state.rows[j];
      if ((row.events & kSelectAsks[i]) == 0 || (row.revents & kSelectAnswers[i]) == 0) continue;
      bits[state.fds[j] / 64] |= uint64_t{1} << state.fds[j] % 64;
      ++num_bits;
    }
    REMORA_RETURN_IF_ERROR(c.memory().CopyOut(c.addr(i + 1), std::as_bytes(std::span(bits))));
  }
  return num_bits;
}

// A hangup counts as readable only for what asked to read: readiness that no set shows does not end a select.
uint32_t NumAnswers(const SelectState& state) {
  uint32_t n = 0;
  for (const PollSet::Row& row : state.rows)
    for (int i = 0; i < 3; ++i) n += (row.events & kSelectAsks[i]) != 0 && (row.revents & kSelectAnswers[i]) != 0;
  return n;
}

template <typename Time>
void StoreTimeLeft(SyscallContext& c, GuestAddr to, int64_t deadline_nanos, Time convert) {
  if (c.task().HasPersonality(abi::kSTICKY_TIMEOUTS)) return;
  // A time-out in read-only memory is no error.
  if (!to.is_null()) (void)c.memory().Write(to, convert(RemainingNanos(c, deadline_nanos)));
}

template <typename Time>
SyscallOutcome RunSelect(SyscallContext& c, SelectState& state, Time convert) {
  if (state.armed) state.rows.Ask();
  // What is ready in a way that no set asks for answers nothing: all files have to be waited for nevertheless.
  if (NumAnswers(state) == 0 && !state.armed && !c.Expired(state.deadline_nanos)) ArmAndAsk(c, state);
  const bool answer = NumAnswers(state) != 0 || c.Expired(state.deadline_nanos);
  if (!answer && !c.task().signal_pending()) return c.Park(Interrupted::kRestartWithoutHandler, state.deadline_nanos);
  StoreTimeLeft(c, state.timeout, state.deadline_nanos, convert);
  if (!answer) return c.Park(Interrupted::kRestartWithoutHandler, state.deadline_nanos);
  return WriteSets(c, state);
}

}  // namespace

SyscallOutcome SysPoll(SyscallContext& c) {
  auto* state = c.state<PollState>();
  if (state == nullptr) {
    REMORA_ASSIGN_OR_RETURN(state, BeginPoll(c));
    if (c.i32(2) >= 0) state->deadline_nanos = DeadlineAfter(c, int64_t{c.i32(2)} * 1'000'000);
  }
  return RunPoll(c, *state, Interrupted::kContinueFromState);
}

SyscallOutcome SysPpoll(SyscallContext& c) {
  auto* state = c.state<PollState>();
  if (state == nullptr) {
    std::optional<int64_t> timeout;
    if (!c.addr(2).is_null()) {
      REMORA_ASSIGN_OR_RETURN(timeout, ReadTimespec(c, c.addr(2)));
    }
    REMORA_RETURN_IF_ERROR(c.InstallTemporaryMask(c.addr(3), c.arg(4)));
    REMORA_ASSIGN_OR_RETURN(state, BeginPoll(c));
    if (timeout) state->deadline_nanos = DeadlineAfter(c, *timeout);
  }
  const int64_t deadline = state->deadline_nanos;
  const SyscallOutcome outcome = RunPoll(c, *state, Interrupted::kRestartWithoutHandler);
  if (outcome.kind() == SyscallOutcome::Kind::kReturned && !c.addr(2).is_null())
    StoreTimeLeft(c, c.addr(2), deadline, [](int64_t nanos) { return ToTimespec(nanos); });
  return outcome;
}

SyscallOutcome SysSelect(SyscallContext& c) {
  auto* state = c.state<SelectState>();
  if (state == nullptr) {
    std::optional<int64_t> timeout;
    if (!c.addr(4).is_null()) {
      REMORA_ASSIGN_OR_RETURN(auto time, c.memory().Read<abi::Timeval>(c.addr(4)));
      // Microseconds of more than a second are carried over, as Linux does here.
      if (__builtin_add_overflow(time.tv_sec, time.tv_usec / 1'000'000, &time.tv_sec)) time.tv_sec = INT64_MAX;
      time.tv_usec %= 1'000'000;
      REMORA_ASSIGN_OR_RETURN(timeout, NanosOf(time));
    }
    REMORA_ASSIGN_OR_RETURN(state, BeginSelect(c));
    if (timeout) {
      state->deadline_nanos = DeadlineAfter(c, *timeout);
      state->timeout = c.addr(4);
    }
  }
  return RunSelect(c, *state, [](int64_t nanos) { return ToTimeval(nanos); });
}

SyscallOutcome SysPselect6(SyscallContext& c) {
  auto* state = c.state<SelectState>();
  if (state == nullptr) {
    std::optional<int64_t> timeout;
    abi::SigsetArgument mask{};
    if (!c.addr(5).is_null()) {
      REMORA_ASSIGN_OR_RETURN(mask, c.memory().Read<abi::SigsetArgument>(c.addr(5)));
    }
    if (!c.addr(4).is_null()) {
      REMORA_ASSIGN_OR_RETURN(timeout, ReadTimespec(c, c.addr(4)));
    }
    REMORA_RETURN_IF_ERROR(c.InstallTemporaryMask(GuestAddr(mask.mask_address), mask.mask_size));
    REMORA_ASSIGN_OR_RETURN(state, BeginSelect(c));
    if (timeout) {
      state->deadline_nanos = DeadlineAfter(c, *timeout);
      state->timeout = c.addr(4);
    }
  }
  return RunSelect(c, *state, [](int64_t nanos) { return ToTimespec(nanos); });
}

}  // namespace remora::syscalls
