// SPDX-License-Identifier: Apache-2.0
#include "site/rig_test.h"

static const json_t *wanted_certificate(const struct desk *d, const char *name)
{
    json_t *one;
    size_t i;

    json_array_foreach(d->wanted.certificates, i, one)
    {
        if (strcmp(site_text(one, "name"), name) == 0)
            return one;
    }
    return NULL;
}

TEST(a_certificate_of_the_user_is_wanted_as_written)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Certificate", "c", "{'ca': 'none', 'subject': 's', 'client': true}");
    desk_put_spec(&d, "Certificate", "d",
                  "{'ca': 'none', 'subject': 's', 'server': true, 'hosts': ['h', '10.0.0.1']}");
    desk_put_spec(&d, "Certificate", "skupper-local-ca", "{'subject': 's', 'signing': true}");
    desk_put(&d, SECRET("skupper-local-server"));
    desk_know(&d, "certificates",
              "{'skupper-local-server': {'ordinal': 0, 'expires': '2031-01-01T00:00:00Z'}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Certificate/c", "Ready", "False Error CA \"default/none\" not found");
    CHECK_STATUS(
        &d, "Certificate/skupper-local-ca", "Ready",
        "False Error \"skupper-local-ca\" is the name of a certificate that the site makes "
        "itself");
    CHECK_STR(str_of(site_text(desk_resource(&d, "Certificate/skupper-local-server"),
                               "status.expiration")),
              "2031-01-01T00:00:00Z");
    char *all = json_text(d.wanted.certificates);

    CHECK(strstr(all, "\"name\":\"skupper-local-server\",\"secret\":\"skupper-local-server\"") !=
          NULL);
    free(all);
    CHECK_JSON(wanted_certificate(&d, "c"),
               "{'name': 'c', 'ca': 'none', 'subject': 's', 'hosts': [], 'client': true,"
               " 'server': false, 'signing': false}");
    CHECK_JSON(wanted_certificate(&d, "d"),
               "{'name': 'd', 'ca': 'none', 'subject': 's', 'hosts': ['h', '10.0.0.1'],"
               " 'client': false, 'server': true, 'signing': false}");
    desk_fini(&d);
}

TEST(certificates_that_wait_for_each_other_say_so)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Certificate", "self", "{'ca': 'self', 'subject': 's'}");
    desk_put_spec(&d, "Certificate", "a", "{'ca': 'b', 'subject': 's', 'signing': true}");
    desk_put_spec(&d, "Certificate", "b", "{'ca': 'a', 'subject': 's', 'signing': true}");
    desk_put_spec(&d, "Certificate", "root", "{'ca': '', 'subject': 's', 'signing': true}");
    desk_put_spec(&d, "Certificate", "leaf", "{'ca': 'root', 'subject': 's'}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Certificate/self", "Ready", "False Error CA \"default/self\" not found");
    CHECK_STATUS(&d, "Certificate/a", "Ready", "False Error CA \"default/b\" not found");
    CHECK_STATUS(&d, "Certificate/b", "Ready", "False Error CA \"default/a\" not found");
    CHECK_STATUS(&d, "Certificate/leaf", "Ready", "False Pending Pending");
    desk_fini(&d);
}

TEST(an_issuer_may_be_a_certificate_of_the_user)
{
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "Certificate", "my-ca", "{'subject': 'Mine', 'signing': true}");
    desk_put_spec(
        &d, "RouterAccess", "in",
        "{'roles': [{'name': 'edge'}], 'issuer': 'my-ca', 'tlsCredentials': 'a-profile'}");
    desk_put_spec(&d, "Link", "l",
                  "{'tlsCredentials': 'a', 'endpoints': [{'name': 'inter-router', 'host': 'h', "
                  "'port': '1'}]}");
    desk_put(&d, SECRET("a"));
    desk_derive(&d);
    CHECK_STR(str_of(site_text(desk_resource(&d, "Certificate/my-ca"), "spec.subject")), "Mine");
    CHECK_STR(str_of(site_text(desk_resource(&d, "Certificate/a-profile"), "spec.ca")), "my-ca");
    CHECK_STATUS(&d, "Certificate/my-ca", "Ready", "False Pending Pending");
    // The files of the link would be those of the listener.
    CHECK_STATUS(&d, "Link/l", NULL,
                 "Error spec.tlsCredentials: \"a-profile\" is the name of another certificate of "
                 "this site; choose a different one");
    desk_fini(&d);
}

TEST(what_is_wrong_with_a_certificate_is_told_by_all_that_use_it_and_stops_nothing)
{
    static const char said[] = "False Error certificate \"mine\": it has no tls.key";
    struct desk d;

    site_desk(&d, "{}");
    desk_put_spec(&d, "RouterAccess", "in",
                  "{'roles': [{'name': 'edge'}], 'tlsCredentials': 'mine'}");
    desk_know(&d, "certificates", "{'mine': {'ordinal': 0, 'error': 'it has no tls.key'}}");
    desk_derive(&d);
    CHECK_STATUS(&d, "RouterAccess/in", "Configured", said);
    CHECK(desk_entity(&d, "listener", "in-edge") != NULL);
    desk_fini(&d);
    site_desk(&d, "{}");
    desk_know(&d, "certificates", "{'mine': {'ordinal': 0, 'error': 'it has no tls.key'}}");
    desk_put_spec(&d, "Listener", "l",
                  "{'routingKey': 'l', 'host': 'h', 'port': 1, 'tlsCredentials': 'mine'}");
    desk_put_spec(&d, "Connector", "c",
                  "{'routingKey': 'c', 'host': 'h', 'port': 2, 'tlsCredentials': 'mine'}");
    desk_derive(&d);
    CHECK_STATUS(&d, "Listener/l", "Configured", said);
    CHECK_STATUS(&d, "Connector/c", "Configured", said);
    CHECK(desk_entity(&d, "tcpListener", "listener/l") != NULL);
    CHECK(desk_entity(&d, "tcpConnector", "connector/c@h") != NULL);
    CHECK_STATUS(&d, "Certificate/mine", "Ready", "False Error it has no tls.key");
    desk_fini(&d);
}

TEST_MAIN(CASE(what_is_wrong_with_a_certificate_is_told_by_all_that_use_it_and_stops_nothing),
          CASE(a_certificate_of_the_user_is_wanted_as_written),
          CASE(certificates_that_wait_for_each_other_say_so),
          CASE(an_issuer_may_be_a_certificate_of_the_user))
