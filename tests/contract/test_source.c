/* SPDX-License-Identifier: Apache-2.0 */
/* What every source driver owes (agent/source/source.h). A new driver adds a row to `cases`. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/source/source.h"
#include "common/alloc.h"
#include "common/buf.h"

enum { OBJECTS = 7 };

static char folder[64];

static void
write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static void
make_files(void)
{
    snprintf(folder, sizeof folder, "/tmp/penstock-source-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    for (int i = 0; i < OBJECTS; i++) {
        char name[32];
        char text[64];
        snprintf(name, sizeof name, "f%d.csv", i);
        snprintf(text, sizeof text, "id,name\n%d,number %d\n", i, i);
        write_file(name, i == 3 ? "" : text);
    }
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void stop_origins(void);

static void
remove_files(void)
{
    stop_origins();
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The loopback origin over the folder: a process of its own. */
static struct {
    char section[256]; /* "" = not started */
    char certificates[128];
    FILE *out;
    pid_t pid;
    int in;
} origin[2];

static void
start_origin(bool tls)
{
    int in[2], out[2];
    int port = 0;
    if (origin[tls].section[0] != '\0') {
        return;
    }
    snprintf(origin[tls].certificates, sizeof origin[tls].certificates, "%s/tls", folder);
    cr_assert_eq(pipe2(in, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    origin[tls].pid = fork();
    if (origin[tls].pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execlp("python3", "python3", "tests/support/origin.py", "--folder", folder,
               tls ? "--tls" : NULL, origin[tls].certificates, NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    origin[tls].in = in[1];
    origin[tls].out = fdopen(out[0], "r");
    cr_assert_eq(fscanf(origin[tls].out, "%d", &port), 1, "no origin (python3, openssl)");
    snprintf(origin[tls].section, sizeof origin[tls].section,
             tls ? "{url: 'https://127.0.0.1:%d/*.csv', ca: '${file:%s/server-ca.pem}'}"
                 : "{url: 'http://127.0.0.1:%d/*.csv'}",
             port, origin[tls].certificates);
}

static void
stop_origins(void)
{
    for (size_t i = 0; i < 2; i++) {
        if (origin[i].section[0] != '\0') {
            close(origin[i].in); /* it ends with its input */
            fclose(origin[i].out);
            waitpid(origin[i].pid, NULL, 0);
            origin[i].section[0] = '\0';
        }
    }
}

/* One row a driver: its source section, %s being a folder with the files f0.csv … f6.csv. */
static const struct {
    const char *scheme;
    const char *section;
} cases[] = {
    {"file", "{url: '%s/*.csv'}"},
    {"null", "{url: 'null:', objects: 7}"},
    {"gen", "{url: 'gen:', objects: 7, rows: 40, seed: 5, bad_every: 9}"},
};

static const char *
section_of(const char *scheme)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(cases[i].scheme, scheme) == 0) {
            return cases[i].section;
        }
    }
    if (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) {
        bool tls = scheme[4] == 's';
        start_origin(tls);
        return origin[tls].section;
    }
    cr_assert_fail("no row for driver %s in this suite", scheme);
    return NULL;
}

struct opened {
    const struct source_ops *ops;
    struct spec *spec;
    struct source *source;
    struct source_env env;
};

static enum ps_status
try_open(const char *section, const struct source_env *env, struct opened *out,
         struct ps_error *err)
{
    struct ps_buf text = PS_BUF_INIT;
    struct spec_errors errors = {0};
    ps_buf_xprintf(&text, "name: t\nformat: {type: csv}\n");
    ps_buf_xprintf(&text, "destination: {url: 'sqlite:/tmp/t.db', table: t}\nsource: ");
    ps_buf_xappend(&text, section, strlen(section));
    enum ps_status status = spec_parse(ps_buf_span(&text), NULL, 0, &out->spec, &errors, err);
    cr_assert_eq(status, PS_OK, "%s: %s", section,
                 errors.count > 0 ? errors.items[0].text : err->text);
    ps_buf_fini(&text);
    spec_errors_fini(&errors);
    out->env = *env;
    out->ops = source_find(spec_str(out->spec, "source.url"), err);
    cr_assert_not_null(out->ops, "%s", err->text);
    return out->ops->open(out->spec, &out->env, &out->source, err);
}

static void
open_driver(const struct source_ops *ops, const struct source_env *env, struct opened *out)
{
    static const char *const networks[] = {"loopback"};
    struct ps_error err = {0};
    struct source_env with_loopback = *env;
    with_loopback.allow.networks = networks;
    with_loopback.allow.network_count = 1;
    const char *section = section_of(ops->scheme);
    const char *at = strstr(section, "%s");
    char *text = at == NULL
                     ? ps_xstrdup(section)
                     : ps_xasprintf("%.*s%s%s", (int)(at - section), section, folder, at + 2);
    cr_assert_eq(try_open(text, &with_loopback, out, &err), PS_OK, "%s", err.text);
    ps_free(text);
}

static void
close_driver(struct opened *opened)
{
    opened->ops->close(opened->source);
    spec_unref(opened->spec);
}

struct listing {
    struct ps_buf keys[64];
    struct ps_buf versions[64];
    uint64_t sizes[64];
    size_t count;
    size_t fail_at; /* refuse the n-th object; 0 = never */
};

static enum ps_status
note(void *ctx, const struct source_object *object, struct ps_error *err)
{
    struct listing *listing = ctx;
    if (listing->fail_at > 0 && listing->count + 1 == listing->fail_at) {
        return ps_fail(err, PS_FULL, "no more room");
    }
    cr_assert_lt(listing->count, 64);
    cr_assert_leq(object->version.len, 64);
    cr_assert_gt(object->version.len, 0);
    size_t i = listing->count++;
    ps_buf_xappend(&listing->keys[i], object->key.ptr, object->key.len);
    ps_buf_xappend(&listing->versions[i], object->version.ptr, object->version.len);
    listing->sizes[i] = object->size_bytes;
    return PS_OK;
}

static void
listing_fini(struct listing *listing)
{
    for (size_t i = 0; i < 64; i++) {
        ps_buf_fini(&listing->keys[i]);
        ps_buf_fini(&listing->versions[i]);
    }
}

static void
list_all(const struct opened *opened, size_t page, struct listing *out)
{
    struct ps_error err = {0};
    struct ps_buf after = PS_BUF_INIT;
    struct source_page listed = {.unsettled = 99};
    while (!listed.last) {
        size_t before = out->count;
        listed = (struct source_page){
            .after = ps_buf_span(&after), .limit = page, .found = note, .ctx = out};
        enum ps_status status = opened->ops->discover(opened->source, &listed, &err);
        cr_assert_eq(status, PS_OK, "%s", err.text);
        cr_assert_leq(out->count - before, page);
        cr_assert(listed.last || out->count > before, "a page that is not the last has something");
        ps_buf_clear(&after);
        if (out->count > 0) {
            struct ps_buf *key = &out->keys[out->count - 1];
            ps_buf_xappend(&after, key->ptr, key->len);
        }
    }
    ps_buf_fini(&after);
}

static struct ps_buf
read_all(const struct opened *opened, const struct listing *listing, size_t i, size_t cap)
{
    struct ps_error err = {0};
    struct source_reader *reader = NULL;
    struct ps_buf out = PS_BUF_INIT;
    uint8_t *bytes = ps_xalloc(cap);
    enum ps_status status =
        opened->ops->open_object(opened->source, ps_buf_span(&listing->keys[i]),
                                 ps_buf_span(&listing->versions[i]), &reader, &err);
    cr_assert_eq(status, PS_OK, "%s", err.text);
    for (size_t n = 1; n > 0;) {
        cr_assert_eq(opened->ops->read(reader, bytes, cap, &n, &err), PS_OK, "%s", err.text);
        cr_assert_leq(n, cap);
        ps_buf_xappend(&out, bytes, n);
    }
    cr_assert_eq(opened->ops->verify(reader, &err), PS_OK, "%s", err.text);
    opened->ops->close_object(reader);
    ps_free(bytes);
    return out;
}

typedef void (*driver_fn)(const struct source_ops *ops);

static void
each_driver(driver_fn fn)
{
    for (const struct source_ops *const *ops = source_all(); *ops != NULL; ops++) {
        fn(*ops);
    }
}

/* ---------------------------------------------------------------- every driver */

static void
check_listing(const struct source_ops *ops)
{
    struct source_env env = {0};
    struct opened opened;
    struct listing whole = {0};
    open_driver(ops, &env, &opened);
    list_all(&opened, 1000, &whole);
    cr_assert_eq(whole.count, OBJECTS, "%s: %zu", ops->scheme, whole.count);
    for (size_t i = 1; i < whole.count; i++) {
        struct ps_buf *a = &whole.keys[i - 1];
        struct ps_buf *b = &whole.keys[i];
        int order = memcmp(a->ptr, b->ptr, a->len < b->len ? a->len : b->len);
        cr_assert(order < 0 || (order == 0 && a->len < b->len), "%s: order", ops->scheme);
    }
    for (size_t page = 1; page < OBJECTS + 2; page++) {
        struct listing paged = {0};
        list_all(&opened, page, &paged);
        cr_assert_eq(paged.count, whole.count, "%s: pages of %zu", ops->scheme, page);
        for (size_t i = 0; i < paged.count; i++) {
            cr_assert(ps_span_eq(ps_buf_span(&paged.keys[i]), ps_buf_span(&whole.keys[i])));
            cr_assert(ps_span_eq(ps_buf_span(&paged.versions[i]), ps_buf_span(&whole.versions[i])));
        }
        listing_fini(&paged);
    }
    listing_fini(&whole);
    close_driver(&opened);
}

Test(source, lists_in_key_order_and_pages, .init = make_files, .fini = remove_files)
{
    each_driver(check_listing);
}

static void
check_cursors(const struct source_ops *ops)
{
    struct source_env env = {0};
    struct opened opened;
    struct listing whole = {0};
    open_driver(ops, &env, &opened);
    list_all(&opened, 1000, &whole);
    for (size_t i = 0; i < whole.count; i++) {
        /* Another source: a page goes on in another process. */
        struct opened other;
        struct listing rest = {0};
        struct ps_error err = {0};
        struct source_page listed = {.unsettled = 99};
        open_driver(ops, &env, &other);
        listed = (struct source_page){
            .after = ps_buf_span(&whole.keys[i]), .limit = 1000, .found = note, .ctx = &rest};
        cr_assert_eq(ops->discover(other.source, &listed, &err), PS_OK, "%s", err.text);
        cr_assert(listed.last);
        cr_assert_eq(rest.count, whole.count - i - 1, "%s: after %zu", ops->scheme, i);
        listing_fini(&rest);
        close_driver(&other);
    }
    listing_fini(&whole);
    close_driver(&opened);
}

Test(source, goes_on_after_any_key, .init = make_files, .fini = remove_files)
{
    each_driver(check_cursors);
}

static void
check_found_refuses(const struct source_ops *ops)
{
    struct source_env env = {0};
    struct opened opened;
    struct listing listing = {.fail_at = 3};
    struct ps_error err = {0};
    struct source_page listed = {.unsettled = 99};
    open_driver(ops, &env, &opened);
    listed = (struct source_page){
        .after = ps_span(NULL, 0), .limit = 1000, .found = note, .ctx = &listing};
    enum ps_status status = ops->discover(opened.source, &listed, &err);
    cr_assert_eq(status, PS_FULL, "%s", ops->scheme);
    cr_assert_eq(listing.count, 2);
    listing.fail_at = 0;
    listed = (struct source_page){
        .after = ps_buf_span(&listing.keys[1]), .limit = 1000, .found = note, .ctx = &listing};
    status = ops->discover(opened.source, &listed, &err);
    cr_assert_eq(status, PS_OK);
    cr_assert_eq(listing.count, OBJECTS, "%s: nothing is lost after it", ops->scheme);
    listing_fini(&listing);
    close_driver(&opened);
}

Test(source, what_found_returns_comes_back, .init = make_files, .fini = remove_files)
{
    each_driver(check_found_refuses);
}

static void
check_reading(const struct source_ops *ops)
{
    struct source_env env = {0};
    struct opened opened;
    struct listing listing = {0};
    open_driver(ops, &env, &opened);
    list_all(&opened, 1000, &listing);
    for (size_t i = 0; i < listing.count; i++) {
        struct ps_buf whole = read_all(&opened, &listing, i, 64 * 1024);
        struct ps_buf parts = read_all(&opened, &listing, i, 7);
        cr_assert(ps_span_eq(ps_buf_span(&whole), ps_buf_span(&parts)), "%s", ops->scheme);
        cr_assert_eq(whole.len, listing.sizes[i], "%s: %zu of %zu", ops->scheme, whole.len,
                     (size_t)listing.sizes[i]);
        ps_buf_fini(&whole);
        ps_buf_fini(&parts);
    }
    listing_fini(&listing);
    close_driver(&opened);
}

Test(source, reads_every_object_whole, .init = make_files, .fini = remove_files)
{
    each_driver(check_reading);
}

static void
check_seeking(const struct source_ops *ops)
{
    struct source_env env = {0};
    struct opened opened;
    struct listing listing = {0};
    struct ps_error err = {0};
    struct source_reader *reader = NULL;
    if (ops->seek == NULL) {
        return;
    }
    open_driver(ops, &env, &opened);
    list_all(&opened, 1000, &listing);
    struct ps_buf whole = read_all(&opened, &listing, 1, 64 * 1024);
    cr_assert_eq(ops->open_object(opened.source, ps_buf_span(&listing.keys[1]),
                                  ps_buf_span(&listing.versions[1]), &reader, &err),
                 PS_OK);
    for (size_t at = whole.len + 1; at-- > 0;) {
        uint8_t bytes[16];
        size_t n = 0;
        cr_assert_eq(ops->seek(reader, at, &err), PS_OK, "%s", err.text);
        cr_assert_eq(ops->read(reader, bytes, sizeof bytes, &n, &err), PS_OK);
        cr_assert(at == whole.len ? n == 0 : n > 0);
        cr_assert(n == 0 || memcmp(bytes, whole.ptr + at, n) == 0, "%s: at %zu", ops->scheme, at);
    }
    cr_assert_neq(ops->seek(reader, whole.len + 1, &err), PS_OK);
    ops->close_object(reader);
    ps_buf_fini(&whole);
    listing_fini(&listing);
    close_driver(&opened);
}

Test(source, seeks_to_any_offset, .init = make_files, .fini = remove_files)
{
    each_driver(check_seeking);
}

static void
check_missing(const struct source_ops *ops)
{
    static const char *const keys[] = {"",          "nonsense",         "/no/such/file",
                                       "gen/x.csv", "gen/99999999.csv", "null/99999999"};
    struct source_env env = {0};
    struct opened opened;
    struct listing listing = {0};
    struct source_reader *reader = NULL;
    open_driver(ops, &env, &opened);
    list_all(&opened, 1000, &listing);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct ps_error err = {0};
        cr_assert_eq(ops->open_object(opened.source, ps_span_str(keys[i]),
                                      ps_buf_span(&listing.versions[0]), &reader, &err),
                     PS_REFUSED, "%s: %s", ops->scheme, keys[i]);
        cr_assert(strcmp(err.code, "source_missing") == 0 || strcmp(err.code, "not_visible") == 0);
        cr_assert_null(reader);
    }
    struct ps_error err = {0};
    cr_assert_eq(ops->open_object(opened.source, ps_buf_span(&listing.keys[0]),
                                  ps_span_str("another version"), &reader, &err),
                 PS_BADDATA, "%s", ops->scheme);
    cr_assert_str_eq(err.code, "source_changed");
    listing_fini(&listing);
    close_driver(&opened);
}

Test(source, missing_and_changed_are_told_apart, .init = make_files, .fini = remove_files)
{
    each_driver(check_missing);
}

static void
check_cancel(const struct source_ops *ops)
{
    static _Atomic bool cancel = true;
    struct source_env env = {.cancel = &cancel};
    struct opened opened;
    struct listing listing = {0};
    struct ps_error err = {0};
    struct source_page listed = {.unsettled = 99};
    open_driver(ops, &env, &opened);
    listed = (struct source_page){
        .after = ps_span(NULL, 0), .limit = 1000, .found = note, .ctx = &listing};
    cr_assert_eq(ops->discover(opened.source, &listed, &err), PS_CANCELED, "%s", ops->scheme);
    listing_fini(&listing);
    close_driver(&opened);
}

Test(source, cancel_ends_a_listing, .init = make_files, .fini = remove_files)
{
    each_driver(check_cancel);
}

Test(source, unknown_scheme_names_what_there_is)
{
    struct ps_error err = {0};
    cr_assert_null(source_find("gopher://x", &err));
    cr_assert(strstr(err.text, "file:") != NULL, "%s", err.text);
    cr_assert_not_null(source_find("/a/b.csv", &err));
    cr_assert_str_eq(source_find("relative/*.csv", &err)->scheme, "file");
}

/* ---------------------------------------------------------------- file: only */

static struct ps_error
discover_fails(const char *pattern, const struct source_env *env)
{
    struct opened opened = {0};
    struct listing listing = {0};
    struct ps_error err = {0};
    struct source_page listed = {.unsettled = 99};
    char *section = ps_xasprintf("{url: '%s%s'}", folder, pattern);
    enum ps_status status = try_open(section, env, &opened, &err);
    if (status == PS_OK) {
        listed = (struct source_page){
            .after = ps_span(NULL, 0), .limit = 10, .found = note, .ctx = &listing};
        status = opened.ops->discover(opened.source, &listed, &err);
    }
    cr_assert_eq(status, PS_REFUSED, "%s", pattern);
    ps_free(section);
    listing_fini(&listing);
    close_driver(&opened);
    return err;
}

Test(source_file, says_what_is_wrong_with_a_path, .init = make_files, .fini = remove_files)
{
    struct source_env env = {0};
    struct ps_error err = discover_fails("", &env);
    cr_assert_str_eq(err.code, "source_is_folder");
    cr_assert(strstr(err.text, "/*?") != NULL, "%s", err.text);
    err = discover_fails("/none.csv", &env);
    cr_assert_str_eq(err.code, "source_missing");
    err = discover_fails("/none/none.csv", &env);
    cr_assert_str_eq(err.code, "not_visible");
    err = discover_fails("/none/*.csv", &env);
    cr_assert_str_eq(err.code, "not_visible");
    const char *roots[] = {"/var/empty", "/usr"};
    env.roots = roots;
    env.root_count = 2;
    err = discover_fails("/*.csv", &env);
    cr_assert_str_eq(err.code, "outside_roots");
}

static struct source_reader *
open_one(const struct opened *opened, const struct listing *listing, size_t i)
{
    struct ps_error err = {0};
    struct source_reader *reader = NULL;
    cr_assert_eq(opened->ops->open_object(opened->source, ps_buf_span(&listing->keys[i]),
                                          ps_buf_span(&listing->versions[i]), &reader, &err),
                 PS_OK, "%s", err.text);
    return reader;
}

Test(source_file, a_change_in_mid_read_is_seen, .init = make_files, .fini = remove_files)
{
    struct source_env env = {0};
    struct opened opened;
    struct listing listing = {0};
    struct ps_error err = {0};
    uint8_t bytes[4];
    size_t n = 1;
    open_driver(source_find("file:", &err), &env, &opened);
    list_all(&opened, 1000, &listing);

    struct source_reader *longer = open_one(&opened, &listing, 0);
    struct source_reader *shorter = open_one(&opened, &listing, 1);
    struct source_reader *other = open_one(&opened, &listing, 2);
    struct source_reader *replaced = open_one(&opened, &listing, 4);
    cr_assert_eq(opened.ops->read(shorter, bytes, sizeof bytes, &n, &err), PS_OK);
    write_file("f0.csv", "id,name\n0,number 0\nand more\n");
    write_file("f1.csv", "id\n");
    write_file("f2.csv", "id,name\n2,NUMBER 2\n");
    write_file("new.csv", "id,name\n4,NUMBER 4\n");
    char from[128];
    char to[128];
    snprintf(from, sizeof from, "%s/new.csv", folder);
    snprintf(to, sizeof to, "%s/f4.csv", folder);
    cr_assert_eq(rename(from, to), 0);

    enum ps_status status = PS_OK;
    for (n = 1; status == PS_OK && n > 0;) {
        status = opened.ops->read(shorter, bytes, sizeof bytes, &n, &err);
    }
    cr_assert_eq(status, PS_BADDATA);
    cr_assert_str_eq(err.code, "source_changed");
    cr_assert_eq(opened.ops->verify(shorter, &err), PS_BADDATA);
    cr_assert_eq(opened.ops->verify(longer, &err), PS_BADDATA);
    cr_assert_eq(opened.ops->verify(other, &err), PS_BADDATA);
    /* The old file lives on under the open descriptor: its bytes are the version's. */
    cr_assert_eq(opened.ops->verify(replaced, &err), PS_OK);
    opened.ops->close_object(longer);
    opened.ops->close_object(shorter);
    opened.ops->close_object(other);
    opened.ops->close_object(replaced);
    listing_fini(&listing);
    close_driver(&opened);
}

Test(source_file, young_files_wait_in_continuous_mode_only, .init = make_files,
     .fini = remove_files)
{
    static const char *const modes[] = {"once", "continuous"};
    for (size_t i = 0; i < 2; i++) {
        struct source_env env = {0};
        struct opened opened;
        struct listing listing = {0};
        struct ps_error err = {0};
        struct source_page listed = {.unsettled = 99};
        char *section =
            ps_xasprintf("{url: '%s/*.csv', discover: {mode: %s, settle: 1h}}", folder, modes[i]);
        cr_assert_eq(try_open(section, &env, &opened, &err), PS_OK, "%s", err.text);
        listed = (struct source_page){
            .after = ps_span(NULL, 0), .limit = 100, .found = note, .ctx = &listing};
        cr_assert_eq(opened.ops->discover(opened.source, &listed, &err), PS_OK, "%s", err.text);
        cr_assert(listed.last);
        cr_assert_eq(listing.count, i == 0 ? OBJECTS : 0);
        cr_assert_eq(listed.unsettled, i == 0 ? 0 : OBJECTS);
        ps_free(section);
        listing_fini(&listing);
        close_driver(&opened);
    }
}

Test(source_file, a_plain_path_is_a_listing_of_one, .init = make_files, .fini = remove_files)
{
    static const char *const urls[] = {"{url: '%s/f2.csv'}", "{url: 'file:%s/f2.csv'}",
                                       "{url: 'file://%s/f2.csv'}"};
    for (size_t i = 0; i < 3; i++) {
        struct source_env env = {0};
        struct opened opened;
        struct listing listing = {0};
        struct ps_error err = {0};
        const char *at = strstr(urls[i], "%s");
        char *section = ps_xasprintf("%.*s%s%s", (int)(at - urls[i]), urls[i], folder, at + 2);
        cr_assert_eq(try_open(section, &env, &opened, &err), PS_OK, "%s", err.text);
        list_all(&opened, 10, &listing);
        cr_assert_eq(listing.count, 1);
        ps_free(section);
        listing_fini(&listing);
        close_driver(&opened);
    }
}
