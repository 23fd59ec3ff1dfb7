// SPDX-License-Identifier: Apache-2.0
#include "site/rig_test.h"

// What is said about a resource: "path: message" lines, warnings with "~" in front.
static char *all_problems(const json_t *resource)
{
    json_t *problems = site_check(resource, &site_linux), *p;
    char *out = str_fmt("%s", "");
    size_t i;

    json_array_foreach(problems, i, p)
    {
        char *longer = str_fmt("%s%s%s%s: %s", out, i > 0 ? "\n" : "",
                               json_is_true(json_object_get(p, "warning")) ? "~" : "",
                               site_text(p, "path"), site_text(p, "message"));

        free(out);
        out = longer;
    }
    json_decref(problems);
    return out;
}

static void check_spec(int line, const char *kind, const char *spec, const char *want)
{
    char *text = str_fmt("{'apiVersion': 'skupper.io/v2alpha1', 'kind': '%s', 'metadata': "
                         "{'name': 'x'}, 'spec': %s}",
                         kind, spec);
    json_t *resource = json_of(text);
    char *got = all_problems(resource);

    if (strcmp(got, want) != 0)
        fail_msg("line %d: %s: \"%s\", not \"%s\"", line, text, got, want);
    free(got);
    free(text);
    json_decref(resource);
}
#define CHECK_SPEC(kind, spec, want) check_spec(__LINE__, kind, spec, want)

#define BIND "'host': '0.0.0.0', 'port': 80"

TEST(a_site_has_few_rules)
{
    CHECK_SPEC("Site", "{}", "");
    CHECK_SPEC("Site", "null", "");
    CHECK_SPEC("Site", "{'linkAccess': 'default', 'edge': false, 'settings': {'size': 'small'}}",
               "");
    CHECK_SPEC("Site", "{'linkAccess': 5}",
               "spec.linkAccess: must be text, not a number\n"
               "spec.linkAccess: write \"5\", in quotes");
    CHECK_SPEC("Site", "{'edge': 'true'}", "spec.edge: must be true or false, not text");
    CHECK_SPEC("Site", "{'settings': {'a': 1, 'b': true, 'c': 1.5}}", "");
    CHECK_SPEC("Site", "{'settings': {'a': []}}", "spec.settings.a: must be text, not a list");
    CHECK_SPEC("Site", "[]", "spec: must be a map, not a list");
}

TEST(a_link_needs_whole_endpoints)
{
    CHECK_SPEC("Link", "{'endpoints': [{'name': 'edge', 'host': 'h', 'port': '1'}]}", "");
    CHECK_SPEC("Link", "{'endpoints': [{'name': 'edge', 'host': 'h', 'port': 1}]}", "");
    CHECK_SPEC("Link", "{}", "spec.endpoints: is missing");
    CHECK_SPEC("Link", "{'endpoints': []}", "spec.endpoints: must have at least one entry");
    CHECK_SPEC("Link", "{'endpoints': [{'name': 'edge', 'port': '99999'}, 5]}",
               "spec.endpoints[0].host: is missing\n"
               "spec.endpoints[0].port: \"99999\" is no port: a number from 1 to 65535\n"
               "spec.endpoints[1]: must be a map, not a number");
    CHECK_SPEC("Link", "{'endpoints': [{'name': 'edge', 'host': 'a b', 'port': '1'}], 'cost': '2'}",
               "spec.endpoints[0].host: \"a b\" is neither an IP address nor the name of a host\n"
               "spec.cost: must be a number, not text");
}

TEST(a_listener_needs_key_host_and_port)
{
    CHECK_SPEC("Listener", "{'routingKey': 'a', " BIND "}", "");
    CHECK_SPEC("Listener", "{}",
               "spec.routingKey: is missing\nspec.host: is missing\nspec.port: is missing");
    CHECK_SPEC("Listener", "{'routingKey': '', " BIND "}", "spec.routingKey: must not be empty");
    CHECK_SPEC("Listener", "{'routingKey': 'a', 'host': '', 'port': 0}",
               "spec.host: \"\" is neither an IP address nor the name of a host\n"
               "spec.port: 0 is no port: a number from 1 to 65535");
    CHECK_SPEC("Listener", "{'routingKey': 'a', " BIND ", 'observer': 'http3'}",
               "spec.observer: \"http3\" is not one of auto, none, http1, http2");
    CHECK_SPEC("Listener", "{'routingKey': 'a', " BIND ", 'type': 'udp'}",
               "spec.type: \"udp\" is not supported, only tcp");
    CHECK_SPEC("Listener", "{'routingKey': 'a', " BIND ", 'tlsCredentials': 'A'}",
               "spec.tlsCredentials: \"A\" is no name: lower-case letters, digits, '-' and '.' "
               "inside");
}

TEST(a_multi_key_listener_has_exactly_one_strategy)
{
    static const char both[] = "spec.strategy: exactly one of the fields in [priority weighted] "
                               "must be set";

    CHECK_SPEC("MultiKeyListener",
               "{" BIND ", 'strategy': {'priority': {'routingKeys': ['a', 'b']}}}", "");
    CHECK_SPEC("MultiKeyListener",
               "{" BIND ", 'strategy': {'weighted': {'routingKeys': {'a': 3}}}}", "");
    CHECK_SPEC("MultiKeyListener", "{" BIND "}", "spec.strategy: is missing");
    CHECK_SPEC("MultiKeyListener", "{" BIND ", 'strategy': {}}", both);
    CHECK_SPEC("MultiKeyListener",
               "{" BIND ", 'strategy': {'priority': {'routingKeys': ['a']},"
               " 'weighted': {'routingKeys': {'a': 1}}}}",
               both);
    CHECK_SPEC("MultiKeyListener", "{" BIND ", 'strategy': {'priority': {'routingKeys': []}}}",
               "spec.strategy.priority.routingKeys: must have at least one entry");
    CHECK_SPEC("MultiKeyListener",
               "{" BIND ", 'strategy': {'weighted': {'routingKeys': {'a': 0}}}}",
               "spec.strategy.weighted.routingKeys.a: a weight is from 1 to 2147483647");
    CHECK_SPEC("MultiKeyListener", "{" BIND ", 'strategy': {'priority': {'routingKeys': ['']}}}",
               "spec.strategy.priority.routingKeys[0]: must not be empty");
}

TEST(the_keys_of_a_multi_key_listener_are_bounded)
{
    char *keys = xstrdup("'k0': 1");

    for (int i = 1; i < 257; i++) {
        char *longer = str_fmt("%s, 'k%d': 1", keys, i), *spec;

        free(keys);
        keys = longer;
        if (i < 255)
            continue;
        spec = str_fmt("{" BIND ", 'strategy': {'weighted': {'routingKeys': {%s}}}}", keys);
        CHECK_SPEC(
            "MultiKeyListener", spec,
            i == 255 ? "" : "spec.strategy: there are 257 routing keys; at most 256 can be served");
        free(spec);
    }
    free(keys);
}

TEST(a_connector_on_a_host_needs_a_host)
{
    CHECK_SPEC("Connector", "{'routingKey': 'a', " BIND "}", "");
    CHECK_SPEC("Connector", "{'routingKey': 'a', 'port': 80}",
               "spec.host: is missing; there are no pods to select here");
    CHECK_SPEC("Connector", "{'routingKey': 'a', 'port': 80, 'selector': 'app=x'}",
               "spec.host: is missing; there are no pods to select here");
    CHECK_SPEC("Connector", "{'routingKey': 'a', " BIND ", 'useClientCert': 1}",
               "spec.useClientCert: must be true or false, not a number");
}

TEST(grants_and_tokens_are_checked)
{
    CHECK_SPEC("AccessGrant", "{}", "");
    CHECK_SPEC("AccessGrant", "{'redemptionsAllowed': 3, 'expirationWindow': '1h'}", "");
    CHECK_SPEC("AccessGrant", "{'redemptionsAllowed': -1, 'expirationWindow': 'soon'}",
               "spec.redemptionsAllowed: -1 is out of range: 0 to 2147483647\n"
               "spec.expirationWindow: Invalid duration \"soon\": write it like 15m, 2h or 1h30m");
    CHECK_SPEC("AccessToken", "{'url': 'https://h/x', 'code': 'c', 'ca': 'pem'}", "");
    CHECK_SPEC("AccessToken", "{'url': 'https://h/x', 'code': 1234, 'ca': 'pem'}", "");
    CHECK_SPEC("AccessToken", "{}",
               "spec.url: is missing\nspec.code: is missing\nspec.ca: is missing");
}

TEST(router_access_and_certificates_are_checked)
{
    CHECK_SPEC("RouterAccess", "{'roles': [{'name': 'edge'}]}", "");
    CHECK_SPEC("RouterAccess", "{}", "spec.roles: is missing");
    CHECK_SPEC("RouterAccess", "{'roles': [{'name': 'edge'}, {'name': 'edge', 'port': 5}]}",
               "spec.roles[1].name: \"edge\" stands here twice");
    CHECK_SPEC("RouterAccess", "{'roles': [{'name': 'admin', 'port': 70000}]}",
               "spec.roles[0].name: \"admin\" is not one of inter-router, edge, normal\n"
               "spec.roles[0].port: 70000 is no port: a number from 1 to 65535");
    CHECK_SPEC("RouterAccess", "{'roles': [{'name': 'edge'}], 'bindHost': 'a/b'}",
               "spec.bindHost: \"a/b\" is neither an IP address nor the name of a host");
    CHECK_SPEC("Certificate", "{'ca': '', 'subject': 'x', 'hosts': ['a']}", "");
    CHECK_SPEC("Certificate", "{'hosts': 'a'}",
               "spec.subject: is missing\nspec.hosts: must be a list of texts, not text");
}

TEST(unknown_fields_are_warned_about_with_their_path)
{
    CHECK_SPEC("Site", "{'linkaccess': 'default'}",
               "~spec.linkaccess: there is no such field; it is kept, and has no effect");
    CHECK_SPEC("Link", "{'endpoints': [{'name': 'edge', 'host': 'h', 'port': '1', 'tls': {}}]}",
               "~spec.endpoints[0].tls: there is no such field; it is kept, and has no effect");
}

TEST(what_is_around_the_spec_is_checked_too)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"[]", "kind: a resource is a map with apiVersion, kind, metadata and spec"},
        {"{'kind': 'Pod'}", "~kind: \"Pod\" is no kind that is known here; ignored"},
        {"{'kind': 'site'}", "~kind: \"site\" is no kind that is known here; ignored"},
        {"{'apiVersion': 'v1', 'kind': 'Site', 'metadata': {'name': 'x'}}",
         "apiVersion: \"v1\" is not skupper.io/v2alpha1"},
        {"{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Site'}",
         "metadata: is missing, and with it the name"},
        {"{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Site', 'metadata': {'name': 'X'}}",
         "metadata.name: \"X\" is no name: lower-case letters, digits, '-' and '.' inside"},
        {"{'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'x'}, 'data': {}}", ""},
        {"{'apiVersion': 'skupper.io/v2alpha1', 'kind': 'Site', 'metadata': {'name': 'x', 'label': "
         "{}, 'creationTimestamp': null}, 'specs': {}, 'status': {}}",
         "~metadata.label: there is no such field; it is kept, and has no effect\n"
         "~specs: there is no such field; it is kept, and has no effect"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *resource = json_of(rows[i].text);
        char *got = all_problems(resource);

        CHECK_STR(str_of(got), rows[i].want);
        free(got);
        json_decref(resource);
    }
}

TEST(resources_are_bounded_and_that_is_told)
{
    static struct site_input inputs[SITE_RESOURCES_MAX + 1];
    struct site_facts facts = {.platform = &site_linux, .namespace = "default"};
    struct site_wanted wanted;
    json_t *pod = json_of("{'kind': 'Pod'}");
    const json_t *last;

    for (size_t i = 0; i <= SITE_RESOURCES_MAX; i++)
        inputs[i].value = pod;
    site_derive(inputs, SITE_RESOURCES_MAX + 1, &facts, &wanted);
    CHECK_EQ(json_array_size(wanted.problems), SITE_RESOURCES_MAX + 1);
    last = json_array_get(wanted.problems, 0);
    CHECK_STR(str_of(site_text(last, "message")),
              "there are more resources than one site can have; the rest has no effect");
    site_wanted_free(&wanted);
    json_decref(pod);
}

TEST(every_kind_says_what_it_is)
{
    for (const struct site_kind *k = site_kinds; k->name; k++) {
        CHECK(site_find_kind(str_of(k->name)) == k);
        CHECK(site_find_kind(str_of(k->plural)) == k);
        CHECK((k->spec != NULL) == (k->conditions[0] != NULL));
        CHECK((k->spec != NULL) == (k->columns[0].title != NULL));
        for (const struct site_column *c = k->columns; c->title; c++)
            CHECK(str_starts(str_of(c->path), STR("spec.")) ||
                  str_starts(str_of(c->path), STR("status.")));
    }
}

TEST_MAIN(CASE(a_site_has_few_rules), CASE(a_link_needs_whole_endpoints),
          CASE(a_listener_needs_key_host_and_port),
          CASE(a_multi_key_listener_has_exactly_one_strategy),
          CASE(the_keys_of_a_multi_key_listener_are_bounded),
          CASE(a_connector_on_a_host_needs_a_host), CASE(grants_and_tokens_are_checked),
          CASE(router_access_and_certificates_are_checked),
          CASE(unknown_fields_are_warned_about_with_their_path),
          CASE(what_is_around_the_spec_is_checked_too),
          CASE(resources_are_bounded_and_that_is_told), CASE(every_kind_says_what_it_is))
