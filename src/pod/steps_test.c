// SPDX-License-Identifier: Apache-2.0
// Which steps are taken for the name of a link, by a configuration that lies there.
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "host/host.h"
#include "pod/inside.h"

static char top[] = "/tmp/skupper-steps-XXXXXX";
static json_t *steps;

static int make(void **state)
{
    (void)state;
    return mkdtemp(top) ? 0 : -1;
}

static int clear(void **state)
{
    (void)state;
    return host_remove(top, NULL);
}

static void told(const json_t *step)
{
    json_array_append(steps, (json_t *)(uintptr_t)step);
}

static void put(const char *name, const char *text)
{
    char *path = str_fmt("%s/%s", top, name);

    CHECK_EQ(host_write(path, str_of(text), 0600, NULL), 0);
    free(path);
}

static int take(const char *link, struct why *why)
{
    struct pod_opts opts = {.folder = top};

    json_decref(steps);
    steps = json_array();
    why->text[0] = '\0';
    return pod_take_steps(&opts, link, told, why);
}

// The places whose names were looked up, with an end each.
static char *places(void)
{
    char *text = xstrdup("");
    json_t *one;
    size_t i;

    json_array_foreach(steps, i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "step")), "name") != 0)
            continue;

        char *more = str_fmt("%s%s\n", text, json_string_value(json_object_get(one, "endpoint")));

        free(text);
        text = more;
    }
    return text;
}

static void put_links(void)
{
    char *config = str_fmt(
        "[[\"sslProfile\", {\"name\": \"p\", \"caCertFile\": \"%s/ca.crt\", \"certFile\": "
        "\"%s/tls.crt\", \"privateKeyFile\": \"%s/tls.key\"}],"
        "[\"proxyProfile\", {\"name\": \"x\", \"host\": \"127.0.0.6\", \"port\": \"1\"}],"
        "[\"connector\", {\"name\": \"one\", \"role\": \"inter-router\", \"host\": "
        "\"127.0.0.1\", \"port\": \"1\", \"sslProfile\": \"p\"}],"
        "[\"connector\", {\"name\": \"two\", \"role\": \"edge\", \"host\": \"127.0.0.2\", "
        "\"port\": 1, \"alternates\": \"127.0.0.3:1,odd,[::1]:2\"}],"
        "[\"connector\", {\"name\": \"by\", \"role\": \"edge\", \"host\": \"127.0.0.2\", "
        "\"port\": 1, \"proxyProfile\": \"x\"}],"
        "[\"connector\", {\"name\": \"auto\", \"role\": \"normal\", \"host\": \"127.0.0.4\", "
        "\"port\": \"1\"}],"
        "[\"tcpConnector\", {\"name\": \"db\", \"host\": \"127.0.0.5\", \"port\": \"1\"}]]",
        top, top, top);

    put("skrouterd.json", config);
    free(config);
}

TEST(the_name_of_a_link_leads_to_its_places)
{
    static const struct {
        const char *link;
        int err;
        const char *places;
    } rows[] = {
        {"one", 0, "inter-router 127.0.0.1:1\n"},
        {"two", 0, "edge 127.0.0.2:1\nedge 127.0.0.3:1\nedge ::1:2\n"},
        {"by", 0, "edge 127.0.0.2:1\n"},
        {"auto", ERR_NOT_FOUND, ""}, // no link between routers
        {"db", ERR_NOT_FOUND, ""},
        {"127.0.0.1", ERR_NOT_FOUND, ""},
        {"", ERR_NOT_FOUND, ""},
        {"../one", ERR_NOT_FOUND, ""},
    };

    put_links();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct why why;
        char *text;

        CHECK_EQ_FOR(rows[i].link, take(rows[i].link, &why), rows[i].err);
        CHECK_EQ_FOR(rows[i].link, why.text[0] != '\0', rows[i].err < 0);
        text = places();
        CHECK_STR(str_of(text), rows[i].places);
        free(text);
    }
}

TEST(with_a_proxy_its_name_is_what_is_looked_up)
{
    struct why why;
    const json_t *name;

    put_links();
    CHECK_EQ(take("by", &why), 0);
    name = json_array_get(steps, 1);
    CHECK_STR(str_of(json_string_value(json_object_get(name, "message"))),
              "the proxy 127.0.0.6 has 1 address");
}

TEST(what_stands_in_files_is_not_told)
{
    struct why why;
    char *text;

    put_links();
    put("ca.crt", "PRIVATE one");
    put("tls.crt", "PRIVATE two");
    put("tls.key", "PRIVATE three");
    CHECK_EQ(take("one", &why), 0);
    text = json_dumps(steps, 0);
    CHECK(strstr(text, "credentials") != NULL && strstr(text, "PRIVATE") == NULL);
    free(text);
}

TEST(without_a_configuration_nothing_is_known)
{
    struct why why;

    put("skrouterd.json", "[[\"connector\"");
    CHECK_EQ(take("one", &why), ERR_DECODE);
    CHECK(strstr(why.text, "skrouterd.json:1:") != NULL);
    put("skrouterd.json", "[[\"connector\"]]");
    CHECK_EQ(take("one", &why), ERR_NOT_FOUND);
    CHECK_EQ(host_remove(top, NULL), 0);
    CHECK_EQ(take("one", &why), ERR_NOT_FOUND);
    CHECK_EQ(host_make_directory(top, NULL), 0);
    json_decref(steps);
    steps = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(the_name_of_a_link_leads_to_its_places),
                                       CASE(with_a_proxy_its_name_is_what_is_looked_up),
                                       CASE(what_stands_in_files_is_not_told),
                                       CASE(without_a_configuration_nothing_is_known)};

    return cmocka_run_group_tests(tests, make, clear);
}
