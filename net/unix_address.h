#ifndef REMORA_NET_UNIX_ADDRESS_H_
#define REMORA_NET_UNIX_ADDRESS_H_

#include <cstdint>
#include <string>

#include "base/errno_or.h"
#include "net/socket.h"

namespace remora::net {

// The name of an AF_UNIX socket: a path in the file system, an abstract name (any bytes, the first of which is NUL), or
// none. A value.
struct UnixAddress {
  static constexpr uint32_t kFamilyBytes = 2;
  static constexpr uint32_t kMaxPathBytes = 108;

  std::string name;  // a path without its NUL, or an abstract name with the NUL in front

  bool unnamed() const { return name.empty(); }
  bool abstract() const { return !name.empty() && name.front() == '\0'; }

  // EINVAL: too short, too long, another family. An address of two bytes (autobind) is the caller's to see.
  static ErrnoOr<UnixAddress> Parse(const SocketAddress& address);
  SocketAddress ToSocketAddress() const;
};

}  // namespace remora::net

#endif  // REMORA_NET_UNIX_ADDRESS_H_
