// SPDX-License-Identifier: Apache-2.0
// A site of version 1, from its ConfigMap and Secrets, where our kinds are not defined.
#include "controller/annotated_rig_test.h"

static json_t *put_map(struct cluster *c, const char *data)
{
    return cluster_add(c, json_pack("{s:s, s:s, s:{s:s}, s:o}", "apiVersion", "v1", "kind",
                                    "ConfigMap", "metadata", "name", "skupper-site", "data",
                                    json_of(data)));
}

static void begin(struct cluster *c, const char *data)
{
    cluster_init(c);
    c->settings.reads_site_map = true;
    put_map(c, data);
}

static void put_secret(struct cluster *c, const char *name, const char *type, const char *notes)
{
    cluster_add(c,
                json_pack("{s:s, s:s, s:s, s:{s:s, s:{s:s}, s:o}, s:{s:s, s:s, s:s}}", "apiVersion",
                          "v1", "kind", "Secret", "type", "kubernetes.io/tls", "metadata", "name",
                          name, "labels", "skupper.io/type", type, "annotations", json_of(notes),
                          "data", "ca.crt", "eA==", "tls.crt", "eA==", "tls.key", "eA=="));
}

TEST(a_map_becomes_a_site_without_any_resource)
{
    struct cluster c;
    const char *key;
    json_t *object;

    begin(&c, "{'name': 'far-west', 'ingress': 'none'}");
    cluster_settle(&c);
    json_object_foreach(c.objects, key, object)
    {
        CHECK_EQ_FOR(key, strncmp(site_text(object, "apiVersion"), "skupper.io/", 11) == 0, false);
        if (strcmp(key, "ConfigMap/skupper-site") != 0)
            CHECK_STR(str_of(site_text(object, "metadata.ownerReferences[0].uid")),
                      "ConfigMap/skupper-site#0");
    }
    static const char *const keys[] = {
        "ConfigMap/skupper-router",     "ConfigMap/skupper-services",
        "Deployment/skupper-router",    "Role/skupper-router",
        "RoleBinding/skupper-router",   "ServiceAccount/skupper-router",
        "Secret/skupper-site-ca",       "Secret/skupper-site-server",
        "Secret/skupper-local-ca",      "Secret/skupper-local-server",
        "Service/skupper-router-local", "Service/skupper-router"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        CHECK_EQ_FOR(keys[i], cluster_get(&c, keys[i]) != NULL, true);
    CHECK_EQ(json_object_size(c.objects), 13);
    CHECK_EQ(json_object_size(c.plan.notes), 0);
    json_t *router = cluster_entity(&c, "skupper-router", "router", NULL);

    CHECK_STR(str_of(site_text(router, "id")), "far-west-${HOSTNAME}");
    json_decref(router);
    CHECK(has_entity(&c, "listener", NULL));
    // With it all goes.
    cluster_remove(&c, "ConfigMap/skupper-site");
    CHECK_EQ(json_object_size(c.objects), 0);
    cluster_fini(&c);
}

TEST(options_of_the_map_are_those_of_version_1)
{
    static const struct {
        const char *data, *service, *type, *mode;
        bool has_second;
    } rows[] = {
        {"{}", "Service/skupper-router", "LoadBalancer", "interior", false},
        {"{'ingress': 'nodeport'}", "Service/skupper-router", "NodePort", "interior", false},
        {"{'ingress': 'none'}", "Service/skupper-router", "ClusterIP", "interior", false},
        {"{'cluster-local': 'true', 'ingress': 'nodeport'}", "Service/skupper-router", "ClusterIP",
         "interior", false},
        {"{'router-mode': 'edge'}", "Service/skupper-router-local", "", "edge", false},
        {"{'edge': 'true', 'routers': '2'}", "Service/skupper-router-local", "", "edge", false},
        {"{'routers': '2', 'ingress': 'none'}", "Service/skupper-router-2", "ClusterIP", "interior",
         true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        json_t *router;

        begin(&c, rows[i].data);
        cluster_settle(&c);
        router = cluster_entity(&c, "skupper-router", "router", NULL);
        CHECK_STR(str_of(site_text(router, "mode")), rows[i].mode);
        CHECK_STR(str_of(site_text(cluster_get(&c, rows[i].service), "spec.type")), rows[i].type);
        CHECK_EQ_FOR(rows[i].data, cluster_get(&c, "Deployment/skupper-router-2") != NULL,
                     rows[i].has_second);
        json_decref(router);
        cluster_fini(&c);
    }
}

TEST(an_edge_site_is_told_of_links_to_it_that_it_asked_for_alone)
{
    static const struct {
        const char *data;
        bool is_told;
    } rows[] = {{"{'router-mode': 'edge'}", false},
                {"{'edge': 'true', 'ingress': 'none'}", false},
                {"{'router-mode': 'edge', 'cluster-local': 'true'}", false},
                {"{'router-mode': 'edge', 'ingress': 'loadbalancer'}", true}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;

        begin(&c, rows[i].data);
        cluster_settle(&c);
        CHECK_EQ_FOR(rows[i].data, json_object_get(c.plan.notes, "ConfigMap/skupper-site") != NULL,
                     rows[i].is_told);
        cluster_fini(&c);
    }
}

TEST(sizes_are_those_of_the_map)
{
    struct cluster c;
    const json_t *pod;

    begin(&c, "{'router-cpu': '1', 'router-memory-limit': '2Gi', 'config-sync-memory': '3Mi'}");
    cluster_settle(&c);
    pod = site_get(cluster_get(&c, "Deployment/skupper-router"), "spec.template.spec");
    CHECK_JSON(site_get(pod, "containers[0].resources"),
               "{'requests': {'cpu': '1'}, 'limits': {'memory': '2Gi'}}");
    CHECK_JSON(site_get(pod, "containers[1].resources"), "{'requests': {'memory': '3Mi'}}");
    cluster_fini(&c);
}

TEST(what_a_site_of_version_1_cannot_have_is_told)
{
    struct cluster c;

    begin(&c, "{'ingress': 'telepathy'}");
    cluster_settle(&c);
    CHECK_NOTE(&c, "ConfigMap/skupper-site", "Unsupported value for LinkAccess: telepathy");
    cluster_fini(&c);
}

TEST(a_map_that_another_controller_sees_to_is_left_alone)
{
    struct cluster c;

    begin(&c, "{}");
    json_object_set_new(metadata_of(cluster_get(&c, "ConfigMap/skupper-site")), "labels",
                        json_of("{'internal.skupper.io/site-controller-ignore': 'true'}"));
    cluster_settle(&c);
    CHECK_EQ(json_object_size(c.objects), 1);
    cluster_fini(&c);
    // So is one where a controller for the whole cluster is in charge.
    cluster_init(&c);
    put_map(&c, "{}");
    cluster_settle(&c);
    CHECK_EQ(json_object_size(c.objects), 1);
    cluster_fini(&c);
    // A Site counts more.
    begin(&c, "{'name': 'map'}");
    cluster_put(&c, "Site", "west", "{}");
    cluster_settle(&c);
    CHECK_STR(str_of(site_text(cluster_get(&c, "Deployment/skupper-router"),
                               "metadata.ownerReferences[0].uid")),
              "Site/west#0");
    cluster_fini(&c);
}

TEST(annotations_work_in_such_a_site_and_its_end_undoes_them)
{
    struct cluster c;

    begin(&c, "{'service-sync': 'false'}");
    add_kind(&c, "Service", "web", "{}", SERVICE);
    add_kind(&c, "Deployment", "web", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '80'}",
             DEPLOYED);
    cluster_pod(&c, "web-1", "web", "10.0.0.1", true);
    cluster_settle(&c);
    CHECK_STR(str_of(json_string_value(json_object_get(
                  site_get(cluster_get(&c, "ConfigMap/skupper-services"), "metadata.annotations"),
                  "skupper.io/service-sync"))),
              "false");
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec.selector"),
               "{'application': 'skupper-router', 'skupper.io/component': 'router'}");
    CHECK(has_entity(&c, "tcpListener", "listener/service.web.80"));
    cluster_remove(&c, "ConfigMap/skupper-site");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec"), SERVICE);
    cluster_fini(&c);
}

TEST(secrets_labelled_as_tokens_are_links)
{
    struct cluster c;
    json_t *e;

    begin(&c, "{'ingress': 'none'}");
    put_secret(&c, "east", "connection-token",
               "{'inter-router-host': 'east.example', 'inter-router-port': '443', 'edge-host':"
               " 'edge.example', 'edge-port': '444', 'skupper.io/cost': '7'}");
    put_secret(&c, "own", "connection-token",
               "{'inter-router-host': 'h', 'inter-router-port': '1', 'skupper.io/generated-by':"
               " 'ConfigMap/skupper-site#0'}");
    put_secret(&c, "off", "connection-token",
               "{'inter-router-host': 'h', 'inter-router-port': '1'}");
    json_object_set_new(json_object_get(metadata_of(cluster_get(&c, "Secret/off")), "labels"),
                        "internal.skupper.io/disabled", json_string("true"));
    cluster_settle(&c);
    e = cluster_entity(&c, "skupper-router", "connector", NULL);
    CHECK_JSON(e, "{'name': 'east', 'role': 'inter-router', 'host': 'east.example', 'port': '443',"
                  " 'cost': 7, 'sslProfile': 'east-profile'}");
    json_decref(e);
    cluster_remove(&c, "Secret/east");
    cluster_settle(&c);
    CHECK(!has_entity(&c, "connector", NULL));
    cluster_fini(&c);
}

TEST(a_link_without_a_place_is_told_at_its_secret)
{
    struct cluster c;

    begin(&c, "{'ingress': 'none'}");
    put_secret(&c, "east", "connection-token", "{'edge-host': 'h', 'edge-port': '1'}");
    cluster_settle(&c);
    CHECK(site_text(json_object_get(c.plan.notes, "Secret/east"), "message")[0] != '\0');
    cluster_fini(&c);
}

TEST(a_token_that_is_asked_for_leads_to_this_site)
{
    struct cluster c;
    const json_t *token;

    begin(&c, "{'ingress': 'none'}");
    cluster_add(&c, json_pack("{s:s, s:s, s:{s:s, s:{s:s}}}", "apiVersion", "v1", "kind", "Secret",
                              "metadata", "name", "for-east", "labels", "skupper.io/type",
                              "connection-token-request"));
    cluster_settle(&c);
    token = cluster_get(&c, "Secret/for-east");
    CHECK_STR(str_of(json_string_value(
                  json_object_get(site_get(token, "metadata.labels"), "skupper.io/type"))),
              "connection-token");
    static const char *const notes[][2] = {{"inter-router-host", "skupper-router.west"},
                                           {"inter-router-port", "55671"},
                                           {"edge-host", "skupper-router.west"},
                                           {"edge-port", "45671"},
                                           {"skupper.io/generated-by", "ConfigMap/skupper-site#0"},
                                           {"skupper.io/site-version", "1.9.6"}};

    for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++)
        CHECK_STR(str_of(json_string_value(
                      json_object_get(site_get(token, "metadata.annotations"), notes[i][0]))),
                  notes[i][1]);
    for (size_t i = 0; i < 3; i++) {
        char *text =
            site_secret_get(token, (const char *const[]){"tls.crt", "tls.key", "ca.crt"}[i]);

        CHECK(text != NULL);
        free(text);
    }
    CHECK(!has_entity(&c, "connector", NULL));
    CHECK(writes_of(&c, "Secret/for-east") > 0);
    cluster_fini(&c);
}

// What the option gives, at a place in an object.
TEST(every_option_that_is_used_has_its_effect)
{
    static const struct {
        const char *map, *key, *path, *want;
    } rows[] = {
        {"{'run-as-user': '1000', 'run-as-group': '2000'}", "Deployment/skupper-router",
         "spec.template.spec.securityContext",
         "{'runAsNonRoot': true, 'runAsUser': 1000, 'runAsGroup': 2000,"
         " 'seccompProfile': {'type': 'RuntimeDefault'}}"},
        {"{'router-node-selector': 'disk=ssd,zone=a'}", "Deployment/skupper-router",
         "spec.template.spec.nodeSelector", "{'disk': 'ssd', 'zone': 'a'}"},
        {"{'router-pod-affinity': 'app=web'}", "Deployment/skupper-router",
         "spec.template.spec.affinity.podAffinity",
         "{'preferredDuringSchedulingIgnoredDuringExecution': [{'weight': 100, 'podAffinityTerm':"
         " {'topologyKey': 'kubernetes.io/hostname', 'labelSelector': {'matchLabels': {'app':"
         " 'web'}}}}]}"},
        {"{'router-pod-antiaffinity': 'app=db'}", "Deployment/skupper-router",
         "spec.template.spec.affinity.podAntiAffinity",
         "{'preferredDuringSchedulingIgnoredDuringExecution': [{'weight': 100, 'podAffinityTerm':"
         " {'topologyKey': 'kubernetes.io/hostname', 'labelSelector': {'matchLabels': {'app':"
         " 'db'}}}}]}"},
        {"{'router-pod-antiaffinity': 'app=db', 'routers': '2'}", "Deployment/skupper-router-2",
         "spec.template.spec.affinity.podAntiAffinity",
         "{'preferredDuringSchedulingIgnoredDuringExecution': [{'weight': 100, 'podAffinityTerm':"
         " {'topologyKey': 'kubernetes.io/hostname', 'labelSelector': {'matchLabels':"
         " {'application': 'skupper-router', 'skupper.io/type': 'site'}}}}, {'weight': 100,"
         " 'podAffinityTerm': {'topologyKey': 'kubernetes.io/hostname', 'labelSelector':"
         " {'matchLabels': {'app': 'db'}}}}]}"},
        {"{'router-pod-annotations': 'a=1'}", "Deployment/skupper-router",
         "spec.template.metadata.annotations.a", "'1'"},
        {"{'router-pod-annotations': 'a=1,2;b=3', 'annotation-separator': ';'}",
         "Deployment/skupper-router", "spec.template.metadata.annotations.a", "'1,2'"},
        {"{'router-service-annotations': 'lb=internal'}", "Service/skupper-router",
         "metadata.annotations.lb", "'internal'"},
        {"{'router-load-balancer-ip': '203.0.113.9'}", "Service/skupper-router",
         "spec.loadBalancerIP", "'203.0.113.9'"},
        {"{'ingress': 'nginx-ingress-v1', 'ingress-host': 'example.org'}", "Ingress/skupper-router",
         "spec.rules[0].host", "'inter-router.west.example.org'"},
        {"{'ingress': 'nginx-ingress-v1', 'ingress-host': 'example.org'}", "Ingress/skupper-router",
         "spec.ingressClassName", "'nginx'"},
        {"{'ingress': 'ingress', 'router-ingress-host': 'example.net', 'ingress-host': 'x',"
         " 'ingress-annotations': 'a=b'}",
         "Ingress/skupper-router", "spec.rules[1].host", "'edge.west.example.net'"},
        {"{'ingress': 'ingress', 'ingress-annotations': 'a=b'}", "Ingress/skupper-router",
         "metadata.annotations.a", "'b'"},
        {"{'ingress': 'contour-http-proxy', 'ingress-host': 'example.org', 'ingress-annotations':"
         " 'a=b'}",
         "HTTPProxy/skupper-router-edge", "spec.virtualhost.fqdn",
         "'skupper-router-edge.west.example.org'"},
        {"{'ingress': 'contour-http-proxy', 'ingress-host': 'example.org', 'ingress-annotations':"
         " 'a=b'}",
         "HTTPProxy/skupper-router-edge", "metadata.annotations.a", "'b'"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        json_t *wanted = json_of(rows[i].want);

        begin(&c, rows[i].map);
        cluster_settle(&c);
        CHECK_EQ_FOR(rows[i].map, json_object_size(c.plan.notes), 0);
        CHECK_EQ_FOR(rows[i].map,
                     json_equal(site_get(cluster_get(&c, rows[i].key), rows[i].path), wanted),
                     true);
        json_decref(wanted);
        cluster_fini(&c);
    }
}

TEST(ports_of_nodes_are_reached_where_the_map_says)
{
    struct cluster c;

    begin(&c, "{'ingress': 'nodeport', 'router-ingress-host': 'node.example'}");
    c.settings.cluster_host = "";
    cluster_settle(&c);
    json_object_set_new(
        json_array_get(site_get(cluster_get(&c, "Service/skupper-router"), "spec.ports"), 0),
        "nodePort", json_integer(30001));
    cluster_settle(&c);
    CHECK_STR(str_of(site_text(c.plan.token, "inter-router-host")), "node.example");
    CHECK_STR(str_of(site_text(c.plan.token, "inter-router-port")), "30001");
    cluster_fini(&c);
    begin(&c, "{'ingress': 'nodeport'}");
    c.settings.cluster_host = "";
    cluster_settle(&c);
    CHECK(strstr(site_text(json_object_get(c.plan.notes, "ConfigMap/skupper-site"), "message"),
                 "router-ingress-host says it here"));
    cluster_fini(&c);
}

TEST(frames_between_routers_are_as_large_as_the_map_says)
{
    struct cluster c;
    json_t *e;

    begin(&c, "{'ingress': 'none', 'xp-router-max-frame-size': '65536',"
              " 'xp-router-max-session-frames': '100'}");
    put_secret(&c, "east", "connection-token",
               "{'inter-router-host': 'east.example', 'inter-router-port': '443'}");
    cluster_settle(&c);
    e = cluster_entity(&c, "skupper-router", "connector", NULL);
    CHECK_EQ(json_integer_value(json_object_get(e, "maxFrameSize")), 65536);
    CHECK_EQ(json_integer_value(json_object_get(e, "maxSessionFrames")), 100);
    json_decref(e);
    e = cluster_entity(&c, "skupper-router", "listener", "skupper-router-edge");
    CHECK_EQ(json_integer_value(json_object_get(e, "maxFrameSize")), 65536);
    json_decref(e);
    e = cluster_entity(&c, "skupper-router", "listener", "amqp");
    CHECK(!json_object_get(e, "maxFrameSize"));
    json_decref(e);
    cluster_fini(&c);
}

TEST(no_option_is_passed_over_in_silence)
{
    static const struct {
        const char *key, *value, *words;
    } rows[] = {
        {"console", "true", "there is no console of version 1 here"},
        {"console-user", "admin", "there is no console of version 1 here"},
        {"console-password", "secret", "there is no console of version 1 here"},
        {"console-authentication", "openshift", "there is no console of version 1 here"},
        {"console-ingress", "route", "there is no console of version 1 here"},
        {"rest-api", "true", "there is no console of version 1 here"},
        {"flow-collector", "true", "there is no console of version 1 here"},
        {"flow-collector-record-ttl", "1h", "there is no console of version 1 here"},
        {"flow-collector-memory", "1Gi", "there is no console of version 1 here"},
        {"prometheus-external-server", "http://x", "no Prometheus is started here"},
        {"prometheus-server-authentication", "basic", "no Prometheus is started here"},
        {"prometheus-server-user", "u", "no Prometheus is started here"},
        {"prometheus-server-pod-annotations", "a=b", "no Prometheus is started here"},
        {"service-sync-site-ttl", "10", "it has to be a duration"},
        {"service-sync-site-ttl", "59s", "it has to be a duration of a minute or more"},
        {"cluster-permissions", "true", "targets in other namespaces are refused"},
        {"create-network-policy", "true", "no right to NetworkPolicies"},
        {"create-network-policy", "yes", "it has to be true or false"},
        {"router-disable-mutual-tls", "true", "has to show a certificate"},
        {"router-drop-tcp-connections", "true", "connections end when"},
        {"router-console", "true", "the router has no console"},
        {"controller-cpu", "1", "say it in its Deployment"},
        {"controller-pod-annotations", "a=b", "say it in its Deployment"},
        {"controller-node-selector", "a=b", "say it in its Deployment"},
        {"router-moed", "edge", "it is none of version 1"},
        {"router-mode", "corner", "it has to be interior or edge"},
        {"routers", "two", "it has to be a number"},
        {"run-as-user", "root", "it has to be the number of a user or group"},
        {"name", "No Name", "it has to be of lower-case letters"},
        {"router-cpu", "much", "it has to be an amount"},
        {"router-memory-limit", "1e", "it has to be an amount"},
        {"config-sync-cpu-limit", "1.5x", "it has to be an amount"},
        {"router-logging", "everything", "it has to be of the form"},
        {"router-data-connection-count", "some", "it has to be a number"},
        {"router-node-selector", "fast", "it has to be of the form KEY=VALUE"},
        {"edge", "perhaps", "it has to be true or false"},
        {"service-sync", "0", "it has to be true or false"},
        {"xp-router-max-frame-size", "12", "a number from 512 on"},
        {"annotation-separator", "--", "it has to be one character"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        char *map = str_fmt("{'ingress': 'none', '%s': '%s'}", rows[i].key, rows[i].value);
        char *note = str_fmt("ConfigMap/skupper-site %s", rows[i].key);
        char *words = str_fmt("the option %s is not used: ", rows[i].key);
        const json_t *told;

        begin(&c, map);
        cluster_settle(&c);
        told = json_object_get(c.plan.notes, note);
        CHECK_EQ_FOR(rows[i].key, strstr(site_text(told, "message"), words) != NULL, true);
        CHECK_EQ_FOR(rows[i].key, strstr(site_text(told, "message"), rows[i].words) != NULL, true);
        CHECK_STR(str_of(site_text(told, "reason")), "NotUsed");
        CHECK(!strstr(site_text(told, "message"), "secret"));
        CHECK(cluster_get(&c, "Deployment/skupper-router"));
        cluster_fini(&c);
        free(words);
        free(note);
        free(map);
    }
}

TEST(the_map_of_services_says_how_long_a_site_may_be_silent)
{
    static const struct {
        const char *map, *want;
    } rows[] = {{"{'ingress': 'none', 'service-sync-site-ttl': '10m'}", "10m"},
                {"{'ingress': 'none', 'service-sync-site-ttl': '1h'}", "1h"},
                {"{'ingress': 'none'}", ""}};
    struct cluster c;
    const json_t *notes;
    const char *ttl;

    begin(&c, rows[0].map);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_object_set_new(cluster_get(&c, "ConfigMap/skupper-site"), "data",
                            json_of(rows[i].map));
        cluster_settle(&c);
        notes = site_get(cluster_get(&c, "ConfigMap/skupper-services"), "metadata.annotations");
        ttl = json_string_value(json_object_get(notes, "skupper.io/service-sync-site-ttl"));
        CHECK_STR(str_of(ttl), rows[i].want);
        CHECK_EQ(json_object_size(c.plan.notes), 0);
    }
    cluster_fini(&c);
}

TEST(a_policy_lets_strangers_in_at_the_ports_for_links_alone)
{
    static const char *const maps[] = {
        "{'ingress': 'none', 'create-network-policy': 'true'}",
        "{'ingress': 'none', 'create-network-policy': 'true', 'edge': 'true'}",
        "{'ingress': 'none'}"};
    static const char *const wanted[] = {
        "[{'from': [{'podSelector': {}}]}, {'ports': [{'protocol': 'TCP', 'port': 55671},"
        " {'protocol': 'TCP', 'port': 45671}]}]",
        "[{'from': [{'podSelector': {}}]}]", NULL};
    struct cluster c;
    json_t *policy;

    begin(&c, maps[0]);
    c.settings.has_policies = true;
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        json_object_set_new(cluster_get(&c, "ConfigMap/skupper-site"), "data", json_of(maps[i]));
        cluster_settle(&c);
        CHECK(!json_object_get(c.plan.notes, "ConfigMap/skupper-site create-network-policy"));
        policy = cluster_get(&c, "NetworkPolicy/skupper-router");
        CHECK_EQ(policy != NULL, wanted[i] != NULL);
        if (!policy)
            continue;
        CHECK_JSON(site_get(policy, "spec.ingress"), wanted[i]);
        CHECK_JSON(site_get(policy, "spec.podSelector.matchLabels"),
                   "{'application': 'skupper-router', 'skupper.io/component': 'router'}");
        CHECK_STR(str_of(site_text(policy, "metadata.ownerReferences[0].kind")), "ConfigMap");
    }
    cluster_fini(&c);
}

// As `skupper init` of version 1 writes them all.
TEST(options_that_ask_for_nothing_are_no_news)
{
    struct cluster c;

    begin(&c,
          "{'ingress': 'none', 'console': 'false', 'console-authentication': 'internal',"
          " 'console-user': '', 'flow-collector': 'false', 'rest-api': 'False',"
          " 'router-console': 'false', 'service-controller': 'true', 'service-sync': 'true',"
          " 'cluster-permissions': 'false', 'create-network-policy': 'false',"
          " 'enable-skupper-events': 'true', 'router-mode': 'interior', 'routers': '1',"
          " 'edge': 'false', 'cluster-local': 'false', 'router-drop-tcp-connections': 'false'}");
    cluster_settle(&c);
    CHECK_EQ(json_object_size(c.plan.notes), 0);
    CHECK(!c.plan.is_quiet);
    cluster_fini(&c);
    begin(&c, "{'ingress': 'none', 'enable-skupper-events': 'false', 'console': 'true'}");
    cluster_settle(&c);
    CHECK(c.plan.is_quiet);
    CHECK_EQ(json_object_size(c.plan.notes), 1);
    cluster_fini(&c);
}

TEST(without_its_service_controller_a_site_neither_exposes_nor_shares)
{
    struct cluster c;

    begin(&c, "{'ingress': 'none', 'service-controller': 'false'}");
    add_kind(&c, "Deployment", "web", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '80'}",
             DEPLOYED);
    cluster_pod(&c, "web-1", "web", "10.0.0.1", true);
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "Service/web"));
    CHECK(!has_entity(&c, "tcpConnector", NULL));
    CHECK_STR(str_of(json_string_value(json_object_get(
                  site_get(cluster_get(&c, "ConfigMap/skupper-services"), "metadata.annotations"),
                  "skupper.io/service-sync"))),
              "false");
    cluster_fini(&c);
}

TEST(labels_and_annotations_of_the_map_are_everybodys)
{
    static const char *const keys[] = {
        "ConfigMap/skupper-router",   "ConfigMap/skupper-services",
        "Deployment/skupper-router",  "Role/skupper-router",
        "RoleBinding/skupper-router", "ServiceAccount/skupper-router",
        "Secret/skupper-site-ca",     "Secret/skupper-site-server",
        "Service/skupper-router",     "Service/skupper-router-local"};
    struct cluster c;
    json_t *map;

    begin(&c, "{'ingress': 'none'}");
    map = metadata_of(cluster_get(&c, "ConfigMap/skupper-site"));
    json_object_set_new(map, "labels", json_of("{'team': 'blue', 'secret': 'x'}"));
    json_object_set_new(map, "annotations",
                        json_of("{'owner': 'me', 'argocd': 'x', 'skupper.io/exclude-labels':"
                                " 'secret', 'skupper.io/exclude-annotations': 'argocd,other',"
                                " 'kubectl.kubernetes.io/last-applied-configuration': '{}'}"));
    cluster_settle(&c);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const json_t *object = cluster_get(&c, keys[i]);
        const json_t *notes = site_get(object, "metadata.annotations");

        CHECK_EQ_FOR(keys[i], strcmp(site_text(object, "metadata.labels.team"), "blue"), 0);
        CHECK_EQ_FOR(keys[i], strcmp(site_text(object, "metadata.annotations.owner"), "me"), 0);
        CHECK_EQ_FOR(keys[i],
                     json_object_get(site_get(object, "metadata.labels"), "secret") == NULL, true);
        CHECK_EQ_FOR(keys[i], json_object_get(notes, "argocd") == NULL, true);
        CHECK_EQ_FOR(keys[i], json_object_get(notes, "skupper.io/exclude-labels") == NULL, true);
    }
    CHECK_STR(str_of(site_text(cluster_get(&c, "Deployment/skupper-router"),
                               "spec.template.metadata.labels.team")),
              "blue");
    CHECK_EQ(cluster_turn(&c), 0);
    cluster_fini(&c);
}

static void put_record(struct cluster *c, const char *name)
{
    cluster_add(c, json_pack("{s:s, s:s, s:{s:s, s:{s:s}}}", "apiVersion", "v1", "kind", "Secret",
                             "metadata", "name", name, "labels", "skupper.io/type",
                             "token-claim-record"));
}

static void put_controller(struct cluster *c)
{
    c->settings.host_name = "skupper-controller-5f-abc";
    c->settings.claims_port = 8081;
    cluster_pod(c, "skupper-controller-5f-abc", "controller", "10.0.0.9", true);
    json_object_set_new(
        json_object_get(metadata_of(cluster_get(c, "Pod/skupper-controller-5f-abc")), "labels"),
        "pod-template-hash", json_string("5f"));
}

static const char *url_of(const struct cluster *c, const char *key)
{
    const char *text = json_string_value(
        json_object_get(site_get(cluster_get(c, key), "metadata.annotations"), "skupper.io/url"));

    return text ? text : "";
}

TEST(claims_are_redeemed_at_the_pod_of_the_controller)
{
    struct cluster c;

    begin(&c, "{'ingress': 'none'}");
    put_controller(&c);
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "Service/skupper-claims"));
    put_record(&c, "one");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Service/skupper-claims"), "spec.selector"),
               "{'app': 'controller'}");
    CHECK_JSON(site_get(cluster_get(&c, "Service/skupper-claims"), "spec.ports"),
               "[{'name': 'claims', 'port': 8081, 'targetPort': 8081, 'protocol': 'TCP'}]");
    CHECK(cluster_get(&c, "Secret/skupper-claims-server"));
    CHECK_STR(str_of(url_of(&c, "Secret/one")), "https://skupper-claims.west:8081/one");
    CHECK_EQ(json_object_size(c.plan.notes), 0);
    // Nothing stays open that nobody needs.
    cluster_remove(&c, "Secret/one");
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "Service/skupper-claims"));
    CHECK(!cluster_get(&c, "Secret/skupper-claims-server"));
    cluster_fini(&c);
}

TEST(claims_are_reached_as_the_site_is)
{
    struct cluster c;

    begin(&c, "{'ingress': 'loadbalancer'}");
    put_controller(&c);
    put_record(&c, "one");
    cluster_settle(&c);
    CHECK_STR(str_of(url_of(&c, "Secret/one")), "");
    CHECK_STR(str_of(site_text(cluster_get(&c, "Service/skupper-claims"), "spec.type")),
              "LoadBalancer");
    cluster_set_status(&c, "Service/skupper-claims",
                       "{'loadBalancer': {'ingress': [{'ip': "
                       "'2001:db8::7'}]}}");
    cluster_settle(&c);
    CHECK_STR(str_of(url_of(&c, "Secret/one")), ""); // the routers are not reached yet
    cluster_set_status(&c, "Service/skupper-router",
                       "{'loadBalancer': {'ingress': [{'ip': "
                       "'203.0.113.7'}]}}");
    cluster_settle(&c);
    CHECK_STR(str_of(url_of(&c, "Secret/one")), "https://[2001:db8::7]:8081/one");
    cluster_fini(&c);
}

TEST(claims_that_nobody_can_redeem_say_so)
{
    static const struct {
        const char *map, *place, *words;
    } rows[] = {
        {"{'router-mode': 'edge'}", "127.0.0.1:1", "Edge sites cannot accept incoming links"},
        {"{'ingress': 'none'}", "", "the controller is no pod of this namespace"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;

        begin(&c, rows[i].map);
        c.settings.claims_place = rows[i].place;
        put_record(&c, "one");
        cluster_settle(&c);
        CHECK(strstr(site_text(json_object_get(c.plan.notes, "Secret/one"), "message"),
                     rows[i].words));
        CHECK_STR(str_of(url_of(&c, "Secret/one")), "");
        CHECK(!cluster_get(&c, "Service/skupper-claims"));
        cluster_fini(&c);
    }
}

TEST_MAIN(CASE(a_map_becomes_a_site_without_any_resource),
          CASE(options_of_the_map_are_those_of_version_1),
          CASE(an_edge_site_is_told_of_links_to_it_that_it_asked_for_alone),
          CASE(sizes_are_those_of_the_map), CASE(what_a_site_of_version_1_cannot_have_is_told),
          CASE(a_map_that_another_controller_sees_to_is_left_alone),
          CASE(annotations_work_in_such_a_site_and_its_end_undoes_them),
          CASE(secrets_labelled_as_tokens_are_links),
          CASE(a_link_without_a_place_is_told_at_its_secret),
          CASE(a_token_that_is_asked_for_leads_to_this_site),
          CASE(every_option_that_is_used_has_its_effect),
          CASE(ports_of_nodes_are_reached_where_the_map_says),
          CASE(frames_between_routers_are_as_large_as_the_map_says),
          CASE(the_map_of_services_says_how_long_a_site_may_be_silent),
          CASE(a_policy_lets_strangers_in_at_the_ports_for_links_alone),
          CASE(no_option_is_passed_over_in_silence), CASE(options_that_ask_for_nothing_are_no_news),
          CASE(without_its_service_controller_a_site_neither_exposes_nor_shares),
          CASE(labels_and_annotations_of_the_map_are_everybodys),
          CASE(claims_are_redeemed_at_the_pod_of_the_controller),
          CASE(claims_are_reached_as_the_site_is), CASE(claims_that_nobody_can_redeem_say_so))
