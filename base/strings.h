#ifndef REMORA_BASE_STRINGS_H_
#define REMORA_BASE_STRINGS_H_

#include <string_view>

#include "absl/strings/string_view.h"

namespace remora {

// Debian's Abseil was built before C++17's string_view was its own, so absl::string_view is another type that does not
// convert. Remora's interfaces use std::string_view; what goes into or comes out of an Abseil function passes here.
inline absl::string_view ToAbsl(std::string_view s) { return absl::string_view(s.data(), s.size()); }
inline std::string_view FromAbsl(absl::string_view s) { return std::string_view(s.data(), s.size()); }

}  // namespace remora

#endif  // REMORA_BASE_STRINGS_H_
