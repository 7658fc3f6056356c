/* SPDX-License-Identifier: Apache-2.0 */
/* Fence and ledger rows: what makes a second life of a batch impossible (design §3.2). */
#include "agent/dest/dest_ledger.h"

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"

enum { RANGES_A_CALL = 32 };

/* ---- values and statements */

static struct dest_value *
add(struct dest_values *values, enum dest_value_kind kind)
{
    if (values->count == values->cap) {
        values->cap = values->cap == 0 ? 24 : values->cap * 2;
        values->at = ps_xrealloc(values->at, values->cap * sizeof *values->at);
    }
    values->at[values->count] = (struct dest_value){.kind = kind};
    return &values->at[values->count++];
}

void
dest_values_int(struct dest_values *values, uint64_t value)
{
    add(values, VALUE_INT)->integer = (int64_t)value;
}

void
dest_values_text(struct dest_values *values, const char *text)
{
    add(values, text == NULL ? VALUE_NULL : VALUE_TEXT)->bytes = ps_span_str(text);
}

void
dest_values_span(struct dest_values *values, struct ps_span text)
{
    add(values, VALUE_TEXT)->bytes = text;
}

void
dest_values_bytes(struct dest_values *values, struct ps_span bytes, bool null_when_empty)
{
    add(values, bytes.len == 0 && null_when_empty ? VALUE_NULL : VALUE_BYTES)->bytes = bytes;
}

void
dest_values_id(struct dest_values *values, const struct ps_id *id)
{
    add(values, VALUE_BYTES)->bytes = ps_span(id->b, PS_ID_BYTES);
}

void
dest_values_fini(struct dest_values *values)
{
    ps_free(values->at);
    *values = (struct dest_values){0};
}

bool
dest_value_id(const struct dest_value *value, struct ps_id *out)
{
    return ps_id_from_span(value->bytes, out);
}

static const char *
word(const struct dest_ledger *ledger, char token)
{
    switch (token) {
    case 'S':
        return ledger->prefix;
    case 'R':
        return ledger->rejects;
    case 'N':
        return ledger->ops->number;
    case 'Q':
        return ledger->ops->quote;
    case 'I':
        return ledger->ops->integer;
    case 'L':
        return ledger->ops->share_lock;
    case 'A':
        return ledger->ops->if_absent;
    }
    return "";
}

enum ps_status
dest_ledger_run(const struct dest_ledger *ledger, const char *sql, struct dest_values *own_values,
                struct dest_call *call, struct ps_error *err)
{
    struct dest_call plain = {0};
    struct dest_call *c = call == NULL ? &plain : call;
    struct ps_buf text = PS_BUF_INIT;
    for (const char *at = sql; *at != '\0';) {
        size_t len = strcspn(at, "$");
        ps_buf_xappend(&text, at, len);
        at += len;
        if (*at == '$') {
            const char *put = word(ledger, at[1]);
            ps_buf_xappend(&text, put, strlen(put));
            at += 2;
        }
    }
    c->sql = ps_buf_str(&text);
    c->values = own_values == NULL ? NULL : own_values->at;
    c->count = own_values == NULL ? 0 : own_values->count;
    enum ps_status status = ledger->ops->run(ledger->driver, c, err);
    ps_buf_fini(&text);
    if (own_values != NULL) {
        dest_values_fini(own_values);
    }
    return status;
}

/* ---- fence */

static enum ps_status
not_visible(const struct dest_ledger *ledger, const char *why, struct ps_error *err)
{
    return ps_fail_code(err, PS_REFUSED, "not_visible",
                        "%s: %s in %s: this is not the database that pipeline %s was prepared in",
                        ledger->shown, why, ledger->place, ledger->name);
}

/* No table of ours: a database that nobody prepared. */
static enum ps_status
failed_read(const struct dest_ledger *ledger, enum ps_status status, struct ps_error *err)
{
    bool missing = status != PS_OK && strstr(err->text, ledger->ops->no_table) != NULL;
    return missing ? not_visible(ledger, "there is no ledger", err) : status;
}

struct fence {
    bool found;
    struct ps_id uuid;
    uint64_t generation;
};

static enum ps_status
take_fence(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    struct fence *fence = ctx;
    (void)err;
    fence->found = dest_value_id(&row[0], &fence->uuid);
    fence->generation = (uint64_t)row[1].integer;
    return PS_OK;
}

enum ps_status
dest_ledger_check_fence(const struct dest_ledger *ledger, const struct dest_batch *batch,
                        bool *out_match, struct ps_error *err)
{
    struct fence fence = {0};
    struct dest_call call = {.each = take_fence, .ctx = &fence};
    struct dest_values values = {0};
    dest_values_text(&values, ledger->name);
    /* The shared lock holds off a raise of the generation until this transaction has ended. */
    enum ps_status status =
        dest_ledger_run(ledger,
                        "SELECT pipeline_uuid, generation FROM $S_penstock_fence"
                        " WHERE pipeline_name = ?$L",
                        &values, &call, err);
    if (status != PS_OK) {
        return failed_read(ledger, status, err);
    }
    if (!fence.found) {
        return not_visible(ledger, "there is no fence of this name", err);
    }
    *out_match = ps_id_eq(fence.uuid, batch->pipeline.id) && fence.generation == batch->generation;
#ifdef PS_MUTANT_NO_FENCE
    *out_match = true;
#endif
    return PS_OK;
}

enum ps_status
dest_ledger_set_fence(const struct dest_ledger *ledger, struct pipeline_uuid uuid,
                      uint64_t generation, struct ps_error *err)
{
    struct fence fence = {0};
    struct dest_values made = {0};
    struct dest_values raised = {0};
    struct dest_values name = {0};
    dest_values_text(&made, ledger->name);
    dest_values_id(&made, &uuid.id);
    dest_values_int(&made, generation);
    dest_values_int(&raised, generation);
    dest_values_text(&raised, ledger->name);
    dest_values_id(&raised, &uuid.id);
    dest_values_int(&raised, generation);
    dest_values_text(&name, ledger->name);
    struct dest_call insert = {.if_absent = true};
    enum ps_status status =
        dest_ledger_run(ledger,
                        "INSERT INTO $S_penstock_fence(pipeline_name, pipeline_uuid, generation)"
                        " VALUES(?, ?, ?)$A",
                        &made, &insert, err);
    if (status == PS_OK) {
        status = dest_ledger_run(ledger,
                                 "UPDATE $S_penstock_fence SET generation = ? WHERE pipeline_name"
                                 " = ? AND pipeline_uuid = ? AND generation < ?",
                                 &raised, NULL, err);
    }
    if (status == PS_OK) {
        struct dest_call call = {.each = take_fence, .ctx = &fence};
        status = dest_ledger_run(ledger,
                                 "SELECT pipeline_uuid, generation FROM $S_penstock_fence"
                                 " WHERE pipeline_name = ?",
                                 &name, &call, err);
    }
    dest_values_fini(&raised);
    dest_values_fini(&name);
    if (status == PS_OK && !ps_id_eq(fence.uuid, uuid.id)) {
        char text[PS_ID_TEXT_BYTES];
        status =
            ps_fail_code(err, PS_REFUSED, "fence_conflict", "%s: pipeline %s is known in %s as %s",
                         ledger->shown, ledger->name, ledger->place, ps_id_text(fence.uuid, text));
    } else if (status == PS_OK && fence.generation > generation) {
        status = ps_fail_code(err, PS_REFUSED, "fence_conflict",
                              "%s: pipeline %s stands at generation %llu in %s, later than %llu",
                              ledger->shown, ledger->name, (unsigned long long)fence.generation,
                              ledger->place, (unsigned long long)generation);
    }
    return status;
}

static enum ps_status
take_integer(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    (void)err;
    *(int64_t *)ctx = row[0].integer;
    return PS_OK;
}

enum ps_status
dest_ledger_check_format(const struct dest_ledger *ledger, int64_t newest, struct ps_error *err)
{
    int64_t format = 0;
    struct dest_call call = {.each = take_integer, .ctx = &format};
    enum ps_status status = dest_ledger_run(
        ledger, "SELECT CAST(max(format) AS $I) FROM $S_penstock_fence", NULL, &call, err);
    return status != PS_OK || format <= newest
               ? status
               : ps_fail_code(err, PS_REFUSED, "newer_format",
                              "%s: the ledger in %s has format %lld, made by a newer version",
                              ledger->shown, ledger->place, (long long)format);
}

/* ---- ledger rows */

static struct ps_span
copy_span(struct ps_span bytes)
{
    if (bytes.len == 0) {
        return ps_span(NULL, 0);
    }
    uint8_t *copy = ps_xalloc(bytes.len);
    memcpy(copy, bytes.ptr, bytes.len);
    return ps_span(copy, bytes.len);
}

static enum ps_status
take_range(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    struct dest_result *out = ctx;
    out->ranges = ps_xrealloc(out->ranges, (out->range_count + 1) * sizeof *out->ranges);
    struct dest_range *range = &out->ranges[out->range_count++];
    *range = (struct dest_range){.from = (uint64_t)row[1].integer,
                                 .key = copy_span(row[2].bytes),
                                 .version = copy_span(row[3].bytes),
                                 .end = (uint64_t)row[4].integer,
                                 .eof = row[5].integer != 0,
                                 .resume = copy_span(row[6].bytes),
                                 .records = (uint64_t)row[7].integer};
    return dest_value_id(&row[0], &range->bp.id)
               ? PS_OK
               : ps_fail(err, PS_BUG, "a ledger range without its hash");
}

struct entry {
    bool found, loaded;
    struct dest_counts counts;
};

static enum ps_status
take_entry(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    struct entry *entry = ctx;
    (void)err;
    struct dest_counts *counts = &entry->counts;
    uint64_t *const fields[] = {
        &counts->decoded,          &counts->rejected,  &counts->filtered,
        &counts->inserted,         &counts->updated,   &counts->skipped,
        &counts->rejected_at_load, &counts->raw_bytes, &counts->unwrapped_bytes};
    entry->found = true;
    entry->loaded = row[0].bytes.len == 1 && row[0].bytes.ptr[0] == 'L';
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *fields[i] = (uint64_t)row[i + 1].integer;
    }
    return PS_OK;
}

static enum ps_status
read_entry(const struct dest_ledger *ledger, struct batch_id id, struct dest_result *out,
           struct ps_error *err)
{
    struct entry entry = {0};
    struct dest_call call = {.each = take_entry, .ctx = &entry};
    struct dest_values values = {0};
    dest_values_id(&values, &id.id);
    enum ps_status status = dest_ledger_run(
        ledger,
        "SELECT state, decoded, rejected, filtered, inserted, updated, skipped, rejected_at_load,"
        " raw_bytes, unwrapped_bytes FROM $S_penstock_ledger WHERE batch_id = ?",
        &values, &call, err);
    if (status != PS_OK) {
        return status;
    }
    if (!entry.found) {
        return ps_fail(err, PS_AGAIN, "%s: a ledger row that went away", ledger->shown);
    }
    *out = (struct dest_result){.outcome = entry.loaded ? DEST_ALREADY : DEST_CANCELLED,
                                .counts = entry.counts};
    return entry.loaded ? dest_ledger_read_ranges(ledger, id, out, err) : PS_OK;
}

enum ps_status
dest_ledger_read_ranges(const struct dest_ledger *ledger, struct batch_id id,
                        struct dest_result *out, struct ps_error *err)
{
    struct dest_values values = {0};
    struct dest_call ranges = {.each = take_range, .ctx = out};
    dest_values_id(&values, &id.id);
    return dest_ledger_run(ledger,
                           "SELECT bp_hash, from_offset, $Qkey$Q, version, end_offset,"
                           " CAST(CASE WHEN eof THEN 1 ELSE 0 END AS $I), resume, records"
                           " FROM $S_penstock_ledger_range WHERE batch_id = ?"
                           " ORDER BY bp_hash, from_offset",
                           &values, &ranges, err);
}

enum ps_status
dest_ledger_enter(const struct dest_ledger *ledger, const struct dest_batch *batch,
                  const char *tombstone, bool *out_done, struct dest_result *out,
                  struct ps_error *err)
{
    *out_done = false;
#ifdef PS_MUTANT_NO_LEDGER
    if (tombstone == NULL) {
        return PS_OK;
    }
#endif
    const struct dest_counts *counts = &batch->counts;
    struct dest_values values = {0};
    dest_values_id(&values, &batch->id.id);
    dest_values_id(&values, &batch->pipeline.id);
    dest_values_int(&values, batch->generation);
    dest_values_text(&values, tombstone == NULL ? "L" : "T");
    dest_values_int(&values, batch->epoch);
    dest_values_int(&values, batch->cluster_epoch);
    dest_values_int(&values, batch->commit_seq);
    dest_values_text(&values, batch->agent == NULL ? "" : batch->agent);
    const uint64_t numbers[] = {
        batch->leaf,      batch->spec_rev,   counts->decoded,        counts->rejected,
        counts->filtered, counts->raw_bytes, counts->unwrapped_bytes};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        dest_values_int(&values, numbers[i]);
    }
    dest_values_text(&values,
                     tombstone == NULL && batch->replays != NULL ? DEST_REPLAY_REASON : tombstone);
    dest_values_int(&values, (uint64_t)ps_clock_wall_ms());
    /* A twin's row that is not committed yet is waited for here. */
    struct dest_call call = {.if_absent = true};
    enum ps_status status = dest_ledger_run(
        ledger,
        "INSERT INTO $S_penstock_ledger(batch_id, pipeline_uuid, generation, state, epoch,"
        " cluster_epoch, commit_seq, agent, leaf, spec_rev, decoded, rejected, filtered,"
        " raw_bytes, unwrapped_bytes, reason, at_ms, inserted, updated, skipped,"
        " rejected_at_load) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0,"
        " 0)$A",
        &values, &call, err);
    if (status != PS_OK) {
        return failed_read(ledger, status, err);
    }
    *out_done = call.changed == 0;
    return *out_done ? read_entry(ledger, batch->id, out, err) : PS_OK;
}

/* ---- ranges */

static enum ps_status
insert_ranges(const struct dest_ledger *ledger, const struct dest_batch *batch, size_t first,
              size_t count, bool *out_fresh, struct ps_error *err)
{
    struct dest_values values = {0};
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "INSERT INTO $S_penstock_ledger_range(pipeline_uuid, generation, bp_hash,"
                         " from_offset, batch_id, $Qkey$Q, version, end_offset, eof, resume,"
                         " records) VALUES");
    for (size_t i = first; i < first + count; i++) {
        const struct dest_range *range = &batch->ranges[i];
        dest_values_id(&values, &batch->pipeline.id);
        dest_values_int(&values, batch->generation);
        dest_values_id(&values, &range->bp.id);
        dest_values_int(&values, range->from);
        dest_values_id(&values, &batch->id.id);
        dest_values_bytes(&values, range->key, false);
        dest_values_bytes(&values, range->version, false);
        dest_values_int(&values, range->end);
        dest_values_int(&values, range->eof);
        dest_values_bytes(&values, range->resume, true);
        dest_values_int(&values, range->records);
        ps_buf_xprintf(&sql, "%s(?, ?, ?, ?, ?, ?, ?, ?, ? <> 0, ?, ?)", i == first ? "" : ", ");
    }
    ps_buf_xprintf(&sql, "$A");
    struct dest_call call = {.if_absent = true};
    enum ps_status status = dest_ledger_run(ledger, ps_buf_str(&sql), &values, &call, err);
    ps_buf_fini(&sql);
    *out_fresh = call.changed == count;
    return status;
}

static enum ps_status
take_owner(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    (void)err;
    (void)!dest_value_id(&row[0], ctx);
    return PS_OK;
}

/* *out_owner: another batch that owns a byte of the range; nil: none. Ranges do not overlap, so
 * only the last one that begins before our end can reach into ours; `=`: the one with our own key.
 * Where nothing began (an empty range) nothing is owned. */
static enum ps_status
find_owner(const struct dest_ledger *ledger, const struct dest_batch *batch,
           const struct dest_range *range, struct ps_id *out_owner, struct ps_error *err)
{
    *out_owner = (struct ps_id){{0}};
    struct dest_call call = {.each = take_owner, .ctx = out_owner};
    struct dest_values values = {0};
    dest_values_id(&values, &batch->pipeline.id);
    dest_values_int(&values, batch->generation);
    dest_values_id(&values, &range->bp.id);
    dest_values_int(&values, range->from);
    dest_values_int(&values, range->end);
    dest_values_int(&values, range->from);
    dest_values_id(&values, &batch->id.id);
    return dest_ledger_run(ledger,
                           "SELECT batch_id FROM $S_penstock_ledger_range WHERE pipeline_uuid = ?"
                           " AND generation = ? AND bp_hash = ? AND (from_offset = ? OR"
                           " (from_offset < ? AND end_offset > ? AND end_offset > from_offset))"
                           " AND batch_id <> ?"
                           " ORDER BY from_offset DESC LIMIT 1",
                           &values, &call, err);
}

static void
say_conflict(const struct dest_ledger *ledger, const struct dest_batch *batch,
             const struct dest_range *range, struct ps_id owner, struct ps_error *err)
{
    char ours[PS_ID_TEXT_BYTES];
    char theirs[PS_ID_TEXT_BYTES];
    char key[256];
    (void)ps_fail_code(err, PS_REFUSED, "range_conflict",
                       "%s: batch %s: the range of %s from %llu is owned by batch %s",
                       ledger->shown, ps_id_text(batch->id.id, ours),
                       log_quote(range->key, key, sizeof key), (unsigned long long)range->from,
                       ps_id_text(owner, theirs));
}

/* One of these ranges is there already: whose? */
static enum ps_status
blame(const struct dest_ledger *ledger, const struct dest_batch *batch, size_t first, size_t count,
      struct ps_error *err)
{
    const struct dest_range *range = &batch->ranges[first];
    struct ps_id owner = batch->id.id; /* unless found: the batch names a range twice */
    for (size_t i = first; i < first + count; i++) {
        struct ps_id found = {{0}};
        enum ps_status status = find_owner(ledger, batch, &batch->ranges[i], &found, err);
        if (status != PS_OK) {
            return status;
        }
        if (!ps_id_is_zero(found)) {
            range = &batch->ranges[i];
            owner = found;
            break;
        }
    }
    say_conflict(ledger, batch, range, owner, err);
    return PS_OK;
}

/* A part of an object may overlap others although no key is the same; a whole one begins where all
 * of its ranges would have to. */
static bool
may_overlap(const struct dest_range *range)
{
    return range->from != range->end && !(range->from == 0 && range->eof);
}

enum ps_status
dest_ledger_enter_ranges(const struct dest_ledger *ledger, const struct dest_batch *batch,
                         bool *out_conflict, struct ps_error *err)
{
    *out_conflict = false;
#ifdef PS_MUTANT_NO_LEDGER
    return PS_OK;
#endif
    for (size_t first = 0; first < batch->range_count;) {
        const struct dest_range *range = &batch->ranges[first];
        struct ps_id owner = {{0}};
        enum ps_status status = PS_OK;
        size_t count = 1;
        if (may_overlap(range)) {
            status = find_owner(ledger, batch, range, &owner, err);
        } else {
            while (count < RANGES_A_CALL && first + count < batch->range_count &&
                   !may_overlap(range + count)) {
                count++;
            }
        }
        if (status == PS_OK && !ps_id_is_zero(owner)) {
            *out_conflict = true;
            say_conflict(ledger, batch, range, owner, err);
            return PS_OK;
        }
        bool fresh = true;
        if (status == PS_OK) {
            status = insert_ranges(ledger, batch, first, count, &fresh, err);
        }
        if (status == PS_OK && !fresh) {
            *out_conflict = true;
            return blame(ledger, batch, first, count, err);
        }
        if (status != PS_OK) {
            return status;
        }
        first += count;
    }
    return PS_OK;
}

enum ps_status
dest_ledger_check_ranges(const struct dest_ledger *ledger, const struct dest_batch *batch,
                         bool *out_conflict, struct ps_error *err)
{
    bool has_turn = ledger->ops->take_turn == NULL;
    *out_conflict = false;
#ifdef PS_MUTANT_NO_LEDGER
    return PS_OK;
#endif
    for (size_t i = 0; i < batch->range_count; i++) {
        const struct dest_range *range = &batch->ranges[i];
        struct ps_id owner = {{0}};
        if (!may_overlap(range)) {
            continue;
        }
        enum ps_status status =
            has_turn ? PS_OK : ledger->ops->take_turn(ledger->driver, batch->pipeline.id, err);
        has_turn = true;
        if (status == PS_OK) {
            status = find_owner(ledger, batch, range, &owner, err);
        }
        if (status != PS_OK) {
            return status;
        }
        if (!ps_id_is_zero(owner)) {
            *out_conflict = true;
            say_conflict(ledger, batch, range, owner, err);
            return PS_OK;
        }
    }
    return PS_OK;
}

enum ps_status
dest_ledger_enter_counts(const struct dest_ledger *ledger, struct batch_id id,
                         const struct dest_counts *counts, struct ps_error *err)
{
    struct dest_values values = {0};
    dest_values_int(&values, counts->inserted);
    dest_values_int(&values, counts->updated);
    dest_values_int(&values, counts->skipped);
    dest_values_int(&values, counts->rejected_at_load);
    dest_values_id(&values, &id.id);
    return dest_ledger_run(ledger,
                           "UPDATE $S_penstock_ledger SET inserted = ?, updated = ?, skipped = ?,"
                           " rejected_at_load = ? WHERE batch_id = ?",
                           &values, NULL, err);
}
