// General registers only: see BUILD. What moves or fills is the host's own instruction, over one run of pages at a
// time.

#include "cpu/translator/string_access.h"

#include <atomic>
#include <cstdint>

#include "base/guest_addr.h"
#include "cpu/string_run.h"
#include "cpu/translator/string_places.h"
#include "mm/tlb.h"

namespace remora::cpu::translator {
namespace {

// Iterations between two looks at the interrupt flag.
constexpr uint64_t kIterationsPerLook = 1 << 16;

// The host's string instruction with REP, upwards or downwards.
#define REMORA_HOST_STRING(name, outputs, inputs)                                 \
  do {                                                                            \
    if (down)                                                                     \
      asm volatile("std; rep " name "; cld" : outputs : inputs : "memory", "cc"); \
    else                                                                          \
      asm volatile("rep " name : outputs : inputs : "memory", "cc");              \
  } while (false)
#define REMORA_LIST(...) __VA_ARGS__

void Move(std::byte* to, const std::byte* from, uint64_t count, unsigned size_log2, bool down) {
  switch (size_log2) {
    case 0:
      REMORA_HOST_STRING("movsb", REMORA_LIST("+D"(to), "+S"(from), "+c"(count)), REMORA_LIST());
      break;
    case 1:
      REMORA_HOST_STRING("movsw", REMORA_LIST("+D"(to), "+S"(from), "+c"(count)), REMORA_LIST());
      break;
    case 2:
      REMORA_HOST_STRING("movsl", REMORA_LIST("+D"(to), "+S"(from), "+c"(count)), REMORA_LIST());
      break;
    default:
      REMORA_HOST_STRING("movsq", REMORA_LIST("+D"(to), "+S"(from), "+c"(count)), REMORA_LIST());
      break;
  }
}

void Fill(std::byte* to, uint64_t value, uint64_t count, unsigned size_log2, bool down) {
  switch (size_log2) {
    case 0:
      REMORA_HOST_STRING("stosb", REMORA_LIST("+D"(to), "+c"(count)), REMORA_LIST("a"(value)));
      break;
    case 1:
      REMORA_HOST_STRING("stosw", REMORA_LIST("+D"(to), "+c"(count)), REMORA_LIST("a"(value)));
      break;
    case 2:
      REMORA_HOST_STRING("stosl", REMORA_LIST("+D"(to), "+c"(count)), REMORA_LIST("a"(value)));
      break;
    default:
      REMORA_HOST_STRING("stosq", REMORA_LIST("+D"(to), "+c"(count)), REMORA_LIST("a"(value)));
      break;
  }
}

// As GuestContext::flags has them.
template <typename T>
uint16_t FlagsOfComparison(T left, T right) {
  uint16_t flags;
  asm("cmp %2, %1; lahf; seto %%al" : "=&a"(flags) : "r"(left), "r"(right) : "cc");
  return flags;
}

// What a comparison answers: elements compared, and whether it is over.
struct Ended {
  uint64_t count;
  bool ended;
};

template <typename T>
Ended CompareOf(GuestContext* context, const StringForm& form, const std::byte* from, const std::byte* to,
                uint64_t value, uint64_t count, bool down) {
  const bool while_equal = form.repeat == Repeat::kWhileEqual;
  const ElementsAt<T> elements{to, down};
  const Compared<T> compared =
      form.string == String::kScas
          ? CompareRun<T>(count, while_equal, down, SameElement<T>{static_cast<T>(value)}, elements)
          : CompareRun<T>(count, while_equal, down, ElementsAt<T>{from, down}, elements);
  context->flags = FlagsOfComparison(compared.left, compared.right);
  return {compared.count, (compared.left == compared.right) != while_equal};
}

Ended Compare(GuestContext* context, const StringForm& form, const std::byte* from, const std::byte* to, uint64_t value,
              uint64_t count, bool down) {
  switch (form.size_log2) {
    case 0:
      return CompareOf<uint8_t>(context, form, from, to, value, count, down);
    case 1:
      return CompareOf<uint16_t>(context, form, from, to, value, count, down);
    case 2:
      return CompareOf<uint32_t>(context, form, from, to, value, count, down);
    default:
      return CompareOf<uint64_t>(context, form, from, to, value, count, down);
  }
}

uint64_t LoadInto(uint64_t rax, const std::byte* from, unsigned size_log2) {
  switch (size_log2) {
    case 0:
      return (rax & ~uint64_t{0xff}) | LoadGuest<uint8_t>(from);
    case 1:
      return (rax & ~uint64_t{0xffff}) | LoadGuest<uint16_t>(from);
    case 2:
      return LoadGuest<uint32_t>(from);
    default:
      return LoadGuest<uint64_t>(from);
  }
}

void Count(GuestContext* context, uint64_t iterations) {
  const auto remaining = static_cast<uint64_t>(context->remaining);
  if (iterations <= remaining) {
    context->remaining = static_cast<int32_t>(remaining - iterations);
  } else {
    context->remaining = 0;
    context->reserve -= iterations - remaining;
  }
}

}  // namespace

StringEnd RunString(GuestContext* context, PushedRegisters* registers) {
  StringPlaces places(context, registers);
  const StringForm& form = places.form();
  const uint64_t size = form.size();
  const bool down = places.down(), repeats = form.repeat != Repeat::kNone;
  const bool reads_source = ReadsSource(form.string), uses_destination = UsesDestination(form.string);
  const bool writes = WritesDestination(form.string);
  mm::Tlb* tlb = context->tlb;
  if (places.count() == 0) {
    Count(context, 1);
    return StringEnd::kDone;
  }
  while (true) {
    const uint64_t allowed = static_cast<uint64_t>(context->remaining) + context->reserve;
    if (allowed == 0 || context->interrupt->load(std::memory_order_relaxed) != 0) return StringEnd::kLeave;
    uint64_t count = places.count();
    if (count > allowed) count = allowed;
    if (count > kIterationsPerLook) count = kIterationsPerLook;
    const std::byte* from = nullptr;
    std::byte* to = nullptr;
    if (reads_source) {
      const uint64_t address = places.source();
      if ((address & kPageMask) > kPageSize - size) return StringEnd::kLeave;
      from = tlb->Probe<mm::Access::kRead>(GuestAddr(address));
      if (from == nullptr) return StringEnd::kFill;
      count = ElementsInRun<mm::Access::kRead>(tlb, address, from, size, down, count);
    }
    if (uses_destination) {
      const uint64_t address = places.destination();
      if ((address & kPageMask) > kPageSize - size) return StringEnd::kLeave;
      to = writes ? tlb->Probe<mm::Access::kWrite>(GuestAddr(address))
                  : tlb->Probe<mm::Access::kRead>(GuestAddr(address));
      if (to == nullptr) return StringEnd::kFill;
      count = writes ? ElementsInRun<mm::Access::kWrite>(tlb, address, to, size, down, count)
                     : ElementsInRun<mm::Access::kRead>(tlb, address, to, size, down, count);
    }
    if (form.address32) {
      const auto limit = [&](uint64_t offset) {
        const uint64_t fitting = ElementsBeforeWrap(offset, size, down);
        if (fitting < count) count = fitting;
      };
      if (reads_source) limit(places.source_offset());
      if (uses_destination) limit(places.destination());
      if (count == 0) return StringEnd::kLeave;
    }
    bool ended = false;
    switch (form.string) {
      case String::kMovs:
        Move(to, from, count, form.size_log2, down);
        break;
      case String::kStos:
        Fill(to, registers->rax, count, form.size_log2, down);
        break;
      case String::kLods:
        registers->rax = LoadInto(registers->rax, from, form.size_log2);
        count = 1;
        break;
      case String::kScas:
      case String::kCmps: {
        const Ended compared = Compare(context, form, from, to, registers->rax, count, down);
        count = compared.count;
        ended = compared.ended;
        break;
      }
    }
    places.Advance(count);
    Count(context, count);
    if (!repeats || ended || places.count() == 0) return StringEnd::kDone;
  }
}

}  // namespace remora::cpu::translator
