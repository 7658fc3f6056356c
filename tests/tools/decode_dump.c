/* SPDX-License-Identifier: Apache-2.0 */
/* tests/tools/decode_dump.c: files decoded as a spec says, one JSON line a header, record or
 * reject. usage: decode_dump [--window BYTES] [--stop BYTES] [--set path=value]… FILE…
 *     {"file":"…"} {"header":["a",…]} {"record":["x",null,…],"quoted":"01…","offset":0,"length":4,
 *     "line":1} {"reject":"bad_quote","offset":…,"length":…,"line":…,"column":…,"reason":"…"}
 *     {"error":"code","text":"…"}
 * null: the field is not there. --stop: stop after so many bytes and resume from the token. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/decode/decode.h"

enum { OVERRIDES_MAX = 64 };

static const char SPEC[] = "name: dump\nsource: {url: 'file:x'}\ndestination: {url: 'null:'}\n";

struct dump {
    bool header_shown;
    const struct spec *spec;
    struct ps_span bytes;
    size_t window;
    uint64_t stop;
    struct ps_buf token;
    size_t at;
    bool done;
};

static void
text_print(const uint8_t *ptr, size_t len)
{
    putchar('"');
    for (size_t i = 0; i < len; i++) {
        if (ptr[i] < ' ' || ptr[i] == '"' || ptr[i] == '\\' || ptr[i] == 0x7F) {
            printf("\\u%04x", ptr[i]);
        } else {
            putchar(ptr[i]);
        }
    }
    putchar('"');
}

static enum ps_status
on_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    struct dump *dump = ctx;
    (void)err;
    if (dump->header_shown) {
        return PS_OK;
    }
    dump->header_shown = true;
    printf("{\"header\":[");
    for (uint32_t i = 0; i < count; i++) {
        printf("%s", i > 0 ? "," : "");
        text_print(names[i].ptr, names[i].len);
    }
    printf("]}\n");
    return PS_OK;
}

static enum ps_status
on_record(void *ctx, const struct record *record, struct ps_error *err)
{
    (void)ctx;
    (void)err;
    printf("{\"record\":[");
    for (uint32_t i = 0; i < record->count; i++) {
        printf("%s", i > 0 ? "," : "");
        if (record->fields[i].ptr == NULL) {
            printf("null");
        } else {
            text_print(record->fields[i].ptr, record->fields[i].len);
        }
    }
    printf("],\"quoted\":\"");
    for (uint32_t i = 0; i < record->count; i++) {
        putchar(record->fields[i].quoted ? '1' : '0');
    }
    printf("\",\"offset\":%" PRIu64 ",\"length\":%" PRIu64 ",\"line\":%" PRIu64 "}\n",
           record->offset, record->length, record->line);
    return PS_OK;
}

static enum ps_status
on_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    (void)ctx;
    (void)err;
    printf("{\"reject\":\"%s\",\"offset\":%" PRIu64 ",\"length\":%" PRIu64 ",\"line\":%" PRIu64
           ",\"column\":",
           reject->code, reject->offset, reject->length, reject->line);
    text_print((const uint8_t *)reject->column,
               reject->column == NULL ? 0 : strlen(reject->column));
    printf(",\"reason\":");
    text_print((const uint8_t *)reject->reason, strlen(reject->reason));
    printf("}\n");
    return PS_OK;
}

struct options {
    size_t window;
    uint64_t stop;
};

/* From dump->at to the next stop. */
static enum ps_status
dump_part(struct dump *dump, struct ps_error *err)
{
    const struct decode_sink sink = {
        .ctx = dump, .header = on_header, .record = on_record, .reject = on_reject};
    const struct decode_ops *ops = decode_find(spec_str(dump->spec, "format.type"), err);
    struct decoder *decoder = NULL;
    struct ps_span bytes = dump->bytes;
    uint64_t stop_at = dump->stop == 0 ? UINT64_MAX : dump->at + dump->stop;
    enum ps_status status =
        ops == NULL ? PS_BUG
                    : ops->open(dump->spec, ps_buf_span(&dump->token), dump->at, &decoder, err);
    size_t shown = dump->at;
    bool stopped = false;
    while (status == PS_OK && !stopped && !dump->done) {
        size_t consumed = 0;
        shown = bytes.len - shown > dump->window ? shown + dump->window : bytes.len;
        status = ops->run(decoder, bytes.ptr + dump->at, shown - dump->at, shown == bytes.len,
                          stop_at, &sink, &consumed, &stopped, err);
        dump->at += consumed;
        dump->done = shown == bytes.len && !stopped;
    }
    if (status == PS_OK && stopped) {
        status = ops->token(decoder, &dump->token, err);
    }
    if (ops != NULL) {
        ops->close(decoder);
    }
    return status;
}

static void
dump_file(const struct spec *spec, const char *path, const struct options *options)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    struct ps_span bytes = ps_span("", 0);
    if (stat.st_size > 0) {
        bytes.len = (size_t)stat.st_size;
        bytes.ptr = mmap(NULL, bytes.len, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    close(fd);
    printf("{\"file\":");
    text_print((const uint8_t *)path, strlen(path));
    printf("}\n");
    struct dump dump = {
        .spec = spec, .bytes = bytes, .window = options->window, .stop = options->stop};
    struct ps_error err = {0};
    enum ps_status status = PS_OK;
    while (status == PS_OK && !dump.done) {
        status = dump_part(&dump, &err);
    }
    if (status != PS_OK) {
        printf("{\"error\":\"%s\",\"text\":", err.code);
        text_print((const uint8_t *)err.text, strlen(err.text));
        printf("}\n");
    }
    ps_buf_fini(&dump.token);
    if (bytes.len > 0) {
        munmap((void *)(uintptr_t)bytes.ptr, bytes.len);
    }
}

int
main(int argc, char **argv)
{
    struct options options = {.window = SIZE_MAX};
    const char *overrides[OVERRIDES_MAX];
    size_t count = 0;
    int i = 1;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (strcmp(argv[i], "--window") == 0) {
            options.window = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--stop") == 0) {
            options.stop = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--set") == 0 && count < OVERRIDES_MAX) {
            overrides[count++] = argv[i + 1];
        } else {
            fprintf(stderr, "decode_dump: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    struct spec *spec = NULL;
    struct spec_errors errors = {0};
    struct ps_error err = {0};
    if (spec_parse(ps_span_str(SPEC), overrides, count, &spec, &errors, &err) != PS_OK) {
        for (size_t k = 0; k < errors.count; k++) {
            fprintf(stderr, "%s: %s\n", errors.items[k].path, errors.items[k].text);
        }
        spec_errors_fini(&errors);
        return 2;
    }
    for (; i < argc; i++) {
        dump_file(spec, argv[i], &options);
    }
    spec_unref(spec);
    spec_errors_fini(&errors);
    return 0;
}
