// SPDX-License-Identifier: Apache-2.0
// Sites on plain hosts: directories and files, processes and systemd, the agent beside a router,
// the server that answers redemptions, the client that redeems, bundles. The thin shell round the
// site model: it observes, compares and applies. How it is cut: docs/decisions/0003.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/mono.h"
#include "base/str.h"
#include "base/why.h"
#include "pki/pki.h"
#include "site/site.h"

struct net_loop;

// ----------------------------------------------------------------------------------------- paths

// Where things of one namespace are. Rules: the reference layout in docs/sites.md. All are owned
// by the struct.
struct host_paths {
    char *ns;
    char *home;     // data home: /var/lib/skupper, or ~/.local/share/skupper
    char *root;     // <home>/namespaces/<ns>
    char *shown;    // the same as the host sees it; differs from `root` in a container
    char *units;    // directory of systemd units
    bool is_system; // root's, else of one user
    bool is_container;
};
// From the environment of the process and its user. Returns 0, or ERR_INVALID with words when the
// namespace's name is not allowed or there is no home.
int host_paths_init(struct host_paths *p, const char *ns, struct why *why);
void host_paths_fini(struct host_paths *p);
// "<root>/<printf>" in fresh memory; the caller frees it.
char *host_path(const struct host_paths *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
// Letters a-z, digits and hyphens, begun and ended by letter or digit, at most 63.
bool host_is_name(const char *name);
// Names of the namespaces there are, sorted; NULL-ended, each and the array the caller's.
char **host_namespaces(const struct host_paths *p);
void host_names_free(char **names);

// ----------------------------------------------------------------------------------------- files

enum { HOST_FILE_MAX = 8 << 20 }; // octets of a file that is read whole

// The file is there whole, old or new, whatever moment the machine stops: written beside, synced,
// renamed, the directory synced. What is the same already is left alone. Returns 0, or ERR_IO with
// words.
int host_write(const char *path, struct str text, mode_t mode, struct why *why);
// Many files at once, for the price of one: all written beside and synced together, then all put in
// place. A crash leaves each old or new.
struct host_batch {
    char **paths;
    size_t count;
};
int host_batch_add(struct host_batch *b, const char *path, struct str text, mode_t mode,
                   struct why *why);
// `directory`: where they all are. Frees the batch, also when it fails.
int host_batch_commit(struct host_batch *b, const char *directory, struct why *why);
// The same as host_write for what can be made again: readers see it whole, old or new, but a crash
// of the machine may lose it.
int host_put(const char *path, struct str text, mode_t mode, struct why *why);
// From then on no crash loses what was put there.
int host_sync(const char *path, struct why *why);
// The same piece by piece, for what would be large as a whole. `path` is borrowed until the end,
// which tells whatever went wrong on the way and is never left out.
struct host_pour {
    const char *path;
    int fd, error;
};
void host_pour_begin(struct host_pour *p, const char *path, mode_t mode);
void host_pour(void *pour, struct str piece); // a struct host_pour
int host_pour_end(struct host_pour *p, struct why *why);
// *text is NUL-terminated and the caller's. ERR_NOT_FOUND when there is no such file, ERR_LIMIT
// when it is larger than HOST_FILE_MAX, ERR_IO; with words.
int host_read(const char *path, char **text, size_t *len, struct why *why);
// The last `max` octets of a file of any length, NUL-terminated. 0 or ERR_NOT_FOUND.
int host_read_end(const char *path, size_t max, char **text, size_t *len);
// Makes a directory and what is missing above it (mode 0755). 0 or ERR_IO with words.
int host_make_directory(const char *path, struct why *why);
// Removes a file, or a directory with everything in it; not an error when it is gone. Follows no
// links.
int host_remove(const char *path, struct why *why);
// Names in a directory that end in `suffix` (NULL: all), sorted; NULL-ended. Empty when there is no
// such directory. Names that begin with a dot or end in ".tmp" are left out.
char **host_list(const char *directory, const char *suffix);

// A .tar.gz that grows file by file.
struct host_archive;
// ERR_IO with words when there cannot be such a file.
int host_archive_new(const char *path, mode_t mode, struct host_archive **out, struct why *why);
// A file in it. Its name is relative and shorter than 240 octets; a longer one is passed over.
void host_archive_add(struct host_archive *a, const char *name, struct str text, mode_t mode);
// Ends it. ERR_IO with words when it could not be written whole; it is removed then.
int host_archive_close(struct host_archive *a, struct why *why);

// Waits until something in the directory is written, renamed or removed, but no longer than 50 ms
// since a change just before is not seen: look, and call again. False when `until` is over.
bool host_await_change(const char *directory, struct mono until);

// ------------------------------------------------------------------------------------- processes

// A process that outlives its parent and is known by a file that it holds locked as long as it
// lives, so that a number used again is never taken for it.
struct host_process {
    const char *pid_file, *log_file; // borrowed; standard output and error are appended to the log
    const char *const *argv;         // NULL-ended; argv[0] is looked up in PATH
};
// Returns 0, ERR_EXISTS when it is running, or ERR_IO with words (no such program, …).
int host_start(const struct host_process *p, struct why *why);
// Its process id, or 0 when it is not running. Not to be asked of oneself.
pid_t host_running(const char *pid_file);
// Asks it to end (SIGTERM), insists after `grace_ms` (SIGKILL), and returns when it is gone. Not an
// error when it was not running.
int host_stop(const char *pid_file, uint32_t grace_ms, struct why *why);
// Only asks, and waits for nothing.
void host_ask_to_stop(const char *pid_file);
// For the process itself: takes the lock and writes its number. Returns a descriptor to be kept
// open, or ERR_EXISTS / ERR_IO with words.
int host_claim(const char *pid_file, struct why *why);
// A descriptor that becomes readable when the process has ended, or ERR_NOT_FOUND.
int host_watch_process(const char *pid_file);

// --------------------------------------------------------------------------------------- systemd

// Does systemd run here, for this user?
bool host_has_systemd(const struct host_paths *p);
struct host_unit {
    const char *name;        // "skupper-west.service"
    const char *description; // one line
    const char *exec;        // the command line, absolute
    const char *site_id;     // SKUPPER_SITE_ID; NULL: none
    const char *bound_to;    // another unit with which it stops; NULL
};
// Text of a unit file in fresh memory.
char *host_unit_text(const struct host_unit *u, bool is_system);
// Writes it, enables and starts it. 0, or ERR_IO with the words of systemctl.
int host_unit_install(const struct host_paths *p, const struct host_unit *u, struct why *why);
// The unit of the namespace's router.
int host_unit_restart(const struct host_paths *p, struct why *why);
int host_unit_remove(const struct host_paths *p, const char *name, struct why *why);

// ------------------------------------------------------------------------------------------ site

// The site of a namespace as a whole: its agent and its router, as units where systemd runs.
// ERR_EXISTS when it runs, ERR_IO; with words. Returns when the agent has been started.
int host_site_start(const struct host_paths *p, struct why *why);
bool host_site_is_running(const struct host_paths *p);
// The agent reads its input anew; ERR_NOT_FOUND with words when none runs.
int host_site_reload(const struct host_paths *p, struct why *why);
// Ends both and removes their units; the files stay. Not an error when nothing runs.
int host_site_stop(const struct host_paths *p, struct why *why);
// Has many end at one time: host_site_stop() of each finds little left to wait for.
void host_sites_ask_to_stop(const struct host_paths *sites, size_t count);

// ---------------------------------------------------------------------------------------- grants

// The server for redemptions: HTTPS with TLS 1.3, a component of somebody's loop. It owns no grant:
// it asks which there are for each request, has a redemption counted and kept before it is given
// out, and asks for what is given out. Who is wrong too often, or slow, or many, waits or is left.
struct host_grants;
enum { HOST_COUNT_LATER = 1 };
struct host_grants_opts {
    const char *host, *port; // "" or NULL: all addresses; port "0": any
    const char *cert_file, *key_file;
    uint32_t patience_ms; // for a request to come whole, and for its answer to be read; 0: 60 s
    bool is_of_claims;    // they are asked for, and refused, as claims of version 1
    // The grants there are now. They stay as they are until the next call into the server or out of
    // it. Returns how many.
    size_t (*grants)(void *user, const struct site_grant **out);
    // Counts one redemption of the grant in that place and keeps it, synced. Negative: it could not
    // be kept, is not counted, and nothing is given out; `why` goes into the log. HOST_COUNT_LATER:
    // host_grants_counted() will say so, once, with that number; who redeems waits.
    int (*count)(void *user, size_t index, uint64_t number, struct why *why);
    // What is given out for it (host_grant_links makes it): *text is the server's and wiped.
    // Negative: the redemption stays counted; `why` is said to the peer.
    int (*give)(void *user, size_t index, const char *name, const char *subject, char **text,
                struct why *why);
    void *user;
};
// Returns 0, ERR_IO or ERR_INVALID with words (address in use, certificate unreadable).
int host_grants_new(struct net_loop *l, const struct host_grants_opts *opts,
                    struct host_grants **out, struct why *why);
// Drops its connections. Not from within a callback.
void host_grants_free(struct host_grants *g);
int host_grants_port(const struct host_grants *g);
// What was counted later: `err` and words as of `count`; else `give` is asked for the grant that is
// in that place now. Who redeems may have left. Not from within `count`.
void host_grants_counted(struct host_grants *g, uint64_t number, size_t index, int err,
                         const char *why);
// The files have changed: connections to come use them. On error the old ones stay.
int host_grants_reload(struct host_grants *g, struct why *why);

// A client certificate of the CA and a Link for each group of endpoints, as text. The caller wipes
// and frees it. `now` in seconds since the epoch. A key of PKI_RSA, as others make it, takes the
// loop a tenth of a second or much more; one of PKI_EC takes nothing, and routers of all makes read
// it. Errors as pki_make_leaf(), and ERR_NOT_FOUND without an endpoint.
int host_grant_links(struct str ca_cert, struct str ca_key, const json_t *endpoints,
                     const char *name, const char *subject, enum pki_key key, int64_t now,
                     char **text, struct why *why);

// The grants of a site and where they are kept: a file <name>.json for each, mode 0600. A file that
// cannot be read is left where it is, and its grant serves nobody until the file is gone.
struct host_grant_store;
// Reads what there is. Broken files are told in the log. 0 or ERR_IO with words.
int host_grant_store_open(const char *directory, struct host_grant_store **out, struct why *why);
void host_grant_store_free(struct host_grant_store *s);
// The AccessGrant resources there are now (a list, borrowed; of a resource whose text is broken the
// last good one): new ones get a uid and a code, changed ones allow what they say, and those that
// are gone are forgotten, so that nobody can redeem them, also when one of their name comes again.
// What could not be made or kept is told by host_grant_store_facts(). True: something changed.
bool host_grant_store_set(struct host_grant_store *s, const json_t *resources, int64_t now);
// {name: …} as site_facts.grants wants it. `server` is "host:port", "" while there is none; `ca`
// the PEM text of the CA of the server. A new reference.
json_t *host_grant_store_facts(const struct host_grant_store *s, const char *server,
                               const char *ca);
// For host_grants_opts: `user` is the store.
size_t host_grant_store_grants(void *user, const struct site_grant **out);
int host_grant_store_count(void *user, size_t index, struct why *why);

// ------------------------------------------------------------------------------------- redeeming

enum { HOST_REDEEM_MS = 10000, HOST_ANSWER_MAX = 256 * 1024 };
// Redeems a token (not one of SITE_TOKEN_LINKS) with the site that issued it: TLS 1.3, its CA alone
// trusted, no redirects, 10 s for everything. Blocks. `subject`: the id of this site. Returns 0
// with *out the caller's; errors as site_redeeming_make() and site_redeeming_read(), and ERR_IO
// when the site could not be reached or its certificate is not what it must be; with words.
int host_redeem(const struct site_token *t, const char *subject, struct site_links *out,
                struct why *why);

// The same without blocking: a thread waits.
struct host_redemption;
struct host_redeemed {
    // Called once, from the loop. With `err` 0 the links are the callee's, else `why` has the
    // words.
    void (*done)(void *user, int err, struct site_links *take, const char *why);
    void *user;
};
// Copies the token. Returns 0, or ERR_IO with words.
int host_redeem_start(struct net_loop *l, const struct site_token *t, const char *subject,
                      const struct host_redeemed *then, struct host_redemption **out,
                      struct why *why);
// `done` will not be called; returns when the thread has ended, after a second at most. (What is
// under way may still use up the token.) NULL is fine. Not after `done`.
void host_redeem_cancel(struct host_redemption *r);

// ---------------------------------------------------------------------------------------- bundles

// Makes, without a router, what the input of a namespace's directory asks for: certificates,
// issuers, static links. What is wrong with the input is told to `problem`. 0, or ERR_IO with
// words.
int host_render(const struct host_paths *paths, const char *version,
                void (*problem)(void *user, const char *words), void *user, struct why *why);

// ---------------------------------------------------------------------------------------- doctor

// Why a link does not come about: each step on the way is made by itself, and blocks.
struct host_checkup {
    const char *role; // "inter-router", "edge", or "grant" for a server of tokens
    const char *host, *port;
    struct host_proxy { // an HTTP proxy on the way; without a host: none
        const char *name, *host, *port, *username, *password;
    } proxy;
    const char *ca, *cert, *key; // PEM; without cert and key nothing is shown to the peer
    uint32_t timeout_ms;         // for each step
    int64_t now;                 // seconds since the epoch
    bool is_pod;                 // "here" is a pod: what to do next is said in words of a cluster
    void (*told)(const json_t *step); // each, as soon as it is made; NULL: of no interest
};
// Both append to `steps` {"step", "endpoint", "address", "result": "ok" | "failed", "message",
// "next"}; what is not known is left out. False: a step failed.
// What this side has: do key and certificate belong together, are they valid, of the CA?
bool host_check_credentials(const struct host_checkup *c, json_t *steps);
// The way there and what answers: name, and for each address route, port, tls, certificate, clock,
// accepted, protocol. With a proxy the first three are those to it, and a step more is its answer.
bool host_check_way(const struct host_checkup *c, json_t *steps);
// Who takes these steps within a router's pod: the agent there, at this address local to its router
// (client_request.agent), for clients of that very router. It is asked by this operation with the
// name of a link of that router and nothing else, and answers {"version", "steps": [as above]}, or
// 404 (there is no such link), 503 (steps for somebody else are under way) or 500, within so long.
#define HOST_DOCTOR "skupper.link-doctor"
#define HOST_DOCTOR_EXAMINE "EXAMINE-LINK"
enum { HOST_DOCTOR_MS = 30000 };

// ----------------------------------------------------------------------------------------- agent

struct host_agent_opts {
    const char *ns;
    const char *version; // of this product
    bool keeps_router;   // no systemd: the router is the agent's to start and to watch
    bool is_manual;      // input is read at the start and on SIGHUP only
};
// Runs until SIGTERM, or the namespace is removed. Traffic does not need it: the router goes on,
// and a later agent takes over from the files. Returns 0, ERR_EXISTS when one runs already, or
// another error, with words.
int host_agent(const struct host_agent_opts *opts, struct why *why);
