/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/control/control_core.h"
#include "agent/control/control_link.h"
#include "agent/host_token.h"
#include "agent/supervisor/supervisor.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/path.h"
#include "common/rand.h"

/* A second signal within this time is the first one, sent to the process and to its group. */
enum { HURRY_AFTER_MS = 500, LOCK_WAIT_MS = 2000, LOCK_AGAIN_MS = 10 };

struct agent {
    const struct agent_config *config;
    int lock_fd;
    int signal_fd;
    int ready_fd;     /* -1 once said */
    int64_t drain_ms; /* when the first SIGTERM came; 0: not yet */
    struct supervisor *supervisor;
    struct control_link *link;
    struct control_core *core;
};

static const char *const schemes[] = {"file", "http",   "https",     "gen",
                                      "null", "sqlite", "postgresql"};

/* ---------------------------------------------------------------- what the core asks for */

static int64_t
env_mono_ms(void *ctx)
{
    (void)ctx;
    return ps_clock_mono_ms();
}

static void
env_random(void *ctx, void *out, size_t bytes)
{
    (void)ctx;
    ps_rand_system(out, bytes);
}

static void
env_send_coordinator(void *ctx, unsigned slot, uint32_t timeout_ms, enum msg_type type,
                     const ProtobufCMessage *message)
{
    struct agent *agent = ctx;
    control_link_send(agent->link, slot, timeout_ms, type, message);
}

static void
env_send_leaf(void *ctx, uint32_t leaf, enum msg_type type, const ProtobufCMessage *message)
{
    struct agent *agent = ctx;
    supervisor_send(agent->supervisor, leaf, type, message);
}

static enum ps_status
env_spawn_leaf(void *ctx, uint32_t leaf, struct ps_error *err)
{
    struct agent *agent = ctx;
    return supervisor_spawn(agent->supervisor, leaf, err);
}

static void
env_kill_leaf(void *ctx, uint32_t leaf)
{
    struct agent *agent = ctx;
    supervisor_kill(agent->supervisor, leaf);
}

static void
env_log(void *ctx, enum log_level level, const char *event, const char *text)
{
    (void)ctx;
    log_write(level, event, "%s", text);
}

/* ---------------------------------------------------------------- events */

static void
on_leaf_message(void *ctx, uint32_t leaf, enum msg_type type, ProtobufCMessage **own_message)
{
    struct agent *agent = ctx;
    control_core_leaf_message(agent->core, leaf, type, own_message);
}

static void
on_leaf_gone(void *ctx, uint32_t leaf, bool clean, const char *how)
{
    struct agent *agent = ctx;
    control_core_leaf_gone(agent->core, leaf, clean, how);
}

static void
on_signals(struct agent *agent)
{
    struct signalfd_siginfo info;
    while (read(agent->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            log_info("signal.ignored", "signal=HUP: there is nothing to read again yet");
        } else if (agent->drain_ms == 0) {
            agent->drain_ms = ps_clock_mono_ms();
            control_core_drain(agent->core);
        } else if (ps_clock_mono_ms() - agent->drain_ms >= HURRY_AFTER_MS) {
            log_warn("agent.hurried", "second signal: the leaves are killed");
            _exit(1); /* they die with us; what is committed stands in the ledger */
        }
    }
}

static void
on_answers(struct agent *agent)
{
    struct control_taken taken;
    while (control_link_take(agent->link, &taken)) {
        if (taken.message == NULL) {
            log_write(taken.unsendable ? LOG_ERROR : LOG_DEBUG, "request.lost",
                      "slot=%u why=\"%s\"", taken.slot, taken.why);
            control_core_lost(agent->core, taken.slot);
        } else {
            control_core_answer(agent->core, taken.slot, taken.type, &taken.message);
        }
    }
}

static void
say_ready(struct agent *agent)
{
    if (agent->ready_fd >= 0 && control_core_is_greeted(agent->core)) {
        ssize_t wrote = write(agent->ready_fd, "ready\n", 6);
        (void)wrote; /* who asked may have gone */
        close(agent->ready_fd);
        agent->ready_fd = -1;
    }
}

static int
wait_ms(int64_t next_mono_ms)
{
    if (next_mono_ms == INT64_MAX) {
        return -1;
    }
    int64_t wait = next_mono_ms - ps_clock_mono_ms();
    return wait < 0 ? 0 : wait > INT32_MAX ? INT32_MAX : (int)wait;
}

static int
loop(struct agent *agent)
{
    struct pollfd fds[] = {
        {.fd = agent->signal_fd, .events = POLLIN},
        {.fd = control_link_fd(agent->link), .events = POLLIN},
        {.fd = supervisor_fd(agent->supervisor), .events = POLLIN},
    };
    for (;;) {
        int64_t next = control_core_turn(agent->core);
        say_ready(agent);
        enum control_state state = control_core_state(agent->core);
        if (state == CONTROL_DRAINED) {
            log_info("agent.drained", "name=%s", agent->config->name);
            return 0;
        }
        if (state != CONTROL_RUNNING) {
            log_error(state == CONTROL_REFUSED ? "agent.refused" : "agent.superseded",
                      "name=%s text=\"%s\"", agent->config->name, control_core_reason(agent->core));
            return 1;
        }
        if (poll(fds, sizeof fds / sizeof fds[0], wait_ms(next)) < 0 && errno != EINTR) {
            log_error("poll.failed", "errno=%d", errno);
            return 1;
        }
        on_signals(agent);
        supervisor_turn(agent->supervisor);
        on_answers(agent);
    }
}

/* ---------------------------------------------------------------- life */

/* Before any other thread exists, so that all of them inherit the mask. */
static enum ps_status
open_signals(struct agent *agent, struct ps_error *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    agent->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return agent->signal_fd < 0 ? ps_fail_errno(err, errno, "signalfd") : PS_OK;
}

/* A leaf that our predecessor was just spawning when it was killed has its descriptors until it
 * execs; so a lock that is taken is asked for again for a while. */
static enum ps_status
lock_state(const char *path, int *out_fd, struct ps_error *err)
{
    int64_t end_ms = ps_clock_mono_ms() + LOCK_WAIT_MS;
    enum ps_status status = ps_path_lock(path, out_fd, err);
    while (status == PS_REFUSED && strcmp(err->code, "locked") == 0 &&
           ps_clock_mono_ms() < end_ms) {
        poll(NULL, 0, LOCK_AGAIN_MS);
        status = ps_path_lock(path, out_fd, err);
    }
    return status;
}

static enum ps_status
open_state(struct agent *agent, struct ps_error *err)
{
    enum ps_status status = ps_path_mkdirs(agent->config->state_dir, err);
    if (status != PS_OK) {
        return status;
    }
    char *path = ps_path_join(agent->config->state_dir, "lock");
    status = lock_state(path, &agent->lock_fd, err);
    ps_free(path);
    return status == PS_OK ? PS_OK
                           : ps_wrap(err, status, "state folder %s", agent->config->state_dir);
}

static bool
has_segment(int state_fd, const char *leaf)
{
    char *path = ps_xasprintf("%s/stage", leaf);
    int fd = openat(state_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    bool found = false;
    ps_free(path);
    for (struct dirent *entry; folder != NULL && !found && (entry = readdir(folder)) != NULL;) {
        size_t len = strlen(entry->d_name);
        found = len > 4 && strcmp(entry->d_name + len - 4, ".seg") == 0;
    }
    if (folder != NULL) {
        closedir(folder);
    } else if (fd >= 0) {
        close(fd);
    }
    return found;
}

/* Did an earlier life leave segments? Only to wait for the leaves to say so: they look themselves.
 */
static bool
has_kept(const char *state_dir)
{
    DIR *state = opendir(state_dir);
    bool found = false;
    for (struct dirent *entry; state != NULL && !found && (entry = readdir(state)) != NULL;) {
        found = strncmp(entry->d_name, "leaf-", 5) == 0 && has_segment(dirfd(state), entry->d_name);
    }
    if (state != NULL) {
        closedir(state);
    }
    return found;
}

static enum ps_status
open_all(struct agent *agent, struct ps_error *err)
{
    enum ps_status status = open_signals(agent, err);
    if (status != PS_OK || (status = open_state(agent, err)) != PS_OK) {
        return status;
    }
    const struct supervisor_config supervisor_config = {
        .leaves = agent->config->leaves,
        .program = "/proc/self/exe",
        .argv = agent->config->leaf_argv,
        .ctx = agent,
        .on_message = on_leaf_message,
        .on_gone = on_leaf_gone,
    };
    status = supervisor_new(&supervisor_config, &agent->supervisor, err);
    if (status != PS_OK) {
        return status;
    }
    status = control_link_open(agent->config->coordinator, CONTROL_SLOTS, &agent->link, err);
    if (status != PS_OK) {
        return status;
    }
    const struct control_env env = {
        .ctx = agent,
        .mono_ms = env_mono_ms,
        .random = env_random,
        .send_coordinator = env_send_coordinator,
        .send_leaf = env_send_leaf,
        .spawn_leaf = env_spawn_leaf,
        .kill_leaf = env_kill_leaf,
        .log = env_log,
    };
    const struct control_config config = {
        .agent_name = agent->config->name,
        .leaves = agent->config->leaves,
        .pid = (uint32_t)getpid(),
        .host_token = host_token(),
        .schemes = schemes,
        .scheme_count = sizeof schemes / sizeof schemes[0],
        .has_kept = has_kept(agent->config->state_dir),
    };
    agent->core = control_core_new(&env, &config);
    return PS_OK;
}

int
agent_run(const struct agent_config *config)
{
    struct agent agent = {
        .config = config, .lock_fd = -1, .signal_fd = -1, .ready_fd = config->ready_fd};
    struct ps_error err;
    int exit_status = 1;
    if (open_all(&agent, &err) == PS_OK) {
        log_info("agent.started", "name=%s leaves=%" PRIu32 " coordinator=%s", config->name,
                 config->leaves, config->coordinator);
        exit_status = loop(&agent);
    } else {
        log_error("agent.unstarted", "name=%s error=\"%s\"", config->name, err.text);
    }
    supervisor_free(agent.supervisor);
    control_core_free(agent.core);
    /* agent.link stays open: closing it waits for ever, now and then in nng 1.5, for a connection
     * on which a message is just coming in. */
    if (agent.signal_fd >= 0) {
        close(agent.signal_fd);
    }
    if (agent.lock_fd >= 0) {
        close(agent.lock_fd);
    }
    return exit_status;
}
