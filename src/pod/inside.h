// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share. plan.c decides and is pure; agent.c and init.c observe and
// act.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/mono.h"
#include "base/why.h"
#include "kube/kube.h"
#include "pod/pod.h"

// ------------------------------------------------------------------------------------------ plan

enum {
    PLAN_CONFIG_MAX = 4 * 1024 * 1024, // octets of a configuration
    PLAN_PROFILES_MAX = 20000,
};

struct plan_file {
    char *path, *text;
    mode_t mode;
};

// What follows from a configuration and the Secrets there are.
struct plan {
    struct plan_file *files;
    size_t file_count;
    json_t *waiting; // {profile: why it cannot be used yet}
};

// A router's configuration: a list of [type, {attributes}]. 0 with *out the caller's, or ERR_DECODE
// with words.
int plan_read(const char *text, json_t **out, struct why *why);
// `secrets`: {name: Secret}. Files are planned only beneath one of the folders. Free with
// plan_fini().
void plan_make(struct plan *p, const json_t *config, const json_t *secrets,
               const struct pod_opts *opts);
void plan_fini(struct plan *p); // zeroed memory is fine
// The configuration that can be had now; the caller's. What refers to a profile that waits stays
// as it is in `applied` (NULL: there is nothing), or is left out, and so does the profile.
json_t *plan_wanted(const json_t *config, const json_t *applied, const json_t *waiting);
// Files that profiles in `applied` name, beneath one of the folders, and none in `config` or
// `wanted` does: [path]; the caller's.
json_t *plan_leftovers(const json_t *applied, const json_t *config, const json_t *wanted,
                       const struct pod_opts *opts);
// Words for everything that waits: "a: …; b: …", at most a few; the caller's.
char *plan_words(const json_t *waiting);

// Fields that are kept of a Secret.
extern const char *const plan_secret_keep[];

// ----------------------------------------------------------------------------------------- shell

// Writes what differs: each file whole, old or new. 0 or ERR_IO with words.
int pod_write(const struct plan *p, struct why *why);
// Removes those files, and their folders once these are empty.
void pod_remove(const json_t *paths);
// The file from which the router starts: without what waits and has no files from before.
int pod_write_config(const struct pod_opts *opts, const json_t *config, const struct plan *p,
                     struct why *why);
// {name: Secret} of a watch; the caller's.
json_t *pod_secrets(const struct kube_watch *w);
// Both watches, of the ConfigMap and of the Secrets.
struct pod_watches {
    struct kube_watch *config, *secrets;
};
void pod_watch(struct pod_watches *w, struct kube *k, const struct pod_opts *opts);
// The configuration as it is now. 0 with *out the caller's, ERR_NOT_FOUND or ERR_DECODE with words.
int pod_config(const struct pod_watches *w, const struct pod_opts *opts, const char *ns,
               json_t **out, struct why *why);

// ---------------------------------------------------------------------------------------- doctor

// Answers who asks for the steps of a link (HOST_DOCTOR).
struct doctor;
struct net_loop;
struct client;
struct client_event;
struct doctor *doctor_new(struct net_loop *loop, const struct pod_opts *opts);
void doctor_free(struct doctor *d); // NULL is fine
// The connection to the router is there, or gone with all links: nobody waits for an answer then.
void doctor_opened(struct doctor *d, struct client *c);
void doctor_closed(struct doctor *d);
// False: the event is somebody else's.
bool doctor_event(struct doctor *d, const struct client_event *ev);

// A program under way that tells steps, one JSON object a line. It is ended when its time is up or
// it is freed.
enum exam_end {
    EXAM_DONE,    // if its time was up, the last step says so
    EXAM_NO_LINK, // it ended with the status POD_NO_LINK
    EXAM_FAILED,  // with words
};
enum { POD_NO_LINK = 3 };
struct exam_opts {
    const char *program;
    const char *const *argv; // with a NULL at its end
    uint32_t limit_ms;
    // Once, in a later turn of the loop; the exam is gone then. Steps and words are lent.
    void (*done)(void *user, enum exam_end how, const json_t *steps, const char *words);
    void *user;
};
struct exam;
// NULL with words: it cannot be started.
struct exam *exam_new(struct net_loop *loop, const struct exam_opts *opts, struct why *why);
void exam_free(struct exam *e); // `done` is not called any more; NULL is fine

// --------------------------------------------------------------------------------------- publish

// The network's status in the ConfigMap skupper-network-status: the newest text, one write at a
// time, tried again until it is done.
struct publish;
struct publish *publish_new(struct net_loop *loop, struct kube *k, const char *ns,
                            const char *deployment);
void publish_free(struct publish *p); // NULL is fine
// A watch of what it writes, for publish_seen(): what is deleted is written again. The caller's.
struct kube_watch *publish_watch(struct kube *k, const char *ns);
void publish_seen(struct publish *p, bool is_deleted);
// There is a new status: takes it from the census.
struct drive_census;
void publish_set(struct publish *p, struct drive_census *n);
// False: the event is somebody else's.
bool publish_event(struct publish *p, const struct kube_event *ev);
// A reference to the Deployment that it belongs to; NULL: not known, or there is none.
const json_t *publish_owner(const struct publish *p);

// ---------------------------------------------------------------------------------------- source

// Records of the site and of the processes in its pods, for those who collect the network's.
struct source;
struct source *source_new(struct net_loop *loop, const struct pod_opts *opts, const char *ns);
void source_free(struct source *s); // NULL is fine
// A pod is there, has changed, or is gone.
void source_pod(struct source *s, const json_t *pod, bool is_gone);
// The connection to the router; while it is there and `is_leader`, the records are told.
void source_opened(struct source *s, struct client *c);
void source_closed(struct source *s);
bool source_event(struct source *s, const struct client_event *ev);
extern const char *const source_pod_keep[];

// ---------------------------------------------------------------------------------------- shared

// Services that sites tell each other of, and the ConfigMap skupper-services.
// What it says, in entries.c, pure: `map` is the ConfigMap, NULL when there is none.
bool entries_are_shared(const json_t *map);
// How long a site may be silent; 0: it does not say, or nothing that makes sense.
uint32_t entries_ttl_ms(const json_t *map);
// The definitions of this site, as site_sync_announce() wants them; the caller's.
json_t *entries_local(const json_t *map);
// Those of other sites, as site_sync_load() wants them; the caller's.
json_t *entries_saved(const json_t *map);
// The ConfigMap with those of other sites as they are `told` (drive_sharing_told); `shared` as
// site_sync_shared() has it, for the releases of those sites. The caller's; NULL: it is so already.
json_t *entries_wanted(const json_t *map, const json_t *told, const json_t *shared);

// Between both; only the leader of a site's agents has one.
struct shared;
struct drive_sharing;
struct shared *shared_new(struct net_loop *loop, struct kube *k, const char *ns,
                          const char *site_id, const char *version);
void shared_free(struct shared *s); // NULL is fine
// False: the event is somebody else's.
bool shared_event(struct shared *s, const struct kube_event *ev);
// What is to hear of the connection to the router; borrowed; NULL for NULL.
struct drive_sharing *shared_exchange(const struct shared *s);
