#ifndef REMORA_CPU_TRANSLATOR_HOST_GS_BASE_H_
#define REMORA_CPU_TRANSLATOR_HOST_GS_BASE_H_

namespace remora::cpu::translator {

// The calling thread's base of GS, by which routines reach the GuestContext. Where the host's kernel lets nobody else
// set it (WRGSBASE) each change is a system call, which takes 10 µs under some hypervisors, a tenth of what a task runs
// for at a time. So the thread remembers what it was set to, and the same again does nothing.
// Whoever else changes it, on a thread that runs an engine, has it forgotten before the engine runs again.
// Thread safety: each thread has its own. Source: arch_prctl(2).
void SetHostGsBase(const void* base);
void ForgetHostGsBase();

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_HOST_GS_BASE_H_
