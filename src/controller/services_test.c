// SPDX-License-Identifier: Apache-2.0
// What a namespace has of the definitions of services: connectors, Services made and adopted,
// entries.
#include "controller/annotated_rig_test.h"

// -------------------------------------------------------------------------------- what follows

TEST(an_annotated_deployment_has_connectors_and_a_service)
{
    struct cluster c;
    json_t *e;

    put_site(&c);
    add_kind(&c, "Deployment", "web",
             "{'skupper.io/proxy': 'http', 'skupper.io/port': '80:8080', 'skupper.io/address':"
             " 'api', 'skupper.io/service-labels': 'k=v', 'skupper.io/service-annotations': 'm=n'}",
             "{'selector': {'matchLabels': {'app': 'web'}}}");
    cluster_pod(&c, "web-1", "web", "10.0.0.1", true);
    cluster_pod(&c, "web-2", "web", "10.0.0.2", false);
    cluster_settle(&c);
    e = cluster_entity(&c, "skupper-router", "tcpConnector",
                       "connector/service.api.80.web@10.0.0.1");
    CHECK_JSON(e, "{'name': 'connector/service.api.80.web@10.0.0.1', 'host': '10.0.0.1', 'port':"
                  " '8080', 'address': 'api:80', 'siteId': 'Site/west#0', 'processId':"
                  " 'Pod/web-1#0'}");
    json_decref(e);
    CHECK(!has_entity(&c, "tcpConnector", "connector/service.api.80.web@10.0.0.2"));
    e = cluster_entity(&c, "skupper-router", "tcpListener", "listener/service.api.80");
    CHECK_JSON(e, "{'name': 'listener/service.api.80', 'port': '1024', 'address': 'api:80',"
                  " 'siteId': 'Site/west#0', 'observer': 'http1'}");
    json_decref(e);
    CHECK_JSON(site_get(cluster_get(&c, "Service/api"), "spec"),
               "{'selector': {'application': 'skupper-router', 'skupper.io/component': 'router'},"
               " 'ports': [{'name': 'port80', 'port': 80, 'targetPort': 1024, 'protocol':"
               " 'TCP'}]}");
    CHECK_JSON(site_get(cluster_get(&c, "Service/api"), "metadata.labels"),
               "{'k': 'v', 'internal.skupper.io/listener': 'api'}");
    CHECK_JSON(site_get(cluster_get(&c, "Service/api"), "metadata.annotations"),
               "{'m': 'n', 'internal.skupper.io/controlled': 'true'}");
    // Each object was written once.
    CHECK_EQ(writes_of(&c, "Service/api"), 1);
    CHECK_EQ(writes_of(&c, "ConfigMap/skupper-services"), 1);
    cluster_remove(&c, "Deployment/web");
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "Service/api"));
    CHECK(!has_entity(&c, "tcpListener", NULL));
    CHECK(!has_entity(&c, "tcpConnector", NULL));
    cluster_fini(&c);
}

TEST(a_service_of_ours_is_kept_as_it_is_to_be)
{
    static const char *const spoilt[] = {
        "{'selector': {'app': 'x'}, 'ports': []}",
        "{'selector': {'application': 'skupper-router', 'skupper.io/component': 'router', 'app':"
        " 'x'}, 'ports': [{'name': 'port8080', 'port': 8080, 'targetPort': 1024, 'protocol':"
        " 'TCP'}]}",
    };

    for (size_t i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
        struct cluster c;

        put_site(&c);
        add_kind(&c, "Deployment", "web", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '8080'}",
                 DEPLOYED);
        cluster_settle(&c);
        cluster_set_spec(&c, "Service/web", spoilt[i]);
        cluster_settle(&c);
        CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec.selector"),
                   "{'application': 'skupper-router', 'skupper.io/component': 'router'}");
        cluster_remove(&c, "Service/web");
        cluster_settle(&c);
        CHECK(cluster_get(&c, "Service/web") != NULL);
        cluster_fini(&c);
    }
}

TEST(without_ingress_there_is_no_service)
{
    struct cluster c;

    put_site(&c);
    add_kind(&c, "Deployment", "web", "{'skupper.io/proxy': 'tcp'}", DEPLOYED);
    add_kind(&c, "Service", "mine", "{}", SERVICE);
    add_kind(&c, "Deployment", "mine", "{'skupper.io/proxy': 'tcp', 'skupper.io/ingress': 'Never'}",
             DEPLOYED);
    cluster_pod(&c, "p", "web", "10.0.0.1", true);
    cluster_settle(&c);
    CHECK(cluster_get(&c, "Service/web") != NULL);
    CHECK_JSON(site_get(cluster_get(&c, "Service/mine"), "spec"), SERVICE);
    set_notes(&c, "Deployment/web", "{'skupper.io/proxy': 'tcp', 'skupper.io/ingress': 'never'}");
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "Service/web"));
    cluster_fini(&c);
}

TEST(a_target_that_is_a_service_is_reached_by_its_name)
{
    struct cluster c;
    json_t *e;

    put_site(&c);
    add_kind(&c, "Service", "front", "{'skupper.io/proxy': 'tcp', 'skupper.io/target': 'db.far'}",
             "{'ports': [{'port': 80}]}");
    cluster_settle(&c);
    e = cluster_entity(&c, "skupper-router", "tcpConnector",
                       "connector/service.front.80.front@db.far");
    CHECK_JSON(e, "{'name': 'connector/service.front.80.front@db.far', 'host': 'db.far', 'port':"
                  " '80', 'address': 'front:80', 'siteId': 'Site/west#0'}");
    json_decref(e);
    cluster_fini(&c);
}

TEST(tls_of_a_service_uses_the_secrets_it_names)
{
    struct cluster c;
    json_t *e;

    put_site(&c);
    add_kind(&c, "Deployment", "web",
             "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '1', 'skupper.io/tls-cert': 'cert',"
             " 'skupper.io/tls-trust': 'trust'}",
             "{'selector': {'matchLabels': {'app': 'web'}}}");
    cluster_pod(&c, "p", "web", "10.0.0.1", true);
    cluster_settle(&c);
    CHECK_NOTE(&c, "Deployment/web", "web: TLS credentials secret \"cert\" not found");
    CHECK(!has_entity(&c, "tcpListener", NULL));
    for (size_t i = 0; i < 2; i++)
        cluster_add(&c, json_pack("{s:s, s:s, s:s, s:{s:s}, s:{s:s, s:s, s:s}}", "apiVersion", "v1",
                                  "kind", "Secret", "type", "kubernetes.io/tls", "metadata", "name",
                                  i ? "cert" : "trust", "data", "ca.crt", "eA==", "tls.crt",
                                  "eA==", "tls.key", "eA=="));
    cluster_settle(&c);
    CHECK(!json_object_get(c.plan.notes, "Deployment/web"));
    e = cluster_entity(&c, "skupper-router", "tcpListener", NULL);
    CHECK_STR(str_of(site_text(e, "sslProfile")), "cert");
    json_decref(e);
    e = cluster_entity(&c, "skupper-router", "tcpConnector", NULL);
    CHECK_STR(str_of(site_text(e, "sslProfile")), "trust-profile");
    CHECK(json_is_false(json_object_get(e, "verifyHostname")));
    json_decref(e);
    cluster_fini(&c);
}

TEST(certificates_of_services_are_generated_and_go_with_the_last)
{
    static const char entry[] = "{'address': '%s', 'protocol': 'tcp', 'ports': [1], "
                                "'tlsCredentials': 'skupper-tls-%s', 'tlsCertAuthority': "
                                "'skupper-service-client', 'targets': [{'name': 't', 'selector': "
                                "'app=web'}]}";

    for (int is_bare = 0; is_bare < 2; is_bare++) {
        struct cluster c;
        char *a = str_fmt(entry, "a", "a"), *b = str_fmt(entry, "b", "b");
        json_t *e;

        cluster_init(&c);
        if (is_bare) {
            c.settings.reads_site_map = true;
            cluster_add(&c, json_pack("{s:s, s:s, s:{s:s}, s:{}}", "apiVersion", "v1", "kind",
                                      "ConfigMap", "metadata", "name", "skupper-site", "data"));
        } else {
            cluster_put(&c, "Site", "west", "{}");
        }
        put_entry(&c, "a", a);
        put_entry(&c, "b", b);
        cluster_pod(&c, "p", "web", "10.0.0.1", true);
        cluster_settle(&c);
        CHECK_EQ(json_object_size(c.plan.notes), 0);
        e = cluster_entity(&c, "skupper-router", "tcpListener", "listener/service.a.1");
        CHECK_STR(str_of(site_text(e, "sslProfile")), "skupper-tls-a");
        json_decref(e);
        e = cluster_entity(&c, "skupper-router", "tcpConnector",
                           "connector/service.a.1.t@10.0.0.1");
        CHECK_STR(str_of(site_text(e, "sslProfile")), "skupper-service-client-profile");
        json_decref(e);
        put_entry(&c, "a", NULL);
        cluster_settle(&c);
        CHECK(!cluster_get(&c, "Secret/skupper-tls-a"));
        CHECK(cluster_get(&c, "Secret/skupper-tls-b") != NULL);
        CHECK(cluster_get(&c, "Secret/skupper-service-ca") != NULL);
        put_entry(&c, "b", NULL);
        cluster_settle(&c);
        CHECK(!cluster_get(&c, "Secret/skupper-tls-b"));
        CHECK(!cluster_get(&c, "Secret/skupper-service-ca"));
        CHECK(!cluster_get(&c, "Secret/skupper-service-client"));
        CHECK(cluster_get(&c, "Secret/skupper-site-ca") != NULL);
        free(a);
        free(b);
        cluster_fini(&c);
    }
}

TEST(a_certificate_of_the_user_stands_in_for_a_generated_one)
{
    struct cluster c;
    char *before, *after;

    put_site(&c);
    cluster_add(&c, json_pack("{s:s, s:s, s:s, s:{s:s}, s:{s:s, s:s, s:s}}", "apiVersion", "v1",
                              "kind", "Secret", "type", "kubernetes.io/tls", "metadata", "name",
                              "skupper-tls-a", "data", "ca.crt", "eA==", "tls.crt",
                              "eA==", "tls.key", "eA=="));
    put_entry(&c, "a",
              "{'address': 'a', 'protocol': 'tcp', 'ports': [1], 'tlsCredentials':"
              " 'skupper-tls-a', 'targets': []}");
    before = json_dumps(json_object_get(cluster_get(&c, "Secret/skupper-tls-a"), "data"), 0);
    cluster_settle(&c);
    after = json_dumps(json_object_get(cluster_get(&c, "Secret/skupper-tls-a"), "data"), 0);
    CHECK_STR(str_of(after), before);
    CHECK(has_entity(&c, "tcpListener", "listener/service.a.1"));
    put_entry(&c, "a", NULL);
    cluster_settle(&c);
    CHECK(cluster_get(&c, "Secret/skupper-tls-a") != NULL);
    free(before);
    free(after);
    cluster_fini(&c);
}

// ------------------------------------------------------------------------------------ adoption

// An object as text, without what every write changes.
static char *text_of(const struct cluster *c, const char *key)
{
    json_t *copy = json_deep_copy(cluster_get(c, key));
    char *text;

    json_object_del(metadata_of(copy), "resourceVersion");
    json_object_del(metadata_of(copy), "generation");
    text = json_dumps(copy, JSON_COMPACT); // also the order counts
    json_decref(copy);
    return text;
}

#define RICH                                                                                       \
    "{'type': 'NodePort', 'clusterIP': '10.1.2.3', 'selector': {'tier': 'one', 'app': 'web'},"     \
    " 'ports': [{'name': 'odd', 'port': 9999, 'targetPort': 'odd', 'nodePort': 30009},"            \
    " {'name': 'main', 'appProtocol': 'x', 'port': 8080, 'targetPort': 'http', 'nodePort':"        \
    " 30001}, {'port': 9090, 'protocol': 'TCP'}]}"

TEST(a_service_that_is_there_is_adopted_and_given_back_as_it_was)
{
    struct cluster c;
    char *before, *after;

    put_site(&c);
    add_kind(&c, "Service", "web", "{'mine': 'yes', 'm': 'old'}", RICH);
    json_object_set_new(metadata_of(cluster_get(&c, "Service/web")), "labels",
                        json_of("{'k': 'old'}"));
    before = text_of(&c, "Service/web");
    add_kind(&c, "Deployment", "web",
             "{'skupper.io/proxy': 'tcp', 'skupper.io/service-labels': 'k=v,l=w',"
             " 'skupper.io/service-annotations': 'm=n,o=p'}",
             DEPLOYED);
    cluster_settle(&c);
    CHECK_EQ(writes_of(&c, "Service/web"), 1);
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec"),
               "{'type': 'NodePort', 'clusterIP': '10.1.2.3', 'selector': {'application':"
               " 'skupper-router', 'skupper.io/component': 'router'}, 'ports': [{'name': 'main',"
               " 'appProtocol': 'x', 'port': 8080, 'targetPort': 1024, 'nodePort': 30001},"
               " {'name': 'port9090', 'port': 9090, 'protocol': 'TCP', 'targetPort': 1025}]}");
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "metadata.labels"), "{'k': 'v', 'l': 'w'}");
    const json_t *notes = site_get(cluster_get(&c, "Service/web"), "metadata.annotations");

    CHECK_STR(
        str_of(json_string_value(json_object_get(notes, "internal.skupper.io/originalSelector"))),
        "app=web,tier=one");
    CHECK_STR(
        str_of(json_string_value(json_object_get(notes, "internal.skupper.io/originalTargetPort"))),
        "9999:9999,8080:8080,9090:9090");
    CHECK_STR(str_of(json_string_value(
                  json_object_get(notes, "internal.skupper.io/originalAssignedPort"))),
              "8080:1024,9090:1025");
    CHECK_STR(str_of(json_string_value(json_object_get(notes, "m"))), "n");
    // Other labels, and then none.
    set_notes(&c, "Deployment/web",
              "{'skupper.io/proxy': 'tcp', 'skupper.io/service-labels': 'l=x'}");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "metadata.labels"),
               "{'k': 'old', 'l': 'x'}");
    set_notes(&c, "Deployment/web", "{}");
    cluster_settle(&c);
    after = text_of(&c, "Service/web");
    json_t *a = json_loads(before, 0, NULL), *b = json_loads(after, 0, NULL);

    CHECK(json_equal(a, b));
    CHECK_JSON(site_get(b, "spec"), RICH);
    json_decref(a);
    json_decref(b);
    free(before);
    free(after);
    cluster_fini(&c);
}

TEST(what_a_deployment_of_the_user_owns_is_not_ours)
{
    struct cluster c;
    char *before, *after;

    put_site(&c);
    add_kind(&c, "Deployment", "web", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '80'}",
             DEPLOYED);
    add_kind(&c, "Service", "web", "{}", SERVICE);
    json_object_set_new(metadata_of(cluster_get(&c, "Service/web")), "ownerReferences",
                        json_of("[{'apiVersion': 'apps/v1', 'kind': 'Deployment', 'name': 'web',"
                                " 'uid': 'Deployment/web#0'}]"));
    before = text_of(&c, "Service/web");
    cluster_settle(&c);
    CHECK(json_object_get(site_get(cluster_get(&c, "Service/web"), "metadata.annotations"),
                          "internal.skupper.io/original") != NULL);
    set_notes(&c, "Deployment/web", "{}");
    cluster_settle(&c);
    after = text_of(&c, "Service/web");
    CHECK_STR(str_of(after), before);
    free(before);
    free(after);
    cluster_fini(&c);
}

TEST(whatever_ends_it_a_service_is_given_back)
{
    static const char *const ends[] = {"Deployment/web", "Site/west"};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct cluster c;

        put_site(&c);
        add_kind(&c, "Service", "web", "{}", SERVICE);
        add_kind(&c, "Deployment", "web", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '80'}",
                 DEPLOYED);
        cluster_settle(&c);
        CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec.selector"),
                   "{'application': 'skupper-router', 'skupper.io/component': 'router'}");
        cluster_remove(&c, ends[i]);
        cluster_settle(&c);
        CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec"), SERVICE);
        CHECK_EQ(json_object_size(site_get(cluster_get(&c, "Service/web"), "metadata.annotations")),
                 0);
        cluster_fini(&c);
    }
}

TEST(an_annotated_service_leads_to_its_pods_through_the_router)
{
    struct cluster c;
    json_t *e;

    put_site(&c);
    add_kind(&c, "Service", "web", "{'skupper.io/proxy': 'tcp'}", SERVICE);
    cluster_pod(&c, "web-1", "web", "10.0.0.1", true);
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec.selector"),
               "{'application': 'skupper-router', 'skupper.io/component': 'router'}");
    e = cluster_entity(&c, "skupper-router", "tcpConnector",
                       "connector/service.web.80.web@10.0.0.1");
    CHECK_STR(str_of(site_text(e, "port")), "8080");
    json_decref(e);
    json_object_del(
        (json_t *)(uintptr_t)site_get(cluster_get(&c, "Service/web"), "metadata.annotations"),
        "skupper.io/proxy");
    touch(&c, cluster_get(&c, "Service/web"));
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec"), SERVICE);
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "metadata.annotations"), "{}");
    cluster_fini(&c);
}

// A port of the definition alone: what the API server says of it is not taken from it again.
TEST(a_port_that_is_added_keeps_what_the_server_gives_it)
{
    struct cluster c;

    put_site(&c);
    add_kind(&c, "Service", "web", "{}",
             "{'type': 'NodePort', 'selector': {'app': 'web'}, 'ports': [{'port': 80, 'nodePort':"
             " 30001}]}");
    add_kind(&c, "Deployment", "web", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '80,81'}",
             DEPLOYED);
    cluster_settle(&c);
    json_object_set_new(
        (json_t *)(uintptr_t)site_get(cluster_get(&c, "Service/web"), "spec.ports[1]"), "nodePort",
        json_integer(30002));
    touch(&c, cluster_get(&c, "Service/web"));
    CHECK_EQ(cluster_turn(&c), 0);
    set_notes(&c, "Deployment/web", "{}");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec"),
               "{'type': 'NodePort', 'selector': {'app': 'web'}, 'ports': [{'port': 80,"
               " 'nodePort': 30001}]}");
    cluster_fini(&c);
}

// What a user makes of the Service while it is adopted is what it will be, and where it leads.
TEST(edits_of_an_adopted_service_are_the_users_wish)
{
    static const struct {
        const char *why, *edited, *original, *target;
    } rows[] = {
        {"applied anew, as it was",
         "{'selector': {'app': 'web', 'application': 'skupper-router', 'skupper.io/component':"
         " 'router'}, 'ports': [{'port': 80, 'targetPort': 8080, 'protocol': 'TCP'}]}",
         SERVICE, "8080"},
        {"replaced", "{'selector': {'app': 'other'}, 'ports': [{'port': 80, 'targetPort': 8081}]}",
         "{'selector': {'app': 'other'}, 'ports': [{'port': 80, 'targetPort': 8081}]}", "8081"},
        {"reached from outside",
         "{'type': 'NodePort', 'selector': {'application': 'skupper-router',"
         " 'skupper.io/component': 'router'}, 'ports': [{'port': 80, 'targetPort': 1024,"
         " 'protocol': 'TCP', 'nodePort': 30001}]}",
         "{'type': 'NodePort', 'selector': {'app': 'web'}, 'ports': [{'port': 80, 'targetPort':"
         " 8080, 'protocol': 'TCP', 'nodePort': 30001}]}",
         "8080"},
        {"a further port",
         "{'selector': {'application': 'skupper-router', 'skupper.io/component': 'router'},"
         " 'ports': [{'port': 80, 'targetPort': 1024, 'protocol': 'TCP'}, {'name': 'n', 'port':"
         " 81, 'targetPort': 9}]}",
         "{'selector': {'app': 'web'}, 'ports': [{'port': 80, 'targetPort': 8080, 'protocol':"
         " 'TCP'}, {'name': 'n', 'port': 81, 'targetPort': 9}]}",
         "8080"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        json_t *e;

        put_site(&c);
        add_kind(&c, "Service", "web", "{'skupper.io/proxy': 'tcp'}", SERVICE);
        cluster_pod(&c, "web-1", "web", "10.0.0.1", true);
        cluster_pod(&c, "web-2", "other", "10.0.0.2", true);
        cluster_settle(&c);
        cluster_set_spec(&c, "Service/web", rows[i].edited);
        cluster_settle(&c);
        CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec.selector"),
                   "{'application': 'skupper-router', 'skupper.io/component': 'router'}");
        e = cluster_entity(&c, "skupper-router", "tcpConnector", NULL);
        CHECK_STR(str_of(site_text(e, "port")), rows[i].target);
        json_decref(e);
        json_object_del(
            (json_t *)(uintptr_t)site_get(cluster_get(&c, "Service/web"), "metadata.annotations"),
            "skupper.io/proxy");
        touch(&c, cluster_get(&c, "Service/web"));
        cluster_settle(&c);
        CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec"), rows[i].original);
        cluster_fini(&c);
    }
}

TEST(what_a_controller_of_version_1_adopted_is_given_back)
{
    struct cluster c;

    put_site(&c);
    add_kind(&c, "Service", "web",
             "{'internal.skupper.io/originalSelector': 'app=web,tier=one',"
             " 'internal.skupper.io/originalTargetPort': '80:8080,81:9',"
             " 'internal.skupper.io/originalAssignedPort': '80:1027', 'mine': 'yes'}",
             "{'selector': {'application': 'skupper-router', 'skupper.io/component': 'router'},"
             " 'ports': [{'name': 'a', 'port': 80, 'targetPort': 1027}]}");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec"),
               "{'selector': {'app': 'web', 'tier': 'one'}, 'ports': [{'name': 'a', 'port': 80,"
               " 'targetPort': 8080}, {'name': 'port81', 'port': 81, 'protocol': 'TCP',"
               " 'targetPort': 9}]}");
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "metadata.annotations"), "{'mine': 'yes'}");
    cluster_fini(&c);
}

TEST(services_that_cannot_lead_to_the_router_are_left_alone)
{
    static const char *const specs[] = {
        "{'type': 'ExternalName', 'externalName': 'example.org'}",
        "{'clusterIP': 'None', 'selector': {'app': 'web'}, 'ports': [{'port': 8080}]}",
    };

    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        struct cluster c;

        put_site(&c);
        add_kind(&c, "Service", "web", "{}", specs[i]);
        add_kind(&c, "Deployment", "web", "{'skupper.io/proxy': 'tcp'}", DEPLOYED);
        cluster_settle(&c);
        CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec"), specs[i]);
        CHECK_NOTE(&c, "Deployment/web", "web: Service web already exists in namespace");
        cluster_fini(&c);
    }
}

TEST(a_listener_of_the_same_name_comes_first)
{
    struct cluster c;

    put_site(&c);
    cluster_put(&c, "Listener", "web", "{'routingKey': 'k', 'host': 'web', 'port': 8080}");
    add_kind(&c, "Deployment", "web", "{'skupper.io/proxy': 'tcp'}", DEPLOYED);
    cluster_settle(&c);
    CHECK_STATUS(&c, "Listener/web", "Configured", "True Ready OK");
    CHECK_NOTE(&c, "Deployment/web",
               "web: Listener web with host web and port 8080 already exists in namespace");
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec.ports"),
               "[{'name': 'web', 'port': 8080, 'targetPort': 1024, 'protocol': 'TCP'}, {'name':"
               " 'port9090', 'port': 9090, 'targetPort': 1025, 'protocol': 'TCP'}]");
    cluster_fini(&c);
}

// ------------------------------------------------------------------------------ skupper-services

TEST(definitions_of_users_and_of_other_sites_are_read_and_kept)
{
    struct cluster c;
    char *before, *after;

    put_site(&c);
    put_entry(&c, "far", REMOTE);
    put_entry(&c, "own",
              "{'address': 'own', 'protocol': 'tcp', 'ports': [80], 'exposeIngress': '',"
              " 'publishNotReadyAddresses': true, 'targets': [{'name': 'web', 'selector':"
              " 'app=web', 'targetPorts': {'80': 8080}, 'namespace': 'west'}]}");
    put_entry(&c, "old",
              "{'address': 'old', 'protocol': 'tcp', 'port': 81, 'targets': [{'name': 'web',"
              " 'selector': 'app=web', 'targetPort': 8081}]}");
    cluster_pod(&c, "web-1", "web", "10.0.0.1", false);
    before = text_of(&c, "ConfigMap/skupper-services");
    cluster_settle(&c);
    after = text_of(&c, "ConfigMap/skupper-services");
    CHECK_STR(str_of(after), before);
    CHECK_JSON(site_get(cluster_get(&c, "Service/far"), "spec.ports[0].port"), "5432");
    CHECK(has_entity(&c, "tcpConnector", "connector/service.own.80.web@10.0.0.1"));
    CHECK(json_is_true(site_get(cluster_get(&c, "Service/own"), "spec.publishNotReadyAddresses")));
    CHECK_JSON(site_get(cluster_get(&c, "Service/old"), "spec.ports[0].port"), "81");
    put_entry(&c, "far", NULL);
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "Service/far"));
    CHECK(cluster_get(&c, "Service/own") != NULL);
    free(before);
    free(after);
    cluster_fini(&c);
}

TEST(a_user_comes_before_an_annotation_and_that_before_another_site)
{
    struct cluster c;

    put_site(&c);
    put_entry(&c, "far", REMOTE);
    add_kind(&c, "Deployment", "far", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '1'}",
             DEPLOYED);
    put_entry(&c, "own", "{'address': 'own', 'protocol': 'tcp', 'ports': [80], 'targets': null}");
    add_kind(&c, "Deployment", "own", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '1'}",
             DEPLOYED);
    cluster_settle(&c);
    json_t *far = entry(&c, "far");

    CHECK_STR(str_of(site_text(far, "origin")), "annotation");
    json_decref(far);
    CHECK_JSON(site_get(cluster_get(&c, "Service/far"), "spec.ports[0].port"), "1");
    CHECK_ENTRY(&c, "own", "{'address': 'own', 'protocol': 'tcp', 'ports': [80], 'targets': null}");
    CHECK_NOTE(&c, "Deployment/own",
               "the service \"own\" is defined in the ConfigMap skupper-services already");
    cluster_fini(&c);
}

TEST(definitions_that_are_wrong_are_told_and_left_as_they_are)
{
    static const struct {
        const char *address, *text, *told;
    } rows[] = {
        {"a", "{", "a: it is no JSON object"},
        {"a", "{'address': 'b', 'protocol': 'tcp', 'ports': [1]}",
         "a: address: it has to be its key, and a name for a Service"},
        {"A", "{'address': 'A', 'protocol': 'tcp', 'ports': [1]}",
         "A: address: it has to be its key, and a name for a Service"},
        {"a", "{'address': 'a', 'protocol': 'udp', 'ports': [1]}",
         "a: protocol: it is not one of tcp, http, http2"},
        {"a", "{'address': 'a', 'protocol': 'tcp'}", "a: ports: it has to be a list of ports"},
        {"a", "{'address': 'a', 'protocol': 'tcp', 'ports': [0]}",
         "a: ports: it has to be a list of ports"},
        {"a",
         "{'address': 'a', 'protocol': 'tcp', 'ports': [1], 'targets': [{'name': 't', 'selector':"
         " 'x=y', 'namespace': 'east'}]}",
         "a: the target \"t\" is in another namespace"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        char *text = quoted(rows[i].text);
        json_t *data;

        put_site(&c);
        put_entry(&c, rows[i].address, "{}");
        data = json_object_get(cluster_get(&c, "ConfigMap/skupper-services"), "data");
        json_object_set_new(data, rows[i].address, json_string(text));
        cluster_settle(&c);
        CHECK_NOTE(&c, "ConfigMap/skupper-services", rows[i].told);
        CHECK_STR(str_of(json_string_value(json_object_get(
                      json_object_get(cluster_get(&c, "ConfigMap/skupper-services"), "data"),
                      rows[i].address))),
                  text);
        free(text);
        cluster_fini(&c);
    }
}

TEST(towards_sites_of_version_1_the_older_form_is_spoken)
{
    static const struct {
        const char *version;
        bool is_legacy;
    } rows[] = {{"1.8.7", true}, {"2.2.0", false}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        json_t *e;

        put_site(&c);
        put_entry(&c, "far", REMOTE);
        json_object_set_new(metadata_of(cluster_get(&c, "ConfigMap/skupper-services")),
                            "annotations",
                            json_pack("{s:o}", "internal.skupper.io/versions",
                                      json_sprintf("{\"east-site\": \"%s\"}", rows[i].version)));
        cluster_settle(&c);
        e = cluster_entity(&c, "skupper-router", "tcpListener", "listener/service.far.5432");
        CHECK_EQ_FOR(rows[i].version, strcmp(site_text(e, "encapsulation"), "legacy") == 0,
                     rows[i].is_legacy);
        CHECK_STR(str_of(site_text(e, "address")), "far:5432");
        json_decref(e);
        cluster_fini(&c);
    }
}

TEST(each_site_has_the_map_which_says_whether_services_are_shared)
{
    static const struct {
        const char *notes, *want;
    } rows[] = {{"{}", "true"},
                {"{'skupper.io/service-sync': 'False'}", "false"},
                {"{'skupper.io/service-sync': 'true'}", "true"}};
    struct cluster c;

    put_site(&c);
    add_kind(&c, "Deployment", "web", "{'skupper.io/proxy': 'tcp'}", DEPLOYED);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        set_notes(&c, "Site/west", rows[i].notes);
        cluster_settle(&c);
        CHECK_STR(
            str_of(json_string_value(json_object_get(
                site_get(cluster_get(&c, "ConfigMap/skupper-services"), "metadata.annotations"),
                "skupper.io/service-sync"))),
            rows[i].want);
    }
    // Both at a time: the mark, and an entry.
    set_notes(&c, "Site/west", "{'skupper.io/service-sync': 'false'}");
    cluster_remove(&c, "Deployment/web");
    cluster_settle(&c);
    CHECK_ENTRY(&c, "web", NULL);
    CHECK_EQ(writes_of(&c, "ConfigMap/skupper-services"), 5);
    cluster_fini(&c);
}

TEST(a_refusal_is_told_and_undoes_nothing)
{
    struct cluster c;

    put_site(&c);
    add_kind(&c, "Service", "web", "{}", SERVICE);
    add_kind(&c, "Deployment", "web", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '80'}",
             DEPLOYED);
    cluster_settle(&c);
    json_object_set_new(c.refused, "Service/web", json_string("not today"));
    cluster_set_spec(&c, "Service/web", "{'selector': {'app': 'web'}, 'ports': [{'port': 80}]}");
    for (int i = 0; i < 3; i++)
        cluster_turn(&c);
    CHECK_NOTE(&c, "Deployment/web", "web: not today");
    CHECK(has_entity(&c, "tcpListener", "listener/service.web.80"));
    json_object_clear(c.refused);
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec.selector"),
               "{'application': 'skupper-router', 'skupper.io/component': 'router'}");
    cluster_fini(&c);
}

TEST_MAIN(CASE(an_annotated_deployment_has_connectors_and_a_service),
          CASE(a_service_of_ours_is_kept_as_it_is_to_be), CASE(without_ingress_there_is_no_service),
          CASE(a_target_that_is_a_service_is_reached_by_its_name),
          CASE(certificates_of_services_are_generated_and_go_with_the_last),
          CASE(a_certificate_of_the_user_stands_in_for_a_generated_one),
          CASE(tls_of_a_service_uses_the_secrets_it_names),
          CASE(a_service_that_is_there_is_adopted_and_given_back_as_it_was),
          CASE(what_a_deployment_of_the_user_owns_is_not_ours),
          CASE(whatever_ends_it_a_service_is_given_back),
          CASE(an_annotated_service_leads_to_its_pods_through_the_router),
          CASE(a_port_that_is_added_keeps_what_the_server_gives_it),
          CASE(edits_of_an_adopted_service_are_the_users_wish),
          CASE(what_a_controller_of_version_1_adopted_is_given_back),
          CASE(services_that_cannot_lead_to_the_router_are_left_alone),
          CASE(a_listener_of_the_same_name_comes_first),
          CASE(definitions_of_users_and_of_other_sites_are_read_and_kept),
          CASE(a_user_comes_before_an_annotation_and_that_before_another_site),
          CASE(definitions_that_are_wrong_are_told_and_left_as_they_are),
          CASE(towards_sites_of_version_1_the_older_form_is_spoken),
          CASE(each_site_has_the_map_which_says_whether_services_are_shared),
          CASE(a_refusal_is_told_and_undoes_nothing))
