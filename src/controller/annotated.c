// SPDX-License-Identifier: Apache-2.0
// Services by annotation, as version 1 has them: what stands at a Deployment, StatefulSet,
// DaemonSet or Service becomes a definition, the form in which sites tell each other of services
// and in which the ConfigMap skupper-services has them:
//
//   {"address", "protocol", "ports": [8080], "exposeIngress": "" | "Always" | "Never",
//    "targets": [{"name", "selector" or "service", "targetPorts": {"8080": 9090}}],
//    "origin": "annotation", "labels", "annotations", "headless", "tlsCredentials", …}
//
// Of several objects with one address the oldest says what the service is, and the others add
// targets if they agree with it.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cut.h"
#include "base/mem.h"
#include "controller/inside.h"

enum { PORTS_MAX = 64, LABEL_MAX = 63 };

#define PROXY "skupper.io/proxy"
static const char ADDRESS[] = "skupper.io/address", PORT[] = "skupper.io/port";
static const char TARGET[] = "skupper.io/target", INGRESS[] = "skupper.io/ingress";
static const char INGRESS_ONLY[] = "skupper.io/ingress-only", HEADLESS[] = "skupper.io/headless";
static const char LABELS[] = "skupper.io/service-labels";
static const char ANNOTATIONS[] = "skupper.io/service-annotations";
static const char TLS_CERT[] = "skupper.io/tls-cert", TLS_TRUST[] = "skupper.io/tls-trust";

// One object on its way to a definition.
struct reading {
    const struct planning *p;
    const json_t *object;
    char *key;
    json_t *wrong;  // {key of an object: words}
    json_t *ports;  // [8080]
    json_t *target; // {"8080": 9090}
};

static void tell(struct reading *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void tell(struct reading *r, const char *fmt, ...)
{
    char words[WHY_MAX];
    va_list args;

    if (json_object_get(r->wrong, r->key))
        return;
    va_start(args, fmt);
    vsnprintf(words, sizeof(words), fmt, args);
    va_end(args);
    json_object_set_new(r->wrong, r->key, json_string(words));
}

static bool has_note(const struct reading *r, const char *key)
{
    return json_object_get(site_get(r->object, "metadata.annotations"), key) != NULL;
}

static const char *note(const struct reading *r, const char *key)
{
    return annotation(r->object, key);
}

static bool is_headless(const struct reading *r)
{
    return is_kind(r->object, "StatefulSet") && strcmp(note(r, HEADLESS), "true") == 0;
}

// A label of the domain name system that begins with a letter: the name of a Service.
bool annotated_is_address(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len <= LABEL_MAX && text[0] >= 'a' && text[0] <= 'z' &&
           site_is_namespace(str_of(text));
}

// ------------------------------------------------------------------------------------ key=value

json_t *annotated_pairs_by(const char *text, char separator)
{
    struct str rest = str_of(text);
    json_t *out = json_object();

    while (rest.len > 0) {
        struct str item = str_cut(&rest, separator), key = str_trim(str_cut(&item, '='), " ");
        char *name = str_dup(key), *value = str_dup(str_trim(item, " "));

        if (key.len > 0)
            json_object_set_new(out, name, json_string(value));
        free(name);
        free(value);
    }
    return out;
}

json_t *annotated_pairs(const char *text)
{
    return annotated_pairs_by(text, ',');
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *annotated_text(const json_t *pairs)
{
    size_t count = json_object_size(pairs), at = 0;
    const char **keys = xcalloc(count + 1, sizeof(*keys)), *key;
    char *all = xstrdup("");
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)pairs, key, v) keys[at++] = key;
    qsort(keys, at, sizeof(*keys), by_text);
    for (size_t i = 0; i < at; i++) {
        char *longer =
            str_fmt("%s%s%s=%s", all, i > 0 ? "," : "", keys[i], value_of(pairs, keys[i]));

        free(all);
        all = longer;
    }
    free(keys);
    return all;
}

// ----------------------------------------------------------------------------------------- ports

static void add_port(struct reading *r, int64_t port, int64_t target)
{
    char key[24];

    snprintf(key, sizeof(key), "%lld", (long long)port);
    if (json_object_get(r->target, key) || json_array_size(r->ports) == PORTS_MAX)
        return;
    json_array_append_new(r->ports, json_integer(port));
    json_object_set_new(r->target, key, json_integer(target));
}

// "p[:t],…"; a mistake makes the whole of it empty.
static void read_ports(struct reading *r)
{
    struct str rest = str_of(note(r, PORT));

    while (rest.len > 0) {
        struct str item = str_trim(str_cut(&rest, ','), " "), port = str_cut(&item, ':');
        int64_t p, t;

        if (!site_number(port, 1, 65535, &p) ||
            (item.len > 0 ? !site_number(item, 1, 65535, &t) : (t = p, false))) {
            tell(r, "%s: \"%s\" is not of the form port[:target],…", PORT, note(r, PORT));
            json_array_clear(r->ports);
            json_object_clear(r->target);
            return;
        }
        add_port(r, p, t);
    }
}

// The first container's.
static void container_ports(struct reading *r)
{
    const json_t *containers = site_get(r->object, "spec.template.spec.containers");
    json_t *one;
    size_t i;

    json_array_foreach(json_object_get(json_array_get(containers, 0), "ports"), i, one)
    {
        json_int_t port = json_integer_value(json_object_get(one, "containerPort"));

        if (port > 0)
            add_port(r, port, port);
    }
}

// A target port that is a name counts as the port itself.
static void service_ports(struct reading *r, const json_t *list)
{
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)list, i, one)
    {
        json_int_t port = json_integer_value(json_object_get(one, "port"));
        json_int_t target = json_integer_value(json_object_get(one, "targetPort"));

        if (port > 0)
            add_port(r, port, target > 0 ? target : port);
    }
}

static bool set_ports(struct reading *r)
{
    const char *service = site_text(r->object, "spec.serviceName");
    const json_t *seen =
        is_kind(r->object, "StatefulSet") ? plan_seen(r->p, "Service", service) : NULL;
    json_t *original;

    if (is_kind(r->object, "StatefulSet") && !seen) {
        tell(r, "there is no Service \"%s\", which spec.serviceName names", service);
        return false;
    }
    read_ports(r);
    if (json_array_size(r->ports) == 0 && seen) {
        original = adopt_original(seen);
        service_ports(r, json_object_get(original, "ports"));
        json_decref(original);
    } else if (json_array_size(r->ports) == 0) {
        container_ports(r);
    }
    if (json_array_size(r->ports) == 0 && strcmp(note(r, PROXY), "http") == 0)
        add_port(r, 80, 80);
    if (json_array_size(r->ports) == 0)
        tell(r, "no port is known: say it with the annotation %s", PORT);
    return json_array_size(r->ports) > 0;
}

// --------------------------------------------------------------------------------------- targets

// Takes `reference`; the ports are those found before.
static json_t *target_of(const struct reading *r, const char *how, const char *reference)
{
    return json_pack("{s:s, s:s, s:O}", "name", site_text(r->object, "metadata.name"), how,
                     reference, "targetPorts", r->target);
}

// Of pods that a workload makes. NULL: they cannot be told from others.
static json_t *workload_target(struct reading *r)
{
    char *selector = annotated_text(site_get(r->object, "spec.selector.matchLabels"));
    json_t *target = NULL;

    if (!selector[0])
        tell(r, "spec.selector.matchLabels is empty");
    else if (set_ports(r))
        target = target_of(r, "selector", selector);
    free(selector);
    return target;
}

static bool has_port(const json_t *list, json_int_t port)
{
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)list, i, one)
    {
        if (json_integer_value(json_object_get(one, "port")) == port)
            return true;
    }
    return false;
}

static void set_target(struct reading *r, const json_t *port, json_int_t target)
{
    char *key = str_fmt("%lld", (long long)json_integer_value(port));

    json_object_set_new(r->target, key, json_integer(target));
    free(key);
}

// At the other Service it is its ports that are reached: the only one, or the same ones. When
// nothing is known of it, the same ones.
static bool fit_ports(struct reading *r, const char *name)
{
    const json_t *other = strchr(name, '.') ? NULL : plan_seen(r->p, "Service", name);
    json_t *original = other ? adopt_original(other) : NULL, *port;
    const json_t *theirs = json_object_get(original, "ports");
    size_t count = json_array_size(r->ports), i;
    bool is_single = count == 1 && json_array_size(theirs) == 1, fits = true;

    json_array_foreach(r->ports, i, port)
    {
        const json_t *there = is_single ? json_object_get(json_array_get(theirs, 0), "port") : port;

        fits &= !other || is_single || has_port(theirs, json_integer_value(port));
        set_target(r, port, json_integer_value(there));
    }
    fits &= !other || json_array_size(theirs) == count;
    json_decref(original);
    if (!fits)
        tell(r, "%s: incompatible number of ports at Service \"%s\"", TARGET, name);
    return fits;
}

// *target NULL: it has none. False: it is of no use.
static bool service_target(struct reading *r, json_t **target)
{
    json_t *original = adopt_original(r->object);
    char *selector = annotated_text(json_object_get(original, "selector"));
    const char *other = note(r, TARGET);
    bool is_fine = true;

    service_ports(r, json_object_get(original, "ports"));
    if (json_array_size(r->ports) == 0) {
        tell(r, "it has no port");
        is_fine = false;
    } else if (has_note(r, INGRESS_ONLY)) {
        *target = NULL;
    } else if (other[0]) {
        is_fine = fit_ports(r, other);
        *target = is_fine ? target_of(r, "service", other) : NULL;
    } else if (!selector[0]) {
        tell(r, "it has neither a selector nor the annotation %s", TARGET);
        is_fine = false;
    } else {
        *target = target_of(r, "selector", selector);
    }
    free(selector);
    json_decref(original);
    return is_fine;
}

// ----------------------------------------------------------------------------------- definitions

static const char *ingress_of(struct reading *r)
{
    static const char *const words[] = {"Always", "Never", NULL};
    const char *text = note(r, INGRESS);

    if (!text[0] || is_headless(r) || is_kind(r->object, "DaemonSet"))
        return "";
    for (size_t i = 0; words[i]; i++)
        if (str_is_nocase(str_of(text), words[i]))
            return words[i];
    tell(r, "%s: \"%s\" is neither Always nor Never; it is passed over", INGRESS, text);
    return "";
}

static void put_pairs(const struct reading *r, json_t *definition, const char *member,
                      const char *key)
{
    json_t *pairs = annotated_pairs(note(r, key));

    if (json_object_size(pairs) > 0)
        json_object_set(definition, member, pairs);
    json_decref(pairs);
}

static void put_headless(const struct reading *r, json_t *definition)
{
    static const char *const texts[][2] = {{"cpuRequest", "skupper.io/cpu-request"},
                                           {"memoryRequest", "skupper.io/memory-request"},
                                           {"cpuLimit", "skupper.io/cpu-limit"},
                                           {"memoryLimit", "skupper.io/memory-limit"}};
    json_t *replicas = (json_t *)(uintptr_t)site_get(r->object, "spec.replicas");
    json_t *h = json_pack("{s:s, s:I, s:O}", "name", site_text(r->object, "metadata.name"), "size",
                          replicas ? json_integer_value(replicas) : 1, "targetPorts", r->target);

    put_pairs(r, h, "affinity", "skupper.io/affinity");
    put_pairs(r, h, "antiAffinity", "skupper.io/anti-affinity");
    put_pairs(r, h, "nodeSelector", "skupper.io/node-selector");
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (note(r, texts[i][1])[0])
            json_object_set_new(h, texts[i][0], json_string(note(r, texts[i][1])));
    json_object_set_new(definition, "headless", h);
}

static void put_tls(const struct reading *r, json_t *definition)
{
    if (!is_kind(r->object, "Deployment") && !is_kind(r->object, "Service"))
        return;
    if (note(r, TLS_CERT)[0])
        json_object_set_new(definition, "tlsCredentials", json_string(note(r, TLS_CERT)));
    if (note(r, TLS_TRUST)[0])
        json_object_set_new(definition, "tlsCertAuthority", json_string(note(r, TLS_TRUST)));
}

// Takes `target`, which may be NULL.
static json_t *define(struct reading *r, const char *address, json_t *target)
{
    json_t *d =
        json_pack("{s:s, s:s, s:O, s:s, s:[]}", "address", address, "protocol", note(r, PROXY),
                  "ports", r->ports, "exposeIngress", ingress_of(r), "targets");

    if (is_headless(r))
        put_headless(r, d);
    put_pairs(r, d, "labels", LABELS);
    put_pairs(r, d, "annotations", ANNOTATIONS);
    put_tls(r, d);
    if (target)
        json_array_append_new(json_object_get(d, "targets"), target);
    json_object_set_new(d, "origin", json_string("annotation"));
    return d;
}

static const char *address_of(const struct reading *r)
{
    const char *own = is_headless(r) ? site_text(r->object, "spec.serviceName")
                                     : site_text(r->object, "metadata.name");
    const char *said = note(r, ADDRESS);

    return said[0] ? said : own;
}

static bool is_in_order(struct reading *r)
{
    const char *proxy = note(r, PROXY), *address = address_of(r);
    bool is_http = strcmp(proxy, "http") == 0;

    if (!is_http && strcmp(proxy, "tcp") != 0 && strcmp(proxy, "http2") != 0)
        tell(r, "%s: \"%s\" is not one of tcp, http, http2", PROXY, proxy);
    else if (!annotated_is_address(address))
        tell(r, "%s: \"%s\" is no name for a Service", ADDRESS, address);
    else if (is_headless(r) && strcmp(address, site_text(r->object, "spec.serviceName")) != 0)
        tell(r, "%s: it has to be \"%s\", the name of the headless Service", ADDRESS,
             site_text(r->object, "spec.serviceName"));
    else if (is_http && (note(r, TLS_CERT)[0] || note(r, TLS_TRUST)[0]))
        tell(r, "%s: there is no TLS with http", note(r, TLS_CERT)[0] ? TLS_CERT : TLS_TRUST);
    else
        return true;
    return false;
}

// The definition of one object; NULL: there is none, and if that is a mistake it is told.
static json_t *read_one(struct reading *r)
{
    json_t *target = NULL;

    if (!is_in_order(r))
        return NULL;
    if (is_kind(r->object, "Service"))
        return service_target(r, &target) ? define(r, address_of(r), target) : NULL;
    target = workload_target(r);
    return target ? define(r, address_of(r), target) : NULL;
}

// Has it an annotation that counts?
static bool is_annotated(const json_t *object)
{
    static const char *const kinds[] = {"DaemonSet", "Deployment", "Service", "StatefulSet", NULL};
    bool is_known = false;

    for (size_t i = 0; kinds[i]; i++)
        is_known |= is_kind(object, kinds[i]);
    return is_known && json_object_get(site_get(object, "metadata.annotations"), PROXY) &&
           !site_get(object, "metadata.deletionTimestamp") &&
           strcmp(annotation(object, CONTROLLED), "true") != 0;
}

// Whether a further object can be of the service: then its target is added.
static void join(struct reading *r, json_t *definition, const json_t *more)
{
    json_t *targets = json_object_get(definition, "targets"), *new, *one;
    size_t i;

    if (strcmp(site_text(definition, "protocol"), site_text(more, "protocol")) != 0 ||
        !json_equal(json_object_get(definition, "ports"), json_object_get(more, "ports"))) {
        tell(r, "the service \"%s\" has another protocol or other ports, as an older object says",
             site_text(definition, "address"));
        return;
    }
    new = json_array_get(json_object_get(more, "targets"), 0);
    json_array_foreach(targets, i, one)
    {
        if (strcmp(site_text(one, "name"), site_text(new, "name")) == 0)
            return;
    }
    if (new)
        json_array_append(targets, new);
}

static int by_age(const void *left, const void *right)
{
    const json_t *a = *(const json_t *const *)left, *b = *(const json_t *const *)right;
    int order = strcmp(site_text(a, "metadata.creationTimestamp"),
                       site_text(b, "metadata.creationTimestamp"));

    if (order == 0)
        order = strcmp(site_text(a, "kind"), site_text(b, "kind"));
    return order ? order : strcmp(site_text(a, "metadata.name"), site_text(b, "metadata.name"));
}

static void add_object(const struct planning *p, const json_t *object, json_t *definitions,
                       json_t *told, json_t *wrong)
{
    struct reading r = {.p = p,
                        .object = object,
                        .key =
                            site_key(site_text(object, "kind"), site_text(object, "metadata.name")),
                        .wrong = wrong,
                        .ports = json_array(),
                        .target = json_object()};
    json_t *d = read_one(&r);
    const char *address = site_text(d, "address");

    if (d && json_object_get(definitions, address)) {
        join(&r, json_object_get(definitions, address), d);
    } else if (d) {
        json_object_set(definitions, address, d);
        json_object_set_new(told, address, json_string(r.key));
    }
    json_decref(d);
    json_decref(r.ports);
    json_decref(r.target);
    free(r.key);
}

json_t *annotated_read(const struct planning *p, json_t *told, json_t *wrong)
{
    const json_t **list = xcalloc(p->count + 1, sizeof(*list));
    json_t *definitions = json_object();
    size_t count = 0;

    for (size_t i = 0; i < p->count; i++)
        if (is_annotated(p->seen[i]))
            list[count++] = p->seen[i];
    if (count > 0)
        qsort(list, count, sizeof(*list), by_age);
    for (size_t i = 0; i < count; i++)
        add_object(p, list[i], definitions, told, wrong);
    free(list);
    return definitions;
}
