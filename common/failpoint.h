/* SPDX-License-Identifier: Apache-2.0 */
/* common/failpoint.h: named places where a test build can be made to fail.
 * PENSTOCK_FAILPOINTS="name=crash;name@3=error;name%5=delay:250" in the environment; @N means the
 * N-th hit in this process only, %N every N-th. crash is SIGKILL of this process, error makes the
 * macro true, delay waits that many milliseconds. crash:FILE, error:FILE and delay:250:FILE happen
 * once in all processes: in the one that makes FILE. A name may stand there several times: each
 * entry counts the hits that the entries before it let pass. In builds without PS_FAILPOINTS the
 * macro is the constant false and leaves no code, no name and no reading of the environment.
 * Use: if (PS_FAILPOINT("leaf.after_commit")) { return ps_fail(err, PS_AGAIN, "failpoint"); }
 * Each name stands once in the code and as a row of docs/RECOVERY.md. */
#ifndef COMMON_FAILPOINT_H
#define COMMON_FAILPOINT_H

#include <stdbool.h>

#ifdef PS_FAILPOINTS
bool ps_failpoint_hit(const char *name);
#define PS_FAILPOINT(name) ps_failpoint_hit(name)
#else
#define PS_FAILPOINT(name) false
#endif

#endif
