#include "cpu/translator/translator_core.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/guest_addr.h"
#include "base/large_page.h"
#include "base/populate.h"
#include "cpu/canonical.h"
#include "cpu/fxsave.h"
#include "cpu/guest_access.h"
#include "cpu/string_form.h"
#include "cpu/translator/access.h"
#include "cpu/translator/host_gs_base.h"
#include "cpu/translator/string_access.h"

namespace remora::cpu::translator {
namespace {

// GuestContext::flags from and to RFLAGS.
constexpr uint64_t kUserTop = uint64_t{1} << 47;
constexpr uint64_t kFlagsOfLahf = kStatusFlags & ~kFlagOF;
uint16_t PackFlags(uint64_t rflags) {
  return static_cast<uint16_t>((rflags & kFlagsOfLahf) << 8 | ((rflags & kFlagOF) != 0 ? 1 : 0));
}
uint64_t UnpackFlags(uint16_t flags) {
  return (uint64_t{flags} >> 8 & kFlagsOfLahf) | ((flags & 1) != 0 ? kFlagOF : 0);
}

// Two MiB, most of which a short program never touches.
Zeroed<GuestContext> MakeContext() {
  Zeroed<GuestContext> context = MakeZeroedBy<GuestContext>(&MapAtLargePage);
  // What does not begin as zero.
  context->host_mxcsr = GuestContext::kDefaultMxcsr;
  context->way = GuestContext::kNoWay;
  return context;
}

// Segment bases may have been changed in the state since.
void TakeBases(GuestContext* context) {
  if (context->fs_base != context->state->fs_base) {
    context->fs_base = context->state->fs_base;
    context->fs_host = 0;
  }
  context->gs_base = context->state->gs_base;
}

// The TranslationCache hangs off the BlockCache, so that all engines of a Kernel share it, and its trap handler goes
// with it.
class SharedTranslations final : public mm::CodeObserver {
 public:
  SharedTranslations(sync::Reclaimer* reclaimer, const TranslatorOptions& options)
      : cache_(reclaimer, options.max_code_bytes,
               {&FastTarget, &FastWay, &FastAccess, &FillAccess, &FastStack, &FillStack, &FastPlace, &FillPlace,
                &PrepareX87, &RunString, &FillString, &TranslatorCore::CarryOutSyscall, &TranslatorCore::LearnBranch},
               options.store),
        traps_(&cache_.buffer(), cache_.routines().trap) {
    if (options.dumper == nullptr || !options.dumper->on_routine) return;
    for (const NamedCode& routine : NamesOf(cache_.routines(), cache_.buffer()))
      options.dumper->on_routine(routine.name, routine.code);
  }
  void DropCode(mm::FrameId frame) override { cache_.DropCode(frame); }
  TranslationCache* cache() { return &cache_; }

 private:
  TranslationCache cache_;
  const HostTraps traps_;
};

}  // namespace

TranslatorCore::TranslatorCore(BlockCache* blocks, TranslationCache* cache, TranslatorOptions options)
    : cache_(cache),
      options_(options),
      interpreter_(blocks, options.interpreter),
      collector_(interpreter_.instructions(), options.optimizations, options.interpreter.level,
                 options.interpreter.host_tsc),
      writer_(cache->routines(), cache, interpreter_.instructions(), options.optimizations) {}

TranslatorCore::~TranslatorCore() = default;

// --- contexts ---

void TranslatorCore::Bind(CpuState* state, mm::Tlb* tlb) {
  if (bound_ == nullptr || bound_->tlb != tlb) {
    Bound* chosen = &contexts_[0];
    for (Bound& bound : contexts_) {
      if (bound.tlb == tlb) {
        chosen = &bound;
        break;
      }
      if (bound.last_used < chosen->last_used) chosen = &bound;
    }
    bound_ = chosen;
    if (!bound_->context) {
      bound_->context = MakeContext();
      bound_->context->self = bound_->context.get();
      bound_->context->engine = this;
      bound_->context->frame = reinterpret_cast<uint64_t>(&bound_->context->r10);
      bound_->context->way_targets = cache_->way_targets();
      bound_->context->way_thunks = reinterpret_cast<uint64_t>(cache_->routines().way_thunks);
      bound_->context->page_keys = cache_->page_keys();
    }
    if (bound_->tlb != tlb) {
      bound_->tlb = tlb;
      bound_->context->tlb = tlb;
      bound_->context->tlb_front = tlb->front();
      ForgetTargets(bound_);
      ForgetExtents(bound_);
    }
    bound_->last_used = ++binds_;
  }
  bound_->context->state = state;
}

void TranslatorCore::FillTables(Bound* bound) {
  // A quarter of it is filled now, and translated code will look into all of it but the lists.
  static_assert(offsetof(GuestContext, used_extents) <= kLargePageBytes);
  (void)AskForLargePage(bound->context.get(), kLargePageBytes);
  bound->context->indirect[0] = GuestContext::NoTargetAt(0);
  bound->context->returns.fill(cache_->routines().return_by_table);
  for (uint32_t way = 0; way < GuestContext::kWays; ++way) bound->context->ways[way] = UnsetWay(way);
  for (uint32_t i = 0; i < GuestContext::kArrivals; ++i) bound->context->arrivals(i) = GuestContext::kFirstArrivals;
  // And so will Find.
  Populate(found_.get(), kFound * sizeof(Found));
  bound->tables_filled = true;
}

GuestContext::Way TranslatorCore::UnsetWay(uint32_t way) const {
  const std::byte* host_flags = cache_->routines().way_thunks + 2 * way * GuestContext::kWayThunkBytes;
  const std::byte* saved_flags = host_flags + GuestContext::kWayThunkBytes;
  return {.host_flags = {host_flags, host_flags}, .saved_flags = {saved_flags, saved_flags}};
}

void TranslatorCore::ForgetTargets(Bound* bound) {
  for (const uint16_t entry : bound->used_entries) bound->context->indirect[entry] = GuestContext::NoTargetAt(entry);
  bound->used_entries.clear();
  if (bound->tables_filled) bound->context->returns.fill(cache_->routines().return_by_table);
  for (const uint16_t index : bound->used_targets) bound->context->targets[index] = GuestContext::Target();
  bound->used_targets.clear();
  bound->pages.clear();
  GuestContext& context = *bound->context;
  for (uint32_t i = 0; i < context.num_used_ways; ++i)
    context.ways[context.used_ways[i]] = UnsetWay(context.used_ways[i]);
  context.num_used_ways = 0;
  for (uint32_t i = 0; i < context.num_open_gates; ++i) context.gates[context.open_gates[i]] = 0;
  context.num_open_gates = 0;
  bound->fetch_generation = bound->tlb->fetch_generation();
  bound->code_generation = cache_->generation();
}

void TranslatorCore::ForgetExtents(Bound* bound) {
  GuestContext& context = *bound->context;
  for (uint32_t i = 0; i < context.num_used_extents; ++i) context.extent(context.used_extents[i]) = Extent();
  context.num_used_extents = 0;
  context.ForgetStack();
  context.recents = {};
  context.fs_host = 0;
  for (uint32_t i = 0; i < context.num_known_pages; ++i) context.pages[context.known_pages[i]] = 0;
  context.num_known_pages = 0;
  bound->seen_losses = bound->tlb->losses();
}

void TranslatorCore::ForgetLost(GuestContext& context) {
  Bound* bound = bound_;
  DCHECK(bound->context.get() == &context);
  const uint64_t losses = bound->tlb->losses();
  const auto forget = [&](PageRange range, bool writes_only) {
    for (uint32_t i = 0; i < context.num_used_extents;) {
      const uint16_t number = context.used_extents[i];
      Extent& extent = context.extent(number);
      // A little more than the extent, whose limit lacks the access's size.
      const uint64_t last = extent.start + extent.limit + (uint64_t{1} << (kSizeClasses - 1));
      if ((writes_only && number < kNumExtents) || GuestAddr(extent.start).page() >= range.end ||
          GuestAddr(last).page() < range.first) {
        ++i;
        continue;
      }
      // No longer among those that the next loss is compared with.
      extent = Extent();
      context.used_extents[i] = context.used_extents[--context.num_used_extents];
    }
    for (auto& of_right : context.recents)
      for (GuestContext::Recent& recent : of_right)
        if (GuestAddr(recent.start).page() < range.end &&
            GuestAddr(recent.start + recent.limit + (uint64_t{1} << (kSizeClasses - 1))).page() >= range.first)
          recent.limit = 0;
    for (uint32_t i = 0; i < context.num_known_pages;) {
      const uint16_t number = context.known_pages[i];
      if (!range.Contains(GuestAddr(context.address_of_page(number)).page()) ||
          (writes_only && !context.is_written(number))) {
        ++i;
        continue;
      }
      context.pages[number] = 0;
      context.known_pages[i] = context.known_pages[--context.num_known_pages];
    }
    const GuestAddr fs(context.fs_base);
    if (fs.page() < range.end && (fs + GuestContext::kFsBytes).page() >= range.first) context.fs_host = 0;
    const GuestAddr stack(context.stack_start - context.stack_delta);
    if (stack.page() < range.end && (stack + context.stack_bytes).page() > range.first) context.ForgetStack();
  };
  if (!bound->tlb->ForEachLossSince(bound->seen_losses, forget)) ForgetExtents(bound);
  bound->seen_losses = losses;
}

// --- finding code ---

bool TranslatorCore::IsWarm(uint64_t pc) {
  // Most programs end soon. Those that do not come by nearly all of their code again, and to change to the interpreter
  // and back takes a tenth of the time that translating a block does.
  constexpr uint64_t kYoung = 2'000'000;
  const bool young = instructions_retired_.value() < kYoung;
  if (!young && !cache_->has_evicted()) return true;
  // While it is young, for loops around system calls, which come here each time. Where there is too little room for
  // all code, what is seldom run had better not drive out what is run often.
  constexpr uint8_t kVisitsWhileYoung = 64, kVisitsWithLittleRoom = 4;
  uint8_t& visits = visits_[(pc ^ pc >> 12) % kVisited];
  if (visits >= (young ? kVisitsWhileYoung : kVisitsWithLittleRoom)) return true;
  ++visits;
  return false;
}

Translation* TranslatorCore::Find(uint64_t pc, bool alone) {
  mm::Tlb& tlb = *bound_->context->tlb;
  if (!FollowChanges(*bound_->context)) ForgetTargets(bound_);
  if (!IsCanonical(pc)) return nullptr;
  const PageNumber page = GuestAddr(pc).page();
  constexpr int kMaxTries = 4;
  for (int i = 0; i < kMaxTries; ++i) {
    if (tlb.Lookup<mm::Access::kFetch>(GuestAddr(PageRoundDown(pc))) == nullptr) return nullptr;
    const mm::FrameId frame = tlb.FetchFrame(page);
    const std::optional<CodePage> come_to = ComeTo(page, frame);
    if (!come_to) {
      tlb.Synchronize();
      if (!FollowChanges(*bound_->context)) ForgetTargets(bound_);
      continue;
    }
    const CodePage& code = *come_to;
    Found& found = FoundAt(pc, alone);
    Translation* translation = nullptr;
    if (found.pc == pc && found.frame == frame && found.alone == alone && found.generation == cache_->generation() &&
        found.mapping == code.mapping) {
      translation = found.translation;
      while (Translation* path = translation->replaced_by.load(std::memory_order_acquire)) translation = path;
    } else {
      lookups_.Add();
      translation = cache_->Find(code, pc, alone);
    }
    if (translation != nullptr && translation->tail_frame.valid()) {
      if (tlb.Lookup<mm::Access::kFetch>(GuestAddr(page + 1)) == nullptr) return nullptr;
      if (tlb.FetchFrame(page + 1) != translation->tail_frame) translation = nullptr;
    }
    bool warm = translation != nullptr || alone || !options_.optimizations.warm || IsWarm(pc);
    if (translation == nullptr && !alone && TakeFromStore(pc, code)) {
      translation = cache_->Find(code, pc, alone);
      // What the store has goes on in no other page: that one is not looked at here.
      if (translation != nullptr && translation->tail_frame.valid()) translation = nullptr;
      warm = true;  // an earlier run has come by
    }
    if (translation == nullptr) {
      if (!warm) {
        found_cold_ = true;
        return nullptr;
      }
      translation = Translate(pc, alone, frame);
      if (translation == nullptr && tlb.last_fault().kind != mm::FaultKind::kNone) {
        tlb.ForgetFault();
        return nullptr;
      }
    }
    const bool closed = translation != nullptr && translation->gate != GuestContext::kNoGate &&
                        bound_->context->gates[translation->gate] == 0;
    const bool opens = closed && HasItsPages(*translation);
    if (!FollowChanges(*bound_->context)) {
      ForgetTargets(bound_);
      continue;
    }
    if (translation == nullptr) continue;
    if (closed && !opens) {
      // Another space has other pages behind the same one.
      cache_->Forget(frame);
      continue;
    }
    if (opens) OpenGate(translation->gate);
    found = {pc, bound_->code_generation, frame, alone, translation, code.mapping};
    if (!bound_->tables_filled) FillTables(bound_);
    Install(*translation);
    return translation;
  }
  return nullptr;
}

void TranslatorCore::OpenGate(uint16_t gate) {
  GuestContext& context = *bound_->context;
  context.gates[gate] = 1;
  context.open_gates[context.num_open_gates++] = gate;
}

void TranslatorCore::Install(const Translation& translation) {
  if (translation.code == nullptr || translation.alone) return;
  InstallTarget(translation);
  GuestContext& context = *bound_->context;
  if (context.way == GuestContext::kNoWay) return;
  if (cache_->way_targets()[context.way].load(std::memory_order_relaxed) == translation.pc)
    SetWay(&context, translation);
  context.way = GuestContext::kNoWay;
}

void TranslatorCore::InstallTarget(const Translation& translation) {
  GuestContext& context = *bound_->context;
  const auto index = static_cast<uint16_t>(GuestContext::TargetIndex(translation.pc));
  GuestContext::Target& target = context.targets[index];
  if (target.translation == &translation) return;
  const auto entry = static_cast<uint16_t>(GuestContext::TargetEntry(translation.pc));
  // Whoever was first keeps the place, until FastTarget finds that another one is wanted more often.
  if (GuestContext::IndirectTarget& place = context.indirect[entry]; place.code == nullptr) {
    bound_->used_entries.push_back(entry);
    place = {translation.pc, translation.code + translation.saved_entry};
  }
  if (target.translation == nullptr) bound_->used_targets.push_back(index);
  target = {translation.pc, &translation};
}

std::optional<CodePage> TranslatorCore::ComeTo(PageNumber page, mm::FrameId frame) {
  // A guest may have few frames at very many addresses.
  constexpr size_t kMostPages = 16384;
  if (bound_->pages.size() > kMostPages) bound_->pages.clear();
  Bound::Page& known = bound_->pages[page.value()];
  if (known.generation == 0 && !AskForMapping(page, &known)) return std::nullopt;
  const CodePage code = {page, frame, known.mapping};
  if (bound_->tables_filled && !std::exchange(known.is_installed, true)) InstallPage(code);
  return code;
}

bool TranslatorCore::AskForMapping(PageNumber page, Bound::Page* known) {
  const mm::Tlb& tlb = *bound_->context->tlb;
  if (options_.optimizations.across_pages) known->mapping = tlb.source()->CodeMappingOf(page);
  const bool is_true = tlb.source()->generation() == tlb.seen_generation();
  known->generation = is_true ? tlb.seen_generation() : 0;
  return is_true;
}

void TranslatorCore::InstallPage(const CodePage& page) {
  adopted_.clear();
  cache_->FindPage(page, &adopted_);
  if (!FollowChanges(*bound_->context)) return;
  for (const Translation* translation : adopted_) {
    // What is known is not given away for what may never be wanted.
    const auto index = GuestContext::TargetIndex(translation->pc);
    if (bound_->context->targets[index].translation == nullptr) InstallTarget(*translation);
  }
}

const std::byte* TranslatorCore::PrepareCode(PageNumber page) {
  mm::Tlb& tlb = *bound_->context->tlb;
  const mm::TlbSource::Translation code = tlb.source()->PrepareCode(page);
  // What that took away, our own right to write among it, must be gone before the code runs.
  tlb.Synchronize();
  if (tlb.Lookup<mm::Access::kFetch>(GuestAddr(page)) == nullptr) return nullptr;
  return tlb.FetchFrame(page) == code.frame ? code.host_page : nullptr;
}

std::optional<CodePage> TranslatorCore::Prepared(PageNumber page, mm::FrameId frame) {
  mm::Tlb& tlb = *bound_->context->tlb;
  if (tlb.FetchFrame(page) != frame) return std::nullopt;
  Bound::Page& known = bound_->pages[page.value()];
  if (known.generation != tlb.seen_generation() && !AskForMapping(page, &known)) return std::nullopt;
  return CodePage{page, frame, known.mapping};
}

bool TranslatorCore::TakeFromStore(uint64_t pc, const CodePage& page) {
  if (!cache_->has_store() || cache_->has_evicted()) return false;
  using Stored = TranslationCache::Stored;
  adopted_.clear();
  Stored stored = cache_->AdoptStored(page, pc, &adopted_);
  if (stored == Stored::kNotAsked) {
    AskStore(page.number, page.frame);
    stored = cache_->AdoptStored(page, pc, &adopted_);
  }
  blocks_adopted_.Add(adopted_.size());
  // Where code comes by them it does not have to come back for each.
  if (!adopted_.empty() && FollowChanges(*bound_->context)) {
    if (!bound_->tables_filled) FillTables(bound_);
    for (const Translation* translation : adopted_) InstallTarget(*translation);
  }
  return stored == Stored::kSomething;
}

void TranslatorCore::AskStore(PageNumber page, mm::FrameId frame) {
  mm::Tlb& tlb = *bound_->context->tlb;
  const uint64_t generation = cache_->generation();
  const std::byte* host = PrepareCode(page);
  tlb.ForgetFault();
  if (host == nullptr) return;
  const std::optional<CodePage> code = Prepared(page, frame);
  if (!code) return;
  // What a program makes itself it will hardly make a second time.
  if (tlb.source()->IsOfHostFile(page))
    cache_->AskStore(*code, std::span<const std::byte, kPageSize>(host, kPageSize), generation);
  else
    cache_->NoteUnstored(frame, page.value());
}

Translation* TranslatorCore::Translate(uint64_t pc, bool alone, mm::FrameId frame) {
  mm::Tlb& tlb = *bound_->context->tlb;
  const PageNumber page = GuestAddr(pc).page();
  const uint64_t generation = cache_->generation();
  tlb.ForgetFault();
  const std::byte* host = PrepareCode(page);
  if (host == nullptr) return nullptr;
  const std::optional<CodePage> code = Prepared(page, frame);
  if (!code) return nullptr;
  mm::FrameId tail;
  const bool crosses = !collector_.Collect(pc, host, nullptr);
  if (crosses) {
    const std::byte* next = PrepareCode(page + 1);
    if (next == nullptr) return nullptr;
    tail = tlb.FetchFrame(page + 1);
    collector_.Collect(pc, host, next);
  }
  const std::span instructions = collector_.instructions();
  if (instructions.empty()) return nullptr;
  if (instructions[0].action == Action::kInterpret)
    return cache_->Publish(*code, pc, tail, nullptr, instructions[0].repeats(), alone, generation);
  lookahead_.Begin(PageRoundDown(pc), host, frame, generation);
  const auto live_at = [this](uint64_t at) { return lookahead_.LiveAt(at); };
  // Not where a path will begin, whose registers are others.
  const bool shares = options_.optimizations.share && pc == bound_->context->state->rip;
  if (shares) forecast_.Find(instructions, *bound_->context->state, tlb);
  const auto shared_extent = [this, shares](uint32_t instruction, uint32_t size_class, bool write) {
    const std::optional<uint64_t> address = shares ? forecast_.AddressOf(instruction) : std::nullopt;
    if (!address) return std::optional<uint32_t>();
    return extent_sharing_.Choose(bound_->context.get(), size_class, write, *address,
                                  [&] { return cache_->NewExtent(size_class); });
  };
  writer_.set_neighbours(code->mapping.pages);
  const GeneratedBlock& block = writer_.Write(instructions, crosses, alone, live_at, shared_extent);
  Translation* made = cache_->Publish(*code, pc, tail, &block, false, alone, generation);
  if (made != nullptr) NoteTranslated(*made, instructions, block.far_links.size());
  return made;
}

void TranslatorCore::NoteTranslated(const Translation& made, std::span<const GuestInstruction> instructions,
                                    size_t num_far_links) {
  blocks_translated_.Add();
  uint64_t guest_bytes = 0;
  for (const GuestInstruction& instruction : instructions.first(std::min<size_t>(made.count(), instructions.size())))
    guest_bytes += instruction.decoded.info.length;
  guest_bytes_.Add(guest_bytes);
  host_bytes_.Add(cache_->BytesFor(made, num_far_links));
  if (options_.dumper == nullptr) return;
  const BlockDumper& dumper = *options_.dumper;
  const mm::Tlb& tlb = *bound_->context->tlb;
  if (dumper.on_translated) dumper.on_translated(made.pc, tlb, {made.code, made.code_bytes});
  if (dumper.wanted && dumper.wanted(made.pc, tlb))
    dumper.show(DumpBlock(instructions, made, cache_->buffer().permanent()));
}

// --- running it ---

void TranslatorCore::Enter(const Translation& translation) {
  GuestContext& context = *bound_->context;
  context.entry = reinterpret_cast<uint64_t>(translation.code + translation.saved_entry);
  context.flags = PackFlags(context.state->rflags);
  TakeBases(&context);
  GiveBudget(&context);
  cache_->routines().enter(&context);
}

void TranslatorCore::GiveBudget(GuestContext* context) const {
  const uint64_t portion = std::min<uint64_t>(run_.left, GuestContext::kPortion);
  context->remaining = static_cast<int32_t>(portion);
  context->reserve = run_.left - portion;
}

uint64_t TranslatorCore::RetiredIn(const GuestContext& context) const {
  const uint64_t given = run_.left - context.reserve;
  // Where only loops and ways to other pages count, what is given back may be more than what was taken. Less than
  // nothing remains of what is too short for the last block.
  const auto remaining = std::min(int64_t{context.remaining}, static_cast<int64_t>(given));
  return given - static_cast<uint64_t>(remaining);
}

InterpreterCore& TranslatorCore::interpreter() {
  interpreter_.set_retired_so_far(instructions_retired_.value() + run_.budget - run_.left);
  return interpreter_;
}

void TranslatorCore::SettleX87(GuestContext* context) {
  if (context->x87_live == 0) return;
  ReadFxsaveX87(std::span(context->x87_image).first<kFxsaveBytes>(), &context->state->x87);
  context->x87_live = 0;
}

uint64_t TranslatorCore::WithFlags(uint64_t rflags, uint64_t flags) {
  return (rflags & ~kStatusFlags) | kFlagsFixed | (flags & kStatusFlags);
}

// A part of each system call's way: what is not needed behind the call is not asked for before it.
inline CpuState* TranslatorCore::CallGate(GuestContext& context) {
  if (context.x87_live != 0) [[unlikely]]
    SettleX87(&context);
  CpuState& state = *context.state;
  state.rip = state.gpr[kRcx] = context.exit_pc;
  state.rflags = WithFlags(state.rflags, UnpackFlags(context.flags));
  context.r11 = state.gpr[kR11] = state.rflags & ~kFlagRF;
  const uint64_t retired = RetiredIn(context);
  if (gate_ == nullptr) [[unlikely]] {
    run_.left -= retired;
    context.leave = Leave::kSyscall;
    return nullptr;
  }
  const uint64_t since_last = run_.budget - run_.left + retired;
  instructions_retired_.Add(since_last);
  const uint64_t allowed = gate_->Call(since_last);
  run_ = {allowed, allowed, context.exit_pc};
  if (allowed == 0) [[unlikely]] {
    context.leave = Leave::kSyscall;
    return nullptr;
  }
  GiveBudget(&context);
  TakeBases(&context);
  if (FollowChanges(context)) [[likely]]
    return context.state;
  context.leave = Leave::kGoOn;
  return nullptr;
}

CpuState* TranslatorCore::CarryOutSyscall(GuestContext* context) {
  return static_cast<TranslatorCore*>(context->engine)->CallGate(*context);
}

void TranslatorCore::LearnBranch(GuestContext* context, const std::byte* site, uint64_t target) {
  auto* self = static_cast<TranslatorCore*>(context->engine);
  // Only what is code has a place there.
  const GuestContext::Target& place = context->targets[GuestContext::TargetIndex(target)];
  const bool known = place.translation != nullptr && place.pc == target;
  const TranslationCache::Learned learned =
      self->cache_->LearnBranch(site, known ? std::optional(target) : std::nullopt);
  if (learned.until_next == 0) return;
  context->arrivals(GuestContext::ArrivalIndex(learned.block)) = learned.until_next;
  self->host_bytes_.Add(learned.code.size());
  const BlockDumper* dumper = self->options_.dumper;
  if (!learned.code.empty() && dumper != nullptr && dumper->on_translated)
    dumper->on_translated(learned.block, *context->tlb, learned.code);
}

TranslatorCore::Next TranslatorCore::Settle(uint64_t* retired) {
  GuestContext& context = *bound_->context;
  CpuState& state = *context.state;
  uint64_t flags = UnpackFlags(context.flags);
  Next next = Next::kLookup;
  const auto left_from = [&](const std::byte* host) {
    // Usually the one that was left last time. Within this Run, so it is still there.
    if (last_left_ == nullptr || host < last_left_->code || host >= last_left_->code + last_left_->code_bytes)
      last_left_ = cache_->FindByHostAddress(host);
    CHECK_MSG(last_left_ != nullptr, "translated code left from where there is none");
    return last_left_;
  };
  const auto* const exit_host_pc = reinterpret_cast<const std::byte*>(context.exit_host_pc);
  const std::byte* const call = exit_host_pc - 1;  // which may end the block, if it was left by one
  const auto stop_at = [&](const std::byte* host, uint32_t (*index_in)(const GuestContext&, const Translation&)) {
    const Translation* translation = left_from(host);
    const uint32_t index = index_in(context, *translation);
    const Mark& mark = translation->marks()[index];
    state.rip = translation->AddressOf(index);
    if (context.leave != Leave::kLookup) state.gpr[kRsp] += static_cast<uint64_t>(int64_t{mark.stack_moved});
    // A branch that has been taken has given back what is behind it, where all are counted.
    const uint32_t unretired =
        context.leave == Leave::kLookup ? 1 : translation->charge - std::min<uint32_t>(translation->charge, index);
    *retired -= std::min<uint64_t>(*retired, unretired);
    next = context.leave == Leave::kNoAccess && !translation->alone ? Next::kAlone : Next::kInterpret;
    return &mark;
  };
  constexpr auto index_of_host = [](const GuestContext& left, const Translation& translation) {
    return translation.IndexOf(reinterpret_cast<const std::byte*>(left.exit_host_pc));
  };
  // Of the translation that was stopped in.
  const auto return_stand_ins = [&] {
    for (unsigned i = 0; i < last_left_->stand_ins.size(); ++i) {
      const uint8_t reg = last_left_->stand_ins[i];
      if (reg == kNoStandIn) continue;
      state.gpr[kR10 + i] = state.gpr[reg];
      state.gpr[reg] = context.lent[i];
    }
  };
  state.rip = context.exit_pc;
  switch (context.leave) {
    case Leave::kLookup:
      if (state.rip >= kUserTop) {
        // The branch itself faults, and so has not happened.
        const auto site = std::bit_cast<BranchSite>(context.branch_site);
        context.exit_host_pc = reinterpret_cast<uint64_t>(cache_->buffer().permanent()) + site.host_offset;
        stop_at(reinterpret_cast<const std::byte*>(context.exit_host_pc), index_of_host);
        if (site.popped) state.gpr[kRsp] -= sizeof(uint64_t);
      }
      break;
    case Leave::kGoOn:
    case Leave::kSyscall:
      break;
    case Leave::kShort:
      state.rip = left_from(call)->pc;
      *retired -= std::min<uint64_t>(*retired, last_left_->charge);
      break;
    case Leave::kDropped:
      state.rip = left_from(call)->pc;
      break;
    case Leave::kUnlinked: {
      int16_t behind;
      std::memcpy(&behind, exit_host_pc + Routines::kTargetBehindReturn, sizeof(behind));
      state.rip = left_from(call)->pc + static_cast<uint64_t>(int64_t{behind});
      break;
    }
    case Leave::kInterpret:
      next = Next::kInterpret;
      break;
    case Leave::kRepeat:
      next = Next::kRepeat;
      break;
    case Leave::kString:
      next = std::bit_cast<StringForm>(context.site).repeat == Repeat::kNone ? Next::kInterpret : Next::kRepeat;
      break;
    case Leave::kNoAccess:
      stop_at(exit_host_pc, [](const GuestContext& left, const Translation&) -> uint32_t {
        return std::bit_cast<AccessSite>(left.site).instruction;
      });
      return_stand_ins();
      break;
    case Leave::kTrap: {
      const Mark* mark = stop_at(exit_host_pc, index_of_host);
      if (!mark->flags_in_context) flags = context.trap_flags;
      if (mark->spilled != Mark::kNone) state.gpr[mark->spilled] = context.spill[0];
      return_stand_ins();
      break;
    }
  }
  state.rflags = WithFlags(state.rflags, flags);
  SettleX87(&context);
  return next;
}

Exit TranslatorCore::Run(CpuState& state, mm::Tlb& tlb, uint64_t budget, const std::atomic<uint32_t>& interrupt) {
  budget = std::min<uint64_t>(budget, INT64_MAX);
  run_ = {budget, budget, state.rip};
  Exit exit;
  last_left_ = nullptr;
  const auto interpret = [&](uint64_t instructions, const std::atomic<uint32_t>& flag = kNeverInterrupt) {
    exit = interpreter().Run(state, tlb, std::min(instructions, run_.left), flag);
    run_.left -= exit.instructions_retired;
    return exit.reason == ExitReason::kBudget;
  };
  // As many iterations as RCX says at most; where the repetition ends before, the interpreter has gone a little
  // further.
  constexpr uint64_t kMaxIterations = 4096;
  const auto repeat = [&] { return interpret(std::clamp<uint64_t>(state.gpr[kRcx], 1, kMaxIterations), interrupt); };
  bool alone = false;
  // Whether the last thing that happened can be followed by more.
  bool goes_on = true;
  if ((state.rflags & kFlagTF) == 0) {
    Bind(&state, &tlb);
    if (!traps_installed_) {
      // Not before: others take these signals over while a program starts.
      HostTraps::Install();
      traps_installed_ = true;
    }
    SetHostGsBase(bound_->context.get());
    bound_->context->interrupt = &interrupt;
  }
  while (goes_on) {
    if (run_.left == 0) {
      exit.reason = ExitReason::kBudget;
      break;
    }
    if (interrupt.load(std::memory_order_relaxed) != 0) {
      exit.reason = ExitReason::kInterrupt;
      break;
    }
    if ((state.rflags & kFlagTF) != 0) {
      goes_on = interpret(run_.left, interrupt);
      continue;
    }
    if (AwaitedAt(state.rip).pc == state.rip && FollowAwaited(state, tlb, interrupt, &exit)) {
      run_.left -= exit.instructions_retired;
      goes_on = exit.reason == ExitReason::kBudget;
      continue;
    }
    const Translation* translation = Find(state.rip, std::exchange(alone, false));
    if (std::exchange(found_cold_, false)) {
      // About what translating the block would take.
      constexpr uint64_t kColdInstructions = 2048;
      if (run_.left < kColdInstructions) {
        goes_on = interpret(run_.left, interrupt);
      } else {
        exit = interpreter().RunWholeBlocks(state, tlb, kColdInstructions, interrupt);
        run_.left -= exit.instructions_retired;
        goes_on = exit.reason == ExitReason::kBudget;
      }
    } else if (translation == nullptr) {
      // A fetch that fails, or no room: the interpreter reports the one, and gets by without the other.
      constexpr uint64_t kWhileWaiting = 1000;
      goes_on = interpret(kWhileWaiting, interrupt);
    } else if (translation->code == nullptr) {
      interpreted_.Add();
      goes_on = translation->repeats ? repeat() : interpret(1);
    } else if (translation->charge > run_.left) {
      // What is left is not worth finding its way about in the interpreter, where counts are not exact.
      if (!options_.optimizations.exact_count && run_.left < run_.budget)
        run_.left = 0;
      else
        goes_on = interpret(run_.left);
    } else {
      Enter(*translation);
      if (bound_->context->leave == Leave::kSyscall) {
        exit = Exit();
        exit.reason = ExitReason::kSyscall;
        break;
      }
      uint64_t retired = RetiredIn(*bound_->context);
      const Next next = Settle(&retired);
      run_.left -= retired;
      alone = next == Next::kAlone;
      if ((next == Next::kInterpret || next == Next::kRepeat) && run_.left > 0) {
        interpreted_.Add();
        goes_on = next == Next::kRepeat ? repeat() : interpret(1);
      }
    }
  }
  exit.instructions_retired = run_.budget - run_.left;
  if (exit.reason == ExitReason::kBudget && options_.optimizations.paths) NoteHotSpot(state.rip);
  // Who asks whether anything has happened must not hear that nothing has.
  if (exit.instructions_retired == 0 && exit.reason != ExitReason::kSyscall && state.rip != run_.first_pc)
    exit.instructions_retired = 1;
  instructions_retired_.Add(exit.instructions_retired);
  return exit;
}

Engine::Counters TranslatorCore::counters() const {
  return {.instructions = instructions_retired_.value(),
          .blocks_decoded = blocks_translated_.value(),
          .blocks_entered_slowly = lookups_.value(),
          .blocks_adopted = blocks_adopted_.value(),
          .paths_made_again = paths_made_again_.value(),
          .guest_bytes_translated = guest_bytes_.value(),
          .host_bytes_translated = host_bytes_.value()};
}

}  // namespace remora::cpu::translator

namespace remora::cpu {

bool TranslatorRunsHere() { return translator::HostCanTranslate(); }

std::unique_ptr<Engine> MakeTranslator(BlockCache* cache, TranslatorOptions options) {
  using translator::SharedTranslations;
  if (!TranslatorRunsHere()) return nullptr;
  auto* shared = static_cast<SharedTranslations*>(cache->Companion(
      [&](sync::Reclaimer* reclaimer) { return std::make_unique<SharedTranslations>(reclaimer, options); }));
  return std::make_unique<translator::TranslatorCore>(cache, shared->cache(), options);
}

}  // namespace remora::cpu
