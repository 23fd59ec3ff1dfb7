// SPDX-License-Identifier: Apache-2.0
// What a Site becomes, and what stays as it is.
#include "controller/rig_test.h"

static void put_site(struct cluster *c, const char *spec)
{
    cluster_init(c);
    cluster_put(c, "Site", "west", spec);
}

// The keys of all that is there, as one text; the caller frees.
static char *keys_of(const struct cluster *c)
{
    char *all = json_dumps(c->objects, JSON_SORT_KEYS | JSON_COMPACT);
    json_t *list = json_array(), *v;
    const char *key;

    json_object_foreach(c->objects, key, v) json_array_append_new(list, json_string(key));
    free(all);
    all = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return all;
}

static void check_has(const struct cluster *c, const char *const *keys)
{
    for (; *keys; keys++)
        if (!cluster_get(c, *keys))
            fail_msg("there is no %s, but %s", *keys, keys_of(c));
}

TEST(a_site_becomes_the_objects_of_the_reference)
{
    struct cluster c;
    json_t *container;

    put_site(&c, "{'linkAccess': 'loadbalancer'}");
    cluster_settle(&c);
    check_has(&c, (const char *const[]){
                      "ConfigMap/skupper-router", "ConfigMap/skupper-services",
                      "ServiceAccount/skupper-router", "Role/skupper-router",
                      "RoleBinding/skupper-router", "Certificate/skupper-site-ca",
                      "Certificate/skupper-local-ca", "Certificate/skupper-local-server",
                      "Certificate/skupper-site-server", "Secret/skupper-site-ca",
                      "Secret/skupper-local-ca", "Secret/skupper-local-server",
                      "Secret/skupper-site-server", "RouterAccess/skupper-router",
                      "SecuredAccess/skupper-router", "Deployment/skupper-router",
                      "Service/skupper-router-local", "Service/skupper-router", NULL});
    CHECK_EQ(json_object_size(c.objects), 19);
    CHECK_JSON(site_get(cluster_get(&c, "Deployment/skupper-router"), "spec.selector"),
               "{'matchLabels': {'skupper.io/component': 'router'}}");
    CHECK_JSON(
        site_get(cluster_get(&c, "Deployment/skupper-router"), "spec.template.metadata.labels"),
        "{'app.kubernetes.io/name': 'skupper-router', 'app.kubernetes.io/part-of': 'skupper',"
        " 'application': 'skupper-router', 'skupper.io/component': 'router',"
        " 'skupper.io/type': 'site', 'skupper.io/group': 'skupper-router'}");
    container = (json_t *)(uintptr_t)site_get(cluster_get(&c, "Deployment/skupper-router"),
                                              "spec.template.spec.containers[0]");
    CHECK_JSON(json_object_get(container, "env"),
               "[{'name': 'QDROUTERD_CONF', 'value': '/etc/skupper-router-certs/skrouterd.json'},"
               " {'name': 'QDROUTERD_CONF_TYPE', 'value': 'json'},"
               " {'name': 'SKUPPER_SITE_ID', 'value': 'Site/west#0'}]");
    CHECK_JSON(json_object_get(container, "livenessProbe"),
               "{'httpGet': {'path': '/healthz', 'port': 9090, 'scheme': 'HTTP'},"
               " 'initialDelaySeconds': 60, 'periodSeconds': 10, 'failureThreshold': 3,"
               " 'timeoutSeconds': 1}");
    CHECK_JSON(json_object_get(container, "readinessProbe"),
               "{'httpGet': {'path': '/healthz/ready', 'port': 9090, 'scheme': 'HTTP'},"
               " 'initialDelaySeconds': 0, 'periodSeconds': 1, 'failureThreshold': 10,"
               " 'timeoutSeconds': 1}");
    CHECK_JSON(json_object_get(container, "securityContext"),
               "{'allowPrivilegeEscalation': false, 'capabilities': {'drop': ['ALL']},"
               " 'runAsNonRoot': true}");
    // Which the restricted profile wants too.
    CHECK_JSON(site_get(cluster_get(&c, "Deployment/skupper-router"),
                        "spec.template.spec.securityContext"),
               "{'runAsNonRoot': true, 'seccompProfile': {'type': 'RuntimeDefault'}}");
    // Nobody said a policy: an image that a node has is not asked for again.
    CHECK(!json_object_get(container, "imagePullPolicy"));
    CHECK_JSON(site_get(cluster_get(&c, "Service/skupper-router"), "spec"),
               "{'type': 'LoadBalancer', 'selector': {'skupper.io/component': 'router',"
               " 'skupper.io/group': 'skupper-router'}, 'ports': [{'name': 'inter-router', 'port':"
               " 55671, 'targetPort': 55671, 'protocol': 'TCP'}, {'name': 'edge', 'port': 45671,"
               " 'targetPort': 45671, 'protocol': 'TCP'}]}");
    CHECK_JSON(site_get(cluster_get(&c, "Role/skupper-router"), "metadata.ownerReferences"),
               "[{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Site', 'name': 'west', 'uid':"
               " 'Site/west#0'}]");
    CHECK_STATUS(&c, "Site/west", "Running", "False Pending No router pod is ready");
    CHECK_STATUS(&c, "Certificate/skupper-site-ca", "Ready", "True Ready OK");
    CHECK_JSON(site_get(cluster_get(&c, "Certificate/skupper-site-ca"), "spec"),
               "{'ca': '', 'subject': 'west site CA', 'signing': true}");
    CHECK_JSON(site_get(cluster_get(&c, "Certificate/skupper-site-server"), "spec"),
               "{'ca': 'skupper-site-ca', 'subject': 'skupper-router', 'hosts': ['skupper-router',"
               " 'skupper-router.west'], 'server': true}");
    CHECK_JSON(site_get(cluster_get(&c, "Site/west"), "status.controller"),
               "{'name': 'skupper-controller', 'namespace': 'skupper', 'version': '2.2.0'}");
    cluster_fini(&c);
}

// Who brings an account of his own brings its rights too.
TEST(a_site_may_have_an_account_of_its_user)
{
    struct cluster c;

    put_site(&c, "{'serviceAccount': 'mine'}");
    cluster_settle(&c);
    CHECK_STR(str_of(site_text(cluster_get(&c, "Deployment/skupper-router"),
                               "spec.template.spec.serviceAccountName")),
              "mine");
    CHECK(!cluster_get(&c, "ServiceAccount/skupper-router"));
    CHECK(!cluster_get(&c, "Role/skupper-router"));
    CHECK(!cluster_get(&c, "RoleBinding/skupper-router"));
    cluster_set_spec(&c, "Site/west", "{}");
    cluster_settle(&c);
    CHECK_STR(str_of(site_text(cluster_get(&c, "Deployment/skupper-router"),
                               "spec.template.spec.serviceAccountName")),
              "skupper-router");
    CHECK(cluster_get(&c, "RoleBinding/skupper-router") != NULL);
    cluster_fini(&c);
}

// Everything that a namespace has is written once, and its status once; a controller that starts
// anew knows no more than this one in each turn, and writes nothing.
TEST(each_object_is_written_once)
{
    struct cluster c;
    const char *key;
    json_t *count;

    put_site(&c, "{'linkAccess': 'local', 'ha': true}");
    cluster_put(&c, "Listener", "db", "{'routingKey': 'db', 'host': 'db', 'port': 5432}");
    cluster_put(&c, "Connector", "web", "{'routingKey': 'web', 'selector': 'app=web', 'port': 80}");
    cluster_pod(&c, "web-1", "web", "10.0.0.1", true);
    cluster_settle(&c);
    json_object_foreach(c.writes, key, count)
    {
        // What stands for others is told again as these come to be.
        bool is_late = strncmp(key, "status ", 7) == 0 || strncmp(key, "ConfigMap/", 10) == 0;

        if (!is_late)
            CHECK_EQ_FOR(key, json_integer_value(count), 1);
    }
    CHECK_EQ(writes_of(&c, "status Listener/db"), 1);
    CHECK_EQ(writes_of(&c, "status Connector/web"), 1);
    CHECK_EQ(cluster_turn(&c), 0);
    cluster_fini(&c);
}

TEST(addresses_come_from_the_cluster_and_go_into_certificates)
{
    struct cluster c;

    put_site(&c, "{'linkAccess': 'default'}");
    cluster_settle(&c);
    CHECK_STATUS(&c, "RouterAccess/skupper-router", NULL, "Pending Pending");
    cluster_set_status(&c, "Service/skupper-router",
                       "{'loadBalancer': {'ingress': [{'ip': '192.0.2.7'}]}}");
    cluster_settle(&c);
    CHECK_STATUS(&c, "RouterAccess/skupper-router", NULL, "Ready OK");
    CHECK_STATUS(&c, "SecuredAccess/skupper-router", NULL, "Ready OK");
    CHECK_JSON(site_get(cluster_get(&c, "Site/west"), "status.endpoints"),
               "[{'name': 'inter-router', 'host': '192.0.2.7', 'port': '55671', 'group':"
               " 'skupper-router'}, {'name': 'edge', 'host': '192.0.2.7', 'port': '45671', 'group':"
               " 'skupper-router'}]");
    CHECK_JSON(site_get(cluster_get(&c, "Certificate/skupper-site-server"), "spec.hosts"),
               "['192.0.2.7', 'skupper-router', 'skupper-router.west']");
    json_t *profile = cluster_entity(&c, "skupper-router", "sslProfile", "skupper-site-server");

    CHECK_EQ(json_integer_value(json_object_get(profile, "ordinal")), 1);
    json_decref(profile);
    cluster_fini(&c);
}

// The router's environment, less what all have.
static json_t *drain_of(const struct cluster *c, const char *deployment)
{
    const json_t *list =
        site_get(cluster_get(c, deployment), "spec.template.spec.containers[0].env");
    json_t *out = json_object(), *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)list, i, one)
    {
        if (strncmp(site_text(one, "name"), "SKUPPER_DRAIN", 13) == 0)
            json_object_set(out, site_text(one, "name"), json_object_get(one, "value"));
    }
    return out;
}

// A router that ends alone has nobody to send its clients to: it is to be back soon.
TEST(routers_take_their_time_to_end_where_there_is_another)
{
    struct cluster c;
    json_t *drain;

    put_site(&c, "{'linkAccess': 'local'}");
    cluster_settle(&c);
    drain = drain_of(&c, "Deployment/skupper-router");
    CHECK_JSON(drain, "{}");
    json_decref(drain);
    cluster_set_spec(&c, "Site/west", "{'linkAccess': 'local', 'ha': true}");
    cluster_settle(&c);
    drain = drain_of(&c, "Deployment/skupper-router");
    CHECK_JSON(drain, "{'SKUPPER_DRAIN_SECONDS': '24', 'SKUPPER_DRAIN_ACCEPT_SECONDS': '3'}");
    json_decref(drain);
    drain = drain_of(&c, "Deployment/skupper-router-2");
    CHECK_JSON(drain, "{'SKUPPER_DRAIN_SECONDS': '27', 'SKUPPER_DRAIN_ACCEPT_SECONDS': '6'}");
    json_decref(drain);
    cluster_fini(&c);
}

TEST(ha_adds_a_second_router_and_takes_it_away_again)
{
    struct cluster c;
    json_t *connector;

    put_site(&c, "{'linkAccess': 'local', 'ha': true}");
    cluster_settle(&c);
    check_has(&c, (const char *const[]){"ConfigMap/skupper-router-2", "Deployment/skupper-router-2",
                                        "SecuredAccess/skupper-router-2",
                                        "Service/skupper-router-2", NULL});
    connector = cluster_entity(&c, "skupper-router-2", "connector", "skupper-router");
    CHECK_JSON(connector, "{'name': 'skupper-router', 'role': 'inter-router', 'host':"
                          " 'skupper-router', 'port': '55671', 'cost': 1, 'sslProfile':"
                          " 'skupper-site-server'}");
    json_decref(connector);
    connector = cluster_entity(&c, "skupper-router", "connector", "skupper-router-2");
    CHECK_JSON(connector, "{'name': 'skupper-router-2', 'role': 'inter-router', 'host':"
                          " 'skupper-router-2', 'port': '55671', 'cost': 1, 'sslProfile':"
                          " 'skupper-site-server'}");
    json_decref(connector);
    CHECK(site_get(cluster_get(&c, "Deployment/skupper-router"), "spec.template.spec.affinity") !=
          NULL);
    cluster_set_spec(&c, "Site/west", "{'linkAccess': 'local'}");
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "ConfigMap/skupper-router-2"));
    CHECK(!cluster_get(&c, "Deployment/skupper-router-2"));
    CHECK(!cluster_get(&c, "SecuredAccess/skupper-router-2"));
    CHECK(!cluster_get(&c, "Service/skupper-router-2"));
    CHECK(!cluster_entity(&c, "skupper-router", "connector", NULL));
    CHECK(cluster_get(&c, "Service/skupper-router") != NULL);
    cluster_fini(&c);
}

TEST(two_routers_are_on_two_nodes_if_that_can_be)
{
    static const char path[] = "spec.template.spec.affinity";
    struct cluster c;

    put_site(&c, "{'ha': true}");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Deployment/skupper-router-2"), path),
               "{'podAntiAffinity': {'preferredDuringSchedulingIgnoredDuringExecution': [{"
               "'weight': 100, 'podAffinityTerm': {'topologyKey': 'kubernetes.io/hostname',"
               " 'labelSelector': {'matchLabels': {'application': 'skupper-router',"
               " 'skupper.io/type': 'site'}}}}]}}");
    cluster_set_spec(&c, "Site/west", "{'ha': true, 'settings': {'disable-anti-affinity': 't'}}");
    cluster_plan(&c);
    CHECK(!site_get(json_object_get(c.plan.objects, "Deployment/skupper-router-2"), path));
    cluster_set_spec(&c, "Site/west", "{}");
    cluster_plan(&c);
    CHECK(!site_get(json_object_get(c.plan.objects, "Deployment/skupper-router"), path));
    cluster_fini(&c);
}

TEST(what_needs_a_new_pod_changes_the_digest_and_nothing_else_does)
{
    static const struct {
        const char *spec;
        bool is_other;
    } rows[] = {
        {"{'edge': true}", true},
        {"{'settings': {'router-logging': 'ROUTER:debug'}}", true},
        {"{'settings': {'routerLogging': 'ROUTER:debug'}}", true},
        {"{'settings': {'routerDataConnections': '4'}}", true},
        {"{'linkAccess': 'local'}", false},
        {"{'settings': {'size': 'large'}}", false},
    };
    static const char path[] = "spec.template.metadata.annotations";
    struct cluster c;
    char *first;

    put_site(&c, "{}");
    cluster_settle(&c);
    first = xstrdup(json_string_value(json_object_get(
        site_get(cluster_get(&c, "Deployment/skupper-router"), path), "skupper.io/config-digest")));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cluster_set_spec(&c, "Site/west", rows[i].spec);
        cluster_settle(&c);
        CHECK_EQ_FOR(rows[i].spec,
                     strcmp(first, json_string_value(json_object_get(
                                       site_get(cluster_get(&c, "Deployment/skupper-router"), path),
                                       "skupper.io/config-digest"))) != 0,
                     rows[i].is_other);
    }
    free(first);
    cluster_fini(&c);
}

// ------------------------------------------------------------------------------------ services

TEST(listeners_have_services_and_keep_their_ports)
{
    struct cluster c;
    json_t *entity;

    put_site(&c, "{}");
    cluster_put(&c, "Listener", "db", "{'routingKey': 'db', 'host': 'back', 'port': 5432}");
    cluster_settle(&c);
    cluster_put(&c, "Listener", "aaa", "{'routingKey': 'a', 'host': 'back', 'port': 80}");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/back"), "spec"),
               "{'selector': {'application': 'skupper-router', 'skupper.io/component': 'router'},"
               " 'ports': [{'name': 'aaa', 'port': 80, 'targetPort': 1025, 'protocol': 'TCP'},"
               " {'name': 'db', 'port': 5432, 'targetPort': 1024, 'protocol': 'TCP'}]}");
    entity = cluster_entity(&c, "skupper-router", "tcpListener", "listener/db");
    CHECK_JSON(entity, "{'name': 'listener/db', 'port': '1024', 'address': 'db', 'siteId':"
                       " 'Site/west#0'}");
    json_decref(entity);
    // Edited by somebody, it is set right; gone, it is made anew; unwanted, it goes.
    cluster_set_spec(&c, "Service/back", "{'selector': {'app': 'x'}, 'ports': []}");
    cluster_settle(&c);
    CHECK_EQ(json_array_size(site_get(cluster_get(&c, "Service/back"), "spec.ports")), 2);
    cluster_remove(&c, "Service/back");
    cluster_settle(&c);
    CHECK(cluster_get(&c, "Service/back") != NULL);
    cluster_remove(&c, "Listener/aaa");
    cluster_settle(&c);
    CHECK_EQ(json_array_size(site_get(cluster_get(&c, "Service/back"), "spec.ports")), 1);
    cluster_remove(&c, "Listener/db");
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "Service/back"));
    cluster_fini(&c);
}

TEST(ports_on_nodes_that_others_chose_stay)
{
    struct cluster c;
    json_t *port;

    put_site(&c, "{'linkAccess': 'nodeport'}");
    cluster_settle(&c);
    port =
        (json_t *)(uintptr_t)site_get(cluster_get(&c, "Service/skupper-router"), "spec.ports[0]");
    json_object_set_new(port, "nodePort", json_integer(30001));
    touch(&c, cluster_get(&c, "Service/skupper-router"));
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Site/west"), "status.endpoints"),
               "[{'name': 'inter-router', 'host': 'node.example.org', 'port': '30001', 'group':"
               " 'skupper-router'}]");
    json_object_set_new(
        (json_t *)(uintptr_t)site_get(cluster_get(&c, "Service/skupper-router"), "spec"),
        "selector", json_object());
    touch(&c, cluster_get(&c, "Service/skupper-router"));
    cluster_settle(&c);
    CHECK_EQ(json_integer_value(
                 site_get(cluster_get(&c, "Service/skupper-router"), "spec.ports[0].nodePort")),
             30001);
    cluster_set_spec(&c, "Site/west", "{'linkAccess': 'local'}");
    cluster_settle(&c);
    CHECK(!site_get(cluster_get(&c, "Service/skupper-router"), "spec.ports[0].nodePort"));
    cluster_fini(&c);
}

TEST(a_pod_that_dies_is_out_of_the_configuration_with_one_write)
{
    struct cluster c;
    json_t *entity;

    put_site(&c, "{}");
    cluster_put(&c, "Connector", "web", "{'routingKey': 'web', 'selector': 'app=web', 'port': 80}");
    cluster_pod(&c, "web-1", "web", "10.0.0.1", true);
    cluster_pod(&c, "web-2", "web", "10.0.0.2", true);
    cluster_settle(&c);
    entity = cluster_entity(&c, "skupper-router", "tcpConnector", "connector/web@10.0.0.2");
    CHECK(entity != NULL);
    json_decref(entity);
    cluster_set_status(&c, "Pod/web-2",
                       "{'phase': 'Running', 'podIP': '10.0.0.2', 'conditions': "
                       "[{'type': 'Ready', 'status': 'False'}]}");
    json_object_clear(c.writes);
    cluster_settle(&c);
    CHECK(!cluster_entity(&c, "skupper-router", "tcpConnector", "connector/web@10.0.0.2"));
    CHECK_EQ(writes_of(&c, "ConfigMap/skupper-router"), 1);
    CHECK_EQ(writes_of(&c, "status Connector/web"), 1);
    CHECK_EQ(json_object_size(c.writes), 2);
    CHECK_STATUS(&c, "Connector/web", "Configured", "True Ready OK");
    cluster_fini(&c);
}

TEST(services_of_single_pods_outlive_a_network_that_is_not_known)
{
    static const char network[] =
        "{\"siteStatus\": [{\"site\": {\"identity\": \"far\"}, \"routerStatus\": "
        "[{\"connectors\": [{\"address\": \"db.db-0\", \"destHost\": \"10.1.1.1\"}]}]}]}";
    struct cluster c;

    put_site(&c, "{}");
    cluster_put(&c, "Listener", "db",
                "{'routingKey': 'db', 'host': 'db', 'port': 1, 'exposePodsByName': true}");
    cluster_add(&c, json_pack("{s:s, s:s, s:{s:s}, s:{s:s}}", "apiVersion", "v1", "kind",
                              "ConfigMap", "metadata", "name", "skupper-network-status", "data",
                              "NetworkStatus", network));
    cluster_settle(&c);
    CHECK(cluster_get(&c, "Service/db-0") != NULL);
    cluster_remove(&c, "ConfigMap/skupper-network-status");
    cluster_settle(&c);
    CHECK(cluster_get(&c, "Service/db-0") != NULL);
    cluster_add(&c, json_pack("{s:s, s:s, s:{s:s}, s:{s:s}}", "apiVersion", "v1", "kind",
                              "ConfigMap", "metadata", "name", "skupper-network-status", "data",
                              "NetworkStatus", "{\"siteStatus\": []}"));
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "Service/db-0"));
    cluster_fini(&c);
}

// ------------------------------------------------------------------------------- what is not ours

TEST(objects_that_are_not_ours_are_left_alone_and_told)
{
    static const struct {
        const char *api, *kind, *name, *told, *condition, *want;
    } rows[] = {
        {"v1", "ConfigMap", "skupper-router", "Site/west", "Configured",
         "False Error skupper-router is not owned by skupper site \"Site/west#0\""},
        {"apps/v1", "Deployment", "skupper-router", "Site/west", "Configured",
         "False Error Deployment skupper-router already exists in namespace and is not controlled "
         "by skupper"},
        {"v1", "ServiceAccount", "skupper-router", "Site/west", "Configured",
         "False Error ServiceAccount skupper-router already exists in namespace and is not "
         "controlled by skupper"},
        {"v1", "Service", "skupper-router", "SecuredAccess/skupper-router", "Configured",
         "False Error Service skupper-router already exists in namespace and is not controlled by "
         "skupper"},
        {"v1", "Service", "back", "Listener/db", "Configured",
         "False Error Service back already exists in namespace"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        char *key = site_key(rows[i].kind, rows[i].name), *before, *after;

        cluster_init(&c);
        cluster_add(&c, json_pack("{s:s, s:s, s:{s:s}, s:{s:s}}", "apiVersion", rows[i].api, "kind",
                                  rows[i].kind, "metadata", "name", rows[i].name, "spec", "mine",
                                  "yes"));
        before = json_dumps(cluster_get(&c, key), JSON_SORT_KEYS);
        cluster_put(&c, "Site", "west", "{'linkAccess': 'local'}");
        cluster_put(&c, "Listener", "db", "{'routingKey': 'db', 'host': 'back', 'port': 1}");
        cluster_settle(&c);
        CHECK_STATUS(&c, rows[i].told, rows[i].condition, rows[i].want);
        after = json_dumps(cluster_get(&c, key), JSON_SORT_KEYS);
        CHECK_STR(str_of(after), before);
        // It was in the way; now it is not.
        cluster_remove(&c, key);
        cluster_settle(&c);
        CHECK_STATUS(&c, rows[i].told, rows[i].condition, "True Ready OK");
        cluster_remove(&c, "Site/west");
        cluster_settle(&c);
        free(before);
        free(after);
        free(key);
        cluster_fini(&c);
    }
}

TEST(what_the_server_refuses_is_said_by_the_resource_that_wants_it)
{
    static const struct {
        const char *key, *told, *want;
    } rows[] = {
        {"Deployment/skupper-router", "Site/west", "Error not today"},
        {"Service/back", "Listener/db", "Error not today"},
        {"Service/skupper-router", "SecuredAccess/skupper-router", "Error not today"},
        {"Secret/skupper-local-ca", "Certificate/skupper-local-ca", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;

        put_site(&c, "{'linkAccess': 'local'}");
        cluster_put(&c, "Listener", "db", "{'routingKey': 'db', 'host': 'back', 'port': 1}");
        for (int k = 0; k < 4; k++)
            cluster_turn(&c);
        json_object_set_new(c.refused, rows[i].key, json_string("not today"));
        for (int k = 0; k < 4; k++)
            cluster_turn(&c);
        CHECK_STATUS(&c, rows[i].told, rows[i].want ? NULL : "Ready",
                     rows[i].want ? rows[i].want : "False Error not today");
        CHECK(cluster_get(&c, "RouterAccess/skupper-router") != NULL);
        cluster_fini(&c);
    }
}

TEST(of_two_sites_the_older_counts)
{
    struct cluster c;

    put_site(&c, "{}");
    cluster_put(&c, "Site", "other", "{}");
    json_object_set_new(metadata_of(cluster_get(&c, "Site/other")), "creationTimestamp",
                        json_string("2026-02-01T00:00:00Z"));
    cluster_settle(&c);
    CHECK_STATUS(&c, "Site/other", "Configured",
                 "False Error An active site already exists in the namespace (west)");
    CHECK_STATUS(&c, "Site/west", "Configured", "True Ready OK");
    CHECK(!site_get(cluster_get(&c, "Site/other"), "status.controller"));
    cluster_fini(&c);
}

TEST(link_access_that_is_taken_back_takes_its_access_with_it)
{
    struct cluster c;

    put_site(&c, "{'linkAccess': 'local'}");
    cluster_settle(&c);
    // What cannot be understood changes nothing of what there is.
    cluster_set_spec(&c, "Site/west", "{'linkAccess': 'telepathy'}");
    cluster_settle(&c);
    CHECK_STATUS(&c, "Site/west", NULL, "Error Unsupported value for LinkAccess: telepathy");
    check_has(&c,
              (const char *const[]){"RouterAccess/skupper-router", "SecuredAccess/skupper-router",
                                    "Service/skupper-router", "Secret/skupper-site-server", NULL});
    cluster_set_spec(&c, "Site/west", "{'linkAccess': 'none'}");
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "RouterAccess/skupper-router"));
    CHECK(!cluster_get(&c, "Service/skupper-router"));
    CHECK(!cluster_get(&c, "Secret/skupper-site-server"));
    CHECK(cluster_get(&c, "Secret/skupper-site-ca") != NULL);
    cluster_fini(&c);
}

TEST_MAIN(CASE(a_site_becomes_the_objects_of_the_reference),
          CASE(a_site_may_have_an_account_of_its_user), CASE(each_object_is_written_once),
          CASE(addresses_come_from_the_cluster_and_go_into_certificates),
          CASE(routers_take_their_time_to_end_where_there_is_another),
          CASE(ha_adds_a_second_router_and_takes_it_away_again),
          CASE(two_routers_are_on_two_nodes_if_that_can_be),
          CASE(what_needs_a_new_pod_changes_the_digest_and_nothing_else_does),
          CASE(listeners_have_services_and_keep_their_ports),
          CASE(ports_on_nodes_that_others_chose_stay),
          CASE(a_pod_that_dies_is_out_of_the_configuration_with_one_write),
          CASE(services_of_single_pods_outlive_a_network_that_is_not_known),
          CASE(objects_that_are_not_ours_are_left_alone_and_told),
          CASE(what_the_server_refuses_is_said_by_the_resource_that_wants_it),
          CASE(of_two_sites_the_older_counts),
          CASE(link_access_that_is_taken_back_takes_its_access_with_it))
