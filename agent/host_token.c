/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/host_token.h"

#include <stdio.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/path.h"

enum { PART_MAX_BYTES = 4096 };

static void
add_file(struct ps_buf *all, const char *path)
{
    struct ps_error err;
    /* A missing part is a part, too: nothing is added but its end. */
    if (ps_path_read(path, PART_MAX_BYTES, all, &err) != PS_OK) {
        ps_buf_xprintf(all, "?");
    }
    ps_buf_xappend(all, "", 1);
}

static void
add_link(struct ps_buf *all, const char *path)
{
    char target[256];
    ssize_t len = readlink(path, target, sizeof target);
    if (len > 0) {
        ps_buf_xappend(all, target, (size_t)len);
    }
    ps_buf_xappend(all, "", 1);
}

struct ps_id
host_token(void)
{
    struct ps_buf all = PS_BUF_INIT;
    add_file(&all, "/proc/sys/kernel/random/boot_id");
    add_file(&all, "/etc/machine-id");
    add_link(&all, "/proc/self/ns/mnt");
    add_link(&all, "/proc/self/ns/user");
    struct ps_id token = ps_bp_hash(ps_span_str("host"), ps_buf_span(&all)).id;
    ps_buf_fini(&all);
    return token;
}
