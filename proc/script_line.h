#ifndef REMORA_PROC_SCRIPT_LINE_H_
#define REMORA_PROC_SCRIPT_LINE_H_

#include <optional>
#include <string>
#include <string_view>

#include "base/errno_or.h"

namespace remora::proc {

// How much of a file's beginning exec looks at: Linux's BINPRM_BUF_SIZE.
inline constexpr size_t kExecStartBytes = 256;

// A #! line: the interpreter and at most one argument (all of the rest of the line).
struct ScriptLine {
  std::string interpreter;
  std::optional<std::string> argument;
};

// `start`: the first kExecStartBytes of the file, fewer if it is shorter. nullopt if it does not begin with #!.
// ENOEXEC: no interpreter is named, or its name is cut off.
ErrnoOr<std::optional<ScriptLine>> ParseScriptLine(std::string_view start);

}  // namespace remora::proc

#endif  // REMORA_PROC_SCRIPT_LINE_H_
