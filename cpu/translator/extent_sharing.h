#ifndef REMORA_CPU_TRANSLATOR_EXTENT_SHARING_H_
#define REMORA_CPU_TRANSLATOR_EXTENT_SHARING_H_

#include <array>
#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "cpu/translator/guest_context.h"

namespace remora::cpu::translator {

// Which extent a site gets that is known to begin in some run of pages: one that another site has which was translated
// shortly before, if that is in the same run. Code that is seldom run is much, and would need more extents than there
// are; but only neighbours, which mostly work on the same things, go on wanting the same run. (Sites that anybody
// shared with anybody took it from each other: two thirds of all misses.)
// Thread safety: none; one for each engine.
class ExtentSharing {
 public:
  // How far back a site looks, among those of its class and right, and how many may have one extent.
  static constexpr uint32_t kWindow = 8, kMaxSites = 32;

  // An extent of `size_class` that holds, or now gets, the run around `address`. `new_extent`: one of the class that
  // another site had longest ago. Nothing: the TLB does not know the address at once.
  std::optional<uint32_t> Choose(GuestContext* context, uint32_t size_class, bool write, uint64_t address,
                                 absl::FunctionRef<uint32_t()> new_extent);

 private:
  struct Given {
    uint32_t extent = 0;
    uint32_t num_sites = kMaxSites;  // until there is one
  };
  struct Window {
    std::array<Given, kWindow> given{};
    uint32_t next = 0;  // the oldest one
  };
  std::array<std::array<Window, kSizeClasses>, 2> windows_{};  // for reading, for writing
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_EXTENT_SHARING_H_
