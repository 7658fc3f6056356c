/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/assert.h"

enum {
    READ_STEP_BYTES = 64 * 1024,
    READ_TURN_BYTES = 1024 * 1024,        /* then the other leaves have their turn */
    OUT_MAX_BYTES = 16 * FRAME_MAX_BYTES, /* a leaf that reads nothing is killed */
    EVENTS_A_TURN = 64,
};

struct leaf_process {
    pid_t pid; /* 0: not running */
    int pid_fd;
    int socket; /* -1 after its end of file */
    bool asked_writable;
    struct ps_buf in;
    struct ps_buf out;
    size_t out_at; /* bytes of out already written */
};

struct supervisor {
    struct supervisor_config config;
    int epoll_fd;
    struct leaf_process *leaves;
};

extern char **environ;

/* epoll data: leaf * 2, and 1 for its pidfd. */
static void
watch(struct supervisor *supervisor, int fd, uint64_t data, uint32_t events, int op)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    int result = epoll_ctl(supervisor->epoll_fd, op, fd, &event);
    PS_ASSERT(result == 0);
}

enum ps_status
supervisor_new(const struct supervisor_config *config, struct supervisor **out,
               struct ps_error *err)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        return ps_fail_errno(err, errno, "epoll");
    }
    struct supervisor *supervisor = ps_xcalloc(1, sizeof *supervisor);
    supervisor->config = *config;
    supervisor->epoll_fd = epoll_fd;
    supervisor->leaves = ps_xcalloc(config->leaves, sizeof *supervisor->leaves);
    for (uint32_t i = 0; i < config->leaves; i++) {
        supervisor->leaves[i].pid_fd = -1;
        supervisor->leaves[i].socket = -1;
    }
    *out = supervisor;
    return PS_OK;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd); /* also leaves the epoll set: there is no other descriptor of it */
        *fd = -1;
    }
}

static void
release(struct leaf_process *leaf)
{
    close_fd(&leaf->socket);
    close_fd(&leaf->pid_fd);
    ps_buf_fini(&leaf->in);
    ps_buf_fini(&leaf->out);
    leaf->out_at = 0;
    leaf->asked_writable = false;
    leaf->pid = 0;
}

void
supervisor_free(struct supervisor *supervisor)
{
    if (supervisor == NULL) {
        return;
    }
    for (uint32_t i = 0; i < supervisor->config.leaves; i++) {
        supervisor_kill(supervisor, i);
    }
    for (uint32_t i = 0; i < supervisor->config.leaves; i++) {
        struct leaf_process *leaf = &supervisor->leaves[i];
        while (leaf->pid != 0 && waitpid(leaf->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        release(leaf);
    }
    close(supervisor->epoll_fd);
    ps_free(supervisor->leaves);
    ps_free(supervisor);
}

int
supervisor_fd(const struct supervisor *supervisor)
{
    return supervisor->epoll_fd;
}

/* ---------------------------------------------------------------- spawn */

static char **
leaf_argv(const struct supervisor *supervisor, const char *number)
{
    size_t count = 0;
    while (supervisor->config.argv[count] != NULL) {
        count++;
    }
    char **argv = ps_xcalloc(count + 1, sizeof *argv);
    for (size_t i = 0; i < count; i++) {
        const char *text = supervisor->config.argv[i];
        argv[i] = (char *)(uintptr_t)(strcmp(text, "%LEAF%") == 0 ? number : text);
    }
    return argv;
}

/* Signals as a fresh program expects them, but SIGPIPE stays ignored; no descriptor of ours but
 * the standard ones and the socket. */
static int
spawn_process(const struct supervisor *supervisor, uint32_t number, int child_socket, pid_t *out)
{
    char text[16];
    snprintf(text, sizeof text, "%" PRIu32, number);
    char **argv = leaf_argv(supervisor, text);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    sigset_t defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGTERM);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGHUP);
    sigaddset(&defaults, SIGCHLD);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, child_socket, SUPERVISOR_LEAF_FD);
    posix_spawn_file_actions_addclosefrom_np(&actions, SUPERVISOR_LEAF_FD + 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int error = posix_spawn(out, supervisor->config.program, &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    ps_free(argv);
    return error;
}

enum ps_status
supervisor_spawn(struct supervisor *supervisor, uint32_t number, struct ps_error *err)
{
    struct leaf_process *leaf = &supervisor->leaves[number];
    PS_ASSERT(leaf->pid == 0);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return ps_fail_errno(err, errno, "socket pair of leaf %" PRIu32, number);
    }
    pid_t pid = 0;
    int error = spawn_process(supervisor, number, pair[1], &pid);
    close(pair[1]);
    if (error != 0) {
        close(pair[0]);
        return ps_fail_errno(err, error, "spawn leaf %" PRIu32, number);
    }
    int pid_fd = pidfd_open(pid, 0);
    if (pid_fd < 0) {
        error = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(pair[0]);
        return ps_fail_errno(err, error, "watch leaf %" PRIu32, number);
    }
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    leaf->pid = pid;
    leaf->pid_fd = pid_fd;
    leaf->socket = pair[0];
    watch(supervisor, leaf->socket, (uint64_t)number * 2, EPOLLIN, EPOLL_CTL_ADD);
    watch(supervisor, leaf->pid_fd, (uint64_t)number * 2 + 1, EPOLLIN, EPOLL_CTL_ADD);
    return PS_OK;
}

void
supervisor_kill(struct supervisor *supervisor, uint32_t number)
{
    if (supervisor->leaves[number].pid != 0) {
        kill(supervisor->leaves[number].pid,
             SIGKILL); /* not reaped yet: the pid is still its own */
    }
}

/* ---------------------------------------------------------------- out */

static void
write_out(struct supervisor *supervisor, uint32_t number)
{
    struct leaf_process *leaf = &supervisor->leaves[number];
    while (leaf->out_at < leaf->out.len) {
        ssize_t wrote = send(leaf->socket, leaf->out.ptr + leaf->out_at,
                             leaf->out.len - leaf->out_at, MSG_NOSIGNAL);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote < 0) {
            break; /* full, or its end is closed, which reading tells */
        }
        leaf->out_at += (size_t)wrote;
    }
    bool is_empty = leaf->out_at == leaf->out.len;
    if (is_empty) {
        ps_buf_clear(&leaf->out);
        leaf->out_at = 0;
    }
    if (leaf->asked_writable == is_empty) {
        leaf->asked_writable = !is_empty;
        watch(supervisor, leaf->socket, (uint64_t)number * 2,
              is_empty ? EPOLLIN : EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
}

void
supervisor_send(struct supervisor *supervisor, uint32_t number, enum msg_type type,
                const ProtobufCMessage *message)
{
    struct leaf_process *leaf = &supervisor->leaves[number];
    struct ps_error err;
    if (leaf->pid == 0 || leaf->socket < 0) {
        return;
    }
    if (leaf->out.len - leaf->out_at > OUT_MAX_BYTES ||
        frame_append(&leaf->out, type, message, &err) != PS_OK) {
        supervisor_kill(supervisor, number);
        return;
    }
    write_out(supervisor, number);
}

/* ---------------------------------------------------------------- in */

/* Hands on every whole frame. False: the bytes make no sense. */
static bool
deliver(struct supervisor *supervisor, uint32_t number)
{
    struct leaf_process *leaf = &supervisor->leaves[number];
    struct ps_error err;
    size_t at = 0;
    bool ok = true;
    while (at < leaf->in.len) {
        struct ps_span rest = ps_span(leaf->in.ptr + at, leaf->in.len - at);
        size_t total = 0;
        enum msg_type type;
        ProtobufCMessage *message = NULL;
        if (frame_total(rest, &total, &err) != PS_OK) {
            ok = false;
            break;
        }
        if (total == 0 || total > rest.len) {
            break;
        }
        if (frame_unpack(ps_span(rest.ptr, total), &type, &message, &err) != PS_OK) {
            ok = false;
            break;
        }
        at += total;
        supervisor->config.on_message(supervisor->config.ctx, number, type, &message);
        msg_free(message);
    }
    if (at > 0) {
        memmove(leaf->in.ptr, leaf->in.ptr + at, leaf->in.len - at);
        leaf->in.len -= at;
    }
    return ok;
}

/* Reads at most `most` bytes. False at the end of the file or of sense: nothing more will come. */
static bool
read_in(struct supervisor *supervisor, uint32_t number, size_t most)
{
    struct leaf_process *leaf = &supervisor->leaves[number];
    struct ps_error err;
    for (size_t got_all = 0; got_all < most;) {
        if (ps_buf_reserve(&leaf->in, READ_STEP_BYTES, &err) != PS_OK) {
            return false;
        }
        ssize_t got = recv(leaf->socket, leaf->in.ptr + leaf->in.len, READ_STEP_BYTES, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN) {
            return true;
        }
        if (got <= 0) {
            return false;
        }
        got_all += (size_t)got;
        leaf->in.len += (size_t)got;
        if (!deliver(supervisor, number)) {
            supervisor_kill(supervisor, number);
            return false;
        }
    }
    return true;
}

static void
say_how(int status, char *out, size_t bytes)
{
    if (WIFSIGNALED(status)) {
        snprintf(out, bytes, "killed by signal %d", WTERMSIG(status));
    } else {
        snprintf(out, bytes, "ended with status %d", WEXITSTATUS(status));
    }
}

static void
reap(struct supervisor *supervisor, uint32_t number)
{
    struct leaf_process *leaf = &supervisor->leaves[number];
    int status = 0;
    pid_t pid = waitpid(leaf->pid, &status, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == EINTR)) {
        return;
    }
    if (leaf->socket >= 0) {
        (void)read_in(supervisor, number, SIZE_MAX); /* what it had sent before it ended */
    }
    char how[64];
    say_how(pid < 0 ? 0 : status, how, sizeof how);
    release(leaf);
    supervisor->config.on_gone(supervisor->config.ctx, number,
                               pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0, how);
}

void
supervisor_turn(struct supervisor *supervisor)
{
    struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(supervisor->epoll_fd, events, EVENTS_A_TURN, 0);
    for (int i = 0; i < count; i++) {
        uint32_t number = (uint32_t)(events[i].data.u64 / 2);
        struct leaf_process *leaf = &supervisor->leaves[number];
        if (events[i].data.u64 % 2 == 1) {
            reap(supervisor, number);
            continue;
        }
        if (leaf->socket >= 0 && (events[i].events & EPOLLOUT) != 0) {
            write_out(supervisor, number);
        }
        if (leaf->socket >= 0 && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 &&
            !read_in(supervisor, number, READ_TURN_BYTES)) {
            close_fd(&leaf->socket); /* its death, or our kill, is told by the pidfd */
        }
    }
}
