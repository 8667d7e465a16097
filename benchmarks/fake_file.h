#ifndef REMORA_BENCHMARKS_FAKE_FILE_H_
#define REMORA_BENCHMARKS_FAKE_FILE_H_

#include <cstdint>
#include <functional>
#include <utility>

#include "base/errno_or.h"
#include "fs/file.h"
#include "fs/path.h"

namespace remora::benchmarks {

// A file for tables of descriptors: it is there, and its last close does what it is told to.
class FakeFile final : public fs::File {
 public:
  explicit FakeFile(std::function<void()> on_last_close = nullptr)
      : File(nullptr, fs::Path(), 0), on_last_close_(std::move(on_last_close)) {}
  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return Errno(EIO); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EIO); }
  void OnLastClose() override {
    if (on_last_close_) on_last_close_();
  }

 private:
  ~FakeFile() override = default;
  const std::function<void()> on_last_close_;
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_FAKE_FILE_H_
