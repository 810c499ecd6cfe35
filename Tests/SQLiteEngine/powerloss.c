// Preloaded into a program: of each file in the folder POWERLOSS_FOLDER it keeps NAME.synced beside it, as the file was when it was last
// synced. After a loss of power that is what is on the disk, if nothing of what wasn't synced got there by itself.
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void keep(int descriptor) {
  const char *folder = getenv("POWERLOSS_FOLDER");
  char link[64], path[PATH_MAX], part[PATH_MAX + 16], synced[PATH_MAX + 16];
  static char buffer[1 << 16];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (!folder || length < 0) return;
  path[length] = 0;
  if (strncmp(path, folder, strlen(folder)) != 0) return;
  int from = open(path, O_RDONLY | O_CLOEXEC);
  if (from < 0) return;
  snprintf(part, sizeof part, "%s.part", path);
  snprintf(synced, sizeof synced, "%s.synced", path);
  int to = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ssize_t count;
  while (to >= 0 && (count = read(from, buffer, sizeof buffer)) > 0)
    if (write(to, buffer, count) != count) abort();
  close(from);
  if (to >= 0) {
    close(to);
    rename(part, synced);
  }
}

int fsync(int descriptor) {
  int result = (int)syscall(SYS_fsync, descriptor);
  if (result == 0) keep(descriptor);
  return result;
}

int fdatasync(int descriptor) {
  int result = (int)syscall(SYS_fdatasync, descriptor);
  if (result == 0) keep(descriptor);
  return result;
}
