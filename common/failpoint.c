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
    unsigned long every;  /* 0 = not by turns */
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
refuse(const char *text)
{
    fprintf(stderr,
            "penstock: PENSTOCK_FAILPOINTS: expected NAME[@HIT|%%TURNS]="
            "crash[:FILE], error[:FILE] or delay:MILLISECONDS[:FILE]: %s\n",
            text);
    abort();
}

/* "crash", "error" or "delay:MS" at the start of text. Returns what follows. */
static const char *
parse_action(struct point *point, const char *text)
{
    char *rest = NULL;
    if (strncmp(text, "crash", 5) == 0) {
        point->action = ACT_CRASH;
        return text + 5;
    }
    if (strncmp(text, "error", 5) == 0) {
        point->action = ACT_ERROR;
        return text + 5;
    }
    if (strncmp(text, "delay:", 6) != 0) {
        refuse(text);
    }
    point->action = ACT_DELAY;
    point->delay_ms = strtol(text + 6, &rest, 10);
    return rest;
}

static void
parse_point(char *text)
{
    char *equals = strchr(text, '=');
    if (equals == NULL || point_count == MAX_POINTS) {
        refuse(text);
    }
    *equals = '\0';
    struct point *point = &points[point_count++];
    char *when = strpbrk(text, "@%");
    if (when != NULL) {
        unsigned long number = strtoul(when + 1, NULL, 10);
        *(*when == '@' ? &point->on_hit : &point->every) = number;
        *when = '\0';
    }
    snprintf(point->name, sizeof point->name, "%s", text);
    const char *rest = parse_action(point, equals + 1);
    if (*rest == ':') {
        snprintf(point->once, sizeof point->once, "%s", rest + 1);
    } else if (*rest != '\0') {
        refuse(equals + 1);
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
    char copy[2048];
    if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy) {
        refuse("too long");
    }
    char *rest = NULL;
    for (char *one = strtok_r(copy, ";", &rest); one != NULL; one = strtok_r(NULL, ";", &rest)) {
        parse_point(one);
    }
}

/* Counts the hit; true when the point acts at this one. */
static bool
is_due(struct point *point)
{
    pthread_mutex_lock(&lock);
    unsigned long hit = ++point->hits;
    pthread_mutex_unlock(&lock);
    if (point->every > 0) {
        return hit % point->every == 0;
    }
    return point->on_hit == 0 || hit == point->on_hit;
}

bool
ps_failpoint_hit(const char *name)
{
    pthread_once(&once, parse_environment);
    for (int i = 0; i < point_count; i++) {
        struct point *point = &points[i];
        if (strcmp(point->name, name) != 0 || !is_due(point) || !take_once(point)) {
            continue;
        }
        if (point->action == ACT_ERROR) {
            return true;
        }
        if (point->action == ACT_CRASH) {
            kill(getpid(), SIGKILL);
        }
        struct timespec wait = {.tv_sec = point->delay_ms / 1000,
                                .tv_nsec = point->delay_ms % 1000 * 1000000};
        nanosleep(&wait, NULL);
    }
    return false;
}

#else
typedef int ps_failpoint_not_built; /* ISO C wants a declaration in every file */
#endif
