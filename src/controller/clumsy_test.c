// SPDX-License-Identifier: Apache-2.0
// Resources as they are written in haste: what cannot be is told, and harms nothing else.
#include "controller/rig_test.h"

#define CHECK_HAS(text, part)                                                                      \
    do {                                                                                           \
        const char *whole_ = (text);                                                               \
        if (!strstr(whole_, part))                                                                 \
            fail_msg("\"%s\" is not in \"%s\"", part, whole_);                                     \
    } while (0)

static void put_site(struct cluster *c, const char *spec)
{
    cluster_init(c);
    cluster_put(c, "Site", "west", spec);
}

// Both are of the same second, and the newer comes first by name.
TEST(the_site_that_has_the_router_keeps_it)
{
    struct cluster c;

    put_site(&c, "{}");
    cluster_settle(&c);
    cluster_put(&c, "Site", "alps", "{}");
    cluster_put(&c, "Listener", "db", "{'routingKey': 'db', 'host': 'back', 'port': 1}");
    cluster_settle(&c);
    CHECK_STATUS(&c, "Site/alps", "Configured",
                 "False Error An active site already exists in the namespace (west)");
    CHECK_STATUS(&c, "Site/west", "Configured", "True Ready OK");
    CHECK_STATUS(&c, "Listener/db", "Configured", "True Ready OK");
    CHECK(cluster_get(&c, "Service/back") != NULL);
    // The other takes over when it goes.
    cluster_remove(&c, "Site/west");
    cluster_settle(&c);
    CHECK_STATUS(&c, "Site/alps", "Configured", "True Ready OK");
    CHECK(cluster_get(&c, "ConfigMap/skupper-router") != NULL);
    cluster_fini(&c);
}

TEST(what_is_refused_stays_wanted_and_the_rest_at_rest)
{
    struct cluster c;

    put_site(&c, "{}");
    cluster_settle(&c);
    json_object_set_new(c.refused, "Service/a.b", json_string("no name for a Service"));
    cluster_put(&c, "Listener", "db", "{'routingKey': 'db', 'host': 'a.b', 'port': 1}");
    for (int i = 0; i < 4; i++)
        cluster_turn(&c);
    CHECK_STATUS(&c, "Listener/db", "Configured", "False Error no name for a Service");
    json_object_clear(c.writes);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(cluster_turn(&c), 1);
        CHECK_STR(str_of(site_text(json_array_get(c.plan.operations, 0), "key")), "Service/a.b");
    }
    CHECK_JSON(c.writes, "{}");
    cluster_fini(&c);
}

TEST(a_port_has_a_name_whatever_its_listener_is_called)
{
    static const char LONG[] = "of-those-that-were-ever-given-to-a-listener-the-longest-yet-known";
    struct cluster c;

    put_site(&c, "{}");
    cluster_put(&c, "Listener", "db.example", "{'routingKey': 'x', 'host': 'back', 'port': 80}");
    cluster_put(&c, "Listener", LONG, "{'routingKey': 'x', 'host': 'back', 'port': 81}");
    cluster_put(&c, "MultiKeyListener", LONG,
                "{'host': 'back', 'port': 82, 'strategy':"
                " {'priority': {'routingKeys': ['x']}}}");
    cluster_put(&c, "Listener", "web", "{'routingKey': 'x', 'host': 'back', 'port': 83}");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/back"), "spec.ports"),
               "[{'name': 'port80', 'port': 80, 'targetPort': 1024, 'protocol': 'TCP'},"
               " {'name': 'port81', 'port': 81, 'targetPort': 1025, 'protocol': 'TCP'},"
               " {'name': 'web', 'port': 83, 'targetPort': 1026, 'protocol': 'TCP'},"
               " {'name': 'port82', 'port': 82, 'targetPort': 1027, 'protocol': 'TCP'}]");
    CHECK_JSON(site_get(cluster_get(&c, "Service/back"), "metadata.labels"),
               "{'internal.skupper.io/listener': 'port80'}");
    cluster_fini(&c);
}

// Whether the Listener was there first or not.
TEST(a_listener_cannot_have_the_name_of_a_service_of_the_site)
{
    static const char *const hosts[] = {"skupper-router", "skupper-router-local", NULL};

    for (size_t i = 0; hosts[i]; i++) {
        char *spec = str_fmt("{'routingKey': 'x', 'host': '%s', 'port': 80}", hosts[i]);
        char *key = site_key("Service", hosts[i]);
        char *words = str_fmt("False Error Service %s already exists in namespace", hosts[i]);
        struct cluster c;

        cluster_init(&c);
        cluster_put(&c, "Listener", "db", spec);
        cluster_put(&c, "Site", "west", "{'linkAccess': 'local'}");
        cluster_settle(&c);
        CHECK_STATUS(&c, "Listener/db", "Configured", words);
        CHECK_STATUS(&c, "Site/west", "Configured", "True Ready OK");
        CHECK(!json_object_get(site_get(cluster_get(&c, key), "metadata.labels"),
                               "internal.skupper.io/listener"));
        free(words);
        free(key);
        free(spec);
        cluster_fini(&c);
    }
}

TEST(access_that_cannot_be_made_is_no_access_that_is_ready)
{
    struct cluster c;

    put_site(&c, "{}");
    cluster_settle(&c);
    json_object_set_new(c.refused, "Service/way.in", json_string("no name for a Service"));
    cluster_put(&c, "RouterAccess", "way.in",
                "{'roles': [{'name': 'edge', 'port': 4000}], 'tlsCredentials': 'way',"
                " 'generateTlsCredentials': true, 'accessType': 'local'}");
    for (int i = 0; i < 6; i++)
        cluster_turn(&c);
    CHECK_STATUS(&c, "SecuredAccess/way.in", "Configured", "False Error no name for a Service");
    CHECK_STATUS(&c, "RouterAccess/way.in", "Configured", "False Error no name for a Service");
    CHECK_STATUS(&c, "RouterAccess/way.in", NULL, "Error no name for a Service");
    cluster_fini(&c);
}

// Of two routers each has its own.
TEST(access_to_one_of_two_routers_that_cannot_be_made_is_told)
{
    struct cluster c;

    put_site(&c, "{'linkAccess': 'local', 'ha': true}");
    json_object_set_new(c.refused, "Service/skupper-router-2", json_string("not today"));
    for (int i = 0; i < 6; i++)
        cluster_turn(&c);
    CHECK_STATUS(&c, "SecuredAccess/skupper-router", "Configured", "True Ready OK");
    CHECK_STATUS(&c, "SecuredAccess/skupper-router-2", "Configured", "False Error not today");
    CHECK_STATUS(&c, "RouterAccess/skupper-router", "Configured", "False Error not today");
    cluster_fini(&c);
}

// It is there, but as it was.
TEST(what_may_not_be_changed_says_so_itself)
{
    struct cluster c;

    put_site(&c, "{'linkAccess': 'local'}");
    cluster_settle(&c);
    json_object_set_new(c.refused, "SecuredAccess/skupper-router", json_string("not today"));
    cluster_set_spec(&c, "Site/west", "{'linkAccess': 'nodeport'}");
    for (int i = 0; i < 4; i++)
        cluster_turn(&c);
    CHECK_STATUS(&c, "RouterAccess/skupper-router", NULL, "Error not today");
    // The server refuses its spec here; its status is another matter.
    json_object_clear(c.writes);
    cluster_plan(&c);
    CHECK_EQ(json_array_size(c.plan.operations), 2);
    CHECK_STR(str_of(site_text(json_array_get(c.plan.operations, 1), "do")), "status");
    CHECK_STR(str_of(site_text(json_array_get(c.plan.operations, 1), "object.status.message")),
              "not today");
    cluster_fini(&c);
}

// What was there before goes on; what is new is not there.
static void refuse_configuration(const char *map)
{
    static const char *const kinds[] = {"Connector/some", "MultiKeyListener/several", "Link/away",
                                        "AttachedConnectorBinding/beside", NULL};
    struct cluster c;

    put_site(&c, "{'ha': true}");
    cluster_put(&c, "Listener", "db", "{'routingKey': 'x', 'host': 'db', 'port': 1}");
    cluster_put(&c, "Listener", "web", "{'routingKey': 'x', 'host': 'web', 'port': 1}");
    cluster_settle(&c);
    json_object_set_new(c.refused, map, json_string("too large"));
    cluster_put(&c, "Listener", "more", "{'routingKey': 'x', 'host': 'more', 'port': 1}");
    cluster_put(&c, "Connector", "some", "{'routingKey': 'x', 'host': 'some', 'port': 1}");
    cluster_put(&c, "Connector", "none", "{'routingKey': 'x', 'selector': 'app=none', 'port': 1}");
    cluster_put(&c, "MultiKeyListener", "several",
                "{'host': 'several', 'port': 1, 'strategy': {'priority': {'routingKeys': ['x']}}}");
    cluster_put(&c, "Link", "away",
                "{'endpoints': [{'name': 'inter-router', 'host': 'h', 'port': '1'}]}");
    cluster_pod(&c, "pod", "a", "10.0.0.1", true);
    cluster_put(&c, "AttachedConnector", "beside",
                "{'siteNamespace': 'west', 'selector': 'app=a', 'port': 1}");
    cluster_put(&c, "AttachedConnectorBinding", "beside",
                "{'connectorNamespace': 'west', 'routingKey': 'x'}");
    cluster_set_spec(&c, "Listener/web", "{'routingKey': 'y', 'host': 'web', 'port': 1}");
    for (int i = 0; i < 3; i++)
        cluster_turn(&c);
    CHECK_STATUS(&c, "Site/west", NULL, "Error too large");
    CHECK_STATUS(&c, "Listener/db", "Configured", "True Ready OK");
    CHECK_STATUS(&c, "Listener/web", "Configured", "False Error too large");
    CHECK_STATUS(&c, "Listener/more", "Configured", "False Error too large");
    for (size_t i = 0; kinds[i]; i++)
        CHECK_STATUS(&c, kinds[i], "Configured", "False Error too large");
    // It has to be mended first.
    CHECK_STATUS(&c, "Connector/none", "Configured", "False Error No matches for selector");
    // Nothing of it is in the configuration.
    CHECK_STATUS(&c, "AttachedConnector/beside", "Configured", "True Ready OK");
    json_object_clear(c.refused);
    cluster_settle(&c);
    CHECK_STATUS(&c, "Listener/more", "Configured", "True Ready OK");
    CHECK_STATUS(&c, "Listener/web", "Configured", "True Ready OK");
    for (size_t i = 0; kinds[i]; i++)
        CHECK_STATUS(&c, kinds[i], "Configured", "True Ready OK");
    cluster_fini(&c);
}

TEST(nothing_new_is_configured_while_the_configuration_cannot_be_written)
{
    refuse_configuration("ConfigMap/skupper-router");
    refuse_configuration("ConfigMap/skupper-router-2");
}

TEST(a_site_that_is_written_wrong_loses_nothing_that_it_has)
{
    struct cluster c;

    put_site(&c, "{'linkAccess': 'local', 'ha': true}");
    cluster_put(&c, "Listener", "db", "{'routingKey': 'x', 'host': 'back', 'port': 1}");
    cluster_settle(&c);
    cluster_set_spec(&c, "Site/west", "{'linkAccess': 'local', 'ha': true, 'edge': true}");
    cluster_remove(&c, "Listener/db");
    cluster_settle(&c);
    CHECK_STATUS(&c, "Site/west", "Configured", "False Error Edge sites cannot have HA enabled");
    CHECK(cluster_get(&c, "Deployment/skupper-router-2") != NULL);
    CHECK(cluster_get(&c, "ConfigMap/skupper-router-2") != NULL);
    CHECK(cluster_get(&c, "Service/back") != NULL);
    // Set right, it gives up what it no longer needs.
    cluster_set_spec(&c, "Site/west", "{'linkAccess': 'local'}");
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "Deployment/skupper-router-2"));
    CHECK(!cluster_get(&c, "Service/back"));
    cluster_fini(&c);
}

TEST(of_a_second_router_that_cannot_be_nothing_is_made)
{
    struct cluster c;

    put_site(&c, "{'linkAccess': 'local', 'ha': true, 'edge': true}");
    cluster_settle(&c);
    CHECK_STATUS(&c, "Site/west", "Configured", "False Error Edge sites cannot have HA enabled");
    CHECK(!cluster_get(&c, "Deployment/skupper-router-2"));
    CHECK(!cluster_get(&c, "SecuredAccess/skupper-router-2"));
    cluster_fini(&c);
}

TEST(what_is_about_to_go_is_let_go)
{
    static const char *const keys[] = {"Service/back", "Deployment/skupper-router",
                                       "ServiceAccount/skupper-router", NULL};

    for (size_t i = 0; keys[i]; i++) {
        struct cluster c;

        put_site(&c, "{}");
        cluster_put(&c, "Listener", "db", "{'routingKey': 'x', 'host': 'back', 'port': 1}");
        cluster_settle(&c);
        json_object_set_new(metadata_of(cluster_get(&c, keys[i])), "deletionTimestamp",
                            json_string("2026-01-01T00:00:00Z"));
        json_object_del(cluster_get(&c, keys[i]), "spec");
        json_object_del(metadata_of(cluster_get(&c, keys[i])), "ownerReferences");
        cluster_settle(&c);
        CHECK(!json_object_get(cluster_get(&c, keys[i]), "spec"));
        CHECK_STATUS(&c, "Site/west", "Configured", "True Ready OK");
        // Gone, it is made anew.
        cluster_remove(&c, keys[i]);
        cluster_settle(&c);
        CHECK(site_get(cluster_get(&c, keys[i]), "metadata.ownerReferences") != NULL);
        cluster_fini(&c);
    }
}

static const char *note_of(const struct cluster *c, const char *key)
{
    return site_text(json_object_get(c->plan.notes, key), "message");
}

// A Secret "mine" whose texts are those of others.
static void put_secret(struct cluster *c, json_t *take_ca, json_t *take_cert, json_t *take_key)
{
    if (cluster_get(c, "Secret/mine"))
        cluster_remove(c, "Secret/mine");
    cluster_add(c,
                json_pack("{s:s, s:s, s:s, s:{s:s}, s:{s:o, s:o, s:o}}", "apiVersion", "v1", "kind",
                          "Secret", "type", "kubernetes.io/tls", "metadata", "name", "mine", "data",
                          "ca.crt", take_ca, "tls.crt", take_cert, "tls.key", take_key));
    cluster_settle(c);
}

static json_t *text_of(const struct cluster *c, const char *secret, const char *name)
{
    return json_incref(json_object_get(json_object_get(cluster_get(c, secret), "data"), name));
}

TEST(what_is_wrong_with_the_content_of_a_secret_is_told)
{
    static const char OWN[] = "Secret/skupper-local-server", CA[] = "Secret/skupper-site-ca";
    char now[SITE_TIME_MAX];
    struct cluster c;

    put_site(&c, "{}");
    cluster_put(&c, "Listener", "db",
                "{'routingKey': 'x', 'host': 'db', 'port': 1, 'tlsCredentials': 'mine'}");
    cluster_settle(&c);
    put_secret(&c, json_string("eA=="), text_of(&c, OWN, "tls.crt"), text_of(&c, OWN, "tls.key"));
    CHECK_HAS(note_of(&c, "Secret/mine"), "ca.crt: ");
    put_secret(&c, text_of(&c, OWN, "ca.crt"), json_string("eA=="), text_of(&c, OWN, "tls.key"));
    CHECK_HAS(note_of(&c, "Secret/mine"), "tls.crt: ");
    put_secret(&c, text_of(&c, OWN, "ca.crt"), text_of(&c, OWN, "tls.crt"),
               text_of(&c, CA, "tls.key"));
    CHECK_HAS(note_of(&c, "Secret/mine"), "tls.key: ");
    put_secret(&c, text_of(&c, OWN, "ca.crt"), text_of(&c, OWN, "tls.crt"),
               text_of(&c, OWN, "tls.key"));
    CHECK_JSON(c.plan.notes, "{}");
    // It is looked at again when it ends; the site's own are made anew before that.
    for (int i = 0; i < 20 && !json_object_get(c.plan.notes, "Secret/mine"); i++) {
        c.now = c.plan.next_at;
        cluster_settle(&c);
    }
    site_time_text(c.now, now);
    CHECK_HAS(note_of(&c, "Secret/mine"), "tls.crt: the certificate has expired on ");
    CHECK_HAS(note_of(&c, "Secret/mine"), now);
    CHECK_EQ(json_object_size(c.plan.notes), 1);
    CHECK_STATUS(&c, "Listener/db", "Configured", "True Ready OK");
    cluster_fini(&c);
}

TEST(what_is_wrong_with_a_secret_of_ours_is_mended_and_not_told)
{
    static const char OWN[] = "Secret/skupper-local-server";
    struct cluster c;

    put_site(&c, "{}");
    cluster_settle(&c);
    json_object_set_new(json_object_get(cluster_get(&c, OWN), "data"), "tls.crt",
                        json_string("eA=="));
    cluster_plan(&c);
    CHECK(json_object_get(c.plan.issues, "skupper-local-server") != NULL);
    CHECK_JSON(c.plan.notes, "{}");
    cluster_fini(&c);
}

TEST_MAIN(CASE(the_site_that_has_the_router_keeps_it),
          CASE(what_is_refused_stays_wanted_and_the_rest_at_rest),
          CASE(a_port_has_a_name_whatever_its_listener_is_called),
          CASE(a_listener_cannot_have_the_name_of_a_service_of_the_site),
          CASE(access_that_cannot_be_made_is_no_access_that_is_ready),
          CASE(access_to_one_of_two_routers_that_cannot_be_made_is_told),
          CASE(what_may_not_be_changed_says_so_itself),
          CASE(nothing_new_is_configured_while_the_configuration_cannot_be_written),
          CASE(a_site_that_is_written_wrong_loses_nothing_that_it_has),
          CASE(of_a_second_router_that_cannot_be_nothing_is_made),
          CASE(what_is_about_to_go_is_let_go),
          CASE(what_is_wrong_with_the_content_of_a_secret_is_told),
          CASE(what_is_wrong_with_a_secret_of_ours_is_mended_and_not_told))
