/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/http_policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/alloc.h"

enum kind { KIND_PUBLIC, KIND_PRIVATE, KIND_LOOPBACK, KIND_LINK_LOCAL, KIND_RESERVED, KIND_COUNT };

static const char *const kind_names[KIND_COUNT] = {"public", "private", "loopback", "link-local",
                                                   "reserved"};

/* Every address is 16 bytes; IPv4 in the mapped range ::ffff:0:0/96. */
struct network {
    uint8_t bytes[16];
    unsigned bits;
};

struct known {
    const char *text;
    enum kind kind;
};

static const struct known known_networks[] = {
    {"0.0.0.0/8", KIND_LOOPBACK}, /* a connection to 0.0.0.0 reaches this host */
    {"127.0.0.0/8", KIND_LOOPBACK},    {"169.254.0.0/16", KIND_LINK_LOCAL},
    {"10.0.0.0/8", KIND_PRIVATE},      {"172.16.0.0/12", KIND_PRIVATE},
    {"192.168.0.0/16", KIND_PRIVATE},  {"100.64.0.0/10", KIND_PRIVATE},
    {"192.0.0.0/24", KIND_PRIVATE},    {"198.18.0.0/15", KIND_PRIVATE},
    {"192.0.2.0/24", KIND_RESERVED},   {"198.51.100.0/24", KIND_RESERVED},
    {"203.0.113.0/24", KIND_RESERVED}, {"224.0.0.0/3", KIND_RESERVED},
    {"::/127", KIND_LOOPBACK},         {"fe80::/10", KIND_LINK_LOCAL},
    {"fc00::/7", KIND_PRIVATE},        {"fec0::/10", KIND_PRIVATE},
    {"2001:db8::/32", KIND_RESERVED},
};

/* Where clouds hand out credentials to whoever can open a connection. */
static const char *const metadata_addresses[] = {
    "169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.169.123", "100.100.100.200",
    "168.63.129.16",   "192.0.0.192",   "fd00:ec2::254",  "fd20:ce::254",    "fd00:ec2::23",
};

struct http_policy {
    struct source_allow allow;
    struct network *networks;
    size_t network_count;
    bool kinds[KIND_COUNT];
    bool metadata;
};

static void
map_v4(const void *four, uint8_t out[16])
{
    static const uint8_t head[12] = {[10] = 0xff, [11] = 0xff};
    memcpy(out, head, 12);
    memcpy(out + 12, four, 4);
}

static bool
parse_network(const char *text, struct network *out)
{
    char address[64];
    const char *slash = strchr(text, '/');
    size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
    if (len >= sizeof address) {
        return false;
    }
    memcpy(address, text, len);
    address[len] = '\0';
    struct in_addr v4;
    bool is_v4 = inet_pton(AF_INET, address, &v4) == 1;
    if (is_v4) {
        map_v4(&v4, out->bytes);
    } else if (inet_pton(AF_INET6, address, out->bytes) != 1) {
        return false;
    }
    unsigned most = is_v4 ? 32 : 128;
    unsigned bits = most;
    if (slash != NULL) {
        if (slash[1] == '\0' || strspn(slash + 1, "0123456789") != strlen(slash + 1) ||
            strlen(slash + 1) > 3) {
            return false;
        }
        bits = (unsigned)strtoul(slash + 1, NULL, 10);
    }
    out->bits = bits + (is_v4 ? 96 : 0);
    return bits <= most;
}

static bool
is_inside(const struct network *network, const uint8_t address[16])
{
    unsigned whole = network->bits / 8;
    unsigned rest = network->bits % 8;
    if (memcmp(network->bytes, address, whole) != 0) {
        return false;
    }
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return rest == 0 || ((network->bytes[whole] ^ address[whole]) & mask) == 0;
}

static bool
has_head(const uint8_t address[16], const uint8_t *head, size_t len)
{
    return memcmp(address, head, len) == 0;
}

/* The address that is reached in the end: IPv4 in IPv6 clothes is judged as IPv4. */
static bool
address_of(const struct sockaddr *sockaddr, uint8_t out[16])
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t compatible[12] = {0};
    static const uint8_t sixtofour[2] = {0x20, 0x02};
    if (sockaddr->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, sockaddr, sizeof v4);
        map_v4(&v4.sin_addr, out);
        return true;
    }
    if (sockaddr->sa_family != AF_INET6) {
        return false;
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, sockaddr, sizeof v6);
    memcpy(out, &v6.sin6_addr, 16);
    uint8_t four[4];
    if (has_head(out, nat64, sizeof nat64)) {
        memcpy(four, out + 12, 4);
        map_v4(four, out);
    } else if (has_head(out, sixtofour, sizeof sixtofour)) {
        memcpy(four, out + 2, 4);
        map_v4(four, out);
    } else if (has_head(out, compatible, sizeof compatible) && (out[12] | out[13]) != 0) {
        memcpy(four, out + 12, 4);
        map_v4(four, out);
    }
    return true;
}

static enum kind
kind_of(const uint8_t address[16])
{
    for (size_t i = 0; i < sizeof known_networks / sizeof known_networks[0]; i++) {
        struct network network;
        if (parse_network(known_networks[i].text, &network) && is_inside(&network, address)) {
            return known_networks[i].kind;
        }
    }
    struct network mapped, global;
    bool v4 = parse_network("::ffff:0:0/96", &mapped) && is_inside(&mapped, address);
    bool v6 = parse_network("2000::/3", &global) && is_inside(&global, address);
    return v4 || v6 ? KIND_PUBLIC : KIND_RESERVED;
}

static bool
is_metadata(const uint8_t address[16])
{
    for (size_t i = 0; i < sizeof metadata_addresses / sizeof metadata_addresses[0]; i++) {
        struct network network;
        if (parse_network(metadata_addresses[i], &network) && is_inside(&network, address)) {
            return true;
        }
    }
    return false;
}

static bool
add_network(struct http_policy *policy, const char *text)
{
    if (strcmp(text, "any") == 0) {
        for (size_t i = 0; i < KIND_COUNT; i++) {
            policy->kinds[i] = true;
        }
        return true;
    }
    if (strcmp(text, "metadata") == 0) {
        policy->metadata = true;
        return true;
    }
    for (size_t i = 0; i < KIND_RESERVED; i++) {
        if (strcmp(text, kind_names[i]) == 0) {
            policy->kinds[i] = true;
            return true;
        }
    }
    return parse_network(text, &policy->networks[policy->network_count++]);
}

enum ps_status
http_policy_new(const struct source_allow *allow, struct http_policy **out, struct ps_error *err)
{
    struct http_policy *policy = ps_xcalloc(1, sizeof *policy);
    policy->allow = *allow;
    policy->networks = ps_xcalloc(allow->network_count + 1, sizeof *policy->networks);
    policy->kinds[KIND_PUBLIC] = allow->network_count == 0;
    for (size_t i = 0; i < allow->network_count; i++) {
        if (!add_network(policy, allow->networks[i])) {
            http_policy_free(policy);
            return ps_fail_code(err, PS_REFUSED, "bad_allow_list",
                                "allow-network %s: expected an address, ADDRESS/BITS, or one of "
                                "public, private, loopback, link-local, metadata, any",
                                allow->networks[i]);
        }
    }
    *out = policy;
    return PS_OK;
}

void
http_policy_free(struct http_policy *policy)
{
    if (policy != NULL) {
        ps_free(policy->networks);
        ps_free(policy);
    }
}

/* "host" is that host, "*.example.com" any below it. */
static bool
host_matches(const char *pattern, const char *host)
{
    size_t pattern_len = strlen(pattern), host_len = strlen(host);
    if (host_len > 0 && host[host_len - 1] == '.') {
        host_len--;
    }
    if (pattern[0] == '*' && pattern[1] == '.') {
        return host_len > pattern_len - 1 &&
               strncasecmp(host + host_len - (pattern_len - 1), pattern + 1, pattern_len - 1) == 0;
    }
    return host_len == pattern_len && strncasecmp(host, pattern, host_len) == 0;
}

enum ps_status
http_policy_url(const struct http_policy *policy, const char *scheme, const char *host,
                struct ps_error *err)
{
    const struct source_allow *allow = &policy->allow;
    bool scheme_fits = allow->scheme_count == 0;
    bool host_fits = allow->host_count == 0;
    for (size_t i = 0; i < allow->scheme_count; i++) {
        scheme_fits = scheme_fits || strcasecmp(allow->schemes[i], scheme) == 0;
    }
    for (size_t i = 0; i < allow->host_count; i++) {
        host_fits = host_fits || host_matches(allow->hosts[i], host);
    }
    if (!scheme_fits) {
        return ps_fail_code(err, PS_REFUSED, "not_allowed",
                            "this agent's allow-scheme list does not have %s", scheme);
    }
    if (!host_fits) {
        return ps_fail_code(err, PS_REFUSED, "not_allowed",
                            "this agent's allow-host list does not have %s", host);
    }
    return PS_OK;
}

bool
http_policy_address(const struct http_policy *policy, const struct sockaddr *sockaddr)
{
    uint8_t address[16];
    if (!address_of(sockaddr, address)) {
        return false;
    }
    bool metadata = is_metadata(address);
    for (size_t i = 0; i < policy->network_count; i++) {
        if (is_inside(&policy->networks[i], address) &&
            (!metadata || policy->networks[i].bits == 128)) {
            return true;
        }
    }
    return metadata ? policy->metadata : policy->kinds[kind_of(address)];
}

const char *
http_policy_describe(const struct sockaddr *sockaddr, char *out, size_t out_bytes)
{
    uint8_t address[16];
    char text[INET6_ADDRSTRLEN] = "?";
    if (!address_of(sockaddr, address)) {
        snprintf(out, out_bytes, "an address of family %d", sockaddr->sa_family);
        return out;
    }
    struct network mapped;
    bool v4 = parse_network("::ffff:0:0/96", &mapped) && is_inside(&mapped, address);
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + 12 : address, text, sizeof text);
    snprintf(out, out_bytes, "%s (%s)", text,
             is_metadata(address) ? "metadata" : kind_names[kind_of(address)]);
    return out;
}
