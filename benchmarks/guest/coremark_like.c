// An integer workload of CoreMark's kind: a linked list sorted and searched, a matrix multiplied, a state machine over text, a CRC over it all.
// Written for this project; the argument is the number of rounds. Prints the CRC, so that engines can be compared.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint16_t Crc16(uint32_t value, uint16_t crc) {
  for (int bit = 0; bit < 32; ++bit) {
    const uint16_t carry = (uint16_t)((value ^ crc) & 1);
    value >>= 1;
    crc >>= 1;
    if (carry) crc ^= 0xa001;
  }
  return crc;
}

struct Node {
  struct Node* next;
  int16_t key, data;
};
enum { kNodes = 200, kSide = 20 };
static struct Node nodes[kNodes];

static struct Node* Merge(struct Node* a, struct Node* b, int by_key) {
  struct Node head, *tail = &head;
  while (a && b) {
    const int first = by_key ? a->key <= b->key : a->data <= b->data;
    struct Node** taken = first ? &a : &b;
    tail->next = *taken;
    tail = *taken;
    *taken = (*taken)->next;
  }
  tail->next = a ? a : b;
  return head.next;
}

static struct Node* Sort(struct Node* list, int by_key) {
  if (!list || !list->next) return list;
  struct Node *slow = list, *fast = list->next;
  while (fast && fast->next) slow = slow->next, fast = fast->next->next;
  struct Node* second = slow->next;
  slow->next = NULL;
  return Merge(Sort(list, by_key), Sort(second, by_key), by_key);
}

static uint16_t List(uint16_t crc, int seed) {
  for (int i = 0; i < kNodes; ++i) {
    nodes[i].next = i + 1 < kNodes ? &nodes[i + 1] : NULL;
    nodes[i].key = (int16_t)((i * 7919 + seed) % 1009);
    nodes[i].data = (int16_t)(i ^ seed);
  }
  struct Node* list = Sort(nodes, 1);
  for (int wanted = 0; wanted < 100; wanted += 7)
    for (struct Node* n = list; n; n = n->next)
      if (n->key == wanted) crc = Crc16((uint32_t)n->data, crc);
  list = Sort(list, 0);
  for (struct Node* n = list; n; n = n->next) crc = Crc16((uint32_t)n->key, crc);
  return crc;
}

static uint16_t Matrix(uint16_t crc, int seed) {
  static int32_t a[kSide][kSide], b[kSide][kSide], c[kSide][kSide];
  for (int i = 0; i < kSide; ++i)
    for (int j = 0; j < kSide; ++j) a[i][j] = (i * seed + j) & 0xff, b[i][j] = (i + j * seed) & 0xff;
  for (int i = 0; i < kSide; ++i)
    for (int j = 0; j < kSide; ++j) {
      int32_t sum = 0;
      for (int k = 0; k < kSide; ++k) sum += a[i][k] * b[k][j];
      c[i][j] = sum;
    }
  for (int i = 0; i < kSide; ++i) crc = Crc16((uint32_t)c[i][(i * 3) % kSide], crc);
  return crc;
}

enum State { kStart, kInteger, kFloat, kExponent, kInvalid, kNumStates };

static uint16_t Machine(uint16_t crc, int seed) {
  static const char* const kWords[] = {"5012", "1234.5", "-874", "+122e3", ".5e-9", "12x", "T0.3", "99e"};
  uint32_t counts[kNumStates] = {0};
  for (int round = 0; round < 60; ++round) {
    const char* p = kWords[(round + seed) & 7];
    enum State state = kStart;
    for (; *p && state != kInvalid; ++p) {
      const char c = *p;
      switch (state) {
        case kStart: state = (c >= '0' && c <= '9') || c == '+' || c == '-' ? kInteger : c == '.' ? kFloat : kInvalid; break;
        case kInteger: state = c == '.' ? kFloat : c == 'e' ? kExponent : c >= '0' && c <= '9' ? kInteger : kInvalid; break;
        case kFloat: state = c == 'e' ? kExponent : c >= '0' && c <= '9' ? kFloat : kInvalid; break;
        case kExponent: state = (c >= '0' && c <= '9') || c == '-' || c == '+' ? kExponent : kInvalid; break;
        default: break;
      }
    }
    counts[state]++;
  }
  for (int i = 0; i < kNumStates; ++i) crc = Crc16(counts[i], crc);
  return crc;
}

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? atoi(argv[1]) : 1000;
  uint16_t crc = 0;
  for (int i = 0; i < rounds; ++i) {
    crc = List(crc, i);
    crc = Matrix(crc, i);
    crc = Machine(crc, i);
  }
  printf("%04x\n", crc);
  return 0;
}
