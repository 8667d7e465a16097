#include "syscalls/strace_sockets.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "absl/strings/str_cat.h"
#include "base/abi/abi.h"
#include "syscalls/strace_args.h"
#include "syscalls/strace_flags.h"
#include "syscalls/strace_format.h"

namespace remora::syscalls {
namespace {

constexpr uint64_t kShownItems = 8;
constexpr uint64_t kShownFiles = 32;

std::string Control(const mm::UserMemory& memory, uint64_t address, uint64_t length) {
  std::string text = "[";
  uint64_t at = 0;
  for (uint64_t i = 0; at + sizeof(abi::Cmsghdr) <= length; ++i) {
    const auto head = memory.Read<abi::Cmsghdr>(GuestAddr(address + at));
    if (!head.ok()) return FormatAddress(address);
    if (i != 0) text += ", ";
    if (i == kShownItems || head->cmsg_len < sizeof(abi::Cmsghdr) || head->cmsg_len > length - at) {
      text += "...";
      break;
    }
    const bool rights = head->cmsg_level == abi::kSOL_SOCKET && head->cmsg_type == abi::kSCM_RIGHTS;
    const bool credentials = head->cmsg_level == abi::kSOL_SOCKET && head->cmsg_type == abi::kSCM_CREDENTIALS;
    absl::StrAppend(&text, "{cmsg_len=", head->cmsg_len, ", cmsg_level=",
                    head->cmsg_level == abi::kSOL_SOCKET ? "SOL_SOCKET" : absl::StrCat(head->cmsg_level),
                    ", cmsg_type=",
                    rights        ? "SCM_RIGHTS"
                    : credentials ? "SCM_CREDENTIALS"
                                  : absl::StrCat(head->cmsg_type));
    const uint64_t data = address + at + sizeof(abi::Cmsghdr);
    if (rights) {
      text += ", cmsg_data=[";
      const uint64_t n = (head->cmsg_len - sizeof(abi::Cmsghdr)) / sizeof(int32_t);
      for (uint64_t f = 0; f < n; ++f) {
        const auto fd = memory.Read<int32_t>(GuestAddr(data + f * sizeof(int32_t)));
        absl::StrAppend(&text, f == 0 ? "" : ", ");
        if (f == kShownFiles || !fd.ok()) {
          text += "...";
          break;
        }
        absl::StrAppend(&text, *fd);
      }
      text += "]";
    } else if (credentials) {
      const auto ids = memory.Read<std::array<int32_t, 3>>(GuestAddr(data));
      if (ids.ok())
        absl::StrAppend(&text, ", cmsg_data={pid=", (*ids)[0], ", uid=", (*ids)[1], ", gid=", (*ids)[2], "}");
    }
    text += "}";
    at += abi::CmsgAlign(head->cmsg_len);
  }
  return text + "]";
}

}  // namespace

std::string FormatSocketType(uint32_t type_and_flags) {
  const uint32_t type = type_and_flags & abi::kSOCK_TYPE_MASK;
  const uint32_t flags = type_and_flags & ~abi::kSOCK_TYPE_MASK;
  if (type == 0) return JoinFlags(SocketTypeFlags(), flags);
  const std::string name = NameOrNumber(SocketTypes(), type, false);
  return flags == 0 ? name : absl::StrCat(name, "|", JoinFlags(SocketTypeFlags(), flags));
}

std::string FormatSocketAddress(const mm::UserMemory& memory, uint64_t address, uint32_t length_bytes) {
  if (address == 0) return "NULL";
  std::array<char, 128> bytes;
  const uint32_t n = std::min<uint32_t>(length_bytes, bytes.size());
  uint16_t family = 0;
  if (n < sizeof(family) || !memory.CopyIn(std::as_writable_bytes(std::span(bytes)).first(n), GuestAddr(address)).ok())
    return FormatAddress(address);
  std::memcpy(&family, bytes.data(), sizeof(family));
  std::string text = absl::StrCat("{sa_family=", NameOrNumber(SocketDomains(), family, false));
  const std::string_view name(bytes.data() + sizeof(family), n - sizeof(family));
  if (family == abi::kAF_UNIX && !name.empty()) {
    if (name.front() == '\0')
      absl::StrAppend(&text, ", sun_path=@", QuoteBytes(name.substr(1), false));
    else
      absl::StrAppend(&text, ", sun_path=", QuoteBytes(name.substr(0, std::min(name.find('\0'), name.size())), false));
  }
  return text + "}";
}

std::string FormatMessageHeader(const mm::UserMemory& memory, uint64_t address, uint64_t bytes_known) {
  if (address == 0) return "NULL";
  const auto header = memory.Read<abi::Msghdr>(GuestAddr(address));
  if (!header.ok()) return FormatAddress(address);
  std::string text = absl::StrCat("{msg_name=",
                                  FormatSocketAddress(memory, header->msg_namelen == 0 ? 0 : header->msg_name,
                                                      static_cast<uint32_t>(header->msg_namelen)),
                                  ", msg_namelen=", header->msg_namelen,
                                  ", msg_iov=", FormatIovecs(memory, header->msg_iov, header->msg_iovlen, bytes_known),
                                  ", msg_iovlen=", header->msg_iovlen);
  if (header->msg_control != 0 && header->msg_controllen != 0)
    absl::StrAppend(&text, ", msg_control=", Control(memory, header->msg_control, header->msg_controllen));
  absl::StrAppend(&text, ", msg_controllen=", header->msg_controllen,
                  ", msg_flags=", JoinFlags(MessageFlags(), header->msg_flags), "}");
  return text;
}

std::string FormatIntAt(const mm::UserMemory& memory, uint64_t address) {
  if (address == 0) return "NULL";
  const auto value = memory.Read<int32_t>(GuestAddr(address));
  return value.ok() ? absl::StrCat("[", *value, "]") : FormatAddress(address);
}

}  // namespace remora::syscalls
