#ifndef REMORA_CPU_TRANSLATOR_HOST_TRAPS_H_
#define REMORA_CPU_TRANSLATOR_HOST_TRAPS_H_

#include "cpu/translator/code_buffer.h"

namespace remora::cpu::translator {

// Where the host's CPU refuses a re-emitted instruction (division, an unmasked floating-point exception, a misaligned
// MOVAPS), the host's kernel raises a signal. One handler for the whole process, the only global state of Remora's:
// it looks whether the instruction lies in a registered CodeBuffer and, if so, sends the thread to `trap` with the
// address in R11. All else goes to whoever had the signal before; so does a page fault of the host in translated code,
// which would be a mistake of the translator.
//
// Registers the buffer while it lives. Thread safety: from any thread; Install may be called again at any time, and
// puts the handler back where somebody else has taken the signal over.
class HostTraps {
 public:
  HostTraps(const CodeBuffer* buffer, const void* trap);
  ~HostTraps();
  HostTraps(const HostTraps&) = delete;
  HostTraps& operator=(const HostTraps&) = delete;

  static void Install();

 private:
  int slot_ = -1;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_HOST_TRAPS_H_
