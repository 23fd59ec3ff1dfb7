// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "check.h"
#include "kube/inside.h"

// All items of a text that comes in pieces, joined by '|', then what is around them.
static int story(enum cut_mode mode, const char *text, size_t step, size_t max, struct text *out)
{
    struct cutter c = {.item_max = max, .rest_max = max};
    size_t len = strlen(text), at = 0;
    int got = 0;

    cutter_reset(&c, mode);
    text_add(out, STR(""));
    out->len = 0;
    while (at < len && got >= 0) {
        struct str in = {text + at, len - at < step ? len - at : step};

        at += in.len;
        while ((got = cutter_next(&c, &in)) == 1) {
            text_add(out, (struct str){c.item.data, c.item.len});
            text_add(out, STR("|"));
        }
    }
    if (mode == CUT_ITEMS)
        text_add(out, (struct str){c.rest.data, c.rest.len});
    cutter_fini(&c);
    return got;
}

TEST(items_are_cut_wherever_the_text_is)
{
    static const struct {
        enum cut_mode mode;
        const char *text, *want;
    } rows[] = {
        {CUT_ITEMS, "{\"kind\":\"L\",\"items\":[{\"a\":1},{\"b\":[{}]}],\"metadata\":{}}",
         "{\"a\":1}|{\"b\":[{}]}|{\"kind\":\"L\",\"items\":[],\"metadata\":{}}"},
        {CUT_ITEMS, "{ \"items\" : [\n {\"a\":\"}],{\\\"\\\\\"} ,\n{} ] }",
         "{\"a\":\"}],{\\\"\\\\\"}|{}|{ \"items\" : [] }"},
        {CUT_ITEMS, "{\"items\":[]}", "{\"items\":[]}"},
        {CUT_ITEMS, "{\"items\":null,\"x\":[{\"a\":1}]}", "{\"items\":null,\"x\":[{\"a\":1}]}"},
        {CUT_ITEMS, "{\"kind\":\"items\",\"y\":[1],\"m\":{\"items\":[{}]}}",
         "{\"kind\":\"items\",\"y\":[1],\"m\":{\"items\":[{}]}}"},
        {CUT_ITEMS, "{\"items\":[{\"a\":", "{\"items\":["},
        {CUT_LINES, "{\"a\":1}\n\n{\"b\":2}\n{\"c\":", "{\"a\":1}||{\"b\":2}|"},
        {CUT_LINES, "", ""},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t step = 1; step < 80; step++) {
            struct text out = {0};

            CHECK_EQ_FOR(rows[i].text, story(rows[i].mode, rows[i].text, step, 1000, &out), 0);
            CHECK_STR(str_of(out.data), rows[i].want);
            free(out.data);
        }
}

TEST(what_is_no_list_or_too_large_is_refused)
{
    static const struct {
        enum cut_mode mode;
        const char *text;
        int want;
    } rows[] = {
        {CUT_ITEMS, "{\"items\":[{\"a\":\"0123456789012345678901234567890\"}]}", ERR_LIMIT},
        {CUT_ITEMS, "{\"message\":\"0123456789012345678901234567890\"}", ERR_LIMIT},
        {CUT_LINES, "01234567890123456789012345678901234567890\n", ERR_LIMIT},
        {CUT_ITEMS, "{\"items\":[7]}", ERR_DECODE},
        {CUT_ITEMS, "{\"items\":[\"x\"]}", ERR_DECODE},
        {CUT_ITEMS, "}}", ERR_DECODE},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t step = 1; step < 50; step += 7) {
            struct text out = {0};

            CHECK_EQ_FOR(rows[i].text, story(rows[i].mode, rows[i].text, step, 30, &out),
                         rows[i].want);
            free(out.data);
        }
}

static void check_kept(const char *object, const char *const *keep, const char *want)
{
    json_t *in = json_loads(object, 0, NULL);
    json_t *out = keep_fields(in, kube_kind("apps/v1", "Deployment"), keep);
    char *text = json_dumps(out, JSON_COMPACT | JSON_SORT_KEYS);

    CHECK_STR(str_of(text), want);
    free(text);
    json_decref(out);
    json_decref(in);
}

#define HEAD "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":"

TEST(only_the_fields_that_are_used_are_kept)
{
    static const char *const list[] = {"spec.ports.name", "spec.ports.port", NULL};
    static const char *const keys[] = {"metadata.annotations[skupper.io/*]", "metadata.labels[a.b]",
                                       NULL};
    static const char *const both[] = {"spec", "spec.ports.name", NULL};
    static const char *const none[] = {"status.nothing.at[all]", "x[", NULL};

    check_kept("{\"metadata\":{\"name\":\"n\",\"uid\":\"u\",\"resourceVersion\":\"5\"},"
               "\"spec\":{\"ports\":[{\"name\":\"p\",\"port\":1,\"x\":2},{\"port\":2},7],\"y\":1}}",
               list,
               HEAD
               "{\"name\":\"n\",\"uid\":\"u\"},\"spec\":{\"ports\":[{\"name\":\"p\",\"port\":1},"
               "{\"port\":2},{}]}}");
    check_kept("{\"metadata\":{\"name\":\"n\",\"labels\":{\"a.b\":\"1\",\"a\":\"2\"},"
               "\"annotations\":{\"skupper.io/proxy\":\"tcp\",\"skupper.iox\":\"\",\"z\":\"\"}}}",
               keys,
               HEAD "{\"annotations\":{\"skupper.io/proxy\":\"tcp\"},\"labels\":{\"a.b\":\"1\"},"
                    "\"name\":\"n\"}}");
    check_kept("{\"metadata\":{\"name\":\"n\"},\"spec\":{\"ports\":[{\"name\":\"p\",\"q\":1}]}}",
               both, HEAD "{\"name\":\"n\"},\"spec\":{\"ports\":[{\"name\":\"p\",\"q\":1}]}}");
    check_kept("{\"metadata\":{\"name\":\"n\"},\"status\":{\"nothing\":[1,2]},\"x\":1}", none,
               HEAD "{\"name\":\"n\"},\"status\":{\"nothing\":[{},{}]}}");
}

TEST(without_a_choice_all_but_the_bookkeeping_is_kept)
{
    check_kept("{\"metadata\":{\"name\":\"n\",\"managedFields\":[1],\"resourceVersion\":\"5\","
               "\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":\"x\"}},"
               "\"data\":{\"a\":\"b\"}}",
               NULL,
               "{\"apiVersion\":\"apps/v1\",\"data\":{\"a\":\"b\"},\"kind\":\"Deployment\","
               "\"metadata\":{\"name\":\"n\"}}");
    check_kept("{}", NULL, "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\"}");
}

TEST_MAIN(CASE(items_are_cut_wherever_the_text_is), CASE(what_is_no_list_or_too_large_is_refused),
          CASE(only_the_fields_that_are_used_are_kept),
          CASE(without_a_choice_all_but_the_bookkeeping_is_kept))
