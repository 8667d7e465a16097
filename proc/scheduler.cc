#include "proc/scheduler.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "base/check.h"

namespace remora::proc {

Scheduler::Scheduler(Clock* clock, uint32_t num_workers) : clock_(clock) {
  CHECK(num_workers > 0);
  for (uint32_t i = 0; i < num_workers; ++i) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->index = i;
  }
}

Scheduler::~Scheduler() {
  // Timers that are still armed; tasks are retired by then.
  std::vector<DeadlineTimer*> armed;
  {
    MutexLock lock(&mu_);
    CHECK_MSG(num_live_.load(std::memory_order_relaxed) == 0, "scheduler destroyed with living tasks");
    while (DeadlineNode* node = heap_.earliest()) {
      heap_.Remove(node);
      if (!node->is_task) armed.push_back(static_cast<DeadlineTimer*>(node->owner));
    }
  }
  for (DeadlineTimer* timer : armed) timer->Release();
}

void Scheduler::Add(Task& task) {
  task.AddRef();
  task.deadline_.owner = &task;
  task.deadline_.is_task = true;
  num_live_.fetch_add(1, std::memory_order_acq_rel);
  CHECK(task.run_state_.exchange(Task::RunState::kQueued, std::memory_order_seq_cst) == Task::RunState::kNew);
  MutexLock lock(&mu_);
  EnqueueLocked(task);
}

void Scheduler::EnqueueLocked(Task& task) {
  if (task.deadline_.queued()) heap_.Remove(&task.deadline_);
  AppendLocked(task);
  if (!EnoughComeLocked()) CallSomeIdleLocked(task.last_worker_);
}

void Scheduler::PromiseToCome(const Task& task) {
  Slot& slot = *slots_[task.last_worker_];
  // Where nobody is idle, nobody would be called.
  if (slot.promised_instructions != 0 || num_idle_.load(std::memory_order_relaxed) == 0) return;
  slot.promised_instructions = kPromisedInstructions;
  MutexLock lock(&mu_);
  ++num_promised_;
}

void Scheduler::EndPromiseLocked(Slot& slot) {
  if (slot.promised_instructions == 0) return;
  slot.promised_instructions = 0;
  --num_promised_;
}

void Scheduler::BreakPromise(Slot& slot) {
  MutexLock lock(&mu_);
  EndPromiseLocked(slot);
  if (!EnoughComeLocked()) CallSomeIdleLocked(head_->last_worker_);
}

void Scheduler::AppendLocked(Task& task) {
  task.next_ = nullptr;
  (tail_ ? tail_->next_ : head_) = &task;
  tail_ = &task;
  num_queued_.fetch_add(1, std::memory_order_relaxed);
}

Task* Scheduler::DequeueLocked() {
  Task* task = head_;
  if (task == nullptr) return nullptr;
  head_ = task->next_;
  if (head_ == nullptr) tail_ = nullptr;
  task->next_ = nullptr;
  num_queued_.fetch_sub(1, std::memory_order_relaxed);
  return task;
}

void Scheduler::CallLocked(Slot& slot) {
  slot.called = true;
  slot.called_cv.notify_one();
}

void Scheduler::CallSomeIdleLocked(uint32_t preferred) {
  if (num_idle_.load(std::memory_order_relaxed) == 0) return;
  Slot* chosen = preferred < slots_.size() && slots_[preferred]->idle && !slots_[preferred]->called
                     ? slots_[preferred].get()
                     : nullptr;
  for (auto& slot : slots_) {
    if (chosen != nullptr) break;
    if (slot->idle && !slot->called) chosen = slot.get();
  }
  if (chosen != nullptr) CallLocked(*chosen);
}

void Scheduler::NoteHeapChangedLocked() {
  const int64_t earliest = heap_.earliest_nanos();
  const bool earlier = earliest < next_deadline_.load(std::memory_order_relaxed);
  next_deadline_.store(earliest, std::memory_order_relaxed);
  if (!earlier) return;
  if (keeper_ != nullptr)
    CallLocked(*keeper_);
  else
    CallSomeIdleLocked(/*preferred=*/0);  // the heap was empty when they fell asleep: one of them minds it from now on
}

void Scheduler::Wake(Task& task) {
  using RunState = Task::RunState;
  RunState state = task.run_state_.load(std::memory_order_relaxed);
  for (;;) {
    // Even where nothing changes the state is written: the worker's own exchange then comes either before (and the
    // task parks no more without looking) or after (and sees what the waker did).
    RunState next = state;
    if (state == RunState::kParked) next = RunState::kQueued;
    if (state == RunState::kRunning) next = RunState::kRunningWoken;
    if (state == RunState::kNew || state == RunState::kDead) return;
    if (!task.run_state_.compare_exchange_weak(state, next, std::memory_order_seq_cst)) continue;
    if (state != RunState::kParked) return;
    break;
  }
  {
    MutexLock lock(&mu_);
    EnqueueLocked(task);
  }
  if (num_idle_.load(std::memory_order_relaxed) == 0) InterruptLongestSlice();
}

void Scheduler::Interrupt(Task& task) {
  if (std::atomic<uint32_t>* flag = task.running_on_.load(std::memory_order_seq_cst))
    flag->store(1, std::memory_order_seq_cst);
}

void Scheduler::InterruptLongestSlice() {
  Slot* longest = nullptr;
  int64_t start = INT64_MAX;
  for (auto& slot : slots_) {
    const int64_t s = slot->slice_start_nanos.load(std::memory_order_relaxed);
    if (s != 0 && s < start) {
      start = s;
      longest = slot.get();
    }
  }
  if (longest != nullptr && clock_->MonotonicNanos() - start >= kPreemptAfterNanos)
    longest->interrupt.store(1, std::memory_order_seq_cst);
}

void Scheduler::ArmTimer(DeadlineTimer& timer, int64_t deadline_nanos) {
  MutexLock lock(&mu_);
  timer.node_.owner = &timer;
  if (timer.node_.queued())
    heap_.Remove(&timer.node_);
  else
    timer.AddRef();
  heap_.Insert(&timer.node_, deadline_nanos);
  NoteHeapChangedLocked();
}

void Scheduler::CancelTimer(DeadlineTimer& timer) {
  {
    MutexLock lock(&mu_);
    if (!timer.node_.queued()) return;
    heap_.Remove(&timer.node_);
    NoteHeapChangedLocked();
  }
  timer.Release();
}

void Scheduler::RunDue(int64_t now_nanos) {
  if (now_nanos < next_deadline_.load(std::memory_order_relaxed)) return;
  for (;;) {
    Ref<DeadlineTimer> timer;
    {
      MutexLock lock(&mu_);
      while (heap_.earliest_nanos() <= now_nanos && !timer) {
        DeadlineNode* node = heap_.earliest();
        heap_.Remove(node);
        if (!node->is_task) {
          timer = Ref<DeadlineTimer>::Adopt(static_cast<DeadlineTimer*>(node->owner));
          continue;
        }
        // Parked: insertion and removal happen under this lock, and whoever wakes it meanwhile waits for the lock.
        Task& task = *static_cast<Task*>(node->owner);
        auto parked = Task::RunState::kParked;
        if (task.run_state_.compare_exchange_strong(parked, Task::RunState::kQueued, std::memory_order_seq_cst))
          EnqueueLocked(task);
      }
      next_deadline_.store(heap_.earliest_nanos(), std::memory_order_relaxed);
    }
    if (!timer) return;
    timer->OnDeadline();
  }
}

Task* Scheduler::Next(Slot& slot, sync::Reclaimer::Participant* participant, absl::FunctionRef<void()> before_sleep) {
  bool asleep = false;
  Task* task = nullptr;
  for (;;) {
    RunDue(clock_->MonotonicNanos());
    bool stop = false;
    {
      MutexLock lock(&mu_);
      const bool had_promised = slot.promised_instructions != 0;
      EndPromiseLocked(slot);
      task = DequeueLocked();
      // Where this worker's own task, put back, is in the queue too, somebody else has to come for one of the two.
      if (had_promised && !EnoughComeLocked()) CallSomeIdleLocked(head_->last_worker_);
      stop = stopping_;
      if (task == nullptr && !stop && asleep) {
        slot.idle = true;
        slot.called = false;
        num_idle_.fetch_add(1, std::memory_order_relaxed);
        if (keeper_ == nullptr) keeper_ = &slot;
        const int64_t deadline = heap_.earliest_nanos();
        // Exact from here on, so that an insertion knows whether the keeper sleeps too long.
        next_deadline_.store(deadline, std::memory_order_relaxed);
        const int64_t left = keeper_ != &slot || deadline == INT64_MAX
                                 ? INT64_MAX
                                 : std::max<int64_t>(deadline - clock_->MonotonicNanos(), 0);
        if (left == INT64_MAX)
          while (!slot.called) slot.called_cv.wait(mu_);
        else if (left != 0 && !slot.called)
          slot.called_cv.wait_for(mu_, std::chrono::nanoseconds(std::min<int64_t>(left, 3'600'000'000'000)));
        slot.idle = false;
        num_idle_.fetch_sub(1, std::memory_order_relaxed);
        if (keeper_ == &slot) {
          keeper_ = nullptr;
          // Somebody must mind the heap while this worker is busy.
          if (!heap_.empty() && num_idle_.load(std::memory_order_relaxed) != 0) CallSomeIdleLocked(slot.index);
        }
        task = DequeueLocked();
        stop = stopping_;
      }
    }
    if (task != nullptr || stop) break;
    if (!asleep) {
      before_sleep();
      participant->Offline();
      slot.slice_start_nanos.store(0, std::memory_order_relaxed);
      asleep = true;
    }
  }
  if (asleep) participant->Online();
  if (task == nullptr) return nullptr;
  const auto before = task->run_state_.exchange(Task::RunState::kRunning, std::memory_order_seq_cst);
  DCHECK(before == Task::RunState::kQueued);
  (void)before;
  task->last_worker_ = slot.index;
  num_switches_.fetch_add(1, std::memory_order_relaxed);
  return task;
}

bool Scheduler::Park(Task& task) {
  auto running = Task::RunState::kRunning;
  const int64_t deadline = task.park_deadline_nanos;
  task.voluntary_switches.fetch_add(1, std::memory_order_relaxed);
  if (deadline == Task::kNoDeadline) {
    if (task.run_state_.compare_exchange_strong(running, Task::RunState::kParked, std::memory_order_seq_cst))
      return true;
  } else if (clock_->MonotonicNanos() < deadline) {
    MutexLock lock(&mu_);
    heap_.Insert(&task.deadline_, deadline);
    if (task.run_state_.compare_exchange_strong(running, Task::RunState::kParked, std::memory_order_seq_cst)) {
      NoteHeapChangedLocked();
      return true;
    }
    heap_.Remove(&task.deadline_);
  }
  task.run_state_.exchange(Task::RunState::kRunning, std::memory_order_seq_cst);
  return false;
}

void Scheduler::Requeue(Task& task) {
  task.run_state_.exchange(Task::RunState::kQueued, std::memory_order_seq_cst);
  MutexLock lock(&mu_);
  if (head_ != nullptr) task.involuntary_switches.fetch_add(1, std::memory_order_relaxed);
  // Nobody is called: the worker itself comes for the next task.
  AppendLocked(task);
}

void Scheduler::Retire(Task& task) {
  task.run_state_.exchange(Task::RunState::kDead, std::memory_order_seq_cst);
  num_live_.fetch_sub(1, std::memory_order_acq_rel);
  task.Release();
}

void Scheduler::Stop() {
  MutexLock lock(&mu_);
  stopping_ = true;
  for (auto& slot : slots_) CallLocked(*slot);
}

uint32_t Scheduler::num_runnable() const {
  uint32_t running = 0;
  for (const auto& slot : slots_) running += slot->slice_start_nanos.load(std::memory_order_relaxed) != 0;
  return running + num_queued_.load(std::memory_order_relaxed);
}

}  // namespace remora::proc
