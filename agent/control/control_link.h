/* SPDX-License-Identifier: Apache-2.0 */
/* agent/control/control_link.h: the line to the coordinator: one nng REQ socket, a context a slot.
 * In: requests.  Out: for each of them one answer or one loss, in control_link_take.
 * Invariant: nng never repeats a request by itself (its resend time is infinite); a connection that
 *            breaks loses what was outstanding at once and is made again in the background, so a
 *            coordinator may end and start at any time.
 * Threads: all calls from one thread; nng's own threads only fill the answers and wake it. */
#ifndef AGENT_CONTROL_CONTROL_LINK_H
#define AGENT_CONTROL_CONTROL_LINK_H

#include "common/error.h"
#include "proto/frame.h"

struct control_link; /* opaque */

/* PS_REFUSED: not an address. No coordinator needs to be there. */
PS_MUSTCHECK enum ps_status control_link_open(const char *url, unsigned slots,
                                              struct control_link **out, struct ps_error *err);
void control_link_close(struct control_link *link); /* NULL is fine */

/* Readable while there is something to take. */
int control_link_fd(const struct control_link *link);

/* The slot must have nothing outstanding. timeout_ms is for sending and for the answer, each. A
 * message that does not fit a frame is a loss. */
void control_link_send(struct control_link *link, unsigned slot, uint32_t timeout_ms,
                       enum msg_type type, const ProtobufCMessage *message);

struct control_taken {
    unsigned slot;
    enum msg_type type;
    ProtobufCMessage *message; /* NULL: lost, why says how; else freed with msg_free */
    const char *why;
    bool unsendable; /* it would not fit a frame: sending it again cannot help */
};
/* False when there is nothing. */
PS_MUSTCHECK bool control_link_take(struct control_link *link, struct control_taken *out);

#endif
