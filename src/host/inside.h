// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share. The agent (agent.c) is made of parts, each with one duty and
// its own file: what the user wrote (input.c), what must be remembered (memory.c), certificates
// (certs.c), the router's process (keeper.c) and its management (drive/drive.h), what is told
// (output.c).
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/mono.h"
#include "base/yaml.h"
#include "drive/drive.h"
#include "host/host.h"
#include "site/site.h"

// ----------------------------------------------------------------------------------------- input

// The files of input/resources, read anew when they change. A file that cannot be read as YAML, or
// is empty as while it is being written, keeps the resources it had before; one that never had any
// is known by its name, if that is of the form Kind-name.yaml.
struct input {
    char *directory;
    struct input_file *files; // sorted by name
    size_t count;
};

void input_init(struct input *in, const char *directory);
void input_fini(struct input *in);
// Reads what is new or has changed. True when anything did.
bool input_scan(struct input *in);
// All resources in the order of the files; the array is the caller's, what it points to the
// input's until the next scan.
size_t input_list(const struct input *in, struct site_input **out);
// For site_facts.where: "db.yaml:7"; the caller frees it.
char *input_where(void *user, const json_t *resource, const char *path);
// What is wrong with whole files, told to `each` one by one.
void input_problems(const struct input *in, void (*each)(void *user, const char *words),
                    void *user);

// ---------------------------------------------------------------------------------------- memory

// internal/state.json: what was chosen once and stays.
struct memory {
    char *path, *root; // of the namespace
    json_t *value;     // {"siteId", "routerSuffix", "ports": {}, "certificates": {}}
    bool is_unsynced;  // the file says so, but a crash may lose it
};
// Reads it, or makes it anew; the site's id of an installation that has none is taken from the
// router's configuration file there is. ERR_IO or ERR_DECODE with words when it is there and cannot
// be used.
int memory_open(struct memory *m, const struct host_paths *paths, struct why *why);
void memory_close(struct memory *m);
const char *memory_text(const struct memory *m, const char *name);
// The object of that name; borrowed, to be changed and saved.
json_t *memory_object(struct memory *m, const char *name);
int memory_save(struct memory *m, struct why *why);
// Chooses a port for each of site_wanted.ports that has none, and that no other site of this user
// has chosen; they see it, and memory_save() is to follow. True when one was added.
bool memory_choose_ports(struct memory *m, const json_t *wanted);
// Forgets the port of that key if somebody else has it by now, to choose again. True when it did.
bool memory_release_port(struct memory *m, const char *key);
// As long as nobody was ever served at the chosen ports: forgets those that others have taken
// meanwhile, to choose again. True when there was one.
bool memory_release_ports(struct memory *m);
// They are served now, others know them, and they stay.
void memory_ports_served(struct memory *m);
// The names and addresses other hosts may know this machine by, best first; the caller's.
json_t *memory_hosts(void);

// ----------------------------------------------------------------------------------- certificates

// Makes the certificates of site_wanted.certificates that are not there, or not right, or near
// their end. What the user supplied (input/certs, input/issuers) is taken first, then Secrets of
// the input. A CA near its end is renewed with its key; one that stands there and cannot be used is
// an error, never replaced. Returns {name: {"ordinal", "oldest", "expires", "error"}} for
// site_facts.certificates; the caller's. *renew_at: when to call again at the latest. A wish for a
// CA with "ours": true is for one that nobody else ever signs with.
json_t *certs_ensure(struct memory *m, const struct host_paths *paths, const json_t *wanted,
                     const struct site_input *inputs, size_t input_count, int64_t now,
                     int64_t *renew_at);
// The directory of a certificate, "<root>/runtime/certs/<name>"; the caller frees it.
char *certs_directory(const struct host_paths *paths, const char *name, bool is_ca);

// ------------------------------------------------------------------------------------- rendering

struct render {
    const struct host_paths *paths;
    const char *version;
    struct input input;
    struct memory memory;
    struct site_wanted wanted;
    bool has_wanted;          // rendered once
    bool certs_due;           // look at the certificates though the wish for them is the same
    json_t *certificates;     // facts of them
    json_t *certificates_for; // the wish they were made for
    json_t *hosts;            // of this machine
    int64_t renew_at;         // when certificates are due
};
struct render_inputs {
    const struct site_input *list;
    size_t count;
};
// What only somebody beside a router knows.
struct render_live {
    void *user;
    // Adds to the facts what is observed, and lets go of it again.
    void (*observe)(void *user, struct site_facts *facts);
    void (*observed)(void *user, struct site_facts *facts);
    void (*wish)(void *user, const struct render_inputs *in, json_t *certificates);
    void (*certified)(void *user);                              // they have changed
    bool (*settle)(void *user, const struct render_inputs *in); // true: facts are new
};
// The directories of a namespace.
int render_make_directories(const struct host_paths *p, struct why *why);
// `paths` and `version` are borrowed. Free with render_fini() also after an error.
int render_init(struct render *r, const struct host_paths *paths, const char *version,
                struct why *why);
void render_fini(struct render *r);
// From the input as it was scanned last to r->wanted, with ports chosen and certificates made.
// `live` NULL: there is no router.
void render(struct render *r, const struct render_live *live);
// The router and other sites have got what is theirs of r->wanted: it goes, until the next
// render().
void render_applied(struct render *r);
// Nothing is to be done for a while: what is wanted is kept small until it is needed again, which
// is by render_wake() or the next render().
void render_rest(struct render *r);
void render_wake(struct render *r);
// One of site_wanted.problems in words, the caller's.
char *render_problem(const json_t *problem);

// ---------------------------------------------------------------------------------------- keeper

// Keeps the router's process running where there is no systemd to do it: starts it, takes over one
// that runs, starts it again when it ends.
struct keeper;
struct net_loop;
// `ended` is called when the process has ended by itself.
struct keeper *keeper_new(struct net_loop *loop, const struct host_paths *paths,
                          void (*ended)(void *user), void *user);
// Stops keeping; the process goes on.
void keeper_free(struct keeper *k);
// Its configuration file is there: it shall run. Again: nothing.
void keeper_run(struct keeper *k, const char *site_id);
// It shall not run; returns when it has ended.
void keeper_stop(struct keeper *k);
// With another configuration than management can apply: ends and starts it.
void keeper_restart(struct keeper *k);
// It has ended, and its configuration is another now: it is started soon, however often it has
// ended before.
void keeper_hurry(struct keeper *k);
// Why it does not run; "" when all is well.
const char *keeper_problem(const struct keeper *k);
// The program, beside our own or in PATH; the caller frees it.
char *keeper_program(void);

// With systemd: the router as a unit that is enabled and running.
int host_site_run_router(const struct host_paths *p, const char *site_id, struct why *why);

// ---------------------------------------------------------------------------------------- output

// Writes what changed since `before` (NULL: the directory is brought to exactly this) under
// runtime/resources, and removes what is gone.
int output_resources(const struct host_paths *paths, const json_t *before, const json_t *now,
                     struct why *why);
// runtime/router/skrouterd.json.
int output_router(const struct host_paths *paths, const json_t *config, struct why *why);
// runtime/proxies: the passwords that proxyProfiles of the router's configuration name, from the
// Secrets of the input; others are removed.
int output_proxies(const struct host_paths *paths, const json_t *config,
                   const struct site_input *inputs, size_t count, struct why *why);
// runtime/links: static links with their certificates filled in.
int output_links(const struct host_paths *paths, const json_t *links, struct why *why);

// -------------------------------------------------------------------------------------- granting

// The AccessGrants of the input served: the certificate of the server, its port, the store of what
// was redeemed.
struct granting;
struct granting_place {
    const json_t *endpoints; // site_wanted.endpoints: what a link gets
    const char *issuer;      // the CA that signs for links
};
// `changed` is called when granting_set() is to try again what went wrong.
int granting_new(struct net_loop *loop, const struct host_paths *paths, struct memory *m,
                 void (*changed)(void *user), void *user, struct granting **out, struct why *why);
void granting_free(struct granting *g);
// The certificates it needs, to be made with the others: appended to a list like
// site_wanted.certificates. Nothing while there is no grant.
void granting_wishes(const struct granting *g, const struct site_input *inputs, size_t count,
                     const json_t *hosts, json_t *wishes);
// What there is now. Starts the server when there is a grant and somewhere to link to. True: what
// granting_facts() tells is new.
bool granting_set(struct granting *g, const struct site_input *inputs, size_t count,
                  const struct granting_place *place, int64_t now);
// The certificate of the server has changed.
int granting_reload(struct granting *g, struct why *why);
// For site_facts.grants; a new reference.
json_t *granting_facts(const struct granting *g);

// ------------------------------------------------------------------------------------- redeeming

// The AccessTokens of the input: each is redeemed once, its Secret and Links stored in the input.
struct redeeming;
struct redeeming *redeeming_new(struct net_loop *loop, const struct host_paths *paths,
                                struct memory *m, void (*changed)(void *user), void *user);
void redeeming_free(struct redeeming *r);
// Begins with those that are new; one that failed is tried again after a while.
void redeeming_set(struct redeeming *r, const struct site_input *inputs, size_t count);
// For site_facts.tokens; borrowed.
const json_t *redeeming_facts(const struct redeeming *r);
// --------------------------------------------------------------------------------------- sharing

// What sites tell each other of their services, over the site's router.
struct sharing;
struct sharing *sharing_new(struct net_loop *loop, const struct host_paths *paths,
                            const char *site_id, const char *version, void (*changed)(void *user),
                            void *user);
void sharing_free(struct sharing *s);
// What is to hear of the connection to the router; borrowed.
struct drive_sharing *sharing_exchange(const struct sharing *s);
// site_wanted.announce and .services; the latter are kept in runtime/shared/services.json for
// people to see.
void sharing_set(struct sharing *s, const json_t *announce, const json_t *services);
// For site_facts.shared; a new reference.
json_t *sharing_facts(const struct sharing *s);

// ------------------------------------------------------------------------------------ neighbours

// Other sites of this user on this machine, and where their Connectors lead to.
struct neighbours;
struct neighbours *neighbours_new(const struct host_paths *paths);
void neighbours_free(struct neighbours *n);
// site_wanted.targets, for the others.
void neighbours_tell(const struct neighbours *n, const json_t *targets);
// True: something is new about them.
bool neighbours_look(struct neighbours *n);
// For site_facts.neighbours; the caller's.
json_t *neighbours_facts(const struct neighbours *n);

// ---------------------------------------------------------------------------------------- census

// The whole network, from the flow records of its routers; kept in
// runtime/resources/ConfigMap-skupper-network-status.yaml for people and programs to see.
struct census;
struct drive_census;
struct census *census_new(struct net_loop *loop, const struct host_paths *paths,
                          void (*changed)(void *user), void *user);
void census_free(struct census *n);
// To be told of the connection, and of events of links, all that are nobody else's; borrowed.
struct drive_census *census_engine(struct census *n);
// For site_facts.network, as it was told last: the caller's reference. NULL: nothing is known yet.
json_t *census_facts(struct census *n);
// Nothing is to be done for a while: they are made again when they are needed.
void census_rest(struct census *n);
