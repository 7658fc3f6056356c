/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges that begin at a cut, without threads: an object of 4 KiB cut at every byte gives the rows
 * of the whole one, whatever was guessed; and what waits for what until a start is proven. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/leaf/leaf_cut.h"
#include "agent/leaf/leaf_stream.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"

enum { OBJECT_BYTES = 4096, TO_THE_END = 1 << 30 };

/* Every byte is a cut; under a sanitizer, which looks for other things, every seventh. */
#ifdef __SANITIZE_ADDRESS__
enum { CUT_STEP = 7 };
#else
enum { CUT_STEP = 1 };
#endif

static struct leaf_config config = {.agent_name = "test", .budget_bytes = 64 << 20};
static char dir[] = "/tmp/penstock-cut-XXXXXX";
static char path[64];
static int agent_end;
static struct leaf_core *core;
static struct leaf_doc *doc;
static struct leaf_source source;
static struct ps_buf key, version;

static void
set_up(void)
{
    int fds[2];
    char stage_dir[64];
    struct ps_error err;
    log_setup("test", LOG_OFF, LOG_TEXT);
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/in.csv", dir);
    snprintf(stage_dir, sizeof stage_dir, "%s/stage", dir);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    agent_end = fds[0];
    core = ps_xcalloc(1, sizeof *core);
    core->config = &config;
    core->link = leaf_link_new(fds[1]);
    core->docs = leaf_docs_new();
    core->to_extract = ps_queue_new(LEAF_HELD_MAX);
    core->to_load = ps_queue_new(LEAF_HELD_MAX);
    core->source_env.cancel = &core->stop;
    pthread_mutex_init(&core->lock, NULL);
    pthread_cond_init(&core->changed, NULL);
    const struct stage_limits limits = {.memory_bytes = 32 << 20, .quota_bytes = 1 << 30};
    cr_assert_eq(stage_open(stage_dir, &limits, &core->stage, &err), PS_OK, "%s", err.text);
}

static void
tear_down(void)
{
    char command[80];
    if (source.source != NULL) {
        source.ops->close(source.source);
    }
    leaf_doc_unref(core->docs, doc);
    stage_close(core->stage);
    ps_queue_free(core->to_load);
    ps_queue_free(core->to_extract);
    leaf_docs_free(core->docs);
    leaf_link_free(core->link);
    ps_free(core);
    close(agent_end);
    ps_buf_fini(&key);
    ps_buf_fini(&version);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(leaf_cut, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- one object and its jobs */

static enum ps_status
on_object(void *ctx, const struct source_object *object, struct ps_error *err)
{
    (void)ctx, (void)err;
    ps_buf_xappend(&key, object->key.ptr, object->key.len);
    ps_buf_xappend(&version, object->version.ptr, object->version.len);
    return PS_OK;
}

/* Writes the object and makes the pipeline's document; format: all keys of "format", or, from a
 * comma on, those of csv beside its type. */
static void
begin(const uint8_t *bytes, size_t len, const char *format, const char *limits)
{
    static uint32_t rev = 0;
    Penstock__Column columns[2];
    Penstock__Column *columns_at[2] = {&columns[0], &columns[1]};
    Penstock__SpecDoc message;
    struct pipeline_uuid uuid = {.id = ps_id_new()};
    struct ps_error err;
    struct ps_buf csv = PS_BUF_INIT;
    FILE *file = fopen(path, "w");
    ps_buf_xprintf(&csv, "\"type\":\"csv\"%s", format);
    cr_assert_eq(fwrite(bytes, 1, len, file), len);
    fclose(file);
    for (size_t i = 0; i < 2; i++) {
        penstock__column__init(&columns[i]);
        columns[i].name = columns[i].from = i == 0 ? "a" : "b";
        columns[i].type = "text";
    }
    penstock__spec_doc__init(&message);
    message.pipeline_uuid = proto_bytes(uuid.id.b, PS_ID_BYTES);
    message.pipeline_name = "t";
    message.generation = 1;
    message.spec_rev = ++rev;
    message.spec_json =
        ps_xasprintf("{\"name\":\"t\",\"source\":{\"url\":\"%s\"},\"format\":{%s},"
                     "\"destination\":{\"url\":\"sqlite:x.db\",\"table\":\"t\"},\"limits\":{%s}}",
                     path, format[0] == '"' ? format : ps_buf_str(&csv), limits);
    message.n_columns = 2;
    message.columns = columns_at;
    cr_assert_eq(leaf_docs_put(core->docs, &message, &err), PS_OK, "%s", err.text);
    ps_free(message.spec_json);
    ps_buf_fini(&csv);
    if (source.source != NULL) {
        source.ops->close(source.source);
    }
    leaf_doc_unref(core->docs, doc);
    doc = leaf_docs_find(core->docs, ps_span(uuid.id.b, PS_ID_BYTES), rev);
    source.ops = source_find(path, &err);
    cr_assert_eq(source.ops->open(doc->spec, &core->source_env, &source.source, &err), PS_OK);
    struct source_page page = {.limit = 10, .found = on_object};
    ps_buf_clear(&key);
    ps_buf_clear(&version);
    cr_assert_eq(source.ops->discover(source.source, &page, &err), PS_OK, "%s", err.text);
}

struct range {
    uint64_t from, target;
    uint64_t anchor; /* 0 = no cut */
    const struct ps_buf *resume;
};

static struct leaf_job *
new_job(const struct range *what)
{
    Penstock__Stamp stamp = PENSTOCK__STAMP__INIT;
    Penstock__Range range = PENSTOCK__RANGE__INIT;
    Penstock__Range *ranges = &range;
    Penstock__Batch batch = PENSTOCK__BATCH__INIT;
    Penstock__Grant grant = PENSTOCK__GRANT__INIT;
    Penstock__LeafGrant message = PENSTOCK__LEAF_GRANT__INIT;
    struct ps_id id = ps_id_new();
    struct bp_hash hash = ps_bp_hash(ps_buf_span(&key), ps_buf_span(&version));
    range.bp_id = 1;
    range.key = proto_bytes(key.ptr, key.len);
    range.version = proto_bytes(version.ptr, version.len);
    range.bp_hash = proto_bytes(hash.id.b, PS_ID_BYTES);
    range.from = what->from;
    range.target_bytes = what->target;
    range.has_resume = what->resume != NULL;
    if (what->resume != NULL) {
        range.resume = proto_bytes(what->resume->ptr, what->resume->len);
    }
    range.has_cut = range.has_anchor = range.cut = what->anchor != 0;
    range.anchor = what->anchor;
    batch.batch_id = proto_bytes(id.b, PS_ID_BYTES);
    batch.pipeline_uuid = proto_bytes(doc->uuid.id.b, PS_ID_BYTES);
    batch.generation = 1;
    batch.spec_rev = doc->rev;
    batch.n_ranges = 1;
    batch.ranges = &ranges;
    grant.batch = &batch;
    grant.epoch = 1;
    message.grant = &grant;
    message.stamp = &stamp;
    struct ps_buf frame = PS_BUF_INIT;
    struct ps_error err;
    enum msg_type type = 0;
    ProtobufCMessage *copy = NULL;
    struct leaf_job *job = NULL;
    cr_assert_eq(frame_append(&frame, MSG_LEAF_GRANT, &message.base, &err), PS_OK);
    cr_assert_eq(frame_unpack(ps_buf_span(&frame), &type, &copy, &err), PS_OK);
    ps_buf_fini(&frame);
    Penstock__LeafGrant *own = (Penstock__LeafGrant *)copy;
    cr_assert_eq(leaf_job_new(&own, core->docs, leaf_doc_ref(core->docs, doc), &job, &err), PS_OK,
                 "%s", err.text);
    return job;
}

/* Decodes the job anew from wherever it is to begin. */
static enum ps_status
decode(struct leaf_job *job, struct ps_error *err)
{
    struct leaf_stream *stream = NULL;
    stage_batch_free(job->rows);
    job->rows = NULL;
    job->counts = (struct dest_counts){0};
    cr_assert_eq(stage_batch_new(core->stage, job->id, 1, 2, &job->rows, err), PS_OK);
    enum ps_status status = leaf_stream_open(core, &source, job, 0, &stream, err);
    if (status == PS_OK) {
        status = leaf_stream_read_range(stream, job, 0, err);
    }
    leaf_stream_close(stream);
    if (status == PS_OK && job->block->rows > 0) {
        status = stage_batch_append(job->rows, &job->block, err);
    }
    stage_block_give(core->stage, &job->block);
    return status == PS_OK ? stage_batch_seal(job->rows, err) : status;
}

/* "offset length a|b" a row, then "!offset length code" a reject, appended. */
static void
text_of(struct leaf_job *job, struct ps_buf *rows, struct ps_buf *rejects)
{
    const struct block *block = NULL;
    struct stage_reject reject;
    struct ps_error err;
    bool more = true;
    stage_batch_rewind(job->rows);
    while (stage_batch_next(job->rows, &block, &err) == PS_OK && block != NULL) {
        struct block_cursor cursor;
        block_cursor_init(&cursor, block);
        struct row_meta meta;
        struct cell cells[2];
        bool row = true;
        while (block_cursor_next(&cursor, &meta, cells, &row, &err) == PS_OK && row) {
            ps_buf_xprintf(rows, "%" PRIu64 " %" PRIu64 " ", meta.offset, meta.length);
            for (int i = 0; i < 2; i++) {
                ps_buf_xappend(rows, cells[i].ptr, cells[i].tag == CELL_TEXT ? cells[i].len : 0);
                ps_buf_xprintf(rows, i == 0 ? "|" : "\n");
            }
        }
    }
    while (stage_batch_next_reject(job->rows, &reject, &more, &err) == PS_OK && more) {
        /* "line 4 column 6, byte 75: …": behind a cut nobody knows the line. */
        const uint8_t *reason = memmem(reject.reason.ptr, reject.reason.len, "byte ", 5);
        reason = reason == NULL ? reject.reason.ptr : reason;
        ps_buf_xprintf(rejects, "!%" PRIu64 " %" PRIu64 " %.*s %.*s\n", reject.offset,
                       reject.length, (int)reject.code.len, reject.code.ptr,
                       (int)(reject.reason.ptr + reject.reason.len - reason), reason);
    }
}

/* Decodes the cut; from the truth where the guess was not it. Returns whether it was. */
static bool
decode_cut(struct leaf_job *job, uint64_t truth)
{
    struct ps_error err = {0};
    enum ps_status status = decode(job, &err);
    bool right = status == PS_OK && job->cut.read_start == truth;
    cr_assert(status == PS_OK || job->cut.guess, "%s", err.text);
    if (!right) {
        cr_assert(job->cut.guess, "cut %" PRIu64 " begins at %" PRIu64 ", not %" PRIu64,
                  job->cut.at, truth, job->cut.read_start);
        atomic_store(&job->cut.truth, truth);
        cr_assert_eq(decode(job, &err), PS_OK, "%s", err.text);
        cr_assert_eq(job->cut.read_start, truth);
        cr_assert(!job->cut.guess);
    }
    return right;
}

static struct leaf_job *
first_range(uint64_t target)
{
    struct ps_error err;
    struct leaf_job *job = new_job(&(struct range){.target = target});
    cr_assert_eq(decode(job, &err), PS_OK, "%s", err.text);
    return job;
}

/* [0, cut), [cut, cut + 37) and the rest, against the whole. The guesses are counted. */
static void
cut_at(uint64_t cut, size_t len, const struct leaf_job *anchor, struct ps_buf wanted[2],
       unsigned counts[2])
{
    struct ps_buf found[2] = {PS_BUF_INIT, PS_BUF_INIT};
    struct ps_error err;
    struct leaf_job *jobs[3] = {first_range(cut)};
    size_t count = cut + 37 < len ? 3 : 2;
    for (size_t i = 1; i < count; i++) {
        jobs[i] = new_job(&(struct range){.from = i == 1 ? cut : cut + 37,
                                          .target = i == 1 ? 37 : TO_THE_END,
                                          .anchor = anchor->ranges[0].end,
                                          .resume = &anchor->resume[0]});
        uint64_t truth = i == 1 ? jobs[0]->ranges[0].end : jobs[1]->cut.read_end;
        uint64_t proven = 0;
        cr_assert_eq(leaf_stream_prove(core, &source, jobs[i], &proven, &err), PS_OK, "%s",
                     err.text);
        cr_assert_eq(proven, truth, "cut %" PRIu64, cut);
        counts[decode_cut(jobs[i], truth)]++;
        if (jobs[i]->cut.read_start == jobs[i]->cut.read_end) {
            cr_assert_eq(jobs[i]->ranges[0].from, jobs[i]->cut.at);
            cr_assert_eq(jobs[i]->ranges[0].end, jobs[i]->cut.at);
            cr_assert_eq(jobs[i]->counts.decoded, 0);
        }
    }
    for (size_t i = 0; i < count; i++) {
        text_of(jobs[i], &found[0], &found[1]);
        leaf_job_free(core->docs, jobs[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        const char *ours = ps_buf_str(&found[i]);
        const char *whole = ps_buf_str(&wanted[i]);
        size_t same = 0;
        while (ours[same] != '\0' && ours[same] == whole[same]) {
            same++;
        }
        cr_assert_eq(ours[same], whole[same], "cut %" PRIu64 ":\n%.300s\nwhole:\n%.300s", cut,
                     ours + same, whole + same);
        ps_buf_fini(&found[i]);
    }
}

struct kind {
    const char *name, *format;
    const char *const *words;
    size_t word_count;
    const char *line_end;
    bool some_wrong;
};

static size_t
make_object(const struct kind *kind, uint8_t *out)
{
    uint32_t seed = 11;
    size_t len = (size_t)snprintf((char *)out, OBJECT_BYTES, "%s%s",
                                  kind->format[0] == '"' ? "{\"a\":\"0\"}" : "a,b", kind->line_end);
    while (len < OBJECT_BYTES - 200) {
        seed = seed * 1664525 + 1013904223;
        const char *word = kind->words[(seed >> 10) % kind->word_count];
        len +=
            (size_t)snprintf((char *)out + len, OBJECT_BYTES - len, "%s%s", word, kind->line_end);
    }
    return len;
}

static void
every_cut(const struct kind *kind)
{
    static uint8_t object[OBJECT_BYTES];
    struct ps_buf wanted[2] = {PS_BUF_INIT, PS_BUF_INIT};
    unsigned counts[2] = {0};
    size_t len = make_object(kind, object);
    begin(object, len, kind->format, "");
    struct leaf_job *whole = first_range(TO_THE_END);
    struct leaf_job *anchor = first_range(1);
    cr_assert(whole->ranges[0].eof);
    cr_assert_eq(anchor->splittable_range, 0);
    text_of(whole, &wanted[0], &wanted[1]);
    cr_assert(wanted[0].len > OBJECT_BYTES / 2);
    for (uint64_t cut = anchor->ranges[0].end; cut < len; cut += CUT_STEP) {
        cut_at(cut, len, anchor, wanted, counts);
    }
    cr_assert(counts[1] > 0, "%s", kind->name);
    cr_assert_eq(counts[0] > 0, kind->some_wrong, "%s: %u guesses were wrong, %u right", kind->name,
                 counts[0], counts[1]);
    leaf_job_free(core->docs, whole);
    leaf_job_free(core->docs, anchor);
    ps_buf_fini(&wanted[0]);
    ps_buf_fini(&wanted[1]);
}

#define WORDS(...)                                                                                 \
    .words = (const char *const[]){__VA_ARGS__},                                                   \
    .word_count = sizeof(const char *const[]){__VA_ARGS__} / sizeof(char *)

Test(leaf_cut, every_cut_of_multi_line_records)
{
    every_cut(&(struct kind){"lines", "",
                             WORDS("1,one", "2,\"tw\"\"o\nlines\"", "\"\n\n,\n\",x",
                                   "too,many,\"\n\"", "\"x\"y,bad \"quote"),
                             .line_end = "\n", .some_wrong = true});
}

Test(leaf_cut, every_cut_of_cr_lf)
{
    every_cut(&(struct kind){"cr lf", "", WORDS("1,one", "\"\r\n\",\"\"\"\"", ",", "x"),
                             .line_end = "\r\n", .some_wrong = true});
    every_cut(&(struct kind){"cr lf said", ",\"line_end\":\"crlf\"",
                             WORDS("1,one\ntwo", "\"\r\n\",\"\"\"\"", "3,\r", "x"),
                             .line_end = "\r\n", .some_wrong = true});
}

Test(leaf_cut, every_cut_of_cr)
{
    every_cut(&(struct kind){"cr", ",\"line_end\":\"cr\"", WORDS("1,one\n", "\"\r\",\"\"", "2,\n"),
                             .line_end = "\r", .some_wrong = true});
}

Test(leaf_cut, every_cut_of_comments_with_quotes)
{
    every_cut(&(struct kind){"comments", ",\"comment\":\"#\"",
                             WORDS("# it's \"one", "1,2", "#\"", "\"#\n# \",\"\n1,2\n\"", "3,#\""),
                             .line_end = "\n", .some_wrong = true});
}

Test(leaf_cut, every_cut_with_escapes)
{
    every_cut(&(struct kind){"escapes", ",\"escape\":\"\\\\\"",
                             WORDS("1,\\\"", "\"\\\"\n\",2", "3\\\n,4", "\"\\\\\",5"),
                             .line_end = "\n", .some_wrong = true});
}

Test(leaf_cut, every_cut_is_exact_where_a_line_end_always_ends)
{
    every_cut(&(struct kind){"one line", ",\"multiline\":false",
                             WORDS("1,one", "\"two", "\"3\",\"\"\"\"", "4\",\"", "\"5\"x,y"),
                             .line_end = "\n"});
    every_cut(&(struct kind){"no quotes", ",\"quote\":\"none\"", WORDS("1,one", "\"two", "3,\""),
                             .line_end = "\r\n"});
}

Test(leaf_cut, every_cut_of_ndjson)
{
    every_cut(&(struct kind){"ndjson", "\"type\":\"ndjson\"",
                             WORDS("{\"a\":\"1\",\"b\":\"one\"}", "", "{\"a\":\"\\n\"}",
                                   "{\"b\":{\"c\":[1,2,\"}\"]},\"a\":\"x\"}", "{\"a\":", "null"),
                             .line_end = "\n"});
}

/* All of the file is one quoted field, full of line ends: every guess is wrong. */
Test(leaf_cut, every_cut_of_a_file_that_is_one_quoted_field)
{
    static uint8_t object[OBJECT_BYTES];
    size_t len = (size_t)snprintf((char *)object, OBJECT_BYTES, "a,b\n1,\"");
    for (; len < OBJECT_BYTES - 8; len += 4) {
        memcpy(object + len, len % 3 == 0 ? "1,2\n" : len % 3 == 1 ? "\"\"\n," : "x,\n,", 4);
    }
    len += (size_t)snprintf((char *)object + len, OBJECT_BYTES - len, "\"\n");
    struct ps_buf wanted[2] = {PS_BUF_INIT, PS_BUF_INIT};
    unsigned counts[2] = {0};
    begin(object, len, ",\"header\":true", "");
    struct leaf_job *whole = first_range(TO_THE_END);
    struct leaf_job *anchor = new_job(&(struct range){.target = 1});
    struct ps_error err;
    cr_assert_eq(decode(anchor, &err), PS_OK);
    cr_assert_eq(anchor->ranges[0].end, 4, "behind the header");
    cr_assert_eq(whole->counts.decoded, 1);
    text_of(whole, &wanted[0], &wanted[1]);
    for (uint64_t cut = 5; cut < len - 1; cut++) {
        cut_at(cut, len, anchor, wanted, counts);
    }
    leaf_job_free(core->docs, whole);
    leaf_job_free(core->docs, anchor);
    ps_buf_fini(&wanted[0]);
    ps_buf_fini(&wanted[1]);
}

/* ---- waiting for the proof */

static const uint8_t lines[] = "a,b\n1,one\n2,\"t\nwo\"\n3,three\n4,four\n";

/* A held job of [from, from + 6) of lines, decoded from its guess and settled. */
static struct leaf_job *
settled(uint64_t from)
{
    struct ps_error err;
    struct leaf_job *anchor = first_range(1);
    struct leaf_job *job = new_job(&(struct range){
        .from = from, .target = 6, .anchor = anchor->ranges[0].end, .resume = &anchor->resume[0]});
    leaf_job_free(core->docs, anchor);
    cr_assert(leaf_core_hold(core, job));
    cr_assert_eq(decode(job, &err), PS_OK, "%s", err.text);
    job->cut.whole = true;
    struct leaf_job *own = job;
    leaf_cut_settle(core, &own);
    cr_assert_null(own);
    return job;
}

static void
prove(const struct leaf_job *job, uint64_t start)
{
    Penstock__Proof proof = PENSTOCK__PROOF__INIT;
    uint8_t id[PS_ID_BYTES];
    memcpy(id, job->id.id.b, sizeof id);
    proof.batch_id = proto_bytes(id, sizeof id);
    proof.epoch = job->epoch;
    proof.start = start;
    leaf_cut_proof(core, &proof);
}

/* The only job in the queue, or NULL when it is empty. */
static struct leaf_job *
only(struct ps_queue *queue)
{
    void *item = NULL;
    cr_assert_leq(ps_queue_len(queue), 1);
    (void)!ps_queue_take(queue, 0, &item);
    return item;
}

static void
let_go(struct leaf_job *job)
{
    struct ps_error err = {.status = PS_CANCELED};
    leaf_core_failed(core, &job, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, &err, NULL);
}

Test(leaf_cut, a_right_guess_is_loaded_when_it_is_proven_and_not_before)
{
    begin(lines, sizeof lines - 1, "", "");
    struct leaf_job *job = settled(6);
    cr_assert_eq(job->cut.read_start, 10);
    cr_assert_eq(core->parked_count, 1);
    cr_assert_null(only(core->to_load));
    cr_assert_null(only(core->to_extract));
    prove(job, 5); /* before the cut: absurd */
    cr_assert_eq(core->parked_count, 1);
    prove(job, 10);
    cr_assert_eq(core->parked_count, 0);
    cr_assert_eq(only(core->to_load), job);
    cr_assert(job->cut.proven);
    prove(job, 10);
    cr_assert_null(only(core->to_load), "a second proof is nothing new");
    let_go(job);
}

Test(leaf_cut, a_wrong_guess_is_decoded_again_from_the_true_start)
{
    begin(lines, sizeof lines - 1, "", "");
    struct leaf_job *job = settled(12); /* inside the quotes */
    struct ps_error err;
    cr_assert_eq(job->cut.read_start, 15);
    prove(job, 19);
    cr_assert_eq(only(core->to_extract), job);
    cr_assert_null(only(core->to_load));
    cr_assert_eq(decode(job, &err), PS_OK);
    cr_assert_eq(job->cut.read_start, 19);
    cr_assert_eq(job->cut.read_end, 19, "nothing begins before 18");
    struct leaf_job *own = job;
    leaf_cut_settle(core, &own);
    cr_assert_eq(only(core->to_load), job);
    let_go(job);
}

Test(leaf_cut, what_this_leaf_has_proven_proves_what_waits)
{
    begin(lines, sizeof lines - 1, "", "");
    struct leaf_job *second = settled(16);
    cr_assert_eq(second->cut.read_start, 19);
    struct leaf_job *first = settled(10); /* the anchor's own end is 4: a guess as well */
    cr_assert_eq(core->parked_count, 2);
    prove(first, 10);
    cr_assert_eq(core->parked_count, 0, "the end of one is the start of the other");
    cr_assert(first->cut.proven && second->cut.proven);
    cr_assert_eq(ps_queue_len(core->to_load), 2);
    cr_assert_eq(leaf_cut_nearest(core, second, 10), 0, "19 lies behind its cut");
    let_go(first);
    let_go(second);
    struct leaf_job *third = settled(22);
    cr_assert_eq(core->parked_count, 0, "known before it was decoded");
    let_go(third);
}

Test(leaf_cut, a_cancelled_one_is_given_back_and_a_late_one_is_due)
{
    begin(lines, sizeof lines - 1, "", "");
    cr_assert_eq(leaf_cut_wait_ms(core), PS_WAIT_FOREVER);
    struct leaf_job *job = settled(6);
    struct leaf_job *other = settled(12);
    int64_t wait_ms = leaf_cut_wait_ms(core);
    cr_assert(wait_ms > 0 && wait_ms <= LEAF_CUT_WAIT_MS);
    cr_assert_null(leaf_cut_take_due(core));
    leaf_core_cancel(core, ps_span(job->id.id.b, PS_ID_BYTES), job->epoch);
    cr_assert_eq(only(core->to_load), job);
    other->cut.due_ms = ps_clock_mono_ms();
    cr_assert_eq(leaf_cut_take_due(core), other);
    cr_assert_eq(core->parked_count, 0);
    let_go(job);
    let_go(other);
}

/* One record of 3 MiB that is too long: whoever enters in it does not read it to its end. */
Test(leaf_cut, a_guess_is_given_up_where_it_leads_too_far)
{
    enum { LONG = 3 << 20 };
    uint8_t *object = ps_xalloc(LONG + 64);
    size_t len = (size_t)snprintf((char *)object, LONG, "a,b\n1,one\n2,");
    memset(object + len, 'x', LONG);
    len += LONG;
    len += (size_t)snprintf((char *)object + len, 64, "\n3,three\n");
    begin(object, len, "", "\"max_record_bytes\":\"64KiB\"");
    struct leaf_job *anchor = first_range(1);
    struct leaf_job *job = new_job(&(struct range){.from = 1000,
                                                   .target = 1000,
                                                   .anchor = anchor->ranges[0].end,
                                                   .resume = &anchor->resume[0]});
    struct ps_error err;
    uint64_t start = 0;
    cr_assert_neq(decode(job, &err), PS_OK);
    cr_assert_str_eq(err.code, "cut_given_up");
    cr_assert(job->cut.guess);
    cr_assert_lt(atomic_load(&job->bytes), LONG / 2);
    cr_assert_eq(leaf_stream_prove(core, &source, job, &start, &err), PS_OK);
    cr_assert_eq(start, len - 8);
    atomic_store(&job->cut.truth, start);
    cr_assert_eq(decode(job, &err), PS_OK, "%s", err.text);
    cr_assert_eq(job->cut.read_end, start, "nothing begins there");
    leaf_job_free(core->docs, job);
    leaf_job_free(core->docs, anchor);
    ps_free(object);
}
