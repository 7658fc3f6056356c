/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "common/alloc.h"
#include "proto/frame.h"

static struct ps_buf
held_frame(void)
{
    uint8_t id[16] = {1, 2, 3};
    Penstock__LeafCancel cancel = PENSTOCK__LEAF_CANCEL__INIT;
    cancel.batch_id = proto_bytes(id, sizeof id);
    cancel.epoch = UINT64_MAX;
    struct ps_buf out = PS_BUF_INIT;
    struct ps_error err;
    cr_assert_eq(frame_append(&out, MSG_LEAF_CANCEL, &cancel.base, &err), PS_OK);
    return out;
}

Test(frame, round_trip)
{
    struct ps_buf out = held_frame();
    size_t total = 0;
    struct ps_error err;
    cr_assert_eq(frame_total(ps_buf_span(&out), &total, &err), PS_OK);
    cr_assert_eq(total, out.len);
    enum msg_type type;
    ProtobufCMessage *message = NULL;
    cr_assert_eq(frame_unpack(ps_buf_span(&out), &type, &message, &err), PS_OK, "%s", err.text);
    cr_assert_eq(type, MSG_LEAF_CANCEL);
    Penstock__LeafCancel *cancel = (Penstock__LeafCancel *)message;
    cr_assert_eq(cancel->epoch, UINT64_MAX);
    cr_assert_eq(cancel->batch_id.len, 16);
    cr_assert_eq(cancel->batch_id.data[2], 3);
    msg_free(message);
    msg_free(NULL);
    ps_buf_fini(&out);
    cr_assert_eq(ps_alloc_bytes_now(), 0);
}

Test(frame, every_flipped_bit_and_every_cut_is_refused)
{
    struct ps_buf out = held_frame();
    enum msg_type type;
    ProtobufCMessage *message = NULL;
    struct ps_error err;
    for (size_t bit = 0; bit < out.len * 8; bit++) {
        out.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(frame_unpack(ps_buf_span(&out), &type, &message, &err), PS_BADDATA, "bit %zu",
                     bit);
        out.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < out.len; len++) {
        cr_assert_eq(frame_unpack(ps_span(out.ptr, len), &type, &message, &err), PS_BADDATA);
    }
    ps_buf_fini(&out);
}

Test(frame, an_incomplete_header_has_no_length_yet)
{
    struct ps_buf out = held_frame();
    struct ps_error err;
    for (size_t len = 0; len < FRAME_HEADER_BYTES; len++) {
        size_t total = 99;
        cr_assert_eq(frame_total(ps_span(out.ptr, len), &total, &err), PS_OK);
        cr_assert_eq(total, 0);
    }
    size_t total;
    cr_assert_eq(frame_total(ps_span("PNX", 3), &total, &err), PS_BADDATA);
    ps_buf_fini(&out);
}

Test(frame, a_length_beyond_the_ceiling_is_refused_from_the_header_alone)
{
    struct ps_buf out = held_frame();
    memset(out.ptr + 8, 0xff, 4);
    size_t total;
    struct ps_error err;
    cr_assert_eq(frame_total(ps_span(out.ptr, FRAME_HEADER_BYTES), &total, &err), PS_BADDATA);
    ps_buf_fini(&out);
}

Test(frame, a_message_beyond_the_ceiling_is_not_sent)
{
    static char text[FRAME_MAX_BYTES + 1];
    memset(text, 'x', sizeof text - 1);
    Penstock__TurnAsk ask = PENSTOCK__TURN_ASK__INIT;
    ask.dest = text;
    struct ps_buf out = PS_BUF_INIT;
    struct ps_error err;
    cr_assert_eq(frame_append(&out, MSG_TURN_ASK, &ask.base, &err), PS_BADDATA);
    cr_assert_eq(out.len, 0);
    ps_buf_fini(&out);
}

static bool
refuse_nth(void *ctx, size_t bytes)
{
    (void)bytes;
    int *left = ctx;
    return (*left)-- == 0;
}

Test(frame, refused_memory_leaks_nothing)
{
    struct ps_buf out = held_frame();
    uint64_t before = ps_alloc_bytes_now();
    enum msg_type type;
    ProtobufCMessage *message = NULL;
    struct ps_error err;
    for (int nth = 0;; nth++) {
        int left = nth;
        ps_alloc_set_fault(refuse_nth, &left);
        enum ps_status status = frame_unpack(ps_buf_span(&out), &type, &message, &err);
        ps_alloc_set_fault(NULL, NULL);
        if (status == PS_OK) {
            break;
        }
        cr_assert_eq(ps_alloc_bytes_now(), before);
    }
    msg_free(message);
    ps_buf_fini(&out);
}

Test(frame, names)
{
    cr_assert_str_eq(msg_type_name(MSG_HELLO), "HELLO");
    cr_assert_str_eq(msg_type_name((enum msg_type)999), "?");
}
