/*
 * Preloaded into wlmscpfs (LD_PRELOAD), this library replaces two functions of libc.
 *
 * accept(): wlmscpfs reads the first PDU of a connection before it forks. A client that stays silent, or stops within
 * that PDU, keeps everybody else waiting for 5 or 60 seconds. Here the fork comes first: each connection has a child of
 * its own, and the child does with it what wlmscpfs always does.
 *
 * fcntl(): a query shares the lock of the lockfile with the queries before it. With enough queries a writer would never
 * have its turn. A writer that waits therefore also takes the file's flock, and a new query waits for that first.
 * Some queries (a dozen asterisks) would take years to match and hold the lock all the time. Each has 5 seconds of a
 * processor.
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUERY_SECONDS 5

static size_t most_children = SIZE_MAX;
static pid_t *children;
static size_t children_count;

/* A wrong limit ends the program before it serves anybody. */
__attribute__((constructor)) static void read_limit(void)
{
    const char *text = getenv("MAX_ASSOCIATIONS");
    if (!text)
        return;

    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < 1) {
        dprintf(STDERR_FILENO, "MAX_ASSOCIATIONS is \"%s\": it must be a whole number, 1 or more\n", text);
        _exit(1);
    }
    most_children = (size_t)number;
}

/* Asks for each child by its id: wlmscpfs may have waited for some of them itself. */
static void forget_ended_children(void)
{
    size_t left = 0;
    for (size_t i = 0; i < children_count; i++)
        if (waitpid(children[i], NULL, WNOHANG) == 0)
            children[left++] = children[i];
    children_count = left;
}

/* Like fork(); it also fails if there are as many children as there may be. */
static pid_t fork_child(void)
{
    forget_ended_children();
    if (children_count >= most_children)
        return -1;

    pid_t *room = realloc(children, (children_count + 1) * sizeof *children);
    if (!room)
        return -1;
    children = room;

    pid_t child = fork();
    if (child > 0)
        children[children_count++] = child;
    return child;
}

/* Puts /dev/null in the listening socket's place. It is always readable, so wlmscpfs calls accept() again at once. */
static bool stop_listening(int listening)
{
    int null = open("/dev/null", O_RDONLY);
    if (null < 0)
        return false;
    bool stopped = dup2(null, listening) >= 0;
    close(null);
    return stopped;
}

/* A-ASSOCIATE-RJ: transient, by the service provider (presentation), local limit exceeded (PS3.8 9.3.4). */
static void reject(int connection)
{
    static const unsigned char rejection[] = {3, 0, 0, 0, 0, 4, 0, 2, 3, 2};
    send(connection, rejection, sizeof rejection, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* wlmscpfs forks once more, for the association. Until that ends, this child holds its place. */
_Noreturn static void end_child(void)
{
    while (wait(NULL) > 0 || errno == EINTR)
        ;
    _exit(0);
}

/* Returns in a child only, once for each connection, and with an error in the parent. */
int accept(int listening, __SOCKADDR_ARG address /* as libc declares it */, socklen_t *length)
{
    static bool is_child;
    if (is_child)
        end_child();

    for (;;) {
        socklen_t size = length ? *length : 0;
        int connection = accept4(listening, address, length ? &size : NULL, 0);
        if (connection < 0)
            return -1;

        pid_t child = fork_child();
        if (child == 0 && stop_listening(listening)) {
            is_child = true;
            if (length)
                *length = size;
            return connection;
        }
        if (child <= 0)
            reject(connection);
        if (child == 0)
            _exit(1);
        close(connection);
    }
}

/* The writer holds the flock. It is given back at once: a query that has begun does not delay a writer by it. */
static void let_writers_go_first(int file)
{
    while (flock(file, LOCK_SH))
        if (errno != EINTR)
            return;
    flock(file, LOCK_UN);
}

/* Counts from what was used before, as there may be several queries in an association. */
static void limit_processor(void)
{
    struct rusage used;
    struct rlimit limit;
    getrusage(RUSAGE_SELF, &used);
    getrlimit(RLIMIT_CPU, &limit);

    /* the limit is in whole seconds: round up, so that it is never less than a query has */
    long microseconds = used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    rlim_t seconds = (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec + microseconds / 1000000 + 1);
    limit.rlim_cur = seconds + QUERY_SECONDS;
    signal(SIGXCPU, _exit); /* without a core dump */
    setrlimit(RLIMIT_CPU, &limit); /* fails only if the container's own limit is lower: then that holds */
}

int fcntl(int file, int command, ...)
{
    static int (*original)(int, int, ...);
    if (!original) {
        void *found = dlsym(RTLD_NEXT, "fcntl");
        memcpy(&original, &found, sizeof original); /* ISO C has no conversion to a function */
    }

    /* an integer, too, is passed on whole: libc reads its argument in the same way */
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);

    if (command == F_SETLKW && ((const struct flock *)argument)->l_type == F_RDLCK) {
        let_writers_go_first(file);
        limit_processor();
    }
    return original(file, command, argument);
}
