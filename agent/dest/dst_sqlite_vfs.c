/* SPDX-License-Identifier: Apache-2.0 */
/* The file behind an image: reads come from memory, nothing can be written. */
#include "agent/dest/dst_sqlite_image.h"

struct image_file {
    sqlite3_file base;
    struct dst_sqlite_image *image;
};

static const sqlite3_int64 file_bytes =
    (sqlite3_int64)IMAGE_PAGE_BYTES * (1 + (sqlite3_int64)IMAGE_TABLES * IMAGE_TABLE_PAGES);

/* *out_left: how many bytes of that page follow. */
static const uint8_t *
bytes_at(sqlite3_file *file, sqlite3_int64 offset, size_t *out_left)
{
    const struct dst_sqlite_image *image = ((struct image_file *)file)->image;
    const uint8_t *page = dst_sqlite_image_page(image, (uint64_t)offset / IMAGE_PAGE_BYTES + 1);
    size_t skip = (size_t)(offset % IMAGE_PAGE_BYTES);
    *out_left = IMAGE_PAGE_BYTES - skip;
    return page == NULL ? NULL : page + skip;
}

static int
image_close(sqlite3_file *file)
{
    (void)file;
    return SQLITE_OK;
}

static int
image_read(sqlite3_file *file, void *out, int bytes, sqlite3_int64 offset)
{
    size_t left = 0;
    const uint8_t *from = bytes_at(file, offset, &left);
    if (from == NULL || (size_t)bytes > left) {
        memset(out, 0, (size_t)bytes);
        return SQLITE_IOERR_SHORT_READ;
    }
    memcpy(out, from, (size_t)bytes);
    return SQLITE_OK;
}

static int
image_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset)
{
    (void)file;
    (void)bytes;
    (void)count;
    (void)offset;
    return SQLITE_READONLY;
}

static int
image_truncate(sqlite3_file *file, sqlite3_int64 bytes)
{
    (void)file;
    (void)bytes;
    return SQLITE_READONLY;
}

static int
image_sync(sqlite3_file *file, int flags)
{
    (void)file;
    (void)flags;
    return SQLITE_OK;
}

static int
image_size(sqlite3_file *file, sqlite3_int64 *out)
{
    (void)file;
    *out = file_bytes;
    return SQLITE_OK;
}

/* Nobody else can see the file. */
static int
image_lock(sqlite3_file *file, int level)
{
    (void)file;
    (void)level;
    return SQLITE_OK;
}

static int
image_check_lock(sqlite3_file *file, int *out)
{
    (void)file;
    *out = 0;
    return SQLITE_OK;
}

static int
image_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int
image_sector(sqlite3_file *file)
{
    (void)file;
    return 0;
}

static int
image_fetch(sqlite3_file *file, sqlite3_int64 offset, int bytes, void **out)
{
    size_t left = 0;
    const uint8_t *from = offset < IMAGE_PAGE_BYTES ? NULL : bytes_at(file, offset, &left);
    *out = from == NULL || (size_t)bytes > left ? NULL : (void *)(uintptr_t)from;
    return SQLITE_OK;
}

static int
image_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *page)
{
    (void)file;
    (void)offset;
    (void)page;
    return SQLITE_OK;
}

static const sqlite3_io_methods image_methods = {
    .iVersion = 3,
    .xClose = image_close,
    .xRead = image_read,
    .xWrite = image_write,
    .xTruncate = image_truncate,
    .xSync = image_sync,
    .xFileSize = image_size,
    .xLock = image_lock,
    .xUnlock = image_lock,
    .xCheckReservedLock = image_check_lock,
    .xFileControl = image_control,
    .xSectorSize = image_sector,
    .xDeviceCharacteristics = image_sector,
    .xFetch = image_fetch,
    .xUnfetch = image_unfetch,
};

static int
vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)name;
    struct image_file *image = (struct image_file *)file;
    image->base.pMethods = NULL;
    if ((flags & SQLITE_OPEN_MAIN_DB) == 0) {
        return SQLITE_CANTOPEN;
    }
    image->base.pMethods = &image_methods;
    image->image = vfs->pAppData;
    if (out_flags != NULL) {
        *out_flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB;
    }
    return SQLITE_OK;
}

static int
vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    (void)name;
    (void)sync;
    return SQLITE_OK;
}

/* There is no journal, ever. */
static int
vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs;
    (void)name;
    (void)flags;
    *out = 0;
    return SQLITE_OK;
}

static int
vfs_path(sqlite3_vfs *vfs, const char *name, int bytes, char *out)
{
    (void)vfs;
    sqlite3_snprintf(bytes, out, "%s", name);
    return SQLITE_OK;
}

static int
vfs_randomness(sqlite3_vfs *vfs, int bytes, char *out)
{
    (void)vfs;
    memset(out, 0, (size_t)bytes);
    return bytes;
}

static int
vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    return microseconds;
}

static int
vfs_time(sqlite3_vfs *vfs, double *out)
{
    (void)vfs;
    *out = 0;
    return SQLITE_OK;
}

static int
vfs_error(sqlite3_vfs *vfs, int bytes, char *out)
{
    (void)vfs;
    (void)bytes;
    (void)out;
    return 0;
}

void
dst_sqlite_vfs_register(sqlite3_vfs *vfs, const char *name, struct dst_sqlite_image *image)
{
    *vfs = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = (int)sizeof(struct image_file),
        .mxPathname = 64,
        .zName = name,
        .pAppData = image,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_path,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
        .xGetLastError = vfs_error,
    };
    (void)sqlite3_vfs_register(vfs, 0);
}
