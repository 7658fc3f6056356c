/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_screen.h: the live view's place on the terminal (standard error).
 * A frame replaces the one before it in a single write, line by line, so nothing flickers and no
 * stale character is left. Nothing else may be written to the terminal between a frame and
 * cli_screen_clear. */
#ifndef CLI_CLI_SCREEN_H
#define CLI_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

struct cli_screen {
    size_t width, height;
    struct ps_buf shown; /* the frame that stands there now */
};

/* True when a live view makes sense: a terminal that can move its cursor. */
bool cli_screen_usable(void);
void cli_screen_init(struct cli_screen *screen);
/* Asks for the window's size again. */
void cli_screen_measure(struct cli_screen *screen);
/* Lines ended by \n, each no wider than the window. */
void cli_screen_draw(struct cli_screen *screen, struct ps_buf *frame);
void cli_screen_clear(struct cli_screen *screen);
void cli_screen_fini(struct cli_screen *screen);

/* Pure, for tests: the bytes that turn `shown` into `frame` on a window so wide. */
void cli_screen_bytes(struct ps_buf *shown, struct ps_buf *frame, size_t width, struct ps_buf *out);

#endif
