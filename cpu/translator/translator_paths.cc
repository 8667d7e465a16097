// Of TranslatorCore: paths, which replace the blocks that programs spend their time in.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/canonical.h"
#include "cpu/translator/translator_core.h"

namespace remora::cpu::translator {
namespace {

static_assert(PathShape::kMaxTwice < AccessSite::kMaxInstructions && PathShape::kMaxTwice <= UINT16_MAX);

// What a block cannot go on behind.
bool IsJoint(const GuestInstruction& instruction) {
  return instruction.action == Action::kCall || instruction.action == Action::kRet ||
         (instruction.action == Action::kJmp && !instruction.is_direct_branch());
}

// Others are short, and not run one time after the other; to follow them in vain made perl 1.05 times as slow.
bool IsWorthAReview(const Translation& path) { return path.loops || path.count() > PathShape::kMaxOnce; }

// How far a path that begins at this instruction of the round goes along with it.
uint32_t StepsAlong(const Translation& path, std::span<const uint64_t> round, size_t first) {
  uint32_t steps = 0;
  while (steps < path.count() && path.AddressOf(steps) == round[(first + steps) % round.size()]) ++steps;
  return steps;
}

}  // namespace

bool TranslatorCore::BeginsPath(uint64_t pc) {
  const Translation* there = Find(pc, /*alone=*/false);
  found_cold_ = false;
  // A block that goes round in itself is as good as a path, and repeats itself.
  return there != nullptr && there->can_be_joined() && !there->is_path && !there->loops;
}

bool TranslatorCore::CanFetch(uint64_t pc) const {
  mm::Tlb& tlb = *bound_->context->tlb;
  if (IsCanonical(pc) && tlb.Lookup<mm::Access::kFetch>(GuestAddr(PageRoundDown(pc))) != nullptr) return true;
  tlb.ForgetFault();
  return false;
}

const Translation* TranslatorCore::PathAt(uint64_t pc) const {
  if (!CanFetch(pc)) return nullptr;
  const mm::FrameId frame = bound_->context->tlb->FetchFrame(GuestAddr(pc).page());
  const Translation* there = cache_->Peek(frame, pc);
  return there != nullptr && there->is_path ? there : nullptr;
}

Exit TranslatorCore::FollowPath(CpuState& state, mm::Tlb& tlb, const std::atomic<uint32_t>& interrupt) {
  // To look for a round takes a small part of all time: a step takes as long as some hundred translated instructions.
  constexpr uint64_t kStepsAtFirst = 4'000, kInstructionsForStep = 200'000;
  const uint64_t begin = state.rip;
  const uint64_t max_steps = kStepsAtFirst + instructions_retired_.value() / kInstructionsForStep;
  path_shape_.Clear();
  Exit exit;
  uint64_t retired = 0;
  InterpreterCore& follower = interpreter();
  do {
    const uint64_t pc = state.rip;
    exit = follower.Run(state, tlb, 1, kNeverInterrupt);
    retired += exit.instructions_retired;
    // Paths do not go through what others begin with.
    const bool ends = !path_shape_.has_ended() && (!CanFetch(state.rip) || PathAt(state.rip) != nullptr);
    path_shape_.Add(pc, state.rip, ends);
  } while (exit.reason == ExitReason::kBudget && retired < run_.left &&
           (!path_shape_.is_known() || (path_shape_.may_go_round() && ++steps_for_rounds_ < max_steps &&
                                        interrupt.load(std::memory_order_relaxed) == 0)));
  exit.instructions_retired = retired;
  // A path that ends with a system call or a fault saves little.
  const bool saves_little = exit.reason != ExitReason::kBudget && !path_shape_.is_known();
  const std::span<const uint64_t> round = path_shape_.Round();
  const bool is_round = !round.empty() && TranslateRound(round, /*replaces_path=*/false);
  if (!is_round && (saves_little || !TranslatePath())) hot_spots_.Dismiss(begin);
  if (is_round || round.empty() || !AwaitReview(round)) return exit;
  // Where the round would begin another path does, which is left: to there, so that it is reviewed at once.
  for (size_t steps = 0; steps < round.size() && exit.reason == ExitReason::kBudget && retired < run_.left; ++steps) {
    if (AwaitedAt(state.rip).pc == state.rip) break;
    exit = follower.Run(state, tlb, 1, kNeverInterrupt);
    retired += exit.instructions_retired;
    ++steps_for_rounds_;
  }
  exit.instructions_retired = retired;
  return exit;
}

Exit TranslatorCore::ReviewPath(const Translation& path, CpuState& state, mm::Tlb& tlb,
                                const std::atomic<uint32_t>& interrupt) {
  static_assert(PathReviews::kMostSteps == 2 * PathShape::kMaxTwice);
  path_shape_.Clear();
  Exit exit;
  uint32_t steps = 0;
  bool is_left = false;
  InterpreterCore& follower = interpreter();
  do {
    const uint64_t pc = state.rip;
    exit = follower.Run(state, tlb, 1, kNeverInterrupt);
    steps += static_cast<uint32_t>(exit.instructions_retired);
    path_shape_.Add(pc, state.rip, /*ends=*/false);
    if (is_left) continue;
    if (steps >= path.count()) {
      reviews_.ForgetLeft(path.pc);
      break;
    }
    is_left = path.AddressOf(steps) != state.rip;
    if (is_left && !reviews_.NoteLeft(path.pc, steps)) break;
  } while (exit.reason == ExitReason::kBudget && steps < run_.left && path_shape_.may_become_steady() &&
           interrupt.load(std::memory_order_relaxed) == 0);
  reviews_.Spend(steps);
  exit.instructions_retired = steps;
  if (path_shape_.is_steady() && TranslateRound(path_shape_.Round(), /*replaces_path=*/true))
    reviews_.ForgetLeft(path.pc);
  return exit;
}

bool TranslatorCore::AwaitReview(std::span<const uint64_t> round) {
  if (!reviews_.HasStepsLeft(instructions_retired_.value())) return false;
  for (const size_t step : collector_.OutermostOf(StepsOf(round))) {
    const Translation* path = PathAt(round[step]);
    if (path == nullptr || !IsWorthAReview(*path)) continue;
    const uint32_t along = StepsAlong(*path, round, step);
    if (along == path->count()) continue;
    reviews_.NoteLeft(round[step], along);
    AwaitedAt(round[step]) = {.pc = round[step], .is_left = true};
    return true;
  }
  return false;
}

void TranslatorCore::NoteHotSpot(uint64_t pc) {
  const bool is_hot = hot_spots_.Note(pc);
  const bool goes_on = cache_->has_stored_paths() && cache_->HasStoredPathAt(pc);
  Awaited& awaited = AwaitedAt(pc);
  if (awaited.pc == pc)
    awaited.is_hot |= is_hot;
  else if (is_hot || goes_on)
    awaited = {.pc = pc, .is_hot = is_hot};
}

bool TranslatorCore::FollowAwaited(CpuState& state, mm::Tlb& tlb, const std::atomic<uint32_t>& interrupt, Exit* exit) {
  const uint64_t pc = state.rip;
  const Awaited awaited = std::exchange(AwaitedAt(pc), Awaited());
  if (awaited.pc == 0) return false;  // as all that is not awaited
  stored_places_.clear();
  if (cache_->has_stored_paths()) cache_->FindStoredPaths(pc, &stored_places_);
  if (!stored_places_.empty()) {
    bool made = false;
    *exit = FollowStoredPaths(state, tlb, &made);
    // One of its own, when these are gone.
    if (awaited.is_hot && !made) AwaitedAt(pc) = awaited;
    return true;
  }
  if (awaited.is_hot && BeginsPath(pc)) {
    *exit = FollowPath(state, tlb, interrupt);
    return true;
  }
  const Translation* path = PathAt(pc);
  if (path == nullptr || !IsWorthAReview(*path)) return false;
  const uint64_t retired = instructions_retired_.value();
  const bool is_due = awaited.is_left ? reviews_.HasStepsLeft(retired) : awaited.is_hot && reviews_.IsDue(pc, retired);
  if (!is_due) return false;
  *exit = ReviewPath(*path, state, tlb, interrupt);
  return true;
}

Exit TranslatorCore::FollowStoredPaths(CpuState& state, mm::Tlb& tlb, bool* made) {
  // What an earlier run's data made of a path may not be this one's: it has to be followed for a while.
  constexpr uint32_t kLong = 64;
  using Place = StoredPaths::Place;
  Exit exit;
  uint64_t retired = 0;
  std::vector<uint32_t> left;  // paths
  const Place* followed = nullptr;
  InterpreterCore& follower = interpreter();
  for (uint32_t steps = 1; !stored_places_.empty() && followed == nullptr; ++steps) {
    exit = follower.Run(state, tlb, 1, kNeverInterrupt);
    retired += exit.instructions_retired;
    if (exit.reason != ExitReason::kBudget || retired >= run_.left) break;
    std::erase_if(stored_places_, [&](Place& place) {
      place.step = place.step + 1 < place.path.steps.size() ? place.step + 1 : 0;
      if (place.path.steps[place.step] == state.rip) return false;
      left.push_back(place.number);
      return true;
    });
    const auto long_enough = std::ranges::find_if(stored_places_, [steps](const Place& place) {
      const size_t length = place.path.steps.size();
      return steps >= std::min<size_t>(kLong, length) || (!place.path.goes_round && place.step + 1 == length);
    });
    if (long_enough != stored_places_.end()) followed = &*long_enough;
  }
  exit.instructions_retired = retired;
  // Once each, and not those that are followed from another place on.
  std::ranges::sort(left);
  left.erase(std::unique(left.begin(), left.end()), left.end());
  for (const uint32_t number : left)
    if (std::ranges::find(stored_places_, number, &Place::number) == stored_places_.end())
      cache_->NoteStoredPathMiss(number);
  *made = followed != nullptr;
  if (followed == nullptr) return exit;
  cache_->ForgetStoredPath(followed->number);
  MakeStoredPath(followed->path);
  return exit;
}

void TranslatorCore::MakeStoredPath(const StoredPath& path) {
  static_assert(StoredPath::kMaxSteps <= PathShape::kMaxTwice);
  const uint64_t begin = path.steps[0];
  if (!BeginsPath(begin)) return;
  const uint64_t generation = cache_->generation();
  const std::vector<BlockCollector::Step> steps = StepsOf(path.steps);
  if (steps.size() != path.steps.size()) return;
  const bool goes_round = collector_.CollectPath(steps, begin) && path.goes_round;
  if (goes_round != path.goes_round || collector_.instructions().size() != steps.size()) return;
  PublishPath(steps[0].page, goes_round, generation);
  const Translation* made = cache_->Peek(path_pages_[0].frame, begin);
  if (made != nullptr && made->is_path) paths_made_again_.Add();
}

bool TranslatorCore::HasItsPages(const Translation& path) {
  return std::ranges::all_of(path.pages(), [&](const Translation::Page& page) {
    const GuestAddr address(page.number * kPageSize);
    if (!CanFetch(address.value()) || bound_->context->tlb->FetchFrame(address.page()) != page.frame) return false;
    // Its links lead to code of that page, which may count on others behind that.
    const std::optional<CodePage> code = ComeTo(address.page(), page.frame);
    return code && cache_->MayRun(*code);
  });
}

std::vector<BlockCollector::Step> TranslatorCore::StepsOf(std::span<const uint64_t> path) {
  mm::Tlb& tlb = *bound_->context->tlb;
  tlb.ForgetFault();
  path_pages_.clear();
  std::vector<const std::byte*> bytes;
  // Null: code cannot be there now.
  const auto bytes_at = [&](PageNumber page) {
    const auto known = std::ranges::find(path_pages_, page.value(), &Translation::Page::number);
    if (known != path_pages_.end()) return bytes[static_cast<size_t>(known - path_pages_.begin())];
    const std::byte* there = PrepareCode(page);
    tlb.ForgetFault();
    if (there == nullptr) return there;
    bytes.push_back(there);
    path_pages_.push_back({page.value(), tlb.FetchFrame(page)});
    return there;
  };
  std::vector<BlockCollector::Step> steps;
  for (size_t i = 0; i < path.size(); ++i) {
    const size_t pages_before = path_pages_.size();
    const PageNumber page = GuestAddr(path[i]).page();
    const std::byte* here = bytes_at(page);
    if (here == nullptr) return {};
    // Whether it goes on in the next page: by where the next one is, unless it is a branch.
    const uint64_t to_end = kPageSize - path[i] % kPageSize;
    const uint64_t length = i + 1 < path.size() ? path[i + 1] - path[i] : 0;
    const bool is_length = length != 0 && length <= kMaxInstructionBytes;
    const bool goes_on = to_end < (is_length ? length : kMaxInstructionBytes);
    const std::byte* next = goes_on ? bytes_at(page + 1) : nullptr;
    if (path_pages_.size() > Translation::kMaxPages) {
      path_pages_.resize(pages_before);
      break;
    }
    steps.push_back({path[i], here, next});
  }
  return steps;
}

bool TranslatorCore::TranslateRound(std::span<const uint64_t> round, bool replaces_path) {
  const std::vector<size_t> outermost = collector_.OutermostOf(StepsOf(round));
  const auto is_there = [&](size_t step) {
    const Translation* path = PathAt(round[step]);
    return path != nullptr && StepsAlong(*path, round, step) == round.size();
  };
  if (replaces_path && std::ranges::any_of(outermost, is_there)) return false;
  const auto begin = std::ranges::find_if(outermost, [&](size_t step) {
    return BeginsPath(round[step]) || (replaces_path && PathAt(round[step]) != nullptr);
  });
  if (begin == outermost.end()) return false;
  std::vector<uint64_t> pcs(round.begin(), round.end());
  std::ranges::rotate(pcs, pcs.begin() + static_cast<std::ptrdiff_t>(*begin));
  const uint64_t generation = cache_->generation();
  const std::vector<BlockCollector::Step> steps = StepsOf(pcs);
  const bool goes_round = collector_.CollectPath(steps, pcs[0]) && steps.size() == pcs.size();
  return goes_round && PublishPath(steps[0].page, /*goes_round=*/true, generation, replaces_path);
}

bool TranslatorCore::TranslatePath() {
  const uint64_t generation = cache_->generation();
  const std::vector<BlockCollector::Step> steps = StepsOf(path_shape_.Path());
  if (steps.empty()) return true;
  collector_.CollectPath(steps, steps[0].pc);
  return PublishPath(steps[0].page, /*goes_round=*/false, generation);
}

bool TranslatorCore::PublishPath(const std::byte* bytes, bool goes_round, uint64_t generation, bool replaces_path) {
  constexpr size_t kMinLength = 8;
  std::span<const GuestInstruction> instructions = collector_.instructions();
  if (instructions.size() < kMinLength) return false;
  const uint64_t begin = instructions[0].pc;
  const Translation* replaced = cache_->Peek(path_pages_[0].frame, begin);
  if (replaced == nullptr || (replaced->is_path && !replaces_path)) return true;
  // Without calls, returns and switches it has to be longer than a block by half.
  if (!replaced->is_path &&
      std::ranges::none_of(instructions.first(instructions.size() - (goes_round ? 0 : 1)), IsJoint) &&
      instructions.size() < replaced->count() + replaced->count() / 2)
    return false;
  const auto forget_other_pages = [&] {
    std::erase_if(path_pages_, [&](const Translation::Page& page) {
      return std::ranges::none_of(instructions, [&](const GuestInstruction& i) {
        return i.pc / kPageSize <= page.number && (i.next_pc() - 1) / kPageSize >= page.number;
      });
    });
  };
  forget_other_pages();
  const bool one_page = path_pages_.size() == 1;
  const uint32_t gate = one_page ? GuestContext::kNoGate : cache_->NewGate();
  if (gate == GuestContext::kGates) return false;
  lookahead_.Begin(PageRoundDown(begin), bytes, path_pages_[0].frame, generation);
  const auto live_at = [this](uint64_t at) { return lookahead_.LiveAt(at); };
  // What does not belong to its frame's code goes by its ways.
  const auto page = bound_->pages.find(path_pages_[0].number);
  writer_.set_neighbours(page == bound_->pages.end() ? PageRange{} : page->second.mapping.pages);
  const GeneratedBlock* written = writer_.WritePath(instructions, gate, goes_round, live_at);
  while (written == nullptr) {
    if (replaces_path) return false;
    goes_round = false;
    collector_.CutPath(instructions.size() / 2);
    instructions = collector_.instructions();
    forget_other_pages();
    written = writer_.WritePath(instructions, gate, goes_round, live_at);
  }
  const Translation* made = cache_->PublishPath(begin, path_pages_, *written, *replaced, generation);
  if (made == nullptr) return true;
  NoteTranslated(*made, instructions, written->far_links.size());
  if (cache_->has_store()) {
    std::vector<uint64_t> pcs;
    for (const GuestInstruction& instruction : instructions) pcs.push_back(instruction.pc);
    cache_->StorePath(*made, {.goes_round = goes_round, .steps = pcs});
  }
  return true;
}

}  // namespace remora::cpu::translator
