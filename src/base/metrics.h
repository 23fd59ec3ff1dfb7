// SPDX-License-Identifier: Apache-2.0
// What programs count, as Prometheus reads it (text format 0.0.4).
#pragma once

#include <stddef.h>
#include <stdint.h>

// Each puts lines behind *text, the caller's (NULL at first).
// One without labels, with its type (gauge, counter) and what it means.
void metrics_put(char **text, const char *name, const char *type, const char *help, uint64_t value);
// Several of a name: the head, then each with its labels (`code="200"`).
void metrics_head(char **text, const char *name, const char *type, const char *help);
void metrics_line(char **text, const char *name, const char *labels, uint64_t value);

// How long things took, in seconds. A value: zeros are an empty one.
enum { METRICS_BOUNDS_MAX = 12 };
struct metrics_bounds {
    size_t count;
    const char *texts[METRICS_BOUNDS_MAX]; // "0.005"
    double at[METRICS_BOUNDS_MAX];
};
extern const struct metrics_bounds metrics_requests; // 5 ms to 10 s
extern const struct metrics_bounds metrics_work;     // 1 ns to 100 s
struct metrics_times {
    uint64_t counts[METRICS_BOUNDS_MAX + 1]; // each at its bound; the last: longer than all
    double sum;
};
void metrics_observe(struct metrics_times *t, const struct metrics_bounds *b, double seconds);
// The lines of one after metrics_head() of type histogram.
void metrics_times(char **text, const char *name, const char *labels, const struct metrics_times *t,
                   const struct metrics_bounds *b);

// This process: CPU, memory, descriptors, start; the names that every exporter has.
void metrics_process(char **text);
