/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/catalog/catalog_reader.h: lists for people, on read-only connections of their own:
 * reads never touch the writer.
 * In: names, cursors, limits.  Out: rows in key order, by callback.
 * Invariant: every page is a walk of an index from its cursor (keyset), never OFFSET; each call
 *            sees one snapshot.
 * Threads: all calls are safe from any thread; calls on one reader take turns. */
#ifndef COORDINATOR_CATALOG_CATALOG_READER_H
#define COORDINATOR_CATALOG_CATALOG_READER_H

#include "common/error.h"
#include "coordinator/catalog/catalog_rows.h"

struct catalog_reader; /* opaque */

/* path: the catalog's file, which a writer has opened before. */
PS_MUSTCHECK enum ps_status catalog_reader_open(const char *path, struct catalog_reader **out,
                                                struct ps_error *err);
void catalog_reader_close(struct catalog_reader *reader); /* NULL is fine */

/* Row callbacks: the row is borrowed for the call; false ends the list early. */
typedef bool (*cat_pipeline_fn)(void *ctx, const struct cat_pipeline *row);
typedef bool (*cat_object_fn)(void *ctx, const struct cat_object *row);
typedef bool (*cat_batch_fn)(void *ctx, const struct cat_batch *row);
typedef bool (*cat_agent_fn)(void *ctx, const struct cat_agent *row);
typedef bool (*cat_event_fn)(void *ctx, const struct cat_event *row);

/* By name, those after after_name ("" or NULL: from the start). */
PS_MUSTCHECK enum ps_status catalog_reader_pipelines(struct catalog_reader *reader,
                                                     const char *after_name, uint32_t limit,
                                                     cat_pipeline_fn each, void *ctx,
                                                     struct ps_error *err);
/* *out_id 0: there is none of that name. */
PS_MUSTCHECK enum ps_status catalog_reader_find_pipeline(struct catalog_reader *reader,
                                                         const char *name, uint64_t *out_id,
                                                         struct ps_error *err);
/* By id; page's generation is not used: the pipeline's current one. */
PS_MUSTCHECK enum ps_status catalog_reader_objects(struct catalog_reader *reader,
                                                   const struct cat_object_page *page,
                                                   cat_object_fn each, void *ctx,
                                                   struct ps_error *err);
/* By id, which is time-ordered. */
PS_MUSTCHECK enum ps_status catalog_reader_batches(struct catalog_reader *reader,
                                                   const struct cat_batch_page *page,
                                                   cat_batch_fn each, void *ctx,
                                                   struct ps_error *err);
/* Agents as of their latest hello; what they do now is COMMAND_AGENTS of the engine. */
PS_MUSTCHECK enum ps_status catalog_reader_agents(struct catalog_reader *reader,
                                                  const char *after_name, uint32_t limit,
                                                  cat_agent_fn each, void *ctx,
                                                  struct ps_error *err);
/* By id, which rises. */
PS_MUSTCHECK enum ps_status catalog_reader_events(struct catalog_reader *reader,
                                                  const struct cat_event_page *page,
                                                  cat_event_fn each, void *ctx,
                                                  struct ps_error *err);

/* The id after which the newest `count` events come; 0 when there are no more than these. */
PS_MUSTCHECK enum ps_status catalog_reader_event_before_last(struct catalog_reader *reader,
                                                             const char *pipeline, uint32_t count,
                                                             uint64_t *out_id,
                                                             struct ps_error *err);

#endif
