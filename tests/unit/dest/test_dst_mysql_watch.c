/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/dest/dst_mysql.h"

/* Reads until the other end is shut down, as the client library waits for a server. */
static ssize_t
wait_for_end(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0);
}

Test(dst_mysql_watch, a_call_that_waits_ends_when_the_leaf_is_asked_to_stop, .timeout = 20)
{
    _Atomic bool cancel = false;
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    struct dst_mysql_watch *watch = dst_mysql_watch_new(&cancel);
    cr_assert_not_null(watch);
    dst_mysql_watch_begin(watch, ends[0]);
    atomic_store(&cancel, true);
    cr_expect_eq(wait_for_end(ends[0]), 0);
    dst_mysql_watch_end(watch);
    dst_mysql_watch_free(watch);
    close(ends[0]);
    close(ends[1]);
}

Test(dst_mysql_watch, nothing_is_shut_down_between_calls, .timeout = 20)
{
    _Atomic bool cancel = false;
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    struct dst_mysql_watch *watch = dst_mysql_watch_new(&cancel);
    dst_mysql_watch_begin(watch, ends[0]);
    dst_mysql_watch_end(watch);
    atomic_store(&cancel, true);
    dst_mysql_watch_free(watch);
    cr_expect_eq(send(ends[1], "x", 1, MSG_NOSIGNAL), 1);
    cr_expect_eq(wait_for_end(ends[0]), 1);
    close(ends[0]);
    close(ends[1]);
    cr_expect_null(dst_mysql_watch_new(NULL));
    dst_mysql_watch_free(NULL);
}
