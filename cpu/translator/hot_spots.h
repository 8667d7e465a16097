#ifndef REMORA_CPU_TRANSLATOR_HOT_SPOTS_H_
#define REMORA_CPU_TRANSLATOR_HOT_SPOTS_H_

#include <array>
#include <cstdint>

namespace remora::cpu::translator {

// Finds out where guest code spends its time, by where it is at the end of each slice. An approximation: of addresses
// that share a place the one that is found there most often is counted.
//
// Thread safety: one instance for each engine.
class HotSpots {
 public:
  // How often an address has to be found.
  static constexpr uint32_t kTimes = 4;

  // Guest code was found at `pc`. True each time that it has been found there often.
  bool Note(uint64_t pc) {
    Place& place = PlaceOf(pc);
    if (place.pc != pc) {
      if (place.times > 0) {
        --place.times;
        return false;
      }
      place = {.pc = pc};
    }
    if (place.dismissed || ++place.times < kTimes) return false;
    place.times = 0;
    return true;
  }
  // `pc`, which was found last, is nothing that could be made faster. (Until another address takes its place.)
  void Dismiss(uint64_t pc) {
    Place& place = PlaceOf(pc);
    if (place.pc == pc) place = {.pc = pc, .dismissed = true};
  }

 private:
  struct Place {
    uint64_t pc = 0;
    uint32_t times = 0;
    bool dismissed = false;
  };
  static constexpr uint32_t kPlaces = 1024;

  Place& PlaceOf(uint64_t pc) { return places_[(pc ^ pc >> 10) % kPlaces]; }

  std::array<Place, kPlaces> places_{};
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_HOT_SPOTS_H_
