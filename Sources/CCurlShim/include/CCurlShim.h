// One typed function per shape of libcurl's variadic calls: Swift can't call variadic C functions, and a call with
// the wrong type of argument is undefined behaviour that no compiler would notice.
#ifndef SWARMSCALE_CCURL_SHIM_H
#define SWARMSCALE_CCURL_SHIM_H

#include <curl/curl.h>
#include <stddef.h>

// The shape of CURLOPT_WRITEFUNCTION and CURLOPT_HEADERFUNCTION.
typedef size_t (*ccurl_data_function)(char *data, size_t size, size_t count, void *context);

// curl_easy_setopt for options that take a long.
CURLcode ccurl_easy_setopt_long(CURL *handle, CURLoption option, long value);
// curl_easy_setopt for options that take a curl_off_t.
CURLcode ccurl_easy_setopt_offset(CURL *handle, CURLoption option, curl_off_t value);
// curl_easy_setopt for options that take a string; libcurl copies it.
CURLcode ccurl_easy_setopt_string(CURL *handle, CURLoption option, const char *value);
// curl_easy_setopt for options that take a data pointer; libcurl keeps the pointer.
CURLcode ccurl_easy_setopt_pointer(CURL *handle, CURLoption option, void *value);
// curl_easy_setopt for options that take a list; libcurl keeps the pointer until the transfer's end.
CURLcode ccurl_easy_setopt_list(CURL *handle, CURLoption option, struct curl_slist *value);
// curl_easy_setopt for options that take a struct curl_blob; libcurl copies the bytes.
CURLcode ccurl_easy_setopt_blob(CURL *handle, CURLoption option, const void *bytes, size_t count);
// curl_easy_setopt for CURLOPT_COPYPOSTFIELDS with its size; libcurl copies the bytes.
CURLcode ccurl_easy_setopt_body(CURL *handle, const void *bytes, size_t count);
// curl_easy_setopt for CURLOPT_WRITEFUNCTION and CURLOPT_HEADERFUNCTION.
CURLcode ccurl_easy_setopt_data_function(CURL *handle, CURLoption option, ccurl_data_function function);
// Makes the kernel give up a connection whose data isn't acknowledged for so many milliseconds (TCP_USER_TIMEOUT):
// keep-alive probes don't run while data waits, and a write to a dead peer would otherwise hang for 15 minutes.
CURLcode ccurl_easy_setopt_user_timeout(CURL *handle, unsigned int milliseconds);

// curl_easy_getinfo for answers of type long.
CURLcode ccurl_easy_getinfo_long(CURL *handle, CURLINFO info, long *value);
// curl_easy_getinfo for answers of type curl_off_t.
CURLcode ccurl_easy_getinfo_offset(CURL *handle, CURLINFO info, curl_off_t *value);
// curl_easy_getinfo for answers that are strings owned by the handle.
CURLcode ccurl_easy_getinfo_string(CURL *handle, CURLINFO info, const char **value);
// curl_easy_getinfo for answers that are pointers.
CURLcode ccurl_easy_getinfo_pointer(CURL *handle, CURLINFO info, void **value);

// curl_multi_setopt for options that take a long.
CURLMcode ccurl_multi_setopt_long(CURLM *handle, CURLMoption option, long value);

// CURL_GLOBAL_DEFAULT, CURL_WRITEFUNC_PAUSE, CURLPAUSE_CONT and CURL_ERROR_SIZE: macros whose form differs between versions.
extern const long ccurl_global_default;
extern const size_t ccurl_writefunc_pause;
extern const int ccurl_pause_continue;
extern const size_t ccurl_error_size;

// 1 when this libcurl can unpack gzip, otherwise 0.
int ccurl_has_compression(void);

// Names the calling thread, for debuggers and `top -H`; at most 15 bytes.
void ccurl_name_thread(const char *name);

#endif
