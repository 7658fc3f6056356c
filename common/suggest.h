/* SPDX-License-Identifier: Apache-2.0 */
/* common/suggest.h: the known name that a wrong one was probably meant to be.
 * Distance: Damerau-Levenshtein in its optimal string alignment form (insert, delete, replace, swap
 * of neighbours each cost 1), ASCII case ignored. Threads: pure. */
#ifndef COMMON_SUGGEST_H
#define COMMON_SUGGEST_H

#include <stddef.h>

enum { PS_SUGGEST_MAX_BYTES = 64 };

/* Names longer than PS_SUGGEST_MAX_BYTES are compared by their first bytes. */
size_t ps_suggest_distance(const char *a, const char *b);

/* Feed the candidates one by one; best stays NULL when none is near (at most a third of the wrong
 * name's length, at least 1, at most 4). The first of equals wins. */
struct ps_suggest {
    const char *wrong;
    const char *best;
    size_t best_distance;
};
void ps_suggest_start(struct ps_suggest *suggest, const char *wrong);
void ps_suggest_offer(struct ps_suggest *suggest, const char *candidate);

#endif
