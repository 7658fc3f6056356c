/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_extract.h: grants in, sealed batches out.
 * Threads: runs on its own thread until core->to_extract is closed and empty; then closes
 *          core->to_load. */
#ifndef AGENT_LEAF_LEAF_EXTRACT_H
#define AGENT_LEAF_LEAF_EXTRACT_H

void *leaf_extract_thread(void *core);

#endif
