/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf_argv.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/path.h"

struct words {
    char **list;
    size_t count;
};

static void
add(struct words *words, const char *text)
{
    words->list = ps_xrealloc(words->list, (words->count + 2) * sizeof *words->list);
    words->list[words->count++] = ps_xstrdup(text);
    words->list[words->count] = NULL;
}

static void
add_option(struct words *words, const char *name, const char *value)
{
    add(words, name);
    add(words, value);
}

static void
add_list(struct words *words, const struct config *config, const char *name)
{
    const char *const *values = NULL;
    size_t count = config_list(config, name, &values);
    char *flag = ps_xasprintf("--%s", name);
    for (size_t i = 0; i < count; i++) {
        add_option(words, flag, values[i]);
    }
    ps_free(flag);
}

char **
leaf_argv_new(const struct leaf_argv_input *input)
{
    const struct config *config = input->config;
    struct words words = {0};
    char budget[32], leaves[32], quota[32];
    int64_t leaf_count = config_int(config, "leaves");
    snprintf(budget, sizeof budget, "%" PRIu64, config_bytes(config, "budget"));
    snprintf(leaves, sizeof leaves, "%" PRId64, leaf_count);
    snprintf(quota, sizeof quota, "%" PRIu64,
             config_bytes(config, "stage-quota") / (uint64_t)leaf_count);
    add(&words, "penstock-agent");
    add_option(&words, "--leaf", "%LEAF%");
    add_option(&words, "--agent-name", input->agent_name);
    add_option(&words, "--state", input->state_dir);
    add_option(&words, "--budget", budget);
    add_option(&words, "--leaves", leaves);
    add_option(&words, "--stage-quota", quota);
    add_option(&words, "--base-dir", input->base_dir);
    add_option(&words, "--log-level", config_str(config, "log-level"));
    add_option(&words, "--log-format", config_str(config, "log-format"));
    const char *const *roots;
    size_t root_count = config_list(config, "root", &roots);
    for (size_t i = 0; i < root_count; i++) {
        char *root = ps_path_absolute(NULL, roots[i]);
        add_option(&words, "--root", root);
        ps_free(root);
    }
    static const char *const lists[] = {"allow-scheme", "allow-host", "allow-network"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        add_list(&words, config, lists[i]);
    }
    if (config_given(config, "http-proxy")) {
        add_option(&words, "--http-proxy", config_str(config, "http-proxy"));
    }
    return words.list;
}

void
leaf_argv_free(char **argv)
{
    for (size_t i = 0; argv != NULL && argv[i] != NULL; i++) {
        ps_free(argv[i]);
    }
    ps_free(argv);
}
