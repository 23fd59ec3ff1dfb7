// SPDX-License-Identifier: Apache-2.0
// From the input of a namespace to everything wanted, with the ports and certificates that it takes
// to say so. Beside a router (agent.c) what is observed joins in; a bundle is made without.
#include <stdlib.h>
#include <string.h>

#include "base/fold.h"
#include "base/log.h"
#include "base/wall.h"
#include "host/inside.h"

enum { ROUNDS_MAX = 4 }; // ports and certificates change what is derived

int render_make_directories(const struct host_paths *p, struct why *why)
{
    static const char *const names[] = {"input/resources", "input/certs",       "input/issuers",
                                        "runtime/router",  "runtime/resources", "runtime/certs",
                                        "runtime/issuers", "runtime/links",     "runtime/shared",
                                        "runtime/proxies", "internal/pids"};
    int err = 0;

    for (size_t i = 0; !err && i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = host_path(p, "%s", names[i]);

        err = host_make_directory(path, why);
        free(path);
    }
    return err;
}

int render_init(struct render *r, const struct host_paths *paths, const char *version,
                struct why *why)
{
    char *resources = host_path(paths, "input/resources");

    *r = (struct render){.paths = paths,
                         .version = version,
                         .certificates = json_object(),
                         .certificates_for = json_null()};
    input_init(&r->input, resources);
    free(resources);
    return memory_open(&r->memory, paths, why);
}

void render_fini(struct render *r)
{
    if (r->has_wanted)
        site_wanted_free(&r->wanted);
    input_fini(&r->input);
    memory_close(&r->memory);
    json_decref(r->certificates);
    json_decref(r->certificates_for);
    json_decref(r->hosts);
    *r = (struct render){0};
}

void render_applied(struct render *r)
{
    json_t **const done[] = {&r->wanted.router, &r->wanted.services};

    for (size_t i = 0; i < sizeof(done) / sizeof(done[0]); i++) {
        json_decref(*done[i]);
        *done[i] = NULL;
    }
}

// What is compared with the next time.
void render_rest(struct render *r)
{
    if (r->has_wanted)
        json_fold(&r->wanted.resources);
}

void render_wake(struct render *r)
{
    if (r->has_wanted)
        json_unfold(&r->wanted.resources);
}

static void derive_once(struct render *r, const struct render_inputs *in,
                        const struct render_live *live)
{
    json_t *previous = r->has_wanted ? json_incref(r->wanted.resources) : NULL;
    struct site_facts facts = {
        .platform = &site_linux,
        .namespace = r->paths->ns,
        .version = r->version,
        .site_id = memory_text(&r->memory, "siteId"),
        .router_suffix = memory_text(&r->memory, "routerSuffix"),
        .base = r->paths->shown,
        .now = wall_s(),
        .where = input_where,
        .user = &r->input,
        .hosts = r->hosts,
        .ports = memory_object(&r->memory, "ports"),
        .certificates = r->certificates,
        .router_problem = "",
        .previous = previous,
    };

    if (live)
        live->observe(live->user, &facts);
    if (r->has_wanted)
        site_wanted_free(&r->wanted);
    site_derive(in->list, in->count, &facts, &r->wanted);
    r->has_wanted = true;
    if (live)
        live->observed(live->user, &facts);
    json_decref(previous);
}

static void tell_certificates(const struct render *r, const json_t *facts)
{
    const char *name;
    json_t *fact;

    json_object_foreach((json_t *)(uintptr_t)facts, name, fact)
    {
        const char *error = site_text(fact, "error");
        const char *before = site_text(json_object_get(r->certificates, name), "error");

        if (error[0] && strcmp(before, error) != 0)
            log_write(LOG_AGENT, LOG_ERROR, "certificate %s: %s", name, error);
    }
}

// True when there is something new about certificates.
static bool ensure_certificates(struct render *r, const struct render_inputs *in,
                                const struct render_live *live)
{
    json_t *wishes = json_deep_copy(r->wanted.certificates), *facts;
    bool is_new;

    if (live)
        live->wish(live->user, in, wishes);
    if (!r->certs_due && json_equal(r->certificates_for, wishes)) {
        json_decref(wishes);
        return false;
    }
    r->certs_due = false;
    json_decref(r->certificates_for);
    r->certificates_for = wishes;
    facts = certs_ensure(&r->memory, r->paths, wishes, in->list, in->count, wall_s(), &r->renew_at);
    is_new = !json_equal(facts, r->certificates);
    tell_certificates(r, facts);
    if (is_new && live)
        live->certified(live->user);
    json_decref(r->certificates);
    r->certificates = facts;
    return is_new;
}

void render(struct render *r, const struct render_live *live)
{
    struct site_input *list;
    struct render_inputs in = {.count = input_list(&r->input, &list)};
    struct why why;
    bool again = true;

    in.list = list;
    render_wake(r);
    json_decref(r->hosts);
    r->hosts = memory_hosts();
    for (int round = 0; again && round < ROUNDS_MAX; round++) {
        derive_once(r, &in, live);
        again = memory_choose_ports(&r->memory, r->wanted.ports);
        again |= ensure_certificates(r, &in, live);
        again |= live && live->settle(live->user, &in);
    }
    if (output_proxies(r->paths, r->wanted.router, list, in.count, &why) < 0)
        log_write(LOG_AGENT, LOG_ERROR, "%s", why.text);
    free(list);
}

int host_render(const struct host_paths *paths, const char *version,
                void (*problem)(void *user, const char *words), void *user, struct why *why)
{
    struct render r;
    json_t *one;
    size_t i;
    int err = render_make_directories(paths, why);

    if (err < 0)
        return err;
    err = render_init(&r, paths, version, why);
    if (!err) {
        input_scan(&r.input);
        input_problems(&r.input, problem, user);
        render(&r, NULL);
        json_array_foreach(r.wanted.problems, i, one)
        {
            char *words = render_problem(one);

            problem(user, words);
            free(words);
        }
        err = output_links(paths, r.wanted.static_links, why);
    }
    render_fini(&r);
    return err;
}

char *render_problem(const json_t *problem)
{
    return str_fmt("%s/%s %s: %s", site_text(problem, "kind"), site_text(problem, "name"),
                   site_text(problem, "path"), site_text(problem, "message"));
}
