#ifndef REMORA_BASE_ABI_UTSNAME_H_
#define REMORA_BASE_ABI_UTSNAME_H_

#include <cstdint>

// uname(2).
namespace remora::abi {

struct Utsname {
  static constexpr uint32_t kFieldBytes = 65;  // with the NUL
  char sysname[kFieldBytes];
  char nodename[kFieldBytes];
  char release[kFieldBytes];
  char version[kFieldBytes];
  char machine[kFieldBytes];
  char domainname[kFieldBytes];
};
static_assert(sizeof(Utsname) == 390);

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_UTSNAME_H_
