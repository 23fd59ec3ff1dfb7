// SPDX-License-Identifier: Apache-2.0
// The door of src/kube as a program, for system tests:
//
//   kubeclient [--kubeconfig F] [--context C] [--namespace N] call JSON   one request, and waits
//   kubeclient […] who                                                    what is configured
//   kubeclient […] wait JSON                                              a watch without a loop
//   kubeclient […] loop                                                   on an event loop
//
// A request is {"verb": "apply", "apiVersion": …, "kind": …, "name": …, "body": {…}, …}. In the
// loop each line of standard input is {"call": request}, {"watch": {…}}, {"unwatch": n}, {"lease":
// {"namespace", "name", "identity"}}, {"release": true} or {"cache": n}; each event is a line of
// standard output. It ends with its input.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "kube/kube.h"
#include "net/net.h"

enum { SOME = 32 };

struct program {
    struct kube *k;
    struct net_loop *loop;
    char line[1024 * 1024];
    size_t len;
    json_t *wishes; // kept as long as we run: paths in them are borrowed
    struct kube_watch *watches[SOME];
    const char **keeps[SOME]; // of these
    struct kube_lease *lease;
    intptr_t watch_count;
};

static const char *text_of(const json_t *map, const char *key)
{
    return json_string_value(json_object_get(map, key));
}

static enum kube_verb verb_of(const char *name)
{
    static const char *const names[] = {"get",   "list", "create", "update",
                                        "merge", "json", "apply",  "delete"};

    for (int i = 0; i < 8; i++)
        if (name && strcmp(names[i], name) == 0)
            return (enum kube_verb)i;
    fprintf(stderr, "no verb: %s\n", name ? name : "");
    exit(2);
}

static const struct kube_kind *kind_of(const json_t *j)
{
    const char *version = text_of(j, "apiVersion"), *kind = text_of(j, "kind");

    return version && kind ? kube_kind(version, kind) : NULL;
}

// A list of texts as an array that ends with NULL; NULL when there is none.
static const char **texts_of(const json_t *list)
{
    const char **out = list ? calloc(json_array_size(list) + 1, sizeof(char *)) : NULL;
    json_t *one;
    size_t i;

    if (out)
        json_array_foreach(list, i, one) out[i] = json_string_value(one);
    return out;
}

static struct kube_request request_of(const json_t *j)
{
    return (struct kube_request){
        .verb = verb_of(text_of(j, "verb")),
        .kind = kind_of(j),
        .ns = text_of(j, "namespace"),
        .name = text_of(j, "name"),
        .subresource = text_of(j, "subresource"),
        .body = json_object_get(j, "body"),
        .labels = text_of(j, "labels"),
        .fields = text_of(j, "fields"),
        .manager = text_of(j, "manager"),
        .force = json_is_true(json_object_get(j, "force")),
        .uid = text_of(j, "uid"),
        .resource_version = text_of(j, "resourceVersion"),
        .propagation = text_of(j, "propagation"),
        .path = text_of(j, "path"),
        .timeout_ms = (uint32_t)json_integer_value(json_object_get(j, "ms")),
    };
}

static void print(json_t *take)
{
    char *text = json_dumps(take, JSON_COMPACT);

    printf("%s\n", text);
    fflush(stdout);
    free(text);
    json_decref(take);
}

static const char *const results[] = {"OK",    "NOT_FOUND",   "EXISTS",    "CONFLICT",
                                      "OWNED", "REFUSED",     "FORBIDDEN", "UNAUTHORIZED",
                                      "BUSY",  "UNREACHABLE", "UNUSABLE"};

static json_t *answer_json(const struct kube_answer *a)
{
    json_t *j = json_pack("{s:s, s:i, s:s, s:s}", "result", results[a->result], "code", a->code,
                          "reason", a->reason, "words", a->why.text);

    if (a->value)
        json_object_set(j, "value", a->value);
    if (a->text)
        json_object_set_new(j, "text", json_stringn(a->text, a->text_len));
    return j;
}

static void call(struct kube *k, const char *text)
{
    json_t *j = json_loads(text, 0, NULL);
    struct kube_request r = request_of(j);
    const char **keep = texts_of(json_object_get(j, "keep"));
    struct kube_answer a = {0};

    r.keep = keep;
    kube_call(k, &r, &a);
    print(answer_json(&a));
    kube_answer_fini(&a);
    free(keep);
    json_decref(j);
}

// ------------------------------------------------------------------------------------ on a loop

static void tell(const struct kube_event *ev)
{
    static const char *const names[] = {"ANSWER",  "ADDED", "CHANGED",    "DELETED",   "SYNCED",
                                        "TROUBLE", "WELL",  "LEASE_HELD", "LEASE_LOST"};
    json_t *j = json_pack("{s:s}", "event", names[ev->type]);

    if (ev->answer) {
        json_object_set_new(j, "number", json_integer((json_int_t)ev->number));
        json_object_set_new(j, "answer", answer_json(ev->answer));
    }
    if (ev->watch)
        json_object_set_new(j, "watch", json_integer((json_int_t)(intptr_t)ev->user));
    if (ev->object)
        json_object_set(j, "object", ev->object);
    if (ev->words)
        json_object_set_new(j, "words", json_string(ev->words));
    if (ev->type == KUBE_EV_TROUBLE)
        json_object_set_new(j, "result", json_string(results[ev->result]));
    print(j);
}

static void watch(struct program *p, const json_t *j)
{
    const char **keep = texts_of(json_object_get(j, "keep"));
    struct kube_watch_opts opts = {.kind = kind_of(j),
                                   .ns = text_of(j, "namespace"),
                                   .labels = text_of(j, "labels"),
                                   .fields = text_of(j, "fields"),
                                   .keep = keep,
                                   .user = (void *)p->watch_count};

    if (p->watch_count == SOME)
        exit(2);
    p->keeps[p->watch_count] = keep;
    p->watches[p->watch_count++] = kube_watch_new(p->k, &opts);
}

static long resident_kib(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    long kib = -1;

    while (f && fgets(line, sizeof(line), f))
        (void)sscanf(line, "Rss: %ld", &kib);
    if (f)
        fclose(f);
    return kib;
}

static void show_cache(struct program *p, const struct kube_watch *w)
{
    json_t *names = json_array(), *one;
    size_t at = 0;

    while ((one = kube_watch_each(w, NULL, &at)) != NULL) {
        json_array_append(names, json_object_get(json_object_get(one, "metadata"), "name"));
        json_decref(one);
    }
    (void)p;
    print(json_pack("{s:s, s:o, s:b, s:i, s:i}", "event", "CACHE", "names", names, "synced",
                    kube_watch_is_synced(w), "count", (int)kube_watch_count(w), "kib",
                    (int)resident_kib()));
}

static void obey(struct program *p, const char *line)
{
    json_t *j = json_loads(line, 0, NULL), *one;

    json_array_append_new(p->wishes, j);
    if ((one = json_object_get(j, "call")) != NULL) {
        struct kube_request r = request_of(one);

        kube_send(p->k, &r);
    } else if ((one = json_object_get(j, "watch")) != NULL) {
        watch(p, one);
    } else if ((one = json_object_get(j, "unwatch")) != NULL) {
        kube_watch_free(p->watches[json_integer_value(one)]);
    } else if ((one = json_object_get(j, "cache")) != NULL) {
        show_cache(p, p->watches[json_integer_value(one)]);
    } else if ((one = json_object_get(j, "lease")) != NULL) {
        struct kube_lease_opts opts = {text_of(one, "namespace"), text_of(one, "name"),
                                       text_of(one, "identity"), NULL};

        p->lease = kube_lease_new(p->k, &opts);
    } else if (json_object_get(j, "release")) {
        kube_lease_release(p->lease);
    }
}

static void readable(void *user, struct mono now)
{
    struct program *p = user;
    ssize_t got = read(0, p->line + p->len, sizeof(p->line) - 1 - p->len);
    char *end;

    (void)now;
    if (got <= 0) {
        net_loop_stop(p->loop);
        return;
    }
    p->len += (size_t)got;
    p->line[p->len] = '\0';
    while ((end = strchr(p->line, '\n')) != NULL) {
        *end = '\0';
        obey(p, p->line);
        p->len -= (size_t)(end + 1 - p->line);
        memmove(p->line, end + 1, p->len + 1);
    }
}

static void turn(void *user, struct mono now)
{
    struct program *p = user;
    struct kube_event ev;

    (void)now;
    while (kube_next(p->k, &ev))
        tell(&ev);
    if (p->lease && kube_lease_is_released(p->lease)) {
        kube_lease_free(p->lease);
        p->lease = NULL;
        print(json_pack("{s:s}", "event", "RELEASED"));
    }
}

// Without a loop: what it tells until all is listed, or, with "deleted", that is gone.
static void wait_for(struct kube *k, const char *text)
{
    json_t *j = json_loads(text, 0, NULL);
    const char *deleted = text_of(j, "deleted");
    struct kube_watch_opts opts = {.kind = kind_of(j), .ns = text_of(j, "namespace")};
    struct mono until = mono_add_ms(mono_now(), json_integer_value(json_object_get(j, "ms")));
    struct kube_watch *w = kube_watch_new(k, &opts);
    struct kube_event ev;
    bool is_over = false;

    while (!is_over && mono_before(mono_now(), until)) {
        kube_wait(k, until);
        while (!is_over && kube_next(k, &ev)) {
            const char *name =
                json_string_value(json_object_get(json_object_get(ev.object, "metadata"), "name"));

            tell(&ev);
            is_over = deleted ? ev.type == KUBE_EV_DELETED && strcmp(name, deleted) == 0
                              : ev.type == KUBE_EV_SYNCED;
        }
    }
    print(json_pack("{s:s}", "event", is_over ? "DONE" : "LATE"));
    kube_watch_free(w);
    json_decref(j);
}

static void rest(void *user, bool is_quiet)
{
    (void)user;
    (void)is_quiet;
    mem_rest();
    print(json_pack("{s:s}", "event", "RESTED"));
}

static int loop(struct kube_config *take, struct why *why)
{
    struct program *p = calloc(1, sizeof(*p));
    struct net_hooks hooks = {.user = p, .turn = turn, .rest = rest};
    struct kube_opts opts = {.manager = "kubeclient"};
    struct net_watch *input;

    if (!p || net_loop_new(&hooks, 64 * 1024, &p->loop) < 0)
        return 2;
    p->wishes = json_array();
    opts.loop = p->loop;
    if (kube_new(take, &opts, &p->k, why) < 0)
        return 1;
    input = net_watch_new(p->loop, 0, readable, p);
    net_loop_run(p->loop);
    net_watch_free(input);
    kube_free(p->k);
    net_loop_free(p->loop);
    for (int i = 0; i < p->watch_count; i++)
        free(p->keeps[i]);
    json_decref(p->wishes);
    free(p);
    return 0;
}

int main(int argc, char **argv)
{
    struct kube_config_opts where = {0};
    struct kube_opts opts = {.manager = "kubeclient"};
    struct kube_config *config = NULL;
    struct kube *k = NULL;
    struct why why = {""};
    int i = 1, status = 0;

    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        const char **to = strcmp(argv[i], "--context") == 0     ? &where.context
                          : strcmp(argv[i], "--namespace") == 0 ? &where.ns
                                                                : &where.kubeconfig;

        *to = argv[i + 1];
    }
    if (i >= argc)
        return 2;
    if (kube_config_load(&where, &config, &why) < 0) {
        status = 1;
    } else if (strcmp(argv[i], "loop") == 0) {
        status = loop(config, &why);
    } else if (strcmp(argv[i], "who") == 0) {
        print(json_pack("{s:s, s:s, s:s}", "server", kube_config_server(config), "namespace",
                        kube_config_namespace(config), "context", kube_config_context(config)));
        kube_config_free(config);
    } else if (kube_new(config, &opts, &k, &why) < 0) {
        status = 1;
    } else {
        bool is_watch = strcmp(argv[i], "wait") == 0;

        for (i++; i < argc; i++) {
            if (is_watch)
                wait_for(k, argv[i]);
            else
                call(k, argv[i]);
        }
        kube_free(k);
    }
    if (status)
        printf("%s\n", why.text);
    return status;
}
