#include "runner/gdb_symbols.h"

#include <elf.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"

// The interface: names, layout and numbers are gdb's.
extern "C" {
struct jit_code_entry {
  jit_code_entry* next_entry;
  jit_code_entry* prev_entry;
  const char* symfile_addr;
  uint64_t symfile_size;
};
struct jit_descriptor {
  uint32_t version;
  uint32_t action_flag;
  jit_code_entry* relevant_entry;
  jit_code_entry* first_entry;
};
[[gnu::used, gnu::visibility("default")]] jit_descriptor __jit_debug_descriptor = {1, 0, nullptr, nullptr};
[[gnu::used, gnu::noinline, gnu::visibility("default")]] void __jit_debug_register_code() {
  // A place for a breakpoint, and a call that stays.
  asm volatile("" ::: "memory");
}
}  // extern "C"

namespace remora::runner {
namespace {

enum class Action : uint32_t { kNone = 0, kRegister = 1, kUnregister = 2 };

void TellGdb(Action action, jit_code_entry* entry) {
  __jit_debug_descriptor.action_flag = static_cast<uint32_t>(action);
  __jit_debug_descriptor.relevant_entry = entry;
  __jit_debug_register_code();
  __jit_debug_descriptor.action_flag = static_cast<uint32_t>(Action::kNone);
  __jit_debug_descriptor.relevant_entry = nullptr;
}

struct Piece {
  std::span<const std::byte> code;
  std::string name;
};

// An object file whose section of code is where the pieces are, without their bytes, which gdb reads there.
std::string ObjectFile(const std::vector<Piece>& pieces) {
  enum Section : uint16_t { kNone, kCode, kSymbols, kStrings, kSections };
  constexpr std::string_view kNames("\0.text\0.symtab\0.strtab\0", 23);
  constexpr uint32_t kNameOf[kSections] = {0, 1, 7, 15};
  const auto address_of = [](const std::byte* at) { return reinterpret_cast<uint64_t>(at); };
  const uint64_t first = address_of(pieces.front().code.data());
  const uint64_t end = address_of(pieces.back().code.data()) + pieces.back().code.size();

  std::string strings(kNames);
  std::vector<Elf64_Sym> symbols(1);  // the first one is none
  for (const Piece& piece : pieces) {
    symbols.push_back({.st_name = static_cast<uint32_t>(strings.size()),
                       .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                       .st_other = 0,
                       .st_shndx = kCode,
                       .st_value = address_of(piece.code.data()) - first,
                       .st_size = piece.code.size()});
    strings.append(piece.name).push_back('\0');
  }

  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_shoff = sizeof(Elf64_Ehdr);
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = kSections;
  header.e_shstrndx = kStrings;

  Elf64_Shdr sections[kSections] = {};
  for (uint16_t i = 0; i < kSections; ++i) sections[i].sh_name = kNameOf[i];
  sections[kCode].sh_type = SHT_NOBITS;
  sections[kCode].sh_flags = SHF_ALLOC | SHF_EXECINSTR;
  sections[kCode].sh_addr = first;
  sections[kCode].sh_size = end - first;
  sections[kSymbols].sh_type = SHT_SYMTAB;
  sections[kSymbols].sh_offset = sizeof(header) + sizeof(sections);
  sections[kSymbols].sh_size = symbols.size() * sizeof(Elf64_Sym);
  sections[kSymbols].sh_link = kStrings;
  sections[kSymbols].sh_info = 1;  // where globals begin
  sections[kSymbols].sh_entsize = sizeof(Elf64_Sym);
  sections[kStrings].sh_type = SHT_STRTAB;
  sections[kStrings].sh_offset = sections[kSymbols].sh_offset + sections[kSymbols].sh_size;
  sections[kStrings].sh_size = strings.size();

  std::string file;
  const auto append = [&file](const void* from, size_t bytes) { file.append(static_cast<const char*>(from), bytes); };
  append(&header, sizeof(header));
  append(sections, sizeof(sections));
  append(symbols.data(), symbols.size() * sizeof(Elf64_Sym));
  return file + strings;
}

}  // namespace

// On the list from its beginning to its end.
struct GdbSymbols::File {
  explicit File(std::vector<Piece> of) : pieces(std::move(of)), object(ObjectFile(pieces)) {
    jit_code_entry*& head = __jit_debug_descriptor.first_entry;
    entry = {.next_entry = head, .prev_entry = nullptr, .symfile_addr = object.data(), .symfile_size = object.size()};
    if (head != nullptr) head->prev_entry = &entry;
    head = &entry;
    TellGdb(Action::kRegister, &entry);
  }
  ~File() {
    (entry.prev_entry == nullptr ? __jit_debug_descriptor.first_entry : entry.prev_entry->next_entry) =
        entry.next_entry;
    if (entry.next_entry != nullptr) entry.next_entry->prev_entry = entry.prev_entry;
    TellGdb(Action::kUnregister, &entry);
  }
  const std::byte* begin() const { return pieces.front().code.data(); }
  const std::byte* end() const { return pieces.back().code.data() + pieces.back().code.size(); }

  std::vector<Piece> pieces;  // by address, at least one
  const std::string object;
  jit_code_entry entry;
};

Mutex GdbSymbols::mu_{LockRank::kLeaf};

GdbSymbols::GdbSymbols() = default;

GdbSymbols::~GdbSymbols() {
  MutexLock lock(&mu_);
  files_.clear();
}

size_t GdbSymbols::num_files() const {
  MutexLock lock(&mu_);
  return files_.size();
}

void GdbSymbols::Add(std::span<const std::byte> code, const std::string& name) {
  DCHECK(!code.empty());
  MutexLock lock(&mu_);
  Forget(code.data(), code.data() + code.size());
  Collect(Insert(std::make_unique<File>(std::vector<Piece>{{code, name}})));
}

GdbSymbols::Files::iterator GdbSymbols::Insert(std::unique_ptr<File> file) {
  const std::byte* const begin = file->begin();
  const auto [place, is_new] = files_.emplace(begin, std::move(file));
  CHECK(is_new);
  return place;
}

void GdbSymbols::Forget(const std::byte* first, const std::byte* end) {
  auto next = files_.upper_bound(first);
  if (next != files_.begin()) --next;
  while (next != files_.end() && next->first < end) {
    const auto file = next++;
    if (file->second->end() <= first) continue;
    // What lies before and behind goes into files of its own: a place between two pieces may be given away, too.
    std::vector<Piece> before, behind;
    for (Piece& piece : file->second->pieces) {
      if (piece.code.data() + piece.code.size() <= first)
        before.push_back(std::move(piece));
      else if (piece.code.data() >= end)
        behind.push_back(std::move(piece));
    }
    files_.erase(file);
    if (!before.empty()) Insert(std::make_unique<File>(std::move(before)));
    if (!behind.empty()) Insert(std::make_unique<File>(std::move(behind)));
  }
}

void GdbSymbols::Collect(Files::iterator last) {
  for (;;) {
    const size_t pieces = last->second->pieces.size();
    if (pieces >= kMostPieces) return;
    auto first = last;
    for (size_t files = 1; files < kTogether; ++files)
      if (first == files_.begin() || (--first)->second->pieces.size() != pieces) return;
    std::vector<Piece> all;
    const auto end = std::next(last);
    for (auto file = first; file != end; ++file) std::ranges::move(file->second->pieces, std::back_inserter(all));
    files_.erase(first, end);
    last = Insert(std::make_unique<File>(std::move(all)));
  }
}

}  // namespace remora::runner
