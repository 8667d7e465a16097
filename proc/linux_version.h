#ifndef REMORA_PROC_LINUX_VERSION_H_
#define REMORA_PROC_LINUX_VERSION_H_

#include <string_view>

namespace remora::proc {

// What uname(2) and /proc/version say: the Linux whose behaviour is followed.
inline constexpr std::string_view kLinuxRelease = "6.1.0-remora";
// With UNAME26: programs that take no other number in front were told so from 3.0 on.
inline constexpr std::string_view kLinuxReleaseAs26 = "2.6.61-remora";
inline constexpr std::string_view kLinuxVersion = "#1 SMP PREEMPT_DYNAMIC Remora";

}  // namespace remora::proc

#endif  // REMORA_PROC_LINUX_VERSION_H_
