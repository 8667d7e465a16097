#ifndef REMORA_PROC_SYMBOLS_SYMBOLIZER_H_
#define REMORA_PROC_SYMBOLS_SYMBOLIZER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "mm/address_space.h"
#include "mm/frame_pool.h"
#include "mm/mappable.h"
#include "proc/symbols/symbol_table.h"

namespace remora::proc {

// Names guest code: which function of which mapped file an address lies in. For people and profilers: it reads files
// (of slow ones what has arrived) and keeps their tables.
// Thread safety: all methods from any thread that holds no lock.
class Symbolizer {
 public:
  explicit Symbolizer(mm::FramePool* frames) : frames_(*frames) {}

  struct Place {
    std::string function;             // empty: none that is known
    uint64_t offset_in_function = 0;  // bytes
    std::string file;                 // empty: no file is mapped there
    uint64_t offset_in_file = 0;
  };
  Place Find(const mm::AddressSpace& space, uint64_t pc);
  // "memcpy+0x12 (libc.so.6)", "libc.so.6+0x28490", "0x7f0012345000".
  std::string Describe(const mm::AddressSpace& space, uint64_t pc);

 private:
  struct Snapshot {
    uint64_t space_id = 0, generation = 0;
    std::vector<mm::MappingInfo> mappings;  // with an object, by address
  };
  std::optional<mm::MappingInfo> FindMapping(const mm::AddressSpace& space, uint64_t pc);
  std::shared_ptr<const SymbolTable> TableOf(mm::Mappable& object);

  mm::FramePool& frames_;
  Mutex mu_{LockRank::kLeaf};
  Snapshot last_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, std::shared_ptr<const SymbolTable>> tables_ ABSL_GUARDED_BY(mu_);  // by object_id
};

}  // namespace remora::proc

#endif  // REMORA_PROC_SYMBOLS_SYMBOLIZER_H_
