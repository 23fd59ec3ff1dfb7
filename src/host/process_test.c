// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "host/host.h"

static char top[] = "/tmp/skupper-process-XXXXXX";
static char *pid_file, *log_file;

static int start(const char *const *argv, struct why *why)
{
    struct host_process p = {.pid_file = pid_file, .log_file = log_file, .argv = argv};

    return host_start(&p, why);
}

static const char *const sleeper[] = {"sleep", "1000", NULL};

TEST(a_process_runs_once_and_is_stopped)
{
    pid_t pid;

    CHECK_EQ(host_running(pid_file), 0);
    CHECK_EQ(start(sleeper, NULL), 0);
    pid = host_running(pid_file);
    CHECK(pid > 0);
    CHECK_EQ(kill(pid, 0), 0);
    CHECK_EQ(start(sleeper, NULL), ERR_EXISTS);
    CHECK_EQ(host_running(pid_file), pid);
    CHECK_EQ(host_stop(pid_file, 10000, NULL), 0);
    CHECK_EQ(host_running(pid_file), 0);
    CHECK_EQ(host_stop(pid_file, 10000, NULL), 0);
}

// The program says "ready" or has ended.
static void await_ready(void)
{
    char *text = NULL;
    size_t len = 0;

    while (host_read(log_file, &text, &len, NULL) == 0 && len == 0 && host_running(pid_file)) {
        free(text);
        text = NULL;
        sched_yield();
    }
    CHECK_STR(str_of(text ? text : ""), "ready\n");
    free(text);
    unlink(log_file);
}

// It may not have come so far yet as to listen.
TEST(a_request_to_reload_never_ends_a_program)
{
    static const char *const hit[] = {"sh", "-c", "kill -HUP $$; echo ready; exec sleep 1000",
                                      NULL};

    CHECK_EQ(start(hit, NULL), 0);
    await_ready();
    CHECK_EQ(host_stop(pid_file, 10000, NULL), 0);
}

TEST(one_that_does_not_listen_is_killed)
{
    static const char *const deaf[] = {"sh", "-c", "trap '' TERM; echo ready; exec sleep 1000",
                                       NULL};

    CHECK_EQ(start(deaf, NULL), 0);
    await_ready();
    CHECK_EQ(host_stop(pid_file, 50, NULL), 0);
    CHECK_EQ(host_running(pid_file), 0);
}

TEST(a_program_that_is_not_there_is_said)
{
    static const char *const nothing[] = {"/no/such/program", NULL};
    struct why why = {""};

    CHECK_EQ(start(nothing, &why), ERR_IO);
    CHECK_STR(str_of(why.text), "cannot start /no/such/program: No such file or directory");
    CHECK_EQ(host_running(pid_file), 0);
}

TEST(a_number_left_by_a_dead_process_is_nobody)
{
    CHECK_EQ(host_write(pid_file, STR("1\n"), 0644, NULL), 0);
    CHECK_EQ(host_running(pid_file), 0);
    CHECK_EQ(host_watch_process(pid_file), ERR_NOT_FOUND);
}

TEST(the_end_of_a_process_can_be_awaited)
{
    struct pollfd ended = {.events = POLLIN};

    CHECK_EQ(start(sleeper, NULL), 0);
    ended.fd = host_watch_process(pid_file);
    CHECK(ended.fd >= 0);
    CHECK_EQ(poll(&ended, 1, 0), 0);
    CHECK_EQ(kill(host_running(pid_file), SIGKILL), 0);
    CHECK_EQ(poll(&ended, 1, 10000), 1);
    CHECK_EQ(host_running(pid_file), 0);
    close(ended.fd);
}

TEST(a_process_claims_its_own_file)
{
    struct why why = {""};
    int ready[2], status = -1;
    pid_t child;
    char octet;

    CHECK_EQ(pipe(ready), 0);
    child = fork();
    if (child == 0) { // holds it until it is killed
        if (host_claim(pid_file, NULL) < 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    CHECK_EQ(read(ready[0], &octet, 1), 1);
    CHECK_EQ(host_running(pid_file), child);
    CHECK_EQ(host_claim(pid_file, &why), ERR_EXISTS);
    CHECK(strstr(why.text, "running already") != NULL);
    CHECK_EQ(host_stop(pid_file, 10000, NULL), 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(host_running(pid_file), 0);
    close(ready[0]);
    close(ready[1]);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(top))
        return -1;
    pid_file = str_fmt("%s/it.pid", top);
    log_file = str_fmt("%s/it.log", top);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    host_stop(pid_file, 0, NULL);
    free(pid_file);
    free(log_file);
    return host_remove(top, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_process_runs_once_and_is_stopped),
        CASE(a_request_to_reload_never_ends_a_program),
        CASE(one_that_does_not_listen_is_killed),
        CASE(a_program_that_is_not_there_is_said),
        CASE(a_number_left_by_a_dead_process_is_nobody),
        CASE(the_end_of_a_process_can_be_awaited),
        CASE(a_process_claims_its_own_file),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
