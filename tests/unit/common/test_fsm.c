/* SPDX-License-Identifier: Apache-2.0 */
#include "common/fsm.h"

#include <criterion/criterion.h>

enum door { OPEN, SHUT, GONE, DOORS };
enum push { CLOSE, PULL, BURN, PUSHES };

static const char *
door_name(int state)
{
    static const char *const names[] = {"open", "shut", "gone"};
    return names[state];
}

static const char *
push_name(int event)
{
    static const char *const names[] = {"close", "pull", "burn"};
    return names[event];
}

static bool
door_is_final(int state)
{
    return state == GONE;
}

static struct fsm
door(const struct fsm_edge *edges, size_t count)
{
    return (struct fsm){.name = "door",
                        .edges = edges,
                        .edge_count = count,
                        .state_count = DOORS,
                        .event_count = PUSHES,
                        .first = OPEN,
                        .state_name = door_name,
                        .event_name = push_name,
                        .is_final = door_is_final};
}

static const struct fsm_edge sound[] = {{OPEN, CLOSE, SHUT, "somebody left"},
                                        {SHUT, PULL, OPEN, "somebody came"},
                                        {OPEN, BURN, GONE, "fire"},
                                        {SHUT, BURN, GONE, "fire"}};

Test(fsm, moves_along_edges)
{
    struct fsm fsm = door(sound, 4);
    struct ps_error err;
    const char *why = NULL;
    int state = OPEN;
    cr_assert_eq(fsm_check(&fsm, &err), PS_OK);
    cr_assert_eq(fsm_move(&fsm, &state, CLOSE, &why, &err), PS_OK);
    cr_assert_eq(state, SHUT);
    cr_assert_str_eq(why, "somebody left");
    cr_assert_eq(fsm_move(&fsm, &state, CLOSE, NULL, &err), PS_BUG);
    cr_assert_str_eq(err.text, "door: nothing leaves shut for close");
    cr_assert_null(fsm_find(&fsm, GONE, PULL));
}

static void
is_unsound(const struct fsm_edge *edges, size_t count, const char *part)
{
    struct fsm fsm = door(edges, count);
    struct ps_error err;
    cr_assert_eq(fsm_check(&fsm, &err), PS_BUG);
    cr_assert_not_null(strstr(err.text, part), "%s", err.text);
}

Test(fsm, the_walk_finds_faults)
{
    struct fsm_edge edges[5];
    memcpy(edges, sound, sizeof sound);
    edges[4] = (struct fsm_edge){OPEN, CLOSE, OPEN, "twice"};
    is_unsound(edges, 5, "two edges leave open for close");
    edges[4] = (struct fsm_edge){GONE, PULL, OPEN, "a ghost"};
    is_unsound(edges, 5, "leaves the final state gone");
    edges[4] = (struct fsm_edge){OPEN, 9, OPEN, "?"};
    is_unsound(edges, 5, "out of range");
    edges[4] = (struct fsm_edge){OPEN, PULL, OPEN, ""};
    is_unsound(edges, 5, "no reason");
    is_unsound(sound, 2, "event 2 is not used");
    static const struct fsm_edge island[] = {
        {OPEN, BURN, GONE, "fire"}, {OPEN, PULL, OPEN, "again"}, {SHUT, CLOSE, GONE, "?"}};
    is_unsound(island, 3, "nothing leads to shut");
    static const struct fsm_edge trap[] = {
        {OPEN, BURN, GONE, "fire"}, {OPEN, CLOSE, SHUT, "left"}, {SHUT, PULL, SHUT, "stuck"}};
    is_unsound(trap, 3, "shut has no way to an end");
}
