// SPDX-License-Identifier: Apache-2.0
#include "node/cpus.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

int cpus_of_quota(const char *cpu_max)
{
    long quota, period;

    if (sscanf(cpu_max, "%ld %ld", &quota, &period) != 2 || quota <= 0 || period <= 0)
        return 0;
    return (int)((quota + period - 1) / period);
}

static int read_line(const char *path, char *out, int size)
{
    FILE *f = fopen(path, "re");
    char *got = f ? fgets(out, size, f) : NULL;

    if (f)
        fclose(f);
    if (got)
        got[strcspn(got, "\n")] = '\0';
    return got != NULL;
}

// Inside a container the group's files stand at the top; outside, where /proc says (version 2).
static int quota_cpus(void)
{
    char group[1024], path[1100], line[64];

    if (read_line("/sys/fs/cgroup/cpu.max", line, sizeof(line)))
        return cpus_of_quota(line);
    if (!read_line("/proc/self/cgroup", group, sizeof(group)) || strncmp(group, "0::/", 4) != 0)
        return 0;
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", group + 3);
    return read_line(path, line, sizeof(line)) ? cpus_of_quota(line) : 0;
}

int cpus_usable(void)
{
    cpu_set_t set;
    int count = 1, quota = quota_cpus();

    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        count = CPU_COUNT(&set);
    return quota > 0 && quota < count ? quota : count;
}
