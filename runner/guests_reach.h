#ifndef REMORA_RUNNER_GUESTS_REACH_H_
#define REMORA_RUNNER_GUESTS_REACH_H_

#include <optional>
#include <span>
#include <string>

namespace remora::runner {

// Follows `path` as the host's kernel does, name by name and link by link, and answers the first of `guests_own`,
// folders of the host that the guest may write to, in which a folder on the way or its end lies: who can write to a
// folder on the way decides where the path leads. Folders are known by device and inode, so under any name (a mount of
// what lies deeper in one of the guest's is not found). What does not exist yet ends the way. Nothing: the path is out
// of the guest's reach. Source: path_resolution(7). Thread safety: any.
std::optional<std::string> GuestsFolderOnTheWay(const std::string& path, std::span<const std::string> guests_own);

}  // namespace remora::runner

#endif  // REMORA_RUNNER_GUESTS_REACH_H_
