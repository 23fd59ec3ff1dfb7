// SPDX-License-Identifier: Apache-2.0
// Who asks at an address local to the router beside us, with nothing but the name of a link, hears
// which steps of that link go well from within this pod. The answer goes to nobody but a client of
// this very router: whoever is that can have it connect wherever they like, and hears no more here.
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "client/client.h"
#include "host/host.h"
#include "net/net.h"
#include "pod/inside.h"

enum { CREDIT = 4, LINK_NAME_MAX = 253 };

struct doctor {
    struct net_loop *loop;
    const struct pod_opts *opts;
    struct client *client;              // NULL: not connected
    struct client_link *asked, *answer; // likewise
    struct exam *exam;                  // one at a time; NULL: none
    char *reply_to, *correlation_id;    // of who waits for it
    size_t correlation_len;
};

static void say(struct doctor *d, const struct client_asked *to, int status, const char *words)
{
    (void)client_answer(d->answer, to, status, words, NULL); // who gets none asks no longer
}

// Somebody who is connected to this very router, an interior or an edge one.
static bool is_here(const struct doctor *d, struct str reply_to)
{
    struct str router = client_peer(d->client)->container_id;
    char *inner = str_fmt("amqp:/_topo/0/%.*s/temp.", STR_ARG(router)),
         *edge = str_fmt("amqp:/_edge/%.*s/temp.", STR_ARG(router));
    bool is_so = str_starts(reply_to, str_of(inner)) || str_starts(reply_to, str_of(edge));

    free(inner);
    free(edge);
    return is_so;
}

static bool is_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= ' ' || name.ptr[i] > '~')
            return false;
    return name.len > 0 && name.len <= LINK_NAME_MAX;
}

static void forget(struct doctor *d)
{
    free(d->reply_to);
    free(d->correlation_id);
    d->reply_to = d->correlation_id = NULL;
}

static void done(void *user, enum exam_end how, const json_t *steps, const char *words)
{
    struct doctor *d = user;
    struct client_asked to = {.reply_to = str_of(d->reply_to),
                              .correlation_id = {d->correlation_id, d->correlation_len}};
    json_t *value;

    d->exam = NULL;
    if (how == EXAM_NO_LINK) {
        say(d, &to, 404, "its router has no link of this name yet");
    } else if (how == EXAM_FAILED) {
        say(d, &to, 500, words);
    } else {
        value = json_pack("{s:s, s:O}", "version", d->opts->version, "steps", steps);
        (void)client_answer(d->answer, &to, 200, "OK", value);
        json_decref(value);
    }
    forget(d);
}

static void begin(struct doctor *d, const struct client_asked *asked)
{
    char *link = str_fmt("-examine=%.*s", STR_ARG(asked->name)),
         *folder = str_fmt("-config-dir=%s", d->opts->folder);
    const char *argv[] = {"kube-adaptor", folder, link, NULL};
    struct exam_opts opts = {.program = "/proc/self/exe",
                             .argv = argv,
                             .limit_ms = HOST_DOCTOR_MS,
                             .done = done,
                             .user = d};
    struct why why = {""};

    d->exam = exam_new(d->loop, &opts, &why);
    if (d->exam) {
        d->reply_to = str_dup(asked->reply_to);
        d->correlation_id = str_dup(asked->correlation_id);
        d->correlation_len = asked->correlation_id.len;
        log_write(LOG_AGENT, LOG_INFO, "takes the steps of link=%.*s for somebody who asks",
                  STR_ARG(asked->name));
    } else {
        say(d, asked, 500, why.text);
    }
    free(folder);
    free(link);
}

static void take(struct doctor *d, struct str message)
{
    struct client_asked asked;

    if (client_read_asked(message, &asked) < 0 || !is_here(d, asked.reply_to))
        return;
    if (!str_is(asked.operation, HOST_DOCTOR_EXAMINE))
        say(d, &asked, 501, "there is no such operation");
    else if (!is_name(asked.name))
        say(d, &asked, 400, "no link has such a name");
    else if (d->exam)
        say(d, &asked, 503, "steps for somebody else are under way; ask again in half a minute");
    else
        begin(d, &asked);
}

// ------------------------------------------------------------------------------------------- life

struct doctor *doctor_new(struct net_loop *loop, const struct pod_opts *opts)
{
    struct doctor *d = xcalloc(1, sizeof(*d));

    *d = (struct doctor){.loop = loop, .opts = opts};
    return d;
}

void doctor_opened(struct doctor *d, struct client *c)
{
    d->client = c;
    d->asked = client_receive(c, "_local/" HOST_DOCTOR, CREDIT, d);
    d->answer = client_sender(c, NULL, d);
}

// Links go with their connection, and with them who waits for an answer.
void doctor_closed(struct doctor *d)
{
    exam_free(d->exam);
    forget(d);
    *d = (struct doctor){.loop = d->loop, .opts = d->opts};
}

bool doctor_event(struct doctor *d, const struct client_event *ev)
{
    if (!ev->link || ev->user != d)
        return false;
    if (ev->type == CLIENT_MESSAGE)
        take(d, ev->message);
    return true;
}

void doctor_free(struct doctor *d)
{
    if (!d)
        return;
    doctor_closed(d);
    free(d);
}
