// SPDX-License-Identifier: Apache-2.0
#include "site/rig_test.h"

#define CERTIFICATES "{'skupper-local-server': {'ordinal': 0}, 'incoming': {'ordinal': 0}}"

static void put_example(struct desk *d)
{
    desk_put_spec(d, "Site", "edge-box", "{}");
    desk_put_spec(d, "Listener", "db", "{'routingKey': 'db', 'host': '127.0.0.1', 'port': 5432}");
    desk_put_spec(d, "Connector", "camera",
                  "{'routingKey': 'camera', 'host': '192.0.2.20', 'port': 554}");
    desk_put_spec(d, "RouterAccess", "incoming",
                  "{'bindHost': '0.0.0.0', 'subjectAlternativeNames': ['edge-box.example.org'],"
                  " 'roles': [{'name': 'inter-router', 'port': 55671}, {'name': 'edge', 'port': "
                  "45671}]}");
    desk_know(d, "ports", "{'skupper-local/normal': 5671}");
    desk_know(d, "certificates", CERTIFICATES);
}

// The example of a minimal site on a host, in full.
TEST(a_minimal_site_is_rendered_as_published)
{
    struct desk d;

    desk_init(&d);
    put_example(&d);
    desk_derive(&d);
    CHECK_JSON(
        d.wanted.router,
        "[['router', {'id': 'edge-box-1735689600-12345678', 'mode': 'interior',"
        "   'helloMaxAgeSeconds': '3', 'metadata': "
        "   '{\\'id\\':\\'7b1c\\',\\'version\\':\\'2.2.0\\',\\'platform\\':\\'linux\\'}'}],"
        " ['sslProfile', {'name': 'incoming', 'caCertFile': '/base/runtime/certs/incoming/ca.crt',"
        "   'certFile': '/base/runtime/certs/incoming/tls.crt',"
        "   'privateKeyFile': '/base/runtime/certs/incoming/tls.key'}],"
        " ['sslProfile', {'name': 'skupper-local-server',"
        "   'caCertFile': '/base/runtime/certs/skupper-local-server/ca.crt',"
        "   'certFile': '/base/runtime/certs/skupper-local-server/tls.crt',"
        "   'privateKeyFile': '/base/runtime/certs/skupper-local-server/tls.key'}],"
        " ['listener', {'name': 'incoming-edge', 'role': 'edge', 'host': '0.0.0.0', 'port': 45671,"
        "   'sslProfile': 'incoming', 'saslMechanisms': 'EXTERNAL', 'authenticatePeer': true}],"
        " ['listener', {'name': 'incoming-inter-router', 'role': 'inter-router',"
        "   'host': '0.0.0.0', 'port': 55671, 'sslProfile': 'incoming',"
        "   'saslMechanisms': 'EXTERNAL', 'authenticatePeer': true}],"
        " ['listener', {'name': 'skupper-local-normal', 'role': 'normal', 'host': '127.0.0.1',"
        "   'port': 5671, 'sslProfile': 'skupper-local-server', 'saslMechanisms': 'EXTERNAL',"
        "   'authenticatePeer': true}],"
        " ['address', {'prefix': 'mc', 'distribution': 'multicast'}],"
        " ['tcpConnector', {'name': 'connector/camera@192.0.2.20', 'host': '192.0.2.20',"
        "   'port': '554', 'address': 'camera', 'siteId': '7b1c'}],"
        " ['tcpListener', {'name': 'listener/db', 'host': '127.0.0.1', 'port': '5432',"
        "   'address': 'db', 'siteId': '7b1c'}],"
        " ['log', {'module': 'ROUTER_CORE', 'enable': 'error+'}],"
        " ['site', {'name': 'edge-box', 'namespace': 'default',"
        "   'platform': 'linux', 'version': '2.2.0'}]]");
    desk_fini(&d);
}

TEST(certificates_are_wanted_in_the_order_in_which_they_can_be_made)
{
    struct desk d;

    desk_init(&d);
    put_example(&d);
    desk_derive(&d);
    CHECK_JSON(d.wanted.certificates,
               "[{'name': 'skupper-local-ca', 'ca': '', 'subject': 'skupper-local-ca', 'hosts': [],"
               "  'client': false, 'server': false, 'signing': true},"
               " {'name': 'skupper-site-ca', 'ca': '', 'subject': 'skupper-site-ca', 'hosts': [],"
               "  'client': false, 'server': false, 'signing': true},"
               " {'name': 'client-incoming', 'ca': 'skupper-site-ca', 'subject': 'client-incoming',"
               "  'hosts': [], 'client': true, 'server': false, 'signing': false},"
               " {'name': 'incoming', 'ca': 'skupper-site-ca', 'subject': 'incoming',"
               "  'hosts': ['edge-box.example.org', '0.0.0.0', '127.0.0.1'], 'client': false,"
               "  'server': true, 'signing': false},"
               " {'name': 'skupper-local-client', 'ca': 'skupper-local-ca', 'subject': '127.0.0.1',"
               "  'hosts': ['127.0.0.1', 'localhost'], 'client': true, 'server': false,"
               "  'signing': false},"
               " {'name': 'skupper-local-server', 'ca': 'skupper-local-ca', 'subject': '127.0.0.1',"
               "  'hosts': ['127.0.0.1', 'localhost'], 'client': false, 'server': true,"
               "  'signing': false}]");
    desk_fini(&d);
}

static const char network_of_two[] =
    "{'siteStatus': ["
    " {'site': {'identity': 'far', 'name': 'east', 'namespace': 'n', 'platform': 'kubernetes',"
    "   'siteVersion': '2.2.1'}, 'routerStatus': [{'routerAccess': [{'identity': 'ra-east'}],"
    "   'links': null, 'listeners': [{'name': 'listener/camera', 'address': 'camera'}],"
    "   'connectors': [{'destHost': '10.0.0.9', 'address': 'db'}, {'destHost': '10.0.0.8',"
    "   'address': 'db'}]}]},"
    " {'site': {'identity': '7b1c', 'name': 'west'}, 'routerStatus': [{'links': ["
    "   {'name': 'to-east', 'status': 'up', 'peer': 'ra-east'}]}]}]}";

// -------------------------------------------------------------------------------------------- Site

TEST(a_site_is_ready_when_configured_and_running)
{
    struct desk d;

    desk_derive(site_desk(&d, "{}"));
    CHECK_STATUS(&d, "Site/west", "Configured", "True Ready OK");
    CHECK_STATUS(&d, "Site/west", "Running", "False Pending No router pod is ready");
    CHECK_STATUS(&d, "Site/west", NULL, "Pending No router pod is ready");
    CHECK_STATUS(&d, "Site/west", "Ready", "False Pending No router pod is ready");
    d.facts.router_runs = true;
    desk_derive(&d);
    CHECK_STATUS(&d, "Site/west", "Ready", "True Ready OK");
    CHECK_STATUS(&d, "Site/west", NULL, "Ready OK");
    desk_fini(&d);
}

TEST(a_site_with_link_access_must_be_resolved_too)
{
    struct desk d;

    site_desk(&d, "{'linkAccess': 'default'}");
    d.facts.router_runs = true;
    json_object_del(d.known, "ports");
    desk_know(&d, "hosts", "['box.example.org', '192.0.2.1']");
    desk_derive(&d);
    CHECK_STATUS(&d, "Site/west", NULL, "Pending Pending");
    CHECK_JSON(d.wanted.ports,
               "[{'key': 'skupper-local/normal', 'from': 5671, 'host': '127.0.0.1'},"
               " {'key': 'west/inter-router', 'from': 55671, 'host': ''},"
               " {'key': 'west/edge', 'from': 45671, 'host': ''}]");
    CHECK_STATUS(&d, "RouterAccess/west", "Resolved", "False Pending Pending");
    desk_know(&d, "ports", "{'west/inter-router': 55680, 'west/edge': 45680}");
    desk_derive(&d);
    CHECK_JSON(d.wanted.ports,
               "[{'key': 'skupper-local/normal', 'from': 5671, 'host': '127.0.0.1'}]");
    CHECK_STATUS(&d, "Site/west", NULL, "Ready OK");
    CHECK_JSON(site_get(desk_resource(&d, "Site/west"), "status.endpoints"),
               "[{'name': 'west-inter-router', 'host': 'box.example.org', 'port': '55680',"
               "  'group': 'skupper-router'},"
               " {'name': 'west-edge', 'host': 'box.example.org', 'port': '45680',"
               "  'group': 'skupper-router'}]");
    CHECK_EQ(json_array_size(d.wanted.endpoints), 4);
    CHECK_STATUS(&d, "RouterAccess/west", "Configured",
                 "False Pending certificate \"west\" is not there yet");
    desk_fini(&d);
}

TEST(a_router_access_of_the_sites_own_stands_in_for_its_link_access)
{
    struct desk d;

    site_desk(&d, "{'linkAccess': 'default'}");
    json_object_del(d.known, "ports");
    desk_know(&d, "hosts", "['box.example.org', '192.0.2.1']");
    desk_put_spec(&d, "RouterAccess", "router-access-west",
                  "{'bindHost': '192.0.2.1', 'subjectAlternativeNames': ['west.example.org'],"
                  " 'roles': [{'name': 'inter-router'}, {'name': 'edge'}]}");
    desk_derive(&d);
    CHECK_JSON(d.wanted.ports,
               "[{'key': 'skupper-local/normal', 'from': 5671, 'host': '127.0.0.1'},"
               " {'key': 'west/inter-router', 'from': 55671, 'host': '192.0.2.1'},"
               " {'key': 'west/edge', 'from': 45671, 'host': '192.0.2.1'}]");
    desk_know(&d, "ports", "{'west/inter-router': 55680, 'west/edge': 45680}");
    desk_derive(&d);
    CHECK(!desk_resource(&d, "RouterAccess/west"));
    CHECK_JSON(site_get(desk_resource(&d, "RouterAccess/router-access-west"), "status.endpoints"),
               "[{'name': 'inter-router', 'host': 'west.example.org', 'port': '55680',"
               "  'group': 'skupper-router'},"
               " {'name': 'edge', 'host': 'west.example.org', 'port': '45680',"
               "  'group': 'skupper-router'},"
               " {'name': 'inter-router', 'host': '192.0.2.1', 'port': '55680',"
               "  'group': 'skupper-router'},"
               " {'name': 'edge', 'host': '192.0.2.1', 'port': '45680',"
               "  'group': 'skupper-router'}]");
    desk_fini(&d);
}

TEST(link_access_makes_static_links_for_every_host)
{
    struct desk d;

    site_desk(&d, "{'linkAccess': 'loadbalancer'}");
    desk_know(&d, "hosts", "['192.0.2.1']");
    desk_derive(&d);
    CHECK_EQ(json_object_size(d.wanted.static_links), 2);
    CHECK(json_object_get(d.wanted.static_links, "link-west-127.0.0.1.yaml") != NULL);
    CHECK_JSON(json_object_get(d.wanted.static_links, "link-west-192.0.2.1.yaml"),
               "{'certificate': 'client-west', 'documents': ["
               " {'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'link-west'},"
               "  'type': 'kubernetes.io/tls', 'data': {}},"
               " {'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Link', 'metadata': {'name': "
               "'link-west'}, 'spec': {'cost': 1, 'tlsCredentials': 'link-west', 'endpoints': ["
               "  {'name': 'inter-router', 'host': '192.0.2.1', 'port': '55671', 'group': ''},"
               "  {'name': 'edge', 'host': '192.0.2.1', 'port': '45671', 'group': ''}]}}]}");
    CHECK_STR(str_of(site_text(desk_resource(&d, "Certificate/west"), "spec.ca")),
              "skupper-site-ca");
    CHECK_JSON(site_get(desk_resource(&d, "Certificate/west"), "spec.hosts"),
               "['0.0.0.0', '::', '192.0.2.1', '127.0.0.1']");
    desk_fini(&d);
}

TEST(an_edge_site_takes_no_links)
{
    struct desk d;
    static const char words[] = "Error Edge sites cannot accept incoming links from remote sites";

    site_desk(&d, "{'edge': true, 'linkAccess': 'default'}");
    d.facts.router_runs = true;
    desk_put_spec(&d, "RouterAccess", "in", "{'roles': [{'name': 'edge'}]}");
    desk_put_spec(&d, "AccessGrant", "g", "{}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Site/west", NULL, words);
    CHECK_STATUS(&d, "RouterAccess/in", NULL, words);
    CHECK_STATUS(&d, "AccessGrant/g", NULL, words);
    CHECK(desk_entity(&d, "listener", "in-edge") == NULL);
    CHECK_STR(str_of(site_text(desk_entity(&d, "router", NULL), "mode")), "edge");
    CHECK_EQ(json_array_size(d.wanted.endpoints), 0);
    CHECK_EQ(json_object_size(d.wanted.static_links), 0);
    desk_fini(&d);
}

TEST(edge_and_ha_are_refused_and_the_rest_goes_on)
{
    struct desk d;

    site_desk(&d, "{'edge': true, 'ha': true}");
    desk_put_spec(&d, "Listener", "db", "{'routingKey': 'db', 'host': '127.0.0.1', 'port': 1}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Site/west", NULL, "Error Edge sites cannot have HA enabled");
    CHECK(desk_entity(&d, "tcpListener", "listener/db") != NULL);
    desk_fini(&d);
}

TEST(of_two_sites_the_oldest_is_active)
{
    struct desk d;

    desk_init(&d);
    desk_put(&d, "{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Site', 'metadata': {'name': 'a', "
                 "'creationTimestamp': '2026-01-02T00:00:00Z'}}");
    desk_put(&d, "{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Site', 'metadata': {'name': 'z', "
                 "'creationTimestamp': '2026-01-01T00:00:00Z'}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Site/a", NULL, "Error An active site already exists in the namespace (z)");
    CHECK_STATUS(&d, "Site/z", "Configured", "True Ready OK");
    CHECK_STR(str_of(site_text(desk_entity(&d, "router", NULL), "id")), "z-1735689600-12345678");
    desk_fini(&d);
}

TEST(a_site_stays_the_oldest_although_files_say_no_time)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_derive(&d);
    json_object_set(d.known, "previous", d.wanted.resources);
    d.facts.now += 60;
    desk_put_spec(&d, "Site", "east", "{}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Site/east", NULL,
                 "Error An active site already exists in the namespace (west)");
    CHECK_STR(str_of(site_text(desk_resource(&d, "Site/west"), "metadata.creationTimestamp")),
              "2026-01-01T00:00:00Z");
    CHECK_STR(str_of(site_text(desk_resource(&d, "Site/east"), "metadata.creationTimestamp")),
              "2026-01-01T00:01:00Z");
    desk_fini(&d);
}

TEST(without_a_site_there_is_no_router)
{
    struct desk d;

    desk_init(&d);
    desk_put_spec(&d, "Listener", "db", "{'routingKey': 'db', 'host': '127.0.0.1', 'port': 1}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/db", NULL, "Error No active site in namespace");
    CHECK_EQ(json_array_size(d.wanted.router), 0);
    CHECK_EQ(json_array_size(d.wanted.certificates), 0);
    CHECK(json_is_null(d.wanted.announce));
    desk_fini(&d);
}

TEST(settings_have_two_spellings_and_bad_ones_are_warned_about)
{
    struct desk d;

    site_desk(&d, "{'settings': {'router-data-connection-count': 4, 'routerLogging': "
                  "'ROUTER_LS:debug,info+'}}");
    desk_derive(&d);
    CHECK_STR(str_of(site_text(desk_entity(&d, "router", NULL), "dataConnectionCount")), "4");
    CHECK_EQ(json_array_size(d.wanted.problems), 0);
    char *all = json_text(d.wanted.router);

    CHECK(strstr(all, "{\"enable\":\"info+\",\"module\":\"DEFAULT\"}") != NULL);
    CHECK(strstr(all, "{\"enable\":\"debug+\",\"module\":\"ROUTER_LS\"}") != NULL);
    free(all);
    desk_fini(&d);

    site_desk(&d, "{'settings': {'routerDataConnections': '5', 'router-logging': 'debug'}}");
    desk_derive(&d);
    CHECK_STR(str_of(site_text(desk_entity(&d, "router", NULL), "dataConnectionCount")), "5");
    all = json_text(d.wanted.router);
    CHECK(strstr(all, "{\"enable\":\"debug+\",\"module\":\"DEFAULT\"}") != NULL);
    free(all);
    desk_fini(&d);

    site_desk(&d, "{'settings': {'router-data-connection-count': 'many', 'router-logging': "
                  "'loud'}}");
    desk_derive(&d);
    CHECK_EQ(json_array_size(d.wanted.problems), 2);
    CHECK(json_object_get(desk_entity(&d, "router", NULL), "dataConnectionCount") == NULL);
    CHECK_STATUS(&d, "Site/west", "Configured", "True Ready OK");
    desk_fini(&d);
}

TEST(the_network_stands_in_the_status_of_the_site)
{
    struct desk d;

    site_desk(&d, "{}");
    d.facts.router_runs = true;
    desk_know(&d, "network", network_of_two);
    desk_derive(&d);
    CHECK_JSON(
        site_get(desk_resource(&d, "Site/west"), "status.network"),
        "[{'id': '7b1c', 'name': 'west', 'services': [], 'links': [{'name': 'to-east',"
        "   'remoteSiteId': 'far', 'remoteSiteName': 'east', 'operational': true}]},"
        " {'id': 'far', 'name': 'east', 'namespace': 'n', 'platform': 'kubernetes',"
        "  'version': '2.2.1', 'links': [], 'services': ["
        "   {'routingKey': 'camera', 'connectors': [], 'listeners': ['listener/camera']},"
        "   {'routingKey': 'db', 'connectors': ['10.0.0.8', '10.0.0.9'], 'listeners': []}]}]");
    CHECK_EQ(json_integer_value(site_get(desk_resource(&d, "Site/west"), "status.sitesInNetwork")),
             2);
    d.facts.router_runs = false;
    desk_derive(&d);
    CHECK_EQ(json_integer_value(site_get(desk_resource(&d, "Site/west"), "status.sitesInNetwork")),
             0);
    desk_fini(&d);
}

TEST(another_site_of_the_same_name_is_told_and_nothing_stops)
{
    struct desk d;
    const json_t *site;

    site_desk(&d, "{}");
    d.facts.router_runs = true;
    desk_know(&d, "network",
              "{'siteStatus': [{'site': {'identity': '7b1c', 'name': 'west'}},"
              " {'site': {'identity': 'far', 'name': 'west'}}]}");
    desk_derive(&d);
    site = desk_resource(&d, "Site/west");
    CHECK_STR(str_of(site_text(site, "status.status")), "Ready");
    CHECK(strstr(site_text(site, "status.message"), "the site far in this network has the name"));
    CHECK(strstr(site_text(json_array_get(d.wanted.problems, 0), "message"), "give one of them"));
    desk_know(&d, "network", "{'siteStatus': [{'site': {'identity': '7b1c', 'name': 'west'}}]}");
    desk_derive(&d);
    CHECK_STR(str_of(site_text(desk_resource(&d, "Site/west"), "status.message")), "OK");
    desk_fini(&d);
}

// ------------------------------------------------------------------------------------------- links

#define TO_EAST                                                                                    \
    "{'tlsCredentials': 'east', 'cost': 0, 'endpoints': ["                                         \
    "{'name': 'inter-router', 'host': '203.0.113.7', 'port': '55671'},"                            \
    "{'name': 'edge', 'host': '203.0.113.8', 'port': '45671'}]}"

TEST(a_link_is_a_connector_once_its_credentials_are_there)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Link", "to-east", TO_EAST);
    desk_derive(&d);
    CHECK_STATUS(&d, "Link/to-east", NULL, "Error TLS credentials secret \"east\" not found");
    CHECK(desk_entity(&d, "connector", NULL) == NULL);
    desk_put(&d, SECRET("east"));
    desk_derive(&d);
    CHECK_STATUS(&d, "Link/to-east", NULL, "Pending certificate \"east-profile\" is not there yet");
    desk_know(&d, "certificates", "{'east-profile': {'ordinal': 5}}");
    desk_derive(&d);
    CHECK_JSON(desk_entity(&d, "connector", "to-east"),
               "{'name': 'to-east', 'role': 'inter-router', 'host': '203.0.113.7',"
               " 'port': '55671', 'cost': 1, 'sslProfile': 'east-profile'}");
    CHECK_JSON(desk_entity(&d, "sslProfile", "east-profile"),
               "{'name': 'east-profile', 'ordinal': 5, 'oldestValidOrdinal': 3,"
               " 'caCertFile': '/base/runtime/certs/east-profile/ca.crt',"
               " 'certFile': '/base/runtime/certs/east-profile/tls.crt',"
               " 'privateKeyFile': '/base/runtime/certs/east-profile/tls.key'}");
    CHECK_STATUS(&d, "Link/to-east", NULL, "Pending Not operational");
    CHECK(desk_resource(&d, "Certificate/east-profile") == NULL);
    desk_fini(&d);
}

TEST(an_edge_site_links_to_the_edge_endpoint)
{
    struct desk d;

    site_desk(&d, "{'edge': true}");
    desk_put_spec(&d, "Link", "to-east", TO_EAST);
    desk_put(&d, SECRET("east"));
    desk_know(&d, "certificates", "{'east-profile': {'ordinal': 0}}");
    desk_derive(&d);
    CHECK_STR(str_of(site_text(desk_entity(&d, "connector", "to-east"), "role")), "edge");
    CHECK_STR(str_of(site_text(desk_entity(&d, "connector", "to-east"), "port")), "45671");
    desk_fini(&d);
}

TEST(a_link_tells_its_peer_or_its_last_error)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Link", "to-east", TO_EAST);
    desk_put(&d, SECRET("east"));
    desk_know(&d, "certificates", "{'east-profile': {'ordinal': 0}}");
    desk_know(&d, "network", network_of_two);
    desk_derive(&d);
    CHECK_STATUS(&d, "Link/to-east", NULL, "Ready OK");
    CHECK_STR(str_of(site_text(desk_resource(&d, "Link/to-east"), "status.remoteSiteName")),
              "east");
    CHECK_STR(str_of(site_text(desk_resource(&d, "Link/to-east"), "status.remoteSiteId")), "far");
    // The router knows sooner than the records of the network.
    desk_know(&d, "entities",
              "{'connector/to-east': {'connectionStatus': 'FAILED', 'connectionMsg': "
              "'203.0.113.7:55671: connection refused'}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Link/to-east", NULL, "Pending 203.0.113.7:55671: connection refused");
    CHECK_STR(str_of(site_text(desk_resource(&d, "Link/to-east"), "status.remoteSiteName")), "");
    desk_fini(&d);
}

TEST(a_link_says_what_it_lacks)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Link", "a", "{'endpoints': [{'name': 'edge', 'host': 'h', 'port': '1'}]}");
    desk_put_spec(&d, "Link", "b",
                  "{'settings': {'proxy-configuration': 'p'}, 'endpoints': [{'name': "
                  "'inter-router', 'host': 'h', 'port': '1'}]}");
    desk_put_spec(&d, "Link", "c",
                  "{'tlsCredentials': 'half', 'endpoints': [{'name': "
                  "'inter-router', 'host': 'h', 'port': '1'}]}");
    desk_put(&d,
             "{'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'half'}, 'stringData': "
             "{'ca.crt': 'a', 'tls.crt': 'b'}}");
    desk_put_spec(&d, "Link", "plain",
                  "{'endpoints': [{'name': 'inter-router', 'host': 'h', 'port': 1}]}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Link/a", NULL,
                 "Error spec.endpoints: none is named \"inter-router\", which is the kind of link "
                 "that this site makes");
    CHECK_STATUS(&d, "Link/b", NULL,
                 "Error spec.settings.proxy-configuration: the Secret \"p\" is not there, or says "
                 "nothing of a proxy; it needs the keys host and port");
    CHECK_STATUS(&d, "Link/c", NULL, "Error TLS credentials secret \"half\" has no tls.key");
    CHECK_JSON(desk_entity(&d, "connector", "plain"),
               "{'name': 'plain', 'role': 'inter-router', 'host': 'h', 'port': '1', 'cost': 1}");
    desk_fini(&d);
}

// ---------------------------------------------------------------------------------------- services

TEST(a_listener_is_matched_by_a_connector_anywhere)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "db", "{'routingKey': 'db', 'host': '127.0.0.1', 'port': 1}");
    desk_put_spec(&d, "Connector", "far", "{'routingKey': 'camera', 'host': 'h', 'port': 2}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/db", NULL, "Pending No matching connectors");
    CHECK_STATUS(&d, "Connector/far", NULL, "Pending No matching listeners");
    desk_know(&d, "network", network_of_two);
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/db", NULL, "Ready OK");
    CHECK_STATUS(&d, "Connector/far", NULL, "Ready OK");
    CHECK(json_is_true(site_get(desk_resource(&d, "Listener/db"), "status.hasMatchingConnector")));
    CHECK(json_is_true(site_get(desk_resource(&d, "Connector/far"), "status.hasMatchingListener")));
    desk_fini(&d);
}

TEST(what_the_router_says_of_an_entity_is_told)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "db", "{'routingKey': 'db', 'host': '127.0.0.1', 'port': 1}");
    desk_put_spec(&d, "Connector", "camera", "{'routingKey': 'camera', 'host': 'h', 'port': 2}");
    desk_know(&d, "entities",
              "{'tcpListener/listener/db': {'operStatus': 'down', 'connectionMsg':"
              "   '127.0.0.1:1: Address already in use'},"
              " 'tcpConnector/connector/camera@h': {'error': 'no'}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/db", "Configured",
                 "False Error 127.0.0.1:1: Address already in use");
    CHECK_STATUS(&d, "Connector/camera", "Configured", "False Error no");
    CHECK(desk_entity(&d, "tcpListener", "listener/db") != NULL);
    desk_know(&d, "entities",
              "{'tcpListener/listener/db': {'operStatus': 'down', 'connectionMsg':"
              "   'no consumer of the address is known in the network'}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/db", "Configured", "True Ready OK");
    CHECK_STATUS(&d, "Listener/db", "Matched", "False Pending No matching connectors");
    desk_know(&d, "entities",
              "{'tcpListener/listener/db': {'operStatus': 'up', 'connectionMsg': ''}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/db", NULL, "Ready OK");
    desk_fini(&d);
}

TEST(the_older_listener_has_the_port)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put(&d,
             "{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Listener', 'metadata': {'name': 'a', "
             "'creationTimestamp': '2026-01-02T00:00:00Z'}, 'spec': {'routingKey': 'a', "
             "'host': '127.0.0.1', 'port': 5432}}");
    desk_put(&d,
             "{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Listener', 'metadata': {'name': 'z', "
             "'creationTimestamp': '2026-01-01T00:00:00Z'}, 'spec': {'routingKey': 'z', "
             "'host': 'localhost', 'port': 5432}}");
    desk_put_spec(&d, "MultiKeyListener", "m",
                  "{'host': '127.0.0.1', 'port': 5432, 'strategy': {'priority': {'routingKeys': "
                  "['k']}}}");
    desk_put_spec(&d, "Listener", "l", "{'routingKey': 'l', 'host': '127.0.0.1', 'port': 5671}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/z", "Configured", "True Ready OK");
    CHECK_STATUS(&d, "Listener/a", NULL,
                 "Error Listener z with host 127.0.0.1 and port 5432 already exists in namespace");
    CHECK_STATUS(&d, "MultiKeyListener/m", NULL,
                 "Error Listener z with host 127.0.0.1 and port 5432 already exists in namespace");
    CHECK_STATUS(
        &d, "Listener/l", NULL,
        "Error RouterAccess skupper-local with host 127.0.0.1 and port 5671 already exists "
        "in namespace");
    CHECK(desk_entity(&d, "tcpListener", "listener/a") == NULL);
    CHECK(desk_entity(&d, "tcpListener", "multiAddress/m") == NULL);
    desk_fini(&d);
}

TEST(a_multi_key_listener_has_an_address_for_each_key)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "MultiKeyListener", "api",
                  "{'host': '127.0.0.1', 'port': 80, 'requireClientCert': true, 'strategy': "
                  "{'priority': {'routingKeys': ['main', 'db', 'main']}}}");
    desk_put_spec(&d, "MultiKeyListener", "w",
                  "{'host': '127.0.0.1', 'port': 81, 'strategy': {'weighted': {'routingKeys': "
                  "{'x': 5}}}, 'tlsCredentials': 't'}");
    desk_know(&d, "network", network_of_two);
    desk_know(&d, "certificates", "{'t': {'ordinal': 0}}");
    desk_derive(&d);
    CHECK_JSON(desk_entity(&d, "tcpListener", "multiAddress/w"),
               "{'name': 'multiAddress/w', 'host': '127.0.0.1', 'port': '81', 'siteId': '7b1c',"
               " 'multiAddressStrategy': 'weighted', 'sslProfile': 't'}");
    CHECK_JSON(desk_entity(&d, "tcpListener", "multiAddress/api"),
               "{'name': 'multiAddress/api', 'host': '127.0.0.1', 'port': '80', 'siteId': '7b1c',"
               " 'multiAddressStrategy': 'priority', 'authenticatePeer': true}");
    CHECK_JSON(desk_entity(&d, "listenerAddress", "api/main"),
               "{'name': 'api/main', 'address': 'main', 'value': 2, 'listener': "
               "'multiAddress/api'}");
    CHECK_JSON(desk_entity(&d, "listenerAddress", "api/db"),
               "{'name': 'api/db', 'address': 'db', 'value': 1, 'listener': 'multiAddress/api'}");
    CHECK_JSON(desk_entity(&d, "listenerAddress", "w/x"),
               "{'name': 'w/x', 'address': 'x', 'value': 5, 'listener': 'multiAddress/w'}");
    CHECK_STATUS(&d, "MultiKeyListener/api", NULL, "Ready OK");
    CHECK_STATUS(&d, "MultiKeyListener/api", "Ready", "nothing");
    CHECK_JSON(site_get(desk_resource(&d, "MultiKeyListener/api"), "status.strategy"),
               "{'priority': {'routingKeysReachable': ['db']}}");
    CHECK_STATUS(&d, "MultiKeyListener/w", NULL, "Pending No matching connectors");
    desk_fini(&d);
}

TEST(services_have_tls_of_the_service_ca)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "a",
                  "{'routingKey': 'a', 'host': 'h1', 'port': 1, 'tlsCredentials': 't'}");
    desk_put_spec(&d, "Listener", "b",
                  "{'routingKey': 'b', 'host': 'h2', 'port': 1, 'tlsCredentials': 't'}");
    desk_put_spec(&d, "Connector", "c",
                  "{'routingKey': 'c', 'host': 'h3', 'port': 1, 'tlsCredentials': 'ca'}");
    desk_put_spec(&d, "Connector", "e",
                  "{'routingKey': 'e', 'host': 'h3', 'port': 2, 'tlsCredentials': 'ca', "
                  "'useClientCert': true, 'verifyHostname': true}");
    desk_put_spec(&d, "Listener", "x",
                  "{'routingKey': 'x', 'host': 'h4', 'port': 1, 'tlsCredentials': "
                  "'skupper-local-server'}");
    desk_know(&d, "certificates", "{'t': {'ordinal': 1}, 'ca': {'ordinal': 0}}");
    desk_derive(&d);
    CHECK_STR(str_of(site_text(desk_entity(&d, "tcpListener", "listener/a"), "sslProfile")), "t");
    CHECK_JSON(site_get(desk_resource(&d, "Certificate/t"), "spec"),
               "{'ca': 'skupper-service-ca', 'subject': 'h1', 'hosts': ['h1', 'h2'], 'server': "
               "true}");
    CHECK_JSON(desk_entity(&d, "sslProfile", "ca-profile"),
               "{'name': 'ca-profile', 'caCertFile': '/base/runtime/certs/ca/ca.crt'}");
    CHECK_JSON(desk_entity(&d, "tcpConnector", "connector/c@h3"),
               "{'name': 'connector/c@h3', 'host': 'h3', 'port': '1', 'address': 'c', 'siteId': "
               "'7b1c', 'sslProfile': 'ca-profile', 'verifyHostname': false}");
    CHECK_JSON(desk_entity(&d, "tcpConnector", "connector/e@h3"),
               "{'name': 'connector/e@h3', 'host': 'h3', 'port': '2', 'address': 'e', 'siteId': "
               "'7b1c', 'sslProfile': 'ca', 'verifyHostname': true}");
    CHECK_STATUS(&d, "Listener/x", "Configured",
                 "False Error spec.tlsCredentials: \"skupper-local-server\" is the name of another "
                 "certificate of this site; choose a different one");
    CHECK_STATUS(&d, "Certificate/t", "Ready", "True Ready OK");
    desk_fini(&d);
}

// --------------------------------------------------------------------------------- what is broken

TEST(a_broken_resource_breaks_only_itself)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "bad",
                  "{'routingKey': 'a', 'host': 'a b', 'port': 0, 'colour': 1}");
    desk_put_spec(&d, "Listener", "good",
                  "{'routingKey': 'a', 'host': '127.0.0.1', 'port': 1, 'colour': 1}");
    desk_put(&d, "[]");
    desk_put(&d, "{'kind': 'Listener', 'metadata': {'name': '../x'}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/bad", NULL,
                 "Error spec.host: \"a b\" is neither an IP address nor the name of a host\n"
                 "spec.port: 0 is no port: a number from 1 to 65535");
    CHECK_STATUS(&d, "Listener/good", "Configured", "True Ready OK");
    CHECK(desk_entity(&d, "tcpListener", "listener/good") != NULL);
    CHECK(desk_entity(&d, "tcpListener", "listener/bad") == NULL);
    // What is not known is kept.
    CHECK(json_is_integer(site_get(desk_resource(&d, "Listener/good"), "spec.colour")));
    CHECK_EQ(json_object_size(d.wanted.resources), 7);
    CHECK_EQ(json_array_size(d.wanted.problems), 10);
    desk_fini(&d);
}

TEST(a_field_of_another_kind_does_not_reach_the_router)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "l",
                  "{'routingKey': 'a', 'host': '127.0.0.1', 'port': 1, 'observer': 'http1'}");
    desk_put_spec(&d, "Connector", "c",
                  "{'routingKey': 'a', 'host': 'h', 'port': 2, 'observer': 'http1'}");
    desk_derive(&d);
    CHECK_STR(str_of(site_text(desk_entity(&d, "tcpListener", "listener/l"), "observer")), "http1");
    CHECK(desk_entity(&d, "tcpConnector", "connector/c@h") != NULL);
    CHECK(!json_object_get(desk_entity(&d, "tcpConnector", "connector/c@h"), "observer"));
    desk_fini(&d);
}

static char *line_seven(void *user, const json_t *resource, const char *path)
{
    (void)user;
    (void)resource;
    return strcmp(path, "spec.port") == 0 ? str_fmt("db.yaml:7") : NULL;
}

TEST(an_error_says_where_it_stands)
{
    struct desk d;

    site_desk(&d, "{}");
    d.facts.where = line_seven;
    desk_put_spec(&d, "Listener", "bad", "{'routingKey': 'a', 'host': 'a', 'port': 0}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/bad", NULL,
                 "Error db.yaml:7: spec.port: 0 is no port: a number from 1 to 65535");
    CHECK_STR(str_of(site_text(d.wanted.problems, "[0].where")), "db.yaml:7");
    desk_fini(&d);
}

TEST(words_that_are_no_text_lose_their_odd_bytes)
{
    struct desk d;
    // Longer than is shown, and cut within a letter.
    char *spec = str_fmt("{'routingKey': 'a', 'port': 1, 'host': 'x%0*d'}", 80, 0);

    for (char *p = strchr(spec, '0'); p && p[0] == '0' && p[1] == '0'; p += 2)
        memcpy(p, "\xc3\xa4", 2);
    site_desk(&d, "{}");
    for (int i = 0; i < 2; i++)
        desk_put_spec(&d, "Listener", i ? "b" : "a", spec);
    d.inputs[2].problem = "\xff.yaml: cannot be read";
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/b", NULL, "Error ?.yaml: cannot be read");
    CHECK(strstr(site_text(desk_resource(&d, "Listener/a"), "status.message"), "is neither"));
    free(spec);
    desk_fini(&d);
}

TEST(the_last_good_text_goes_on_working)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "db", "{'routingKey': 'a', 'host': 'a', 'port': 1}");
    d.inputs[1].problem = "db.yaml:3: not a mapping";
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/db", NULL, "Error db.yaml:3: not a mapping");
    CHECK(desk_entity(&d, "tcpListener", "listener/db") != NULL);
    desk_fini(&d);
}

TEST(of_two_resources_with_one_name_one_counts)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Listener", "db", "{'routingKey': 'a', 'host': 'a', 'port': 2}");
    desk_put_spec(&d, "Listener", "db", "{'routingKey': 'a', 'host': 'a', 'port': 1}");
    desk_derive(&d);
    CHECK_STR(str_of(site_text(desk_entity(&d, "tcpListener", "listener/db"), "port")), "1");
    CHECK_STR(str_of(site_text(d.wanted.problems, "[0].message")),
              "there is another Listener of this name; this one has no effect");
    desk_fini(&d);
}

TEST(a_resource_of_another_namespace_is_refused)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put(&d, "{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Site', 'metadata': {'name': 'a', "
                 "'namespace': 'other'}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Site/a", NULL,
                 "Error metadata.namespace: namespace must be \"default\", but the resource says "
                 "\"other\"");
    CHECK_STATUS(&d, "Site/west", "Configured", "True Ready OK");
    desk_fini(&d);
}

TEST(kinds_of_clusters_have_no_meaning_on_hosts)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "AttachedConnector", "a",
                  "{'siteNamespace': 'x', 'selector': 'a=b', 'port': 1}");
    desk_derive(&d);
    CHECK_STATUS(&d, "AttachedConnector/a", NULL,
                 "Error AttachedConnector has no meaning on platform linux");
    desk_fini(&d);
}

// ------------------------------------------------------------------------- grants, tokens and the
// rest

TEST(a_grant_tells_what_its_server_knows)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "AccessGrant", "g", "{'redemptionsAllowed': 0}");
    desk_derive(&d);
    CHECK_STATUS(&d, "AccessGrant/g", NULL, "Pending Pending");
    CHECK_JSON(site_get(desk_resource(&d, "AccessGrant/g"), "spec"),
               "{'redemptionsAllowed': 1, 'expirationWindow': '15m'}");
    CHECK_JSON(d.wanted.ports, "[{'key': 'skupper-grant-server', 'from': 9090, 'host': ''}]");
    CHECK(desk_resource(&d, "Certificate/skupper-grant-server") != NULL);
    desk_know(&d, "grants", "{'g': {'url': '', 'ca': 'pem', 'trouble': 'port 9090 is taken'}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "AccessGrant/g", NULL, "Pending port 9090 is taken");
    desk_know(&d, "grants",
              "{'g': {'url': 'https://h:9090/u', 'ca': 'pem', 'code': 'c', 'redemptions': 1}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "AccessGrant/g", NULL, "Ready OK");
    CHECK_EQ(json_integer_value(site_get(desk_resource(&d, "AccessGrant/g"), "status.redemptions")),
             1);
    desk_fini(&d);
}

TEST(a_token_tells_whether_it_is_redeemed)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "AccessToken", "t", "{'url': 'u', 'code': 'c', 'ca': 'x'}");
    desk_derive(&d);
    CHECK_STATUS(&d, "AccessToken/t", NULL, "Pending Pending");
    desk_know(&d, "tokens", "{'t': {'error': 'refused'}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "AccessToken/t", NULL, "Error refused");
    desk_know(&d, "tokens", "{'t': {'redeemed': true}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "AccessToken/t", NULL, "Ready OK");
    CHECK_STATUS(&d, "AccessToken/t", "Ready", "nothing");
    desk_fini(&d);
}

TEST(a_router_access_of_the_user_may_replace_the_local_one)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "RouterAccess", "mine",
                  "{'roles': [{'name': 'normal', 'port': 6000}, {'name': 'inter-router'}], "
                  "'issuer': 'my-ca', 'tlsCredentials': 'my-server', 'bindHost': '192.0.2.5'}");
    desk_know(&d, "certificates", "{'my-server': {'ordinal': 0}}");
    desk_derive(&d);
    CHECK(desk_resource(&d, "RouterAccess/skupper-local") == NULL);
    CHECK_JSON(d.wanted.management,
               "{'host': '192.0.2.5', 'port': 6000, 'certificate': 'client-my-server'}");
    CHECK_EQ(json_integer_value(site_get(desk_entity(&d, "listener", "mine-inter-router"), "port")),
             55671);
    CHECK_STATUS(&d, "RouterAccess/mine", NULL, "Ready OK");
    CHECK_JSON(site_get(desk_resource(&d, "Certificate/my-server"), "spec"),
               "{'ca': 'my-ca', 'subject': 'mine', 'hosts': ['192.0.2.5'], 'server': true}");
    // Tokens are signed by the site's own CA, which this access does not know.
    CHECK_EQ(json_array_size(d.wanted.endpoints), 0);
    desk_fini(&d);
}

TEST(a_transition_has_the_time_at_which_the_status_changed)
{
    struct desk d;

    desk_derive(site_desk(&d, "{}"));
    json_object_set(d.known, "previous", d.wanted.resources);
    d.facts.now += 60;
    d.facts.router_runs = true;
    desk_derive(&d);
    CHECK_STR(str_of(site_text(desk_resource(&d, "Site/west"),
                               "status.conditions[0].lastTransitionTime")),
              "2026-01-01T00:00:00Z");
    CHECK_STR(str_of(site_text(desk_resource(&d, "Site/west"),
                               "status.conditions[1].lastTransitionTime")),
              "2026-01-01T00:01:00Z");
    desk_fini(&d);
}

TEST(secrets_are_read_and_written_in_base64)
{
    static const char *const texts[] = {"", "a", "ab", "abc", "-----BEGIN\n\xc3\xa4\n"};
    static const char *const wrong[] = {"'*'", "'YQ=a'", "'Y'", "5"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *s = site_secret_new("x");

        site_secret_fill(s, NULL, texts[i], NULL);
        char *back = site_secret_get(s, "tls.crt");

        CHECK_STR(str_of(back), texts[i]);
        CHECK(site_secret_get(s, "tls.key") == NULL);
        free(back);
        json_decref(s);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char *text = str_fmt("{'data': {'k': %s}}", wrong[i]);
        json_t *s = json_of(text);

        CHECK(site_secret_get(s, "k") == NULL);
        free(text);
        json_decref(s);
    }
}

TEST_MAIN(CASE(a_minimal_site_is_rendered_as_published),
          CASE(certificates_are_wanted_in_the_order_in_which_they_can_be_made),
          CASE(a_site_is_ready_when_configured_and_running),
          CASE(a_site_with_link_access_must_be_resolved_too),
          CASE(a_router_access_of_the_sites_own_stands_in_for_its_link_access),
          CASE(link_access_makes_static_links_for_every_host), CASE(an_edge_site_takes_no_links),
          CASE(edge_and_ha_are_refused_and_the_rest_goes_on),
          CASE(of_two_sites_the_oldest_is_active),
          CASE(a_site_stays_the_oldest_although_files_say_no_time),
          CASE(without_a_site_there_is_no_router),
          CASE(settings_have_two_spellings_and_bad_ones_are_warned_about),
          CASE(the_network_stands_in_the_status_of_the_site),
          CASE(another_site_of_the_same_name_is_told_and_nothing_stops),
          CASE(a_link_is_a_connector_once_its_credentials_are_there),
          CASE(an_edge_site_links_to_the_edge_endpoint),
          CASE(a_link_tells_its_peer_or_its_last_error), CASE(a_link_says_what_it_lacks),
          CASE(a_listener_is_matched_by_a_connector_anywhere),
          CASE(what_the_router_says_of_an_entity_is_told), CASE(the_older_listener_has_the_port),
          CASE(a_multi_key_listener_has_an_address_for_each_key),
          CASE(services_have_tls_of_the_service_ca), CASE(a_broken_resource_breaks_only_itself),
          CASE(a_field_of_another_kind_does_not_reach_the_router),
          CASE(an_error_says_where_it_stands), CASE(words_that_are_no_text_lose_their_odd_bytes),
          CASE(the_last_good_text_goes_on_working), CASE(of_two_resources_with_one_name_one_counts),
          CASE(a_resource_of_another_namespace_is_refused),
          CASE(kinds_of_clusters_have_no_meaning_on_hosts),
          CASE(a_grant_tells_what_its_server_knows), CASE(a_token_tells_whether_it_is_redeemed),
          CASE(a_router_access_of_the_user_may_replace_the_local_one),
          CASE(a_transition_has_the_time_at_which_the_status_changed),
          CASE(secrets_are_read_and_written_in_base64))
