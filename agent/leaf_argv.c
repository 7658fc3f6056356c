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

char **
leaf_argv_new(const struct leaf_argv_input *input)
{
    const struct config *config = input->config;
    struct words words = {0};
    char budget[32];
    snprintf(budget, sizeof budget, "%" PRIu64, config_bytes(config, "budget"));
    add(&words, "penstock-agent");
    add_option(&words, "--leaf", "%LEAF%");
    add_option(&words, "--agent-name", input->agent_name);
    add_option(&words, "--state", input->state_dir);
    add_option(&words, "--budget", budget);
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
