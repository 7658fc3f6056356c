/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/coordinator.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/path.h"
#include "common/rand.h"
#include "coordinator/api/api.h"
#include "coordinator/catalog/catalog.h"
#include "coordinator/rpc/rpc.h"

enum { LOCK_WAIT_MS = 3000, LOCK_LOOK_MS = 10 };

struct coordinator {
    struct catalog *catalog;
    struct catalog_reader *reader;
    struct engine_env env;
    struct engine *engine;
    pthread_t engine_thread;
    bool engine_runs;
    enum ps_status engine_status; /* read after the join */
    struct ps_error engine_err;
    int fault_fd;
    struct rpc *rpc;
    struct api *api;
    _Atomic(struct api *) api_for_engine; /* NULL until it is open */
    _Atomic(const char *) why_not_ready;  /* as the engine says */
};

static int64_t
env_mono_ms(void *ctx)
{
    (void)ctx;
    return ps_clock_mono_ms();
}

static int64_t
env_wall_ms(void *ctx)
{
    (void)ctx;
    return ps_clock_wall_ms();
}

static void
env_random(void *ctx, void *out, size_t bytes)
{
    (void)ctx;
    ps_rand_system(out, bytes);
}

static void
env_say_ready(void *ctx, const char *why_not)
{
    struct coordinator *coordinator = ctx;
    atomic_store(&coordinator->why_not_ready, why_not);
    struct api *api = atomic_load(&coordinator->api_for_engine);
    if (api != NULL) {
        api_set_ready(api, why_not);
    }
}

static void *
engine_main(void *ctx)
{
    struct coordinator *coordinator = ctx;
    pthread_setname_np(pthread_self(), "engine");
    coordinator->engine_status = engine_run(coordinator->engine, &coordinator->engine_err);
    if (coordinator->engine_status != PS_OK) {
        (void)eventfd_write(coordinator->fault_fd, 1);
    }
    return NULL;
}

/* A predecessor that is ending, because its parent was killed, still has the lock for a moment. */
static enum ps_status
open_when_free(struct coordinator *coordinator, const char *path, struct ps_error *err)
{
    int64_t end_ms = ps_clock_mono_ms() + LOCK_WAIT_MS;
    for (;;) {
        enum ps_status status = catalog_open(path, &coordinator->catalog, err);
        if (status != PS_REFUSED || strcmp(err->code, "catalog_locked") != 0 ||
            ps_clock_mono_ms() >= end_ms) {
            return status;
        }
        (void)poll(NULL, 0, LOCK_LOOK_MS);
    }
}

static enum ps_status
open_catalog(struct coordinator *coordinator, const char *state, struct ps_error *err)
{
    char *path = ps_path_join(state, "catalog.db");
    enum ps_status status = ps_path_mkdirs(state, err);
    if (status == PS_OK) {
        status = open_when_free(coordinator, path, err);
    }
    if (status == PS_OK) {
        status = catalog_reader_open(path, &coordinator->reader, err);
    }
    ps_free(path);
    return status;
}

static enum ps_status
open_engine(struct coordinator *coordinator, const struct engine_config *config,
            struct ps_error *err)
{
    coordinator->env = (struct engine_env){.ctx = coordinator,
                                           .mono_ms = env_mono_ms,
                                           .wall_ms = env_wall_ms,
                                           .random = env_random,
                                           .say_ready = env_say_ready,
                                           .catalog = coordinator->catalog};
    enum ps_status status = engine_new(&coordinator->env, config, &coordinator->engine, err);
    if (status != PS_OK) {
        return status;
    }
    coordinator->fault_fd = eventfd(0, EFD_CLOEXEC);
    if (coordinator->fault_fd < 0) {
        return ps_fail_errno(err, errno, "eventfd");
    }
    int code = pthread_create(&coordinator->engine_thread, NULL, engine_main, coordinator);
    if (code != 0) {
        return ps_fail_errno(err, code, "start the engine's thread");
    }
    coordinator->engine_runs = true;
    return PS_OK;
}

static enum ps_status
open_doors(struct coordinator *coordinator, const struct coordinator_options *options,
           struct ps_error *err)
{
    struct rpc_config rpc = {.urls = options->rpc, .url_count = options->rpc_count};
    struct api_config api = {.http = options->http};
    enum ps_status status = rpc_open(&rpc, coordinator->engine, &coordinator->rpc, err);
    if (status != PS_OK) {
        return status;
    }
    status = api_open(&api, coordinator->engine, coordinator->reader, &coordinator->api, err);
    if (status != PS_OK) {
        return status;
    }
    atomic_store(&coordinator->api_for_engine, coordinator->api);
    api_set_ready(coordinator->api, atomic_load(&coordinator->why_not_ready));
    log_info("coordinator.started", "version=%s state=\"%s\" http=\"%s\" rpc=\"%s\" rpc_port=%u",
             PENSTOCK_VERSION, options->state, api_address(coordinator->api),
             config_str(options->config, "rpc"), rpc_port(coordinator->rpc));
    return PS_OK;
}

enum ps_status
coordinator_open(const struct coordinator_options *options, struct coordinator **out,
                 struct ps_error *err)
{
    struct coordinator *coordinator = ps_xcalloc(1, sizeof *coordinator);
    coordinator->fault_fd = -1;
    enum ps_status status = open_catalog(coordinator, options->state, err);
    if (status == PS_OK) {
        status = open_engine(coordinator, &options->engine, err);
    }
    if (status == PS_OK) {
        status = open_doors(coordinator, options, err);
    }
    if (status != PS_OK) {
        (void)coordinator_close(coordinator, NULL);
        return status;
    }
    *out = coordinator;
    return PS_OK;
}

int
coordinator_fault_fd(const struct coordinator *coordinator)
{
    return coordinator->fault_fd;
}

enum ps_status
coordinator_close(struct coordinator *coordinator, struct ps_error *err)
{
    if (coordinator == NULL) {
        return PS_OK;
    }
    /* The doors close first, but live until the engine has given its last answers. */
    if (coordinator->api != NULL) {
        api_close(coordinator->api);
    }
    if (coordinator->rpc != NULL) {
        rpc_close(coordinator->rpc);
    }
    if (coordinator->engine_runs) {
        engine_stop(coordinator->engine);
        pthread_join(coordinator->engine_thread, NULL);
    }
    enum ps_status status = coordinator->engine_status;
    if (status != PS_OK && err != NULL) {
        *err = coordinator->engine_err;
    }
    engine_free(coordinator->engine);
    rpc_free(coordinator->rpc);
    api_free(coordinator->api);
    catalog_reader_close(coordinator->reader);
    catalog_close(coordinator->catalog);
    if (coordinator->fault_fd >= 0) {
        close(coordinator->fault_fd);
    }
    ps_free(coordinator);
    return status;
}
