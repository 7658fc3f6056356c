/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_link.h: frames to and from the agent.
 * Invariant: a frame is written whole or the process ends: without its agent a leaf may do nothing.
 * Threads: leaf_link_send from any thread; leaf_link_receive from one. */
#ifndef AGENT_LEAF_LEAF_LINK_H
#define AGENT_LEAF_LEAF_LINK_H

#include "common/buf.h"
#include "common/error.h"
#include "proto/frame.h"

struct leaf_link;

struct leaf_link *leaf_link_new(int fd);
void leaf_link_free(struct leaf_link *link); /* closes the socket */

/* Blocks while the agent does not read. PS_CANCELED once the agent has closed its end; a message
 * that is too large is PS_BADDATA and nothing was sent. message may be built on the stack. */
PS_MUSTCHECK enum ps_status leaf_link_send(struct leaf_link *link, enum msg_type type,
                                           const void *message, struct ps_error *err);

/* Waits at most wait_ms for a frame. PS_OK with *out_message NULL when none came; PS_CANCELED when
 * the agent is gone. The message is freed with msg_free. */
PS_MUSTCHECK enum ps_status leaf_link_receive(struct leaf_link *link, int wait_ms,
                                              enum msg_type *out_type,
                                              ProtobufCMessage **out_message, struct ps_error *err);

#endif
