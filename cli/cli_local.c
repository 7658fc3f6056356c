/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_local.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli_out.h"
#include "cli/cli_signal.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/path.h"

enum {
    READY_MS = 30000,
    DRAIN_MS = 10000,
    RESTARTS_MOST = 5,
    LOG_MAX_BYTES = 4 * 1024 * 1024,
    TAIL_BYTES = 16 * 1024,
    TAIL_LINES = 5,
    ARGUMENTS = 24
};

struct daemon {
    const char *program; /* "penstock-agent" */
    char *log;
    char *arguments[ARGUMENTS]; /* NULL-terminated; owned */
    pid_t pid;                  /* 0: not running */
    int ready_fd;               /* -1 once it is ready, or has none */
    bool was_ready;
    int exit_status;
};

struct cli_local {
    char *state;
    char *folder;   /* of the sockets */
    char *programs; /* folder of the binaries */
    char *base_dir;
    char *log_level;
    bool throw_away;
    int lock_fd;
    unsigned restarts;
    struct daemon coordinator, agent;
    struct cli_http *http;
};

static void
add_argument(struct daemon *daemon, const char *text)
{
    for (size_t i = 0; i + 1 < ARGUMENTS; i++) {
        if (daemon->arguments[i] == NULL) {
            daemon->arguments[i] = ps_xstrdup(text);
            return;
        }
    }
}

static void
add_option(struct daemon *daemon, const char *name, char *own_value)
{
    add_argument(daemon, name);
    add_argument(daemon, own_value);
    ps_free(own_value);
}

/* A log that has grown is kept once under another name. */
static int
open_log(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && st.st_size > LOG_MAX_BYTES) {
        char *old = ps_xasprintf("%s.1", path);
        (void)rename(path, old);
        ps_free(old);
    }
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static enum ps_status
spawn_with(struct daemon *daemon, const char *path, int log_fd, int ready_fd, struct ps_error *err)
{
    extern char **environ;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, log_fd, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, log_fd, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ready_fd, 3);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, cli_signal_original());
    int code = posix_spawn(&daemon->pid, path, &actions, &attributes, daemon->arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (code != 0) {
        daemon->pid = 0;
        return ps_fail_errno(err, code, "%s", path);
    }
    return PS_OK;
}

static enum ps_status
spawn(struct cli_local *local, struct daemon *daemon, struct ps_error *err)
{
    int ready[2] = {-1, -1};
    int log_fd = open_log(daemon->log);
    if (log_fd < 0) {
        return ps_fail_errno(err, errno, "%s", daemon->log);
    }
    if (pipe2(ready, O_CLOEXEC | O_NONBLOCK) != 0) {
        close(log_fd);
        return ps_fail_errno(err, errno, "pipe");
    }
    char *path = ps_path_join(local->programs, daemon->program);
    enum ps_status status = spawn_with(daemon, path, log_fd, ready[1], err);
    ps_free(path);
    close(log_fd);
    close(ready[1]);
    if (daemon->ready_fd >= 0) {
        close(daemon->ready_fd);
    }
    daemon->ready_fd = -1;
    if (status == PS_OK) {
        daemon->ready_fd = ready[0];
    } else {
        close(ready[0]);
    }
    return status;
}

/* The last lines of the log that say what went wrong: errors where there are any. */
static void
log_tail(const char *path, struct ps_buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[TAIL_BYTES + 1];
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    off_t from = end > TAIL_BYTES ? end - TAIL_BYTES : 0;
    ssize_t len = fd < 0 ? 0 : pread(fd, text, TAIL_BYTES, from);
    if (fd >= 0) {
        close(fd);
    }
    text[len > 0 ? len : 0] = '\0';
    const char *lines[TAIL_LINES] = {NULL};
    size_t count = 0;
    bool errors = strstr(text, " error ") != NULL;
    for (char *line = text, *next; line != NULL && *line != '\0'; line = next) {
        next = strchr(line, '\n');
        if (next != NULL) {
            *next++ = '\0';
        }
        if (!errors || strstr(line, " error ") != NULL) {
            lines[count++ % TAIL_LINES] = line;
        }
    }
    for (size_t i = count > TAIL_LINES ? count - TAIL_LINES : 0; i < count; i++) {
        ps_buf_xprintf(out, "\n  %.160s", lines[i % TAIL_LINES]);
    }
}

static enum ps_status
fail_ended(const struct daemon *daemon, struct ps_error *err)
{
    struct ps_buf text = PS_BUF_INIT;
    int status = daemon->exit_status;
    if (WIFSIGNALED(status)) {
        ps_buf_xprintf(&text, "%s was ended by signal %d", daemon->program, WTERMSIG(status));
    } else if (WEXITSTATUS(status) == 127) {
        ps_buf_xprintf(&text, "%s cannot be run: it must stand beside penstock", daemon->program);
    } else {
        ps_buf_xprintf(&text, "%s ended with status %d", daemon->program, WEXITSTATUS(status));
    }
    ps_buf_xprintf(&text, "; its log %s:", daemon->log);
    log_tail(daemon->log, &text);
    enum ps_status code = ps_fail(err, PS_REFUSED, "%s", ps_buf_str(&text));
    ps_buf_fini(&text);
    return code;
}

/* True when it has ended; its status is kept. */
static bool
reap(struct daemon *daemon)
{
    int status = 0;
    if (daemon->pid > 0 && waitpid(daemon->pid, &status, WNOHANG) == daemon->pid) {
        daemon->pid = 0;
        daemon->exit_status = status;
        return true;
    }
    return false;
}

/* Reads the ready pipe where it has something to say. */
static void
read_ready(struct daemon *daemon)
{
    char text[16];
    ssize_t n = daemon->ready_fd >= 0 ? read(daemon->ready_fd, text, sizeof text) : -1;
    if (n > 0) {
        daemon->was_ready = true;
    }
    if (n >= 0) {
        close(daemon->ready_fd);
        daemon->ready_fd = -1;
    }
}

/* Until it serves; the other one may end meanwhile, too. */
static enum ps_status
wait_ready(struct cli_local *local, struct daemon *daemon, struct ps_error *err)
{
    int64_t end_ms = ps_clock_mono_ms() + READY_MS;
    unsigned before = cli_signal_read()->interrupts;
    while (!daemon->was_ready) {
        int64_t left_ms = end_ms - ps_clock_mono_ms();
        if (left_ms <= 0) {
            return ps_fail(err, PS_REFUSED, "%s does not answer; its log is %s", daemon->program,
                           daemon->log);
        }
        struct pollfd fds[2] = {{.fd = daemon->ready_fd, .events = POLLIN},
                                {.fd = cli_signal_fd(), .events = POLLIN}};
        (void)poll(fds, 2, (int)left_ms);
        read_ready(daemon);
        const struct cli_signals *signals = cli_signal_read();
        if (signals->interrupts != before) {
            return ps_fail(err, PS_CANCELED, "interrupted");
        }
        if (!daemon->was_ready && signals->child) {
            enum ps_status status = cli_local_check(local, err);
            if (status != PS_OK) {
                return status;
            }
        }
    }
    return PS_OK;
}

enum ps_status
cli_local_wait_agent(struct cli_local *local, struct ps_error *err)
{
    return wait_ready(local, &local->agent, err);
}

/* Who has the state folder, for the message. */
static enum ps_status
take_lock(struct cli_local *local, struct ps_error *err)
{
    char *path = ps_path_join(local->state, "lock");
    enum ps_status status = ps_path_lock(path, &local->lock_fd, err);
    if (status == PS_OK) {
        char text[128], now[PS_CLOCK_TEXT_BYTES];
        int len = snprintf(text, sizeof text, "process %ld since %s\n", (long)getpid(),
                           ps_clock_text(ps_clock_wall_ms(), now));
        if (ftruncate(local->lock_fd, 0) != 0 ||
            pwrite(local->lock_fd, text, (size_t)len, 0) != len) {
            /* The lock counts, not what is written in it. */
        }
    } else if (err != NULL && strcmp(err->code, "locked") == 0) {
        struct ps_buf holder = PS_BUF_INIT;
        if (ps_path_read(path, 128, &holder, NULL) != PS_OK || holder.len == 0) {
            ps_buf_clear(&holder);
            ps_buf_xprintf(&holder, "another process\n");
        }
        holder.len -= 1;
        status = ps_fail_code(err, PS_REFUSED, "in_use",
                              "the state folder %s is in use by %s; wait for it, or name another "
                              "with --state",
                              local->state, ps_buf_str(&holder));
        ps_buf_fini(&holder);
    }
    ps_free(path);
    return status;
}

static void
arguments_of_coordinator(struct cli_local *local)
{
    struct daemon *daemon = &local->coordinator;
    daemon->program = "penstock-coordinator";
    daemon->log = ps_path_join(local->state, "logs/coordinator.log");
    add_argument(daemon, daemon->program);
    add_option(daemon, "--http", ps_xasprintf("unix:%s/http", local->folder));
    add_option(daemon, "--rpc", ps_xasprintf("ipc://%s/rpc", local->folder));
    add_option(daemon, "--state", ps_path_join(local->state, "coordinator"));
    add_option(daemon, "--log-level", ps_xstrdup(local->log_level));
    add_option(daemon, "--ready-fd", ps_xstrdup("3"));
    add_option(daemon, "--die-with-parent", ps_xasprintf("%ld", (long)getpid()));
}

static void
arguments_of_agent(struct cli_local *local, unsigned leaves)
{
    struct daemon *daemon = &local->agent;
    daemon->program = "penstock-agent";
    daemon->log = ps_path_join(local->state, "logs/agent.log");
    add_argument(daemon, daemon->program);
    add_option(daemon, "--coordinator", ps_xasprintf("ipc://%s/rpc", local->folder));
    add_option(daemon, "--name", ps_xstrdup("local"));
    add_option(daemon, "--leaves", ps_xasprintf("%u", leaves));
    add_option(daemon, "--state", ps_path_join(local->state, "agent"));
    add_option(daemon, "--base-dir", ps_xstrdup(local->base_dir));
    /* It reads what this person could read with any tool of theirs. */
    add_option(daemon, "--allow-network", ps_xstrdup("any"));
    add_option(daemon, "--log-level", ps_xstrdup(local->log_level));
    add_option(daemon, "--ready-fd", ps_xstrdup("3"));
    add_option(daemon, "--die-with-parent", ps_xasprintf("%ld", (long)getpid()));
}

enum ps_status
cli_local_start_agent(struct cli_local *local, unsigned leaves, struct ps_error *err)
{
    arguments_of_agent(local, leaves);
    return spawn(local, &local->agent, err);
}

static enum ps_status
start(struct cli_local *local, const struct cli_local_options *options, struct ps_error *err)
{
    char *logs = ps_path_join(local->state, "logs");
    enum ps_status status = ps_path_mkdirs(logs, err);
    ps_free(logs);
    if (status == PS_OK) {
        status = take_lock(local, err);
    }
    if (status == PS_OK) {
        status = ps_path_exe_folder(&local->programs, err);
    }
    if (status == PS_OK) {
        status = ps_path_runtime_folder(&local->folder, err);
    }
    if (status != PS_OK) {
        return status;
    }
    /* What is meant for a cluster's programs is not meant for these. */
    static const char *const not_ours[] = {"PENSTOCK_CONFIG", "PENSTOCK_ROOT",
                                           "PENSTOCK_COORDINATOR", "PENSTOCK_LOG_FORMAT"};
    for (size_t i = 0; i < sizeof not_ours / sizeof not_ours[0]; i++) {
        (void)unsetenv(not_ours[i]);
    }
    arguments_of_coordinator(local);
    status = spawn(local, &local->coordinator, err);
    if (status == PS_OK) {
        status = wait_ready(local, &local->coordinator, err);
    }
    /* Only now: an agent whose first call fails waits before the next, longer than this takes. */
    if (status == PS_OK && options->leaves > 0) {
        status = cli_local_start_agent(local, options->leaves, err);
    }
    if (status == PS_OK) {
        char *address = ps_xasprintf("unix:%s/http", local->folder);
        status = cli_http_new(address, &local->http, err);
        ps_free(address);
    }
    return status;
}

enum ps_status
cli_local_start(const struct cli_local_options *options, struct cli_local **out,
                struct ps_error *err)
{
    struct cli_local *local = ps_xcalloc(1, sizeof *local);
    local->state = ps_xstrdup(options->state);
    local->base_dir = ps_xstrdup(options->base_dir);
    local->log_level = ps_xstrdup(options->log_level != NULL ? options->log_level : "info");
    local->throw_away = options->throw_away;
    local->lock_fd = -1;
    local->coordinator.ready_fd = -1;
    local->agent.ready_fd = -1;
    enum ps_status status = start(local, options, err);
    if (status != PS_OK) {
        cli_local_kill(local);
        return status;
    }
    *out = local;
    return PS_OK;
}

struct cli_http *
cli_local_http(struct cli_local *local)
{
    return local->http;
}

const char *
cli_local_state(const struct cli_local *local)
{
    return local->state;
}

enum ps_status
cli_local_check(struct cli_local *local, struct ps_error *err)
{
    cli_signal_clear_child();
    struct daemon *both[] = {&local->coordinator, &local->agent};
    for (size_t i = 0; i < 2; i++) {
        read_ready(both[i]);
        if (!reap(both[i])) {
            continue;
        }
        /* One that never got ready would not the next time either. */
        if (!both[i]->was_ready || local->restarts++ >= RESTARTS_MOST) {
            return fail_ended(both[i], err);
        }
        enum ps_status status = spawn(local, both[i], err);
        if (status != PS_OK) {
            return status;
        }
    }
    return PS_OK;
}

static void
signal_group(const struct daemon *daemon, int number)
{
    if (daemon->pid > 0) {
        (void)kill(-daemon->pid, number);
    }
}

static void
daemon_fini(struct daemon *daemon)
{
    for (size_t i = 0; i < ARGUMENTS; i++) {
        ps_free(daemon->arguments[i]);
    }
    ps_free(daemon->log);
    if (daemon->ready_fd >= 0) {
        close(daemon->ready_fd);
    }
}

/* What is left behind is rubbish, not harm. */
static void
remove_folder(const char *path)
{
    struct ps_error err = {0};
    if (ps_path_remove_tree(path, &err) != PS_OK) {
        cli_say("warning: %s", err.text);
    }
}

static void
local_free(struct cli_local *local)
{
    cli_http_free(local->http);
    if (local->folder != NULL) {
        remove_folder(local->folder);
    }
    if (local->throw_away) {
        remove_folder(local->state);
    }
    if (local->lock_fd >= 0) {
        close(local->lock_fd);
    }
    daemon_fini(&local->coordinator);
    daemon_fini(&local->agent);
    ps_free(local->state);
    ps_free(local->folder);
    ps_free(local->programs);
    ps_free(local->base_dir);
    ps_free(local->log_level);
    ps_free(local);
}

/* Asks it to end and waits for that until end_ms or another interrupt. */
static void
end_daemon(struct daemon *daemon, int64_t end_ms, unsigned interrupts)
{
    if (daemon->pid > 0) {
        (void)kill(daemon->pid, SIGTERM);
    }
    for (;;) {
        const struct cli_signals *signals = cli_signal_read();
        cli_signal_clear_child();
        (void)reap(daemon);
        int64_t left_ms = end_ms - ps_clock_mono_ms();
        if (daemon->pid == 0 || left_ms <= 0 || signals->interrupts != interrupts) {
            return;
        }
        struct pollfd fd = {.fd = cli_signal_fd(), .events = POLLIN};
        (void)poll(&fd, 1, (int)left_ms);
    }
}

void
cli_local_stop(struct cli_local *local)
{
    if (local == NULL) {
        return;
    }
    int64_t end_ms = ps_clock_mono_ms() + DRAIN_MS;
    unsigned interrupts = cli_signal_read()->interrupts;
    /* The agent first: its last reports need a coordinator. */
    end_daemon(&local->agent, end_ms, interrupts);
    end_daemon(&local->coordinator, end_ms, interrupts);
    cli_local_kill(local);
}

void
cli_local_kill(struct cli_local *local)
{
    if (local == NULL) {
        return;
    }
    struct daemon *both[] = {&local->agent, &local->coordinator};
    for (size_t i = 0; i < 2; i++) {
        signal_group(both[i], SIGKILL);
    }
    for (size_t i = 0; i < 2; i++) {
        if (both[i]->pid > 0) {
            (void)waitpid(both[i]->pid, NULL, 0);
        }
    }
    local_free(local);
}
