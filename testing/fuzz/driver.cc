// main for fuzz targets that are built without libFuzzer: feeds them random inputs, the same in each run.
//
// usage: TARGET [--runs=N] [--seed=N] [FILE...]: with files, runs just those (what libFuzzer left behind of a crash).

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr size_t kMaxInputBytes = 4096;

// Of few distinct bytes as often as of all, so that repetitions and small numbers are common.
std::vector<uint8_t> RandomInput(std::mt19937_64& random) {
  std::vector<uint8_t> input(random() % (random() % 4 == 0 ? kMaxInputBytes : 64));
  const uint64_t alphabet = random() % 3 == 0 ? 256 : 1 + random() % 16;
  const uint8_t first = static_cast<uint8_t>(random());
  for (uint8_t& byte : input) byte = static_cast<uint8_t>(first + random() % alphabet);
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t runs = 20000, seed = 1;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--runs="))
      runs = std::strtoull(argv[i] + 7, nullptr, 10);
    else if (argument.starts_with("--seed="))
      seed = std::strtoull(argv[i] + 7, nullptr, 10);
    else
      files.push_back(argument);
  }
  for (const std::string& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
  if (!files.empty()) return 0;
  std::mt19937_64 random(seed);
  for (uint64_t run = 0; run < runs; ++run) {
    const std::vector<uint8_t> input = RandomInput(random);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%llu inputs\n", static_cast<unsigned long long>(runs));
  return 0;
}
