/* SPDX-License-Identifier: Apache-2.0 */
/* penstock-agent: the supervisor of one host's leaves; with --leaf, one of those leaves. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/control/control_core.h"
#include "agent/leaf/leaf.h"
#include "agent/leaf_argv.h"
#include "agent/supervisor/supervisor.h"
#include "common/alloc.h"
#include "common/config.h"
#include "common/log.h"
#include "common/path.h"

enum { EXIT_USAGE = 2, LEAVES_MOST = 256 };

#define ROW_COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static const struct option_row rows[] = {
#define OPTION(...) __VA_ARGS__,
#include "agent/options.def"
#undef OPTION
};

/* What the agent tells its leaves; people never write these. */
static const struct option_row leaf_rows[] = {
#define LEAF_OPTION(...) __VA_ARGS__,
#include "agent/options.def"
#undef LEAF_OPTION
};

static enum log_level
setup_log(const struct config *config)
{
    enum log_level level = LOG_INFO;
    (void)!log_level_parse(config_str(config, "log-level"), &level);
    bool json = strcmp(config_str(config, "log-format"), "json") == 0;
    log_setup("penstock-agent", level, json ? LOG_JSON : LOG_TEXT);
    return level;
}

/* A leaf that runs away must not take the host with it. Not under sanitizers, whose shadow is data.
 */
static void
limit_memory(uint64_t budget_bytes)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    rlim_t most = (rlim_t)(UINT64_C(2) << 30) + 4 * budget_bytes;
    setrlimit(RLIMIT_DATA, &(struct rlimit){.rlim_cur = most, .rlim_max = most});
#else
    (void)budget_bytes;
#endif
}

static int
run_leaf(const struct config *config)
{
    struct leaf_config leaf = {
        .leaf = (uint32_t)config_int(config, "leaf"),
        .agent_name = config_str(config, "agent-name"),
        .state_dir = config_str(config, "state"),
        .base_dir = config_str(config, "base-dir"),
        .budget_bytes = config_bytes(config, "budget"),
        .leaves = (uint32_t)config_int(config, "leaves"),
        .stage_quota = config_bytes(config, "stage-quota"),
        .link_fd = SUPERVISOR_LEAF_FD,
    };
    leaf.batches_most = control_batches_most(leaf.leaves);
    leaf.root_count = config_list(config, "root", &leaf.roots);
    leaf.allow.scheme_count = config_list(config, "allow-scheme", &leaf.allow.schemes);
    leaf.allow.host_count = config_list(config, "allow-host", &leaf.allow.hosts);
    leaf.allow.network_count = config_list(config, "allow-network", &leaf.allow.networks);
    leaf.allow.proxy = config_str(config, "http-proxy");
    setup_log(config);
    /* Should it be dead already, its end of our socket is closed, which ends us as well. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    limit_memory(leaf.budget_bytes);
    return leaf_main(&leaf);
}

static char *
default_state(const char *name)
{
    const char *home = getenv("XDG_STATE_HOME");
    if (home != NULL && home[0] == '/') {
        return ps_xasprintf("%s/penstock/agent-%s", home, name);
    }
    home = getenv("HOME");
    return ps_xasprintf("%s/.local/state/penstock/agent-%s", home == NULL ? "" : home, name);
}

/* False: the parent is gone already; perhaps before this program began, so it says who it is. */
static bool
die_with_parent(const struct config *config)
{
    if (!config_given(config, "die-with-parent")) {
        return true;
    }
    int64_t parent = config_int(config, "die-with-parent");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == (pid_t)parent) {
        return true;
    }
    log_error("agent.unstarted", "error=\"the process %lld did not start this one, or has ended\"",
              (long long)parent);
    return false;
}

static int
run_agent(const struct config *config)
{
    char host[256] = "agent";
    gethostname(host, sizeof host - 1);
    const char *name = config_given(config, "name") ? config_str(config, "name") : host;
    char *state = config_given(config, "state")
                      ? ps_path_absolute(NULL, config_str(config, "state"))
                      : default_state(name);
    char *base = ps_path_absolute(
        NULL, config_given(config, "base-dir") ? config_str(config, "base-dir") : ".");
    const struct leaf_argv_input input = {
        .config = config, .agent_name = name, .state_dir = state, .base_dir = base};
    char **words = leaf_argv_new(&input);
    const struct agent_config agent = {
        .name = name,
        .coordinator = config_str(config, "coordinator"),
        .state_dir = state,
        .leaves = (uint32_t)config_int(config, "leaves"),
        .leaf_argv = (const char *const *)words,
        .ready_fd = config_given(config, "ready-fd") ? (int)config_int(config, "ready-fd") : -1,
    };
    setup_log(config);
    int exit_status = 1;
    if (die_with_parent(config)) {
        exit_status = agent_run(&agent);
    }
    leaf_argv_free(words);
    ps_free(base);
    ps_free(state);
    return exit_status;
}

static void
print_help(void)
{
    struct ps_buf text = PS_BUF_INIT;
    ps_buf_xprintf(&text,
                   "Usage: penstock-agent --coordinator URL [options]\n\n"
                   "Runs the leaf partitions of this host. SIGTERM drains: what is sealed is "
                   "loaded, the rest is given back.\n\nOptions:\n");
    option_help(rows, ROW_COUNT(rows), &text);
    fputs(ps_buf_str(&text), stdout);
    ps_buf_fini(&text);
}

int
main(int argc, char **argv)
{
    bool is_leaf = argc > 1 && strcmp(argv[1], "--leaf") == 0;
    const struct config_input input = {
        .rows = is_leaf ? leaf_rows : rows,
        .row_count = is_leaf ? ROW_COUNT(leaf_rows) : ROW_COUNT(rows),
        .argc = argc - 1,
        .argv = (const char *const *)argv + 1,
        .no_env = is_leaf,
    };
    struct config *config = NULL;
    struct ps_buf errors = PS_BUF_INIT;
    int exit_status = EXIT_USAGE;
    if (config_parse(&input, &config, &errors) != PS_OK) {
        fputs(ps_buf_str(&errors), stderr);
    } else if (is_leaf) {
        exit_status = run_leaf(config);
    } else if (config_bool(config, "help")) {
        print_help();
        exit_status = 0;
    } else if (config_bool(config, "version")) {
        puts("penstock-agent " PENSTOCK_VERSION);
        exit_status = 0;
    } else {
        _exit(run_agent(config)); /* the line's threads still run */
    }
    config_free(config);
    ps_buf_fini(&errors);
    return exit_status;
}
