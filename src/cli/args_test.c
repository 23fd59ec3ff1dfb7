// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "check.h"
#include "cli/inside.h"

static const struct flag flags[] = {
    {"output", 'o', FLAG_TEXT, "", "", 0, "json|yaml"},
    {"timeout", 0, FLAG_DURATION, "60s", "", 0, NULL},
    {"cost", 0, FLAG_NUMBER, "1", "", 0, NULL},
    {"enable-ha", 0, FLAG_BOOL, "false", "", ON_KUBERNETES, NULL},
    {"all", 0, FLAG_BOOL, "false", "", 0, NULL},
    {"type", 0, FLAG_TEXT, "tcp", "", 0, "tcp"},
    {0},
};
static const struct command command = {.name = "x", .args = "", .flags = flags, .args_max = 9};

// Parses at most six words. Returns what cli_parse does.
static int parse(struct cli *c, const char *const *words, struct why *why)
{
    char *argv[8];
    int argc = 0;

    *c = (struct cli){.command = &command, .platform = c->platform ? c->platform : ON_LINUX};
    for (; words[argc]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc];
    return cli_parse(c, argc, argv, why);
}

TEST(flags_and_arguments_come_in_any_order_and_form)
{
    static const char *const rows[][7] = {
        {"--output", "json", "--cost=3", "name", "--all"},
        {"name", "-o", "json", "--cost", "3", "--all"},
        {"-ojson", "--all=true", "--cost", "3", "name"},
        {"-o=json", "--all", "--cost=3", "--", "name"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cli c = {0};
        struct why why = {""};

        CHECK_EQ_FOR(why.text, parse(&c, rows[i], &why), 0);
        CHECK_EQ(c.arg_count, 1);
        CHECK_STR(str_of(c.args[0]), "name");
        CHECK_STR(str_of(cli_text(&c, "output")), "json");
        CHECK_EQ(cli_number(&c, "cost"), 3);
        CHECK(cli_bool(&c, "all"));
        CHECK_EQ(cli_duration_ms(&c, "timeout"), 60000);
        CHECK(cli_is_given(&c, "cost") && !cli_is_given(&c, "timeout"));
    }
}

TEST(what_stands_behind_two_hyphens_is_no_flag)
{
    struct cli c = {0};

    CHECK_EQ(parse(&c, (const char *[]){"--", "--all", "-x", NULL}, NULL), 0);
    CHECK_EQ(c.arg_count, 2);
    CHECK(!cli_bool(&c, "all"));
}

TEST(wrong_flags_are_refused_in_words)
{
    static const struct {
        const char *words[4], *why;
    } rows[] = {
        {{"--nope"}, "unknown flag: --nope"},
        {{"--nope=1"}, "unknown flag: --nope"},
        {{"-x"}, "unknown shorthand flag: 'x' in -x"},
        {{"--output"}, "flag needs an argument: --output"},
        {{"--cost", "cheap"}, "invalid argument \"cheap\" for \"--cost\" flag: it takes a number"},
        {{"--timeout", "60"},
         "invalid argument \"60\" for \"--timeout\" flag: it takes a time span such as 30s or 2m"},
        {{"--enable-ha"}, "unknown flag: --enable-ha (not on the platform linux)"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cli c = {0};
        struct why why = {""};

        CHECK_EQ_FOR(rows[i].why, parse(&c, rows[i].words, &why), ERR_INVALID);
        CHECK_STR(str_of(why.text), rows[i].why);
    }
}

TEST(values_that_a_flag_cannot_have_are_problems_each_on_its_line)
{
    static const struct {
        const char *words[7], *told;
    } rows[] = {
        {{"--output", "json", "--type=tcp"}, ""},
        {{"--output", "xml"}, "output is not valid: \"xml\" is not one of json|yaml\n"},
        {{"-ojson|yaml"}, "output is not valid: \"json|yaml\" is not one of json|yaml\n"},
        {{"--type", "udp", "-o", ""},
         "output is not valid: \"\" is not one of json|yaml\n"
         "type is not valid: \"udp\" is not tcp\n"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cli c = {0};
        struct why why = {""};
        char *told = NULL;
        size_t len = 0;

        CHECK_EQ_FOR(why.text, parse(&c, rows[i].words, &why), 0);
        c.out = open_memstream(&told, &len);
        cli_check_choices(&c);
        fclose(c.out);
        CHECK_STR(str_of(told), rows[i].told);
        CHECK_EQ(c.problem_count > 0, rows[i].told[0] != '\0');
        free(told);
    }
}

TEST(a_flag_of_another_platform_is_there_on_it)
{
    struct cli c = {.platform = ON_KUBERNETES};

    CHECK_EQ(parse(&c, (const char *[]){"--enable-ha", NULL}, NULL), 0);
    CHECK(cli_bool(&c, "enable-ha"));
}

TEST(time_spans_are_read_as_go_writes_them)
{
    static const struct {
        const char *text;
        int64_t ms; // -1: not one
    } rows[] = {{"60s", 60000},  {"1m30s", 90000}, {"1.5m", 90000},
                {"2h", 7200000}, {"250ms", 250},   {"0", 0},
                {"10", -1},      {"", -1},         {"s", -1},
                {"1x", -1},      {"-1s", -1},      {"1e3s", -1},
                {"infs", -1},    {"nans", -1},     {"99999999999999h", -1}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t ms = -1;

        CHECK_EQ_FOR(rows[i].text, cli_parse_duration(rows[i].text, &ms), rows[i].ms >= 0);
        CHECK_EQ_FOR(rows[i].text, ms, rows[i].ms);
    }
}

TEST(columns_are_as_wide_as_what_stands_in_them)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct table t;

    table_init(&t, "NAME\tSTATUS\tMESSAGE");
    table_row(&t, "%s\t%s\t%s", "a-long-name", "Ready", "OK");
    table_row(&t, "%s\t%s\t%s", "b", "", "two\nlines");
    table_print(&t, out);
    fclose(out);
    CHECK_STR(str_of(text), "NAME         STATUS  MESSAGE\n"
                            "a-long-name  Ready   OK\n"
                            "b                    two lines\n");
    free(text);
}

TEST_MAIN(CASE(flags_and_arguments_come_in_any_order_and_form),
          CASE(what_stands_behind_two_hyphens_is_no_flag), CASE(wrong_flags_are_refused_in_words),
          CASE(values_that_a_flag_cannot_have_are_problems_each_on_its_line),
          CASE(a_flag_of_another_platform_is_there_on_it),
          CASE(time_spans_are_read_as_go_writes_them),
          CASE(columns_are_as_wide_as_what_stands_in_them))
