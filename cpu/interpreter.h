#ifndef REMORA_CPU_INTERPRETER_H_
#define REMORA_CPU_INTERPRETER_H_

#include <memory>

#include "base/clock.h"
#include "base/entropy.h"
#include "cpu/block_cache.h"
#include "cpu/cpu_level.h"
#include "cpu/engine.h"

namespace remora::cpu {

struct InterpreterOptions {
  // What RDTSC counts: the host's time-stamp counter if `host_tsc`, else this clock's monotonic nanoseconds, else
  // (null) retired instructions.
  bool host_tsc = false;
  Clock* clock = nullptr;
  // What RDRAND and RDSEED give. Null: they say that there is nothing to be had, as a CPU may.
  Entropy* entropy = nullptr;
  // What CPUID tells and the decoders take.
  CpuLevel level = CpuLevel::kHost;
  // Fill in Counters::memory_accesses: one more op in each block.
  bool count_accesses = false;
};

// The reference engine: portable C++. See interpreter.cc for how a block runs.
//
// It remembers pc -> block for the TLBs that it last ran with, by their address and fetch_generation(): a Tlb given to
// Run must live as long as the engine, or be followed by no other at its address. Run belongs to one thread at a time,
// which the cache's Reclaimer knows to be online, and which passes a quiescent point only between two calls.
std::unique_ptr<Engine> MakeInterpreter(BlockCache* cache, InterpreterOptions options = {});

}  // namespace remora::cpu

#endif  // REMORA_CPU_INTERPRETER_H_
