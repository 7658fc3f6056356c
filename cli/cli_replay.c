/* SPDX-License-Identifier: Apache-2.0 */
/* rejects replay: the lines of a file, or the numbers of what is open, in requests of a bounded
 * size. A request's key follows from its content, so that the same command, run again after
 * whatever went wrong, asks for the same batches; what is loaded is never loaded twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_exit.h"
#include "cli/cli_json.h"
#include "cli/cli_out.h"
#include "cli/cli_rejects.h"
#include "common/alloc.h"
#include "common/ids.h"
#include "common/json.h"
#include "spec/spec.h"

enum {
    CHUNK_BYTES = 256 * 1024, /* what a request has at least, if there is so much */
    LINE_BYTES = 480 * 1024,  /* and what one line may have: the coordinator takes 512 KiB */
    CHUNK_LINES = 2000,
    REPLAY_MS = 150000, /* longer than the coordinator waits for an agent */
    TRIES = 5,          /* of one request, where nobody says what became of it */
};

struct replay {
    struct cli_connection *connection;
    const char *name;
    char *spec_line; /* "" without --set */
    struct ps_buf chunk;
    size_t lines;
    uint64_t asked, loaded, refused, not_open, discarded;
    bool already; /* all so far had been done before */
};

/* ---- one request */

static void
take_answer(struct replay *replay, const json_t *answer)
{
    uint64_t not_open = cli_json_u64(answer, "not_open_count");
    replay->loaded += cli_json_u64(answer, "loaded");
    replay->refused += cli_json_u64(answer, "refused");
    replay->discarded += cli_json_u64(answer, "discarded");
    replay->not_open += not_open;
    replay->already = replay->already && cli_json_bool(answer, "already");
    if (not_open > 0) {
        cli_say("not open any more, so not loaded again: %s", cli_json_str(answer, "not_open"));
    }
}

/* Nobody has said what became of it: the same again finds out. */
static bool
is_worth_again(const struct cli_reply *reply, const struct ps_error *err)
{
    return strcmp(err->code, "unreachable") == 0 || reply->status == 503 || reply->status == 504;
}

static int
send_chunk(struct replay *replay)
{
    char key[PS_ID_TEXT_BYTES];
    struct bp_hash hash = ps_bp_hash(ps_span_str(replay->spec_line), ps_buf_span(&replay->chunk));
    struct ps_buf body = PS_BUF_INIT;
    ps_buf_xprintf(&body, "%s", replay->spec_line);
    ps_buf_xappend(&body, replay->chunk.ptr, replay->chunk.len);
    char *path = cli_http_pipeline_path(replay->name, "/rejects:replay");
    struct cli_request request = {.method = "POST",
                                  .path = path,
                                  .lines = ps_buf_str(&body),
                                  .key = ps_id_text(hash.id, key),
                                  .timeout_ms = REPLAY_MS};
    int code = CLI_EXIT_FAILED;
    for (int i = 0; i < TRIES; i++) {
        struct ps_error err = {0};
        struct cli_reply reply = {0};
        enum ps_status status = cli_http_call(replay->connection->http, &request, &reply, &err);
        bool again = status != PS_OK && status != PS_CANCELED && is_worth_again(&reply, &err);
        code = status == PS_OK         ? CLI_EXIT_OK
               : status == PS_CANCELED ? CLI_EXIT_KILLED
                                       : CLI_EXIT_FAILED;
        if (status == PS_OK) {
            take_answer(replay, reply.body);
        } else if (status != PS_CANCELED && (!again || i + 1 == TRIES)) {
            cli_complain("%s", err.text);
        }
        cli_reply_fini(&reply);
        if (!again) {
            break;
        }
        cli_http_wait(replay->connection->http, 200 << i);
    }
    if (code != CLI_EXIT_OK) {
        cli_say("the same command again goes on; nothing is loaded twice");
    }
    ps_free(path);
    ps_buf_fini(&body);
    ps_buf_clear(&replay->chunk);
    replay->asked += replay->lines;
    replay->lines = 0;
    return code;
}

static int
add_line(struct replay *replay, const char *line, size_t len)
{
    int code = CLI_EXIT_OK;
    if (replay->lines > 0 &&
        (replay->chunk.len + len > CHUNK_BYTES || replay->lines == CHUNK_LINES)) {
        code = send_chunk(replay);
    }
    ps_buf_xappend(&replay->chunk, line, len);
    ps_buf_xappend(&replay->chunk, "\n", 1);
    replay->lines++;
    return code;
}

/* ---- where the lines come from */

static int
replay_file(struct replay *replay, const char *path)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    int code = CLI_EXIT_OK;
    if (file == NULL) {
        cli_complain("%s: %m", path);
        return CLI_EXIT_FAILED;
    }
    for (unsigned number = 1; code == CLI_EXIT_OK; number++) {
        ssize_t len = getline(&line, &room, file);
        if (len < 0) {
            break;
        }
        while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) {
            len--;
        }
        if (len > LINE_BYTES || memchr(line, 0, (size_t)len) != NULL) {
            cli_complain("%s: line %u: expected a JSON object of at most %d bytes", path, number,
                         LINE_BYTES);
            code = CLI_EXIT_FAILED;
        } else if (len > 0) {
            code = add_line(replay, line, (size_t)len);
        }
    }
    if (code == CLI_EXIT_OK && ferror(file) != 0) {
        cli_complain("%s: cannot be read", path);
        code = CLI_EXIT_FAILED;
    }
    free(line);
    if (!is_stdin) {
        (void)fclose(file);
    }
    return code;
}

/* Numbers first, then requests that name them: so each request is the same when it comes again. */
static int
replay_selected(struct replay *replay, const struct cli_args *args)
{
    struct ps_buf query = PS_BUF_INIT;
    json_t *items = NULL;
    bool more = false;
    uint64_t limit = 0;
    int code = cli_rejects_query(args, &query);
    if (!cli_args_number(args, CLI_OPT_LIMIT, &limit)) {
        cli_complain("--limit: expected a number");
        code = CLI_EXIT_USAGE;
    }
    if (code == CLI_EXIT_OK) {
        ps_buf_xprintf(&query, "%sbrief=1", query.len > 0 ? "&" : "");
        if (!cli_args_has(args, CLI_OPT_IDS) && args->word_count == 2) {
            ps_buf_xprintf(&query, "&state=open");
        }
        char *path = cli_http_pipeline_path(replay->name, "/rejects");
        struct cli_list list = {.path = path, .query = ps_buf_str(&query), .limit = limit};
        code = cli_connection_list(replay->connection, &list, &items, &more);
        ps_free(path);
    }
    size_t index;
    json_t *item;
    json_array_foreach(items, index, item)
    {
        bool discards = strcmp(args->words[0], "discard") == 0;
        char line[200];
        int len = snprintf(line, sizeof line, "{\"n\":%llu,\"batch\":\"%s\",\"offset\":%llu%s}",
                           (unsigned long long)cli_json_u64(item, "n"), cli_json_str(item, "batch"),
                           (unsigned long long)cli_json_u64(item, "offset"),
                           discards ? ",\"discard\":true" : "");
        if (code == CLI_EXIT_OK) {
            code = add_line(replay, line, (size_t)len);
        }
    }
    ps_buf_fini(&query);
    json_decref(items);
    return code;
}

/* ---- --set: how the records are read, for this replay only */

static int
make_spec_line(struct replay *replay, const struct cli_args *args)
{
    size_t count = 0;
    const char **sets = cli_args_all(args, CLI_OPT_SET, &count);
    json_t *pipeline = NULL;
    struct ps_buf text = PS_BUF_INIT;
    struct ps_error err = {0};
    struct spec_errors errors = {0};
    struct spec *spec = NULL;
    int code = CLI_EXIT_OK;
    replay->spec_line = ps_xstrdup("");
    if (count > 0) {
        code = cli_connection_pipeline(replay->connection, "GET", replay->name, "", &pipeline);
    }
    if (count > 0 && code == CLI_EXIT_OK) {
        ps_json_print(json_object_get(pipeline, "spec"), 0, &text);
        enum ps_status status = spec_parse(ps_buf_span(&text), sets, count, &spec, &errors, &err);
        for (size_t i = 0; i < errors.count; i++) {
            cli_complain("%s: %s", errors.items[i].path, errors.items[i].text);
        }
        if (status != PS_OK && errors.count == 0) {
            cli_complain("%s", err.text);
        }
        code = status == PS_OK ? CLI_EXIT_OK : CLI_EXIT_SPEC;
    }
    if (spec != NULL) {
        ps_free(replay->spec_line);
        replay->spec_line = ps_xasprintf("{\"spec\":%s}\n", spec_canonical(spec));
    }
    spec_unref(spec);
    spec_errors_fini(&errors);
    ps_buf_fini(&text);
    json_decref(pipeline);
    ps_free(sets);
    return code;
}

static int
print_sums(const struct replay *replay, const struct cli_args *args)
{
    enum cli_form form = CLI_FORM_TABLE;
    struct ps_error err;
    struct ps_buf text = PS_BUF_INIT;
    bool ok = cli_out_form(args, &form, &err) == PS_OK;
    if (ok && (form == CLI_FORM_JSON || form == CLI_FORM_YAML)) {
        json_t *doc =
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:b}", "asked", (json_int_t)replay->asked,
                      "loaded", (json_int_t)replay->loaded, "refused", (json_int_t)replay->refused,
                      "not_open", (json_int_t)replay->not_open, "discarded",
                      (json_int_t)replay->discarded, "already", replay->already);
        ok = cli_out_doc(doc, form);
        json_decref(doc);
    } else {
        if (replay->asked == 0) {
            ps_buf_xprintf(&text, "no open rejects\n");
        } else if (strcmp(args->words[0], "discard") == 0) {
            ps_buf_xprintf(&text, "%llu discarded\n", (unsigned long long)replay->discarded);
        } else {
            ps_buf_xprintf(&text, "%llu loaded, %llu refused again%s\n",
                           (unsigned long long)replay->loaded, (unsigned long long)replay->refused,
                           replay->already && replay->loaded > 0 ? " (all of it before)" : "");
        }
        ok = cli_out_write(&text);
    }
    ps_buf_fini(&text);
    return !ok ? CLI_EXIT_FAILED : replay->refused > 0 ? CLI_EXIT_REJECTS : CLI_EXIT_OK;
}

int
cli_rejects_replay(const struct cli_args *args, struct cli_connection *connection, const char *name)
{
    struct replay replay = {.connection = connection, .name = name, .already = true};
    const char *path = cli_args_get(args, CLI_OPT_FILE);
    bool selects = cli_args_has(args, CLI_OPT_ALL) || cli_args_has(args, CLI_OPT_IDS) ||
                   cli_args_has(args, CLI_OPT_CODE) || cli_args_has(args, CLI_OPT_OBJECT) ||
                   cli_args_has(args, CLI_OPT_BATCH) || args->word_count > 2;
    bool discards = strcmp(args->words[0], "discard") == 0;
    if (selects == (path != NULL) || (discards && path != NULL)) {
        cli_complain("say which: %s--all, --ids, --code, --object or --batch",
                     discards ? "" : "--file FILE, or ");
        return CLI_EXIT_USAGE;
    }
    int code = make_spec_line(&replay, args);
    if (code == CLI_EXIT_OK) {
        code = path != NULL ? replay_file(&replay, path) : replay_selected(&replay, args);
    }
    if (code == CLI_EXIT_OK && replay.lines > 0) {
        code = send_chunk(&replay);
    }
    if (code == CLI_EXIT_OK) {
        code = print_sums(&replay, args);
    } else if (replay.loaded > 0) {
        cli_say("%llu loaded before that", (unsigned long long)replay.loaded);
    }
    ps_free(replay.spec_line);
    ps_buf_fini(&replay.chunk);
    return code;
}
