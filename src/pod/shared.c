// SPDX-License-Identifier: Apache-2.0
// Services that sites tell each other of: between the ConfigMap skupper-services and the network.
// Who leads announces what is of this site there, and writes down what others announce. Without the
// ConfigMap, which the controller makes, nothing is said or heard.
//
// Before each write the ConfigMap is read: the watch is for what is new, and may be behind.
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "drive/drive.h"
#include "net/net.h"
#include "pod/inside.h"
#include "site/site.h"

#define NAME "skupper-services"

enum { AGAIN_MS = 5000, QUICKLY_MAX = 3 };

struct shared {
    struct net_loop *loop;
    struct kube *kube;
    char *ns;
    struct kube_watch *watch;
    struct drive_sharing *exchange;
    bool is_on;
    int quickly; // tried again at once, in a row
    enum { IDLE, READ, WRITE } doing;
    uint64_t number;
    bool is_told; // by the watch, while it was written
    struct net_timer timer;
    char *problem;
};

static const char *const keep[] = {"data", "metadata.annotations", NULL};

static json_t *wanted(const struct shared *s, const json_t *map)
{
    json_t *all = drive_sharing_shared(s->exchange);
    json_t *out = entries_wanted(map, drive_sharing_told(s->exchange), all);

    json_decref(all);
    return out;
}

static void ask(struct shared *s, int doing, const struct kube_request *r)
{
    s->doing = doing;
    s->is_told = false;
    s->number = kube_send(s->kube, r);
}

// The ConfigMap says something else than the network: it is read, and then written.
static void go_on(struct shared *s)
{
    json_t *map = kube_watch_get(s->watch, s->ns, NAME), *change;

    if (s->is_on && s->doing == IDLE && map && (change = wanted(s, map)) != NULL) {
        json_decref(change);
        net_timer_cancel(s->loop, &s->timer);
        ask(s, READ,
            &(struct kube_request){
                .verb = KUBE_GET, .kind = kube_kind("v1", "ConfigMap"), .ns = s->ns, .name = NAME});
    }
    json_decref(map);
}

static void fire(void *user, struct mono now)
{
    (void)now;
    go_on(user);
}

static void set_problem(struct shared *s, const char *words)
{
    if (words[0] && strcmp(s->problem, words) != 0)
        log_write(LOG_AGENT, LOG_ERROR, "services of other sites not written: %s", words);
    free(s->problem);
    s->problem = xstrdup(words);
}

static void failed(struct shared *s, const struct kube_answer *a)
{
    if (a->result == KUBE_NOT_FOUND)
        return; // the watch will tell
    if (a->result == KUBE_CONFLICT && s->quickly++ < QUICKLY_MAX) {
        go_on(s);
        return;
    }
    set_problem(s, a->why.text);
    net_timer_set(s->loop, &s->timer, mono_add_ms(net_loop_now(s->loop), AGAIN_MS));
}

static void have_read(struct shared *s, const struct kube_answer *a)
{
    json_t *change = s->is_on ? wanted(s, a->value) : NULL;

    if (!change)
        return; // it is as it is to be by now
    json_object_del(json_object_get(change, "metadata"), "managedFields");
    ask(s, WRITE,
        &(struct kube_request){.verb = KUBE_UPDATE,
                               .kind = kube_kind("v1", "ConfigMap"),
                               .ns = s->ns,
                               .body = change});
    json_decref(change);
}

// Until the watch tells of what was written, it has what was there before: it is not asked then but
// the answer. What it has told of meanwhile may be newer than that.
static void have_written(struct shared *s, const json_t *map)
{
    json_t *change = s->is_told || !map ? NULL : wanted(s, map);

    set_problem(s, "");
    s->quickly = 0;
    if (s->is_told || !map || change) // there may be news that could not be written yet
        go_on(s);
    json_decref(change);
}

// What is new of the ConfigMap.
static void look(struct shared *s)
{
    json_t *map, *local, *saved;

    if (!kube_watch_is_synced(s->watch))
        return;
    map = kube_watch_get(s->watch, s->ns, NAME);
    if (!entries_are_shared(map)) {
        s->is_on = false;
        drive_sharing_announce(s->exchange, NULL);
    } else {
        drive_sharing_set_ttl(s->exchange, entries_ttl_ms(map));
        // What the former leader wrote down is not lost because nobody has repeated it yet.
        saved = s->is_on ? NULL : entries_saved(map);
        if (saved)
            drive_sharing_load(s->exchange, saved, NULL);
        s->is_on = true;
        local = entries_local(map);
        drive_sharing_announce(s->exchange, local);
        json_decref(local);
        json_decref(saved);
        go_on(s);
    }
    json_decref(map);
}

bool shared_event(struct shared *s, const struct kube_event *ev)
{
    int doing = s ? s->doing : IDLE;

    if (s && ev->watch == s->watch && (ev->object || ev->type == KUBE_EV_SYNCED)) {
        s->is_told = true;
        look(s);
        return true;
    }
    if (doing == IDLE || ev->type != KUBE_EV_ANSWER || ev->number != s->number)
        return false;
    s->doing = IDLE;
    if (ev->answer->result != KUBE_OK) {
        failed(s, ev->answer);
    } else if (doing == READ) {
        have_read(s, ev->answer);
    } else {
        have_written(s, ev->answer->value);
    }
    return true;
}

static void has_news(void *user)
{
    go_on(user);
}

struct shared *shared_new(struct net_loop *loop, struct kube *k, const char *ns,
                          const char *site_id, const char *version)
{
    struct shared *s = xcalloc(1, sizeof(*s));

    *s = (struct shared){.loop = loop,
                         .kube = k,
                         .ns = xstrdup(ns),
                         .timer = {.fire = fire, .user = s},
                         .problem = xstrdup("")};
    s->exchange = drive_sharing_new(loop, site_id, version, has_news, s);
    drive_sharing_keep_told(s->exchange);
    s->watch = kube_watch_new(k, &(struct kube_watch_opts){.kind = kube_kind("v1", "ConfigMap"),
                                                           .ns = ns,
                                                           .fields = "metadata.name=" NAME,
                                                           .keep = keep});
    return s;
}

void shared_free(struct shared *s)
{
    if (!s)
        return;
    net_timer_cancel(s->loop, &s->timer);
    if (s->doing != IDLE)
        kube_forget(s->kube, s->number);
    drive_sharing_free(s->exchange);
    kube_watch_free(s->watch);
    free(s->ns);
    free(s->problem);
    free(s);
}

struct drive_sharing *shared_exchange(const struct shared *s)
{
    return s ? s->exchange : NULL;
}
