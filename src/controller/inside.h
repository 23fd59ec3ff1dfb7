// SPDX-License-Identifier: Apache-2.0
// The inside of the plan: one computation and what its steps share.
#pragma once

#include "base/map.h"
#include "controller/controller.h"

#define SKUPPER_API "skupper.io/v2alpha1"
#define CONTROLLED "internal.skupper.io/controlled"
#define SERVICE_LABEL "internal.skupper.io/listener"
#define SLICE_LABEL "endpointslice.kubernetes.io/managed-by"
#define SLICE_VALUE "skupper.io"
// Of skupper-services: {"site id": "release"}, who told of what is there.
#define SERVICES_VERSIONS "internal.skupper.io/versions"

struct planning {
    const struct plan_facts *f;
    struct plan *out;
    const json_t **seen; // the objects of the namespace, sorted by key
    size_t count;
    struct map by_key;
    const json_t *site; // the active one as it was seen; NULL: there is none
    const char *site_uid;
    // Where there are no definitions: the ConfigMap that stands for the Site and owns what it
    // makes, and the Site it stands for. NULL: there are.
    const json_t *root;
    json_t *made_site;
    json_t *blamed; // {key of a resource that stands in no API: key of the object to be told}
    size_t groups;  // routers

    // Facts for the model. The former three and `issues` grow with what each round finds out.
    json_t *ports, *secured, *trouble;
    json_t *certificates, *proxies, *pods, *attached, *taken, *network, *previous, *access_types;
    json_t *templates, *sizes; // ConfigMaps
    json_t *kept;              // {uid: true}: what these own stays as it is
    json_t *written;           // {key: true}: there is an operation on it
    json_t *contexts;          // {name of a Secret: its annotation about TLS profiles}
    json_t *config;            // the router's as it was seen: [[type, {…}], …]
    json_t *profiles;          // of its sslProfiles: {name: {…}}
    char *router_problem, *site_problem;
    bool router_runs;
    json_t *owned; // {uid: true} of what can own something of ours

    // Services as version 1 has them.
    json_t *definitions; // {address: as in skupper-services}
    json_t *entries;     // {address: definition or null}: what is to change there
    json_t *told_by;     // {address: key of the object whose annotation defines it}
    json_t *wrong;       // {key of an object: words}
    json_t *made;        // {key: resource}: what the definitions mean, for the model alone
    json_t *made_for;    // {key: address}
    json_t *patches;     // {key: merge patch} of objects that are not ours
    json_t *shared;      // as in site_facts
};

// ------------------------------------------------------------------------------------- plan.c
const json_t *plan_seen(const struct planning *p, const char *kind, const char *name);
// A new object of ours, owned by what was seen (NULL: by nothing); borrowed. When one that is not
// ours stands in its place, or the server refused it, that is the trouble of the resource `told`.
json_t *plan_object(struct planning *p, const char *api_version, const char *kind, const char *name,
                    const json_t *owner, const char *told);
json_t *object_metadata(json_t *object);
json_t *object_annotations(json_t *object); // made if they are not there
json_t *object_labels(json_t *object);
const char *annotation(const json_t *object, const char *key); // "" when not there
const char *label(const json_t *object, const char *key);
bool is_kind(const json_t *object, const char *kind);
bool is_owned_by(const json_t *object, const char *uid); // "": by nobody
// What stands behind a key that has dots in it.
const char *value_of(const json_t *map, const char *key);
// An object is ours when something of ours owns it, or it says so itself.
enum own { OWN_NONE, OWN_OURS, OWN_LEFT, OWN_FOREIGN };
enum own plan_own(const struct planning *p, const char *key);
// Of the kinds that users and we write: one of ours, made anew each time.
bool is_made_by_us(const json_t *object);
// Something stands in the way of the resource: told by its condition. The first words count.
void plan_trouble(struct planning *p, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);

// Who owns what a resource of ours makes; NULL: it is not there yet.
const json_t *plan_owner(const struct planning *p, const char *kind, const char *name);

// site_map.c: a site of version 1, from a ConfigMap
void site_map_choose(struct planning *p);
void site_map_read(struct planning *p);
void site_map_finish(struct planning *p);
void site_map_dress(struct planning *p); // what all objects of such a site have, once they are made
json_t *site_map_size(const struct planning *p);     // as template_size() has one; the caller's
json_t *site_map_template(const struct planning *p); // as a label template; the caller's

// site_options.c: what that ConfigMap says
// "" when there is none, it is not there, or makes no sense.
const char *site_option(const struct planning *p, const char *key);
bool site_option_is(const struct planning *p, const char *key, const char *word); // in any case
json_t *site_option_pairs(const struct planning *p, const char *key);  // "k=v,…"; the caller's
json_t *site_option_number(const struct planning *p, const char *key); // the caller's; NULL: none
void site_options_tell(struct planning *p); // notes of those that are not used

// facts.c
void facts_read(struct planning *p);
void facts_free(struct planning *p);
bool facts_choose_ports(struct planning *p); // true: something new

// site.c: what a Site has
void site_objects(struct planning *p);
// access.c: what SecuredAccesses have, and where they are reached
void access_objects(struct planning *p);
// certificate.c
void certificate_objects(struct planning *p);
void secret_contexts(struct planning *p);
void certificates_read(struct planning *p);
// template.c: labels and annotations that are added to objects, and sizes
void template_read(struct planning *p);
void template_apply(const struct planning *p, json_t *object);
// {"router-cpu-request": "100m", …}; NULL: none
const json_t *template_size(const struct planning *p, const char *name);
// difference.c
void plan_compare(struct planning *p);
// Does `seen` have everything that `wanted` has?
bool has_all(const json_t *seen, const json_t *wanted);
// Only what identifies this very object; the caller's.
json_t *plan_identity(const json_t *seen);

// annotated.c: services by annotation
// {address: definition} of what is annotated; the caller's. `told` gets {address: key of the object
// that says it}, `wrong` {key: words} of those that cannot be exposed as they say.
json_t *annotated_read(const struct planning *p, json_t *told, json_t *wrong);
bool annotated_is_address(const char *text); // a name for a Service
// "k=v,…" as {"k": "v"}, and back, sorted; the caller's.
json_t *annotated_pairs(const char *text);
json_t *annotated_pairs_by(const char *text, char separator);
char *annotated_text(const json_t *pairs);

// adopt.c: Services of users that lead to the router for a while
bool adopt_is(const json_t *service); // it was adopted
json_t *adopt_selector(void);         // of the router's pods
// {"selector", "ports"} as the user wants them, adopted or not; the caller's.
json_t *adopt_original(const json_t *service);
// A merge patch with which it leads to these ports of the router ([{"name", "port",
// "targetPort"}]) and has the labels and annotations of the definition; NULL: it does already.
json_t *adopt_patch(const json_t *service, const json_t *ports, const json_t *definition);
// A merge patch with which it is what it was.
json_t *adopt_return(const json_t *service);

// services.c: definitions of services
void services_read(struct planning *p); // before the model is asked
void services_free(struct planning *p);
// Does the definition of that address want a Service here?
bool services_has_ingress(const struct planning *p, const char *address);
// May a Service that is not ours be changed for the definition of its name?
bool services_may_adopt(const struct planning *p, const json_t *service);
// The Service of a definition, made or adopted; false: there is no definition of that name.
bool services_put(struct planning *p, const char *name, const json_t *ports);
void services_finish(struct planning *p); // after the last round
// Ports of local_services with names that a Service may have; the caller's.
json_t *services_ports(const struct planning *p, const json_t *ports);

// headless.c: services of other sites whose pods have names
bool headless_counts(const struct planning *p, const json_t *definition);
// What stands in the Service of the address, and the EndpointSlice that belongs to it.
void headless_put(struct planning *p, json_t *service, const char *address, const json_t *ports);
