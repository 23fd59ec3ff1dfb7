// SPDX-License-Identifier: Apache-2.0
// What a command says: lines and tables for people.
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/yaml.h"
#include "cli/inside.h"

void cli_say(struct cli *c, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vfprintf(c->out, fmt, args);
    va_end(args);
    fputc('\n', c->out);
}

void cli_problem(struct cli *c, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vfprintf(c->out, fmt, args);
    va_end(args);
    fputc('\n', c->out);
    c->problem_count++;
}

int cli_fail(struct cli *c, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vfprintf(c->out, fmt, args);
    va_end(args);
    fputc('\n', c->out);
    return EXIT_FAILED;
}

// Cuts `line` at its tabs into one more row; takes the memory.
static void add_row(struct table *t, char *line)
{
    size_t first = (size_t)t->row_count * (size_t)t->columns;
    char *at = line;

    t->cells = xrealloc(t->cells, first + (size_t)t->columns, sizeof(*t->cells));
    for (int i = 0; i < t->columns; i++) {
        size_t len = at ? strcspn(at, "\t") : 0;
        bool is_last = !at || at[len] == '\0';

        t->cells[first + (size_t)i] = str_dup((struct str){at ? at : "", len});
        at = is_last ? NULL : at + len + 1;
    }
    t->row_count++;
    free(line);
}

void table_init(struct table *t, const char *head)
{
    *t = (struct table){.columns = 1};
    for (const char *at = head; *at; at++)
        t->columns += *at == '\t';
    add_row(t, xstrdup(head));
}

void table_row(struct table *t, const char *fmt, ...)
{
    char *line = NULL;
    va_list args;

    va_start(args, fmt);
    if (vasprintf(&line, fmt, args) < 0)
        abort();
    va_end(args);
    // A line end in a message would tear the table.
    for (char *at = line; (at = strchr(at, '\n')) != NULL;)
        *at = ' ';
    add_row(t, line);
}

static int width_of(const struct table *t, int column)
{
    int width = 0;

    for (int row = 0; row < t->row_count; row++) {
        int len = (int)strlen(t->cells[row * t->columns + column]);

        if (len > width)
            width = len;
    }
    return width;
}

void table_print(struct table *t, FILE *out)
{
    int *widths = xcalloc((size_t)t->columns, sizeof(*widths));

    for (int i = 0; i < t->columns; i++)
        widths[i] = width_of(t, i);
    for (int row = 0; row < t->row_count; row++) {
        for (int i = 0; i < t->columns; i++) {
            const char *cell = t->cells[row * t->columns + i];

            if (i + 1 < t->columns)
                fprintf(out, "%-*s  ", widths[i], cell);
            else
                fprintf(out, "%s\n", cell);
        }
    }
    free(widths);
    table_free(t);
}

void table_free(struct table *t)
{
    for (int i = 0; i < t->columns * t->row_count; i++)
        free(t->cells[i]);
    free(t->cells);
    *t = (struct table){0};
}

void cli_print_whole(struct cli *c, const json_t *value, const char *form)
{
    char *text = yaml_write(value, strcmp(form, "json") == 0 ? YAML_JSON : YAML_BLOCK);

    fputs(text, c->out);
    free(text);
}

void cli_print(struct cli *c, const json_t *value, const char *form)
{
    json_t *pruned = yaml_pruned(value);

    cli_print_whole(c, pruned, form);
    json_decref(pruned);
}

void cli_print_list(struct cli *c, const json_t *list, const char *form)
{
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)list, i, one)
    {
        if (i > 0)
            fputc('\n', c->out);
        cli_print(c, one, form);
    }
}
