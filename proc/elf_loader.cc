#include "proc/elf_loader.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "mm/io_buffer.h"

namespace remora::proc {

namespace {

// Nobody may map below this: Linux's vm.mmap_min_addr.
constexpr uint64_t kLowestMapping = 65536;

// Where the image goes; nothing is mapped there then.
ErrnoOr<uint64_t> ChooseBias(mm::AddressSpace& space, const ElfImage& image, uint64_t base, std::string* diagnosis) {
  const uint64_t length = image.high - image.low;
  if (!image.position_independent) {
    if (image.low >= kLowestMapping) return uint64_t{0};
    if (diagnosis) *diagnosis = "wants to be loaded at address 0";
    return Errno(ENOEXEC);
  }
  const uint64_t alignment = std::min<uint64_t>(image.alignment, uint64_t{1} << 30);
  if (base != 0) {
    const uint64_t aligned = base & ~(alignment - 1);
    if (length <= kUserAddressEnd - aligned) return aligned - (image.low & ~(alignment - 1));
    return Errno(ENOMEM);
  }
  mm::MapRequest request;
  request.length_bytes = length + (alignment - kPageSize);
  if (request.length_bytes < length) return Errno(ENOMEM);
  const uint64_t reserved = request.length_bytes;
  REMORA_ASSIGN_OR_RETURN(const GuestAddr found, space.Map(std::move(request)));
  REMORA_RETURN_IF_ERROR(space.Unmap(found, reserved));
  const uint64_t start = (found.value() + alignment - 1) & ~(alignment - 1);
  return start - (image.low & ~(alignment - 1));
}

ErrnoOr<void> MapPiece(mm::AddressSpace& space, uint64_t start, uint64_t end, uint8_t protection,
                       const Ref<mm::Mappable>& object, uint64_t offset) {
  if (start >= end) return Ok();
  mm::MapRequest request;
  request.address = GuestAddr(start);
  request.length_bytes = end - start;
  request.placement = mm::MapRequest::Placement::kFixed;
  request.protection = mm::Protection(protection);
  request.object = object;
  request.deny_write = true;
  request.offset_bytes = offset;
  const ErrnoOr<GuestAddr> mapped = space.Map(std::move(request));
  if (!mapped.ok()) return mapped.error();
  return Ok();
}

ErrnoOr<void> MapSegment(mm::AddressSpace& space, const Ref<mm::Mappable>& object, const ElfImage::Segment& segment,
                         uint64_t bias) {
  const uint64_t start = segment.address + bias;
  const uint64_t file_end = start + segment.file_bytes;
  const uint64_t memory_end = start + segment.memory_bytes;
  uint64_t anonymous_start = PageRoundDown(start);
  if (segment.file_bytes != 0) {
    REMORA_RETURN_IF_ERROR(MapPiece(space, PageRoundDown(start), PageRoundUp(file_end), segment.protection, object,
                                    PageRoundDown(segment.offset)));
    anonymous_start = PageRoundUp(file_end);
    // The rest of the last file page is the beginning of .bss. Where it cannot be written nobody will miss the zeros,
    // as in Linux.
    if (memory_end > file_end && (segment.protection & mm::Protection::kWrite) != 0) {
      static constexpr std::array<std::byte, kPageSize> kZeros = {};
      // To the page's end, not only the segment's: ld.so's first malloc lives there and counts on zeros.
      const uint64_t tail = PageRoundUp(file_end) - file_end;
      // A slow host file: the exec is tried again when the page has come.
      if (tail != 0 && !space.IsReady(GuestAddr(file_end).page(), mm::Access::kWrite)) return Errno(EAGAIN);
      if (tail != 0 && space.WriteRemote(GuestAddr(file_end), std::span(kZeros).first(tail)) != tail)
        return Errno(ENOMEM);
    }
  }
  return MapPiece(space, anonymous_start, PageRoundUp(memory_end), segment.protection, nullptr, 0);
}

}  // namespace

ErrnoOr<uint64_t> ReadFileAt(fs::File& file, uint64_t offset, std::span<std::byte> to) {
  mm::KernelBuffer buffer(mm::IoBuffer::Direction::kFill, to);
  uint64_t done = 0;
  while (done < to.size()) {
    REMORA_ASSIGN_OR_RETURN(const uint64_t n, file.Read(buffer, offset + done));
    if (n == 0) break;
    done += n;
  }
  return done;
}

ErrnoOr<ElfImage> ReadElfImage(fs::File& file, std::span<const std::byte> start, std::string* diagnosis) {
  REMORA_ASSIGN_OR_RETURN(const fs::Attributes attributes, file.inode()->GetAttributes());
  REMORA_ASSIGN_OR_RETURN(const ElfImage::HeaderRange range,
                          ElfImage::FindProgramHeaders(start, attributes.size_bytes, diagnosis));
  std::vector<std::byte> headers(range.length_bytes);
  REMORA_ASSIGN_OR_RETURN(const uint64_t n, ReadFileAt(file, range.offset, headers));
  return ElfImage::Parse(start, std::span(headers).first(n), attributes.size_bytes, diagnosis);
}

ErrnoOr<MappedElf> MapElf(mm::AddressSpace& space, fs::File& file, const ElfImage& image, uint64_t base,
                          std::string* diagnosis) {
  REMORA_ASSIGN_OR_RETURN(const Ref<mm::Mappable> object, file.Mappable());
  MappedElf mapped;
  REMORA_ASSIGN_OR_RETURN(mapped.bias, ChooseBias(space, image, base, diagnosis));
  mapped.start_code = ~uint64_t{0};
  for (const ElfImage::Segment& segment : image.segments) {
    const ErrnoOr<void> done = MapSegment(space, object, segment, mapped.bias);
    if (!done.ok()) {
      if (diagnosis) *diagnosis = "has a segment that cannot be mapped";
      return done.error();
    }
    const uint64_t start = segment.address + mapped.bias;
    const uint64_t file_end = start + segment.file_bytes;
    mapped.start_code = std::min(mapped.start_code, start);
    mapped.start_data = std::max(mapped.start_data, start);
    if ((segment.protection & mm::Protection::kExec) != 0) mapped.end_code = std::max(mapped.end_code, file_end);
    mapped.end_data = std::max(mapped.end_data, file_end);
    mapped.end = std::max(mapped.end, start + segment.memory_bytes);
  }
  mapped.entry = image.entry + mapped.bias;
  if (image.headers_address) mapped.headers_address = *image.headers_address + mapped.bias;
  if (mapped.entry >= kUserAddressEnd) return Errno(ENOEXEC);
  return mapped;
}

}  // namespace remora::proc
