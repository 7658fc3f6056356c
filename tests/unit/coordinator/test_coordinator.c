/* SPDX-License-Identifier: Apache-2.0 */
/* The program as it is started and ended: options, lock, readiness, signals. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/path.h"

enum { ARGUMENTS_MOST = 20, DEADLINE_MS = 20000, READY_FD = 3 };

struct place {
    char *program;
    char folder[64];
};

static void
place_open(struct place *place)
{
    char *tests = NULL;
    cr_assert_eq(ps_path_exe_folder(&tests, NULL), PS_OK);
    place->program = ps_xasprintf("%s/../bin/penstock-coordinator", tests);
    ps_free(tests);
    snprintf(place->folder, sizeof place->folder, "/tmp/penstock-main-XXXXXX");
    cr_assert_not_null(mkdtemp(place->folder));
}

static void
place_close(struct place *place)
{
    cr_expect_eq(ps_path_remove_tree(place->folder, NULL), PS_OK);
    ps_free(place->program);
}

/* In the child: stderr and READY_FD are the pipes' ends. */
static void
exec_program(const struct place *place, const char *const *arguments, int ready_fd, int text_fd)
{
    const char *argv[ARGUMENTS_MOST] = {place->program};
    size_t count = 1;
    for (; arguments[count - 1] != NULL; count++) {
        argv[count] = arguments[count - 1];
    }
    if (dup2(text_fd, STDERR_FILENO) < 0 || dup2(ready_fd, READY_FD) < 0 ||
        chdir(place->folder) != 0) {
        _exit(99);
    }
    execv(place->program, (char *const *)(uintptr_t)argv);
    _exit(98);
}

struct child {
    pid_t pid;
    int ready_fd; /* "ready\n" or its end */
    int text_fd;  /* stderr */
};

/* Relative paths are of the place: short enough for a socket. */
static struct child
child_start(const struct place *place, const char *const *arguments)
{
    int ready[2];
    int text[2];
    cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(text, O_CLOEXEC), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        exec_program(place, arguments, ready[1], text[1]);
    }
    close(ready[1]);
    close(text[1]);
    return (struct child){.pid = pid, .ready_fd = ready[0], .text_fd = text[0]};
}

/* Everything until its end, or the deadline. */
static void
read_all(int fd, char *out, size_t room)
{
    size_t len = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (len + 1 < room && poll(&ready, 1, DEADLINE_MS) == 1) {
        ssize_t got = read(fd, out + len, room - 1 - len);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
    }
    out[len] = '\0';
}

static void
child_wait_ready(struct child *child)
{
    char text[16];
    read_all(child->ready_fd, text, sizeof text);
    cr_assert_str_eq(text, "ready\n");
}

/* Its exit code; text gets what it said on stderr. */
static int
child_end(struct child *child, char *text, size_t room)
{
    int status = 0;
    read_all(child->text_fd, text, room);
    cr_assert_eq(waitpid(child->pid, &status, 0), child->pid);
    close(child->ready_fd);
    close(child->text_fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static const char *const serve[] = {"--http",     "unix:http",  "--rpc", "ipc://rpc", "--state",
                                    "state/deep", "--ready-fd", "3",     NULL};

static int
connect_http(const struct place *place)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/http", place->folder);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static void
ask(int fd, const char *line)
{
    char *text = ps_xasprintf("%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", line);
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    ps_free(text);
}

Test(coordinator, says_all_that_is_wrong)
{
    struct place place;
    char text[4096];
    const char *const wrong[] = {"--http",  "0.0.0.0:1", "--rpc",       "tcp://0.0.0.0:1,udp://x",
                                 "--lease", "2s",        "--heartbeat", "11s",
                                 NULL};
    const char *const unknown[] = {"--stat", "x", "--lease", "soon", NULL};
    place_open(&place);
    struct child child = child_start(&place, wrong);
    cr_expect_eq(child_end(&child, text, sizeof text), 2);
    const char *const parts[] = {"http \"0.0.0.0:1\"",
                                 "rpc \"tcp://0.0.0.0:1\"",
                                 "rpc \"udp://x\"",
                                 "heartbeat (11000 ms) must be shorter than self-stop",
                                 "self-stop (10000 ms) must be shorter than lease",
                                 "leaf-silence (5000 ms) must be shorter than lease"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        cr_expect_not_null(strstr(text, parts[i]), "no %s in %s", parts[i], text);
    }
    child = child_start(&place, unknown);
    cr_expect_eq(child_end(&child, text, sizeof text), 2);
    cr_expect_not_null(strstr(text, "--state"), "%s", text);
    cr_expect_not_null(strstr(text, "lease"), "%s", text);
    place_close(&place);
}

Test(coordinator, serves_once_and_ends_on_sigterm)
{
    struct place place;
    char text[4096];
    char answer[4096];
    const char *const second[] = {"--http",  "unix:http2", "--rpc", "ipc://rpc2",
                                  "--state", "state/deep", NULL};
    place_open(&place);
    struct child child = child_start(&place, serve);
    child_wait_ready(&child);
    struct child other = child_start(&place, second);
    cr_expect_eq(child_end(&other, text, sizeof text), 1);
    cr_expect_not_null(strstr(text, "another coordinator"), "%s", text);
    int fd = connect_http(&place);
    ask(fd, "GET /readyz");
    read_all(fd, answer, sizeof answer);
    cr_expect(strncmp(answer, "HTTP/1.1 200 ", 13) == 0, "%s", answer);
    close(fd);
    kill(child.pid, SIGHUP);
    kill(child.pid, SIGTERM);
    cr_expect_eq(child_end(&child, text, sizeof text), 0);
    cr_expect_not_null(strstr(text, "config.reloaded"), "%s", text);
    cr_expect_not_null(strstr(text, "coordinator.ended"), "%s", text);
    place_close(&place);
}

Test(coordinator, starts_again_after_kill)
{
    struct place place;
    char text[4096];
    place_open(&place);
    for (int i = 0; i < 3; i++) {
        struct child child = child_start(&place, serve);
        child_wait_ready(&child); /* the sockets of the killed one are in its way */
        kill(child.pid, SIGKILL);
        cr_expect_eq(child_end(&child, text, sizeof text), -SIGKILL);
    }
    place_close(&place);
}

Test(coordinator, dies_with_its_parent)
{
    struct place place;
    char text[4096];
    char parent_text[24] = "";
    const char *const bound[] = {"--http", "unix:http",  "--rpc", "ipc://rpc",         "--state",
                                 "state",  "--ready-fd", "3",     "--die-with-parent", parent_text,
                                 NULL};
    place_open(&place);
    /* A process of its own is the parent; this one waits for the grandchild's last word. */
    int text_pipe[2];
    int ready[2];
    cr_assert_eq(pipe2(text_pipe, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
    cr_assert_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t parent = fork();
    if (parent == 0) {
        snprintf(parent_text, sizeof parent_text, "%ld", (long)getpid());
        if (fork() == 0) {
            exec_program(&place, bound, ready[1], text_pipe[1]);
        }
        pause();
        _exit(0);
    }
    close(text_pipe[1]);
    close(ready[1]);
    struct child child = {.ready_fd = ready[0], .text_fd = text_pipe[0]};
    struct pollfd is_ready = {.fd = child.ready_fd, .events = POLLIN};
    cr_assert_eq(poll(&is_ready, 1, DEADLINE_MS), 1);
    kill(parent, SIGKILL);
    read_all(child.text_fd, text, sizeof text);
    cr_expect_not_null(strstr(text, "coordinator.ended"), "%s", text);
    while (wait(NULL) > 0) {
    }
    close(child.ready_fd);
    close(child.text_fd);
    place_close(&place);
}
