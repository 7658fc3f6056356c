/* SPDX-License-Identifier: Apache-2.0 */
/* penstock-coordinator: options, signals, and the wait between opening and closing. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/sql.h"
#include "coordinator/coordinator.h"

/* Below so many files it is said at start; the program itself takes about FILES_OWN. */
enum { FILES_ENOUGH = 4096, FILES_OWN = 128 };
enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_KILLED = 130 };

static const char program[] = "penstock-coordinator";

/* argv without the program's name. */
struct arguments {
    int count;
    const char *const *values;
};

/* Blocked in every thread from the first on: they come by the descriptor. */
static int
open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return -1;
    }
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Each connected agent takes a file descriptor; those that find none wait outside without a word,
 * so that this is the place to say it. */
static void
raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        log_warn("files.limit_unknown", "error=\"%s\"", strerror(errno));
        return;
    }
    struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (limit.rlim_cur < limit.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        limit = raised;
    }
    if (limit.rlim_cur < FILES_ENOUGH) {
        unsigned long long files = limit.rlim_cur;
        log_warn("files.limited",
                 "limit=%llu: about %llu agents can be connected at once, more need a higher hard "
                 "limit (ulimit -Hn, LimitNOFILE=)",
                 files, files > FILES_OWN ? files - FILES_OWN : 0);
    }
}

/* False: the parent is gone already; perhaps before this program began, so it says who it is. 0:
 * nobody is died with. */
static bool
die_with_parent(pid_t parent)
{
    if (parent == 0 || (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent)) {
        return true;
    }
    log_error("coordinator.unstarted",
              "error=\"the process %ld did not start this one, or has "
              "ended\"",
              (long)parent);
    return false;
}

static void
say_ready(int fd)
{
    static const char line[] = "ready\n";
    if (fd >= 0) {
        if (write(fd, line, sizeof line - 1) != (ssize_t)(sizeof line - 1)) {
            log_warn("ready.unheard", "fd=%d", fd);
        }
        close(fd);
    }
}

/* Only what may change while running: the log. */
static void
reload(struct arguments arguments)
{
    struct coordinator_options options;
    struct ps_buf errors = PS_BUF_INIT;
    if (coordinator_options_read(arguments.count, arguments.values, &options, &errors) == PS_OK) {
        log_setup(program, options.log_level, options.log_format);
        coordinator_options_fini(&options);
        log_info("config.reloaded", "applies=log-level,log-format");
    } else {
        log_error("config.refused", "kept=\"what was read at start\" errors=\"%s\"",
                  ps_buf_str(&errors));
    }
    ps_buf_fini(&errors);
}

/* Until SIGTERM, SIGINT or a fault of the engine. */
static void
wait_for_end(const struct coordinator *coordinator, int signal_fd, struct arguments arguments)
{
    struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
                           {.fd = coordinator_fault_fd(coordinator), .events = POLLIN}};
    for (;;) {
        struct signalfd_siginfo info;
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            return;
        }
        if (fds[1].revents != 0) {
            return;
        }
        if (fds[0].revents == 0 || read(signal_fd, &info, sizeof info) != sizeof info) {
            continue;
        }
        if (info.ssi_signo != SIGHUP) {
            log_info("coordinator.ending", "signal=%u", info.ssi_signo);
            return;
        }
        reload(arguments);
    }
}

static void
end_at_once(int signal_number)
{
    (void)signal_number;
    _exit(EXIT_KILLED);
}

/* While ending in good order, a second signal ends at once: the catalog stands that. */
static void
let_second_signal_kill(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void)signal(SIGTERM, end_at_once);
    (void)signal(SIGINT, end_at_once);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static int
serve(const struct coordinator_options *options, int signal_fd, struct arguments arguments)
{
    struct coordinator *coordinator = NULL;
    struct ps_error err = {0};
    if (coordinator_open(options, &coordinator, &err) != PS_OK) {
        log_error("coordinator.refused", "error=\"%s\"", err.text);
        return EXIT_FAILED;
    }
    say_ready(options->ready_fd);
    wait_for_end(coordinator, signal_fd, arguments);
    let_second_signal_kill();
    if (coordinator_close(coordinator, &err) != PS_OK) {
        log_error("engine.failed", "error=\"%s\"", err.text);
        return EXIT_FAILED;
    }
    log_info("coordinator.ended", "version=%s", PENSTOCK_VERSION);
    return 0;
}

static int
print(struct ps_buf *text)
{
    bool good = fputs(ps_buf_str(text), stdout) >= 0 && fflush(stdout) == 0;
    ps_buf_fini(text);
    return good ? 0 : EXIT_FAILED;
}

int
main(int argc, char **argv)
{
    struct arguments arguments = {.count = argc > 0 ? argc - 1 : 0,
                                  .values = (const char *const *)argv + 1};
    struct coordinator_options options;
    struct ps_buf text = PS_BUF_INIT;
    if (coordinator_options_read(arguments.count, arguments.values, &options, &text) != PS_OK) {
        fprintf(stderr, "%s\nTry '%s --help'.\n", ps_buf_str(&text), program);
        ps_buf_fini(&text);
        return EXIT_USAGE;
    }
    int code = 0;
    if (options.help) {
        coordinator_options_help(&text);
        code = print(&text);
    } else if (options.version) {
        ps_buf_xprintf(&text, "%s %s\n", program, PENSTOCK_VERSION);
        code = print(&text);
    } else {
        log_setup(program, options.log_level, options.log_format);
        umask(S_IRWXG | S_IRWXO);
        raise_file_limit();
        sql_setup();
        int signal_fd = open_signals();
        if (signal_fd < 0 || !die_with_parent(options.die_with_parent)) {
            code = EXIT_FAILED;
        } else {
            code = serve(&options, signal_fd, arguments);
        }
    }
    coordinator_options_fini(&options);
    return code;
}
