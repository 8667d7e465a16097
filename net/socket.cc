#include "net/socket.h"

#include <fcntl.h>
#include <sys/stat.h>

namespace remora::net {

Socket* Socket::From(fs::File& file) {
  // Most files are told apart without asking for their dynamic type.
  if (file.inode()->type() != S_IFSOCK) return nullptr;
  return dynamic_cast<Socket*>(&file);
}

Ref<fs::AnonymousInode> MakeSocketInode(fs::AnonymousFiles& files, uint32_t uid, uint32_t gid) {
  return files.MakeInode("socket", S_IFSOCK | 0777, uid, gid);
}

}  // namespace remora::net
