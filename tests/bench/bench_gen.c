/* SPDX-License-Identifier: Apache-2.0 */
/* bench_gen: rows for the benches, equal for equal seeds.
 * usage: bench_gen FOLDER OBJECTS BYTES_PER_OBJECT [SEED] [csv|ndjson]
 * Writes FOLDER/part-00000.csv …: 16 columns (5 integers, 3 decimals, 3 dates, 5 texts), CSV with a
 * header line; 4 % of the rows have a quoted text with a comma and a doubled quote, 1 % an empty
 * last field. Prints the rows and bytes written. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rand.h"

static const char HEADER[] =
    "order_id,part_id,supplier_id,line,quantity,price,discount,tax,returned,status,shipped,"
    "committed,received,instruction,mode,comment\n";
static const char *const words[] = {"quick",   "silent",      "final",    "regular",  "express",
                                    "pending", "accounts",    "packages", "deposits", "foxes",
                                    "ideas",   "pinto beans", "sleep",    "haggle",   "wake",
                                    "among",   "across",      "above"};
static const char *const instructions[] = {"DELIVER IN PERSON", "COLLECT COD", "NONE",
                                           "TAKE BACK RETURN"};
static const char *const modes[] = {"REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"};

enum { WORDS = sizeof words / sizeof words[0], ROW_MOST = 512 };

struct rows {
    struct ps_rand rand;
    uint64_t order;
    unsigned line, lines_left;
    bool json;
};

static unsigned
below(struct rows *rows, unsigned bound)
{
    return (unsigned)ps_rand_below(&rows->rand, bound);
}

/* The last field, in the way that kind of file writes it. */
static int
put_comment(struct rows *rows, char *out, size_t room)
{
    unsigned kind = below(rows, 100);
    const char *a = words[below(rows, WORDS)];
    const char *b = words[below(rows, WORDS)];
    const char *c = words[below(rows, WORDS)];
    if (kind == 99) {
        return snprintf(out, room, "%s", rows->json ? "null" : "");
    }
    if (rows->json) {
        return snprintf(out, room, kind < 4 ? "\"%s, \\\"so\\\" %s %s\"" : "\"%s %s %s\"", a, b, c);
    }
    return snprintf(out, room, kind < 4 ? "\"%s, \"\"so\"\" %s %s\"" : "%s %s %s", a, b, c);
}

#define CSV_NUMBERS "%" PRIu64 ",%u,%u,%u,%u,%u.%02u,0.%02u,0.%02u,%c,%c,"
#define JSON_NUMBERS                                                                               \
    "{\"order_id\":%" PRIu64 ",\"part_id\":%u,\"supplier_id\":%u,\"line\":%u,\"quantity\":%u,"     \
    "\"price\":%u.%02u,\"discount\":0.%02u,\"tax\":0.%02u,\"returned\":\"%c\",\"status\":\"%c\","

/* The parts of one row in column order; numbers bare, texts quoted in NDJSON. */
static size_t
put_row(struct rows *rows, char *out)
{
    static const char *const dates[] = {"shipped", "committed", "received"};
    if (rows->lines_left == 0) {
        rows->order += 1 + below(rows, 4);
        rows->lines_left = 1 + below(rows, 7);
        rows->line = 0;
    }
    rows->lines_left--;
    rows->line++;
    unsigned quantity = 1 + below(rows, 50);
    unsigned cents = quantity * (90000 + below(rows, 110000));
    int at = snprintf(out, ROW_MOST, rows->json ? JSON_NUMBERS : CSV_NUMBERS, rows->order,
                      1 + below(rows, 2000000), 1 + below(rows, 100000), rows->line, quantity,
                      cents / 100, cents % 100, below(rows, 11), below(rows, 9),
                      "ANR"[below(rows, 3)], "OF"[below(rows, 2)]);
    for (int i = 0; i < 3; i++) {
        if (rows->json) {
            at += snprintf(out + at, ROW_MOST - (size_t)at, "\"%s\":\"", dates[i]);
        }
        at += snprintf(out + at, ROW_MOST - (size_t)at, "19%02u-%02u-%02u%s", 92 + below(rows, 7),
                       1 + below(rows, 12), 1 + below(rows, 28), rows->json ? "\"," : ",");
    }
    at += snprintf(out + at, ROW_MOST - (size_t)at,
                   rows->json ? "\"instruction\":\"%s\",\"mode\":\"%s\",\"comment\":" : "%s,%s,",
                   instructions[below(rows, 4)], modes[below(rows, 7)]);
    at += put_comment(rows, out + at, ROW_MOST - (size_t)at);
    at += snprintf(out + at, ROW_MOST - (size_t)at, rows->json ? "}\n" : "\n");
    return (size_t)at;
}

int
main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: bench_gen FOLDER OBJECTS BYTES_PER_OBJECT [SEED] [csv|ndjson]\n");
        return 2;
    }
    struct rows rows = {0};
    uint64_t objects = strtoull(argv[2], NULL, 10);
    uint64_t bytes = strtoull(argv[3], NULL, 10);
    uint64_t row_count = 0;
    uint64_t total = 0;
    ps_rand_seed(&rows.rand, argc > 4 ? strtoull(argv[4], NULL, 10) : 42);
    rows.json = argc > 5 && strcmp(argv[5], "ndjson") == 0;
    for (uint64_t i = 0; i < objects; i++) {
        char path[4096];
        char row[ROW_MOST];
        snprintf(path, sizeof path, "%s/part-%05" PRIu64 ".%s", argv[1], i,
                 rows.json ? "ndjson" : "csv");
        FILE *file = fopen(path, "w");
        if (file == NULL) {
            perror(path);
            return 1;
        }
        uint64_t written = rows.json ? 0 : fwrite(HEADER, 1, sizeof HEADER - 1, file);
        while (written < bytes) {
            size_t len = put_row(&rows, row);
            written += fwrite(row, 1, len, file);
            row_count++;
        }
        total += written;
        if (fclose(file) != 0) {
            perror(path);
            return 1;
        }
    }
    printf("%" PRIu64 " rows, %" PRIu64 " bytes\n", row_count, total);
    return 0;
}
