// SPDX-License-Identifier: Apache-2.0
// docs/cli.md says what the table of commands says, all of it and no more, and its examples are
// right.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cli/inside.h"

static char *page(void)
{
    static const char *const places[] = {"docs/cli.md", "../docs/cli.md"};
    char *text = NULL;
    size_t len;

    for (size_t i = 0; i < 2; i++)
        if (host_read(places[i], &text, &len, NULL) == 0)
            return text;
    fail_msg("docs/cli.md cannot be read from here");
    return NULL;
}

// "| `skupper site create <name>` | Makes a site … |", with points where a table cannot have them.
static char *row_start(const struct command *c)
{
    char *usage =
        str_fmt("| `skupper %s%s%s` | %s | ", c->name, c->args[0] ? " " : "", c->args, c->summary);
    char *out = calloc(2, strlen(usage)), *to = out + 2;

    memcpy(out, "| ", 2);
    for (const char *at = usage + 2; *at; at++) {
        // Of the usage alone: the bars of the table stand between spaces.
        if (*at == '|' && at[-1] != ' ')
            *to++ = '\\';
        *to++ = *at;
    }
    free(usage);
    return out;
}

static bool is_shown(const struct flag *f)
{
    return !f->platforms || (f->platforms & ON_LINUX);
}

static void check_flags(const struct command *c, struct str cell)
{
    char *text = str_dup(cell);
    size_t count = 0, told = 0;

    for (const struct flag *f = c->flags; f && f->name; f++) {
        char *want;

        if (!is_shown(f))
            continue;
        count++;
        want =
            f->letter ? str_fmt("`--%s` (`-%c`)", f->name, f->letter) : str_fmt("`--%s`", f->name);
        if (!strstr(text, want))
            fail_msg("docs/cli.md, %s lacks the flag %s", c->name, want);
        free(want);
    }
    for (const char *at = text; (at = strstr(at, "`--")) != NULL; at++)
        told++;
    if (told != count)
        fail_msg("docs/cli.md, %s tells %zu flags of %zu", c->name, told, count);
    free(text);
}

// The words are understood, and there are as many arguments as it takes.
static void check_example(const struct command *c, struct str cell)
{
    struct cli cli = {.command = c, .platform = ON_LINUX, .out = stdout, .err = stderr};
    char *text = str_dup(cell), *words[32], *save = NULL, *start;
    struct why why = {""};
    int count = 0;

    start = str_fmt("`skupper %s", c->name);
    if (strncmp(text, start, strlen(start)) != 0 || !strchr(text + 1, '`'))
        fail_msg("docs/cli.md, %s: an example of another command: %s", c->name, text);
    *strchr(text + 1, '`') = '\0';
    for (char *w = strtok_r(text + strlen(start), " ", &save); w && count < 32;
         w = strtok_r(NULL, " ", &save))
        words[count++] = w;
    if (cli_parse(&cli, count, words, &why) < 0)
        fail_msg("docs/cli.md, example of %s: %s", c->name, why.text);
    if (cli.arg_count < c->args_min || cli.arg_count > c->args_max)
        fail_msg("docs/cli.md, example of %s: %d arguments", c->name, cli.arg_count);
    free(start);
    free(text);
}

static void check_row(const struct command *c, const char *text)
{
    char *start = row_start(c);
    const char *row = strstr(text, start), *flags, *example;

    if (!row)
        fail_msg("docs/cli.md lacks the command %s", c->name);
    flags = row + strlen(start);
    example = strstr(flags, "| ");
    assert_non_null(example);
    check_flags(c, (struct str){flags, (size_t)(example - flags)});
    check_example(c, (struct str){example + 2, strcspn(example + 2, "\n")});
    free(start);
}

TEST(each_command_has_a_row_and_each_row_a_command)
{
    char *text = page();
    size_t rows = 0, commands = 0;

    for (const struct command *const *table = cli_tables; *table; table++)
        for (const struct command *c = *table; c->name; c++) {
            char *word = str_fmt("`skupper %s", c->name);

            // The words of earlier releases are told, but not in the tables.
            if (!strstr(text, word))
                fail_msg("docs/cli.md does not tell of %s", c->name);
            free(word);
            if (c->is_hidden)
                continue;
            commands++;
            check_row(c, text);
        }
    for (const char *at = text; (at = strstr(at, "\n| `skupper ")) != NULL; at++)
        rows++;
    CHECK_EQ(rows, commands);
    free(text);
}

TEST_MAIN(CASE(each_command_has_a_row_and_each_row_a_command))
