/* SPDX-License-Identifier: Apache-2.0 */
/* agent/host_token.h: which running host this is, as far as files are concerned.
 * Two processes with equal tokens run in one boot of one machine and see the same mounts, so a path
 * means the same file to both. (Whether two agents see one destination file is found in the file.)
 * Threads: pure but for reading /proc and /etc. */
#ifndef AGENT_HOST_TOKEN_H
#define AGENT_HOST_TOKEN_H

#include "common/ids.h"

struct ps_id host_token(void);

#endif
