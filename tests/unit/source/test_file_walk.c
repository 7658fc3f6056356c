/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/source/file_walk.h"
#include "common/alloc.h"
#include "common/buf.h"

static char folder[64];

static void
make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/penstock-walk-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void
remove_folder(void)
{
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
touch(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *p = path + strlen(folder) + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            (void)mkdir(path, 0700);
            *p = '/';
        }
    }
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void
link_to(const char *target, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(symlink(target, path), 0);
}

/* Names found, joined with spaces, without the folder. */
static const char *
found(const char *pattern, const char *after, size_t max_names, const char *root, bool openat2)
{
    static struct ps_buf out;
    struct pathglob *glob = NULL;
    struct beneath *beneath = NULL;
    struct file_walk *walk = NULL;
    struct ps_error err = {0};
    char text[256];
    char cursor[256] = "";
    ps_buf_clear(&out);
    snprintf(text, sizeof text, "%s/%s", folder, pattern);
    if (after[0] != '\0') {
        snprintf(cursor, sizeof cursor, "%s/%s", folder, after);
    }
    cr_assert_eq(pathglob_new(text, &glob, &err), PS_OK, "%s", err.text);
    cr_assert_eq(beneath_new(&root, root == NULL ? 0 : 1, &beneath, &err), PS_OK);
    if (!openat2) {
        beneath_forget_openat2(beneath);
    }
    struct file_walk_env env = {.glob = glob, .beneath = beneath, .max_names = max_names};
    cr_assert_eq(file_walk_new(&env, ps_span_str(cursor), &walk, &err), PS_OK, "%s", err.text);
    for (bool end = false; !end;) {
        struct file_walk_file file;
        cr_assert_eq(file_walk_next(walk, &file, &end, &err), PS_OK, "%s", err.text);
        if (!end) {
            ps_buf_xprintf(&out, "%s%s", out.len == 0 ? "" : " ", file.path + strlen(folder) + 1);
        }
    }
    file_walk_free(walk);
    beneath_free(beneath);
    pathglob_free(glob);
    return ps_buf_str(&out);
}

static const char *
plain(const char *pattern)
{
    return found(pattern, "", 0, NULL, true);
}

Test(pathglob, components)
{
    static const struct {
        const char *pattern;
        const char *name;
        bool hit;
    } cases[] = {
        {"*.csv", "a.csv", true},
        {"*.csv", "a.csv.gz", false},
        {"*", ".hidden", false},
        {".*", ".hidden", true},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"[a-c]x", "bx", true},
        {"[!a-c]x", "bx", false},
        {"[^a-c]x", "dx", true},
        {"[]x]", "]", true},
        {"[a", "[a", true},
        {"a\\*b", "a*b", true},
        {"a\\*b", "axb", false},
        {"*a*b*", "xxaybz", true},
        {"*a*b*", "xxbyaz", false},
        {"a**b", "axxb", true},
        {"", "", true},
        {"*", "", true},
        {"[a-", "[a-", true},
        {"x[0-9][0-9]", "x07", true},
        {"[a-c-]", "-", true},
        {"\xFF*", "\xFF\xFE", true},
        {"[\x80-\xFF]", "\xC3", true},
        {"**", "ab", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(pathglob_match(cases[i].pattern, cases[i].name), cases[i].hit, "%s ~ %s",
                     cases[i].pattern, cases[i].name);
    }
}

Test(pathglob, makes_patterns)
{
    static const struct {
        const char *text;
        size_t count;
        const char *base;
        bool literal;
    } cases[] = {
        {"/a//b/./c", 1, "/a/b/c", true},  {"/a/../b/*.csv", 1, "/b", false},
        {"/a/{x,y}/b", 2, "/a/x/b", true}, {"/a/{x,y{1,2}}.c", 3, "/a/x.c", true},
        {"/a/{x}/b", 1, "/a/{x}/b", true}, {"/a\\*/b", 1, "/a*/b", true},
        {"/{a/b,c}/*", 2, "/a/b", false},  {"/", 1, "/", true},
        {"/a/**", 1, "/a", false},         {"/../../a", 1, "/a", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pathglob *glob = NULL;
        struct ps_error err = {0};
        cr_assert_eq(pathglob_new(cases[i].text, &glob, &err), PS_OK, "%s", err.text);
        cr_expect_eq(pathglob_count(glob), cases[i].count, "%s", cases[i].text);
        cr_expect_str_eq(pathglob_base(glob, 0), cases[i].base);
        cr_expect_eq(pathglob_is_literal(glob, 0), cases[i].literal);
        pathglob_free(glob);
    }
    static const char *const wrong[] = {"a/b", "/a/*/../b",
                                        "/{1,2}{1,2}{1,2}{1,2}{1,2}{1,2}{1,2}{1,2}"
                                        "{1,2}{1,2}{1,2}{1,2}{1,2}{1,2}{1,2}{1,2}"}; /* 65,536 */
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct pathglob *glob = NULL;
        struct ps_error err = {0};
        cr_assert_eq(pathglob_new(wrong[i], &glob, &err), PS_REFUSED);
        cr_assert_str_eq(err.code, "bad_pattern");
    }
}

Test(file_walk, order_and_patterns, .init = make_folder, .fini = remove_folder)
{
    static const char *const files[] = {"a/1.csv",     "a/b/2.csv", "a.csv",    "a-x.csv",  "b.csv",
                                        "a/b/c/3.csv", ".h.csv",    ".d/x.csv", "z/b/4.csv"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        touch(files[i]);
    }
    /* '-' and '.' sort before '/', so that the folder a comes after the files a-x and a.csv. */
    cr_expect_str_eq(plain("**/*.csv"),
                     "a-x.csv a.csv a/1.csv a/b/2.csv a/b/c/3.csv b.csv z/b/4.csv");
    cr_expect_str_eq(plain("*.csv"), "a-x.csv a.csv b.csv");
    cr_expect_str_eq(plain("*/*.csv"), "a/1.csv");
    cr_expect_str_eq(plain("*/b/*"), "a/b/2.csv z/b/4.csv");
    cr_expect_str_eq(plain("**/b/**"), "a/b/2.csv a/b/c/3.csv z/b/4.csv");
    cr_expect_str_eq(plain("**/**/2.csv"), "a/b/2.csv");
    cr_expect_str_eq(plain("a/b/2.csv"), "a/b/2.csv");
    cr_expect_str_eq(plain("{z/b,a}/*.csv"), "a/1.csv z/b/4.csv");
    cr_expect_str_eq(plain("{a,*}.csv"), "a-x.csv a.csv b.csv");
    cr_expect_str_eq(plain("{b,a}.csv"), "a.csv b.csv");
    cr_expect_str_eq(plain(".*"), ".h.csv");
    cr_expect_str_eq(plain(".d/*"), ".d/x.csv");
    cr_expect_str_eq(plain("*"), "a-x.csv a.csv b.csv");
    cr_expect_str_eq(plain("nothing*"), "");
}

Test(file_walk, every_cursor_and_every_size, .init = make_folder, .fini = remove_folder)
{
    static const char *const files[] = {"a/1.csv", "a/2.csv", "a/b/3.csv", "a/c.csv", "a.csv",
                                        "b/x.csv", "b/y.csv", "b0.csv",    "c.csv"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        touch(files[i]);
    }
    char *all = ps_xstrdup(plain("**/*.csv"));
    for (size_t max = 1; max < 6; max++) {
        cr_expect_str_eq(found("**/*.csv", "", max, NULL, true), all, "max %zu", max);
        char *copy = ps_xstrdup(all);
        char *rest = NULL;
        for (char *one = strtok_r(copy, " ", &rest); one != NULL;
             one = strtok_r(NULL, " ", &rest)) {
            cr_expect_str_eq(found("**/*.csv", one, max, NULL, true), rest, "after %s", one);
        }
        ps_free(copy);
    }
    cr_expect_str_eq(found("**/*.csv", "a/", 0, NULL, true),
                     "a/1.csv a/2.csv a/b/3.csv a/c.csv b/x.csv b/y.csv b0.csv c.csv");
    cr_expect_str_eq(found("**/*.csv", "a/b", 0, NULL, true),
                     "a/b/3.csv a/c.csv b/x.csv b/y.csv b0.csv c.csv");
    cr_expect_str_eq(found("**/*.csv", "zzz", 0, NULL, true), "");
    ps_free(all);
}

Test(file_walk, links, .init = make_folder, .fini = remove_folder)
{
    touch("in/a.csv");
    touch("out/b.csv");
    link_to("a.csv", "in/same.csv");
    link_to("../out/b.csv", "in/up.csv");
    link_to("/etc/passwd", "in/far.csv");
    link_to("nowhere", "in/broken.csv");
    link_to("../out", "in/dir");
    link_to("../in", "in/loop");
    char pipe_path[80];
    snprintf(pipe_path, sizeof pipe_path, "%s/in/pipe.csv", folder);
    cr_assert_eq(mkfifo(pipe_path, 0600), 0);
    char root[80];
    snprintf(root, sizeof root, "%s/in", folder);

    /* Without roots links are followed, by ** only to files. */
    cr_expect_str_eq(plain("in/*.csv"), "in/a.csv in/far.csv in/same.csv in/up.csv");
    cr_expect_str_eq(plain("in/dir/*.csv"), "in/dir/b.csv");
    cr_expect_str_eq(plain("in/d*/*.csv"), "in/dir/b.csv");
    cr_expect_str_eq(plain("in/**/a.csv"), "in/a.csv");
    /* With a root only what stays beneath it. */
    cr_expect_str_eq(found("in/*.csv", "", 0, root, true), "in/a.csv in/same.csv");
    cr_expect_str_eq(found("in/*/*.csv", "", 0, root, true), "");
    cr_expect_str_eq(found("in/up.csv", "", 0, root, true), "");
    /* Without openat2 no link at all. */
    cr_expect_str_eq(found("in/*.csv", "", 0, root, false), "in/a.csv");
    cr_expect_str_eq(found("in/far.csv", "", 0, root, false), "");
    cr_expect_str_eq(found("in/a.csv", "", 0, root, false), "in/a.csv");
}

static int
try_open(const struct beneath *beneath, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s", folder, name);
    int fd = beneath_open(beneath, path, O_RDONLY | O_NONBLOCK);
    int errnum = fd < 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return errnum;
}

Test(beneath, nothing_leads_out, .init = make_folder, .fini = remove_folder)
{
    touch("fence/sub/a");
    touch("fenceless/b");
    link_to("/etc", "fence/etc");
    link_to("../../fenceless", "fence/sub/side");
    link_to("/proc/self/root", "fence/magic");
    char root[80];
    snprintf(root, sizeof root, "%s/fence/", folder);
    const char *roots[] = {"/nowhere/at/all", root};
    for (int round = 0; round < 2; round++) {
        struct beneath *beneath = NULL;
        cr_assert_eq(beneath_new(roots, 2, &beneath, NULL), PS_OK);
        if (round == 1) {
            beneath_forget_openat2(beneath);
        }
        cr_expect_eq(try_open(beneath, "/fence/sub/a"), 0);
        cr_expect_eq(try_open(beneath, "/fence//sub//a"), 0);
        cr_expect_eq(try_open(beneath, "/fence"), 0);
        cr_expect_eq(try_open(beneath, "/fenceless/b"), EXDEV);
        cr_expect_eq(try_open(beneath, "/fence/../fenceless/b"), EXDEV);
        cr_expect_neq(try_open(beneath, "/fence/etc/passwd"), 0);
        cr_expect_neq(try_open(beneath, "/fence/sub/side/b"), 0);
        cr_expect_neq(try_open(beneath, "/fence/magic/etc/passwd"), 0);
        cr_expect_eq(try_open(beneath, "/fence/sub/none"), ENOENT);
        beneath_free(beneath);
    }
}
