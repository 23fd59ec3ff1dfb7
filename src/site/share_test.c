// SPDX-License-Identifier: Apache-2.0
#include "site/rig_test.h"

static void put_site(struct desk *d, const char *annotations)
{
    char *text =
        str_fmt("{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Site', 'metadata': {'name': "
                "'west', 'annotations': %s}}",
                annotations);

    desk_init(d);
    desk_put(d, text);
    free(text);
}

static void put_connector(struct desk *d, const char *name, const char *annotations,
                          const char *spec)
{
    char *text = str_fmt("{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Connector', 'metadata': "
                         "{'name': '%s', 'annotations': %s}, 'spec': %s}",
                         name, annotations, spec);

    desk_put(d, text);
    free(text);
}

TEST(a_connector_with_the_annotation_is_announced)
{
    struct desk d;

    put_site(&d, "{}");
    put_connector(&d, "db", "{'skupper.io/proxy': 'tcp'}",
                  "{'routingKey': 'db', 'host': 'localhost', 'port': 5432}");
    put_connector(&d, "web",
                  "{'skupper.io/proxy': 'http', 'skupper.io/address': 'www', 'skupper.io/port': "
                  "'443:8443, 80'}",
                  "{'routingKey': 'x', 'host': 'h', 'port': 8080}");
    put_connector(&d, "web-2", "{'skupper.io/proxy': 'tcp', 'skupper.io/address': 'www'}",
                  "{'routingKey': 'y', 'host': 'h', 'port': 90}");
    put_connector(&d, "moved", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '1'}",
                  "{'routingKey': 'moved:1', 'host': 'h', 'port': 2}");
    put_connector(&d, "own", "{}", "{'routingKey': 'own', 'host': 'h', 'port': 1}");
    desk_derive(&d);
    CHECK_JSON(d.wanted.announce,
               "[{'address': 'db', 'protocol': 'tcp', 'ports': [5432], 'exposeIngress': '', "
               "'targets': []},"
               " {'address': 'www', 'protocol': 'tcp', 'ports': [80, 90, 443], 'exposeIngress': '',"
               " 'targets': []}]");
    // Under its own routing key, and under the name that other sites use.
    CHECK_STR(
        str_of(site_text(desk_entity(&d, "tcpConnector", "connector/db@localhost"), "address")),
        "db");
    CHECK_JSON(desk_entity(&d, "tcpConnector", "service/db:5432@db"),
               "{'name': 'service/db:5432@db', 'host': 'localhost', 'port': '5432', 'address': "
               "'db:5432', 'siteId': '7b1c'}");
    CHECK_STR(str_of(site_text(desk_entity(&d, "tcpConnector", "service/www:443@web"), "port")),
              "8443");
    CHECK_STR(str_of(site_text(desk_entity(&d, "tcpConnector", "service/www:80@web"), "port")),
              "80");
    CHECK(desk_entity(&d, "tcpConnector", "service/own:1@own") == NULL);
    CHECK_STATUS(&d, "Connector/moved", "Configured",
                 "False Error metadata.annotations: skupper.io/address: \"moved:1\" is no name for "
                 "a service; it is not shared");
    CHECK(desk_entity(&d, "tcpConnector", "connector/moved@h") != NULL);
    desk_fini(&d);
}

TEST(a_wrong_annotation_is_told_and_only_sharing_suffers)
{
    static const struct {
        const char *annotations, *want;
    } rows[] = {
        {"{'skupper.io/proxy': 'udp'}",
         "False Error metadata.annotations: skupper.io/proxy: \"udp\" is not one of tcp, http, "
         "http2; the service is not shared"},
        {"{'skupper.io/proxy': 'tcp', 'skupper.io/port': '80:x'}",
         "False Error metadata.annotations: skupper.io/port: \"80:x\" is not of the form "
         "port[:target],…; the service is not shared"},
        {"{'skupper.io/proxy': 'tcp', 'skupper.io/port': ''}",
         "False Error metadata.annotations: skupper.io/port: \"\" is not of the form "
         "port[:target],…; the service is not shared"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct desk d;

        put_site(&d, "{}");
        put_connector(&d, "db", rows[i].annotations,
                      "{'routingKey': 'db', 'host': 'h', 'port': 5432}");
        desk_derive(&d);
        CHECK_STATUS(&d, "Connector/db", "Configured", rows[i].want);
        CHECK(desk_entity(&d, "tcpConnector", "connector/db@h") != NULL);
        CHECK_JSON(d.wanted.announce, "[]");
        desk_fini(&d);
    }
}

#define SERVICE(address, ports)                                                                    \
    "{'address': '" address "', 'protocol': 'tcp', 'ports': " ports                                \
    ", 'exposeIngress': '', 'targets': []}"

TEST(what_others_announce_gets_a_listener)
{
    struct desk d;

    put_site(&d, "{'skupper.io/service-host': '127.0.0.9'}");
    desk_know(
        &d, "shared",
        "[{'origin': 'east', 'version': '0.1.0', 'since': 1, 'services': [" SERVICE(
            "db", "[5433, 5432, 5432]") ", {'address': 'web', 'protocol': 'http2', "
                                        "'ports': [80]}]},"
                                        " {'origin': '7b1c', 'since': 0, 'services': [" SERVICE(
                                            "mine", "[1]") "]},"
                                                           " {'origin': 'old', 'version': '1.8.7', "
                                                           "'since': 2, 'services': [" SERVICE(
                                                               "legacy",
                                                               "[99]") ", " SERVICE("web",
                                                                                    "[80]") "]}]");
    desk_derive(&d);
    CHECK_JSON(desk_entity(&d, "tcpListener", "service/db:5432"),
               "{'name': 'service/db:5432', 'host': '127.0.0.9', 'port': '5432', 'address': "
               "'db:5432', 'siteId': '7b1c'}");
    CHECK(desk_entity(&d, "tcpListener", "service/db:5433") != NULL);
    CHECK(desk_entity(&d, "tcpListener", "service/mine:1") == NULL);
    CHECK_STR(
        str_of(site_text(desk_entity(&d, "tcpListener", "service/legacy:99"), "encapsulation")),
        "legacy");
    CHECK(json_object_get(desk_entity(&d, "tcpListener", "service/db:5432"), "encapsulation") ==
          NULL);
    // One of its origins is of version 1, which the connectors of the other understand too.
    CHECK_JSON(desk_entity(&d, "tcpListener", "service/web:80"),
               "{'name': 'service/web:80', 'host': '127.0.0.9', 'port': '80', 'address': 'web:80',"
               " 'siteId': '7b1c', 'observer': 'http2', 'encapsulation': 'legacy'}");
    CHECK_EQ(json_array_size(d.wanted.services), 4);
    CHECK_JSON(json_array_get(d.wanted.services, 0),
               "{'address': 'db', 'port': 5432, 'host': '127.0.0.9', 'routingKey': 'db:5432', "
               "'origin': 'east', 'state': 'shared', 'message': 'No matching connectors'}");
    desk_fini(&d);
}

static void check_shared(int line, const struct desk *d, size_t at, const char *key,
                         const char *state, const char *message)
{
    const json_t *s = json_array_get(d->wanted.services, at);

    if (strcmp(site_text(s, "routingKey"), key) != 0 || strcmp(site_text(s, "state"), state) != 0 ||
        strcmp(site_text(s, "message"), message) != 0)
        fail_msg("line %d: %s", line, json_text(s));
}
#define CHECK_STATE(d, at, key, state, message) check_shared(__LINE__, d, at, key, state, message)

TEST(a_listener_for_a_service_of_version_1_speaks_its_way)
{
    struct desk d;

    put_site(&d, "{}");
    desk_put_spec(&d, "Listener", "a", "{'routingKey': 'one', 'host': '0.0.0.0', 'port': 1}");
    desk_put_spec(&d, "Listener", "b", "{'routingKey': 'two', 'host': '0.0.0.0', 'port': 2}");
    desk_put_spec(&d, "Listener", "c", "{'routingKey': 'two:8', 'host': '0.0.0.0', 'port': 3}");
    desk_know(&d, "shared",
              "[{'origin': 'old', 'version': '1.9.6', 'since': 2, 'services': [" SERVICE(
                  "one", "[9]") ", " SERVICE("two", "[7, 8]") "]}]");
    desk_know(&d, "network",
              "{'siteStatus': [{'routerStatus': [{'connectors': [{'address': 'one:9'}]}]}]}");
    desk_derive(&d);
    CHECK_JSON(
        desk_entity(&d, "tcpListener", "listener/a"),
        "{'name': 'listener/a', 'host': '0.0.0.0', 'port': '1', 'address': 'one:9', 'siteId': "
        "'7b1c', 'encapsulation': 'legacy'}");
    CHECK_STATUS(&d, "Listener/a", "Matched", "True Ready OK");
    // Which of the ports is meant cannot be known.
    CHECK_STR(str_of(site_text(desk_entity(&d, "tcpListener", "listener/b"), "address")), "two");
    CHECK_STR(str_of(site_text(desk_entity(&d, "tcpListener", "listener/c"), "encapsulation")),
              "legacy");
    desk_fini(&d);
}

TEST(a_shared_service_gives_way_to_what_is_there)
{
    struct desk d;

    put_site(&d, "{'skupper.io/service-exclude': 'f, g:2'}");
    desk_put_spec(&d, "Listener", "a", "{'routingKey': 'a:1', 'host': '0.0.0.0', 'port': 9}");
    desk_put_spec(&d, "Listener", "b", "{'routingKey': 'b', 'host': '127.0.0.1', 'port': 2}");
    desk_put_spec(&d, "MultiKeyListener", "c",
                  "{'host': '127.0.0.1', 'port': 3, 'strategy': {'weighted': {'routingKeys': {'c': "
                  "1}}}}");
    desk_put_spec(&d, "Connector", "x", "{'routingKey': 'x', 'host': 'localhost', 'port': 4}");
    put_connector(&d, "e", "{'skupper.io/proxy': 'tcp'}",
                  "{'routingKey': 'e', 'host': '192.0.2.1', 'port': 5}");
    desk_know(
        &d, "shared",
        "[{'origin': 'east', 'version': '2.2.0', 'since': 1, 'services': [" SERVICE("a", "[1, 2]") ", " SERVICE("b", "[1]") ", " SERVICE(
            "c",
            "[1]") ", " SERVICE("d",
                                "[4]") ", " SERVICE("e",
                                                    "[5]") ", " SERVICE("f",
                                                                        "[6]") ", " SERVICE("g",
                                                                                            "[2, "
                                                                                            "7]") ", " SERVICE("h",
                                                                                                               "[7]") "]},"
                                                                                                                      " {'origin': 'old', 'version': '1.9.6', 'since': 2, 'services': [{'address': 'i', "
                                                                                                                      "'protocol': 'http', 'ports': [8]}, " SERVICE(
                                                                                                                          "h",
                                                                                                                          "[70]") "]}]");
    desk_derive(&d);
    CHECK_STATE(&d, 0, "a:1", "replaced", "Listener a takes its place");
    CHECK_STATE(&d, 1, "a:2", "conflict",
                "host 127.0.0.1 and port 2 are in use by Listener b; a Listener with routing key "
                "a can have another port");
    CHECK_STATE(&d, 2, "b:1", "replaced", "Listener b takes its place");
    CHECK_STATE(&d, 3, "c:1", "replaced", "MultiKeyListener c takes its place");
    CHECK_STATE(&d, 4, "d:4", "conflict",
                "host 127.0.0.1 and port 4 are where Connector x finds its server");
    CHECK_STATE(&d, 5, "e:5", "own", "this site offers it itself");
    CHECK_STATE(&d, 6, "f:6", "off", "switched off");
    CHECK_STATE(&d, 7, "g:2", "off", "switched off");
    CHECK_STATE(&d, 8, "g:7", "shared", "No matching connectors");
    CHECK_STATE(&d, 9, "h:7", "conflict",
                "host 127.0.0.1 and port 7 are in use by service g:7; a Listener with routing key "
                "h can have another port");
    // The first origin of a name wins: h:70 of the other is not made.
    CHECK_STATE(&d, 10, "i:8", "unsupported",
                "protocol http of version 1.9.6 cannot be served here");
    CHECK_EQ(json_array_size(d.wanted.services), 11);
    desk_fini(&d);
}

TEST(a_listener_that_the_router_has_open_is_matched)
{
    struct desk d;

    put_site(&d, "{}");
    desk_know(&d, "shared",
              "[{'origin': 'east', 'since': 1, 'services': [" SERVICE("a", "[1]") "]}]");
    desk_know(&d, "entities", "{'tcpListener/service/a:1': {'operStatus': 'up'}}");
    desk_derive(&d);
    CHECK_STATE(&d, 0, "a:1", "shared", "OK");
    desk_fini(&d);
}

TEST(a_port_in_use_is_a_status_and_no_failure)
{
    struct desk d;

    put_site(&d, "{}");
    desk_know(&d, "shared",
              "[{'origin': 'east', 'since': 1, 'services': [" SERVICE("a", "[1]") "]}]");
    desk_know(&d, "entities",
              "{'tcpListener/service/a:1': {'operStatus': 'down', 'connectionMsg': "
              "'127.0.0.1:1: Address already in use by a program of user alice'}}");
    desk_derive(&d);
    CHECK_STATE(&d, 0, "a:1", "conflict",
                "127.0.0.1:1: Address already in use by a program of user alice; a Listener with "
                "routing key a can have another port, and skupper.io/service-host of the Site "
                "gives all services another address, as 127.0.0.2");
    CHECK(desk_entity(&d, "tcpListener", "service/a:1") != NULL);
    CHECK_STATUS(&d, "Site/west", "Configured", "True Ready OK");
    desk_fini(&d);
}

TEST(sharing_can_be_switched_off_for_a_site)
{
    struct desk d;

    put_site(&d, "{'skupper.io/service-sync': 'false'}");
    put_connector(&d, "db", "{'skupper.io/proxy': 'tcp'}",
                  "{'routingKey': 'db', 'host': 'h', 'port': 5432}");
    desk_know(&d, "shared",
              "[{'origin': 'east', 'since': 1, 'services': [" SERVICE("a", "[1]") "]}]");
    desk_derive(&d);
    CHECK(json_is_null(d.wanted.announce));
    CHECK_EQ(json_array_size(d.wanted.services), 0);
    CHECK(desk_entity(&d, "tcpListener", NULL) == NULL);
    CHECK(desk_entity(&d, "tcpConnector", "service/db:5432@db") == NULL);
    desk_fini(&d);
}

TEST(a_shared_service_with_tls_gets_its_certificate_here)
{
    struct desk d;

    put_site(&d, "{}");
    desk_know(&d, "shared",
              "[{'origin': 'east', 'since': 1, 'services': [{'address': 'a', 'protocol': 'tcp', "
              "'ports': [1], 'tlsCredentials': 'skupper-tls-a'}]}]");
    desk_derive(&d);
    CHECK_STATE(&d, 0, "a:1", "error", "certificate \"skupper-tls-a\" is not there yet");
    CHECK_JSON(site_get(desk_resource(&d, "Certificate/skupper-tls-a"), "spec"),
               "{'ca': 'skupper-service-ca', 'subject': 'a', 'hosts': ['a'], 'server': true}");
    desk_know(&d, "certificates", "{'skupper-tls-a': {'ordinal': 0}}");
    desk_derive(&d);
    CHECK_STR(str_of(site_text(desk_entity(&d, "tcpListener", "service/a:1"), "sslProfile")),
              "skupper-tls-a");
    desk_fini(&d);
}

TEST(shared_services_are_bounded_and_that_is_told)
{
    struct desk d;
    json_t *services = json_array(), *ports = json_array();

    put_site(&d, "{}");
    for (int i = 0; i < 70; i++)
        json_array_append_new(ports, json_integer(1000 + i));
    for (int i = 0; i < 200; i++)
        json_array_append_new(services,
                              json_pack("{s:o, s:s, s:O}", "address", json_sprintf("s%d", i),
                                        "protocol", "udp", "ports", ports));
    json_decref(ports);
    json_object_set_new(d.known, "shared",
                        json_pack("[{s:s, s:o}]", "origin", "east", "services", services));
    desk_derive(&d);
    CHECK_EQ(json_array_size(d.wanted.services), SITE_SERVICES_MAX);
    CHECK_STR(str_of(site_text(d.wanted.problems, "[0].message")),
              "other sites share more services than one site can take; the rest is left out");
    desk_fini(&d);
}

TEST(where_another_site_here_finds_its_server_nobody_listens)
{
    struct desk d;
    json_t *neighbours = json_pack("{s:s}", "127.0.0.1:8", "Connector y of namespace east");

    put_site(&d, "{}");
    put_connector(&d, "db", "{}", "{'routingKey': 'db', 'host': 'localhost', 'port': 9}");
    desk_know(&d, "shared",
              "[{'origin': 'a', 'services': [{'address': 'y', 'protocol': 'tcp', 'ports': [7, 8, "
              "9]}]}]");
    d.facts.neighbours = neighbours;
    desk_derive(&d);
    CHECK_STATE(&d, 0, "y:7", "shared", "No matching connectors");
    CHECK_STATE(&d, 1, "y:8", "conflict",
                "host 127.0.0.1 and port 8 are where Connector y of namespace east finds its "
                "server");
    CHECK_STATE(&d, 2, "y:9", "conflict",
                "host 127.0.0.1 and port 9 are where Connector db finds its server");
    CHECK_JSON(d.wanted.targets, "{'127.0.0.1:9': 'Connector db'}");
    CHECK(desk_entity(&d, "tcpListener", "service/y:8") == NULL);
    d.facts.neighbours = NULL;
    json_decref(neighbours);
    desk_derive(&d);
    CHECK_STATE(&d, 1, "y:8", "shared", "No matching connectors");
    desk_fini(&d);
}

TEST(odd_announcements_are_survived)
{
    struct desk d;

    put_site(&d, "{}");
    desk_know(&d, "shared",
              "[5, {}, {'origin': 'a', 'services': 7}, {'origin': 'b', 'services': [5, {}, "
              "{'address': '../x', 'ports': [1]}, {'address': 'y', 'protocol': 'tcp', 'ports': [0, "
              "'5', 70000, 8]}, {'address': 'z', 'protocol': 'tcp', 'port': 9}]}]");
    desk_derive(&d);
    CHECK_EQ(json_array_size(d.wanted.services), 2);
    CHECK_STATE(&d, 0, "y:8", "shared", "No matching connectors");
    CHECK_STATE(&d, 1, "z:9", "shared", "No matching connectors");
    desk_fini(&d);
}

TEST(listeners_of_shared_services_are_nobodys_doing_and_match_all_the_same)
{
    struct desk d;

    put_site(&d, "{}");
    d.facts.router_runs = true;
    desk_know(&d, "network",
              "{'addresses': [{'name': 'far:1', 'listenerCount': 1}, {'name': 'no:1',"
              "  'listenerCount': 0}], 'siteStatus': [{'site': {'identity': 'far', 'name': 'east'},"
              "  'routerStatus': [{'listeners': [{'name': 'service/db:1', 'address': 'db:1'},"
              "  {'name': 'service/db:1', 'address': 'other'}]}]}]}");
    desk_put_spec(&d, "Connector", "one", "{'routingKey': 'far:1', 'host': 'h', 'port': 1}");
    desk_put_spec(&d, "Connector", "two", "{'routingKey': 'db:1', 'host': 'h', 'port': 1}");
    desk_put_spec(&d, "Connector", "three", "{'routingKey': 'no:1', 'host': 'h', 'port': 1}");
    desk_derive(&d);
    CHECK_JSON(site_get(desk_resource(&d, "Site/west"), "status.network"),
               "[{'id': 'far', 'name': 'east', 'links': [], 'services': ["
               "  {'routingKey': 'other', 'connectors': [], 'listeners': ['service/db:1']}]}]");
    CHECK_STATUS(&d, "Connector/one", "Matched", "True Ready OK");
    CHECK_STATUS(&d, "Connector/two", "Matched", "True Ready OK");
    CHECK_STATUS(&d, "Connector/three", "Matched", "False Pending No matching listeners");
    desk_fini(&d);
}

TEST_MAIN(CASE(a_connector_with_the_annotation_is_announced),
          CASE(a_wrong_annotation_is_told_and_only_sharing_suffers),
          CASE(what_others_announce_gets_a_listener),
          CASE(a_listener_for_a_service_of_version_1_speaks_its_way),
          CASE(a_shared_service_gives_way_to_what_is_there),
          CASE(a_listener_that_the_router_has_open_is_matched),
          CASE(listeners_of_shared_services_are_nobodys_doing_and_match_all_the_same),
          CASE(a_port_in_use_is_a_status_and_no_failure),
          CASE(sharing_can_be_switched_off_for_a_site),
          CASE(a_shared_service_with_tls_gets_its_certificate_here),
          CASE(shared_services_are_bounded_and_that_is_told),
          CASE(where_another_site_here_finds_its_server_nobody_listens),
          CASE(odd_announcements_are_survived))
