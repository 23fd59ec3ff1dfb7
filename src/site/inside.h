// SPDX-License-Identifier: Apache-2.0
// The inside of the model: one computation and what its steps share.
#pragma once

#include "base/attr.h"
#include "base/map.h"
#include "site/site.h"

struct condition {
    const char *type; // of the kind's table; NULL: not set
    bool is_true;
    const char *reason;
    char *message;
};
enum { CONDITIONS_MAX = 4 };

// A resource on its way to its status.
struct thing {
    const struct site_kind *kind;
    const struct site_input *input; // NULL: we made it
    json_t *value;                  // a copy with defaults; `spec` and `name` are within
    json_t *spec;
    const char *name;
    char *key; // "Kind/name"
    int64_t created;
    bool is_broken;  // its text is wrong: nothing is made of it
    bool is_foreign; // it says it belongs to another namespace
    json_t *errors;  // list of texts
    json_t *status;  // what it has beside status, message and conditions
    struct condition conditions[CONDITIONS_MAX];
};

// In the order of a configuration file.
enum entity {
    ENTITY_ROUTER,
    ENTITY_SSL_PROFILE,
    ENTITY_PROXY_PROFILE,
    ENTITY_CONNECTOR,
    ENTITY_LISTENER,
    ENTITY_ADDRESS,
    ENTITY_TCP_CONNECTOR,
    ENTITY_TCP_LISTENER,
    ENTITY_LISTENER_ADDRESS,
    ENTITY_LOG,
    ENTITY_SITE,
    ENTITY_COUNT
};

// What the network tells, ready to be asked.
struct network {
    json_t *connectors, *listeners; // {routing key: true}
    json_t *accesses;               // {id of a router access: {"id", "name"} of its site}
    json_t *links;                  // of this site: {name: {"status", "peer"}}
};

struct model {
    const struct site_facts *facts;
    struct site_wanted *out;
    struct thing **things; // by kind, age, name
    size_t count, size;
    struct map by_key;
    struct thing *site; // the active one; NULL: there is none
    bool is_edge;
    const char *issuer;             // the site's default
    json_t *entities[ENTITY_COUNT]; // {name: attributes}
    json_t *certificates;           // {name: as in site_wanted}
    json_t *claims;                 // {"host:port": who has it}
    struct network network;
    bool is_in_cluster;
    json_t *legacy; // {"db": "db:5432", "db:5432": "db:5432"}: what sites of version 1 offer
    char now[SITE_TIME_MAX]; // as text
};

// check.c: as site_check(), and puts defaults into the value.
json_t *check_resource(json_t *value, const struct site_platform *platform);

// model.c
struct thing *model_find(const struct model *m, const char *kind, const char *name);
// Adds a resource of our own; takes `spec`.
struct thing *model_make(struct model *m, const char *kind, const char *name, json_t *take_spec);
bool thing_is(const struct thing *t, const char *kind);
// "Listener db", for words; the caller frees.
char *thing_words(const struct thing *t);
const char *thing_annotation(const struct thing *t, const char *key); // NULL when not there
int64_t spec_int(const struct thing *t, const char *name, int64_t fallback);
bool spec_bool(const struct thing *t, const char *name);
const char *spec_text(const struct thing *t, const char *name); // "" when not there
// The first of two spellings of a site's setting; NULL.
const char *site_setting(const struct model *m, const char *name, const char *other);
// Tells the user about the text of the active Site.
void site_warning(struct model *m, const char *path, const char *message);
// A fresh entity, its name set; borrowed. An entity of that name that is there is replaced.
json_t *model_entity(struct model *m, enum entity type, const char *name);
// Sets the attribute unless the text is empty.
void put_text(json_t *attrs, const char *name, const char *text);
// Words that may hold anything, for people: what is no UTF-8 loses its odd bytes.
json_t *words_json(const char *text);
// Appends what is not yet in the list.
void list_add(json_t *list, const char *text);
// "host:port", in one form for equal ones; the caller frees.
char *model_place(const char *host, int64_t port);
// The host and port are `who`'s from now on. Returns NULL, or who had them before (borrowed).
const char *model_claim(struct model *m, const char *host, int64_t port, const char *who);
// The words of the router about an entity that it could not make or serve; NULL: none.
const char *entity_trouble(const struct model *m, const char *type, const char *name);
bool entity_is_up(const struct model *m, const char *type, const char *name);

// status.c
void cond_ready(struct thing *t, const char *type);
// Met, with something to say: it becomes the message of the whole.
void cond_noted(struct thing *t, const char *type, const char *fmt, ...) PRINTF_LIKE(3, 4);
void cond_pending(struct thing *t, const char *type, const char *fmt, ...) PRINTF_LIKE(3, 4);
void cond_error(struct thing *t, const char *type, const char *fmt, ...) PRINTF_LIKE(3, 4);
// Met once, and of no use any more.
void cond_spent(struct thing *t, const char *type, const char *words);
// Ready when `is_met`, else pending with the text.
void cond_met(struct thing *t, const char *type, bool is_met, const char *else_text);
bool cond_is_set(const struct thing *t, const char *type);
// Its words; "" when it is not set.
const char *cond_message(const struct thing *t, const char *type);
void cond_free(struct thing *t);
// Conditions, aggregate and the fields of `status` into the resource.
void thing_finish(const struct model *m, struct thing *t);

// certificate.c
// A CA, once.
void certificate_authority(struct model *m, const char *name, const char *subject);
// A leaf of that CA, or further hosts for one that is wanted already. False: the name is taken by a
// certificate of another CA.
enum certificate_use { CERTIFICATE_CLIENT, CERTIFICATE_SERVER };
bool certificate_leaf(struct model *m, const char *name, const char *ca, const char *subject,
                      const json_t *hosts, enum certificate_use use);
// The profile for the certificate of that name, if it is there. False: not yet; the condition of
// the thing says so. It also says when what is there is not what was asked for.
// Of a service the CA may be missing: clients of a public authority's server know it, and towards a
// server those that the system trusts count.
enum profile_parts { PROFILE_WHOLE, PROFILE_SERVICE, PROFILE_CA };
bool profile_use(struct model *m, struct thing *t, const char *condition, const char *profile,
                 const char *certificate, enum profile_parts parts);
bool certificate_is_there(const struct model *m, const char *name);
// The TLS credentials of a service at `host`, made by the site's service CA.
bool service_tls(struct model *m, struct thing *t, const char *host);
// In a cluster: the resource that wants the certificate, and its hosts among all.
void certificate_owner(struct model *m, const char *name, const struct thing *owner,
                       const json_t *hosts);
void certificate_apply(struct model *m, struct thing *t);
void certificates_finish(struct model *m);

// The steps, each in a file of its own.
void network_read(struct model *m);
void network_free(struct network *n);
bool network_has(const json_t *keys, const char *routing_key);
void network_status(struct model *m);
void access_defaults(struct model *m);
void access_apply(struct model *m, struct thing *t);
bool access_is_wanted(const struct model *m); // by the Site
void link_apply(struct model *m, struct thing *t);
void listener_apply(struct model *m, struct thing *t);
void multi_key_apply(struct model *m, struct thing *t);
void connector_apply(struct model *m, struct thing *t);
// TLS towards the server: with the CA alone, or with a certificate of our own too. *profile is the
// caller's to free; NULL: without TLS. False: it has to wait.
bool connector_tls(struct model *m, struct thing *told, const json_t *spec, char **profile);
void grant_apply(struct model *m, struct thing *t);
void token_apply(struct model *m, struct thing *t);
void share_read(struct model *m);

// cluster.c: what a site has in a cluster alone.
void cluster_defaults(struct model *m);
bool cluster_has_access(const struct model *m); // of the type that the Site asks for
// The SecuredAccesses through which a RouterAccess is reached, one for each router: their endpoints
// in its status, and among all.
void cluster_expose(struct model *m, struct thing *access);
// What stands in the way of its SecuredAccesses is told last, for it is what has to be mended
// first.
void cluster_tell_exposed(struct model *m, struct thing *access);
void secured_apply(struct model *m, struct thing *t);
// The port of the router to which a Service's port leads, `entity` the tcpListener behind it; the
// Service is there also while that has to wait. 0: it cannot be had, and the condition says why.
int64_t cluster_port(struct model *m, struct thing *t, const char *service, const char *port,
                     const char *entity);
json_t *cluster_listener(struct model *m, const char *entity, int64_t port); // its attributes
// Each tcpListener for a pod elsewhere, with the Service of that pod's name.
void cluster_pod_listeners(struct model *m, struct thing *t, const char *profile);
struct workload {
    const char *name, *ns, *selector, *routing_key;
    const char *profile; // NULL: without TLS
    int64_t port;
    bool verifies_host, has_unready, is_by_name;
};
// A tcpConnector for each pod; they stand in the status of `t`, if it is there. How many.
size_t cluster_connect(struct model *m, struct thing *t, const struct workload *w);
void attached_apply(struct model *m, struct thing *t);
void binding_apply(struct model *m, struct thing *t);
void share_announce(struct model *m);
void share_listen(struct model *m);
