// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "check.h"

static char path[] = "/tmp/skupper-log-XXXXXX";

// What was written since this was asked last.
static const char *written(void)
{
    static char text[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = read(fd, text, sizeof(text) - 1);

    CHECK(len >= 0);
    text[len] = '\0';
    close(fd);
    CHECK_EQ(truncate(path, 0), 0);
    return text;
}

TEST(levels_are_set_by_list_and_plus)
{
    static const struct {
        const char *enable, *levels; // d i w e c
        int err;
    } rows[] = {
        {"info+", ".iwec", 0},       {"debug+", "diwec", 0},
        {"trace+", "diwec", 0},      {"notice+", "..wec", 0}, // between info and warning
        {"notice", ".....", 0},      {"trace", ".....", 0},
        {"debug,error", "d..e.", 0}, {"debug, error+", "d..ec", 0},
        {"WARNING", "..w..", 0},     {"critical", "....c", 0},
        {"none", ".....", 0},        {"default", ".iwec", 0},
        {"loud", NULL, ERR_INVALID}, {"info,loud", NULL, ERR_INVALID},
        {"+", NULL, ERR_INVALID},    {"", NULL, ERR_INVALID},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        log_set_enable(LOG_ROUTER, "error+");
        CHECK_EQ_FOR(rows[i].enable, log_set_enable(LOG_ROUTER, rows[i].enable), rows[i].err);
        CHECK_STR(str_of(log_get_enable(LOG_ROUTER)), rows[i].err ? "error+" : rows[i].enable);
        for (int l = 0; rows[i].levels && l < LOG_LEVEL_COUNT; l++)
            CHECK_EQ_FOR(rows[i].enable, log_enabled(LOG_ROUTER, (enum log_level)l),
                         rows[i].levels[l] != '.');
    }
    CHECK_EQ(log_set_enable(LOG_ROUTER, "default"), 0);
}

TEST(a_module_follows_the_default_until_it_has_its_own)
{
    CHECK_EQ(log_set_enable(LOG_DEFAULT, "error+"), 0);
    CHECK(!log_enabled(LOG_SERVER, LOG_WARNING));
    CHECK_EQ(log_set_enable(LOG_SERVER, "warning"), 0);
    CHECK(log_enabled(LOG_SERVER, LOG_WARNING) && !log_enabled(LOG_SERVER, LOG_ERROR));
    CHECK_EQ(log_set_enable(LOG_SERVER, "default"), 0);
    CHECK_EQ(log_set_enable(LOG_DEFAULT, "default"), 0);
    CHECK(log_enabled(LOG_SERVER, LOG_INFO));
}

TEST(a_line_says_when_who_and_what_and_stays_one_line)
{
    int year, used = 0;
    const char *line;
    char *huge = calloc(1, 10000);

    CHECK_EQ(log_set_output(LOG_AGENT, path), 0);
    log_write(LOG_AGENT, LOG_WARNING, "peer says=%s", "one\ntwo\r\033[31m");
    line = written();
    CHECK_EQ(sscanf(line, "%d-%*d-%*d %*d:%*d:%*d.%*d %*[-+0-9] %n", &year, &used), 1);
    CHECK(year > 2000);
    CHECK_STR(str_of(line + used), "AGENT (warning) peer says=one two  [31m\n");
    log_write(LOG_AGENT, LOG_DEBUG, "unheard");
    CHECK_STR(str_of(written()), "");
    memset(huge, 'x', 9999);
    log_write(LOG_AGENT, LOG_INFO, "%s", huge);
    line = written();
    CHECK(strlen(line) < 4096 && line[strlen(line) - 1] == '\n' && line[strlen(line) - 2] == 'x');
    free(huge);
    CHECK_EQ(log_set_output(LOG_AGENT, NULL), 0);
}

TEST(lines_go_to_the_modules_file_else_to_the_defaults)
{
    CHECK(!log_get_output(LOG_DEFAULT));
    CHECK_EQ(log_set_output(LOG_DEFAULT, path), 0);
    CHECK_STR(str_of(log_get_output(LOG_DEFAULT)), path);
    log_write(LOG_HTTP, LOG_ERROR, "by default");
    CHECK(strstr(written(), "HTTP (error) by default\n"));
    CHECK_EQ(log_set_output(LOG_HTTP, "/no/such/directory/log"), ERR_IO);
    log_write(LOG_HTTP, LOG_ERROR, "still there");
    CHECK(strstr(written(), "still there"));
    CHECK_EQ(log_set_output(LOG_HTTP, "/dev/null"), 0);
    log_write(LOG_HTTP, LOG_ERROR, "gone");
    CHECK_STR(str_of(written()), "");
    CHECK_EQ(log_set_output(LOG_HTTP, NULL), 0);
    CHECK_EQ(log_set_output(LOG_DEFAULT, NULL), 0);
}

TEST(after_a_rotation_lines_go_to_a_new_file)
{
    char old[sizeof(path) + 4];

    snprintf(old, sizeof(old), "%s.old", path);
    CHECK_EQ(log_set_output(LOG_HTTP, path), 0);
    CHECK_EQ(rename(path, old), 0);
    log_write(LOG_HTTP, LOG_ERROR, "into the old one");
    log_reopen();
    log_write(LOG_HTTP, LOG_ERROR, "into the new one");
    CHECK(strstr(written(), "into the new one"));
    CHECK_STR(str_of(log_get_output(LOG_HTTP)), path);
    CHECK_EQ(log_set_output(LOG_HTTP, NULL), 0);
    CHECK_EQ(unlink(old), 0);
}

TEST(the_newest_lines_are_kept)
{
    struct log_line line;
    char *huge = calloc(1, 1000);

    CHECK_EQ(log_set_output(LOG_MESSAGE, "/dev/null"), 0);
    for (int i = 0; i < LOG_RECENT_MAX + 10; i++)
        log_write(LOG_MESSAGE, LOG_WARNING, "line %d", i);
    log_write(LOG_MESSAGE, LOG_DEBUG, "unheard");
    CHECK_EQ(log_recent_count(3), 3);
    CHECK_EQ(log_recent_count(100000), LOG_RECENT_MAX);
    CHECK(log_recent(1, &line));
    CHECK_STR(str_of(line.text), "line 509");
    CHECK_EQ(line.module, LOG_MESSAGE);
    CHECK_EQ(line.level, LOG_WARNING);
    CHECK(line.time > 1000000000);
    CHECK(log_recent(LOG_RECENT_MAX, &line));
    CHECK_STR(str_of(line.text), "line 10");
    CHECK(!log_recent(0, &line));
    CHECK(!log_recent(LOG_RECENT_MAX + 1, &line));
    memset(huge, 'x', 999);
    log_write(LOG_MESSAGE, LOG_WARNING, "%s", huge);
    CHECK(log_recent(1, &line));
    CHECK_EQ(strlen(line.text), LOG_RECENT_TEXT - 1);
    free(huge);
    CHECK_EQ(log_set_output(LOG_MESSAGE, NULL), 0);
}

TEST(lines_are_counted_by_level_heard_or_not)
{
    uint64_t before = log_count(LOG_POLICY, LOG_DEBUG);

    log_write(LOG_POLICY, LOG_DEBUG, "quiet");
    CHECK_EQ(log_count(LOG_POLICY, LOG_DEBUG), before + 1);
    CHECK_EQ(log_count(LOG_POLICY, LOG_CRITICAL), 0);
}

// How many of `count` lines of a source pass; their skipped counts are summed.
static int passes(struct log_sources *s, const char *host, int count, struct mono now,
                  uint32_t *skipped)
{
    uint32_t of_this = 0;
    int passed = 0;

    for (int i = 0; i < count; i++) {
        char peer[80];

        snprintf(peer, sizeof(peer), "%.60s:%d", host, 10000 + i);
        if (!log_sources_pass(s, peer, 40, now, &of_this))
            continue;
        passed++;
        *skipped += of_this;
    }
    return passed;
}

TEST(one_address_does_not_use_up_the_lines_of_others)
{
    static const char *const hosts[] = {"192.0.2.1", "[2001:db8::1]", "[2001:db8::2]"};
    struct log_sources s = {0};
    struct mono now = {NS_PER_S};
    uint32_t skipped = 0;

    for (int i = 0; i < 3; i++)
        CHECK_EQ_FOR(hosts[i], passes(&s, hosts[i], 500, now, &skipped), LOG_SOURCE_BURST);
    CHECK_EQ(skipped, 0);
    now = mono_add_ms(now, 1000);
    for (int i = 0; i < 3; i++)
        CHECK_EQ_FOR(hosts[i], passes(&s, hosts[i], 500, now, &skipped), 1);
    CHECK_EQ(skipped, 3 * (500 - LOG_SOURCE_BURST));
}

TEST(many_addresses_share_what_there_is_for_all)
{
    struct log_sources s = {0};
    struct mono now = {NS_PER_S};
    uint32_t skipped = 0, of_this;
    int passed = 0;
    char host[64];

    for (int i = 0; i < 500; i++) {
        snprintf(host, sizeof(host), "10.1.%d.%d", i / 250, i % 250);
        passed += passes(&s, host, 1, now, &skipped);
    }
    CHECK_EQ(passed, 40);
    now = mono_add_ms(now, 60000);
    CHECK(log_sources_pass(&s, "192.0.2.1:1", 40, now, &of_this));
    skipped += of_this;
    for (int i = 0; i < LOG_SOURCES; i++) // whatever has been forgotten since is in the sum
        skipped += s.of[i].limit.skipped;
    CHECK_EQ(passed + skipped, 500);
}

TEST(what_a_peer_can_cause_is_limited_and_told_how_often)
{
    struct log_limit limit = {0};
    struct mono now = {NS_PER_S};
    uint32_t skipped = 77, passed = 0;

    for (int i = 0; i < 100; i++)
        passed += log_limit_pass(&limit, 5, now, &skipped);
    CHECK_EQ(passed, 5);
    now = mono_add_ms(now, 1000);
    CHECK(log_limit_pass(&limit, 5, now, &skipped));
    CHECK_EQ(skipped, 95);
    CHECK(!log_limit_pass(&limit, 5, now, &skipped));
    now = mono_add_ms(now, 100000); // no more than the burst comes together
    passed = 0;
    for (int i = 0; i < 100; i++)
        passed += log_limit_pass(&limit, 5, now, &skipped);
    CHECK_EQ(passed, 5);
}

TEST(every_module_and_level_has_the_name_operators_know)
{
    CHECK_STR(str_of(log_module_name(LOG_ERROR_MODULE)), "ERROR");
    CHECK_STR(str_of(log_module_name(LOG_DEFAULT)), "DEFAULT");
    CHECK_STR(str_of(log_module_name(LOG_TCP_ADAPTOR)), "TCP_ADAPTOR");
    for (int m = 0; m < LOG_MODULE_COUNT; m++)
        CHECK(log_module_name((enum log_module)m) != NULL);
    CHECK_STR(str_of(log_level_name(LOG_CRITICAL)), "critical");
}

static int begin(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
    (void)state;
    for (int m = 0; m < LOG_MODULE_COUNT; m++)
        log_set_enable((enum log_module)m, "default");
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(levels_are_set_by_list_and_plus),
        CASE(a_module_follows_the_default_until_it_has_its_own),
        CASE(a_line_says_when_who_and_what_and_stays_one_line),
        CASE(lines_go_to_the_modules_file_else_to_the_defaults),
        CASE(after_a_rotation_lines_go_to_a_new_file),
        CASE(the_newest_lines_are_kept),
        CASE(lines_are_counted_by_level_heard_or_not),
        CASE(what_a_peer_can_cause_is_limited_and_told_how_often),
        CASE(one_address_does_not_use_up_the_lines_of_others),
        CASE(many_addresses_share_what_there_is_for_all),
        CASE(every_module_and_level_has_the_name_operators_know),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
