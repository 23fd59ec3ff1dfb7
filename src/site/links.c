// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "site/site.h"

// Secret and Links, as they travel from one site to another.

void site_links_fini(struct site_links *l)
{
    json_decref(l->secret);
    json_decref(l->links);
    *l = (struct site_links){0};
}

json_t *site_link_new(const char *name, const char *credentials, const json_t *endpoints,
                      int64_t cost)
{
    json_t *spec = json_pack("{s:O, s:s}", "endpoints", endpoints, "tlsCredentials", credentials);

    if (cost > 0)
        json_object_set_new(spec, "cost", json_integer(cost));
    return json_pack("{s:s, s:s, s:{s:s}, s:o}", "apiVersion", "skupper.io/v2alpha1", "kind",
                     "Link", "metadata", "name", name, "spec", spec);
}

// {group: [its endpoints]}
static json_t *by_group(const json_t *endpoints)
{
    json_t *groups = json_object(), *endpoint, *group;
    size_t i;

    json_array_foreach(endpoints, i, endpoint)
    {
        const char *name = site_text(endpoint, "group");

        group = json_object_get(groups, name);
        if (!group) {
            group = json_array();
            json_object_set_new(groups, name, group);
        }
        json_array_append(group, endpoint);
    }
    return groups;
}

// Of one of so many.
static char *link_name(const char *name, size_t index, size_t count)
{
    return count > 1 ? str_fmt("%s-%zu", name, index + 1) : xstrdup(name);
}

bool site_links_make(const char *name, const char *ca, const char *cert, const char *key,
                     const json_t *endpoints, struct site_links *out)
{
    json_t *groups = by_group(endpoints), *group;
    size_t count = json_object_size(groups), number = 0;
    const char *of;

    if (count > 0) {
        out->links = json_array();
        out->secret = site_secret_new(name);
        site_secret_fill(out->secret, ca, cert, key);
    }
    json_object_foreach(groups, of, group)
    {
        char *one = link_name(name, number++, count);

        json_array_append_new(out->links, site_link_new(one, name, group, 0));
        free(one);
    }
    json_decref(groups);
    return count > 0;
}

char *site_links_text(const struct site_links *l)
{
    char *text = xstrdup("");
    json_t *link;
    size_t i;

    if (l->secret) {
        char *secret = yaml_write(l->secret, YAML_BLOCK);

        free(text);
        text = str_fmt("---\n%s", secret);
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
    json_array_foreach(l->links, i, link)
    {
        char *one = yaml_write(link, YAML_BLOCK), *more = str_fmt("%s---\n%s", text, one);

        explicit_bzero(text, strlen(text));
        free(text);
        free(one);
        text = more;
    }
    return text;
}

json_t *site_link_notes(const json_t *secret, const json_t *link)
{
    const json_t *told = site_get(secret, "metadata.annotations"), *cost;
    json_t *notes = told ? json_deep_copy(told) : json_object(), *e;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)site_get(link, "spec.endpoints"), i, e)
    {
        char *host = str_fmt("%s-host", site_text(e, "name"));
        char *port = str_fmt("%s-port", site_text(e, "name"));

        json_object_set(notes, host, json_object_get(e, "host"));
        json_object_set(notes, port, json_object_get(e, "port"));
        free(host);
        free(port);
    }
    cost = site_get(link, "spec.cost");
    if (json_is_integer(cost))
        json_object_set_new(notes, SITE_V1_COST,
                            json_sprintf("%lld", (long long)json_integer_value(cost)));
    return notes;
}

void site_links_set_cost(struct site_links *l, int64_t cost)
{
    json_t *link;
    size_t i;

    if (cost > 0)
        json_array_foreach(l->links, i, link)
            json_object_set_new(json_object_get(link, "spec"), "cost", json_integer(cost));
}

void site_links_rename(struct site_links *l, const char *name)
{
    size_t count = json_array_size(l->links), i;
    json_t *link;

    if (l->secret)
        json_object_set_new(json_object_get(l->secret, "metadata"), "name", json_string(name));
    json_array_foreach(l->links, i, link)
    {
        char *one = link_name(name, i, count);

        json_object_set_new(json_object_get(link, "metadata"), "name", json_string(one));
        json_object_set_new(json_object_get(link, "spec"), "tlsCredentials", json_string(name));
        free(one);
    }
}

// --------------------------------------------------------------------------------------- reading

struct reading {
    const char *source;
    const struct yaml_docs *docs;
    size_t index; // of the document
    struct site_links *out;
    struct why *why;
};

static int fault(const struct reading *r, const char *prefix, const char *path, const char *words)
{
    char *whole = str_fmt("%s%s%s", prefix, prefix[0] && path[0] ? "." : "", path);

    why_set(r->why, "%s:%d: %s%s%s", r->source, yaml_docs_line(r->docs, r->index, whole), whole,
            whole[0] ? ": " : "", words);
    free(whole);
    return ERR_INVALID;
}

// Name, labels and annotations: the rest of metadata is the sender's own business.
static json_t *metadata(const json_t *from)
{
    static const char *const kept[] = {"labels", "annotations"};
    json_t *out = json_pack("{s:s}", "name", site_text(from, "metadata.name"));
    const json_t *old = json_object_get(from, "metadata");

    for (size_t i = 0; i < 2; i++) {
        json_t *map = json_object_get(old, kept[i]);

        if (json_is_object(map) && json_object_size(map) > 0)
            json_object_set_new(out, kept[i], json_copy(map));
    }
    return out;
}

static int take_link(struct reading *r, const char *prefix, const json_t *value)
{
    json_t *spec = json_object_get(value, "spec");
    json_t *link;

    if (!site_is_name(str_of(site_text(value, "metadata.name"))))
        return fault(r, prefix, "metadata.name", "this is no name of a Link");
    if (json_array_size(json_object_get(spec, "endpoints")) == 0)
        return fault(r, prefix, "spec.endpoints", "a Link needs one at least");
    link = json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "skupper.io/v2alpha1", "kind", "Link",
                     "metadata", metadata(value), "spec", json_deep_copy(spec));
    json_array_append_new(r->out->links, link);
    return 0;
}

// Takes over the three keys of `from`. Returns the first that is missing, or NULL.
static const char *fill_secret(json_t *secret, const json_t *from)
{
    static const char *const keys[] = {"ca.crt", "tls.crt", "tls.key"};
    char *values[3];
    const char *missing = NULL;

    for (int i = 0; i < 3; i++) {
        values[i] = site_secret_get(from, keys[i]);
        if (!missing && (!values[i] || !values[i][0]))
            missing = keys[i];
    }
    if (!missing)
        site_secret_fill(secret, values[0], values[1], values[2]);
    for (int i = 0; i < 3; i++) {
        if (values[i])
            explicit_bzero(values[i], strlen(values[i]));
        free(values[i]);
    }
    return missing;
}

static const char *annotation(const json_t *value, const char *key)
{
    const char *text = json_string_value(
        json_object_get(json_object_get(json_object_get(value, "metadata"), "annotations"), key));

    return text ? text : "";
}

static void put_endpoint(json_t *endpoints, const json_t *secret, const char *role)
{
    char *host = str_fmt("%s-host", role), *port = str_fmt("%s-port", role);

    if (annotation(secret, host)[0] && annotation(secret, port)[0])
        json_array_append_new(endpoints, json_pack("{s:s, s:s, s:s}", "name", role, "host",
                                                   annotation(secret, host), "port",
                                                   annotation(secret, port)));
    free(host);
    free(port);
}

// A v1 certificate token says in annotations of its Secret where to go. The Secret that is kept
// says so no more: there is a Link for that.
static void take_v1_link(struct reading *r, const json_t *secret)
{
    static const char *const told[] = {"inter-router-host", "inter-router-port", "edge-host",
                                       "edge-port", "skupper.io/cost"};
    json_t *kept = json_object_get(r->out->secret, "metadata");
    const char *name = site_text(secret, "metadata.name");
    json_t *endpoints = json_array();
    int64_t cost = 0;

    put_endpoint(endpoints, secret, "inter-router");
    put_endpoint(endpoints, secret, "edge");
    site_number(str_of(annotation(secret, "skupper.io/cost")), 1, INT32_MAX, &cost);
    if (json_array_size(endpoints) > 0)
        json_array_append_new(r->out->links, site_link_new(name, name, endpoints, cost));
    json_decref(endpoints);
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        json_object_del(json_object_get(kept, "annotations"), told[i]);
    if (json_object_size(json_object_get(kept, "annotations")) == 0)
        json_object_del(kept, "annotations");
    json_object_del(json_object_get(kept, "labels"), "skupper.io/type");
    if (json_object_size(json_object_get(kept, "labels")) == 0)
        json_object_del(kept, "labels");
}

static int take_secret(struct reading *r, const char *prefix, const json_t *value)
{
    const char *name = site_text(value, "metadata.name"), *missing;
    json_t *secret;

    if (!site_is_name(str_of(name)))
        return fault(r, prefix, "metadata.name", "this is no name of a Secret");
    if (r->out->secret)
        return fault(r, prefix, "", "a second Secret: the links of one text share one");
    secret = site_secret_new(name);
    json_object_set_new(secret, "metadata", metadata(value));
    missing = fill_secret(secret, value);
    if (missing) {
        char *words = str_fmt("%s is missing, or no base64", missing);

        fault(r, prefix, "data", words);
        free(words);
        json_decref(secret);
        return ERR_INVALID;
    }
    r->out->secret = secret;
    take_v1_link(r, value);
    return 0;
}

static int take(struct reading *r, const char *prefix, const json_t *value)
{
    const char *kind = site_text(value, "kind");

    if (strcmp(kind, "Secret") == 0)
        return take_secret(r, prefix, value);
    return strcmp(kind, "Link") == 0 ? take_link(r, prefix, value) : 0;
}

static int take_document(struct reading *r, const json_t *value)
{
    const json_t *items = json_object_get(value, "items"), *item;
    int err = 0;

    if (strcmp(site_text(value, "kind"), "List") != 0)
        return take(r, "", value);
    for (size_t i = 0; i < json_array_size(items) && err == 0; i++) {
        char *prefix = str_fmt("items[%zu]", i);

        item = json_array_get(items, i);
        err = take(r, prefix, item);
        free(prefix);
    }
    return err;
}

// Whether what was found fits together.
static int check(const char *source, const struct site_links *l, struct why *why)
{
    const char *secret = site_text(l->secret, "metadata.name");
    json_t *link;
    size_t i;

    if (json_array_size(l->links) == 0) {
        why_set(why, "%s:1: there is no Link in it%s", source,
                l->secret ? ", only a Secret that does not say where to go" : "");
        return ERR_INVALID;
    }
    json_array_foreach(l->links, i, link)
    {
        const char *used = site_text(link, "spec.tlsCredentials");

        if (!l->secret || strcmp(used, secret) == 0)
            continue;
        why_set(why, "%s:1: Link %s uses the Secret '%s', but '%s' is the one that is there",
                source, site_text(link, "metadata.name"), used, secret);
        return ERR_INVALID;
    }
    return 0;
}

int site_links_read(const char *source, struct str text, struct site_links *out, struct why *why)
{
    struct site_links found = {.links = json_array()};
    struct yaml_docs *docs = NULL;
    struct reading r = {.source = source, .out = &found, .why = why};
    int err = yaml_docs_parse(source, text, &docs, why);

    r.docs = docs;
    for (; err == 0 && r.index < yaml_docs_count(docs); r.index++)
        err = take_document(&r, yaml_docs_at(docs, r.index));
    if (err == 0)
        err = check(source, &found, why);
    yaml_docs_free(docs);
    if (err == 0)
        *out = found;
    else
        site_links_fini(&found);
    return err;
}
