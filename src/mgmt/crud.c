// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "mgmt/call.h"
#include "mgmt/words.h"

// CREATE, READ, UPDATE and DELETE: operations on one entity.

static void refuse(struct call *c, int err, const struct why *why)
{
    int status = 500;

    if (err == ERR_EXISTS || err == ERR_INVALID || err == ERR_LIMIT || err == ERR_DECODE)
        status = 400;
    else if (err == ERR_NOT_FOUND)
        status = 404;
    else if (err == ERR_UNSUPPORTED)
        status = 403;
    call_answer(c, status, "%s", why->text[0] ? why->text : err_text(err));
}

// The type that an identity begins with, as "listener/…" does; NULL when it begins otherwise.
static const struct mgmt_type *type_of_identity(struct str identity)
{
    const char *slash = identity.len > 0 ? memchr(identity.ptr, '/', identity.len) : NULL;

    return slash ? mgmt_find_type((struct str){identity.ptr, (size_t)(slash - identity.ptr)})
                 : NULL;
}

// The type that is asked for, when it has the operation.
static const struct mgmt_type *find_type(struct call *c, unsigned op)
{
    const struct mgmt_type *t =
        c->type.len > 0 ? mgmt_find_type(c->type) : type_of_identity(c->identity);

    if (c->type.len == 0 && !t) {
        call_answer(c, 400, "application property 'type' is needed; GET-TYPES lists the types");
        return NULL;
    }
    if (!t) {
        call_answer(c, 400, "there is no entity type '%.*s'; GET-TYPES lists them",
                    STR_ARG(shown(c->type)));
        return NULL;
    }
    if (!(t->ops & op)) {
        call_answer(c, 501, "%.*s does not exist for %s; GET-OPERATIONS lists what does",
                    STR_ARG(shown(c->operation)), t->name);
        return NULL;
    }
    return t;
}

static bool body_is_map(struct call *c)
{
    if (!c->body || c->body->type == AMQP_MAP || c->body->type == AMQP_NULL)
        return true;
    call_answer(c, 400, "the body must be a map of attributes in an amqp-value section");
    return false;
}

// Name of the body's attribute at `i`, to be freed; NULL and the call answered when it is no text.
static char *body_key(struct call *c, uint32_t i)
{
    const struct amqp_val *key = c->body->items[i];

    if ((key->type == AMQP_STRING || key->type == AMQP_SYMBOL) &&
        utf8_valid_len(key->s) == key->s.len)
        return str_dup(key->s);
    call_answer(c, 400, "the body's keys must be strings, the names of attributes");
    return NULL;
}

static uint32_t body_count(const struct call *c)
{
    return c->body && c->body->type == AMQP_MAP ? c->body->count : 0;
}

// ------------------------------------------------------------------------------------------ CREATE

static bool set_name(struct call *c, struct mgmt_entity *e)
{
    struct why why = {""};
    struct amqp_val *name;
    int err;

    if (c->name.len == 0)
        return true;
    name = amqp_val_string(c->name);
    err = mgmt_entity_set(e, "name", name, MGMT_CREATE, &why);
    amqp_val_free(name);
    if (err < 0)
        refuse(c, ERR_INVALID, &why);
    return err == 0;
}

static bool set_attributes(struct call *c, struct mgmt_entity *e)
{
    for (uint32_t i = 0; i + 1 < body_count(c); i += 2) {
        const struct amqp_val *value = c->body->items[i + 1];
        char *key = body_key(c, i);
        struct why why = {""};
        int err;

        if (!key)
            return false;
        if (strcmp(key, "name") == 0 && c->name.len > 0 && value->type != AMQP_NULL &&
            !str_eq(amqp_val_str(value), c->name)) {
            why_set(&why, "the body has another name than the application properties");
            err = ERR_INVALID;
        } else if (strcmp(key, "name") == 0 && value->type == AMQP_NULL) {
            err = 0;
        } else {
            err = mgmt_entity_set(e, key, value, MGMT_CREATE, &why);
        }
        free(key);
        if (err < 0) {
            refuse(c, ERR_INVALID, &why);
            return false;
        }
    }
    return true;
}

static void put_created(struct amqp_writer *w, const struct mgmt_entity *e)
{
    char *identity = mgmt_entity_identity(e);
    char *type = str_fmt("io.skupper.router.%s", e->type->name);
    struct amqp_mark map = amqp_begin_map(w, true);
    uint32_t count = 0;

    for (int i = 0; e->type->attrs[i].name; i++) {
        const struct mgmt_attr *a = &e->type->attrs[i];
        const char *fixed = strcmp(a->name, "identity") == 0 ? identity
                            : strcmp(a->name, "type") == 0   ? type
                                                             : NULL;

        if (!fixed && !e->values[i] && strcmp(a->name, "name") == 0)
            fixed = identity;
        if (!fixed && (!e->values[i] || (a->flags & MGMT_SECRET)))
            continue;
        amqp_put_string(w, str_of(a->name));
        if (fixed)
            amqp_put_string(w, str_of(fixed));
        else
            call_put(w, a, e->values[i]);
        count += 2;
    }
    amqp_end(w, map, count);
    free(identity);
    free(type);
}

static void create(struct call *c, const struct mgmt_provider *p, struct mgmt_entity *e)
{
    struct why why = {""};
    int err;

    if (!set_name(c, e) || !set_attributes(c, e))
        return;
    err = mgmt_entity_check(e, &why);
    if (err == 0)
        err = p->create(p->user, e, &why);
    if (err < 0) {
        refuse(c, err, &why);
        return;
    }
    put_created(&c->out, e);
    call_answer(c, 201, "Created");
}

void call_create(struct call *c)
{
    const struct mgmt_type *t = find_type(c, MGMT_OP_CREATE);
    const struct mgmt_provider *p = t ? call_provider(c, t) : NULL;
    struct mgmt_entity *e;

    if (!t || !body_is_map(c))
        return;
    if (!p || !p->create) {
        call_answer(c, 501, "this router does not serve entities of type %s", t->name);
        return;
    }
    e = mgmt_entity_new(t);
    create(c, p, e);
    mgmt_entity_free(e);
}

// ------------------------------------------------------------------------------------ looking it
// up

// Looks for one entity among all that a provider tells, and keeps what is needed of it.
struct search {
    struct call *call;
    const struct mgmt_type *type;
    struct str name, identity; // both match where both are given
    bool is_conflict;          // one did and the other did not
    bool is_found;
    char *found;              // identity
    struct amqp_val *changes; // UPDATE: the body, checked and converted; NULL when it is bad
};

static void put_entity(struct amqp_writer *w, const struct mgmt_type *t,
                       const struct amqp_val *const *values)
{
    struct amqp_mark map = amqp_begin_map(w, true);
    uint32_t count = 0;

    for (int i = 0; t->attrs[i].name; i++) {
        if (!values[i] || (t->attrs[i].flags & MGMT_SECRET))
            continue;
        amqp_put_string(w, str_of(t->attrs[i].name));
        call_put(w, &t->attrs[i], values[i]);
        count += 2;
    }
    amqp_end(w, map, count);
}

static bool matches(struct search *s, struct str name, struct str identity)
{
    bool by_name = s->name.len > 0 && str_eq(s->name, name);
    bool by_identity = s->identity.len > 0 && str_eq(s->identity, identity);

    if (s->name.len > 0 && s->identity.len > 0) {
        s->is_conflict |= by_identity && !by_name;
        return by_name && by_identity;
    }
    return by_name || by_identity || (s->name.len == 0 && s->identity.len == 0);
}

static struct mgmt_entity *entity_with(const struct mgmt_type *t,
                                       const struct amqp_val *const *values)
{
    struct mgmt_entity *e = mgmt_entity_new(t);

    for (int i = 0; t->attrs[i].name; i++) {
        amqp_val_free(e->values[i]);
        e->values[i] = values[i] ? amqp_val_copy(values[i]) : NULL;
    }
    return e;
}

// What UPDATE asks for, less what is so already: tools send back what they have read.
static struct amqp_val *check_changes(struct call *c, const struct mgmt_type *t,
                                      const struct amqp_val *const *values)
{
    struct mgmt_entity *scratch = entity_with(t, values);
    struct amqp_val *changes = amqp_val_map();
    struct why why = {""};
    int err = 0;

    for (uint32_t i = 0; i + 1 < body_count(c) && err == 0; i += 2) {
        const struct amqp_val *value = c->body->items[i + 1];
        char *key = body_key(c, i);
        int at = key ? call_place(t, str_of(key)) : -1;
        bool may_change = at >= 0 && (t->attrs[at].flags & MGMT_UPDATE);

        if (!key) {
            err = ERR_DECODE;
            break;
        }
        if (at < 0 || may_change ||
            !(values[at] ? amqp_val_eq(values[at], value) : value->type == AMQP_NULL))
            err = mgmt_entity_set(scratch, key, value, MGMT_UPDATE, &why);
        if (err == 0 && may_change)
            amqp_val_set(changes, key,
                         scratch->values[at] ? amqp_val_copy(scratch->values[at])
                                             : amqp_val_null());
        free(key);
    }
    if (err == 0 && changes->count > 0)
        err = mgmt_entity_check(scratch, &why);
    mgmt_entity_free(scratch);
    if (err == 0)
        return changes;
    if (err != ERR_DECODE)
        refuse(c, ERR_INVALID, &why);
    amqp_val_free(changes);
    return NULL;
}

static bool look_at(void *to, const struct amqp_val *const *values)
{
    struct search *s = to;
    struct str name = amqp_val_str(values[call_place(s->type, STR("name"))]);
    struct str identity = amqp_val_str(values[call_place(s->type, STR("identity"))]);

    if (!matches(s, name, identity))
        return true;
    s->is_found = true;
    s->found = str_dup(identity);
    if (str_is_nocase(s->call->operation, "UPDATE"))
        s->changes = check_changes(s->call, s->type, values);
    else
        put_entity(&s->call->out, s->type, values);
    return false;
}

static void tell_one(const struct mgmt_provider *p, struct str id, mgmt_emit *emit, void *to)
{
    if (p->one && id.len > 0)
        p->one(p->user, id, emit, to);
    else
        p->each(p->user, emit, to);
}

// "listener/…" is the identity of no connector.
static bool identity_fits(struct call *c, const struct mgmt_type *t)
{
    const struct mgmt_type *other = type_of_identity(c->identity);

    if (!other || other == t)
        return true;
    call_answer(c, 400, "this is the identity of an entity of type %s, not %s", other->name,
                t->name);
    return false;
}

// Finds the entity that name or identity asks for; the one entity of a single type needs neither.
// When it cannot be found the call is answered.
static bool search(struct call *c, const struct mgmt_type *t, struct search *s)
{
    const struct mgmt_provider *p = call_provider(c, t);
    struct str id = c->identity.len > 0 ? c->identity : c->name;

    *s = (struct search){.call = c, .type = t, .name = c->name, .identity = c->identity};
    if (id.len == 0 && !t->is_single) {
        call_answer(c, 400, "application property 'name' or 'identity' is needed");
        return false;
    }
    if (!identity_fits(c, t))
        return false;
    if (p)
        tell_one(p, id, look_at, s);
    if (!s->is_found && s->is_conflict)
        call_answer(c, 400, "the entity with this identity has another name");
    else if (!s->is_found)
        call_answer(c, 404, "there is no %s '%.*s'; QUERY lists those there are", t->name,
                    STR_ARG(shown(id)));
    return s->is_found;
}

static void search_fini(struct search *s)
{
    free(s->found);
    amqp_val_free(s->changes);
}

// ---------------------------------------------------------------------------- READ, UPDATE, DELETE

void call_read(struct call *c)
{
    const struct mgmt_type *t = find_type(c, MGMT_OP_READ);
    struct search s;

    if (!t)
        return;
    if (search(c, t, &s))
        call_answer(c, 200, "OK");
    search_fini(&s);
}

static bool read_back(void *to, const struct amqp_val *const *values)
{
    struct search *s = to;
    struct str identity = amqp_val_str(values[call_place(s->type, STR("identity"))]);

    if (!str_is(identity, s->found))
        return true;
    put_entity(&s->call->out, s->type, values);
    return false;
}

static void update(struct call *c, const struct mgmt_provider *p, struct search *s)
{
    struct why why = {""};
    int err = 0;

    if (!p->update) {
        call_answer(c, 501, "entities of type %s cannot be changed here", p->type->name);
        return;
    }
    if (s->changes->count > 0)
        err = p->update(p->user, str_of(s->found), s->changes, &why);
    if (err < 0) {
        refuse(c, err, &why);
        return;
    }
    tell_one(p, str_of(s->found), read_back, s);
    call_answer(c, 200, "OK");
}

void call_update(struct call *c)
{
    const struct mgmt_type *t = find_type(c, MGMT_OP_UPDATE);
    struct search s;

    if (!t || !body_is_map(c))
        return;
    if (search(c, t, &s) && s.changes)
        update(c, call_provider(c, t), &s);
    search_fini(&s);
}

void call_delete(struct call *c)
{
    const struct mgmt_type *t = find_type(c, MGMT_OP_DELETE);
    const struct mgmt_provider *p = t ? call_provider(c, t) : NULL;
    struct why why = {""};
    struct search s;

    if (!t)
        return;
    if (search(c, t, &s)) {
        int err = p->remove ? p->remove(p->user, str_of(s.found), &why) : 0;

        if (!p->remove)
            call_answer(c, 501, "entities of type %s cannot be deleted here", t->name);
        else if (err < 0)
            refuse(c, err, &why);
        else
            call_answer(c, 204, "No Content");
        c->out.len = 0;
    }
    search_fini(&s);
}
