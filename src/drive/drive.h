// SPDX-License-Identifier: Apache-2.0
// A router driven from outside: brought to a configuration by management, and asked what it knows
// of the network. For who stands beside a router, on a host or in a pod.
//
// Lives in a loop and tells through hooks, which may call anything here but drive_free().
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mono.h"
#include "base/str.h"
#include "base/why.h"

struct client;
struct client_event;
struct net_loop;

// ----------------------------------------------------------------------------------------- drive

// The connection to a router. When it opens, the router's entities are read; then, as often as
// something else is wanted, the difference is applied (site_config_difference). A connection that
// is lost is made again, for ever. What the router refuses is told in drive_entities(), and tried
// again every 5 s, after its entities have been read anew; they also are when an answer is missing.
struct drive;

struct drive_hooks {
    void *user;
    void (*changed)(void *user);                              // what drive_*() tell is new
    void (*opened)(void *user, struct client *c);             // make links now
    void (*event)(void *user, const struct client_event *ev); // of those links
    void (*closed)(void *user);                               // the links are gone
    // What the router has, [type, attributes] each, has been read; drive_want() here is in time for
    // the first difference. Borrowed. NULL: of no interest.
    void (*read)(void *user, const json_t *applied);
    void (*looked)(void *user); // its state was looked at, as it is now and then; NULL
    uint32_t answer_ms;         // how long an answer may take; 0: CLIENT_REQUEST_MS
};

// Where management is.
struct drive_place {
    const char *host, *port;
    const char *certificates; // folder with ca.crt, tls.crt and tls.key; NULL: without TLS
};

struct drive *drive_new(struct net_loop *loop, const struct drive_hooks *hooks);
void drive_free(struct drive *r); // NULL is fine
// NULL: nowhere. Everything is copied; the same place again changes nothing.
void drive_set_place(struct drive *r, const struct drive_place *place);
// Certificates have changed: connections to come use them. On error, with words, the old ones.
int drive_reload(struct drive *r, struct why *why);
// The configuration it shall have, as a list like that of a file; kept by reference, so it is not
// to be changed any more. Until the first call nothing is changed.
void drive_want(struct drive *r, const json_t *config);
// It is to have exactly this already.
bool drive_wants(struct drive *r, const json_t *config);
// It differs in what a router reads only at its start.
bool drive_needs_restart(const struct drive *r);
// It answers; and everything that could be applied has been.
bool drive_is_up(const struct drive *r);
bool drive_is_settled(const struct drive *r);
// What it has as far as is known, as for hooks.read; borrowed.
const json_t *drive_applied(struct drive *r);
// {"tcpListener/listener/db": {"operStatus", "error", …}}: how they are; borrowed.
const json_t *drive_entities(struct drive *r);
// Nothing is to be done for a while: what is known is kept small until it is needed.
void drive_rest(struct drive *r);
// Operations it has been asked for and has done, since drive_new().
uint64_t drive_operation_count(const struct drive *r);
// Takes events; to be called each turn of the loop.
void drive_turn(struct drive *r, struct mono now);
// Why there is no connection; "" while there is.
const char *drive_problem(const struct drive *r);

// ---------------------------------------------------------------------------------------- census

// The whole network as its routers tell it in flow records, over the connection of a drive.
struct drive_census;

// `news` is called when there is a new status, which is taken by drive_census_tell() there.
struct drive_census *drive_census_new(struct net_loop *loop, void (*news)(void *user), void *user);
void drive_census_free(struct drive_census *n); // NULL is fine
// The connection is there, or gone with all links.
void drive_census_opened(struct drive_census *n, struct client *c);
void drive_census_closed(struct drive_census *n);
// An event of its links, which are all that are nobody else's.
void drive_census_heard(struct drive_census *n, const struct client_event *ev);
// As flow_collector_tell(), flow_collector_status() and flow_collector_digest().
void drive_census_tell(struct drive_census *n, void (*put)(void *user, struct str piece),
                       void *user);
json_t *drive_census_status(const struct drive_census *n, const char *made);
uint64_t drive_census_digest(const struct drive_census *n, const char *made);

// --------------------------------------------------------------------------------------- sharing

// What sites tell each other of their services, over the connection of a drive: the engine
// site_sync with its links and its timer.
struct drive_sharing;

// `news` is called when what other sites share has changed.
struct drive_sharing *drive_sharing_new(struct net_loop *loop, const char *site_id,
                                        const char *version, void (*news)(void *user), void *user);
void drive_sharing_free(struct drive_sharing *s); // NULL is fine
// The connection is there, or gone with all links.
void drive_sharing_opened(struct drive_sharing *s, struct client *c);
void drive_sharing_closed(struct drive_sharing *s);
// False: the event is somebody else's.
bool drive_sharing_event(struct drive_sharing *s, const struct client_event *ev);
void drive_sharing_set_ttl(struct drive_sharing *s, uint32_t ttl_ms); // as site_sync_set_ttl()
// As site_sync_announce(); what cannot be told is in the log.
void drive_sharing_announce(struct drive_sharing *s, const json_t *services);
// As site_sync_shared(), site_sync_save() and site_sync_load().
json_t *drive_sharing_shared(const struct drive_sharing *s);
json_t *drive_sharing_save(const struct drive_sharing *s);
int drive_sharing_load(struct drive_sharing *s, const json_t *saved, struct why *why);
// Before anything else, by who will ask for the following.
void drive_sharing_keep_told(struct drive_sharing *s);
// {name: {"origin", "service"}}: of each name the service that counts here, without those that this
// site announces itself; borrowed.
const json_t *drive_sharing_told(const struct drive_sharing *s);
