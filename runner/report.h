#ifndef REMORA_RUNNER_REPORT_H_
#define REMORA_RUNNER_REPORT_H_

#include <string>

#include "proc/kernel.h"
#include "proc/signal_types.h"
#include "proc/task.h"
#include "runner/options.h"
#include "syscalls/dispatcher.h"

namespace remora::runner {

// What --stats prints: instructions, blocks, TLB, the items' counters, syscalls by count and time, memory; since the
// kernel was made. May be asked from any thread while the guests run: figures of a worker come up to its last slice.
std::string StatsReport(StatsFormat format, const proc::Kernel& kernel, const syscalls::Dispatcher& dispatcher);

// One sentence for a process that an illegal instruction kills: who, where, which bytes. Empty for other faults.
std::string FatalFaultReport(proc::Task& task, const proc::SignalInfo& info);

}  // namespace remora::runner

#endif  // REMORA_RUNNER_REPORT_H_
