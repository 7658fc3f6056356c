/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_drift.h"

#include <stdio.h>
#include <strings.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/percent.h"
#include "coordinator/engine/eng_out.h"
#include "spec/spec_path.h"

enum { UNKNOWN_KEPT = 100, NAME_BYTES = 63, TRIES = 10000 };

/* ---- add */
static Penstock__SpecDoc *
frozen(const struct eng_pipeline *p)
{
    return p->row.columns.len == 0
               ? NULL
               : penstock__spec_doc__unpack(NULL, p->row.columns.len, p->row.columns.ptr);
}

static const char *
from_of(const Penstock__Column *column)
{
    return column->from != NULL ? column->from : column->name;
}

static Penstock__Column *
find_from(Penstock__Column *const *columns, size_t count, const char *from)
{
    for (size_t i = 0; i < count; i++) {
        if (columns[i]->value == NULL && strcmp(from_of(columns[i]), from) == 0) {
            return columns[i];
        }
    }
    return NULL;
}

static bool
has_name(Penstock__Column *const *columns, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(columns[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The field's name as a column may be called: NAME, NAME_2, …; destinations do not tell upper from
 * lower case, and want no control character. */
static char *
free_name(const struct eng_pipeline *p, const Penstock__SpecDoc *doc, const char *field)
{
    size_t len = strlen(field);
    while (len > NAME_BYTES - 6 || (len < strlen(field) && (field[len] & 0xC0) == 0x80)) {
        len--;
    }
    char *base = ps_xstrndup(field, len);
    for (char *at = base; *at != '\0'; at++) {
        *at = (unsigned char)*at < ' ' ? '_' : *at;
    }
    char *name = ps_xstrdup(base[0] == '\0' ? "_1" : base);
    for (unsigned n = 2; n < TRIES; n++) {
        if (!has_name(doc->columns, doc->n_columns, name) &&
            !has_name(p->adding, p->adding_count, name)) {
            break;
        }
        ps_free(name);
        name = ps_xasprintf("%s_%u", base, n);
    }
    ps_free(base);
    return name;
}

/* Records that name their own fields give paths. */
static char *
field_name(const struct eng_pipeline *p, const char *from)
{
    struct spec_path path = {0};
    struct ps_error err = {0};
    char *name = NULL;
    bool is_path = strstr(spec_str(p->spec, "format.type"), "json") != NULL &&
                   spec_path_parse(from, &path, &err) == PS_OK;
    if (is_path && path.count == 1 && !path.steps[0].is_index) {
        name = ps_xstrndup((const char *)path.steps[0].name.ptr, path.steps[0].name.len);
    }
    if (is_path) {
        spec_path_fini(&path);
    }
    return name != NULL ? name : ps_xstrdup(from);
}

/* Two leaves saw the same field: the type that holds both. */
static void
widen(Penstock__Column *column, const char *type)
{
    if (strcmp(column->type, type) != 0) {
        bool numbers = strcmp(column->type, "text") != 0 && strcmp(type, "text") != 0;
        ps_free(column->type);
        column->type = eng_out_text(numbers ? "double" : "text");
    }
}

static void
want(struct eng_pipeline *p, const Penstock__SpecDoc *doc, const Penstock__Column *found)
{
    const char *from = from_of(found);
    if (find_from(doc->columns, doc->n_columns, from) != NULL) {
        return; /* made meanwhile: the batch was cut before */
    }
    Penstock__Column *known = find_from(p->adding, p->adding_count, from);
    if (known != NULL) {
        widen(known, found->type);
        return;
    }
    Penstock__Column *column = eng_out_column(found);
    ps_free(column->name);
    ps_free(column->from);
    column->from = eng_out_text(from);
    column->has_or_null = column->or_null = true;
    char *field = field_name(p, from);
    char *name = free_name(p, doc, field);
    column->name = eng_out_text(name);
    ps_free(name);
    ps_free(field);
    ENG_PUSH(p->adding, p->adding_count, column);
}

bool
eng_drift_take(struct engine *engine, struct eng_batch *b, const Penstock__Failed *failed)
{
    struct eng_pipeline *p = b->pipeline;
    Penstock__SpecDoc *doc = frozen(p);
    size_t most = (size_t)spec_int(p->spec, "limits.max_columns");
    bool is_current = b->row.generation == p->row.generation;
    if (doc == NULL) {
        return false;
    }
    size_t news = 0;
    for (size_t i = 0; i < failed->n_columns; i++) {
        news += find_from(doc->columns, doc->n_columns, from_of(failed->columns[i])) == NULL &&
                find_from(p->adding, p->adding_count, from_of(failed->columns[i])) == NULL;
    }
    bool fits = doc->n_columns + p->adding_count + news <= most;
    for (size_t i = 0; fits && is_current && i < failed->n_columns; i++) {
        want(p, doc, failed->columns[i]);
    }
    penstock__spec_doc__free_unpacked(doc, NULL);
    if (fits) {
        eng_set_text(&b->row.code, failed->code);
        eng_set_text(&b->row.reason, failed->text);
        eng_store_set_retry(b, 0);
        (void)eng_store_move_batch(engine, &b, BATCH_ON_CANCEL);
    }
    return fits;
}

bool
eng_drift_step(struct engine *engine, struct eng_pipeline *p)
{
    if (p->adding_count == 0) {
        return false;
    }
    if (eng_task_find(engine, p, PENSTOCK__TASK_KIND__TASK_ALTER) == NULL) {
        struct eng_task *task = eng_task_add(engine, p, PENSTOCK__TASK_KIND__TASK_ALTER);
        for (size_t i = 0; i < p->adding_count;
             i++) { /* what comes meanwhile has a task of its own */
            ENG_PUSH(task->columns, task->column_count, eng_out_column(p->adding[i]));
        }
    }
    return true;
}

void
eng_drift_forget(struct eng_pipeline *p)
{
    for (size_t i = 0; i < p->adding_count; i++) {
        msg_free(&p->adding[i]->base);
    }
    ps_free(p->adding);
    p->adding = NULL;
    p->adding_count = 0;
}

void
eng_drift_added(struct engine *engine, struct eng_task *task)
{
    struct eng_pipeline *p = task->pipeline;
    Penstock__SpecDoc *doc = frozen(p);
    struct ps_buf names = PS_BUF_INIT;
    if (doc == NULL) {
        eng_task_end(engine, task);
        return;
    }
    for (size_t i = 0; i < task->column_count; i++) {
        ps_buf_xprintf(&names, "%s%s %s", i == 0 ? "" : ", ", task->columns[i]->name,
                       task->columns[i]->type);
        ENG_PUSH(doc->columns, doc->n_columns, eng_out_column(task->columns[i]));
    }
    size_t len = penstock__spec_doc__get_packed_size(doc);
    uint8_t *packed = ps_xalloc(len + 1);
    penstock__spec_doc__pack(doc, packed);
    p->row.spec_rev++;
    ENG_TRY(engine, cat_pipeline_put_spec, p->row.id, p->row.spec_rev, p->row.spec_json,
            ps_span(packed, len));
    eng_set_span(&p->row.columns, ps_span(packed, len));
    p->dirty = true;
    ps_free(packed);
    penstock__spec_doc__free_unpacked(doc, NULL);
    /* Those that came while the task ran stay to be added; what ran is what the list begins with.
     */
    size_t done = task->column_count;
    for (size_t i = 0; i < done; i++) {
        msg_free(&p->adding[i]->base);
    }
    memmove(p->adding, p->adding + done, (p->adding_count - done) * sizeof(Penstock__Column *));
    p->adding_count -= done;
    eng_event(engine, p, "pipeline.columns_added", p->row.name, "spec %u: %s", p->row.spec_rev,
              ps_buf_str(&names));
    log_info("pipeline.columns_added", "name=%s columns=%zu", p->row.name, done);
    ps_buf_fini(&names);
    eng_task_end(engine, task);
}

/* ---- ignore */
static Penstock__ApiUnknownFields *
known_fields(const struct eng_pipeline *p)
{
    Penstock__ApiUnknownFields *all =
        p->row.unknown.len == 0
            ? NULL
            : penstock__api_unknown_fields__unpack(NULL, p->row.unknown.len, p->row.unknown.ptr);
    return all != NULL ? all
                       : ENG_NEW(Penstock__ApiUnknownFields, PENSTOCK__API_UNKNOWN_FIELDS__INIT);
}

static char *
shown(struct ps_span bytes)
{
    struct ps_buf name = PS_BUF_INIT;
    ps_percent_name(bytes, &name);
    char *text = eng_out_text(ps_buf_str(&name));
    ps_buf_fini(&name);
    return text;
}

void
eng_drift_seen(struct engine *engine, struct eng_pipeline *p, struct ps_span object,
               const Penstock__RangeEnd *end)
{
    if (end->n_unknown == 0) {
        return;
    }
    Penstock__ApiUnknownFields *all = known_fields(p);
    for (size_t i = 0; i < end->n_unknown; i++) {
        char *name = shown(eng_span(end->unknown[i]));
        bool known = false;
        for (size_t k = 0; !known && k < all->n_field; k++) {
            known = strcmp(all->field[k]->name, name) == 0;
        }
        if (!known && all->n_field < UNKNOWN_KEPT) {
            Penstock__ApiUnknownField *field =
                ENG_NEW(Penstock__ApiUnknownField, PENSTOCK__API_UNKNOWN_FIELD__INIT);
            field->name = eng_out_text(name);
            field->object = shown(object);
            ENG_PUSH(all->field, all->n_field, field);
            eng_event(engine, p, "pipeline.field_ignored", p->row.name, "%s, first in %s", name,
                      field->object);
        } else if (!known) {
            all->has_more = true;
            all->more++;
        }
        ps_free(name);
    }
    size_t len = penstock__api_unknown_fields__get_packed_size(all);
    uint8_t *packed = ps_xalloc(len + 1);
    penstock__api_unknown_fields__pack(all, packed);
    eng_set_span(&p->row.unknown, ps_span(packed, len));
    p->dirty = true;
    ps_free(packed);
    msg_free(&all->base);
}
