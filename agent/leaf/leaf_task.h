/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_task.h: discover, sample, prepare, reconcile, read rejects; one at a time.
 * Invariant: a page is sent only after the one before it was acknowledged, so a cursor never passes
 *            an object that the catalog has not seen.
 * Threads: runs on its own thread until core->stop or core->drain. */
#ifndef AGENT_LEAF_LEAF_TASK_H
#define AGENT_LEAF_LEAF_TASK_H

void *leaf_task_thread(void *core);

#endif
