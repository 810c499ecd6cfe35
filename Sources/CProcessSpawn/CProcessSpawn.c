#define _GNU_SOURCE
#include "CProcessSpawn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int cspawn_with_control(const char *path, int control, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  int code = posix_spawn_file_actions_init(&actions);
  if (code) return code;
  code = posix_spawnattr_init(&attributes);
  if (code) {
    posix_spawn_file_actions_destroy(&actions);
    return code;
  }
  // A server ignores or blocks signals that its children need; a session of its own keeps the terminal's Ctrl-C away.
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  code = posix_spawn_file_actions_adddup2(&actions, control, 0);
  if (!code) code = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  char *const arguments[] = {"swarmscale-shim", NULL}, *const environment[] = {NULL};
  if (!code) code = posix_spawn(pid, path, &actions, &attributes, arguments, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return code;
}

int cspawn_socket_pair(int pair[2]) {
#ifdef SOCK_CLOEXEC
  return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 ? 0 : errno;
#else
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return errno;
  for (int index = 0; index < 2; index++) fcntl(pair[index], F_SETFD, FD_CLOEXEC);
  return 0;
#endif
}

int cspawn_connect(const char *address, unsigned short port, int *error) {
  struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(port)};
  *error = EINVAL;
  if (inet_pton(AF_INET, address, &target.sin_addr) != 1) return -1;
#ifdef SOCK_CLOEXEC
  int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
#else
  int descriptor = socket(AF_INET, SOCK_STREAM, 0);
#endif
  if (descriptor < 0) {
    *error = errno;
    return -1;
  }
  fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  fcntl(descriptor, F_SETFL, O_NONBLOCK);
  if (connect(descriptor, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS) {
    *error = errno;
    close(descriptor);
    return -1;
  }
  *error = 0;
  return descriptor;
}

int cspawn_socket_error(int descriptor) {
  int error = 0;
  socklen_t length = sizeof error;
  return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

int cspawn_send(int descriptor, const void *bytes, size_t count) {
#ifdef MSG_NOSIGNAL
  int flags = MSG_NOSIGNAL;
#else
  int flags = 0;
#endif
  const char *at = bytes;
  while (count > 0) {
    ssize_t sent = send(descriptor, at, count, flags);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno;
    at += sent;
    count -= (size_t)sent;
  }
  return 0;
}

struct thread_body {
  char name[16];
  void (*body)(void *);
  void *context;
};

static void *run_thread(void *argument) {
  struct thread_body thread = *(struct thread_body *)argument;
  free(argument);
#ifdef __linux__
  pthread_setname_np(pthread_self(), thread.name);
#endif
  thread.body(thread.context);
  return NULL;
}

int cspawn_thread(const char *name, void (*body)(void *), void *context) {
  struct thread_body *thread = malloc(sizeof *thread);
  if (!thread) return ENOMEM;
  strncpy(thread->name, name, sizeof thread->name - 1);
  thread->name[sizeof thread->name - 1] = 0;
  thread->body = body;
  thread->context = context;
  // Inherited by the new thread from its first instruction on; signals are for the program's main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t handle;
  int code = pthread_create(&handle, NULL, run_thread, thread);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (code) free(thread);
  else pthread_detach(handle);
  return code;
}
