#include "cpu/verify/verified_memory.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

namespace remora::cpu {

VerifiedMemory::Page VerifiedMemory::CopyOf(PageNumber number, mm::FrameId frame, const std::byte* bytes) {
  Page page{number, frame, std::make_unique<std::array<std::byte, kPageSize>>()};
  std::memcpy(page.bytes->data(), bytes, kPageSize);
  return page;
}

const VerifiedMemory::Page* VerifiedMemory::Find(const std::vector<Page>& pages, mm::FrameId frame) const {
  const auto found =
      std::find_if(pages.begin(), pages.end(), [frame](const Page& page) { return page.frame == frame; });
  return found == pages.end() ? nullptr : &*found;
}

std::vector<VerifiedMemory::Page> VerifiedMemory::Undo() {
  std::vector<Page> now;
  for (const Page& page : pages_) {
    now.push_back(CopyOf(page.number, page.frame, frames_.Data(page.frame)));
    if (std::memcmp(now.back().bytes->data(), page.bytes->data(), kPageSize) == 0) continue;
    // Code that was made from what stands there goes.
    frames_.PrepareWrite(page.frame);
    std::memcpy(frames_.Data(page.frame), page.bytes->data(), kPageSize);
  }
  Begin();
  return now;
}

std::string VerifiedMemory::DifferenceTo(const std::vector<Page>& expected) const {
  const auto compare = [this](const Page& page) -> std::string {
    const std::byte* now = frames_.Data(page.frame);
    for (size_t i = 0; i < kPageSize; ++i) {
      if (now[i] == (*page.bytes)[i]) continue;
      char line[128];
      std::snprintf(line, sizeof line, "memory at %lx: %02x and %02x", GuestAddr(page.number).value() + i,
                    static_cast<unsigned>((*page.bytes)[i]), static_cast<unsigned>(now[i]));
      return line;
    }
    return "";
  };
  for (const Page& page : expected)
    if (std::string difference = compare(page); !difference.empty()) return difference;
  for (const Page& page : pages_) {
    if (Find(expected, page.frame) != nullptr) continue;
    if (std::string difference = compare(page); !difference.empty()) return difference;
  }
  return "";
}

mm::TlbSource::Translation VerifiedMemory::Translate(PageNumber page, mm::Access access) {
  Translation translation = inner_->Translate(page, access);
  if (translation.host_page == nullptr) return translation;
  if (access != mm::Access::kWrite) {
    translation.writable = false;  // the first write comes by here
    return translation;
  }
  translation.run = {};
  if (Find(pages_, translation.frame) == nullptr) {
    pages_.push_back(CopyOf(page, translation.frame, translation.host_page));
  }
  return translation;
}

mm::TlbSource::Translation VerifiedMemory::PrepareCode(PageNumber page) {
  Translation translation = inner_->PrepareCode(page);
  translation.writable = false;
  return translation;
}

}  // namespace remora::cpu
