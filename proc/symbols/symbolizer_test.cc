#include "proc/symbols/symbolizer.h"

#include <gtest/gtest.h>

#include "mm/memory_for_testing.h"
#include "proc/vdso/vdso.h"

namespace remora::proc {
namespace {

// The vDSO is a file with functions that every space can have.
TEST(SymbolizerTest, NamesFunctionsOfMappedFiles) {
  mm::MemoryForTesting memory;
  const Vdso vdso(&memory.context, nullptr);
  const Ref<mm::AddressSpace> space = mm::AddressSpace::Create(&memory.context, memory.layout);
  Symbolizer symbolizer(&memory.frames);
  constexpr uint64_t kStart = 0x7fff00000000;
  EXPECT_EQ(symbolizer.Describe(*space, kStart + 0x1700), "0x7fff00001700");
  const ErrnoOr<GuestAddr> code = vdso.Map(*space, GuestAddr(kStart));
  ASSERT_TRUE(code.ok());
  // Its code is behind its tables.
  std::string names;
  for (uint64_t pc = code->value(); pc < code->value() + kPageSize; pc += 8) {
    const Symbolizer::Place place = symbolizer.Find(*space, pc);
    EXPECT_EQ(place.file, "[vdso]");
    EXPECT_EQ(place.offset_in_file, pc - code->value());
    if (!place.function.empty() && names.find(place.function) == std::string::npos) names += place.function + " ";
  }
  for (const char* name : {"clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu"})
    EXPECT_NE(names.find(name), std::string::npos) << name;
  EXPECT_EQ(symbolizer.Describe(*space, code->value()), "[vdso]+0");
  // What goes is forgotten, once it has been there.
  std::byte byte;
  EXPECT_EQ(space->ReadRemote(*code, std::span(&byte, 1)), 1u);
  ASSERT_TRUE(space->Unmap(GuestAddr(kStart), Vdso::kBytes).ok());
  EXPECT_EQ(symbolizer.Describe(*space, code->value()), "0x7fff00001000");
}

}  // namespace
}  // namespace remora::proc
