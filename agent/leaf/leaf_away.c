/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_away.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/human.h"
#include "common/log.h"

enum {
    TAKES = 2, /* one is extracted, one is loaded */
    QUOTA_LOOK_MS = 500,
};

struct waiting {
    uint32_t sealed; /* the one being loaded too */
    uint32_t stored;
    uint32_t proven; /* of those stored: not parked until their start is known */
};

static struct waiting
count_locked(const struct leaf_core *core)
{
    struct waiting waiting = {0};
    for (size_t i = 0; i < core->held_count; i++) {
        waiting.sealed += atomic_load(&core->held[i]->sealed);
        waiting.stored += atomic_load(&core->held[i]->stored);
    }
    waiting.proven = waiting.stored;
    for (size_t i = 0; i < core->parked_count; i++) {
        waiting.proven -= atomic_load(&core->parked[i]->stored);
    }
    return waiting;
}

void
leaf_away_begin_load(struct leaf_core *core)
{
    pthread_mutex_lock(&core->lock);
    core->load_began_ms = ps_clock_mono_ms();
    pthread_mutex_unlock(&core->lock);
}

void
leaf_away_end_load(struct leaf_core *core)
{
    pthread_mutex_lock(&core->lock);
    core->load_began_ms = 0;
    if (count_locked(core).sealed <= 1) {
        core->away_ms = 0; /* nobody is left to find out when it is back */
        core->away_tries = 0;
    }
    pthread_cond_broadcast(&core->changed); /* there may be room */
    pthread_mutex_unlock(&core->lock);
}

void
leaf_away_lost(struct leaf_core *core, const struct ps_error *err)
{
    pthread_mutex_lock(&core->lock);
    bool news = core->away_ms == 0;
    if (news) {
        core->away_ms = ps_clock_mono_ms();
        core->away_wall_ms = ps_clock_wall_ms();
    }
    snprintf(core->away_why, sizeof core->away_why, "%.180s", err->text);
    pthread_mutex_unlock(&core->lock);
    if (news) {
        log_warn("destination.away", "leaf=%u error=\"%s\"", core->config->leaf, err->text);
    }
}

void
leaf_away_back(struct leaf_core *core)
{
    pthread_mutex_lock(&core->lock);
    int64_t away_ms = core->away_ms == 0 ? 0 : ps_clock_mono_ms() - core->away_ms;
    bool was_away = core->away_ms != 0;
    core->away_ms = 0;
    core->away_tries = 0;
    pthread_mutex_unlock(&core->lock);
    if (was_away) {
        log_info("destination.back", "leaf=%u away_ms=%lld", core->config->leaf,
                 (long long)away_ms);
    }
}

/* 0: it is not; else since when, mono. */
static int64_t
slow_since_locked(const struct leaf_core *core)
{
    int64_t began = core->load_began_ms;
    bool slow = began != 0 && ps_clock_mono_ms() - began >= LEAF_SLOW_MS;
    return slow && count_locked(core).sealed > 1 ? began : 0;
}

static bool
is_away_locked(const struct leaf_core *core)
{
    return core->away_ms != 0 || slow_since_locked(core) != 0;
}

bool
leaf_away_is(struct leaf_core *core)
{
    pthread_mutex_lock(&core->lock);
    bool away = is_away_locked(core);
    pthread_mutex_unlock(&core->lock);
    return away;
}

bool
leaf_away_is_lost(struct leaf_core *core)
{
    pthread_mutex_lock(&core->lock);
    bool lost = core->away_ms != 0;
    pthread_mutex_unlock(&core->lock);
    return lost;
}

/* A batch as large as the largest so far would not fit. */
static bool
is_full(const struct stage_disk *disk)
{
    return disk->bytes > 0 && disk->bytes + disk->largest_bytes > disk->quota_bytes;
}

uint32_t
leaf_away_takes_locked(struct leaf_core *core)
{
    if (!is_away_locked(core)) {
        return TAKES;
    }
    struct stage_disk disk = stage_disk_now(core->stage);
    uint32_t sealed = count_locked(core).sealed;
    uint32_t takes = is_full(&disk) ? sealed : sealed + TAKES;
    uint32_t most = core->config->batches_most;
    takes = takes > most ? most : takes;
    return takes < TAKES ? TAKES : takes;
}

void
leaf_away_store(struct leaf_core *core, struct leaf_job *job)
{
    struct ps_error err;
    if (job->rows == NULL || atomic_load(&job->stored)) {
        return;
    }
    if (stage_batch_store(job->rows, &err) == PS_OK) {
        atomic_store(&job->stored, true);
        leaf_core_progress(core);
    } else if (err.status != PS_REFUSED && err.status != PS_FULL) {
        log_warn("segment.refused", "leaf=%u batch=%s error=\"%s\"", core->config->leaf,
                 job->id_text, err.text);
    }
}

bool
leaf_away_wait_for_quota(struct leaf_core *core, struct leaf_job *job)
{
    bool go_on = true;
    pthread_mutex_lock(&core->lock);
    for (;;) {
        struct stage_disk disk = stage_disk_now(core->stage);
        go_on =
            !atomic_load(&core->stop) && !atomic_load(&core->drain) && !atomic_load(&job->cancel);
        core->quota_waits =
            go_on && is_away_locked(core) && is_full(&disk) && count_locked(core).proven > 0;
        if (!core->quota_waits) {
            break;
        }
        leaf_core_wait_locked(core, QUOTA_LOOK_MS);
    }
    pthread_mutex_unlock(&core->lock);
    return go_on;
}

void
leaf_away_quota_waits(struct leaf_core *core, bool waits)
{
    pthread_mutex_lock(&core->lock);
    core->quota_waits = waits;
    pthread_mutex_unlock(&core->lock);
}

/* The extract thread waits, or it has nothing to extract because no more is asked for. */
static bool
is_stopped_by_quota_locked(const struct leaf_core *core, const struct stage_disk *disk)
{
    if (!is_away_locked(core)) {
        return false;
    }
    struct waiting waiting = count_locked(core);
    return core->quota_waits ||
           (is_full(disk) && waiting.stored > 0 && waiting.sealed == core->held_count);
}

/* ---- words */

static void
say_locked(const struct leaf_core *core, const struct stage_disk *disk, uint32_t batches,
           char note[LEAF_AWAY_NOTE_BYTES])
{
    char since[PS_CLOCK_TEXT_BYTES], bytes[PS_HUMAN_BYTES], quota[PS_HUMAN_BYTES];
    char began[96], why[192];
    int64_t slow_ms = core->away_ms == 0 ? ps_clock_mono_ms() - slow_since_locked(core) : 0;
    if (core->away_ms != 0) {
        snprintf(began, sizeof began, "destination away since %s",
                 ps_clock_text(core->away_wall_ms, since));
        snprintf(why, sizeof why, " (%.180s)", core->away_why);
    } else {
        snprintf(began, sizeof began, "destination slow: one batch has been loading for %lld s",
                 (long long)(slow_ms / 1000));
        why[0] = '\0';
    }
    snprintf(note, LEAF_AWAY_NOTE_BYTES, "%s; %u batches, %s staged of %s%s%s", began, batches,
             ps_human_show_bytes(disk->bytes, bytes), ps_human_show_bytes(disk->quota_bytes, quota),
             core->stage_full ? ": the quota is used up, extraction waits" : "", why);
}

void
leaf_away_status_locked(struct leaf_core *core, Penstock__LeafStatus *out,
                        char note[LEAF_AWAY_NOTE_BYTES])
{
    struct stage_disk disk = stage_disk_now(core->stage);
    struct waiting waiting = count_locked(core);
    out->has_staged_batches = out->has_staged_bytes = out->has_stage_quota = true;
    out->staged_batches = waiting.stored + (uint32_t)disk.kept_count;
    out->staged_bytes = disk.bytes;
    out->stage_quota = disk.quota_bytes;
    int64_t since = core->away_ms != 0 ? core->away_ms : slow_since_locked(core);
    bool was_full = core->stage_full;
    core->stage_full = is_stopped_by_quota_locked(core, &disk);
    if (core->stage_full && !was_full) {
        log_warn("stage.full", "leaf=%u staged=%llu quota=%llu", core->config->leaf,
                 (unsigned long long)disk.bytes, (unsigned long long)disk.quota_bytes);
    }
    if (since == 0) {
        return;
    }
    out->has_away_ms = true;
    out->away_ms = (uint64_t)(ps_clock_mono_ms() - since);
    out->has_stage_full = out->stage_full = core->stage_full;
    say_locked(core, &disk, waiting.stored + (uint32_t)disk.kept_count, note);
    out->note = note;
}
