#include "proc/symbols/symbolizer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/guest_addr.h"

namespace remora::proc {
namespace {

bool ReadPages(mm::FramePool& frames, mm::Mappable& object, uint64_t offset, std::span<std::byte> to) {
  while (!to.empty()) {
    const ErrnoOr<mm::FrameId> frame = object.GetFrame(offset >> kPageShift, false);
    if (!frame.ok()) return false;
    const uint64_t in_page = offset & kPageMask;
    const uint64_t n = std::min<uint64_t>(to.size(), kPageSize - in_page);
    std::memcpy(to.data(), frames.Data(*frame) + in_page, n);
    frames.Release(*frame);
    to = to.subspan(n);
    if (__builtin_add_overflow(offset, n, &offset)) return to.empty();
  }
  return true;
}

}  // namespace

// Pages that go change the generation, and code that runs has been there; new mappings are looked for where nothing is
// known.
std::optional<mm::MappingInfo> Symbolizer::FindMapping(const mm::AddressSpace& space, uint64_t pc) {
  const auto find = [pc](const Snapshot& snapshot) -> std::optional<mm::MappingInfo> {
    for (const mm::MappingInfo& mapping : snapshot.mappings)
      if (pc >= mapping.range.start_addr().value() && pc < mapping.range.end_addr().value()) return mapping;
    return std::nullopt;
  };
  const uint64_t generation = space.generation();
  {
    MutexLock lock(&mu_);
    if (last_.space_id == space.id() && last_.generation == generation)
      if (auto found = find(last_)) return found;
  }
  Snapshot fresh{space.id(), generation, {}};
  space.ForEachMapping([&](const mm::MappingInfo& mapping) {
    if (mapping.object) fresh.mappings.push_back(mapping);
  });
  auto found = find(fresh);
  {
    MutexLock lock(&mu_);
    std::swap(last_, fresh);
  }
  return found;  // the old mappings' objects go without the lock
}

std::shared_ptr<const SymbolTable> Symbolizer::TableOf(mm::Mappable& object) {
  {
    MutexLock lock(&mu_);
    if (const auto known = tables_.find(object.object_id()); known != tables_.end()) return known->second;
  }
  auto table = std::make_shared<const SymbolTable>(SymbolTable::Parse(
      [&](uint64_t offset, std::span<std::byte> to) { return ReadPages(frames_, object, offset, to); }));
  MutexLock lock(&mu_);
  return tables_.emplace(object.object_id(), std::move(table)).first->second;
}

Symbolizer::Place Symbolizer::Find(const mm::AddressSpace& space, uint64_t pc) {
  Place place;
  const std::optional<mm::MappingInfo> mapping = FindMapping(space, pc);
  if (!mapping) return place;
  place.file = mapping->object->Describe().path;
  place.offset_in_file = pc - mapping->range.start_addr().value() + mapping->offset_bytes;
  const std::shared_ptr<const SymbolTable> table = TableOf(*mapping->object);
  if (const auto found = table->Find(place.offset_in_file)) {
    place.function = found->name;
    place.offset_in_function = found->offset;
  }
  return place;
}

std::string Symbolizer::Describe(const mm::AddressSpace& space, uint64_t pc) {
  const Place place = Find(space, pc);
  const std::string file = place.file.substr(place.file.rfind('/') + 1);
  if (!place.function.empty()) return absl::StrFormat("%s+%#x (%s)", place.function, place.offset_in_function, file);
  if (!file.empty()) return absl::StrFormat("%s+%#x", file, place.offset_in_file);
  return absl::StrFormat("%#x", pc);
}

}  // namespace remora::proc
