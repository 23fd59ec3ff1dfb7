// SPDX-License-Identifier: Apache-2.0
// How many CPUs this process may use. Inside the folder node only.
#pragma once

// From the scheduler's mask and the quota of the control group, rounded up; at least 1.
int cpus_usable(void);
// The CPUs of a quota as cpu.max of a control group says it: "200000 100000" is 2, "max 100000" no
// limit (0), what cannot be read neither.
int cpus_of_quota(const char *cpu_max);
