/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/json_check.h: whether a text is one JSON value (RFC 8259) and nothing else.
 * In: bytes.  Out: JSON_OK, or the first fault.
 * Invariant: as json_scan; nesting deeper than JSON_DEPTH_MAX is JSON_DEPTH, not judged further.
 * Threads: pure. */
#ifndef AGENT_DECODE_JSON_CHECK_H
#define AGENT_DECODE_JSON_CHECK_H

#include "agent/decode/json_scan.h"

enum json_fault json_check(struct ps_span text);

/* A scan over the whole of text, which nothing follows. scratch takes unescaped texts; NULL where
 * none is asked for. */
struct json_scan json_scan_whole(struct ps_span text, struct ps_buf *scratch);

#endif
