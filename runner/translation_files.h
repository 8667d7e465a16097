#ifndef REMORA_RUNNER_TRANSLATION_FILES_H_
#define REMORA_RUNNER_TRANSLATION_FILES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/seeded_entropy.h"
#include "cpu/translator/stored_page.h"
#include "cpu/translator/translation_store.h"

namespace remora::runner {

// --translations=DIR: the folder in which translations outlive a run. It holds images (TranslationStore), a file each,
// and the seed of the address layout: translations hold at one address, so code has to be where it was.
//
// An image is written under another name first, and never changed. A run that has new translations writes one, together
// with what is in images that are not much larger, and removes those: so what is written is a few times what is new.
// Runs side by side may all write the same; where there are more than kMaxImages the smallest become one, which has it
// once. Where images take more than kMaxBytes, those go that were not used for the longest time.
//
// Whoever can write to the folder can run code of his in the next run: folder and files have to be the caller's own,
// nobody else's to write, and out of the guest's reach. Of this run's guest, that is: who lets one write to the folder,
// or to what leads there, has to clear it away before a later run.
// Thread safety: none.
class TranslationFiles {
 public:
  static constexpr uint64_t kMaxBytes = uint64_t{512} << 20;
  static constexpr size_t kMaxImages = 4;  // of the same settings

  // Makes the folder if need be, and opens what is in it. `settings`: as TranslationStore. `guests_own`: folders of the
  // host that the guest may write to. FailedPrecondition with a sentence where it cannot be used.
  static absl::StatusOr<std::unique_ptr<TranslationFiles>> Open(const std::string& folder, uint64_t settings,
                                                                std::span<const std::string> guests_own = {});
  // Likewise where the user has named no folder: remora in $XDG_CACHE_HOME, else in ~/.cache, which is made if need be.
  // Null where that cannot be used, or is not the caller's own (HOME with sudo(8)), or lies on a file system that other
  // machines share: what these take away while it is mapped ends the run. Source: the XDG base directory specification.
  static std::unique_ptr<TranslationFiles> OpenUsual(uint64_t settings, std::span<const std::string> guests_own);
  ~TranslationFiles();
  TranslationFiles(const TranslationFiles&) = delete;
  TranslationFiles& operator=(const TranslationFiles&) = delete;

  cpu::translator::TranslationStore* store() { return &*store_; }
  // For proc::Kernel::Options::layout_entropy: the same numbers in each run.
  Entropy* layout_entropy() { return &*layout_entropy_; }
  // Writes what is new, if that is worth a file. When no engine runs any more.
  absl::Status Save();

 private:
  struct Image {
    std::string name;
    std::span<const std::byte> bytes;
  };

  explicit TranslationFiles(std::string folder) : folder_(std::move(folder)) {}
  absl::Status OpenFolder();
  absl::StatusOr<uint64_t> ReadSeed();
  void ReadImages();
  // Under another name first. `replace`: also where there is one of that name, which else stays.
  absl::Status Write(const std::string& name, bool replace,
                     absl::FunctionRef<void(cpu::translator::ByteSink sink)> produce);
  void RemoveOldest();
  absl::Status Failure(const std::string& name) const;  // by errno

  const std::string folder_;
  uint64_t settings_ = 0;  // the seed is one of them
  int folder_fd_ = -1;
  std::optional<SeededEntropy> layout_entropy_;
  std::vector<Image> images_;  // the smallest first
  std::optional<cpu::translator::TranslationStore> store_;
};

// What tells this program from one that was built otherwise: its build ID, which the linker made. Empty: it has none.
std::span<const std::byte> BuildId();

}  // namespace remora::runner

#endif  // REMORA_RUNNER_TRANSLATION_FILES_H_
