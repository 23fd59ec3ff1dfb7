// SPDX-License-Identifier: Apache-2.0
// What sites tell each other of their services, over the site's own router: the engine is
// site_sync, here are its links and its timer.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wall.h"
#include "client/client.h"
#include "drive/drive.h"
#include "net/net.h"
#include "site/site.h"

enum { CREDIT = 10 };

struct drive_sharing {
    struct net_loop *loop;
    void (*changed)(void *user);
    void *user;
    struct site_sync *sync;
    json_t *told;                 // {name: {"origin", "service"}}; NULL: nobody asks for it
    struct client_link *in, *out; // NULL: not connected
    struct client_link *reach;    // who else listens, likewise
    struct net_timer timer;
    struct log_limit limit; // for what others send that cannot be used
};

static void arm(struct drive_sharing *s)
{
    net_timer_set(s->loop, &s->timer, site_sync_deadline(s->sync));
}

// -------------------------------------------------------------------------------------- messages

static void put_pair(struct amqp_writer *w, const char *name, struct str text)
{
    amqp_put_string(w, str_of(name));
    amqp_put_string(w, text);
}

// Properties with the subject, application properties, and the text as the value.
static void send(struct drive_sharing *s, const struct site_sync_message *m)
{
    struct client_properties properties = {.subject = m->subject};
    struct amqp_writer w;
    struct amqp_mark map;

    amqp_writer_init(&w);
    client_put_properties(&w, &properties);
    amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    map = amqp_begin_map(&w, false);
    put_pair(&w, "origin", m->origin);
    put_pair(&w, "version", m->version);
    amqp_end(&w, map, 4);
    amqp_put_descriptor(&w, AMQP_SECTION_VALUE);
    amqp_put_string(&w, m->body);
    if (client_send(s->out, amqp_written(&w), false, 0) < 0)
        log_write(LOG_AGENT, LOG_WARNING, "services not told to other sites: nobody takes them");
    amqp_writer_fini(&w);
}

static void note(struct drive_sharing *s, const struct site_sync_change *c)
{
    if (c->type == SITE_SYNC_REMOVED)
        json_object_del(s->told, c->name);
    else
        json_object_set_new(s->told, c->name,
                            json_pack("{s:s, s:O}", "origin", c->origin, "service", c->service));
}

// Messages out and changes in, until there are no more.
static void drain(struct drive_sharing *s)
{
    struct site_sync_message m;
    struct site_sync_change change;
    bool is_new = false;

    while (site_sync_next_message(s->sync, &m))
        // One that waits still says the same or is overtaken: no queue of old news.
        if (s->out && client_unsent(s->out) == 0)
            send(s, &m);
    while (site_sync_next_change(s->sync, &change)) {
        static const char *const words[] = {"shared", "changed", "withdrawn"};

        log_write(LOG_AGENT, LOG_INFO, "service %s name=%s origin=%s", words[change.type],
                  change.name, change.origin);
        if (s->told)
            note(s, &change);
        is_new = true;
    }
    if (is_new)
        s->changed(s->user);
    arm(s);
}

static void fire(void *user, struct mono now)
{
    struct drive_sharing *s = user;

    site_sync_tick(s->sync, now);
    drain(s);
}

// The texts of a map.
static void read_pairs(struct str map, struct site_sync_message *out)
{
    struct amqp_reader at = amqp_reader_of(map), items;
    struct amqp_item key, value;
    uint32_t count;

    if (map.len == 0 || amqp_read_map(&at, &items, &count) < 0)
        return;
    while (amqp_read(&items, &key) == 0 && amqp_read(&items, &value) == 0) {
        if (key.type != AMQP_STRING || value.type != AMQP_STRING)
            continue;
        if (str_is(key.bytes, "origin"))
            out->origin = value.bytes;
        else if (str_is(key.bytes, "version"))
            out->version = value.bytes;
    }
}

static int read_message(struct str bytes, struct site_sync_message *out)
{
    struct client_message m;
    struct amqp_reader at;
    struct amqp_item value;

    *out = (struct site_sync_message){.subject = STR_NONE};
    if (client_read_message(bytes, &m) < 0)
        return ERR_DECODE;
    out->subject = m.subject;
    read_pairs(m.application_properties, out);
    at = amqp_reader_of(m.value);
    if (m.value.len == 0 || amqp_read(&at, &value) < 0 || value.type != AMQP_STRING)
        return ERR_DECODE;
    out->body = value.bytes;
    return 0;
}

static void heard(struct drive_sharing *s, struct str bytes, struct mono now)
{
    struct site_sync_message m;
    struct why why = {"it is no text"};
    uint32_t skipped;
    int err = read_message(bytes, &m);

    if (!err)
        err = site_sync_heard(s->sync, &m, wall_s(), now, &why);
    if (err < 0 && log_limit_pass(&s->limit, 5, now, &skipped))
        log_write(LOG_AGENT, LOG_WARNING, "services of another site not understood: %s", why.text);
    drain(s);
}

// Another router has listeners now: a link has come up, or a site.
static void repeat(struct drive_sharing *s, struct mono now)
{
    site_sync_repeat(s->sync, now);
    drain(s);
}

// ------------------------------------------------------------------------------------------- door

struct drive_sharing *drive_sharing_new(struct net_loop *loop, const char *site_id,
                                        const char *version, void (*news)(void *user), void *user)
{
    struct drive_sharing *s = xcalloc(1, sizeof(*s));
    struct site_sync_opts opts = {.site_id = site_id, .version = version};

    *s = (struct drive_sharing){
        .loop = loop, .changed = news, .user = user, .timer = {.fire = fire, .user = s}};
    s->sync = site_sync_new(&opts, net_loop_now(loop));
    arm(s);
    return s;
}

void drive_sharing_free(struct drive_sharing *s)
{
    if (!s)
        return;
    net_timer_cancel(s->loop, &s->timer);
    client_link_free(s->in);
    client_link_free(s->out);
    client_link_free(s->reach);
    site_sync_free(s->sync);
    json_decref(s->told);
    free(s);
}

void drive_sharing_keep_told(struct drive_sharing *s)
{
    s->told = json_object();
}

int drive_sharing_load(struct drive_sharing *s, const json_t *saved, struct why *why)
{
    return site_sync_load(s->sync, saved, wall_s(), net_loop_now(s->loop), why);
}

json_t *drive_sharing_save(const struct drive_sharing *s)
{
    return site_sync_save(s->sync, wall_s(), net_loop_now(s->loop));
}

void drive_sharing_opened(struct drive_sharing *s, struct client *c)
{
    s->in = client_receive(c, SITE_SYNC_ADDRESS, CREDIT, s);
    s->out = client_sender(c, SITE_SYNC_ADDRESS, s);
    s->reach = client_receive(c, CLIENT_REACH SITE_SYNC_ADDRESS, CREDIT, s);
}

void drive_sharing_closed(struct drive_sharing *s)
{
    s->in = s->out = s->reach = NULL;
}

bool drive_sharing_event(struct drive_sharing *s, const struct client_event *ev)
{
    if (!s || !ev->link || ev->user != s)
        return false;
    if (ev->type == CLIENT_MESSAGE && ev->link == s->reach)
        repeat(s, net_loop_now(s->loop));
    else if (ev->type == CLIENT_MESSAGE)
        heard(s, ev->message, net_loop_now(s->loop));
    else if (ev->type == CLIENT_DROPPED)
        log_write(LOG_AGENT, LOG_WARNING, "the router ended the exchange of services: %s",
                  ev->words);
    return true;
}

void drive_sharing_set_ttl(struct drive_sharing *s, uint32_t ttl_ms)
{
    site_sync_set_ttl(s->sync, ttl_ms);
}

void drive_sharing_announce(struct drive_sharing *s, const json_t *services)
{
    struct why why = {""};

    if (site_sync_announce(s->sync, services, net_loop_now(s->loop), &why) < 0)
        log_write(LOG_AGENT, LOG_ERROR, "services not told to other sites: %s", why.text);
    drain(s);
}

json_t *drive_sharing_shared(const struct drive_sharing *s)
{
    return site_sync_shared(s->sync);
}

const json_t *drive_sharing_told(const struct drive_sharing *s)
{
    return s->told;
}
