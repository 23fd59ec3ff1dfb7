// SPDX-License-Identifier: Apache-2.0
// What was chosen once and stays: who the site is, which ports it has.
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/inside.h"
#include "pki/pki.h"

enum { PORT_TRIES = 1000, PORT_COUNT = 65536 };

// The id that the existing product left in the metadata of its router's configuration.
static bool id_of_old_router(const struct host_paths *paths, char out[PKI_UUID_LEN + 1])
{
    char *path = host_path(paths, "runtime/router/skrouterd.json"), *text = NULL;
    size_t len = 0, i;
    json_t *config = NULL, *entity, *metadata = NULL;
    bool is_found = false;

    if (host_read(path, &text, &len, NULL) == 0)
        config = json_loadb(text, len, 0, NULL);
    json_array_foreach(config, i, entity)
    {
        const char *type = json_string_value(json_array_get(entity, 0));

        if (type && strcmp(type, "router") == 0)
            metadata =
                json_loads(site_text(json_array_get(entity, 1), "metadata"), JSON_DECODE_ANY, NULL);
    }
    if (metadata && strlen(site_text(metadata, "id")) == PKI_UUID_LEN) {
        memcpy(out, site_text(metadata, "id"), PKI_UUID_LEN + 1);
        is_found = true;
    }
    json_decref(metadata);
    json_decref(config);
    free(text);
    free(path);
    return is_found;
}

static json_t *fresh(const struct host_paths *paths)
{
    char id[PKI_UUID_LEN + 1], suffix[48];
    struct timespec now;

    if (!id_of_old_router(paths, id))
        pki_uuid(id);
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(suffix, sizeof(suffix), "%lld-%ld", (long long)now.tv_sec, now.tv_nsec);
    return json_pack("{s:s, s:s, s:{}, s:{}}", "siteId", id, "routerSuffix", suffix, "ports",
                     "certificates");
}

int memory_open(struct memory *m, const struct host_paths *paths, struct why *why)
{
    char *text = NULL;
    size_t len = 0;
    json_error_t error;
    int err;

    *m = (struct memory){.path = host_path(paths, "internal/state.json"),
                         .root = xstrdup(paths->root)};
    err = host_read(m->path, &text, &len, why);
    if (err == ERR_NOT_FOUND) {
        m->value = fresh(paths);
        return 0;
    }
    if (!err) {
        m->value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
        if (!m->value || !memory_text(m, "siteId")[0]) {
            why_set(why, "%s is damaged: put a copy back, or remove it to begin a new site",
                    m->path);
            err = ERR_DECODE;
        }
    }
    free(text);
    if (err < 0)
        memory_close(m);
    return err;
}

void memory_close(struct memory *m)
{
    free(m->path);
    free(m->root);
    json_decref(m->value);
    *m = (struct memory){0};
}

const char *memory_text(const struct memory *m, const char *name)
{
    const char *text = json_string_value(json_object_get(m->value, name));

    return text ? text : "";
}

json_t *memory_object(struct memory *m, const char *name)
{
    json_t *object = json_object_get(m->value, name);

    if (!json_is_object(object)) {
        object = json_object();
        json_object_set_new(m->value, name, object);
    }
    return object;
}

int memory_save(struct memory *m, struct why *why)
{
    char *text = yaml_write(m->value, YAML_JSON);
    int err = host_write(m->path, str_of(text), 0600, why);

    if (!err && m->is_unsynced)
        err = host_sync(m->path, why);
    m->is_unsynced &= err < 0;
    free(text);
    return err;
}

// Can it be bound, on that address or on all?
static bool is_free(const char *host, int port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    bool is_four = inet_pton(AF_INET, host, &four.sin_addr) == 1;
    int fd, yes = 1, rc;

    if (!is_four && inet_pton(AF_INET6, host, &six.sin6_addr) != 1)
        six.sin6_addr = in6addr_any;
    fd = socket(is_four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 && !is_four) { // a machine without IPv6
        is_four = true;
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    if (fd < 0)
        return true;
    // What an ended connection still holds is free for a listener.
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    rc = is_four ? bind(fd, (struct sockaddr *)&four, sizeof(four))
                 : bind(fd, (struct sockaddr *)&six, sizeof(six));
    if (rc == 0)
        rc = listen(fd, 1);
    close(fd);
    return rc == 0;
}

static bool is_ours(const json_t *ports, int port)
{
    const char *key;
    const json_t *value;

    json_object_foreach((json_t *)(uintptr_t)ports, key,
                        value) if (json_integer_value(value) == port) return true;
    return false;
}

static void mark_ports(const char *path, bool *taken)
{
    char *text = NULL;
    size_t len = 0;
    json_t *state = NULL, *port;
    const char *key;

    if (host_read(path, &text, &len, NULL) == 0)
        state = json_loadb(text, len, 0, NULL);
    json_object_foreach(json_object_get(state, "ports"), key, port)
    {
        json_int_t number = json_integer_value(port);

        if (number > 0 && number < PORT_COUNT)
            taken[number] = true;
    }
    json_decref(state);
    free(text);
}

// What the other sites of this user on this machine have chosen, whether they run or not: others
// know them by it. The caller frees it.
static bool *ports_of_others(const struct memory *m)
{
    bool *taken = xcalloc(PORT_COUNT, sizeof(*taken));
    char *top = str_fmt("%s/..", m->root), **names = host_list(top, NULL);
    const char *own = strrchr(m->root, '/');

    for (size_t i = 0; names[i]; i++) {
        char *path = str_fmt("%s/%s/internal/state.json", top, names[i]);

        if (!own || strcmp(names[i], own + 1) != 0)
            mark_ports(path, taken);
        free(path);
    }
    host_names_free(names);
    free(top);
    return taken;
}

static bool choose_port(json_t *ports, const json_t *wish, const bool *taken)
{
    const char *key = site_text(wish, "key"), *host = site_text(wish, "host");
    int port = (int)json_integer_value(json_object_get(wish, "from"));

    if (json_object_get(ports, key))
        return false;
    for (int end = port + PORT_TRIES; port < end && port < PORT_COUNT; port++)
        if (!taken[port] && !is_ours(ports, port) && is_free(host, port))
            break;
    json_object_set_new(ports, key, json_integer(port));
    return true;
}

static bool has_ports(const json_t *ports, const json_t *wanted)
{
    json_t *wish;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)wanted, i, wish)
    {
        if (!json_object_get(ports, site_text(wish, "key")))
            return false;
    }
    return true;
}

// For others to see. The disk is waited for when nobody else waits.
static void show(struct memory *m)
{
    char *text = yaml_write(m->value, YAML_JSON);

    m->is_unsynced |= host_put(m->path, str_of(text), 0600, NULL) == 0;
    free(text); // a failure is told when all of it is saved
}

// One site at a time, until its choice can be read: many may be started together.
bool memory_choose_ports(struct memory *m, const json_t *wanted)
{
    json_t *ports = memory_object(m, "ports"), *wish;
    bool is_new = false, *taken;
    char *top;
    size_t i;
    int lock;

    if (has_ports(ports, wanted))
        return false;
    top = str_fmt("%s/..", m->root);
    lock = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock >= 0)
        flock(lock, LOCK_EX);
    taken = ports_of_others(m);
    json_array_foreach((json_t *)(uintptr_t)wanted, i, wish) is_new |=
        choose_port(ports, wish, taken);
    show(m);
    if (lock >= 0)
        close(lock);
    free(taken);
    free(top);
    return is_new;
}

bool memory_release_port(struct memory *m, const char *key)
{
    json_t *ports = memory_object(m, "ports");
    int port = (int)json_integer_value(json_object_get(ports, key));

    if (port == 0 || is_free("", port))
        return false;
    json_object_del(ports, key);
    return true;
}

bool memory_release_ports(struct memory *m)
{
    json_t *ports = memory_object(m, "ports"), *value;
    const char *key;
    void *next;
    bool is_new = false;

    if (json_is_true(json_object_get(m->value, "portsServed")))
        return false;
    json_object_foreach_safe(ports, next, key, value) is_new |= memory_release_port(m, key);
    return is_new;
}

void memory_ports_served(struct memory *m)
{
    json_object_set_new(m->value, "portsServed", json_true());
}

json_t *memory_hosts(void)
{
    json_t *hosts = json_array();
    struct ifaddrs *all = NULL;
    char text[INET6_ADDRSTRLEN], name[256];
    bool is_full;

    // A full name is worth more than an address that may change; a short one means nothing to
    // others.
    if (gethostname(name, sizeof(name)) != 0)
        name[0] = '\0';
    is_full = strchr(name, '.') != NULL;
    if (is_full)
        json_array_append_new(hosts, json_string(name));
    if (getifaddrs(&all) != 0)
        all = NULL;
    for (int family = 0; family < 2; family++)
        for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
            bool is_four = family == 0;
            const void *address;

            if (!a->ifa_addr || (a->ifa_flags & IFF_LOOPBACK) || !(a->ifa_flags & IFF_UP) ||
                a->ifa_addr->sa_family != (is_four ? AF_INET : AF_INET6))
                continue;
            const struct sockaddr_in6 *six = (const void *)a->ifa_addr;
            const struct sockaddr_in *four = (const void *)a->ifa_addr;

            if (!is_four && IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr))
                continue;
            address = is_four ? (const void *)&four->sin_addr : (const void *)&six->sin6_addr;
            if (inet_ntop(is_four ? AF_INET : AF_INET6, address, text, sizeof(text)))
                json_array_append_new(hosts, json_string(text));
        }
    if (all)
        freeifaddrs(all);
    if (json_array_size(hosts) == 0) // alone in the world: sites of this machine can still link
        json_array_append_new(hosts, json_string("127.0.0.1"));
    if (name[0] && !is_full)
        json_array_append_new(hosts, json_string(name));
    return hosts;
}
