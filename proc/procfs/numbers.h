#ifndef REMORA_PROC_PROCFS_NUMBERS_H_
#define REMORA_PROC_PROCFS_NUMBERS_H_

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace remora::proc {

// A process's or descriptor's number as a file name: decimal digits, no sign, no leading zero, as Linux takes it.
constexpr std::optional<int32_t> ParseNumber(std::string_view name) {
  if (name.empty() || name.size() > 10 || (name[0] == '0' && name.size() > 1)) return std::nullopt;
  int64_t value = 0;
  for (char c : name) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  if (value > INT32_MAX) return std::nullopt;
  return static_cast<int32_t>(value);
}

// The name for a number, without memory of its own.
class NumberName {
 public:
  explicit NumberName(int32_t number)
      : size_(static_cast<size_t>(std::to_chars(text_, text_ + sizeof text_, number).ptr - text_)) {}
  std::string_view view() const { return {text_, size_}; }

 private:
  char text_[12];
  const size_t size_;
};

// Inode numbers that stay the same while the process lives, whoever looks: entry 0 is its directory.
constexpr uint64_t ProcessInodeNumber(int32_t tid, uint32_t entry, bool is_thread = false) {
  return (uint64_t{1} << 40) + (static_cast<uint64_t>(tid) << 8) + entry + (is_thread ? 128 : 0);
}
constexpr uint64_t DescriptorInodeNumber(int32_t tid, int32_t fd) {
  return (uint64_t{1} << 62) + (static_cast<uint64_t>(tid) << 32) + static_cast<uint32_t>(fd);
}

}  // namespace remora::proc

#endif  // REMORA_PROC_PROCFS_NUMBERS_H_
