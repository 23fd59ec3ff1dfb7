// SPDX-License-Identifier: Apache-2.0
// Ways in: what each type of access makes, and where it is then.
#include "controller/rig_test.h"

static const char ACCESS[] = "{'selector': {'app': 'x'}, 'ports': [{'name': 'amqps', 'port': 5671,"
                             " 'targetPort': 5671, 'protocol': 'TCP'}], 'accessType': '%s'%s}";

static void put_access(struct cluster *c, const char *type, const char *settings)
{
    char *spec = str_fmt(ACCESS, type, settings);

    cluster_put(c, "SecuredAccess", "in", spec);
    free(spec);
}

static void check_endpoint(const char *why, const struct cluster *c, const char *host,
                           const char *port)
{
    const json_t *e = site_get(cluster_get(c, "SecuredAccess/in"), "status.endpoints[0]");

    if (strcmp(site_text(e, "host"), host) != 0 || strcmp(site_text(e, "port"), port) != 0)
        fail_msg("%s: is at %s:%s, not at %s:%s", why, site_text(e, "host"), site_text(e, "port"),
                 host, port);
}

TEST(each_type_of_access_makes_its_objects_and_says_where_it_is)
{
    static const struct {
        const char *type, *settings, *object, *spec; // what is made beside the Service
        const char *told_key, *told;                 // what the cluster says then
        const char *host, *port;
    } rows[] = {
        {"local", "", NULL, NULL, NULL, NULL, "in.west", "5671"},
        {"loadbalancer", "", NULL, NULL, "Service/in",
         "{'loadBalancer': {'ingress': [{'hostname': 'lb.example.org'}]}}", "lb.example.org",
         "5671"},
        {"route", ", 'settings': {'domain': 'apps.example.org'}", "Route/in-amqps",
         "{'host': 'in-amqps.west.apps.example.org', 'to': {'kind': 'Service', 'name': 'in',"
         " 'weight': 100}, 'port': {'targetPort': 'amqps'}, 'tls': {'termination': 'passthrough',"
         " 'insecureEdgeTerminationPolicy': 'None'}}",
         "Route/in-amqps", "{'ingress': [{'host': 'r.example.org'}]}", "r.example.org", "443"},
        {"ingress", "", "Ingress/in",
         "{'rules': [{'http': {'paths': [{'path': '/', 'pathType': 'Prefix', 'backend': {'service':"
         " {'name': 'in', 'port': {'number': 5671}}}}]}}]}",
         "Ingress/in", "{'loadBalancer': {'ingress': [{'ip': '192.0.2.9'}]}}",
         "amqps.west.192.0.2.9.nip.io", "443"},
        {"ingress-nginx", ", 'settings': {'domain': 'i.example.org'}", "Ingress/in",
         "{'ingressClassName': 'nginx', 'rules': [{'host': 'amqps.west.i.example.org', 'http':"
         " {'paths': [{'path': '/', 'pathType': 'Prefix', 'backend': {'service': {'name': 'in',"
         " 'port': {'number': 5671}}}}]}}]}",
         NULL, NULL, "amqps.west.i.example.org", "443"},
        {"contour-http-proxy", "", "HTTPProxy/in-amqps",
         "{'virtualhost': {'fqdn': 'in-amqps.west.p.example.org', 'tls': {'passthrough': true}},"
         " 'tcpproxy': {'services': [{'name': 'in', 'port': 5671}]}}",
         NULL, NULL, "in-amqps.west.p.example.org", "443"},
        {"gateway", ", 'settings': {'domain': 'g.example.org'}", "TLSRoute/in-amqps",
         "{'parentRefs': [{'name': 'skupper', 'namespace': 'skupper', 'sectionName': 'tls'}],"
         " 'hostnames': ['in-amqps.west.g.example.org'], 'rules': [{'backendRefs': [{'name': 'in',"
         " 'port': 5671}]}]}",
         NULL, NULL, "in-amqps.west.g.example.org", "8443"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;

        cluster_init(&c);
        c.settings.has_routes = true;
        c.settings.http_proxy_domain = "p.example.org";
        put_access(&c, rows[i].type, rows[i].settings);
        cluster_settle(&c);
        CHECK(cluster_get(&c, "Service/in") != NULL);
        CHECK_EQ_FOR(rows[i].type, json_object_size(c.objects), rows[i].object ? 3 : 2);
        if (rows[i].object)
            CHECK_JSON(site_get(cluster_get(&c, rows[i].object), "spec"), rows[i].spec);
        if (rows[i].told_key) {
            CHECK_STATUS(&c, "SecuredAccess/in", NULL, "Pending Pending");
            cluster_set_status(&c, rows[i].told_key, rows[i].told);
            cluster_settle(&c);
        }
        check_endpoint(rows[i].type, &c, rows[i].host, rows[i].port);
        CHECK_STATUS(&c, "SecuredAccess/in", NULL, "Ready OK");
        cluster_fini(&c);
    }
}

TEST(nginx_is_told_to_leave_tls_alone)
{
    static const char NOTES[] = "{'internal.skupper.io/controlled': 'true',"
                                " 'nginx.ingress.kubernetes.io/ssl-passthrough': 'true',"
                                " 'nginx.ingress.kubernetes.io/ssl-redirect': 'true'}";
    struct cluster c;

    cluster_init(&c);
    put_access(&c, "ingress-nginx", ", 'settings': {'domain': 'i.example.org'}");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Ingress/in"), "metadata.annotations"), NOTES);
    cluster_fini(&c);
    cluster_init(&c);
    put_access(&c, "ingress",
               ", 'settings': {'domain': 'i.example.org', 'ingressClassName': 'haproxy'}");
    cluster_settle(&c);
    CHECK_JSON(site_get(cluster_get(&c, "Ingress/in"), "metadata.annotations"),
               "{'internal.skupper.io/controlled': 'true'}");
    CHECK_STR(str_of(site_text(cluster_get(&c, "Ingress/in"), "spec.ingressClassName")), "haproxy");
    cluster_fini(&c);
}

TEST(access_that_cannot_be_had_says_why)
{
    static const struct {
        const char *type, *want;
    } rows[] = {
        {"telepathy", "Error unsupported access type"},
        {"route", "Error unsupported access type"}, // the cluster has no Routes
        {"gateway", "Error Gateway base domain not yet resolved"},
        {"contour-http-proxy", "Error HTTP proxy domain not set: start the controller with "
                               "-http-proxy-domain, or set spec.settings.domain"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;

        cluster_init(&c);
        put_access(&c, rows[i].type, "");
        cluster_settle(&c);
        CHECK_STATUS(&c, "SecuredAccess/in", NULL, rows[i].want);
        cluster_fini(&c);
    }
}

TEST(a_domain_comes_from_the_gateway_of_the_controller)
{
    struct cluster c;

    cluster_init(&c);
    json_array_append_new(
        c.others, json_of("{'kind': 'Gateway', 'metadata': {'name': 'skupper', 'namespace':"
                          " 'skupper'}, 'status': {'addresses': [{'type': 'IPAddress', 'value':"
                          " '192.0.2.4'}]}}"));
    put_access(&c, "gateway", "");
    cluster_settle(&c);
    check_endpoint("gateway", &c, "in-amqps.west.192.0.2.4.nip.io", "8443");
    cluster_fini(&c);
}

TEST(another_type_of_access_takes_the_objects_of_the_former_away)
{
    struct cluster c;

    cluster_init(&c);
    c.settings.http_proxy_domain = "p.example.org";
    put_access(&c, "contour-http-proxy", "");
    cluster_settle(&c);
    CHECK(cluster_get(&c, "HTTPProxy/in-amqps") != NULL);
    // A word that is not understood changes nothing.
    json_object_set_new(json_object_get(cluster_get(&c, "SecuredAccess/in"), "spec"), "accessType",
                        json_string("telepathy"));
    touch(&c, cluster_get(&c, "SecuredAccess/in"));
    cluster_settle(&c);
    CHECK(cluster_get(&c, "HTTPProxy/in-amqps") != NULL);
    json_object_set_new(json_object_get(cluster_get(&c, "SecuredAccess/in"), "spec"), "accessType",
                        json_string("local"));
    touch(&c, cluster_get(&c, "SecuredAccess/in"));
    cluster_settle(&c);
    CHECK(!cluster_get(&c, "HTTPProxy/in-amqps"));
    CHECK(cluster_get(&c, "Service/in") != NULL);
    cluster_fini(&c);
}

TEST(the_default_type_is_what_the_cluster_does_best)
{
    static const struct {
        const char *enabled, *chosen, *want; // type of the Service
        bool has_routes;
    } rows[] = {
        {"local,loadbalancer,route", "", "LoadBalancer", false},
        {"local,loadbalancer,route", "", "ClusterIP", true},
        {"local,loadbalancer", "local", "ClusterIP", false},
        {"nodeport", "", "NodePort", false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;

        cluster_init(&c);
        c.settings.access_types = rows[i].enabled;
        c.settings.default_access = rows[i].chosen;
        c.settings.has_routes = rows[i].has_routes;
        put_access(&c, "", "");
        cluster_settle(&c);
        CHECK_STR(str_of(site_text(cluster_get(&c, "Service/in"), "spec.type")), rows[i].want);
        cluster_fini(&c);
    }
}

TEST(settings_that_do_not_fit_together_are_told)
{
    static const struct {
        struct controller_settings s;
        const char *want;
    } rows[] = {
        {{.access_types = "local", .default_access = "route"},
         "Default access type \"route\" is not in enabled list."},
        {{.access_types = "local,nodeport"},
         "Cluster host must be set to enable nodeport access type."},
        {{.access_types = "gateway"}, "Gateway class must be set to enable gateway access type."},
        {{.access_types = "local,loadbalancer", .default_access = "local"}, ""},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct why why = {""};

        CHECK_EQ_FOR(rows[i].want, controller_settings_check(&rows[i].s, &why) < 0,
                     rows[i].want[0] != '\0');
        CHECK_STR(str_of(why.text), rows[i].want);
    }
}

TEST_MAIN(CASE(each_type_of_access_makes_its_objects_and_says_where_it_is),
          CASE(nginx_is_told_to_leave_tls_alone), CASE(access_that_cannot_be_had_says_why),
          CASE(a_domain_comes_from_the_gateway_of_the_controller),
          CASE(another_type_of_access_takes_the_objects_of_the_former_away),
          CASE(the_default_type_is_what_the_cluster_does_best),
          CASE(settings_that_do_not_fit_together_are_told))
