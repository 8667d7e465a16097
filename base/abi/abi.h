#ifndef REMORA_BASE_ABI_ABI_H_
#define REMORA_BASE_ABI_ABI_H_

// Everything of base/abi at once, for syscall handlers and strace; others include the area they need.

#include "base/abi/elf.h"
#include "base/abi/epoll.h"
#include "base/abi/errno.h"
#include "base/abi/fcntl.h"
#include "base/abi/futex.h"
#include "base/abi/inotify.h"
#include "base/abi/ioctl.h"
#include "base/abi/ipc.h"
#include "base/abi/mman.h"
#include "base/abi/personality.h"
#include "base/abi/poll.h"
#include "base/abi/prctl.h"
#include "base/abi/resource.h"
#include "base/abi/sched.h"
#include "base/abi/signal.h"
#include "base/abi/socket.h"
#include "base/abi/stat.h"
#include "base/abi/termios.h"
#include "base/abi/time.h"
#include "base/abi/uio.h"
#include "base/abi/utsname.h"
#include "base/abi/wait.h"

#endif  // REMORA_BASE_ABI_ABI_H_
