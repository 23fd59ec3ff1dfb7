// SPDX-License-Identifier: Apache-2.0
// One namespace: something new marks it, a few milliseconds later it is planned, and what the plan
// says is done, statuses last. The next plan waits until every answer is there, and until the
// caches have seen what was written: so nothing is ever done twice.
//
// What the server refuses is told by the resource that wanted it, and tried again after pauses that
// grow. A write that left the object as it was, because the server or somebody else wants it
// otherwise, is not repeated until the object or the plan changes.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wall.h"
#include "controller/shell.h"
#include "pki/pki.h"

enum {
    SETTLE_MS = 10,   // so long after something new, everything is planned
    SETTLE_SHARE = 4, // and so many times what the last plan took: one part of the time is work
    SETTLE_MAX_MS = 250,
    FLIGHT_MAX = 64, // requests at a time
    SEEN_MS = 5000,  // so long the caches may take to see what was written
    RETRY_MIN_MS = 500,
    RETRY_MAX_MS = 60000,
    EVENT_NAME_MAX = 200, // with the time behind it a name of 253 at most
    BEHIND_MAX = 3,       // so often somebody else may be first before it is told
    DAY_MS = 24 * 3600 * 1000,
};

struct space {
    struct controller *c;
    char *ns;
    bool is_marked;
    struct mono marked_at;
    int64_t plan_ms;  // what the last plan took
    json_t *queue;    // operations that wait to be sent
    size_t at;        // the next of them
    size_t in_flight; // requests without an answer
    size_t writing;   // of them those whose outcome a status may tell
    // One of those came to nothing since the last plan; in a way that is told.
    bool has_failed, is_refused;
    json_t *awaited; // {key: resourceVersion that the caches are to have seen, "" gone}
    json_t *refused; // {key: words}
    json_t *behind;  // {key: how often in a row somebody else was first}
    json_t *noted;   // as plan.notes, told
    json_t *checked; // as plan.checked, of the last plan
    json_t *done;    // {"update Service/db": {"digest", "version"}}: writes of the last turn
    struct tokens *tokens;
    int64_t retry_ms; // the next pause; 0: nothing was refused
    struct net_timer plan_timer, retry_timer, seen_timer, due_timer;
};

static bool is_busy(const struct space *s)
{
    return s->in_flight > 0 || s->at < json_array_size(s->queue);
}

// ---------------------------------------------------------------------------------------- marking

void space_settle(struct space *s)
{
    int64_t wait = SETTLE_MS + SETTLE_SHARE * s->plan_ms;

    if (!s->is_marked || !s->c->has_begun || is_busy(s) || json_object_size(s->awaited) > 0)
        return;
    net_timer_set(
        s->c->loop, &s->plan_timer,
        mono_add_ms(net_loop_now(s->c->loop), wait < SETTLE_MAX_MS ? wait : SETTLE_MAX_MS));
}

static void mark(struct space *s)
{
    if (s->is_marked)
        return;
    s->is_marked = true;
    s->marked_at = mono_now();
    s->c->counters.marks++;
}

void space_mark(struct space *s)
{
    if (s->is_marked)
        return;
    mark(s);
    space_settle(s);
}

void spaces_mark(struct controller *c)
{
    size_t at = 0;
    void *s;

    while (map_next(&c->spaces, &at, NULL, &s))
        space_mark(s);
}

void spaces_retry(struct controller *c)
{
    size_t at = 0;
    void *value;

    while (map_next(&c->spaces, &at, NULL, &value)) {
        struct space *s = value;

        net_timer_cancel(c->loop, &s->retry_timer);
        s->retry_ms = 0;
        space_mark(s);
    }
}

// Versions are numbers that grow; one that is none is taken for the newest.
static bool has_reached(const char *version, const char *awaited)
{
    int64_t a, b;

    if (!site_number(str_of(version), 0, INT64_MAX, &a) ||
        !site_number(str_of(awaited), 0, INT64_MAX, &b))
        return true;
    return a >= b;
}

static void seen(struct space *s, const char *key, const char *version)
{
    const char *awaited = json_string_value(json_object_get(s->awaited, key));

    if (awaited &&
        (awaited[0] == '\0' ? version == NULL : version && has_reached(version, awaited)))
        json_object_del(s->awaited, key);
}

void space_event(struct space *s, const json_t *object, bool is_deleted)
{
    char *key = site_key(site_text(object, "kind"), site_text(object, "metadata.name"));

    seen(s, key, is_deleted ? NULL : site_text(object, "metadata.resourceVersion"));
    free(key);
    if (s->is_marked)
        space_settle(s);
    else
        space_mark(s);
}

// ---------------------------------------------------------------------------------------- sending

static void send_next(struct space *s);

static enum kube_verb verb_of(const char *what)
{
    static const struct {
        const char *what;
        enum kube_verb verb;
    } verbs[] = {{"create", KUBE_CREATE},     {"update", KUBE_UPDATE}, {"status", KUBE_UPDATE},
                 {"patch", KUBE_MERGE_PATCH}, {"apply", KUBE_APPLY},   {"delete", KUBE_DELETE}};

    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(verbs[i].what, what) == 0)
            return verbs[i].verb;
    return KUBE_GET;
}

static bool is_status(const json_t *op)
{
    return strcmp(site_text(op, "do"), "status") == 0;
}

static void send_one(struct space *s, json_t *op)
{
    const char *what = site_text(op, "do");
    const json_t *object = json_object_get(op, "object");
    struct call *call = call_new(
        s->c, (struct call){.type = CALL_OPERATION, .space = s, .operation = json_incref(op)});
    struct kube_request r = {.verb = verb_of(what),
                             .kind = kube_kind_of(object),
                             .ns = s->ns,
                             .name = site_text(object, "metadata.name"),
                             .body = object,
                             .user = call};

    if (is_status(op))
        r.subresource = "status";
    if (strcmp(what, "delete") == 0) {
        r.body = NULL;
        r.uid = site_text(object, "metadata.uid");
    }
    s->in_flight++;
    s->writing += !is_status(op);
    s->c->counters.writes++;
    kube_send(s->c->kube, &r);
}

// What a status says is so once the server has taken what is written for it. Where it did not, the
// next plan knows what to say.
static void send_next(struct space *s)
{
    while (s->in_flight < FLIGHT_MAX && s->at < json_array_size(s->queue)) {
        json_t *op = json_array_get(s->queue, s->at);

        if (is_status(op) && s->writing > 0)
            break;
        s->at++;
        if (!is_status(op) || !s->has_failed)
            send_one(s, op);
        else if (s->is_refused)
            mark(s);
    }
    if (s->at == json_array_size(s->queue)) {
        json_array_clear(s->queue);
        s->at = 0;
    }
}

// ----------------------------------------------------------------------------------------- events

// A name for an Event about the object: unique, and no longer than a name may be.
static char *event_name(const char *object, const struct timespec *now)
{
    int len = (int)strnlen(object, EVENT_NAME_MAX);

    while (len > 0 && (object[len - 1] == '.' || object[len - 1] == '-'))
        len--;
    return str_fmt("%.*s.%llx", len, object,
                   (unsigned long long)now->tv_sec * 1000000000ULL +
                       (unsigned long long)now->tv_nsec);
}

static void tell_event(struct space *s, const json_t *event)
{
    struct call *call = call_new(s->c, (struct call){.type = CALL_EVENT});
    const json_t *of = json_object_get(event, "object");
    char time[SITE_TIME_MAX], *name;
    json_t *body;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    site_time_text(now.tv_sec, time);
    name = event_name(site_text(of, "metadata.name"), &now);
    body = json_pack(
        "{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:i,"
        " s:{s:s}}",
        "apiVersion", "v1", "kind", "Event", "metadata", "name", name, "namespace", s->ns,
        "involvedObject", "apiVersion", site_text(of, "apiVersion"), "kind", site_text(of, "kind"),
        "name", site_text(of, "metadata.name"), "namespace", s->ns, "uid",
        site_text(of, "metadata.uid"), "type", site_text(event, "type"), "reason",
        site_text(event, "reason"), "message", site_text(event, "message"), "firstTimestamp", time,
        "lastTimestamp", time, "count", 1, "source", "component", s->c->settings.name);
    kube_send(s->c->kube, &(struct kube_request){.verb = KUBE_CREATE,
                                                 .kind = kube_kind_of(body),
                                                 .ns = s->ns,
                                                 .body = body,
                                                 .user = call});
    s->c->counters.events++;
    json_decref(body);
    free(name);
}

// ---------------------------------------------------------------------------------------- answers

static void retry(struct space *s)
{
    int64_t wait = s->retry_ms > 0 ? s->retry_ms : RETRY_MIN_MS;

    s->retry_ms = 2 * wait < RETRY_MAX_MS ? 2 * wait : RETRY_MAX_MS;
    s->c->counters.retries++;
    if (s->retry_timer.timer.place == 0)
        net_timer_set(s->c->loop, &s->retry_timer, mono_add_ms(net_loop_now(s->c->loop), wait));
}

static char *op_name(const json_t *op)
{
    return str_fmt("%s %s", site_text(op, "do"), site_text(op, "key"));
}

// Apart from the version it was made for.
static void op_digest(const json_t *op, char out[65])
{
    json_t *object = json_deep_copy(json_object_get(op, "object"));
    char *text;

    json_object_del(json_object_get(object, "metadata"), "resourceVersion");
    text = json_dumps(object, JSON_SORT_KEYS | JSON_COMPACT);
    pki_digest(str_of(text), out);
    pki_wipe(text);
    json_decref(object);
}

static void remember(struct space *s, const json_t *op, const char *version)
{
    char *name = op_name(op), digest[65];

    op_digest(op, digest);
    json_object_set_new(s->done, name,
                        json_pack("{s:s, s:s}", "digest", digest, "version", version));
    free(name);
}

// It was done before to the very object that is there now, and did not help.
static bool is_in_vain(const struct space *s, const json_t *op, const char *version)
{
    char *name = op_name(op), digest[65];
    const json_t *before = json_object_get(s->done, name);
    bool is = before && strcmp(site_text(before, "version"), version) == 0;

    if (is) {
        op_digest(op, digest);
        is = strcmp(site_text(before, "digest"), digest) == 0;
    }
    free(name);
    return is;
}

static void await_version(struct space *s, const char *key, const char *version)
{
    const char *slash = strchr(key, '/');
    char *kind = str_dup((struct str){key, (size_t)(slash - key)});
    struct kube_watch *w = watch_for(s->c, kind, slash + 1);
    json_t *there = w ? kube_watch_get(w, s->ns, slash + 1) : NULL;

    free(kind);
    if (!w)
        return;
    json_object_set_new(s->awaited, key, json_string(version));
    seen(s, key, there ? site_text(there, "metadata.resourceVersion") : NULL);
    json_decref(there);
    if (json_object_get(s->awaited, key))
        net_timer_set(s->c->loop, &s->seen_timer, mono_add_ms(net_loop_now(s->c->loop), SEEN_MS));
}

static void succeeded(struct space *s, const json_t *op, const json_t *value)
{
    const char *key = site_text(op, "key");
    const char *version = site_text(value, "metadata.resourceVersion");

    json_object_del(s->refused, key);
    json_object_del(s->behind, key);
    if (json_object_get(op, "event"))
        tell_event(s, json_object_get(op, "event"));
    if (strcmp(site_text(op, "do"), "delete") == 0) {
        await_version(s, key, "");
        return;
    }
    remember(s, op, version);
    await_version(s, key, version);
}

// Somebody else was first, or the caches are behind: what they will tell marks the namespace. That
// it goes on so is trouble like any other.
static bool is_behind(struct space *s, const json_t *op, enum kube_result result)
{
    const char *key = site_text(op, "key"), *what = site_text(op, "do");
    json_int_t count = json_integer_value(json_object_get(s->behind, key)) + 1;

    // Of what is to be made it means that its kind is not known; of a RoleBinding, that the server
    // has not seen its Role yet, which was made a moment ago.
    if (result == KUBE_NOT_FOUND && strncmp(key, "RoleBinding/", 12) != 0 &&
        (strcmp(what, "create") == 0 || strcmp(what, "apply") == 0))
        return false;
    if (result != KUBE_EXISTS && result != KUBE_CONFLICT && result != KUBE_NOT_FOUND)
        return false;
    json_object_set_new(s->behind, key, json_integer(count));
    return count <= BEHIND_MAX;
}

// What no condition can tell: that a status is not written, that something is not deleted.
static void tell_refusal(struct space *s, const json_t *op, const char *words)
{
    json_t *of, *event;

    if (!is_status(op) && strcmp(site_text(op, "do"), "delete") != 0)
        return;
    of = plan_identity(json_object_get(op, "object"));
    event = json_pack("{s:o, s:s, s:s, s:s}", "object", of, "type", "Warning", "reason", "Refused",
                      "message", words);
    tell_event(s, event);
    json_decref(event);
}

static void failed(struct space *s, const json_t *op, const struct kube_answer *a)
{
    const char *key = site_text(op, "key"), *what = site_text(op, "do");
    bool is_same = strcmp(value_of(s->refused, key), a->why.text) == 0;

    retry(s);
    s->has_failed |= !is_status(op);
    if (is_behind(s, op, a->result))
        return;
    if (a->result == KUBE_UNREACHABLE) { // nobody could be told
        log_write(LOG_AGENT, LOG_WARNING, "not done namespace=%s %s %s: %s", s->ns, what, key,
                  a->why.text);
        return;
    }
    s->c->counters.refusals++;
    s->is_refused |= !is_status(op);
    if (!is_same)
        log_write(LOG_AGENT, LOG_ERROR, "refused namespace=%s %s %s: %s", s->ns, what, key,
                  a->why.text);
    json_object_set_new(s->refused, key, json_string(a->why.text));
    if (is_same)
        return;
    if (json_object_get(op, "event"))
        tell_event(s, json_object_get(op, "event"));
    tell_refusal(s, op, a->why.text);
    mark(s);
}

void space_answer(struct space *s, struct call *take, struct kube_answer *answer)
{
    bool is_gone =
        answer->result == KUBE_NOT_FOUND && strcmp(site_text(take->operation, "do"), "delete") == 0;

    s->in_flight--;
    s->writing -= !is_status(take->operation);
    if (answer->result == KUBE_OK || is_gone)
        succeeded(s, take->operation, answer->value);
    else
        failed(s, take->operation, answer);
    call_free(take);
    send_next(s);
    space_settle(s);
}

// --------------------------------------------------------------------------------------- planning

static const json_t *object_of(const json_t *objects, const char *key)
{
    const char *slash = strchr(key, '/');
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)objects, i, one)
    {
        if (strncmp(site_text(one, "kind"), key, (size_t)(slash - key)) == 0 &&
            site_text(one, "kind")[slash - key] == '\0' &&
            strcmp(site_text(one, "metadata.name"), slash + 1) == 0)
            return one;
    }
    return NULL;
}

static void queue(struct space *s, json_t *op)
{
    const char *key = site_text(op, "key");
    const char *version = site_text(op, "object.metadata.resourceVersion");

    // What was refused is for the retry.
    if (json_object_get(s->refused, key) && s->retry_timer.timer.place != 0)
        return;
    if (version[0] && is_in_vain(s, op, version)) {
        log_write(LOG_AGENT, LOG_DEBUG, "left as it is namespace=%s %s", s->ns, key);
        return;
    }
    json_array_append(s->queue, op);
}

static json_t *seen_secret(const struct space *s, const char *name)
{
    struct kube_watch *w = name[0] ? watch_of(s->c, "Secret") : NULL;

    return w ? kube_watch_get(w, s->ns, name) : NULL;
}

// Whose it is may have gone while the key was made. One that a user asked for belongs to nobody.
static bool is_orphan(const struct space *s, const json_t *secret)
{
    const json_t *owner = site_get(secret, "metadata.ownerReferences[0]");
    const char *kind = site_text(owner, "kind"), *name = site_text(owner, "name");
    struct kube_watch *w = watch_for(s->c, kind, name);
    json_t *there = w ? kube_watch_get(w, s->ns, name) : NULL;
    bool is = owner && strcmp(site_text(there, "metadata.uid"), site_text(owner, "uid")) != 0;

    json_decref(there);
    return is;
}

// The Secret is there: it is an operation like any other.
static void have_secret(void *user, int err, json_t *take_secret, const json_t *wish,
                        const char *why)
{
    struct space *s = user;
    const char *name = site_text(wish, "name");
    char *key = site_key("Secret", name);
    json_t *before = seen_secret(s, name), *op;

    s->in_flight--;
    if (err < 0) {
        log_write(LOG_AGENT, LOG_ERROR, "no certificate namespace=%s name=%s: %s", s->ns, name,
                  why);
        json_object_set_new(s->refused, key, json_string(why));
        mark(s);
        retry(s);
    } else if (is_orphan(s, take_secret)) {
        json_decref(take_secret);
    } else {
        log_write(LOG_AGENT, LOG_INFO, "certificate made namespace=%s name=%s: %s", s->ns, name,
                  site_text(wish, "why"));
        if (before)
            json_object_set(json_object_get(take_secret, "metadata"), "resourceVersion",
                            (json_t *)(uintptr_t)site_get(before, "metadata.resourceVersion"));
        op = json_pack("{s:s, s:s, s:o}", "do", before ? "patch" : "create", "key", key, "object",
                       take_secret);
        queue(s, op);
        json_decref(op);
        send_next(s);
    }
    json_decref(before);
    free(key);
    space_settle(s);
}

static void issue(struct space *s, const json_t *wish)
{
    char *key = site_key("Secret", site_text(wish, "name"));
    json_t *ca = seen_secret(s, site_text(wish, "ca"));
    json_t *before = seen_secret(s, site_text(wish, "name"));

    // What was refused is for the retry.
    if (!json_object_get(s->refused, key) || s->retry_timer.timer.place == 0) {
        s->in_flight++;
        issuing_start(s->c->issuing, wish, ca, before, wall_s(), have_secret, s);
    }
    json_decref(ca);
    json_decref(before);
    free(key);
}

static const char *reason_words(const char *reason)
{
    return strcmp(reason, "NotUsed") == 0     ? "not used"
           : strcmp(reason, "NotUsable") == 0 ? "not usable"
                                              : "not exposed";
}

// What is wrong with objects that have no status of ours: each once.
static void tell_notes(struct space *s, const json_t *notes, bool tells_events)
{
    const char *key;
    json_t *note;

    json_object_foreach((json_t *)(uintptr_t)notes, key, note)
    {
        const char *words = site_text(note, "message");

        if (strcmp(site_text(json_object_get(s->noted, key), "message"), words) == 0)
            continue;
        log_write(LOG_AGENT, LOG_WARNING, "%s namespace=%s %s: %s",
                  reason_words(site_text(note, "reason")), s->ns, key, words);
        if (tells_events)
            tell_event(s, note);
    }
    json_decref(s->noted);
    s->noted = json_deep_copy(notes);
}

void spaces_tell(struct controller *c, const char *reason, const char *words)
{
    struct kube_watch *sites = watch_of(c, "Site");
    json_t *site, *event;
    size_t at = 0;

    while (sites && (site = kube_watch_each(sites, NULL, &at)) != NULL) {
        event = json_pack("{s:o, s:s, s:s, s:s}", "object", site, "type", "Warning", "reason",
                          reason, "message", words);
        tell_event(space_of(c, site_text(site, "metadata.namespace")), event);
        json_decref(event);
    }
}

// Does this controller act here? The ConfigMap "skupper" says, else the scope.
static bool is_ours(const struct space *s, const json_t *objects)
{
    const struct controller_settings *us = &s->c->settings;
    const char *who = site_text(object_of(objects, "ConfigMap/skupper"), "data.controller");
    char *identity = str_fmt("%s/%s", us->ns, us->name), *named;
    bool is;

    named = strchr(who, '/') ? xstrdup(who) : str_fmt("%s/%s", s->ns, who);
    if (who[0])
        is = strcmp(named, identity) == 0;
    else
        is = !s->c->opts.is_explicit && !(s->c->opts.watch_ns && s->c->opts.watch_ns[0]);
    free(named);
    free(identity);
    return is;
}

static bool has_resources(const struct controller *c, const json_t *objects)
{
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)objects, i, one)
    {
        // A Service that was adopted is given back also when there is no Site any more.
        if (strcmp(site_text(one, "apiVersion"), SKUPPER_API) == 0 || adopt_is(one) ||
            (c->settings.reads_site_map && site_map_counts(one)))
            return true;
    }
    return false;
}

static void add_kind(const struct space *s, const char *kind, const char *ns, json_t *list)
{
    struct kube_watch *w = watch_of(s->c, kind);
    json_t *one;
    size_t at = 0;

    while (w && (one = kube_watch_each(w, ns, &at)) != NULL)
        if (strcmp(site_text(one, "metadata.namespace"), s->ns) != 0 || ns)
            json_array_append_new(list, one);
        else
            json_decref(one);
}

// What others have that matters here: the other halves of attached connectors with their pods, and
// what the controller's own namespace says for all.
static json_t *others_of(const struct space *s)
{
    json_t *list = json_array(), *one, *namespaces = json_object(), *v;
    const char *ns;
    size_t i;

    add_kind(s, "AttachedConnector", NULL, list);
    add_kind(s, "AttachedConnectorBinding", NULL, list);
    json_array_foreach(list, i, one)
    {
        if (is_kind(one, "AttachedConnector") &&
            strcmp(site_text(one, "spec.siteNamespace"), s->ns) == 0)
            json_object_set_new(namespaces, site_text(one, "metadata.namespace"), json_true());
    }
    json_object_foreach(namespaces, ns, v) add_kind(s, "Pod", ns, list);
    if (strcmp(s->c->settings.ns, s->ns) != 0) {
        add_kind(s, "ConfigMap", s->c->settings.ns, list);
        add_kind(s, "Gateway", s->c->settings.ns, list);
    }
    json_decref(namespaces);
    return list;
}

// The items of a list as an array that the caller frees.
static json_t **items(const json_t *list)
{
    json_t **all = xcalloc(json_array_size(list) + 1, sizeof(*all)), *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)list, i, one) all[i] = one;
    return all;
}

// What was refused and is no longer wanted, or was done by somebody else, is no trouble any more.
static void forget_refused(struct space *s, const struct plan *plan)
{
    json_t *wanted = json_object(), *op, *v;
    const char *key;
    void *tmp;
    size_t i;

    json_array_foreach(plan->operations, i, op)
        json_object_set_new(wanted, site_text(op, "key"), json_true());
    json_object_foreach(plan->issues, key, v)
    {
        char *secret = site_key("Secret", key);

        json_object_set_new(wanted, secret, json_true());
        free(secret);
    }
    json_object_foreach_safe(s->refused, tmp, key, v)
    {
        if (!json_object_get(wanted, key)) {
            json_object_del(s->refused, key);
            mark(s);
        }
    }
    if (json_object_size(s->refused) == 0)
        s->retry_ms = 0;
    json_decref(wanted);
}

// Of what was written before only that matters which is wanted again.
static void forget_done(struct space *s, const struct plan *plan)
{
    json_t *again = json_object(), *op;
    size_t i;

    json_array_foreach(plan->operations, i, op)
    {
        char *name = op_name(op);

        json_object_set(again, name, json_object_get(s->done, name));
        free(name);
    }
    json_decref(s->done);
    s->done = again;
}

static void act(struct space *s, const struct plan *plan)
{
    const char *name;
    json_t *one;
    size_t i;

    forget_refused(s, plan);
    forget_done(s, plan);
    json_array_foreach(plan->operations, i, one) queue(s, one);
    json_object_foreach(plan->issues, name, one) issue(s, one);
    tell_notes(s, plan->notes, !plan->is_quiet);
    if (plan->next_at != INT64_MAX) {
        int64_t wait = plan->next_at - wall_s();

        wait = wait < 1 ? 1 : wait;
        net_timer_set(
            s->c->loop, &s->due_timer,
            mono_add_ms(net_loop_now(s->c->loop), wait < DAY_MS / 1000 ? wait * 1000 : DAY_MS));
    }
}

static double seconds_between(struct mono from, struct mono to)
{
    return (double)(to.ns - from.ns) / (double)NS_PER_S;
}

static void space_free(struct space *s)
{
    struct net_timer *const timers[] = {&s->plan_timer, &s->retry_timer, &s->seen_timer,
                                        &s->due_timer};
    json_t *const values[] = {s->queue, s->awaited, s->refused, s->behind,
                              s->noted, s->checked, s->done};

    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++)
        net_timer_cancel(s->c->loop, timers[i]);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        json_decref(values[i]);
    tokens_free(s->tokens);
    free(s->ns);
    free(s);
}

// Of a namespace with nothing of ours nothing is kept: a cluster may have many.
static void space_leave(struct space *s)
{
    map_remove(&s->c->spaces, str_of(s->ns));
    space_free(s);
}

static void plan(void *user, struct mono now)
{
    struct space *s = user;
    json_t *objects = json_array(), *others, *grants, *tokens, **list, **other_list;
    struct plan p;

    net_timer_cancel(s->c->loop, &s->plan_timer);
    s->is_marked = s->has_failed = s->is_refused = false;
    now = mono_now();
    list_objects(s->c, s->ns, objects);
    if (!has_resources(s->c, objects) && !is_busy(s)) {
        json_decref(objects);
        space_leave(s);
        return;
    }
    if (!has_resources(s->c, objects) || !is_ours(s, objects)) {
        json_decref(objects);
        return;
    }
    others = others_of(s);
    grants = s->c->grants ? grants_facts(s->c->grants, objects) : NULL;
    tokens = tokens_facts(s->tokens, objects);
    list = items(objects);
    other_list = items(others);
    controller_plan(&(struct plan_facts){.settings = &s->c->settings,
                                         .ns = s->ns,
                                         .now = wall_s(),
                                         .objects = list,
                                         .count = json_array_size(objects),
                                         .others = other_list,
                                         .other_count = json_array_size(others),
                                         .grants = grants,
                                         .tokens = tokens,
                                         .claims_trouble = claims_trouble(s->c->claims),
                                         .refused = s->refused,
                                         .checked = s->checked},
                    &p);
    json_decref(s->checked);
    s->checked = json_incref(p.checked);
    s->c->counters.plans++;
    metrics_observe(&s->c->counters.waited, &metrics_work, seconds_between(s->marked_at, now));
    tokens_look(s->tokens, objects, p.operations);
    if (s->c->claims)
        claims_look(s->c->claims, p.token);
    act(s, &p);
    controller_plan_free(&p);
    free(list);
    free(other_list);
    json_decref(grants);
    json_decref(tokens);
    json_decref(others);
    json_decref(objects);
    s->plan_ms = mono_ms_between(now, mono_now());
    metrics_observe(&s->c->counters.took, &metrics_work, seconds_between(now, mono_now()));
    send_next(s);
    space_settle(s);
}

// -------------------------------------------------------------------------------------------
// timers

static void try_again(void *user, struct mono now)
{
    struct space *s = user;

    (void)now;
    space_mark(s);
    space_settle(s);
}

static void not_seen(void *user, struct mono now)
{
    struct space *s = user;

    (void)now;
    json_object_clear(s->awaited);
    space_settle(s);
}

static void token_changed(void *user)
{
    space_mark(user);
}

struct space *space_of(struct controller *c, const char *ns)
{
    struct space *s = map_get(&c->spaces, str_of(ns));

    if (s)
        return s;
    s = xcalloc(1, sizeof(*s));
    *s = (struct space){.c = c,
                        .ns = xstrdup(ns),
                        .queue = json_array(),
                        .awaited = json_object(),
                        .refused = json_object(),
                        .behind = json_object(),
                        .noted = json_object(),
                        .checked = json_object(),
                        .done = json_object(),
                        .plan_timer = {.fire = plan, .user = s},
                        .retry_timer = {.fire = try_again, .user = s},
                        .seen_timer = {.fire = not_seen, .user = s},
                        .due_timer = {.fire = try_again, .user = s}};
    s->tokens = tokens_new(c, ns, token_changed, s);
    map_put(&c->spaces, str_of(ns), s);
    return s;
}

size_t spaces_waiting(const struct controller *c)
{
    size_t at = 0, count = 0;
    void *s;

    while (map_next(&c->spaces, &at, NULL, &s))
        count += ((const struct space *)s)->is_marked;
    return count;
}

void spaces_free(struct controller *c)
{
    size_t at = 0;
    void *s;

    while (map_next(&c->spaces, &at, NULL, &s))
        space_free(s);
    map_fini(&c->spaces);
}
