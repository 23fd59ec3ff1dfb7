// SPDX-License-Identifier: Apache-2.0
// Why a link does not come about. Each step says how it went, what that means and what to do next;
// after one that makes the following ones impossible, the next address is looked at.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "amqp/amqp.h"
#include "client/client.h"
#include "host/host.h"
#include "net/net.h"

enum {
    READ_MAX = 16 * 1024,
    SKEW_S = 60,        // a difference of clocks that harms nobody
    SOON_S = 7 * 86400, // an end that is worth a word
};

struct exam {
    const struct host_checkup *c;
    json_t *steps;
    char *endpoint;      // "inter-router west.example.org:55671"
    const char *port;    // that is connected to
    const char *address; // of the place that is looked at; NULL: none
    bool is_well;
};

static void add(struct exam *e, const char *step, const char *result, const char *message,
                const char *next)
{
    json_t *one =
        json_pack("{s:s, s:s*, s:s*, s:s, s:s, s:s*}", "step", step, "endpoint", e->endpoint,
                  "address", e->address, "result", result, "message", message, "next", next);

    if (e->c->told)
        e->c->told(one);
    json_array_append_new(e->steps, one);
}

static void well(struct exam *e, const char *step, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void well(struct exam *e, const char *step, const char *fmt, ...)
{
    struct why text;
    va_list args;

    va_start(args, fmt);
    vsnprintf(text.text, sizeof(text.text), fmt, args);
    va_end(args);
    add(e, step, "ok", text.text, NULL);
}

static void ill(struct exam *e, const char *step, const char *next, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void ill(struct exam *e, const char *step, const char *next, const char *fmt, ...)
{
    struct why text;
    va_list args;

    va_start(args, fmt);
    vsnprintf(text.text, sizeof(text.text), fmt, args);
    va_end(args);
    add(e, step, "failed", text.text, next);
    e->is_well = false;
}

// ---------------------------------------------------------------------------------- certificates

static void say_time(int64_t seconds, char out[64])
{
    const char *unit = "s";

    if (seconds >= INT64_C(2) * 86400) {
        seconds /= 86400;
        unit = "days";
    } else if (seconds >= INT64_C(2) * 3600) {
        seconds /= 3600;
        unit = "hours";
    } else if (seconds >= 120) {
        seconds /= 60;
        unit = "minutes";
    }
    snprintf(out, 64, "%lld %s", (long long)seconds, unit);
}

// Has it begun, and not ended? `whose`: "ours", "theirs".
static void check_time(struct exam *e, const char *whose, const struct pki_info *i)
{
    char date[SITE_TIME_MAX], span[64];

    if (e->c->now < i->not_before) {
        site_time_text(i->not_before, date);
        say_time(i->not_before - e->c->now, span);
        ill(e, "clock",
            "compare \"date -u\" here and there and set the clock that is wrong (or use NTP)",
            "the certificate \"%.100s\" (%s) begins at %s, which is %s from now: the clock of this "
            "machine is behind, or that of the machine that made it was ahead",
            i->name, whose, date, span);
    } else if (e->c->now >= i->not_after) {
        site_time_text(i->not_after, date);
        say_time(e->c->now - i->not_after, span);
        ill(e, "expiry",
            strcmp(whose, "ours") == 0
                ? "link anew: \"skupper token issue <file>\" there, \"skupper token redeem "
                  "<file>\" "
                  "here; or set the clock of this machine, if it is ahead"
                : "have it renewed there (\"skupper system reload\" makes what has ended anew, "
                  "unless the user supplied it); or set the clock of this machine, if it is ahead",
            "the certificate \"%.100s\" (%s) has ended at %s, %s ago", i->name, whose, date, span);
    } else {
        site_time_text(i->not_after, date);
        well(e, "expiry", "the certificate \"%.100s\" (%s) ends at %s%s", i->name, whose, date,
             i->not_after - e->c->now < SOON_S ? ": soon" : "");
    }
}

// A time at which the certificate is valid, the nearest to now: whose CA is wrong is told apart
// from whose clock is.
static int64_t valid_time(const struct pki_info *i, int64_t now)
{
    if (now < i->not_before)
        return i->not_before;
    return now >= i->not_after ? i->not_after - 1 : now;
}

bool host_check_credentials(const struct host_checkup *c, json_t *steps)
{
    struct exam e = {.c = c, .steps = steps, .is_well = true};
    static const char again[] = "link anew: \"skupper token issue <file>\" there, \"skupper token "
                                "redeem <file>\" here";
    struct pki_info info = {0}, ca = {0};
    struct why why = {""};

    if (!c->ca || pki_inspect(str_of(c->ca), &ca, &why) < 0) {
        ill(&e, "credentials", again, "there is no CA to know the other site by%s%s",
            why.text[0] ? ": " : "", why.text);
        return false;
    }
    if (!c->cert && !c->key) { // a token: it brings the CA alone
        check_time(&e, "ours", &ca);
    } else if (!c->cert || !c->key || pki_check_key(str_of(c->cert), str_of(c->key), &why) < 0 ||
               pki_inspect(str_of(c->cert), &info, &why) < 0) {
        ill(&e, "credentials", again, "there is no certificate to show to the other site: %s",
            why.text[0] ? why.text : "the certificate or its key is missing");
    } else {
        struct pki_check check = {.cert = str_of(c->cert),
                                  .ca = str_of(c->ca),
                                  .use = PKI_CLIENT,
                                  .now = valid_time(&info, c->now)};

        // Theirs is checked with this CA, ours may be of another one.
        well(&e, "credentials", "certificate \"%.100s\" with its key, %s \"%.100s\"", info.name,
             pki_check(&check, NULL) == 0 ? "of the CA" : "which is not of the CA",
             pki_check(&check, NULL) == 0 ? info.issuer : ca.name);
        check_time(&e, "ours", &info);
    }
    pki_info_fini(&info);
    pki_info_fini(&ca);
    return e.is_well;
}

static void check_certificate(struct exam *e, const char *chain)
{
    const struct host_checkup *c = e->c;
    struct pki_check check = {
        .cert = str_of(chain), .ca = str_of(c->ca), .use = PKI_SERVER, .now = c->now};
    struct pki_info info;
    struct why why = {""};

    if (pki_inspect(str_of(chain), &info, &why) < 0) {
        ill(e, "certificate", "see the log of the other router", "what it shows: %s", why.text);
        return;
    }
    check.now = valid_time(&info, c->now);
    if (pki_check(&check, &why) < 0) {
        ill(e, "certificate",
            "what answers is not the site that gave the token, or that site was made anew: issue a "
            "new token there and redeem it here",
            "%s", why.text);
    } else {
        check.host = c->host;
        if (pki_check(&check, &why) < 0)
            ill(e, "certificate",
                "link to a name that it is for, or have the site there know this name: "
                "subjectAlternativeNames of its RouterAccess",
                "%s", why.text);
        else
            well(e, "certificate", "\"%.100s\" of the CA \"%.100s\", for %.100s", info.name,
                 info.issuer, c->host);
    }
    check_time(e, "theirs", &info);
    pki_info_fini(&info);
}

// ------------------------------------------------------------------------------------------ AMQP

// What the connection has to say; empty until it has met the peer or given up.
struct meeting {
    struct amqp_conn *conn;
    struct exam *e;
    struct net_probe *probe;
    bool is_over, is_answered;
    char mechanisms[128];
};

// The names in "[array[:EXTERNAL, :ANONYMOUS]]".
static void note_mechanisms(struct meeting *m)
{
    char *line, *at;

    while ((line = amqp_conn_next_trace(m->conn)) != NULL) {
        at = strstr(line, "<- @sasl-mechanisms");
        for (at = at ? strchr(at, ':') : NULL; at; at = strchr(at, ':')) {
            size_t len = strcspn(++at, ",]"), used = strlen(m->mechanisms);

            snprintf(m->mechanisms + used, sizeof(m->mechanisms) - used, "%s%.*s", used ? ", " : "",
                     (int)len, at);
        }
        free(line);
    }
}

static void met(struct meeting *m)
{
    const struct amqp_peer *peer = amqp_conn_peer(m->conn);
    json_t *properties = client_json(peer->properties);
    const char *product = site_text(properties, "product"),
               *version = site_text(properties, "version");

    well(m->e, "protocol", "AMQP 1.0; SASL offered: %s; router \"%.*s\"%s%.60s%s%.30s",
         m->mechanisms, (int)(peer->container_id.len < 100 ? peer->container_id.len : 100),
         peer->container_id.ptr, product[0] ? ", " : "", product, version[0] ? " " : "", version);
    json_decref(properties);
}

static void take_events(struct meeting *m)
{
    struct amqp_event ev;

    while (amqp_conn_next(m->conn, &ev)) {
        if (ev.type == AMQP_EV_OPENED) {
            met(m);
            amqp_conn_close(m->conn, NULL, NULL);
            m->is_over = true;
        } else if (ev.type == AMQP_EV_CLOSED && !m->is_over) {
            note_mechanisms(m);
            ill(m->e, "protocol",
                "see the log of the other router; the port must be that of a listener of the role "
                "of this link, with saslMechanisms EXTERNAL",
                "no AMQP connection: %.*s %.*s%s%s", STR_ARG(ev.ended.condition),
                STR_ARG(ev.ended.description), m->mechanisms[0] ? "; it offers " : "",
                m->mechanisms);
            m->is_over = true;
        }
    }
}

static int send_output(struct meeting *m, struct why *why)
{
    struct buf *out = amqp_conn_output(m->conn);
    const uint8_t *data;
    size_t len;
    int err = 0;

    while (!err && out->len > 0) {
        data = buf_front(out, &len);
        err = net_probe_write(m->probe, data, len, why);
        buf_skip(out, len);
    }
    amqp_conn_sent(m->conn);
    note_mechanisms(m);
    return err;
}

// The first octets that come: in TLS 1.3 they are the first that tells whether our certificate is
// accepted, and they may be of anything.
static bool is_amqp(struct meeting *m, const uint8_t *data, size_t len)
{
    struct str line = {(const char *)data, len < 40 ? len : 40};

    m->is_answered = true;
    if (net_probe_is_asked(m->probe))
        well(m->e, "accepted", "the other side takes our certificate");
    if (len >= 4 && memcmp(data, "AMQP", 4) == 0)
        return true;
    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] < ' ' || line.ptr[i] > '~')
            line.len = i;
    ill(m->e, "protocol",
        "is the port the right one? Links go to that of the role inter-router or edge",
        "what answers does not speak AMQP but %s: \"%.*s\"",
        len >= 5 && memcmp(data, "HTTP/", 5) == 0 ? "HTTP" : "something else", STR_ARG(line));
    m->is_over = true;
    return false;
}

static void lost(struct meeting *m, int err, const char *words)
{
    if (!m->is_answered && err != ERR_AGAIN && net_probe_is_asked(m->probe))
        ill(m->e, "accepted",
            "was the token issued before the site there was made anew, or its CA renewed? Issue a "
            "new one and redeem it here",
            "%s", words);
    else
        ill(m->e, "protocol", "is the port that of a router? See its log",
            err == ERR_AGAIN ? "it takes what we say and does not answer: %s" : "%s", words);
    m->is_over = true;
}

static void meet(struct exam *e, struct net_probe *p)
{
    struct pool *pool = pool_new(READ_MAX, 64);
    struct amqp_conn_opts opts = {.pool = pool,
                                  .container_id = "skupper-link-doctor",
                                  .hostname = e->c->host,
                                  .frame_size_max = READ_MAX,
                                  .link_max = 16,
                                  .incoming_window = 16,
                                  .output_max = READ_MAX,
                                  .sasl_mechanisms = AMQP_SASL_EXTERNAL};
    struct meeting m = {.e = e, .probe = p, .conn = amqp_conn_new(&opts, mono_now())};
    struct mono until = mono_add_ms(mono_now(), e->c->timeout_ms);
    uint8_t data[READ_MAX] = {0};
    struct why why = {""};
    int n;

    amqp_conn_trace(m.conn, true);
    while (!m.is_over) {
        int64_t left = mono_ms_between(mono_now(), until);

        n = send_output(&m, &why);
        if (n == 0)
            n = net_probe_read(p, data, sizeof(data), left > 0 ? (uint32_t)left : 0, &why);
        if (n < 0) {
            lost(&m, n, why.text);
        } else if (m.is_answered || is_amqp(&m, data, (size_t)n)) {
            amqp_conn_feed(m.conn, data, (size_t)n, mono_now());
            take_events(&m);
        }
    }
    (void)send_output(&m, NULL); // the goodbye
    amqp_conn_free(m.conn);
    pool_free(pool);
}

// ------------------------------------------------------------------------------------------ HTTP

static void check_date(struct exam *e, const char *text)
{
    const char *field = strcasestr(text, "\ndate:");
    struct tm tm = {0};
    int64_t there;
    char span[64];

    if (!field || !strptime(field + 6 + strspn(field + 6, " "), "%a, %d %b %Y %H:%M:%S GMT", &tm))
        return;
    there = timegm(&tm);
    say_time(there > e->c->now ? there - e->c->now : e->c->now - there, span);
    if (there - e->c->now <= SKEW_S && e->c->now - there <= SKEW_S)
        well(e, "clock", "the clocks here and there differ by %s", span);
    else
        ill(e, "clock", "set the clock that is wrong (or use NTP)",
            "the clock there is %s %s of the one here", span,
            there > e->c->now ? "ahead" : "behind");
}

// A server of tokens: is one there? No token is used up by it.
static void greet(struct exam *e, struct net_probe *p)
{
    char *text = str_fmt("GET / HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n\r\n", e->c->host,
                         e->c->port);
    char answer[READ_MAX + 1];
    struct why why = {""};
    size_t len = 0;
    int n = net_probe_write(p, text, strlen(text), &why);

    free(text);
    answer[0] = '\0';
    while (n >= 0 && len < READ_MAX && !strstr(answer, "\r\n\r\n")) {
        n = net_probe_read(p, answer + len, READ_MAX - len, e->c->timeout_ms, &why);
        len += n > 0 ? (size_t)n : 0;
        answer[len] = '\0';
    }
    if (len >= 7 && memcmp(answer, "HTTP/1.", 7) == 0) {
        well(e, "protocol", "HTTP answers: %.*s", (int)strcspn(answer, "\r\n"), answer);
        check_date(e, answer);
    } else {
        ill(e, "protocol", "is the URL in the token that of the site that issued it?",
            "what answers does not speak HTTP: %s", len ? "something else" : why.text);
    }
}

// ------------------------------------------------------------------------------------- one address

static bool check_route(struct exam *e, const struct net_found *place)
{
    char source[48];
    struct why why = {""};

    if (net_probe_route(place, source, &why) == 0) {
        well(e, "route", "there is one, from %s", source);
        return true;
    }
    ill(e, "route",
        e->c->is_pod
            ? "has the cluster a network of this family (IPv4, IPv6)? Its pods have no way there"
            : "\"ip route get <address>\" shows what is missing: a route, or an interface that is "
              "down",
        "there is no way to %s from here: %s", place->text, why.text);
    return false;
}

static struct net_probe *check_port(struct exam *e, const struct net_found *place)
{
    struct net_probe *p = NULL;
    struct why why = {""};
    int err = net_probe_connect(place, e->c->timeout_ms, &p, &why);

    if (err == 0)
        well(e, "port", "port %s is open", e->port);
    else if (err == ERR_CLOSED)
        ill(e, "port",
            e->c->proxy.host
                ? "is the proxy running, and are host and port in its Secret right?"
                : "is the site there running (\"skupper site status\"), and does it accept links "
                  "at this port?",
            "port %s is refused: the machine is there, but nothing listens, or a firewall says so",
            e->port);
    else if (err == ERR_AGAIN)
        ill(e, "port",
            e->c->is_pod
                ? "let the port through: a NetworkPolicy or an egress rule of this cluster, "
                  "firewalls on the way; or is the machine off?"
                : "let the port through in the firewalls on the way, or is the machine off?",
            "no answer from port %s in %u.%u s: something on the way swallows it", e->port,
            e->c->timeout_ms / 1000, e->c->timeout_ms % 1000 / 100);
    else
        ill(e, "port", "look at the network between here and there", "port %s: %s", e->port,
            why.text);
    return p;
}

static bool check_proxy(struct exam *e, struct net_probe *p)
{
    const struct host_proxy *to = &e->c->proxy;
    struct net_proxy_opts opts = {.name = to->name,
                                  .host = to->host,
                                  .port = to->port,
                                  .username = to->username,
                                  .password = to->password};
    struct why why = {""};

    if (!to->host)
        return true;
    if (net_probe_tunnel(p, &opts, e->c->host, e->c->port, &why) == 0) {
        well(e, "proxy", "it lets us through to %.100s:%s", e->c->host, e->c->port);
        return true;
    }
    ill(e, "proxy",
        "correct the Secret that spec.settings.proxy-configuration of the link names, or ask "
        "whoever runs the proxy",
        "%s", why.text);
    return false;
}

static bool check_tls(struct exam *e, struct net_probe *p)
{
    struct net_probe_tls opts = {.host = e->c->host, .cert = e->c->cert, .key = e->c->key};
    struct why why = {""};
    int err = net_probe_tls(p, &opts, &why);

    if (err == 0) {
        well(e, "tls", "%s%s", net_probe_protocol(p),
             net_probe_is_asked(p) ? ", our certificate is asked for" : "");
        return true;
    }
    if (err == ERR_DECODE || err == ERR_AGAIN)
        ill(e, "tls",
            "is the port the right one? Links go to that of the role inter-router or edge", "%s",
            err == ERR_AGAIN ? "the port is open, but nobody answers with TLS" : why.text);
    else
        ill(e, "tls", "see the log of the other router", "the handshake fails: %s", why.text);
    return false;
}

static void check_place(struct exam *e, const struct net_found *place)
{
    struct net_probe *p = NULL;
    char *chain = NULL;

    e->address = place->text;
    if (check_route(e, place) && (p = check_port(e, place)) != NULL && check_proxy(e, p) &&
        check_tls(e, p)) {
        chain = net_probe_chain(p);
        if (chain)
            check_certificate(e, chain);
        if (strcmp(e->c->role, "grant") == 0)
            greet(e, p);
        else
            meet(e, p);
    }
    free(chain);
    net_probe_free(p);
}

bool host_check_way(const struct host_checkup *c, json_t *steps)
{
    const char *host = c->proxy.host ? c->proxy.host : c->host;
    struct exam e = {
        .c = c, .steps = steps, .port = c->proxy.host ? c->proxy.port : c->port, .is_well = true};
    struct net_found *places = NULL;
    struct why why = {""};
    int count = net_probe_resolve(host, e.port, &places, &why);

    signal(SIGPIPE, SIG_IGN);
    e.endpoint = str_fmt("%s %s:%s", c->role, c->host, c->port);
    if (count < 0)
        ill(&e, "name",
            c->is_pod ? "is the name right, does the DNS of the cluster know it, and does a "
                        "NetworkPolicy let this pod ask it?"
                      : "\"getent hosts <name>\" asks the same: is the name right, and does the "
                        "DNS of this machine know it?",
            "\"%.100s\" has no address: %s", host, why.text);
    else
        well(&e, "name", "%s%.100s has %d address%s", c->proxy.host ? "the proxy " : "", host,
             count, count == 1 ? "" : "es");
    for (int i = 0; i < count; i++)
        check_place(&e, &places[i]);
    free(places);
    free(e.endpoint);
    return e.is_well;
}
