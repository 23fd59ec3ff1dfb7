// SPDX-License-Identifier: Apache-2.0
// Writes the newest status: reads the ConfigMap (or makes it), then updates what was read. Whoever
// wrote in between makes it read again. Nothing waits here but the newest text.
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "drive/drive.h"
#include "net/net.h"
#include "pod/inside.h"
#include "site/site.h"

#define NAME "skupper-network-status"

enum { AGAIN_MS = 5000, QUICKLY_MAX = 3 };

struct publish {
    struct net_loop *loop;
    struct kube *kube;
    char *ns, *deployment;
    char *text;     // wanted; NULL: nothing yet
    char *written;  // as the server has it; NULL: unknown
    char *writing;  // under way
    json_t *owner;  // reference; NULL: not known, or there is none
    json_t *object; // as read or written last, without data; NULL: to be read
    bool has_owner; // asked for
    int quickly;    // tried again at once, in a row
    bool is_late;   // deleted since what is under way was asked: its answer may be of before
    enum { IDLE, OWNER, READ, WRITE } doing;
    uint64_t number;
    struct net_timer timer;
    char *problem;
};

// The status while it is told.
struct text {
    char *ptr;
    size_t len, size;
};

static void go_on(struct publish *p);

static void ask(struct publish *p, int doing, const struct kube_request *r)
{
    p->doing = doing;
    p->is_late = false;
    p->number = kube_send(p->kube, r);
}

static void ask_owner(struct publish *p)
{
    ask(p, OWNER,
        &(struct kube_request){.verb = KUBE_GET,
                               .kind = kube_kind("apps/v1", "Deployment"),
                               .ns = p->ns,
                               .name = p->deployment});
}

static void ask_object(struct publish *p)
{
    ask(p, READ,
        &(struct kube_request){
            .verb = KUBE_GET, .kind = kube_kind("v1", "ConfigMap"), .ns = p->ns, .name = NAME});
}

// An object of somebody else's keeps what it has besides.
static void ask_write(struct publish *p)
{
    bool is_new = json_is_null(p->object);
    json_t *body = is_new ? json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind",
                                      "ConfigMap", "metadata", "name", NAME)
                          : json_deep_copy(p->object);
    json_t *data = json_object_get(body, "data");

    if (!json_is_object(data)) {
        data = json_object();
        json_object_set_new(body, "data", data);
    }
    json_object_set_new(data, "NetworkStatus", json_string(p->text));
    if (is_new && p->owner)
        json_object_set_new(json_object_get(body, "metadata"), "ownerReferences",
                            json_pack("[O]", p->owner));
    free(p->writing);
    p->writing = xstrdup(p->text);
    ask(p, WRITE,
        &(struct kube_request){.verb = is_new ? KUBE_CREATE : KUBE_UPDATE,
                               .kind = kube_kind("v1", "ConfigMap"),
                               .ns = p->ns,
                               .body = body});
    json_decref(body);
}

static void go_on(struct publish *p)
{
    if (p->doing != IDLE || !p->text || (p->written && strcmp(p->text, p->written) == 0))
        return;
    net_timer_cancel(p->loop, &p->timer);
    if (p->deployment && !p->has_owner)
        ask_owner(p);
    else if (!p->object)
        ask_object(p);
    else
        ask_write(p);
}

static void fire(void *user, struct mono now)
{
    (void)now;
    go_on(user);
}

static void set_problem(struct publish *p, const char *words)
{
    if (words[0] && strcmp(p->problem, words) != 0)
        log_write(LOG_AGENT, LOG_ERROR, "network status not written: %s", words);
    free(p->problem);
    p->problem = xstrdup(words);
}

static void keep_object(struct publish *p, json_t *take)
{
    json_decref(p->object);
    p->object = take;
    // The text is kept once.
    json_object_del(json_object_get(take, "data"), "NetworkStatus");
    json_object_del(json_object_get(take, "metadata"), "managedFields");
}

static void read_again(struct publish *p)
{
    json_decref(p->object);
    p->object = NULL;
    free(p->written);
    p->written = NULL;
}

static void failed(struct publish *p, const struct kube_answer *a)
{
    read_again(p);
    if ((a->result == KUBE_CONFLICT || a->result == KUBE_EXISTS || a->result == KUBE_NOT_FOUND) &&
        p->quickly++ < QUICKLY_MAX) {
        go_on(p);
        return;
    }
    set_problem(p, a->why.text);
    net_timer_set(p->loop, &p->timer, mono_add_ms(net_loop_now(p->loop), AGAIN_MS));
}

static void found_owner(struct publish *p, const struct kube_answer *a)
{
    if (a->result == KUBE_OK)
        p->owner = json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", "apps/v1", "kind", "Deployment",
                             "name", p->deployment, "uid", site_text(a->value, "metadata.uid"));
    p->has_owner =
        a->result == KUBE_OK || a->result == KUBE_NOT_FOUND || a->result == KUBE_FORBIDDEN;
    if (p->has_owner)
        go_on(p);
    else
        failed(p, a);
}

static void have_read(struct publish *p, struct kube_answer *a)
{
    if (a->result != KUBE_OK && a->result != KUBE_NOT_FOUND) {
        failed(p, a);
        return;
    }
    free(p->written);
    p->written = NULL;
    if (a->result == KUBE_OK) {
        const char *text =
            json_string_value(json_object_get(json_object_get(a->value, "data"), "NetworkStatus"));

        p->written = text ? xstrdup(text) : NULL;
        keep_object(p, a->value);
        a->value = NULL;
        if (p->is_late)
            read_again(p);
    } else {
        p->object = json_null();
    }
    go_on(p);
}

static void have_written(struct publish *p, struct kube_answer *a)
{
    if (a->result != KUBE_OK) {
        failed(p, a);
        return;
    }
    set_problem(p, "");
    p->quickly = 0;
    free(p->written);
    p->written = p->writing;
    p->writing = NULL;
    keep_object(p, a->value);
    a->value = NULL;
    if (p->is_late)
        read_again(p);
    go_on(p);
}

bool publish_event(struct publish *p, const struct kube_event *ev)
{
    int doing = p ? p->doing : IDLE;

    if (doing == IDLE || ev->type != KUBE_EV_ANSWER || ev->number != p->number)
        return false;
    p->doing = IDLE;
    if (doing == OWNER)
        found_owner(p, ev->answer);
    else if (doing == READ)
        have_read(p, ev->answer);
    else
        have_written(p, ev->answer);
    return true;
}

struct kube_watch *publish_watch(struct kube *k, const char *ns)
{
    static const char *const nothing[] = {NULL};

    return kube_watch_new(k, &(struct kube_watch_opts){.kind = kube_kind("v1", "ConfigMap"),
                                                       .ns = ns,
                                                       .fields = "metadata.name=" NAME,
                                                       .keep = nothing});
}

void publish_seen(struct publish *p, bool is_deleted)
{
    if (!is_deleted)
        return;
    read_again(p);
    p->is_late = true;
    go_on(p);
}

static void append(void *user, struct str piece)
{
    struct text *t = user;

    if (t->len + piece.len + 1 > t->size) {
        t->size = 2 * (t->len + piece.len + 1);
        t->ptr = xrealloc(t->ptr, t->size, 1);
    }
    memcpy(t->ptr + t->len, piece.ptr, piece.len);
    t->len += piece.len;
    t->ptr[t->len] = '\0';
}

void publish_set(struct publish *p, struct drive_census *n)
{
    struct text text = {0};

    drive_census_tell(n, append, &text);
    free(p->text);
    p->text = text.ptr;
    go_on(p);
}

const json_t *publish_owner(const struct publish *p)
{
    return p->owner;
}

struct publish *publish_new(struct net_loop *loop, struct kube *k, const char *ns,
                            const char *deployment)
{
    struct publish *p = xcalloc(1, sizeof(*p));

    *p = (struct publish){.loop = loop,
                          .kube = k,
                          .ns = xstrdup(ns),
                          .deployment = deployment ? xstrdup(deployment) : NULL,
                          .timer = {.fire = fire, .user = p},
                          .problem = xstrdup("")};
    return p;
}

void publish_free(struct publish *p)
{
    if (!p)
        return;
    net_timer_cancel(p->loop, &p->timer);
    if (p->doing != IDLE)
        kube_forget(p->kube, p->number);
    json_decref(p->owner);
    json_decref(p->object);
    free(p->ns);
    free(p->deployment);
    free(p->text);
    free(p->written);
    free(p->writing);
    free(p->problem);
    free(p);
}
