// SPDX-License-Identifier: Apache-2.0
// Manual pages in man(7) form: one for skupper and one for each command.
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inside.h"

const struct flag cli_man_flags[] = {
    {"output-directory", 0, FLAG_TEXT, "", "write the pages of all commands there", 0, NULL},
    {0},
};

// A hyphen is written so that it can be copied, a leading point so that it is no request.
static void text(FILE *out, const char *s)
{
    if (*s == '.' || *s == '\'')
        fputs("\\&", out);
    for (; *s; s++) {
        if (*s == '-' || *s == '\\')
            fputc('\\', out);
        fputc(*s, out);
    }
}

static void flags(FILE *out, const struct flag *f)
{
    for (; f && f->name; f++) {
        fprintf(out, ".TP\n\\fB");
        if (f->letter)
            fprintf(out, "\\-%c\\fR, \\fB", f->letter);
        text(out, "--");
        text(out, f->name);
        fprintf(out, "\\fR%s\n", f->kind == FLAG_BOOL ? "" : " \\fIvalue\\fR");
        text(out, f->help);
        if (f->choices) {
            fprintf(out, ": ");
            text(out, f->choices);
        }
        if (f->kind != FLAG_BOOL && f->initial[0]) {
            fprintf(out, " (default ");
            text(out, f->initial);
            fprintf(out, ")");
        }
        fputc('\n', out);
    }
}

static void entry(void *user, const struct command *command)
{
    FILE *out = user;

    if (command->is_hidden)
        return;
    fprintf(out, ".TP\n\\fB");
    text(out, command->name);
    fprintf(out, "\\fR\n");
    text(out, command->summary);
    fputc('\n', out);
}

// "skupper-site-create", the name of the page; the caller's.
static char *page_name(const struct command *command)
{
    char *name = str_fmt("skupper-%s", command->name);

    for (char *at = name; *at; at++)
        if (*at == ' ')
            *at = '-';
    return name;
}

static void page(FILE *out, const struct command *command)
{
    char *name = page_name(command);

    fprintf(out, ".TH ");
    for (const char *at = name; *at; at++)
        fputc(toupper(*at), out);
    fprintf(out, " 1 \"\" \"skupper %s\"\n.SH NAME\n", cli_version);
    text(out, name);
    free(name);
    fprintf(out, " \\- ");
    text(out, command->summary);
    fprintf(out, "\n.SH SYNOPSIS\n\\fBskupper ");
    text(out, command->name);
    fprintf(out, "\\fR ");
    text(out, command->args);
    fprintf(out, " [flags]\n");
    if (command->more) {
        fprintf(out, ".SH DESCRIPTION\n");
        text(out, command->more);
        fputc('\n', out);
    }
    fprintf(out, ".SH OPTIONS\n");
    flags(out, command->flags);
    flags(out, cli_global_flags);
    fprintf(out, ".SH EXIT STATUS\n0: done; 2: what was given is not valid; 1: anything else.\n");
}

struct wanted {
    struct cli *c;
    const char *name;
    bool is_found;
};

static void page_if(void *user, const struct command *command)
{
    struct wanted *w = user;

    if (strcmp(command->name, w->name) != 0)
        return;
    w->is_found = true;
    page(w->c->out, command);
}

static void first_page(FILE *out)
{
    fprintf(out,
            ".TH SKUPPER 1 \"\" \"skupper %s\"\n.SH NAME\nskupper \\- one network over "
            "sites in clusters and on hosts\n.SH SYNOPSIS\n\\fBskupper\\fR "
            "\\fIcommand\\fR [flags]\n.SH COMMANDS\n",
            cli_version);
    cli_each_command(entry, out);
    fprintf(out, ".SH OPTIONS\n");
    flags(out, cli_global_flags);
    fprintf(out, ".SH SEE ALSO\n\\fBskupper\\-\\fIcommand\\fR(1), \\fBskrouterd\\fR(8)\n");
}

struct directory {
    struct cli *c;
    const char *path;
    int status;
};

// One page as a file; `command` NULL: the first page.
static void write_page(struct directory *d, const struct command *command)
{
    char *name = command ? page_name(command) : str_dup(STR("skupper"));
    char *path = str_fmt("%s/%s.1", d->path, name);
    FILE *out = fopen(path, "we");

    if (out && command)
        page(out, command);
    else if (out)
        first_page(out);
    if (!out || fclose(out) != 0)
        d->status = cli_fail(d->c, "%s cannot be written: %s", path, strerror(errno));
    free(path);
    free(name);
}

static void write_each(void *user, const struct command *command)
{
    if (!command->is_hidden)
        write_page(user, command);
}

int cli_run_man(struct cli *c)
{
    char name[64] = "";
    struct wanted wanted = {.c = c, .name = name};
    struct directory to = {.c = c, .path = cli_text(c, "output-directory")};

    if (to.path[0]) {
        write_page(&to, NULL);
        cli_each_command(write_each, &to);
        return to.status;
    }
    if (c->arg_count == 0) {
        first_page(c->out);
        return EXIT_OK;
    }
    for (int i = 0; i < c->arg_count; i++)
        snprintf(name + strlen(name), sizeof(name) - strlen(name), "%s%s", i ? " " : "",
                 c->args[i]);
    cli_each_command(page_if, &wanted);
    if (wanted.is_found)
        return EXIT_OK;
    cli_problem(c, "there is no command \"%s\"; \"skupper --help\" lists them", name);
    return EXIT_INVALID;
}
