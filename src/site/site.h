// SPDX-License-Identifier: Apache-2.0
// The model of a site: what the resources a user writes mean. One function, site_derive(), takes
// all resources and all that is known of the world, and gives everything that is wanted: the
// router's configuration, certificates, endpoints, what to announce, and the status of each
// resource. It is computed whole each time from sorted sets, so the order of events cannot matter.
// Pure: no files, clock, sockets or random numbers; time, names and ids are passed in.
//
// Resources are jansson values as they stand in a file (apiVersion, kind, metadata, spec). Fields
// that are not known are kept and warned about. A place within a resource is a dotted path:
// "spec.endpoints[0].port".
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mono.h"
#include "base/str.h"
#include "base/why.h"

enum {
    SITE_RESOURCES_MAX = 20000, // more are not looked at, and that is told as a problem
    SITE_SERVICES_MAX = 10000,  // ports of services that other sites share with us
    SITE_NAME_MAX = 253,        // octets of a resource's name
};

// ------------------------------------------------------------------------------- words people type
// The rules of the command line and of the fields alike.

bool site_is_name(struct str text);      // names of resources and TLS credentials
bool site_is_namespace(struct str text); // as a name, without dots
bool site_is_host(struct str text);      // an IP address or the name of a host
bool site_is_ip(struct str text);        // IPv4, or IPv6 without brackets
bool site_is_selector(struct str text);  // of labels, in all forms that Kubernetes knows
// Whether labels ({"app": "db"}; NULL: none) are what a selector asks for; one that is none selects
// nothing.
bool site_selects(struct str selector, const json_t *labels);
bool site_is_path(struct str text);        // of a file
bool site_is_logging(const char *setting); // of the router: "MODULE:level,…" or "level"
// A decimal number and nothing else, within the limits; false otherwise.
bool site_number(struct str text, int64_t min, int64_t max, int64_t *out);
// A duration as the language Go writes it ("15m", "1h30m", "1.5h", "300ms"), in nanoseconds.
// False: it is none, or larger than 292 years.
bool site_duration(struct str text, int64_t *ns);
enum { SITE_DURATION_MAX = 32 };
// The same in the other direction: "15m0s".
void site_duration_text(int64_t ns, char out[SITE_DURATION_MAX]);

enum { SITE_TIME_MAX = 32 };
// Seconds since the epoch as RFC 3339 in UTC ("2026-01-31T12:00:00Z"), and back (fractions are
// dropped; an offset is taken into account).
void site_time_text(int64_t seconds, char out[SITE_TIME_MAX]);
bool site_time(struct str text, int64_t *seconds);

// ------------------------------------------------------------------------------------------- kinds

enum site_field_type {
    SITE_TEXT,
    SITE_INT,
    SITE_BOOL,
    SITE_TEXTS,   // a list of texts
    SITE_MAP,     // text to text; numbers and booleans are taken as text
    SITE_WEIGHTS, // text to number
    SITE_OBJECT,  // of `fields`
    SITE_LIST,    // of objects of `fields`
    SITE_ANY,
};

// What a value must be, beside its type.
enum site_rule {
    SITE_ANYTHING,
    SITE_FILLED, // not empty
    SITE_NAME,
    SITE_HOST,
    SITE_PORT, // 1 to 65535
    SITE_COUNT,
    SITE_SELECTOR,
    SITE_DURATION, // more than nothing
};

enum {
    SITE_REQUIRED = 1,
    SITE_REQUIRED_IN_CLUSTER = 2, // hosts have a default
    SITE_NUMBER_AS_TEXT = 4,      // a number is taken too, and turned into text
};

struct site_field {
    const char *name; // NULL ends a list of fields
    enum site_field_type type;
    enum site_rule rule;
    unsigned flags;
    const char *initial;             // default as text; NULL: none
    const char *const *words;        // the allowed ones, NULL at the end; NULL: any
    const struct site_field *fields; // of OBJECT and LIST
};

struct site_column {
    const char *title, *path; // "Routing Key", "spec.routingKey"; title NULL ends
};

struct site_kind {
    const char *name, *plural, *api_version;
    const char *const *short_names; // NULL at the end
    const struct site_field *spec;  // NULL: core kinds (Secret, ConfigMap)
    const struct site_column *columns;
    const char *const *conditions; // required ones in order, NULL at the end
    bool tells_ready;              // the aggregate is a condition "Ready" too
    bool on_hosts;                 // has a meaning outside of a cluster
};

extern const struct site_kind site_kinds[]; // name NULL ends
// By kind, plural or short name, in any case; NULL when unknown.
const struct site_kind *site_find_kind(struct str name);
// "Listener/db": how a resource is named throughout the model; the caller frees.
char *site_key(const char *kind, const char *name);
// What stands at a dotted path, borrowed; NULL when nothing does.
const json_t *site_get(const json_t *resource, const char *path);
// The text there; "" when there is none.
const char *site_text(const json_t *resource, const char *path);
// The first item of a list with that text at that path, borrowed; NULL: none has, or it is no list.
const json_t *site_item(const json_t *list, const char *path, const char *text);
// A condition of its status, borrowed; NULL: there is none of that type.
const json_t *site_condition(const json_t *resource, const char *type);

// Where platforms differ.
struct site_platform {
    const char *name; // "linux"
    // The router itself binds the host and port of a Listener. In a cluster they name a Service,
    // and the router listens on a port of its own.
    bool binds_services;
    // Connectors select pods. Without, spec.host must be given.
    bool has_pods;
};

extern const struct site_platform site_linux, site_kubernetes;

// Everything there is to say about the text of one resource: a list of
// {"path", "message", "warning": bool}, empty when it is in order. The caller owns the list.
json_t *site_check(const json_t *resource, const struct site_platform *platform);

// ------------------------------------------------------------------------------------- the model

// What a site makes itself of a service that others share is called so, and then the address it
// listens for. All sites do, so it is no news of any of them.
#define SITE_SHARED_LISTENER "service/"

// The RouterAccess of this name, with the site's behind it, stands in for the one that link access
// makes: its ports are chosen likewise where it gives none.
#define SITE_OWN_ACCESS "router-access-"

// A resource as the shell has it; borrowed.
struct site_input {
    const json_t *value;
    // A newer text of it could not be used, and this is why ("db.yaml:3: …"): the last good value
    // goes on working, with an error status. NULL: all is well.
    const char *problem;
};

// What is known of the world; borrowed. All JSON members may be NULL: nothing is known.
struct site_facts {
    const struct site_platform *platform;
    const char *namespace;
    const char *version;       // of this product, for others to see
    const char *site_id;       // a UUID, the same for as long as the site exists
    const char *router_suffix; // the router's id is <site>-<suffix>
    // Certificates are at <base>/runtime/certs/<name>/; in a cluster at <base>/<profile>/. A
    // proxy's password is at <base>/runtime/proxies/<Secret>/password.txt, put there by the shell.
    const char *base;
    int64_t now; // seconds since the epoch

    // Where a path within a resource stands ("db.yaml:7"; the caller of this frees it), or NULL.
    // `resource` is the pointer that came in site_input. The function may be NULL.
    char *(*where)(void *user, const json_t *resource, const char *path);
    void *user;

    // Names and addresses of this machine, best first: ["box", "192.0.2.1"].
    const json_t *hosts;
    // Ports once chosen: {"skupper-local/normal": 5671}. See site_wanted.ports.
    const json_t *ports;
    // Certificates there are: {name: {"ordinal": 3, "oldest": 1, "expires": "2031-…", "error": "",
    // "lacks_ca": false, "prior": "2"}}. `ordinal` grows with each change of the content. `error`
    // says why there is none, or why an older or another one goes on that is not what was asked
    // for. `prior`: how many former ones count, where the certificate says so itself.
    const json_t *certificates;
    // In a cluster, what its Secrets say of HTTP proxies: {name: {"host", "port", "username"}}.
    const json_t *proxies;
    bool router_runs;
    const char *router_problem; // why not, in words; NULL or "": nobody knows
    // What the router says of an entity: {"tcpListener/listener/db": {"operStatus": "down",
    // "connectionStatus": "FAILED", "connectionMsg": "…", "error": "what management answered"}}.
    const json_t *entities;
    // The network as the collector tells it: {"addresses": […], "siteStatus": […]}; its listeners
    // of shared services may be left out.
    const json_t *network;
    // Where Connectors of other sites on this machine lead to: {"host:port": who, in words}.
    const json_t *neighbours;
    // What other sites share: [{"origin": site id, "version": "1.8.7", "since": seconds,
    // "services": […]}].
    const json_t *shared;
    // {name: {"url","ca","code","redemptions","expirationTime"}} of AccessGrants, with "trouble"
    // while it keeps them from being redeemed, or {"error": "words"}; {name: {"redeemed": true} or
    // {"error": "words"}} of AccessTokens.
    const json_t *grants, *tokens;
    // What site_wanted.resources was before: creation times and times of transitions are kept.
    const json_t *previous;

    // In a cluster alone.
    // Pods that run, by namespace: {ns: [{"name", "uid", "ip", "labels": {…}, "ready": bool}]}.
    const json_t *pods;
    // AttachedConnectors and AttachedConnectorBindings of other namespaces: [resource].
    const json_t *attached;
    // Services that Listeners cannot have: {name: true}, it is not ours, or {name: "words"}.
    const json_t *taken;
    // Why something that the Site needs cannot be had; NULL or "": all is well.
    const char *site_problem;
    // Why the router's configuration cannot be written as it is wanted; NULL or "": it can.
    const char *config_problem;
    // What became of each SecuredAccess: {name: {"endpoints": [{"name", "host", "port"}],
    // "error": "words"}}.
    const json_t *secured;
    // Values of Site.spec.linkAccess beside "none" and "default": {"loadbalancer": true}.
    const json_t *access_types;
};

// All that is wanted. Equal inputs give equal values here, whatever their order.
struct site_wanted {
    // {"Listener/db": the resource with defaults and status}; those we made ourselves too
    // (RouterAccess, Certificate), with the annotation internal.skupper.io/controlled.
    json_t *resources;
    // [{"kind", "name", "path", "message", "warning": bool}]: what to tell the user about texts.
    json_t *problems;
    // [[type, {attributes}], …] as it stands in a router's configuration file; empty: no router.
    json_t *router;
    // In the order in which they can be made: [{"name", "ca", "subject", "hosts": […], "client",
    // "server", "signing"}], ca "" for self-signed ones (in a cluster with "owners": {key of a
    // resource: its hosts}); or {"name", "secret": the Secret in the
    // input whose three keys are to be taken}. Of those with both, the Secret wins. Files that the
    // user supplied win over either.
    json_t *certificates;
    // [{"key", "from", "host"}]: ports for the shell to choose, the first free one from `from`
    // upwards, to put into facts.ports, and to keep.
    json_t *ports;
    // [{"name": role, "host", "port": text, "group"}]: where other sites can link to, for tokens.
    json_t *endpoints;
    // {file name: {"certificate": name, "documents": [Secret, Link]}}: static links to this site.
    // The Secret is empty: site_secret_fill() puts in the certificate of that name and its CA.
    json_t *static_links;
    // {"host:port": "Connector db"}: where those of this site lead to.
    json_t *targets;
    // Services of this site for others, as objects of the v1 protocol; JSON null: sharing is off.
    json_t *announce;
    // [{"address", "port", "host", "routingKey", "origin", "state", "message"}] of what others
    // share: state "shared", "replaced" (a Listener takes its place), "own", "off", "conflict",
    // "unsupported" or "error".
    json_t *services;
    // {"host", "port", "certificate"}: where this machine reaches the router for management, and
    // the client certificate to show there; JSON null while there is no such place.
    json_t *management;
    // In a cluster: the Services through which workloads reach the router: {name: [{"name", "port",
    // "targetPort"}]}, the ports in the order of their Listeners.
    json_t *local_services;
};

// The routers of a site in a cluster, and what belongs to each, are called so; the second is there
// when the Site has `ha`. Groups of endpoints on hosts have the first of them.
enum { SITE_GROUPS_MAX = 2 };
extern const char *const site_groups[SITE_GROUPS_MAX];

// Never fails: what is wrong with a resource is in its status. Free with site_wanted_free().
void site_derive(const struct site_input *inputs, size_t count, const struct site_facts *facts,
                 struct site_wanted *out);
void site_wanted_free(struct site_wanted *w);

// What to do to a running router so that `applied` becomes `wanted`, in an order that works:
// [{"operation": "CREATE" | "UPDATE" | "DELETE", "type": "io.skupper.router.…", "name",
// "attributes": {…}}]. Only what differs is touched. `applied` may be a former configuration or
// what management tells of the live entities in the same form. Entities that the model never makes
// (auto-mesh connectors, the listeners @9090, amqp and amqps) are left alone. *restart: a
// difference that only a restart of the router can apply (its id or mode). The caller owns the
// list, whose attributes may be those of `wanted` and are not to be changed.
json_t *site_config_difference(const json_t *applied, const json_t *wanted, bool *restart);

// --------------------------------------------------------------------------------------- secrets

// A Secret of type kubernetes.io/tls without data.
json_t *site_secret_new(const char *name);
// Puts the three PEM texts in; a NULL one is left out.
void site_secret_fill(json_t *secret, const char *ca, const char *certificate, const char *key);
// One key ("tls.crt") of a Secret, decoded from `data` or taken from `stringData`; the caller
// frees. NULL when it is not there or no base64.
char *site_secret_get(const json_t *secret, const char *key);
// Base64, and what it says, NUL-terminated; the caller frees. White space in it is allowed,
// anything else is not: NULL.
char *site_base64_write(const char *text);
char *site_base64_read(const char *text);

// -------------------------------------------------------------------------------------- tokens

// What makes links: credentials and where to go with them.
struct site_links {
    json_t *secret; // kind Secret, type kubernetes.io/tls; NULL: a text of links alone
    json_t *links;  // a list of one or several of kind Link, which use it
};
void site_links_fini(struct site_links *l);
// A Link with such endpoints ([{"name", "host", "port", "group"}]); `cost` 0: not said.
json_t *site_link_new(const char *name, const char *credentials, const json_t *endpoints,
                      int64_t cost);
// The Secret, and a Link for each group of endpoints: it is called `name`, or, if there are
// several, `name`-1, `name`-2 and so on. PEM texts. False: there is no endpoint, and *out is not
// written.
bool site_links_make(const char *name, const char *ca, const char *cert, const char *key,
                     const json_t *endpoints, struct site_links *out);
// The form in which they travel: YAML documents, the Secret first. The caller wipes and frees it.
char *site_links_text(const struct site_links *l);
// The same read, YAML or JSON, in any order, in a List or not. What is not for other sites to say
// (namespace, status, uid and the like) is dropped, fields we do not know are kept, other kinds are
// passed over. A v1 certificate token is read too and becomes one Secret and one Link. `source` is
// what messages call the text. Returns 0, or with words "source:line: …" ERR_DECODE, ERR_LIMIT, …
// (yaml_docs_parse) or ERR_INVALID: no Link, several Secrets, a name that is none, Links for
// another Secret, keys that are missing.
int site_links_read(const char *source, struct str text, struct site_links *out, struct why *why);
// Annotations of the Secret that one of the links is at a site of version 1: where it leads, its
// cost, and what the given Secret says itself; the caller's.
#define SITE_V1_COST "skupper.io/cost"
json_t *site_link_notes(const json_t *secret, const json_t *link);
// What the receiver wishes to pay for each of the links; 0 leaves what they say.
void site_links_set_cost(struct site_links *l, int64_t cost);
// The names site_links_make() gives; each of the Links uses the Secret.
void site_links_rename(struct site_links *l, const char *name);

enum site_token_kind {
    SITE_TOKEN_ACCESS, // an AccessToken: to be redeemed
    SITE_TOKEN_CLAIM,  // a v1 claim: to be redeemed, the v1 way
    SITE_TOKEN_LINKS,  // nothing to redeem: links, or a v1 certificate token
};
// Sites of version 1 refuse what comes from a release before 0.8.0. Towards them tokens, claims,
// and who redeems one are of this release: the newest whose forms we read and write.
#define SITE_V1_VERSION "1.9.6"

struct site_token {
    enum site_token_kind kind;
    char *name;              // the Secret's and the Link's to come
    char *url, *code, *ca;   // ACCESS and CLAIM; `code` is secret
    int64_t link_cost;       // 0: as the links say
    char *origin;            // the site that made it, of v1 tokens; "" when not told
    int64_t expires;         // of claims, in seconds since the epoch; 0: not told
    struct site_links links; // LINKS
    bool is_for_controller;  // failures are told in the words of Skupper's controllers
};
void site_token_fini(struct site_token *t);
// Whatever can make a link: exactly one token, or a text of links. Errors as site_links_read().
int site_token_read(const char *source, struct str text, struct site_token *out, struct why *why);
// The file `token issue` writes. The caller wipes and frees it.
char *site_token_text(const char *name, const char *url, const char *code, const char *ca,
                      int64_t link_cost);

// An annotation of a Secret labelled token-claim, which is of version 1: it holds an ACCESS token.
#define SITE_CLAIM_KIND "internal.skupper.io/claim-kind"
#define SITE_CLAIM_IS_ACCESS "AccessToken"

// How an ACCESS or CLAIM token is redeemed: one POST to `url`, trusting t->ca alone, with t->code
// as its body and these two header fields (`values` borrowed from the token and `subject`).
struct site_redeeming {
    char *url; // the caller's
    const char *names[2], *values[2];
    size_t count;
};
// `subject`: the id of the site that redeems. Returns 0, or ERR_INVALID with words when the token
// has no CA, or its URL is not one of https.
int site_redeeming_make(const struct site_token *t, const char *subject, struct site_redeeming *out,
                        struct why *why);
// What was answered. 0 with *out the caller's, t->link_cost applied, and named after the token,
// whatever the answer says: it must not replace anything else here. ERR_NOT_FOUND: the server will
// never know this token (again); ERR_INVALID: refused, or an answer that makes no link; ERR_AGAIN:
// the server's trouble, later may do; with words.
int site_redeeming_read(const struct site_token *t, int status, struct str body,
                        struct site_links *out, struct why *why);
// Whether a controller's words on a token, ours or another's, mean that it will never be redeemed:
// what to do then; NULL: it may be yet.
const char *site_redeeming_refusal(const char *message);

// -------------------------------------------------------------------------------------- grants

enum {
    SITE_GRANT_CODE_MAX = 1024, // octets of a code
    SITE_GRANT_TEXT_MAX = 254,  // of a name or subject, with its NUL
};
// An AccessGrant that is served. Its owner keeps it where it survives.
struct site_grant {
    char *name;            // of the resource
    char *uid;             // the key in its URL
    char *code;            // secret
    int64_t allowed, used; // redemptions
    int64_t expires;       // seconds since the epoch
    bool is_corrupt;       // it was kept with a time that cannot be read
};
void site_grant_fini(struct site_grant *g);
// For an AccessGrant seen first at `now`; its own spec.code, if there is one, stands in for `code`.
// Returns 0, or ERR_INVALID with words (spec.expirationWindow, spec.code).
int site_grant_make(const json_t *resource, const char *uid, const char *code, int64_t now,
                    struct site_grant *out, struct why *why);
// The resource may have been changed since: how many redemptions are allowed follows it, code and
// expiry stay. True: something changed, keep it.
bool site_grant_update(struct site_grant *g, const json_t *resource);
// The form in which it is kept, and that form read. ERR_INVALID with words when it is not whole.
json_t *site_grant_write(const struct site_grant *g);
int site_grant_read(const json_t *kept, struct site_grant *out, struct why *why);
// As site_facts.grants wants it; `url` is https://<host>:<port>/<uid>, `ca` PEM.
json_t *site_grant_status(const struct site_grant *g, const char *url, const char *ca);

struct site_grant_request {
    struct str method, path, body;
    struct str name, subject; // header fields of these names; empty when they are not there
    // A claim of version 1: it has no name of its own, and `query` says the release that redeems.
    bool is_claim;
    struct str query;
};
struct site_grant_verdict {
    int status; // 0: redeem it; else the HTTP status, with `words` as the body
    const char *words;
    size_t index; // of the grant, also of one that was refused; SIZE_MAX: of none
    char name[SITE_GRANT_TEXT_MAX], subject[SITE_GRANT_TEXT_MAX]; // for Secret and certificate
};
// What to do with a request. Nothing is counted here: with status 0 count the redemption, keep that
// (SITE_GRANT_NOT_KEPT is the answer when that fails, and the count must be as before), and only
// then make the certificate. What does not exist and what has expired cannot be told apart, and
// neither can how much of a code is right.
void site_grant_judge(const struct site_grant *grants, size_t count,
                      const struct site_grant_request *r, int64_t now,
                      struct site_grant_verdict *out);
#define SITE_GRANT_NOT_KEPT "Internal error\n" // with status 503

// A claim of version 1, as the Secret that records it in its namespace keeps it: name and uid are
// the Secret's name. False: it has no password, so that nobody can redeem it.
bool site_claim_read(const json_t *record, struct site_grant *out);
// The annotations that say that it was redeemed once more; a new reference.
json_t *site_claim_counted(const struct site_grant *g);
// The Secret that is given out for it: a certificate token with these annotations (where to go, and
// who made it), as YAML. The caller wipes and frees it.
char *site_claim_answer(const char *name, const json_t *annotations, const char *ca,
                        const char *cert, const char *key);
// What the one who redeems is given: a claim token, as YAML. Likewise.
struct site_claim_token {
    const char *name, *url, *site_id, *password, *ca;
    const char *expires; // "": never
};
char *site_claim_text(const struct site_claim_token *t);

// -------------------------------------------------------------------- service sharing, as in v1
// What sites tell each other about their services, as an engine: messages and the time in, messages
// and changes out. Each site repeats all it offers every few seconds; who falls silent is forgotten
// after a while; of several that offer one name the first one counts. Without a site of its own
// that has spoken (site_sync_announce) nothing is sent.

enum {
    SITE_SYNC_BODY_MAX = 1 << 20,  // octets of a message's text, both ways
    SITE_SYNC_ORIGINS_MAX = 1024,  // sites heard; more are not listened to
    SITE_SYNC_SERVICES_MAX = 4096, // of one site; the rest of its list is passed over
    SITE_SYNC_ALL_MAX = 16384,     // services of all sites
    SITE_SYNC_KEPT_MAX = 16 << 20, // octets of all texts that are kept, as they came
    SITE_SYNC_RESEND_MS = 5000,
    SITE_SYNC_GAP_MS = 1000, // at least between repetitions, whatever they are for
    SITE_SYNC_TTL_MS = 180000,
    SITE_SYNC_CHECK_MS = 30000,
    SITE_SYNC_RETURN_MS = 60000, // after site_sync_load() every site has so long to be heard
};

// Where the messages go, and what stands in their properties.subject.
#define SITE_SYNC_ADDRESS "mc/$skupper-service-sync"
#define SITE_SYNC_SUBJECT "service-sync-update-v2"

struct site_sync;

struct site_sync_opts {
    const char *site_id;          // ours; what comes from it is passed over
    const char *version;          // of this product, told to others
    uint32_t resend_ms, check_ms; // 0: as above
};
// All strings are copied.
struct site_sync *site_sync_new(const struct site_sync_opts *opts, struct mono now);
void site_sync_free(struct site_sync *s);
// How long a site may be silent until what it offers is forgotten; 0: as above.
void site_sync_set_ttl(struct site_sync *s, uint32_t ttl_ms);

// What this site offers, as site_wanted.announce has it: an array of services; what differs from
// before is sent at once. JSON null or NULL: sharing is off; others are told an empty list if they
// had been told another one, and whatever they offer is forgotten and not heard.
// ERR_LIMIT with words when the text would be too large: then nothing changes.
int site_sync_announce(struct site_sync *s, const json_t *services, struct mono now,
                       struct why *why);

// Somebody may have come who has not heard it: it is sent once more, now or as soon as the gap
// allows. A site that is heard for the first time has the same effect.
void site_sync_repeat(struct site_sync *s, struct mono now);

struct site_sync_message {
    struct str subject;
    struct str origin, version; // application properties; version may be STR_NONE
    struct str body;            // the JSON text
};
// A message of the network. 0 (also for our own), or ERR_INVALID, ERR_DECODE, ERR_LIMIT with words
// for the log: it was dropped, and what its origin said before still stands. Lists in the form of
// old releases (a single port) are understood. A service without a name is passed over.
int site_sync_heard(struct site_sync *s, const struct site_sync_message *m, int64_t epoch_s,
                    struct mono now, struct why *why);

// Call tick no later than the deadline, then poll both of the following until they say false.
struct mono site_sync_deadline(const struct site_sync *s);
void site_sync_tick(struct site_sync *s, struct mono now);

// A message to be sent, good until the next call on `s`.
bool site_sync_next_message(struct site_sync *s, struct site_sync_message *out);

enum site_sync_change_type { SITE_SYNC_ADDED, SITE_SYNC_CHANGED, SITE_SYNC_REMOVED };
struct site_sync_change {
    enum site_sync_change_type type;
    const char *name;
    const char *origin;    // of REMOVED: who offered it
    const json_t *service; // NULL for REMOVED
};
// What became different for this site, each name once; good until the next call on `s`. Names that
// this site offers itself are never told.
bool site_sync_next_change(struct site_sync *s, struct site_sync_change *out);

// As site_facts.shared: [{"origin", "version", "since", "services"}], sorted by origin, with every
// service of every site. `since` (seconds since the epoch): first heard. The caller owns it.
json_t *site_sync_shared(const struct site_sync *s);

// For a file, so that a restart forgets nothing: the caller owns it.
json_t *site_sync_save(const struct site_sync *s, int64_t epoch_s, struct mono now);
// Takes what was saved, before anything is heard. What does not fit is passed over; ERR_INVALID
// with words when it is no such text at all.
int site_sync_load(struct site_sync *s, const json_t *saved, int64_t epoch_s, struct mono now,
                   struct why *why);
