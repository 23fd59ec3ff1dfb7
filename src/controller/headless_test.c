// SPDX-License-Identifier: Apache-2.0
// Headless services: where the pods are, and where they are called by their names.
#include "controller/annotated_rig_test.h"

#define FAR_DB                                                                                     \
    "{'address': 'db', 'protocol': 'tcp', 'ports': [5432], 'exposeIngress': '', 'headless':"       \
    " {'name': 'db', 'size': 2, 'targetPorts': {'5432': 5432}}, 'targets': [], 'origin':"          \
    " 'east-site'}"

// The network, with these connectors in another site.
static void put_network(struct cluster *c, const char *first, const char *second)
{
    static const char key[] = "ConfigMap/skupper-network-status";
    char *text = str_fmt("{\"siteStatus\": [{\"site\": {\"identity\": \"far\"}, \"routerStatus\": "
                         "[{\"connectors\": [{\"address\": \"%s\", \"destHost\": \"10.1.1.1\"}, "
                         "{\"address\": \"%s\", \"destHost\": \"10.1.1.2\"}]}]}]}",
                         first, second);

    if (cluster_get(c, key))
        cluster_remove(c, key);
    cluster_add(c, json_pack("{s:s, s:s, s:{s:s}, s:{s:s}}", "apiVersion", "v1", "kind",
                             "ConfigMap", "metadata", "name", "skupper-network-status", "data",
                             "NetworkStatus", text));
    free(text);
}

// As the API server does with a Service of ours that is not headless.
static void give_ip(struct cluster *c, const char *key, const char *ip)
{
    json_t *spec = (json_t *)(uintptr_t)site_get(cluster_get(c, key), "spec");

    json_object_set_new(spec, "clusterIP", json_string(ip));
    touch(c, cluster_get(c, key));
}

static void begin(struct cluster *c, bool has_slices)
{
    put_site(c);
    c->settings.has_slices = has_slices;
    put_entry(c, "db", FAR_DB);
    put_network(c, "db:5432.db-0", "db:5432.db-1");
    cluster_settle(c);
}

TEST(each_pod_of_an_annotated_statefulset_has_a_connector_of_its_own)
{
    struct cluster c;
    static const char service[] =
        "{'clusterIP': 'None', 'selector': {'app': 'db'}, 'ports': [{'port': 5432}]}";
    json_t *e;

    put_site(&c);
    add_kind(&c, "Service", "db", "{}", service);
    add_kind(&c, "StatefulSet", "db", "{'skupper.io/proxy': 'tcp', 'skupper.io/headless': 'true'}",
             STATEFUL);
    cluster_pod(&c, "db-0", "db", "10.0.0.1", true);
    cluster_settle(&c);
    e = cluster_entity(&c, "skupper-router", "tcpConnector", "connector/service.db.5432.db@db-0");
    CHECK_STR(str_of(site_text(e, "address")), "db:5432.db-0");
    CHECK_STR(str_of(site_text(e, "host")), "10.0.0.1");
    json_decref(e);
    // Its own Service leads to its pods already.
    CHECK_JSON(site_get(cluster_get(&c, "Service/db"), "spec"), service);
    CHECK(!has_entity(&c, "tcpListener", NULL));
    CHECK_EQ(json_object_size(c.plan.notes), 0);
    cluster_fini(&c);
}

TEST(pods_elsewhere_are_reached_by_their_names)
{
    struct cluster c;

    begin(&c, true);
    give_ip(&c, "Service/db-0", "10.96.0.7");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/db"), "spec"),
               "{'clusterIP': 'None', 'ports': [{'name': 'port5432', 'port': 5432, 'protocol':"
               " 'TCP', 'targetPort': 5432}]}");
    CHECK_JSON(site_get(cluster_get(&c, "Service/db-1"), "spec.ports"),
               "[{'name': 'port5432', 'port': 5432, 'targetPort': 1026, 'protocol': 'TCP'}]");
    // One has its place by now, the other not yet.
    CHECK_JSON(json_object_get(cluster_get(&c, "EndpointSlice/db-skupper"), "endpoints"),
               "[{'addresses': ['10.96.0.7'], 'hostname': 'db-0', 'conditions': {'ready': true}}]");
    give_ip(&c, "Service/db-1", "10.96.0.8");
    cluster_settle(&c);
    CHECK_JSON(json_object_get(cluster_get(&c, "EndpointSlice/db-skupper"), "endpoints"),
               "[{'addresses': ['10.96.0.7'], 'hostname': 'db-0', 'conditions': {'ready': true}},"
               " {'addresses': ['10.96.0.8'], 'hostname': 'db-1', 'conditions': {'ready': true}}]");
    CHECK_JSON(site_get(cluster_get(&c, "EndpointSlice/db-skupper"), "metadata.labels"),
               "{'kubernetes.io/service-name': 'db', 'endpointslice.kubernetes.io/managed-by':"
               " 'skupper.io'}");
    CHECK_JSON(json_object_get(cluster_get(&c, "EndpointSlice/db-skupper"), "ports"),
               "[{'name': 'port5432', 'port': 5432, 'protocol': 'TCP'}]");
    // One is scaled away, then all is withdrawn.
    put_network(&c, "db:5432.db-0", "other");
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "Service/db-1"));
    CHECK_EQ(
        json_array_size(json_object_get(cluster_get(&c, "EndpointSlice/db-skupper"), "endpoints")),
        1);
    put_entry(&c, "db", NULL);
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "Service/db"));
    CHECK(!cluster_get(&c, "Service/db-0"));
    CHECK(!cluster_get(&c, "EndpointSlice/db-skupper"));
    cluster_fini(&c);
}

TEST(names_outlive_a_network_that_is_not_known)
{
    struct cluster c;

    begin(&c, true);
    give_ip(&c, "Service/db-0", "10.96.0.7");
    cluster_settle(&c);
    cluster_remove(&c, "ConfigMap/skupper-network-status");
    cluster_settle(&c);
    CHECK(cluster_get(&c, "Service/db-0") != NULL);
    CHECK_EQ(
        json_array_size(json_object_get(cluster_get(&c, "EndpointSlice/db-skupper"), "endpoints")),
        1);
    cluster_fini(&c);
}

TEST(without_slices_the_service_leads_to_any_of_the_pods)
{
    struct cluster c;

    begin(&c, false);
    CHECK_JSON(site_get(cluster_get(&c, "Service/db"), "spec.selector"),
               "{'application': 'skupper-router', 'skupper.io/component': 'router'}");
    CHECK(cluster_get(&c, "Service/db-0") != NULL);
    CHECK(!cluster_get(&c, "EndpointSlice/db-skupper"));
    cluster_fini(&c);
}

TEST(a_service_of_a_user_is_no_headless_one_of_ours)
{
    struct cluster c;

    put_site(&c);
    c.settings.has_slices = true;
    add_kind(&c, "Service", "db", "{}", SERVICE);
    put_entry(&c, "db", FAR_DB);
    put_network(&c, "db:5432.db-0", "x");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/db"), "spec"), SERVICE);
    CHECK_NOTE(&c, "ConfigMap/skupper-services", "db: Service db already exists in namespace");
    cluster_fini(&c);
}

TEST_MAIN(CASE(each_pod_of_an_annotated_statefulset_has_a_connector_of_its_own),
          CASE(pods_elsewhere_are_reached_by_their_names),
          CASE(names_outlive_a_network_that_is_not_known),
          CASE(without_slices_the_service_leads_to_any_of_the_pods),
          CASE(a_service_of_a_user_is_no_headless_one_of_ours))
