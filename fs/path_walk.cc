#include "fs/path_walk.h"

#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <utility>

namespace remora::fs {

namespace {

std::string_view SkipSlashes(std::string_view s) {
  size_t i = 0;
  while (i < s.size() && s[i] == '/') ++i;
  return s.substr(i);
}

std::string_view FrontComponent(std::string_view s) {
  const void* slash = std::memchr(s.data(), '/', s.size());
  return slash == nullptr ? s : s.substr(0, static_cast<size_t>(static_cast<const char*>(slash) - s.data()));
}

}  // namespace

bool PermissionsAllow(const Credentials& credentials, const Attributes& attributes, uint32_t mode) {
  if (credentials.privileged()) return (mode & X_OK) == 0 || attributes.is_directory() || (attributes.mode & 0111) != 0;
  uint32_t granted = attributes.mode;
  if (credentials.fsuid == attributes.uid)
    granted >>= 6;
  else if (credentials.InGroup(attributes.gid))
    granted >>= 3;
  return (mode & ~granted & 7) == 0;
}

ErrnoOr<Ref<Dentry>> LookupName(DentryCache& cache, const Ref<Dentry>& directory, std::string_view name,
                                bool believe_cache) {
  DentryCache::Found found = cache.Lookup(*directory, name);
  const bool cacheable = directory->cacheable_lookups();
  // Where something is mounted, what is below does not matter.
  if (found.dentry && found.dentry->mounted_on()) return std::move(found.dentry);
  if (believe_cache) {
    if (found.answer == DentryCache::Answer::kPositive &&
        (cacheable || directory->inode()->StillFinds(name, *found.dentry->inode())))
      return std::move(found.dentry);
    if (found.answer == DentryCache::Answer::kNegative && cacheable) return Ref<Dentry>();
  }
  constexpr int kMaxTries = 4;
  for (int i = 0;; ++i) {
    const uint64_t change_count = directory->change_count();
    ErrnoOr<Ref<Inode>> inode = directory->inode()->Lookup(name);
    if (!inode.ok()) {
      if (inode.error_number() != ENOENT) return inode.error();
      if (found.dentry)
        cache.Invalidate(directory, name);
      else if (cacheable)
        cache.Insert(directory, name, nullptr, change_count);
      return Ref<Dentry>();
    }
    if (Ref<Dentry> dentry = cache.Insert(directory, name, *inode, change_count)) return dentry;
    // Names come and go faster than they can be looked up: this answer is as true as any, but is not kept.
    if (i == kMaxTries) return cache.MakeUnhashed(directory, name, *std::move(inode));
  }
}

ErrnoOr<Ref<Dentry>> PathWalk::Child(std::string_view name) {
  return LookupName(cache_, current_.dentry, name, /*believe_cache=*/!revalidate_);
}

ErrnoOr<void> PathWalk::MaySearch(const Ref<Dentry>& directory) {
  if (directory->type() != S_IFDIR) return Errno(ENOTDIR);
  if (context_.credentials.privileged() || directory->known_searchable()) return Ok();
  const uint64_t change_count = directory->change_count();
  REMORA_ASSIGN_OR_RETURN(const Attributes attributes, directory->inode()->GetAttributes());
  if (!PermissionsAllow(context_.credentials, attributes, X_OK)) return Errno(EACCES);
  // Where others change names, they change permissions too.
  if ((attributes.mode & 0111) == 0111 && directory->cacheable_lookups()) directory->NoteSearchable(change_count);
  return Ok();
}

ErrnoOr<void> PathWalk::CrossMounts(Path* path) {
  while (path->dentry->mounted_on() && path->mount) {
    Ref<Mount> mount = mounts_.Crossing(*path->mount, *path->dentry);
    if (!mount) break;
    if (Resolves(RESOLVE_NO_XDEV)) return Errno(EXDEV);
    path->dentry = mount->root();
    path->mount = std::move(mount);
  }
  return Ok();
}

ErrnoOr<void> PathWalk::StepUp() {
  if (current_ == *root_) return Ok();
  if (Resolves(RESOLVE_BENEATH) && current_ == context_.start) return Errno(EXDEV);
  Path up = current_;
  while (up.mount && up.dentry == up.mount->root()) {
    if (!up.mount->parent()) return Ok();  // the root of everything
    if (Resolves(RESOLVE_NO_XDEV)) return Errno(EXDEV);
    up = Path(up.mount->parent(), up.mount->mountpoint());
    if (up == *root_) {
      current_ = std::move(up);
      return Ok();
    }
  }
  if (Ref<Dentry> parent = up.dentry->parent()) up.dentry = std::move(parent);
  REMORA_RETURN_IF_ERROR(CrossMounts(&up));
  current_ = std::move(up);
  return Ok();
}

ErrnoOr<bool> PathWalk::Follow(const Path& link, std::string_view after) {
  if (Resolves(RESOLVE_NO_SYMLINKS)) return Errno(ELOOP);
  if (++num_symlinks_ > kMaxSymlinks) return Errno(ELOOP);
  Inode& inode = *link.dentry->inode();
  std::optional<ErrnoOr<Path>> jump = inode.FollowMagicLink();
  if (jump.has_value()) {
    if (Resolves(RESOLVE_NO_MAGICLINKS)) return Errno(ELOOP);
    if (Resolves(RESOLVE_BENEATH | RESOLVE_IN_ROOT)) return Errno(EXDEV);
    REMORA_ASSIGN_OR_RETURN(Path there, *std::move(jump));
    if (Resolves(RESOLVE_NO_XDEV) && there.mount != link.mount) return Errno(EXDEV);
    current_ = std::move(there);
    rest_ = after;
    return true;
  }
  const std::string* text = link.dentry->link_text();
  if (text == nullptr) {
    if (inode.cacheable_link()) {
      REMORA_ASSIGN_OR_RETURN(std::string fresh, inode.ReadLink());
      text = link.dentry->SetLinkText(std::move(fresh));
    } else {
      REMORA_ASSIGN_OR_RETURN(std::string fresh, inode.ReadLinkFor(context_.caller));
      texts_.push_back(std::make_unique<const std::string>(std::move(fresh)));
      text = texts_.back().get();
    }
  }
  links_.push_back(link.dentry);
  if (text->empty()) return Errno(ENOENT);
  if (!after.empty()) outer_.push_back(after);
  rest_ = *text;
  if (text->front() == '/') {
    if (Resolves(RESOLVE_BENEATH)) return Errno(EXDEV);
    if (Resolves(RESOLVE_NO_XDEV) && current_.mount != root_->mount) return Errno(EXDEV);
    current_ = *root_;
  }
  return false;
}

bool PathWalk::MayReach(const Mount& mount) const {
  if (context_.credentials.privileged()) return true;
  for (const Mount* m = &mount; m->parent(); m = m->parent().get())
    for (const Dentry* d = m->mountpoint()->PeekParent(); d != nullptr; d = d->PeekParent())
      if (!d->known_searchable()) return false;
  return true;
}

bool PathWalk::BeginInMount(std::string_view path) {
  // The names are those that the root of everything shows. The flags ask what was crossed and followed.
  if (ignore_name_index_ || revalidate_ || resolve_ != 0 || !root_->mount) return false;
  if (root_->mount->parent() || root_->dentry != root_->mount->root()) return false;
  const MountIndex<Mount>::Seen seen = mounts_.PeekByName(path);
  // A last component has to be looked up: it may be what the goal asks for.
  if (seen.value == nullptr || seen.suffix.empty() || !MayReach(*seen.value) || !seen.value->TryAddRef()) return false;
  current_.mount = Ref<Mount>::Adopt(seen.value);
  current_.dentry = current_.mount->root();
  rest_ = seen.suffix;
  return true;
}

ErrnoOr<void> PathWalk::Begin(std::string_view path) {
  if (path.empty()) return Errno(ENOENT);
  if (path.size() >= kMaxPath) return Errno(ENAMETOOLONG);
  root_ = Resolves(RESOLVE_IN_ROOT) ? &context_.start : &context_.root;
  if (path.front() == '/') {
    if (Resolves(RESOLVE_BENEATH)) return Errno(EXDEV);
    if (BeginInMount(path)) return Ok();
    current_ = *root_;
  } else {
    current_ = context_.start;
  }
  rest_ = path;
  return Ok();
}

bool PathWalk::Skim(bool wants_parent) {
  const bool privileged = context_.credentials.privileged();
  Dentry* place = current_.dentry.get();
  std::string_view rest = rest_;
  uint64_t num_peeks = 0;
  bool complete = false;
  while (!rest.empty() && place->cacheable_lookups() && place->type() == S_IFDIR &&
         (privileged || place->known_searchable())) {
    const std::string_view name = FrontComponent(rest);
    const std::string_view behind = rest.substr(name.size());
    const std::string_view after = SkipSlashes(behind);
    const bool is_last = after.empty() && outer_.empty();
    if (is_last && wants_parent) break;
    if (name == "." || name == ".." || name.size() > kMaxName) break;
    Dentry* child = cache_.Peek(*place, name);
    if (child == nullptr || child->mounted_on() || child->type() == S_IFLNK) break;
    ++num_peeks;
    place = child;
    rest = after;
    if (is_last) {
      if (!behind.empty()) trailing_slash_ = true;
      complete = true;
      break;
    }
  }
  // Nothing passed, or what was reached is just being evicted: nothing happened.
  if (num_peeks == 0 || !place->TryAddRef()) return false;
  cache_.NotePeeks(*place, num_peeks);
  if (complete) {
    Finish(Last::kName, Path(current_.mount, Ref<Dentry>::Adopt(place)));
  } else {
    current_.dentry = Ref<Dentry>::Adopt(place);
    rest_ = rest;
  }
  return complete;
}

ErrnoOr<void> PathWalk::Run(std::string_view path, Goal goal, bool revalidate) {
  revalidate_ = revalidate;
  REMORA_RETURN_IF_ERROR(Begin(path));
  const bool wants_parent = goal == Goal::kParent || goal == Goal::kParentFollow;
  while (true) {
    rest_ = SkipSlashes(rest_);
    if (!revalidate_ && Skim(wants_parent)) break;
    if (rest_.empty()) {
      if (outer_.empty()) {  // nothing but slashes, or behind a jump
        REMORA_RETURN_IF_ERROR(CrossMounts(&current_));
        Finish(num_symlinks_ == 0 ? Last::kRoot : Last::kJump, current_);
        break;
      }
      rest_ = outer_.back();
      outer_.pop_back();
      continue;
    }
    const std::string_view name = FrontComponent(rest_);
    const bool slash = name.size() != rest_.size();
    const std::string_view after = SkipSlashes(rest_.substr(name.size()));
    const bool is_last = after.empty() && outer_.empty();
    if (slash && is_last) trailing_slash_ = true;
    REMORA_RETURN_IF_ERROR(MaySearch(current_.dentry));

    if (name == "." || name == "..") {
      if (name.size() == 2) REMORA_RETURN_IF_ERROR(StepUp());
      rest_ = after;
      if (!is_last) continue;
      Finish(name.size() == 2 ? Last::kDotDot : Last::kDot, current_);
      break;
    }

    if (is_last && slash && refuse_trailing_slash_) return Errno(EISDIR);
    if (name.size() > kMaxName) {
      if (!is_last || !wants_parent) return Errno(ENAMETOOLONG);
      name_ = name;
      return Ok();
    }
    REMORA_ASSIGN_OR_RETURN(Ref<Dentry> dentry, Child(name));
    if (!dentry) {
      if (!is_last || !wants_parent) return Errno(ENOENT);
      name_ = name;
      return Ok();
    }
    Path child(current_.mount, std::move(dentry));
    REMORA_RETURN_IF_ERROR(CrossMounts(&child));
    if (child.dentry->type() == S_IFLNK) {
      const bool follow = !is_last || goal == Goal::kFollow || goal == Goal::kParentFollow ||
                          (goal == Goal::kNoFollow && trailing_slash_);
      if (follow) {
        REMORA_ASSIGN_OR_RETURN(const bool jumped, Follow(child, after));
        if (jumped && is_last) {
          Finish(Last::kJump, current_);
          break;
        }
        continue;
      }
    }
    if (is_last) {
      if (wants_parent) name_ = name;
      Finish(Last::kName, std::move(child));
      break;
    }
    current_ = std::move(child);
    rest_ = after;
  }
  if (trailing_slash_ && !wants_parent && target_.dentry->type() != S_IFDIR) return Errno(ENOTDIR);
  return Ok();
}

}  // namespace remora::fs
