#ifndef REMORA_BASE_ABI_SIGNAL_H_
#define REMORA_BASE_ABI_SIGNAL_H_

#include <cstddef>
#include <cstdint>

// Signals: numbers, sigaction(2), siginfo_t, sigaltstack(2), and the frame that a handler is entered with.
namespace remora::abi {

inline constexpr int32_t kSIGHUP = 1;
inline constexpr int32_t kSIGINT = 2;
inline constexpr int32_t kSIGQUIT = 3;
inline constexpr int32_t kSIGILL = 4;
inline constexpr int32_t kSIGTRAP = 5;
inline constexpr int32_t kSIGABRT = 6;
inline constexpr int32_t kSIGBUS = 7;
inline constexpr int32_t kSIGFPE = 8;
inline constexpr int32_t kSIGKILL = 9;
inline constexpr int32_t kSIGUSR1 = 10;
inline constexpr int32_t kSIGSEGV = 11;
inline constexpr int32_t kSIGUSR2 = 12;
inline constexpr int32_t kSIGPIPE = 13;
inline constexpr int32_t kSIGALRM = 14;
inline constexpr int32_t kSIGTERM = 15;
inline constexpr int32_t kSIGSTKFLT = 16;
inline constexpr int32_t kSIGCHLD = 17;
inline constexpr int32_t kSIGCONT = 18;
inline constexpr int32_t kSIGSTOP = 19;
inline constexpr int32_t kSIGTSTP = 20;
inline constexpr int32_t kSIGTTIN = 21;
inline constexpr int32_t kSIGTTOU = 22;
inline constexpr int32_t kSIGURG = 23;
inline constexpr int32_t kSIGXCPU = 24;
inline constexpr int32_t kSIGXFSZ = 25;
inline constexpr int32_t kSIGVTALRM = 26;
inline constexpr int32_t kSIGPROF = 27;
inline constexpr int32_t kSIGWINCH = 28;
inline constexpr int32_t kSIGIO = 29;
inline constexpr int32_t kSIGPWR = 30;
inline constexpr int32_t kSIGSYS = 31;
inline constexpr int32_t kSIGRTMIN = 32;  // the kernel's; glibc keeps two for itself
inline constexpr int32_t kSIGRTMAX = 64;

inline constexpr uint64_t kSIG_DFL = 0;
inline constexpr uint64_t kSIG_IGN = 1;

// rt_sigprocmask(2).
inline constexpr int32_t kSIG_BLOCK = 0;
inline constexpr int32_t kSIG_UNBLOCK = 1;
inline constexpr int32_t kSIG_SETMASK = 2;

inline constexpr uint64_t kSA_NOCLDSTOP = 0x00000001;
inline constexpr uint64_t kSA_NOCLDWAIT = 0x00000002;
inline constexpr uint64_t kSA_SIGINFO = 0x00000004;
inline constexpr uint64_t kSA_UNSUPPORTED = 0x00000400;
inline constexpr uint64_t kSA_EXPOSE_TAGBITS = 0x00000800;
inline constexpr uint64_t kSA_RESTORER = 0x04000000;
inline constexpr uint64_t kSA_ONSTACK = 0x08000000;
inline constexpr uint64_t kSA_RESTART = 0x10000000;
inline constexpr uint64_t kSA_NODEFER = 0x40000000;
inline constexpr uint64_t kSA_RESETHAND = 0x80000000;

// struct sigaction as rt_sigaction(2) takes it: the kernel's, not glibc's.
struct Sigaction {
  uint64_t handler;
  uint64_t flags;
  uint64_t restorer;
  uint64_t mask;
};
static_assert(sizeof(Sigaction) == 32);

// stack_t.
struct SigaltStack {
  uint64_t ss_sp;
  int32_t ss_flags;
  int32_t padding0;
  uint64_t ss_size;
};
static_assert(sizeof(SigaltStack) == 24);
inline constexpr int32_t kSS_ONSTACK = 1;
inline constexpr int32_t kSS_DISABLE = 2;
inline constexpr int32_t kSS_AUTODISARM = static_cast<int32_t>(1u << 31);
inline constexpr uint64_t kMINSIGSTKSZ = 2048;

// si_code.
inline constexpr int32_t kSI_USER = 0;
inline constexpr int32_t kSI_KERNEL = 0x80;
inline constexpr int32_t kSI_QUEUE = -1;
inline constexpr int32_t kSI_TIMER = -2;
inline constexpr int32_t kSI_MESGQ = -3;
inline constexpr int32_t kSI_ASYNCIO = -4;
inline constexpr int32_t kSI_SIGIO = -5;
inline constexpr int32_t kSI_TKILL = -6;
inline constexpr int32_t kILL_ILLOPC = 1;
inline constexpr int32_t kILL_ILLOPN = 2;
inline constexpr int32_t kILL_PRVOPC = 5;
inline constexpr int32_t kFPE_INTDIV = 1;
inline constexpr int32_t kFPE_INTOVF = 2;
inline constexpr int32_t kFPE_FLTDIV = 3;
inline constexpr int32_t kFPE_FLTOVF = 4;
inline constexpr int32_t kFPE_FLTUND = 5;
inline constexpr int32_t kFPE_FLTRES = 6;
inline constexpr int32_t kFPE_FLTINV = 7;
inline constexpr int32_t kFPE_FLTSUB = 8;
inline constexpr int32_t kSEGV_MAPERR = 1;
inline constexpr int32_t kSEGV_ACCERR = 2;
inline constexpr int32_t kBUS_ADRALN = 1;
inline constexpr int32_t kBUS_ADRERR = 2;
inline constexpr int32_t kBUS_OBJERR = 3;
inline constexpr int32_t kTRAP_BRKPT = 1;
inline constexpr int32_t kTRAP_TRACE = 2;
inline constexpr int32_t kCLD_EXITED = 1;
inline constexpr int32_t kCLD_KILLED = 2;
inline constexpr int32_t kCLD_DUMPED = 3;
inline constexpr int32_t kCLD_TRAPPED = 4;
inline constexpr int32_t kCLD_STOPPED = 5;
inline constexpr int32_t kCLD_CONTINUED = 6;

// siginfo_t. No member has a name of <signal.h>, whose si_pid and its kin are macros.
struct Siginfo {
  struct Kill {  // SI_USER, SI_TKILL
    int32_t pid;
    uint32_t uid;
  };
  struct Queue {  // SI_QUEUE, SI_MESGQ
    int32_t pid;
    uint32_t uid;
    uint64_t value;
  };
  struct Timer {  // SI_TIMER
    int32_t timer_id;
    int32_t overrun;
    uint64_t value;
  };
  struct Child {  // SIGCHLD
    int32_t pid;
    uint32_t uid;
    int32_t status;
    int32_t padding;
    int64_t utime;  // ticks of 1/100 s
    int64_t stime;
  };
  struct FaultInfo {  // SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP
    uint64_t address;
    int16_t address_lsb;
    int16_t padding[3];
  };
  struct PollInfo {  // SIGIO
    int64_t band;
    int32_t fd;
    int32_t padding;
  };

  int32_t signo;
  int32_t error;  // si_errno
  int32_t code;
  int32_t padding0;
  union {
    Kill kill;
    Queue queue;
    Timer timer;
    Child child;
    FaultInfo fault;
    PollInfo poll;
    uint8_t bytes[112];
  };
};
static_assert(sizeof(Siginfo) == 128);
static_assert(offsetof(Siginfo, kill) == 16);
static_assert(offsetof(Siginfo, child.status) == 24);
static_assert(offsetof(Siginfo, child.utime) == 32);

// struct sigcontext.
struct Sigcontext {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp;
  uint64_t rip;
  uint64_t eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err;
  uint64_t trapno;
  uint64_t oldmask;
  uint64_t cr2;
  uint64_t fpstate;  // address of the FxsaveArea in the frame, 64-byte aligned
  uint64_t reserved1[8];
};
static_assert(sizeof(Sigcontext) == 256);
static_assert(offsetof(Sigcontext, rip) == 128);
static_assert(offsetof(Sigcontext, fpstate) == 184);

// ucontext_t.
struct Ucontext {
  uint64_t uc_flags;
  uint64_t uc_link;
  SigaltStack uc_stack;
  Sigcontext uc_mcontext;
  uint64_t uc_sigmask;
};
static_assert(sizeof(Ucontext) == 304);
static_assert(offsetof(Ucontext, uc_mcontext) == 40);
inline constexpr uint64_t kUC_FP_XSTATE = 1;          // fpstate is followed by XSAVE data and ends in FP_XSTATE_MAGIC2
inline constexpr uint64_t kUC_SIGCONTEXT_SS = 2;      // ss is saved
inline constexpr uint64_t kUC_STRICT_RESTORE_SS = 4;  // and restored

// struct rt_sigframe: what lies at RSP when a handler starts. The handler's RSP is 8 modulo 16.
struct RtSigframe {
  uint64_t return_address;  // the restorer
  Ucontext context;
  Siginfo info;
};
static_assert(sizeof(RtSigframe) == 440);
// What a handler may use below the interrupted RSP without being overwritten.
inline constexpr uint64_t kRedZoneBytes = 128;

// struct _fpstate: FXSAVE's 512 bytes, with the last 48 for software.
struct FxsaveArea {
  uint16_t cwd, swd, twd, fop;  // twd: the abridged tag word
  uint64_t rip, rdp;
  uint32_t mxcsr, mxcsr_mask;
  uint8_t st[8][16];  // 80 bits each
  uint8_t xmm[16][16];
  uint8_t reserved[48];
  struct Software {          // struct _fpx_sw_bytes
    uint32_t magic1;         // FP_XSTATE_MAGIC1 or 0
    uint32_t extended_size;  // with the trailing magic
    uint64_t xfeatures;
    uint32_t xstate_size;
    uint32_t padding[7];
  } sw;
};
static_assert(sizeof(FxsaveArea) == 512);
static_assert(offsetof(FxsaveArea, mxcsr) == 24);
static_assert(offsetof(FxsaveArea, xmm) == 160);
static_assert(offsetof(FxsaveArea, sw) == 464);
inline constexpr uint32_t kFP_XSTATE_MAGIC1 = 0x46505853;
inline constexpr uint32_t kFP_XSTATE_MAGIC2 = 0x46505845;

// sigcontext's trapno: the CPU's exception vectors.
inline constexpr uint64_t kX86_TRAP_DE = 0;
inline constexpr uint64_t kX86_TRAP_DB = 1;
inline constexpr uint64_t kX86_TRAP_BP = 3;
inline constexpr uint64_t kX86_TRAP_UD = 6;
inline constexpr uint64_t kX86_TRAP_GP = 13;
inline constexpr uint64_t kX86_TRAP_PF = 14;
inline constexpr uint64_t kX86_TRAP_MF = 16;
inline constexpr uint64_t kX86_TRAP_XF = 19;
// Bits of a page fault's err.
inline constexpr uint64_t kX86_PF_PROT = 1;
inline constexpr uint64_t kX86_PF_WRITE = 2;
inline constexpr uint64_t kX86_PF_USER = 4;
inline constexpr uint64_t kX86_PF_INSTR = 16;

// struct sigevent.
struct Sigevent {
  uint64_t value;
  int32_t signo;
  int32_t notify;
  int32_t thread;  // SIGEV_THREAD_ID
  int32_t padding[11];
};
static_assert(sizeof(Sigevent) == 64);
inline constexpr int32_t kSIGEV_SIGNAL = 0;
inline constexpr int32_t kSIGEV_NONE = 1;
inline constexpr int32_t kSIGEV_THREAD = 2;
inline constexpr int32_t kSIGEV_THREAD_ID = 4;

// signalfd4(2).
inline constexpr uint32_t kSFD_NONBLOCK = 04000;
inline constexpr uint32_t kSFD_CLOEXEC = 02000000;

// struct signalfd_siginfo.
struct SignalfdSiginfo {
  uint32_t ssi_signo;
  int32_t ssi_errno;
  int32_t ssi_code;
  uint32_t ssi_pid;
  uint32_t ssi_uid;
  int32_t ssi_fd;
  uint32_t ssi_tid;
  uint32_t ssi_band;
  uint32_t ssi_overrun;
  uint32_t ssi_trapno;
  int32_t ssi_status;
  int32_t ssi_int;
  uint64_t ssi_ptr;
  uint64_t ssi_utime;
  uint64_t ssi_stime;
  uint64_t ssi_addr;
  uint16_t ssi_addr_lsb;
  uint8_t padding[46];
};
static_assert(sizeof(SignalfdSiginfo) == 128);

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_SIGNAL_H_
