// SPDX-License-Identifier: Apache-2.0
// A site in a cluster: what is asked of Kubernetes, and what is said of it.
#include "site/rig_test.h"

static const char PODS[] =
    "{'default': ["
    " {'name': 'db-1', 'uid': 'u1', 'ip': '10.0.0.1', 'labels': {'app': 'db'}, 'ready': true},"
    " {'name': 'db-2', 'uid': 'u2', 'ip': '10.0.0.2', 'labels': {'app': 'db'}, 'ready': false},"
    " {'name': 'web', 'uid': 'u3', 'ip': '10.0.0.3', 'labels': {'app': 'web'}, 'ready': true}],"
    " 'far': ["
    " {'name': 'x', 'uid': 'u4', 'ip': '10.0.0.4', 'labels': {'app': 'x'}, 'ready': true},"
    " {'name': 'y', 'uid': 'u5', 'ip': '10.0.0.5', 'labels': {'app': 'x'}, 'ready': false}]}";

static void cluster_desk(struct desk *d, const char *site_spec)
{
    desk_init(d);
    d->facts.platform = &site_kubernetes;
    d->facts.base = "/certs";
    d->facts.router_suffix = "${HOSTNAME}";
    if (site_spec)
        desk_put_spec(d, "Site", "west", site_spec);
    desk_know(d, "pods", PODS);
    desk_know(d, "access_types", "{'local': true, 'loadbalancer': true}");
}

TEST(a_site_in_a_cluster_has_the_router_configuration_of_the_reference)
{
    struct desk d;

    cluster_desk(&d, "{}");
    desk_derive(&d);
    CHECK_JSON(
        d.wanted.router,
        "[['router', {'id': 'west-${HOSTNAME}', 'mode': 'interior',"
        "   'helloMaxAgeSeconds': '3', 'metadata': "
        "   '{\\'id\\':\\'7b1c\\',\\'version\\':\\'2.2.0\\',\\'platform\\':\\'kubernetes\\'}'}],"
        " ['sslProfile', {'name': 'skupper-local-server',"
        "   'caCertFile': '/certs/skupper-local-server/ca.crt',"
        "   'certFile': '/certs/skupper-local-server/tls.crt',"
        "   'privateKeyFile': '/certs/skupper-local-server/tls.key'}],"
        " ['listener', {'name': '@9090', 'role': 'normal', 'port': 9090, 'http': true,"
        "   'httpRootDir': 'disabled', 'healthz': true, 'metrics': true}],"
        " ['listener', {'name': 'amqp', 'host': 'localhost', 'port': 5672}],"
        " ['listener', {'name': 'amqps', 'port': 5671, 'sslProfile': 'skupper-local-server',"
        "   'saslMechanisms': 'EXTERNAL', 'authenticatePeer': true}],"
        " ['address', {'prefix': 'mc', 'distribution': 'multicast'}],"
        " ['log', {'module': 'ROUTER_CORE', 'enable': 'error+'}],"
        " ['site', {'name': 'west', 'namespace': 'default', 'platform': 'kubernetes',"
        "   'version': '2.2.0'}]]");
    CHECK_JSON(
        d.wanted.certificates,
        "[{'name': 'skupper-local-ca', 'ca': '', 'subject': 'west local CA', 'hosts': [],"
        "  'client': false, 'server': false, 'signing': true, 'owners': {'Site/west': []}},"
        " {'name': 'skupper-site-ca', 'ca': '', 'subject': 'west site CA', 'hosts': [],"
        "  'client': false, 'server': false, 'signing': true, 'owners': {'Site/west': []}},"
        " {'name': 'skupper-local-server', 'ca': 'skupper-local-ca', 'subject':"
        "  'skupper-router-local', 'hosts': ['skupper-router-local',"
        "  'skupper-router-local.default', 'skupper-router-local.default.svc.cluster.local'],"
        "  'client': false, 'server': true, 'signing': false, 'owners': {'Site/west':"
        "  ['skupper-router-local', 'skupper-router-local.default',"
        "   'skupper-router-local.default.svc.cluster.local']}}]");
    desk_fini(&d);
}

TEST(a_token_that_was_redeemed_for_a_site_that_is_gone_says_so)
{
    struct desk d;
    static const char gone[] = "Error Already redeemed for a deleted site";

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "AccessToken", "t", "{'url': 'u', 'code': 'c', 'ca': 'x'}");
    desk_put_spec(&d, "AccessToken", "new", "{'url': 'u', 'code': 'c', 'ca': 'x'}");
    desk_know(&d, "tokens", "{'t': {'redeemed': true}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "AccessToken/t", NULL, "Ready OK");
    desk_drop_first(&d); // the Site
    json_object_set(d.known, "previous", d.wanted.resources);
    desk_derive(&d);
    CHECK_STATUS(&d, "AccessToken/t", NULL, gone);
    CHECK_STATUS(&d, "AccessToken/t", "Redeemed", "True Error Already redeemed for a deleted site");
    CHECK(json_is_true(site_get(desk_resource(&d, "AccessToken/t"), "status.redeemed")));
    CHECK_STATUS(&d, "AccessToken/new", NULL, "Error No active site in namespace");
    // A new Site does not make it good again.
    desk_put_spec(&d, "Site", "east", "{}");
    json_object_set(d.known, "previous", d.wanted.resources);
    desk_derive(&d);
    CHECK_STATUS(&d, "AccessToken/t", NULL, gone);
    CHECK_STATUS(&d, "AccessToken/new", NULL, "Pending Pending");
    desk_fini(&d);
}

TEST(link_access_becomes_a_router_access_and_a_secured_access_for_each_router)
{
    struct desk d;
    const json_t *s;

    cluster_desk(&d, "{'linkAccess': 'default', 'ha': true}");
    desk_derive(&d);
    CHECK_JSON(site_get(desk_resource(&d, "RouterAccess/skupper-router"), "spec"),
               "{'roles': [{'name': 'inter-router', 'port': 55671}, {'name': 'edge', 'port':"
               " 45671}], 'tlsCredentials': 'skupper-site-server', 'issuer': 'skupper-site-ca',"
               " 'generateTlsCredentials': true}");
    s = desk_resource(&d, "SecuredAccess/skupper-router-2");
    CHECK_JSON(site_get(s, "spec"),
               "{'selector': {'skupper.io/component': 'router', 'skupper.io/group':"
               " 'skupper-router-2'}, 'ports': [{'name': 'inter-router', 'port': 55671,"
               " 'targetPort': 55671, 'protocol': 'TCP'}, {'name': 'edge', 'port': 45671,"
               " 'targetPort': 45671, 'protocol': 'TCP'}], 'certificate': 'skupper-site-server',"
               " 'issuer': 'skupper-site-ca'}");
    CHECK_STR(str_of(json_string_value(json_object_get(site_get(s, "metadata.annotations"),
                                                       "internal.skupper.io/routeraccess"))),
              "skupper-router");
    CHECK_STATUS(&d, "RouterAccess/skupper-router", NULL,
                 "Pending certificate \"skupper-site-server\" is not there yet");
    CHECK_STATUS(&d, "Site/west", "Resolved", "False Pending Pending");

    desk_know(&d, "secured",
              "{'skupper-router': {'endpoints': [{'name': 'inter-router', 'host': '192.0.2.1',"
              " 'port': '55671'}]}, 'skupper-router-2': {'endpoints': [{'name': 'inter-router',"
              " 'host': '192.0.2.2', 'port': '55671'}]}}");
    desk_know(&d, "certificates", "{'skupper-site-server': {'ordinal': 0}}");
    d.facts.router_runs = true;
    desk_derive(&d);
    CHECK_STATUS(&d, "RouterAccess/skupper-router", NULL, "Ready OK");
    CHECK_STATUS(&d, "SecuredAccess/skupper-router-2", NULL, "Ready OK");
    CHECK_STATUS(&d, "Site/west", NULL, "Ready OK");
    CHECK_JSON(d.wanted.endpoints,
               "[{'name': 'inter-router', 'host': '192.0.2.1', 'port': '55671', 'group':"
               " 'skupper-router'}, {'name': 'inter-router', 'host': '192.0.2.2', 'port': '55671',"
               " 'group': 'skupper-router-2'}]");
    CHECK(desk_entity(&d, "listener", "skupper-router-inter-router") != NULL);
    CHECK_JSON(site_get(desk_resource(&d, "Certificate/skupper-site-server"), "spec.hosts"),
               "['192.0.2.1', 'skupper-router', 'skupper-router.default', '192.0.2.2',"
               " 'skupper-router-2', 'skupper-router-2.default']");
    desk_fini(&d);
}

TEST(a_site_says_what_is_wrong_with_its_spec)
{
    static const struct {
        const char *spec, *want;
    } rows[] = {
        {"{'linkAccess': 'route'}", "False Error Unsupported value for LinkAccess: route"},
        {"{'edge': true, 'ha': true}", "False Error Edge sites cannot have HA enabled"},
        {"{'linkAccess': 'loadbalancer'}", "True Ready OK"},
        {"{'linkAccess': 'none'}", "True Ready OK"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct desk d;

        cluster_desk(&d, rows[i].spec);
        desk_derive(&d);
        CHECK_STATUS(&d, "Site/west", "Configured", rows[i].want);
        desk_fini(&d);
    }
}

TEST(link_access_is_waited_for_where_there_is_to_be_any)
{
    static const struct {
        const char *spec, *want;
    } rows[] = {
        {"{}", "Ready OK"},
        {"{'linkAccess': 'none'}", "Ready OK"},
        {"{'linkAccess': 'local'}", "Pending Pending"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct desk d;

        cluster_desk(&d, rows[i].spec);
        d.facts.router_runs = true;
        desk_derive(&d);
        CHECK_STATUS(&d, "Site/west", NULL, rows[i].want);
        CHECK_STATUS(&d, "Site/west", "Resolved", "False Pending Pending");
        desk_fini(&d);
    }
}

TEST(a_listener_is_a_port_of_a_service_and_one_of_the_router)
{
    struct desk d;

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "db", "{'routingKey': 'db', 'host': 'back', 'port': 5432}");
    desk_put_spec(&d, "MultiKeyListener", "m",
                  "{'host': 'back', 'port': 80, 'strategy': "
                  "{'priority': {'routingKeys': ['a', 'b']}}}");
    desk_derive(&d);
    CHECK_JSON(d.wanted.ports, "[{'key': 'listener/db', 'from': 1024, 'host': ''}, {'key':"
                               " 'multiAddress/m', 'from': 1024, 'host': ''}]");
    desk_know(&d, "ports", "{'listener/db': 1024, 'multiAddress/m': 1025}");
    desk_derive(&d);
    CHECK_JSON(d.wanted.local_services,
               "{'back': [{'name': 'db', 'port': 5432, 'targetPort': 1024},"
               " {'name': 'multiaddress-m', 'port': 80, 'targetPort': 1025}]}");
    CHECK_JSON(desk_entity(&d, "tcpListener", "listener/db"),
               "{'name': 'listener/db', 'port': '1024', 'address': 'db', 'siteId': '7b1c'}");
    CHECK_STATUS(&d, "Listener/db", "Configured", "True Ready OK");
    CHECK_STATUS(&d, "Listener/db", NULL, "Pending No matching connectors");
    desk_fini(&d);
}

TEST(conditions_of_listeners)
{
    static const struct {
        const char *spec, *want;
    } rows[] = {
        {"{'routingKey': 'k', 'host': 'mine', 'port': 1}",
         "False Error Service mine already exists in namespace"},
        {"{'routingKey': 'k', 'host': 'a', 'port': 80}",
         "False Error Listener a with host a and port 80 already exists in namespace"},
        {"{'routingKey': 'k', 'host': 'b', 'port': 80, 'tlsCredentials': 'none'}",
         "False Error TLS credentials secret \"none\" not found"},
        {"{'routingKey': 'k', 'host': 'b', 'port': 80, 'tlsCredentials': 'tls'}", "True Ready OK"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct desk d;

        cluster_desk(&d, "{}");
        desk_know(&d, "ports", "{'listener/a': 1024, 'listener/z': 1025}");
        desk_know(&d, "taken", "{'mine': true}");
        desk_know(&d, "certificates", "{'tls': {'ordinal': 0}}");
        desk_put_spec(&d, "Listener", "a", "{'routingKey': 'a', 'host': 'a', 'port': 80}");
        desk_put_spec(&d, "Listener", "z", rows[i].spec);
        desk_derive(&d);
        CHECK_STATUS(&d, "Listener/z", "Configured", rows[i].want);
        desk_fini(&d);
    }
}

TEST(pods_elsewhere_get_services_of_their_names)
{
    struct desk d;

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "db",
                  "{'routingKey': 'db', 'host': 'db', 'port': 5432, 'exposePodsByName': true}");
    desk_know(&d, "ports", "{'listener/db': 1024, 'listener/db@db-0': 1026}");
    desk_know(&d, "network",
              "{'siteStatus': [{'site': {'identity': 'far'}, 'routerStatus': [{'connectors': ["
              " {'address': 'db.db-0'}, {'address': 'dbx.db-9'}, {'address': 'db'}]}]}]}");
    desk_derive(&d);
    CHECK_JSON(d.wanted.local_services,
               "{'db': [{'name': 'db', 'port': 5432, 'targetPort': 1024}],"
               " 'db-0': [{'name': 'db', 'port': 5432, 'targetPort': 1026}]}");
    CHECK_JSON(desk_entity(&d, "tcpListener", "listener/db@db-0"),
               "{'name': 'listener/db@db-0', 'port': '1026', 'address': 'db.db-0', 'siteId':"
               " '7b1c'}");
    CHECK_STATUS(&d, "Listener/db", NULL, "Ready OK");
    desk_fini(&d);
}

TEST(a_pod_elsewhere_is_listened_for_as_its_listener_says)
{
    struct desk d;

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "db",
                  "{'routingKey': 'db', 'host': 'db', 'port': 5432, 'exposePodsByName': true,"
                  " 'observer': 'http1', 'tlsCredentials': 'tls'}");
    desk_know(&d, "ports",
              "{'listener/db': 1024, 'listener/db@db-0': 1026, 'listener/plain': 1027}");
    desk_know(&d, "certificates", "{'tls': {'ordinal': 0}}");
    desk_know(&d, "network",
              "{'siteStatus': [{'site': {'identity': 'far'}, 'routerStatus': ["
              "{'connectors': [{'address': 'db.db-0'}]}]}]}");
    desk_derive(&d);
    CHECK_JSON(desk_entity(&d, "tcpListener", "listener/db@db-0"),
               "{'name': 'listener/db@db-0', 'port': '1026', 'address': 'db.db-0', 'siteId':"
               " '7b1c', 'observer': 'http1', 'sslProfile': 'tls'}");
    CHECK_JSON(desk_entity(&d, "tcpListener", "listener/db"),
               "{'name': 'listener/db', 'port': '1024', 'address': 'db', 'siteId': '7b1c',"
               " 'observer': 'http1', 'sslProfile': 'tls'}");
    desk_fini(&d);
}

TEST(pods_elsewhere_are_nothing_to_a_listener_that_does_not_ask_for_them)
{
    struct desk d;

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "db", "{'routingKey': 'db', 'host': 'db', 'port': 5432}");
    desk_know(&d, "ports", "{'listener/db': 1024}");
    desk_know(&d, "network",
              "{'siteStatus': [{'site': {'identity': 'far'}, 'routerStatus': ["
              "{'connectors': [{'address': 'db.db-0'}]}]}]}");
    desk_derive(&d);
    CHECK_JSON(d.wanted.ports, "[]");
    CHECK_JSON(d.wanted.local_services,
               "{'db': [{'name': 'db', 'port': 5432, 'targetPort': 1024}]}");
    desk_fini(&d);
}

// As certificates of public authorities come.
TEST(a_service_may_have_a_certificate_without_a_ca)
{
    struct desk d;

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "l",
                  "{'routingKey': 'k', 'host': 'b', 'port': 80, 'tlsCredentials': 'shop'}");
    desk_put_spec(&d, "Connector", "c",
                  "{'routingKey': 'k', 'host': 'h', 'port': 1, 'tlsCredentials': 'bank',"
                  " 'verifyHostname': true}");
    desk_put_spec(&d, "Connector", "mutual",
                  "{'routingKey': 'm', 'host': 'h', 'port': 1, 'tlsCredentials': 'own',"
                  " 'useClientCert': true}");
    desk_put_spec(&d, "Link", "to",
                  "{'tlsCredentials': 'shop', 'endpoints': [{'name': 'inter-router', 'host': 'h',"
                  " 'port': '1'}]}");
    desk_know(
        &d, "certificates",
        "{'shop': {'ordinal': 0, 'lacks_ca': true}, 'shop-profile': {'ordinal': 0, 'lacks_ca': "
        "true},"
        " 'bank': {'ordinal': 0, 'lacks_ca': true}, 'own': {'ordinal': 0, 'lacks_ca': true}}");
    desk_know(&d, "ports", "{'listener/l': 1024}");
    desk_derive(&d);
    CHECK_JSON(desk_entity(&d, "sslProfile", "shop"),
               "{'name': 'shop', 'certFile': '/certs/shop/tls.crt',"
               " 'privateKeyFile': '/certs/shop/tls.key'}");
    CHECK_STATUS(&d, "Listener/l", "Configured", "True Ready OK");
    CHECK_JSON(desk_entity(&d, "sslProfile", "bank-profile"), "{'name': 'bank-profile'}");
    CHECK_STATUS(&d, "Connector/c", "Configured", "True Ready OK");
    CHECK_JSON(desk_entity(&d, "sslProfile", "own"),
               "{'name': 'own', 'certFile': '/certs/own/tls.crt',"
               " 'privateKeyFile': '/certs/own/tls.key'}");
    CHECK(!desk_entity(&d, "connector", "to")); // a link proves who it is to its own authority
    CHECK_STATUS(&d, "Link/to", "Configured",
                 "False Error TLS credentials secret \"shop-profile\" has no ca.crt");
    desk_fini(&d);
}

TEST(a_connector_leads_to_the_pods_it_selects)
{
    struct desk d;

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "Connector", "db",
                  "{'routingKey': 'db', 'selector': 'app=db', 'port': 5432}");
    desk_put_spec(&d, "Connector", "all",
                  "{'routingKey': 'all', 'selector': 'app in (db)', 'port': 1, 'tlsCredentials': "
                  "'tls', 'includeNotReadyPods': true, 'exposePodsByName': true}");
    desk_put_spec(&d, "Connector", "none", "{'routingKey': 'n', 'selector': 'app=n', 'port': 1}");
    desk_put_spec(&d, "Connector", "no-secret",
                  "{'routingKey': 'n', 'selector': 'app=db', 'port': "
                  "1, 'tlsCredentials': 'missing'}");
    desk_put_spec(&d, "Connector", "neither", "{'routingKey': 'n', 'port': 1}");
    desk_know(&d, "certificates", "{'tls': {'ordinal': 0}}");
    desk_derive(&d);
    CHECK_JSON(desk_entity(&d, "tcpConnector", "connector/db@10.0.0.1"),
               "{'name': 'connector/db@10.0.0.1', 'host': '10.0.0.1', 'port': '5432', 'address':"
               " 'db', 'siteId': '7b1c', 'processId': 'u1'}");
    CHECK(!desk_entity(&d, "tcpConnector", "connector/db@10.0.0.2"));
    CHECK_JSON(desk_entity(&d, "tcpConnector", "connector/all@db-2"),
               "{'name': 'connector/all@db-2', 'host': '10.0.0.2', 'port': '1', 'address':"
               " 'all.db-2', 'siteId': '7b1c', 'processId': 'u2', 'sslProfile': 'tls-profile',"
               " 'verifyHostname': false}");
    CHECK(desk_entity(&d, "tcpConnector", "connector/all@10.0.0.2") != NULL);
    CHECK_JSON(site_get(desk_resource(&d, "Connector/db"), "status.selectedPods"),
               "[{'name': 'db-1', 'ip': '10.0.0.1'}]");
    CHECK_JSON(desk_entity(&d, "sslProfile", "tls-profile"),
               "{'name': 'tls-profile', 'caCertFile': '/certs/tls-profile/ca.crt'}");
    CHECK_STATUS(&d, "Connector/db", "Configured", "True Ready OK");
    CHECK_STATUS(&d, "Connector/db", NULL, "Pending No matching listeners");
    CHECK_STATUS(&d, "Connector/none", "Configured", "False Error No matches for selector");
    CHECK_STATUS(&d, "Connector/no-secret", "Configured",
                 "False Error TLS credentials secret \"missing\" not found");
    CHECK_STATUS(&d, "Connector/neither", "Configured",
                 "False Error spec.host: Connector must define a non-empty spec.host or "
                 "spec.selector");
    desk_fini(&d);
}

TEST(what_a_connector_says_of_tls_holds_for_each_pod)
{
    struct desk d;

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "Connector", "db",
                  "{'routingKey': 'k', 'selector': 'app=db', 'port': 1, 'tlsCredentials': 'tls',"
                  " 'useClientCert': true, 'verifyHostname': true}");
    desk_know(&d, "certificates", "{'tls': {'ordinal': 0}}");
    desk_derive(&d);
    CHECK_JSON(desk_entity(&d, "tcpConnector", "connector/db@10.0.0.1"),
               "{'name': 'connector/db@10.0.0.1', 'host': '10.0.0.1', 'port': '1', 'address': 'k',"
               " 'siteId': '7b1c', 'processId': 'u1', 'sslProfile': 'tls',"
               " 'verifyHostname': true}");
    CHECK_JSON(desk_entity(&d, "sslProfile", "tls"),
               "{'name': 'tls', 'caCertFile': '/certs/tls/ca.crt', 'certFile':"
               " '/certs/tls/tls.crt', 'privateKeyFile': '/certs/tls/tls.key'}");
    CHECK(!desk_entity(&d, "sslProfile", "tls-profile"));
    CHECK(!desk_entity(&d, "tcpConnector", "connector/db@db-1")); // it did not ask for that
    desk_fini(&d);
}

// Beyond those of links on hosts.
TEST(a_link_says_what_its_secret_lacks)
{
    struct desk d;

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "Link", "a",
                  "{'tlsCredentials': 'gone', 'endpoints': [{'name': 'inter-router', 'host': 'h',"
                  " 'port': '1'}]}");
    desk_put_spec(&d, "Link", "b",
                  "{'tlsCredentials': 'half', 'endpoints': [{'name': 'inter-router', 'host': 'h',"
                  " 'port': '1'}]}");
    desk_put(&d, "{'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'half'}, 'data': "
                 "{'ca.crt': 'eA==', 'tls.crt': 'eA=='}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Link/a", "Configured",
                 "False Error TLS credentials secret \"gone\" not found");
    CHECK_STATUS(&d, "Link/b", "Configured",
                 "False Error TLS credentials secret \"half\" has no tls.key");
    desk_fini(&d);
}

#define ATTACHED(name, ns, site)                                                                   \
    "{'kind': 'AttachedConnector', 'metadata': {'name': '" name "', 'namespace': '" ns "'},"       \
    " 'spec': {'siteNamespace': '" site "', 'selector': 'app=x', 'port': 7}}"

TEST(a_binding_connects_pods_of_another_namespace)
{
    struct desk d;

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "AttachedConnectorBinding", "x",
                  "{'connectorNamespace': 'far', 'routingKey': 'x'}");
    desk_put_spec(&d, "AttachedConnectorBinding", "y",
                  "{'connectorNamespace': 'far', 'routingKey': 'y'}");
    desk_know(&d, "attached",
              "[" ATTACHED("x", "far", "default") ", " ATTACHED("y", "far", "other") "]");
    desk_derive(&d);
    CHECK_JSON(desk_entity(&d, "tcpConnector", "connector/x@10.0.0.4"),
               "{'name': 'connector/x@10.0.0.4', 'host': '10.0.0.4', 'port': '7', 'address': 'x',"
               " 'siteId': '7b1c', 'processId': 'u4'}");
    CHECK_STATUS(&d, "AttachedConnectorBinding/x", "Configured", "True Ready OK");
    CHECK_STATUS(&d, "AttachedConnectorBinding/x", "Matched", "False Pending Pending");
    CHECK_STATUS(&d, "AttachedConnectorBinding/y", "Configured",
                 "False Error No matching AttachedConnector");
    desk_fini(&d);
}

TEST(a_binding_connects_as_the_connector_of_the_other_namespace_says)
{
    struct desk d;

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "AttachedConnectorBinding", "x",
                  "{'connectorNamespace': 'far', 'routingKey': 'key'}");
    desk_know(&d, "attached",
              "[{'kind': 'AttachedConnector', 'metadata': {'name': 'x', 'namespace': 'far'},"
              " 'spec': {'siteNamespace': 'default', 'selector': 'app=x', 'port': 7,"
              " 'includeNotReadyPods': true, 'tlsCredentials': 'tls', 'useClientCert': true}}]");
    desk_know(&d, "certificates", "{'tls': {'ordinal': 0}}");
    desk_know(&d, "network", "{'addresses': [{'name': 'key', 'listenerCount': 1}]}");
    desk_derive(&d);
    CHECK(desk_entity(&d, "tcpConnector", "connector/x@10.0.0.4") != NULL);
    CHECK_JSON(desk_entity(&d, "tcpConnector", "connector/x@10.0.0.5"),
               "{'name': 'connector/x@10.0.0.5', 'host': '10.0.0.5', 'port': '7', 'address':"
               " 'key', 'siteId': '7b1c', 'processId': 'u5', 'sslProfile': 'tls',"
               " 'verifyHostname': false}");
    CHECK(!desk_entity(&d, "tcpConnector", "connector/x@y")); // it did not ask for that
    CHECK_STATUS(&d, "AttachedConnectorBinding/x", NULL, "Ready OK");
    desk_fini(&d);
}

TEST(a_binding_may_offer_each_pod_by_its_name_too)
{
    struct desk d;
    const json_t *e;

    cluster_desk(&d, "{}");
    desk_put_spec(&d, "AttachedConnectorBinding", "x",
                  "{'connectorNamespace': 'far', 'routingKey': 'x', 'exposePodsByName': true}");
    desk_know(&d, "attached", "[" ATTACHED("x", "far", "default") "]");
    desk_derive(&d);
    CHECK(desk_entity(&d, "tcpConnector", "connector/x@10.0.0.4") != NULL);
    e = desk_entity(&d, "tcpConnector", "connector/x@x");
    CHECK_STR(str_of(site_text(e, "address")), "x.x");
    CHECK_STR(str_of(site_text(e, "host")), "10.0.0.4");
    desk_fini(&d);
}

TEST(an_attached_connector_says_whether_it_is_let_in)
{
    static const struct {
        const char *elsewhere, *selector, *want;
    } rows[] = {
        {"[]", "app=db", "False Error No matching AttachedConnectorBinding in site namespace"},
        {"[{'kind': 'AttachedConnectorBinding', 'metadata': {'name': 'c', 'namespace': 's'},"
         " 'spec': {'connectorNamespace': 'other', 'routingKey': 'k'}}]",
         "app=db",
         "False Error AttachedConnectorBinding s/c does not allow AttachedConnector in default "
         "(only other)"},
        {"[{'kind': 'AttachedConnectorBinding', 'metadata': {'name': 'c', 'namespace': 's'},"
         " 'spec': {'connectorNamespace': 'default', 'routingKey': 'k'}}]",
         "app=zebra", "False Error No matches for selector"},
        {"[{'kind': 'AttachedConnectorBinding', 'metadata': {'name': 'c', 'namespace': 's'},"
         " 'spec': {'connectorNamespace': 'default', 'routingKey': 'k'}}]",
         "app=db", "True Ready OK"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct desk d;
        char *spec =
            str_fmt("{'siteNamespace': 's', 'selector': '%s', 'port': 1}", rows[i].selector);

        cluster_desk(&d, NULL); // there need be no site here
        desk_put_spec(&d, "AttachedConnector", "c", spec);
        desk_know(&d, "attached", rows[i].elsewhere);
        desk_derive(&d);
        CHECK_STATUS(&d, "AttachedConnector/c", "Configured", rows[i].want);
        free(spec);
        desk_fini(&d);
    }
}

TEST(an_attached_connector_tells_which_pods_it_selects)
{
    static const struct {
        const char *spec, *want;
    } rows[] = {
        {"{'siteNamespace': 's', 'selector': 'app=db', 'port': 1}",
         "[{'name': 'db-1', 'ip': '10.0.0.1'}]"},
        {"{'siteNamespace': 's', 'selector': 'app=db', 'port': 1, 'includeNotReadyPods': true}",
         "[{'name': 'db-1', 'ip': '10.0.0.1'}, {'name': 'db-2', 'ip': '10.0.0.2'}]"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct desk d;

        cluster_desk(&d, NULL);
        desk_put_spec(&d, "AttachedConnector", "c", rows[i].spec);
        desk_derive(&d);
        CHECK_JSON(site_get(desk_resource(&d, "AttachedConnector/c"), "status.selectedPods"),
                   rows[i].want);
        desk_fini(&d);
    }
}

// Where a user says nothing, the role says the port and the site the issuer.
TEST(a_router_access_of_a_user_says_how_it_is_reached)
{
    struct desk d;
    const json_t *e;

    cluster_desk(&d, "{'defaultIssuer': 'ours'}");
    desk_put_spec(&d, "RouterAccess", "in",
                  "{'roles': [{'name': 'inter-router'}, {'name': 'edge'}, {'name': 'normal'}],"
                  " 'tlsCredentials': 'tls', 'generateTlsCredentials': true}");
    desk_put_spec(&d, "RouterAccess", "out",
                  "{'roles': [{'name': 'edge', 'port': 4000}], 'tlsCredentials': 'tls',"
                  " 'bindHost': '10.1.1.1', 'accessType': 'local', 'settings': {'domain': 'd'}}");
    desk_put_spec(&d, "RouterAccess", "signed",
                  "{'roles': [{'name': 'edge', 'port': 4000}], 'tlsCredentials': 'other',"
                  " 'generateTlsCredentials': true, 'issuer': 'theirs'}");
    desk_know(&d, "certificates", "{'tls': {'ordinal': 0}, 'other': {'ordinal': 0}}");
    desk_derive(&d);
    CHECK_JSON(site_get(desk_resource(&d, "SecuredAccess/in"), "spec"),
               "{'selector': {'skupper.io/component': 'router', 'skupper.io/group':"
               " 'skupper-router'}, 'ports': [{'name': 'inter-router', 'port': 55671,"
               " 'targetPort': 55671, 'protocol': 'TCP'}, {'name': 'edge', 'port': 45671,"
               " 'targetPort': 45671, 'protocol': 'TCP'}, {'name': 'normal', 'port': 5671,"
               " 'targetPort': 5671, 'protocol': 'TCP'}], 'certificate': 'tls', 'issuer':"
               " 'ours'}");
    CHECK_JSON(site_get(desk_resource(&d, "SecuredAccess/out"), "spec"),
               "{'selector': {'skupper.io/component': 'router', 'skupper.io/group':"
               " 'skupper-router'}, 'ports': [{'name': 'edge', 'port': 4000, 'targetPort': 4000,"
               " 'protocol': 'TCP'}], 'certificate': 'tls', 'accessType': 'local', 'settings':"
               " {'domain': 'd'}}");
    CHECK_STR(str_of(site_text(desk_resource(&d, "SecuredAccess/signed"), "spec.issuer")),
              "theirs");
    e = desk_entity(&d, "listener", "out-edge");
    CHECK_STR(str_of(site_text(e, "host")), "10.1.1.1");
    // Elsewhere it is another place, and there is room for both.
    CHECK_STATUS(&d, "RouterAccess/out", "Configured", "True Ready OK");
    CHECK_STATUS(&d, "RouterAccess/signed", "Configured", "True Ready OK");
    desk_fini(&d);
}

TEST(what_a_site_gives_out_is_signed_by_its_issuer)
{
    static const struct {
        const char *spec, *issuer;
    } rows[] = {{"{'linkAccess': 'local'}", "skupper-site-ca"},
                {"{'linkAccess': 'local', 'defaultIssuer': 'ours'}", "ours"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct desk d;

        cluster_desk(&d, rows[i].spec);
        desk_derive(&d);
        CHECK_STR(
            str_of(site_text(desk_resource(&d, "SecuredAccess/skupper-router"), "spec.accessType")),
            "local");
        CHECK_STR(str_of(site_text(desk_resource(&d, "Site/west"), "status.defaultIssuer")),
                  rows[i].issuer);
        CHECK_STR(
            str_of(site_text(desk_resource(&d, "RouterAccess/skupper-router"), "spec.issuer")),
            rows[i].issuer);
        CHECK_STR(
            str_of(site_text(desk_resource(&d, "Certificate/skupper-site-server"), "spec.ca")),
            rows[i].issuer);
        desk_fini(&d);
    }
}

TEST(without_a_site_there_is_no_router)
{
    struct desk d;

    cluster_desk(&d, NULL);
    desk_put_spec(&d, "Listener", "a", "{'routingKey': 'a', 'host': 'a', 'port': 80}");
    desk_put_spec(&d, "Certificate", "c", "{'ca': 'gone', 'subject': 'c'}");
    desk_derive(&d);
    CHECK_EQ(json_array_size(d.wanted.router), 0);
    CHECK_STATUS(&d, "Listener/a", "Configured", "False Error No active site in namespace");
    CHECK_STATUS(&d, "Certificate/c", "Ready", "False Error CA \"default/gone\" not found");
    desk_fini(&d);
}

TEST(labels_are_selected_as_in_kubernetes)
{
    static const struct {
        const char *selector;
        bool want;
    } rows[] = {
        {"app=db", true},
        {"app==db,tier=back", true},
        {"app=web", false},
        {"app!=web", true},
        {"app!=db", false},
        {"other!=x", true},
        {"app", true},
        {"other", false},
        {"!other", true},
        {"!app", false},
        {"app in (web, db)", true},
        {"app in (web)", false},
        {"app notin (web)", true},
        {"app notin (db)", false},
        {"a b", false},
        {"", false},
    };
    json_t *labels = json_of("{'app': 'db', 'tier': 'back'}");

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        CHECK_EQ_FOR(rows[i].selector, site_selects(str_of(rows[i].selector), labels),
                     rows[i].want);
    json_decref(labels);
}

TEST_MAIN(CASE(a_site_in_a_cluster_has_the_router_configuration_of_the_reference),
          CASE(a_token_that_was_redeemed_for_a_site_that_is_gone_says_so),
          CASE(link_access_becomes_a_router_access_and_a_secured_access_for_each_router),
          CASE(a_site_says_what_is_wrong_with_its_spec),
          CASE(link_access_is_waited_for_where_there_is_to_be_any),
          CASE(a_listener_is_a_port_of_a_service_and_one_of_the_router),
          CASE(conditions_of_listeners), CASE(pods_elsewhere_get_services_of_their_names),
          CASE(a_pod_elsewhere_is_listened_for_as_its_listener_says),
          CASE(pods_elsewhere_are_nothing_to_a_listener_that_does_not_ask_for_them),
          CASE(a_service_may_have_a_certificate_without_a_ca),
          CASE(a_connector_leads_to_the_pods_it_selects),
          CASE(what_a_connector_says_of_tls_holds_for_each_pod),
          CASE(a_link_says_what_its_secret_lacks),
          CASE(a_binding_connects_pods_of_another_namespace),
          CASE(a_binding_connects_as_the_connector_of_the_other_namespace_says),
          CASE(a_binding_may_offer_each_pod_by_its_name_too),
          CASE(an_attached_connector_says_whether_it_is_let_in),
          CASE(an_attached_connector_tells_which_pods_it_selects),
          CASE(a_router_access_of_a_user_says_how_it_is_reached),
          CASE(what_a_site_gives_out_is_signed_by_its_issuer),
          CASE(without_a_site_there_is_no_router), CASE(labels_are_selected_as_in_kubernetes))
