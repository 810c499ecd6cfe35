#include "CHeap.h"

#if defined(__GLIBC__) || defined(__linux__)
#include <malloc.h>
#endif

void cheap_keep_small(void) {
// Only glibc has these; other libraries' allocators have no arenas for each thread.
#if defined(M_ARENA_MAX)
  mallopt(M_ARENA_MAX, 1);
  // Set, these no longer grow with each large block that is freed.
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  mallopt(M_TRIM_THRESHOLD, 512 << 10);
#endif
}
