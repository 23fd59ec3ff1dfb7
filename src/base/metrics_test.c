// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <time.h>

#include "base/metrics.h"
#include "check.h"

TEST(lines_are_what_prometheus_reads)
{
    char *text = NULL;

    metrics_put(&text, "a_total", "counter", "of a kind", 7);
    metrics_head(&text, "b", "gauge", "of another");
    metrics_line(&text, "b", "of=\"x\"", 1);
    metrics_line(&text, "b", "of=\"y\"", 0);
    CHECK_STR(str_of(text), "# HELP a_total of a kind\n# TYPE a_total counter\na_total 7\n"
                            "# HELP b of another\n# TYPE b gauge\nb{of=\"x\"} 1\nb{of=\"y\"} 0\n");
    free(text);
}

TEST(times_are_counted_below_each_bound)
{
    struct metrics_times t = {0};
    char *text = NULL;

    metrics_observe(&t, &metrics_requests, 0.004);
    metrics_observe(&t, &metrics_requests, 0.25);
    metrics_observe(&t, &metrics_requests, 0.2501);
    metrics_observe(&t, &metrics_requests, 60);
    metrics_times(&text, "x", "k=\"v\"", &t, &metrics_requests);
    CHECK(strstr(text, "x_bucket{k=\"v\",le=\"0.005\"} 1\n"));
    CHECK(strstr(text, "x_bucket{k=\"v\",le=\"0.1\"} 1\n"));
    CHECK(strstr(text, "x_bucket{k=\"v\",le=\"0.25\"} 2\n"));
    CHECK(strstr(text, "x_bucket{k=\"v\",le=\"10\"} 3\n"));
    CHECK(strstr(text, "x_bucket{k=\"v\",le=\"+Inf\"} 4\n"));
    CHECK(strstr(text, "x_sum{k=\"v\"} 60.5041\nx_count{k=\"v\"} 4\n"));
    free(text);
}

static double value_of(const char *text, const char *name)
{
    char *line = str_fmt("\n%s ", name);
    const char *at = strstr(text, line);
    double value = at ? strtod(at + strlen(line), NULL) : -1;

    free(line);
    return value;
}

TEST(a_process_tells_what_every_exporter_does)
{
    char *text = NULL;
    double start;

    metrics_process(&text);
    CHECK(value_of(text, "process_cpu_seconds_total") >= 0);
    CHECK(value_of(text, "process_open_fds") >= 3);
    CHECK(value_of(text, "process_max_fds") >= value_of(text, "process_open_fds"));
    CHECK(value_of(text, "process_resident_memory_bytes") > 100000);
    CHECK(value_of(text, "process_virtual_memory_bytes") >
          value_of(text, "process_resident_memory_bytes"));
    start = value_of(text, "process_start_time_seconds");
    CHECK(start > (double)time(NULL) - 3600 && start <= (double)time(NULL) + 2);
    free(text);
}

TEST_MAIN(CASE(lines_are_what_prometheus_reads), CASE(times_are_counted_below_each_bound),
          CASE(a_process_tells_what_every_exporter_does))
