/* SPDX-License-Identifier: Apache-2.0 */
/* The leaf's threads against a real file and a real SQLite destination; the test plays the agent.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/leaf/leaf.h"
#include "agent/leaf/leaf_link.h"
#include "common/alloc.h"
#include "common/ids.h"
#include "common/log.h"

static char dir[] = "/tmp/penstock-leaf-XXXXXX";
static char csv_path[128], db_path[128];
static struct leaf_link *agent_end;
static struct leaf_config config;
static pthread_t leaf_thread;
static struct pipeline_uuid uuid;
static Penstock__Stamp stamp;

static void *
run_leaf(void *ctx)
{
    return (void *)(intptr_t)leaf_main(ctx);
}

static void
write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static void
set_up(void)
{
    int fds[2];
    log_setup("test", LOG_OFF, LOG_TEXT);
    cr_assert_not_null(mkdtemp(dir));
    snprintf(csv_path, sizeof csv_path, "%s/in.csv", dir);
    snprintf(db_path, sizeof db_path, "%s/out.db", dir);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    config = (struct leaf_config){.leaf = 0,
                                  .agent_name = "test",
                                  .state_dir = dir,
                                  .budget_bytes = 64 << 20,
                                  .link_fd = fds[1]};
    agent_end = leaf_link_new(fds[0]);
    uuid.id = ps_id_new();
    penstock__stamp__init(&stamp);
    stamp.cluster_epoch = 1;
    stamp.commit_seq = 1;
    cr_assert_eq(pthread_create(&leaf_thread, NULL, run_leaf, &config), 0);
}

static void
tear_down(void)
{
    Penstock__LeafDrain drain;
    void *exit_status = NULL;
    char command[160];
    penstock__leaf_drain__init(&drain);
    cr_assert_eq(leaf_link_send(agent_end, MSG_LEAF_DRAIN, &drain, NULL), PS_OK);
    pthread_join(leaf_thread, &exit_status);
    cr_assert_eq((intptr_t)exit_status, 0);
    leaf_link_free(agent_end);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(leaf_process, .init = set_up, .fini = tear_down, .timeout = 60);

/* The next message of this type; turns are granted and progress is passed over on the way. */
static ProtobufCMessage *
expect(enum msg_type wanted)
{
    for (;;) {
        enum msg_type type = 0;
        ProtobufCMessage *message = NULL;
        struct ps_error err = {0};
        cr_assert_eq(leaf_link_receive(agent_end, 20000, &type, &message, &err), PS_OK, "%s",
                     err.text);
        if (message == NULL) {
            continue;
        }
        if (type == wanted) {
            return message;
        }
        if (type == MSG_TURN_ASK) {
            const Penstock__TurnAsk *ask = (Penstock__TurnAsk *)message;
            Penstock__TurnGrant grant;
            penstock__turn_grant__init(&grant);
            grant.dest = ask->dest;
            grant.turn = ask->turn;
            cr_assert_eq(leaf_link_send(agent_end, MSG_TURN_GRANT, &grant, NULL), PS_OK);
        }
        if (type == MSG_LEAF_FAILED) {
            cr_assert_fail("batch failed: %s", ((Penstock__LeafFailed *)message)->text);
        }
        msg_free(message);
    }
}

static void
send_spec(uint32_t rev, size_t n_columns, Penstock__Column **columns)
{
    Penstock__SpecDoc doc;
    Penstock__LeafSpec message;
    char *json = ps_xasprintf("{\"name\":\"t\",\"source\":{\"url\":\"%s\"},\"destination\":"
                              "{\"url\":\"sqlite:%s\",\"table\":\"t\"}}",
                              csv_path, db_path);
    penstock__spec_doc__init(&doc);
    penstock__leaf_spec__init(&message);
    doc.pipeline_uuid = proto_bytes(uuid.id.b, PS_ID_BYTES);
    doc.pipeline_name = "t";
    doc.generation = 1;
    doc.spec_rev = rev;
    doc.spec_json = json;
    doc.n_columns = n_columns;
    doc.columns = columns;
    message.doc = &doc;
    cr_assert_eq(leaf_link_send(agent_end, MSG_LEAF_SPEC, &message, NULL), PS_OK);
    ps_free(json);
}

static struct ps_id
send_task(Penstock__TaskKind kind, uint32_t rev, Penstock__ObjectRef *object)
{
    Penstock__Task task;
    Penstock__LeafTask message;
    struct ps_id id = ps_id_new();
    penstock__task__init(&task);
    penstock__leaf_task__init(&message);
    task.task_id = proto_bytes(id.b, PS_ID_BYTES);
    task.epoch = 1;
    task.kind = kind;
    task.pipeline_uuid = proto_bytes(uuid.id.b, PS_ID_BYTES);
    task.generation = 1;
    task.spec_rev = rev;
    task.n_objects = object == NULL ? 0 : 1;
    task.objects = &object;
    message.task = &task;
    cr_assert_eq(leaf_link_send(agent_end, MSG_LEAF_TASK, &message, NULL), PS_OK);
    return id;
}

static void
acknowledge(struct ps_id task)
{
    Penstock__LeafAck ack;
    penstock__leaf_ack__init(&ack);
    ack.task_id = proto_bytes(task.b, PS_ID_BYTES);
    ack.answer = PENSTOCK__ANSWER__ANSWER_OK;
    cr_assert_eq(leaf_link_send(agent_end, MSG_LEAF_ACK, &ack, NULL), PS_OK);
}

/* Discovers the one object and prepares the table; revision 2 then has the frozen columns. */
static Penstock__LeafDiscovered *
discover_and_prepare(void)
{
    send_spec(1, 0, NULL);
    struct ps_id task = send_task(PENSTOCK__TASK_KIND__TASK_DISCOVER, 1, NULL);
    Penstock__LeafDiscovered *page = (Penstock__LeafDiscovered *)expect(MSG_LEAF_DISCOVERED);
    cr_assert_eq(page->n_objects, 1);
    cr_assert(page->last);
    acknowledge(task);
    task = send_task(PENSTOCK__TASK_KIND__TASK_PREPARE, 1, page->objects[0]);
    Penstock__LeafTaskResult *result = (Penstock__LeafTaskResult *)expect(MSG_LEAF_TASK_RESULT);
    cr_assert(result->result->ok, "%s", result->result->text);
    acknowledge(task);
    send_spec(2, result->result->n_columns, result->result->columns);
    msg_free(&result->base);
    return page;
}

struct want {
    struct ps_id batch;
    uint64_t epoch, from, target;
    ProtobufCBinaryData resume;
    uint64_t anchor; /* 0 = no cut */
};

static void
send_range(const Penstock__ObjectRef *object, const struct want *what)
{
    Penstock__Range range;
    Penstock__Range *ranges = &range;
    Penstock__Batch batch;
    Penstock__Grant grant;
    Penstock__LeafGrant message;
    struct ps_id batch_id = what->batch;
    struct bp_hash hash = ps_bp_hash(ps_span(object->key.data, object->key.len),
                                     ps_span(object->version.data, object->version.len));
    penstock__range__init(&range);
    penstock__batch__init(&batch);
    penstock__grant__init(&grant);
    penstock__leaf_grant__init(&message);
    range.bp_id = 1;
    range.key = object->key;
    range.version = object->version;
    range.bp_hash = proto_bytes(hash.id.b, PS_ID_BYTES);
    range.from = what->from;
    range.target_bytes = what->target;
    range.has_resume = what->resume.len > 0;
    range.resume = what->resume;
    range.has_cut = range.has_anchor = range.cut = what->anchor != 0;
    range.anchor = what->anchor;
    batch.batch_id = proto_bytes(batch_id.b, PS_ID_BYTES);
    batch.pipeline_uuid = proto_bytes(uuid.id.b, PS_ID_BYTES);
    batch.generation = 1;
    batch.spec_rev = 2;
    batch.n_ranges = 1;
    batch.ranges = &ranges;
    grant.batch = &batch;
    grant.epoch = what->epoch;
    message.grant = &grant;
    message.stamp = &stamp;
    cr_assert_eq(leaf_link_send(agent_end, MSG_LEAF_GRANT, &message, NULL), PS_OK);
}

static Penstock__LeafDone *
load_range(const Penstock__ObjectRef *object, struct ps_id batch_id, uint64_t epoch, uint64_t from,
           uint64_t target, ProtobufCBinaryData resume)
{
    send_range(object, &(struct want){batch_id, epoch, from, target, resume, 0});
    return (Penstock__LeafDone *)expect(MSG_LEAF_DONE);
}

static int64_t
query(const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    cr_assert_eq(sqlite3_open(db_path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}

static const ProtobufCBinaryData nothing = {0};

Test(leaf_process, a_file_becomes_a_table_and_the_same_batch_again_is_already_there)
{
    write_file(csv_path, "id,name\n1,one\n2,two\n3,\"th\nree\"\n");
    Penstock__LeafDiscovered *page = discover_and_prepare();
    struct ps_id batch = ps_id_new();
    Penstock__LeafDone *done = load_range(page->objects[0], batch, 1, 0, 1 << 20, nothing);
    cr_assert_eq(done->outcome, PENSTOCK__OUTCOME__OUTCOME_LOADED);
    cr_assert_eq(done->counts->inserted, 3);
    cr_assert(done->ends[0]->eof);
    msg_free(&done->base);
    done = load_range(page->objects[0], batch, 2, 0, 1 << 20, nothing);
    cr_assert_eq(done->outcome, PENSTOCK__OUTCOME__OUTCOME_ALREADY);
    cr_assert_eq(done->counts->inserted, 3);
    cr_assert_eq(done->n_ends, 1);
    cr_assert(done->ends[0]->eof);
    msg_free(&done->base);
    cr_assert_eq(query("SELECT count(*) FROM t"), 3);
    cr_assert_eq(query("SELECT sum(id) FROM t WHERE typeof(id) = 'integer'"), 6);
    msg_free(&page->base);
}

/* Every second batch continues on the open stream, every other one opens anew with the token. */
Test(leaf_process, a_chain_of_small_batches_gives_every_row_once)
{
    FILE *file = fopen(csv_path, "w");
    for (int i = 0; i < 500; i++) {
        fprintf(file, i == 0 ? "id,name\n" : "%d,\"name\n%d\"\n", i, i);
    }
    fclose(file);
    Penstock__LeafDiscovered *page = discover_and_prepare();
    uint64_t from = 0;
    struct ps_buf resume = PS_BUF_INIT;
    bool eof = false;
    int batches = 0;
    for (; !eof; batches++) {
        Penstock__LeafDone *done = load_range(page->objects[0], ps_id_new(), 1, from, 64,
                                              proto_bytes(resume.ptr, resume.len));
        cr_assert_eq(done->outcome, PENSTOCK__OUTCOME__OUTCOME_LOADED);
        cr_assert_eq(done->ends[0]->from, from);
        eof = done->ends[0]->eof;
        cr_assert(eof || done->ends[0]->end >= from + 64);
        from = done->ends[0]->end;
        ps_buf_clear(&resume);
        ps_buf_xappend(&resume, done->ends[0]->resume.data, done->ends[0]->resume.len);
        msg_free(&done->base);
    }
    cr_assert(batches > 50, "%d", batches);
    cr_assert_eq(query("SELECT count(*) FROM t"), 499);
    cr_assert_eq(query("SELECT count(DISTINCT id) FROM t"), 499);
    cr_assert_eq(query("SELECT count(*) FROM t WHERE name = 'name' || char(10) || id"), 499);
    ps_buf_fini(&resume);
    msg_free(&page->base);
}

static const char multi_line[] = "id,name\n1,one\n2,\"t\nw,o\"\n3,three\n4,four\n";

/* The first range, and what it said of the rest. */
static Penstock__LeafDone *
load_first(const Penstock__ObjectRef *object, uint64_t target)
{
    Penstock__LeafDone *first = load_range(object, ps_id_new(), 1, 0, target, nothing);
    cr_assert_eq(first->outcome, PENSTOCK__OUTCOME__OUTCOME_LOADED);
    cr_assert(first->ends[0]->splittable);
    cr_assert(!first->ends[0]->has_start);
    return first;
}

/* What the leaf says it holds of its one cut, as soon as it knows; 0 while it does not. */
static uint64_t
held_start(void)
{
    uint64_t start = 0;
    while (start == 0) {
        Penstock__LeafProgress *progress = (Penstock__LeafProgress *)expect(MSG_LEAF_PROGRESS);
        if (progress->n_held == 1 && progress->held[0]->end != 0) {
            cr_assert(!progress->held[0]->proven);
            start = progress->held[0]->start;
        }
        msg_free(&progress->base);
    }
    return start;
}

static void
send_proof(struct ps_id batch, uint64_t start)
{
    Penstock__Proof proof;
    Penstock__LeafProof message;
    penstock__proof__init(&proof);
    penstock__leaf_proof__init(&message);
    proof.batch_id = proto_bytes(batch.b, PS_ID_BYTES);
    proof.epoch = 1;
    proof.start = start;
    message.proof = &proof;
    cr_assert_eq(leaf_link_send(agent_end, MSG_LEAF_PROOF, &message, NULL), PS_OK);
}

Test(leaf_process, a_wrong_guess_is_put_right_by_a_proof_and_committed_once)
{
    write_file(csv_path, multi_line);
    Penstock__LeafDiscovered *page = discover_and_prepare();
    Penstock__LeafDone *first = load_first(page->objects[0], 9);
    cr_assert_eq(first->ends[0]->end, 14);
    struct ps_id batch = ps_id_new();
    struct want cut = {batch, 1, 19, 100, first->ends[0]->resume, 14};
    send_range(page->objects[0], &cut);
    cr_assert_eq(held_start(), 19, "a line end inside the quotes: the guess");
    cr_assert_eq(query("SELECT count(*) FROM t"), 1);
    send_proof(batch, 24);
    Penstock__LeafDone *done = (Penstock__LeafDone *)expect(MSG_LEAF_DONE);
    cr_assert_eq(done->outcome, PENSTOCK__OUTCOME__OUTCOME_LOADED);
    cr_assert_eq(done->counts->inserted, 2);
    cr_assert_eq(done->counts->rejected, 0, "a guess's rejects are nobody's");
    cr_assert_eq(done->ends[0]->from, 19);
    cr_assert_eq(done->ends[0]->start, 24);
    cr_assert(done->ends[0]->eof);
    msg_free(&done->base);
    /* The same once more: the ledger knows, by the true start. */
    cut.epoch = 2;
    send_range(page->objects[0], &cut);
    done = (Penstock__LeafDone *)expect(MSG_LEAF_DONE);
    cr_assert_eq(done->outcome, PENSTOCK__OUTCOME__OUTCOME_ALREADY);
    cr_assert_eq(done->n_ends, 1);
    cr_assert_eq(done->ends[0]->from, 19);
    cr_assert_eq(done->ends[0]->start, 24);
    cr_assert_eq(query("SELECT count(*) FROM t"), 3);
    cr_assert_eq(query("SELECT count(*) FROM t_rejects"), 0);
    cr_assert_eq(query("SELECT from_offset FROM _penstock_ledger_range WHERE eof = 1"), 24);
    msg_free(&done->base);
    msg_free(&first->base);
    msg_free(&page->base);
}

/* Nobody proves anything: the leaf reads up to its cut itself. */
Test(leaf_process, a_cut_that_nobody_proves_is_proven_by_the_leaf)
{
    write_file(csv_path, multi_line);
    Penstock__LeafDiscovered *page = discover_and_prepare();
    Penstock__LeafDone *first = load_first(page->objects[0], 1);
    struct want cut = {ps_id_new(), 1, 19, 1, first->ends[0]->resume, first->ends[0]->end};
    send_range(page->objects[0], &cut);
    Penstock__LeafDone *done = (Penstock__LeafDone *)expect(MSG_LEAF_DONE);
    cr_assert_eq(done->outcome, PENSTOCK__OUTCOME__OUTCOME_LOADED);
    cr_assert_eq(done->counts->decoded, 0, "no record begins in [19, 20)");
    cr_assert_eq(done->ends[0]->start, 24);
    cr_assert_eq(done->ends[0]->end, 24);
    cr_assert_eq(query("SELECT from_offset = 19 AND end_offset = 19 FROM _penstock_ledger_range"
                       " WHERE from_offset > 0"),
                 1);
    msg_free(&done->base);
    msg_free(&first->base);
    msg_free(&page->base);
}

/* What waits for its proof can be taken back at once, and given back when the leaf drains. */
Test(leaf_process, a_cut_that_waits_can_be_cancelled_and_drained)
{
    write_file(csv_path, multi_line);
    Penstock__LeafDiscovered *page = discover_and_prepare();
    Penstock__LeafDone *first = load_first(page->objects[0], 1);
    struct want cut = {ps_id_new(), 1, 19, 100, first->ends[0]->resume, first->ends[0]->end};
    for (int drained = 0; drained < 2; drained++) {
        Penstock__LeafCancel cancel;
        enum msg_type type = 0;
        ProtobufCMessage *message = NULL;
        cut.batch = ps_id_new();
        send_range(page->objects[0], &cut);
        cr_assert_eq(held_start(), 19);
        penstock__leaf_cancel__init(&cancel);
        cancel.batch_id = proto_bytes(cut.batch.b, PS_ID_BYTES);
        cancel.epoch = 1;
        if (drained) {
            break; /* the end of each test drains */
        }
        cr_assert_eq(leaf_link_send(agent_end, MSG_LEAF_CANCEL, &cancel, NULL), PS_OK);
        while (type != MSG_LEAF_FAILED) {
            msg_free(message);
            cr_assert_eq(leaf_link_receive(agent_end, 20000, &type, &message, NULL), PS_OK);
        }
        cr_assert_eq(((Penstock__LeafFailed *)message)->class_,
                     PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL);
        msg_free(message);
    }
    cr_assert_eq(query("SELECT count(*) FROM _penstock_ledger"), 1);
    msg_free(&first->base);
    msg_free(&page->base);
}
