#ifndef REMORA_FS_TTY_TERMINAL_FOR_TESTING_H_
#define REMORA_FS_TTY_TERMINAL_FOR_TESTING_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "fs/terminal_caller.h"
#include "mm/tlb.h"

// What tests of terminals put in the place of processes and of guest memory.
namespace remora::fs {

// One readable and writable page at 0x1000: all the guest memory that an ioctl needs.
class OnePage final : public mm::TlbSource {
 public:
  Translation Translate(PageNumber page, mm::Access) override {
    if (page != PageNumber(1)) return {.fault = mm::FaultKind::kUnmapped};
    return {.host_page = memory, .frame = mm::FrameId(1), .writable = true};
  }
  uint64_t generation() const override { return 1; }
  uint64_t ReplayInvalidations(uint64_t, mm::Tlb*) override { return 1; }
  Translation PrepareCode(PageNumber) override { return {.fault = mm::FaultKind::kUnmapped}; }

  alignas(4096) std::byte memory[4096] = {};
};

using Sent = std::vector<std::pair<int32_t, int>>;  // process group (or -process), signal

struct FakeCaller final : TerminalCaller {
  int32_t session() const override { return session_id; }
  int32_t process_group() const override { return group; }
  bool is_session_leader() const override { return leader; }
  bool ignores_or_blocks(int) const override { return ignores; }
  bool is_orphaned() const override { return orphaned; }
  bool privileged() const override { return is_root; }
  int32_t SessionOfProcessGroup(int32_t) const override { return groups_session != -1 ? groups_session : session_id; }
  void SignalProcessGroup(int32_t to, int signal) override { sent.emplace_back(to, signal); }

  int32_t session_id = 2, group = 2, groups_session = -1;
  bool leader = true, ignores = false, orphaned = false, is_root = false;
  Sent sent;
};

struct FakeSignals final : TerminalSignals {
  void SignalProcessGroup(int32_t process_group, int signal) override { sent.emplace_back(process_group, signal); }
  void SignalProcess(int32_t process_id, int signal) override { sent.emplace_back(-process_id, signal); }
  Sent Take() { return std::exchange(sent, {}); }

  Sent sent;
};

}  // namespace remora::fs

#endif  // REMORA_FS_TTY_TERMINAL_FOR_TESTING_H_
