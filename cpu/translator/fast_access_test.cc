#include <gtest/gtest.h>

#include <cstdint>
#include <memory>

#include "cpu/translator/access.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/translation.h"

namespace remora::cpu::translator {
namespace {

// Two targets that share an entry of the table of indirect branches.
TEST(FastTargetTest, TheEntryGoesToWhoIsWanted) {
  constexpr uint64_t kFirst = 0x7f0000001234, kSecond = kFirst + GuestContext::kIndirectEntries;
  const std::byte code[16]{};
  Translation first, second;
  first.pc = kFirst, first.code = code, first.indirect_entry = 1, first.saved_entry = 2;
  second.pc = kSecond, second.code = code, second.indirect_entry = 9, second.saved_entry = 10;
  const auto context = std::make_unique<GuestContext>();
  context->targets[GuestContext::TargetIndex(kFirst)] = {kFirst, &first};
  context->targets[GuestContext::TargetIndex(kSecond)] = {kSecond, &second};
  const void*& entry = context->indirect[kFirst % GuestContext::kIndirectEntries];
  entry = code + 1;
  // An entry that is asked for once in a while stays the first one's.
  context->target = kSecond;
  EXPECT_EQ(FastTarget(context.get()), code + 10);
  EXPECT_EQ(entry, code + 1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(FastTarget(context.get()), code + 10);
  EXPECT_EQ(entry, code + 9);
  context->target = kFirst + 16;
  EXPECT_EQ(FastTarget(context.get()), nullptr);
}

}  // namespace
}  // namespace remora::cpu::translator
