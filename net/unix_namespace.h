#ifndef REMORA_NET_UNIX_NAMESPACE_H_
#define REMORA_NET_UNIX_NAMESPACE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/inode.h"

namespace remora::net {

class UnixEndpoint;

// Which socket has which name, for one Kernel; and the files that are on their way in messages.
//
// Invariants:
//  1. A name leads to an endpoint that is not closed yet; its close takes the name away.
//  2. A bound inode is held, so its address is nobody else's.
// Linux twins: unix_socket_table, the count of user_struct::unix_inflight. Difference: the limit of files on their way
// is one for the Kernel, not for each user; and cycles of sockets that carry each other and nobody holds (Linux's
// unix_gc collects them) stay to the Kernel's end, if the limit does not stop their making.
// Thread safety: all methods from any thread. One lock, under which nothing else is taken.
class UnixNamespace final : public RefCounted {
 public:
  static constexpr uint32_t kMaxFilesInFlight = 16'384;

  UnixNamespace();

  // Abstract names are those of one type of socket (SOCK_*), as in Linux. EADDRINUSE.
  ErrnoOr<void> BindAbstract(int32_t type, const std::string& name, const Ref<UnixEndpoint>& endpoint);
  // A name that was free: NUL and five hex digits. ENOSPC.
  ErrnoOr<std::string> BindFree(int32_t type, const Ref<UnixEndpoint>& endpoint);
  void BindInode(const Ref<fs::Inode>& inode, const Ref<UnixEndpoint>& endpoint);
  void UnbindAbstract(int32_t type, const std::string& name);
  void UnbindInode(const fs::Inode* inode);
  // Null: nobody has that name.
  Ref<UnixEndpoint> FindAbstract(int32_t type, const std::string& name) const;
  Ref<UnixEndpoint> FindInode(const fs::Inode* inode) const;

  // Every endpoint, from its constructor to its destructor.
  void Add(UnixEndpoint* endpoint);
  void Remove(UnixEndpoint* endpoint);
  // At the end of the Kernel, when no task is left: closes what sockets that carry each other keep open.
  void CloseAll();

  // Files enter a message. ETOOMANYREFS.
  ErrnoOr<void> AddInFlight(uint32_t num_files);
  void RemoveInFlight(uint32_t num_files);
  // Drops files that nobody received. Their last close may drop others, which may drop others: those are queued for the
  // outermost caller, so a chain of sockets inside sockets needs no deep stack.
  void Drop(std::vector<Ref<fs::File>> files);

 private:
  struct BoundInode {
    Ref<fs::Inode> inode;
    Ref<UnixEndpoint> endpoint;
  };
  ~UnixNamespace() override;

  mutable Mutex mu_{LockRank::kLeaf};
  absl::flat_hash_map<std::pair<int32_t, std::string>, Ref<UnixEndpoint>> abstract_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<const fs::Inode*, BoundInode> inodes_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<UnixEndpoint*> endpoints_ ABSL_GUARDED_BY(mu_);
  uint32_t next_free_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t num_in_flight_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<Ref<fs::File>> dropped_ ABSL_GUARDED_BY(mu_);
  bool dropping_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace remora::net

#endif  // REMORA_NET_UNIX_NAMESPACE_H_
