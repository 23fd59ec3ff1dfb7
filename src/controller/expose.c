// SPDX-License-Identifier: Apache-2.0
// The server of AccessGrants made reachable: a CA for it and a SecuredAccess that leads to this
// controller's own pod, in its own namespace. They belong to what the pod belongs to, and go with
// it. All the rest (Service, certificate, endpoints) follows as for any SecuredAccess.
//
// The pod is asked for, then what is missing or different is written. What fails is tried again
// after pauses that grow; nothing here waits.
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "controller/shell.h"

enum { CALL_MS = 5000, AGAIN_MIN_MS = 1000, AGAIN_MAX_MS = 60000 };
static const char CA[] = "skupper-grant-server-ca";

struct exposing {
    struct controller *c;
    size_t asked;     // requests without an answer
    bool is_looking;  // the request is for the pod
    bool is_done;     // all was written
    int64_t pause_ms; // before it is tried once more; 0: nothing went wrong
    struct net_timer again;
};

// Owners by the four fields that say who they are.
static json_t *owners_of(const json_t *pod)
{
    json_t *list = json_array(), *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)site_get(pod, "metadata.ownerReferences"), i, one)
    {
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", site_text(one, "apiVersion"),
                            "kind", site_text(one, "kind"), "name", site_text(one, "name"), "uid",
                            site_text(one, "uid")));
    }
    return list;
}

// All pods of the Deployment, not those of one revision.
static json_t *selector_of(const json_t *pod)
{
    json_t *labels = json_deep_copy(site_get(pod, "metadata.labels"));

    if (!labels)
        return json_object();
    json_object_del(labels, "pod-template-hash");
    return labels;
}

static json_t *object(const json_t *pod, const char *kind, const char *name, json_t *take_spec)
{
    return json_pack("{s:s, s:s, s:{s:s, s:o}, s:o}", "apiVersion", SKUPPER_API, "kind", kind,
                     "metadata", "name", name, "ownerReferences", owners_of(pod), "spec",
                     take_spec);
}

static json_t *authority(const json_t *pod)
{
    return object(pod, "Certificate", CA,
                  json_pack("{s:s, s:s, s:b}", "ca", "", "subject", CA, "signing", 1));
}

static json_t *access_to(const json_t *pod, const struct controller_opts *opts)
{
    json_int_t port = strtoll(opts->grant_port, NULL, 10);

    return object(pod, "SecuredAccess", GRANT_ACCESS,
                  json_pack("{s:o, s:s, s:s, s:[{s:s, s:I, s:I, s:s}]}", "selector",
                            selector_of(pod), "issuer", CA, "certificate", opts->grant_credentials,
                            "ports", "name", "https", "port", port, "targetPort", port, "protocol",
                            "TCP"));
}

static bool is_same(const json_t *seen, const json_t *wanted)
{
    json_t *owners = owners_of(seen);
    bool is = json_equal(owners, site_get(wanted, "metadata.ownerReferences")) &&
              json_equal(json_object_get(seen, "spec"), json_object_get(wanted, "spec"));

    json_decref(owners);
    return is;
}

// What stands there under the name is taken over, with whatever else it has.
static json_t *renewed(const json_t *seen, const json_t *wanted)
{
    json_t *body = json_deep_copy(seen);

    json_object_set(body, "spec", json_object_get(wanted, "spec"));
    json_object_set(json_object_get(body, "metadata"), "ownerReferences",
                    (json_t *)(uintptr_t)site_get(wanted, "metadata.ownerReferences"));
    return body;
}

static void ask(struct exposing *e, struct kube_request r)
{
    r.ns = e->c->settings.ns;
    r.timeout_ms = CALL_MS;
    r.user = call_new(e->c, (struct call){.type = CALL_EXPOSING});
    e->asked++;
    kube_send(e->c->kube, &r);
}

static void ensure(struct exposing *e, json_t *take_wanted)
{
    const struct kube_kind *kind = kube_kind_of(take_wanted);
    struct kube_watch *w = watch_of(e->c, site_text(take_wanted, "kind"));
    json_t *seen =
        w ? kube_watch_get(w, e->c->settings.ns, site_text(take_wanted, "metadata.name")) : NULL;
    json_t *body;

    if (!seen) {
        ask(e, (struct kube_request){.verb = KUBE_CREATE, .kind = kind, .body = take_wanted});
    } else if (!is_same(seen, take_wanted)) {
        body = renewed(seen, take_wanted);
        ask(e, (struct kube_request){.verb = KUBE_UPDATE, .kind = kind, .body = body});
        json_decref(body);
    }
    json_decref(seen);
    json_decref(take_wanted);
}

static void failed(struct exposing *e, const char *words)
{
    if (e->pause_ms == 0)
        log_write(LOG_AGENT, LOG_ERROR, "tokens cannot be redeemed: %s", words);
    e->pause_ms = e->pause_ms > 0 ? 2 * e->pause_ms : AGAIN_MIN_MS;
    if (e->pause_ms > AGAIN_MAX_MS)
        e->pause_ms = AGAIN_MAX_MS;
    net_timer_set(e->c->loop, &e->again, mono_add_ms(net_loop_now(e->c->loop), e->pause_ms));
}

static void have_pod(struct exposing *e, const struct kube_answer *a)
{
    struct why why = a->why;

    e->is_looking = false;
    if (a->result == KUBE_OK) {
        ensure(e, authority(a->value));
        ensure(e, access_to(a->value, &e->c->opts));
        return;
    }
    if (a->result == KUBE_NOT_FOUND)
        why_set(&why,
                "the pod \"%s\" of this controller is not in the namespace \"%s\": HOSTNAME "
                "must name it, or say with --grant-server-base-url where others reach it",
                e->c->settings.host_name ? e->c->settings.host_name : "", e->c->settings.ns);
    failed(e, why.text);
}

void exposing_answer(struct exposing *e, const struct kube_answer *a)
{
    bool is_behind = a->result == KUBE_EXISTS || a->result == KUBE_CONFLICT;

    e->asked--;
    if (e->is_looking)
        have_pod(e, a);
    else if (is_behind) // the cache is: it is looked at again in a moment
        net_timer_set(e->c->loop, &e->again, mono_add_ms(net_loop_now(e->c->loop), AGAIN_MIN_MS));
    else if (a->result != KUBE_OK)
        failed(e, a->why.text);
    if (e->asked == 0 && e->again.timer.place == 0) {
        e->is_done = true;
        e->pause_ms = 0;
    }
}

void exposing_look(struct exposing *e)
{
    struct kube_watch *w = watch_of(e->c, "SecuredAccess");
    json_t *access = w ? kube_watch_get(w, e->c->settings.ns, GRANT_ACCESS) : NULL;
    bool is_there = access != NULL;

    json_decref(access);
    if (e->asked > 0 || e->again.timer.place != 0 || (is_there && e->is_done))
        return;
    e->is_done = false;
    e->is_looking = true;
    ask(e, (struct kube_request){.verb = KUBE_GET,
                                 .kind = kube_kind("v1", "Pod"),
                                 .name = e->c->settings.host_name ? e->c->settings.host_name : ""});
}

static void look_again(void *user, struct mono now)
{
    (void)now;
    exposing_look(user);
}

struct exposing *exposing_new(struct controller *c)
{
    struct exposing *e = xcalloc(1, sizeof(*e));

    *e = (struct exposing){.c = c, .again = {.fire = look_again, .user = e}};
    return e;
}

void exposing_free(struct exposing *e)
{
    if (!e)
        return;
    net_timer_cancel(e->c->loop, &e->again);
    free(e);
}
