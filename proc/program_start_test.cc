// What exec makes of a #! line, and what a program finds on its stack.
#include <cstring>

#include "base/abi/elf.h"
#include "gtest/gtest.h"
#include "proc/program_stack.h"
#include "proc/script_line.h"

namespace remora::proc {
namespace {

std::optional<ScriptLine> Line(std::string_view text) {
  auto line = ParseScriptLine(text);
  return line.ok() ? *std::move(line) : std::nullopt;
}

TEST(ScriptLineTest, TakesInterpreterAndOneArgument) {
  EXPECT_EQ(Line("#!/bin/sh\nexit")->interpreter, "/bin/sh");
  EXPECT_FALSE(Line("#!/bin/sh\n")->argument);
  EXPECT_EQ(Line("#! \t/usr/bin/env  bash -e \t\nx")->interpreter, "/usr/bin/env");
  EXPECT_EQ(Line("#! \t/usr/bin/env  bash -e \t\nx")->argument, "bash -e");
  EXPECT_EQ(Line("#!/bin/sh")->interpreter, "/bin/sh");  // the file ends there
}

TEST(ScriptLineTest, OtherFilesAreNoScripts) {
  EXPECT_FALSE(
      Line("\x7f"
           "ELF"));
  EXPECT_FALSE(Line(""));
  EXPECT_TRUE(ParseScriptLine("#").ok());
}

TEST(ScriptLineTest, RefusesWhatNamesNothing) {
  EXPECT_EQ(ParseScriptLine("#!\n").error_number(), ENOEXEC);
  EXPECT_EQ(ParseScriptLine("#!  \t \nrest").error_number(), ENOEXEC);
  const std::string cut_off = "#!" + std::string(kExecStartBytes, 'a');
  EXPECT_EQ(ParseScriptLine(std::string_view(cut_off).substr(0, kExecStartBytes)).error_number(), ENOEXEC);
  // The name is whole, only its argument is cut: that runs.
  const std::string long_argument = "#!/bin/sh " + std::string(kExecStartBytes, 'a');
  EXPECT_EQ(Line(std::string_view(long_argument).substr(0, kExecStartBytes))->interpreter, "/bin/sh");
}

class ProgramStackTest : public testing::Test {
 protected:
  uint64_t Word(const ProgramStack& stack, uint64_t index) const {
    uint64_t word;
    std::memcpy(&word, stack.bytes.data() + 8 * index, 8);
    return word;
  }
  std::string StringAt(const ProgramStack& stack, uint64_t addr) const {
    return reinterpret_cast<const char*>(stack.bytes.data() + (addr - stack.stack_pointer.value()));
  }
};

TEST_F(ProgramStackTest, StandsAsTheAbiSays) {
  ProgramStackInput input;
  input.top = GuestAddr(0x7ffffffff000);
  input.executable_path = "/bin/prog";
  input.argv = {"prog", "", "two words"};
  input.envp = {"A=1", "B="};
  input.random_bytes[0] = std::byte{0x5a};
  input.auxv = {{abi::kAT_PAGESZ, 4096}, {abi::kAT_RANDOM, 0}, {abi::kAT_EXECFN, 0}, {abi::kAT_PLATFORM, 0}};
  const ProgramStack stack = BuildProgramStack(input);
  EXPECT_EQ(stack.stack_pointer.value() % 16, 0u);
  EXPECT_EQ(stack.stack_pointer + stack.bytes.size(), input.top);
  EXPECT_EQ(Word(stack, 0), 3u);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(StringAt(stack, Word(stack, 1 + i)), input.argv[i]);
  EXPECT_EQ(Word(stack, 4), 0u);
  EXPECT_EQ(StringAt(stack, Word(stack, 5)), "A=1");
  EXPECT_EQ(StringAt(stack, Word(stack, 6)), "B=");
  EXPECT_EQ(Word(stack, 7), 0u);
  EXPECT_EQ(Word(stack, 8), abi::kAT_PAGESZ);
  EXPECT_EQ(Word(stack, 9), 4096u);
  EXPECT_EQ(StringAt(stack, Word(stack, 11)).at(0), 0x5a);
  EXPECT_EQ(StringAt(stack, Word(stack, 13)), "/bin/prog");
  EXPECT_EQ(StringAt(stack, Word(stack, 15)), "x86_64");
  EXPECT_EQ(Word(stack, 16), abi::kAT_NULL);
  EXPECT_EQ(stack.auxv.size(), 10u);
  // /proc/PID/cmdline and environ are these ranges.
  EXPECT_EQ(StringAt(stack, stack.arg_start.value()), "prog");
  EXPECT_EQ(stack.arg_end - stack.arg_start, sizeof("prog\0\0two words"));
  EXPECT_EQ(stack.env_end - stack.env_start, sizeof("A=1\0B="));
}

TEST_F(ProgramStackTest, ArgumentsAreLimited) {
  const std::vector<std::string> few = {"a", "b"};
  EXPECT_TRUE(CheckArgumentSize(few, few, 1000).ok());
  EXPECT_EQ(CheckArgumentSize(few, few, 39).error_number(), E2BIG);
  EXPECT_EQ(CheckArgumentSize({std::string(128 << 10, 'x')}, {}, 1 << 30).error_number(), E2BIG);
  EXPECT_TRUE(CheckArgumentSize({std::string((128 << 10) - 1, 'x')}, {}, 1 << 30).ok());
}

}  // namespace
}  // namespace remora::proc
