#include "cpu/translator/translation.h"

#include <algorithm>
#include <new>
#include <type_traits>

#include "base/check.h"

namespace remora::cpu::translator {

static_assert(std::is_trivially_destructible_v<Translation> && alignof(Mark) <= alignof(Translation));
static_assert(std::is_trivially_copyable_v<Mark> && sizeof(Mark) % alignof(uint64_t) == 0);

Translation::Owner Translation::Create(std::span<const Mark> marks, std::span<const uint64_t> path) {
  CHECK(marks.size() <= UINT8_MAX);
  CHECK(path.empty() || path.size() == marks.size());
  void* memory = ::operator new(sizeof(Translation) + marks.size_bytes() + path.size_bytes());
  Owner made(new (memory) Translation);
  made->num_marks = static_cast<uint8_t>(marks.size());
  made->is_path = !path.empty();
  auto* const marks_behind = reinterpret_cast<Mark*>(made.get() + 1);
  std::ranges::copy(marks, marks_behind);
  std::ranges::copy(path, reinterpret_cast<uint64_t*>(marks_behind + marks.size()));
  return made;
}

void Translation::Free(void* translation) { ::operator delete(translation); }

}  // namespace remora::cpu::translator
