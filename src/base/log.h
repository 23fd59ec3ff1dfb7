// SPDX-License-Identifier: Apache-2.0
// One line for each change an operator would act on: time, level, module, what, then key=value.
// Levels are set for each module at run time. Safe from any thread; a line is one write.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/mono.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_CRITICAL, LOG_LEVEL_COUNT };

// The modules an operator knows from the `log` entity of the configuration.
enum log_module {
    LOG_ROUTER,
    LOG_ROUTER_CORE,
    LOG_ROUTER_HELLO,
    LOG_ROUTER_LS,
    LOG_ROUTER_MA,
    LOG_MESSAGE,
    LOG_SERVER,
    LOG_AGENT,
    LOG_CONTAINER,
    LOG_ERROR_MODULE, // named "ERROR"
    LOG_POLICY,
    LOG_HTTP,
    LOG_CONN_MGR,
    LOG_PYTHON,
    LOG_PROTOCOL,
    LOG_TCP_ADAPTOR,
    LOG_HTTP_ADAPTOR,
    LOG_FLOW_LOG,
    LOG_ADDRESS_WATCH,
    LOG_HTTP1_OBSERVER,
    LOG_HTTP2_OBSERVER,
    LOG_HTTP2_DECODER,
    LOG_DEFAULT,
    LOG_MODULE_COUNT
};

const char *log_module_name(enum log_module m);
const char *log_level_name(enum log_level l);

// Writes "2026-01-31 12:00:00.000000 +0000 MODULE (level) what key=value" to the module's file
// (standard error by default) when the level is enabled. Never called from engines.
#define log_write(m, l, ...) log_write_at(__FILE__, __LINE__, m, l, __VA_ARGS__)
void log_write_at(const char *file, int line, enum log_module m, enum log_level l, const char *fmt,
                  ...) PRINTF_LIKE(5, 6);
// Hears every line that is written, without time and names, on the thread that writes it. One for
// the process, set while no other thread runs; NULL: none.
typedef void log_tap(void *user, enum log_module m, enum log_level l, struct str text,
                     const char *file, int line);
void log_set_tap(log_tap *tap, void *user);
bool log_enabled(enum log_module m, enum log_level l);

// `enable` is a comma list of levels, each with an optional '+' ("info+", "debug,error"), "none" or
// "default". Returns 0, or ERR_INVALID with nothing changed.
int log_set_enable(enum log_module m, const char *enable);
// The text that log_set_enable was given ("default" at first).
const char *log_get_enable(enum log_module m);
// Where the module writes: a path, "stderr", "stdout", or NULL for the default. Returns 0 or
// ERR_IO.
int log_set_output(enum log_module m, const char *path);
const char *log_get_output(enum log_module m);
// Opens the files anew under their names, for those who rotate logs. One that cannot be opened
// keeps the old file.
void log_reopen(void);

// The newest lines are kept, at most LOG_RECENT_MAX, cut at LOG_RECENT_TEXT - 1 octets.
enum { LOG_RECENT_MAX = 500, LOG_RECENT_TEXT = 240 };
struct log_line {
    enum log_module module;
    enum log_level level;
    int64_t time; // seconds since the epoch
    char text[LOG_RECENT_TEXT];
};
// How many there are, but no more than `limit`.
uint32_t log_recent_count(uint32_t limit);
// The newest is 1; false when there are not so many.
bool log_recent(uint32_t which, struct log_line *out);
// Lines written so far at each level of the module.
uint64_t log_count(enum log_module m, enum log_level l);

// Lets at most `burst` lines pass and one more each second: for lines that a peer can cause. Zeroed
// memory is a fresh limiter. When lines were held back, *skipped says how many since the last one.
struct log_limit {
    struct mono last;
    double tokens;
    uint32_t skipped;
};
bool log_limit_pass(struct log_limit *l, double burst, struct mono now, uint32_t *skipped);

// The same for lines about peers: at most LOG_SOURCE_BURST and one more each second about one of
// them, and `burst` and one more each second about all. Zeroed memory is a fresh one. `peer` is an
// address, with or without a port: what one address does from many ports counts together.
enum { LOG_SOURCES = 64, LOG_SOURCE_BURST = 5 };
struct log_sources {
    struct log_limit all;
    struct {
        uint64_t hash; // of the address; another one with the same place takes it over
        struct log_limit limit;
    } of[LOG_SOURCES];
};
bool log_sources_pass(struct log_sources *s, const char *peer, double burst, struct mono now,
                      uint32_t *skipped);
