#define _GNU_SOURCE
#include "CHeap.h"

#if defined(__GLIBC__) || defined(__linux__)
#include <malloc.h>
#endif
#if defined(__linux__)
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
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

#if defined(__linux__)
static int release_pages_of(struct dl_phdr_info *object, size_t size, void *context) {
  (void)size;
  // The kernel's own object is no file.
  if (object->dlpi_name != NULL && strncmp(object->dlpi_name, "linux-", 6) == 0) return 0;
  size_t *released = context;
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
    // What could be written holds relocated pointers, which the file does not have; a segment that can't be written is as the
    // file has it, whatever happened since.
    if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0) continue;
    // Only whole pages of the segment: its neighbours may share the others.
    const size_t start = (object->dlpi_addr + segment->p_vaddr + page - 1) & ~(page - 1);
    const size_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_filesz) & ~(page - 1);
    if (start < end && madvise((void *)start, end - start, MADV_DONTNEED) == 0) *released += end - start;
  }
  return 0;
}
#endif

size_t cheap_release_program_pages(void) {
  size_t released = 0;
#if defined(__linux__)
  dl_iterate_phdr(release_pages_of, &released);
#endif
  return released;
}
