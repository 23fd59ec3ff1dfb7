// SPDX-License-Identifier: Apache-2.0
// The steps of a link as the router beside us would take them: from the configuration that it
// starts with, by the files that it reads. In a process of its own, for each step blocks.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "host/host.h"
#include "pod/inside.h"
#include "site/site.h"

enum { STEP_MS = 5000 };

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

// What stands in the file that an attribute names; NULL: nothing that can be read. The caller's.
static char *read_file(const json_t *attributes, const char *name)
{
    const char *path = site_text(attributes, name);
    char *text = NULL;
    size_t len = 0;

    if (!path[0] || host_read(path, &text, &len, NULL) < 0)
        return NULL;
    return text;
}

static json_t *find(const json_t *config, const char *type, const char *name)
{
    json_t *pair;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)config, i, pair)
    {
        json_t *attributes = json_array_get(pair, 1);

        if (name[0] && strcmp(json_string_value(json_array_get(pair, 0)), type) == 0 &&
            strcmp(site_text(attributes, "name"), name) == 0)
            return attributes;
    }
    return NULL;
}

// Only what is a link between routers.
static const json_t *find_link(const json_t *config, const char *name)
{
    const json_t *connector = find(config, "connector", name);
    const char *role = site_text(connector, "role");

    return strcmp(role, "inter-router") == 0 || strcmp(role, "edge") == 0 ? connector : NULL;
}

static struct host_proxy proxy_of(const json_t *config, const json_t *connector)
{
    const char *name = site_text(connector, "proxyProfile");
    const json_t *p = find(config, "proxyProfile", name);

    if (!p)
        return (struct host_proxy){0};
    return (struct host_proxy){.name = name,
                               .host = site_text(p, "host"),
                               .port = site_text(p, "port"),
                               .username = site_text(p, "username"),
                               .password = site_text(p, "password")};
}

// A port may be a number there.
static char *port_of(const json_t *connector)
{
    const json_t *port = json_object_get(connector, "port");

    return json_is_integer(port) ? str_fmt("%" JSON_INTEGER_FORMAT, json_integer_value(port))
                                 : xstrdup(site_text(connector, "port"));
}

// "HOST:PORT" or "[HOST]:PORT", cut in place.
static bool cut_place(char *place, const char **host, const char **port)
{
    char *colon = strrchr(place, ':'), *end = place[0] == '[' ? strchr(place, ']') : colon;

    if (!colon || !end || end > colon)
        return false;
    *end = *colon = '\0';
    *host = place + (end != colon);
    *port = colon + 1;
    return true;
}

// The other places where the same site can be reached, "HOST:PORT,HOST:PORT".
static void take_alternates(struct host_checkup *c, const json_t *connector, json_t *steps)
{
    char *list = xstrdup(site_text(connector, "alternates")), *at = NULL, *place;

    for (place = strtok_r(list, ",", &at); place; place = strtok_r(NULL, ",", &at))
        if (cut_place(place, &c->host, &c->port))
            (void)host_check_way(c, steps); // the steps tell
    free(list);
}

static void take_steps(const json_t *config, const json_t *connector,
                       void (*told)(const json_t *step))
{
    const json_t *profile = find(config, "sslProfile", site_text(connector, "sslProfile"));
    char *ca = read_file(profile, "caCertFile"), *cert = read_file(profile, "certFile"),
         *key = read_file(profile, "privateKeyFile"), *port = port_of(connector);
    struct host_checkup c = {.role = site_text(connector, "role"),
                             .host = site_text(connector, "host"),
                             .port = port,
                             .proxy = proxy_of(config, connector),
                             .ca = ca,
                             .cert = cert,
                             .key = key,
                             .timeout_ms = STEP_MS,
                             .now = time(NULL),
                             .is_pod = true,
                             .told = told};
    json_t *steps = json_array();

    (void)host_check_credentials(&c, steps); // the steps tell
    (void)host_check_way(&c, steps);
    take_alternates(&c, connector, steps);
    json_decref(steps);
    free(ca);
    free(cert);
    wipe(key);
    free(port);
}

int pod_take_steps(const struct pod_opts *opts, const char *link, void (*told)(const json_t *step),
                   struct why *why)
{
    char *path = str_fmt("%s/skrouterd.json", opts->folder), *text = NULL;
    const json_t *connector;
    json_t *config = NULL;
    size_t len = 0;
    int err = host_read(path, &text, &len, why);

    if (!err)
        err = plan_read(text, &config, why);
    connector = err ? NULL : find_link(config, link);
    if (connector) {
        take_steps(config, connector, told);
    } else if (!err) {
        why_set(why, "%s has no link \"%.253s\"", path, link);
        err = ERR_NOT_FOUND;
    }
    json_decref(config);
    free(text);
    free(path);
    return err;
}
