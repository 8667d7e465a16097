#include "syscalls/docs.h"

#include "syscalls/table.h"

namespace remora::syscalls {
namespace {

std::string Code(std::string_view text) { return "`" + std::string(text) + "`"; }

}  // namespace

std::string SyscallsDocument() {
  uint32_t num_supported = 0, num_partial = 0, num_absent = 0;
  std::string rows;
  for (uint32_t number = 0; number < kNumSyscalls; ++number) {
    const SyscallRow& row = RowOf(number);
    std::string level, remark;
    switch (row.support) {
      case Support::kUnassigned: {
        uint32_t last = number;
        while (last + 1 < kNumSyscalls && RowOf(last + 1).support == Support::kUnassigned) ++last;
        rows += "| " + std::to_string(number) + "-" + std::to_string(last) + " | | not used by Linux | | |\n";
        number = last;
        continue;
      }
      case Support::kSupported:
        ++num_supported;
        level = "supported";
        break;
      case Support::kPartial:
        ++num_partial;
        level = "partial";
        break;
      case Support::kAbsent:
        ++num_absent;
        level = "absent";
        break;
    }
    rows += "| " + std::to_string(number) + " | " + Code(row.name) + " | " + level + " | " +
            (row.test.empty() ? std::string() : Code(row.test)) + " | " + std::string(row.note) + " |\n";
  }
  return "# System calls\n\n"
         "Generated from `syscalls/table.inc` by `bazel run //syscalls:generate_docs`; do not edit. "
         "The numbers are those of x86-64 Linux.\n\n" +
         std::to_string(num_supported) + " are supported, " + std::to_string(num_partial) + " in part, " +
         std::to_string(num_absent) +
         " are absent: those answer `ENOSYS`, and `--stats` counts them.\n"
         "The test is a guest program in `testing/guest/` that runs natively and under Remora with the same "
         "assertions.\n\n"
         "| number | name | level | test | what is missing, or why it is absent |\n"
         "|---|---|---|---|---|\n" +
         rows;
}

}  // namespace remora::syscalls
