// SPDX-License-Identifier: Apache-2.0
// Completion for shells: a script that knows the words of all commands and their flags.
#include <string.h>

#include "cli/inside.h"

static const char bash_head[] =
    "# bash completion for skupper\n"
    "_skupper_words() {\n"
    "    local words=\"${COMP_WORDS[*]:1:$((COMP_CWORD-1))}\" cur=\"${COMP_WORDS[COMP_CWORD]}\"\n"
    "    words=$(printf '%s' \"$words\" | sed -E 's/(^| )-[^ ]*//g; s/^ +//; s/ +$//')\n"
    "    case \"$words\" in\n";
static const char bash_tail[] = "    esac\n"
                                "}\n"
                                "complete -o default -F _skupper_words skupper\n";
static const char zsh_head[] = "#compdef skupper\n"
                               "autoload -U +X bashcompinit && bashcompinit\n";
// The first time zsh calls this text itself as a function, and wants its answer.
static const char zsh_tail[] = "if [ \"${funcstack[1]}\" = _skupper ]; then\n"
                               "    _bash_complete -o default -F _skupper_words\n"
                               "fi\n";

static void flags_of(FILE *out, const struct flag *flags, unsigned platform)
{
    for (; flags && flags->name; flags++)
        if (!flags->platforms || (flags->platforms & platform))
            fprintf(out, " --%s", flags->name);
}

// `  "site create"*) COMPREPLY=(…flags…);;`
static void bash_command(void *user, const struct command *command)
{
    struct cli *c = user;

    if (command->is_hidden)
        return;
    fprintf(c->out, "    '%s'|'%s '*)\n        COMPREPLY=($(compgen -W \"", command->name,
            command->name);
    flags_of(c->out, command->flags, ON_ALL);
    flags_of(c->out, cli_global_flags, ON_ALL);
    fprintf(c->out, "\" -- \"$cur\"));;\n");
}

struct words {
    FILE *out;
    const char *group; // its second words; "": all first words
    char last[64];     // told last
};

static void word(void *user, const struct command *command)
{
    struct words *w = user;
    size_t skip = strlen(w->group);
    struct str one;

    if (command->is_hidden ||
        (skip > 0 && (strncmp(command->name, w->group, skip) != 0 || command->name[skip] != ' ')))
        return;
    one.ptr = command->name + skip + (skip > 0);
    one.len = strcspn(one.ptr, " ");
    if (str_is(one, w->last))
        return;
    fprintf(w->out, " %.*s", STR_ARG(one));
    snprintf(w->last, sizeof(w->last), "%.*s", STR_ARG(one));
}

static void bash_group(void *user, const struct command *command)
{
    static char told[64];
    struct cli *c = user;
    char group[64];
    struct words words = {.out = c->out, .group = group};

    if (!strchr(command->name, ' '))
        return;
    snprintf(group, sizeof(group), "%.*s", (int)strcspn(command->name, " "), command->name);
    if (strcmp(group, told) == 0)
        return;
    snprintf(told, sizeof(told), "%s", group);
    fprintf(c->out, "    '%s')\n        COMPREPLY=($(compgen -W \"", group);
    cli_each_command(word, &words);
    fprintf(c->out, "\" -- \"$cur\"));;\n");
}

static void bash(struct cli *c)
{
    struct words words = {.out = c->out, .group = ""};

    fputs(bash_head, c->out);
    fprintf(c->out, "    '')\n        COMPREPLY=($(compgen -W \"");
    cli_each_command(word, &words);
    fprintf(c->out, "\" -- \"$cur\"));;\n");
    cli_each_command(bash_group, c);
    cli_each_command(bash_command, c);
    fputs(bash_tail, c->out);
}

static void fish_command(void *user, const struct command *command)
{
    struct cli *c = user;
    int first = (int)strcspn(command->name, " ");

    if (command->is_hidden)
        return;
    if (command->name[first])
        fprintf(c->out,
                "complete -c skupper -n '__fish_seen_subcommand_from %.*s' -f -a %s -d '%s'\n",
                first, command->name, command->name + first + 1, command->summary);
    fprintf(c->out, "complete -c skupper -n __fish_use_subcommand -f -a %.*s\n", first,
            command->name);
}

int cli_run_completion(struct cli *c)
{
    const char *shell = c->args[0];

    if (strcmp(shell, "bash") == 0) {
        bash(c);
    } else if (strcmp(shell, "zsh") == 0) {
        fputs(zsh_head, c->out);
        bash(c);
        fputs(zsh_tail, c->out);
    } else if (strcmp(shell, "fish") == 0) {
        cli_each_command(fish_command, c);
    } else {
        cli_problem(c, "there is no completion for \"%s\": use bash, zsh or fish", shell);
        return EXIT_INVALID;
    }
    return EXIT_OK;
}
