// SPDX-License-Identifier: Apache-2.0
#include "amqp/message.h"

#include <assert.h>

#include "amqp/inplace.h"

enum { RA_PREFIX_LEN = 10, MESH_LEN = 15 };

static const uint8_t ra_prefix[RA_PREFIX_LEN] = {0x00, 0x80, 'S', 'K', 'P',
                                                 'R',  '-',  '-', 'R', 'A'};

// Items of a list that is known to be here in full. Reading past the last item, or an item that
// does not fit, sets `bad`.
struct items {
    const uint8_t *at, *end;
    uint32_t left;
    bool bad;
};

// Takes a list that ends before `end`: 0, ERR_AGAIN or ERR_DECODE; *at moves past it.
static inline ptrdiff_t open_list(const uint8_t **at, const uint8_t *end, struct items *out)
{
    ptrdiff_t len = amqp_value_len(*at, end);

    if (len < 0)
        return len;

    const uint8_t *p = *at;

    *at += len;
    if (p[0] == 0xd0)
        *out = (struct items){p + 9, p + len, amqp_load_u32(p + 5), false};
    else if (p[0] == 0xc0)
        *out = (struct items){p + 3, p + len, p[2], false};
    else if (p[0] == 0x45)
        *out = (struct items){p + 1, p + 1, 0, false};
    else
        return ERR_DECODE;
    return 0;
}

// The next item as encoded: its start, or NULL when there is none or it is null.
static inline const uint8_t *next_item(struct items *list)
{
    const uint8_t *item = list->at;

    if (list->left == 0 || list->bad)
        return NULL;
    list->left--;
    if (LIKELY(item < list->end && *item == 0x40)) {
        list->at++;
        return NULL;
    }

    ptrdiff_t len = amqp_value_len(item, list->end);

    if (UNLIKELY(len < 0)) {
        list->bad = true;
        return NULL;
    }
    list->at += len;
    return item;
}

// The content of an item that is of the kind given by its narrow constructor (string, symbol).
static inline struct str text_at(struct items *list, const uint8_t *item, uint8_t constructor)
{
    if (!item)
        return STR_NONE;
    if (LIKELY(item[0] == constructor))
        return (struct str){(const char *)item + 2, item[1]};
    if (item[0] == constructor + 0x10)
        return (struct str){(const char *)item + 5, amqp_load_u32(item + 1)};
    list->bad = true;
    return STR_NONE;
}

static inline struct str next_string(struct items *list)
{
    return text_at(list, next_item(list), 0xa1);
}

static bool trace_is_strings(struct items *trace)
{
    while (trace->left > 0) {
        if (next_string(trace).ptr == NULL)
            return false;
    }
    return trace->at == trace->end;
}

static int read_flags(struct items *list, uint32_t *flags)
{
    const uint8_t *item = next_item(list);

    if (!item)
        return ERR_INVALID;
    if (item[0] == 0x43)
        *flags = 0;
    else if (item[0] == 0x52)
        *flags = item[1];
    else if (item[0] == 0x70)
        *flags = amqp_load_u32(item + 1);
    else
        return ERR_INVALID;
    return 0;
}

static int read_trace(struct items *list, struct amqp_ra *ra)
{
    const uint8_t *item = next_item(list);
    struct items trace;

    if (!item || open_list(&item, list->end, &trace) < 0)
        return ERR_INVALID;
    ra->trace = amqp_bytes_between(trace.at, trace.end);
    ra->trace_count = trace.left;
    return trace_is_strings(&trace) ? 0 : ERR_INVALID;
}

// The items behind the fifth are for later versions.
static int read_ra_items(struct items *list, struct amqp_ra *ra)
{
    bool has_mesh = list->left > 4;

    if (list->left < 4 || read_flags(list, &ra->flags) < 0)
        return ERR_INVALID;
    ra->to_override = next_string(list);
    ra->ingress = next_string(list);
    if (list->bad || read_trace(list, ra) < 0)
        return ERR_INVALID;
    if (has_mesh) {
        ra->mesh = next_string(list);
        if (ra->mesh.len != MESH_LEN)
            return ERR_INVALID;
    }
    ra->present = true;
    return 0;
}

// Reads the annotations, whose prefix has been seen.
static int read_ra(const uint8_t *from, const uint8_t *end, struct amqp_msg *out)
{
    const uint8_t *at = from + RA_PREFIX_LEN;
    struct items list;

    // What must be held back until it is whole must not grow without end.
    if (end - at >= 5 && at[0] == 0xd0 && amqp_load_u32(at + 1) > AMQP_RA_SIZE_MAX)
        return ERR_LIMIT;

    ptrdiff_t err = open_list(&at, end, &list);

    if (err < 0)
        return (int)err;
    out->ra_len = (size_t)(at - from);
    return read_ra_items(&list, &out->ra);
}

static bool may_be_ra(const uint8_t *at, size_t len)
{
    return memcmp(at, ra_prefix, len < RA_PREFIX_LEN ? len : RA_PREFIX_LEN) == 0;
}

// The code of the section at `at`, which moves to the section's value, or a negative enum err.
static int read_section_code(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *p = *at;

    if (LIKELY(end - p >= 3 && p[0] == 0x00 && p[1] == 0x53)) {
        *at += 3;
        return p[2];
    }
    if (p < end && p[0] != 0x00)
        return ERR_DECODE;

    if (p == end)
        return ERR_AGAIN;

    struct amqp_reader r = {p + 1, end};
    struct amqp_item descriptor;
    uint64_t code = UINT64_MAX;
    int err = amqp_read(&r, &descriptor);

    if (err < 0)
        return err;
    if (descriptor.type == AMQP_ULONG)
        code = descriptor.u;
    else if (descriptor.type == AMQP_SYMBOL)
        code = amqp_code_of_symbol(descriptor.bytes);
    *at = r.at;
    return code <= AMQP_SECTION_FOOTER ? (int)code : ERR_DECODE;
}

static int read_header(const uint8_t **at, const uint8_t *end, struct amqp_msg *out)
{
    struct items list;
    ptrdiff_t err = open_list(at, end, &list);

    if (err < 0)
        return (int)err;

    const uint8_t *durable = next_item(&list);
    const uint8_t *priority = next_item(&list);

    if (durable && durable[0] != 0x41 && durable[0] != 0x42 && durable[0] != 0x56)
        return ERR_DECODE;
    if (priority && priority[0] != 0x50)
        return ERR_DECODE;
    if (priority) {
        out->has_priority = true;
        out->priority = priority[1];
    }
    return list.bad ? ERR_DECODE : 0;
}

static int read_properties(const uint8_t **at, const uint8_t *end, struct amqp_msg *out)
{
    struct items list;
    ptrdiff_t err = open_list(at, end, &list);

    if (err < 0)
        return (int)err;
    next_item(&list); // message-id
    next_item(&list); // user-id
    out->to = next_string(&list);
    next_item(&list); // subject
    out->reply_to = next_string(&list);

    const uint8_t *id = next_item(&list);

    if (id)
        out->correlation_id = amqp_bytes_between(id, list.at);

    // A symbol; but TCP services of existing routers write a string.
    const uint8_t *type = next_item(&list);

    out->content_type = text_at(&list, type, type && (type[0] & 0x0f) == 1 ? 0xa1 : 0xa3);
    out->has_properties = true;
    return list.bad ? ERR_DECODE : 0;
}

// A section that is a map: *out is the map as encoded.
static int read_map_section(const uint8_t **at, const uint8_t *end, struct str *out)
{
    ptrdiff_t len = amqp_value_len(*at, end);

    if (len < 0)
        return (int)len;
    if (**at != 0xc1 && **at != 0xd1)
        return ERR_DECODE;
    *out = (struct str){(const char *)*at, (size_t)len};
    *at += len;
    return 0;
}

static int read_section(int code, const uint8_t **at, const uint8_t *end, struct amqp_msg *out)
{
    struct str ignored;

    switch (code) {
    case AMQP_SECTION_HEADER:
        return read_header(at, end, out);
    case AMQP_SECTION_PROPERTIES:
        return read_properties(at, end, out);
    case AMQP_SECTION_APPLICATION_PROPERTIES:
        return read_map_section(at, end, &out->app_properties);
    case AMQP_SECTION_DELIVERY_ANNOTATIONS:
    case AMQP_SECTION_MESSAGE_ANNOTATIONS:
        return read_map_section(at, end, &ignored);
    default:
        return ERR_DECODE;
    }
}

// Reads sections, which come in rising order, while they are below `stop`.
static int read_sections(const uint8_t *from, const uint8_t *at, const uint8_t *end, int stop,
                         struct amqp_msg *out)
{
    int last = 0;

    for (;;) {
        const uint8_t *section = at;
        int code = read_section_code(&at, end);

        out->body_at = (size_t)(section - from);
        if (code < 0)
            return code;
        if (code <= last || code < AMQP_SECTION_HEADER)
            return ERR_DECODE;
        if (code >= stop)
            return 0;

        int err = read_section(code, &at, end, out);

        if (err < 0)
            return err;
        last = code;
        if (code == AMQP_SECTION_PROPERTIES && stop == AMQP_SECTION_APPLICATION_PROPERTIES) {
            out->body_at = (size_t)(at - from);
            return 0;
        }
    }
}

// With all bytes here, running out of them between two sections is the end of the message.
static int end_of_bytes(int err, bool is_complete, size_t at, size_t len)
{
    if (err != ERR_AGAIN || !is_complete)
        return err;
    return at == len ? 0 : ERR_DECODE;
}

static int scan_all(struct str bytes, bool is_complete, enum amqp_scan depth, struct amqp_msg *out)
{
    const uint8_t *from = (const uint8_t *)bytes.ptr, *end = from + bytes.len;

    if (may_be_ra(from, bytes.len)) {
        int err = bytes.len < RA_PREFIX_LEN ? ERR_AGAIN : read_ra(from, end, out);

        if (err < 0)
            return end_of_bytes(err, is_complete, 0, bytes.len);
    } else if (UNLIKELY(from[0] != 0x00)) {
        return ERR_DECODE;
    }
    out->body_at = out->ra_len;
    if (depth == AMQP_SCAN_RA)
        return 0;

    int stop = depth == AMQP_SCAN_BODY ? AMQP_SECTION_DATA : AMQP_SECTION_APPLICATION_PROPERTIES;
    int err = read_sections(from, from + out->ra_len, end, stop, out);

    return end_of_bytes(err, is_complete, out->body_at, bytes.len);
}

int amqp_msg_scan(struct str bytes, bool is_complete, enum amqp_scan depth, struct amqp_msg *out)
{
    *out = (struct amqp_msg){.priority = 4};
    if (UNLIKELY(bytes.len == 0))
        return is_complete ? 0 : ERR_AGAIN;
    // The descriptor of any other section in its usual form.
    if (depth == AMQP_SCAN_RA && bytes.len >= 2 && bytes.ptr[0] == 0x00 && bytes.ptr[1] == 0x53)
        return 0;
    return scan_all(bytes, is_complete, depth, out);
}

// ---------------------------------------------------------------------------------------- writing

static size_t string_len(struct str s)
{
    return s.len + (s.len <= UINT8_MAX ? 2 : 5);
}

static uint8_t *store_string(uint8_t *at, struct str s)
{
    if (s.len <= UINT8_MAX) {
        *at++ = 0xa1;
        *at++ = (uint8_t)s.len;
    } else {
        *at++ = 0xb1;
        amqp_store_u32(at, (uint32_t)s.len);
        at += 4;
    }
    if (s.len > 0)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

static size_t string_or_null_len(struct str s)
{
    return s.ptr ? string_len(s) : 1;
}

static uint8_t *store_string_or_null(uint8_t *at, struct str s)
{
    if (s.ptr)
        return store_string(at, s);
    *at = 0x40;
    return at + 1;
}

static uint8_t *store_list_head(uint8_t *at, size_t len, uint32_t count)
{
    at[0] = 0xd0;
    amqp_store_u32(at + 1, (uint32_t)len + 4);
    amqp_store_u32(at + 5, count);
    return at + 9;
}

static size_t flags_len(uint32_t flags)
{
    return flags == 0 ? 1 : flags <= UINT8_MAX ? 2 : 5;
}

static uint8_t *store_flags(uint8_t *at, uint32_t flags)
{
    if (flags == 0) {
        at[0] = 0x43;
        return at + 1;
    }
    if (flags <= UINT8_MAX) {
        at[0] = 0x52;
        at[1] = (uint8_t)flags;
        return at + 2;
    }
    at[0] = 0x70;
    amqp_store_u32(at + 1, flags);
    return at + 5;
}

static uint8_t *store_trace(uint8_t *at, const struct amqp_ra *ra, struct str last, size_t len)
{
    if (len == 0) {
        *at = 0x45;
        return at + 1;
    }
    at = store_list_head(at, len, ra->trace_count + (last.ptr != NULL));
    if (ra->trace.len > 0)
        memcpy(at, ra->trace.ptr, ra->trace.len);
    at += ra->trace.len;
    return last.ptr ? store_string(at, last) : at;
}

void amqp_put_ra(struct amqp_writer *w, const struct amqp_ra *ra, struct str trace_last)
{
    size_t trace_len = ra->trace.len + (trace_last.ptr ? string_len(trace_last) : 0);
    size_t items_len = flags_len(ra->flags) + string_or_null_len(ra->to_override) +
                       string_or_null_len(ra->ingress) + trace_len + (trace_len > 0 ? 9 : 1) +
                       (ra->mesh.ptr ? MESH_LEN + 2 : 0);
    uint8_t *at = amqp_room(w, RA_PREFIX_LEN + 9 + items_len);

    assert(ra->mesh.ptr == NULL || ra->mesh.len == MESH_LEN);
    assert((ra->trace_count == 0) == (ra->trace.len == 0) && items_len < UINT32_MAX);
    if (!at)
        return;
    memcpy(at, ra_prefix, RA_PREFIX_LEN);
    at = store_list_head(at + RA_PREFIX_LEN, items_len, ra->mesh.ptr ? 5 : 4);
    at = store_flags(at, ra->flags);
    at = store_string_or_null(at, ra->to_override);
    at = store_string_or_null(at, ra->ingress);
    at = store_trace(at, ra, trace_last, trace_len);
    if (ra->mesh.ptr)
        store_string(at, ra->mesh);
}

bool amqp_ra_trace_next(struct amqp_reader *at, struct str *router)
{
    struct items rest = {at->at, at->end, 1, false};

    if (amqp_reader_done(at))
        return false;
    *router = next_string(&rest);
    at->at = rest.at;
    return router->ptr != NULL;
}
