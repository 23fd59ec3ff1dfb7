// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

// The one place with state of the whole process: where its lines go, and the newest of them. Levels
// and descriptors are atomics, a line is one write; settings are changed from one thread only.

enum { LINE_MAX = 2048, MASK_DEFAULT = -1 };

struct module_state {
    _Atomic int mask; // bit per level, or MASK_DEFAULT
    _Atomic int fd;   // -1: as DEFAULT
    atomic_uint_fast64_t counts[LOG_LEVEL_COUNT];
    char *enable, *output;
};

static struct module_state modules[LOG_MODULE_COUNT] = {
    [0 ... LOG_MODULE_COUNT - 1] = {.mask = MASK_DEFAULT, .fd = -1},
};

static struct {
    pthread_mutex_t lock;
    struct log_line *lines; // LOG_RECENT_MAX, from the first line on
    uint64_t written;
} recent = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const module_names[LOG_MODULE_COUNT] = {
    "ROUTER",         "ROUTER_CORE",   "ROUTER_HELLO", "ROUTER_LS",     "ROUTER_MA",
    "MESSAGE",        "SERVER",        "AGENT",        "CONTAINER",     "ERROR",
    "POLICY",         "HTTP",          "CONN_MGR",     "PYTHON",        "PROTOCOL",
    "TCP_ADAPTOR",    "HTTP_ADAPTOR",  "FLOW_LOG",     "ADDRESS_WATCH", "HTTP1_OBSERVER",
    "HTTP2_OBSERVER", "HTTP2_DECODER", "DEFAULT"};

static const char *const level_names[LOG_LEVEL_COUNT] = {"debug", "info", "warning", "error",
                                                         "critical"};

const char *log_module_name(enum log_module m)
{
    return module_names[m];
}

const char *log_level_name(enum log_level l)
{
    return level_names[l];
}

bool log_enabled(enum log_module m, enum log_level l)
{
    int mask = atomic_load_explicit(&modules[m].mask, memory_order_relaxed);

    if (mask == MASK_DEFAULT)
        mask = atomic_load_explicit(&modules[LOG_DEFAULT].mask, memory_order_relaxed);
    if (mask == MASK_DEFAULT)
        return l >= LOG_INFO;
    return mask & 1 << l;
}

static struct tapped {
    log_tap *tap;
    void *user;
} tapped;

static int descriptor(enum log_module m)
{
    int fd = atomic_load_explicit(&modules[m].fd, memory_order_relaxed);

    if (fd < 0)
        fd = atomic_load_explicit(&modules[LOG_DEFAULT].fd, memory_order_relaxed);
    return fd < 0 ? STDERR_FILENO : fd;
}

static void keep(enum log_module m, enum log_level l, int64_t time, const char *text, size_t len)
{
    struct log_line *line;

    pthread_mutex_lock(&recent.lock);
    if (!recent.lines)
        recent.lines = xcalloc(LOG_RECENT_MAX, sizeof(*recent.lines));
    line = &recent.lines[recent.written++ % LOG_RECENT_MAX];
    line->module = m;
    line->level = l;
    line->time = time;
    snprintf(line->text, sizeof(line->text), "%.*s", (int)len, text);
    pthread_mutex_unlock(&recent.lock);
}

uint32_t log_recent_count(uint32_t limit)
{
    uint64_t written;

    pthread_mutex_lock(&recent.lock);
    written = recent.written;
    pthread_mutex_unlock(&recent.lock);
    if (written > LOG_RECENT_MAX)
        written = LOG_RECENT_MAX;
    return written < limit ? (uint32_t)written : limit;
}

bool log_recent(uint32_t which, struct log_line *out)
{
    bool is_there;

    pthread_mutex_lock(&recent.lock);
    is_there = which > 0 && which <= LOG_RECENT_MAX && which <= recent.written;
    if (is_there)
        *out = recent.lines[(recent.written - which) % LOG_RECENT_MAX];
    pthread_mutex_unlock(&recent.lock);
    return is_there;
}

void log_set_tap(log_tap *tap, void *user)
{
    tapped = (struct tapped){tap, user};
}

void log_write_at(const char *file, int at, enum log_module m, enum log_level l, const char *fmt,
                  ...)
{
    char line[LINE_MAX];
    struct timespec ts;
    struct tm tm;
    size_t len, head;
    va_list args;

    atomic_fetch_add_explicit(&modules[m].counts[l], 1, memory_order_relaxed);
    if (!log_enabled(m, l))
        return;
    clock_gettime(CLOCK_REALTIME, &ts);
    localtime_r(&ts.tv_sec, &tm);
    len = strftime(line, sizeof(line), "%Y-%m-%d %H:%M:%S", &tm);
    len += (size_t)snprintf(line + len, sizeof(line) - len, ".%06ld ", ts.tv_nsec / 1000);
    len += strftime(line + len, sizeof(line) - len, "%z ", &tm);
    len += (size_t)snprintf(line + len, sizeof(line) - len, "%s (%s) ", module_names[m],
                            level_names[l]);
    head = len;
    va_start(args, fmt);
    int text = vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);
    va_end(args);
    if (text > 0)
        len += (size_t)text < sizeof(line) - len - 1 ? (size_t)text : sizeof(line) - len - 2;
    for (size_t i = 0; i < len; i++) // what a peer says stays on its line
        if ((unsigned char)line[i] < ' ')
            line[i] = ' ';
    keep(m, l, ts.tv_sec, line + head, len - head);
    if (tapped.tap)
        tapped.tap(tapped.user, m, l, (struct str){line + head, len - head}, file, at);
    line[len++] = '\n';
    (void)!write(descriptor(m), line, len);
}

static int parse_level(struct str word, int *mask)
{
    bool and_up = word.len > 0 && word.ptr[word.len - 1] == '+';

    word.len -= and_up;
    for (int l = 0; l < LOG_LEVEL_COUNT; l++) {
        if (!str_is_nocase(word, level_names[l]))
            continue;
        *mask |= and_up ? (1 << LOG_LEVEL_COUNT) - (1 << l) : 1 << l;
        return 0;
    }
    // Levels that others have below ours, and between info and warning.
    if (str_is_nocase(word, "trace") || str_is_nocase(word, "notice")) {
        int lowest = str_is_nocase(word, "trace") ? LOG_DEBUG : LOG_WARNING;

        *mask |= and_up ? (1 << LOG_LEVEL_COUNT) - (1 << lowest) : 0;
        return 0;
    }
    return str_is_nocase(word, "none") ? 0 : ERR_INVALID;
}

int log_set_enable(enum log_module m, const char *enable)
{
    int mask = 0;

    if (!enable[0])
        return ERR_INVALID;
    if (strcasecmp(enable, "default") == 0) {
        mask = MASK_DEFAULT;
    } else {
        for (const char *at = enable; *at;) {
            size_t len = strcspn(at, ",");
            struct str word = {at, len};

            while (word.len > 0 && word.ptr[0] == ' ')
                word = str_skip(word, 1);
            if (parse_level(word, &mask) < 0)
                return ERR_INVALID;
            at += len + (at[len] == ',');
        }
    }
    free(modules[m].enable);
    modules[m].enable = xstrdup(enable);
    atomic_store(&modules[m].mask, mask);
    return 0;
}

const char *log_get_enable(enum log_module m)
{
    return modules[m].enable ? modules[m].enable : "default";
}

int log_set_output(enum log_module m, const char *path)
{
    int fd = -1, old;

    if (path && strcmp(path, "stderr") == 0)
        fd = dup(STDERR_FILENO);
    else if (path && strcmp(path, "stdout") == 0)
        fd = dup(STDOUT_FILENO);
    else if (path)
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (path && fd < 0)
        return ERR_IO;
    old = atomic_exchange(&modules[m].fd, fd);
    if (old >= 0)
        close(old);
    free(modules[m].output);
    modules[m].output = path ? xstrdup(path) : NULL;
    return 0;
}

void log_reopen(void)
{
    for (int m = 0; m < LOG_MODULE_COUNT; m++) {
        char *path = modules[m].output ? xstrdup(modules[m].output) : NULL;

        if (path)
            log_set_output((enum log_module)m, path);
        free(path);
    }
}

const char *log_get_output(enum log_module m)
{
    return modules[m].output;
}

uint64_t log_count(enum log_module m, enum log_level l)
{
    return atomic_load_explicit(&modules[m].counts[l], memory_order_relaxed);
}

bool log_limit_pass(struct log_limit *l, double burst, struct mono now, uint32_t *skipped)
{
    double passed = (double)(now.ns - l->last.ns) / (double)NS_PER_S;

    l->tokens = l->last.ns == 0 ? burst : l->tokens + passed;
    if (l->tokens > burst)
        l->tokens = burst;
    l->last = now;
    if (l->tokens < 1) {
        l->skipped++;
        return false;
    }
    l->tokens -= 1;
    *skipped = l->skipped;
    l->skipped = 0;
    return true;
}

// FNV-1a. Who can choose addresses that fall on the same place gains a line, and the limit for all
// holds.
static uint64_t hash_of(const char *peer)
{
    const char *colon = strrchr(peer, ':'), *bracket = strrchr(peer, ']');
    bool has_port = colon && (bracket ? colon > bracket : strchr(peer, ':') == colon);
    size_t len = has_port ? (size_t)(colon - peer) : strlen(peer);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)peer[i]) * UINT64_C(0x100000001b3);
    return hash;
}

bool log_sources_pass(struct log_sources *s, const char *peer, double burst, struct mono now,
                      uint32_t *skipped)
{
    uint64_t hash = hash_of(peer);
    uint32_t of_source = 0, of_all = 0;
    struct log_limit *limit = &s->of[hash % LOG_SOURCES].limit;

    if (s->of[hash % LOG_SOURCES].hash != hash) {
        s->all.skipped += limit->skipped;
        *limit = (struct log_limit){0};
        s->of[hash % LOG_SOURCES].hash = hash;
    }
    if (!log_limit_pass(limit, LOG_SOURCE_BURST, now, &of_source))
        return false;
    if (!log_limit_pass(&s->all, burst, now, &of_all)) {
        limit->skipped += of_source;
        return false;
    }
    *skipped = of_source + of_all;
    return true;
}
