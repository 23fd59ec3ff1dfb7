// SPDX-License-Identifier: Apache-2.0
// A client of the Kubernetes API: where the server is and who we are (struct kube_config), requests
// and their answers, watches with a cache that keeps the fields that are used, and a lease that one
// of several holds. Over libcurl, which is loaded when the first client is made.
//
// A client lives on one thread: on an event loop (net/net.h), where everything is sent and told
// later, or without one, where kube_call() waits for its answer. Events are polled. In a loop, call
// kube_next() until it says no in the loop's `turn` hook:
//
//     static void turn(void *user, struct mono now)
//     {
//         while (kube_next(k, &ev))
//             switch (ev.type) { ... }
//     }
//
// Nobody is called back. What waits is bounded: requests by KUBE_CALLS_MAX, changed objects by
// being told once each, as they are then, however often they changed in between.
//
// A cache is deleted from only when the server says so: by a DELETED event, or by a complete new
// list without the object. While the server is away, refuses, or sends nonsense, everything stays,
// KUBE_EV_TROUBLE has the words, and the watch tries again by itself for ever.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mono.h"
#include "base/str.h"
#include "base/why.h"

struct net_loop;

enum {
    // One object, or one event of a watch, as JSON text: what a server takes, with every byte of it
    // written as an escape of six characters.
    KUBE_OBJECT_MAX = 12 * 1024 * 1024,
    KUBE_ANSWER_MAX = 16 * 1024 * 1024, // one answer that is no list
    KUBE_CALLS_MAX = 4096,              // requests that are not answered yet
    KUBE_TIMEOUT_MS = 30 * 1000,        // for a request with all its tries, unless it says else
};

// ------------------------------------------------------------------------------- configuration

// What the command line gave; NULL: nothing. Then as kubectl does: the files of KUBECONFIG, merged,
// what comes first wins; or ~/.kube/config; or, without any of these and within a pod, what is
// mounted there.
struct kube_config_opts {
    const char *kubeconfig; // one file, instead of all others
    const char *context;
    const char *ns;
};

// One server, one user, one namespace. Credentials in files are read when they are used, and again
// when they may have changed.
struct kube_config;

// Returns 0, or with words ERR_NOT_FOUND (no file, no such context, cluster or user), ERR_DECODE or
// ERR_INVALID (what a file says cannot be used) or ERR_IO.
int kube_config_load(const struct kube_config_opts *opts, struct kube_config **out,
                     struct why *why);
void kube_config_free(struct kube_config *c); // NULL is fine
// "default" if nothing says another. Borrowed, as are the next two.
const char *kube_config_namespace(const struct kube_config *c);
const char *kube_config_context(const struct kube_config *c); // "" within a pod
const char *kube_config_server(const struct kube_config *c);  // "https://192.0.2.1:6443"

// --------------------------------------------------------------------------------------- kinds

struct kube_kind {
    const char *group; // "" is the core group
    const char *version;
    const char *kind;   // "Pod"
    const char *plural; // "pods"
    bool is_cluster;    // stands in no namespace
};

// One of those we have to do with, by apiVersion ("v1", "apps/v1") and kind; NULL: none.
const struct kube_kind *kube_kind(const char *api_version, const char *kind);
// That of an object.
const struct kube_kind *kube_kind_of(const json_t *object);

// -------------------------------------------------------------------------------------- client

struct kube;

struct kube_opts {
    struct net_loop *loop; // NULL: none, kube_call() and kube_wait() wait
    const char *manager;   // field manager of what it writes, and its User-Agent
};

// ERR_UNSUPPORTED with words: libcurl is not installed. `take` is the client's in any case.
int kube_new(struct kube_config *take, const struct kube_opts *opts, struct kube **out,
             struct why *why);
// Requests that are not answered are given up, watches and leases end with it.
void kube_free(struct kube *k); // NULL is fine
const struct kube_config *kube_config_of(const struct kube *k);

// ------------------------------------------------------------------------------------ requests

enum kube_verb {
    KUBE_GET,
    KUBE_LIST, // all pages of it
    KUBE_CREATE,
    KUBE_UPDATE,      // conflicts when metadata.resourceVersion of `body` is not the newest
    KUBE_MERGE_PATCH, // the fields of `body`; null deletes one
    KUBE_JSON_PATCH,  // `body` is a list of operations
    KUBE_APPLY,       // server-side apply: the fields of `body` are ours from now on, no others
    KUBE_DELETE,
};

struct kube_request {
    enum kube_verb verb;
    const struct kube_kind *kind;
    // NULL: in LIST all; else the object's own, else the configured one.
    const char *ns;
    const char *name;        // NULL: the object's own in CREATE, UPDATE and APPLY
    const char *subresource; // "status", "log"; NULL: none
    const json_t *body;      // borrowed for the call
    const char *labels;      // LIST: selector "app=backend,tier!=db"; NULL: all
    const char *fields;      // LIST: selector "spec.nodeName=a"; NULL: all
    const char *const *keep; // LIST: as in kube_watch_opts
    const char *manager;     // NULL: the client's
    bool force;              // APPLY: fields of other managers become ours
    // DELETE: only this very object; NULL: whatever has the name. Then what becomes of those it
    // owns: "Background" (NULL), "Foreground", "Orphan".
    const char *uid, *resource_version, *propagation;
    // Instead of a kind: "/version", or with a query "/api/v1/…/log?container=router". What is not
    // JSON is answered as text.
    const char *path;
    uint32_t timeout_ms; // 0: KUBE_TIMEOUT_MS
    bool is_hasty;       // for somebody who waits: no connection is an answer, too
    void *user;          // comes back in the event
};

enum kube_result {
    KUBE_OK,
    KUBE_NOT_FOUND,    // no such object, or the server does not know its kind
    KUBE_EXISTS,       // CREATE
    KUBE_CONFLICT,     // not the newest version, or not that object: read it again
    KUBE_OWNED,        // APPLY: a field belongs to another manager; the words say which and whose
    KUBE_REFUSED,      // 400, 422 and the like: it will be refused again
    KUBE_FORBIDDEN,    // the rights are missing
    KUBE_UNAUTHORIZED, // it does not know us
    KUBE_BUSY,         // too many requests, or an error within the server, to the last try
    KUBE_UNREACHABLE,  // no answer. A CREATE may have been done all the same
    KUBE_UNUSABLE,     // an answer that is not understood, or too large
};

struct kube_answer {
    enum kube_result result;
    int code;        // HTTP; 0: there was no answer
    char reason[64]; // of the server's Status ("AlreadyExists"), "" if it gave none
    struct why why;  // words unless KUBE_OK: what, where, why, what to do
    json_t *value;   // the object; a List with its items; NULL
    char *text;      // what is not JSON, or NULL
    size_t text_len;
};

// A negative enum err for a result, 0 for KUBE_OK.
int kube_result_err(enum kube_result result);
void kube_answer_fini(struct kube_answer *a);

// Starts it; everything given is copied, but the kind, and `keep` of a LIST, which must stay until
// the answer. The answer comes as KUBE_EV_ANSWER with its number. What
// makes no sense (a body without a name) and what there is no room for is answered too.
//
// It is tried again until its time is over: always when it cannot have been done (no connection,
// 429), and unless it is a CREATE also when the answer was lost, or is 500, 502, 503 or 504; after
// Retry-After, or pauses that double from 100 ms to 5 s, with jitter. The order of requests for one
// object is not kept unless one waits for the answer.
uint64_t kube_send(struct kube *k, const struct kube_request *r);
// Its answer is not told any more. It may be done all the same. Unknown numbers are fine.
void kube_forget(struct kube *k, uint64_t number);

// What it counts, behind *text (base/metrics.h).
void kube_put_metrics(const struct kube *k, char **text);

// Without a loop: sends it and waits. *out is the caller's in any case. Returns
// kube_result_err(out->result).
int kube_call(struct kube *k, const struct kube_request *r, struct kube_answer *out);
// Without a loop: waits until there is something for kube_next(), at most until then.
void kube_wait(struct kube *k, struct mono until);

// ------------------------------------------------------------------------------------- watches

struct kube_watch_opts {
    const struct kube_kind *kind; // lives as long as the watch
    const char *ns;               // NULL: all
    const char *labels, *fields;  // selectors, as in a request; NULL: none
    // What is kept of an object, NULL at the end: paths as "spec.ports", "status.podIP". Through a
    // list they mean each item ("status.conditions.type"); a key with dots, or keys that begin so,
    // stand in brackets ("metadata.annotations[skupper.io/*]"). apiVersion, kind, and of metadata
    // name, namespace, uid, resourceVersion and deletionTimestamp are always there. NULL:
    // everything but managedFields and kubectl's annotation of what was applied last. Lives as long
    // as the watch.
    const char *const *keep;
    void *user;
};

// Lists, then watches, from now on and for ever. A change that nothing of what is kept shows is not
// told; resourceVersion in the cache is the newest all the same.
struct kube_watch;
struct kube_watch *kube_watch_new(struct kube *k, const struct kube_watch_opts *opts);
void kube_watch_free(struct kube_watch *w); // NULL is fine

// Everything has been listed, once; what is told of it may still wait for kube_next().
bool kube_watch_is_synced(const struct kube_watch *w);
// Why it does not work at this moment; NULL: it does.
const char *kube_watch_trouble(const struct kube_watch *w);
// What the caches of all watches keep moves together, so that the memory around it can go back: for
// a time when nothing much is to be done.
void kube_rest(struct kube *k);
size_t kube_watch_count(const struct kube_watch *w);
// The object as it is now: a new reference, or NULL. `ns` is NULL or "" for kinds of the cluster.
// The cache keeps text, not values: do not ask twice for what can be kept for a moment.
json_t *kube_watch_get(const struct kube_watch *w, const char *ns, const char *name);
// Walks all of a namespace (NULL: of all), in no order: start with *at = 0. A new reference each;
// NULL at the end. Nothing may be polled in between.
json_t *kube_watch_each(const struct kube_watch *w, const char *ns, size_t *at);

// -------------------------------------------------------------------------------------- leases

// A Lease (coordination.k8s.io/v1) that one of several processes holds, by the rules of the other
// clients: held for 15 s after it was renewed, renewed every 2 s, given up by a holder that could
// not renew it for 10 s. Clocks of machines are not compared: who waits counts 15 s from the moment
// at which it saw the last change.
struct kube_lease_opts {
    const char *ns, *name;
    const char *identity; // of this process, unlike any other: the name of the pod
    void *user;
};
struct kube_lease;
struct kube_lease *kube_lease_new(struct kube *k, const struct kube_lease_opts *opts);
// From its next write on it goes with its owner, an ownerReference of the same namespace (copied);
// one that it has already stays.
void kube_lease_own(struct kube_lease *l, const json_t *owner);
bool kube_lease_is_held(const struct kube_lease *l);
// Gives it up, so that others need not wait: told as KUBE_EV_LEASE_LOST at once if it was held. The
// write follows (the loop must still turn for it), after which kube_lease_is_released() says yes,
// as it does when the write is refused for want of rights; while the server is away it does not, so
// do not wait for ever.
void kube_lease_release(struct kube_lease *l);
bool kube_lease_is_released(const struct kube_lease *l);
void kube_lease_free(struct kube_lease *l); // NULL is fine

// ------------------------------------------------------------------------------------ forwarding

// A TCP port of a pod, at its 127.0.0.1, as a socket here (the subresource portforward, for which
// the user needs "create" and "get" on pods/portforward). Without a loop; the client must stay.
struct kube_forward;
// Blocks until the server leads there, or with words says why not: as kube_call() does. Whether
// anybody listens at the port shows when something is sent: then the socket ends.
int kube_forward_new(struct kube *k, const char *ns, const char *pod, uint16_t port,
                     struct kube_forward **out, struct why *why);
// The socket, non-blocking and the caller's from now on; once.
int kube_forward_take(struct kube_forward *f);
void kube_forward_free(struct kube_forward *f); // the socket ends; NULL is fine

// -------------------------------------------------------------------------------------- events

enum kube_event_type {
    KUBE_EV_ANSWER,     // number, user, answer
    KUBE_EV_ADDED,      // watch, user, object
    KUBE_EV_CHANGED,    // the same. An object that was deleted and made anew has another uid
    KUBE_EV_DELETED,    // the same; the object as it was last
    KUBE_EV_SYNCED,     // watch, user: everything of a complete list has been told
    KUBE_EV_TROUBLE,    // watch, user, words: it does not work; told when the words change
    KUBE_EV_WELL,       // watch, user: it works again
    KUBE_EV_LEASE_HELD, // lease, user
    KUBE_EV_LEASE_LOST,
};

// Everything is lent until the next call on the client. `answer->value` and `answer->text` may be
// taken, leaving NULL.
struct kube_event {
    enum kube_event_type type;
    void *user;
    uint64_t number;
    struct kube_answer *answer;
    struct kube_watch *watch;
    struct kube_lease *lease;
    json_t *object;
    enum kube_result result; // TROUBLE
    const char *words;       // TROUBLE
};

// The next thing that happened; false when all is told.
bool kube_next(struct kube *k, struct kube_event *ev);
