/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of the HTTP source: allow-lists, headers and versions, URLs, index pages,
 * manifests, checksums. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/source/http_index.h"
#include "agent/source/http_manifest.h"
#include "agent/source/http_policy.h"
#include "agent/source/http_url.h"
#include "agent/source/http_version.h"
#include "common/alloc.h"
#include "common/secret.h"
#include "common/sha256.h"

/* ---------------------------------------------------------------- policy */

static bool
allows(const char *const *networks, size_t count, const char *address)
{
    struct source_allow allow = {.networks = networks, .network_count = count};
    struct http_policy *policy = NULL;
    struct ps_error err;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    cr_assert_eq(http_policy_new(&allow, &policy, &err), PS_OK);
    bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
    cr_assert(is_v4 || inet_pton(AF_INET6, address, &v6.sin6_addr) == 1, "%s", address);
    bool good =
        http_policy_address(policy, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6);
    http_policy_free(policy);
    return good;
}

Test(http_policy, public_addresses_only_by_default)
{
    static const char *const good[] = {"8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8",
                                       "64:ff9b::808:808"};
    static const char *const bad[] = {"127.0.0.1",
                                      "127.9.9.9",
                                      "0.0.0.0",
                                      "10.1.2.3",
                                      "172.16.0.1",
                                      "172.31.255.255",
                                      "192.168.1.1",
                                      "169.254.1.1",
                                      "100.64.0.1",
                                      "169.254.169.254",
                                      "100.100.100.200",
                                      "168.63.129.16",
                                      "224.0.0.1",
                                      "255.255.255.255",
                                      "::1",
                                      "::",
                                      "fe80::1",
                                      "fc00::1",
                                      "fd00:ec2::254",
                                      "ff02::1",
                                      "::ffff:127.0.0.1",
                                      "64:ff9b::7f00:1",
                                      "2002:7f00:1::1",
                                      "::127.0.0.1",
                                      "2001:db8::1",
                                      "::ffff:169.254.169.254"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(allows(NULL, 0, good[i]), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert(!allows(NULL, 0, bad[i]), "%s", bad[i]);
    }
}

Test(http_policy, a_list_replaces_the_default)
{
    static const char *const loopback[] = {"loopback"};
    static const char *const network[] = {"10.20.0.0/14", "fd12::/16"};
    static const char *const any[] = {"any"};
    static const char *const one[] = {"169.254.169.254"};
    static const char *const wide[] = {"169.254.0.0/16", "0.0.0.0/0"};
    static const char *const both[] = {"any", "metadata"};
    cr_assert(allows(loopback, 1, "127.0.0.1") && allows(loopback, 1, "::1"));
    cr_assert(!allows(loopback, 1, "8.8.8.8") && !allows(loopback, 1, "10.0.0.1"));
    cr_assert(allows(network, 2, "10.23.255.255") && !allows(network, 2, "10.24.0.0"));
    cr_assert(allows(network, 2, "fd12:1::1") && !allows(network, 2, "fd13::1"));
    cr_assert(allows(network, 2, "::ffff:10.20.0.1"));
    cr_assert(allows(any, 1, "10.0.0.1") && allows(any, 1, "127.0.0.1") &&
              allows(any, 1, "8.8.8.8"));
    cr_assert(!allows(any, 1, "169.254.169.254") && !allows(wide, 2, "169.254.169.254"));
    cr_assert(allows(one, 1, "169.254.169.254") && !allows(one, 1, "169.254.169.253"));
    cr_assert(allows(both, 2, "169.254.169.254"));
}

Test(http_policy, words_that_are_no_network_are_refused)
{
    static const char *const bad[] = {"here",        "10.0.0.0/33", "10.0.0.0/",
                                      "10.0.0.0/8x", "fe80::/129",  "",
                                      "1.2.3",       "10.0.0.0/-1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct source_allow allow = {.networks = &bad[i], .network_count = 1};
        struct http_policy *policy = NULL;
        struct ps_error err;
        cr_assert_eq(http_policy_new(&allow, &policy, &err), PS_REFUSED, "%s", bad[i]);
        cr_assert_str_eq(err.code, "bad_allow_list");
    }
}

Test(http_policy, schemes_and_hosts)
{
    static const char *const schemes[] = {"https"};
    static const char *const hosts[] = {"data.example.com", "*.cdn.example"};
    struct source_allow allow = {
        .schemes = schemes, .scheme_count = 1, .hosts = hosts, .host_count = 2};
    struct http_policy *policy = NULL;
    struct ps_error err;
    cr_assert_eq(http_policy_new(&allow, &policy, &err), PS_OK);
    cr_assert_eq(http_policy_url(policy, "https", "data.example.com", &err), PS_OK);
    cr_assert_eq(http_policy_url(policy, "https", "DATA.example.com.", &err), PS_OK);
    cr_assert_eq(http_policy_url(policy, "https", "a.b.cdn.example", &err), PS_OK);
    cr_assert_eq(http_policy_url(policy, "http", "data.example.com", &err), PS_REFUSED);
    cr_assert_eq(http_policy_url(policy, "https", "cdn.example", &err), PS_REFUSED);
    cr_assert_eq(http_policy_url(policy, "https", "evilcdn.example", &err), PS_REFUSED);
    cr_assert_eq(http_policy_url(policy, "https", "data.example.com.evil", &err), PS_REFUSED);
    http_policy_free(policy);
}

/* ---------------------------------------------------------------- headers and versions */

static struct http_head
head_of(const char *const *lines)
{
    struct http_head head;
    http_head_init(&head);
    for (; *lines != NULL; lines++) {
        http_head_line(&head, ps_span_str(*lines), 1700000000);
    }
    return head;
}

static void
check_token(const char *const *lines, const char *wanted, bool weak)
{
    struct http_head head = head_of(lines);
    struct http_version version, again;
    char token[HTTP_VERSION_BYTES];
    const char *why = NULL;
    http_version_of(&head, &version);
    size_t len = http_version_print(&version, token);
    cr_assert_eq(len, strlen(wanted), "%.*s", (int)len, token);
    cr_assert(memcmp(token, wanted, len) == 0, "%.*s, not %s", (int)len, token, wanted);
    cr_assert_eq(http_version_is_weak(&version), weak);
    cr_assert(http_version_parse(ps_span(token, len), &again));
    cr_assert(http_version_fits(&again, &head, &why), "%s", why);
}

Test(http_version, the_best_that_a_server_has)
{
    const char *strong[] = {"HTTP/1.1 200 OK\r\n", "etag: \"abc\"\r\n", "Content-Length: 255\r\n",
                            NULL};
    const char *weak[] = {"HTTP/1.1 200 OK", "ETag: W/\"abc\"", "Content-Length: 16", NULL};
    const char *dated[] = {"HTTP/1.1 200 OK", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
                           "Content-Length: 0", NULL};
    const char *length[] = {"HTTP/1.1 206 OK", "Content-Range: bytes 0-0/4096", NULL};
    const char *nothing[] = {"HTTP/1.1 200 OK", NULL};
    check_token(strong, "Eff:\"abc\"", false);
    check_token(weak, "W10:590cff53cfd1122698f832b385c169a4", true);
    check_token(dated, "M0:784111777", true);
    check_token(length, "L1000:", true);
    check_token(nothing, "L-:", true);
}

Test(http_version, another_version_does_not_fit)
{
    const char *one[] = {"HTTP/1.1 200 OK", "ETag: \"a\"", "Content-Length: 5", NULL};
    const char *etag[] = {"HTTP/1.1 200 OK", "ETag: \"b\"", "Content-Length: 5", NULL};
    const char *size[] = {"HTTP/1.1 200 OK", "ETag: \"a\"", "Content-Length: 6", NULL};
    const char *total[] = {"HTTP/1.1 206 OK", "ETag: \"a\"", "Content-Range: bytes 0-1/6", NULL};
    const char *none[] = {"HTTP/1.1 200 OK", "Content-Length: 5", NULL};
    const char *weak[] = {"HTTP/1.1 200 OK", "ETag: W/\"a\"", "Content-Length: 5", NULL};
    const char *const *others[] = {etag, size, total, none, weak};
    struct http_head head = head_of(one);
    struct http_version version;
    const char *why = NULL;
    http_version_of(&head, &version);
    for (size_t i = 0; i < 5; i++) {
        struct http_head other = head_of(others[i]);
        cr_assert(!http_version_fits(&version, &other, &why), "%zu", i);
    }
}

Test(http_version, content_range_is_exact_or_nothing)
{
    static const char *const bad[] = {"bytes 5-4/10", "bytes 0-10/10",
                                      "bytes 0-1",    "bytes a-b/10",
                                      "bytes 0-1/1x", "items 0-1/9",
                                      "bytes -1-2/9", "bytes */*",
                                      "bytes 0-/9",   "bytes 0-99999999999999999999/9"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char line[128];
        snprintf(line, sizeof line, "Content-Range: %s", bad[i]);
        const char *lines[] = {"HTTP/1.1 206 x", line, NULL};
        cr_assert(!head_of(lines).have_range, "%s", bad[i]);
    }
    const char *open[] = {"HTTP/1.1 206 x", "Content-Range: bytes 3-9/*", NULL};
    struct http_head head = head_of(open);
    cr_assert(head.have_range && head.from == 3 && head.to == 10 && head.total == HTTP_NO_SIZE);
    const char *empty[] = {"HTTP/1.1 416 x", "Content-Range: bytes */77", NULL};
    head = head_of(empty);
    cr_assert(head.have_range && head.from == head.to && head.total == 77);
}

Test(http_version, retry_after_is_seconds_or_a_date)
{
    const char *seconds[] = {"HTTP/1.1 503 x", "Retry-After: 7", NULL};
    const char *date[] = {"HTTP/1.1 503 x", "Retry-After: Tue, 14 Nov 2023 22:13:30 GMT", NULL};
    const char *bad[] = {"HTTP/1.1 503 x", "Retry-After: soon", NULL};
    cr_assert_eq(head_of(seconds).retry_after_s, 7);
    cr_assert_eq(head_of(date).retry_after_s, 10);
    cr_assert_eq(head_of(bad).retry_after_s, -1);
}

/* ---------------------------------------------------------------- URLs */

Test(http_url, user_and_password_are_taken_out)
{
    static const struct {
        const char *url, *clean, *user, *password;
    } rows[] = {
        {"https://h/x", "https://h/x", NULL, NULL},
        {"https://u@h/x#f", "https://h/x", "u", NULL},
        {"https://u:${file:/run/a@b}@h:1/x@y", "https://h:1/x@y", "u", "${file:/run/a@b}"},
        {"https://u:p@h?q=@", "https://h?q=@", "u", "p"},
        {"https://${env:U}:${env:P}@[::1]:80/", "https://[::1]:80/", "${env:U}", "${env:P}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *clean, *user, *password;
        http_url_split_user(rows[i].url, &clean, &user, &password);
        cr_assert_str_eq(clean, rows[i].clean);
        cr_assert((user == NULL) == (rows[i].user == NULL), "%s", rows[i].url);
        cr_assert((password == NULL) == (rows[i].password == NULL), "%s", rows[i].url);
        cr_assert(user == NULL || strcmp(user, rows[i].user) == 0);
        cr_assert(password == NULL || strcmp(password, rows[i].password) == 0);
        ps_free(clean);
        ps_free(user);
        ps_free(password);
    }
}

Test(http_url, what_comes_from_outside_is_never_a_reference)
{
    static const struct {
        const char *reference, *url;
    } rows[] = {
        {"x.csv", "https://h/a/x.csv"},
        {"/x.csv?q=1#f", "https://h/x.csv?q=1"},
        {"//o/x", "https://o/x"},
        {"${env:SECRET}", "https://h/a/$%7Benv:SECRET%7D"},
        {"https://me:pw@h/x y", "https://h/x%20y"},
        {"../../../x", "https://h/x"},
        {"file:///etc/passwd", NULL},
        {"gopher://h/", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *url = NULL;
        struct ps_error err;
        enum ps_status status = http_url_resolve("https://h/a/b", rows[i].reference, &url, &err);
        cr_assert_eq(status, rows[i].url == NULL ? PS_BADDATA : PS_OK, "%s", rows[i].reference);
        cr_assert(url == NULL || strcmp(url, rows[i].url) == 0, "%s", url);
        ps_free(url);
    }
}

Test(http_url, a_pattern_is_one_in_the_path)
{
    char *root, *pattern;
    cr_assert(http_url_is_pattern("http://h/a/*.csv"));
    cr_assert(http_url_is_pattern("http://h/{a,b}"));
    cr_assert(!http_url_is_pattern("http://h/a?x=*"));
    cr_assert(!http_url_is_pattern("http://h/${env:A}/b"));
    cr_assert(!http_url_is_pattern("http://[::1]/a"));
    cr_assert(!http_url_is_pattern("http://h/a%2A"));
    http_url_split_pattern("http://h:1/a%20b/%2A*.csv?x", &root, &pattern);
    cr_assert_str_eq(root, "http://h:1");
    cr_assert_str_eq(pattern, "/a b/\\**.csv");
    ps_free(root);
    ps_free(pattern);
}

/* ---------------------------------------------------------------- index pages */

static enum ps_status
collect(void *ctx, struct ps_span name, bool is_folder, struct ps_error *err)
{
    (void)err;
    ps_buf_xappend(ctx, name.ptr, name.len);
    ps_buf_xappend(ctx, is_folder ? "/|" : "|", is_folder ? 2 : 1);
    return PS_OK;
}

static void
check_page(const char *page, const char *names, bool is_one)
{
    for (size_t step = 1; step < 64; step += 9) {
        struct ps_buf out = PS_BUF_INIT;
        struct ps_error err;
        struct http_index *index = http_index_new("http://h/d/e/", collect, &out);
        for (size_t at = 0; at < strlen(page); at += step) {
            size_t n = strlen(page) - at < step ? strlen(page) - at : step;
            cr_assert_eq(http_index_feed(index, ps_span(page + at, n), &err), PS_OK);
        }
        cr_assert_str_eq(ps_buf_str(&out), names);
        cr_assert_eq(http_index_is_one(index), is_one);
        http_index_free(index);
        ps_buf_fini(&out);
    }
}

Test(http_index, names_one_step_below_and_nothing_else)
{
    check_page("<title>Index of /d/e/</title><h1>x</h1><a href=\"../\">../</a>"
               "<a href=\"a%20b.csv\">x</a> <A HREF='sub/'>y</A> <a href=c.csv>z</a>",
               "a b.csv|sub/|c.csv|", true);
    check_page("<h1>Index of /d/e</h1><a href=\"?C=N;O=D\">Name</a><a href=\"/d/\">Parent</a>"
               "<a href=\"/d/e/abs.csv\">x</a><a href=\"http://h/d/e/full.csv\">x</a>"
               "<a href=\"http://other/d/e/no.csv\">x</a><a href=\"//h/d/e/no.csv\">x</a>"
               "<a href=\"mailto:x\">x</a><a href=\"x/y.csv\">x</a><a href=\"a%2Fb\">x</a>"
               "<a href=\"%2e%2e\">x</a><a href=\"a%00b\">x</a><a href=\"x&amp;y\">x</a>"
               "<a href=\"./n:m\">x</a><a href=\"&#39;q\">x</a>",
               "abs.csv|full.csv|x&y|n:m|'q|", true);
    check_page("<!-- it's --><p>hello</p><a class=\"x>y\" href=\"z.csv\">z</a><link href=\"no\">",
               "z.csv|", false);
}

/* ---------------------------------------------------------------- manifests */

static enum ps_status
collect_entry(void *ctx, const struct http_manifest_entry *entry, struct ps_error *err)
{
    (void)err;
    ps_buf_xprintf(ctx, "%s %lld %d|", entry->url,
                   entry->size == HTTP_NO_SIZE ? -1LL : (long long)entry->size,
                   entry->sha256 == NULL ? -1 : entry->sha256[0]);
    return PS_OK;
}

#define SHA "9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

Test(http_manifest, three_forms)
{
    static const struct {
        const char *text, *wanted; /* NULL = refused */
    } rows[] = {
        {"", ""},
        {"# all of them\n\na.csv\r\nb.csv 12\nc.csv 13 " SHA "\n",
         "a.csv -1 -1|b.csv 12 -1|c.csv 13 159|"},
        {SHA "  a.csv\n" SHA " *b.csv", "a.csv -1 159|b.csv -1 159|"},
        {"a.csv sha256:" SHA "\n", "a.csv -1 159|"},
        {"Size,URL\n12,a.csv\n,\"b,\"\"c\"\"\"\n", "a.csv 12 -1|b,\"c\" -1 -1|"},
        {"\xef\xbb\xbfurl\na b.csv\n", "a b.csv -1 -1|"},
        {" [\"a\", {\"url\": \"b\", \"size\": 3, \"sha256\": \"" SHA "\"}]", "a -1 -1|b 3 159|"},
        {"{\"entries\": [{\"url\": \"a\", \"meta\": {\"content_length\": 9}}]}", "a 9 -1|"},
        {"a.csv twelve\n", NULL},
        {"a.csv 1 2 3\n", NULL},
        {"url,size\na.csv\n", NULL},
        {"url\n\"a\n", NULL},
        {"[{\"size\": 3}]", NULL},
        {"[3]", NULL},
        {"{\"x\": 1}", NULL},
        {"[\"a\"", NULL},
        {"url,sha256\na,12\n", NULL},
        {"a 99999999999999999999\n", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ps_buf out = PS_BUF_INIT;
        struct ps_error err = {0};
        enum ps_status status =
            http_manifest_read(ps_span_str(rows[i].text), collect_entry, &out, &err);
        cr_assert_eq(status, rows[i].wanted == NULL ? PS_BADDATA : PS_OK, "%s: %s", rows[i].text,
                     err.text);
        cr_assert(rows[i].wanted == NULL || strcmp(ps_buf_str(&out), rows[i].wanted) == 0, "%s: %s",
                  rows[i].text, ps_buf_str(&out));
        cr_assert(rows[i].wanted != NULL || strcmp(err.code, "bad_manifest") == 0);
        ps_buf_fini(&out);
    }
}

/* ---------------------------------------------------------------- common */

Test(sha256, the_standards_examples)
{
    static const struct {
        const char *text;
        size_t times;
        uint8_t first[4];
    } rows[] = {
        {"", 1, {0xe3, 0xb0, 0xc4, 0x42}},
        {"abc", 1, {0xba, 0x78, 0x16, 0xbf}},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1, {0x24, 0x8d, 0x6a, 0x61}},
        {"a", 1000000, {0xcd, 0xc7, 0x6e, 0x5c}},
    };
    for (size_t i = 0; i < 4; i++) {
        struct ps_sha256 sha;
        uint8_t out[PS_SHA256_BYTES];
        ps_sha256_init(&sha);
        for (size_t n = 0; n < rows[i].times; n++) {
            ps_sha256_add(&sha, rows[i].text, strlen(rows[i].text));
        }
        ps_sha256_end(&sha, out);
        cr_assert(memcmp(out, rows[i].first, 4) == 0, "%zu", i);
    }
}

Test(secret, references_are_put_in)
{
    struct ps_buf out = PS_BUF_INIT;
    struct ps_error err = {0};
    cr_assert_eq(setenv("PENSTOCK_TEST_SECRET", "s3cret", 1), 0);
    cr_assert_eq(ps_secret_resolve("a ${env:PENSTOCK_TEST_SECRET}-$ {x} ${env:", &out, &err),
                 PS_OK);
    cr_assert_str_eq(ps_buf_str(&out), "a s3cret-$ {x} ${env:");
    ps_buf_clear(&out);
    cr_assert_eq(ps_secret_resolve("${env:PENSTOCK_NO_SUCH}", &out, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "secret_missing");
    cr_assert_eq(ps_secret_resolve("${file:/no/such/file}", &out, &err), PS_REFUSED);
    cr_assert(strstr(err.text, "/no/such/file") != NULL);
    ps_secret_fini(&out);
}
