// SPDX-License-Identifier: Apache-2.0
// Services by annotation: what each annotation says, and in every order of events.
#include "controller/annotated_rig_test.h"

// --------------------------------------------------------------------------------- annotations

#define TARGET(ports)                                                                              \
    "'targets': [{'name': 'x', 'selector': 'a=b,app=web', 'targetPorts': " ports "}], 'origin':"   \
    " 'annotation'}"
#define BOTH TARGET("{'8080': 8080, '9090': 9090}")

static const struct {
    const char *kind, *notes, *spec, *address, *want, *told;
} rows[] = {
    {"Deployment", "{}", DEPLOYED, "x", NULL, ""},
    {"Deployment", "{'skupper.io/port': '1'}", DEPLOYED, "x", NULL, ""},
    {"Deployment", "{'skupper.io/proxy': 'tcp'}", DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [8080, 9090], 'exposeIngress': ''," BOTH, ""},
    {"DaemonSet", "{'skupper.io/proxy': 'http2'}", DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'http2', 'ports': [8080, 9090], 'exposeIngress': ''," BOTH, ""},
    {"Deployment", "{'skupper.io/proxy': 'tcp', 'skupper.io/address': 'api'}", DEPLOYED, "api",
     "{'address': 'api', 'protocol': 'tcp', 'ports': [8080, 9090], 'exposeIngress': ''," BOTH, ""},
    {"Deployment", "{'skupper.io/proxy': 'tcp', 'skupper.io/address': '9'}", DEPLOYED, "9", NULL,
     "skupper.io/address: \"9\" is no name for a Service"},
    {"Deployment", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '80:8080, 443'}", DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [80, 443], 'exposeIngress': ''," TARGET(
         "{'80': 8080, '443': 443}"),
     ""},
    {"Deployment", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '80:8080,80:1'}", DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [80], 'exposeIngress': ''," TARGET(
         "{'80': 8080}"),
     ""},
    {"Deployment", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '80:8080,x'}", DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [8080, 9090], 'exposeIngress': ''," BOTH,
     "skupper.io/port: \"80:8080,x\" is not of the form port[:target],…"},
    {"Deployment", "{'skupper.io/proxy': 'http'}", PORTLESS, "x",
     "{'address': 'x', 'protocol': 'http', 'ports': [80], 'exposeIngress': '', 'targets':"
     " [{'name': 'x', 'selector': 'app=web', 'targetPorts': {'80': 80}}], 'origin':"
     " 'annotation'}",
     ""},
    {"Deployment", "{'skupper.io/proxy': 'tcp'}", PORTLESS, "x", NULL,
     "no port is known: say it with the annotation skupper.io/port"},
    {"Deployment", "{'skupper.io/proxy': 'tcp'}", "{}", "x", NULL,
     "spec.selector.matchLabels is empty"},
    {"Deployment", "{'skupper.io/proxy': 'udp'}", DEPLOYED, "x", NULL,
     "skupper.io/proxy: \"udp\" is not one of tcp, http, http2"},
    {"Deployment", "{'skupper.io/proxy': 'tcp', 'skupper.io/ingress': 'never'}", DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [8080, 9090], 'exposeIngress': "
     "'Never'," BOTH,
     ""},
    {"Deployment", "{'skupper.io/proxy': 'tcp', 'skupper.io/ingress': 'ALWAYS'}", DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [8080, 9090], 'exposeIngress': "
     "'Always'," BOTH,
     ""},
    {"Deployment", "{'skupper.io/proxy': 'tcp', 'skupper.io/ingress': 'maybe'}", DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [8080, 9090], 'exposeIngress': ''," BOTH,
     "skupper.io/ingress: \"maybe\" is neither Always nor Never; it is passed over"},
    {"DaemonSet", "{'skupper.io/proxy': 'tcp', 'skupper.io/ingress': 'Never'}", DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [8080, 9090], 'exposeIngress': ''," BOTH, ""},
    {"Deployment",
     "{'skupper.io/proxy': 'tcp', 'skupper.io/service-labels': 'k=v, l=', "
     "'skupper.io/service-annotations': 'm=n'}",
     DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [8080, 9090], 'exposeIngress': '',"
     " 'labels': {'k': 'v', 'l': ''}, 'annotations': {'m': 'n'}," BOTH,
     ""},
    {"Deployment",
     "{'skupper.io/proxy': 'http2', 'skupper.io/tls-cert': 'c', 'skupper.io/tls-trust': 't'}",
     DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'http2', 'ports': [8080, 9090], 'exposeIngress': '',"
     " 'tlsCredentials': 'c', 'tlsCertAuthority': 't'," BOTH,
     "x: TLS credentials secret \"c\" not found"},
    {"DaemonSet", "{'skupper.io/proxy': 'tcp', 'skupper.io/tls-cert': 'c'}", DEPLOYED, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [8080, 9090], 'exposeIngress': ''," BOTH, ""},
    {"Deployment", "{'skupper.io/proxy': 'http', 'skupper.io/tls-trust': 't'}", DEPLOYED, "x", NULL,
     "skupper.io/tls-trust: there is no TLS with http"},
    {"StatefulSet", "{'skupper.io/proxy': 'tcp'}", STATEFUL, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [5432], 'exposeIngress': '', 'targets':"
     " [{'name': 'x', 'selector': 'app=db', 'targetPorts': {'5432': 15432}}], 'origin':"
     " 'annotation'}",
     ""},
    {"StatefulSet",
     "{'skupper.io/proxy': 'tcp', 'skupper.io/headless': 'true', 'skupper.io/ingress': 'Never',"
     " 'skupper.io/cpu-request': '1', 'skupper.io/memory-request': '2Mi',"
     " 'skupper.io/cpu-limit': '3', 'skupper.io/memory-limit': '4Mi', 'skupper.io/affinity':"
     " 'a=1', 'skupper.io/anti-affinity': 'b=2', 'skupper.io/node-selector': 'c=3'}",
     STATEFUL, "db",
     "{'address': 'db', 'protocol': 'tcp', 'ports': [5432], 'exposeIngress': '', 'headless':"
     " {'name': 'x', 'size': 2, 'targetPorts': {'5432': 15432}, 'affinity': {'a': '1'},"
     " 'antiAffinity': {'b': '2'}, 'nodeSelector': {'c': '3'}, 'cpuRequest': '1',"
     " 'memoryRequest': '2Mi', 'cpuLimit': '3', 'memoryLimit': '4Mi'}, 'targets':"
     " [{'name': 'x', 'selector': 'app=db', 'targetPorts': {'5432': 15432}}], 'origin':"
     " 'annotation'}",
     ""},
    {"StatefulSet",
     "{'skupper.io/proxy': 'tcp', 'skupper.io/headless': 'true', 'skupper.io/address': 'x'}",
     STATEFUL, "x", NULL,
     "skupper.io/address: it has to be \"db\", the name of the headless Service"},
    {"StatefulSet", "{'skupper.io/proxy': 'tcp'}",
     "{'selector': {'matchLabels': {'app': 'db'}}, 'serviceName': 'none'}", "x", NULL,
     "there is no Service \"none\", which spec.serviceName names"},
    {"Service", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '1:2'}", SERVICE, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [80], 'exposeIngress': '', 'targets':"
     " [{'name': 'x', 'selector': 'app=web', 'targetPorts': {'80': 8080}}], 'origin':"
     " 'annotation'}",
     ""},
    {"Service", "{'skupper.io/proxy': 'tcp'}", NAMED, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [80], 'exposeIngress': '', 'targets':"
     " [{'name': 'x', 'selector': 'app=web', 'targetPorts': {'80': 80}}], 'origin':"
     " 'annotation'}",
     ""},
    {"Service", "{'skupper.io/proxy': 'tcp', 'skupper.io/target': 'db'}", SERVICE, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [80], 'exposeIngress': '', 'targets':"
     " [{'name': 'x', 'service': 'db', 'targetPorts': {'80': 5432}}], 'origin': 'annotation'}",
     ""},
    {"Service", "{'skupper.io/proxy': 'tcp', 'skupper.io/target': 'db.other'}", SERVICE, "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [80], 'exposeIngress': '', 'targets':"
     " [{'name': 'x', 'service': 'db.other', 'targetPorts': {'80': 80}}], 'origin':"
     " 'annotation'}",
     ""},
    {"Service", "{'skupper.io/proxy': 'tcp', 'skupper.io/target': 'db'}",
     "{'ports': [{'port': 5432}, {'port': 2}]}", "x", NULL,
     "skupper.io/target: incompatible number of ports at Service \"db\""},
    {"Service", "{'skupper.io/proxy': 'tcp', 'skupper.io/target': 'two'}",
     "{'ports': [{'port': 443}, {'port': 80}]}", "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [443, 80], 'exposeIngress': '', 'targets':"
     " [{'name': 'x', 'service': 'two', 'targetPorts': {'443': 443, '80': 80}}], 'origin':"
     " 'annotation'}",
     ""},
    {"Service", "{'skupper.io/proxy': 'tcp', 'skupper.io/target': 'two'}",
     "{'ports': [{'port': 80}]}", "x", NULL,
     "skupper.io/target: incompatible number of ports at Service \"two\""},
    {"Service", "{'skupper.io/proxy': 'tcp', 'skupper.io/target': 'two'}",
     "{'ports': [{'port': 80}, {'port': 8443}]}", "x", NULL,
     "skupper.io/target: incompatible number of ports at Service \"two\""},
    {"Service", "{'skupper.io/proxy': 'tcp', 'skupper.io/ingress-only': ''}",
     "{'ports': [{'port': 80}]}", "x",
     "{'address': 'x', 'protocol': 'tcp', 'ports': [80], 'exposeIngress': '', 'targets': [],"
     " 'origin': 'annotation'}",
     ""},
    {"Service", "{'skupper.io/proxy': 'tcp'}", "{'ports': [{'port': 80}]}", "x", NULL,
     "it has neither a selector nor the annotation skupper.io/target"},
    {"Service", "{'skupper.io/proxy': 'tcp'}", "{'selector': {'app': 'web'}}", "x", NULL,
     "it has no port"},
    {"Service", "{'skupper.io/proxy': 'tcp', 'internal.skupper.io/controlled': 'true'}", SERVICE,
     "x", NULL, ""},
};

TEST(each_annotation_says_what_it_says_in_version_1)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        char *key = site_key(rows[i].kind, "x");

        put_site(&c);
        add_kind(&c, "Service", "two", "{}", "{'ports': [{'port': 80}, {'port': 443}]}");
        add_kind(&c, "Service", "db", "{}",
                 "{'clusterIP': 'None', 'ports': [{'port': 5432, 'targetPort': 15432}]}");
        add_kind(&c, rows[i].kind, "x", rows[i].notes, rows[i].spec);
        cluster_turn(&c);
        CHECK_NOTE(&c, key, rows[i].told);
        CHECK_ENTRY(&c, rows[i].address, rows[i].want);
        cluster_settle(&c);
        CHECK_ENTRY(&c, rows[i].address, rows[i].want);
        // Without the annotations nothing of it is left.
        set_notes(&c, key, "{}");
        cluster_settle(&c);
        CHECK_ENTRY(&c, rows[i].address, NULL);
        CHECK_EQ(json_object_size(c.plan.notes), 0);
        free(key);
        cluster_fini(&c);
    }
}

TEST(objects_of_one_address_are_one_service)
{
    struct cluster c;

    put_site(&c);
    add_kind(&c, "Deployment", "b", "{'skupper.io/proxy': 'tcp', 'skupper.io/address': 'api'}",
             DEPLOYED);
    json_object_set_new(metadata_of(cluster_get(&c, "Deployment/b")), "creationTimestamp",
                        json_string("2025-01-01T00:00:00Z"));
    add_kind(&c, "Deployment", "a", "{'skupper.io/proxy': 'tcp', 'skupper.io/address': 'api'}",
             DEPLOYED);
    add_kind(&c, "DaemonSet", "b", "{'skupper.io/proxy': 'tcp', 'skupper.io/address': 'api'}",
             DEPLOYED);
    add_kind(&c, "Deployment", "z",
             "{'skupper.io/proxy': 'tcp', 'skupper.io/address': 'api', 'skupper.io/port': '1'}",
             DEPLOYED);
    add_kind(&c, "DaemonSet", "z", "{'skupper.io/proxy': 'http2', 'skupper.io/address': 'api'}",
             DEPLOYED);
    cluster_settle(&c);
    CHECK_ENTRY(&c, "api",
                "{'address': 'api', 'protocol': 'tcp', 'ports': [8080, 9090], 'exposeIngress': '',"
                " 'targets': [{'name': 'b', 'selector': 'a=b,app=web', 'targetPorts': {'8080':"
                " 8080, '9090': 9090}}, {'name': 'a', 'selector': 'a=b,app=web', 'targetPorts':"
                " {'8080': 8080, '9090': 9090}}], 'origin': 'annotation'}");
    CHECK_NOTE(&c, "Deployment/z",
               "the service \"api\" has another protocol or other ports, as an older object says");
    CHECK_NOTE(&c, "DaemonSet/z",
               "the service \"api\" has another protocol or other ports, as an older object says");
    // The next one takes its place.
    cluster_remove(&c, "DaemonSet/z");
    cluster_remove(&c, "Deployment/b");
    cluster_remove(&c, "Deployment/a");
    cluster_remove(&c, "DaemonSet/b");
    cluster_settle(&c);
    CHECK_ENTRY(&c, "api",
                "{'address': 'api', 'protocol': 'tcp', 'ports': [1], 'exposeIngress': '',"
                " 'targets': [{'name': 'z', 'selector': 'a=b,app=web', 'targetPorts': {'1': 1}}],"
                " 'origin': 'annotation'}");
    CHECK_EQ(json_object_size(c.plan.notes), 0);
    cluster_fini(&c);
}

// --------------------------------------------------------------------------------------- orders

enum { STEPS = 5 };

static void step(struct cluster *c, int which)
{
    switch (which) {
    case 0:
        cluster_put(c, "Site", "west", "{}");
        break;
    case 1: // when there is one already, the user cannot create it
        if (!cluster_get(c, "Service/web"))
            add_kind(c, "Service", "web", "{'mine': 'yes'}", SERVICE);
        break;
    case 2:
        add_kind(c, "Deployment", "web", "{'skupper.io/proxy': 'tcp', 'skupper.io/port': '80:1'}",
                 DEPLOYED);
        break;
    case 3:
        put_entry(c, "web",
                  "{'address': 'web', 'protocol': 'tcp', 'ports': [7], 'targets': [], 'origin':"
                  " 'east-site'}");
        break;
    case 4:
        cluster_pod(c, "web-1", "web", "10.0.0.1", true);
        break;
    }
}

static void unstep(struct cluster *c, int which)
{
    static const char *const keys[STEPS] = {"Site/west", NULL, "Deployment/web",
                                            "ConfigMap/skupper-services", "Pod/web-1"};

    if (keys[which] && cluster_get(c, keys[which]))
        cluster_remove(c, keys[which]);
}

// The n-th order of numbers below STEPS.
static void nth_order(int n, int out[STEPS])
{
    int left[STEPS];

    for (int i = 0; i < STEPS; i++)
        left[i] = i;
    for (int i = 0; i < STEPS; i++) {
        int k = n % (STEPS - i);

        n /= STEPS - i;
        out[i] = left[k];
        left[k] = left[STEPS - i - 1];
    }
}

static void check_all_there(const struct cluster *c)
{
    CHECK_JSON(site_get(cluster_get(c, "Service/web"), "spec.selector"),
               "{'application': 'skupper-router', 'skupper.io/component': 'router'}");
    CHECK_ENTRY(c, "web",
                "{'address': 'web', 'protocol': 'tcp', 'ports': [80], 'exposeIngress': '',"
                " 'targets': [{'name': 'web', 'selector': 'a=b,app=web', 'targetPorts': {'80':"
                " 1}}], 'origin': 'annotation'}");
    CHECK(has_entity(c, "tcpListener", "listener/service.web.80"));
}

// However things come and go, in the end the Service is its owner's again.
TEST(every_order_of_events_ends_the_same)
{
    int was_users = 0;

    for (int n = 0; n < 120; n++) {
        struct cluster c;
        int order[STEPS], back[STEPS];
        bool is_users;

        cluster_init(&c);
        nth_order(n, order);
        nth_order((n * 7 + 3) % 120, back);
        for (int i = 0; i < STEPS; i++) {
            // An entry of another site is not written over one that this site has.
            if (order[i] == 3 && cluster_get(&c, "ConfigMap/skupper-services"))
                continue;
            step(&c, order[i]);
            if (n % 2 == 0)
                cluster_settle(&c);
        }
        cluster_settle(&c);
        check_all_there(&c);
        is_users = json_object_get(site_get(cluster_get(&c, "Service/web"), "metadata.annotations"),
                                   "mine");
        was_users += is_users;
        for (int i = 0; i < STEPS; i++) {
            unstep(&c, back[i]);
            if (n % 3 != 0)
                cluster_settle(&c);
        }
        cluster_settle(&c);
        CHECK_EQ(cluster_get(&c, "Service/web") != NULL, is_users);
        if (is_users) {
            CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "spec"), SERVICE);
            CHECK_JSON(site_get(cluster_get(&c, "Service/web"), "metadata.annotations"),
                       "{'mine': 'yes'}");
        }
        cluster_fini(&c);
    }
    CHECK(was_users > 60);
}

TEST_MAIN(CASE(each_annotation_says_what_it_says_in_version_1),
          CASE(objects_of_one_address_are_one_service), CASE(every_order_of_events_ends_the_same))
