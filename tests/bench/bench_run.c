/* SPDX-License-Identifier: Apache-2.0 */
/* bench_run FILE COMMAND…: runs one command and writes "wall CPU RSS-KiB" to FILE: seconds, user +
 * system seconds of it and all it waited for, peak of the largest of them. A process of its own,
 * because a peak is handed on by exec: a command that Python starts is never smaller than Python.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

static double
seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

int
main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench_run FILE COMMAND…\n");
        return 2;
    }
    int64_t began = ps_clock_mono_ns();
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    int status = 0;
    struct rusage usage;
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid) {
        perror("bench_run");
        return 1;
    }
    double wall = (double)(ps_clock_mono_ns() - began) / 1e9;
    FILE *out = fopen(argv[1], "w");
    if (out == NULL) {
        perror(argv[1]);
        return 1;
    }
    fprintf(out, "%.6f %.6f %ld\n", wall, seconds(usage.ru_utime) + seconds(usage.ru_stime),
            usage.ru_maxrss);
    fclose(out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
