/* SPDX-License-Identifier: Apache-2.0 */
#include "common/failpoint.h"

#ifdef PS_FAILPOINTS

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_POINTS = 16 };

enum action { ACT_CRASH, ACT_ERROR, ACT_DELAY };

struct point {
    char name[64];
    unsigned long on_hit; /* 0 = every hit */
    unsigned long hits;
    enum action action;
    long delay_ms;
    char once[128]; /* a file that must not be there yet; "" = any number of times */
};

static struct point points[MAX_POINTS];
static int point_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
parse_point(char *text)
{
    char *equals = strchr(text, '=');
    if (equals == NULL || point_count == MAX_POINTS) {
        fprintf(stderr, "penstock: PENSTOCK_FAILPOINTS: expected name[@hit]=action: %s\n", text);
        abort();
    }
    *equals = '\0';
    struct point *point = &points[point_count++];
    char *at = strchr(text, '@');
    if (at != NULL) {
        *at = '\0';
        point->on_hit = strtoul(at + 1, NULL, 10);
    }
    snprintf(point->name, sizeof point->name, "%s", text);
    const char *action = equals + 1;
    const char *colon = strchr(action, ':');
    if (strncmp(action, "error", 5) == 0) {
        point->action = ACT_ERROR;
    } else if (strncmp(action, "delay:", 6) == 0) {
        point->action = ACT_DELAY;
        point->delay_ms = strtol(action + 6, NULL, 10);
    } else {
        point->action = ACT_CRASH;
    }
    if (colon != NULL && point->action != ACT_DELAY) {
        snprintf(point->once, sizeof point->once, "%s", colon + 1);
    }
}

/* True for the first process that asks. */
static bool
take_once(const struct point *point)
{
    if (point->once[0] == '\0') {
        return true;
    }
    int fd = open(point->once, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    close(fd);
    return true;
}

static void
parse_environment(void)
{
    const char *text = getenv("PENSTOCK_FAILPOINTS");
    if (text == NULL) {
        return;
    }
    char copy[1024];
    snprintf(copy, sizeof copy, "%s", text);
    char *rest = NULL;
    for (char *one = strtok_r(copy, ";", &rest); one != NULL; one = strtok_r(NULL, ";", &rest)) {
        parse_point(one);
    }
}

bool
ps_failpoint_hit(const char *name)
{
    pthread_once(&once, parse_environment);
    for (int i = 0; i < point_count; i++) {
        struct point *point = &points[i];
        if (strcmp(point->name, name) != 0) {
            continue;
        }
        pthread_mutex_lock(&lock);
        bool now = ++point->hits == point->on_hit || point->on_hit == 0;
        pthread_mutex_unlock(&lock);
        if (!now || !take_once(point)) {
            continue;
        }
        if (point->action == ACT_CRASH) {
            kill(getpid(), SIGKILL);
        }
        if (point->action == ACT_DELAY) {
            struct timespec wait = {.tv_sec = point->delay_ms / 1000,
                                    .tv_nsec = point->delay_ms % 1000 * 1000000};
            nanosleep(&wait, NULL);
            return false;
        }
        return true;
    }
    return false;
}

#else
typedef int ps_failpoint_not_built; /* ISO C wants a declaration in every file */
#endif
