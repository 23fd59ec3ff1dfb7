// SPDX-License-Identifier: Apache-2.0
// Requests: made of what is asked for, tried until there is an answer or their time is over.
#include "kube/call.h"

#include <stdlib.h>

#include "base/mem.h"
#include "kube/inside.h"

enum {
    FLYING_MAX = 32, // at once; others wait
    TRY_MS = 10 * 1000,
    PAUSE_MIN_MS = 100,
    PAUSE_MAX_MS = 5000,
};

struct call {
    struct list on_kube; // queued, flying or answered
    struct kube *k;
    uint64_t number;
    enum kube_verb verb;
    const struct kube_kind *kind; // LIST
    const char *const *keep;
    const char *method, *content_type;
    char *path, *body, *what;
    struct mono until;
    uint32_t tries;
    struct pause pause;
    bool was_refused; // 401, once
    bool is_text_fine;
    bool is_hasty;
    struct exchange *exchange;
    struct wake again;
    struct text received;
    struct pager pager;
    json_t *items;
    size_t sure_count; // of these: those of whole pages
    struct kube_answer answer;
    void (*done)(void *user, struct kube_answer *a, struct mono now); // NULL: the owner is told
    void *user;
};

static void call_free(struct call *c)
{
    exchange_cancel(c->exchange);
    wake_set(c->k, &c->again, MONO_NEVER);
    list_remove(&c->on_kube);
    pager_fini(&c->pager);
    json_decref(c->items);
    kube_answer_fini(&c->answer);
    if (c->received.data)
        explicit_bzero(c->received.data, c->received.len);
    free(c->received.data);
    if (c->body)
        explicit_bzero(c->body, strlen(c->body));
    free(c->body);
    free(c->path);
    free(c->what);
    free(c);
}

// ------------------------------------------------------------------------------------- answering

static void answered(struct call *c)
{
    struct kube *k = c->k;

    list_remove(&c->on_kube);
    list_append(c->done ? &k->for_us : &k->answered, &c->on_kube);
    k->call_count--;
    kube_arm(k);
}

static void refuse(struct call *c, const char *words)
{
    c->answer.result = KUBE_REFUSED;
    why_set(&c->answer.why, "cannot %.200s: %s", c->what, words);
    answered(c);
}

// Of a list whose parts have all come.
static json_t *list_value(struct call *c)
{
    json_t *items = c->items ? c->items : json_array();
    char *kind = str_fmt("%sList", c->kind->kind);
    json_t *list = json_pack("{s:s, s:{s:s}, s:o}", "kind", kind, "metadata", "resourceVersion",
                             c->pager.version, "items", items);

    free(kind);
    c->items = NULL;
    return list;
}

// Of a single object, or a text.
static void take_body(struct call *c, const struct outcome *o)
{
    struct text *t = &c->received;

    c->answer.value =
        json_loadb(t->data ? t->data : "", t->len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (c->answer.value && o->is_json)
        return;
    json_decref(c->answer.value);
    c->answer.value = NULL;
    if (c->is_text_fine && !o->is_json) {
        text_add(t, STR(""));
        c->answer.text = t->data;
        c->answer.text_len = t->len;
        *t = (struct text){0};
        return;
    }
    c->answer.result = KUBE_UNUSABLE;
    why_set(&c->answer.why, "cannot %.200s: the answer is not JSON; is that the API of Kubernetes?",
            c->what);
}

static void conclude(struct call *c, const struct outcome *o)
{
    c->k->flying_count--;
    judge(&c->answer, o, c->what);
    if (c->answer.result == KUBE_OK && c->verb == KUBE_LIST)
        c->answer.value = list_value(c);
    else if (c->answer.result == KUBE_OK)
        take_body(c, o);
    answered(c);
}

// --------------------------------------------------------------------------------------- trying

static void start(struct call *c);

static bool feed(void *user, struct str bytes)
{
    struct call *c = user;
    json_t *item;
    int got;

    if (c->verb != KUBE_LIST) {
        if (bytes.len > KUBE_ANSWER_MAX - c->received.len)
            return false;
        text_add(&c->received, bytes);
        return true;
    }
    while ((got = pager_next(&c->pager, &bytes, &item)) == 1) {
        json_t *version =
            json_incref(json_object_get(json_object_get(item, "metadata"), "resourceVersion"));
        json_t *kept = keep_fields(item, c->kind, c->keep);

        if (version)
            json_object_set_new(json_object_get(kept, "metadata"), "resourceVersion", version);
        json_array_append_new(c->items, kept);
        json_decref(item);
    }
    return got == 0;
}

// A page has come; true: the list goes on, or has to begin anew.
static bool list_goes_on(struct call *c, const struct outcome *o)
{
    static const struct outcome nonsense = {.fail = FAIL_CUT,
                                            .retry_after_ms = -1,
                                            .why = {"the answer is no complete list of objects"}};
    int more;

    if (pager_is_expired(&c->pager, o)) {
        c->sure_count = 0;
        start(c);
        return true;
    }
    if (o->fail != FAIL_NONE || o->code != 200)
        return false;
    more = pager_end(&c->pager);
    c->sure_count = json_array_size(c->items);
    if (more == 1) {
        c->tries = 0;
        start(c);
    } else if (more < 0) {
        conclude(c, &nonsense);
    }
    return more != 0;
}

static void again(void *user, struct mono now)
{
    struct call *c = user;

    (void)now;
    start(c);
}

static void ended(void *user, const struct outcome *o, struct mono now)
{
    struct call *c = user;
    int64_t left_ms = mono_ms_between(now, c->until), wait_ms;

    c->exchange = NULL;
    c->tries++;
    if (c->verb == KUBE_LIST && list_goes_on(c, o))
        return;
    if (o->code == 401 && !c->was_refused && credential_refused(c->k)) {
        c->was_refused = true;
        start(c);
        return;
    }
    wait_ms = retry_after(c->verb, o, c->tries, left_ms, &c->pause, &c->k->rng);
    if (wait_ms >= 0 && !(c->is_hasty && o->fail == FAIL_CONNECT)) {
        count_retry(c->k, o->code);
        wake_set(c->k, &c->again, mono_add_ms(now, wait_ms));
        return;
    }
    conclude(c, o);
}

static void start(struct call *c)
{
    int64_t left_ms = mono_ms_between(mono_now(), c->until);
    // A CREATE gets no second try once it has been sent.
    bool may_be_long = c->verb == KUBE_LIST || c->verb == KUBE_CREATE || c->is_text_fine;
    struct text path = {0};
    struct exchange_opts opts = {.method = c->method,
                                 .content_type = c->content_type,
                                 .body = str_of(c->body),
                                 .feed = feed,
                                 .ended = ended,
                                 .user = c};

    if (left_ms < 1)
        left_ms = 1;
    opts.timeout_ms = left_ms > TRY_MS && !may_be_long ? TRY_MS : (uint32_t)left_ms;
    text_add(&path, str_of(c->path));
    if (c->verb == KUBE_LIST)
        pager_begin(&c->pager, &path);
    while (json_array_size(c->items) > c->sure_count) // of a page that broke off
        json_array_remove(c->items, json_array_size(c->items) - 1);
    c->received.len = 0;
    opts.path = path.data;
    c->exchange = exchange_new(c->k, &opts);
    free(path.data);
}

void calls_go(struct kube *k)
{
    while (k->flying_count < FLYING_MAX && !list_empty(&k->queued)) {
        struct call *c = list_entry(list_pop(&k->queued), struct call, on_kube);

        list_append(&k->flying, &c->on_kube);
        k->flying_count++;
        start(c);
    }
}

// --------------------------------------------------------------------------------------- asking

static const struct {
    const char *method, *content_type, *words;
    bool needs_name, needs_body;
} verbs[] = {
    [KUBE_GET] = {"GET", NULL, "get", true, false},
    [KUBE_LIST] = {"GET", NULL, "list", false, false},
    [KUBE_CREATE] = {"POST", "application/json", "create", false, true},
    [KUBE_UPDATE] = {"PUT", "application/json", "update", true, true},
    [KUBE_MERGE_PATCH] = {"PATCH", "application/merge-patch+json", "patch", true, true},
    [KUBE_JSON_PATCH] = {"PATCH", "application/json-patch+json", "patch", true, true},
    [KUBE_APPLY] = {"PATCH", "application/apply-patch+yaml", "apply", true, true},
    [KUBE_DELETE] = {"DELETE", "application/json", "delete", true, false},
};

static const char *own(const struct kube_request *r, const char *field)
{
    return json_string_value(json_object_get(json_object_get(r->body, "metadata"), field));
}

static const char *name_of(const struct kube_request *r)
{
    if (r->name || r->verb == KUBE_MERGE_PATCH || r->verb == KUBE_DELETE)
        return r->name;
    return own(r, "name");
}

static const char *namespace_of(const struct kube *k, const struct kube_request *r)
{
    const char *its = own(r, "namespace");

    if (r->ns || r->verb == KUBE_LIST || r->kind->is_cluster)
        return r->ns;
    return its ? its : kube_config_namespace(k->config);
}

static json_t *delete_options(const struct kube_request *r)
{
    json_t *o = json_pack("{s:s, s:s, s:s}", "apiVersion", "v1", "kind", "DeleteOptions",
                          "propagationPolicy", r->propagation ? r->propagation : "Background");
    json_t *conditions = json_object();

    if (r->uid)
        json_object_set_new(conditions, "uid", json_string(r->uid));
    if (r->resource_version)
        json_object_set_new(conditions, "resourceVersion", json_string(r->resource_version));
    if (json_object_size(conditions) > 0)
        json_object_set(o, "preconditions", conditions);
    json_decref(conditions);
    return o;
}

static char *body_of(const struct kube_request *r)
{
    json_t *options = r->verb == KUBE_DELETE ? delete_options(r) : NULL;
    const json_t *body = options ? options : r->body;
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    json_decref(options);
    return text;
}

static char *path_of(const struct kube *k, const struct kube_request *r)
{
    bool is_write = r->verb != KUBE_GET && r->verb != KUBE_LIST && r->verb != KUBE_DELETE;
    bool has_name = r->verb != KUBE_LIST && (r->verb != KUBE_CREATE || r->subresource);
    struct text t = {0};

    kind_path(&t, r->kind, namespace_of(k, r), has_name ? name_of(r) : NULL, r->subresource);
    if (is_write)
        text_add_param(&t, "fieldManager", r->manager ? r->manager : k->manager);
    if (r->verb == KUBE_APPLY && r->force)
        text_add_param(&t, "force", "true");
    if (r->labels)
        text_add_param(&t, "labelSelector", r->labels);
    if (r->fields)
        text_add_param(&t, "fieldSelector", r->fields);
    return t.data;
}

static char *what_of(const struct kube *k, const struct kube_request *r)
{
    const char *name, *ns;

    if (r->path)
        return str_fmt("get %s", r->path);
    if (!r->kind)
        return xstrdup("ask");
    name = r->verb == KUBE_LIST ? NULL : name_of(r);
    ns = r->kind->is_cluster ? NULL : namespace_of(k, r);
    return str_fmt("%s %s%s%s%s%s%s%s%s%s", verbs[r->verb].words, r->kind->plural,
                   r->kind->group[0] ? "." : "", r->kind->group, name ? "/" : "", name ? name : "",
                   r->subresource ? "/" : "", r->subresource ? r->subresource : "",
                   ns ? " in namespace " : "", ns ? ns : "");
}

// What cannot be asked at all; NULL: it can.
static const char *fault_of(const struct kube *k, const struct kube_request *r)
{
    const char *name;

    if (k->call_count >= KUBE_CALLS_MAX)
        return "too many requests wait already";
    if (r->path)
        return r->path[0] == '/' && r->verb == KUBE_GET ? NULL : "the path makes no sense";
    if (!r->kind)
        return "its kind is not known here";
    name = name_of(r);
    if (verbs[r->verb].needs_name && (!name || !name[0]))
        return "it has no name";
    if (verbs[r->verb].needs_body && !r->body)
        return "there is nothing to write";
    return NULL;
}

uint64_t call_send(struct kube *k, const struct kube_request *r,
                   void (*done)(void *user, struct kube_answer *a, struct mono now))
{
    struct call *c = xcalloc(1, sizeof(*c));
    const char *fault = fault_of(k, r);

    *c = (struct call){.k = k,
                       .number = ++k->last_number,
                       .verb = r->verb,
                       .kind = r->kind,
                       .keep = r->keep,
                       .method = verbs[r->verb].method,
                       .content_type = verbs[r->verb].content_type,
                       .what = what_of(k, r),
                       .pause = {.min_ms = PAUSE_MIN_MS, .max_ms = PAUSE_MAX_MS},
                       .again = {.fire = again, .user = c},
                       .is_text_fine = r->path || r->subresource,
                       .is_hasty = r->is_hasty,
                       .items = r->verb == KUBE_LIST ? json_array() : NULL,
                       .done = done,
                       .user = r->user};
    c->until = mono_add_ms(mono_now(), r->timeout_ms ? r->timeout_ms : KUBE_TIMEOUT_MS);
    list_init(&c->on_kube);
    k->call_count++;
    if (fault) {
        refuse(c, fault);
        return c->number;
    }
    c->path = r->path ? xstrdup(r->path) : path_of(k, r);
    c->body = r->path ? NULL : body_of(r);
    list_append(&k->queued, &c->on_kube);
    calls_go(k);
    kube_arm(k);
    return c->number;
}

uint64_t kube_send(struct kube *k, const struct kube_request *r)
{
    return call_send(k, r, NULL);
}

// -------------------------------------------------------------------------------------- telling

void calls_tell(struct kube *k, struct mono now)
{
    struct list *node;

    while ((node = list_pop(&k->for_us)) != NULL) {
        struct call *c = list_entry(node, struct call, on_kube);

        c->done(c->user, &c->answer, now);
        call_free(c);
    }
}

static struct call *find(struct list *in, uint64_t number)
{
    list_for_each (node, in) {
        struct call *c = list_entry(node, struct call, on_kube);

        if (c->number == number)
            return c;
    }
    return NULL;
}

void kube_forget(struct kube *k, uint64_t number)
{
    struct call *queued = find(&k->queued, number), *flying = find(&k->flying, number);
    struct call *c = queued ? queued : flying;

    k->call_count -= c != NULL;
    k->flying_count -= flying != NULL;
    if (!c)
        c = find(&k->answered, number);
    if (!c)
        c = find(&k->for_us, number);
    if (c)
        call_free(c);
    kube_arm(k);
}

void calls_take_back(struct kube *k)
{
    if (k->told)
        call_free(k->told);
    k->told = NULL;
}

bool call_next(struct kube *k, struct kube_event *ev)
{
    struct list *node = list_pop(&k->answered);

    if (!node)
        return false;
    k->told = list_entry(node, struct call, on_kube);
    *ev = (struct kube_event){.type = KUBE_EV_ANSWER,
                              .user = k->told->user,
                              .number = k->told->number,
                              .answer = &k->told->answer};
    return true;
}

bool call_take_answer(struct kube *k, uint64_t number, struct kube_answer *out)
{
    struct call *c = find(&k->answered, number);

    if (!c)
        return false;
    *out = c->answer;
    c->answer = (struct kube_answer){0};
    call_free(c);
    return true;
}

void calls_free(struct kube *k)
{
    struct list *const lists[] = {&k->queued, &k->flying, &k->answered, &k->for_us};
    struct list *node;

    calls_take_back(k);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        while ((node = list_pop(lists[i])) != NULL)
            call_free(list_entry(node, struct call, on_kube));
}
