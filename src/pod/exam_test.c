// SPDX-License-Identifier: Apache-2.0
// Programs that tell steps: they end, are killed, or have no end.
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "net/net.h"
#include "pod/inside.h"

enum { LONG_MS = 60000 };

struct heard {
    int count;
    enum exam_end how;
    char *steps, *words;
};

static void done(void *user, enum exam_end how, const json_t *steps, const char *words)
{
    struct heard *h = user;

    h->count++;
    h->how = how;
    h->steps = json_dumps(steps, JSON_COMPACT | JSON_SORT_KEYS);
    h->words = xstrdup(words);
}

static struct net_loop *loop_new(void)
{
    static const struct net_hooks hooks = {0};
    struct net_loop *loop;

    CHECK_EQ(net_loop_new(&hooks, 4096, &loop), 0);
    return loop;
}

// What a shell that runs `script` comes to.
static struct heard run(const char *script, uint32_t limit_ms)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    struct heard h = {0};
    struct exam_opts opts = {
        .program = "/bin/sh", .argv = argv, .limit_ms = limit_ms, .done = done, .user = &h};
    struct net_loop *loop = loop_new();
    struct why why = {""};

    CHECK(exam_new(loop, &opts, &why) != NULL);
    while (h.count == 0)
        net_loop_turn(loop, mono_add_ms(mono_now(), LONG_MS));
    net_loop_free(loop);
    CHECK_EQ(h.count, 1);
    return h;
}

static void heard_fini(struct heard *h)
{
    free(h->steps);
    free(h->words);
}

TEST(what_is_told_is_heard)
{
    static const struct {
        const char *why, *script;
        enum exam_end how;
        const char *steps, *words;
    } rows[] = {
        {"steps", "echo '{\"step\": \"name\"}'; echo '{\"step\": \"port\"}'", EXAM_DONE,
         "[{\"step\":\"name\"},{\"step\":\"port\"}]", ""},
        {"nothing", "true", EXAM_DONE, "[]", ""},
        {"no whole line", "echo '{\"step\": \"name\"}'; printf '{\"step\": '", EXAM_DONE,
         "[{\"step\":\"name\"}]", ""},
        {"something else", "echo hello; echo; echo '[1]'; echo '{\"step\": \"name\"}'", EXAM_DONE,
         "[{\"step\":\"name\"}]", ""},
        {"no link", "exit 3", EXAM_NO_LINK, "[]", ""},
        {"a failure", "exit 1", EXAM_FAILED, "[]",
         "what takes the steps has failed (exit 1); the log of the agent may say why"},
        {"a signal", "kill -9 $$", EXAM_FAILED, "[]",
         "what takes the steps has failed (signal 9); the log of the agent may say why"},
        {"its output closed before its end", "echo '{\"step\": \"name\"}'; exec >&-; exit 3",
         EXAM_NO_LINK, "[{\"step\":\"name\"}]", ""},
        {"signals that the agent takes by other ways are no matter of the program",
         "trap '' TERM; kill -TERM $$; echo '{\"step\": \"name\"}'", EXAM_DONE,
         "[{\"step\":\"name\"}]", ""},
        {"no descriptor but the usual three",
         "for f in /proc/self/fd/*; do n=${f##*/}; [ $n -gt 9 ] && echo '{\"fd\": '$n'}'; done; "
         "true",
         EXAM_DONE, "[]", ""},
    };
    int high = dup2(1, 50); // without CLOEXEC, as of libraries

    CHECK_EQ(high, 50);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct heard h = run(rows[i].script, LONG_MS);

        CHECK_EQ_FOR(rows[i].why, h.how, rows[i].how);
        CHECK_STR(str_of(h.steps), rows[i].steps);
        CHECK_STR(str_of(h.words), rows[i].words);
        heard_fini(&h);
    }
    close(high);
}

TEST(much_is_heard_and_far_too_much_ends_it)
{
    struct heard h =
        run("i=0; while [ $i -lt 3000 ]; do echo '{\"message\": "
            "\"0123456789012345678901234567890123456789012345678901234567890123456789\"}'; "
            "i=$((i+1)); done",
            LONG_MS);
    json_t *steps = json_loads(h.steps, 0, NULL);

    CHECK_EQ(h.how, EXAM_DONE);
    CHECK_EQ(json_array_size(steps), 3000);
    json_decref(steps);
    heard_fini(&h);
    h = run("while true; do echo '{\"message\": "
            "\"0123456789012345678901234567890123456789012345678901234567890123456789\"}'; done",
            LONG_MS);
    CHECK_EQ(h.how, EXAM_FAILED);
    heard_fini(&h);
}

// The program never ends: what it has told before its time is up is heard, and what it is at.
TEST(when_time_is_up_the_last_step_says_so)
{
    static const struct {
        const char *script, *step;
        size_t count;
    } rows[] = {
        {"exec sleep 1000", "name", 1},
        {"echo '{\"step\": \"credentials\"}'; exec sleep 1000", "name", 2},
        {"echo '{\"step\": \"name\", \"endpoint\": \"e\"}'; exec sleep 1000", "time", 2},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *step = "";
        // How much is told until then is a matter of time: begin anew with more of it.
        for (uint32_t limit_ms = 50; strcmp(step, rows[i].step) != 0; limit_ms *= 2) {
            struct heard h = run(rows[i].script, limit_ms);
            json_t *steps = json_loads(h.steps, 0, NULL);
            const json_t *last = json_array_get(steps, json_array_size(steps) - 1);

            CHECK_EQ(h.how, EXAM_DONE);
            CHECK_STR(str_of(json_string_value(json_object_get(last, "result"))), "failed");
            CHECK(json_object_get(last, "next") != NULL);
            if (json_array_size(steps) == rows[i].count) {
                step = rows[i].step;
                CHECK_STR(str_of(json_string_value(json_object_get(last, "step"))), step);
            }
            json_decref(steps);
            heard_fini(&h);
        }
    }
}

TEST(who_waits_no_more_ends_it)
{
    const char *argv[] = {"sh", "-c", "exec sleep 1000", NULL};
    struct heard h = {0};
    struct exam_opts opts = {
        .program = "/bin/sh", .argv = argv, .limit_ms = LONG_MS, .done = done, .user = &h};
    struct net_loop *loop = loop_new();
    struct why why = {""};

    exam_free(exam_new(loop, &opts, &why)); // waits for its end
    CHECK_EQ(h.count, 0);
    net_loop_free(loop);
}

TEST(a_program_that_is_not_there_is_told)
{
    const char *argv[] = {"nobody", NULL};
    struct exam_opts opts = {.program = "/nobody", .argv = argv, .limit_ms = LONG_MS};
    struct net_loop *loop = loop_new();
    struct why why = {""};

    CHECK(exam_new(loop, &opts, &why) == NULL);
    CHECK_STR(str_of(why.text), "the steps cannot be taken: No such file or directory");
    net_loop_free(loop);
}

TEST_MAIN(CASE(what_is_told_is_heard), CASE(much_is_heard_and_far_too_much_ends_it),
          CASE(when_time_is_up_the_last_step_says_so), CASE(who_waits_no_more_ends_it),
          CASE(a_program_that_is_not_there_is_told))
