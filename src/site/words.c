// SPDX-License-Identifier: Apache-2.0
// Names, hosts, numbers, durations and times, as people write them.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "site/site.h"

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z');
}

// Labels of lower-case letters, digits and inner dashes, separated by dots.
static bool are_labels(struct str text, bool allow_dots)
{
    if (text.len == 0 || text.len > SITE_NAME_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        char before = i > 0 ? text.ptr[i - 1] : '.';
        char after = i + 1 < text.len ? text.ptr[i + 1] : '.';

        if (is_lower(c) || is_digit(c))
            continue;
        if (c == '-' && before != '.' && after != '.')
            continue;
        if (c == '.' && allow_dots && i > 0 && i + 1 < text.len && before != '.')
            continue;
        return false;
    }
    return true;
}

bool site_is_name(struct str text)
{
    return are_labels(text, true);
}

bool site_is_namespace(struct str text)
{
    return text.len <= 63 && are_labels(text, false);
}

bool site_is_ip(struct str text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr out;

    if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.ptr, '\0', text.len))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return inet_pton(AF_INET, copy, &out) == 1 || inet_pton(AF_INET6, copy, &out) == 1;
}

// Runs of letters and digits with one dash or dot between two; dashes may repeat, as they do in
// encoded international names.
static bool is_host_name(struct str text)
{
    if (text.len == 0 || text.len > SITE_NAME_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_inner = i > 0 && i + 1 < text.len;

        if (is_alnum(c))
            continue;
        if (!is_inner || (c != '-' && c != '.'))
            return false;
        if (c == '.' && !is_alnum(text.ptr[i - 1]))
            return false;
        if (text.ptr[i - 1] == '.')
            return false;
    }
    return true;
}

bool site_is_host(struct str text)
{
    return site_is_ip(text) || is_host_name(text);
}

static bool is_made_of(struct str text, const char *others)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_alnum(text.ptr[i]) && !(text.ptr[i] && strchr(others, text.ptr[i])))
            return false;
    }
    return text.len > 0;
}

bool site_is_path(struct str text)
{
    return is_made_of(text, "./~-_");
}

bool site_number(struct str text, int64_t min, int64_t max, int64_t *out)
{
    int64_t value = 0;

    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i]) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.ptr[i] - '0', &value))
            return false;
    }
    if (value < min || value > max)
        return false;
    *out = value;
    return true;
}

// ------------------------------------------------------------------------------------- durations

static const struct {
    const char *name;
    int64_t ns;
} units[] = {{"ns", 1},       {"us", 1000},      {"\xc2\xb5s", 1000}, {"\xce\xbcs", 1000},
             {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000}};

// The unit at the front, taken off; 0 when there is none.
static int64_t take_unit(struct str *text)
{
    size_t best = 0, best_len = 0;

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        struct str name = str_of(units[i].name);

        if (name.len > best_len && str_starts(*text, name)) {
            best = i;
            best_len = name.len;
        }
    }
    if (best_len == 0)
        return 0;
    *text = str_skip(*text, best_len);
    return units[best].ns;
}

static struct str take_digits(struct str *text)
{
    struct str digits = {text->ptr, 0};

    while (digits.len < text->len && is_digit(text->ptr[digits.len]))
        digits.len++;
    *text = str_skip(*text, digits.len);
    return digits;
}

// One number with its unit, added to *sum.
static bool take_part(struct str *text, int64_t *sum)
{
    struct str whole = take_digits(text), rest = {NULL, 0};
    int64_t value = 0, unit;
    double fraction = 0, scale = 1;

    if (text->len > 0 && text->ptr[0] == '.') {
        *text = str_skip(*text, 1);
        rest = take_digits(text);
    }
    if ((whole.len == 0 && rest.len == 0) ||
        (whole.len > 0 && !site_number(whole, 0, INT64_MAX, &value)))
        return false;
    for (size_t i = 0; i < rest.len && i < 18; i++) {
        scale /= 10;
        fraction += scale * (rest.ptr[i] - '0');
    }
    unit = take_unit(text);
    return unit > 0 && !__builtin_mul_overflow(value, unit, &value) &&
           !__builtin_add_overflow(*sum, value, sum) &&
           !__builtin_add_overflow(*sum, (int64_t)(fraction * (double)unit + 0.5), sum);
}

bool site_duration(struct str text, int64_t *ns)
{
    int64_t sum = 0;
    bool is_negative = text.len > 0 && text.ptr[0] == '-';

    if (text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+'))
        text = str_skip(text, 1);
    if (!str_is(text, "0")) {
        if (text.len == 0)
            return false;
        while (text.len > 0) {
            if (!take_part(&text, &sum))
                return false;
        }
    }
    *ns = is_negative ? -sum : sum;
    return true;
}

void site_duration_text(int64_t ns, char out[SITE_DURATION_MAX])
{
    const char *sign = ns < 0 ? "-" : "";
    uint64_t all = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    uint64_t hours = all / 3600000000000u, minutes = all / 60000000000u % 60;
    double seconds = (double)(all % 60000000000u) / 1e9;

    if (all == 0)
        snprintf(out, SITE_DURATION_MAX, "0s");
    else if (all < 1000)
        snprintf(out, SITE_DURATION_MAX, "%s%uns", sign, (unsigned)all);
    else if (all < 1000000)
        snprintf(out, SITE_DURATION_MAX, "%s%.6gus", sign, (double)all / 1e3);
    else if (all < 1000000000)
        snprintf(out, SITE_DURATION_MAX, "%s%.9gms", sign, (double)all / 1e6);
    else if (hours > 0)
        snprintf(out, SITE_DURATION_MAX, "%s%lluh%llum%.11gs", sign, (unsigned long long)hours,
                 (unsigned long long)minutes, seconds);
    else if (minutes > 0)
        snprintf(out, SITE_DURATION_MAX, "%s%llum%.11gs", sign, (unsigned long long)minutes,
                 seconds);
    else
        snprintf(out, SITE_DURATION_MAX, "%s%.11gs", sign, seconds);
}

// ------------------------------------------------------------------------------------------ times

void site_time_text(int64_t seconds, char out[SITE_TIME_MAX])
{
    time_t t = seconds;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(out, SITE_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, SITE_TIME_MAX, "1970-01-01T00:00:00Z");
}

bool site_time(struct str text, int64_t *seconds)
{
    struct tm tm = {0};
    char copy[64];
    const char *at;
    int hours = 0, minutes = 0, used = 0;
    char sign;

    if (text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.len > 0 ? text.ptr : "", text.len);
    copy[text.len] = '\0';
    at = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!at)
        return false;
    if (*at == '.')
        at += 1 + strspn(at + 1, "0123456789");
    *seconds = timegm(&tm);
    if (strcmp(at, "Z") == 0 || strcmp(at, "z") == 0)
        return true;
    if (sscanf(at, "%c%2d:%2d%n", &sign, &hours, &minutes, &used) != 3 || at[used] != '\0' ||
        (sign != '+' && sign != '-'))
        return false;
    *seconds -= (sign == '+' ? 1 : -1) * (INT64_C(3600) * hours + INT64_C(60) * minutes);
    return true;
}
