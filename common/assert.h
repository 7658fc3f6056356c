/* SPDX-License-Identifier: Apache-2.0 */
/* common/assert.h: states invariants; stays on in release; never guards input. */
#ifndef COMMON_ASSERT_H
#define COMMON_ASSERT_H

#define PS_ASSERT(cond) ((cond) ? (void)0 : ps_assert_failed(#cond, __FILE__, __LINE__, __func__))

/* Prints the place to stderr and aborts. */
__attribute__((noreturn, cold)) void ps_assert_failed(const char *cond, const char *file, int line,
                                                      const char *function);

#endif
