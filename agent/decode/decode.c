/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/decode.h"

#include <stdio.h>

#define DECODE(ops) extern const struct decode_ops ops;
#include "agent/decode/decodes.def"
#undef DECODE

static const struct decode_ops *const decoders[] = {
#define DECODE(ops) &ops,
#include "agent/decode/decodes.def"
#undef DECODE
    NULL,
};

const struct decode_ops *const *
decode_all(void)
{
    return decoders;
}

const struct decode_ops *
decode_find(const char *type, struct ps_error *err)
{
    char known[128] = "";
    size_t len = 0;
    for (size_t i = 0; decoders[i] != NULL; i++) {
        if (strcmp(decoders[i]->name, type) == 0) {
            return decoders[i];
        }
        if (len < sizeof known) {
            len += (size_t)snprintf(known + len, sizeof known - len, "%s%s", len > 0 ? ", " : "",
                                    decoders[i]->name);
        }
    }
    (void)ps_fail_code(err, PS_REFUSED, "bad_format", "format.type: \"%s\" is none of: %s", type,
                       known);
    return NULL;
}
