// The machine as a whole: uname, limits, sysinfo, usage, random bytes.

#include <algorithm>
#include <array>
#include <cstring>

#include "base/abi/fcntl.h"
#include "base/abi/resource.h"
#include "base/abi/uio.h"
#include "base/abi/utsname.h"
#include "base/guest_addr.h"
#include "proc/host_metrics.h"
