// SPDX-License-Identifier: Apache-2.0
// The site and the processes in its pods as flow records: an event source beside that of the
// router, named like the site. The engine is struct flow; here are its links and its timer. Only
// the leader of a site's agents has one.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/map.h"
#include "base/mem.h"
#include "client/client.h"
#include "flow/flow.h"
#include "net/net.h"
#include "pod/inside.h"
#include "site/site.h"

enum { CREDIT = 16 };

const char *const source_pod_keep[] = {
    "metadata.labels[app.kubernetes.io/part-of]",
    "metadata.labels[app.kubernetes.io/name]",
    "metadata.labels[app.kubernetes.io/component]",
    "spec.nodeName",
    "spec.containers.image",
    "status.podIP",
    "status.phase",
    NULL,
};

struct source {
    struct net_loop *loop;
    struct flow *flow;
    struct client_link *commands, *sender; // NULL: not connected
    struct client_link *reach, *askers;    // who hears beacons, and who asks for them; likewise
    char *site_id;
    struct map processes; // pod's uid: struct flow_record
    struct net_timer timer;
};

static int64_t wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

// ------------------------------------------------------------------------------------------ pods

// "registry.example:5000/app/backend:1@sha256:…" is "backend".
static struct str image_base(const char *image)
{
    const char *slash = strrchr(image, '/');
    struct str base = str_of(slash ? slash + 1 : image);

    for (size_t i = 0; i < base.len; i++)
        if (base.ptr[i] == ':' || base.ptr[i] == '@')
            base.len = i;
    return base;
}

static const char *label(const json_t *pod, const char *name)
{
    const json_t *labels = json_object_get(json_object_get(pod, "metadata"), "labels");
    const char *value = json_string_value(json_object_get(labels, name));

    return value ? value : "";
}

static void describe(struct flow_record *rec, const json_t *pod)
{
    const json_t *containers = json_object_get(json_object_get(pod, "spec"), "containers");
    const char *image = site_text(json_array_get(containers, 0), "image");
    const char *part_of = label(pod, "app.kubernetes.io/part-of");
    const char *groups[] = {part_of, label(pod, "app.kubernetes.io/name"),
                            label(pod, "app.kubernetes.io/component")};
    struct str group = STR("");
    bool is_ours =
        strcmp(part_of, "skupper") == 0 || strcmp(part_of, "skupper-network-observer") == 0;

    for (size_t i = 0; i < 3 && group.len == 0; i++)
        group = str_of(groups[i]);
    flow_set_text(rec, FLOW_GROUP, group.len > 0 ? group : image_base(image));
    flow_set_text(rec, FLOW_MODE, is_ours ? STR("internal") : STR("external"));
    flow_set_text(rec, FLOW_NAME, str_of(site_text(pod, "metadata.name")));
    flow_set_text(rec, FLOW_SOURCE_HOST, str_of(site_text(pod, "status.podIP")));
    flow_set_text(rec, FLOW_IMAGE_NAME, str_of(image));
    flow_set_text(rec, FLOW_HOST_NAME, str_of(site_text(pod, "spec.nodeName")));
}

// Its address may be another pod's by now.
static bool is_over(const json_t *pod)
{
    const char *phase = site_text(pod, "status.phase");

    return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

void source_pod(struct source *s, const json_t *pod, bool is_gone)
{
    struct str uid = str_of(site_text(pod, "metadata.uid"));
    struct flow_record *rec = map_get(&s->processes, uid);
    struct mono now = net_loop_now(s->loop);

    if (is_gone || is_over(pod)) {
        map_remove(&s->processes, uid);
        flow_end(rec, now);
        return;
    }
    if (!site_text(pod, "status.podIP")[0])
        return;
    if (!rec) {
        rec = flow_begin_as(s->flow, FLOW_PROCESS, uid, now);
        if (!rec)
            return; // more than there is room for
        flow_set_text(rec, FLOW_PARENT, str_of(s->site_id));
        map_put(&s->processes, str_of(flow_id(rec)), rec);
    }
    describe(rec, pod);
}

// ---------------------------------------------------------------------------------------- sending

static void send_all(struct source *s)
{
    struct flow_message m;

    while (flow_next(s->flow, &m))
        if (s->sender)
            client_send(s->sender, m.bytes, true, 0);
}

static void fire(void *user, struct mono now)
{
    struct source *s = user;

    flow_tick(s->flow, now, wall_us());
    send_all(s);
    net_timer_set(s->loop, &s->timer, flow_deadline(s->flow));
}

static void set_reached(struct source *s, bool is_reached)
{
    // Who listens is not to be seen from outside of the router.
    flow_set_reached(s->flow, FLOW_BEACONS, is_reached);
    flow_set_reached(s->flow, FLOW_RECORDS, is_reached);
}

void source_opened(struct source *s, struct client *c)
{
    char *reach = str_fmt("%s%s", CLIENT_REACH, flow_address(s->flow, FLOW_BEACONS));

    s->commands = client_receive(c, flow_address(s->flow, FLOW_COMMANDS), CREDIT, s);
    s->sender = client_sender(c, NULL, s);
    s->reach = client_receive(c, reach, CREDIT, s);
    s->askers = client_receive(c, flow_address(s->flow, FLOW_JOINED), CREDIT, s);
    set_reached(s, true);
    free(reach);
}

// Links go with their connection.
void source_closed(struct source *s)
{
    s->commands = s->sender = s->reach = s->askers = NULL;
    set_reached(s, false);
}

bool source_event(struct source *s, const struct client_event *ev)
{
    if (!s || !ev->link || ev->user != s)
        return false;
    if (ev->type == CLIENT_MESSAGE && ev->link == s->reach)
        flow_greet(s->flow, client_read_reach(ev->message));
    else if (ev->type == CLIENT_MESSAGE && ev->link == s->askers)
        flow_asked(s->flow);
    else if (ev->type == CLIENT_MESSAGE)
        flow_command(s->flow, ev->message);
    return true;
}

// ------------------------------------------------------------------------------------------- life

struct source *source_new(struct net_loop *loop, const struct pod_opts *opts, const char *ns)
{
    struct source *s = xcalloc(1, sizeof(*s));
    struct mono now = net_loop_now(loop);
    struct flow_opts flow = {.id = opts->site_id, .type = "CONTROLLER", .epoch_us = wall_us()};
    struct flow_record *site;

    *s = (struct source){
        .loop = loop, .site_id = xstrdup(opts->site_id), .timer = {.fire = fire, .user = s}};
    map_init(&s->processes);
    s->flow = flow_new(&flow, now);
    site = flow_begin_as(s->flow, FLOW_SITE, str_of(opts->site_id), now);
    flow_set_text(site, FLOW_NAME, str_of(opts->site_name));
    flow_set_text(site, FLOW_NAMESPACE, str_of(ns));
    flow_set_text(site, FLOW_PLATFORM, STR("kubernetes"));
    flow_set_text(site, FLOW_PROVIDER, STR("kubernetes"));
    flow_set_text(site, FLOW_BUILD_VERSION, str_of(opts->version));
    net_timer_set(loop, &s->timer, flow_deadline(s->flow));
    return s;
}

// Without a word: whoever leads now tells of the same records.
void source_free(struct source *s)
{
    if (!s)
        return;
    net_timer_cancel(s->loop, &s->timer);
    client_link_free(s->commands);
    client_link_free(s->sender);
    client_link_free(s->reach);
    client_link_free(s->askers);
    map_fini(&s->processes);
    flow_free(s->flow);
    free(s->site_id);
    free(s);
}
