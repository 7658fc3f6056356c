/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_prove.h"

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_part.h"
#include "coordinator/engine/eng_sync.h"

void
eng_prove_want(struct eng_pipeline *p, uint64_t bp_id)
{
    for (size_t i = 0; i < p->to_prove_count; i++) {
        if (p->to_prove[i] == bp_id) {
            return;
        }
    }
    ENG_PUSH(p->to_prove, p->to_prove_count, bp_id);
}

void
eng_prove_held(struct eng_batch *b, const Penstock__Held *held)
{
    if (!eng_part_is_batch(b) || (b->held_start == held->start && b->held_end == held->end &&
                                  b->held_proven == held->proven)) {
        return;
    }
    b->held_start = held->start;
    b->held_end = held->end;
    b->held_proven = held->proven;
    eng_prove_want(b->pipeline, b->ranges[0].bp_id);
}

void
eng_prove_forget(struct eng_batch *b)
{
    b->held_start = b->held_end = b->proof = 0;
    b->held_proven = b->proof_told = false;
    if (eng_part_is_batch(b)) {
        eng_prove_want(b->pipeline, b->ranges[0].bp_id);
    }
}

/* The first record boundary at or after where the next part was cut. */
struct known {
    bool is;
    uint64_t at;
};

static void
set_proof(struct eng_batch *b, uint64_t start)
{
    if (b->proof == start || b->state != BATCH_LEASED || b->holder == NULL) {
        return;
    }
    if (b->held_proven && b->held_end != 0 && b->held_start != start) {
        char id[PS_ID_TEXT_BYTES];
        log_error("cut.contradicted", "batch=%s found=%llu expected=%llu",
                  ps_id_text(b->row.id.id, id), (unsigned long long)b->held_start,
                  (unsigned long long)start);
    }
    b->proof = start;
    b->proof_told = false;
    if (!b->held_proven) {
        eng_sync_stir(b->holder);
    }
}

/* From what is known of an open part's start to what is known of its end. */
static struct known
pass_open(struct eng_batch *b, struct known known)
{
    if (b == NULL || b->state != BATCH_LEASED) {
        return (struct known){0};
    }
    if (known.is) {
        set_proof(b, known.at);
    }
    bool proven = b->held_proven || (known.is && b->held_start == known.at);
    if (b->held_end == 0 || !proven) {
        return (struct known){0};
    }
    return (struct known){.is = true, .at = b->held_end};
}

static void
prove(struct engine *engine, struct eng_pipeline *p, uint64_t bp_id)
{
    struct eng_object object;
    struct eng_parts parts;
    if (!eng_store_get_object(engine, p, bp_id, &object)) {
        return;
    }
    struct known known = {.is = true, .at = object.row.offset};
    eng_part_read(engine, &object, &parts);
    for (size_t i = 0; i < parts.count; i++) {
        const struct cat_part *part = &parts.items[i];
        if (eng_part_is(part, ENG_PART_OPEN)) {
            known = pass_open(eng_store_find_batch(engine, ps_span(part->batch.id.b, PS_ID_BYTES)),
                              known);
        } else if (eng_part_is(part, ENG_PART_FREE)) {
            known = (struct known){0};
        } else if (part->start != part->end) {
            known = (struct known){.is = true, .at = part->end};
        }
    }
    eng_part_end(&parts);
    eng_store_end_object(&object);
}

void
eng_prove_all(struct engine *engine)
{
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        for (size_t i = 0; i < p->to_prove_count; i++) {
            prove(engine, p, p->to_prove[i]);
        }
        p->to_prove_count = 0;
    }
}

void
eng_prove_answer(struct eng_agent *agent)
{
    PS_LIST_FOR (at, &agent->leases) {
        struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, lease_link);
        bool due = b->proof != 0 && b->state == BATCH_LEASED && !b->held_proven;
        if (!due || (b->proof_told && agent->answer == NULL)) {
            continue;
        }
        Penstock__SyncReply *reply = eng_sync_reply(agent);
        Penstock__Proof *proof = ENG_NEW(Penstock__Proof, PENSTOCK__PROOF__INIT);
        proof->batch_id = eng_out_id(&b->row.id.id);
        proof->epoch = b->row.epoch;
        proof->start = b->proof;
        b->proof_told = true;
        ENG_PUSH(reply->proofs, reply->n_proofs, proof);
    }
}
