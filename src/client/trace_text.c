// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "client/inside.h"

// A trace as lines for people.

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static void put_server(FILE *to, const json_t *server)
{
    const char *state = text_of(server, "state"), *message = text_of(server, "message");
    json_t *open = json_object_get(server, "open");

    if (!text_of(server, "port")[0]) {
        fprintf(to, "a client that receives from the address");
        return;
    }
    // A listener of a pod names no host: it is all of the pod's.
    fprintf(to, "%s:%s", text_of(server, "host")[0] ? text_of(server, "host") : "*",
            text_of(server, "port"));
    if (text_of(server, "name")[0])
        fprintf(to, " (%s)", text_of(server, "name"));
    if (state[0])
        fprintf(to, ", %s", state);
    if (message[0])
        fprintf(to, ": %s", message);
    if (json_is_integer(open))
        fprintf(to, ", %lld open", (long long)json_integer_value(open));
}

static void put_listeners(FILE *to, const json_t *listeners)
{
    for (size_t i = 0; i < json_array_size(listeners); i++) {
        fprintf(to, "  listener  ");
        put_server(to, json_array_get(listeners, i));
        fprintf(to, "\n");
    }
    if (json_array_size(listeners) == 0)
        fprintf(to, "  listener  none here: applications cannot connect to it at this router\n");
}

static void put_hop(FILE *to, const json_t *hop)
{
    const json_t *link = json_object_get(hop, "link"), *ms = json_object_get(hop, "ms");
    const json_t *cost = json_object_get(hop, "cost");

    if (ms)
        fprintf(to, "%8.2f ms  ", json_real_value(ms));
    else
        fprintf(to, "   no answer  ");
    fprintf(to, "%s%s", text_of(hop, "router"),
            json_is_true(json_object_get(hop, "edge")) ? " (edge)" : "");
    if (link)
        fprintf(to, ", %s %s%s%s", strcmp(text_of(link, "dir"), "in") == 0 ? "linked from" : "over",
                text_of(link, "peer"), text_of(link, "tls")[0] ? ", " : "", text_of(link, "tls"));
    if (cost)
        fprintf(to, ", cost %lld", (long long)json_integer_value(cost));
    fprintf(to, "\n");
}

static void put_other(FILE *to, const json_t *other)
{
    const json_t *cost = json_object_get(other, "cost");

    fprintf(to, "  %s%s", text_of(other, "router"),
            json_is_true(json_object_get(other, "edge")) ? " (edge)" : "");
    if (cost)
        fprintf(to, ", cost %lld", (long long)json_integer_value(cost));
    fprintf(to, ": %s\n", text_of(other, "why"));
}

char *client_trace_text(const json_t *trace)
{
    const json_t *path = json_object_get(trace, "path"), *others, *silent;
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);

    if (!to)
        abort();
    fprintf(to, "%s%s%s\n", text_of(trace, "address"), text_of(trace, "treatment")[0] ? ", " : "",
            text_of(trace, "treatment"));
    put_listeners(to, json_object_get(trace, "listeners"));
    for (size_t i = 0; i < json_array_size(path); i++)
        put_hop(to, json_array_get(path, i));
    if (json_object_get(trace, "server")) {
        fprintf(to, "  server    ");
        put_server(to, json_object_get(trace, "server"));
        fprintf(to, "\n");
    }
    if (text_of(trace, "why")[0])
        fprintf(to, "no way: %s\n", text_of(trace, "why"));
    others = json_object_get(trace, "others");
    if (json_array_size(others) > 0)
        fprintf(to, "not to:\n");
    for (size_t i = 0; i < json_array_size(others); i++)
        put_other(to, json_array_get(others, i));
    silent = json_object_get(trace, "silent");
    if (json_array_size(silent) > 0)
        fprintf(to, "not heard:\n");
    for (size_t i = 0; i < json_array_size(silent); i++)
        put_other(to, json_array_get(silent, i));
    fclose(to);
    return text;
}
