/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/json_hot.h"

const uint8_t *
json_walk_any(struct json_walk *walk, const uint8_t *p)
{
    return hot_walk(walk, p);
}
