// SPDX-License-Identifier: Apache-2.0
// The rules by which one of several processes holds a Lease. Pure.
//
// Who waits reads it every 2 s, and takes it when it has not changed for as long as its holder
// promised, by the clock of who waits. Who holds it writes it every 2 s, over the version that it
// knows, so that of two who write one fails. It stops holding it 10 s after it *sent* the last
// write that succeeded: 5 s before anybody else may take it.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "kube/inside.h"

enum {
    DURATION_S = 15,
    DEADLINE_MS = 10 * 1000,
    EACH_MS = 2000,
    JITTER_MS = 400,
};

static const char *spec_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(json_object_get(object, "spec"), key));

    return text ? text : "";
}

static int64_t spec_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(object, "spec"), key));
}

void lease_init(struct lease *l, const char *ns, const char *name, const char *identity,
                struct mono now)
{
    *l = (struct lease){.ns = ns,
                        .name = name,
                        .identity = identity,
                        .holder = xstrdup(""),
                        .renewed = {INT64_MIN},
                        .next = now};
}

void lease_fini(struct lease *l)
{
    json_decref(l->object);
    json_decref(l->owner);
    free(l->holder);
    *l = (struct lease){0};
}

void lease_own(struct lease *l, const json_t *owner)
{
    json_decref(l->owner);
    l->owner = json_deep_copy(owner);
}

// When what we hold is ours no more.
static struct mono limit(const struct lease *l)
{
    return l->is_held ? mono_add_ms(l->renewed, DEADLINE_MS) : MONO_NEVER;
}

struct mono lease_deadline(const struct lease *l)
{
    return l->asked != LEASE_NOTHING || l->is_released ? limit(l) : mono_min(l->next, limit(l));
}

static void set_held(struct lease *l, bool is_held)
{
    if (l->is_held != is_held)
        l->tell = !l->tell; // twice is as if nothing had been
    l->is_held = is_held;
}

// -------------------------------------------------------------------------------------- writing

static void set_time(json_t *spec, const char *key, int64_t epoch_us)
{
    time_t s = epoch_us / 1000000;
    char day[32] = "", text[48];
    struct tm tm;

    if (gmtime_r(&s, &tm))
        strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof(text), "%s.%06dZ", day, (int)(epoch_us % 1000000));
    json_object_set_new(spec, key, json_string(text));
}

static json_t *body_of(const struct lease *l, int64_t epoch_us)
{
    json_t *body =
        l->object ? json_deep_copy(l->object)
                  : json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "coordination.k8s.io/v1",
                              "kind", "Lease", "metadata", "namespace", l->ns, "name", l->name);
    json_t *spec = json_object_get(body, "spec"), *meta = json_object_get(body, "metadata");
    bool is_ours = strcmp(l->holder, l->identity) == 0;

    if (!json_is_object(spec)) {
        spec = json_object();
        json_object_set_new(body, "spec", spec);
    }
    json_object_del(meta, "managedFields");
    if (l->owner && !json_object_get(meta, "ownerReferences"))
        json_object_set_new(meta, "ownerReferences", json_pack("[O]", l->owner));
    json_object_set_new(spec, "holderIdentity", json_string(l->is_releasing ? "" : l->identity));
    json_object_set_new(spec, "leaseDurationSeconds",
                        json_integer(l->is_releasing ? 1 : DURATION_S));
    if (!is_ours) {
        set_time(spec, "acquireTime", epoch_us);
        json_object_set_new(
            spec, "leaseTransitions",
            json_integer(l->object ? spec_number(l->object, "leaseTransitions") + 1 : 0));
    }
    set_time(spec, "renewTime", epoch_us);
    return body;
}

static bool may_take(const struct lease *l, struct mono now)
{
    return l->holder[0] == '\0' || strcmp(l->holder, l->identity) == 0 ||
           !mono_before(now, mono_add_ms(l->changed, l->duration_ms));
}

enum lease_wish lease_tick(struct lease *l, struct mono now, int64_t epoch_us, json_t **body)
{
    if (l->is_held && !mono_before(now, limit(l)))
        set_held(l, false);
    if (l->asked != LEASE_NOTHING || l->is_released || mono_before(now, l->next))
        return LEASE_NOTHING;
    l->sent = now;
    // Of one that was deleted the holder does not know yet, so its time counts on.
    if (!(l->object || l->is_absent) || !may_take(l, now))
        l->asked = LEASE_GET;
    else
        l->asked = l->is_absent ? LEASE_CREATE : LEASE_UPDATE;
    if (l->asked != LEASE_GET)
        *body = body_of(l, epoch_us);
    return l->asked;
}

// -------------------------------------------------------------------------------------- answers

static void forget(struct lease *l)
{
    json_decref(l->object);
    l->object = NULL;
    l->is_absent = false;
}

// The lease as it is now.
static void observe(struct lease *l, json_t *take_object, struct mono now)
{
    static const char *const texts[] = {"holderIdentity", "renewTime", "acquireTime"};
    bool has_changed = !l->object;
    int64_t duration_s = spec_number(take_object, "leaseDurationSeconds");

    for (size_t i = 0; l->object && i < sizeof(texts) / sizeof(texts[0]); i++)
        has_changed |=
            strcmp(spec_text(l->object, texts[i]), spec_text(take_object, texts[i])) != 0;
    if (has_changed)
        l->changed = now;
    forget(l);
    l->object = take_object;
    free(l->holder);
    l->holder = xstrdup(spec_text(l->object, "holderIdentity"));
    l->duration_ms = (duration_s > 0 && duration_s < 86400 ? duration_s : DURATION_S) * 1000;
}

static void found(struct lease *l, json_t *take_object, struct mono now)
{
    bool is_ours;

    observe(l, take_object, now);
    is_ours = strcmp(l->holder, l->identity) == 0 && !l->is_releasing;
    if (is_ours && l->asked != LEASE_GET)
        l->renewed = l->sent;
    // That somebody of our name held it, before we began, says nothing of us.
    set_held(l, is_ours && l->renewed.ns != INT64_MIN &&
                    mono_before(now, mono_add_ms(l->renewed, DEADLINE_MS)));
    if (!l->is_held && may_take(l, now))
        l->next = now;
}

void lease_answered(struct lease *l, struct kube_answer *a, struct mono now, struct rng *rng)
{
    l->next = mono_add_ms(now, EACH_MS - JITTER_MS / 2 + rng_below(rng, JITTER_MS));
    if (a->result == KUBE_OK && json_is_object(a->value)) {
        found(l, a->value, now);
        a->value = NULL;
    } else if (a->result == KUBE_NOT_FOUND) {
        forget(l);
        l->is_absent = true;
        l->is_released = l->is_releasing; // by somebody else
        if (l->asked == LEASE_GET && may_take(l, now))
            l->next = now;
    } else if (a->result == KUBE_CONFLICT || a->result == KUBE_EXISTS) {
        forget(l); // somebody else wrote
    }
    l->asked = LEASE_NOTHING;
    // With its rights gone, as when all is uninstalled, nobody is left who could give it up.
    if (l->is_releasing && (strcmp(l->holder, l->identity) != 0 || a->result == KUBE_FORBIDDEN ||
                            a->result == KUBE_UNAUTHORIZED))
        l->is_released = true;
}

void lease_release(struct lease *l, struct mono now)
{
    set_held(l, false);
    l->is_releasing = true;
    l->next = now;
    if (l->asked == LEASE_NOTHING && strcmp(l->holder, l->identity) != 0)
        l->is_released = true;
}
