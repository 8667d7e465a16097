#include "proc/ipc/message_queue.h"

#include <list>
#include <random>
#include <utility>

#include "gtest/gtest.h"

namespace remora::proc {
namespace {

MessageQueue::Message Make(int64_t type, uint64_t length) {
  MessageQueue::Message message;
  message.type = type;
  message.length_bytes = length;
  message.bytes = std::make_unique<std::byte[]>(length);
  return message;
}

TEST(MessageQueueTest, RandomOperationsMatchAList) {
  std::mt19937 random(9);
  const fs::Credentials who;
  const Ref<MessageQueue> queue = MakeRef<MessageQueue>(IpcPermissions{.mode = 0666}, 0);
  std::list<std::pair<int64_t, uint64_t>> model;  // type, length
  uint64_t bytes = 0;
  for (int step = 0; step < 30'000; ++step) {
    if (random() % 2 == 0) {
      const auto type = static_cast<int64_t>(1 + random() % 6);
      const uint64_t length = random() % 3000;
      auto message = Make(type, length);
      const bool fits = bytes + length <= MessageQueue::kDefaultBytes;
      ASSERT_EQ(queue->Send(message, who, 1, 0).error_number(), fits ? 0 : EAGAIN);
      if (!fits) continue;
      model.emplace_back(type, length);
      bytes += length;
      continue;
    }
    MessageQueue::Wanted wanted;
    wanted.type = static_cast<int64_t>(random() % 13) - 6;
    wanted.except = wanted.type > 0 && random() % 3 == 0;
    wanted.may_cut = random() % 2 == 0;
    wanted.max_bytes = random() % 3000;
    auto chosen = model.end();
    for (auto it = model.begin(); it != model.end(); ++it) {
      const bool fits = wanted.type == 0 ||
                        (wanted.type < 0 ? it->first <= -wanted.type : (it->first == wanted.type) != wanted.except);
      if (fits && (chosen == model.end() || (wanted.type < 0 && it->first < chosen->first))) chosen = it;
    }
    const auto got = queue->Receive(wanted, who, 2, 0);
    if (chosen == model.end()) {
      ASSERT_EQ(got.error_number(), ENOMSG);
    } else if (chosen->second > wanted.max_bytes && !wanted.may_cut) {
      ASSERT_EQ(got.error_number(), E2BIG);
    } else {
      ASSERT_TRUE(got.ok());
      ASSERT_EQ(got->type, chosen->first);
      ASSERT_EQ(got->length_bytes, chosen->second);
      bytes -= chosen->second;
      model.erase(chosen);
    }
    ASSERT_EQ(queue->facts().num_bytes, bytes);
    ASSERT_EQ(queue->facts().num_messages, model.size());
  }
  queue->MarkRemoved();
  EXPECT_EQ(queue->Receive({}, who, 1, 0).error_number(), EIDRM);
}

}  // namespace
}  // namespace remora::proc
