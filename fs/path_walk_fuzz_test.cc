// Hostile path strings over trees with symlinks and mounts, beside a slow model walk (fs/path_driver_for_testing.h).
//
// The input is a list of steps: one byte for what, then strings, each a length byte and as many characters. Characters
// are mapped to few, so that paths meet.

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "fs/path_driver_for_testing.h"

namespace {

class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return at_ >= size_; }
  uint8_t Byte() { return empty() ? 0 : data_[at_++]; }
  std::string Path() {
    constexpr char kAlphabet[] = "//..abcd/./../ll";
    std::string path;
    size_t length = Byte();
    // Now and then long ones: a component of more than 255 bytes, a path of more than 4095.
    const size_t repeat = length >= 250 ? 300 : 1;
    length %= 24;
    for (size_t i = 0; i < length; ++i) {
      const uint8_t byte = Byte();
      path.append(byte == 255 ? repeat : 1, byte >= 250 ? static_cast<char>(1 + byte % 126) : kAlphabet[byte % 16]);
    }
    return path;
  }
  // A component.
  std::string Name() {
    std::string name = Path();
    std::erase(name, '/');
    return name.empty() || name == "." || name == ".." ? "a" : name;
  }

 private:
  const uint8_t* const data_;
  const size_t size_;
  size_t at_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  remora::fs::PathDriver driver;
  Reader in(data, size);
  while (!in.empty()) {
    const uint8_t what = in.Byte();
    const std::string path = in.Path();
    switch (what % 8) {
      case 0:
        driver.Make(path, in.Name(), S_IFDIR, "");
        break;
      case 1:
        driver.Make(path, in.Name(), S_IFREG, "");
        break;
      case 2: {
        const std::string name = in.Name();
        driver.Make(path, name, S_IFLNK, in.Path());
        break;
      }
      case 3:
        driver.Remove(path, in.Name(), (what & 8) != 0);
        break;
      case 4: {
        const std::string name = in.Name(), to = in.Path();
        driver.Rename(path, name, to, in.Name());
        break;
      }
      case 5:
        if ((what & 8) != 0)
          driver.Mount(path);
        else
          driver.Unmount(path);
        break;
      default:
        driver.Resolve(path, (what & 8) != 0);
    }
    driver.Quiesce();
  }
  driver.CheckInvariants();
  return 0;
}
