// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "site/site.h"

static const char ca[] = "-----BEGIN CERTIFICATE-----\nQ0E=\n-----END CERTIFICATE-----\n";

static json_t *endpoints(const char *json)
{
    json_t *list = json_loads(json, 0, NULL);

    CHECK(list);
    return list;
}

static const char two_roles[] =
    "[{\"name\": \"inter-router\", \"host\": \"203.0.113.7\", \"port\": \"55671\", \"group\": "
    "\"g\"},"
    " {\"name\": \"edge\", \"host\": \"203.0.113.7\", \"port\": \"45671\", \"group\": \"g\"}]";

TEST(a_token_file_has_the_form_others_write)
{
    char *text =
        site_token_text("west-0d8c", "https://203.0.113.9:9090/2f0e", "8q1xyzABCdef", ca, 0);

    CHECK_STR(str_of(text), "apiVersion: skupper.io/v2alpha1\n"
                            "kind: AccessToken\n"
                            "metadata:\n"
                            "  name: west-0d8c\n"
                            "spec:\n"
                            "  ca: |\n"
                            "    -----BEGIN CERTIFICATE-----\n"
                            "    Q0E=\n"
                            "    -----END CERTIFICATE-----\n"
                            "  code: 8q1xyzABCdef\n"
                            "  linkCost: 1\n"
                            "  url: https://203.0.113.9:9090/2f0e\n");
    free(text);
}

TEST(a_token_reads_back)
{
    char *text = site_token_text("west", "https://h:1/u", "123456", ca, 5);
    struct site_token t = {0};

    CHECK_EQ(site_token_read("t.yaml", str_of(text), &t, NULL), 0);
    CHECK_EQ(t.kind, SITE_TOKEN_ACCESS);
    CHECK_STR(str_of(t.name), "west");
    CHECK_STR(str_of(t.url), "https://h:1/u");
    CHECK_STR(str_of(t.code), "123456"); // text, although of digits
    CHECK_STR(str_of(t.ca), ca);
    CHECK_EQ(t.link_cost, 5);
    site_token_fini(&t);
    free(text);
}

TEST(links_travel_as_a_secret_and_a_link_for_each_group)
{
    json_t *ends = endpoints(two_roles);
    struct site_links l = {0}, back = {0};
    char *text, *key;

    CHECK(site_links_make("west", "CA", "CERT", "KEY", ends, &l));
    text = site_links_text(&l);
    CHECK_STR(str_of(text), "---\n"
                            "apiVersion: v1\n"
                            "data:\n"
                            "  ca.crt: Q0E=\n"
                            "  tls.crt: Q0VSVA==\n"
                            "  tls.key: S0VZ\n"
                            "kind: Secret\n"
                            "metadata:\n"
                            "  name: west\n"
                            "type: kubernetes.io/tls\n"
                            "---\n"
                            "apiVersion: skupper.io/v2alpha1\n"
                            "kind: Link\n"
                            "metadata:\n"
                            "  name: west\n"
                            "spec:\n"
                            "  endpoints:\n"
                            "  - group: g\n"
                            "    host: 203.0.113.7\n"
                            "    name: inter-router\n"
                            "    port: \"55671\"\n"
                            "  - group: g\n"
                            "    host: 203.0.113.7\n"
                            "    name: edge\n"
                            "    port: \"45671\"\n"
                            "  tlsCredentials: west\n");
    CHECK_EQ(site_links_read("x", str_of(text), &back, NULL), 0);
    CHECK(json_equal(l.secret, back.secret));
    CHECK(json_equal(l.links, back.links));
    key = site_secret_get(back.secret, "tls.key");
    CHECK_STR(str_of(key), "KEY");
    free(key);
    free(text);
    site_links_fini(&back);
    site_links_fini(&l);
    json_decref(ends);
}

TEST(several_groups_make_several_links)
{
    json_t *ends = endpoints("[{\"name\": \"inter-router\", \"host\": \"a\", \"port\": \"1\", "
                             "\"group\": \"skupper-router\"}, {\"name\": \"inter-router\", "
                             "\"host\": \"b\", \"port\": \"2\", \"group\": \"skupper-router-2\"}]");
    struct site_links l = {0};
    json_t *none = json_array();

    CHECK(site_links_make("west", "CA", "CERT", "KEY", ends, &l));
    CHECK_EQ(json_array_size(l.links), 2);
    for (int i = 0; i < 2; i++) {
        const json_t *link = json_array_get(l.links, (size_t)i);

        CHECK_STR(str_of(site_text(link, "metadata.name")), i == 0 ? "west-1" : "west-2");
        CHECK_STR(str_of(site_text(link, "spec.tlsCredentials")), "west");
    }
    site_links_fini(&l);
    CHECK(!site_links_make("west", "CA", "CERT", "KEY", none, &l));
    json_decref(none);
    json_decref(ends);
}

TEST(what_others_write_is_read_in_any_order_and_form)
{
    static const char secret[] =
        "apiVersion: v1\nkind: Secret\nmetadata:\n  creationTimestamp: null\n  name: w\n"
        "  namespace: far\n  uid: 12\n  labels: {a: b}\n"
        "type: kubernetes.io/tls\ndata: {ca.crt: Q0E=, tls.crt: Q0VSVA==, tls.key: S0VZ, x: "
        "eA==}\n";
    static const char link[] =
        "apiVersion: skupper.io/v2alpha1\nkind: Link\nmetadata: {name: w, namespace: far}\n"
        "spec:\n  endpoints:\n  - {name: inter-router, host: h, port: 55671, more: 1}\n"
        "  tlsCredentials: w\n  unknown: kept\nstatus: {}\n";
    static const char other[] = "kind: ConfigMap\nmetadata: {name: x}\n";
    char *orders[] = {
        str_fmt("%s---\n%s", secret, link),
        str_fmt("---\n%s---\n%s---\n%s---\n", link, other, secret),
        xstrdup("{\"kind\": \"List\", \"items\": [{\"kind\": \"Link\", \"metadata\": {\"name\": "
                "\"w\"}, \"spec\": {\"tlsCredentials\": \"w\", \"unknown\": \"kept\", "
                "\"endpoints\": [{\"name\": \"edge\"}]}}, {\"kind\": \"Secret\", \"metadata\": "
                "{\"name\": \"w\", \"labels\": {\"a\": \"b\"}}, \"stringData\": {\"ca.crt\": "
                "\"CA\", \"tls.crt\": \"CERT\", \"tls.key\": \"KEY\"}}]}"),
    };

    for (size_t i = 0; i < 3; i++) {
        struct site_links l = {0};
        struct why why = {""};
        char *key;

        if (site_links_read("f", str_of(orders[i]), &l, &why) < 0)
            fail_msg("%s", why.text);
        CHECK_EQ(json_array_size(l.links), 1);
        CHECK_STR(str_of(site_text(json_array_get(l.links, 0), "spec.unknown")), "kept");
        CHECK(!site_get(json_array_get(l.links, 0), "metadata.namespace"));
        CHECK(!json_object_get(json_array_get(l.links, 0), "status"));
        CHECK_STR(str_of(site_text(l.secret, "metadata.labels.a")), "b");
        CHECK(!site_get(l.secret, "metadata.uid"));
        key = site_secret_get(l.secret, "tls.key");
        CHECK_STR(str_of(key), "KEY");
        CHECK_EQ(json_object_size(json_object_get(l.secret, "data")), 3);
        site_links_set_cost(&l, 0);
        CHECK(!site_get(json_array_get(l.links, 0), "spec.cost"));
        site_links_set_cost(&l, 7);
        CHECK_EQ(json_integer_value(site_get(json_array_get(l.links, 0), "spec.cost")), 7);
        free(key);
        free(orders[i]);
        site_links_fini(&l);
    }
}

TEST(what_makes_no_link_is_told_with_its_line)
{
    static const char secret[] =
        "kind: Secret\nmetadata: {name: w}\ndata: {ca.crt: Q0E=, tls.crt: Q0U=, tls.key: S0U=}\n";
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "f:1: there is no Link in it"},
        {"a: 1\n", "f:1: there is no Link in it"},
        {"[]\n", "f:1: there is no Link in it"},
        {"kind: Link\nmetadata: {name: w}\nspec: {tlsCredentials: w}\n",
         "f:3: spec.endpoints: a Link needs one at least"},
        {"kind: Link\nspec: {endpoints: [{}]}\n", "f:1: metadata.name: this is no name"},
        {"kind: Link\nmetadata:\n  name: ../x\nspec: {endpoints: [{}]}\n",
         "f:3: metadata.name: this is no name"},
        {"kind: Link\nmetadata: {name: w}\nspec: {tlsCredentials: v, endpoints: [{}]}\n---\n",
         "f:1: Link w uses the Secret 'v', but 'w' is the one that is there"},
        {"kind: Secret\nmetadata: {name: w}\ndata:\n  ca.crt: Q0E=\n  tls.crt: '*'\n",
         "f:3: data: tls.crt is missing, or no base64"},
        {"---\n", "f:1: there is no Link in it, only a Secret"},
        {"kind: Link\nspec: {\n", "f:3: "},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool has_secret = i == 6 || i == 8;
        char *text = str_fmt("%s%s", rows[i].text, has_secret ? secret : "");
        struct site_links l = {0};
        struct why why = {""};

        CHECK(site_links_read("f", str_of(text), &l, &why) < 0);
        if (!str_starts(str_of(why.text), str_of(rows[i].words)))
            fail_msg("%s, not %s", why.text, rows[i].words);
        CHECK(!l.links && !l.secret);
        free(text);
    }
}

TEST(a_v1_certificate_token_becomes_a_secret_and_a_link)
{
    static const char text[] =
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata:\n  name: conn1\n"
        "  labels: {skupper.io/type: connection-token}\n  annotations:\n"
        "    inter-router-host: west.example\n    inter-router-port: \"443\"\n"
        "    edge-host: edge.example\n    edge-port: \"444\"\n"
        "    skupper.io/generated-by: 1b9f\n    skupper.io/cost: \"3\"\n"
        "data: {ca.crt: Q0E=, tls.crt: Q0VSVA==, tls.key: S0VZ}\n";
    struct site_token t = {0};
    const json_t *link;

    CHECK_EQ(site_token_read("f", str_of(text), &t, NULL), 0);
    CHECK_EQ(t.kind, SITE_TOKEN_LINKS);
    CHECK_STR(str_of(t.name), "conn1");
    CHECK_STR(str_of(t.origin), "1b9f");
    CHECK_EQ(json_array_size(t.links.links), 1);
    CHECK_EQ(json_object_size(site_get(t.links.secret, "metadata.annotations")), 1);
    CHECK(!site_get(t.links.secret, "metadata.labels"));
    link = json_array_get(t.links.links, 0);
    CHECK_STR(str_of(site_text(link, "metadata.name")), "conn1");
    CHECK_STR(str_of(site_text(link, "spec.tlsCredentials")), "conn1");
    CHECK_EQ(json_integer_value(site_get(link, "spec.cost")), 3);
    CHECK_STR(str_of(site_text(link, "spec.endpoints[0].name")), "inter-router");
    CHECK_STR(str_of(site_text(link, "spec.endpoints[0].port")), "443");
    CHECK_STR(str_of(site_text(link, "spec.endpoints[1].host")), "edge.example");
    site_token_fini(&t);
}

TEST(a_v1_claim_is_read_and_redeemed_the_v1_way)
{
    static const char text[] = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: 4a7d\n"
                               "  labels: {skupper.io/type: token-claim}\n  annotations:\n"
                               "    skupper.io/url: https://203.0.113.7:8081/4a7d\n"
                               "    skupper.io/generated-by: 1b9f\n"
                               "    skupper.io/claim-expiration: \"2027-01-15T08:00:00Z\"\n"
                               "data: {password: YWJj, ca.crt: Q0E=}\n";
    struct site_token t = {0};
    struct site_redeeming how = {0};

    CHECK_EQ(site_token_read("f", str_of(text), &t, NULL), 0);
    CHECK_EQ(t.kind, SITE_TOKEN_CLAIM);
    CHECK_STR(str_of(t.code), "abc");
    CHECK_STR(str_of(t.ca), "CA");
    CHECK_STR(str_of(t.origin), "1b9f");
    CHECK_EQ(t.expires, 1800000000);
    CHECK_EQ(site_redeeming_make(&t, "my-site", &how, NULL), 0);
    CHECK_STR(str_of(how.url), "https://203.0.113.7:8081/4a7d?site-version=1.9.6");
    CHECK_EQ(how.count, 1);
    CHECK_STR(str_of(how.names[0]), "skupper-site-name");
    CHECK_STR(str_of(how.values[0]), "my-site");
    free(how.url);
    site_token_fini(&t);
}

TEST(a_token_that_is_not_whole_is_told_with_line_and_field)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"kind: AccessToken\nmetadata: {name: w}\nspec:\n  url: u\n  ca: c\n",
         "f:3: spec.code: a token needs this"},
        {"kind: AccessToken\nmetadata: {name: w}\nspec: {url: u, code: 1234, ca: c}\n",
         "f:3: spec.code: a token needs this"},
        {"kind: AccessToken\nspec: {url: u, code: x, ca: c}\n", "f:1: metadata.name: the name"},
        {"kind: AccessToken\nmetadata: {name: w}\nspec:\n  {url: u, code: x, ca: c, linkCost: "
         "-1}\n",
         "f:4: spec.linkCost: a number"},
        {"kind: AccessToken\n---\nkind: AccessToken\n", "f:3: kind: a second token"},
        {"kind: Site\n", "f is neither an AccessToken nor a link: f:1: there is no Link in it"},
        {"kind: Secret\nmetadata: {name: w, labels: {skupper.io/type: token-claim}}\n",
         "f:2: metadata.annotations: skupper.io/url is missing"},
        {"kind: Secret\nmetadata: {name: w, annotations: {skupper.io/url: u}}\ndata: {}\n",
         "f:3: data: password is missing"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct site_token t = {0};
        struct why why = {""};

        CHECK_EQ_FOR(rows[i].words, site_token_read("f", str_of(rows[i].text), &t, &why),
                     ERR_INVALID);
        if (!str_starts(str_of(why.text), str_of(rows[i].words)))
            fail_msg("%s, not %s", why.text, rows[i].words);
        CHECK(!t.name);
    }
}

// For members that their owner frees; here nobody does.
static char *fixed(const char *text)
{
    return (char *)(uintptr_t)text;
}

static struct site_token token(const char *url)
{
    return (struct site_token){.name = fixed("west"),
                               .url = fixed(url),
                               .code = fixed("c"),
                               .ca = fixed("CA"),
                               .origin = fixed(""),
                               .link_cost = 4};
}

TEST(only_https_with_a_ca_is_redeemed)
{
    static const char *const urls[] = {"http://h/u",    "h/u",       "https://",
                                       "https://h/a b", "ftp://h/u", ""};
    struct site_token t;
    struct site_redeeming how = {0};
    struct why why = {""};

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        t = token(urls[i]);
        CHECK_EQ_FOR(urls[i], site_redeeming_make(&t, "s", &how, &why), ERR_INVALID);
        CHECK(strstr(why.text, "its scheme must be https"));
    }
    t = token("https://h/u");
    t.ca = fixed("");
    CHECK_EQ(site_redeeming_make(&t, "s", &how, &why), ERR_INVALID);
    CHECK_STR(str_of(why.text), "the token does not have a CA");
    t = token("HTTPS://h/u");
    CHECK_EQ(site_redeeming_make(&t, "s", &how, &why), 0);
    CHECK_EQ(how.count, 2);
    CHECK_STR(str_of(how.names[0]), "name");
    CHECK_STR(str_of(how.values[0]), "west");
    CHECK_STR(str_of(how.names[1]), "subject");
    CHECK_STR(str_of(how.values[1]), "s");
    free(how.url);
}

TEST(an_answer_is_links_or_the_reason_why_not)
{
    static const struct {
        int status;
        const char *body;
        int err;
        const char *words;
    } rows[] = {
        {404, "No such claim\n", ERR_NOT_FOUND,
         "https://h/u answered 404 No such claim: the token is not known there, or has expired; "
         "have a new one issued"},
        {404, "No such access granted\n", ERR_NOT_FOUND,
         "https://h/u answered 404 No such access granted: the token has been redeemed as often as "
         "it may be; have a new one issued"},
        {403, "Redemption\x1b[1m", ERR_INVALID,
         "https://h/u answered 403 Redemption?[1m: the code is not the right one; have a new token "
         "issued"},
        {503, "", ERR_AGAIN,
         "https://h/u answered 503: that is trouble at the other site; it will be tried again"},
        {429, "", ERR_AGAIN,
         "https://h/u answered 429: too many attempts from here; it will be tried again"},
        {302, "", ERR_INVALID,
         "https://h/u answered 302: this is not what a site answers; is the URL the right one?"},
        {200, "<html>", ERR_INVALID, "https://h/u: the answer:1: there is no Link in it"},
        {200, "{", ERR_INVALID, "https://h/u: the answer:2: "},
        {200, "kind: Link\nmetadata: {name: w}\nspec: {endpoints: [{}]}", ERR_INVALID,
         "https://h/u: the answer: there is no Secret in it"},
    };
    struct site_token t = token("https://h/u");
    json_t *ends = endpoints(two_roles);
    struct site_links l = {0};
    char *text;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct why why = {""};

        CHECK_EQ_FOR(rows[i].words,
                     site_redeeming_read(&t, rows[i].status, str_of(rows[i].body), &l, &why),
                     rows[i].err);
        if (!str_starts(str_of(why.text), str_of(rows[i].words)))
            fail_msg("%s, not %s", why.text, rows[i].words);
        CHECK(!l.links && !l.secret);
    }
    CHECK(site_links_make("west", "CA", "CERT", "KEY", ends, &l));
    text = site_links_text(&l);
    site_links_fini(&l);
    CHECK_EQ(site_redeeming_read(&t, 200, str_of(text), &l, NULL), 0);
    CHECK_EQ(json_integer_value(site_get(json_array_get(l.links, 0), "spec.cost")), 4);
    site_links_fini(&l);
    free(text);
    json_decref(ends);
}

TEST(a_controller_tells_failures_in_words_that_are_known)
{
    static const struct {
        int status;
        const char *body, *words;
    } rows[] = {
        {404, "No such claim\n", "Controller got failed response: 404 (Not Found) No such claim"},
        {403, "Redemption of access token refused\n",
         "Controller got failed response: 403 (Forbidden) Redemption of access token refused"},
        {200, "[", "Controller could not decode response"},
    };
    struct site_token t = token("https://h/u");
    struct site_redeeming how = {0};
    struct site_links l = {0};
    struct why why = {""};

    t.is_for_controller = true;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK(site_redeeming_read(&t, rows[i].status, str_of(rows[i].body), &l, &why) < 0);
        if (!str_starts(str_of(why.text), str_of(rows[i].words)))
            fail_msg("%s, not %s", why.text, rows[i].words);
    }
    t.url = fixed("http://h/u");
    CHECK_EQ(site_redeeming_make(&t, "s", &how, &why), ERR_INVALID);
    CHECK_STR(str_of(why.text), "token url scheme must be https");
    t.ca = fixed("");
    CHECK_EQ(site_redeeming_make(&t, "s", &how, &why), ERR_INVALID);
    CHECK_STR(str_of(why.text), "token does not have a CA");
}

TEST(a_refusal_for_ever_is_told_from_trouble)
{
    static const struct {
        const char *message, *words; // NULL: it may be redeemed yet
    } rows[] = {
        {"", NULL},
        {"Pending", NULL},
        {"Controller got error: https://h: no answer within 10 s", NULL},
        {"Controller got failed response: 503 (Service Unavailable) ", NULL},
        {"Controller got failed response: 429 (Too Many Requests) slowly", NULL},
        {"Controller got failed response: many", NULL},
        {"Controller got failed response: 403 (Forbidden) ", "the code is not the right one"},
        {"Controller got failed response: 404 (Not Found) No such access granted",
         "redeemed as often as it may be"},
        {"Controller got failed response: 404 (Not Found) 404 page not found", "has expired"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *words = site_redeeming_refusal(rows[i].message);

        if (rows[i].words ? !words || !strstr(words, rows[i].words) : words != NULL)
            fail_msg("%s: %s", rows[i].message, words ? words : "none");
    }
}

TEST(an_answer_replaces_nothing_but_what_was_asked_for)
{
    struct site_token t = token("https://h/u");
    json_t *ends = endpoints(two_roles);
    struct site_links l = {0};
    char *text, *more;
    struct why why = {""};

    CHECK(site_links_make("victim", "CA", "CERT", "KEY", ends, &l));
    text = site_links_text(&l);
    site_links_fini(&l);
    CHECK_EQ(site_redeeming_read(&t, 200, str_of(text), &l, NULL), 0);
    CHECK_STR(str_of(site_text(l.secret, "metadata.name")), "west");
    CHECK_STR(str_of(site_text(json_array_get(l.links, 0), "metadata.name")), "west");
    CHECK_STR(str_of(site_text(json_array_get(l.links, 0), "spec.tlsCredentials")), "west");
    site_links_fini(&l);
    for (int count = 2; count <= 17; count++) {
        more = str_fmt("%s---\n{kind: Link, metadata: {name: victim}, spec: {tlsCredentials: "
                       "victim, endpoints: [{}]}}\n",
                       text);
        free(text);
        text = more;
        if (count == 2) {
            CHECK_EQ(site_redeeming_read(&t, 200, str_of(text), &l, NULL), 0);
            CHECK_STR(str_of(site_text(json_array_get(l.links, 1), "metadata.name")), "west-2");
            site_links_fini(&l);
        }
    }
    CHECK_EQ(site_redeeming_read(&t, 200, str_of(text), &l, &why), ERR_INVALID);
    CHECK_STR(str_of(why.text), "https://h/u: the answer: more than 16 Links");
    free(text);
    json_decref(ends);
}

TEST_MAIN(CASE(a_token_file_has_the_form_others_write), CASE(a_token_reads_back),
          CASE(links_travel_as_a_secret_and_a_link_for_each_group),
          CASE(several_groups_make_several_links),
          CASE(what_others_write_is_read_in_any_order_and_form),
          CASE(what_makes_no_link_is_told_with_its_line),
          CASE(a_v1_certificate_token_becomes_a_secret_and_a_link),
          CASE(a_v1_claim_is_read_and_redeemed_the_v1_way),
          CASE(a_token_that_is_not_whole_is_told_with_line_and_field),
          CASE(only_https_with_a_ca_is_redeemed), CASE(an_answer_is_links_or_the_reason_why_not),
          CASE(a_controller_tells_failures_in_words_that_are_known),
          CASE(a_refusal_for_ever_is_told_from_trouble),
          CASE(an_answer_replaces_nothing_but_what_was_asked_for))
