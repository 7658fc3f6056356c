/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_follow.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_exit.h"
#include "cli/cli_json.h"
#include "cli/cli_out.h"
#include "cli/cli_progress.h"
#include "cli/cli_screen.h"
#include "cli/cli_signal.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/human.h"
#include "common/json.h"

enum {
    LIVE_POLL_MS = 150, /* the live view is this fresh */
    LINES_POLL_MS = 1000,
    AGENTS_MS = 200,
    LINE_EVERY_MS = 5000,
    LINE_FIRST_MS = 2000,
    GAP_MS = 20, /* between two polls, where the coordinator always has news */
    RETRY_MS = 250,
    RETRY_LOCAL_MS = 20000, /* how long a local coordinator may be away */
    GRACE_MS = 10000        /* of an answer beyond what was asked to wait */
};

struct follower {
    const struct cli_follow *options;
    struct cli_followed *result;
    struct cli_meter meter;
    struct cli_screen screen;
    struct cli_call *poll;
    struct cli_call *agents_call;
    struct cli_call *stop_call;
    json_t *agents;
    int64_t start_ms;
    int64_t next_poll_ms, next_agents_ms, next_line_ms;
    int64_t away_ms; /* since when there is no answer; 0: there is */
    unsigned interrupts_before;
    bool stop_wanted, timed_out;
    bool ended;
};

bool
cli_follow_ended(const char *state)
{
    return strcmp(state, "completed") == 0 || strcmp(state, "stalled") == 0 ||
           strcmp(state, "failed") == 0 || strcmp(state, "stopped") == 0;
}

enum ps_status
cli_follow_options(const struct cli_args *args, struct cli_follow *follow, struct ps_error *err)
{
    const char *word = cli_args_get(args, CLI_OPT_PROGRESS);
    if (word == NULL || strcmp(word, "auto") == 0) {
        follow->show = cli_screen_usable() ? CLI_SHOW_LIVE : CLI_SHOW_LINES;
    } else if (strcmp(word, "plain") == 0) {
        follow->show = CLI_SHOW_LINES;
    } else if (strcmp(word, "none") == 0) {
        follow->show = CLI_SHOW_NOTHING;
    } else {
        return ps_fail(err, PS_REFUSED, "--progress %s: expected auto, plain or none", word);
    }
    const char *timeout = cli_args_get(args, CLI_OPT_TIMEOUT);
    if (timeout != NULL && !ps_human_parse_duration(timeout, &follow->timeout_ms)) {
        return ps_fail(err, PS_REFUSED, "--timeout %s: expected a duration such as 90s or 5m",
                       timeout);
    }
    return PS_OK;
}

static void
begin_poll(struct follower *f)
{
    bool live = f->options->show == CLI_SHOW_LIVE;
    int wait_ms = live ? LIVE_POLL_MS : LINES_POLL_MS;
    char query[96];
    snprintf(query, sizeof query, "?revision=%llu&wait=%d",
             (unsigned long long)cli_json_u64(f->result->pipeline, "revision"), wait_ms);
    char *path = cli_http_pipeline_path(f->options->name, query);
    struct cli_request request = {.method = "GET", .path = path, .timeout_ms = wait_ms + GRACE_MS};
    f->poll = cli_http_begin(f->options->http, &request);
    ps_free(path);
}

static void
begin_agents(struct follower *f)
{
    struct cli_request request = {.method = "GET", .path = "/v1/agents", .timeout_ms = GRACE_MS};
    f->agents_call = cli_http_begin(f->options->http, &request);
}

static void
begin_stop(struct follower *f)
{
    char *path = cli_http_pipeline_path(f->options->name, ":stop");
    struct cli_request request = {.method = "POST", .path = path, .timeout_ms = GRACE_MS};
    f->stop_call = cli_http_begin(f->options->http, &request);
    ps_free(path);
    f->stop_wanted = false;
}

static void
finish(struct follower *f, enum cli_follow_end end)
{
    f->result->end = end;
    f->ended = true;
}

static void
print_json(const json_t *pipeline)
{
    struct ps_buf text = PS_BUF_INIT;
    ps_json_print(pipeline, 0, &text);
    ps_buf_xappend(&text, "\n", 1);
    (void)cli_out_write(&text);
    ps_buf_fini(&text);
}

static void
take_pipeline(struct follower *f, struct cli_reply *reply)
{
    uint64_t before = cli_json_u64(f->result->pipeline, "revision");
    bool first = f->result->pipeline == NULL;
    json_decref(f->result->pipeline);
    f->result->pipeline = reply->body;
    reply->body = NULL;
    f->away_ms = 0;
    struct cli_figures figures = cli_figures(f->result->pipeline, f->options->baseline);
    cli_meter_add(&f->meter, ps_clock_mono_ms(), figures.bytes_done, figures.loaded);
    if (f->options->show == CLI_SHOW_JSON &&
        (first || cli_json_u64(f->result->pipeline, "revision") != before)) {
        print_json(f->result->pipeline);
    }
    if (cli_follow_ended(cli_json_str(f->result->pipeline, "state"))) {
        finish(f, f->timed_out ? CLI_END_TIMEOUT : CLI_END_STATE);
    }
}

static void
take_poll(struct follower *f)
{
    struct cli_reply reply;
    struct ps_error err = {0};
    enum ps_status status = cli_call_take(f->poll, &reply, &err);
    cli_call_free(f->poll);
    f->poll = NULL;
    int64_t now_ms = ps_clock_mono_ms();
    f->next_poll_ms = now_ms + GAP_MS;
    if (status == PS_OK && json_is_object(reply.body)) {
        take_pipeline(f, &reply);
    } else if (status == PS_AGAIN || reply.status >= 500) {
        /* The pipeline goes on without its coordinator; so does the watching. */
        /* One that says "not ready" is there: it waits for room on its disk. */
        bool is_there = reply.status >= 500;
        f->away_ms = f->away_ms != 0 && !is_there ? f->away_ms : now_ms;
        f->next_poll_ms = now_ms + RETRY_MS;
        bool never_heard = f->result->pipeline == NULL && f->options->local == NULL;
        bool too_long = f->options->local != NULL && now_ms - f->away_ms > RETRY_LOCAL_MS;
        if (never_heard || too_long) {
            f->result->err = err;
            finish(f, CLI_END_LOST);
        }
    } else if (status != PS_OK) {
        f->result->err = err;
        finish(f, CLI_END_LOST);
    }
    cli_reply_fini(&reply);
}

static void
take_others(struct follower *f)
{
    struct cli_reply reply;
    if (f->agents_call != NULL && cli_call_done(f->agents_call)) {
        if (cli_call_take(f->agents_call, &reply, NULL) == PS_OK && reply.body != NULL) {
            json_decref(f->agents);
            f->agents = reply.body;
            reply.body = NULL;
        }
        cli_reply_fini(&reply);
        cli_call_free(f->agents_call);
        f->agents_call = NULL;
    }
    if (f->stop_call != NULL && cli_call_done(f->stop_call)) {
        enum ps_status status = cli_call_take(f->stop_call, &reply, NULL);
        f->stop_wanted = status == PS_AGAIN; /* no answer: ask again */
        cli_reply_fini(&reply);
        cli_call_free(f->stop_call);
        f->stop_call = NULL;
        f->next_poll_ms = 0;
    }
}

static void
take_signals(struct follower *f)
{
    const struct cli_signals *signals = cli_signal_read();
    unsigned interrupts = signals->interrupts - f->interrupts_before;
    bool child = signals->child;
    if (signals->resized) {
        cli_signal_clear_resized();
        cli_screen_measure(&f->screen);
    }
    if (interrupts >= 1 && f->options->local == NULL) {
        finish(f, CLI_END_LEFT);
    } else if (interrupts >= 2) {
        finish(f, CLI_END_KILLED);
    } else if (interrupts == 1 && !f->result->interrupted) {
        f->result->interrupted = true;
        f->stop_wanted = true;
        cli_screen_clear(&f->screen);
        cli_say("stopping once what is being committed is done; Ctrl-C again kills at once");
    }
    if (child && f->options->local != NULL &&
        cli_local_check(f->options->local, &f->result->err) != PS_OK) {
        finish(f, CLI_END_LOST);
    }
}

static void
show(struct follower *f, int64_t now_ms)
{
    struct cli_view view = {
        .pipeline = f->result->pipeline,
        .agents = f->agents,
        .figures = cli_figures(f->result->pipeline, f->options->baseline),
        .meter = &f->meter,
        .width = f->screen.width,
        .height = f->screen.height,
        .interrupted = f->result->interrupted,
    };
    struct ps_buf text = PS_BUF_INIT;
    if (f->result->pipeline == NULL) {
        return;
    }
    if (f->options->show == CLI_SHOW_LIVE) {
        cli_progress_frame(&view, &text);
        cli_screen_draw(&f->screen, &text);
    } else if (f->options->show == CLI_SHOW_LINES && now_ms >= f->next_line_ms) {
        f->next_line_ms = now_ms + LINE_EVERY_MS;
        cli_progress_line(&view, &text);
        ssize_t n = write(STDERR_FILENO, text.ptr, text.len);
        (void)n; /* there is nobody left to tell */
    }
    ps_buf_fini(&text);
}

static void
check_timeout(struct follower *f, int64_t now_ms)
{
    int64_t limit_ms = f->options->timeout_ms;
    if (limit_ms <= 0 || f->timed_out || now_ms - f->start_ms < limit_ms) {
        return;
    }
    f->timed_out = true;
    if (f->options->local == NULL) {
        finish(f, CLI_END_TIMEOUT);
    } else {
        f->stop_wanted = true;
    }
}

/* Milliseconds until something of ours is due. */
static int
until_due(const struct follower *f, int64_t now_ms)
{
    int64_t due_ms = now_ms + LINES_POLL_MS;
    if (f->poll == NULL && f->next_poll_ms < due_ms) {
        due_ms = f->next_poll_ms;
    }
    if (f->options->show == CLI_SHOW_LIVE && f->agents_call == NULL && f->next_agents_ms < due_ms) {
        due_ms = f->next_agents_ms;
    }
    return due_ms <= now_ms ? 0 : (int)(due_ms - now_ms);
}

static void
step(struct follower *f)
{
    int64_t now_ms = ps_clock_mono_ms();
    if (f->stop_wanted && f->stop_call == NULL) {
        begin_stop(f);
    }
    if (f->poll == NULL && now_ms >= f->next_poll_ms) {
        begin_poll(f);
    }
    if (f->options->show == CLI_SHOW_LIVE && f->agents_call == NULL &&
        now_ms >= f->next_agents_ms) {
        f->next_agents_ms = now_ms + AGENTS_MS;
        begin_agents(f);
    }
    cli_http_wait(f->options->http, until_due(f, now_ms));
    take_signals(f);
    take_others(f);
    if (!f->ended && f->poll != NULL && cli_call_done(f->poll)) {
        take_poll(f);
    }
    now_ms = ps_clock_mono_ms();
    check_timeout(f, now_ms);
    if (!f->ended) {
        show(f, now_ms);
    }
}

struct cli_followed
cli_follow_run(const struct cli_follow *follow)
{
    struct cli_followed result = {.end = CLI_END_LOST};
    int64_t now_ms = ps_clock_mono_ms();
    struct follower f = {
        .options = follow,
        .result = &result,
        .start_ms = now_ms,
        .next_agents_ms = now_ms + AGENTS_MS,
        .next_line_ms = now_ms + LINE_FIRST_MS,
        .interrupts_before = follow->local != NULL ? 0 : cli_signal_read()->interrupts,
    };
    cli_screen_init(&f.screen);
    while (!f.ended) {
        step(&f);
    }
    cli_screen_fini(&f.screen);
    cli_call_free(f.poll);
    cli_call_free(f.agents_call);
    cli_call_free(f.stop_call);
    json_decref(f.agents);
    return result;
}

void
cli_followed_fini(struct cli_followed *followed)
{
    json_decref(followed->pipeline);
    *followed = (struct cli_followed){0};
}

static int
exit_of_failure(const char *class)
{
    if (strcmp(class, "spec") == 0) {
        return CLI_EXIT_SPEC;
    }
    if (strcmp(class, "source") == 0) {
        return CLI_EXIT_SOURCE;
    }
    return strcmp(class, "destination") == 0 ? CLI_EXIT_DESTINATION : CLI_EXIT_FAILED;
}

int
cli_follow_exit(const struct cli_followed *followed, const json_t *baseline)
{
    const char *state = cli_json_str(followed->pipeline, "state");
    switch (followed->end) {
    case CLI_END_LEFT:
    case CLI_END_KILLED:
        return CLI_EXIT_KILLED;
    case CLI_END_TIMEOUT:
        return CLI_EXIT_TIMEOUT;
    case CLI_END_LOST:
        return CLI_EXIT_FAILED;
    case CLI_END_STATE:
        break;
    }
    if (strcmp(state, "failed") == 0) {
        return exit_of_failure(cli_json_str(followed->pipeline, "failure_class"));
    }
    if (strcmp(state, "stalled") == 0) {
        return CLI_EXIT_STALLED;
    }
    if (strcmp(state, "stopped") == 0) {
        return CLI_EXIT_INTERRUPTED;
    }
    /* Those that were replayed meanwhile are in the table. */
    const json_t *open = cli_json_at(followed->pipeline, "totals.rejects_open");
    bool any_open = open == NULL || cli_json_u64(followed->pipeline, "totals.rejects_open") > 0;
    bool any = cli_figures(followed->pipeline, baseline).rejected > 0;
    return any && any_open ? CLI_EXIT_REJECTS : CLI_EXIT_OK;
}
