/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log.h"

#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"

enum { LINE_BYTES = 4096 };

static const char *program_name = "penstock";
static enum log_level least_level = LOG_INFO;
static enum log_format line_format = LOG_TEXT;
static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

void
log_setup(const char *program, enum log_level least, enum log_format format)
{
    program_name = program;
    least_level = least;
    line_format = format;
}

bool
log_level_parse(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool
log_enabled(enum log_level level)
{
    return level >= least_level && level != LOG_OFF;
}

/* Appends text as the inside of a JSON string; stops before the room ends. */
static size_t
json_escape(char *out, size_t room, const char *text)
{
    size_t at = 0;
    for (; *text != '\0' && at + 8 < room; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[at++] = '\\';
            out[at++] = (char)c;
        } else if (c < 0x20) {
            at += (size_t)snprintf(out + at, room - at, "\\u%04x", c);
        } else {
            out[at++] = (char)c;
        }
    }
    return at;
}

void
log_write(enum log_level level, const char *event, const char *fmt, ...)
{
    if (!log_enabled(level)) {
        return;
    }
    char when[PS_CLOCK_TEXT_BYTES];
    char text[LINE_BYTES / 2];
    char line[LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ps_clock_text(ps_clock_wall_ms(), when);
    size_t used;
    if (line_format == LOG_TEXT) {
        used = (size_t)snprintf(line, sizeof line, "%s %s %s[%d] %s %s\n", when, level_names[level],
                                program_name, (int)getpid(), event, text);
        used = used < sizeof line ? used : sizeof line - 1;
    } else {
        used = (size_t)snprintf(line, sizeof line,
                                "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%s\",\"pid\":%d,"
                                "\"event\":\"%s\",\"text\":\"",
                                when, level_names[level], program_name, (int)getpid(), event);
        used += json_escape(line + used, sizeof line - used - 4, text);
        memcpy(line + used, "\"}\n", 3);
        used += 3;
    }
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written; /* nowhere left to say it */
}

const char *
log_quote(struct ps_span bytes, char *out, size_t out_bytes)
{
    size_t at = 0;
    size_t i = 0;
    for (; i < bytes.len && at + 8 < out_bytes; i++) {
        uint8_t c = bytes.ptr[i];
        if (c < 0x20 || c == 0x7f || c >= 0x80) {
            /* Multi-byte sequences are escaped too: a log line must survive any terminal. */
            at += (size_t)snprintf(out + at, out_bytes - at, "\\x%02x", c);
        } else {
            out[at++] = (char)c;
        }
    }
    if (i < bytes.len && at + 4 <= out_bytes) {
        memcpy(out + at, "...", 3);
        at += 3;
    }
    out[at] = '\0';
    return out;
}
