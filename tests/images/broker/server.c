/*
 * Calls accept(), fork(), waitpid() and fcntl() in the order in which wlmscpfs does. It listens on port 1234, reads the
 * first line of a connection, and then forks a process that answers this line and the next ones. A line is a word and
 * up to two numbers; an answer is a line with the result and the error (errno, or 0).
 */
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int connection = -1;

static void report_signal(int number)
{
    (void)number;
    if (connection >= 0 && write(connection, "signal\n", 7) < 0)
        _exit(1);
}

static double seconds(const struct timeval *time) { return (double)time->tv_sec + (double)time->tv_usec / 1e6; }

/* Uses a processor for this long, in hundredths of a second: in this program, and in the kernel. */
static void burn(long user, long kernel)
{
    static char page[1 << 20];
    int zero = open("/dev/zero", O_RDONLY);
    struct rusage start, now;
    getrusage(RUSAGE_SELF, &start);
    do {
        for (volatile int i = 0; i < 1000000; i++)
            ;
        getrusage(RUSAGE_SELF, &now);
    } while (seconds(&now.ru_utime) - seconds(&start.ru_utime) < (double)user / 100);
    do {
        if (read(zero, page, sizeof page) < 0)
            _exit(1);
        getrusage(RUSAGE_SELF, &now);
    } while (seconds(&now.ru_stime) - seconds(&start.ru_stime) < (double)kernel / 100);
    close(zero);
}

static void answer(const char *line, const struct sockaddr_in *peer)
{
    static int file = -1;
    char word[16] = "";
    long first = 0, second = 0;
    sscanf(line, "%15s %ld %ld", word, &first, &second);
    if (file < 0)
        file = open("/worklist/lockfile", O_RDWR);

    long result = 0;
    if (!strcmp(word, "lock")) {
        struct flock lock = {.l_type = (short)second, .l_whence = SEEK_SET};
        result = fcntl(file, (int)first, &lock);
    } else if (!strcmp(word, "fcntl"))
        result = fcntl(file, (int)first, (int)second);
    else if (!strcmp(word, "burn"))
        burn(first, second);
    else if (!strcmp(word, "peer"))
        result = ntohs(peer->sin_port);
    dprintf(connection, "%ld %d\n", result, result < 0 ? errno : 0);
}

static void serve(int listening)
{
    char line[64];
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    connection = accept(listening, (struct sockaddr *)&peer, &length);
    if (connection < 0)
        return;
    if (length != sizeof peer)
        abort();
    FILE *input = fdopen(dup(connection), "r");
    if (fgets(line, sizeof line, input) && fork() == 0) {
        do
            answer(line, &peer);
        while (fgets(line, sizeof line, input));
        _exit(0);
    }
    fclose(input);
    close(connection);
    connection = -1;
}

int main(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(1234)};
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&here, sizeof here) || listen(listening, 100))
        return 1;
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = report_signal}, NULL); /* no SA_RESTART */
    for (;;) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(listening, &set);
        if (select(listening + 1, &set, NULL, NULL, NULL) > 0)
            serve(listening);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}
