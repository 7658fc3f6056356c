/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/control/control_fake.h: the world around a control_core, on paper: everything sent is
 * kept, in order, and time stands where the test puts it. */
#ifndef TESTS_UNIT_CONTROL_CONTROL_FAKE_H
#define TESTS_UNIT_CONTROL_CONTROL_FAKE_H

#include <criterion/criterion.h>

#include "agent/control/control_core.h"

enum { FAKE_MOST = 4096, FAKE_LEAVES = 3 };

struct fake_sent {
    bool to_leaf;
    uint32_t where; /* slot or leaf */
    enum msg_type type;
    ProtobufCMessage *message;
    bool seen;
};

struct fake {
    int64_t now;
    int64_t next; /* what the last turn returned */
    struct fake_sent sent[FAKE_MOST];
    size_t count;
    uint32_t spawns[FAKE_LEAVES];
    uint32_t kills[FAKE_LEAVES];
    bool refuse_spawn;
    struct control_core *core;
};

static ProtobufCMessage *
fake_copy(enum msg_type type, const ProtobufCMessage *message)
{
    struct ps_buf frame = PS_BUF_INIT;
    struct ps_error err;
    ProtobufCMessage *copy = NULL;
    cr_assert_eq(frame_append(&frame, type, message, &err), PS_OK);
    cr_assert_eq(frame_unpack(ps_buf_span(&frame), &type, &copy, &err), PS_OK);
    ps_buf_fini(&frame);
    return copy;
}

static void
fake_keep(struct fake *fake, bool to_leaf, uint32_t where, enum msg_type type,
          const ProtobufCMessage *message)
{
    cr_assert(fake->count < FAKE_MOST);
    fake->sent[fake->count++] = (struct fake_sent){
        .to_leaf = to_leaf, .where = where, .type = type, .message = fake_copy(type, message)};
}

static int64_t
fake_mono_ms(void *ctx)
{
    return ((struct fake *)ctx)->now;
}

static void
fake_random(void *ctx, void *out, size_t bytes)
{
    (void)ctx;
    memset(out, 7, bytes);
}

static void
fake_send_coordinator(void *ctx, unsigned slot, uint32_t timeout_ms, enum msg_type type,
                      const ProtobufCMessage *message)
{
    (void)timeout_ms;
    fake_keep(ctx, false, slot, type, message);
}

static void
fake_send_leaf(void *ctx, uint32_t leaf, enum msg_type type, const ProtobufCMessage *message)
{
    fake_keep(ctx, true, leaf, type, message);
}

static enum ps_status
fake_spawn_leaf(void *ctx, uint32_t leaf, struct ps_error *err)
{
    struct fake *fake = ctx;
    fake->spawns[leaf]++;
    return fake->refuse_spawn ? ps_fail(err, PS_FULL, "no more processes") : PS_OK;
}

static void
fake_kill_leaf(void *ctx, uint32_t leaf)
{
    ((struct fake *)ctx)->kills[leaf]++;
}

static void
fake_log(void *ctx, enum log_level level, const char *event, const char *text)
{
    (void)ctx;
    (void)level;
    (void)event;
    (void)text;
}

static void
fake_turn(struct fake *fake)
{
    fake->next = control_core_turn(fake->core);
}

/* Lets time pass, with every turn that is asked for on the way. */
static inline void
fake_pass(struct fake *fake, int64_t ms)
{
    int64_t end = fake->now + ms;
    fake_turn(fake);
    for (int i = 0; i < 10000 && fake->next <= end; i++) {
        fake->now = fake->next > fake->now ? fake->next : fake->now;
        fake_turn(fake);
    }
    fake->now = end;
    fake_turn(fake);
}

static bool fake_has_kept; /* of those made next */

static struct fake *
fake_new(uint32_t leaves)
{
    struct fake *fake = calloc(1, sizeof *fake);
    fake->now = 1000000;
    const struct control_env env = {
        .ctx = fake,
        .mono_ms = fake_mono_ms,
        .random = fake_random,
        .send_coordinator = fake_send_coordinator,
        .send_leaf = fake_send_leaf,
        .spawn_leaf = fake_spawn_leaf,
        .kill_leaf = fake_kill_leaf,
        .log = fake_log,
    };
    static const char *const schemes[] = {"file"};
    const struct control_config config = {.agent_name = "a",
                                          .leaves = leaves,
                                          .pid = 1,
                                          .schemes = schemes,
                                          .scheme_count = 1,
                                          .has_kept = fake_has_kept};
    fake->core = control_core_new(&env, &config);
    return fake;
}

static void
fake_free(struct fake *fake)
{
    control_core_free(fake->core);
    for (size_t i = 0; i < fake->count; i++) {
        msg_free(fake->sent[i].message);
    }
    free(fake);
}

/* The first message of the type that the test has not looked at; NULL when there is none. */
static struct fake_sent *
fake_find(struct fake *fake, enum msg_type type)
{
    for (size_t i = 0; i < fake->count; i++) {
        if (!fake->sent[i].seen && fake->sent[i].type == type) {
            fake->sent[i].seen = true;
            return &fake->sent[i];
        }
    }
    return NULL;
}

static inline struct fake_sent *
fake_expect(struct fake *fake, enum msg_type type)
{
    struct fake_sent *sent = fake_find(fake, type);
    cr_assert_not_null(sent, "expected %s", msg_type_name(type));
    return sent;
}

/* Everything sent so far is of no interest. */
static inline void
fake_skip(struct fake *fake)
{
    for (size_t i = 0; i < fake->count; i++) {
        fake->sent[i].seen = true;
    }
}

static void
fake_answer(struct fake *fake, unsigned slot, enum msg_type type, const ProtobufCMessage *message)
{
    ProtobufCMessage *copy = fake_copy(type, message);
    control_core_answer(fake->core, slot, type, &copy);
    cr_assert_null(copy);
    fake_turn(fake);
}

static void
fake_leaf_says(struct fake *fake, uint32_t leaf, enum msg_type type,
               const ProtobufCMessage *message)
{
    ProtobufCMessage *copy = fake_copy(type, message);
    control_core_leaf_message(fake->core, leaf, type, &copy);
    cr_assert_null(copy);
    fake_turn(fake);
}

static uint64_t fake_epoch = 5;
static uint64_t fake_commit_seq = 1;

static void
fake_hello_ok(struct fake *fake)
{
    Penstock__Stamp stamp = PENSTOCK__STAMP__INIT;
    stamp.cluster_epoch = fake_epoch;
    stamp.commit_seq = fake_commit_seq++;
    Penstock__HelloReply reply = PENSTOCK__HELLO_REPLY__INIT;
    reply.stamp = &stamp;
    reply.answer = PENSTOCK__ANSWER__ANSWER_OK;
    reply.has_heartbeat_ms = 1;
    reply.heartbeat_ms = 3000;
    reply.has_self_stop_ms = 1;
    reply.self_stop_ms = 10000;
    reply.has_leaf_silence_ms = 1;
    reply.leaf_silence_ms = 5000;
    struct fake_sent *hello = fake_expect(fake, MSG_HELLO);
    fake_answer(fake, hello->where, MSG_HELLO_REPLY, &reply.base);
}

static void
fake_leaf_ready(struct fake *fake, uint32_t leaf)
{
    Penstock__LeafReady ready = PENSTOCK__LEAF_READY__INIT;
    ready.leaf = leaf;
    ready.pid = 100 + leaf;
    fake_leaf_says(fake, leaf, MSG_LEAF_READY, &ready.base);
}

/* Greeted, leaves ready, the first Sync outstanding. */
static struct fake *
fake_started(uint32_t leaves)
{
    struct fake *fake = fake_new(leaves);
    fake_turn(fake);
    fake_hello_ok(fake);
    for (uint32_t i = 0; i < leaves; i++) {
        fake_leaf_ready(fake, i);
    }
    return fake;
}

/* What a SyncReply carries in these tests; 0 = nothing. */
struct fake_reply {
    Penstock__Answer answer;
    uint64_t cluster_epoch; /* 0: the usual */
    uint8_t grant;          /* id of a batch */
    uint64_t epoch;
    uint32_t leaf;
    uint8_t task;
    uint64_t task_epoch; /* 0: 1 */
    Penstock__TaskKind kind;
    uint8_t cancel;
    uint8_t proof; /* id of a batch, of this epoch */
    uint64_t start;
    bool no_spec;
};

static void
fake_sync_reply_on(struct fake *fake, unsigned slot, const struct fake_reply *what)
{
    static uint8_t batch_id[16], task_id[16], cancel_id[16], proof_id[16], uuid[16] = {9};
    Penstock__Stamp stamp = PENSTOCK__STAMP__INIT;
    stamp.cluster_epoch = what->cluster_epoch == 0 ? fake_epoch : what->cluster_epoch;
    stamp.commit_seq = fake_commit_seq++;
    Penstock__SyncReply reply = PENSTOCK__SYNC_REPLY__INIT;
    reply.stamp = &stamp;
    reply.answer = what->answer;
    Penstock__SpecDoc doc = PENSTOCK__SPEC_DOC__INIT;
    doc.pipeline_uuid = proto_bytes(uuid, 16);
    doc.pipeline_name = "p";
    doc.spec_rev = 1;
    doc.spec_json = "{}";
    Penstock__SpecDoc *docs[] = {&doc};
    reply.specs = docs;
    reply.n_specs = what->no_spec ? 0 : 1;
    Penstock__Batch batch = PENSTOCK__BATCH__INIT;
    batch_id[0] = what->grant;
    batch.batch_id = proto_bytes(batch_id, 16);
    batch.pipeline_uuid = doc.pipeline_uuid;
    batch.spec_rev = 1;
    Penstock__Grant grant = PENSTOCK__GRANT__INIT;
    grant.batch = &batch;
    grant.epoch = what->epoch;
    grant.leaf = what->leaf;
    Penstock__Grant *grants[] = {&grant};
    reply.grants = grants;
    reply.n_grants = what->grant == 0 ? 0 : 1;
    Penstock__Task task = PENSTOCK__TASK__INIT;
    task_id[0] = what->task;
    task.task_id = proto_bytes(task_id, 16);
    task.epoch = what->task_epoch == 0 ? 1 : what->task_epoch;
    task.kind = what->kind;
    task.pipeline_uuid = doc.pipeline_uuid;
    task.spec_rev = 1;
    Penstock__Task *tasks[] = {&task};
    reply.tasks = tasks;
    reply.n_tasks = what->task == 0 ? 0 : 1;
    Penstock__CancelOrder cancel = PENSTOCK__CANCEL_ORDER__INIT;
    cancel_id[0] = what->cancel;
    cancel.batch_id = proto_bytes(cancel_id, 16);
    cancel.epoch = what->epoch;
    Penstock__CancelOrder *cancels[] = {&cancel};
    reply.cancels = cancels;
    reply.n_cancels = what->cancel == 0 ? 0 : 1;
    Penstock__Proof proof = PENSTOCK__PROOF__INIT;
    proof_id[0] = what->proof;
    proof.batch_id = proto_bytes(proof_id, 16);
    proof.epoch = what->epoch;
    proof.start = what->start;
    Penstock__Proof *proofs[] = {&proof};
    reply.proofs = proofs;
    reply.n_proofs = what->proof == 0 ? 0 : 1;
    fake_answer(fake, slot, MSG_SYNC_REPLY, &reply.base);
}

/* Answers the newest Sync. */
static inline void
fake_sync_reply(struct fake *fake, const struct fake_reply *what)
{
    int slot = -1;
    for (size_t i = 0; i < fake->count; i++) {
        if (fake->sent[i].type == MSG_SYNC && !fake->sent[i].to_leaf) {
            slot = (int)fake->sent[i].where;
        }
    }
    cr_assert(slot >= 0);
    fake_sync_reply_on(fake, (unsigned)slot, what);
}

static inline const Penstock__Sync *
fake_last_sync(const struct fake *fake)
{
    const Penstock__Sync *last = NULL;
    for (size_t i = 0; i < fake->count; i++) {
        if (fake->sent[i].type == MSG_SYNC) {
            last = (const Penstock__Sync *)fake->sent[i].message;
        }
    }
    cr_assert_not_null(last);
    return last;
}

/* Whatever Sync is outstanding is lost, and a fresh one sent. */
static inline void
fake_sync_again(struct fake *fake)
{
    for (unsigned slot = 0; slot < CONTROL_SYNC_SLOTS; slot++) {
        control_core_lost(fake->core, slot);
    }
    fake_pass(fake, 1000);
}

static inline void
fake_report_reply(struct fake *fake, unsigned slot, Penstock__Answer answer)
{
    Penstock__Stamp stamp = PENSTOCK__STAMP__INIT;
    stamp.cluster_epoch = fake_epoch;
    stamp.commit_seq = fake_commit_seq++;
    Penstock__ReportReply reply = PENSTOCK__REPORT_REPLY__INIT;
    reply.stamp = &stamp;
    reply.answer = answer;
    fake_answer(fake, slot, MSG_REPORT_REPLY, &reply.base);
}

static inline void
fake_leaf_done(struct fake *fake, uint32_t leaf, uint8_t batch, uint64_t epoch)
{
    uint8_t id[16] = {batch};
    Penstock__Counts counts = PENSTOCK__COUNTS__INIT;
    Penstock__LeafDone done = PENSTOCK__LEAF_DONE__INIT;
    done.batch_id = proto_bytes(id, 16);
    done.epoch = epoch;
    done.counts = &counts;
    fake_leaf_says(fake, leaf, MSG_LEAF_DONE, &done.base);
}

static inline void
fake_progress(struct fake *fake, uint32_t leaf)
{
    Penstock__LeafStatus status = PENSTOCK__LEAF_STATUS__INIT;
    status.leaf = leaf;
    status.state = "working";
    Penstock__LeafProgress progress = PENSTOCK__LEAF_PROGRESS__INIT;
    progress.status = &status;
    fake_leaf_says(fake, leaf, MSG_LEAF_PROGRESS, &progress.base);
}

/* Leaf 0 holds this batch, a cut that it has decoded. */
static inline void
fake_progress_cut(struct fake *fake, uint8_t batch, uint64_t epoch, const uint64_t bounds[2],
                  bool proven)
{
    uint8_t id[16] = {batch};
    Penstock__LeafStatus status = PENSTOCK__LEAF_STATUS__INIT;
    Penstock__Held held = PENSTOCK__HELD__INIT;
    Penstock__Held *held_at = &held;
    status.leaf = held.leaf = 0;
    held.batch_id = proto_bytes(id, 16);
    held.epoch = epoch;
    held.phase = PENSTOCK__PHASE__PHASE_STAGE;
    held.has_start = held.has_end = held.has_proven = 1;
    held.start = bounds[0];
    held.end = bounds[1];
    held.proven = proven;
    Penstock__LeafProgress progress = PENSTOCK__LEAF_PROGRESS__INIT;
    progress.status = &status;
    progress.n_held = 1;
    progress.held = &held_at;
    fake_leaf_says(fake, 0, MSG_LEAF_PROGRESS, &progress.base);
}

#endif
