// SPDX-License-Identifier: Apache-2.0
// Resources as text into the model of a site: nothing breaks it; the order in which they stand does
// not matter; a router accepts every configuration; and equal ones have no difference. A document
// of the kind Facts is taken for what is observed.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/yaml.h"
#include "mgmt/mgmt.h"
#include "site/site.h"

static void take_facts(struct site_facts *f, const json_t *doc)
{
    f->hosts = json_object_get(doc, "hosts");
    f->ports = json_object_get(doc, "ports");
    f->certificates = json_object_get(doc, "certificates");
    f->entities = json_object_get(doc, "entities");
    f->network = json_object_get(doc, "network");
    f->shared = json_object_get(doc, "shared");
    f->grants = json_object_get(doc, "grants");
    f->tokens = json_object_get(doc, "tokens");
    f->previous = json_object_get(doc, "previous");
}

static json_t *all_of(const struct site_wanted *w)
{
    return json_pack("[O, O, O, O, O, O, O, O, O, O]", w->resources, w->problems, w->router,
                     w->certificates, w->ports, w->endpoints, w->static_links, w->announce,
                     w->services, w->management);
}

static void check_configuration(const json_t *router)
{
    char *text = json_dumps(router, JSON_COMPACT);
    struct mgmt_config *config = NULL;
    struct why why = {""};
    int err = mgmt_config_parse("fuzz", str_of(text), NULL, &config, &why);

    if (err < 0) {
        fprintf(stderr, "%s\n%s\n", why.text, text);
        abort();
    }
    mgmt_config_free(config);
    free(text);
}

static void check(const struct site_input *inputs, const struct site_input *reversed, size_t count,
                  const struct site_facts *facts)
{
    struct site_wanted one, other;
    json_t *a, *b, *ops;
    bool restart;

    site_derive(inputs, count, facts, &one);
    site_derive(reversed, count, facts, &other);
    a = all_of(&one);
    b = all_of(&other);
    assert(a && b && json_equal(a, b));
    check_configuration(one.router);
    ops = site_config_difference(one.router, other.router, &restart);
    assert(json_array_size(ops) == 0 && !restart);
    json_decref(ops);
    json_decref(a);
    json_decref(b);
    site_wanted_free(&one);
    site_wanted_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct site_facts facts = {.platform = &site_linux,
                               .namespace = "default",
                               .version = "2.0",
                               .site_id = "id",
                               .router_suffix = "1",
                               .base = "/b"};
    struct yaml_docs *docs = NULL;
    struct site_input *inputs, *reversed;
    size_t count = 0, all;

    if (yaml_docs_parse("fuzz", (struct str){(const char *)data, len}, &docs, NULL) < 0)
        return 0;
    all = yaml_docs_count(docs);
    inputs = xcalloc(all + 1, sizeof(*inputs));
    reversed = xcalloc(all + 1, sizeof(*reversed));
    for (size_t i = 0; i < all; i++) {
        json_t *doc = yaml_docs_at(docs, i);

        if (str_is(str_of(site_text(doc, "kind")), "Facts"))
            take_facts(&facts, doc);
        else
            inputs[count++].value = doc;
    }
    for (size_t i = 0; i < count; i++)
        reversed[i] = inputs[count - 1 - i];
    check(inputs, reversed, count, &facts);
    free(inputs);
    free(reversed);
    yaml_docs_free(docs);
    return 0;
}
