#include "runner/block_watch.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "mm/address_space.h"
#include "mm/tlb.h"
#include "re2/re2.h"

namespace remora::runner {

absl::Status BlockWatch::SetUp(const Options& options, cpu::TranslatorOptions* translator_options) {
  if (options.dump_blocks) {
    const auto pattern = std::make_shared<const RE2>(*options.dump_blocks, RE2::Quiet);
    if (!pattern->ok())
      return absl::InvalidArgumentError(absl::StrCat("--dump-blocks: no regular expression: ", pattern->error()));
    dumper_.wanted = [this, pattern](uint64_t pc, const mm::Tlb& tlb) {
      const std::string address = absl::StrCat(absl::Hex(pc));
      const std::string name = NameOf(pc, tlb);
      if (!RE2::PartialMatch(address, *pattern) && !RE2::PartialMatch(name, *pattern)) return false;
      std::fprintf(stderr, "%s\n", name.c_str());
      return true;
    };
    dumper_.show = [](const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr); };
  }
  if (options.gdb_symbols) gdb_symbols_ = std::make_unique<GdbSymbols>();
  if (options.perf_map) {
    absl::StatusOr<std::unique_ptr<PerfMap>> made = PerfMap::Create(PerfMap::PathOfThisProcess());
    if (!made.ok()) return absl::FailedPreconditionError(absl::StrCat("--perf-map: ", made.status().message()));
    perf_map_ = *std::move(made);
  }
  const bool names = gdb_symbols_ != nullptr || perf_map_ != nullptr;
  if (names) {
    const auto add = [this](std::span<const std::byte> code, const std::string& name) {
      if (code.empty()) return;
      if (gdb_symbols_ != nullptr) gdb_symbols_->Add(code, name);
      if (perf_map_ != nullptr) perf_map_->Add(code, name);
    };
    dumper_.on_routine = [add](std::string_view name, std::span<const std::byte> code) {
      add(code, absl::StrCat(std::string(name), " (remora)"));
    };
    dumper_.on_translated = [this, add](uint64_t pc, const mm::Tlb& tlb, std::span<const std::byte> code) {
      add(code, NameOf(pc, tlb));
    };
  }
  if (options.dump_blocks || names) translator_options->dumper = &dumper_;
  return absl::OkStatus();
}

std::string BlockWatch::NameOf(uint64_t pc, const mm::Tlb& tlb) {
  const auto* space = dynamic_cast<const mm::AddressSpace*>(tlb.source());
  return space != nullptr && symbolizer_ ? symbolizer_->Describe(*space, pc) : absl::StrCat("0x", absl::Hex(pc));
}

}  // namespace remora::runner
