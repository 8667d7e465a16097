#include "cpu/translator/translation.h"

#include <new>
#include <type_traits>

#include "base/check.h"

namespace remora::cpu::translator {

static_assert(std::is_trivially_destructible_v<Translation> && alignof(Mark) <= alignof(Translation));

Translation::Owner Translation::Create(std::span<const Mark> marks) {
  CHECK(marks.size() <= UINT8_MAX);
  void* memory = ::operator new(sizeof(Translation) + marks.size_bytes());
  Owner made(new (memory) Translation);
  made->num_marks = static_cast<uint8_t>(marks.size());
  std::uninitialized_copy(marks.begin(), marks.end(), reinterpret_cast<Mark*>(made.get() + 1));
  return made;
}

void Translation::Free(void* translation) { ::operator delete(translation); }

}  // namespace remora::cpu::translator
