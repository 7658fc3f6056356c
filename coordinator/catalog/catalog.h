/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/catalog/catalog.h: the durable truth of a coordinator: one SQLite file.
 * In: rows to write, from the engine's thread alone.  Out: rows, by callback.
 * Invariant: a write opens a transaction by itself; nothing is durable, and nothing may be told to
 *            anybody, before catalog_commit returns PS_OK. After any failed write or commit the
 *            caller's memory is ahead of the file: it must end and start again from the file.
 *            commit_seq rises with every commit, cluster_epoch with every open.
 * Threads: one writer; readers have catalog_reader.h. */
#ifndef COORDINATOR_CATALOG_CATALOG_H
#define COORDINATOR_CATALOG_CATALOG_H

#include "common/error.h"
#include "coordinator/catalog/catalog_reader.h"
#include "coordinator/catalog/catalog_rows.h"

struct catalog; /* opaque */

struct cat_stamp {
    uint64_t cluster_epoch;
    uint64_t commit_seq;
};

/* path ":memory:" makes one without file and lock. The folder must exist. PS_REFUSED with code
 * "catalog_locked": another coordinator has it; "catalog_newer": made by a newer program. Before an
 * existing catalog is migrated, a copy is kept beside it (PATH.vN). */
PS_MUSTCHECK enum ps_status catalog_open(const char *path, struct catalog **out,
                                         struct ps_error *err);
void catalog_close(struct catalog *catalog); /* NULL is fine; rolls back what is not committed */
/* After a failed write: rolls back and raises cluster_epoch, as a new life would; PS_AGAIN or
 * PS_FULL while the file cannot be written. Everything that was read must be read anew. */
PS_MUSTCHECK enum ps_status catalog_restart(struct catalog *catalog, struct ps_error *err);

struct cat_stamp catalog_stamp(const struct catalog *catalog); /* of what is committed */
/* Raises the stamp to at least this one (adopted from a destination's ledger). */
PS_MUSTCHECK enum ps_status catalog_raise_stamp(struct catalog *catalog, struct cat_stamp least,
                                                struct ps_error *err);
/* Makes all writes since the last commit durable; nothing to do, and no fsync, without any. */
PS_MUSTCHECK enum ps_status catalog_commit(struct catalog *catalog, struct ps_error *err);
bool catalog_has_writes(const struct catalog *catalog);

/* ---- cat_pipeline.c */
/* Gives row->id. */
PS_MUSTCHECK enum ps_status cat_pipeline_insert(struct catalog *catalog, struct cat_pipeline *row,
                                                struct ps_error *err);
/* All but name, id and document (spec_json, columns). */
PS_MUSTCHECK enum ps_status cat_pipeline_save(struct catalog *catalog,
                                              const struct cat_pipeline *row, struct ps_error *err);
/* The document of (pipeline, spec_rev): written once, never changed. */
PS_MUSTCHECK enum ps_status cat_pipeline_put_spec(struct catalog *catalog, uint64_t pipeline_id,
                                                  uint32_t spec_rev, const char *spec_json,
                                                  struct ps_span columns, struct ps_error *err);
/* each is called once where there is such a document (row has only id, spec_rev, spec_json and
 * columns). */
PS_MUSTCHECK enum ps_status cat_pipeline_get_spec(struct catalog *catalog, uint64_t pipeline_id,
                                                  uint32_t spec_rev, cat_pipeline_fn each,
                                                  void *ctx, struct ps_error *err);
/* With everything that belongs to it but its events. */
PS_MUSTCHECK enum ps_status cat_pipeline_delete(struct catalog *catalog, uint64_t pipeline_id,
                                                struct ps_error *err);
PS_MUSTCHECK enum ps_status cat_pipeline_all(struct catalog *catalog, cat_pipeline_fn each,
                                             void *ctx, struct ps_error *err);

/* ---- cat_object.c: batch partitions, and ranges known from a ledger */
/* All versions of a key in page's pipeline and generation. */
PS_MUSTCHECK enum ps_status cat_object_by_key(struct catalog *catalog,
                                              const struct cat_object_page *page,
                                              struct ps_span key, cat_object_fn each, void *ctx,
                                              struct ps_error *err);
/* each is called once where there is such a batch partition. */
PS_MUSTCHECK enum ps_status cat_object_get(struct catalog *catalog, uint64_t pipeline_id,
                                           uint64_t id, cat_object_fn each, void *ctx,
                                           struct ps_error *err);
PS_MUSTCHECK enum ps_status cat_object_insert(struct catalog *catalog, const struct cat_object *row,
                                              struct ps_error *err);
/* What changes while it is loaded: state, offset, rest, resume, batch, reason, records, spent, cut.
 */
PS_MUSTCHECK enum ps_status cat_object_save(struct catalog *catalog, const struct cat_object *row,
                                            struct ps_error *err);
/* version, size, mtime and flags; hash follows from key and version. */
PS_MUSTCHECK enum ps_status
cat_object_set_version(struct catalog *catalog, const struct cat_object *row, struct ps_error *err);
/* Pending ones, largest rest first; page's state and after_id are not used. */
PS_MUSTCHECK enum ps_status cat_object_pending(struct catalog *catalog,
                                               const struct cat_object_page *page,
                                               cat_object_fn each, void *ctx, struct ps_error *err);
/* By id, state open or quarantined: walks its partial index. */
PS_MUSTCHECK enum ps_status cat_object_in_state(struct catalog *catalog,
                                                const struct cat_object_page *page,
                                                cat_object_fn each, void *ctx,
                                                struct ps_error *err);
/* The first by id, for prepare and sample; page's state and after_id are not used. */
PS_MUSTCHECK enum ps_status cat_object_first(struct catalog *catalog,
                                             const struct cat_object_page *page, cat_object_fn each,
                                             void *ctx, struct ps_error *err);
/* All by id, whatever their state; page's state is not used. */
PS_MUSTCHECK enum ps_status cat_object_after(struct catalog *catalog,
                                             const struct cat_object_page *page, cat_object_fn each,
                                             void *ctx, struct ps_error *err);
/* Batch partitions of which nothing was ever cut. */
struct cat_untouched {
    uint64_t pending;
    uint64_t quarantined;
    uint64_t size_bytes;         /* of both */
    uint64_t pending_rest_bytes; /* of the pending ones */
};
PS_MUSTCHECK enum ps_status cat_object_drop_untouched(struct catalog *catalog, uint64_t pipeline_id,
                                                      uint64_t generation,
                                                      struct cat_untouched *out,
                                                      struct ps_error *err);
/* All of a pipeline, of every generation. */
PS_MUSTCHECK enum ps_status cat_object_drop_all(struct catalog *catalog, uint64_t pipeline_id,
                                                struct ps_error *err);
PS_MUSTCHECK enum ps_status cat_object_drop_known(struct catalog *catalog, uint64_t pipeline_id,
                                                  struct ps_error *err);
/* Puts or replaces. */
PS_MUSTCHECK enum ps_status cat_object_put_known(struct catalog *catalog,
                                                 const struct cat_known_range *row,
                                                 struct ps_error *err);
/* known names pipeline, hash and from; it becomes the first such range from there on, its pointers
 * stay valid until the next call on this catalog. *out_found false: none. */
PS_MUSTCHECK enum ps_status cat_object_next_known(struct catalog *catalog,
                                                  struct cat_known_range *known, bool *out_found,
                                                  struct ps_error *err);

/* ---- cat_part.c: ranges of batch partitions that are taken in parallel */
typedef bool (*cat_part_fn)(void *ctx, const struct cat_part *row);
/* Puts or replaces the part that begins at row->from. */
PS_MUSTCHECK enum ps_status cat_part_put(struct catalog *catalog, const struct cat_part *row,
                                         struct ps_error *err);
PS_MUSTCHECK enum ps_status cat_part_drop(struct catalog *catalog, uint64_t pipeline_id,
                                          uint64_t bp_id, uint64_t from, struct ps_error *err);
/* All of a batch partition, by from. */
PS_MUSTCHECK enum ps_status cat_part_all(struct catalog *catalog, uint64_t pipeline_id,
                                         uint64_t bp_id, cat_part_fn each, void *ctx,
                                         struct ps_error *err);
/* All of a pipeline. */
PS_MUSTCHECK enum ps_status cat_part_drop_all(struct catalog *catalog, uint64_t pipeline_id,
                                              struct ps_error *err);

/* ---- cat_batch.c */
PS_MUSTCHECK enum ps_status cat_batch_insert(struct catalog *catalog, const struct cat_batch *row,
                                             const struct cat_range *ranges, struct ps_error *err);
/* Everything but identity, generation, ranges, bytes and first_object. */
PS_MUSTCHECK enum ps_status cat_batch_save(struct catalog *catalog, const struct cat_batch *row,
                                           struct ps_error *err);
/* ranges: room for batch->ranges of them; *out_count is how many there are. */
PS_MUSTCHECK enum ps_status cat_batch_ranges(struct catalog *catalog, const struct cat_batch *batch,
                                             struct cat_range *ranges, size_t *out_count,
                                             struct ps_error *err);
/* Those that are not loaded and not cancelled. */
PS_MUSTCHECK enum ps_status cat_batch_open(struct catalog *catalog, cat_batch_fn each, void *ctx,
                                           struct ps_error *err);
/* each is called once where there is such a batch. */
PS_MUSTCHECK enum ps_status cat_batch_get(struct catalog *catalog, uint64_t pipeline_id,
                                          struct batch_id id, cat_batch_fn each, void *ctx,
                                          struct ps_error *err);

/* ---- cat_replay.c */
/* *out_fresh: the replay's counts are not in the pipeline's totals yet. */
PS_MUSTCHECK enum ps_status cat_replay_enter(struct catalog *catalog, uint64_t pipeline_id,
                                             struct batch_id id, bool *out_fresh,
                                             struct ps_error *err);

/* ---- cat_agent.c */
PS_MUSTCHECK enum ps_status cat_agent_save(struct catalog *catalog, const struct cat_agent *row,
                                           struct ps_error *err);
PS_MUSTCHECK enum ps_status cat_agent_all(struct catalog *catalog, cat_agent_fn each, void *ctx,
                                          struct ps_error *err);

/* ---- cat_event.c: one row a transition; the newest CAT_EVENTS_KEPT stay */
enum { CAT_EVENTS_KEPT = 100000 };
PS_MUSTCHECK enum ps_status cat_event_add(struct catalog *catalog, const struct cat_event *row,
                                          struct ps_error *err);

#endif
