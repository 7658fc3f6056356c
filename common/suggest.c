/* SPDX-License-Identifier: Apache-2.0 */
#include "common/suggest.h"

#include <string.h>

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t
ps_suggest_distance(const char *a, const char *b)
{
    size_t a_len = strnlen(a, PS_SUGGEST_MAX_BYTES);
    size_t b_len = strnlen(b, PS_SUGGEST_MAX_BYTES);
    size_t rows[3][PS_SUGGEST_MAX_BYTES + 1];
    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = rows[i % 3];
        const size_t *last = rows[(i + 2) % 3];
        const size_t *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t cost = lower(a[i - 1]) != lower(b[j - 1]);
            now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + cost);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1])) {
                now[j] = least(now[j], before[j - 2] + 1);
            }
        }
    }
    return rows[a_len % 3][b_len];
}

void
ps_suggest_start(struct ps_suggest *suggest, const char *wrong)
{
    size_t near = strlen(wrong) / 3;
    near = near < 1 ? 1 : near > 4 ? 4 : near;
    *suggest = (struct ps_suggest){.wrong = wrong, .best = NULL, .best_distance = near + 1};
}

void
ps_suggest_offer(struct ps_suggest *suggest, const char *candidate)
{
    size_t distance = ps_suggest_distance(suggest->wrong, candidate);
    if (distance < suggest->best_distance) {
        suggest->best = candidate;
        suggest->best_distance = distance;
    }
}
