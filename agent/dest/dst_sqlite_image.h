/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dst_sqlite_image.h: blocks as tables of a database that exists in memory only.
 * In: blocks.  Out: pages in SQLite's own format, served to the connection as an attached,
 *     read-only database by a private VFS.
 * Why: INSERT INTO t SELECT * FROM another table of the same shape copies whole records, without
 * taking them apart (SQLite's transfer optimization); that is three times cheaper for the one
 * writer of a file than giving it cell by cell. SQLite itself does every write to the user's file,
 * and decides itself whether the tables are alike enough; where not, this room is not used.
 * Invariant: what a table of the image holds is what SQLite would store of the same cells in a
 *            column of that affinity; cells that the affinity would change are never taken.
 * Format: "Database File Format", https://sqlite.org/fileformat2.html
 * Threads: as struct dest. */
#ifndef AGENT_DEST_DST_SQLITE_IMAGE_H
#define AGENT_DEST_DST_SQLITE_IMAGE_H

#include <sqlite3.h>

#include "agent/block/block.h"
#include "common/error.h"

enum {
    IMAGE_PAGE_BYTES = 65536,
    /* A transaction never sees two contents of one page, so each piece of a batch is a table of
     * its own, with page numbers of its own. */
    IMAGE_TABLES = 16,
    IMAGE_TABLE_PAGES = 4096,
};

/* What a column may take, by its affinity. */
enum image_store { IMAGE_TEXT, IMAGE_INTEGER, IMAGE_REAL, IMAGE_ANY };

struct dst_sqlite_image; /* opaque */

/* Registers the VFS. NULL when memory is refused. */
struct dst_sqlite_image *dst_sqlite_image_new(void);
/* After the connection has been closed. NULL is fine. */
void dst_sqlite_image_free(struct dst_sqlite_image *image);
/* For ATTACH; borrowed. */
const char *dst_sqlite_image_uri(const struct dst_sqlite_image *image);
/* Makes the tables anew, for rows of ncols cells: column i is cell cells[i]. Both arrays are
 * copied. False when the schema does not fit (hundreds of columns). */
PS_MUSTCHECK bool dst_sqlite_image_shape(struct dst_sqlite_image *image, uint32_t ncols,
                                         const enum image_store *stores, const uint32_t *cells);
/* Name of table number 0..IMAGE_TABLES-1 of the present shape. */
void dst_sqlite_image_table(const struct dst_sqlite_image *image, uint32_t number, char *out,
                            size_t out_bytes);

/* Before each transaction: no table has been used, and what SQLite has cached is stale. */
void dst_sqlite_image_restart(struct dst_sqlite_image *image);
/* False when all tables of this transaction have been used. */
bool dst_sqlite_image_has_room(const struct dst_sqlite_image *image);
/* Adds a whole block to the present table, or nothing of it: *out_fits false. row_cells has room
 * for ncols. */
PS_MUSTCHECK enum ps_status dst_sqlite_image_add(struct dst_sqlite_image *image,
                                                 const struct block *block, struct cell *row_cells,
                                                 bool *out_fits, struct ps_error *err);
uint64_t dst_sqlite_image_rows(const struct dst_sqlite_image *image);
size_t dst_sqlite_image_bytes(const struct dst_sqlite_image *image);
/* Ends the present table, which may be read now; returns its number. */
uint32_t dst_sqlite_image_finish(struct dst_sqlite_image *image);
/* The statement that read it has been reset: goes on with the next table. */
void dst_sqlite_image_next(struct dst_sqlite_image *image);

/* ---- for the VFS: the content of a page, NULL where there is none; lives until _next. */
const uint8_t *dst_sqlite_image_page(const struct dst_sqlite_image *image, uint64_t page_number);
/* ---- of the VFS */
void dst_sqlite_vfs_register(sqlite3_vfs *vfs, const char *name, struct dst_sqlite_image *image);

#endif
