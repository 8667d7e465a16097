// Handlers of two or three simple instructions side by side.

#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

#include "cpu/lower.h"
#include "cpu/simple_ops.h"

namespace remora::cpu {
namespace {

// Those that are met side by side most often.
using Common = std::tuple<MoveRegister<uint64_t>, MoveRegister<uint32_t>, MoveImmediate<uint32_t>,
                          MoveAddress<uint64_t, AddressKind::kBase>, RegisterWithImmediate<Alu::kAdd, uint64_t>,
                          RegisterWithImmediate<Alu::kSub, uint64_t>, RegisterWithRegister<Alu::kAdd, uint64_t>,
                          ClearRegister<Alu::kXor, uint32_t>>;
constexpr size_t kCommon = std::tuple_size_v<Common>;
template <size_t kIndex>
using At = std::tuple_element_t<kIndex, Common>;

// Every handler of one, two and three of them; the index of a longer one begins with that of its first.
constexpr auto kOne = []<size_t... i>(std::index_sequence<i...>) {
  return std::array<Handler, kCommon>{&Simple<At<i>>...};
}(std::make_index_sequence<kCommon>());
constexpr auto kTwo = []<size_t... i>(std::index_sequence<i...>) {
  return std::array<Handler, sizeof...(i)>{&Simple<At<i / kCommon>, At<i % kCommon>>...};
}(std::make_index_sequence<kCommon * kCommon>());
constexpr auto kThree = []<size_t... i>(std::index_sequence<i...>) {
  return std::array<Handler, sizeof...(i)>{
      &Simple<At<i / kCommon / kCommon>, At<i / kCommon % kCommon>, At<i % kCommon>>...};
}(std::make_index_sequence<kCommon * kCommon * kCommon>());

template <size_t kSize>
size_t Find(const std::array<Handler, kSize>& handlers, Handler handler) {
  size_t i = 0;
  while (i < kSize && handlers[i] != handler) ++i;
  return i;
}

}  // namespace

Handler FuseSimple(const Op& first, const Op& second) {
  const size_t one = Find(kOne, first.handler);
  if (one == kCommon) return nullptr;
  if (const size_t other = Find(kOne, second.handler); other != kCommon) return kTwo[one * kCommon + other];
  if (const size_t others = Find(kTwo, second.handler); others != kTwo.size())
    return kThree[one * kTwo.size() + others];
  return nullptr;
}

}  // namespace remora::cpu
