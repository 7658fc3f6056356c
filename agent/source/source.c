/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/source.h"

#include <pthread.h>
#include <stdio.h>

#include "common/assert.h"

#define SOURCE(ops) extern const struct source_ops ops;
#include "agent/source/sources.def"
#undef SOURCE

static const struct source_ops *const registry[] = {
#define SOURCE(ops) &ops,
#include "agent/source/sources.def"
#undef SOURCE
    NULL,
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
check_registry(void)
{
    for (size_t i = 0; registry[i] != NULL; i++) {
        const struct source_ops *ops = registry[i];
        PS_ASSERT(ops->scheme != NULL && ops->help != NULL && ops->open != NULL);
        PS_ASSERT(ops->close != NULL && ops->discover != NULL && ops->open_object != NULL);
        PS_ASSERT(ops->read != NULL && ops->verify != NULL && ops->close_object != NULL);
    }
}

const struct source_ops *const *
source_all(void)
{
    pthread_once(&once, check_registry);
    return registry;
}

const struct source_ops *
source_find(const char *url, struct ps_error *err)
{
    char room[32];
    const char *scheme = spec_scheme(url, room);
    char names[256] = "";
    size_t at = 0;
    for (size_t i = 0; source_all()[i] != NULL; i++) {
        const char *name = registry[i]->scheme;
        if (strcmp(name, scheme) == 0) {
            return registry[i];
        }
        int n = snprintf(names + at, sizeof names - at, "%s%s:", at == 0 ? "" : " ", name);
        at += n > 0 && (size_t)n < sizeof names - at ? (size_t)n : 0;
    }
    (void)ps_fail_code(err, PS_REFUSED, "source_unknown",
                       "no source driver for %s: is built in (there are %s)", scheme, names);
    return NULL;
}
