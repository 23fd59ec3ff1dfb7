// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share.
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/metrics.h"
#include "base/rng.h"
#include "kube/kube.h"

// ------------------------------------------------------------------------------ text that grows

struct text {
    char *data; // NUL-terminated once something was added
    size_t len, size;
};
void text_add(struct text *t, struct str s);
// Percent-encoded, as a part of a path or query.
void text_add_escaped(struct text *t, const char *s);
// "?name=value", or with & when there is a query already.
void text_add_param(struct text *t, const char *name, const char *value);

// "/apis/apps/v1/namespaces/ns/deployments/name/status"; NULLs are left out.
void kind_path(struct text *t, const struct kube_kind *k, const char *ns, const char *name,
               const char *subresource);

// ------------------------------------------------------------------------------------- outcomes
// How one exchange with the server ended. Pure from here to the transport.

enum fail {
    FAIL_NONE,
    FAIL_CREDENTIALS, // there are none, or they cannot be read
    FAIL_CONNECT,     // nobody was reached, nothing was asked
    FAIL_TLS,         // not who it should be, or it does not accept us: so it stays
    FAIL_LOST,        // the connection broke, or there was no answer in time
    FAIL_CUT,         // we gave it up: too large, not understood
};

struct outcome {
    enum fail fail;
    int code;               // HTTP; 0: no answer
    int64_t retry_after_ms; // -1: it did not say
    bool is_json;           // by its Content-Type
    json_t *status;         // what came with a code that is no success, or NULL
    struct why why;         // of the failure
};
void outcome_fini(struct outcome *o);

// Pauses that double from `min_ms` to `max_ms`, of which between a half and all is waited.
struct pause {
    uint32_t min_ms, max_ms, next_ms;
};
uint32_t pause_next(struct pause *p, struct rng *rng);
void pause_reset(struct pause *p);

// How long to wait before a request is tried again, or -1: it has ended. `tries` so far, `left_ms`
// of its time.
int64_t retry_after(enum kube_verb verb, const struct outcome *o, uint32_t tries, int64_t left_ms,
                    struct pause *p, struct rng *rng);

// The result, code, reason and words of an answer; `what` was asked for ("get pods/x in namespace
// a").
void judge(struct kube_answer *a, const struct outcome *o, const char *what);

// ------------------------------------------------------------------------------------- cutting

// Cuts answers into objects as they come, so that a list is never in memory as a whole.
enum cut_mode {
    CUT_LINES, // a watch: an object each line
    CUT_ITEMS, // the items of a list; what is around them is collected in `rest`
};
struct cutter {
    enum cut_mode mode;
    size_t item_max, rest_max;
    struct text item, rest;
    char key[8];
    size_t key_len;
    int depth;
    bool in_text, is_escaped, is_key_items, in_items, is_item_done;
};
void cutter_fini(struct cutter *c);
void cutter_reset(struct cutter *c, enum cut_mode mode);
// Takes bytes off *in. Returns 1: `item` is one, NUL-terminated, until the next call; 0: more is
// needed; ERR_LIMIT; ERR_DECODE.
int cutter_next(struct cutter *c, struct str *in);

// -------------------------------------------------------------------------------------- keeping

// What is kept of an object, as kube_watch_opts.keep says, without resourceVersion. `object` is
// used up by this: the new value shares parts with it, and it lacks what is not kept.
json_t *keep_fields(json_t *object, const struct kube_kind *kind, const char *const *keep);

// ---------------------------------------------------------------------------------------- lists

// A list page by page. When its place in the list is forgotten by the server (410), it begins anew
// and asks for all in one, so that it comes to an end.
struct pager {
    struct cutter cutter;
    char *next; // the server's word for the next page; NULL: the first
    bool is_whole;
    char *version; // of the complete list
};
void pager_fini(struct pager *p);
void pager_restart(struct pager *p);
// Begins a page: what is asked for in addition.
void pager_begin(struct pager *p, struct text *path);
// As cutter_next(), the item parsed: a new reference. ERR_DECODE: it is no object with a name.
int pager_next(struct pager *p, struct str *in, json_t **item);
// The page has come to its end. 1: there are more; 0: that was all, `version` is there; ERR_DECODE:
// it is no list, or not all of it.
int pager_end(struct pager *p);
// 410: all that was told is void; true if that helps.
bool pager_is_expired(struct pager *p, const struct outcome *o);

// -------------------------------------------------------------------------------------- informers

// A cache that is kept equal to what the server has, as a value: paths to ask for come out, bytes
// and ends of answers go in.
struct informer {
    struct kube_watch_opts opts; // borrowed from the owner
    struct rng *rng;
    struct pager pager;
    struct cutter lines;
    struct pause pause;
    struct mono until;  // nothing is asked before
    struct mono opened; // the watch that is under way was answered
    bool is_asking, is_watching, must_list;
    bool is_synced, tell_synced, tell_trouble, tell_well;
    char *version; // where to watch from
    uint32_t generation;
    struct map objects; // "namespace/name" to struct entry
    size_t gone_count;  // of these: deleted, but not told yet
    char *packed;       // where most of their texts are; NULL: each is by itself
    size_t packed_len;
    struct list changed;
    struct entry *told; // lent by the last event
    json_t *object;     // the same
    uint32_t losses;    // of a connection, since a watch was answered
    enum kube_result trouble;
    struct why why; // of the trouble; "" none
};
void informer_init(struct informer *i, const struct kube_watch_opts *opts, struct rng *rng);
void informer_fini(struct informer *i);
// When it wants to ask; MONO_NEVER while it does.
struct mono informer_deadline(const struct informer *i);
// It asks: the path of a GET. informer_ended() must follow.
void informer_ask(struct informer *i, struct text *path);
// An answer with code 200 begins.
void informer_began(struct informer *i, struct mono now);
// False: the answer is of no more use, end it (FAIL_CUT).
bool informer_feed(struct informer *i, struct str bytes);
void informer_ended(struct informer *i, const struct outcome *o, struct mono now);
// There is something to tell; the next of it (without watch and user). False: nothing.
bool informer_is_pending(const struct informer *i);
bool informer_next(struct informer *i, struct kube_event *ev);
// What it keeps moves together.
void informer_rest(struct informer *i);
size_t informer_count(const struct informer *i);
json_t *informer_get(const struct informer *i, const char *ns, const char *name);
json_t *informer_each(const struct informer *i, const char *ns, size_t *at);

// ------------------------------------------------------------------------------------ transport
// From here on sockets, files and clocks.

// Fired from within kube_turn(), then disarmed.
struct wake {
    struct timer timer;
    void (*fire)(void *user, struct mono now);
    void *user;
};

// What a plugin answered.
struct credential {
    char *token, *cert, *key; // PEM texts; NULL: none
    int64_t expires;          // seconds since the epoch; 0: never
};
void credential_fini(struct credential *c);
// Its text (an ExecCredential of the version that was asked for). ERR_DECODE with words.
int credential_read(struct str text, const char *api_version, struct credential *out,
                    struct why *why);

struct plugin;

// metrics.c: what is told of it
enum { CODES_MAX = 24, ENDPOINTS_MAX = 48 };
struct kube_counts {
    struct code_count {
        int code; // HTTP; 0: no answer
        uint64_t count;
    } codes[CODES_MAX], retries[CODES_MAX];
    struct endpoint_times {
        char name[64];
        struct metrics_times times;
    } endpoints[ENDPOINTS_MAX];
};
struct kube;
void count_answer(struct kube *k, int code);
void count_time(struct kube *k, const char *path, double seconds);
void count_retry(struct kube *k, int code);

struct kube {
    struct kube_config *config;
    char *manager;
    struct rng rng;

    struct net_loop *loop; // NULL: none
    struct net_watch *watch;
    struct net_timer *timer;
    int epoll; // of libcurl's sockets and of the plugin
    struct heap wakes;

    void *multi;
    struct wake curl_wake;
    struct list exchanges; // all
    int carried_count;     // of these: libcurl has them
    struct list over;      // those that have ended and are not told yet
    struct mono heard;     // the server sent something

    struct credential credential; // of the plugin
    struct plugin *plugin;        // runs
    struct why plugin_why;        // it failed, words
    struct mono plugin_again;     // and is not run before

    struct list queued, flying, answered; // calls
    struct list for_us;                   // answered, not for the owner
    size_t call_count, flying_count;
    uint64_t last_number;
    struct call *told;

    struct list watches; // with something to tell first
    struct list leases;
    struct kube_counts counts;
};

void wake_set(struct kube *k, struct wake *w, struct mono at);
// Something may have to be done, or told, sooner than the loop knows.
void kube_arm(struct kube *k);

// One request on the wire and its answer.
struct exchange;
struct exchange_opts {
    const char *method, *path;
    const char *content_type; // of the body
    struct str body;          // copied
    uint32_t timeout_ms;      // for all of it; 0: as long as it is not silent (a watch)
    void (*began)(void *user, struct mono now); // a success begins; may be NULL
    bool (*feed)(void *user, struct str bytes); // of a success; false: end it
    void (*ended)(void *user, const struct outcome *o, struct mono now); // then it is gone
    void *user;
};
// None of the functions is called before this returns.
struct exchange *exchange_new(struct kube *k, const struct exchange_opts *opts);
void exchange_cancel(struct exchange *x); // nothing is called any more; NULL is fine
// For the client: those that waited for a credential begin, or fail.
void exchanges_go(struct kube *k);
// Tells those that have ended.
void exchanges_tell(struct kube *k, struct mono now);

int transport_init(struct kube *k, struct why *why);
void transport_fini(struct kube *k);
void transport_turn(struct kube *k, struct mono now);
// No connection that there is is trusted any more.
void transport_reset(struct kube *k);
// So many exchanges more, or less, are carried.
void transport_carry(struct kube *k, int more);

// 0: the credential is there; ERR_AGAIN: exchanges_go() will be called; ERR_INVALID with words.
int credential_get(struct kube *k, struct mono now, struct why *why);
// The server refused it. True: there may be another one now.
bool credential_refused(struct kube *k);
void plugin_cancel(struct plugin *p); // NULL is fine
void plugin_ready(struct kube *k, struct mono now);

// --------------------------------------------------------------------------------------- leases
// The rules of a lease, as a value: what to ask for comes out, answers go in.

enum lease_wish { LEASE_NOTHING, LEASE_GET, LEASE_CREATE, LEASE_UPDATE };

struct lease {
    const char *ns, *name, *identity; // borrowed from the owner
    json_t *object;                   // as the server had it last; NULL: not known, or none
    json_t *owner;                    // what it goes with, a reference; NULL: nothing
    bool is_absent;                   // the server has none
    char *holder;                     // "" nobody
    int64_t duration_ms;              // that the holder promised
    struct mono changed;              // when we saw the last change of it
    struct mono renewed;              // when we sent what made or kept it ours; INT64_MIN never
    struct mono next, sent;
    enum lease_wish asked; // and not answered
    bool is_held, is_releasing, is_released, tell;
};
void lease_init(struct lease *l, const char *ns, const char *name, const char *identity,
                struct mono now);
void lease_fini(struct lease *l);
void lease_own(struct lease *l, const json_t *owner); // copied
struct mono lease_deadline(const struct lease *l);
// At the deadline. A wish must be followed by lease_answered(); *body is the caller's, for CREATE
// and UPDATE. `epoch_us`: the time of day, for others to read.
enum lease_wish lease_tick(struct lease *l, struct mono now, int64_t epoch_us, json_t **body);
void lease_answered(struct lease *l, struct kube_answer *a, struct mono now, struct rng *rng);
void lease_release(struct lease *l, struct mono now);
