// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share: the shape of a command and of its arguments.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/attr.h"
#include "base/mono.h"
#include "base/str.h"
#include "base/why.h"
#include "host/host.h"

enum platform { ON_KUBERNETES = 1, ON_PODMAN = 2, ON_DOCKER = 4, ON_LINUX = 8 };
enum { ON_HOSTS = ON_PODMAN | ON_DOCKER | ON_LINUX, ON_ALL = ON_HOSTS | ON_KUBERNETES };

enum flag_kind { FLAG_TEXT, FLAG_BOOL, FLAG_NUMBER, FLAG_DURATION };

struct flag {
    const char *name; // without "--"; NULL ends a list
    char letter;      // 'o' for "-o"; 0: none
    enum flag_kind kind;
    const char *initial; // "" for none
    const char *help;
    unsigned platforms;  // where it exists; 0: everywhere
    const char *choices; // "json|yaml"; NULL: any
};

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_INVALID = 2, FLAGS_MAX = 48, ARGS_MAX = 64 };

struct cli;
struct store;

struct command {
    const char *name; // "site create"; NULL ends a table
    const char *args; // "<name>", for the usage
    const char *summary;
    const char *more; // further paragraphs of its help; NULL: none
    int args_min, args_max;
    unsigned platforms; // where it exists; 0: everywhere
    unsigned later;     // where it is going to: shown, and says so
    bool is_hidden;
    bool takes_one_dash; // "-name" is "--name"
    const struct flag *flags;
    // One of these; returns an exit status.
    int (*run)(struct cli *c);
    int (*run_on)(struct cli *c, struct store *s); // with the namespace's open
};

// One run of one command.
struct cli {
    const struct command *command;
    enum platform platform;
    bool is_platform_chosen; // by flag or environment, not by default
    const char *args[ARGS_MAX];
    int arg_count;
    const struct flag *flags[FLAGS_MAX]; // global ones first
    const char *values[FLAGS_MAX];       // NULL: not given
    int flag_count;
    FILE *out, *err;
    int problem_count;
    bool is_plain_fine; // a site without resource definitions may be made, or be gone
    int failure;        // the status of what could not be read, which was told; 0: nothing
};

// ------------------------------------------------------------------------------------- arguments

extern const struct flag cli_global_flags[];
const char *cli_platform_name(enum platform p);
// Takes apart argv after the command's words. Returns 0, or ERR_INVALID with words.
int cli_parse(struct cli *c, int argc, char **argv, struct why *why);
// Tells, as problems, of flags whose value is none of those that they can have.
void cli_check_choices(struct cli *c);
// The value given, or the initial one; the name must be one of the command's flags.
const char *cli_text(const struct cli *c, const char *flag);
bool cli_bool(const struct cli *c, const char *flag);
long cli_number(const struct cli *c, const char *flag);
int64_t cli_duration_ms(const struct cli *c, const char *flag);
bool cli_has_flag(const struct cli *c, const char *flag); // does the command know it?
bool cli_is_given(const struct cli *c, const char *flag);
// A time span as Go writes it: "90s", "1h30m", "1.5m". False when it is not one.
bool cli_parse_duration(const char *text, int64_t *ms);

// The namespace given; on hosts "default" without one.
const char *cli_namespace(const struct cli *c);

// ---------------------------------------------------------------------------------------- output

// One line on standard output.
void cli_say(struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
// The same, counted: something given is not valid. All are told, then the command ends with
// EXIT_INVALID.
void cli_problem(struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
// The same, and EXIT_FAILED to be returned.
int cli_fail(struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

// A table whose columns are as wide as what stands in them.
struct table {
    int columns, row_count;
    char **cells; // row by row, the head first
};
void table_init(struct table *t, const char *head);                      // "NAME\tSTATUS"
void table_row(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3); // "%s\t%s"
// Prints and frees it.
void table_print(struct table *t, FILE *out);
void table_free(struct table *t); // also one that has been printed

// A resource or any value, as -o asks: "json" or "yaml". Nothing that is empty is shown.
void cli_print(struct cli *c, const json_t *value, const char *form);
void cli_print_list(struct cli *c, const json_t *list, const char *form);
void cli_print_whole(struct cli *c, const json_t *value, const char *form); // what is empty, too

// ----------------------------------------------------------------------------------------- store

enum store_side { STORE_INPUT, STORE_RUNTIME }; // what is wanted, what is; in a cluster one
enum { TIMEOUT_MIN_MS = 10000 };
struct kube;

// Something to wait for.
struct wish {
    const char *words; // shown meanwhile; NULL: nothing is
    const char *kind, *name;
    bool (*is_so)(const json_t *resource);      // of a cluster's also with NULL: it is gone
    bool (*is_hopeless)(const struct store *s); // on a host: nobody is left to tell; NULL: go on
    struct mono until;
};

// Where resources are. The functions are those below.
struct store_ops {
    json_t *(*list)(const struct store *s, enum store_side side, const char *kind);
    json_t *(*find)(struct store *s, const char *kind, const char *name);
    json_t *(*told)(const struct store *s, const char *kind, const char *name);
    int (*put)(struct store *s, json_t *resource, struct why *why);
    int (*remove)(struct store *s, const char *kind, const char *name, struct why *why);
    bool (*await)(const struct store *s, const struct wish *w, json_t **last);
    void (*close)(struct store *s);
};
extern const struct store_ops store_files, store_cluster;

struct store {
    struct cli *cli;
    const struct store_ops *ops;
    const char *ns;
    // On a host.
    struct host_paths paths;
    json_t *files; // {"Listener/db": file of the input}, once it is asked for
    struct host_batch batch;
    // In a cluster.
    struct kube *kube;
    json_t *found; // {"Listener/db": the object as it was found}
};
// EXIT_OK, or another status with the reason told. Nothing is asked of a cluster yet.
int store_open(struct cli *c, struct store *s);
int files_open(struct cli *c, struct store *s);
int cluster_open(struct cli *c, struct store *s);
// The Site that the ConfigMap skupper-site stands for, where our kinds are not defined: a new
// reference, or NULL. And the ConfigMap for a Site.
json_t *plain_site(const struct store *s);
json_t *plain_map(const struct store *s, const json_t *site);
bool plain_is(const json_t *site); // is it such a one?
// Its links, which are Secrets, as the Links that they stand for; of that name, or all (NULL). A
// new reference. And what is to change of the Secret for one that was changed.
json_t *plain_links(const struct store *s, const json_t *site, const char *name);
json_t *plain_link_patch(const json_t *link);
struct site_links;
struct site_token;
struct token_wish;
// A problem is told when a token of that site (its id) makes no link here.
void plain_check_origin(struct cli *c, const struct store *s, const json_t *site,
                        const char *origin);
char *plain_link_name(const struct store *s, const json_t *site); // link1, link2, …; the caller's
// Its tokens and links: EXIT_OK, or the reason told. A claim is redeemed by the site's controller.
int plain_issue(struct cli *c, struct store *s, const json_t *site, const struct token_wish *w);
int plain_link(struct cli *c, struct store *s, const json_t *site, const struct site_links *links);
int plain_claim(struct cli *c, struct store *s, const json_t *site, const struct site_token *token);
// The items of a kind that a selector of labels chooses; a new reference.
json_t *cluster_labelled(const struct store *s, const char *kind, const char *labels);
// EXIT_OK when there is an API server; else that is told.
int cluster_check(const struct store *s);
void store_close(struct store *s);
// All below give new references. Files that cannot be read are warned about. When a cluster does
// not answer, that is told once, c->failure is set, and there seems to be nothing.
json_t *store_list(const struct store *s, enum store_side side, const char *kind);
json_t *store_find(struct store *s, const char *kind, const char *name);       // input, or NULL
json_t *store_told(const struct store *s, const char *kind, const char *name); // runtime, or NULL
json_t *store_site(const struct store *s); // of the input; NULL: there is none
// With status where there is one; those of the input that nobody took up yet without.
json_t *store_shown(const struct store *s, const char *kind);
// A resource with its metadata and an empty spec.
json_t *store_new(const struct store *s, const char *kind, const char *name);
// Into the file where one of that kind and name stands, else into Kind-name.yaml. In a cluster:
// what was found is changed where it differs, anything else is made; ERR_EXISTS when there is one.
int store_put(struct store *s, json_t *resource, struct why *why);
// On hosts the same for many: they are there after store_commit().
int store_add(struct store *s, json_t *resource, struct why *why);
int store_commit(struct store *s, struct why *why);
// ERR_NOT_FOUND without words when there is none.
int store_remove(struct store *s, const char *kind, const char *name, struct why *why);
bool store_is_running(const struct store *s); // the agent, on a host
// Waits until what is told of a resource `is_so`; *last is the newest, a new reference or NULL.
bool store_await(const struct store *s, const struct wish *w, json_t **last);

// The line that is shown meanwhile.
struct progress {
    FILE *out;
    const char *words;       // NULL: none
    struct mono begun, next; // call tick no later than `next`
    bool is_terminal;
};
void progress_begin(struct progress *p, FILE *out, const char *words);
void progress_tick(struct progress *p, struct mono now, const char *missing);
void progress_end(struct progress *p);

// Waits for a condition (w->is_so is set here) and tells why it did not come, at once when it never
// will. EXIT_OK or another.
int cli_await(struct cli *c, const struct store *s, struct wish *w, const char *condition);
// The same in a cluster, as the flags --wait and --timeout say; elsewhere at once EXIT_OK.
int cli_await_asked(struct cli *c, const struct store *s, const char *words, const char *kind,
                    const char *name);
// In a cluster, unless --wait=false: until it is gone, or --timeout is over, which is told.
int cli_await_gone(struct cli *c, const struct store *s, const char *kind, const char *name);
// A problem is told when --timeout is too short.
void cli_check_timeout(struct cli *c);
// What has come of reading and checking: EXIT_OK, or how the command is to end.
int cli_verdict(const struct cli *c);
// Is its condition Ready true?
bool cli_is_ready(const json_t *resource);
// In a cluster, a problem is told when there is no Site (NULL) or it is not ready.
void cli_check_active(struct cli *c, const json_t *site);
// link generate in a cluster.
int cli_offer_links(struct cli *c, struct store *s);
// The columns STATUS and MESSAGE, also of what nobody has taken up.
const char *cli_status_of(const json_t *resource);
const char *cli_message_of(const struct cli *c, const json_t *resource);
// A problem is told when it is no name of a resource; `what` it names.
bool cli_check_name(struct cli *c, const char *what, const char *name);
// What is given of where and under which names other sites may link here (--bind-host,
// --subject-alternative-names) is checked; is_open: they may at all.
void cli_check_access(struct cli *c, bool is_open);
// Sets it in a RouterAccess. False: nothing is said in it that would not hold without it.
bool cli_set_access(struct cli *c, json_t *access);
// Brings the RouterAccess of the site in the input to it. EXIT_OK, or the reason told.
int cli_store_access(struct cli *c, struct store *s, const char *site);
char *cli_access_name(const char *site); // the caller's
// A problem is told when it is no workload ("deployment/backend") by its form.
bool cli_check_workload(struct cli *c, const char *text);
// It, from the cluster: a new reference, or NULL when it is not there.
json_t *cli_workload(const struct store *s, const char *text);
// The selector of its pods, the caller's; NULL, with a problem told, when there is none.
char *cli_workload_selector(struct cli *c, const struct store *s, const char *text);
// Removes the site, `name` "" when there is none, with all resources of the namespace if it
// `has_all`, and waits as the flags say.
int cli_delete_site(struct cli *c, struct store *s, const char *name, bool has_all);
// expose and unexpose in a cluster.
int cli_share(struct cli *c, struct store *s);
int cli_unshare(struct cli *c, struct store *s);
// EXIT_OK when there is a Site; else that is told, in the words of the first version.
int cli_check_enabled(struct cli *c, const struct store *s);
// [{"address", "port", "routingKey", "state", "message"}], as site_wanted.services; NULL: nothing
// is told of any.
json_t *cli_services(const struct store *s);
// The network's status; NULL: nothing is told of it.
json_t *cli_network(const struct store *s);
// On standard error, that the platform is linux only because there is no kubeconfig.
void cli_say_default_platform(struct cli *c);
// A JSON file that the agent keeps, by its path in the namespace; NULL: there is none.
json_t *cli_told(const struct store *s, const char *file);

// reach.c: a connection to the site's router
struct client_line;
struct kube_forward;
struct reach {
    struct client_line *line;
    struct kube_forward *forward; // in a cluster: what it goes through
};
// EXIT_OK, or the reason told. To be ended in any case.
int cli_connect(struct cli *c, const struct store *s, uint32_t timeout_ms, struct reach *out);
// The same on a host without telling: an error with words. The agent need not run.
int reach_host(const struct store *s, uint32_t timeout_ms, struct reach *out, struct why *why);
// The pods in which routers of the site run, and that of one of them: an error with words.
json_t *reach_pods(const struct store *s);
int reach_pod(const struct store *s, const char *pod, uint32_t timeout_ms, struct reach *out,
              struct why *why);
void reach_end(struct reach *r);

// Starts the site of the namespace and waits until it runs.
int cli_start_site(struct cli *c, const struct store *s);
struct token_wish {
    const char *file;
    // Of version 1: the name it gets (NULL: one of its own), and whether it is a certificate, which
    // can be used by whoever has it.
    const char *name;
    bool is_certificate;
    long uses, cost;
    const char *window; // as given
    int64_t window_ms, wait_ms;
};
// Checks, has a grant made, and writes the token's file.
int cli_issue_token(struct cli *c, struct store *s, const struct token_wish *w);
struct site_links;
// The Secret and the Links into the input.
int cli_store_links(struct cli *c, struct store *s, const struct site_links *links);
// The token in a file: *out is the caller's. False: told why not, and *out is not written.
bool cli_read_token(struct cli *c, const char *file, struct site_token *out);
// Redeems the token in a file and keeps what it gives. `name` (or NULL) and `cost` (or 0) instead
// of its own.
int cli_redeem(struct cli *c, struct store *s, const char *file, const char *name, long cost);
// Is that condition of its status true?
bool cli_condition(const json_t *resource, const char *type);
// When the time given by a flag is up.
struct mono cli_until(struct cli *c, const char *flag);

// ------------------------------------------------------------------------------------------ help

extern const struct command cli_agent_commands[], cli_controller_commands[], cli_site_commands[],
    cli_listener_commands[], cli_connector_commands[], cli_system_commands[], cli_link_commands[],
    cli_token_commands[], cli_expose_commands[], cli_first_commands[], cli_trace_commands[],
    cli_debug_commands[];
// The table of all commands: lists of lists, NULL-ended.
extern const struct command *const cli_tables[];
extern const char cli_version[];
// Calls `each` for every command in order of the tables.
void cli_each_command(void (*each)(void *user, const struct command *c), void *user);
// The help of one command, or, for the first words of several ("site"), their list; "" lists all.
void cli_help(FILE *out, const char *words, enum platform platform);
void cli_usage(FILE *out, const struct command *c, enum platform platform);
int cli_run_completion(struct cli *c);
extern const struct flag cli_man_flags[];
int cli_run_man(struct cli *c);
// Every resource of the files in a directory; what cannot be read is a problem.
void cli_each_source(struct cli *c, const char *directory,
                     void (*each)(void *user, json_t *resource), void *user);
extern const struct flag cli_bundle_flags[];
int cli_run_bundle(struct cli *c, struct store *s); // system generate-bundle
extern const struct flag cli_doctor_flags[];
int cli_run_doctor(struct cli *c, struct store *s); // link doctor
// Adds what the routers of the site meet in their pods on the way of a link, each step with "pod".
// *is_told: at least one told its steps one by one. False: a step failed.
bool doctor_ask_pods(struct cli *c, const struct store *s, const char *link, json_t *steps,
                     bool *is_told);
