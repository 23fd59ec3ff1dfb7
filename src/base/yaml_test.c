// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/yaml.h"
#include "check.h"

// The first document as compact JSON; the caller frees it.
static char *as_json(const char *text)
{
    struct yaml_docs *y = NULL;
    struct why why = {""};
    char *json;

    if (yaml_docs_parse("f", str_of(text), &y, &why) < 0)
        fail_msg("%s", why.text);
    CHECK(yaml_docs_count(y) > 0);
    json = json_dumps(yaml_docs_at(y, 0), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    yaml_docs_free(y);
    return json;
}

TEST(scalars_are_those_of_the_core_schema)
{
    static const struct {
        const char *yaml, *json;
    } rows[] = {
        {"5432", "5432"},
        {"-7", "-7"},
        {"+7", "7"},
        {"0x1F", "31"},
        {"0o17", "15"},
        {"017", "17"},
        {"9223372036854775807", "9223372036854775807"},
        {"\"5432\"", "\"5432\""},
        {"'5432'", "\"5432\""},
        {"!!str 5432", "\"5432\""},
        {"! 5432", "\"5432\""},
        {"!!int \"5432\"", "5432"},
        {"!!float 3", "3.0"},
        {"1.5", "1.5"},
        {"1e3", "1000.0"},
        {".5", "0.5"},
        {"5.", "5.0"},
        {"true", "true"},
        {"FALSE", "false"},
        {"yes", "\"yes\""},
        {"No", "\"No\""},
        {"~", "null"},
        {"Null", "null"},
        {"nULL", "\"nULL\""},
        {"2026-01-31", "\"2026-01-31\""},
        {"203.0.113.7", "\"203.0.113.7\""},
        {"1_000", "\"1_000\""},
        {"0x", "\"0x\""},
        {"-", "[null]"},
        {"e5", "\"e5\""},
        {"1e", "\"1e\""},
        {".", "\".\""},
        {"|\n  a\n  b\n", "\"a\\nb\\n\""},
        {"\"a\": 1", "{\"a\":1}"},
        {"a: 1\n? b\n: 2", "{\"a\":1,\"b\":2}"},
        {"5: x\ntrue: y", "{\"5\":\"x\",\"true\":\"y\"}"},
        {"{a: [1, {b: c}], d: }", "{\"a\":[1,{\"b\":\"c\"}],\"d\":null}"},
        {"a: &x {b: 1}\nc: *x", "{\"a\":{\"b\":1},\"c\":{\"b\":1}}"},
        {"a: &x 1\nb: &x 2\nc: *x", "{\"a\":1,\"b\":2,\"c\":2}"},
        {"\xef\xbb\xbf"
         "a: 1",
         "{\"a\":1}"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *json = as_json(rows[i].yaml);

        if (strcmp(json, rows[i].json) != 0)
            fail_msg("%s is %s, not %s", rows[i].yaml, json, rows[i].json);
        free(json);
    }
}

TEST(json_is_read_with_its_own_escapes_and_in_a_row)
{
    struct yaml_docs *y = NULL;
    char *json = as_json("{\"a\":\"\\ud83d\\ude00\\/\",\t\"b\":[1,2.5,null]}");

    CHECK_STR(str_of(json), "{\"a\":\"\xf0\x9f\x98\x80/\",\"b\":[1,2.5,null]}");
    free(json);
    CHECK_EQ(yaml_docs_parse("f", STR(" {\"a\": 1}\n[2]{}\n"), &y, NULL), 0);
    CHECK_EQ(yaml_docs_count(y), 3);
    CHECK_EQ(json_integer_value(json_array_get(yaml_docs_at(y, 1), 0)), 2);
    yaml_docs_free(y);
}

TEST(documents_that_are_empty_are_left_out)
{
    struct yaml_docs *y = NULL;

    CHECK_EQ(yaml_docs_parse("f", STR(""), &y, NULL), 0);
    CHECK_EQ(yaml_docs_count(y), 0);
    yaml_docs_free(y);
    CHECK_EQ(yaml_docs_parse("f", STR_NONE, &y, NULL), 0);
    CHECK_EQ(yaml_docs_count(y), 0);
    yaml_docs_free(y);
    CHECK_EQ(yaml_docs_parse("f", STR("---\n---\n# nothing\n---\na: 1\n...\n---\nb: 2\n---\n"), &y,
                             NULL),
             0);
    CHECK_EQ(yaml_docs_count(y), 2);
    CHECK_EQ(json_integer_value(json_object_get(yaml_docs_at(y, 1), "b")), 2);
    CHECK_EQ(yaml_docs_line(y, 1, "b"), 8);
    yaml_docs_free(y);
}

TEST(every_field_knows_its_line)
{
    static const char yaml[] = "# a comment\n"
                               "kind: Link\n"
                               "metadata:\n"
                               "  annotations:\n"
                               "    skupper.io/proxy: tcp\n"
                               "    skupper.io: x\n"
                               "spec:\n"
                               "  endpoints:\n"
                               "  - host: a\n"
                               "    port: 1\n"
                               "  - host: b\n"
                               "    port: 2\n"
                               "  cost: 1\n";
    static const char json[] = "\n"
                               "{\"kind\": \"Link\",\n"
                               " \"metadata\": {\n"
                               "  \"annotations\": {\n"
                               "    \"skupper.io/proxy\": \"t\\\"cp\",\n"
                               "    \"skupper.io\": \"x\"}},\n"
                               " \"spec\":\n"
                               "  {\"endpoints\": [\n"
                               "   {\"host\": \"a\",\n"
                               "    \"port\": 1},\n"
                               "   {\"host\": \"b\",\n"
                               "    \"port\": 2}],\n"
                               "  \"cost\": 1}}\n";
    static const struct {
        const char *path;
        int line;
    } rows[] = {
        {"", 2},
        {"kind", 2},
        {"metadata.annotations.skupper.io/proxy", 5},
        {"metadata.annotations.skupper.io", 6},
        {"spec", 7},
        {"spec.endpoints[0]", 9},
        {"spec.endpoints[0].port", 10},
        {"spec.endpoints[1].host", 11},
        {"spec.endpoints[1].port", 12},
        {"spec.cost", 13},
        {"spec.missing", 7},
        {"spec.endpoints[1].missing.deeper", 11},
        {"nowhere", 2},
    };
    const char *texts[] = {yaml, json};

    for (int t = 0; t < 2; t++) {
        struct yaml_docs *y = NULL;

        CHECK_EQ(yaml_docs_parse("f", str_of(texts[t]), &y, NULL), 0);
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            CHECK_EQ_FOR(rows[i].path, yaml_docs_line(y, 0, rows[i].path), rows[i].line);
        yaml_docs_free(y);
    }
}

TEST(what_cannot_be_read_is_told_with_line_and_field)
{
    static const struct {
        const char *text;
        int err;
        const char *words;
    } rows[] = {
        {"a: 1\nb: 2\na: 3\n", ERR_DECODE, "f:3: a: is there twice, first in line 1"},
        {"spec:\n  port: 1\n  host: x\n  port: 2\n", ERR_DECODE,
         "f:4: spec.port: is there twice, first in line 2"},
        {"{\"l\": [{\"a\": 1,\n\"a\": 2}]}", ERR_DECODE,
         "f:2: l[0].a: is there twice, first in line 1"},
        {"a: b: c\n", ERR_DECODE, "f:1: column 5: mapping values are not allowed"},
        {"a:\n\t- 1\n", ERR_DECODE, "f:2: column 1: "},
        {"{\"a\": 1", ERR_DECODE, "f:2: column 1: while parsing a flow mapping"},
        {"a: *x\n", ERR_DECODE, "f:1: a: an alias to what has not been there"},
        {"a: &x [*x]\n", ERR_DECODE, "f:1: a[0]: an alias to what has not been there"},
        {"a: 1\n---\nb: *x\n", ERR_DECODE, "f:3: b: an alias"},
        {"a: 99999999999999999999\n", ERR_UNSUPPORTED, "f:1: a: an integer of more than 64 bits"},
        {"{\"a\": 99999999999999999999}", ERR_UNSUPPORTED, "f:1: a: an integer of more than 64"},
        {"a: .inf\n", ERR_UNSUPPORTED, "f:1: a: a number that is infinite"},
        {"a: 1e999\n", ERR_UNSUPPORTED, "f:1: a: a number that is infinite"},
        {"a: !!int x\n", ERR_DECODE, "f:1: a: the value is not what its tag says"},
        {"a: !mine x\n", ERR_UNSUPPORTED, "f:1: a: a tag that is not one of YAML's own"},
        {"a: !mine {}\n", ERR_UNSUPPORTED, "f:1: a: a tag that is not one of YAML's own"},
        {"a: \"\\0\"\n", ERR_UNSUPPORTED, "f:1: a: a NUL has no place in a text"},
        {"\"\\0\": a\n", ERR_UNSUPPORTED, "f:1: a NUL has no place in a key"},
        {"{a: 1}: b\n", ERR_UNSUPPORTED, "f:1: a key must be a scalar"},
        {"a: &x {b: 1}\nc:\n  <<: *x\n", ERR_UNSUPPORTED, "f:3: c: maps are not merged"},
        {"a: \xff\n", ERR_DECODE, "f:1: at byte 3: "},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct yaml_docs *y = NULL;
        struct why why = {""};

        CHECK_EQ_FOR(rows[i].text, yaml_docs_parse("f", str_of(rows[i].text), &y, &why),
                     rows[i].err);
        CHECK(!y);
        if (!str_starts(str_of(why.text), str_of(rows[i].words)))
            fail_msg("%s: %s, not %s", rows[i].text, why.text, rows[i].words);
    }
}

TEST(a_nul_in_json_is_no_json)
{
    struct yaml_docs *y = NULL;
    struct why why = {""};

    CHECK(yaml_docs_parse("f", STR("{\"a\": [{\"b\": 2\0}]}"), &y, &why) < 0);
    CHECK(!y && why.text[0] != '\0');
}

TEST(depth_has_a_limit)
{
    for (int json = 0; json < 2; json++)
        for (int depth = YAML_DEPTH_MAX; depth <= YAML_DEPTH_MAX + 1; depth++) {
            char text[4 * YAML_DEPTH_MAX] = "";
            struct yaml_docs *y = NULL;
            struct why why = {""};
            int want = depth > YAML_DEPTH_MAX ? ERR_LIMIT : 0;

            for (int i = 0; i < depth; i++)
                strcat(text, "[");
            strcat(text, json ? "1" : "a");
            for (int i = 0; i < depth; i++)
                strcat(text, "]");
            CHECK_EQ(yaml_docs_parse("f", str_of(text), &y, &why), want);
            yaml_docs_free(y);
        }
}

TEST(aliases_cannot_grow_without_limit)
{
    char text[4096] = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n", line[160];
    char list[1024] = "", *big;
    struct yaml_docs *y = NULL;
    struct why why = {""};

    for (int i = 1; i < 10; i++) {
        snprintf(line, sizeof(line),
                 "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i,
                 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        strcat(text, line);
    }
    CHECK_EQ(yaml_docs_parse("f", str_of(text), &y, &why), ERR_LIMIT);
    CHECK(strstr(why.text, "too much"));
    for (int i = 0; i < 90; i++)
        strcat(list, "- *a\n");
    big = str_fmt("a: &a x%099000d\nb:\n%s", 0, list); // few values, but long ones
    CHECK_EQ(yaml_docs_parse("f", str_of(big), &y, &why), ERR_LIMIT);
    free(big);
}

TEST(text_has_a_limit)
{
    char *text = xcalloc(1, YAML_TEXT_MAX + 2);
    struct yaml_docs *y = NULL;

    memset(text, '#', YAML_TEXT_MAX + 1);
    CHECK_EQ(yaml_docs_parse("f", (struct str){text, YAML_TEXT_MAX + 1}, &y, NULL), ERR_LIMIT);
    CHECK_EQ(yaml_docs_parse("f", (struct str){text, YAML_TEXT_MAX}, &y, NULL), 0);
    CHECK_EQ(yaml_docs_count(y), 0);
    yaml_docs_free(y);
    free(text);
}

TEST(it_is_written_the_way_people_write_it)
{
    static const char json[] =
        "{\"spec\":{\"port\":5432,\"text\":\"55671\",\"url\":\"https://203.0.113.9:9090/2f0e\","
        "\"ca\":\"-----BEGIN\\nabc=\\n-----END\\n\",\"cut\":\"a\\nb\",\"none\":{},\"no\":[],"
        "\"ends\":[{\"b\":1,\"a\":\"x y\"},{\"a\":true}],\"words\":[\"yes\",\"a: "
        "b\",\"1_0\",\"\"]},"
        "\"kind\":\"X\",\"real\":0.1,\"whole\":3.0,\"null\":null}";
    static const char want[] = "kind: X\n"
                               "\"null\": null\n"
                               "real: 0.1\n"
                               "spec:\n"
                               "  ca: |\n"
                               "    -----BEGIN\n"
                               "    abc=\n"
                               "    -----END\n"
                               "  cut: |-\n"
                               "    a\n"
                               "    b\n"
                               "  ends:\n"
                               "  - a: x y\n"
                               "    b: 1\n"
                               "  - a: true\n"
                               "  \"no\": []\n"
                               "  none: {}\n"
                               "  port: 5432\n"
                               "  text: \"55671\"\n"
                               "  url: https://203.0.113.9:9090/2f0e\n"
                               "  words:\n"
                               "  - \"yes\"\n"
                               "  - 'a: b'\n"
                               "  - \"1_0\"\n"
                               "  - \"\"\n"
                               "whole: 3.0\n";
    json_t *value = json_loads(json, 0, NULL);
    char *text = yaml_write(value, YAML_BLOCK);

    CHECK_STR(str_of(text), want);
    free(text);
    json_decref(value);
}

TEST(json_is_indented_by_two_and_sorted)
{
    json_t *value = json_loads("{\"b\":[1],\"a\":{\"c\":\"x\"}}", 0, NULL);
    char *text = yaml_write(value, YAML_JSON);

    CHECK_STR(str_of(text), "{\n  \"a\": {\n    \"c\": \"x\"\n  },\n  \"b\": [\n    1\n  ]\n}\n");
    free(text);
    json_decref(value);
}

TEST(what_is_empty_is_pruned)
{
    json_t *value = json_loads("{\"a\":null,\"b\":{\"c\":{}},\"d\":0,\"e\":false,\"f\":\"\",\"g\":"
                               "[0,{\"h\":0},null],\"i\":1,\"j\":0.0,\"k\":[]}",
                               0, NULL);
    json_t *pruned = yaml_pruned(value);
    char *text = json_dumps(pruned, JSON_COMPACT | JSON_SORT_KEYS);

    CHECK_STR(str_of(text), "{\"g\":[0,{},null],\"i\":1}");
    free(text);
    json_decref(pruned);
    json_decref(value);
}

static json_t *random_text(struct rng *r)
{
    static const char *const parts[] = {
        "a",
        "b c",
        "\n",
        " ",
        "  ",
        "\t",
        ":",
        ": ",
        " #",
        "-",
        "- ",
        "'",
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        "?",
        "!",
        "&",
        "*",
        "|",
        ">",
        "%",
        "@",
        "`",
        "---",
        "...",
        "0",
        "12",
        ".",
        "e",
        "0x",
        "_",
        "yes",
        "null",
        "true",
        "\r\n",
        "é",
        "\xc2\x85",
        "\xe2\x80\xa8",
        "\xef\xbb\xbf",
        "\xf0\x9f\x98\x80",
        "\x7f",
        "\x01",
        "=",
        "<<",
        "+",
        "2026-01-31",
        "~",
        "\n\n",
        "a long word and more of them, so that lines would be folded if they were folded",
    };
    char text[1024] = "";
    uint32_t count = rng_below(r, 6);

    for (uint32_t i = 0; i < count; i++)
        strcat(text, parts[rng_below(r, sizeof(parts) / sizeof(parts[0]))]);
    return json_string(text);
}

static json_t *random_value(struct rng *r, int depth)
{
    uint32_t kind = rng_below(r, depth > 0 ? 8 : 6), count = rng_below(r, 5);
    json_t *value;

    switch (kind) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(rng_below(r, 2));
    case 2:
        return json_integer((int64_t)rng_next(r) >> rng_below(r, 64));
    case 3:
        return json_real((double)(int64_t)rng_next(r) / (1 + rng_below(r, 1000000)));
    case 4:
    case 5:
        return random_text(r);
    case 6:
        value = json_array();
        while (count-- > 0)
            json_array_append_new(value, random_value(r, depth - 1));
        return value;
    default:
        value = json_object();
        while (count-- > 0) {
            json_t *key = random_text(r);

            json_object_set_new(value, json_string_value(key), random_value(r, depth - 1));
            json_decref(key);
        }
        return value;
    }
}

TEST(what_is_written_reads_back_the_same)
{
    for (uint64_t seed = 0; seed < 5000; seed++) {
        struct rng r;
        json_t *value;

        rng_init(&r, seed);
        value = random_value(&r, 4);
        for (int form = YAML_BLOCK; form <= YAML_JSON; form++) {
            char *text = yaml_write(value, (enum yaml_form)form);
            struct yaml_docs *y = NULL;
            struct why why = {""};

            if (yaml_docs_parse("f", str_of(text), &y, &why) < 0)
                fail_msg("seed %d: %s:\n%s", (int)seed, why.text, text);
            if (yaml_docs_count(y) != 1 || !json_equal(yaml_docs_at(y, 0), value))
                fail_msg("seed %d reads back as something else:\n%s", (int)seed, text);
            CHECK(text[strlen(text) - 1] == '\n');
            yaml_docs_free(y);
            free(text);
        }
        json_decref(value);
    }
}

TEST_MAIN(CASE(scalars_are_those_of_the_core_schema),
          CASE(json_is_read_with_its_own_escapes_and_in_a_row),
          CASE(documents_that_are_empty_are_left_out), CASE(every_field_knows_its_line),
          CASE(what_cannot_be_read_is_told_with_line_and_field), CASE(a_nul_in_json_is_no_json),
          CASE(depth_has_a_limit), CASE(aliases_cannot_grow_without_limit), CASE(text_has_a_limit),
          CASE(it_is_written_the_way_people_write_it), CASE(json_is_indented_by_two_and_sorted),
          CASE(what_is_empty_is_pruned), CASE(what_is_written_reads_back_the_same))
