// SPDX-License-Identifier: Apache-2.0
#include "mgmt/words.h"

#include <ctype.h>
#include <stdint.h>

enum { WORD_MAX = 40 };

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

// How many letters must be put in, left out, changed or swapped with the next to make one word of
// the other.
static int distance(struct str a, struct str b)
{
    int rows[3][WORD_MAX + 1];
    int *before = rows[0], *last = rows[1], *row = rows[2];

    for (size_t j = 0; j <= b.len; j++)
        last[j] = (int)j;
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = (int)i;
        for (size_t j = 1; j <= b.len; j++) {
            int changed = last[j - 1] + !same_letter(a.ptr[i - 1], b.ptr[j - 1]);

            row[j] = least(changed, least(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && same_letter(a.ptr[i - 1], b.ptr[j - 2]) &&
                same_letter(a.ptr[i - 2], b.ptr[j - 1]))
                row[j] = least(row[j], before[j - 2] + 1);
        }

        int *oldest = before;

        before = last;
        last = row;
        row = oldest;
    }
    return last[b.len];
}

static bool is_part(struct str a, struct str b)
{
    enum { TELLING = 2 };

    return a.len >= TELLING && b.len >= TELLING && (str_starts(a, b) || str_starts(b, a));
}

void nearest_offer(struct nearest *n, const char *candidate)
{
    struct str c = str_of(candidate);
    int near = 1 + (int)n->word.len / 4, d;

    if (n->word.len == 0 || n->word.len > WORD_MAX || c.len > WORD_MAX)
        return;
    d = distance(n->word, c);
    if (d > near) {
        if (!is_part(n->word, c))
            return;
        d = near + d;
    }
    if (!n->best || d < n->distance) {
        n->best = candidate;
        n->distance = d;
    }
}

// The length of the character at `at`, 0 when there is none (RFC 3629: shortest forms, no
// surrogates).
static size_t character_len(const uint8_t *at, size_t left)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

    if ((at[0] >= 0x80 && at[0] < 0xc2) || at[0] > 0xf4 || len > left)
        return 0;
    if (at[0] == 0xe0)
        low = 0xa0;
    if (at[0] == 0xed)
        high = 0x9f;
    if (at[0] == 0xf0)
        low = 0x90;
    if (at[0] == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < len; i++) {
        if (at[i] < (i == 1 ? low : 0x80) || at[i] > (i == 1 ? high : 0xbf))
            return 0;
    }
    return len;
}

size_t utf8_valid_len(struct str text)
{
    const uint8_t *at = (const uint8_t *)text.ptr;
    size_t done = 0;

    while (done < text.len) {
        size_t len = character_len(at + done, text.len - done);

        if (len == 0)
            break;
        done += len;
    }
    return done;
}

void utf8_clean(char *text)
{
    size_t len = strlen(text), good;

    while ((good = utf8_valid_len((struct str){text, len})) < len) {
        text[good] = '?';
        text += good + 1;
        len -= good + 1;
    }
}
