/* SPDX-License-Identifier: Apache-2.0 */
/* limit_parse: what one thread of this machine can do at most with bench_gen's CSV, for a ratio.
 * usage: limit_parse FILE…
 * read() into one block of 64 KiB, find every separator outside quotes with AVX2 and carry-less
 * multiplication, note each field's place and unquote it there, then parse 5 integers and 3
 * decimals (as doubles) of each row and add them up; nothing is stored. It knows the columns, takes
 * every row for good, has no errors, no window that grows, no schema. Prints the rows; exits 3
 * where the processor lacks the instructions. */
#include <fcntl.h>
#include <immintrin.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BLOCK_BYTES = 64 * 1024,
    PAD_BYTES = 64,
    COLUMNS = 16,
};

enum kind { INTEGER, DECIMAL, TEXT };

struct field {
    char *ptr;
    uint32_t len;
};

struct limit {
    const enum kind *kinds; /* of the columns: known at run time only, as in any product */
    uint64_t rows;
    int64_t integers;
    double decimals;
    uint64_t text_bytes;
    size_t used; /* of the block: up to the end of the last whole row */
    struct field fields[BLOCK_BYTES + 1];
    char block[BLOCK_BYTES + PAD_BYTES];
};

static int64_t
parse_integer(const char *at, size_t len)
{
    int64_t value = 0;
    size_t sign = len > 0 && *at == '-';
    for (size_t i = sign; i < len; i++) {
        value = value * 10 + (at[i] - '0');
    }
    return sign ? -value : value;
}

static double
parse_decimal(const char *at, size_t len)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    int64_t value = 0;
    unsigned scale = 0;
    bool behind = false;
    size_t sign = len > 0 && *at == '-';
    for (size_t i = sign; i < len; i++) {
        if (at[i] == '.') {
            behind = true;
            continue;
        }
        value = value * 10 + (at[i] - '0');
        scale += behind;
    }
    double parsed = (double)value / powers[scale % 10];
    return sign ? -parsed : parsed;
}

/* Without the outer quotes; doubled ones become one. */
static void
unquote(struct field *field)
{
    char *to = ++field->ptr;
    const char *from = to;
    const char *end = from + field->len - 2;
    while (from < end) {
        from += *from == '"';
        *to++ = *from++;
    }
    field->len = (uint32_t)(to - field->ptr);
}

/* Notes the fields of all whole rows in [from, len); returns how many. */
__attribute__((target("avx2,pclmul,bmi"))) static size_t
split_block(struct limit *limit, size_t from, size_t len)
{
    const __m256i quote = _mm256_set1_epi8('"');
    const __m256i comma = _mm256_set1_epi8(',');
    const __m256i newline = _mm256_set1_epi8('\n');
    uint64_t carry = 0;
    size_t fields = 0;
    char *start = limit->block + from;
    for (size_t i = from; i < len; i += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(limit->block + i));
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(limit->block + i + 32));
#define BITS(value)                                                                                \
    ((uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, value)) |                       \
     (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b, value)) << 32)
        uint64_t quotes = BITS(quote);
        uint64_t ends = BITS(comma) | BITS(newline);
#undef BITS
        uint64_t inside = carry;
        if (quotes != 0) {
            __m128i product =
                _mm_clmulepi64_si128(_mm_set_epi64x(0, (int64_t)quotes), _mm_set1_epi8(-1), 0);
            inside ^= (uint64_t)_mm_cvtsi128_si64(product);
            carry = (uint64_t)((int64_t)inside >> 63);
        }
        ends &= ~inside;
        if (len - i < 64) {
            ends &= (UINT64_C(1) << (len - i)) - 1;
        }
        for (; ends != 0; ends &= ends - 1) {
            char *end = limit->block + i + __builtin_ctzll(ends);
            limit->fields[fields++] = (struct field){.ptr = start, .len = (uint32_t)(end - start)};
            start = end + 1;
            limit->used = fields % COLUMNS == 0 ? (size_t)(start - limit->block) : limit->used;
        }
    }
    return fields - fields % COLUMNS;
}

static void
parse_rows(struct limit *limit, size_t fields)
{
    for (size_t i = 0; i < fields; i++) {
        struct field *field = &limit->fields[i];
        switch (limit->kinds[i % COLUMNS]) {
        case INTEGER:
            limit->integers += parse_integer(field->ptr, field->len);
            break;
        case DECIMAL:
            limit->decimals += parse_decimal(field->ptr, field->len);
            break;
        case TEXT:
            if (*field->ptr == '"') {
                unquote(field);
            }
            limit->text_bytes += field->len;
            break;
        }
    }
    limit->rows += fields / COLUMNS;
}

static int
parse_file(struct limit *limit, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        perror(path);
        return 1;
    }
    size_t held = 0;
    int header = 1;
    ssize_t got;
    while ((got = read(fd, limit->block + held, BLOCK_BYTES - held)) > 0) {
        size_t len = held + (size_t)got;
        const char *line = header ? memchr(limit->block, '\n', len) : NULL;
        size_t from = line == NULL ? 0 : (size_t)(line + 1 - limit->block);
        header = 0;
        memset(limit->block + len, 0, PAD_BYTES);
        limit->used = from;
        parse_rows(limit, split_block(limit, from, len));
        held = len - limit->used;
        memmove(limit->block, limit->block + limit->used, held);
    }
    close(fd);
    return got < 0;
}

int
main(int argc, char **argv)
{
    static const enum kind kinds[COLUMNS] = {INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, DECIMAL,
                                             DECIMAL, DECIMAL, TEXT,    TEXT,    TEXT,    TEXT,
                                             TEXT,    TEXT,    TEXT,    TEXT};
    static struct limit limit = {.kinds = kinds};
    int failed = 0;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("pclmul")) {
        printf("this processor lacks AVX2 or PCLMUL\n");
        return 3;
    }
    for (int i = 1; i < argc && !failed; i++) {
        failed = parse_file(&limit, argv[i]);
    }
    printf("%" PRIu64 " rows, sums %" PRId64 " %.2f %" PRIu64 "\n", limit.rows, limit.integers,
           limit.decimals, limit.text_bytes);
    return failed;
}
