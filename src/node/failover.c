// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/cut.h"
#include "base/mem.h"
#include "node/parts.h"

// Other places that serve as well as this one: a listener tells them in open (failoverUrls), and a
// connector goes to the next one when its own is lost. Some a connector knows itself (alternates).

enum { HOST_MAX = 255 };

// "[scheme://]host[:port]", an IPv6 address in brackets, as the map that open has of it; NULL when
// it is none.
static struct amqp_val *url(struct str text)
{
    const char *after = text.ptr ? memmem(text.ptr, text.len, "://", 3) : NULL;
    struct str scheme = STR_NONE, host, port = STR("5672");
    const char *colon;
    struct amqp_val *map;

    if (!text.ptr)
        return NULL;
    if (after) {
        scheme = (struct str){text.ptr, (size_t)(after - text.ptr)};
        text = str_skip(text, scheme.len + 3);
    }
    host = text;
    colon = text.len > 0 ? memrchr(text.ptr, ':', text.len) : NULL;
    if (colon && !memchr(colon, ']', text.len - (size_t)(colon - text.ptr))) {
        host.len = (size_t)(colon - text.ptr);
        port = str_skip(text, host.len + 1);
    }
    if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = (struct str){host.ptr + 1, host.len - 2};
    if (host.len == 0 || host.len > HOST_MAX || port.len == 0 || port.len > HOST_MAX)
        return NULL;
    map = amqp_val_map();
    amqp_val_set_symbol(map, "network-host", amqp_val_string(host));
    amqp_val_set_symbol(map, "port", amqp_val_string(port));
    if (scheme.len > 0)
        amqp_val_set_symbol(map, "scheme", amqp_val_string(scheme));
    return map;
}

int failover_parse(const struct mgmt_entity *e, const char *attribute, struct amqp_val **out,
                   struct why *why)
{
    struct str text = mgmt_entity_str(e, attribute);
    struct amqp_val *list = amqp_val_list();

    while (text.len > 0) {
        const char *comma = memchr(text.ptr, ',', text.len);
        struct str one = {text.ptr, comma ? (size_t)(comma - text.ptr) : text.len};
        struct amqp_val *map = url(str_trim(one, " \t"));

        if (!map) {
            why_set(why, "%s: '%.*s' is not [scheme://]host[:port]", attribute,
                    STR_ARG(str_trim(one, " \t")));
            amqp_val_free(list);
            return ERR_INVALID;
        }
        amqp_val_append(list, map);
        text = str_skip(text, one.len + (comma != NULL));
    }
    if (list->count > 0) {
        *out = list;
    } else {
        amqp_val_free(list);
        *out = NULL;
    }
    return 0;
}

static char *port_text(const struct amqp_val *port)
{
    if (!port)
        return xstrdup("5672");
    if (port->type == AMQP_STRING || port->type == AMQP_SYMBOL)
        return str_dup(port->s);
    return str_fmt("%llu", (unsigned long long)port->u);
}

// Adds those of a list; how many there are then.
static int add_places(struct net_place places[NET_PLACES_MAX], int count,
                      const struct amqp_val *list)
{
    for (uint32_t i = 0; list && i < list->count && count < NET_PLACES_MAX; i++) {
        struct str host = amqp_val_str(amqp_val_get(list->items[i], "network-host"));

        if (host.len > 0 && host.len <= HOST_MAX)
            places[count++] =
                (struct net_place){str_dup(host), port_text(amqp_val_get(list->items[i], "port"))};
    }
    return count;
}

static void set_places(struct dial *d, const struct amqp_val *told)
{
    struct net_place places[NET_PLACES_MAX] = {{NULL, NULL}};
    int count = add_places(places, 0, d->part->alternates);

    count = add_places(places, count, told);
    net_connector_set_places(d->connector, places, count);
    while (count-- > 0) {
        free(places[count].host);
        free(places[count].port);
    }
}

void failover_begin(struct dial *d)
{
    if (d->part->alternates)
        set_places(d, NULL);
}

void failover_told(struct dial *d, const struct amqp_val *list)
{
    if (list && list->type == AMQP_LIST) // else it says nothing, and what was told before holds
        set_places(d, list);
}

// The data connections of a group lead to where its control connection does.
void failover_follow(struct dial *control)
{
    struct part *p = control->part;
    int count, at;
    const struct net_place *places = net_connector_places(control->connector, &count, &at);

    for (int i = 1; i < p->dial_count && control == p->dials; i++) {
        net_connector_set_places(p->dials[i].connector, places + 1, count - 1);
        net_connector_aim(p->dials[i].connector, &places[at]);
    }
}

struct amqp_val *failover_urls(const struct part *p)
{
    struct amqp_val *shown;
    char *text = xstrdup("");
    int count, at;
    const struct net_place *places = net_connector_places(p->dials[0].connector, &count, &at);

    for (int i = 0; i < count; i++) {
        bool is_v6 = strchr(places[i].host, ':') != NULL;
        char *more = str_fmt("%s%samqp://%s%s%s:%s", text, i > 0 ? ", " : "", is_v6 ? "[" : "",
                             places[i].host, is_v6 ? "]" : "", places[i].port);

        free(text);
        text = more;
    }
    shown = amqp_val_string(str_of(text));
    free(text);
    return shown;
}
