#include "cpu/translator/translation.h"

#include <algorithm>
#include <new>
#include <type_traits>

#include "base/check.h"
#include "cpu/translator/path_shape.h"

namespace remora::cpu::translator {

static_assert(sizeof(Translation) == 64);
// The longest path fits into a piece of the arena.
static_assert(sizeof(Translation) + PathShape::kMaxTwice * sizeof(Mark) +
                  Translation::kMaxPages * sizeof(Translation::Page) <=
              BlockArena::kMaxPieceBytes);
static_assert(std::is_trivially_destructible_v<Translation> && alignof(Mark) <= alignof(Translation));
static_assert(std::is_trivially_copyable_v<Mark> && sizeof(Mark) % alignof(uint64_t) == 0);
static_assert(std::is_trivially_copyable_v<Translation::Page> && alignof(Translation::Page) == alignof(uint64_t));

Translation::Owner Translation::Create(BlockArena* arena, const std::byte* code, std::span<const Mark> marks,
                                       std::span<const uint64_t> path, std::span<const Page> pages) {
  CHECK(code != nullptr);
  CHECK(marks.size() <= UINT16_MAX);
  CHECK(path.empty() || path.size() == marks.size());
  CHECK(pages.size() <= kMaxPages);
  void* memory = arena->Allocate(sizeof(Translation) + marks.size_bytes() + pages.size_bytes());
  if (memory == nullptr) return nullptr;
  Owner made(new (memory) Translation);
  made->code = code;
  made->num_marks = static_cast<uint16_t>(marks.size());
  made->is_path = !path.empty();
  auto* const marks_behind = reinterpret_cast<Mark*>(made.get() + 1);
  std::ranges::copy(marks, marks_behind);
  for (size_t i = 0; i < path.size(); ++i) {
    const auto page = std::ranges::find(pages, path[i] / kPageSize, &Page::number);
    CHECK(page != pages.end());
    marks_behind[i].page = static_cast<uint8_t>(page - pages.begin());
    marks_behind[i].guest_offset = static_cast<int16_t>(path[i] % kPageSize);
  }
  made->num_pages = static_cast<uint8_t>(pages.size());
  std::ranges::copy(pages, reinterpret_cast<Page*>(marks_behind + marks.size()));
  return made;
}

Translation::Owner Translation::CreateWithoutCode() { return Owner(new Translation); }

void Translation::Free(void* raw) {
  auto* translation = static_cast<Translation*>(raw);
  if (translation->code == nullptr)
    delete translation;
  else
    BlockArena::Free(translation);
}

}  // namespace remora::cpu::translator
