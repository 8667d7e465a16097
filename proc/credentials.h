#ifndef REMORA_PROC_CREDENTIALS_H_
#define REMORA_PROC_CREDENTIALS_H_

#include "fs/credentials.h"

namespace remora::proc {

// What a task may do. File permissions need all of it, so the type is fs/'s.
using Credentials = fs::Credentials;

}  // namespace remora::proc

#endif  // REMORA_PROC_CREDENTIALS_H_
