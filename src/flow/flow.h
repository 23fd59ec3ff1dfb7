// SPDX-License-Identifier: Apache-2.0
// Telemetry records (vanflow): what a router tells collectors about itself, its links, services and
// connections. An event source as a value: records are begun, changed and ended; messages with
// their addresses come out, at most one version of a record a second; commands go in. No clock, no
// sockets. Facts of the protocol: docs/protocol.md.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "amqp/amqp.h"
#include "base/mono.h"
#include "base/str.h"

// The numbers are those of the protocol.
enum flow_type {
    FLOW_SITE = 0,
    FLOW_ROUTER = 1,
    FLOW_LINK = 2,
    FLOW_CONTROLLER = 3,
    FLOW_LISTENER = 4,
    FLOW_CONNECTOR = 5,
    FLOW_PROCESS = 7,
    FLOW_HOST = 13,
    FLOW_LOG = 14,
    FLOW_ROUTER_ACCESS = 15,
    FLOW_TPORT = 16, // BIFLOW_TPORT: one TCP connection
    FLOW_APP = 17,   // BIFLOW_APP: one request on it
};

enum flow_attr {
    FLOW_RECORD_TYPE = 0,
    FLOW_IDENTITY = 1,
    FLOW_PARENT = 2,
    FLOW_START_TIME = 3,
    FLOW_END_TIME = 4,
    FLOW_PEER = 6,
    FLOW_PROCESS_ID = 7,
    FLOW_LOCATION = 9,
    FLOW_PROVIDER = 10,
    FLOW_PLATFORM = 11,
    FLOW_NAMESPACE = 12,
    FLOW_MODE = 13,
    FLOW_SOURCE_HOST = 14,
    FLOW_DESTINATION_HOST = 15,
    FLOW_PROTOCOL = 16,
    FLOW_SOURCE_PORT = 17,
    FLOW_DESTINATION_PORT = 18,
    FLOW_VAN_ADDRESS = 19,
    FLOW_IMAGE_NAME = 20,
    FLOW_IMAGE_VERSION = 21,
    FLOW_HOST_NAME = 22,
    FLOW_OCTETS = 23,
    FLOW_LATENCY = 24,
    FLOW_METHOD = 27,
    FLOW_RESULT = 28,
    FLOW_REASON = 29,
    FLOW_NAME = 30,
    FLOW_TRACE = 31,
    FLOW_BUILD_VERSION = 32,
    FLOW_LINK_COST = 33,
    FLOW_COUNT_L4 = 40,
    FLOW_COUNT_L7 = 41,
    FLOW_GROUP = 46,
    FLOW_STREAM_ID = 47,
    FLOW_LOG_SEVERITY = 48,
    FLOW_LOG_TEXT = 49,
    FLOW_SOURCE_FILE = 50,
    FLOW_SOURCE_LINE = 51,
    FLOW_LINK_COUNT = 52,
    FLOW_OPER_STATUS = 53,
    FLOW_ROLE = 54,
    FLOW_UP_TIMESTAMP = 55,
    FLOW_DOWN_TIMESTAMP = 56,
    FLOW_DOWN_COUNT = 57,
    FLOW_OCTETS_REVERSE = 58,
    FLOW_CONNECTOR_ID = 60,
    FLOW_PROCESS_LATENCY = 61,
    FLOW_PROXY_HOST = 62,
    FLOW_PROXY_PORT = 63,
    FLOW_ERROR_LISTENER_SIDE = 64,
    FLOW_ERROR_CONNECTOR_SIDE = 65,
    FLOW_ACTIVE_TLS_ORDINAL = 66,
    FLOW_HTTP_PROXY = 67,
    FLOW_ATTR_MAX = FLOW_HTTP_PROXY,
};

enum {
    FLOW_TEXT_MAX = 300,   // octets of a text; longer ones are cut
    FLOW_RECORDS_MAX = 50, // in one message
    // Of records that come with traffic (connections, requests, co-records) so many exist at a
    // time; more are counted as dropped, until there are fewer than FLOW_TRAFFIC_AGAIN.
    FLOW_TRAFFIC_MAX = 5000,
    FLOW_TRAFFIC_AGAIN = 4990,
    FLOW_OTHERS_MAX = 65536, // of all other records
    FLOW_ATTEMPTS_MAX = 8,
    FLOW_LOGS_MAX = 1000, // log records that wait to be sent
};

// ---------------------------------------------------------------------------------------- source

struct flow;
struct flow_record;

struct flow_opts {
    const char *id;        // of a source that is named otherwise than a router: a site's; or NULL
    const char *type;      // "CONTROLLER"; NULL: "ROUTER"
    const char *host_name; // of a pod: its last five characters name the source; else NULL
    uint64_t seed;         // for that name otherwise
    int64_t epoch_us;      // the wall clock at `now`
};

struct flow *flow_new(const struct flow_opts *opts, struct mono now);
void flow_free(struct flow *f); // its records as well

// Where messages go to and commands come from.
enum flow_channel {
    FLOW_BEACONS,   // mc/sfe.all
    FLOW_RECORDS,   // mc/sfe.<id>
    FLOW_FLOWS,     // mc/sfe.<id>.flows
    FLOW_LOGS,      // mc/sfe.<id>.logs
    FLOW_COMMANDS,  // sfe.<id>: consumed, for flow_command()
    FLOW_CORECORDS, // vfcr.<id>: consumed, for flow_corecord()
    FLOW_JOINED,    // mc/sfe.joined: for flow_ask(), and consumed, for flow_asked()
    FLOW_CHANNEL_COUNT
};
const char *flow_address(const struct flow *f, enum flow_channel channel);
// Does anybody listen there? Of the first four: where nobody does, nothing is sent or kept; when
// somebody comes, all there is is told.
void flow_set_reached(struct flow *f, enum flow_channel channel, bool is_reached);
bool flow_is_reached(const struct flow *f, enum flow_channel channel);
// One more router has listeners to beacons, which makes it `others` of them: they are sent one out
// of turn, with the next tick. Who comes within a pause after that waits for its end; the pause
// grows with the network, until beacons out of turn are no more than those in turn.
void flow_greet(struct flow *f, uint32_t others);
// Who listens to beacons where others do not see it, behind a router that has told of listeners
// before, asks for them: the next message is this source's beacon, to FLOW_JOINED.
void flow_ask(struct flow *f);
// Somebody else did: as flow_greet(), where `others` is at least how many have asked since it was
// last quiet.
void flow_asked(struct flow *f);

void flow_command(struct flow *f, struct str message);
// What the connector's router knows of a connection whose record is here.
void flow_corecord(struct flow *f, struct str message);

// Tell who listens (flow_set_reached), tick, then send what flow_next() names. Called early it does
// nothing.
struct mono flow_deadline(const struct flow *f);
void flow_tick(struct flow *f, struct mono now, int64_t epoch_us);

struct flow_message {
    const char *to;
    struct str bytes; // sections; to be sent pre-settled
};
// *out is good until the next call.
bool flow_next(struct flow *f, struct flow_message *out);

struct flow_stats {
    size_t traffic, others;         // records there are
    uint64_t dropped, logs_dropped; // never begun for lack of room
    uint64_t messages;
};
void flow_stats(const struct flow *f, struct flow_stats *out);

// --------------------------------------------------------------------------------------- records

// Begins a record with its start time; `parent` (or NULL) must be one of the same source. NULL at a
// limit: every call below does nothing with NULL.
struct flow_record *flow_begin(struct flow *f, enum flow_type type,
                               const struct flow_record *parent, struct mono now);
// One whose identity is given, such as a site's.
struct flow_record *flow_begin_as(struct flow *f, enum flow_type type, struct str id,
                                  struct mono now);
// Part of a record that another router keeps, by the identity of that; ends unheard if it is gone.
// NULL as well when `id` is not an identity.
struct flow_record *flow_begin_corecord(struct flow *f, struct str id);
// Its last version is sent, then it is gone; a connection's waits 5 s for co-records. The pointer
// is not good any more.
void flow_end(struct flow_record *take, struct mono now);

const char *flow_id(const struct flow_record *rec); // "" for NULL
// By what identity another router may add to a connection's record (flow_begin_corecord there). A
// connection may try one router after the other: the first call gives the record's own, each
// further one another, up to FLOW_ATTEMPTS_MAX. What is heard of the latest attempt counts, and
// puts out what was heard of those before. "" for NULL.
const char *flow_corecord_id(struct flow_record *rec);
// An attribute's value; what is not new changes nothing.
void flow_set_number(struct flow_record *rec, enum flow_attr attr, uint64_t value);
void flow_set_text(struct flow_record *rec, enum flow_attr attr, struct str value);
void flow_add(struct flow_record *rec, enum flow_attr attr, uint64_t more);
void flow_set_time(struct flow_record *rec, enum flow_attr attr, struct mono when);

enum flow_severity { FLOW_WARNING = 2, FLOW_ERROR = 3, FLOW_CRITICAL = 4 };
void flow_log(struct flow *f, const struct flow_record *router, enum flow_severity severity,
              struct str text, struct str file, uint64_t line, struct mono now);

// --------------------------------------------------------------------------------------- reading

// A message of a source or a collector, whoever wrote it.
enum flow_subject { FLOW_IS_BEACON, FLOW_IS_HEARTBEAT, FLOW_IS_RECORD, FLOW_IS_FLUSH };

struct flow_news {
    enum flow_subject subject;
    struct str to;
    uint32_t version;        // BEACON, HEARTBEAT
    uint64_t now_us;         // HEARTBEAT
    struct str id;           // BEACON, HEARTBEAT
    struct str source_type;  // BEACON: "ROUTER", "CONTROLLER"
    struct str address;      // BEACON: where its records go
    struct str direct;       // BEACON: where it takes commands
    struct amqp_reader rest; // RECORD: for flow_read_record()
    uint32_t record_count;
};

struct flow_read {
    uint32_t type;
    struct str id;
    struct amqp_reader rest; // for flow_read_value()
    uint32_t value_count;
};

struct flow_value {
    uint32_t attr;
    bool is_text;
    uint64_t number;
    struct str text;
};

// Views into the message. 0, ERR_DECODE, or ERR_INVALID for a message of another kind.
int flow_read(struct str message, struct flow_news *out);
// The next record (1), none (0) or ERR_DECODE: without type and identity there is none. What else
// it says is looked at by flow_read_value() alone.
int flow_read_record(struct flow_news *n, struct flow_read *out);
// The next attribute but those two (1), none (0) or ERR_DECODE. Unknown ones are passed over.
int flow_read_value(struct flow_read *rec, struct flow_value *out);
// Writes the command that makes a source tell all it has.
void flow_put_flush(struct amqp_writer *w, struct str direct);

// ------------------------------------------------------------------------------------ collecting
// What the sources of a whole network say, kept as far as the network's status needs it: sites,
// routers, links and where they come in, listeners, connectors, processes. Another engine as a
// value: messages and the time in, addresses to listen to and the status out.

enum {
    FLOW_SOURCES_MAX = 4096,         // more are not listened to
    FLOW_KEPT_MAX = 262144,          // records; more are counted as dropped
    FLOW_KEPT_OCTETS_MAX = 64 << 20, // that they may take, texts and JSON included
    FLOW_SILENT_MS = 60000,          // unheard for so long (30 s, and 30 s of grace): forgotten
    FLOW_TELL_MS = 1000,             // the status is told no more often,
    FLOW_TELL_RECORDS = 10,          // and so many records lengthen that by a millisecond;
    FLOW_QUIET_RECORDS = 50,         // as long as changes come it waits: a millisecond for so many
    FLOW_PATIENCE_RECORDS = 4,       // at most FLOW_TELL_MS and a millisecond for so many
};

struct flow_collector;

struct flow_collector *flow_collector_new(struct mono now);
void flow_collector_free(struct flow_collector *c);
// A new connection to the network: everything is asked for anew, and what is known stays.
void flow_collector_restart(struct flow_collector *c, struct mono now);

// What its owner is to do. Poll until false, after every call that takes the time.
enum flow_want_type {
    FLOW_RECEIVE, // listen to `address` too
    FLOW_STOP,    // no more
    FLOW_ASK,     // send flow_put_flush(address) there
};
struct flow_want {
    enum flow_want_type type;
    const char *address; // good until the next call
};
bool flow_collector_next(struct flow_collector *c, struct flow_want *out);

// A message that came to an address it was told to listen to. What makes no sense is counted.
void flow_collector_hear(struct flow_collector *c, const char *address, struct str message,
                         struct mono now);
struct mono flow_collector_deadline(const struct flow_collector *c);
void flow_collector_tick(struct flow_collector *c, struct mono now);

// The status differs from the one that was taken last, and it is time to tell.
bool flow_collector_has_news(const struct flow_collector *c);
// {"addresses": […], "siteStatus": […]} as the existing product keeps it, everything sorted by id,
// addresses by name: compact JSON of printable ASCII, told in pieces to `put`, so that however
// large a network is nobody has to hold its status. Routers whose site nobody names are left out,
// and one that has restarted replaces its former self. Nothing is news then until something
// changes.
void flow_collector_tell(struct flow_collector *c, struct mono now,
                         void (*put)(void *user, struct str piece), void *user);
// The same as a value, which the caller owns. With `made`, no more of it than the site's model asks
// for (site_facts.network), as a network where each site listens to the services of all others has
// very much: sites, their links and accesses; of connectors and listeners names and addresses; and
// as addresses those with listeners, however many. Listeners whose name is `made` and their own
// address are left out.
json_t *flow_collector_status(const struct flow_collector *c, const char *made);
// Is another one, as a rule, when the value is.
uint64_t flow_collector_digest(const struct flow_collector *c, const char *made);

struct flow_collector_stats {
    size_t sources, records, octets;
    uint64_t dropped; // records for which there was no room
    uint64_t unread;  // messages that made no sense
};
void flow_collector_stats(const struct flow_collector *c, struct flow_collector_stats *out);
