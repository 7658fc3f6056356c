/* SPDX-License-Identifier: Apache-2.0 */
#include "common/path.h"

#include <criterion/criterion.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"

static void
expect(char *own_text, const char *wanted)
{
    cr_assert_str_eq(own_text, wanted);
    ps_free(own_text);
}

Test(path, texts)
{
    expect(ps_path_join("a", "b"), "a/b");
    expect(ps_path_join("a/", "b"), "a/b");
    expect(ps_path_join("a", "/b"), "/b");
    expect(ps_path_join("", "b"), "b");
    expect(ps_path_join(NULL, "b"), "b");
    expect(ps_path_dirname("/a/b"), "/a");
    expect(ps_path_dirname("/a"), "/");
    expect(ps_path_dirname("a"), ".");
    cr_assert_str_eq(ps_path_basename("/a/b"), "b");
    cr_assert_str_eq(ps_path_basename("b"), "b");
    expect(ps_path_absolute("/x/y", "a//b/./c"), "/x/y/a/b/c");
    expect(ps_path_absolute("/x/y", "../a"), "/x/a");
    expect(ps_path_absolute("/x/y", "../../../.."), "/");
    expect(ps_path_absolute("/x/y", "/a/"), "/a");
}

Test(path, folders_and_files)
{
    char *folder = NULL;
    struct ps_error err;
    struct stat found;
    struct ps_buf text = PS_BUF_INIT;
    cr_assert_eq(ps_path_runtime_folder(&folder, &err), PS_OK);
    cr_assert_lt(strlen(folder), 90);
    char *deep = ps_path_join(folder, "a/b/c");
    char *file = ps_path_join(deep, "f");
    cr_assert_eq(ps_path_mkdirs(deep, &err), PS_OK);
    cr_assert_eq(ps_path_mkdirs(deep, &err), PS_OK);
    cr_assert_eq(stat(deep, &found), 0);
    cr_assert_eq(found.st_mode & 0777, 0700);
    cr_assert_eq(ps_path_read(file, 10, &text, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "missing");
    cr_assert_eq(ps_path_write(file, ps_span_str("one"), &err), PS_OK);
    cr_assert_eq(ps_path_write(file, ps_span_str("other"), &err), PS_OK);
    cr_assert_eq(stat(file, &found), 0);
    cr_assert_eq(found.st_mode & 0777, 0600);
    cr_assert_eq(ps_path_read(file, 10, &text, &err), PS_OK);
    cr_assert_str_eq(ps_buf_str(&text), "other");
    cr_assert_eq(ps_path_read(file, 4, &text, &err), PS_REFUSED);
    cr_assert_eq(ps_path_mkdirs(file, &err), PS_REFUSED);
    cr_assert(ps_path_exists(file));
    /* A link inside is removed, not what it points to. */
    char *link_path = ps_path_join(folder, "a/link");
    cr_assert_eq(symlink("/usr", link_path), 0);
    cr_assert_eq(ps_path_remove_tree(folder, &err), PS_OK);
    cr_assert_eq(ps_path_remove_tree(folder, &err), PS_OK);
    cr_assert_not(ps_path_exists(folder));
    cr_assert(ps_path_exists("/usr"));
    ps_buf_fini(&text);
    ps_free(link_path);
    ps_free(file);
    ps_free(deep);
    ps_free(folder);
}

Test(path, one_holder_a_lock)
{
    char *folder = NULL;
    struct ps_error err;
    int first = -1;
    int second = -1;
    cr_assert_eq(ps_path_runtime_folder(&folder, &err), PS_OK);
    char *path = ps_path_join(folder, "lock");
    cr_assert_eq(ps_path_lock(path, &first, &err), PS_OK);
    cr_assert_eq(ps_path_lock(path, &second, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "locked");
    close(first);
    cr_assert_eq(ps_path_lock(path, &second, &err), PS_OK);
    close(second);
    cr_assert_eq(ps_path_remove_tree(folder, &err), PS_OK);
    ps_free(path);
    ps_free(folder);
}

Test(path, program_folder)
{
    char *folder = NULL;
    cr_assert_eq(ps_path_exe_folder(&folder, NULL), PS_OK);
    cr_assert_eq(folder[0], '/');
    ps_free(folder);
}
