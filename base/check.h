#ifndef REMORA_BASE_CHECK_H_
#define REMORA_BASE_CHECK_H_

// CHECK ends the process with one line when Remora itself is wrong. Never for what a guest, a user or the host did.
// DCHECK does so in builds without NDEBUG (the sanitizer configurations and --config=debug) and costs nothing
// elsewhere.
//
//   CHECK(count > 0);
//   CHECK_MSG(node != nullptr, "page table node freed twice");

namespace remora {

[[noreturn, gnu::cold]] void CheckFailed(const char* file, int line, const char* condition, const char* message);

}  // namespace remora

#define CHECK_MSG(condition, message)                                 \
  do {                                                                \
    if (!(condition)) [[unlikely]]                                    \
      ::remora::CheckFailed(__FILE__, __LINE__, #condition, message); \
  } while (false)
#define CHECK(condition) CHECK_MSG(condition, "")

#ifdef NDEBUG
#define DCHECK(condition)       \
  do {                          \
    if (false && (condition)) { \
    }                           \
  } while (false)
#else
#define DCHECK(condition) CHECK(condition)
#endif

#endif  // REMORA_BASE_CHECK_H_
