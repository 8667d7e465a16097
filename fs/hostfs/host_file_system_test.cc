#include "fs/hostfs/host_file_system.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "fs/file.h"
#include "fs/hostfs/host_inode.h"
#include "mm/memory_for_testing.h"

namespace remora::fs {
namespace {

using mm::IoBuffer;
using mm::KernelBuffer;
namespace stdfs = std::filesystem;

// The parameter: with openat2(2), or one openat(2) for each component.
class HostFileSystemTest : public ::testing::TestWithParam<bool> {
 protected:
  HostFileSystemTest() {
    std::string name = std::string(std::getenv("TEST_TMPDIR")) + "/hostfs.XXXXXX";
    outside_ = mkdtemp(name.data());
    inside_ = outside_ + "/inside";
    stdfs::create_directory(inside_);
    PutFile(outside_ + "/secret", "not for guests");
  }
  ~HostFileSystemTest() override { stdfs::remove_all(outside_); }

  Ref<HostFileSystem> Make(bool read_only = false, uint32_t max_cached_fds = 0) {
    HostFileSystem::Options options;
    options.directory = inside_;
    options.read_only = read_only;
    options.cacheable_lookups = read_only;
    options.allow_openat2 = GetParam();
    options.max_cached_fds = max_cached_fds;
    options.reclaimer = &memory_.reclaimer;
    options.stream = {&reactor_, anonymous_.get(), &memory_.context};
    auto fs = HostFileSystem::Create(options);
    EXPECT_TRUE(fs.ok());
    return *fs;
  }
  static void PutFile(const std::string& name, std::string_view content) {
    std::ofstream(name, std::ios::binary) << content;
  }
  static std::string HostContent(const std::string& name) {
    std::ifstream file(name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  static ErrnoOr<std::string> Read(File& file, uint64_t length, uint64_t offset = 0) {
    std::string text(length, '\0');
    KernelBuffer to(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text.data(), length)));
    REMORA_ASSIGN_OR_RETURN(const uint64_t n, file.Read(to, offset));
    text.resize(n);
    return text;
  }
  static ErrnoOr<uint64_t> Write(File& file, std::string_view text, uint64_t offset = 0) {
    KernelBuffer from(IoBuffer::Direction::kDrain,
                      std::as_writable_bytes(std::span(const_cast<char*>(text.data()), text.size())));
    return file.Write(from, offset);
  }
  static Inode::NewNode Node(uint32_t mode, std::string_view target = {}) {
    Inode::NewNode node;
    node.mode = mode;
    node.uid = geteuid();
    node.gid = getegid();
    node.symlink_target = target;
    return node;
  }
  static std::vector<std::string> Names(File& directory) {
    std::vector<std::string> names;
    EXPECT_TRUE(directory
                    .ReadDirectory(0,
                                   [&](const DirectoryEntry& e) {
                                     names.emplace_back(e.name);
                                     return true;
                                   })
                    .ok());
    std::sort(names.begin(), names.end());
    return names;
  }

  std::string outside_, inside_;
  HostClock clock_;
  HostReactor reactor_;
  Ref<AnonymousFiles> anonymous_ = MakeRef<AnonymousFiles>(&clock_);
  mm::MemoryForTesting memory_;
};

INSTANTIATE_TEST_SUITE_P(Openat2, HostFileSystemTest, ::testing::Bool());

TEST_P(HostFileSystemTest, AttributesAreTheHosts) {
  PutFile(inside_ + "/file", "12345");
  Ref<HostFileSystem> fs = Make(/*read_only=*/true);
  Ref<Inode> file = *fs->root()->Lookup("file");
  struct stat host;
  ASSERT_EQ(lstat((inside_ + "/file").c_str(), &host), 0);
  const Attributes a = *file->GetAttributes();
  EXPECT_EQ(a.inode_number, host.st_ino);
  EXPECT_EQ(a.mode, host.st_mode);
  EXPECT_EQ(a.size_bytes, 5u);
  EXPECT_EQ(a.num_links, host.st_nlink);
  EXPECT_EQ(a.uid, host.st_uid);
  EXPECT_EQ(a.modified.seconds, host.st_mtim.tv_sec);
  EXPECT_EQ(a.modified.nanos, host.st_mtim.tv_nsec);
  EXPECT_EQ(makedev(a.device_major, a.device_minor), host.st_dev);
}

TEST_P(HostFileSystemTest, NothingLeadsOutside) {
  stdfs::create_symlink("../secret", inside_ + "/up");
  stdfs::create_symlink(outside_ + "/secret", inside_ + "/absolute");
  stdfs::create_symlink("..", inside_ + "/parent");
  Ref<HostFileSystem> fs = Make();
  Ref<Inode> root = fs->root();
  for (const char* name : {"..", ".", "", "../secret", "a/b", "/etc"}) EXPECT_FALSE(root->Lookup(name).ok()) << name;
  // Symlinks are text for the VFS: they cannot be opened, nor looked through.
  for (const char* name : {"up", "absolute", "parent"}) {
    Ref<Inode> link = *root->Lookup(name);
    EXPECT_EQ(link->type(), uint32_t{S_IFLNK});
    EXPECT_EQ(link->Open(Path(), O_RDONLY).error_number(), ELOOP);
    EXPECT_EQ(link->Lookup("secret").error_number(), ENOTDIR);
  }
  EXPECT_EQ(*(*root->Lookup("up"))->ReadLink(), "../secret");
  for (const char* name : {"..", ".", "x/y", ""}) {
    EXPECT_FALSE(root->Create(name, Node(S_IFREG | 0644)).ok());
    EXPECT_FALSE(root->Create(name, Node(S_IFDIR | 0755)).ok());
  }
}

TEST_P(HostFileSystemTest, AFileReplacedByASymlinkIsNotFollowed) {
  PutFile(inside_ + "/file", "mine");
  stdfs::create_directory(inside_ + "/folder");
  PutFile(inside_ + "/folder/x", "x");
  Ref<HostFileSystem> fs = Make();
  Ref<Inode> file = *fs->root()->Lookup("file");
  Ref<Inode> folder = *fs->root()->Lookup("folder");
  stdfs::remove(inside_ + "/file");
  stdfs::create_symlink("../secret", inside_ + "/file");
  stdfs::rename(inside_ + "/folder", inside_ + "/moved");
  stdfs::create_symlink("..", inside_ + "/folder");
  EXPECT_EQ(file->Open(Path(), O_RDONLY).error_number(), ESTALE);
  EXPECT_EQ(file->GetAttributes().error_number(), ESTALE);
  EXPECT_FALSE(file->Truncate(0).ok());
  EXPECT_FALSE(folder->Lookup("secret").ok());
  EXPECT_EQ(HostContent(outside_ + "/secret"), "not for guests");
}

TEST_P(HostFileSystemTest, ReadsGoStraightToTheHost) {
  std::string content(200'000, '\0');
  std::mt19937 random(1);
  for (char& c : content) c = static_cast<char>(random());
  PutFile(inside_ + "/file", content);
  Ref<HostFileSystem> fs = Make(/*read_only=*/true);
  Ref<File> file = *(*fs->root()->Lookup("file"))->Open(Path(), O_RDONLY);
  EXPECT_EQ(*Read(*file, 300'000), content);
  EXPECT_EQ(*Read(*file, 100, 199'950), content.substr(199'950));
  EXPECT_EQ(*Read(*file, 100, 1'000'000), "");
  EXPECT_EQ(*file->SizeForSeek(), content.size());
  // What another host process changes is seen.
  PutFile(inside_ + "/file", "new");
  EXPECT_EQ(*Read(*file, 100), "new");
}

TEST_P(HostFileSystemTest, ReadOnlyRefusesEveryChange) {
  PutFile(inside_ + "/file", "x");
  Ref<HostFileSystem> fs = Make(/*read_only=*/true);
  Ref<Inode> root = fs->root();
  Ref<Inode> file = *root->Lookup("file");
  EXPECT_EQ(file->Open(Path(), O_RDWR).error_number(), EROFS);
  EXPECT_EQ(file->Truncate(0).error_number(), EROFS);
  EXPECT_EQ(root->Create("new", Node(S_IFREG | 0644)).error_number(), EROFS);
  EXPECT_EQ(root->Link("new", *file).error_number(), EROFS);
  EXPECT_EQ(root->Unlink("file", *file).error_number(), EROFS);
  EXPECT_EQ(root->Rename("file", *file, *root, "new", nullptr, 0).error_number(), EROFS);
  AttributeChange change;
  change.permissions = 0;
  EXPECT_EQ(file->SetAttributes(change).error_number(), EROFS);
  EXPECT_EQ(HostContent(inside_ + "/file"), "x");
}

TEST_P(HostFileSystemTest, DirectoriesReadAsTheHostsAndFromAnyPosition) {
  std::vector<std::string> expected = {".", ".."};
  for (int i = 0; i < 1500; ++i) {
    expected.push_back("a-name-that-takes-room-" + std::to_string(i));
    PutFile(inside_ + "/" + expected.back(), "");
  }
  std::sort(expected.begin(), expected.end());
  Ref<HostFileSystem> fs = Make();
  Ref<File> directory = *fs->root()->Open(Path(), O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(Names(*directory), expected);
  // A few at a time, as getdents64(2) with a small buffer does it.
  std::vector<std::string> names;
  std::vector<uint64_t> positions;
  uint64_t position = 0;
  while (true) {
    int taken = 0;
    ASSERT_TRUE(directory
                    ->ReadDirectory(position,
                                    [&](const DirectoryEntry& e) {
                                      if (taken == 7) return false;
                                      ++taken;
                                      names.emplace_back(e.name);
                                      positions.push_back(position);
                                      position = e.next_offset;
                                      return true;
                                    })
                    .ok());
    if (taken == 0) break;
  }
  // Back to a remembered position.
  std::string again;
  ASSERT_TRUE(directory
                  ->ReadDirectory(positions[700],
                                  [&](const DirectoryEntry& e) {
                                    again = e.name;
                                    return false;
                                  })
                  .ok());
  EXPECT_EQ(again, names[700]);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, expected);
  PutFile(inside_ + "/later", "");
  EXPECT_EQ(Names(*directory).size(), expected.size() + 1) << "a rewind sees what is new";
}

TEST_P(HostFileSystemTest, ANewFileMayBeWrittenWhateverItsPermissions) {
  Ref<HostFileSystem> fs = Make();
  Ref<Inode> inode = *fs->root()->Create("object", Node(S_IFREG | 0444));
  Ref<File> file = *inode->Open(Path(), O_RDWR);
  EXPECT_EQ(*Write(*file, "git"), 3u);
  EXPECT_EQ(HostContent(inside_ + "/object"), "git");
  EXPECT_EQ(inode->GetAttributes()->mode, S_IFREG | 0444u);
  EXPECT_EQ(fs->root()->Create("object", Node(S_IFREG | 0644)).error_number(), EEXIST);
}

TEST_P(HostFileSystemTest, AnOpenFileLivesOnWithoutItsName) {
  PutFile(inside_ + "/file", "still here");
  Ref<HostFileSystem> fs = Make();
  Ref<Inode> root = fs->root();
  Ref<Inode> inode = *root->Lookup("file");
  Ref<File> file = *inode->Open(Path(), O_RDWR);
  ASSERT_TRUE(root->Unlink("file", *inode).ok());
  EXPECT_EQ(*Read(*file, 100), "still here");
  EXPECT_EQ(inode->GetAttributes()->num_links, 0u);
  EXPECT_EQ(root->Lookup("file").error_number(), ENOENT);
  EXPECT_FALSE(stdfs::exists(inside_ + "/file"));
}

TEST_P(HostFileSystemTest, HardLinksAreOneInode) {
  PutFile(inside_ + "/one", "x");
  Ref<HostFileSystem> fs = Make();
  Ref<Inode> root = fs->root();
  Ref<Inode> one = *root->Lookup("one");
  ASSERT_TRUE(root->Link("two", *one).ok());
  EXPECT_EQ(*root->Lookup("two"), one);
  EXPECT_EQ(one->GetAttributes()->num_links, 2u);
  ASSERT_TRUE(root->Unlink("one", *one).ok());
  EXPECT_EQ(*Read(**one->Open(Path(), O_RDONLY), 10), "x");
}

TEST_P(HostFileSystemTest, RenamesOnBothSidesAreFollowed) {
  stdfs::create_directories(inside_ + "/a/b");
  PutFile(inside_ + "/a/b/file", "x");
  Ref<HostFileSystem> fs = Make(/*read_only=*/false, /*max_cached_fds=*/2);
  Ref<Inode> root = fs->root();
  Ref<Inode> a = *root->Lookup("a");
  Ref<Inode> b = *a->Lookup("b");
  Ref<Inode> file = *b->Lookup("file");
  ASSERT_TRUE(root->Rename("a", *a, *root, "z", nullptr, 0).ok());
  EXPECT_TRUE(file->GetAttributes().ok());
  ASSERT_TRUE(b->Rename("file", *file, *root, "file", nullptr, 0).ok());
  EXPECT_EQ(*Read(**file->Open(Path(), O_RDONLY), 10), "x");
  // By the host: found again as the same object.
  stdfs::rename(inside_ + "/z", inside_ + "/y");
  EXPECT_EQ(*root->Lookup("y"), a);
  EXPECT_EQ(*a->Lookup("b"), b);
  EXPECT_TRUE(b->GetAttributes().ok());
}

TEST_P(HostFileSystemTest, AttributesChange) {
  PutFile(inside_ + "/file", "x");
  Ref<HostFileSystem> fs = Make();
  Ref<Inode> file = *fs->root()->Lookup("file");
  AttributeChange change;
  change.permissions = 0600;
  change.modified = Timestamp{1234567, 89};
  ASSERT_TRUE(file->SetAttributes(change).ok());
  struct stat host;
  ASSERT_EQ(stat((inside_ + "/file").c_str(), &host), 0);
  EXPECT_EQ(host.st_mode & 07777, 0600u);
  EXPECT_EQ(host.st_mtim.tv_sec, 1234567);
  EXPECT_EQ(host.st_mtim.tv_nsec, 89);
  ASSERT_TRUE(file->Truncate(100).ok());
  EXPECT_EQ(file->GetAttributes()->size_bytes, 100u);
}

TEST_P(HostFileSystemTest, DescriptorsStayFew) {
  std::string path = inside_;
  for (int i = 0; i < 100; ++i) {
    stdfs::create_directory(inside_ + "/d" + std::to_string(i));
    PutFile(inside_ + "/d" + std::to_string(i) + "/file", std::to_string(i));
  }
  Ref<HostFileSystem> fs = Make(/*read_only=*/true, /*max_cached_fds=*/8);
  std::vector<Ref<Inode>> files;
  for (int i = 0; i < 100; ++i) files.push_back(*(*fs->root()->Lookup("d" + std::to_string(i)))->Lookup("file"));
  EXPECT_LE(fs->num_cached_fds(), 9u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(*Read(**files[i]->Open(Path(), O_RDONLY), 10), std::to_string(i));
  EXPECT_LE(fs->num_cached_fds(), 9u);
}

TEST_P(HostFileSystemTest, ALongChainOfParentsIsReleasedWithoutRecursion) {
  Ref<HostFileSystem> fs = Make();
  Ref<Inode> at = fs->root();
  const std::string name(200, 'd');
  for (int i = 0; i < 100; ++i) at = *at->Create(name, Node(S_IFDIR | 0755));
  EXPECT_GT(fs->num_inodes(), 100u);
  EXPECT_TRUE(at->Create("file", Node(S_IFREG | 0644)).ok()) << "deeper than PATH_MAX";
  at = nullptr;
  EXPECT_EQ(fs->num_inodes(), 0u);
}

TEST_P(HostFileSystemTest, MappedPagesFollowWritesAndReadsFollowThePages) {
  PutFile(inside_ + "/file", std::string(5000, 'a'));
  Ref<HostFileSystem> fs = Make();
  Ref<Inode> inode = *fs->root()->Lookup("file");
  Ref<File> file = *inode->Open(Path(), O_RDWR);
  {
    Ref<mm::Mappable> pages = *file->Mappable();
    const mm::FrameId frame = *pages->GetFrame(0, /*for_write=*/true);
    std::byte* data = memory_.frames.Data(frame);
    EXPECT_EQ(static_cast<char>(data[10]), 'a');
    EXPECT_EQ(*Write(*file, "W", 10), 1u);
    EXPECT_EQ(static_cast<char>(data[10]), 'W');
    EXPECT_EQ(HostContent(inside_ + "/file")[10], 'W');
    memory_.frames.PrepareWrite(frame);
    data[11] = std::byte{'S'};
    EXPECT_EQ(*Read(*file, 2, 10), "WS");
    EXPECT_TRUE(file->Sync().ok());
    EXPECT_EQ(HostContent(inside_ + "/file").substr(10, 2), "WS");
    EXPECT_EQ(HostContent(inside_ + "/file").size(), 5000u) << "never longer than it was";
    memory_.frames.Release(frame);
    ASSERT_TRUE(file->Truncate(100).ok());
    EXPECT_FALSE(pages->GetFrame(1, false).ok());
    EXPECT_EQ(*file->SizeForSeek(), 100u);
  }
}

TEST_P(HostFileSystemTest, PagesOfFilesThatWereMappedLongAgoGo) {
  Ref<HostFileSystem> fs = Make(/*read_only=*/true);
  const uint32_t most = fs->max_inodes_with_pages(), num_files = most + 300;
  std::vector<Ref<Inode>> inodes;
  const auto map = [&](uint32_t i) {
    const Ref<File> file = *inodes[i]->Open(Path(), O_RDONLY);
    Ref<mm::Mappable> pages = *file->Mappable();
    const mm::FrameId frame = *pages->GetFrame(0, /*for_write=*/false);
    EXPECT_EQ(static_cast<char>(*memory_.frames.Data(frame)), static_cast<char>('a' + i % 26));
    memory_.frames.Release(frame);
    return pages;
  };
  Ref<mm::Mappable> mapped;
  for (uint32_t i = 0; i < num_files; ++i) {
    const std::string name = "file" + std::to_string(i);
    PutFile(inside_ + "/" + name, std::string(10, static_cast<char>('a' + i % 26)));
    inodes.push_back(*fs->root()->Lookup(name));
    Ref<mm::Mappable> pages = map(i);
    if (i == 0) mapped = std::move(pages);
    // One that is mapped again and again is not among those of long ago.
    if (i > 1) map(1);
    memory_.reclaimer.Collect();
  }
  const auto has_pages = [&](uint32_t i) {
    bool dirty;
    return bool{static_cast<HostInode*>(inodes[i].get())->PagesIfAny(&dirty)};
  };
  uint32_t kept = 0;
  for (uint32_t i = 0; i < num_files; ++i) kept += has_pages(i);
  EXPECT_EQ(kept, most);
  EXPECT_TRUE(has_pages(0)) << "mapped";
  EXPECT_TRUE(has_pages(1));
  EXPECT_FALSE(has_pages(2));
  EXPECT_TRUE(has_pages(num_files - 1));
  map(2);
  EXPECT_TRUE(has_pages(2));
}

TEST_P(HostFileSystemTest, ManyMappedFilesDoNotUseUpTheHostsDescriptors) {
  constexpr int kFiles = 300;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  Ref<HostFileSystem> fs = Make(/*read_only=*/true);
  std::vector<Ref<Inode>> inodes;
  for (int i = 0; i < kFiles; ++i) {
    PutFile(inside_ + "/file" + std::to_string(i), "content");
    inodes.push_back(*fs->root()->Lookup("file" + std::to_string(i)));
  }
  // Lower than what the file system has been made for.
  rlimit low = before;
  low.rlim_cur = 100;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  for (int round = 0; round < 2; ++round)
    for (const Ref<Inode>& inode : inodes) {
      const auto file = inode->Open(Path(), O_RDONLY);
      ASSERT_TRUE(file.ok()) << file.error_number();
      EXPECT_TRUE((*file)->Mappable().ok());
    }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST_P(HostFileSystemTest, AMappingMadeAfterTheHostChangedTheFileShowsTheChange) {
  PutFile(inside_ + "/file", "old");
  Ref<HostFileSystem> fs = Make(/*read_only=*/true);
  Ref<File> file = *(*fs->root()->Lookup("file"))->Open(Path(), O_RDONLY);
  Ref<mm::Mappable> before = *file->Mappable();
  EXPECT_EQ(*file->Mappable(), before) << "shared as long as nothing changes";
  PutFile(inside_ + "/file", "newer");
  Ref<mm::Mappable> after = *file->Mappable();
  const mm::FrameId frame = *after->GetFrame(0, false);
  EXPECT_EQ(std::string_view(reinterpret_cast<char*>(memory_.frames.Data(frame)), 5), "newer");
  memory_.frames.Release(frame);
}

// Random operations through the file system, and the same ones on a model of names and contents; at the end the host's
// tree must be the model's.
TEST_P(HostFileSystemTest, RandomChangesMatchAModel) {
  Ref<HostFileSystem> fs = Make(/*read_only=*/false, /*max_cached_fds=*/4);
  Ref<Inode> root = fs->root();
  std::map<std::string, std::string> model;
  std::mt19937 random(5);
  const auto pick = [&] { return "n" + std::to_string(random() % 12); };
  for (int step = 0; step < 1500; ++step) {
    const std::string name = pick(), other = pick();
    auto found = root->Lookup(name);
    ASSERT_EQ(found.ok(), model.contains(name)) << step;
    switch (random() % 6) {
      case 0:
        ASSERT_EQ(root->Create(name, Node(S_IFREG | 0644)).ok(), !model.contains(name));
        model.try_emplace(name);
        break;
      case 1:
        if (!found.ok()) break;
        ASSERT_TRUE(root->Unlink(name, **found).ok());
        model.erase(name);
        break;
      case 2: {
        if (!found.ok()) break;
        const std::string text(random() % 5000, static_cast<char>('a' + random() % 26));
        const uint64_t at = random() % 3000;
        ASSERT_EQ(*Write(**(*found)->Open(Path(), O_WRONLY), text, at), text.size());
        std::string& content = model[name];
        if (!text.empty() && content.size() < at + text.size()) content.resize(at + text.size());
        content.replace(at <= content.size() ? at : 0, text.size(), text);
        break;
      }
      case 3: {
        if (!found.ok()) break;
        const uint64_t size = random() % 4000;
        ASSERT_TRUE((*found)->Truncate(size).ok());
        model[name].resize(size);
        break;
      }
      case 4: {
        if (!found.ok()) break;
        auto replaced = root->Lookup(other);
        ASSERT_TRUE(root->Rename(name, **found, *root, other, replaced.ok() ? replaced->get() : nullptr, 0).ok());
        if (name != other) {
          model[other] = model[name];
          model.erase(name);
        }
        break;
      }
      default:
        if (found.ok()) {
          ASSERT_EQ(*Read(**(*found)->Open(Path(), O_RDONLY), 20'000), model[name]);
        }
        break;
    }
  }
  std::vector<std::string> names = {".", ".."};
  for (const auto& [name, content] : model) {
    names.push_back(name);
    EXPECT_EQ(HostContent(inside_ + "/" + name), content);
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(Names(**root->Open(Path(), O_RDONLY)), names);
}

TEST_P(HostFileSystemTest, AHostFifoWaitsForItsWriterWithoutStallingAnybody) {
  const std::string name = inside_ + "/fifo";
  ASSERT_EQ(mkfifo(name.c_str(), 0600), 0);
  Ref<HostFileSystem> fs = Make(/*read_only=*/true);
  Ref<Inode> inode = *fs->root()->Lookup("fifo");
  Ref<File> reader = *inode->Open(Path(), O_RDONLY);
  EXPECT_TRUE(reader->open_pending());
  EXPECT_TRUE(reader->open_pending());
  const int writer = open(name.c_str(), O_WRONLY);
  ASSERT_GE(writer, 0);
  EXPECT_FALSE(reader->open_pending());
  EXPECT_EQ(Read(*reader, 10).error_number(), EAGAIN);
  ASSERT_EQ(write(writer, "hello", 5), 5);
  EXPECT_EQ(*Read(*reader, 10), "hello");
  close(writer);
  EXPECT_EQ(*Read(*reader, 10), "");
  Ref<File> another = *inode->Open(Path(), O_RDONLY | O_NONBLOCK);
  EXPECT_FALSE(another->open_pending());
  EXPECT_EQ(inode->Open(Path(), O_WRONLY | O_NONBLOCK).ok(), true) << "there are readers";
}

TEST(HostFileSystemCreateTest, SaysWhatIsWrong) {
  HostFileSystem::Options options;
  options.directory = "/no/such/place";
  const auto fs = HostFileSystem::Create(options);
  ASSERT_FALSE(fs.ok());
  EXPECT_NE(fs.status().ToString().find("/no/such/place"), std::string::npos);
}

}  // namespace
}  // namespace remora::fs
