#include "net/unix_address.h"

#include <sys/socket.h>

#include <cstring>

namespace remora::net {

ErrnoOr<UnixAddress> UnixAddress::Parse(const SocketAddress& address) {
  uint16_t family = 0;
  if (address.length_bytes <= kFamilyBytes || address.length_bytes > kFamilyBytes + kMaxPathBytes) return Errno(EINVAL);
  std::memcpy(&family, address.bytes.data(), sizeof(family));
  if (family != AF_UNIX) return Errno(EINVAL);
  const char* name = reinterpret_cast<const char*>(address.bytes.data()) + kFamilyBytes;
  const uint32_t length = address.length_bytes - kFamilyBytes;
  // A path ends at its NUL, if it has one; in an abstract name every byte counts.
  return UnixAddress{name[0] == '\0' ? std::string(name, length) : std::string(name, strnlen(name, length))};
}

SocketAddress UnixAddress::ToSocketAddress() const {
  SocketAddress address;
  const uint16_t family = AF_UNIX;
  std::memcpy(address.bytes.data(), &family, sizeof(family));
  std::memcpy(address.bytes.data() + kFamilyBytes, name.data(), name.size());
  address.length_bytes = kFamilyBytes + static_cast<uint32_t>(name.size()) + (unnamed() || abstract() ? 0 : 1);
  return address;
}

}  // namespace remora::net
