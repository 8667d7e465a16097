#include "syscalls/docs.h"

#include <fstream>
#include <sstream>

#include "gtest/gtest.h"

namespace remora::syscalls {
namespace {

TEST(SyscallDocsTest, TheCommittedDocumentIsWhatTheTableSays) {
  std::ifstream file("docs/syscalls.md");
  ASSERT_TRUE(file.good());
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), SyscallsDocument()) << "run: bazel run //syscalls:generate_docs > docs/syscalls.md";
}

}  // namespace
}  // namespace remora::syscalls
