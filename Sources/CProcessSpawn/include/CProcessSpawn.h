#ifndef CPROCESSSPAWN_H
#define CPROCESSSPAWN_H

#include <sys/types.h>

/// Starts `path` with an empty environment, the file descriptor `control` as its standard input, `/dev/null` as standard output, the
/// caller's standard error, in a session of its own, with all signals at their defaults and none blocked.
///
/// Returns 0, or the error's number. Every other descriptor must be close-on-exec.
int cspawn_with_control(const char *path, int control, pid_t *pid);

/// A connected pair of stream sockets, both close-on-exec, neither raising SIGPIPE where that can be told; 0 or the error's number.
int cspawn_socket_pair(int pair[2]);

/// Starts a TCP connection that doesn't block to `address` (IPv4, dotted); `*error` is 0 when it is under way.
int cspawn_connect(const char *address, unsigned short port, int *error);

/// The pending error of a socket, 0 for none.
int cspawn_socket_error(int socket);

/// Sends all bytes on a socket that blocks, or as much as fits on one that doesn't, without SIGPIPE; 0 or the error's number.
int cspawn_send(int socket, const void *bytes, size_t count);

/// Runs `body(context)` on a new thread that nobody joins, with all signals blocked and a name; 0 or the error's number.
int cspawn_thread(const char *name, void (*body)(void *), void *context);

#endif
