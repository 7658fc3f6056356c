/* SPDX-License-Identifier: Apache-2.0 */
/* apply, start, stop, delete, watch: what is done to one pipeline of a coordinator. */
#include <stdio.h>
#include <string.h>

#include "cli/cli_command.h"
#include "cli/cli_connect.h"
#include "cli/cli_exit.h"
#include "cli/cli_follow.h"
#include "cli/cli_json.h"
#include "cli/cli_out.h"
#include "cli/cli_signal.h"
#include "cli/cli_spec.h"
#include "cli/cli_summary.h"
#include "common/alloc.h"
#include "common/clock.h"

/* Prints the pipeline where -o json or yaml was given. */
static void
print_pipeline(const json_t *pipeline, enum cli_form form)
{
    if (form == CLI_FORM_JSON || form == CLI_FORM_YAML) {
        (void)cli_out_doc(pipeline, form);
    }
}

static int
put_spec(struct cli_connection *connection, const struct cli_spec *spec, json_t **out)
{
    char *path = cli_http_pipeline_path(spec_name(spec->spec), "");
    struct cli_request request = {.method = "PUT", .path = path, .body = spec->doc};
    int code = cli_connection_call(connection, &request, out);
    ps_free(path);
    return code;
}

int
cli_run_apply(const struct cli_args *args)
{
    struct ps_error err = {0};
    enum cli_form form;
    struct cli_spec spec = {0};
    struct cli_connection connection = {0};
    const char *file = cli_args_get(args, CLI_OPT_FILE);
    if (file == NULL || cli_out_form(args, &form, &err) != PS_OK) {
        cli_complain("%s", file == NULL ? "apply needs a spec: penstock apply -f FILE" : err.text);
        return CLI_EXIT_USAGE;
    }
    json_t *pipeline = NULL;
    int code = cli_spec_from_file(args, file, &spec);
    if (code == CLI_EXIT_OK) {
        code = cli_connect(args, &connection);
    }
    if (code == CLI_EXIT_OK) {
        code = put_spec(&connection, &spec, &pipeline);
    }
    bool start = cli_args_has(args, CLI_OPT_START);
    if (code == CLI_EXIT_OK && start) {
        json_decref(pipeline);
        pipeline = NULL;
        code =
            cli_connection_pipeline(&connection, "POST", spec_name(spec.spec), ":start", &pipeline);
    }
    if (code == CLI_EXIT_OK) {
        print_pipeline(pipeline, form);
        cli_say("pipeline %s applied%s (spec revision %llu, %s)", spec_name(spec.spec),
                start ? " and started" : "", (unsigned long long)cli_json_u64(pipeline, "spec_rev"),
                cli_json_str(pipeline, "state"));
    }
    json_decref(pipeline);
    cli_disconnect(&connection);
    cli_spec_fini(&spec);
    return code;
}

/* Follows with a live view and prints how it ended. */
static int
follow(const struct cli_args *args, struct cli_connection *connection, const json_t *baseline)
{
    struct ps_error err = {0};
    enum cli_form form = CLI_FORM_TABLE;
    struct cli_follow options = {
        .http = connection->http, .name = args->words[0], .baseline = baseline};
    if (cli_out_form(args, &form, &err) != PS_OK ||
        cli_follow_options(args, &options, &err) != PS_OK) {
        cli_complain("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    bool docs = form == CLI_FORM_JSON && baseline == NULL;
    options.show = docs ? CLI_SHOW_JSON : options.show;
    int64_t start_ms = ps_clock_mono_ms();
    cli_signal_open();
    struct cli_followed followed = cli_follow_run(&options);
    int code = cli_follow_exit(&followed, baseline);
    if (followed.end == CLI_END_LOST) {
        cli_complain("%s", followed.err.text);
    } else if (followed.end == CLI_END_LEFT) {
        cli_say("the pipeline goes on; penstock stop %s stops it", args->words[0]);
    } else if (followed.end == CLI_END_TIMEOUT) {
        cli_say("timed out; the pipeline goes on");
    } else if (!docs) {
        struct cli_summary summary = {.pipeline = followed.pipeline,
                                      .baseline = baseline,
                                      .destination =
                                          cli_json_str(followed.pipeline, "spec.destination.url"),
                                      .ms = ps_clock_mono_ms() - start_ms,
                                      .exit_code = code};
        struct ps_buf text = PS_BUF_INIT;
        cli_summary_text(&summary, &text);
        fwrite(text.ptr, 1, text.len, stderr);
        print_pipeline(followed.pipeline, form);
        ps_buf_fini(&text);
    }
    cli_followed_fini(&followed);
    return code;
}

/* POST action; with --wait, follows from there. */
static int
act(const struct cli_args *args, const char *action, const char *done)
{
    struct ps_error err = {0};
    enum cli_form form;
    struct cli_connection connection = {0};
    json_t *before = NULL, *pipeline = NULL;
    if (cli_out_form(args, &form, &err) != PS_OK) {
        cli_complain("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    int code = cli_connect(args, &connection);
    if (code == CLI_EXIT_OK && cli_args_has(args, CLI_OPT_WAIT)) {
        code = cli_connection_pipeline(&connection, "GET", args->words[0], "", &before);
    }
    if (code == CLI_EXIT_OK) {
        code = cli_connection_pipeline(&connection, "POST", args->words[0], action, &pipeline);
    }
    if (code == CLI_EXIT_OK && before != NULL) {
        code = follow(args, &connection, before);
        bool stopped = strcmp(action, ":stop") == 0 && code == CLI_EXIT_INTERRUPTED;
        code = stopped ? CLI_EXIT_OK : code;
    } else if (code == CLI_EXIT_OK) {
        print_pipeline(pipeline, form);
        cli_say("pipeline %s %s (%s)", args->words[0], done, cli_json_str(pipeline, "state"));
    }
    json_decref(before);
    json_decref(pipeline);
    cli_disconnect(&connection);
    return code;
}

int
cli_run_start(const struct cli_args *args)
{
    return act(args, ":start", "started");
}

int
cli_run_stop(const struct cli_args *args)
{
    return act(args, ":stop", "is asked to stop");
}

int
cli_run_delete(const struct cli_args *args)
{
    struct cli_connection connection = {0};
    int code = cli_connect(args, &connection);
    if (code == CLI_EXIT_OK) {
        code = cli_connection_pipeline(&connection, "DELETE", args->words[0], "", NULL);
    }
    if (code == CLI_EXIT_OK) {
        cli_say("pipeline %s deleted; its rows stay", args->words[0]);
    }
    cli_disconnect(&connection);
    return code;
}

int
cli_run_watch(const struct cli_args *args)
{
    struct cli_connection connection = {0};
    int code = cli_connect(args, &connection);
    if (code == CLI_EXIT_OK) {
        code = follow(args, &connection, NULL);
    }
    cli_disconnect(&connection);
    return code;
}
