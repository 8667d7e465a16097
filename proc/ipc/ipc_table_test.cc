#include "proc/ipc/ipc_table.h"

#include <map>
#include <random>

#include "gtest/gtest.h"

namespace remora::proc {
namespace {

class Thing final : public RefCounted {
 public:
  explicit Thing(IpcTable<Thing>* table) : table_(table) {}
  void SetId(int32_t id) { id_ = id; }
  int32_t id() const { return id_; }

 private:
  ~Thing() override { table_->Forget(id_, this); }
  IpcTable<Thing>* const table_;
  int32_t id_ = -1;
};

TEST(IpcTableTest, AWeaklyHeldObjectIsFoundUntilItGoes) {
  IpcTable<Thing> table(10);
  Ref<Thing> thing = MakeRef<Thing>(&table);
  const int32_t id = *table.Insert(7, thing);
  EXPECT_EQ(table.FindKey(7).get(), thing.get());
  table.Weaken(id);
  EXPECT_FALSE(table.FindKey(7));
  EXPECT_EQ(table.Find(id).get(), thing.get());
  thing.reset();
  EXPECT_FALSE(table.Find(id));
  EXPECT_EQ(table.num_objects(), 0u);
  EXPECT_NE(*table.Insert(7, MakeRef<Thing>(&table)), id);
}

TEST(IpcTableTest, PermissionsFollowTheFirstClassThatFits) {
  IpcPermissions permissions{.uid = 1, .gid = 2, .creator_uid = 1, .creator_gid = 2, .mode = 0640};
  fs::Credentials owner, member, other;
  owner.euid = 1, member.euid = 5, other.euid = 6;
  owner.egid = owner.fsgid = other.egid = other.fsgid = 9;
  member.egid = 2;
  EXPECT_TRUE(permissions.Allows(owner, 0600));
  EXPECT_TRUE(permissions.Allows(member, 0444));
  EXPECT_FALSE(permissions.Allows(member, 0222));
  EXPECT_FALSE(permissions.Allows(other, 0444));
  EXPECT_TRUE(permissions.Allows(other, 0));
  EXPECT_TRUE(permissions.Owns(owner));
  EXPECT_FALSE(permissions.Owns(member));
}

TEST(IpcTableTest, BehavesAsTwoMaps) {
  constexpr uint32_t kMax = 20;
  IpcTable<Thing> table(kMax);
  std::map<int32_t, Ref<Thing>> by_id;
  std::map<int32_t, int32_t> by_key;
  std::mt19937 random(2);
  for (int step = 0; step < 20'000; ++step) {
    const auto key = static_cast<int32_t>(random() % 15);
    switch (random() % 3) {
      case 0: {
        const Ref<Thing> thing = MakeRef<Thing>(&table);
        const auto id = table.Insert(key, thing);
        const int expected = key != 0 && by_key.contains(key) ? EEXIST : by_id.size() == kMax ? ENOSPC : 0;
        ASSERT_EQ(id.ok() ? 0 : id.error_number(), expected);
        if (!id.ok()) break;
        ASSERT_FALSE(by_id.contains(*id));
        by_id[*id] = thing;
        if (key != 0) by_key[key] = *id;
        break;
      }
      case 1: {
        const auto found = by_key.find(key);
        const Ref<Thing> thing = table.FindKey(key);
        ASSERT_EQ(thing.get(), found == by_key.end() ? nullptr : by_id[found->second].get());
        break;
      }
      default: {
        if (by_id.empty()) break;
        auto chosen = by_id.begin();
        std::advance(chosen, random() % by_id.size());
        const int32_t id = chosen->first;
        ASSERT_EQ(table.Find(id).get(), chosen->second.get());
        ASSERT_EQ(table.At(id % IpcTable<Thing>::kSlots).get(), chosen->second.get());
        table.Remove(id);
        std::erase_if(by_key, [id](const auto& entry) { return entry.second == id; });
        by_id.erase(chosen);
        ASSERT_FALSE(table.Find(id));
      }
    }
    ASSERT_EQ(table.num_objects(), by_id.size());
  }
  for (auto& [id, thing] : by_id) table.Remove(id);
}

}  // namespace
}  // namespace remora::proc
