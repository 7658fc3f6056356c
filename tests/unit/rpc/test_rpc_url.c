/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "common/addr.h"
#include "coordinator/rpc/rpc_url.h"

Test(addr, parses)
{
    struct ps_addr addr;
    cr_assert_eq(ps_addr_parse("127.0.0.1:7180", &addr, NULL), PS_OK);
    cr_assert_str_eq(addr.host, "127.0.0.1");
    cr_assert_eq(addr.port, 7180);
    cr_assert_eq(ps_addr_parse("[::1]:80", &addr, NULL), PS_OK);
    cr_assert_str_eq(addr.host, "::1");
    cr_assert_eq(ps_addr_parse("localhost", &addr, NULL), PS_OK);
    cr_assert_not(addr.port_given);
    cr_assert_eq(ps_addr_parse("[::1]", &addr, NULL), PS_OK);
}

Test(addr, refuses)
{
    const char *const bad[] = {"",       ":80",  "a:",      "a:b",         "a:65536", "a:80x",
                               "::1:80", "[::1", "[::1]80", "a:999999999", "[]:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ps_addr addr;
        struct ps_error err = {0};
        cr_expect_eq(ps_addr_parse(bad[i], &addr, &err), PS_REFUSED, "%s", bad[i]);
        cr_expect_neq(err.text[0], '\0');
    }
}

Test(addr, loopback)
{
    cr_expect(ps_host_is_loopback("127.0.0.1"));
    cr_expect(ps_host_is_loopback("127.9.9.9"));
    cr_expect(ps_host_is_loopback("::1"));
    cr_expect(ps_host_is_loopback("LocalHost"));
    cr_expect_not(ps_host_is_loopback("0.0.0.0"));
    cr_expect_not(ps_host_is_loopback("::"));
    cr_expect_not(ps_host_is_loopback("127.0.0.1.example.org"));
    cr_expect_not(ps_host_is_loopback("localhost.example.org"));
    cr_expect_not(ps_host_is_loopback(""));
}

Test(rpc_url, serves_loopback_and_ipc_only)
{
    const char *const good[] = {"tcp://127.0.0.1:7171", "tcp://[::1]:7171", "tcp://localhost:0",
                                "ipc:///run/penstock/rpc.sock"};
    const char *const bad[] = {"tcp://0.0.0.0:7171",
                               "tcp://*:7171",
                               "tcp://example.org:7171",
                               "tcp://127.0.0.1",
                               "tls+tcp://127.0.0.1:7171",
                               "127.0.0.1:7171",
                               "ipc://",
                               "inproc://x",
                               ""};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_expect_eq(rpc_url_check(good[i], NULL), PS_OK, "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(rpc_url_check(bad[i], NULL), PS_REFUSED, "%s", bad[i]);
    }
}

Test(rpc_url, refuses_long_ipc_paths)
{
    char url[256] = "ipc://";
    struct ps_error err = {0};
    memset(url + 6, 'x', 99);
    cr_expect_eq(rpc_url_check(url, NULL), PS_OK);
    url[6 + 99] = 'x';
    cr_expect_eq(rpc_url_check(url, &err), PS_REFUSED);
    cr_expect(strstr(err.text, "short private folder") != NULL);
}
