#ifndef SWARMSCALE_CHEAP_H
#define SWARMSCALE_CHEAP_H

/// Keeps the resident memory of this process close to what is in use, at little cost; call it before threads start.
void cheap_keep_small(void);

#endif
