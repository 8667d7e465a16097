#include "fs/positional_io.h"

#include <optional>

#include "base/mutex.h"

namespace remora::fs {
namespace {

// The bytes that a transfer moved, if any, or nothing to tell. A slow file's EAGAIN may come behind some.
std::optional<uint64_t> Moved(const ErrnoOr<uint64_t>& result, const mm::IoBuffer& buffer, uint64_t before) {
  if (result.ok()) return *result;
  if (buffer.transferred() != before) return buffer.transferred() - before;
  return std::nullopt;
}

ErrnoOr<uint64_t> ReadFile(File& file, mm::IoBuffer& to, const TransferPosition& where) {
  if (where.offset) return file.Read(to, *where.offset);
  if (!file.seekable()) return file.Read(to, 0);
  MutexLock lock(&file.position_mutex());
  const uint64_t position = file.position();  // before the transfer: a stream shared with the host moves by itself
  const uint64_t before = to.transferred();
  auto moved = file.Read(to, position);
  if (const auto n = Moved(moved, to, before)) file.set_position(position + *n);
  return moved;
}

ErrnoOr<uint64_t> AppendToFile(File& file, mm::IoBuffer& from, const TransferPosition& where) {
  uint64_t end = 0;
  if (where.offset) return file.Append(from, &end);
  MutexLock lock(&file.position_mutex());
  auto moved = file.Append(from, &end);
  if (moved.ok()) file.set_position(end);
  return moved;
}

ErrnoOr<uint64_t> WriteFile(File& file, mm::IoBuffer& from, const TransferPosition& where) {
  if (!file.seekable()) return file.Write(from, 0);
  if (where.append || file.append()) return AppendToFile(file, from, where);
  if (where.offset) return file.Write(from, *where.offset);
  MutexLock lock(&file.position_mutex());
  const uint64_t position = file.position();
  const uint64_t before = from.transferred();
  auto moved = file.Write(from, position);
  if (const auto n = Moved(moved, from, before)) file.set_position(position + *n);
  return moved;
}

}  // namespace

ErrnoOr<uint64_t> TransferAt(File& file, mm::IoBuffer& buffer, const TransferPosition& where) {
  return buffer.direction() == mm::IoBuffer::Direction::kFill ? ReadFile(file, buffer, where)
                                                              : WriteFile(file, buffer, where);
}

}  // namespace remora::fs
