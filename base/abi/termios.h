#ifndef REMORA_BASE_ABI_TERMIOS_H_
#define REMORA_BASE_ABI_TERMIOS_H_

#include <cstdint>

// Terminals: struct termios as the kernel's TCGETS takes it (not glibc's, which is longer), flags, requests.
namespace remora::abi {

inline constexpr uint32_t kNCCS = 19;
struct Termios {
  uint32_t c_iflag;
  uint32_t c_oflag;
  uint32_t c_cflag;
  uint32_t c_lflag;
  uint8_t c_line;
  uint8_t c_cc[kNCCS];
};
static_assert(sizeof(Termios) == 36);
// TCGETS2.
struct Termios2 {
  uint32_t c_iflag;
  uint32_t c_oflag;
  uint32_t c_cflag;
  uint32_t c_lflag;
  uint8_t c_line;
  uint8_t c_cc[kNCCS];
  uint32_t c_ispeed;
  uint32_t c_ospeed;
};
static_assert(sizeof(Termios2) == 44);
// TCGETA: System V's.
struct Termio {
  uint16_t c_iflag;
  uint16_t c_oflag;
  uint16_t c_cflag;
  uint16_t c_lflag;
  uint8_t c_line;
  uint8_t c_cc[8];
};
static_assert(sizeof(Termio) == 18);
struct Winsize {
  uint16_t ws_row;
  uint16_t ws_col;
  uint16_t ws_xpixel;
  uint16_t ws_ypixel;
};
static_assert(sizeof(Winsize) == 8);

// Indices into c_cc.
inline constexpr uint32_t kVINTR = 0;
inline constexpr uint32_t kVQUIT = 1;
inline constexpr uint32_t kVERASE = 2;
inline constexpr uint32_t kVKILL = 3;
inline constexpr uint32_t kVEOF = 4;
inline constexpr uint32_t kVTIME = 5;
inline constexpr uint32_t kVMIN = 6;
inline constexpr uint32_t kVSWTC = 7;
inline constexpr uint32_t kVSTART = 8;
inline constexpr uint32_t kVSTOP = 9;
inline constexpr uint32_t kVSUSP = 10;
inline constexpr uint32_t kVEOL = 11;
inline constexpr uint32_t kVREPRINT = 12;
inline constexpr uint32_t kVDISCARD = 13;
inline constexpr uint32_t kVWERASE = 14;
inline constexpr uint32_t kVLNEXT = 15;
inline constexpr uint32_t kVEOL2 = 16;

// c_iflag.
inline constexpr uint32_t kIGNBRK = 0001;
inline constexpr uint32_t kBRKINT = 0002;
inline constexpr uint32_t kIGNPAR = 0004;
inline constexpr uint32_t kPARMRK = 0010;
inline constexpr uint32_t kINPCK = 0020;
inline constexpr uint32_t kISTRIP = 0040;
inline constexpr uint32_t kINLCR = 0100;
inline constexpr uint32_t kIGNCR = 0200;
inline constexpr uint32_t kICRNL = 0400;
inline constexpr uint32_t kIUCLC = 01000;
inline constexpr uint32_t kIXON = 02000;
inline constexpr uint32_t kIXANY = 04000;
inline constexpr uint32_t kIXOFF = 010000;
inline constexpr uint32_t kIMAXBEL = 020000;
inline constexpr uint32_t kIUTF8 = 040000;

// c_oflag.
inline constexpr uint32_t kOPOST = 0001;
inline constexpr uint32_t kOLCUC = 0002;
inline constexpr uint32_t kONLCR = 0004;
inline constexpr uint32_t kOCRNL = 0010;
inline constexpr uint32_t kONOCR = 0020;
inline constexpr uint32_t kONLRET = 0040;
inline constexpr uint32_t kOFILL = 0100;
inline constexpr uint32_t kTABDLY = 014000;
inline constexpr uint32_t kXTABS = 014000;

// c_cflag.
inline constexpr uint32_t kCBAUD = 010017;
inline constexpr uint32_t kB0 = 0;
inline constexpr uint32_t kB9600 = 015;
inline constexpr uint32_t kB38400 = 017;
inline constexpr uint32_t kBOTHER = 010000;
inline constexpr uint32_t kIBSHIFT = 16;
inline constexpr uint32_t kCSIZE = 060;
inline constexpr uint32_t kCS8 = 060;
inline constexpr uint32_t kCSTOPB = 0100;
inline constexpr uint32_t kCREAD = 0200;
inline constexpr uint32_t kPARENB = 0400;
inline constexpr uint32_t kPARODD = 01000;
inline constexpr uint32_t kHUPCL = 02000;
inline constexpr uint32_t kCLOCAL = 04000;

// c_lflag.
inline constexpr uint32_t kISIG = 0001;
inline constexpr uint32_t kICANON = 0002;
inline constexpr uint32_t kXCASE = 0004;
inline constexpr uint32_t kECHO = 0010;
inline constexpr uint32_t kECHOE = 0020;
inline constexpr uint32_t kECHOK = 0040;
inline constexpr uint32_t kECHONL = 0100;
inline constexpr uint32_t kNOFLSH = 0200;
inline constexpr uint32_t kTOSTOP = 0400;
inline constexpr uint32_t kECHOCTL = 01000;
inline constexpr uint32_t kECHOPRT = 02000;
inline constexpr uint32_t kECHOKE = 04000;
inline constexpr uint32_t kFLUSHO = 010000;
inline constexpr uint32_t kPENDIN = 040000;
inline constexpr uint32_t kIEXTEN = 0100000;
inline constexpr uint32_t kEXTPROC = 0200000;

// ioctl requests.
inline constexpr uint32_t kTCGETS = 0x5401;
inline constexpr uint32_t kTCSETS = 0x5402;
inline constexpr uint32_t kTCSETSW = 0x5403;
inline constexpr uint32_t kTCSETSF = 0x5404;
inline constexpr uint32_t kTCGETA = 0x5405;
inline constexpr uint32_t kTCSETA = 0x5406;
inline constexpr uint32_t kTCSETAW = 0x5407;
inline constexpr uint32_t kTCSETAF = 0x5408;
inline constexpr uint32_t kTCSBRK = 0x5409;
inline constexpr uint32_t kTCXONC = 0x540a;
inline constexpr uint32_t kTCFLSH = 0x540b;
inline constexpr uint32_t kTIOCEXCL = 0x540c;
inline constexpr uint32_t kTIOCNXCL = 0x540d;
inline constexpr uint32_t kTIOCSCTTY = 0x540e;
inline constexpr uint32_t kTIOCGPGRP = 0x540f;
inline constexpr uint32_t kTIOCSPGRP = 0x5410;
inline constexpr uint32_t kTIOCOUTQ = 0x5411;
inline constexpr uint32_t kTIOCSTI = 0x5412;
inline constexpr uint32_t kTIOCGWINSZ = 0x5413;
inline constexpr uint32_t kTIOCSWINSZ = 0x5414;
inline constexpr uint32_t kTIOCINQ = 0x541b;  // FIONREAD
inline constexpr uint32_t kTIOCPKT = 0x5420;
inline constexpr uint32_t kTIOCNOTTY = 0x5422;
inline constexpr uint32_t kTIOCSETD = 0x5423;
inline constexpr uint32_t kTIOCGETD = 0x5424;
inline constexpr uint32_t kTCSBRKP = 0x5425;
inline constexpr uint32_t kTIOCSBRK = 0x5427;
inline constexpr uint32_t kTIOCCBRK = 0x5428;
inline constexpr uint32_t kTIOCGSID = 0x5429;
inline constexpr uint32_t kTCGETS2 = 0x802c542a;
inline constexpr uint32_t kTCSETS2 = 0x402c542b;
inline constexpr uint32_t kTCSETSW2 = 0x402c542c;
inline constexpr uint32_t kTCSETSF2 = 0x402c542d;
inline constexpr uint32_t kTIOCGPTN = 0x80045430;
inline constexpr uint32_t kTIOCSPTLCK = 0x40045431;
inline constexpr uint32_t kTIOCGDEV = 0x80045432;
inline constexpr uint32_t kTIOCSIG = 0x40045436;
inline constexpr uint32_t kTIOCVHANGUP = 0x5437;
inline constexpr uint32_t kTIOCGPKT = 0x80045438;
inline constexpr uint32_t kTIOCGPTLCK = 0x80045439;
inline constexpr uint32_t kTIOCGEXCL = 0x80045440;
inline constexpr uint32_t kTIOCGPTPEER = 0x5441;

// What a master in packet mode reads in front of data, or instead of them.
inline constexpr uint8_t kTIOCPKT_DATA = 0;
inline constexpr uint8_t kTIOCPKT_FLUSHREAD = 1;
inline constexpr uint8_t kTIOCPKT_FLUSHWRITE = 2;
inline constexpr uint8_t kTIOCPKT_STOP = 4;
inline constexpr uint8_t kTIOCPKT_START = 8;
inline constexpr uint8_t kTIOCPKT_NOSTOP = 16;
inline constexpr uint8_t kTIOCPKT_DOSTOP = 32;
inline constexpr uint8_t kTIOCPKT_IOCTL = 64;

// TCFLSH, TCXONC.
inline constexpr int32_t kTCIFLUSH = 0;
inline constexpr int32_t kTCOFLUSH = 1;
inline constexpr int32_t kTCIOFLUSH = 2;
inline constexpr int32_t kTCOOFF = 0;
inline constexpr int32_t kTCOON = 1;
inline constexpr int32_t kTCIOFF = 2;
inline constexpr int32_t kTCION = 3;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_TERMIOS_H_
