/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dest_names.h"

#include <strings.h>

#include "common/alloc.h"

void
dest_names_init(struct dest_names *names, const struct spec *spec, const char *path)
{
    const char *const *items = NULL;
    names->count = spec_list(spec, path, &items);
    names->at = ps_xcalloc(names->count + 1, sizeof *names->at);
    for (size_t i = 0; i < names->count; i++) {
        names->at[i] = ps_xstrdup(items[i]);
    }
}

void
dest_names_fini(struct dest_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        ps_free(names->at[i]);
    }
    ps_free(names->at);
    *names = (struct dest_names){0};
}

void
dest_names_spell(char **own_name, const struct spec_column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(columns[i].name, *own_name) == 0) {
            char *name = ps_xstrdup(columns[i].name);
            ps_free(*own_name);
            *own_name = name;
            return;
        }
    }
}

bool
dest_names_have(const struct dest_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcasecmp(names->at[i], name) == 0) {
            return true;
        }
    }
    return false;
}

void
dest_names_check_update(const struct dest_names *updates, const struct spec_column *columns,
                        size_t count, struct ps_buf *wrong)
{
    for (size_t i = 0; i < updates->count; i++) {
        bool found = false;
        for (size_t k = 0; !found && k < count; k++) {
            found = strcasecmp(columns[k].name, updates->at[i]) == 0;
        }
        if (!found) {
            ps_buf_xprintf(wrong, "%sdestination.update: there is no column %.100s",
                           wrong->len > 0 ? "; " : "", updates->at[i]);
        }
    }
}

bool
dest_names_updated(const struct dest_names *updates, const struct dest_names *keys,
                   const char *name)
{
    return !dest_names_have(keys, name) && (updates->count == 0 || dest_names_have(updates, name));
}
