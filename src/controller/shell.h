// SPDX-License-Identifier: Apache-2.0
// The shell around the plan: one loop, a cache for each kind, and a space for each namespace.
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/metrics.h"
#include "controller/inside.h"
#include "host/host.h"
#include "kube/kube.h"
#include "net/net.h"

struct web;

enum { KINDS_MAX = 32 };

struct counters {
    uint64_t plans, writes, refusals, events;
    // Of namespaces, which wait to be planned: how often, how long each waited and took, and how
    // often one was put off because something was refused.
    uint64_t marks, retries;
    struct metrics_times waited, took;
    uint64_t news[KINDS_MAX]; // of watches, as controller_kinds
};

struct call;
struct controller {
    struct controller_opts opts;
    struct controller_settings settings; // with what the cluster says
    struct net_loop *loop;
    struct kube *kube;
    struct kube_lease *lease;
    struct kube_watch *watches[KINDS_MAX]; // in the order of controller_kinds; NULL: not watched
    struct kube_watch *definitions;        // of resources; NULL: the right to see them is missing
    bool denied[KINDS_MAX];                // kinds that are as if they were not there
    struct net_timer look_timer;
    struct list calls;          // without an answer
    size_t asked;               // APIs of which it is not known yet whether they are there
    bool knows_own, knows_apps; // it is known which kinds of skupper.io there are, and of apps
    bool has_begun;             // everything is listed
    bool is_leader, is_ending, is_lost;
    struct map spaces; // by name of the namespace
    struct net_timer rest_timer;
    struct net_signals *signals;
    struct web *pages; // NULL: there are none
    struct issuing *issuing;
    struct grants *grants; // NULL: grants are not served
    struct claims *claims; // NULL: there can be no site of version 1
    struct counters counters;
};

// run.c
// The cache of a kind; NULL: there is none.
struct kube_watch *watch_of(const struct controller *c, const char *kind);
struct kube_watch *watch_for(const struct controller *c, const char *kind, const char *name);
// Everything of the kinds that a plan reads in a namespace; adds new references to the list.
void list_objects(const struct controller *c, const char *ns, json_t *list);

void watch_kind(struct controller *c, size_t i); // that of controller_kinds

// discovery.c: watches the kinds that are optional when they are there
void discovery_begin(struct controller *c);
void discovery_answer(struct controller *c, const struct call *call, const struct kube_answer *a);
bool discovery_event(struct controller *c, const struct kube_event *ev); // true: it was about that
void discovery_free(struct controller *c);

// space.c: one namespace: when it is planned, what is being done to it
struct space;
struct space *space_of(struct controller *c, const char *ns); // made when it is not there
void space_mark(struct space *s);                             // something is new
void space_settle(struct space *s);                           // it may be possible to plan it now
void space_event(struct space *s, const json_t *object, bool is_deleted);
void spaces_mark(struct controller *c);
// An Event on each Site there is, whoever is in charge of it.
void spaces_tell(struct controller *c, const char *reason, const char *words);
void spaces_retry(struct controller *c);           // what was refused too, without waiting
size_t spaces_waiting(const struct controller *c); // for a plan
void spaces_free(struct controller *c);

// What was asked for, while there is no answer.
enum call_type {
    CALL_DISCOVERY,
    CALL_OPERATION,
    CALL_EVENT,
    CALL_COUNT,
    CALL_EXPOSING,
    CALL_CLAIM_COUNT,
    CALL_CLAIM_READ,
    CALL_CLAIM_WRITE,
};
struct call {
    struct list on_controller;
    enum call_type type;
    size_t kind;         // of DISCOVERY
    struct space *space; // of OPERATION
    json_t *operation;
    uint64_t number; // of …COUNT: for host_grants_counted(), with the uid of the grant
    char *uid;
    int tries; // of CLAIM_COUNT
};
// One of these; what it has is its own.
struct call *call_new(struct controller *c, struct call is);
void call_free(struct call *take);
void space_answer(struct space *s, struct call *take, struct kube_answer *answer);

// issuing.c: keys, made in a thread
struct issuing;
// Called from the loop, or at once when no thread can be had: the Secret is the callee's, NULL with
// an error and words. `wish` as it was given.
typedef void issued(void *user, int err, json_t *take_secret, const json_t *wish, const char *why);
int issuing_new(struct net_loop *loop, struct issuing **out, struct why *why);
void issuing_free(struct issuing *i); // nothing is told any more; returns when the thread has ended
// As controller_issue(); everything is copied.
void issuing_start(struct issuing *i, const json_t *wish, const json_t *ca, const json_t *before,
                   int64_t now, issued *done, void *user);

// token_server.c: a server of tokens: host_grants with the certificate of a Secret, for as long as
// there is one, and what it was told of last.
struct token_server {
    struct controller *c;
    const char *what, *one;
    struct host_grants_opts opts;
    struct host_grants *server; // NULL: it does not listen (yet)
    int cert, key;              // files in memory
    char cert_file[32], key_file[32];
    char *ca;      // of the certificate, PEM; "": nothing yet
    char *content; // digest of what the files have; "": nothing yet
    char *trouble; // why it does not listen, or shows an old certificate; "": it does, or will
    struct net_timer again;
    struct site_grant *list; // with `count` entries, as are the objects that they stand in
    json_t **objects;
    size_t count;
};
struct token_server_opts {
    const char *what, *one;                     // "tokens", "grant", for words; borrowed
    struct host_grants_opts server;             // without files; the port is borrowed
    void (*again)(void *user, struct mono now); // some time after each trouble
};
// ERR_IO; fini also when it fails.
int token_server_init(struct token_server *t, struct controller *c,
                      const struct token_server_opts *opts, struct why *why);
void token_server_fini(struct token_server *t); // zeroed memory is fine
// Begins to listen, or takes the certificate of the Secret up when it is another one. What goes
// wrong is in `trouble` and the log; what is new marks all spaces. `place` is for the log.
void token_server_show(struct token_server *t, const json_t *secret, const char *place);
// The list is for the callback `grants`: it is made anew each time.
void token_server_clear(struct token_server *t);
void token_server_add(struct token_server *t, struct site_grant *take, json_t *take_object);
// The answer to a call that counted a redemption: it is given out when the grant is still there.
void token_server_counted(struct token_server *t, const struct call *call, int err,
                          const char *why);

// grants.c: the server that redeems tokens of AccessGrants
struct grants;
int grants_new(struct controller *c, struct grants **out, struct why *why);
void grants_free(struct grants *g); // NULL is fine
// {name: …} of the AccessGrants among the objects, as site_facts.grants wants it; the caller's.
json_t *grants_facts(struct grants *g, const json_t *objects);
// Does it say where the server is, or what it shows?
bool grants_is_about(const struct grants *g, const json_t *object);
void grants_refresh(struct grants *g); // takes that up; NULL is fine
// The answer to CALL_COUNT and CALL_EXPOSING.
void grants_answer(struct grants *g, const struct call *call, const struct kube_answer *answer);

// expose.c: makes the SecuredAccess of that name, which leads to this pod, and its CA, and makes
// them again when they are gone. What goes wrong is logged, and tried again.
#define GRANT_ACCESS "skupper-grant-server"
struct exposing;
struct exposing *exposing_new(struct controller *c);
void exposing_free(struct exposing *e); // NULL is fine
void exposing_look(struct exposing *e); // starts what is to be done
void exposing_answer(struct exposing *e, const struct kube_answer *answer);

// tokens.c: the AccessTokens of one namespace
struct tokens;
struct tokens *tokens_new(struct controller *c, const char *ns, void (*changed)(void *user),
                          void *user);
void tokens_free(struct tokens *t);
// Starts what is to be redeemed, and adds operations for what redemptions gave.
void tokens_look(struct tokens *t, const json_t *objects, json_t *operations);
// {name: …} as site_facts.tokens wants it; the caller's.
json_t *tokens_facts(const struct tokens *t, const json_t *objects);

// claims.c: claims of a site of version 1, of which a controller for one namespace has one at most.
// Those that its Secrets record are redeemed at a server of their own.
struct claims;
int claims_new(struct controller *c, struct claims **out, struct why *why);
void claims_free(struct claims *cl); // NULL is fine
// After each plan: plan.token.
void claims_look(struct claims *cl, const json_t *token);
// As plan_facts.claims_trouble. NULL is fine.
const char *claims_trouble(const struct claims *cl);
bool claims_event(struct claims *cl, const struct kube_event *ev); // true: it was about them
// The answer to one of CALL_CLAIM_….
void claims_answer(struct claims *cl, const struct call *call, const struct kube_answer *answer);
// A Secret of the namespace: a new reference, or NULL.
json_t *claims_secret(const struct controller *c, const char *name);

// claiming.c: claims of others, Secrets of the namespace that become links
struct claiming;
struct claiming *claiming_new(struct controller *c);
void claiming_free(struct claiming *cl); // NULL is fine
// Starts what is to be redeemed of the Secrets (a cache). `site_id` NULL: there is no site, all
// ends.
void claiming_look(struct claiming *cl, const struct kube_watch *secrets, const char *site_id);
void claiming_answer(struct claiming *cl, const struct call *call,
                     const struct kube_answer *answer);

// serve.c: /healthz and /metrics
int serve_new(struct controller *c, const char *address, struct web **out, struct why *why);
