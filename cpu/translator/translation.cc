#include "cpu/translator/translation.h"

#include <algorithm>
#include <new>
#include <type_traits>

#include "base/check.h"

namespace remora::cpu::translator {

static_assert(std::is_trivially_destructible_v<Translation> && alignof(Mark) <= alignof(Translation));
static_assert(std::is_trivially_copyable_v<Mark> && sizeof(Mark) % alignof(uint64_t) == 0);
static_assert(std::is_trivially_copyable_v<Translation::Page> && alignof(Translation::Page) == alignof(uint64_t));

Translation::Owner Translation::Create(std::span<const Mark> marks, std::span<const uint64_t> path,
                                       std::span<const Page> pages) {
  CHECK(marks.size() <= UINT8_MAX);
  CHECK(path.empty() || path.size() == marks.size());
  CHECK(pages.size() <= UINT8_MAX);
  void* memory = ::operator new(sizeof(Translation) + marks.size_bytes() + path.size_bytes() + pages.size_bytes());
  Owner made(new (memory) Translation);
  made->num_marks = static_cast<uint8_t>(marks.size());
  made->is_path = !path.empty();
  auto* const marks_behind = reinterpret_cast<Mark*>(made.get() + 1);
  std::ranges::copy(marks, marks_behind);
  made->num_pages = static_cast<uint8_t>(pages.size());
  auto* const path_behind = reinterpret_cast<uint64_t*>(marks_behind + marks.size());
  std::ranges::copy(path, path_behind);
  std::ranges::copy(pages, reinterpret_cast<Page*>(path_behind + path.size()));
  return made;
}

void Translation::Free(void* translation) { ::operator delete(translation); }

}  // namespace remora::cpu::translator
