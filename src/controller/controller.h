// SPDX-License-Identifier: Apache-2.0
// Sites in a cluster. The plan is pure: from all objects of one namespace, settings and the time it
// computes everything that is wanted there, whole each time, and what to do about it. It knows no
// server, clock or key. What resources mean is the site model's (site/site.h); what stands here is
// how it looks in Kubernetes.
//
// Objects are jansson values as the API has them. A key names one: "Service/db".
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/why.h"
#include "site/site.h"

// ------------------------------------------------------------------------------------- settings

// How the controller was started. Texts are borrowed; NULL stands for "".
struct controller_settings {
    const char *ns, *name;                         // of the controller itself
    const char *version;                           // of this product
    const char *router_image, *router_pull_policy; // no policy: what the API server makes of it
    const char *adaptor_image, *adaptor_pull_policy;
    bool leaves_security_context; // to the platform
    bool has_grants;              // a server for them
    const char *access_types;     // enabled ones, separated by commas
    const char *default_access;   // "": chosen among them
    const char *cluster_host;     // where NodePorts are reached
    const char *ingress_domain, *ingress_class;
    const char *http_proxy_domain;
    const char *gateway_class, *gateway_domain;
    int gateway_port; // 0: 8443
    // Where there is no Site, the ConfigMap skupper-site says what it would.
    bool reads_site_map;
    // Claims of such a site: where they are redeemed ("host:port"; "": at the controller's pod,
    // which a Service leads to), and the port that is listened on.
    const char *claims_place;
    int claims_port;
    const char *host_name; // of the controller's pod or machine
    // APIs that the cluster has beside its own.
    bool has_routes, has_http_proxies, has_gateways;
    bool has_slices;   // EndpointSlices, and the right to them
    bool has_policies; // the same of NetworkPolicies, for a site of version 1
};

// Words for what does not fit together: ERR_INVALID.
int controller_settings_check(const struct controller_settings *s, struct why *why);
#define SITE_MAP "skupper-site"
#define SITE_POLICY "skupper-router"          // the NetworkPolicy of a site of version 1
#define CLAIMS_SERVER "skupper-claims-server" // the Secret of the certificate
enum { CLAIMS_PORT = 8081 };
bool site_map_counts(const json_t *object); // the ConfigMap of that name, and it is for us
// The kinds that a plan reads: all that a shell has to list. api_version NULL ends.
struct controller_kind {
    const char *api_version, *kind;
    const char *const *keep; // the fields that are read, as paths, NULL at the end; NULL: all
    bool is_optional;        // a cluster need not have it
    const char *labels;      // of those that are read; NULL: all
    const char *name; // of the only object that is read so; NULL: all that no other row names
};
extern const struct controller_kind controller_kinds[];

// ----------------------------------------------------------------------------------------- plan

enum { PLAN_OBJECTS_MAX = 100000 };

struct plan_facts {
    const struct controller_settings *settings;
    const char *ns;
    int64_t now; // seconds since the epoch
    // Everything there is in the namespace of the kinds above, in any order; borrowed.
    json_t *const *objects;
    size_t count;
    // Of other namespaces: AttachedConnectors and their Bindings with the pods they may select, and
    // the ConfigMaps and the Gateway of the controller's own.
    json_t *const *others;
    size_t other_count;
    // As in site_facts, by the name of the resource.
    const json_t *grants, *tokens;
    const char *claims_trouble; // why no claim is redeemed; "": it only takes time; NULL: they are
    // What the API server said to an operation on an object: {"Service/db": "words"}.
    const json_t *refused;
    // plan.checked of the plan before: what it has looked into is not looked into again. NULL:
    // none.
    const json_t *checked;
};

struct plan {
    struct site_wanted site;
    json_t *objects; // {key: what we set of an object}, those of ours
    // {key: {name of the Secret's wish}}: [{"name", "ca", "subject", "hosts", "signing", "renew":
    // bool, "why", "secret": the Secret without its data}], to be made with controller_issue().
    json_t *issues;
    // What to do: [{"do": "create" | "update" | "apply" | "patch" | "status" | "delete", "key",
    // "object"}], in an order that works. At most one for a key, and one for its status. With a
    // status that says what went wrong newly is its "event": {"object": {apiVersion, kind, name,
    // namespace, uid}, "type": "Warning", "reason", "message"}.
    json_t *operations;
    // {key of an object: {"object", "type", "reason", "message"}}: what is wrong now with objects
    // that have no status of ours, to be told once each.
    json_t *notes;
    // {digest of the content of a Secret that the router has: {"readable": bool, "ends_at",
    // "wrong": words}}: those of this plan alone, for the next.
    json_t *checked;
    // Annotations of a token of a site of version 1: who made it, and where it leads as far as that
    // is known. NULL: there is no such site.
    json_t *token;
    int64_t next_at; // when it is to be computed again though nothing changes; INT64_MAX: never
    bool has_site;
    bool is_quiet; // notes are for the log alone
};

// Equal facts give equal plans, whatever their order.
void controller_plan(const struct plan_facts *f, struct plan *out);
void controller_plan_free(struct plan *p);

// The Secret of one of plan.issues, with keys. `ca` is the Secret that signs, NULL for a CA;
// `before` is what stands under its name, or NULL: a CA to be renewed keeps its key. 0 with *out
// the caller's (it is secret), or errors as pki_make_leaf() with words. An RSA key takes part of a
// second.
int controller_issue(const json_t *issue, const json_t *ca, const json_t *before, int64_t now,
                     json_t **out, struct why *why);

// ---------------------------------------------------------------------------------------- shell

struct controller_opts {
    struct controller_settings settings; // ns NULL: as the kubeconfig says; name NULL: deduced
    const char *kubeconfig, *context;    // NULL: as kubectl finds them, or the pod's
    const char *watch_ns;                // one namespace alone; NULL or "": all
    bool is_explicit;                    // acts only where the ConfigMap "skupper" says so
    bool does_without_own;               // the kinds of skupper.io are not looked for
    // The server of AccessGrants: where it is reached ("host:port"; "": as its SecuredAccess says),
    // the port it listens on, and the Secret of its certificate.
    const char *grant_base_url, *grant_port, *grant_credentials;
    bool exposes_grants;         // without an address given, that SecuredAccess is made
    const char *metrics_address; // "[host]:port" of /healthz and /metrics; "": none
};
// Runs until SIGTERM or SIGINT. Of several with one name in one namespace one acts, the others
// wait. Returns 0, or an error with words when it cannot begin; ERR_CLOSED: another acts in its
// place.
int controller_run(const struct controller_opts *opts, struct why *why);
