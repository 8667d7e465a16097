// Planets under gravity: scalar double arithmetic. The argument is the number of steps.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { kBodies = 5 };
static double position[kBodies][3], velocity[kBodies][3], mass[kBodies];

int main(int argc, char** argv) {
  const int steps = argc > 1 ? atoi(argv[1]) : 10000;
  for (int i = 0; i < kBodies; ++i) {
    mass[i] = 1.0 / (1 + i * i);
    for (int k = 0; k < 3; ++k) position[i][k] = i * 1.7 + k * 0.3, velocity[i][k] = 0.1 * ((i * 3 + k) % 4) - 0.15;
  }
  for (int step = 0; step < steps; ++step) {
    for (int i = 0; i < kBodies; ++i)
      for (int j = i + 1; j < kBodies; ++j) {
        double d[3], square = 0.01;
        for (int k = 0; k < 3; ++k) d[k] = position[i][k] - position[j][k], square += d[k] * d[k];
        const double scale = 0.001 / (square * sqrt(square));
        for (int k = 0; k < 3; ++k) velocity[i][k] -= d[k] * mass[j] * scale, velocity[j][k] += d[k] * mass[i] * scale;
      }
    for (int i = 0; i < kBodies; ++i)
      for (int k = 0; k < 3; ++k) position[i][k] += 0.001 * velocity[i][k];
  }
  printf("%.12f %.12f\n", position[0][0], velocity[4][2]);
  return 0;
}
