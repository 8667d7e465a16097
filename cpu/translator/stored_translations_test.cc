// Translations of an earlier run: that they are those which this run would have made, and that they run.

#include <gtest/gtest.h>
#include <link.h>
#include <xbyak/xbyak.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/cpu_level.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/instruction_decoder.h"
#include "cpu/testing/fake_memory.h"
#include "cpu/translator/block_collector.h"
#include "cpu/translator/block_frame.h"
#include "cpu/translator/block_writer.h"
#include "cpu/translator/flag_lookahead.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/options.h"
#include "cpu/translator/routines.h"
#include "cpu/translator/translation.h"
#include "cpu/translator/translation_cache.h"
#include "cpu/translator/translation_store.h"
#include "cpu/translator/translator.h"
#include "mm/code_mapping.h"
#include "mm/types.h"
#include "sync/reclaimer.h"

namespace remora::cpu {
namespace {

using translator::TranslationStore;

std::span<const std::byte> AsBytes(const std::string& image) { return std::as_bytes(std::span<const char>(image)); }

std::string ImageOf(const TranslationStore& store) {
  std::string image;
  store.WriteImage({}, [&](std::span<const std::byte> piece) {
    image.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return image;
}

// --- the same code as without a store ---

constexpr uint64_t kSettings = 1;

// What translates, without an engine.
struct Side {
  explicit Side(std::span<const std::byte> image, uint64_t max_code_bytes = uint64_t{64} << 20)
      : store(kSettings), cache(&reclaimer, max_code_bytes, translator::HostCalls(), &store) {
    if (!image.empty()) EXPECT_TRUE(store.AddImage(image));
  }
  void Ask(uint64_t pc, const std::byte* page) {
    cache.AskStore(PageOf(pc), std::span<const std::byte, kPageSize>(page, kPageSize), cache.generation());
  }
  // Asks the store, too.
  std::vector<const translator::Translation*> Adopt(uint64_t pc, const std::byte* page) {
    Ask(pc, page);
    std::vector<const translator::Translation*> blocks;
    stored = cache.AdoptStored(PageOf(pc), pc, &blocks);
    return blocks;
  }
  const translator::Translation* Translate(uint64_t pc, const std::byte* page) {
    if (!collector.Collect(pc, page, nullptr)) return nullptr;
    const std::span instructions = collector.instructions();
    if (instructions.empty() || instructions[0].action == translator::Action::kInterpret) return nullptr;
    lookahead.Begin(PageRoundDown(pc), page, FrameOf(pc / kPageSize), cache.generation());
    writer.set_neighbours(mapping.pages);
    const translator::GeneratedBlock& block = writer.Write(
        instructions, false, false, [this](uint64_t at) { return lookahead.LiveAt(at); },
        translator::BlockWriter::NoneShared);
    return cache.Publish(PageOf(pc), pc, mm::FrameId(), &block, false, false, cache.generation());
  }
  translator::CodePage PageOf(uint64_t pc) const { return {GuestAddr(pc).page(), FrameOf(pc / kPageSize), mapping}; }
  static mm::FrameId FrameOf(uint64_t page) { return mm::FrameId(static_cast<uint32_t>(page % 1'000'000)); }

  mm::CodeMapping mapping{};                    // of all pages
  translator::TranslationCache::Stored stored;  // what Adopt was told last
  sync::Reclaimer reclaimer;
  TranslationStore store;
  translator::TranslationCache cache;
  InstructionDecoder decoder{CpuLevel::kHost};
  translator::BlockCollector collector{&decoder, translator::Optimizations()};
  translator::BlockWriter writer{cache.routines(), &cache, &decoder, translator::Optimizations()};
  translator::FlagLookahead lookahead{&decoder};
};

// Pages of code that a compiler has made: the C library's.
std::span<const std::byte> CompiledCode() {
  std::span<const std::byte> longest;
  dl_iterate_phdr(
      [](dl_phdr_info* object, size_t, void* found) {
        if (std::string_view(object->dlpi_name).find("libc.so") == std::string_view::npos) return 0;
        auto* best = static_cast<std::span<const std::byte>*>(found);
        for (size_t i = 0; i < object->dlpi_phnum; ++i) {
          const ElfW(Phdr)& header = object->dlpi_phdr[i];
          if (header.p_type != PT_LOAD || (header.p_flags & PF_X) == 0) continue;
          const uint64_t first = PageRoundDown(object->dlpi_addr + header.p_vaddr + kPageMask);
          const uint64_t end = PageRoundDown(object->dlpi_addr + header.p_vaddr + header.p_memsz);
          if (end > first && end - first > best->size())
            *best = {reinterpret_cast<const std::byte*>(first), end - first};
        }
        return 0;
      },
      &longest);
  return longest;
}

// Whether all pages belong to one mapping.
class StoredTranslationsOfCompiledCodeTest : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Mapped, StoredTranslationsOfCompiledCodeTest, testing::Bool());

TEST_P(StoredTranslationsOfCompiledCodeTest, AreWhatThisRunWouldHaveMade) {
  const std::span<const std::byte> code = CompiledCode();
  const auto map = [&](Side* side) {
    const uint64_t first = reinterpret_cast<uint64_t>(code.data()) / kPageSize;
    if (GetParam())
      side->mapping = {.object = 1, .pages = {PageNumber(first), PageNumber(first + code.size() / kPageSize)}};
  };
  constexpr size_t kPages = 48, kBlocksOfPage = 60;
  ASSERT_GE(code.size(), kPages * kPageSize);
  const auto each_block = [&](const std::function<void(uint64_t, const std::byte*)>& visit) {
    for (size_t i = 0; i < kPages; ++i) {
      const std::byte* const page = code.data() + code.size() / kPageSize / kPages * i * kPageSize;
      for (size_t block = 0; block < kBlocksOfPage; ++block)
        visit(reinterpret_cast<uint64_t>(page) + block * 1009 % kPageSize, page);
    }
  };
  // The order in which blocks are taken, which is also that of their places and extents.
  std::vector<std::pair<uint64_t, const std::byte*>> order;
  size_t together = 0;
  {
    Side any({});
    map(&any);
    each_block([&](uint64_t pc, const std::byte* page) {
      any.Ask(pc, page);
      any.Translate(pc, page);
    });
    const std::string image = ImageOf(any.store);
    Side taking(AsBytes(image));
    map(&taking);
    each_block([&](uint64_t pc, const std::byte* page) {
      const std::vector<const translator::Translation*> taken = taking.Adopt(pc, page);
      together += taken.size() > 1 ? 1 : 0;
      for (const translator::Translation* block : taken) order.emplace_back(block->pc, page);
    });
    EXPECT_EQ(order.size(), any.cache.num_translations());
    EXPECT_GT(together, 5u);
  }
  Side earlier({}), fresh({});
  map(&earlier);
  map(&fresh);
  // So that nothing has the number there that it has here.
  for (uint64_t i = 0; i < 300; ++i) {
    earlier.cache.WayTo(0x1000 + i);
    earlier.cache.PageOf(i << 20, i % 2 == 0);
  }
  size_t made = 0, ways = 0;
  for (const auto& [pc, page] : order) {
    earlier.Ask(pc, page);
    earlier.Translate(pc, page);
    made += fresh.Translate(pc, page) != nullptr ? 1 : 0;
  }
  const std::string image = ImageOf(earlier.store);
  Side later(AsBytes(image));
  map(&later);
  ASSERT_GT(made, kPages * kBlocksOfPage / 2);
  // What is numbered has the numbers that it has without a store.
  for (; fresh.cache.way_targets()[ways] != 0; ++ways) later.cache.WayTo(fresh.cache.way_targets()[ways]);
  EXPECT_GT(ways, 100u);
  // Some numbers are no page's, and page 0 has a key that looks like none.
  const std::atomic<uint64_t>* const keys = fresh.cache.page_keys();
  uint32_t num_pages = translator::GuestContext::kPages;
  while (num_pages != 0 && keys[num_pages - 1] == 0) --num_pages;
  EXPECT_GT(num_pages, 10u);
  for (uint32_t i = 0; i < num_pages; ++i)
    if (!translator::LooksStored(translator::PageField(i))) {
      EXPECT_EQ(later.cache.PageOf(keys[i], (keys[i] & 1) != 0), i);
    }
  std::vector<const translator::Translation*> all;
  each_block([&](uint64_t pc, const std::byte* page) {
    for (const translator::Translation* block : later.Adopt(pc, page)) all.push_back(block);
  });
  // Now that all links lead where they will.
  for (const translator::Translation* block : all) {
    const translator::Translation* same = fresh.cache.Peek(block->frame, block->pc);
    ASSERT_NE(same, nullptr);
    EXPECT_EQ(block->code - later.cache.buffer().permanent(), same->code - fresh.cache.buffer().permanent());
    ASSERT_EQ(block->code_bytes, same->code_bytes);
    EXPECT_TRUE(std::equal(block->code, block->code + block->code_bytes, same->code)) << std::hex << block->pc;
    const translator::BlockShape &shape = *block, &other = *same;
    EXPECT_EQ(__builtin_memcmp(&shape, &other, 28), 0) << std::hex << block->pc;
    ASSERT_EQ(block->marks().size(), same->marks().size());
    EXPECT_EQ(__builtin_memcmp(block->marks().data(), same->marks().data(), same->marks().size_bytes()), 0);
    EXPECT_EQ(block->frame, same->frame);
    EXPECT_FALSE(block->is_path || block->alone || block->tail_frame.valid());
  }
  EXPECT_EQ(all.size(), made);
  EXPECT_EQ(later.cache.num_translations(), fresh.cache.num_translations());
}

TEST(StoredTranslationsTest, WhereThereAreNoMoreNumbersABlockIsLeftOut) {
  std::array<std::byte, kPageSize> page{};
  constexpr uint64_t kPage = 0x400000;
  const uint8_t jump[] = {0xe9, 0, 0, 1, 0}, ret[] = {0xc3};  // jmp +65536, which is a way's number; ret
  std::memcpy(page.data(), jump, sizeof(jump));
  std::memcpy(page.data() + 64, ret, sizeof(ret));
  Side earlier({});
  earlier.Ask(kPage, page.data());
  ASSERT_NE(earlier.Translate(kPage, page.data()), nullptr);
  ASSERT_NE(earlier.Translate(kPage + 64, page.data()), nullptr);
  const std::string image = ImageOf(earlier.store);
  Side later(AsBytes(image));
  for (uint64_t i = 0; i < translator::GuestContext::kWays; ++i) later.cache.WayTo(1 + i);
  EXPECT_TRUE(later.Adopt(kPage, page.data()).empty());
  const uint64_t used = later.cache.buffer().used_bytes();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(later.Adopt(kPage, page.data()).empty());
  EXPECT_EQ(later.cache.buffer().used_bytes(), used) << "it is not put together each time";
  const std::vector<const translator::Translation*> adopted = later.Adopt(kPage + 64, page.data());
  ASSERT_EQ(adopted.size(), 1u);
  EXPECT_EQ(adopted[0]->pc, kPage + 64);
  EXPECT_EQ(later.cache.num_translations(), 1u);
}

// Whether a displacement in the block's code leads to one of the other's entries.
bool LeadsTo(const translator::Translation& from, const translator::Translation& to) {
  for (uint32_t i = 0; i + 4 <= from.code_bytes; ++i) {
    int32_t displacement;
    std::memcpy(&displacement, from.code + i, sizeof(displacement));
    const std::byte* const target = from.code + i + 4 + displacement;
    for (const uint16_t entry : {to.host_entry, to.saved_entry, to.forward_entry})
      if (target == to.code + entry) return true;
  }
  return false;
}

TEST(StoredTranslationsTest, WhatThisRunHasMadeStaysAndIsLinked) {
  std::array<std::byte, kPageSize> page{};
  constexpr uint64_t kPage = 0x400000;
  const uint8_t branch[] = {0x75, 0x3e, 0xc3}, ret[] = {0xc3};  // jne +62; ret; and what it leads to
  std::memcpy(page.data(), branch, sizeof(branch));
  std::memcpy(page.data() + 64, ret, sizeof(ret));
  Side earlier({});
  earlier.Ask(kPage, page.data());
  for (const uint64_t offset : {0, 64}) ASSERT_NE(earlier.Translate(kPage + offset, page.data()), nullptr);
  const std::string image = ImageOf(earlier.store);
  Side later(AsBytes(image));
  const translator::Translation* here = later.Translate(kPage, page.data());
  ASSERT_NE(here, nullptr);
  EXPECT_TRUE(later.Adopt(kPage, page.data()).empty());
  const std::vector<const translator::Translation*> adopted = later.Adopt(kPage + 64, page.data());
  ASSERT_EQ(adopted.size(), 1u);
  EXPECT_EQ(adopted[0]->pc, kPage + 64);
  EXPECT_EQ(later.cache.num_translations(), 2u);
  EXPECT_EQ(later.cache.Peek(here->frame, kPage), here);
  EXPECT_TRUE(LeadsTo(*here, *adopted[0]));
}

// A page whose blocks follow each other, `step` bytes apart, all of which are in the image.
std::string ImageOfChain(uint64_t pc, std::array<std::byte, kPageSize>* page, uint8_t step = 32) {
  page->fill(std::byte{0x90});
  const uint8_t jump[] = {0x75, static_cast<uint8_t>(step - 2), 0xc3};  // jne +step; ret
  for (size_t offset = 0; offset + step < kPageSize; offset += step)
    std::memcpy(page->data() + offset, jump, sizeof(jump));
  Side earlier({});
  earlier.Ask(pc, page->data());
  for (uint64_t offset = 0; offset + step < kPageSize; offset += step)
    EXPECT_NE(earlier.Translate(pc + offset, page->data()), nullptr);
  return ImageOf(earlier.store);
}

TEST(StoredTranslationsTest, WhatABlockLeadsToComesWithIt) {
  std::array<std::byte, kPageSize> page;
  constexpr uint64_t kPage = 0x400000, kBlocks = kPageSize / 32 - 1;
  const std::string image = ImageOfChain(kPage, &page);
  Side later(AsBytes(image));
  const std::vector<const translator::Translation*> half = later.Adopt(kPage + kPageSize / 2, page.data());
  EXPECT_EQ(half.size(), kBlocks / 2);
  for (size_t i = 1; i < half.size(); ++i) EXPECT_TRUE(LeadsTo(*half[i - 1], *half[i]));
  const std::vector<const translator::Translation*> rest = later.Adopt(kPage, page.data());
  ASSERT_EQ(rest.size(), kBlocks - half.size()) << "no more than is missing";
  EXPECT_TRUE(LeadsTo(*rest.back(), *half.front()));
  EXPECT_TRUE(later.Adopt(kPage + 5, page.data()).empty());
  EXPECT_EQ(later.stored, translator::TranslationCache::Stored::kSomething) << "of the page";
}

TEST(StoredTranslationsTest, WhereACallComesBackToComesWithIt) {
  std::array<std::byte, kPageSize> page;
  page.fill(std::byte{0xc3});  // ret
  constexpr uint64_t kPage = 0x400000;
  const uint8_t call[] = {0xe8, 0, 0, 1, 0};  // call +65536
  std::memcpy(page.data() + 64, call, sizeof(call));
  Side earlier({});
  earlier.Ask(kPage, page.data());
  for (const uint64_t offset : {64, 69}) ASSERT_NE(earlier.Translate(kPage + offset, page.data()), nullptr);
  for (const uint64_t offset : {0, 63, 70, 1000}) ASSERT_NE(earlier.Translate(kPage + offset, page.data()), nullptr);
  const std::string image = ImageOf(earlier.store);
  Side later(AsBytes(image));
  EXPECT_EQ(later.Adopt(kPage + 64, page.data()).size(), 2u);
}

TEST(StoredTranslationsTest, WhereThereIsLittleRoomMuchIsNotTakenOverAtOnce) {
  std::array<std::byte, kPageSize> page;
  constexpr uint64_t kPage = 0x400000;
  const std::string image = ImageOfChain(kPage, &page);
  Side roomy(AsBytes(image)), tight(AsBytes(image), uint64_t{1} << 20);
  const size_t all = roomy.Adopt(kPage, page.data()).size();
  EXPECT_EQ(all, kPageSize / 32 - 1);
  const std::vector<const translator::Translation*> some = tight.Adopt(kPage, page.data());
  EXPECT_GT(some.size(), 10u);
  EXPECT_LT(some.size(), all);
  EXPECT_EQ(tight.stored, translator::TranslationCache::Stored::kSomething);
  // The rest when it is come to.
  EXPECT_FALSE(tight.Adopt(some.back()->pc + 32, page.data()).empty());
}

TEST(StoredTranslationsTest, ManyBlocksAreNotTakenOverAtOnce) {
  std::array<std::byte, kPageSize> page;
  constexpr uint64_t kPage = 0x400000, kStep = 8, kBlocks = kPageSize / kStep - 1;
  const std::string image = ImageOfChain(kPage, &page, kStep);
  Side later(AsBytes(image));
  const std::vector<const translator::Translation*> some = later.Adopt(kPage, page.data());
  EXPECT_GE(some.size(), kBlocks / 3);
  EXPECT_LT(some.size(), kBlocks * 2 / 3);
  EXPECT_EQ(later.Adopt(some.back()->pc + kStep, page.data()).size(), kBlocks - some.size());
}

// What had to be translated all the same, for there was no room when it was asked for.
TEST(StoredTranslationsTest, WhatIsInAnImageIsNotStoredAgain) {
  std::array<std::byte, kPageSize> page;
  constexpr uint64_t kPage = 0x400000;
  const std::string image = ImageOfChain(kPage, &page);
  Side later(AsBytes(image));
  later.Ask(kPage, page.data());
  ASSERT_NE(later.Translate(kPage, page.data()), nullptr);
  EXPECT_EQ(later.store.num_added(), 0u);
  ASSERT_NE(later.Translate(kPage + 2, page.data()), nullptr);
  EXPECT_EQ(later.store.num_added(), 1u);
}

TEST(StoredTranslationsTest, SettingsTellWhatCodeDependsOn) {
  const std::string first = "one build", second = "another";
  const TranslatorOptions plain;
  const uint64_t settings = SettingsOf(plain, AsBytes(first));
  EXPECT_EQ(SettingsOf(plain, AsBytes(first)), settings);
  EXPECT_NE(SettingsOf(plain, AsBytes(second)), settings);
  TranslatorOptions level = plain, counted = plain, clock = plain, size = plain;
  level.interpreter.level = CpuLevel::kV2;
  EXPECT_NE(SettingsOf(level, AsBytes(first)), settings);
  counted.optimizations.exact_count = true;
  EXPECT_NE(SettingsOf(counted, AsBytes(first)), settings);
  clock.interpreter.host_tsc = !plain.interpreter.host_tsc;
  EXPECT_NE(SettingsOf(clock, AsBytes(first)), settings);
  size.max_code_bytes /= 2;
  EXPECT_EQ(SettingsOf(size, AsBytes(first)), settings) << "no matter to the code";
}

// --- with an engine ---

constexpr uint64_t kCode = FakeMachine::kCode, kData = FakeMachine::kData;

// A run: a machine whose pages come from a file, with a store that has an earlier run's image.
class StoredRun {
 public:
  explicit StoredRun(std::string image = {}, bool warm = false, bool of_files = true)
      : image_(std::move(image)), machine([this, warm](BlockCache* cache) {
          TranslatorOptions options;
          options.optimizations.warm = warm;
          options.store = &store_;
          return MakeTranslator(cache, options);
        }) {
    if (!image_.empty()) EXPECT_TRUE(store_.AddImage(AsBytes(image_)));
    machine.memory.of_files = of_files;
  }
  Exit Run(uint64_t rip, uint64_t budget = 1'000'000) {
    machine.state.rip = rip;
    return machine.Run(budget);
  }
  std::string Image() const { return ImageOf(store_); }
  uint64_t num_added() const { return store_.num_added(); }
  uint64_t num_added_paths() const { return store_.num_added_paths(); }
  uint64_t paths_made_again() const { return machine.engine->counters().paths_made_again; }
  // To the end, in slices: where they end tells what is hot.
  Exit RunInSlices(uint64_t slice = 500) {
    Exit exit = Run(kCode, slice);
    while (exit.reason == ExitReason::kBudget) exit = machine.Run(slice);
    return exit;
  }
  uint64_t translated() const { return machine.engine->counters().blocks_decoded; }
  uint64_t adopted() const { return machine.engine->counters().blocks_adopted; }

 private:
  const std::string image_;
  TranslationStore store_{kSettings};

 public:
  FakeMachine machine;
};

// Calls to another page, data behind RIP, a jump through memory, a loop; RAX tells that it ran right.
constexpr uint64_t kFunction = kCode + kPageSize + 0x40;
void WriteProgram(FakeMachine* machine, uint8_t addend = 3, uint32_t rounds = 100) {
  Xbyak::CodeGenerator main;
  Xbyak::Label loop, behind, table;
  main.xor_(main.eax, main.eax);
  main.mov(main.ecx, rounds);
  main.L(loop);
  main.db(0xe8);  // call kFunction
  main.dd(static_cast<uint32_t>(kFunction - (kCode + main.getSize() + 4)));
  main.dec(main.ecx);
  main.jnz(loop);
  main.jmp(main.ptr[main.rip + table]);
  main.L(behind);
  main.add(main.rax, main.ptr[main.rip + table]);
  main.syscall();
  main.align(8);
  main.L(table);
  main.dq(kCode + (behind.getAddress() - main.getCode()));
  main.ready();
  machine->memory.Write(kCode, {main.getCode(), main.getSize()});
  machine->memory.Write(kFunction, {0x48, 0x83, 0xc0, addend,  // add rax, addend
                                    0x90, 0x90, 0x90, 0x90,    // nops
                                    0x75, 0x01,                // jne +1
                                    0xcc,                      // int3
                                    0xc3});                    // ret
}
uint64_t ExpectedRax(const FakeMachine& machine, uint8_t addend = 3, uint32_t rounds = 100) {
  uint64_t target = 0;
  for (uint64_t at = kCode; at < kCode + 256; at += 8)
    if (const auto word = machine.memory.Load<uint64_t>(at); word / kPageSize == kCode / kPageSize) target = word;
  return uint64_t{rounds} * addend + target;
}

TEST(StoredTranslationsTest, ARunThatFindsAllTranslatesNothing) {
  StoredRun first;
  WriteProgram(&first.machine);
  ASSERT_EQ(first.Run(kCode).reason, ExitReason::kSyscall);
  EXPECT_EQ(first.machine.state.gpr[kRax], ExpectedRax(first.machine));
  EXPECT_GT(first.translated(), 3u);
  EXPECT_EQ(first.adopted(), 0u);
  StoredRun second(first.Image());
  WriteProgram(&second.machine);
  ASSERT_EQ(second.Run(kCode).reason, ExitReason::kSyscall);
  EXPECT_EQ(second.machine.state.gpr[kRax], ExpectedRax(second.machine));
  EXPECT_EQ(second.translated(), 0u);
  EXPECT_EQ(second.adopted(), first.translated());
  EXPECT_EQ(second.num_added(), 0u);
}

TEST(StoredTranslationsTest, AnotherByteMeansAnotherPage) {
  StoredRun first;
  WriteProgram(&first.machine);
  ASSERT_EQ(first.Run(kCode).reason, ExitReason::kSyscall);
  StoredRun second(first.Image());
  WriteProgram(&second.machine, 5);
  ASSERT_EQ(second.Run(kCode).reason, ExitReason::kSyscall);
  EXPECT_EQ(second.machine.state.gpr[kRax], ExpectedRax(second.machine, 5));
  EXPECT_GT(second.translated(), 0u);
  EXPECT_GT(second.adopted(), 0u) << "the other page";
}

TEST(StoredTranslationsTest, WhatIsRewrittenIsTranslatedAnew) {
  StoredRun first;
  WriteProgram(&first.machine);
  ASSERT_EQ(first.Run(kCode).reason, ExitReason::kSyscall);
  StoredRun second(first.Image());
  WriteProgram(&second.machine);
  ASSERT_EQ(second.Run(kCode).reason, ExitReason::kSyscall);
  WriteProgram(&second.machine, 7);
  second.machine.state.gpr[kRax] = 0;
  ASSERT_EQ(second.Run(kCode).reason, ExitReason::kSyscall);
  EXPECT_EQ(second.machine.state.gpr[kRax], ExpectedRax(second.machine, 7));
  // And back, where the store has it.
  WriteProgram(&second.machine, 3);
  ASSERT_EQ(second.Run(kCode).reason, ExitReason::kSyscall);
  EXPECT_EQ(second.machine.state.gpr[kRax], ExpectedRax(second.machine, 3));
}

// An instruction that goes on in the next page belongs to that page, too, of which the store knows nothing.
TEST(StoredTranslationsTest, AnotherPageBehindIsLookedAt) {
  constexpr uint64_t kBehind = kCode + kPageSize, kOther = kData + kPageSize;
  std::string image;
  for (int i = 0; i < 2; ++i) {
    StoredRun run(std::move(image));
    run.machine.memory.Write(kCode, {0xb8, 7, 0, 0, 0, 0x0f, 0x05});        // mov eax, 7; syscall
    run.machine.memory.Write(kBehind - 1, {0xb8, 1, 0, 0, 0, 0x0f, 0x05});  // mov eax, 1; syscall
    run.machine.memory.Write(kOther, {2, 0, 0, 0, 0x0f, 0x05});
    ASSERT_EQ(run.Run(kCode).reason, ExitReason::kSyscall);
    EXPECT_EQ(run.adopted(), i == 0 ? 0u : 1u);
    ASSERT_EQ(run.Run(kBehind - 1).reason, ExitReason::kSyscall);
    EXPECT_EQ(run.machine.state.gpr[kRax], 1u);
    run.machine.memory.Alias(kOther + kPageSize, kBehind, mm::Protection(5));  // so that its frame stays
    run.machine.memory.Alias(kBehind, kOther, mm::Protection(5));
    run.machine.memory.FlushAtNextSynchronize();
    ASSERT_EQ(run.Run(kBehind - 1).reason, ExitReason::kSyscall);
    EXPECT_EQ(run.machine.state.gpr[kRax], 2u);
    image = run.Image();
  }
}

TEST(StoredTranslationsTest, APageAtManyAddressesIsNotAskedAboutForEver) {
  StoredRun run;
  run.machine.memory.Write(kCode, {0xb8, 7, 0, 0, 0, 0x0f, 0x05});  // mov eax, 7; syscall
  for (uint64_t i = 0; i < 100; ++i) {
    const uint64_t place = 0x1000'0000 + i * kPageSize;
    run.machine.memory.Alias(place, kCode, mm::Protection(5));
    ASSERT_EQ(run.Run(place).reason, ExitReason::kSyscall);
    EXPECT_EQ(run.machine.state.gpr[kRax], 7u);
  }
  EXPECT_EQ(run.num_added(), 2u * 8) << "pages and blocks";
}

TEST(StoredTranslationsTest, WhatAProgramMakesItselfIsNotStored) {
  StoredRun run({}, /*warm=*/false, /*of_files=*/false);
  WriteProgram(&run.machine);
  ASSERT_EQ(run.Run(kCode).reason, ExitReason::kSyscall);
  EXPECT_EQ(run.num_added(), 0u);
}

TEST(StoredTranslationsTest, AFaultShowsWhereItWas) {
  const auto write = [](FakeMachine* machine) {
    machine->memory.Write(kCode, {0x48, 0xff, 0xc0,              // inc rax
                                  0x48, 0x8b, 0x1f,              // mov rbx, [rdi]
                                  0x48, 0xff, 0xc0,              // inc rax
                                  0x48, 0x8b, 0x9f, 0, 0, 1, 0,  // mov rbx, [rdi + 65536]
                                  0x0f, 0x05});                  // syscall
  };
  std::string image;
  for (const bool again : {false, true}) {
    StoredRun run(std::move(image));
    write(&run.machine);
    run.machine.memory.Map(kData + 65536, 1, mm::Protection(3));
    run.machine.state.gpr[kRdi] = kData;
    ASSERT_EQ(run.Run(kCode).reason, ExitReason::kSyscall);
    run.machine.state.gpr[kRdi] = 0x6000'0000;
    run.machine.state.gpr[kRax] = 5;
    EXPECT_EQ(run.Run(kCode).reason, ExitReason::kFault);
    EXPECT_EQ(run.machine.state.rip, kCode + 3);
    EXPECT_EQ(run.machine.state.gpr[kRax], 6u);
    EXPECT_EQ(run.adopted() > 0, again);
    image = run.Image();
  }
}

// What an earlier run has translated becomes part of paths, as what this one has.
TEST(StoredTranslationsTest, PathsReplaceThem) {
  std::string image;
  for (const bool again : {false, true}) {
    StoredRun run(std::move(image));
    constexpr uint32_t kRounds = 20'000;
    WriteProgram(&run.machine, 3, kRounds);
    ASSERT_EQ(run.RunInSlices().reason, ExitReason::kSyscall);
    ASSERT_EQ(run.machine.state.gpr[kRax], ExpectedRax(run.machine, 3, kRounds));
    EXPECT_EQ(run.adopted() > 0, again);
    EXPECT_GT(run.translated(), 0u) << "a path";
    image = run.Image();
  }
}

constexpr uint32_t kManyRounds = 20'000;

// An image of a run that has made a path through both pages of the program.
std::string ImageWithPath() {
  StoredRun run;
  WriteProgram(&run.machine, 3, kManyRounds);
  EXPECT_EQ(run.RunInSlices().reason, ExitReason::kSyscall);
  EXPECT_GE(run.num_added_paths(), 1u);
  EXPECT_EQ(run.paths_made_again(), 0u);
  return run.Image();
}

TEST(StoredTranslationsTest, APathIsMadeAgainWhenItIsComeToOnce) {
  StoredRun run(ImageWithPath());
  WriteProgram(&run.machine, 3, kManyRounds);
  EXPECT_EQ(run.Run(kCode, 500).reason, ExitReason::kBudget);
  EXPECT_EQ(run.machine.Run(500).reason, ExitReason::kBudget);
  EXPECT_EQ(run.paths_made_again(), 1u) << "no place can have been found hot yet";
  while (run.machine.Run(500).reason == ExitReason::kBudget) {
  }
  EXPECT_EQ(run.machine.state.gpr[kRax], ExpectedRax(run.machine, 3, kManyRounds));
  EXPECT_EQ(run.num_added_paths(), 0u);
}

// Two loops that take turns on one engine, as tasks do.
TEST(StoredTranslationsTest, PathsAreMadeAgainForTasksThatTakeTurns) {
  constexpr uint64_t kOther = kCode + 0x800;
  const auto write = [](FakeMachine* machine) {
    WriteProgram(machine, 3, kManyRounds);
    machine->memory.Write(kOther, {0xe8});  // loop: call kFunction; dec edx; jnz loop; syscall
    machine->memory.Store(kOther + 1, static_cast<uint32_t>(kFunction - (kOther + 5)));
    machine->memory.Write(kOther + 5, {0xff, 0xca, 0x75, 0xf7, 0x0f, 0x05});
    machine->state.gpr[kRdx] = kManyRounds;
  };
  std::string image;
  {
    StoredRun run;
    write(&run.machine);
    ASSERT_EQ(run.RunInSlices().reason, ExitReason::kSyscall);
    run.machine.state.rip = kOther;
    while (run.machine.Run(500).reason == ExitReason::kBudget) {
    }
    ASSERT_GE(run.num_added_paths(), 2u);
    image = run.Image();
  }
  StoredRun run(image);
  write(&run.machine);
  run.machine.state.rip = kCode;
  CpuState other = run.machine.state;
  other.rip = kOther;
  other.gpr[kRsp] -= 512;
  for (int slice = 0; slice < 6; ++slice) {
    ASSERT_EQ(run.machine.Run(500).reason, ExitReason::kBudget);
    std::swap(run.machine.state, other);
  }
  EXPECT_EQ(run.paths_made_again(), 2u);
}

// One that comes by a function four times, which somebody else calls first.
TEST(StoredTranslationsTest, APathIsMissedOnceWhereItIsLeftAtSeveralPlaces) {
  constexpr uint64_t kCalled = kCode + 0x400, kStranger = kCode + 0x800;
  const auto write = [](FakeMachine* machine) {
    const auto call = [machine](uint64_t at) {
      machine->memory.Write(at, {0xe8});
      machine->memory.Store(at + 1, static_cast<uint32_t>(kCalled - (at + 5)));
    };
    for (uint64_t i = 0; i < 4; ++i) call(kCode + 5 * i);
    machine->memory.Write(kCode + 20, {0xff, 0xca, 0x75, 0xe8, 0x0f, 0x05});  // dec edx; jnz kCode; syscall
    machine->memory.Write(kCalled, {0x48, 0xff, 0xc0, 0x90, 0xc3});           // inc rax; nop; ret
    call(kStranger);
    machine->memory.Write(kStranger + 5, {0x0f, 0x05});
    machine->state.gpr[kRdx] = kManyRounds;
  };
  std::string image;
  {
    StoredRun run;
    write(&run.machine);
    ASSERT_EQ(run.RunInSlices().reason, ExitReason::kSyscall);
    ASSERT_GE(run.num_added_paths(), 1u);
    image = run.Image();
  }
  StoredRun run(image);
  write(&run.machine);
  ASSERT_EQ(run.Run(kStranger, 1).reason, ExitReason::kBudget);
  ASSERT_EQ(run.machine.state.rip, kCalled);
  ASSERT_EQ(run.machine.Run(500).reason, ExitReason::kSyscall);
  EXPECT_EQ(run.paths_made_again(), 0u);
  run.machine.state.rip = kCode;
  for (int slice = 0; slice < 3; ++slice) ASSERT_EQ(run.machine.Run(500).reason, ExitReason::kBudget);
  EXPECT_EQ(run.paths_made_again(), 1u);
}

TEST(StoredTranslationsTest, APathIsOfThePagesThatAreThere) {
  StoredRun run(ImageWithPath());
  WriteProgram(&run.machine, 5, kManyRounds);  // the function's page is another one
  ASSERT_EQ(run.RunInSlices().reason, ExitReason::kSyscall);
  EXPECT_EQ(run.machine.state.gpr[kRax], ExpectedRax(run.machine, 5, kManyRounds));
  EXPECT_EQ(run.paths_made_again(), 1u) << "it goes the same way";
  StoredRun other(ImageWithPath());
  WriteProgram(&other.machine, 3, kManyRounds);
  other.machine.memory.Write(kFunction + 4, {0x48, 0xff, 0xc0, 0x90});  // inc rax; nop
  ASSERT_EQ(other.RunInSlices().reason, ExitReason::kSyscall);
  EXPECT_EQ(other.machine.state.gpr[kRax], ExpectedRax(other.machine, 4, kManyRounds));
  EXPECT_EQ(other.paths_made_again(), 0u);
}

// Code whose loop goes one way or the other, by what it finds in memory.
void WriteFork(FakeMachine* machine, uint8_t way) {
  Xbyak::CodeGenerator code;
  Xbyak::Label loop, other, join;
  code.mov(code.ecx, kManyRounds);
  code.xor_(code.eax, code.eax);
  code.mov(code.edi, static_cast<uint32_t>(kData));
  code.L(loop);
  code.cmp(code.byte[code.rdi], 0);
  code.jne(other, Xbyak::CodeGenerator::T_NEAR);
  for (int i = 0; i < 8; ++i) code.add(code.eax, 1);
  code.jmp(join, Xbyak::CodeGenerator::T_NEAR);
  for (int i = 0; i < 32; ++i) code.nop();
  code.L(other);
  for (int i = 0; i < 8; ++i) code.add(code.eax, 2);
  code.L(join);
  code.call(code.getCurr() + 64);
  code.dec(code.ecx);
  code.jnz(loop, Xbyak::CodeGenerator::T_NEAR);
  code.syscall();
  code.ready();
  machine->memory.Write(kCode, {code.getCode(), code.getSize()});
  uint64_t call = 0;
  for (uint64_t i = 0; i < code.getSize(); ++i)
    if (code.getCode()[i] == 0xe8) call = i;
  machine->memory.Write(kCode + call + 64, {0xc3});  // ret
  machine->memory.Store<uint8_t>(kData, way);
}

TEST(StoredTranslationsTest, APathThatIsNotFollowedIsNotMade) {
  std::string image;
  {
    StoredRun run;
    WriteFork(&run.machine, 0);
    ASSERT_EQ(run.RunInSlices().reason, ExitReason::kSyscall);
    EXPECT_EQ(run.machine.state.gpr[kRax], kManyRounds * 8);
    ASSERT_GE(run.num_added_paths(), 1u);
    image = run.Image();
  }
  StoredRun same(image), other(image);
  WriteFork(&same.machine, 0);
  ASSERT_EQ(same.RunInSlices().reason, ExitReason::kSyscall);
  EXPECT_EQ(same.machine.state.gpr[kRax], kManyRounds * 8);
  EXPECT_GE(same.paths_made_again(), 1u);
  WriteFork(&other.machine, 1);
  ASSERT_EQ(other.RunInSlices().reason, ExitReason::kSyscall);
  EXPECT_EQ(other.machine.state.gpr[kRax], kManyRounds * 16);
  EXPECT_EQ(other.paths_made_again(), 0u);
  EXPECT_GE(other.num_added_paths(), 1u) << "its own";
}

// It translates nothing yet that it comes to for the first time, but takes what is there.
TEST(StoredTranslationsTest, AnEngineThatHasJustBegunAsks) {
  StoredRun first;
  WriteProgram(&first.machine);
  ASSERT_EQ(first.Run(kCode).reason, ExitReason::kSyscall);
  StoredRun second(first.Image(), /*warm=*/true);
  WriteProgram(&second.machine);
  ASSERT_EQ(second.Run(kCode, 30).reason, ExitReason::kBudget);
  EXPECT_GT(second.adopted(), 2u);
  EXPECT_EQ(second.translated(), 0u);
}

}  // namespace
}  // namespace remora::cpu
