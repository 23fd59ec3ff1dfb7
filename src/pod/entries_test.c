// SPDX-License-Identifier: Apache-2.0
// The ConfigMap skupper-services, between a site's own services and those of others.
#include <stdlib.h>

#include "base/mem.h"
#include "check.h"
#include "pod/inside.h"
#include "site/site.h"

// 'x' stands for "x".
static json_t *json_of(const char *text)
{
    char *copy = xstrdup(text);
    json_t *v;

    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    v = json_loads(copy, 0, NULL);
    if (!v)
        fail_msg("not JSON: %s", copy);
    free(copy);
    return v;
}

// {address: definition} as a ConfigMap.
static json_t *map_of(const char *entries)
{
    json_t *all = json_of(entries),
           *map = json_pack("{s:{s:s}, s:{}}", "metadata", "name", "m", "data"), *v;
    const char *address;

    json_object_foreach(all, address, v)
    {
        char *text = json_is_string(v) ? xstrdup(json_string_value(v)) : json_dumps(v, 0);

        json_object_set_new(json_object_get(map, "data"), address, json_string(text));
        free(text);
    }
    json_decref(all);
    return map;
}

static void check(const char *why, json_t *take, const char *want)
{
    json_t *wanted = json_of(want);
    char *got = json_dumps(take, JSON_SORT_KEYS | JSON_COMPACT);

    if (!json_equal(take, wanted))
        fail_msg("%s: is %s, not %s", why, got, want);
    free(got);
    json_decref(take);
    json_decref(wanted);
}

// The entries of a ConfigMap, read; "null" for no ConfigMap.
static json_t *entries_of(const json_t *map)
{
    json_t *out = json_object(), *v;
    const char *address;

    json_object_foreach(json_object_get(map, "data"), address, v)
    {
        json_t *d = json_loads(json_string_value(v), 0, NULL);

        json_object_set_new(out, address, d ? d : json_incref(v));
    }
    return out;
}

#define MINE "'a': {'address': 'a', 'ports': [1]}"
#define NOTED "'n': {'address': 'n', 'ports': [2], 'origin': 'annotation'}"
#define FAR                                                                                        \
    "'f': {'address': 'f', 'ports': [3], 'exposeIngress': '', 'targets': [], 'origin': 'east'}"
#define TOLD "{'f': {'origin': 'east', 'service': {'address': 'f', 'ports': [3]}}}"
#define SHARED "[{'origin': 'east', 'version': '1.8.7'}, {'origin': 'idle', 'version': '2'}]"

TEST(what_this_site_defines_is_announced)
{
    json_t *map = map_of("{" MINE ", " NOTED ", " FAR ", 'x': 'junk', 'y': {'address': 'other'}}");

    check("local", entries_local(map),
          "[{'address': 'a', 'ports': [1]}, {'address': 'n', 'ports': [2], 'origin':"
          " 'annotation'}]");
    check("none", entries_local(NULL), "[]");
    json_decref(map);
}

TEST(sharing_is_switched_by_an_annotation_of_the_map)
{
    static const struct {
        const char *value;
        bool is_on;
    } rows[] = {{"true", true}, {"false", false}, {"", true}};

    CHECK(!entries_are_shared(NULL));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *map = json_pack("{s:{s:{s:s}}}", "metadata", "annotations",
                                "skupper.io/service-sync", rows[i].value);

        CHECK_EQ_FOR(rows[i].value, entries_are_shared(map), rows[i].is_on);
        json_decref(map);
    }
}

TEST(how_long_a_site_may_be_silent_is_an_annotation_too)
{
    static const struct {
        const char *value;
        uint32_t want;
    } rows[] = {{"10m", 600000}, {"1m30s", 90000}, {"", 0}, {"soon", 0}, {"-1m", 0}, {"9000h", 0}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *map = json_pack("{s:{s:{s:s}}}", "metadata", "annotations",
                                "skupper.io/service-sync-site-ttl", rows[i].value);

        CHECK_EQ_FOR(rows[i].value, entries_ttl_ms(map), rows[i].want);
        json_decref(map);
    }
}

TEST(what_others_announce_is_written_and_taken_away)
{
    static const struct {
        const char *why, *before, *told, *after; // NULL: nothing to do
    } rows[] = {
        {"new", "{" MINE "}", TOLD, "{" MINE ", " FAR "}"},
        {"there already", "{" MINE ", " FAR "}", TOLD, NULL},
        {"changed",
         "{'f': {'address': 'f', 'ports': [9], 'exposeIngress': '', 'targets': [], 'origin':"
         " 'east'}}",
         TOLD, "{" FAR "}"},
        {"of another site now",
         "{'f': {'address': 'f', 'ports': [3], 'exposeIngress': '', 'targets': [], 'origin':"
         " 'north'}}",
         TOLD, "{" FAR "}"},
        {"without a Service here",
         "{'f': {'address': 'f', 'ports': [3], 'exposeIngress': 'Never', 'targets': [], 'origin':"
         " 'east'}}",
         TOLD, NULL},
        {"a user's", "{'f': {'address': 'f', 'ports': [1]}}", TOLD, NULL},
        {"annotated", "{'f': {'address': 'f', 'ports': [1], 'origin': 'annotation'}}", TOLD, NULL},
        {"a user's that nobody can read", "{'f': 'junk'}", TOLD, NULL},
        {"gone", "{" MINE ", " NOTED ", " FAR "}", "{}", "{" MINE ", " NOTED "}"},
        {"nothing", "{}", "{}", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *map = map_of(rows[i].before), *told = json_of(rows[i].told), *out;
        json_t *none = json_array();

        out = entries_wanted(map, told, none);
        CHECK_EQ_FOR(rows[i].why, out != NULL, rows[i].after != NULL);
        if (out)
            check(rows[i].why, entries_of(out), rows[i].after);
        json_decref(out);
        json_decref(map);
        json_decref(told);
        json_decref(none);
    }
}

TEST(the_releases_of_other_sites_stand_beside)
{
    json_t *map = map_of("{" FAR "}"), *told = json_of(TOLD), *shared = json_of(SHARED), *nobody;
    json_t *out = entries_wanted(map, told, shared);

    CHECK_STR(str_of(json_string_value(json_object_get(site_get(out, "metadata.annotations"),
                                                       "internal.skupper.io/versions"))),
              "{\"east\":\"1.8.7\"}");
    CHECK(entries_wanted(out, told, shared) == NULL);
    check("saved", entries_saved(out),
          "{'origins': [{'origin': 'east', 'version': '1.8.7', 'services': [{'address': 'f',"
          " 'ports': [3], 'exposeIngress': '', 'targets': []}]}]}");
    nobody = json_object();
    json_decref(map);
    map = entries_wanted(out, nobody, shared);
    check("annotations", json_incref((json_t *)(uintptr_t)site_get(map, "metadata.annotations")),
          "{}");
    json_decref(nobody);
    json_decref(out);
    json_decref(map);
    json_decref(told);
    json_decref(shared);
}

TEST_MAIN(CASE(what_this_site_defines_is_announced),
          CASE(sharing_is_switched_by_an_annotation_of_the_map),
          CASE(how_long_a_site_may_be_silent_is_an_annotation_too),
          CASE(what_others_announce_is_written_and_taken_away),
          CASE(the_releases_of_other_sites_stand_beside))
