#include "CCompressionDictionaries.h"

const struct compression_dictionary *compression_dictionary_at(size_t index) {
  return index < compression_dictionary_count ? &compression_dictionaries[index] : NULL;
}
