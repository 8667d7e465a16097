#include "proc/program_stack.h"

#include <cstring>
#include <string_view>

#include "base/abi/elf.h"

namespace remora::proc {

namespace {
constexpr uint64_t kMaxStringBytes = 128 << 10;
constexpr std::string_view kPlatform = "x86_64";
}  // namespace

ProgramStack BuildProgramStack(const ProgramStackInput& input) {
  ProgramStack stack;
  uint64_t string_bytes = input.executable_path.size() + 1;
  for (const auto* list : {&input.argv, &input.envp})
    for (const std::string& s : *list) string_bytes += s.size() + 1;

  const uint64_t top = input.top.value();
  const uint64_t strings = top - 8 - string_bytes;
  const uint64_t platform = (strings & ~uint64_t{15}) - 16;
  const uint64_t random = platform - 16;
  const uint64_t num_words = 1 + input.argv.size() + 1 + input.envp.size() + 1 + 2 * (input.auxv.size() + 1);
  const uint64_t sp = (random - 8 * num_words) & ~uint64_t{15};

  stack.stack_pointer = GuestAddr(sp);
  stack.bytes.resize(top - sp);
  const auto put = [&](uint64_t addr, const void* data, uint64_t n) {
    std::memcpy(stack.bytes.data() + (addr - sp), data, n);
  };
  uint64_t word_at = sp;
  const auto put_word = [&](uint64_t value) {
    put(word_at, &value, sizeof(value));
    word_at += sizeof(value);
  };
  put(platform, kPlatform.data(), kPlatform.size());
  put(random, input.random_bytes.data(), input.random_bytes.size());

  uint64_t string_at = strings;
  put_word(input.argv.size());
  stack.arg_start = GuestAddr(string_at);
  for (const std::string& s : input.argv) {
    put_word(string_at);
    put(string_at, s.c_str(), s.size() + 1);
    string_at += s.size() + 1;
  }
  put_word(0);
  stack.arg_end = stack.env_start = GuestAddr(string_at);
  for (const std::string& s : input.envp) {
    put_word(string_at);
    put(string_at, s.c_str(), s.size() + 1);
    string_at += s.size() + 1;
  }
  put_word(0);
  stack.env_end = GuestAddr(string_at);
  put(string_at, input.executable_path.c_str(), input.executable_path.size() + 1);

  for (auto [type, value] : input.auxv) {
    if (type == abi::kAT_RANDOM) value = random;
    if (type == abi::kAT_EXECFN) value = string_at;
    if (type == abi::kAT_PLATFORM) value = platform;
    stack.auxv.push_back(type);
    stack.auxv.push_back(value);
  }
  stack.auxv.push_back(abi::kAT_NULL);
  stack.auxv.push_back(0);
  for (uint64_t word : stack.auxv) put_word(word);
  return stack;
}

ErrnoOr<void> CheckArgumentSize(const std::vector<std::string>& argv, const std::vector<std::string>& envp,
                                uint64_t limit_bytes) {
  uint64_t sum = 0;
  for (const auto* list : {&argv, &envp}) {
    for (const std::string& s : *list) {
      if (s.size() + 1 > kMaxStringBytes) return Errno(E2BIG);
      sum += s.size() + 1 + sizeof(uint64_t);
      if (sum > limit_bytes) return Errno(E2BIG);
    }
  }
  return Ok();
}

}  // namespace remora::proc
