#ifndef REMORA_FS_PSEUDO_PSEUDO_SYMLINK_H_
#define REMORA_FS_PSEUDO_PSEUDO_SYMLINK_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "base/errno_or.h"
#include "fs/inode.h"
#include "fs/path.h"
#include "fs/pseudo/pseudo_inode.h"

namespace remora::fs {

// A symlink whose text is made when it is read, perhaps for the one who asks (/proc/self), or that is no text at all
// but a jump (/proc/PID/exe, /proc/PID/fd/N: "magic links"). Thread safety: all methods from any thread.
class PseudoSymlink : public PseudoInode {
 public:
  using TextFunction = std::function<ErrnoOr<std::string>(const CallerIds&)>;
  using JumpFunction = std::function<ErrnoOr<Path>()>;

  // `jump` empty: the walk follows the text.
  PseudoSymlink(PseudoFileSystem* file_system, TextFunction text, JumpFunction jump = nullptr,
                uint32_t permissions = 0777, uint64_t number = 0)
      : PseudoInode(file_system, 0120000 | permissions, number), text_(std::move(text)), jump_(std::move(jump)) {}

  ErrnoOr<std::string> ReadLink() override { return text_(CallerIds()); }
  ErrnoOr<std::string> ReadLinkFor(const CallerIds& caller) override { return text_(caller); }
  bool cacheable_link() const override { return false; }
  std::optional<ErrnoOr<Path>> FollowMagicLink() override {
    if (!jump_) return std::nullopt;
    return jump_();
  }
  ErrnoOr<Ref<File>> Open(const Path&, uint32_t) override { return Errno(ELOOP); }

 protected:
  ~PseudoSymlink() override = default;

 private:
  const TextFunction text_;
  const JumpFunction jump_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_PSEUDO_PSEUDO_SYMLINK_H_
