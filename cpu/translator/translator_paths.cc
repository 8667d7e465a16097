// Of TranslatorCore: paths, which replace the blocks that programs spend their time in.

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/guest_addr.h"
#include "cpu/translator/translator_core.h"

namespace remora::cpu::translator {
namespace {

// Instructions, and those of them that are long: so that the code of any path fits into HostCode.
constexpr size_t kMaxPath = 180, kMaxJoints = 48;
static_assert(kMaxPath <= UINT8_MAX);  // Translation::num_marks

// What a block cannot go on behind.
bool IsJoint(const GuestInstruction& instruction) {
  return instruction.action == Action::kCall || instruction.action == Action::kRet ||
         (instruction.action == Action::kJmp && !instruction.is_direct_branch());
}

// How many of the instructions, from the first on, a path may have: up to the first joint beyond kMaxJoints.
size_t FewJoints(std::span<const GuestInstruction> instructions) {
  size_t joints = 0;
  for (size_t i = 0; i < instructions.size(); ++i)
    if (IsJoint(instructions[i]) && ++joints > kMaxJoints) return i + 1;
  return instructions.size();
}

}  // namespace

bool TranslatorCore::BeginsPath(uint64_t pc) {
  const Translation* there = Find(pc, /*alone=*/false);
  found_cold_ = false;
  // A block that goes round in itself is as good as a path, and repeats itself.
  return there != nullptr && there->can_be_joined() && !there->is_path && !there->loops;
}

bool TranslatorCore::EndsPath(uint64_t pc) const {
  constexpr std::ptrdiff_t kTimes = 3;
  if (!IsCanonical(pc) || pc == path_[0] || path_.size() == kMaxPath || std::ranges::count(path_, pc) >= kTimes)
    return true;
  // Paths do not go through what others begin with.
  mm::Tlb& tlb = *bound_->context->tlb;
  if (tlb.Lookup<mm::Access::kFetch>(GuestAddr(PageRoundDown(pc))) == nullptr) {
    tlb.ForgetFault();
    return true;
  }
  const Translation* there = cache_->Find(tlb.FetchFrame(GuestAddr(pc).page()), pc, /*alone=*/false);
  return there != nullptr && there->is_path;
}

Exit TranslatorCore::FollowPath(CpuState& state, mm::Tlb& tlb) {
  path_.clear();
  Exit exit;
  uint64_t retired = 0;
  InterpreterCore& follower = interpreter();
  do {
    path_.push_back(state.rip);
    exit = follower.Run(state, tlb, 1, kNeverInterrupt);
    retired += exit.instructions_retired;
  } while (exit.reason == ExitReason::kBudget && retired < run_.left && !EndsPath(state.rip));
  exit.instructions_retired = retired;
  // A path that ends with a system call or a fault saves little.
  if (exit.reason != ExitReason::kBudget || !TranslatePath()) hot_spots_.Dismiss(path_[0]);
  return exit;
}

bool TranslatorCore::HasItsPages(const Translation& path) {
  mm::Tlb& tlb = *bound_->context->tlb;
  return std::ranges::all_of(path.pages(), [&](const Translation::Page& page) {
    const GuestAddr address(page.number * kPageSize);
    if (tlb.Lookup<mm::Access::kFetch>(address) != nullptr) return tlb.FetchFrame(address.page()) == page.frame;
    tlb.ForgetFault();
    return false;
  });
}

bool TranslatorCore::TranslatePath() {
  mm::Tlb& tlb = *bound_->context->tlb;
  const uint64_t generation = cache_->generation();
  const uint64_t begin = path_[0];
  tlb.ForgetFault();
  path_pages_.clear();
  std::vector<const std::byte*> bytes;
  std::vector<BlockCollector::Step> steps;
  for (const uint64_t pc : path_) {
    const auto known = std::ranges::find(path_pages_, pc / kPageSize, &Translation::Page::number);
    const auto number = static_cast<size_t>(known - path_pages_.begin());
    if (known == path_pages_.end()) {
      if (number == Translation::kMaxPages) break;
      const PageNumber page = GuestAddr(pc).page();
      bytes.push_back(PrepareCode(page));
      if (bytes.back() == nullptr) {
        tlb.ForgetFault();
        return true;
      }
      path_pages_.push_back({pc / kPageSize, tlb.FetchFrame(page)});
    }
    steps.push_back({pc, bytes[number]});
  }
  constexpr size_t kMinLength = 8;
  collector_.CollectPath(steps);
  if (collector_.instructions().size() < kMinLength) return false;
  collector_.CutPath(FewJoints(collector_.instructions()));
  const std::span<const GuestInstruction> instructions = collector_.instructions();
  const Translation* replaced = cache_->Find(path_pages_[0].frame, begin, /*alone=*/false);
  if (replaced == nullptr) return true;
  // Without calls, returns and switches it has to be longer than the block by half.
  if (instructions.size() < kMinLength) return false;
  if (std::ranges::none_of(instructions.first(instructions.size() - 1), IsJoint) &&
      instructions.size() < replaced->count() + replaced->count() / 2)
    return false;
  std::erase_if(path_pages_, [&](const Translation::Page& page) {
    return std::ranges::none_of(instructions,
                                [&](const GuestInstruction& i) { return i.pc / kPageSize == page.number; });
  });
  const bool one_page = path_pages_.size() == 1;
  const uint32_t gate = one_page ? GuestContext::kNoGate : cache_->NewGate();
  if (gate == GuestContext::kGates) return false;
  lookahead_.Begin(PageRoundDown(begin), bytes[0], path_pages_[0].frame, generation);
  const auto live_at = [this](uint64_t at) { return lookahead_.LiveAt(at); };
  const Translation* made =
      cache_->PublishPath(begin, path_pages_, writer_.WritePath(instructions, gate, live_at), generation);
  if (made != nullptr) NoteTranslated(*made, instructions);
  return true;
}

}  // namespace remora::cpu::translator
