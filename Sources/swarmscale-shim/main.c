// swarmscale-shim: stands between the process node and one container (docs/process-node.md).
//
// It starts the container's process, writes its output to a log of bounded size, passes signals on, reports the end, and makes sure
// that nothing of the container outlives it or the node. Its standard input is a socket whose other end only the node holds: when
// that closes, however the node ended, every descendant is killed. As child subreaper it is the parent of whatever the container
// orphans, so that no daemon gets out of reach.
//
// The node speaks first: a 32-bit little-endian length, then that many bytes of NUL-terminated strings:
//   "1", log path (empty: keep the output and report it), bytes of one log file, number of log files, working directory (empty: /),
//   number of arguments, arguments, number of variables, variables
// Then lines. From the node: "signal N", "kill", "usage". To the node:
//   "started PID", or "failed ERRNO STAGE" with STAGE one of setup, chdir, exec
//   "usage CPU-NANOSECONDS BYTES PROCESSES" for each "usage"
//   "output N" and N bytes (only without a log), then "exited WAIT-STATUS CPU-NANOSECONDS LOST-OUTPUT-BYTES" as the last line
#ifdef __linux__
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  control = 0,
  // The longest piece of a line in one log record, as CRI's.
  longest_record = 16 << 10,
  longest_capture = 8 << 10,
  // More than any machine that this is meant for runs at once.
  most_processes = 1 << 16,
  most_configuration = 8 << 20,
};

struct stream {
  int fd;
  const char *name;
  char record[longest_record];
  size_t length;
};

static struct stream streams[2] = {{.fd = -1, .name = "stdout"}, {.fd = -1, .name = "stderr"}};
static pid_t main_pid;
static bool main_ended;
static int main_status;

// MARK: Configuration

static const char *log_path;
static uint64_t log_file_bytes;
static unsigned log_files;
static const char *working_directory;
static char **arguments;
static char **environment;

static bool read_fully(int fd, void *into, size_t count) {
  char *at = into;
  while (count > 0) {
    ssize_t got = read(fd, at, count);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    count -= (size_t)got;
  }
  return true;
}

static char *next_string(char **at, char *end) {
  char *text = *at;
  char *terminator = text < end ? memchr(text, 0, (size_t)(end - text)) : NULL;
  if (!terminator) exit(64);
  *at = terminator + 1;
  return text;
}

static char **next_list(char **at, char *end) {
  unsigned long count = strtoul(next_string(at, end), NULL, 10);
  if (count > most_configuration) exit(64);
  char **list = calloc(count + 1, sizeof(char *));
  if (!list) exit(71);
  for (unsigned long index = 0; index < count; index++) list[index] = next_string(at, end);
  return list;
}

static void read_configuration(void) {
  uint32_t length;
  // Nobody there any more: nothing was started, so there is nothing to do.
  if (!read_fully(control, &length, sizeof length)) exit(0);
  if (length > most_configuration) exit(64);
  char *block = malloc(length);
  if (!block) exit(71);
  if (!read_fully(control, block, length)) exit(0);
  char *at = block, *end = block + length;
  if (strcmp(next_string(&at, end), "1") != 0) exit(64);
  log_path = next_string(&at, end);
  log_file_bytes = strtoull(next_string(&at, end), NULL, 10);
  log_files = (unsigned)strtoul(next_string(&at, end), NULL, 10);
  working_directory = next_string(&at, end);
  arguments = next_list(&at, end);
  environment = next_list(&at, end);
  if (!arguments[0]) exit(64);
}

// MARK: Messages

// A node that doesn't read must not keep the container's output waiting, so that only the last message may block.
static void report(bool may_block, const char *format, ...) {
  char line[160];
  va_list values;
  va_start(values, format);
  int length = vsnprintf(line, sizeof line, format, values);
  va_end(values);
  for (int at = 0; at < length;) {
    ssize_t sent = send(control, line + at, (size_t)(length - at), MSG_NOSIGNAL | (may_block ? 0 : MSG_DONTWAIT));
    if (sent < 0 && errno == EINTR) continue;
    // Half a line would garble the next one; a socket's buffer takes thousands of them before that.
    if (sent < 0 && errno == EAGAIN && at > 0) { may_block = true; continue; }
    if (sent < 0) return;
    at += (int)sent;
  }
}

// MARK: Descendants

static pid_t processes[most_processes];

// Adds the children of one process to the table.
static int add_children(pid_t parent, int count) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", (int)parent);
  DIR *tasks = opendir(path);
  if (!tasks) return count;
  for (struct dirent *task; (task = readdir(tasks));) {
    if (task->d_name[0] == '.') continue;
    char name[96];
    snprintf(name, sizeof name, "/proc/%d/task/%.20s/children", (int)parent, task->d_name);
    FILE *file = fopen(name, "re");
    if (!file) continue;
    for (int child; count < most_processes && fscanf(file, "%d", &child) == 1;) processes[count++] = child;
    fclose(file);
  }
  closedir(tasks);
  return count;
}

static pid_t parent_of(pid_t pid) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return 0;
  text[length] = 0;
  char *name_end = strrchr(text, ')');
  int parent = 0;
  return name_end && sscanf(name_end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

// For kernels without CONFIG_PROC_CHILDREN: reads every process's parent until no further descendant turns up.
static int scan_descendants(void) {
  int count = 0;
  for (bool found = true; found;) {
    found = false;
    DIR *all = opendir("/proc");
    if (!all) return count;
    for (struct dirent *entry; (entry = readdir(all)) && count < most_processes;) {
      pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
      if (pid <= 0) continue;
      pid_t parent = parent_of(pid);
      bool known = false, descends = parent == getpid();
      for (int index = 0; index < count; index++) {
        known |= processes[index] == pid;
        descends |= processes[index] == parent;
      }
      if (!descends || known) continue;
      processes[count++] = pid;
      found = true;
    }
    closedir(all);
  }
  return count;
}

// Fills the table with all descendants, parents before children, and gives their number.
static int collect_descendants(void) {
  static int has_children_files = -1;
  if (has_children_files < 0) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    has_children_files = access(path, R_OK) == 0;
  }
  if (!has_children_files) return scan_descendants();
  int count = add_children(getpid(), 0);
  for (int index = 0; index < count; index++) count = add_children(processes[index], count);
  return count;
}

static void reap(void) {
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid != main_pid) continue;
    main_ended = true;
    main_status = status;
  }
}

// Ends every descendant. They are stopped first, so that one that forks as fast as it can doesn't outrun the killing.
static void kill_descendants(void) {
  for (int known = -1, round = 0; round < 16; round++) {
    int count = collect_descendants();
    if (count == known) break;
    known = count;
    for (int index = 0; index < count; index++) kill(processes[index], SIGSTOP);
  }
  while (true) {
    reap();
    int count = collect_descendants(), killed = 0;
    for (int index = 0; index < count; index++) killed += kill(processes[index], SIGKILL) == 0;
    // None is left, or none that we may kill (which no_new_privs rules out for programs started here).
    if (killed == 0) break;
    // An orphan becomes our child when its parent dies: come back for it soon.
    poll(NULL, 0, 1);
  }
  reap();
}

// MARK: Use of CPU and memory

static uint64_t reaped_cpu(void) {
  struct rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  uint64_t seconds = (uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec;
  uint64_t micros = (uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec;
  return seconds * 1000000000u + micros * 1000u;
}

static uint64_t kilobytes_after(const char *text, const char *label) {
  const char *at = strstr(text, label);
  return at ? strtoull(at + strlen(label), NULL, 10) : 0;
}

// CPU of all that live and of all that were waited for; memory that is the container's own: anonymous and shared pages.
static void report_usage(void) {
  static uint64_t highest;
  uint64_t cpu = reaped_cpu(), kilobytes = 0, tick = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
  int count = collect_descendants(), alive = 0;
  for (int index = 0; index < count; index++) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)processes[index]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) continue;
    text[length] = 0;
    unsigned long user = 0, system = 0;
    long child_user = 0, child_system = 0;
    char *name_end = strrchr(text, ')');
    if (!name_end) continue;
    sscanf(name_end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &user, &system, &child_user, &child_system);
    cpu += tick * (user + system + (unsigned long)child_user + (unsigned long)child_system);
    alive++;
    snprintf(path, sizeof path, "/proc/%d/status", (int)processes[index]);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) continue;
    text[length] = 0;
    kilobytes += kilobytes_after(text, "RssAnon:") + kilobytes_after(text, "RssShmem:");
  }
  // Ticks and microseconds round differently when a process ends; a counter must not go back for that.
  if (cpu > highest) highest = cpu;
  report(false, "usage %llu %llu %d\n", (unsigned long long)highest, (unsigned long long)kilobytes * 1024, alive);
}

// MARK: Output

static int log_fd = -1;
static uint64_t log_size;
static uint64_t lost_bytes;
static bool ends_in_record;
static char pending[256 << 10];
static size_t pending_length;
static char capture[longest_capture];
static size_t capture_length;

static void open_log(int flags) {
  log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, 0600);
  struct stat facts;
  log_size = log_fd >= 0 && fstat(log_fd, &facts) == 0 ? (uint64_t)facts.st_size : 0;
}

// PATH becomes PATH.1, PATH.1 becomes PATH.2, and so on; the last one goes.
static void rotate_log(void) {
  char from[4096], to[4096];
  if (log_fd >= 0) close(log_fd);
  for (unsigned number = log_files - 1; number >= 1; number--) {
    if (number == 1) snprintf(from, sizeof from, "%s", log_path);
    else snprintf(from, sizeof from, "%s.%u", log_path, number - 1);
    snprintf(to, sizeof to, "%s.%u", log_path, number);
    rename(from, to);
  }
  open_log(log_files > 1 ? 0 : O_TRUNC);
}

static void flush_log(void) {
  size_t at = 0;
  if (pending_length > 0 && log_file_bytes > 0 && log_size > 0 && log_size + pending_length > log_file_bytes && !ends_in_record)
    rotate_log();
  while (at < pending_length) {
    ssize_t written = log_fd >= 0 ? write(log_fd, pending + at, pending_length - at) : -1;
    if (written < 0 && errno == EINTR) continue;
    // A full disk costs output, not the container: it must not wait for room.
    if (written <= 0) break;
    at += (size_t)written;
    log_size += (uint64_t)written;
  }
  lost_bytes += pending_length - at;
  if (at > 0) ends_in_record = pending[at - 1] != '\n';
  pending_length = 0;
}

static void append(const char *bytes, size_t count) {
  memcpy(pending + pending_length, bytes, count);
  pending_length += count;
}

// One record as CRI writes it: time, stream, F or P (the line goes on), text.
static void write_record(struct stream *stream, bool is_whole, const char *time_text) {
  if (pending_length + longest_record + 128 > sizeof pending) flush_log();
  char head[64];
  int length = snprintf(head, sizeof head, "%s %s %c ", time_text, stream->name, is_whole ? 'F' : 'P');
  // The rest of a record that the full disk cut off.
  if (ends_in_record && pending_length == 0) append("\n", 1);
  append(head, (size_t)length);
  append(stream->record, stream->length);
  append("\n", 1);
  stream->length = 0;
}

static void time_text(char text[40]) {
  struct timespec now;
  struct tm parts;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &parts);
  size_t length = strftime(text, 40, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(text + length, 40 - length, ".%09ldZ", now.tv_nsec);
}

static void take_output(struct stream *stream, const char *bytes, size_t count) {
  if (!*log_path) {
    size_t room = sizeof capture - capture_length;
    size_t kept = count < room ? count : room;
    memcpy(capture + capture_length, bytes, kept);
    capture_length += kept;
    return;
  }
  char now[40];
  time_text(now);
  while (count > 0) {
    size_t room = sizeof stream->record - stream->length;
    size_t piece = count < room ? count : room;
    const char *newline = memchr(bytes, '\n', piece);
    if (newline) piece = (size_t)(newline - bytes);
    memcpy(stream->record + stream->length, bytes, piece);
    stream->length += piece;
    bytes += piece;
    count -= piece;
    if (newline) {
      bytes++;
      count--;
      write_record(stream, true, now);
    } else if (stream->length == sizeof stream->record) {
      write_record(stream, false, now);
    }
  }
}

// Reads what is there; false at the stream's end.
static bool read_output(struct stream *stream) {
  static char buffer[128 << 10];
  ssize_t got = read(stream->fd, buffer, sizeof buffer);
  if (got > 0) take_output(stream, buffer, (size_t)got);
  if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) return got > 0 || errno == EINTR;
  close(stream->fd);
  stream->fd = -1;
  return false;
}

// After the end of all who could write.
static void drain_output(void) {
  for (int index = 0; index < 2; index++) {
    struct stream *stream = &streams[index];
    // As much as a pipe can hold, in case a stranger got hold of its end.
    for (int round = 0; stream->fd >= 0 && round < 64 && read_output(stream); round++) {}
    char now[40];
    time_text(now);
    if (stream->length > 0) write_record(stream, true, now);
  }
  flush_log();
}

// MARK: The container

struct failure {
  int code;
  char stage[8];
};

static void start_child(int output, int error, int failures, const sigset_t *signals) {
  struct failure failure = {0};
  strcpy(failure.stage, "setup");
  pid_t shim = getppid();
  // A second line of defence: were the shim killed, at least the container's own process goes with it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Without this a setuid program (sudo) could start what we may not kill.
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  setsid();
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigprocmask(SIG_UNBLOCK, signals, NULL);
  umask(022);
  int null = open("/dev/null", O_RDONLY);
  if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(error, 2) < 0) goto failed;
  if (null > 2) close(null);
  if (getppid() != shim) _exit(1);
  strcpy(failure.stage, "chdir");
  if (chdir(*working_directory ? working_directory : "/") != 0) goto failed;
  strcpy(failure.stage, "exec");
  environ = environment;
  execvp(arguments[0], arguments);
failed:
  failure.code = errno;
  if (write(failures, &failure, sizeof failure) < 0) _exit(126);
  _exit(127);
}

static bool start_container(const sigset_t *signals) {
  int output[2], error[2], failures[2];
  struct failure failure = {0};
  strcpy(failure.stage, "setup");
  if (pipe2(output, O_CLOEXEC) != 0 || pipe2(error, O_CLOEXEC) != 0 || pipe2(failures, O_CLOEXEC) != 0) goto failed;
  main_pid = fork();
  if (main_pid < 0) goto failed;
  if (main_pid == 0) start_child(output[1], error[1], failures[1], signals);
  close(output[1]);
  close(error[1]);
  close(failures[1]);
  ssize_t got = read(failures[0], &failure, sizeof failure);
  close(failures[0]);
  if (got == sizeof failure) {
    report(true, "failed %d %s\n", failure.code, failure.stage);
    return false;
  }
  streams[0].fd = output[0];
  streams[1].fd = error[0];
  for (int index = 0; index < 2; index++) fcntl(streams[index].fd, F_SETFL, O_NONBLOCK);
  report(true, "started %d\n", (int)main_pid);
  return true;
failed:
  report(true, "failed %d %s\n", errno, failure.stage);
  return false;
}

// Carries out what the node asks; false when the node is gone.
static bool serve_node(void) {
  static char line[64];
  static size_t length;
  char buffer[1024];
  ssize_t got = recv(control, buffer, sizeof buffer, MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  for (ssize_t index = 0; index < got; index++) {
    if (buffer[index] != '\n') {
      if (length < sizeof line - 1) line[length++] = buffer[index];
      continue;
    }
    line[length] = 0;
    length = 0;
    int number;
    if (sscanf(line, "signal %d", &number) == 1) {
      if (!main_ended) kill(main_pid, number);
    } else if (strcmp(line, "kill") == 0) {
      kill_descendants();
    } else if (strcmp(line, "usage") == 0) {
      report_usage();
    }
  }
  return true;
}

// Looks after the container until its process has ended or nobody wants it any more.
static void watch_container(int signals) {
  while (!main_ended) {
    struct pollfd files[4] = {
      {.fd = control, .events = POLLIN},
      {.fd = signals, .events = POLLIN},
      {.fd = streams[0].fd, .events = POLLIN},
      {.fd = streams[1].fd, .events = POLLIN},
    };
    if (poll(files, 4, -1) < 0) continue;
    if (files[1].revents) {
      struct signalfd_siginfo facts;
      while (read(signals, &facts, sizeof facts) == sizeof facts)
        if (facts.ssi_signo != SIGCHLD) kill_descendants();
      reap();
    }
    for (int index = 0; index < 2; index++)
      if (streams[index].fd >= 0 && files[2 + index].revents) read_output(&streams[index]);
    flush_log();
    if (files[0].revents && !serve_node()) return;
  }
}

// Whatever the node has open without close-on-exec (libraries do that) is no business of a container.
static void close_inherited(void) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0) return;
#endif
  struct rlimit limit;
  int end = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536 ? (int)limit.rlim_cur : 65536;
  for (int descriptor = 3; descriptor < end; descriptor++) close(descriptor);
}

int main(void) {
  close_inherited();
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  signal(SIGPIPE, SIG_IGN);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  fcntl(control, F_SETFD, FD_CLOEXEC);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signal_fd < 0) return 71;
  read_configuration();
  if (*log_path) open_log(0);
  if (!start_container(&signals)) return 1;
  watch_container(signal_fd);
  // The container ends with its first process, as in a PID namespace; and with the node.
  kill_descendants();
  drain_output();
  if (!*log_path) {
    report(true, "output %zu\n", capture_length);
    for (size_t at = 0; at < capture_length;) {
      ssize_t sent = send(control, capture + at, capture_length - at, MSG_NOSIGNAL);
      if (sent < 0 && errno != EINTR) break;
      if (sent > 0) at += (size_t)sent;
    }
  }
  report(true, "exited %d %llu %llu\n", main_status, (unsigned long long)reaped_cpu(), (unsigned long long)lost_bytes);
  return 0;
}
#else
#include <stdio.h>

int main(void) {
  fputs("swarmscale-shim needs Linux: subreapers and /proc keep a container's processes together.\n", stderr);
  return 69;
}
#endif
