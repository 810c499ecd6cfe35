// A worker that uses as much CPU and memory as it is told. Tests drive it over HTTP on port 8080 (or $BURNER_LISTEN):
//   GET /burn?millicores=300   use 0.3 cores from now on      GET /memory?mib=50   hold 50 MiB
//   GET /unready, /ready       what /healthz answers          GET /exit?code=1     end
//   GET /state                 the present settings as JSON   GET /healthz         200 or 503
// Where $BURNER_FILE names a file (say, of a mounted ConfigMap) its number of millicores is read anew every second.
// SIGTERM ends it after $BURNER_DRAIN_SECONDS (0), still burning, as a worker that finishes its work would.
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { period_ns = 50 * 1000 * 1000, max_threads = 64, max_mib = 64 * 1024 };

static atomic_long millicores;
static atomic_long memory_mib;
static atomic_int unready;
static atomic_long threads_running = 1;

static long long clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

// Burns its share of every period, measured in CPU time of its own, so that a busy machine doesn't lessen what is asked for
// by more than the kernel makes it. Periods are absolute: a late one is not made up for.
static void *burn(void *argument) {
    long index = (long)argument;
    long long next = clock_ns(CLOCK_MONOTONIC);
    for (;;) {
        long share = atomic_load(&millicores) - index * 1000;
        if (share > 1000) share = 1000;
        next += period_ns;
        if (share > 0) {
            long long until = clock_ns(CLOCK_THREAD_CPUTIME_ID) + period_ns / 1000 * share;
            while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < until && clock_ns(CLOCK_MONOTONIC) < next) {
                for (volatile int spin = 0; spin < 2000; spin++) {
                }
            }
        }
        long long now = clock_ns(CLOCK_MONOTONIC);
        if (now > next) next = now;
        struct timespec target = {next / 1000000000LL, next % 1000000000LL};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &target, 0);
    }
    return 0;
}

static void set_millicores(long value) {
    if (value < 0) value = 0;
    if (value > max_threads * 1000L) value = max_threads * 1000L;
    atomic_store(&millicores, value);
    while (atomic_load(&threads_running) * 1000 < value) {
        pthread_t thread;
        if (pthread_create(&thread, 0, burn, (void *)atomic_fetch_add(&threads_running, 1)) != 0) return;
        pthread_detach(thread);
    }
}

static void set_memory(long mib) {
    static char *held;
    free(held);
    held = 0;
    atomic_store(&memory_mib, 0);
    if (mib <= 0 || mib > max_mib) return;
    size_t size = (size_t)mib << 20;
    held = malloc(size);
    if (!held) return;
    for (size_t offset = 0; offset < size; offset += 4096) held[offset] = (char)offset;
    atomic_store(&memory_mib, mib);
}

static void *read_file(void *path) {
    long last = -1;
    for (;;) {
        FILE *file = fopen(path, "r");
        if (file) {
            long value;
            if (fscanf(file, "%ld", &value) == 1 && value != last) set_millicores(last = value);
            fclose(file);
        }
        sleep(1);
    }
    return 0;
}

static void *drain_on_signal(void *set) {
    int number;
    sigwait(set, &number);
    const char *seconds = getenv("BURNER_DRAIN_SECONDS");
    if (seconds) sleep((unsigned)atoi(seconds));
    _exit(0);
}

static int number_after(const char *request, const char *key, long *value) {
    const char *found = strstr(request, key);
    if (!found) return 0;
    *value = strtol(found + strlen(key), 0, 10);
    return 1;
}

static void answer(int client, const char *request) {
    char body[160], head[320];
    const char *status = "200 OK";
    long value;
    if (strncmp(request, "GET /burn?", 10) == 0 && number_after(request, "millicores=", &value)) {
        set_millicores(value);
    } else if (strncmp(request, "GET /memory?", 12) == 0 && number_after(request, "mib=", &value)) {
        set_memory(value);
    } else if (strncmp(request, "GET /unready ", 13) == 0) {
        atomic_store(&unready, 1);
    } else if (strncmp(request, "GET /ready ", 11) == 0) {
        atomic_store(&unready, 0);
    } else if (strncmp(request, "GET /exit?", 10) == 0 && number_after(request, "code=", &value)) {
        _exit((int)value);
    } else if (strncmp(request, "GET /healthz", 12) == 0) {
        if (atomic_load(&unready)) status = "503 Service Unavailable";
    } else if (strncmp(request, "GET /state", 10) != 0) {
        status = "404 Not Found";
    }
    snprintf(body, sizeof body, "{\"millicores\":%ld,\"memoryMiB\":%ld,\"ready\":%s}\n", atomic_load(&millicores),
             atomic_load(&memory_mib), atomic_load(&unready) ? "false" : "true");
    int length = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                          status, strlen(body), body);
    for (int sent = 0, count; sent < length && (count = (int)write(client, head + sent, (size_t)(length - sent))) > 0; sent += count) {
    }
}

int main(void) {
    static sigset_t ends;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, 0);
    pthread_t thread;
    pthread_create(&thread, 0, drain_on_signal, &ends);
    pthread_create(&thread, 0, burn, 0);
    // Not BURNER_PORT: Kubernetes sets that itself where a service is called "burner".
    const char *initial = getenv("BURNER_MILLICORES"), *file = getenv("BURNER_FILE"), *port = getenv("BURNER_LISTEN");
    if (initial) set_millicores(atol(initial));
    if (file) pthread_create(&thread, 0, read_file, (void *)file);

    int server = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)(port ? atoi(port) : 8080))};
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server, (struct sockaddr *)&address, sizeof address) != 0 || listen(server, 64) != 0) {
        perror("burner: cannot listen");
        return 1;
    }
    for (;;) {
        int client = accept(server, 0, 0);
        if (client < 0) continue;
        struct timeval limit = {2, 0};
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        char request[1024];
        ssize_t count = read(client, request, sizeof request - 1);
        if (count > 0) {
            request[count] = 0;
            answer(client, request);
        }
        close(client);
    }
}
