#ifndef REMORA_FS_WATCH_EVENTS_H_
#define REMORA_FS_WATCH_EVENTS_H_

#include <cstdint>
#include <string_view>

#include "fs/dentry_cache.h"

namespace remora::fs {

// What the VFS and the calls on open files tell inotify(7). Linux twin: include/linux/fsnotify.h. Each costs one load
// while nothing at all is watched. No lock is held. Thread safety: from any thread.

// Slow halves of what follows.
void TellWatchersOf(const Dentry& dentry, uint32_t events);
void TellWatchersOfEntry(const Dentry& directory, uint32_t events, std::string_view name, uint32_t cookie);
void TellWatchersOfInode(const Dentry& dentry, uint32_t events);
void TellWatchersIfGone(const Dentry& dentry);

// `events` (IN_*) happened to the object: told to who watches its directory, then to who watches it.
inline void Tell(const Dentry& dentry, uint32_t events) {
  if (dentry.cache().has_watches()) [[unlikely]]
    TellWatchersOf(dentry, events);
}

// A name in `directory` was made, removed or changed. `cookie` joins the two halves of a rename.
inline void TellOfEntry(const Dentry& directory, uint32_t events, std::string_view name, uint32_t cookie = 0) {
  if (directory.cache().has_watches()) [[unlikely]]
    TellWatchersOfEntry(directory, events, name, cookie);
}

// Told only to who watches the object itself.
inline void TellItself(const Dentry& dentry, uint32_t events) {
  if (dentry.cache().has_watches()) [[unlikely]]
    TellWatchersOfInode(dentry, events);
}

// A name was unlinked or an unlinked one was closed: if that was the last of the object, IN_DELETE_SELF.
inline void TellIfGone(const Dentry& dentry) {
  if (dentry.cache().has_watches()) [[unlikely]]
    TellWatchersIfGone(dentry);
}

}  // namespace remora::fs

#endif  // REMORA_FS_WATCH_EVENTS_H_
