#ifndef SWARMSCALE_CHEAP_H
#define SWARMSCALE_CHEAP_H

#include <stddef.h>

/// Keeps the resident memory of this process close to what is in use, at little cost; call it before threads start.
void cheap_keep_small(void);

/// Tells the kernel that this process can do without the pages of its program and libraries that are code or constants: those
/// that are used again come back from the page cache. Gives the bytes of address space that were told of; 0 where it can't.
size_t cheap_release_program_pages(void);

#endif
