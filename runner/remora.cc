// remora [FLAGS] PROGRAM [ARGS]

#include "runner/main.h"

int main(int argc, char** argv) { return remora::runner::Main(argc, argv); }
