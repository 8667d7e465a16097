// The queens' problem by bit masks: recursion, shifts, branches. The argument is the side of the board.
#include <stdio.h>
#include <stdlib.h>

static long Place(unsigned all, unsigned columns, unsigned left, unsigned right) {
  if (columns == all) return 1;
  long solutions = 0;
  for (unsigned free_fields = all & ~(columns | left | right); free_fields;) {
    const unsigned field = free_fields & -free_fields;
    free_fields ^= field;
    solutions += Place(all, columns | field, (left | field) << 1, (right | field) >> 1);
  }
  return solutions;
}

int main(int argc, char** argv) {
  const int side = argc > 1 ? atoi(argv[1]) : 10;
  printf("%ld\n", Place((1u << side) - 1, 0, 0, 0));
  return 0;
}
