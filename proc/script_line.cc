#include "proc/script_line.h"

#include <algorithm>
#include <utility>

namespace remora::proc {

namespace {
constexpr std::string_view kBlank = " \t";
constexpr std::string_view kTerminators{" \t\0", 3};
}  // namespace

ErrnoOr<std::optional<ScriptLine>> ParseScriptLine(std::string_view start) {
  if (start.substr(0, 2) != "#!") return std::optional<ScriptLine>();
  std::string_view line = start.substr(2, kExecStartBytes - 2);
  const bool whole_file = start.size() < kExecStartBytes;
  if (const size_t newline = line.find('\n'); newline != line.npos) {
    line = line.substr(0, newline);
  } else if (!whole_file) {
    // No end in sight: the interpreter's name must at least be complete.
    const size_t name = line.find_first_not_of(kBlank);
    if (name == line.npos || line.find_first_of(kTerminators, name) == line.npos) return Errno(ENOEXEC);
  }
  if (const size_t last = line.find_last_not_of(kBlank); last != line.npos) line = line.substr(0, last + 1);
  const size_t name = line.find_first_not_of(kBlank);
  if (name == line.npos) return Errno(ENOEXEC);
  line.remove_prefix(name);
  ScriptLine result;
  const size_t end = line.find_first_of(kTerminators);
  result.interpreter = line.substr(0, end);
  if (result.interpreter.empty()) return Errno(ENOEXEC);
  if (end != line.npos && line[end] != '\0') {
    line.remove_prefix(end);
    line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
    // A C string: what follows a NUL is lost.
    line = line.substr(0, line.find('\0'));
    if (!line.empty()) result.argument = std::string(line);
  }
  return std::optional<ScriptLine>(std::move(result));
}

}  // namespace remora::proc
