// SPDX-License-Identifier: Apache-2.0
#include "base/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

const struct metrics_bounds metrics_requests = {
    11,
    {"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10"},
    {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}};
const struct metrics_bounds metrics_work = {
    12,
    {"1e-09", "1e-08", "1e-07", "1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1", "1", "10",
     "100"},
    {1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100}};

static void append(char **text, char *take_more)
{
    char *all = str_fmt("%s%s", *text ? *text : "", take_more);

    free(*text);
    free(take_more);
    *text = all;
}

void metrics_head(char **text, const char *name, const char *type, const char *help)
{
    append(text, str_fmt("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type));
}

void metrics_line(char **text, const char *name, const char *labels, uint64_t value)
{
    append(text, str_fmt("%s{%s} %llu\n", name, labels, (unsigned long long)value));
}

void metrics_put(char **text, const char *name, const char *type, const char *help, uint64_t value)
{
    metrics_head(text, name, type, help);
    append(text, str_fmt("%s %llu\n", name, (unsigned long long)value));
}

static void put_seconds(char **text, const char *name, const char *type, const char *help,
                        double value)
{
    metrics_head(text, name, type, help);
    append(text, str_fmt("%s %.2f\n", name, value));
}

// ------------------------------------------------------------------------------------------ times

void metrics_observe(struct metrics_times *t, const struct metrics_bounds *b, double seconds)
{
    size_t i = 0;

    while (i < b->count && seconds > b->at[i])
        i++;
    t->counts[i == b->count ? METRICS_BOUNDS_MAX : i]++;
    t->sum += seconds;
}

void metrics_times(char **text, const char *name, const char *labels, const struct metrics_times *t,
                   const struct metrics_bounds *b)
{
    const char *comma = labels[0] ? "," : "";
    uint64_t below = 0;

    for (size_t i = 0; i < b->count; i++) {
        below += t->counts[i];
        append(text, str_fmt("%s_bucket{%s%sle=\"%s\"} %llu\n", name, labels, comma, b->texts[i],
                             (unsigned long long)below));
    }
    below += t->counts[METRICS_BOUNDS_MAX];
    append(text, str_fmt("%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma,
                         (unsigned long long)below));
    append(text, str_fmt("%s_sum{%s} %.9g\n%s_count{%s} %llu\n", name, labels, t->sum, name, labels,
                         (unsigned long long)below));
}

// ---------------------------------------------------------------------------------------- process

static uint64_t count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t count = 0;

    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count > 3 ? count - 3 : 0; // ".", "..", and the one that was read
}

// Fields of /proc/self/stat behind the name, which may have blanks: the first is the third. False:
// there is none.
static int read_stat(unsigned long long *start_ticks, unsigned long long *virtual_bytes)
{
    char line[1024];
    FILE *f = fopen("/proc/self/stat", "r");
    size_t len = f ? fread(line, 1, sizeof(line) - 1, f) : 0;
    const char *at;

    if (f)
        fclose(f);
    line[len] = '\0';
    at = strrchr(line, ')');
    return at && sscanf(at,
                        ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d"
                        " %*d %*d %llu %llu",
                        start_ticks, virtual_bytes) == 2;
}

// In seconds since the epoch.
static double started_at(unsigned long long ticks)
{
    struct timespec now, up;

    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    return (double)(now.tv_sec - up.tv_sec) + (double)(now.tv_nsec - up.tv_nsec) / 1e9 +
           (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void metrics_process(char **text)
{
    unsigned long long start = 0, virtual = 0;
    struct rusage used = {0};
    struct rlimit files = {0};

    getrusage(RUSAGE_SELF, &used);
    getrlimit(RLIMIT_NOFILE, &files);
    put_seconds(text, "process_cpu_seconds_total", "counter", "CPU time of user and system",
                (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                    (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    metrics_put(text, "process_open_fds", "gauge", "open descriptors", count_descriptors());
    metrics_put(text, "process_max_fds", "gauge", "how many there may be", files.rlim_cur);
    metrics_put(text, "process_resident_memory_bytes", "gauge", "memory in use",
                mem_resident_bytes());
    if (!read_stat(&start, &virtual))
        return;
    metrics_put(text, "process_virtual_memory_bytes", "gauge", "address space in use", virtual);
    put_seconds(text, "process_start_time_seconds", "gauge", "start, in seconds since the epoch",
                started_at(start));
}
