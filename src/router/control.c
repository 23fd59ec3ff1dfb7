// SPDX-License-Identifier: Apache-2.0
// Control messages: read in place, written as the existing router writes them (wide lists and maps,
// string keys for link state, symbol keys for addresses).
#include <assert.h>

#include "base/err.h"
#include "router/routing_int.h"

static const char *const op_names[] = {"HELLO", "RA", "LSR", "LSU", "MAR", "MAU", "FLOOD"};

static enum ctl_op op_of(struct str name)
{
    for (int op = CTL_HELLO; op < CTL_UNKNOWN; op++)
        if (str_is(name, op_names[op]))
            return (enum ctl_op)op;
    return CTL_UNKNOWN;
}

static bool is_text(const struct amqp_item *it)
{
    return it->type == AMQP_STRING || it->type == AMQP_SYMBOL;
}

static bool set_items(struct ctl_items *out, const struct amqp_item *it, enum amqp_type type)
{
    if (it->type != type)
        return false;
    *out = (struct ctl_items){true, it->count, it->bytes};
    return true;
}

// The map of an LSU under "ls".
static bool read_ls(const struct amqp_item *map, struct ctl *out)
{
    struct amqp_reader r = reader_over(map->bytes);
    bool has_seq = false;

    if (map->type != AMQP_MAP)
        return false;
    for (uint32_t i = 0; i + 1 < map->count; i += 2) {
        struct amqp_item key, value;

        if (amqp_read(&r, &key) < 0 || amqp_read(&r, &value) < 0 || !is_text(&key))
            return false;
        if (str_is(key.bytes, "peers") && !set_items(&out->peers, &value, AMQP_MAP))
            return false;
        // The inner number is the one that counts.
        if (str_is(key.bytes, "ls_seq") && !(has_seq = amqp_item_int(&value, &out->ls_seq)))
            return false;
    }
    return has_seq && out->peers.present;
}

static bool read_number(struct ctl *out, struct str key, const struct amqp_item *value, bool *known)
{
    int64_t sum;

    *known = true;
    if (str_is(key, "pv"))
        return amqp_item_int(value, &out->pv);
    if (str_is(key, "instance"))
        return out->has_instance = amqp_item_int(value, &out->instance);
    if (str_is(key, "ls_seq"))
        return out->peers.present || amqp_item_int(value, &out->ls_seq);
    if (str_is(key, "mobile_seq"))
        return amqp_item_int(value, &out->mobile_seq);
    if (str_is(key, "have_seq"))
        return amqp_item_int(value, &out->have_seq);
    if (str_is(key, "ends"))
        return amqp_item_int(value, &out->ends);
    if (str_is(key, "sum")) {
        out->has_sum = amqp_item_int(value, &sum);
        out->sum = (uint64_t)sum;
        return out->has_sum;
    }
    *known = false;
    return true;
}

static bool read_field(struct ctl *out, struct str key, const struct amqp_item *value)
{
    bool known;

    if (!read_number(out, key, value, &known))
        return false;
    if (known)
        return true;
    if (str_is(key, "id")) {
        out->id = is_text(value) ? value->bytes : STR_NONE;
        return out->id.len > 0;
    }
    if (str_is(key, "ls"))
        return read_ls(value, out);
    if (str_is(key, "seen"))
        return set_items(&out->seen, value, AMQP_LIST);
    if (str_is(key, "exist"))
        return set_items(&out->exist, value, AMQP_LIST);
    if (str_is(key, "add"))
        return set_items(&out->add, value, AMQP_LIST);
    if (str_is(key, "del"))
        return set_items(&out->del, value, AMQP_LIST);
    if (str_is(key, "have"))
        return set_items(&out->have, value, AMQP_LIST);
    if (str_is(key, "want"))
        return set_items(&out->want, value, AMQP_LIST);
    return true; // a later version may say more
}

static bool read_body(struct str bytes, struct ctl *out)
{
    struct amqp_reader r = reader_over(bytes);
    struct amqp_item section, map;
    uint64_t code;

    if (amqp_read(&r, &section) < 0 || section.type != AMQP_DESCRIBED ||
        amqp_open_described(&section, &code, &map) < 0 || code != AMQP_SECTION_VALUE ||
        map.type != AMQP_MAP)
        return false;
    r = reader_over(map.bytes);
    for (uint32_t i = 0; i + 1 < map.count; i += 2) {
        struct amqp_item key, value;

        if (amqp_read(&r, &key) < 0 || amqp_read(&r, &value) < 0 || !is_text(&key) ||
            !read_field(out, key.bytes, &value))
            return false;
    }
    return out->id.len > 0;
}

static enum ctl_op read_opcode(struct str map)
{
    struct amqp_reader all = reader_over(map), r;
    uint32_t count;

    if (map.ptr == NULL || amqp_read_map(&all, &r, &count) < 0)
        return CTL_UNKNOWN;
    for (uint32_t i = 0; i + 1 < count; i += 2) {
        struct amqp_item key, value;

        if (amqp_read(&r, &key) < 0 || amqp_read(&r, &value) < 0)
            return CTL_UNKNOWN;
        if (is_text(&key) && str_is(key.bytes, "opcode"))
            return is_text(&value) ? op_of(value.bytes) : CTL_UNKNOWN;
    }
    return CTL_UNKNOWN;
}

// What the kind of message cannot do without.
static bool is_complete(const struct ctl *m)
{
    if (m->ls_seq > CTL_SEQ_MAX || m->mobile_seq > CTL_SEQ_MAX)
        return false;
    switch (m->op) {
    case CTL_HELLO:
        return m->seen.present && m->has_instance;
    case CTL_RA:
        return m->has_instance && m->ls_seq >= 0 && m->mobile_seq >= 0;
    case CTL_LSU:
        return m->peers.present;
    case CTL_MAR:
        return m->have_seq >= 0;
    case CTL_MAU:
        return m->mobile_seq >= 0 && m->add.present == m->del.present &&
               m->exist.present != m->add.present;
    case CTL_LSR:
    case CTL_FLOOD:
        return true;
    case CTL_UNKNOWN:
        return false;
    }
    return false;
}

int ctl_read(struct str bytes, struct ctl *out)
{
    struct amqp_msg msg;
    int err = amqp_msg_scan(bytes, true, AMQP_SCAN_BODY, &msg);

    if (err < 0)
        return err;
    *out = (struct ctl){.op = read_opcode(msg.app_properties),
                        .ra = msg.ra,
                        .ra_len = msg.ra_len,
                        .to = msg.ra.to_override.ptr ? msg.ra.to_override : msg.to,
                        .ls_seq = -1,
                        .mobile_seq = -1,
                        .have_seq = -1};
    if (str_starts(out->to, STR("amqp:/")))
        out->to = str_skip(out->to, 6);
    if (msg.body_at >= bytes.len || !read_body(str_skip(bytes, msg.body_at), out))
        return ERR_DECODE;
    // A message that is only passing through may be of a kind we do not know.
    return out->op == CTL_UNKNOWN || is_complete(out) ? 0 : ERR_INVALID;
}

// --- writing -------------------------------------------------------------------------------------

void ctl_put_int(struct amqp_writer *w, int64_t v)
{
    if (v >= INT32_MIN && v <= INT32_MAX)
        amqp_put_int(w, (int32_t)v);
    else
        amqp_put_long(w, v);
}

void ctl_put_key_int(struct amqp_writer *w, const char *key, int64_t v, uint32_t *count)
{
    amqp_put_string(w, str_of(key));
    ctl_put_int(w, v);
    *count += 2;
}

void ctl_put_symbol_long(struct amqp_writer *w, const char *key, int64_t v, uint32_t *count)
{
    amqp_put_symbol(w, str_of(key));
    amqp_put_long(w, v);
    *count += 2;
}

void ctl_put_annotations(struct amqp_writer *w, const struct ctl_path *path)
{
    uint8_t first[ROUTING_ID_MAX + 16];
    struct amqp_writer trace;
    struct amqp_ra ra = {.present = true, .ingress = path->self};

    amqp_writer_init_fixed(&trace, first, sizeof(first));
    if (path->first.ptr) {
        amqp_put_string(&trace, path->first);
        assert(!trace.failed);
        ra.ingress = path->first;
        ra.trace = amqp_written(&trace);
        ra.trace_count = 1;
    }
    amqp_put_ra(w, &ra, path->self);
}

// Header and properties; `pad` nulls follow `to`.
static void put_head(struct amqp_writer *w, struct str to, uint32_t pad)
{
    struct amqp_mark mark;

    amqp_put_descriptor(w, AMQP_SECTION_HEADER);
    mark = amqp_begin_list(w, true);
    amqp_put_bool(w, false);
    amqp_end(w, mark, 1);
    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(w, true);
    amqp_put_null(w);
    amqp_put_null(w);
    amqp_put_string(w, to);
    for (uint32_t i = 0; i < pad; i++)
        amqp_put_null(w);
    amqp_end(w, mark, 3 + pad);
    amqp_put_descriptor(w, AMQP_SECTION_APPLICATION_PROPERTIES);
}

struct amqp_mark ctl_begin(struct amqp_writer *w, const struct ctl_path *path, const char *opcode,
                           struct str to, struct str id, uint32_t *count)
{
    struct amqp_mark mark;

    ctl_put_annotations(w, path);
    put_head(w, to, 3);
    mark = amqp_begin_map(w, true);
    amqp_put_string(w, STR("opcode"));
    amqp_put_string(w, str_of(opcode));
    amqp_end(w, mark, 2);
    amqp_put_descriptor(w, AMQP_SECTION_VALUE);
    mark = amqp_begin_map(w, true);
    amqp_put_string(w, STR("id"));
    amqp_put_string(w, id);
    *count = 2;
    ctl_put_key_int(w, "pv", 1, count);
    amqp_put_string(w, STR("area"));
    amqp_put_string(w, STR("0"));
    *count += 2;
    return mark;
}

struct amqp_mark ctl_begin_mobile(struct amqp_writer *w, const struct ctl_path *path,
                                  const char *opcode, struct str to, struct str id, uint32_t *count)
{
    struct amqp_mark mark;

    ctl_put_annotations(w, path);
    put_head(w, to, 0);
    mark = amqp_begin_map(w, true);
    amqp_put_symbol(w, STR("opcode"));
    amqp_put_string(w, str_of(opcode));
    amqp_end(w, mark, 2);
    amqp_put_descriptor(w, AMQP_SECTION_VALUE);
    mark = amqp_begin_map(w, true);
    amqp_put_symbol(w, STR("id"));
    amqp_put_string(w, id);
    *count = 2;
    ctl_put_symbol_long(w, "pv", 2, count);
    amqp_put_symbol(w, STR("area"));
    amqp_put_string(w, STR("0"));
    *count += 2;
    return mark;
}

// --- addresses and records -----------------------------------------------------------------------

bool ctl_read_address(struct amqp_reader *items, struct ctl_address *out)
{
    struct amqp_item list, it;
    struct amqp_reader r;
    int64_t n;

    *out = (struct ctl_address){.treatment = -1};
    if (amqp_read(items, &list) < 0 || list.type != AMQP_LIST || list.count == 0)
        return false;
    r = reader_over(list.bytes);
    for (uint32_t i = 0; i < list.count && i < 5; i++) {
        if (amqp_read(&r, &it) < 0)
            return false;
        if (i == 0) {
            if (!is_text(&it) || it.bytes.len == 0)
                return false;
            out->key = it.bytes;
        } else if (i == 1 && amqp_item_int(&it, &n)) {
            out->treatment = n >= 0 && n <= INT8_MAX ? (int)n : -1;
        } else if (i == 2 && amqp_item_int(&it, &n)) {
            out->producers = n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
        } else if (i == 4 && is_text(&it) && it.bytes.len == 15) {
            out->mesh = it.bytes;
        }
    }
    return true;
}

void ctl_put_address(struct amqp_writer *w, const struct ctl_address *a)
{
    struct amqp_mark mark = amqp_begin_list(w, true);

    amqp_put_string(w, a->key);
    amqp_put_int(w, a->treatment);
    ctl_put_int(w, a->producers);
    if (a->mesh.len > 0) {
        amqp_put_null(w);
        amqp_put_string(w, a->mesh);
    }
    amqp_end(w, mark, a->mesh.len > 0 ? 5 : 3);
}

bool ctl_check_addresses(const struct ctl_items *list)
{
    struct amqp_reader r = reader_over(list->bytes);
    struct ctl_address a;

    for (uint32_t i = 0; i < list->count; i++)
        if (!ctl_read_address(&r, &a))
            return false;
    return true;
}

// The lists of a record may be null.
static bool read_part(struct amqp_reader *r, enum amqp_type type, struct ctl_items *out)
{
    struct amqp_item it;

    *out = (struct ctl_items){0};
    return amqp_read(r, &it) == 0 && (it.type == AMQP_NULL || set_items(out, &it, type));
}

bool ctl_read_record(struct amqp_reader *items, struct ctl_record *out)
{
    struct amqp_item list, it;
    struct amqp_reader r;
    int64_t numbers[4];

    if (amqp_read(items, &list) < 0 || list.type != AMQP_LIST || list.count < 5)
        return false;
    r = reader_over(list.bytes);
    if (amqp_read(&r, &it) < 0 || !is_text(&it) || it.bytes.len == 0)
        return false;
    *out = (struct ctl_record){.id = it.bytes};
    for (int i = 0; i < 4; i++)
        if (amqp_read(&r, &it) < 0 || !amqp_item_int(&it, &numbers[i]))
            return false;
    if (numbers[0] < 0 || numbers[0] >= INT32_MAX || numbers[2] < 0 || numbers[2] > CTL_SEQ_MAX ||
        numbers[3] < 0 || numbers[3] > CTL_SEQ_MAX)
        return false;
    out->gen = numbers[0];
    out->instance = numbers[1];
    out->ls_seq = numbers[2];
    out->mobile_seq = numbers[3];
    return (list.count < 6 || read_part(&r, AMQP_MAP, &out->peers)) &&
           (list.count < 7 || read_part(&r, AMQP_LIST, &out->exist)) &&
           (list.count < 8 || read_part(&r, AMQP_LIST, &out->diffs));
}
