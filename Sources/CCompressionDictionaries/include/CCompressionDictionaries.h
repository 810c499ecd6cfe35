#ifndef SWARMSCALE_CCOMPRESSIONDICTIONARIES_H
#define SWARMSCALE_CCOMPRESSIONDICTIONARIES_H

#include <stddef.h>
#include <stdint.h>

/// A dictionary of zstd that is part of the program: constants, so that its pages are shared and read when they are first used.
struct compression_dictionary {
  /// The id that stands in what is packed with it.
  uint32_t id;
  /// The dictionary as zstd reads it.
  const unsigned char *bytes;
  /// Its size.
  size_t size;
};

/// All of them, the oldest first.
extern const struct compression_dictionary compression_dictionaries[];

/// How many there are.
extern const size_t compression_dictionary_count;

/// The one at a place; NULL beyond the last.
const struct compression_dictionary *compression_dictionary_at(size_t index);

#endif
