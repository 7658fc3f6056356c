/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/coordinator_options.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/path.h"
#include "coordinator/api/api_listen.h"
#include "coordinator/rpc/rpc_url.h"

enum { DURATION_MOST_MS = 3600 * 1000 };

#define DURATION(row_name, text, row_help)                                                         \
    {                                                                                              \
        .name = (row_name), .type = OPTION_DURATION, .default_text = (text), .help = (row_help),   \
        .least = 1, .most = DURATION_MOST_MS                                                       \
    }

static const struct option_row rows[] = {
    {.name = "config",
     .type = OPTION_TEXT,
     .value_name = "FILE",
     .help = "read options from a YAML file"},
    {.name = "http",
     .type = OPTION_TEXT,
     .default_text = "127.0.0.1:7180",
     .value_name = "ADDRESS",
     .help = "serve people and scripts here: host:port or unix:PATH"},
    {.name = "rpc",
     .type = OPTION_TEXT,
     .default_text = "tcp://127.0.0.1:7171",
     .value_name = "URLS",
     .help = "serve agents here: tcp://host:port or ipc://PATH, several separated by commas"},
    {.name = "state",
     .type = OPTION_TEXT,
     .value_name = "DIR",
     .help = "folder of the catalog; by default penstock/coordinator below XDG_STATE_HOME"},
    DURATION("lease", "15s", "how long an agent may be silent before its batches go to others"),
    DURATION("heartbeat", "3s", "how often an agent is heard at least"),
    DURATION("self-stop", "10s", "an agent that hears nothing for so long takes no new batch"),
    DURATION("leaf-silence", "5s", "an agent ends a leaf process that is silent for so long"),
    {.name = "log-level",
     .type = OPTION_ENUM,
     .choices = "debug|info|warn|error|off",
     .default_text = "info",
     .help = "what is logged to stderr; read again on SIGHUP"},
    {.name = "log-format",
     .type = OPTION_ENUM,
     .choices = "text|json",
     .default_text = "text",
     .help = "form of a log line"},
    {.name = "ready-fd",
     .type = OPTION_INT,
     .value_name = "N",
     .flag_only = true,
     .least = 0,
     .most = 1 << 20,
     .help = "write \"ready\" to this file descriptor once everything is served"},
    {.name = "die-with-parent",
     .type = OPTION_INT,
     .value_name = "PID",
     .flag_only = true,
     .least = 1,
     .most = INT32_MAX,
     .help = "end when that process, which started this one, ends or has ended"},
    {.name = "help", .letter = 'h', .type = OPTION_SWITCH, .flag_only = true, .help = "this text"},
    {.name = "version", .type = OPTION_SWITCH, .flag_only = true, .help = "print the version"},
};
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

const struct option_row *
coordinator_options_rows(size_t *out_count)
{
    *out_count = ROW_COUNT;
    return rows;
}

void
coordinator_options_help(struct ps_buf *out)
{
    ps_buf_xprintf(out,
                   "Usage: penstock-coordinator [OPTION]...\n\n"
                   "Tracks what is loaded and hands work to agents. Every option is also a key "
                   "of the\nYAML file and an environment variable (PENSTOCK_LOG_LEVEL).\n\n");
    option_help(rows, ROW_COUNT, out);
}

/* Cuts rpc_text at its commas and checks each address. */
static void
read_rpc(struct coordinator_options *options, struct ps_buf *errors)
{
    struct ps_error err = {0};
    options->rpc_text = ps_xstrdup(config_str(options->config, "rpc"));
    char *at = options->rpc_text;
    while (at != NULL) {
        char *comma = strchr(at, ',');
        if (comma != NULL) {
            *comma++ = '\0';
        }
        at += strspn(at, " ");
        if (options->rpc_count == COORDINATOR_RPC_MOST) {
            ps_buf_xprintf(errors, "rpc: at most %d addresses\n", COORDINATOR_RPC_MOST);
            return;
        }
        if (rpc_url_check(at, &err) != PS_OK) {
            ps_buf_xprintf(errors, "%s\n", err.text);
        }
        options->rpc[options->rpc_count++] = at;
        at = comma;
    }
}

static void
read_state(struct coordinator_options *options, struct ps_buf *errors)
{
    static const char below[] = "penstock/coordinator";
    const char *given = config_str(options->config, "state");
    const char *state_home = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    if (given != NULL) {
        options->state = ps_path_absolute(NULL, given);
    } else if (state_home != NULL && state_home[0] == '/') {
        options->state = ps_path_join(state_home, below);
    } else if (home != NULL && home[0] == '/') {
        options->state = ps_xasprintf("%s/.local/state/%s", home, below);
    } else {
        ps_buf_xprintf(errors, "--state: is required where neither XDG_STATE_HOME nor HOME is "
                               "set\n");
    }
}

struct duration {
    const char *name;
    uint32_t ms;
};

static void
check_shorter(struct duration a, struct duration b, const char *why, struct ps_buf *errors)
{
    if (a.ms >= b.ms) {
        ps_buf_xprintf(errors, "%s (%u ms) must be shorter than %s (%u ms): %s\n", a.name, a.ms,
                       b.name, b.ms, why);
    }
}

static void
read_durations(struct coordinator_options *options, struct ps_buf *errors)
{
    const struct config *config = options->config;
    struct duration heartbeat = {"heartbeat", (uint32_t)config_duration_ms(config, "heartbeat")};
    struct duration self_stop = {"self-stop", (uint32_t)config_duration_ms(config, "self-stop")};
    struct duration lease = {"lease", (uint32_t)config_duration_ms(config, "lease")};
    struct duration silence = {"leaf-silence",
                               (uint32_t)config_duration_ms(config, "leaf-silence")};
    check_shorter(heartbeat, self_stop, "an agent that is heard would stop itself", errors);
    check_shorter(self_stop, lease, "an agent must stop taking batches before it loses them",
                  errors);
    check_shorter(silence, lease, "a silent leaf must be ended before its batch goes to another",
                  errors);
    options->engine = (struct engine_config){.heartbeat_ms = heartbeat.ms,
                                             .lease_ms = lease.ms,
                                             .self_stop_ms = self_stop.ms,
                                             .leaf_silence_ms = silence.ms};
}

static void
read_values(struct coordinator_options *options, struct ps_buf *errors)
{
    const struct config *config = options->config;
    struct ps_error err = {0};
    options->http = config_str(config, "http");
    if (api_listen_check(options->http, &err) != PS_OK) {
        ps_buf_xprintf(errors, "%s\n", err.text);
    }
    read_rpc(options, errors);
    read_state(options, errors);
    read_durations(options, errors);
    if (!log_level_parse(config_str(config, "log-level"), &options->log_level)) {
        ps_buf_xprintf(errors, "log-level: unknown\n");
    }
    options->log_format =
        strcmp(config_str(config, "log-format"), "json") == 0 ? LOG_JSON : LOG_TEXT;
    options->die_with_parent =
        config_given(config, "die-with-parent") ? (pid_t)config_int(config, "die-with-parent") : 0;
    options->ready_fd = config_given(config, "ready-fd") ? (int)config_int(config, "ready-fd") : -1;
}

enum ps_status
coordinator_options_read(int argc, const char *const *argv, struct coordinator_options *out,
                         struct ps_buf *errors)
{
    struct config_input input = {.rows = rows, .row_count = ROW_COUNT, .argc = argc, .argv = argv};
    struct coordinator_options options = {.ready_fd = -1};
    enum ps_status status = config_parse(&input, &options.config, errors);
    if (status != PS_OK) {
        return status;
    }
    options.help = config_bool(options.config, "help");
    options.version = config_bool(options.config, "version");
    if (!options.help && !options.version) {
        read_values(&options, errors);
    }
    if (errors->len > 0) {
        coordinator_options_fini(&options);
        return PS_REFUSED;
    }
    *out = options;
    return PS_OK;
}

void
coordinator_options_fini(struct coordinator_options *options)
{
    config_free(options->config);
    ps_free(options->rpc_text);
    ps_free(options->state);
    *options = (struct coordinator_options){.ready_fd = -1};
}
