/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/coordinator.h: the rooms of this program, built in order and ended in reverse:
 *     state folder → catalog (and its lock) → engine and its thread → rpc → api
 * In: checked options.  Out: a running coordinator.
 * Invariant: whatever fails half-way leaves nothing behind; the catalog is closed last.
 * Threads: opened and closed by one thread; the engine has one of its own. */
#ifndef COORDINATOR_COORDINATOR_H
#define COORDINATOR_COORDINATOR_H

#include "coordinator/coordinator_options.h"

struct coordinator;

/* options are borrowed for the call. Serves when it returns. */
PS_MUSTCHECK enum ps_status coordinator_open(const struct coordinator_options *options,
                                             struct coordinator **out, struct ps_error *err);
/* Readable once the engine has ended by itself, which is always a fault. */
int coordinator_fault_fd(const struct coordinator *coordinator);
/* Ends everything. PS_OK, or why the engine ended by itself. NULL is fine. */
enum ps_status coordinator_close(struct coordinator *coordinator, struct ps_error *err);

#endif
