#ifndef REMORA_MM_CODE_MAPPING_H_
#define REMORA_MM_CODE_MAPPING_H_

#include <cstdint>
#include <utility>

#include "base/guest_addr.h"

namespace remora::mm {

// A file's pages side by side in an address space, to be executed and never written there: what a program's or a
// library's code is. Whoever has it has the same frame at each of its pages as everybody else, so what is translated of
// one page may count on the others. See TlbSource::CodeMappingOf.
struct CodeMapping {
  uint64_t object = 0;  // Mappable::object_id(); 0: none of this
  uint64_t first_page_index = 0;
  PageRange pages{};

  bool valid() const { return object != 0; }
  bool Contains(uint64_t address) const { return valid() && pages.Contains(GuestAddr(address).page()); }
  friend bool operator==(const CodeMapping&, const CodeMapping&) = default;
  template <typename H>
  friend H AbslHashValue(H hash, const CodeMapping& mapping) {
    return H::combine(std::move(hash), mapping.object, mapping.first_page_index, mapping.pages.first.value(),
                      mapping.pages.end.value());
  }
};

}  // namespace remora::mm

#endif  // REMORA_MM_CODE_MAPPING_H_
