#ifndef REMORA_CPU_TRANSLATOR_STRING_PLACES_H_
#define REMORA_CPU_TRANSLATOR_STRING_PLACES_H_

#include <cstdint>

#include "cpu/string_form.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/string_access.h"

namespace remora::cpu::translator {

// Where the next element of a string instruction is, and how the registers move on.
class StringPlaces {
 public:
  StringPlaces(GuestContext* context, PushedRegisters* registers)
      : form_(__builtin_bit_cast(StringForm, context->site)),
        registers_(registers),
        base_(form_.segment == 0   ? 0
              : form_.segment == 1 ? context->fs_base
                                   : context->gs_base),
        down_((context->state->rflags & kFlagDF) != 0) {}

  const StringForm& form() const { return form_; }
  bool down() const { return down_; }
  uint64_t Cut(uint64_t value) const { return form_.address32 ? static_cast<uint32_t>(value) : value; }
  uint64_t source_offset() const { return Cut(registers_->rsi); }
  uint64_t source() const { return base_ + source_offset(); }
  uint64_t destination() const { return Cut(registers_->rdi); }
  uint64_t count() const { return form_.repeat == Repeat::kNone ? 1 : Cut(registers_->rcx); }

  void Advance(uint64_t elements) {
    const uint64_t bytes = elements << form_.size_log2;
    const uint64_t step = down_ ? -bytes : bytes;
    if (ReadsSource(form_.string)) registers_->rsi = Cut(registers_->rsi + step);
    if (UsesDestination(form_.string)) registers_->rdi = Cut(registers_->rdi + step);
    if (form_.repeat != Repeat::kNone) registers_->rcx = Cut(registers_->rcx - elements);
  }

 private:
  const StringForm form_;
  PushedRegisters* const registers_;
  const uint64_t base_;
  const bool down_;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_STRING_PLACES_H_
