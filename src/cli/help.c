// SPDX-License-Identifier: Apache-2.0
// Help, shell completion and man pages, all from the table of commands.
#include <string.h>

#include "cli/inside.h"

void cli_each_command(void (*each)(void *user, const struct command *c), void *user)
{
    for (const struct command *const *table = cli_tables; *table; table++)
        for (const struct command *c = *table; c->name; c++)
            each(user, c);
}

static void print_flags(FILE *out, const struct flag *flags, unsigned platform)
{
    for (; flags && flags->name; flags++) {
        char left[64], letter[8] = "    ";
        bool has_initial = flags->kind != FLAG_BOOL && flags->initial[0];

        if (flags->platforms && !(flags->platforms & platform))
            continue;
        if (flags->letter)
            snprintf(letter, sizeof(letter), "-%c, ", flags->letter);
        snprintf(left, sizeof(left), "%s--%s%s", letter, flags->name,
                 flags->kind == FLAG_BOOL ? ""
                 : flags->choices         ? ""
                                          : " <value>");
        fprintf(out, "  %-32s %s", left, flags->help);
        if (flags->choices)
            fprintf(out, ": %s", flags->choices);
        fprintf(out, has_initial ? " (default %s)\n" : "\n", flags->initial);
    }
}

static bool has_flags(const struct flag *flags, unsigned platform)
{
    for (; flags && flags->name; flags++)
        if (!flags->platforms || (flags->platforms & platform))
            return true;
    return false;
}

void cli_usage(FILE *out, const struct command *c, enum platform platform)
{
    fprintf(out, "Usage:\n  skupper %s%s%s [flags]\n", c->name, c->args[0] ? " " : "", c->args);
    if (has_flags(c->flags, platform)) {
        fprintf(out, "\nFlags:\n");
        print_flags(out, c->flags, platform);
    }
    fprintf(out, "\nGlobal flags:\n");
    print_flags(out, cli_global_flags, platform);
}

// Is `name` the command `words`, or one of its group?
static bool is_in(const char *name, const char *words)
{
    size_t len = strlen(words);

    return len == 0 || (strncmp(name, words, len) == 0 && (name[len] == ' ' || name[len] == '\0'));
}

struct listing {
    FILE *out;
    const char *words;
    enum platform platform;
};

static void list_one(void *user, const struct command *c)
{
    const struct listing *l = user;

    if (c->is_hidden || !is_in(c->name, l->words) ||
        (c->platforms && !((c->platforms | c->later) & l->platform)))
        return;
    fprintf(l->out, "  %-26s %s%s\n", c->name, c->summary,
            c->later & l->platform ? " (not built yet)" : "");
}

void cli_help(FILE *out, const char *words, enum platform platform)
{
    struct listing listing = {out, words, platform};

    for (const struct command *const *table = cli_tables; *table; table++)
        for (const struct command *c = *table; c->name; c++)
            if (words[0] && strcmp(c->name, words) == 0) {
                fprintf(out, "%s\n\n", c->summary);
                if (c->more)
                    fprintf(out, "%s\n\n", c->more);
                cli_usage(out, c, platform);
                return;
            }
    if (!words[0])
        fprintf(out, "Services of any place, by name, in every other: one network over sites in "
                     "clusters and on hosts.\n\n");
    fprintf(out, "Usage:\n  skupper %s%s<command> [flags]\n\nCommands (platform %s):\n", words,
            words[0] ? " " : "", cli_platform_name(platform));
    cli_each_command(list_one, &listing);
    fprintf(out, "\nGlobal flags:\n");
    print_flags(out, cli_global_flags, platform);
    fprintf(out, "\n\"skupper <command> --help\" tells more.\n");
}
