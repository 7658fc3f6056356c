/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dst_sqlite_image.h"

#include <endian.h>
#include <stdatomic.h>
#include <stdio.h>

#include "agent/block/block_read.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/buf.h"

enum {
    LEAF_HEADER_BYTES = 8,
    INTERIOR_HEADER_BYTES = 12,
    /* A longer record would need overflow pages. */
    PAYLOAD_MAX_BYTES = IMAGE_PAGE_BYTES - 35,
    /* A text of that page length has a serial type of at most 3 bytes, a number's is 1. */
    SERIAL_MAX_BYTES = 3,
    PAGE_TABLE_LEAF = 0x0d,
    PAGE_TABLE_INTERIOR = 0x05,
    FIRST_PAGES = 24,
    /* Short texts are copied in this length, whatever their own. */
    COPY_BYTES = 16,
};

/* Integers beyond this lie between doubles. */
static const int64_t real_exact_max = INT64_C(1) << 53;

struct dst_sqlite_image {
    sqlite3_vfs vfs;
    char vfs_name[40];
    char uri[96];
    uint32_t ncols;
    enum image_store *stores;
    uint32_t *cells;
    bool in_order;    /* column i is cell i */
    uint8_t *serials; /* of the row being written */
    uint8_t *body;    /* its values; COPY_BYTES more than a page takes */
    uint8_t *page1;
    uint32_t shape;   /* raised with each: schema cookie, and part of the tables' names */
    uint32_t changes; /* raised with each transaction: SQLite drops what it has cached */
    uint32_t table;   /* the present one */
    bool finished;

    uint8_t *pages; /* of the present table: place 0 is for the root, leaves follow */
    uint32_t page_cap;
    uint32_t leaves;
    uint32_t last_rowid[IMAGE_TABLE_PAGES]; /* of each leaf */
    uint32_t cells_in_leaf;
    uint32_t top; /* where the lowest cell of the leaf begins */
    uint32_t rows;
};

/* ---- numbers, big-endian */

static void
put_u16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void
put_u32(uint8_t *at, uint32_t value)
{
    put_u16(at, value >> 16);
    put_u16(at + 2, value);
}

/* Seven bits a byte, the highest first; here at most four bytes are needed. */
static uint8_t *
put_varint(uint8_t *at, uint32_t value)
{
    PS_ASSERT(value < UINT32_C(1) << 28);
    if (value >= UINT32_C(1) << 21) {
        *at++ = (uint8_t)(0x80 | value >> 21);
    }
    if (value >= UINT32_C(1) << 14) {
        *at++ = (uint8_t)(0x80 | (value >> 14 & 0x7f));
    }
    if (value >= UINT32_C(1) << 7) {
        *at++ = (uint8_t)(0x80 | (value >> 7 & 0x7f));
    }
    *at++ = (uint8_t)(value & 0x7f);
    return at;
}

static uint32_t
varint_bytes(uint32_t value)
{
    return value < 1u << 7 ? 1 : value < 1u << 14 ? 2 : value < 1u << 21 ? 3 : 4;
}

/* ---- records */

/* The row being written: serial types on one side, values on the other. */
struct record {
    uint8_t *serial;
    uint8_t *body;
    const uint8_t *body_end; /* values beyond it do not fit in a page */
    const uint8_t *block_end;
};

/* A value of so many bytes, big-endian; writes eight. */
static inline void
put_number(struct record *record, uint8_t serial, uint64_t bits, uint32_t len)
{
    *record->serial++ = serial;
    bits = htobe64(bits << ((64 - 8 * len) & 63));
    memcpy(record->body, &bits, sizeof bits);
    record->body += len;
}

static inline void
put_integer(struct record *record, int64_t value)
{
    /* By how many bits the value needs with its sign: how many bytes SQLite takes. */
    static const uint8_t bytes_of[65] = {
        [0] = 1,  [1] = 1,  [2] = 1,  [3] = 1,  [4] = 1,  [5] = 1,  [6] = 1,  [7] = 1,  [8] = 1,
        [9] = 2,  [10] = 2, [11] = 2, [12] = 2, [13] = 2, [14] = 2, [15] = 2, [16] = 2, [17] = 3,
        [18] = 3, [19] = 3, [20] = 3, [21] = 3, [22] = 3, [23] = 3, [24] = 3, [25] = 4, [26] = 4,
        [27] = 4, [28] = 4, [29] = 4, [30] = 4, [31] = 4, [32] = 4, [33] = 6, [34] = 6, [35] = 6,
        [36] = 6, [37] = 6, [38] = 6, [39] = 6, [40] = 6, [41] = 6, [42] = 6, [43] = 6, [44] = 6,
        [45] = 6, [46] = 6, [47] = 6, [48] = 6, [49] = 8, [50] = 8, [51] = 8, [52] = 8, [53] = 8,
        [54] = 8, [55] = 8, [56] = 8, [57] = 8, [58] = 8, [59] = 8, [60] = 8, [61] = 8, [62] = 8,
        [63] = 8, [64] = 8};
    static const uint8_t serial_of[9] = {[1] = 1, [2] = 2, [3] = 3, [4] = 4, [6] = 5, [8] = 6};
    if ((uint64_t)value < 2) {
        *record->serial++ = (uint8_t)(8 + value);
        return;
    }
    uint64_t size = (uint64_t)(value < 0 ? ~value : value);
    uint32_t len = bytes_of[65 - __builtin_clzll(size | 1)];
    put_number(record, serial_of[len], (uint64_t)value, len);
}

static inline void
put_double(struct record *record, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_number(record, 7, bits, 8);
}

/* In a column of REAL affinity a whole number of at most six bytes is stored as an integer, as
 * SQLite does: it reads back as the real, and saves room. */
static inline bool
is_short_whole(double value, int64_t *out)
{
    if (!(value >= -140737488355328.0 && value <= 140737488355327.0)) {
        return false;
    }
    *out = (int64_t)value;
    return (double)*out == value;
}

static void
put_real(struct record *record, enum image_store store, double value)
{
    int64_t whole = 0;
    if (value != value) {
        *record->serial++ = 0; /* NaN is NULL to SQLite */
    } else if (store == IMAGE_REAL && is_short_whole(value, &whole)) {
        put_integer(record, whole);
    } else {
        put_double(record, value);
    }
}

static inline bool
put_bytes(struct record *record, const struct cell *cell, uint32_t kind)
{
    uint32_t len = cell->len;
    if (len > (size_t)(record->body_end - record->body)) {
        return false;
    }
    record->serial = put_varint(record->serial, len * 2 + kind);
    if (len <= COPY_BYTES && record->block_end - cell->ptr >= COPY_BYTES) {
        memcpy(record->body, cell->ptr, COPY_BYTES); /* a fixed length costs no call */
    } else {
        memcpy(record->body, cell->ptr, len);
    }
    record->body += len;
    return true;
}

/* False when the column would change the value, or the row is too long. */
static inline bool
put_cell(struct record *record, enum image_store store, const struct cell *cell)
{
    switch (cell->tag) {
    case CELL_NULL:
        *record->serial++ = 0;
        return true;
    case CELL_INT:
        if (store == IMAGE_INTEGER || store == IMAGE_ANY) {
            put_integer(record, cell->integer);
            return true;
        }
        if (store == IMAGE_REAL && cell->integer <= real_exact_max &&
            cell->integer >= -real_exact_max) {
            put_real(record, store, (double)cell->integer);
            return true;
        }
        return false;
    case CELL_REAL:
        if (store == IMAGE_REAL || store == IMAGE_ANY) {
            put_real(record, store, cell->real);
            return true;
        }
        return false;
    case CELL_TEXT:
    case CELL_SHORT_TEXT:
        return (store == IMAGE_TEXT || store == IMAGE_ANY) && put_bytes(record, cell, 13);
    case CELL_BLOB:
        return put_bytes(record, cell, 12);
    }
    return false;
}

/* ---- pages */

static uint8_t *
leaf_page(const struct dst_sqlite_image *image)
{
    return image->pages + (size_t)image->leaves * IMAGE_PAGE_BYTES;
}

/* The header of a leaf whose cells are in place. */
static void
close_leaf(struct dst_sqlite_image *image)
{
    if (image->leaves == 0) {
        return;
    }
    uint8_t *page = leaf_page(image);
    page[0] = PAGE_TABLE_LEAF;
    put_u16(page + 1, 0);
    put_u16(page + 3, image->cells_in_leaf);
    put_u16(page + 5, image->top); /* 65536 is written as 0 */
    page[7] = 0;
    image->last_rowid[image->leaves - 1] = image->rows;
}

static bool
open_leaf(struct dst_sqlite_image *image)
{
    close_leaf(image);
    if (image->leaves + 3 > IMAGE_TABLE_PAGES) { /* the last is the page of SQLite's lock bytes */
        return false;
    }
    if (image->leaves + 2 > image->page_cap) {
        uint32_t cap = image->page_cap == 0 ? FIRST_PAGES : image->page_cap * 2;
        uint8_t *pages = ps_realloc(image->pages, (size_t)cap * IMAGE_PAGE_BYTES);
        if (pages == NULL) {
            return false;
        }
        image->pages = pages;
        image->page_cap = cap;
    }
    image->leaves++;
    image->cells_in_leaf = 0;
    image->top = IMAGE_PAGE_BYTES;
    return true;
}

/* The record stands in serials and body; false when no page takes it. */
static bool
add_record(struct dst_sqlite_image *image, const struct record *record)
{
    uint32_t serial_bytes = (uint32_t)(record->serial - image->serials);
    uint32_t body_bytes = (uint32_t)(record->body - image->body);
    /* The header's length counts its own bytes. */
    uint32_t header = serial_bytes + varint_bytes(serial_bytes + 2);
    uint32_t payload = header + body_bytes;
    if (payload > PAYLOAD_MAX_BYTES) {
        return false;
    }
    uint32_t cell = varint_bytes(payload) + varint_bytes(image->rows + 1) + payload;
    uint32_t used = LEAF_HEADER_BYTES + 2 * (image->cells_in_leaf + 1);
    if ((image->leaves == 0 || used + cell > image->top) && !open_leaf(image)) {
        return false;
    }
    image->rows++;
    image->top -= cell;
    uint8_t *page = leaf_page(image);
    put_u16(page + LEAF_HEADER_BYTES + (size_t)2 * image->cells_in_leaf++, image->top);
    uint8_t *at = put_varint(page + image->top, payload);
    at = put_varint(at, image->rows);
    at = put_varint(at, header);
    memcpy(at, image->serials, serial_bytes);
    memcpy(at + serial_bytes, image->body, body_bytes);
    return true;
}

enum row { ROW_ADDED, ROW_MISFIT, ROW_CORRUPT };

/* One row from the block to its page. The cells' order is the columns' order but for tables that
 * somebody else has made; there they wait in row_cells. */
static enum row
add_row(struct dst_sqlite_image *image, struct block_cursor *cursor, struct cell *row_cells)
{
    /* Numbers write up to eight bytes without asking: those have room behind body_end. */
    struct record record = {.serial = image->serials,
                            .body = image->body,
                            .body_end = image->body + PAYLOAD_MAX_BYTES,
                            .block_end = cursor->end};
    struct row_meta meta;
    if (!block_read_meta(cursor, &meta)) {
        return ROW_CORRUPT;
    }
    for (uint32_t i = 0; !image->in_order && i < image->ncols; i++) {
        if (!block_read_cell(cursor, &row_cells[i])) {
            return ROW_CORRUPT;
        }
    }
    for (uint32_t i = 0; i < image->ncols; i++) {
        struct cell cell = {.tag = CELL_NULL};
        if (!image->in_order) {
            cell = row_cells[image->cells[i]];
        } else if (!block_read_cell(cursor, &cell)) {
            return ROW_CORRUPT;
        }
        if (record.body > record.body_end || !put_cell(&record, image->stores[i], &cell)) {
            return ROW_MISFIT;
        }
    }
    return add_record(image, &record) ? ROW_ADDED : ROW_MISFIT;
}

enum ps_status
dst_sqlite_image_add(struct dst_sqlite_image *image, const struct block *block,
                     struct cell *row_cells, bool *out_fits, struct ps_error *err)
{
    PS_ASSERT(!image->finished && dst_sqlite_image_has_room(image));
    uint32_t leaves = image->leaves;
    uint32_t cells_in_leaf = image->cells_in_leaf;
    uint32_t top = image->top;
    uint32_t rows = image->rows;
    struct block_cursor cursor;
    block_cursor_init(&cursor, block);
    enum row added = ROW_ADDED;
    while (added == ROW_ADDED && cursor.rows_left > 0) {
        added = add_row(image, &cursor, row_cells);
        cursor.rows_left--;
    }
    *out_fits = added == ROW_ADDED && cursor.at == cursor.end;
    if (!*out_fits) {
        /* Cells were only added below and beside those that were there. */
        image->leaves = leaves;
        image->cells_in_leaf = cells_in_leaf;
        image->top = top;
        image->rows = rows;
    }
    if (added == ROW_CORRUPT || (added == ROW_ADDED && !*out_fits)) {
        return ps_fail_code(err, PS_BADDATA, "block_corrupt", "block: a row's encoding is broken");
    }
    return PS_OK;
}

uint64_t
dst_sqlite_image_rows(const struct dst_sqlite_image *image)
{
    return image->rows;
}

size_t
dst_sqlite_image_bytes(const struct dst_sqlite_image *image)
{
    return (size_t)image->leaves * IMAGE_PAGE_BYTES;
}

static uint32_t
page_of(uint32_t table, uint32_t place)
{
    return 2 + table * IMAGE_TABLE_PAGES + place;
}

uint32_t
dst_sqlite_image_finish(struct dst_sqlite_image *image)
{
    PS_ASSERT(!image->finished && image->rows > 0);
    close_leaf(image);
    image->finished = true;
    if (image->leaves == 1) {
        return image->table; /* the leaf is the root */
    }
    uint8_t *root = image->pages;
    uint32_t top = IMAGE_PAGE_BYTES;
    for (uint32_t i = 0; i + 1 < image->leaves; i++) {
        uint32_t key = image->last_rowid[i];
        top -= 4 + varint_bytes(key);
        put_u32(root + top, page_of(image->table, i + 1));
        (void)put_varint(root + top + 4, key);
        put_u16(root + INTERIOR_HEADER_BYTES + (size_t)2 * i, top);
    }
    root[0] = PAGE_TABLE_INTERIOR;
    put_u16(root + 1, 0);
    put_u16(root + 3, image->leaves - 1);
    put_u16(root + 5, top);
    root[7] = 0;
    put_u32(root + 8, page_of(image->table, image->leaves));
    return image->table;
}

static void
clear(struct dst_sqlite_image *image)
{
    image->finished = false;
    image->leaves = 0;
    image->rows = 0;
    image->cells_in_leaf = 0;
    image->top = IMAGE_PAGE_BYTES;
}

void
dst_sqlite_image_next(struct dst_sqlite_image *image)
{
    clear(image);
    image->table++;
}

bool
dst_sqlite_image_has_room(const struct dst_sqlite_image *image)
{
    return image->table < IMAGE_TABLES;
}

const uint8_t *
dst_sqlite_image_page(const struct dst_sqlite_image *image, uint64_t page_number)
{
    if (page_number == 1) {
        return image->page1;
    }
    uint64_t table = (page_number - 2) / IMAGE_TABLE_PAGES;
    uint64_t place = (page_number - 2) % IMAGE_TABLE_PAGES;
    if (!image->finished || table != image->table || place > image->leaves) {
        return NULL;
    }
    if (place == 0 && image->leaves == 1) {
        place = 1;
    }
    return image->pages + place * IMAGE_PAGE_BYTES;
}

/* ---- the first page: file header and schema */

static void
stamp(struct dst_sqlite_image *image)
{
    put_u32(image->page1 + 24, image->changes);
    put_u32(image->page1 + 92, image->changes); /* the version that the page count is valid for */
}

static void
file_header(struct dst_sqlite_image *image)
{
    uint8_t *page = image->page1;
    memset(page, 0, IMAGE_PAGE_BYTES);
    memcpy(page, "SQLite format 3", 16);
    put_u16(page + 16, 1); /* pages of 65536 bytes */
    page[18] = 1;          /* a rollback journal */
    page[19] = 1;
    page[21] = 64;
    page[22] = 32;
    page[23] = 32;
    put_u32(page + 28, 1 + IMAGE_TABLES * IMAGE_TABLE_PAGES);
    put_u32(page + 40, image->shape); /* schema cookie */
    put_u32(page + 44, 4);            /* schema format */
    put_u32(page + 56, 1);            /* UTF-8 */
    put_u32(page + 96, 3040001);
    stamp(image);
}

void
dst_sqlite_image_table(const struct dst_sqlite_image *image, uint32_t number, char *out,
                       size_t out_bytes)
{
    snprintf(out, out_bytes, "r%u_%u", image->shape, number);
}

static void
table_sql(const struct dst_sqlite_image *image, const char *name, struct ps_buf *sql)
{
    static const char *const types[] = {[IMAGE_TEXT] = " TEXT",
                                        [IMAGE_INTEGER] = " INTEGER",
                                        [IMAGE_REAL] = " REAL",
                                        [IMAGE_ANY] = ""};
    ps_buf_clear(sql);
    ps_buf_xprintf(sql, "CREATE TABLE %s", name);
    for (uint32_t i = 0; i < image->ncols; i++) {
        ps_buf_xprintf(sql, "%sc%u%s", i == 0 ? "(" : ",", i, types[image->stores[i]]);
    }
    ps_buf_xprintf(sql, ")");
}

/* One row of sqlite_schema at the end of the free room; false when it is full. */
static bool
schema_row(struct dst_sqlite_image *image, uint32_t number, struct ps_buf *sql, uint32_t *top)
{
    char name[40];
    dst_sqlite_image_table(image, number, name, sizeof name);
    table_sql(image, name, sql);
    if (sql->len > PAYLOAD_MAX_BYTES / 2) {
        return false;
    }
    uint32_t name_len = (uint32_t)strlen(name);
    uint32_t sql_len = (uint32_t)sql->len;
    uint8_t serials[16];
    uint8_t *at = serials;
    at = put_varint(at, 13 + 2 * 5);
    at = put_varint(at, 13 + 2 * name_len);
    at = put_varint(at, 13 + 2 * name_len);
    at = put_varint(at, 4);
    at = put_varint(at, 13 + 2 * sql_len);
    uint32_t header = 1 + (uint32_t)(at - serials);
    uint32_t payload = header + 5 + 2 * name_len + 4 + sql_len;
    uint32_t cell = varint_bytes(payload) + varint_bytes(number + 1) + payload;
    uint32_t used = 100 + LEAF_HEADER_BYTES + 2 * (number + 1);
    if (used + cell > *top) {
        return false;
    }
    *top -= cell;
    uint8_t *page = image->page1;
    put_u16(page + 100 + LEAF_HEADER_BYTES + (size_t)2 * number, *top);
    uint8_t *out = put_varint(page + *top, payload);
    out = put_varint(out, number + 1);
    out = put_varint(out, header);
    memcpy(out, serials, header - 1);
    out += header - 1;
    memcpy(out, "table", 5);
    memcpy(out + 5, name, name_len);
    memcpy(out + 5 + name_len, name, name_len);
    put_u32(out + 5 + 2 * name_len, page_of(number, 0));
    memcpy(out + 9 + 2 * name_len, sql->ptr, sql_len);
    return true;
}

bool
dst_sqlite_image_shape(struct dst_sqlite_image *image, uint32_t ncols,
                       const enum image_store *stores, const uint32_t *cells)
{
    image->shape++;
    image->changes++;
    image->ncols = ncols;
    image->stores = ps_xrealloc(image->stores, ncols * sizeof *stores);
    memcpy(image->stores, stores, ncols * sizeof *stores);
    image->cells = ps_xrealloc(image->cells, ncols * sizeof *cells);
    memcpy(image->cells, cells, ncols * sizeof *cells);
    image->in_order = true;
    for (uint32_t i = 0; i < ncols; i++) {
        image->in_order = image->in_order && cells[i] == i;
    }
    image->serials = ps_xrealloc(image->serials, (size_t)ncols * SERIAL_MAX_BYTES);
    clear(image);
    image->table = 0;
    file_header(image);
    struct ps_buf sql = PS_BUF_INIT;
    uint32_t top = IMAGE_PAGE_BYTES;
    bool fits = true;
    for (uint32_t i = 0; fits && i < IMAGE_TABLES; i++) {
        fits = schema_row(image, i, &sql, &top);
    }
    ps_buf_fini(&sql);
    image->page1[100] = PAGE_TABLE_LEAF;
    put_u16(image->page1 + 103, fits ? IMAGE_TABLES : 0);
    put_u16(image->page1 + 105, fits ? top : IMAGE_PAGE_BYTES);
    return fits;
}

void
dst_sqlite_image_restart(struct dst_sqlite_image *image)
{
    clear(image);
    image->table = 0;
    image->changes++;
    stamp(image);
}

/* ---- life */

struct dst_sqlite_image *
dst_sqlite_image_new(void)
{
    static _Atomic unsigned counter;
    struct dst_sqlite_image *image = ps_calloc(1, sizeof *image);
    uint8_t *page1 = ps_alloc(IMAGE_PAGE_BYTES);
    uint8_t *body = ps_alloc(PAYLOAD_MAX_BYTES + COPY_BYTES);
    if (image == NULL || page1 == NULL || body == NULL) {
        ps_free(image);
        ps_free(page1);
        ps_free(body);
        return NULL;
    }
    image->page1 = page1;
    image->body = body;
    snprintf(image->vfs_name, sizeof image->vfs_name, "penstock-rows-%u",
             atomic_fetch_add(&counter, 1));
    snprintf(image->uri, sizeof image->uri, "file:rows?mode=ro&vfs=%s", image->vfs_name);
    clear(image);
    file_header(image);
    image->page1[100] = PAGE_TABLE_LEAF;
    dst_sqlite_vfs_register(&image->vfs, image->vfs_name, image);
    return image;
}

const char *
dst_sqlite_image_uri(const struct dst_sqlite_image *image)
{
    return image->uri;
}

void
dst_sqlite_image_free(struct dst_sqlite_image *image)
{
    if (image == NULL) {
        return;
    }
    (void)sqlite3_vfs_unregister(&image->vfs);
    ps_free(image->stores);
    ps_free(image->cells);
    ps_free(image->serials);
    ps_free(image->body);
    ps_free(image->page1);
    ps_free(image->pages);
    ps_free(image);
}
