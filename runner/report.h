#ifndef REMORA_RUNNER_REPORT_H_
#define REMORA_RUNNER_REPORT_H_

#include <string>

#include "proc/kernel.h"
#include "proc/signal_types.h"
#include "proc/task.h"
#include "runner/options.h"
#include "syscalls/dispatcher.h"

namespace remora::runner {

// What --stats prints at the end: instructions, blocks, TLB, syscalls by count and time, memory.
std::string StatsReport(StatsFormat format, const proc::Kernel& kernel, const syscalls::Dispatcher& dispatcher);

// One sentence for a process that an illegal instruction kills: who, where, which bytes. Empty for other faults.
std::string FatalFaultReport(proc::Task& task, const proc::SignalInfo& info);

}  // namespace remora::runner

#endif  // REMORA_RUNNER_REPORT_H_
