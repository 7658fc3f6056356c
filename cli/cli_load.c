/* SPDX-License-Identifier: Apache-2.0 */
/* load and run: a pipeline on this host from begin to end. */
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_command.h"
#include "cli/cli_exit.h"
#include "cli/cli_follow.h"
#include "cli/cli_json.h"
#include "cli/cli_local.h"
#include "cli/cli_out.h"
#include "cli/cli_sample.h"
#include "cli/cli_signal.h"
#include "cli/cli_spec.h"
#include "cli/cli_summary.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/path.h"

enum { LEAVES_MOST = 1024, LEAVES_DEFAULT_MOST = 8, SAMPLE_MS = 120000 };

struct run {
    const struct cli_args *args;
    const struct cli_spec *spec;
    enum cli_form form;
    struct cli_follow follow;
    unsigned leaves;
    char *state; /* owned */
    int64_t start_ms;
    struct cli_local *local; /* owned; NULL once it is ended */
};

static unsigned
processors(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 2;
    return count > LEAVES_DEFAULT_MOST ? LEAVES_DEFAULT_MOST : (unsigned)count;
}

/* What a refusal of the coordinator means for the shell. */
static int
exit_of(enum ps_status status, const struct ps_error *err, long http_status)
{
    if (status == PS_CANCELED) {
        return CLI_EXIT_INTERRUPTED;
    }
    if (http_status == 401 || http_status == 403) {
        return CLI_EXIT_UNAUTHORISED;
    }
    bool spec = http_status == 422 || strstr(err->code, "spec") != NULL;
    return spec ? CLI_EXIT_SPEC : CLI_EXIT_FAILED;
}

static int
call(struct run *run, const char *method, const char *suffix, const json_t *body, json_t **out)
{
    struct ps_error err = {0};
    struct cli_reply reply;
    char *path = cli_http_pipeline_path(spec_name(run->spec->spec), suffix);
    struct cli_request request = {
        .method = method, .path = path, .body = body, .timeout_ms = SAMPLE_MS};
    enum ps_status status = cli_http_call(cli_local_http(run->local), &request, &reply, &err);
    int code = status == PS_OK ? CLI_EXIT_OK : exit_of(status, &err, reply.status);
    if (status != PS_OK) {
        /* A daemon that ended says more than the broken connection. */
        struct ps_error why = {0};
        (void)cli_signal_read();
        bool ended = status == PS_AGAIN && cli_local_check(run->local, &why) != PS_OK;
        cli_complain("%s", ended ? why.text : err.text);
    } else if (out != NULL) {
        *out = reply.body;
        reply.body = NULL;
    }
    cli_reply_fini(&reply);
    ps_free(path);
    return code;
}

static int
start_local(struct run *run, bool throw_away)
{
    struct ps_error err = {0};
    char *base = ps_path_absolute(NULL, ".");
    struct cli_local_options options = {.state = run->state,
                                        .leaves = run->leaves,
                                        .base_dir = base,
                                        .log_level = cli_args_get(run->args, CLI_OPT_LOG_LEVEL),
                                        .throw_away = throw_away};
    enum ps_status status = cli_local_start(&options, &run->local, &err);
    ps_free(base);
    if (status != PS_OK) {
        cli_complain("%s", err.text);
    }
    return status == PS_OK         ? CLI_EXIT_OK
           : status == PS_CANCELED ? CLI_EXIT_INTERRUPTED
                                   : CLI_EXIT_FAILED;
}

static int
dry_run(struct run *run)
{
    struct ps_error err = {0};
    char *folder = NULL;
    if (ps_path_runtime_folder(&folder, &err) != PS_OK) {
        cli_complain("%s", err.text);
        return CLI_EXIT_FAILED;
    }
    ps_free(run->state);
    run->state = folder;
    json_t *sample = NULL;
    int code = start_local(run, true);
    if (code == CLI_EXIT_OK) {
        code = call(run, "PUT", "", run->spec->doc, NULL);
    }
    if (code == CLI_EXIT_OK && cli_local_wait_agent(run->local, &err) != PS_OK) {
        cli_complain("%s", err.text);
        code = err.status == PS_CANCELED ? CLI_EXIT_INTERRUPTED : CLI_EXIT_FAILED;
    }
    if (code == CLI_EXIT_OK) {
        code = call(run, "POST", ":sample", NULL, &sample);
    }
    if (code == CLI_EXIT_OK && (run->form == CLI_FORM_JSON || run->form == CLI_FORM_YAML)) {
        code = cli_out_doc(sample, run->form) ? CLI_EXIT_OK : CLI_EXIT_FAILED;
    } else if (code == CLI_EXIT_OK) {
        struct ps_buf text = PS_BUF_INIT;
        cli_sample_text(sample, &text);
        code = cli_out_write(&text) ? CLI_EXIT_OK : CLI_EXIT_FAILED;
        ps_buf_fini(&text);
    }
    json_decref(sample);
    cli_local_stop(run->local);
    run->local = NULL;
    return code;
}

static void
summarise(const struct run *run, const struct cli_followed *followed, const json_t *baseline,
          int code)
{
    struct cli_summary summary = {
        .pipeline = followed->pipeline,
        .baseline = baseline,
        .destination = spec_str(run->spec->spec, "destination.url"),
        .state = run->state,
        .ms = ps_clock_mono_ms() - run->start_ms,
        .exit_code = code,
    };
    if (run->form == CLI_FORM_JSON || run->form == CLI_FORM_YAML) {
        json_t *doc = cli_summary_json(&summary);
        (void)cli_out_doc(doc, run->form);
        json_decref(doc);
        return;
    }
    struct ps_buf text = PS_BUF_INIT;
    cli_summary_text(&summary, &text);
    ssize_t n = write(STDERR_FILENO, text.ptr, text.len);
    (void)n; /* there is nobody left to tell */
    ps_buf_fini(&text);
}

static void
say_end(const struct run *run, const struct cli_followed *followed, int code)
{
    const json_t *objects = cli_json_at(followed->pipeline, "totals.objects");
    if (followed->end == CLI_END_LOST) {
        cli_complain("%s", followed->err.text);
    } else if (code == CLI_EXIT_OK &&
               (objects == NULL || cli_json_u64(followed->pipeline, "totals.objects") == 0)) {
        cli_say("warning: nothing matched the source");
    } else if (code != CLI_EXIT_OK &&
               strstr(cli_json_str(followed->pipeline, "reason"), "tolerance") != NULL) {
        cli_say("the rejected records: penstock rejects list %s --state %s",
                spec_name(run->spec->spec), run->state);
    } else if (code == CLI_EXIT_INTERRUPTED || code == CLI_EXIT_TIMEOUT) {
        cli_say("nothing is half loaded; the same command goes on from here");
    }
}

static int
load_now(struct run *run)
{
    json_t *baseline = NULL;
    int code = start_local(run, false);
    if (code == CLI_EXIT_OK) {
        code = call(run, "PUT", "", run->spec->doc, &baseline);
    }
    if (code == CLI_EXIT_OK) {
        code = call(run, "POST", ":start", NULL, NULL);
    }
    if (code != CLI_EXIT_OK) {
        cli_local_stop(run->local);
        run->local = NULL;
        json_decref(baseline);
        return code;
    }
    run->follow.http = cli_local_http(run->local);
    run->follow.name = spec_name(run->spec->spec);
    run->follow.local = run->local;
    run->follow.baseline = baseline;
    struct cli_followed followed = cli_follow_run(&run->follow);
    code = cli_follow_exit(&followed, baseline);
    if (followed.end == CLI_END_KILLED) {
        cli_local_kill(run->local);
        cli_say("killed; nothing is half loaded, the same command goes on from here");
    } else {
        if (followed.pipeline != NULL) {
            summarise(run, &followed, baseline, code);
        }
        say_end(run, &followed, code);
        cli_local_stop(run->local);
    }
    run->local = NULL;
    cli_followed_fini(&followed);
    json_decref(baseline);
    return code;
}

static int
read_options(struct run *run)
{
    struct ps_error err = {0};
    uint64_t leaves = processors();
    if (cli_out_form(run->args, &run->form, &err) != PS_OK ||
        cli_follow_options(run->args, &run->follow, &err) != PS_OK) {
        cli_complain("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    if (!cli_args_number(run->args, CLI_OPT_LEAVES, &leaves) || leaves < 1 ||
        leaves > LEAVES_MOST) {
        cli_complain("--leaves: expected a number from 1 to %d", LEAVES_MOST);
        return CLI_EXIT_USAGE;
    }
    run->leaves = (unsigned)leaves;
    return CLI_EXIT_OK;
}

/* The state folder would be made beside it, and with it the folder that was mistyped. */
static bool
destination_folder_there(const struct run *run)
{
    const char *url = spec_str(run->spec->spec, "destination.url");
    if (strncmp(url, "sqlite:/", 8) != 0) {
        return true;
    }
    char *folder = ps_path_dirname(url + 7);
    bool there = ps_path_exists(folder);
    if (!there) {
        cli_complain("no such folder: %s", folder);
    }
    ps_free(folder);
    return there;
}

static int
run_spec(struct run *run)
{
    if (cli_args_has(run->args, CLI_OPT_PRINT_SPEC)) {
        struct ps_buf text = PS_BUF_INIT;
        spec_print_yaml(run->spec->spec, true, &text);
        bool ok = cli_out_write(&text);
        ps_buf_fini(&text);
        return ok ? CLI_EXIT_OK : CLI_EXIT_FAILED;
    }
    if (!destination_folder_there(run)) {
        return CLI_EXIT_DESTINATION;
    }
    cli_signal_open();
    run->state = cli_spec_state(run->args, run->spec);
    int code = cli_args_has(run->args, CLI_OPT_DRY_RUN) ? dry_run(run) : load_now(run);
    ps_free(run->state);
    return code;
}

int
cli_run_load(const struct cli_args *args)
{
    struct run run = {.args = args, .start_ms = ps_clock_mono_ms()};
    struct cli_spec spec = {0};
    int code = read_options(&run);
    if (code == CLI_EXIT_OK) {
        code = cli_spec_from_load(args, &spec);
    }
    if (code == CLI_EXIT_OK) {
        run.spec = &spec;
        code = run_spec(&run);
    }
    cli_spec_fini(&spec);
    return code;
}

int
cli_run_run(const struct cli_args *args)
{
    struct run run = {.args = args, .start_ms = ps_clock_mono_ms()};
    struct cli_spec spec = {0};
    int code = read_options(&run);
    if (code == CLI_EXIT_OK) {
        code = cli_spec_from_file(args, args->words[0], &spec);
    }
    if (code == CLI_EXIT_OK) {
        run.spec = &spec;
        code = run_spec(&run);
    }
    cli_spec_fini(&spec);
    return code;
}
