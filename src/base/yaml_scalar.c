// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/yaml_inside.h"

// What a scalar without quotes is: the core schema of YAML 1.2 (10.3.2), and what older readers
// would make of it.

static bool is_one_of(struct str text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_is(text, words[i]))
            return true;
    return false;
}

#define IS_ONE_OF(text, words) is_one_of(text, words, sizeof(words) / sizeof((words)[0]))

// How many characters from `at` on are in `set`.
static size_t span(struct str text, size_t at, const char *set)
{
    size_t len = 0;

    while (at + len < text.len && text.ptr[at + len] != '\0' && strchr(set, text.ptr[at + len]))
        len++;
    return len;
}

static const char digits[] = "0123456789";

static size_t sign_len(struct str text)
{
    return text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
}

static bool is_all(struct str text, size_t at, const char *set)
{
    return at < text.len && span(text, at, set) == text.len - at;
}

static bool is_int(struct str text)
{
    if (str_starts(text, STR("0x")))
        return is_all(text, 2, "0123456789abcdefABCDEF");
    if (str_starts(text, STR("0o")))
        return is_all(text, 2, "01234567");
    return is_all(text, sign_len(text), digits);
}

static bool is_float(struct str text)
{
    static const char *const none[] = {".nan", ".NaN", ".NAN"};
    static const char *const infinite[] = {".inf", ".Inf", ".INF"};
    size_t at = sign_len(text), whole, part = 0;

    if (IS_ONE_OF(text, none) || IS_ONE_OF(str_skip(text, at), infinite))
        return true;
    whole = span(text, at, digits);
    at += whole;
    if (at < text.len && text.ptr[at] == '.') {
        part = span(text, at + 1, digits);
        at += 1 + part;
    }
    if (whole + part == 0)
        return false;
    if (at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
        at++;
        at += sign_len(str_skip(text, at));
        return is_all(text, at, digits);
    }
    return at == text.len;
}

enum yaml_scalar yaml_scalar_of(struct str text)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const bools[] = {"true", "True", "TRUE", "false", "False", "FALSE"};

    if (IS_ONE_OF(text, nulls))
        return SCALAR_NULL;
    if (IS_ONE_OF(text, bools))
        return SCALAR_BOOL;
    if (is_int(text))
        return SCALAR_INT;
    return is_float(text) ? SCALAR_FLOAT : SCALAR_TEXT;
}

bool yaml_read_int(struct str text, int64_t *out)
{
    bool is_hex = str_starts(text, STR("0x")), is_octal = str_starts(text, STR("0o"));
    char *copy = str_dup(str_skip(text, is_hex || is_octal ? 2 : 0));
    long long value;

    errno = 0;
    value = strtoll(copy, NULL, is_hex ? 16 : is_octal ? 8 : 10);
    free(copy);
    *out = value;
    return errno == 0;
}

bool yaml_read_real(struct str text, double *out)
{
    char *copy = str_dup(text);

    // Not the words that strtod knows: in YAML they begin with a dot.
    *out = strtod(copy, NULL);
    if (span(text, sign_len(text), "0123456789.") == 0 || strpbrk(copy, "nNfF"))
        *out = INFINITY;
    free(copy);
    return isfinite(*out);
}

// Numbers of YAML 1.1: with `_` between the digits, binary, to the base of 60.
static bool is_old_number(struct str text)
{
    size_t at = sign_len(text);
    char *bare = str_dup(text), *to = bare;
    bool found;

    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != '_')
            *to++ = text.ptr[i];
    *to = '\0';
    found = yaml_scalar_of((struct str){bare, (size_t)(to - bare)}) != SCALAR_TEXT;
    free(bare);
    return found || (str_starts(str_skip(text, at), STR("0b")) && is_all(text, at + 2, "01_")) ||
           (is_all(text, at, "0123456789_:.") && memchr(text.ptr, ':', text.len));
}

static bool is_time(struct str text)
{
    size_t year = span(text, 0, digits);

    return year == 4 && text.len > 5 && text.ptr[4] == '-' &&
           is_all(text, 5, "0123456789-:.tTzZ +");
}

bool yaml_looks_otherwise(struct str text)
{
    static const char *const old[] = {"y",  "Y",  "yes", "Yes", "YES", "n",   "N",   "no", "No",
                                      "NO", "on", "On",  "ON",  "off", "Off", "OFF", "=",  "<<"};

    return yaml_scalar_of(text) != SCALAR_TEXT || IS_ONE_OF(text, old) || is_old_number(text) ||
           is_time(text);
}
