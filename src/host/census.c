// SPDX-License-Identifier: Apache-2.0
// The network as its routers tell it: the file that shows it to people, and what of it the model
// reads.
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "drive/drive.h"
#include "host/inside.h"

enum { PLAIN_MODE = 0644 };

struct census {
    char *file;
    void (*changed)(void *user);
    void *user;
    struct drive_census *engine;
    bool is_known;   // something was told
    uint64_t digest; // of the facts
    json_t *facts;   // of what was told last, until it rests; NULL: not made yet
};

// Into a text of YAML between single quotes, where these alone have a meaning.
static void put_quoted(void *pour, struct str piece)
{
    const char *quote;

    while (piece.len > 0 && (quote = memchr(piece.ptr, '\'', piece.len)) != NULL) {
        size_t len = (size_t)(quote - piece.ptr) + 1;

        host_pour(pour, (struct str){piece.ptr, len});
        host_pour(pour, STR("'"));
        piece = str_skip(piece, len);
    }
    host_pour(pour, piece);
}

// Compact JSON in a ConfigMap, as others read it. It is by far the largest that an agent has to
// say, so it is nowhere but in the file.
static void write_status(const struct census *n)
{
    struct host_pour pour;
    struct why why = {""};

    host_pour_begin(&pour, n->file, PLAIN_MODE);
    host_pour(&pour, STR("apiVersion: v1\ndata:\n  NetworkStatus: '"));
    drive_census_tell(n->engine, put_quoted, &pour);
    host_pour(&pour, STR("'\nkind: ConfigMap\nmetadata:\n  name: skupper-network-status\n"));
    if (host_pour_end(&pour, &why) < 0)
        log_write(LOG_AGENT, LOG_ERROR, "%s", why.text);
}

void census_rest(struct census *n)
{
    json_decref(n->facts);
    n->facts = NULL;
}

static void news(void *user)
{
    struct census *n = user;
    uint64_t digest = drive_census_digest(n->engine, SITE_SHARED_LISTENER);

    write_status(n);
    if (n->is_known && digest == n->digest)
        return;
    n->is_known = true;
    n->digest = digest;
    census_rest(n);
    n->changed(n->user);
}

struct census *census_new(struct net_loop *loop, const struct host_paths *paths,
                          void (*changed)(void *user), void *user)
{
    struct census *n = xcalloc(1, sizeof(*n));

    *n = (struct census){
        .file = host_path(paths, "runtime/resources/ConfigMap-skupper-network-status.yaml"),
        .changed = changed,
        .user = user,
        .engine = drive_census_new(loop, news, n)};
    return n;
}

void census_free(struct census *n)
{
    if (!n)
        return;
    drive_census_free(n->engine);
    json_decref(n->facts);
    free(n->file);
    free(n);
}

struct drive_census *census_engine(struct census *n)
{
    return n->engine;
}

json_t *census_facts(struct census *n)
{
    if (n->is_known && !n->facts)
        n->facts = drive_census_status(n->engine, SITE_SHARED_LISTENER);
    return json_incref(n->facts);
}
