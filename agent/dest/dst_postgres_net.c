/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as PostgreSQL keeps them (inet_recv, macaddr_recv): family, bits, whether it is a cidr,
 * length, bytes. */
#include <arpa/inet.h>
#include <ctype.h>

#include "agent/dest/dst_postgres_field.h"

static const char not_inet[] = "is no address: expected 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32";
static const char host_bits[] = "has bits behind the network's length, which a cidr must not";
static const char not_mac[] = "is no hardware address: expected 08:00:2b:01:02:03";

enum { FAMILY_V4 = 2, FAMILY_V6 = 3, ADDRESS_TEXT_BYTES = 64 };

struct address {
    uint8_t bytes[16];
    unsigned given; /* octets that the text has; the others are zero */
    unsigned len;
    unsigned bits;
};

static bool
read_v4(const char *text, struct address *out)
{
    unsigned value = 0;
    bool digits = false;
    for (const char *at = text;; at++) {
        if (isdigit((unsigned char)*at)) {
            value = value * 10 + (unsigned)(*at - '0');
            digits = true;
            if (value > 255) {
                return false;
            }
            continue;
        }
        if (!digits || out->given == 4) {
            return false;
        }
        out->bytes[out->given++] = (uint8_t)value;
        if (*at == '\0') {
            return true;
        }
        if (*at != '.') {
            return false;
        }
        value = 0;
        digits = false;
    }
}

/* What a cidr without a length means, by the first octet's class and the octets that are given. */
static unsigned
class_bits(const struct address *address)
{
    uint8_t first = address->bytes[0];
    unsigned bits = first >= 240   ? 32
                    : first >= 224 ? 8
                    : first >= 192 ? 24
                    : first >= 128 ? 16
                                   : 8;
    bits = bits < address->given * 8 ? address->given * 8 : bits;
    return bits == 8 && first == 224 ? 4 : bits;
}

static bool
read_bits(const char *text, unsigned most, unsigned *out)
{
    *out = 0;
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (!isdigit((unsigned char)text[i]) || i == 3) {
            return false;
        }
        *out = *out * 10 + (unsigned)(text[i] - '0');
    }
    return text[0] != '\0' && *out <= most;
}

static bool
read_address(struct ps_span text, bool cidr, struct address *out)
{
    char copy[ADDRESS_TEXT_BYTES];
    if (text.len >= sizeof copy || memchr(text.ptr, 0, text.len) != NULL) {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *slash = strchr(copy, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    if (strchr(copy, ':') != NULL) {
        out->len = out->given = 16;
        out->bits = 128;
        return inet_pton(AF_INET6, copy, out->bytes) == 1 &&
               (slash == NULL || read_bits(slash + 1, 128, &out->bits));
    }
    out->len = 4;
    if (!read_v4(copy, out)) {
        return false;
    }
    if (slash != NULL) {
        return read_bits(slash + 1, 32, &out->bits) && out->bits / 8 <= out->given;
    }
    out->bits = cidr ? class_bits(out) : 32;
    return cidr || out->given == 4;
}

static bool
has_host_bits(const struct address *address)
{
    for (unsigned bit = address->bits; bit < address->len * 8; bit++) {
        if (address->bytes[bit / 8] >> (7 - bit % 8) & 1) {
            return true;
        }
    }
    return false;
}

const char *
dst_postgres_net_inet(struct ps_span text, bool cidr, struct ps_buf *out)
{
    struct address address = {.len = 0};
    if (!read_address(text, cidr, &address)) {
        return not_inet;
    }
    if (cidr && has_host_bits(&address)) {
        return host_bits;
    }
    uint8_t field[4 + 16] = {address.len == 4 ? FAMILY_V4 : FAMILY_V6, (uint8_t)address.bits, cidr,
                             (uint8_t)address.len};
    memcpy(field + 4, address.bytes, address.len);
    put_bytes(out, field, 4 + address.len);
    return NULL;
}

/* Hexadecimal digits in equal groups behind one kind of sign, or without any. */
static bool
read_mac(struct ps_span text, size_t most, uint8_t bytes[8], size_t *out_len)
{
    uint8_t sign = 0;
    size_t group = 0; /* digits of the first one */
    size_t digits = 0;
    size_t in_group = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = hex_digit(text.ptr[i]);
        if (digit >= 0 && digits < most * 2) {
            uint8_t *byte = &bytes[digits / 2];
            *byte = (uint8_t)(digits % 2 == 0 ? digit << 4 : *byte | digit);
            digits++;
            in_group++;
            continue;
        }
        group = group == 0 ? in_group : group;
        sign = sign == 0 ? text.ptr[i] : sign;
        if (digit >= 0 || strchr(":-.", sign) == NULL || text.ptr[i] != sign || in_group != group ||
            (group != 2 && group != 4 && group != 6)) {
            return false;
        }
        in_group = 0;
    }
    *out_len = digits / 2;
    return digits % 2 == 0 && (group == 0 || in_group == group);
}

const char *
dst_postgres_net_mac(struct ps_span text, size_t bytes, struct ps_buf *out)
{
    uint8_t field[8];
    size_t len = 0;
    if (!read_mac(text, bytes, field, &len) || (len != bytes && len != 6)) {
        return not_mac;
    }
    if (len == 6 && bytes == 8) {
        /* As the server makes an EUI-64 of a shorter one. */
        memmove(field + 5, field + 3, 3);
        field[3] = 0xFF;
        field[4] = 0xFE;
    }
    put_bytes(out, field, bytes);
    return NULL;
}
