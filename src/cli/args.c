// SPDX-License-Identifier: Apache-2.0
// Flags and arguments, in any order: "--name value", "--name=value", "-n value", "-n=value",
// "-nvalue", and for those that are yes or no just "--name". "--" ends the flags.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/inside.h"
#include "site/site.h"

const struct flag cli_global_flags[] = {
    {"platform", 'p', FLAG_TEXT, "", "where the site runs: kubernetes, podman, docker, linux", 0,
     NULL},
    {"namespace", 'n', FLAG_TEXT, "", "the namespace of the site", 0, NULL},
    {"context", 'c', FLAG_TEXT, "", "the kubeconfig context to use", ON_KUBERNETES, NULL},
    {"kubeconfig", 0, FLAG_TEXT, "", "path of the kubeconfig file", ON_KUBERNETES, NULL},
    {"help", 'h', FLAG_BOOL, "false", "this text", 0, NULL},
    {0},
};

static void add_flags(struct cli *c, const struct flag *flags)
{
    for (; flags && flags->name; flags++) {
        if (flags->platforms && !(flags->platforms & c->platform))
            continue;
        assert(c->flag_count < FLAGS_MAX);
        c->flags[c->flag_count++] = flags;
    }
}

static int find_long(const struct cli *c, struct str name)
{
    for (int i = 0; i < c->flag_count; i++)
        if (str_is(name, c->flags[i]->name))
            return i;
    return -1;
}

static int find_letter(const struct cli *c, char letter)
{
    for (int i = 0; i < c->flag_count; i++)
        if (c->flags[i]->letter == letter)
            return i;
    return -1;
}

static int index_of(const struct cli *c, const char *flag)
{
    int at = find_long(c, str_of(flag));

    assert(at >= 0);
    return at;
}

// A flag that another platform has: not known here, and the words say where it is.
static int unknown(const struct cli *c, const char *text, struct why *why)
{
    struct str name = {text + 2, strcspn(text + 2, "=")};

    for (const struct flag *f = c->command->flags; text[1] == '-' && f && f->name; f++)
        if (str_is(name, f->name)) {
            why_set(why, "unknown flag: --%s (not on the platform %s)", f->name,
                    cli_platform_name(c->platform));
            return ERR_INVALID;
        }
    if (text[1] == '-')
        why_set(why, "unknown flag: --%.*s", STR_ARG(name));
    else
        why_set(why, "unknown shorthand flag: '%c' in %s", text[1], text);
    return ERR_INVALID;
}

bool cli_parse_duration(const char *text, int64_t *ms)
{
    int64_t ns;

    if (!site_duration(str_of(text), &ns) || ns < 0)
        return false;
    *ms = ns / 1000000;
    return true;
}

static bool is_bool(const char *value)
{
    return strcmp(value, "true") == 0 || strcmp(value, "false") == 0 || strcmp(value, "1") == 0 ||
           strcmp(value, "0") == 0 || strcmp(value, "t") == 0 || strcmp(value, "f") == 0;
}

static bool is_number(const char *value)
{
    char *end;

    errno = 0;
    long n = strtol(value, &end, 10);

    (void)n;
    return errno == 0 && end != value && *end == '\0';
}

static bool is_choice(const char *choices, const char *value)
{
    size_t len = strlen(value);

    for (const char *at = choices; *at; at += strcspn(at, "|"), at += *at == '|')
        if (strcspn(at, "|") == len && strncmp(at, value, len) == 0)
            return true;
    return false;
}

static int check(const struct flag *f, const char *value, struct why *why)
{
    int64_t ms;

    if ((f->kind == FLAG_BOOL && !is_bool(value)) ||
        (f->kind == FLAG_NUMBER && !is_number(value)) ||
        (f->kind == FLAG_DURATION && !cli_parse_duration(value, &ms))) {
        static const char *const wanted[] = {"a text", "true or false", "a number",
                                             "a time span such as 30s or 2m"};

        why_set(why, "invalid argument \"%s\" for \"--%s\" flag: it takes %s", value, f->name,
                wanted[f->kind]);
        return ERR_INVALID;
    }
    return 0;
}

// Sets flag `at`; `value` NULL: the next word is taken. Returns the words used up, or an error.
static int set(struct cli *c, int at, const char *value, const char *next, const char *text,
               struct why *why)
{
    int used = 1, err;

    if (!value && c->flags[at]->kind == FLAG_BOOL)
        value = "true";
    if (!value) {
        if (!next) {
            why_set(why, "flag needs an argument: %s", text);
            return ERR_INVALID;
        }
        value = next;
        used = 2;
    }
    err = check(c->flags[at], value, why);
    if (err < 0)
        return err;
    c->values[at] = value;
    return used;
}

// The name behind two dashes, or behind one where that will do; NULL: it is a letter.
static const char *long_name(const struct cli *c, const char *text)
{
    if (text[1] == '-')
        return text + 2;
    return c->command->takes_one_dash &&
                   find_long(c, (struct str){text + 1, strcspn(text + 1, "=")}) >= 0
               ? text + 1
               : NULL;
}

static int parse_flag(struct cli *c, const char *text, const char *next, struct why *why)
{
    const char *equals = strchr(text, '='), *name = long_name(c, text);
    int at;

    if (name) {
        at = find_long(c, (struct str){name, strcspn(name, "=")});
        if (at < 0)
            return unknown(c, text, why);
        return set(c, at, equals ? equals + 1 : NULL, next, text, why);
    }
    at = find_letter(c, text[1]);
    if (at < 0)
        return unknown(c, text, why);
    if (text[2] == '\0')
        return set(c, at, NULL, next, text, why);
    return set(c, at, text + 2 + (text[2] == '='), next, text, why);
}

int cli_parse(struct cli *c, int argc, char **argv, struct why *why)
{
    bool is_over = false;

    add_flags(c, cli_global_flags);
    add_flags(c, c->command->flags);
    for (int i = 0; i < argc;) {
        int used = 1;

        if (!is_over && strcmp(argv[i], "--") == 0) {
            is_over = true;
        } else if (!is_over && argv[i][0] == '-' && argv[i][1] != '\0') {
            used = parse_flag(c, argv[i], i + 1 < argc ? argv[i + 1] : NULL, why);
            if (used < 0)
                return used;
        } else if (c->arg_count < ARGS_MAX) {
            c->args[c->arg_count++] = argv[i];
        } else {
            why_set(why, "there are more than %d arguments", ARGS_MAX);
            return ERR_LIMIT;
        }
        i += used;
    }
    return 0;
}

void cli_check_choices(struct cli *c)
{
    for (int i = 0; i < c->flag_count; i++) {
        const struct flag *f = c->flags[i];

        if (c->values[i] && f->choices && !is_choice(f->choices, c->values[i]))
            cli_problem(c, "%s is not valid: \"%s\" is not %s%s", f->name, c->values[i],
                        strchr(f->choices, '|') ? "one of " : "", f->choices);
    }
}

const char *cli_text(const struct cli *c, const char *flag)
{
    int at = index_of(c, flag);

    return c->values[at] ? c->values[at] : c->flags[at]->initial;
}

bool cli_bool(const struct cli *c, const char *flag)
{
    const char *value = cli_text(c, flag);

    return value[0] == 't' || value[0] == '1';
}

long cli_number(const struct cli *c, const char *flag)
{
    return strtol(cli_text(c, flag), NULL, 10);
}

int64_t cli_duration_ms(const struct cli *c, const char *flag)
{
    int64_t ms = 0;
    bool ok = cli_parse_duration(cli_text(c, flag), &ms);

    assert(ok);
    return ms;
}

bool cli_has_flag(const struct cli *c, const char *flag)
{
    return find_long(c, str_of(flag)) >= 0;
}

bool cli_is_given(const struct cli *c, const char *flag)
{
    return c->values[index_of(c, flag)] != NULL;
}

const char *cli_namespace(const struct cli *c)
{
    const char *given = cli_text(c, "namespace");

    return given[0] ? given : "default";
}
