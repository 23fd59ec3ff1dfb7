// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <netdb.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/inside.h"

// Of the answer no more is kept than the beginning of a line. Nothing of it is repeated in words
// for people but its status: a proxy may well quote what it was told, the credentials too.

// --------------------------------------------------------------------------------------- proxies

static bool is_printable(const char *text)
{
    for (; text && *text; text++)
        if (iscntrl((unsigned char)*text))
            return false;
    return true;
}

static char *copy(const char *text)
{
    return text && text[0] ? xstrdup(text) : NULL;
}

int net_proxy_new(const struct net_proxy_opts *o, struct net_proxy **out, struct why *why)
{
    struct net_proxy *p;
    const char *wrong = NULL;

    if (!o->host || !o->host[0] || !o->port || !o->port[0])
        wrong = "host and port are needed";
    else if (o->username && (strchr(o->username, ':') || !is_printable(o->username)))
        wrong = "username: a colon or a control character cannot be in it";
    else if (o->password && o->password[0] && !(o->username && o->username[0]))
        wrong = "password: it needs a username";
    if (wrong) {
        why_set(why, "proxyProfile '%s': %s", o->name, wrong);
        return ERR_INVALID;
    }
    p = xcalloc(1, sizeof(*p));
    *p = (struct net_proxy){.refs = 1,
                            .name = xstrdup(o->name),
                            .host = xstrdup(o->host),
                            .port = xstrdup(port_text(o->port)),
                            .username = copy(o->username),
                            .password = copy(o->password)};
    *out = p;
    return 0;
}

struct net_proxy *net_proxy_ref(struct net_proxy *p)
{
    if (p)
        p->refs++;
    return p;
}

static void wipe(char *text)
{
    if (text)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

void net_proxy_unref(struct net_proxy *p)
{
    if (!p || --p->refs > 0)
        return;
    free(p->name);
    free(p->host);
    free(p->port);
    free(p->username);
    wipe(p->password);
    free(p);
}

// --------------------------------------------------------------------------------------- request

// "Proxy-Authorization: Basic …\r\n"; the caller wipes it. NULL with words: no password.
static char *authorization(const struct net_proxy *p, struct why *why)
{
    char password[TUNNEL_SECRET_MAX], *pair, *coded, *line = NULL;
    int len = p->password ? secret_read(p->password, password, sizeof(password)) : 0;

    if (len < 0) {
        why_set(why,
                "proxyProfile '%s': its password cannot be read where the attribute says, or is "
                "longer than %d octets",
                p->name, TUNNEL_SECRET_MAX - 1);
        return NULL;
    }
    password[len] = '\0';
    pair = str_fmt("%s:%s", p->username, password);
    coded = xcalloc(strlen(pair) / 3 + 1, 4 + 1);
    EVP_EncodeBlock((unsigned char *)coded, (const unsigned char *)pair, (int)strlen(pair));
    line = str_fmt("Proxy-Authorization: Basic %s\r\n", coded);
    OPENSSL_cleanse(password, sizeof(password));
    wipe(pair);
    wipe(coded);
    return line;
}

// A proxy knows ports by number alone.
static void port_number(const char *port, char out[16])
{
    char room[1024];
    struct servent known, *found = NULL;

    snprintf(out, 16, "%s", port_text(port));
    if (!isdigit((unsigned char)out[0]) &&
        getservbyname_r(port, "tcp", &known, room, sizeof(room), &found) == 0 && found)
        snprintf(out, 16, "%u", (unsigned)ntohs((uint16_t)found->s_port));
}

int tunnel_init(struct tunnel *t, const struct net_proxy *p, const char *host, const char *port,
                struct why *why)
{
    bool is_v6 = strchr(host, ':') != NULL;
    char *credentials = NULL, *place, number[16];

    *t = (struct tunnel){.proxy = p, .has_credentials = p->username != NULL};
    if (!is_printable(host) || !is_printable(port)) { // it would end the line it stands in
        why_set(why, "host or port: a control character cannot be in it; correct the connector");
        return ERR_INVALID;
    }
    if (p->username && !(credentials = authorization(p, why)))
        return ERR_INVALID;
    port_number(port, number);
    place = str_fmt("%s%s%s:%s", is_v6 ? "[" : "", host, is_v6 ? "]" : "", number);
    t->request = str_fmt("CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", place, place,
                         credentials ? credentials : "");
    t->request_len = strlen(t->request);
    wipe(credentials);
    free(place);
    return 0;
}

void tunnel_fini(struct tunnel *t)
{
    wipe(t->request);
    *t = (struct tunnel){0};
}

// ---------------------------------------------------------------------------------------- answer

static const struct {
    int status;
    const char *words;
} refusals[] = {
    {400, "it does not understand CONNECT: is it an HTTP proxy?"},
    {403, "it does not allow this: whoever runs the proxy has to allow CONNECT to that host and "
          "port"},
    {404, "it does not know the host: is the name right, where the proxy looks it up?"},
    {405, "it does not allow CONNECT: whoever runs the proxy has to allow it for that port"},
    {429, "it has too much to do: it is tried again"},
    {500, "it failed: its log tells why"},
    {501, "it does not know CONNECT: is it an HTTP proxy?"},
    {502, "it cannot reach that host and port: are they right, and is the site there running?"},
    {503, "it cannot reach that host and port: are they right, and is the site there running?"},
    {504, "it has no answer from that host and port: are they right, and is the site there "
          "running?"},
};

static const char *words_of(const struct tunnel *t)
{
    if (t->status == 407 && !t->has_credentials)
        return "it wants credentials: give a username and a password";
    if (t->status == 407 && !t->wants_basic)
        return "it wants other credentials than Basic ones, which are all that can be given";
    if (t->status == 407)
        return "it refuses the credentials: correct the username or the password";
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        if (refusals[i].status == t->status)
            return refusals[i].words;
    return "it refuses: its log tells why";
}

static int refuse(const struct tunnel *t, struct why *why)
{
    why_set(why, "the proxy answers %d: %s (proxyProfile '%s')", t->status, words_of(t),
            t->proxy->name);
    return ERR_CLOSED;
}

// "HTTP/1.1 200", of which `len` octets are there: could it be the beginning of an answer?
static bool is_answer(const char *line, size_t len)
{
    static const char like[] = "HTTP/1.d ddd";

    for (size_t i = 0; i < len && like[i]; i++)
        if (like[i] == 'd' ? !isdigit((unsigned char)line[i]) : line[i] != like[i])
            return false;
    return len <= 12 || line[12] == ' ';
}

static int garbage(const struct tunnel *t, struct why *why)
{
    why_set(why, "what answers is no HTTP proxy: are host and port of the proxyProfile '%s' right?",
            t->proxy->name);
    return ERR_DECODE;
}

// A line of the head has ended; ERR_AGAIN: it was not the last one.
static int end_line(struct tunnel *t, struct why *why)
{
    static const char scheme[] = "proxy-authenticate:";
    size_t len = t->line_len;
    const char *word = t->line + sizeof(scheme) - 1;

    t->line_len = 0;
    t->line[len < sizeof(t->line) ? len : sizeof(t->line) - 1] = '\0';
    if (t->status == 0) {
        if (len < 12)
            return garbage(t, why);
        t->status = atoi(t->line + 9);
        return t->status < 100 ? garbage(t, why) : ERR_AGAIN;
    }
    if (len > 0) {
        if (strncasecmp(t->line, scheme, sizeof(scheme) - 1) == 0)
            t->wants_basic |= strncasecmp(word + strspn(word, " \t"), "basic", 5) == 0;
        return ERR_AGAIN;
    }
    if (t->status < 200) { // the answer proper is still to come
        t->status = 0;
        return ERR_AGAIN;
    }
    return t->status < 300 ? 0 : refuse(t, why);
}

static int take(struct tunnel *t, uint8_t octet, struct why *why)
{
    if (t->answer_len++ >= TUNNEL_ANSWER_MAX) {
        why_set(why,
                "the proxy's answer is longer than %d octets: is it an HTTP proxy? (proxyProfile "
                "'%s')",
                TUNNEL_ANSWER_MAX, t->proxy->name);
        return ERR_LIMIT;
    }
    if (octet == '\n')
        return end_line(t, why);
    if (octet == '\r')
        return ERR_AGAIN;
    if (t->line_len < sizeof(t->line))
        t->line[t->line_len] = (char)octet;
    t->line_len++;
    if (t->status == 0 && t->line_len <= 13 && !is_answer(t->line, t->line_len))
        return garbage(t, why);
    return ERR_AGAIN;
}

size_t tunnel_feed(struct tunnel *t, const uint8_t *data, size_t len, int *result, struct why *why)
{
    size_t used = 0;

    *result = ERR_AGAIN;
    while (used < len && *result == ERR_AGAIN)
        *result = take(t, data[used++], why);
    return used;
}

void tunnel_cut(const struct tunnel *t, struct why *why)
{
    why_set(why,
            "the proxy closed the connection before its answer was whole: does it serve CONNECT, "
            "and us? Its log may tell (proxyProfile '%s')",
            t->proxy->name);
}

void tunnel_late(const struct tunnel *t, struct why *why)
{
    why_set(why,
            "the proxy did not answer in time: is it an HTTP proxy, and can it reach that host? "
            "(proxyProfile '%s')",
            t->proxy->name);
}
