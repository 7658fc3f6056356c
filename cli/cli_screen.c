/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_screen.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli_text.h"

bool
cli_screen_usable(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) == 1 && term != NULL && strcmp(term, "dumb") != 0;
}

void
cli_screen_init(struct cli_screen *screen)
{
    *screen = (struct cli_screen){0};
    cli_screen_measure(screen);
}

void
cli_screen_measure(struct cli_screen *screen)
{
    struct winsize size = {0};
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    screen->width = known ? size.ws_col : 80;
    screen->height = known && size.ws_row > 0 ? size.ws_row : 24;
}

/* Rows the text takes now: a window that became narrower has wrapped its lines. */
static size_t
rows_of(struct ps_buf *text, size_t width)
{
    size_t rows = 0;
    const char *end = ps_buf_str(text) + text->len;
    for (const char *at = ps_buf_str(text); at < end;) {
        size_t len = strcspn(at, "\n");
        size_t columns = cli_text_width(at, len);
        rows += columns == 0 ? 1 : (columns + width - 1) / width;
        at += len + 1;
    }
    return rows;
}

void
cli_screen_bytes(struct ps_buf *shown, struct ps_buf *frame, size_t width, struct ps_buf *out)
{
    size_t rows = rows_of(shown, width);
    if (rows > 0) {
        ps_buf_xprintf(out, "\x1b[%zuA\r", rows);
    }
    const char *end = ps_buf_str(frame) + frame->len;
    for (const char *at = ps_buf_str(frame); at < end;) {
        size_t len = strcspn(at, "\n");
        ps_buf_xappend(out, at, len);
        ps_buf_xprintf(out, "\x1b[K\n");
        at += len + 1;
    }
    if (rows > 0) {
        ps_buf_xprintf(out, "\x1b[J");
    }
}

static void
write_all(struct ps_buf *bytes)
{
    size_t at = 0;
    while (at < bytes->len) {
        ssize_t n = write(STDERR_FILENO, bytes->ptr + at, bytes->len - at);
        if (n <= 0) {
            return; /* the terminal is gone; the load is not */
        }
        at += (size_t)n;
    }
}

void
cli_screen_draw(struct cli_screen *screen, struct ps_buf *frame)
{
    if (frame->len == screen->shown.len && frame->len > 0 &&
        memcmp(frame->ptr, screen->shown.ptr, frame->len) == 0) {
        return;
    }
    struct ps_buf bytes = PS_BUF_INIT;
    cli_screen_bytes(&screen->shown, frame, screen->width, &bytes);
    write_all(&bytes);
    ps_buf_fini(&bytes);
    ps_buf_clear(&screen->shown);
    if (frame->len > 0) {
        ps_buf_xappend(&screen->shown, frame->ptr, frame->len);
    }
}

void
cli_screen_clear(struct cli_screen *screen)
{
    struct ps_buf nothing = PS_BUF_INIT;
    cli_screen_draw(screen, &nothing);
    ps_buf_fini(&nothing);
}

void
cli_screen_fini(struct cli_screen *screen)
{
    cli_screen_clear(screen);
    ps_buf_fini(&screen->shown);
}
