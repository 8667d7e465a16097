// How fast guest code is translated: its bytes by the second, beside Zydis' decoder alone. The code is what this
// program itself consists of, from a block's end to the next block, each block in its page.
//
//     BM_Translation        decoding, what flags are live, groups of operands, and host code; not published
//     BM_RivalTranslation   each instruction decoded once, in a row

#include <Zydis/Zydis.h>
#include <benchmark/benchmark.h>
#include <elf.h>
#include <sys/auxv.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/guest_addr.h"
#include "cpu/cpu_level.h"
#include "cpu/instruction_decoder.h"
#include "cpu/translator/block_collector.h"
#include "cpu/translator/block_numbers.h"
#include "cpu/translator/block_writer.h"
#include "cpu/translator/flag_lookahead.h"
#include "cpu/translator/generated_block.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/guest_instruction.h"
#include "cpu/translator/options.h"
#include "cpu/translator/routines.h"
#include "mm/frame_pool.h"

namespace remora::benchmarks {
namespace {

using namespace cpu::translator;

// The largest part of this program that is code, from a page's beginning.
std::span<const std::byte> OwnCode() {
  const auto* headers = reinterpret_cast<const Elf64_Phdr*>(getauxval(AT_PHDR));
  const std::span segments(headers, getauxval(AT_PHNUM));
  // The headers' own address, less where they are meant to be, is what was added to all.
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
    const uint64_t start = PageRoundDown(getauxval(AT_PHDR) - segments[0].p_vaddr + segment.p_vaddr + kPageMask);
    constexpr uint64_t kMaxBytes = uint64_t{1} << 20;
    return {reinterpret_cast<const std::byte*>(start), std::min(kMaxBytes, segment.p_filesz & ~kPageMask) - kPageSize};
  }
  CHECK_MSG(false, "no code");
}

class Numbers final : public BlockNumbers {
 public:
  uint32_t WayTo(uint64_t pc) override { return static_cast<uint32_t>(pc % GuestContext::kWays); }
  uint32_t PageOf(uint64_t address, bool) override {
    return static_cast<uint32_t>(address / kPageSize % GuestContext::kPages);
  }
  uint32_t NewExtent(uint32_t size_class) override { return FirstExtentOf(size_class); }
};

void BM_Translation(benchmark::State& state) {
  const std::span<const std::byte> code = OwnCode();
  cpu::InstructionDecoder decoder(cpu::CpuLevel::kHost);
  BlockCollector collector(&decoder, Optimizations());
  Numbers numbers;
  BlockWriter writer{Routines(), &numbers, &decoder, Optimizations()};
  FlagLookahead lookahead(&decoder);
  uint64_t guest_bytes = 0, host_bytes = 0, blocks = 0, generation = 0;
  for (auto _ : state) {
    ++generation;
    for (uint64_t offset = 0; offset < code.size();) {
      const std::byte* page = code.data() + (offset & ~kPageMask);
      const uint64_t pc = reinterpret_cast<uint64_t>(code.data()) + offset;
      const bool crosses = !collector.Collect(pc, page, nullptr);
      if (crosses) collector.Collect(pc, page, page + kPageSize);
      const std::span instructions = collector.instructions();
      // On behind what lies in a row.
      uint64_t row = 0;
      for (const GuestInstruction& instruction : instructions) {
        if (instruction.pc == pc + row) row += std::max<uint64_t>(instruction.decoded.info.length, 1);
        guest_bytes += instruction.decoded.info.length;
      }
      offset += std::max<uint64_t>(row, 1);
      if (instructions.empty() || instructions[0].action == Action::kInterpret) continue;
      lookahead.Begin(PageRoundDown(pc), page, mm::FrameId(), generation);
      const GeneratedBlock& block = writer.Write(
          instructions, crosses, /*alone=*/false, [&](uint64_t at) { return lookahead.LiveAt(at); },
          BlockWriter::NoneShared);
      host_bytes += block.code.size();
      ++blocks;
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(guest_bytes));
  state.counters["host_bytes_per_guest_byte"] = static_cast<double>(host_bytes) / static_cast<double>(guest_bytes);
  state.counters["guest_bytes_per_block"] = static_cast<double>(guest_bytes) / static_cast<double>(blocks);
}
BENCHMARK(BM_Translation)->Unit(benchmark::kMillisecond);

void BM_RivalTranslation(benchmark::State& state) {
  const std::span<const std::byte> code = OwnCode();
  const cpu::InstructionDecoder decoder(cpu::CpuLevel::kHost);
  uint64_t bytes = 0;
  for (auto _ : state) {
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    for (uint64_t offset = 0; offset < code.size();) {
      const ZyanStatus status =
          ZydisDecoderDecodeFull(decoder.zydis(), code.data() + offset, code.size() - offset, &instruction, operands);
      const uint64_t length = ZYAN_SUCCESS(status) ? instruction.length : 1;
      benchmark::DoNotOptimize(operands);
      offset += length;
      bytes += length;
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
}
BENCHMARK(BM_RivalTranslation)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace remora::benchmarks
