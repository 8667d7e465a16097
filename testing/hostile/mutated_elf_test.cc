// A thousand executables whose headers were damaged at random: remora must neither crash, nor hang, nor take more than
// 64 MiB of host memory, and says what is wrong when it does not start them. REMORA_MUTANTS and REMORA_SEED change how
// many and which.

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace {

constexpr long kMaxResidentKib = 64 * 1024;
constexpr auto kPatience = std::chrono::seconds(2);

std::vector<char> ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Damages the ELF header, the program headers, or (rarely) anything: single bytes, interesting values in fields, cuts.
void Mutate(std::vector<char>& file, std::mt19937_64& random) {
  const auto below = [&](uint64_t n) { return random() % n; };
  const uint64_t interesting[] = {0,     1,      ~0ull,          0x7fffffffffffffff, 0x8000000000000000,
                                  0xfff, 0x1000, 0x7ffffffff000, 0x800000000000,     0x100000000};
  const int changes = 1 + static_cast<int>(below(4));
  for (int i = 0; i < changes; ++i) {
    switch (below(6)) {
      case 0:
        file[below(64)] ^= static_cast<char>(1 << below(8));
        break;
      case 1:
        file[64 + below(56 * 13)] = static_cast<char>(random());
        break;
      case 2:
      case 3: {  // a 64-bit field of a program header
        const uint64_t at = 64 + 56 * below(13) + 8 * below(7);
        const uint64_t value = below(2) ? interesting[below(std::size(interesting))] : random() >> below(64);
        std::copy_n(reinterpret_cast<const char*>(&value), 8, file.begin() + static_cast<long>(at));
        break;
      }
      case 4:
        file.resize(64 + below(file.size() - 64));
        break;
      case 5:
        file[below(file.size())] = static_cast<char>(random());
        break;
    }
    if (file.size() < 64 + 56 * 13) break;
  }
}

struct Outcome {
  int status = 0;
  bool had_to_be_killed = false;
  long max_resident_kib = 0;
};

Outcome RunMutant(const char* remora, const std::string& program) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd = 0; fd < 3; ++fd) posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  char* arguments[] = {const_cast<char*>(remora), const_cast<char*>("--workers=1"), const_cast<char*>(program.c_str()),
                       nullptr};
  pid_t pid = 0;
  Outcome outcome;
  EXPECT_EQ(posix_spawn(&pid, remora, &actions, nullptr, arguments, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  rusage usage;
  const auto start = std::chrono::steady_clock::now();
  bool terminated = false;
  while (wait4(pid, &outcome.status, WNOHANG, &usage) == 0) {
    const auto spent = std::chrono::steady_clock::now() - start;
    if (!terminated && spent > kPatience) {  // a damaged program may loop: it must still end when it is told to
      kill(pid, SIGTERM);
      terminated = true;
    } else if (spent > 10 * kPatience) {
      outcome.had_to_be_killed = true;
      kill(pid, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  outcome.max_resident_kib = usage.ru_maxrss;
  return outcome;
}

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

TEST(MutatedElfTest, NeverCrashesHangsOrEatsMemory) {
  const char* remora = std::getenv("REMORA");
  const char* victim = std::getenv("VICTIM");
  ASSERT_TRUE(remora != nullptr && victim != nullptr);
  const uint64_t seed = FromEnvironment("REMORA_SEED", 1);
  const uint64_t mutants = FromEnvironment("REMORA_MUTANTS", 1000);
  const std::vector<char> originals[] = {ReadAll("/bin/true"), ReadAll(victim)};
  ASSERT_GT(originals[0].size(), 1000u);
  ASSERT_GT(originals[1].size(), 1000u);
  const std::string path = std::string(std::getenv("TEST_TMPDIR") ? std::getenv("TEST_TMPDIR") : "/tmp") + "/mutant";
  int refused = 0;
  for (uint64_t i = 0; i < mutants; ++i) {
    std::mt19937_64 random(seed * 1000003 + i);
    std::vector<char> file = originals[i % 2];
    Mutate(file, random);
    unlink(path.c_str());
    std::ofstream(path, std::ios::binary).write(file.data(), static_cast<long>(file.size()));
    chmod(path.c_str(), 0755);
    const Outcome outcome = RunMutant(remora, path);
    SCOPED_TRACE("seed " + std::to_string(seed) + ", mutant " + std::to_string(i));
    ASSERT_FALSE(outcome.had_to_be_killed);
    ASSERT_TRUE(WIFEXITED(outcome.status)) << "remora itself died of signal " << WTERMSIG(outcome.status);
    ASSERT_LE(outcome.max_resident_kib, kMaxResidentKib);
    refused += WEXITSTATUS(outcome.status) == 126 || WEXITSTATUS(outcome.status) == 127;
  }
  std::printf("%lu mutants, %d refused at exec\n", mutants, refused);
  EXPECT_GT(refused, 0);
}

}  // namespace
