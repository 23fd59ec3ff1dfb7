// SPDX-License-Identifier: Apache-2.0
// Certificates, their Secrets, and what routers are told when one changes; labels and sizes of
// templates.
#include "controller/rig_test.h"

static const char LINK[] = "{'tlsCredentials': 'east', 'endpoints': [{'name': 'inter-router',"
                           " 'host': 'h', 'port': '1'}]}";

static void put_secret(struct cluster *c, const char *name, const char *type, const char *data)
{
    cluster_add(c, json_pack("{s:s, s:s, s:s, s:{s:s}, s:o}", "apiVersion", "v1", "kind", "Secret",
                             "type", type, "metadata", "name", name, "data", json_of(data)));
}

static json_int_t ordinal(const struct cluster *c, const char *profile)
{
    json_t *entity = cluster_entity(c, "skupper-router", "sslProfile", profile);
    json_int_t n = entity ? json_integer_value(json_object_get(entity, "ordinal")) : (json_int_t)-1;

    json_decref(entity);
    return n;
}

static void site_with_link(struct cluster *c)
{
    cluster_init(c);
    cluster_put(c, "Site", "west", "{}");
    cluster_put(c, "Link", "east", LINK);
    cluster_settle(c);
}

TEST(a_link_waits_for_its_secret_and_goes_without_it)
{
    struct cluster c;

    site_with_link(&c);
    CHECK_STATUS(&c, "Link/east", "Configured",
                 "False Error TLS credentials secret \"east\" not found");
    // Half filled, as while somebody is writing it.
    put_secret(&c, "east", "kubernetes.io/tls",
               "{'ca.crt': 'Y2E=', 'tls.crt': 'Y3J0', 'tls.key': ''}");
    cluster_settle(&c);
    CHECK_STATUS(&c, "Link/east", "Configured",
                 "False Error TLS credentials secret \"east\" has no tls.key");
    CHECK_EQ(ordinal(&c, "east-profile"), -1);
    json_object_set_new(json_object_get(cluster_get(&c, "Secret/east"), "data"), "tls.key",
                        json_string("a2V5"));
    touch(&c, cluster_get(&c, "Secret/east"));
    cluster_settle(&c);
    CHECK_STATUS(&c, "Link/east", "Configured", "True Ready OK");
    CHECK_EQ(ordinal(&c, "east-profile"), 0);
    cluster_remove(&c, "Secret/east");
    cluster_settle(&c);
    CHECK_STATUS(&c, "Link/east", "Configured",
                 "False Error TLS credentials secret \"east\" not found");
    CHECK(!cluster_entity(&c, "skupper-router", "connector", "east"));
    cluster_fini(&c);
}

TEST(a_changed_secret_raises_the_ordinal_with_one_write_to_it)
{
    struct cluster c;
    const char *context;

    site_with_link(&c);
    put_secret(&c, "east", "kubernetes.io/tls",
               "{'ca.crt': 'Y2E=', 'tls.crt': 'Y3J0', 'tls.key': 'a2V5'}");
    cluster_settle(&c);
    CHECK_EQ(writes_of(&c, "Secret/east"), 1); // whose content it is, is noted
    for (int i = 1; i <= 4; i++) {
        json_object_set_new(json_object_get(cluster_get(&c, "Secret/east"), "data"), "tls.crt",
                            json_sprintf("Y3J%d", i));
        touch(&c, cluster_get(&c, "Secret/east"));
        cluster_settle(&c);
        CHECK_EQ(ordinal(&c, "east-profile"), i);
        CHECK_EQ(writes_of(&c, "Secret/east"), 1 + i);
    }
    context = json_string_value(
        json_object_get(site_get(cluster_get(&c, "Secret/east"), "metadata.annotations"),
                        "internal.skupper.io/tls-profile-context"));
    CHECK(strstr(context, "\"profileName\":\"east-profile\",\"ordinal\":4") != NULL);
    json_t *profile = cluster_entity(&c, "skupper-router", "sslProfile", "east-profile");

    CHECK_EQ(json_integer_value(json_object_get(profile, "oldestValidOrdinal")), 2);
    json_decref(profile);
    cluster_fini(&c);
}

// The Secret's word comes before that of the Site.
TEST(how_many_former_certificates_count_can_be_said)
{
    static const struct {
        const char *site, *secret; // "": nothing is said
        int oldest;                // after four changes
    } rows[] = {{"{}", "", 2},
                {"{'settings': {'tls-prior-valid-revisions': '0'}}", "", 4},
                {"{'settings': {'tls-prior-valid-revisions': '1'}}", "3", 1},
                {"{'settings': {'tls-prior-valid-revisions': 'some'}}", "", 2}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        json_t *profile;

        cluster_init(&c);
        cluster_put(&c, "Site", "west", rows[i].site);
        cluster_put(&c, "Link", "east", LINK);
        put_secret(&c, "east", "kubernetes.io/tls",
                   "{'ca.crt': 'Y2E=', 'tls.crt': 'Y3J0', 'tls.key': 'a2V5'}");
        if (rows[i].secret[0])
            json_object_set_new(
                metadata_of(cluster_get(&c, "Secret/east")), "annotations",
                json_pack("{s:s}", "skupper.io/tls-prior-valid-revisions", rows[i].secret));
        cluster_settle(&c);
        for (int k = 1; k <= 4; k++) {
            json_object_set_new(json_object_get(cluster_get(&c, "Secret/east"), "data"), "tls.crt",
                                json_sprintf("Y3J%d", k));
            touch(&c, cluster_get(&c, "Secret/east"));
            cluster_settle(&c);
        }
        profile = cluster_entity(&c, "skupper-router", "sslProfile", "east-profile");
        CHECK_EQ_FOR(rows[i].site,
                     json_integer_value(json_object_get(profile, "oldestValidOrdinal")),
                     rows[i].oldest);
        json_decref(profile);
        cluster_fini(&c);
    }
}

TEST(a_secret_is_made_anew_when_it_is_not_what_its_certificate_wants)
{
    static const struct {
        const char *why, *data; // what becomes of the Secret; NULL: only time passes
        int64_t passed;
    } rows[] = {
        {"garbage", "{'ca.crt': 'eA==', 'tls.crt': 'eA==', 'tls.key': 'eA=='}", 0},
        {"half of it is gone", "{}", 0},
        {"its end is near", NULL, (int64_t)5 * 365 * 86400 * 9 / 10},
        {"it has expired", NULL, (int64_t)6 * 365 * 86400},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        char *before;

        site_with_link(&c);
        before = site_secret_get(cluster_get(&c, "Secret/skupper-local-server"), "tls.crt");
        if (rows[i].data) {
            json_object_set_new(cluster_get(&c, "Secret/skupper-local-server"), "data",
                                json_of(rows[i].data));
            touch(&c, cluster_get(&c, "Secret/skupper-local-server"));
        }
        c.now += rows[i].passed;
        cluster_settle(&c);
        char *after = site_secret_get(cluster_get(&c, "Secret/skupper-local-server"), "tls.crt");

        if (!after || strcmp(before, after) == 0)
            fail_msg("%s: it was not made anew", rows[i].why);
        CHECK_STATUS(&c, "Certificate/skupper-local-server", "Ready", "True Ready OK");
        CHECK_EQ_FOR(rows[i].why, ordinal(&c, "skupper-local-server") > 0, 1);
        free(before);
        free(after);
        cluster_fini(&c);
    }
}

TEST(a_ca_near_its_end_stays_the_same_for_longer)
{
    struct cluster c;
    char *before, *after, *key, *key_after;

    site_with_link(&c);
    before = site_secret_get(cluster_get(&c, "Secret/skupper-site-ca"), "tls.crt");
    key = site_secret_get(cluster_get(&c, "Secret/skupper-site-ca"), "tls.key");
    CHECK(c.plan.next_at > c.now && c.plan.next_at < c.now + (int64_t)5 * 365 * 86400);
    c.now += (int64_t)5 * 365 * 86400 * 9 / 10;
    cluster_settle(&c);
    after = site_secret_get(cluster_get(&c, "Secret/skupper-site-ca"), "tls.crt");
    key_after = site_secret_get(cluster_get(&c, "Secret/skupper-site-ca"), "tls.key");
    CHECK(strcmp(before, after) != 0);
    CHECK_STR(str_of(key_after), key);
    free(before);
    free(after);
    free(key);
    free(key_after);
    cluster_fini(&c);
}

TEST(a_secret_of_the_user_is_used_and_never_written)
{
    struct cluster c;
    char *before, *after;

    cluster_init(&c);
    put_secret(&c, "skupper-local-server", "kubernetes.io/tls",
               "{'ca.crt': 'eA==', 'tls.crt': 'eA==', 'tls.key': 'eA=='}");
    before = json_dumps(json_object_get(cluster_get(&c, "Secret/skupper-local-server"), "data"), 0);
    cluster_put(&c, "Site", "west", "{}");
    cluster_settle(&c);
    CHECK_STATUS(&c, "Certificate/skupper-local-server", "Ready",
                 "False Error secret exists but is not controlled by skupper");
    after = json_dumps(json_object_get(cluster_get(&c, "Secret/skupper-local-server"), "data"), 0);
    CHECK_STR(str_of(after), before);
    CHECK_STATUS(&c, "Site/west", "Configured", "True Ready OK");
    free(before);
    free(after);
    cluster_fini(&c);
}

static void check_told(const struct cluster *c, const char *words)
{
    const char *told = site_text(json_object_get(c->plan.notes, "Secret/east"), "message");

    if (!strstr(told, words))
        fail_msg("\"%s\" is told, not \"%s\"", told, words);
}

// What was found is told again without looking; of what is no longer there nothing is kept.
TEST(a_secret_is_looked_into_once_for_each_content)
{
    struct cluster c;
    const char *digest;
    size_t count;
    json_t *found;

    site_with_link(&c);
    put_secret(&c, "east", "kubernetes.io/tls",
               "{'ca.crt': 'Y2E=', 'tls.crt': 'Y3J0', 'tls.key': 'a2V5'}");
    cluster_settle(&c);
    check_told(&c, "ca.crt: ");
    count = json_object_size(c.checked);
    CHECK(count > 1); // the site's own, too
    json_object_foreach(c.checked, digest, found)
    {
        if (site_text(found, "wrong")[0])
            json_object_set_new(found, "wrong", json_string("as it was found"));
    }
    cluster_plan(&c);
    check_told(&c, "as it was found");
    json_object_set_new(json_object_get(cluster_get(&c, "Secret/east"), "data"), "tls.crt",
                        json_string("Y3J1"));
    touch(&c, cluster_get(&c, "Secret/east"));
    cluster_settle(&c);
    check_told(&c, "ca.crt: ");
    CHECK_EQ(json_object_size(c.checked), count);
    cluster_fini(&c);
}

TEST(a_certificate_of_the_user_is_made_and_its_ca_missed)
{
    struct cluster c;

    cluster_init(&c);
    cluster_put(&c, "Certificate", "mine", "{'ca': 'my-ca', 'subject': 'me', 'hosts': ['h']}");
    cluster_settle(&c);
    CHECK_STATUS(&c, "Certificate/mine", "Ready", "False Error CA \"west/my-ca\" not found");
    cluster_put(&c, "Certificate", "my-ca", "{'ca': '', 'subject': 'My CA', 'signing': true}");
    cluster_settle(&c);
    CHECK_STATUS(&c, "Certificate/mine", "Ready", "True Ready OK");
    CHECK(site_text(cluster_get(&c, "Certificate/mine"), "status.expiration")[0] != '\0');
    CHECK_JSON(site_get(cluster_get(&c, "Secret/mine"), "metadata.ownerReferences"),
               "[{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Certificate', 'name': 'mine',"
               " 'uid': 'Certificate/mine#0'}]");
    cluster_fini(&c);
}

// --------------------------------------------------------------------------------------- templates

static json_t *config_map(const char *ns, const char *name, const char *labels, const char *notes,
                          const char *data)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:o, s:o}, s:o}", "apiVersion", "v1", "kind",
                     "ConfigMap", "metadata", "name", name, "namespace", ns, "labels",
                     json_of(labels), "annotations", json_of(notes), "data", json_of(data));
}

TEST(templates_add_labels_and_sizes)
{
    struct cluster c;
    const json_t *d;

    cluster_init(&c);
    cluster_add(&c, config_map("west", "t",
                               "{'skupper.io/label-template': '', 'team': 'a', 'x': "
                               "'y', 'app.kubernetes.io/name': 'evil'}",
                               "{'note': 'n'}", "{'kind': 'Deployment', 'exclude': 'x'}"));
    json_array_append_new(c.others, config_map("skupper", "all",
                                               "{'skupper.io/label-template': '', 'team': 'b'}",
                                               "{}", "{'name': 'skupper-router'}"));
    json_array_append_new(c.others, config_map("skupper", "s", "{'skupper.io/site-sizing': 'big'}",
                                               "{}", "{'router-cpu-limit': '2'}"));
    json_array_append_new(
        c.others, config_map("skupper", "d", "{'skupper.io/site-sizing': 'small'}",
                             "{'skupper.io/default-site-sizing': ''}",
                             "{'router-memory-request': '64Mi', 'adaptor-cpu-request': '10m'}"));
    cluster_put(&c, "Site", "west", "{'settings': {'size': 'big'}}");
    cluster_settle(&c);
    d = cluster_get(&c, "Deployment/skupper-router");
    CHECK_JSON(
        site_get(d, "metadata.labels"),
        "{'app.kubernetes.io/name': 'skupper-router', 'app.kubernetes.io/part-of': 'skupper',"
        " 'application': 'skupper-router', 'skupper.io/component': 'router',"
        " 'skupper.io/type': 'site', 'team': 'b'}");
    CHECK_STR(
        str_of(json_string_value(json_object_get(site_get(d, "metadata.annotations"), "note"))),
        "n");
    CHECK_JSON(site_get(d, "spec.template.spec.containers[0].resources"),
               "{'limits': {'cpu': '2'}}");
    CHECK(!site_get(d, "spec.template.spec.containers[1].resources"));
    cluster_set_spec(&c, "Site/west", "{'settings': {'size': 'unheard of'}}");
    cluster_settle(&c);
    d = cluster_get(&c, "Deployment/skupper-router");
    CHECK_JSON(site_get(d, "spec.template.spec.containers[0].resources"),
               "{'requests': {'memory': '64Mi'}}");
    CHECK_JSON(site_get(d, "spec.template.spec.containers[1].resources"),
               "{'requests': {'cpu': '10m'}}");
    cluster_fini(&c);
}

TEST(a_template_may_be_for_objects_with_certain_labels)
{
    struct cluster c;

    cluster_init(&c);
    cluster_add(&c, config_map("west", "t", "{'skupper.io/label-template': '', 'team': 'a'}", "{}",
                               "{'labelSelector': 'skupper.io/type=site'}"));
    cluster_add(&c, config_map("west", "u", "{'skupper.io/label-template': '', 'floor': '1'}", "{}",
                               "{'labelSelector': 'skupper.io/type=other'}"));
    cluster_add(&c, config_map("west", "v", "{'skupper.io/label-template': '', 'room': '1'}", "{}",
                               "{'labelSelector': 'in ('}"));
    cluster_put(&c, "Site", "west", "{}");
    cluster_settle(&c);
    CHECK_STR(
        str_of(json_string_value(json_object_get(
            site_get(cluster_get(&c, "Deployment/skupper-router"), "metadata.labels"), "team"))),
        "a");
    CHECK(!json_object_get(
        site_get(cluster_get(&c, "Deployment/skupper-router"), "metadata.labels"), "floor"));
    CHECK(!json_object_get(
        site_get(cluster_get(&c, "Deployment/skupper-router"), "metadata.labels"), "room"));
    CHECK(!site_get(cluster_get(&c, "Service/skupper-router-local"), "metadata.labels.team"));
    cluster_fini(&c);
}

TEST(a_secret_says_which_hosts_it_is_for)
{
    struct cluster c;

    cluster_init(&c);
    cluster_put(&c, "Site", "west", "{}");
    cluster_settle(&c);
    CHECK_STR(str_of(json_string_value(json_object_get(
                  site_get(cluster_get(&c, "Secret/skupper-local-server"), "metadata.annotations"),
                  "internal.skupper.io/hosts"))),
              "skupper-router-local,skupper-router-local.west,"
              "skupper-router-local.west.svc.cluster.local");
    cluster_fini(&c);
}

// Other settings of the RouterAccess stay.
TEST(the_class_of_ingresses_is_that_of_the_site)
{
    static const char key[] = "RouterAccess/skupper-router";
    struct cluster c;

    cluster_init(&c);
    cluster_put(&c, "Site", "west",
                "{'linkAccess': 'ingress', 'settings': {'ingressClassName': 'haproxy'}}");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, key), "spec.settings"), "{'ingressClassName': 'haproxy'}");
    CHECK_JSON(site_get(cluster_get(&c, "SecuredAccess/skupper-router"), "spec.settings"),
               "{'ingressClassName': 'haproxy'}");
    cluster_set_spec(&c, "Site/west",
                     "{'linkAccess': 'ingress', 'settings': {'ingressClassName': ''}}");
    cluster_settle(&c);
    CHECK(!site_get(cluster_get(&c, key), "spec.settings.ingressClassName"));
    cluster_fini(&c);
}

TEST_MAIN(CASE(a_link_waits_for_its_secret_and_goes_without_it),
          CASE(a_changed_secret_raises_the_ordinal_with_one_write_to_it),
          CASE(how_many_former_certificates_count_can_be_said),
          CASE(a_secret_is_made_anew_when_it_is_not_what_its_certificate_wants),
          CASE(a_ca_near_its_end_stays_the_same_for_longer),
          CASE(a_secret_of_the_user_is_used_and_never_written),
          CASE(a_secret_is_looked_into_once_for_each_content),
          CASE(a_certificate_of_the_user_is_made_and_its_ca_missed),
          CASE(a_template_may_be_for_objects_with_certain_labels),
          CASE(a_secret_says_which_hosts_it_is_for),
          CASE(the_class_of_ingresses_is_that_of_the_site), CASE(templates_add_labels_and_sizes))
