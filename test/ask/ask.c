// SPDX-License-Identifier: Apache-2.0
// Asks a router, for tests of src/client:
//
//   ask HOST PORT TRACE address=A
//   ask HOST PORT OPERATION [type=T] [name=N] [router=ID] [edge=ID] [attributes=JSON] [ms=N]
//       [ca=FILE cert=FILE key=FILE]
//
// Prints the answer as JSON, or "ERR: words" and ends with 1.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "client/client.h"

struct args {
    struct client_target target;
    struct client_request request;
    struct net_tls_opts tls;
    json_t *attributes;
    const char *address;
};

static void take(struct args *a, const char *key, size_t key_len, const char *value)
{
    const struct {
        const char *name;
        const char **to;
    } texts[] = {{"type", &a->request.type},     {"name", &a->request.name},
                 {"router", &a->request.router}, {"identity", &a->request.identity},
                 {"edge", &a->request.router},   {"ca", &a->tls.ca_file},
                 {"cert", &a->tls.cert_file},    {"key", &a->tls.key_file},
                 {"address", &a->address}};
    struct str name = {key, key_len};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (str_is(name, texts[i].name))
            *texts[i].to = value;
    if (str_is(name, "edge"))
        a->request.is_edge = true;
    if (str_is(name, "ms"))
        a->target.timeout_ms = (uint32_t)atoi(value);
    if (str_is(name, "attributes"))
        a->request.attributes = a->attributes = json_loads(value, 0, NULL);
}

static int trace(const struct args *a, json_t **out, struct why *why)
{
    struct client_line *l = NULL;
    int err = client_line_new(&a->target, &l, why);

    if (err == 0)
        err = client_trace(l, a->address, out, why);
    client_line_free(l);
    return err;
}

int main(int argc, char **argv)
{
    struct args a = {.target = {.name = "ask"}, .tls = {.name = "ask"}};
    struct why why = {""};
    json_t *value = NULL;
    int err;

    if (argc < 4)
        return 2;
    a.target.host = argv[1];
    a.target.port = argv[2];
    a.request.operation = argv[3];
    for (int i = 4; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');

        if (equals)
            take(&a, argv[i], (size_t)(equals - argv[i]), equals + 1);
    }
    if (a.tls.ca_file) {
        a.target.tls = &a.tls;
        a.target.verify_host = true;
    }
    if (strcmp(a.request.operation, "TRACE") == 0)
        err = trace(&a, &value, &why);
    else
        err = client_call(&a.target, &a.request, &value, &why);
    if (err < 0) {
        printf("%d: %s\n", err, why.text);
    } else {
        json_dumpf(value, stdout, JSON_ENCODE_ANY);
        printf("\n");
    }
    json_decref(value);
    json_decref(a.attributes);
    return err < 0;
}
