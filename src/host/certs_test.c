// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "host/inside.h"
#include "pki/pki.h"

enum { NOW = 1800000000, DAY = 86400, YEAR = 365 * DAY };

// A namespace in a directory of its own.
struct rig {
    char top[64];
    struct host_paths paths;
    struct memory memory;
    json_t *wishes, *facts;
    struct site_input inputs[2];
    size_t input_count;
    int64_t renew_at;
};

static void rig_init(struct rig *r)
{
    *r = (struct rig){.top = "/tmp/skupper-certs-XXXXXX", .wishes = json_array()};
    CHECK(mkdtemp(r->top));
    r->paths = (struct host_paths){.ns = r->top, .root = r->top};
    CHECK_EQ(memory_open(&r->memory, &r->paths, NULL), 0);
}

static void rig_fini(struct rig *r)
{
    memory_close(&r->memory);
    json_decref(r->wishes);
    json_decref(r->facts);
    CHECK_EQ(host_remove(r->top, NULL), 0);
}

static void wish_ca(struct rig *r, const char *name)
{
    json_array_append_new(r->wishes,
                          json_pack("{s:s, s:s, s:s, s:[], s:b, s:b}", "name", name, "ca", "",
                                    "subject", name, "hosts", "signing", 1, "ours", 1));
}

static void wish_leaf(struct rig *r, const char *name, const char *ca, const char *host)
{
    json_array_append_new(r->wishes, json_pack("{s:s, s:s, s:s, s:[s], s:b}", "name", name, "ca",
                                               ca, "subject", name, "hosts", host, "server", 1));
}

// A CA and a leaf of it, made.
static void rig_init_pair(struct rig *r)
{
    rig_init(r);
    wish_ca(r, "ca");
    wish_leaf(r, "leaf", "ca", "west.example");
}

static void ensure(struct rig *r, int64_t now)
{
    json_decref(r->facts);
    r->facts = certs_ensure(&r->memory, &r->paths, r->wishes, r->inputs, r->input_count, now,
                            &r->renew_at);
}

static void ensure_all(struct rig *r, int64_t now)
{
    const char *name;
    json_t *fact;

    ensure(r, now);
    json_object_foreach(r->facts, name, fact) CHECK_STR(str_of(site_text(fact, "error")), "");
}

static const char *error_of(const struct rig *r, const char *name)
{
    return site_text(json_object_get(r->facts, name), "error");
}

static int64_t number_of(const struct rig *r, const char *name, const char *what)
{
    const json_t *number = json_object_get(json_object_get(r->facts, name), what);

    return json_is_integer(number) ? json_integer_value(number) : -1;
}

// A file below the namespace; the text is the caller's.
static char *text_of(const struct rig *r, const char *path)
{
    char *whole = host_path(&r->paths, "%s", path), *text = NULL;
    size_t len = 0;

    CHECK_EQ(host_read(whole, &text, &len, NULL), 0);
    free(whole);
    return text;
}

static bool is_same(const struct rig *r, const char *path, const char *was)
{
    char *is = text_of(r, path);
    bool same = strcmp(is, was) == 0;

    free(is);
    return same;
}

static void put(const struct rig *r, const char *directory, const char *file, const char *text)
{
    char *path = host_path(&r->paths, "%s", directory), *whole = str_fmt("%s/%s", path, file);

    CHECK_EQ(host_make_directory(path, NULL), 0);
    CHECK_EQ(host_write(whole, str_of(text), 0600, NULL), 0);
    free(whole);
    free(path);
}

// Something that stands where a key belongs and that nobody can read, not even root.
static void make_unreadable(const struct rig *r, const char *path)
{
    char *whole = host_path(&r->paths, "%s", path);

    CHECK_EQ(host_remove(whole, NULL), 0);
    CHECK_EQ(host_make_directory(whole, NULL), 0);
    free(whole);
}

static struct pki_pair make_foreign(const char *name, bool is_ca, const struct pki_pair *ca)
{
    static const char *const hosts[] = {"west.example"};
    struct pki_wish w = {.name = name,
                         .hosts = hosts,
                         .host_count = is_ca ? 0 : 1,
                         .key = PKI_EC,
                         .not_before = NOW - DAY,
                         .not_after = NOW + YEAR};
    struct pki_pair out = {0};

    CHECK_EQ(is_ca ? pki_make_ca(&w, &out, NULL)
                   : pki_make_leaf(&w, str_of(ca->cert), str_of(ca->key), &out, NULL),
             0);
    return out;
}

TEST(certificates_are_made_with_keys_for_their_owner_alone)
{
    struct rig r;
    struct stat st;
    char *path;

    rig_init_pair(&r);
    ensure_all(&r, NOW);
    CHECK_EQ(number_of(&r, "leaf", "ordinal"), 0);
    CHECK_STR(str_of(site_text(json_object_get(r.facts, "leaf"), "expires")),
              "2032-01-14T08:00:00Z");
    path = host_path(&r.paths, "runtime/certs/leaf/tls.key");
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0600);
    free(path);
    rig_fini(&r);
}

TEST(what_is_right_stays)
{
    struct rig r;
    char *leaf, *ca;

    rig_init_pair(&r);
    ensure_all(&r, NOW);
    leaf = text_of(&r, "runtime/certs/leaf/tls.crt");
    ca = text_of(&r, "runtime/issuers/ca/tls.crt");
    ensure_all(&r, NOW + 3 * YEAR);
    CHECK(is_same(&r, "runtime/certs/leaf/tls.crt", leaf));
    CHECK(is_same(&r, "runtime/issuers/ca/tls.crt", ca));
    CHECK_EQ(number_of(&r, "leaf", "ordinal"), 0);
    free(leaf);
    free(ca);
    rig_fini(&r);
}

TEST(other_hosts_make_another_certificate_and_the_ordinal_counts_it)
{
    struct rig r;
    json_t *hosts;

    rig_init_pair(&r);
    ensure_all(&r, NOW);
    hosts = json_object_get(json_array_get(r.wishes, 1), "hosts");
    for (int i = 1; i <= 4; i++) {
        char host[32];

        snprintf(host, sizeof(host), "west%d.example", i);
        json_array_append_new(hosts, json_string(host));
        ensure_all(&r, NOW + i);
        CHECK_EQ(number_of(&r, "leaf", "ordinal"), i);
        CHECK_EQ(number_of(&r, "leaf", "oldest"), i > 2 ? i - 2 : 0);
        CHECK_EQ(number_of(&r, "ca", "ordinal"), 0);
    }
    rig_fini(&r);
}

TEST(a_leaf_that_was_removed_is_made_again)
{
    struct rig r;
    char *path;

    rig_init_pair(&r);
    ensure_all(&r, NOW);
    path = host_path(&r.paths, "runtime/certs/leaf");
    CHECK_EQ(host_remove(path, NULL), 0);
    free(path);
    ensure_all(&r, NOW);
    free(text_of(&r, "runtime/certs/leaf/tls.key"));
    CHECK_EQ(number_of(&r, "leaf", "ordinal"), 1);
    rig_fini(&r);
}

TEST(a_ca_near_its_end_is_renewed_with_its_key_and_leaves_follow)
{
    struct rig r;
    char *ca, *key, *leaf, *ca_now, *leaf_now;
    int64_t later;

    rig_init_pair(&r);
    ensure_all(&r, NOW);
    ca = text_of(&r, "runtime/issuers/ca/tls.crt");
    key = text_of(&r, "runtime/issuers/ca/tls.key");
    leaf = text_of(&r, "runtime/certs/leaf/tls.crt");
    later = r.renew_at;
    CHECK(later > NOW + 4 * YEAR - DAY && later < NOW + 4 * YEAR + YEAR / 2);
    ensure_all(&r, NOW + 4 * YEAR + YEAR / 2); // past the share of both
    CHECK(is_same(&r, "runtime/issuers/ca/tls.key", key));
    CHECK_EQ(number_of(&r, "ca", "ordinal"), 1);
    CHECK_EQ(number_of(&r, "leaf", "ordinal"), 1);
    CHECK(r.renew_at > later + 3 * YEAR);
    ca_now = text_of(&r, "runtime/issuers/ca/tls.crt");
    leaf_now = text_of(&r, "runtime/certs/leaf/tls.crt");
    CHECK(strcmp(ca, ca_now) != 0);
    CHECK(is_same(&r, "runtime/certs/leaf/ca.crt", ca_now));
    // Those who linked here long ago, and those who do today.
    for (int i = 0; i < 2; i++) {
        struct pki_check check = {.cert = str_of(i ? leaf : leaf_now),
                                  .ca = str_of(i ? ca_now : ca),
                                  .now = NOW + 4 * YEAR + YEAR / 2};

        CHECK_EQ(pki_check(&check, NULL), 0);
    }
    free(ca);
    free(key);
    free(leaf);
    free(ca_now);
    free(leaf_now);
    rig_fini(&r);
}

TEST(what_was_made_while_the_clock_was_ahead_is_made_again)
{
    struct rig r;
    struct pki_check check = {.now = NOW};
    char *key, *ca, *leaf;

    rig_init_pair(&r);
    ensure_all(&r, NOW + YEAR);
    key = text_of(&r, "runtime/issuers/ca/tls.key");
    ensure_all(&r, NOW);
    CHECK(is_same(&r, "runtime/issuers/ca/tls.key", key));
    ca = text_of(&r, "runtime/issuers/ca/tls.crt");
    leaf = text_of(&r, "runtime/certs/leaf/tls.crt");
    check.ca = str_of(ca);
    check.cert = str_of(leaf);
    CHECK_EQ(pki_check(&check, NULL), 0);
    free(key);
    free(ca);
    free(leaf);
    rig_fini(&r);
}

TEST(files_of_the_user_win_when_all_are_there)
{
    struct rig r;
    struct pki_pair ca = make_foreign("their CA", true, NULL);
    struct pki_pair leaf = make_foreign("theirs", false, &ca);

    rig_init_pair(&r);
    put(&r, "input/certs/leaf", "tls.crt", leaf.cert);
    put(&r, "input/certs/leaf", "tls.key", leaf.key);
    ensure(&r, NOW);
    CHECK(!is_same(&r, "runtime/certs/leaf/tls.crt", leaf.cert)); // one is made meanwhile
    CHECK(
        strstr(error_of(&r, "leaf"), "/input/certs/leaf has tls.crt, tls.key and not ca.crt, so "));
    CHECK_EQ(number_of(&r, "leaf", "ordinal"), 0);
    put(&r, "input/certs/leaf", "ca.crt", ca.cert);
    ensure_all(&r, NOW);
    CHECK(is_same(&r, "runtime/certs/leaf/tls.crt", leaf.cert));
    CHECK(is_same(&r, "runtime/certs/leaf/ca.crt", ca.cert));
    CHECK_EQ(number_of(&r, "leaf", "ordinal"), 1);
    ensure_all(&r, NOW);
    CHECK_EQ(number_of(&r, "leaf", "ordinal"), 1);
    pki_pair_fini(&ca);
    pki_pair_fini(&leaf);
    rig_fini(&r);
}

TEST(a_part_of_a_set_names_what_is_missing)
{
    static const struct {
        const char *directory, *file, *of, *want;
    } rows[] = {
        {"input/certs/leaf", "tls.crt", "leaf", "leaf has tls.crt and not ca.crt, tls.key, so"},
        {"input/certs/leaf", "ca.crt", "leaf", "leaf has ca.crt, tls.crt and not tls.key, so"},
        {"input/issuers/ca", "tls.key", "ca", "ca has tls.key and not tls.crt, so"},
        {"input/issuers/ca", "tls.crt", "ca", "holds no certificate"},
    };
    struct rig r;

    rig_init_pair(&r);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put(&r, rows[i].directory, rows[i].file, "x");
        ensure(&r, NOW);
        CHECK(strstr(error_of(&r, rows[i].of), rows[i].want));
    }
    CHECK_EQ(number_of(&r, "leaf", "ordinal"), 0); // what is there goes on
    rig_fini(&r);
}

TEST(a_secret_with_a_certificate_and_no_key_is_told_and_touches_nothing)
{
    struct rig r;
    struct pki_pair ca = make_foreign("their CA", true, NULL);
    struct pki_pair leaf = make_foreign("theirs", false, &ca);
    json_t *secret = json_pack("{s:s, s:{s:s}, s:{s:s, s:s}}", "kind", "Secret", "metadata", "name",
                               "mine", "stringData", "ca.crt", ca.cert, "tls.crt", leaf.cert);

    rig_init_pair(&r);
    ensure_all(&r, NOW);
    json_object_set_new(json_array_get(r.wishes, 1), "secret", json_string("mine"));
    r.inputs[r.input_count++].value = secret;
    ensure(&r, NOW);
    CHECK_STR(str_of(error_of(&r, "leaf")),
              "the Secret \"mine\" has tls.crt and not tls.key, so it "
              "is not used: add what is missing");
    CHECK_EQ(number_of(&r, "leaf", "ordinal"), 0);
    CHECK(!is_same(&r, "runtime/certs/leaf/tls.crt", leaf.cert));
    json_decref(secret);
    pki_pair_fini(&ca);
    pki_pair_fini(&leaf);
    rig_fini(&r);
}

TEST(another_ca_of_the_same_length_counts_as_a_change)
{
    struct rig r;
    struct pki_pair ca = make_foreign("their CA", true, NULL);
    struct pki_pair leaf = make_foreign("theirs", false, &ca);
    char *other = str_dup(str_of(ca.cert));

    rig_init_pair(&r);
    other[40] = other[40] == 'A' ? 'B' : 'A';
    put(&r, "input/certs/leaf", "tls.crt", leaf.cert);
    put(&r, "input/certs/leaf", "tls.key", leaf.key);
    put(&r, "input/certs/leaf", "ca.crt", ca.cert);
    ensure_all(&r, NOW);
    put(&r, "input/certs/leaf", "ca.crt", other);
    ensure_all(&r, NOW);
    CHECK_EQ(number_of(&r, "leaf", "ordinal"), 1);
    free(other);
    pki_pair_fini(&ca);
    pki_pair_fini(&leaf);
    rig_fini(&r);
}

TEST(a_secret_wins_over_what_is_made)
{
    struct rig r;
    struct pki_pair ca = make_foreign("their CA", true, NULL);
    struct pki_pair leaf = make_foreign("theirs", false, &ca);
    json_t *secret =
        json_pack("{s:s, s:{s:s}, s:{s:s, s:s, s:s}}", "kind", "Secret", "metadata", "name", "mine",
                  "stringData", "ca.crt", ca.cert, "tls.crt", leaf.cert, "tls.key", leaf.key);

    rig_init_pair(&r);
    json_object_set_new(json_array_get(r.wishes, 1), "secret", json_string("mine"));
    r.inputs[r.input_count++].value = secret;
    ensure_all(&r, NOW);
    CHECK(is_same(&r, "runtime/certs/leaf/tls.crt", leaf.cert));
    json_decref(secret);
    pki_pair_fini(&ca);
    pki_pair_fini(&leaf);
    rig_fini(&r);
}

TEST(an_unreadable_key_of_the_user_is_an_error_of_its_own)
{
    struct rig r;
    struct pki_pair ca = make_foreign("their CA", true, NULL);
    struct pki_pair leaf = make_foreign("theirs", false, &ca);

    rig_init_pair(&r);
    wish_leaf(&r, "other", "ca", "east.example");
    put(&r, "input/certs/leaf", "tls.crt", leaf.cert);
    put(&r, "input/certs/leaf", "ca.crt", ca.cert);
    make_unreadable(&r, "input/certs/leaf/tls.key");
    ensure(&r, NOW);
    CHECK(strstr(error_of(&r, "leaf"), "input/certs/leaf/tls.key"));
    CHECK_STR(str_of(error_of(&r, "other")), "");
    CHECK_STR(str_of(error_of(&r, "ca")), "");
    CHECK(r.renew_at <= NOW + 60); // it is looked at again soon
    make_unreadable(&r, "input/certs/leaf/tls.key");
    put(&r, "input/certs/other", "tls.crt", leaf.cert);
    put(&r, "input/certs/other", "ca.crt", ca.cert);
    put(&r, "input/certs/other", "tls.key", ca.key);
    ensure(&r, NOW);
    CHECK_STR(str_of(error_of(&r, "other")), "the key does not belong to the certificate");
    pki_pair_fini(&ca);
    pki_pair_fini(&leaf);
    rig_fini(&r);
}

TEST(a_ca_that_cannot_be_used_is_told_and_never_replaced)
{
    static const char *const files[] = {"tls.crt", "tls.key"};

    for (size_t i = 0; i < 4; i++) { // both files: torn, and unreadable
        char path[64];
        struct rig r;
        char *leaf;

        snprintf(path, sizeof(path), "runtime/issuers/ca/%s", files[i % 2]);
        rig_init_pair(&r);
        ensure_all(&r, NOW);
        leaf = text_of(&r, "runtime/certs/leaf/tls.crt");
        if (i < 2)
            put(&r, "runtime/issuers/ca", files[i], "-----BEGIN");
        else
            make_unreadable(&r, path);
        ensure(&r, NOW);
        CHECK(strstr(error_of(&r, "ca"), "put a copy back, or remove the directory"));
        CHECK(i >= 2 || is_same(&r, path, "-----BEGIN"));
        CHECK_EQ(number_of(&r, "ca", "ordinal"), 0);
        CHECK(is_same(&r, "runtime/certs/leaf/tls.crt", leaf));
        CHECK(i == 1 || error_of(&r, "leaf")[0]);
        free(leaf);
        rig_fini(&r);
    }
}

TEST(a_crash_before_a_ca_was_whole_is_no_harm)
{
    struct rig r;
    char *path;

    rig_init_pair(&r);
    ensure_all(&r, NOW);
    path = host_path(&r.paths, "runtime/issuers/ca/tls.crt");
    CHECK_EQ(unlink(path), 0); // written last
    free(path);
    ensure_all(&r, NOW);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(certificates_are_made_with_keys_for_their_owner_alone),
        CASE(what_is_right_stays),
        CASE(other_hosts_make_another_certificate_and_the_ordinal_counts_it),
        CASE(a_leaf_that_was_removed_is_made_again),
        CASE(a_ca_near_its_end_is_renewed_with_its_key_and_leaves_follow),
        CASE(what_was_made_while_the_clock_was_ahead_is_made_again),
        CASE(files_of_the_user_win_when_all_are_there),
        CASE(a_part_of_a_set_names_what_is_missing),
        CASE(a_secret_with_a_certificate_and_no_key_is_told_and_touches_nothing),
        CASE(another_ca_of_the_same_length_counts_as_a_change),
        CASE(a_secret_wins_over_what_is_made),
        CASE(an_unreadable_key_of_the_user_is_an_error_of_its_own),
        CASE(a_ca_that_cannot_be_used_is_told_and_never_replaced),
        CASE(a_crash_before_a_ca_was_whole_is_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
