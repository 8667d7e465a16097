#include "syscalls/table.h"

#include <initializer_list>

#include "base/check.h"

namespace remora::syscalls {
namespace {

using enum ArgKind;

constexpr SyscallRow MakeRow(uint32_t number, Support support, std::string_view name, std::string_view handler,
                             std::string_view test, std::string_view note, std::initializer_list<ArgKind> args) {
  SyscallRow row;
  row.number = number;
  row.support = support;
  row.name = name;
  row.handler = handler;
  row.test = test;
  row.note = note;
  for (ArgKind kind : args) row.args[row.num_args++] = kind;
  return row;
}

constexpr std::array<SyscallRow, kNumSyscalls> MakeTable() {
  std::array<SyscallRow, kNumSyscalls> rows;
#define REMORA_SUPPORTED(number, name, handler, test, ...) \
  rows[number] = MakeRow(number, Support::kSupported, #name, #handler, test, "", {__VA_ARGS__});
#define REMORA_PARTIAL(number, name, handler, test, missing, ...) \
  rows[number] = MakeRow(number, Support::kPartial, #name, #handler, test, missing, {__VA_ARGS__});
#define REMORA_ABSENT(number, name, remark, ...) \
  rows[number] = MakeRow(number, Support::kAbsent, #name, "", "", remark, {__VA_ARGS__});
#define REMORA_UNASSIGNED(first, last) \
  for (uint32_t n = first; n <= last; ++n) rows[n].number = n;
#include "syscalls/table.inc"
#undef REMORA_SUPPORTED
#undef REMORA_PARTIAL
#undef REMORA_ABSENT
#undef REMORA_UNASSIGNED
  return rows;
}

constexpr std::array<SyscallRow, kNumSyscalls> kTable = MakeTable();

}  // namespace

const SyscallRow& RowOf(uint64_t number) {
  CHECK(number < kNumSyscalls);
  return kTable[number];
}

}  // namespace remora::syscalls
