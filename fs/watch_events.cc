#include "fs/watch_events.h"

#include <sys/stat.h>

#include "base/abi/inotify.h"
#include "fs/watch_list.h"

namespace remora::fs {
namespace {

uint32_t DirectoryBit(const Dentry& dentry) { return dentry.type() == S_IFDIR ? abi::kIN_ISDIR : 0; }

}  // namespace

void TellWatchersOf(const Dentry& dentry, uint32_t events) {
  // As on Linux, what is done to an open file knows by which name it was opened, what is done to an inode does not.
  constexpr uint32_t kByOpenFile =
      abi::kIN_ACCESS | abi::kIN_MODIFY | abi::kIN_OPEN | abi::kIN_CLOSE_WRITE | abi::kIN_CLOSE_NOWRITE;
  if ((events & kByOpenFile) != 0 && dentry.deleted()) events |= kOfUnlinkedEntry;
  events |= DirectoryBit(dentry);
  Ref<Dentry> parent;
  {
    const sync::Reclaimer::ReadSection section(dentry.reclaimer());
    parent = dentry.parent();
  }
  if (parent && parent->inode()->watches.GetIfAny() != nullptr) parent->inode()->watches.Notify(events, dentry.name());
  dentry.inode()->watches.Notify(events);
}

void TellWatchersOfEntry(const Dentry& directory, uint32_t events, std::string_view name, uint32_t cookie) {
  directory.inode()->watches.Notify(events, name, cookie);
}

void TellWatchersOfInode(const Dentry& dentry, uint32_t events) { dentry.inode()->watches.Notify(events); }

void TellWatchersIfGone(const Dentry& dentry) {
  Inode& inode = *dentry.inode();
  if (!dentry.deleted() || dentry.num_open() != 0 || inode.watches.GetIfAny() == nullptr) return;
  const ErrnoOr<Attributes> attributes = inode.GetAttributes();
  if (attributes.ok() && attributes->num_links != 0 && !attributes->is_directory()) return;
  inode.watches.Notify(abi::kIN_DELETE_SELF);
}

}  // namespace remora::fs
