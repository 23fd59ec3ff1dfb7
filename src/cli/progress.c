// SPDX-License-Identifier: Apache-2.0
// What is shown while a command waits: one line, which on a terminal tells how long it has been and
// what is missing.
#include <string.h>
#include <unistd.h>

#include "cli/inside.h"

enum { TICK_MS = 250, WIDTH = 79 };

void progress_begin(struct progress *p, FILE *out, const char *words)
{
    *p = (struct progress){
        .out = out, .words = words, .begun = mono_now(), .is_terminal = isatty(fileno(out)) == 1};
    p->next = p->words && p->is_terminal ? p->begun : MONO_NEVER;
    if (words && !p->is_terminal) {
        fprintf(out, "%s\n", words);
        fflush(out);
    }
}

void progress_tick(struct progress *p, struct mono now, const char *missing)
{
    char line[WIDTH + 1];

    if (mono_before(now, p->next))
        return;
    p->next = mono_add_ms(now, TICK_MS);
    snprintf(line, sizeof(line), "%s %d s%s%s", p->words,
             (int)(mono_ms_between(p->begun, now) / 1000), missing[0] ? ": " : "", missing);
    line[strcspn(line, "\r\n")] = '\0';
    fprintf(p->out, "\r\033[K%s", line);
    fflush(p->out);
}

void progress_end(struct progress *p)
{
    if (p->words && p->is_terminal)
        fprintf(p->out, "\r\033[K%s\n", p->words);
}
