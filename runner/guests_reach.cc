#include "runner/guests_reach.h"

#include <sys/stat.h>

#include <deque>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

namespace remora::runner {
namespace {

namespace files = std::filesystem;

constexpr int kMaxLinks = 40;  // as Linux

bool IsSame(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

}  // namespace

std::optional<std::string> GuestsFolderOnTheWay(const std::string& path, std::span<const std::string> guests_own) {
  std::vector<std::pair<const std::string*, struct stat>> guests;
  for (const std::string& folder : guests_own)
    if (struct stat status; stat(folder.c_str(), &status) == 0) guests.emplace_back(&folder, status);
  if (guests.empty()) return std::nullopt;
  // `folder`: without links and dots.
  const auto guests_around = [&guests](const files::path& folder) -> std::optional<std::string> {
    for (files::path outer = folder;; outer = outer.parent_path()) {
      struct stat status;
      if (stat(outer.c_str(), &status) == 0)
        for (const auto& [name, own] : guests)
          if (IsSame(status, own)) return *name;
      if (outer == outer.root_path()) return std::nullopt;
    }
  };
  std::error_code error;
  files::path at = "/";
  std::deque<files::path> left;
  const auto go_on_with = [&left](const files::path& names) { left.insert(left.begin(), names.begin(), names.end()); };
  go_on_with(files::absolute(path, error));
  for (int links = 0; !left.empty();) {
    if (std::optional<std::string> found = guests_around(at)) return found;
    const files::path name = std::move(left.front());
    left.pop_front();
    if (name == "/") {
      at = name;
    } else if (name == "..") {
      at = at.parent_path();
    } else if (!name.empty() && name != ".") {
      const files::path next = at / name;
      const files::file_status status = files::symlink_status(next, error);
      if (!files::exists(status)) return std::nullopt;
      if (!files::is_symlink(status)) {
        at = next;
      } else if (++links > kMaxLinks) {
        return std::nullopt;  // it leads nowhere
      } else {
        go_on_with(files::read_symlink(next, error));
      }
    }
  }
  return guests_around(at);
}

}  // namespace remora::runner
