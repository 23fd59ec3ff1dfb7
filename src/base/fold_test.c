// SPDX-License-Identifier: Apache-2.0
#include "base/fold.h"

#include "check.h"

TEST(a_value_folded_and_unfolded_is_what_it_was)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "{\"a\": [1, -2, 3.5, 1.0, true, null, \"\\u0000 \\\" \\u00e4 \\ud83d\\ude00\"]}",
        "{\"b\": {}}",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *value = json_loads(texts[i], JSON_ALLOW_NUL, NULL), *other = json_incref(value);

        json_fold(&value);
        CHECK(json_is_string(value));
        json_fold(&value);
        json_unfold(&value);
        CHECK(json_equal(value, other));
        json_unfold(&value);
        CHECK(json_equal(value, other));
        json_decref(value);
        json_decref(other);
    }
}

TEST(nothing_is_folded_into_nothing)
{
    json_t *none = NULL;

    json_fold(&none);
    CHECK(none == NULL);
    json_unfold(&none);
    CHECK(none == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_value_folded_and_unfolded_is_what_it_was),
        CASE(nothing_is_folded_into_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
