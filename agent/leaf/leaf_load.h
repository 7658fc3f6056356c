/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_load.h: sealed batches in, ledgered transactions and reports out.
 * Threads: runs on its own thread until core->to_load is closed and empty. */
#ifndef AGENT_LEAF_LEAF_LOAD_H
#define AGENT_LEAF_LEAF_LOAD_H

void *leaf_load_thread(void *core);

#endif
