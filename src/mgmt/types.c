// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <string.h>

#include "mgmt/mgmt.h"

// Every entity type with its attributes: one table for configuration files, for management and for
// the reference pages in docs/ (a test compares them). Names, defaults and order are those that
// existing tools know.

#define C MGMT_CREATE
#define CU (MGMT_CREATE | MGMT_UPDATE)
#define U MGMT_UPDATE
#define NEEDED MGMT_REQUIRED
#define OLD MGMT_IGNORED
#define SECRET MGMT_SECRET

#define TEXT(n, f, d)                                                                              \
    {                                                                                              \
        .name = n, .type = MGMT_STRING, .flags = f, .initial = d                                   \
    }
#define PORT(f, d)                                                                                 \
    {                                                                                              \
        .name = "port", .type = MGMT_STRING, .flags = f, .initial = d, .max = 65535                \
    }
#define NUMBER(n, f, d, lo, hi)                                                                    \
    {                                                                                              \
        .name = n, .type = MGMT_INT, .flags = f, .initial = d, .min = lo, .max = hi                \
    }
#define FLAG(n, f, d)                                                                              \
    {                                                                                              \
        .name = n, .type = MGMT_BOOL, .flags = f, .initial = d                                     \
    }
#define WORD(n, f, d, w)                                                                           \
    {                                                                                              \
        .name = n, .type = MGMT_ENUM, .flags = f, .initial = d, .values = w                        \
    }
#define MAP(n, f)                                                                                  \
    {                                                                                              \
        .name = n, .type = MGMT_MAP, .flags = f                                                    \
    }
#define LIST(n, f)                                                                                 \
    {                                                                                              \
        .name = n, .type = MGMT_LIST, .flags = f                                                   \
    }
#define COUNT(n)                                                                                   \
    {                                                                                              \
        .name = n, .type = MGMT_INT, .min = INT64_MIN, .max = INT64_MAX                            \
    }
#define SHOWN(n) TEXT(n, 0, NULL)
#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#define BASE TEXT("name", C, NULL), SHOWN("identity"), SHOWN("type")

enum { BIG = INT32_MAX, SECONDS_MAX = INT32_MAX / 1000 };

static const char *const modes[] = {"standalone", "interior", "edge", NULL};
static const char *const roles[] = {
    "normal", "inter-router", "route-container", "edge", "inter-edge", "inter-network", NULL};
static const char *const treatments[] = {"multicast", "closest", "balanced", "unavailable", NULL};
static const char *const strips[] = {"in", "out", "both", "no", NULL};
static const char *const families[] = {"IPv4", "IPv6", NULL};
static const char *const directions[] = {"in", "out", NULL};
static const char *const strategies[] = {"none", "priority", "weighted", NULL};
static const char *const admin_statuses[] = {"enabled", "deleted", NULL};
static const char *const encapsulations[] = {"lite", "legacy", NULL};
static const char *const observers[] = {"auto", "none", "http1", "http2", NULL};
// AUTHSERVICE stands in files written for earlier routers.
static const char *const modules[] = {
    "ROUTER",         "ROUTER_CORE",   "ROUTER_HELLO", "ROUTER_LS",     "ROUTER_MA",
    "MESSAGE",        "SERVER",        "AGENT",        "CONTAINER",     "ERROR",
    "POLICY",         "HTTP",          "CONN_MGR",     "PYTHON",        "PROTOCOL",
    "TCP_ADAPTOR",    "HTTP_ADAPTOR",  "FLOW_LOG",     "ADDRESS_WATCH", "HTTP1_OBSERVER",
    "HTTP2_OBSERVER", "HTTP2_DECODER", "AUTHSERVICE",  "DEFAULT",       NULL};

static const struct mgmt_attr router_attrs[] = {
    BASE,
    TEXT("id", C, NULL),
    TEXT("vanId", C, NULL),
    WORD("mode", C, "standalone", modes),
    TEXT("area", 0, "0"),
    SHOWN("version"),
    SHOWN("hostName"),
    NUMBER("helloIntervalSeconds", C, "1", 1, SECONDS_MAX),
    NUMBER("helloMaxAgeSeconds", C, "3", 1, SECONDS_MAX),
    NUMBER("raIntervalSeconds", C, "30", 1, SECONDS_MAX),
    NUMBER("raIntervalFluxSeconds", C, "4", 1, SECONDS_MAX),
    NUMBER("remoteLsMaxAgeSeconds", C, "60", 1, SECONDS_MAX),
    NUMBER("unreachableHoldoffSeconds", C | OLD, "1", 0, SECONDS_MAX),
    NUMBER("workerThreads", C, NULL, 1, 1024),
    NUMBER("workerFill", C, "8", 0, 1000000),
    TEXT("debugDumpFile", C | OLD, NULL),
    TEXT("saslConfigDir", C | OLD, NULL),
    TEXT("saslConfigName", C | OLD, "skrouterd"),
    FLAG("timestampsInUTC", C | OLD, NULL),
    TEXT("timestampFormat", C | OLD, NULL),
    WORD("defaultDistribution", C, "balanced", treatments),
    TEXT("metadata", C, NULL),
    TEXT("dataConnectionCount", C, "auto"),
    FLAG("dropTcpConnections", C, "true"),
    END,
};

static const struct mgmt_attr metrics_attrs[] = {
    BASE,
    COUNT("addrCount"),
    COUNT("linkCount"),
    COUNT("nodeCount"),
    COUNT("autoLinkCount"),
    COUNT("connectionCount"),
    COUNT("presettledDeliveries"),
    COUNT("droppedPresettledDeliveries"),
    COUNT("acceptedDeliveries"),
    COUNT("rejectedDeliveries"),
    COUNT("releasedDeliveries"),
    COUNT("modifiedDeliveries"),
    COUNT("deliveriesIngress"),
    COUNT("deliveriesEgress"),
    COUNT("deliveriesTransit"),
    COUNT("deliveriesIngressRouteContainer"),
    COUNT("deliveriesEgressRouteContainer"),
    COUNT("deliveriesIngressInterNetwork"),
    COUNT("deliveriesEgressInterNetwork"),
    COUNT("residentMemoryUsage"),
    COUNT("memoryUsage"),
    COUNT("uptimeSeconds"),
    COUNT("deliveriesStuck"),
    COUNT("deliveriesDelayed1Sec"),
    COUNT("deliveriesDelayed10Sec"),
    MAP("connectionCounters", 0),
    END,
};

static const struct mgmt_attr network_attrs[] = {
    BASE,
    TEXT("networkId", CU, NULL),
    TEXT("tenantId", C, NULL),
    END,
};

static const struct mgmt_attr site_attrs[] = {
    BASE,
    TEXT("location", C, NULL),
    TEXT("provider", C, NULL),
    TEXT("version", C, NULL),
    TEXT("platform", C, NULL),
    TEXT("namespace", C, NULL),
    END,
};

static const struct mgmt_attr ssl_profile_attrs[] = {
    BASE,
    TEXT("ciphers", CU, NULL),
    TEXT("protocols", CU, NULL),
    TEXT("caCertFile", CU, NULL),
    TEXT("certFile", CU, NULL),
    TEXT("privateKeyFile", CU, NULL),
    TEXT("password", CU | SECRET, NULL),
    NUMBER("ordinal", CU, "0", 0, INT64_MAX),
    NUMBER("oldestValidOrdinal", CU, "0", 0, INT64_MAX),
    TEXT("uidFormat", C | OLD, NULL),
    TEXT("uidNameMappingFile", C | OLD, NULL),
    END,
};

static const struct mgmt_attr proxy_profile_attrs[] = {
    BASE,
    TEXT("host", CU | NEEDED, NULL),
    PORT(CU | NEEDED, NULL),
    TEXT("username", CU, NULL),
    TEXT("password", CU | SECRET, NULL),
    END,
};

static const struct mgmt_attr listener_attrs[] = {
    BASE,
    TEXT("host", C, ""),
    PORT(C, "amqp"),
    WORD("socketAddressFamily", C, NULL, families),
    WORD("role", C, "normal", roles),
    NUMBER("cost", C, "1", 1, BIG),
    TEXT("sslProfile", C, NULL),
    TEXT("saslMechanisms", C, NULL),
    FLAG("authenticatePeer", C, "false"),
    FLAG("requireEncryption", C, "false"),
    FLAG("requireSsl", C, "false"),
    NUMBER("maxFrameSize", C, "16384", 512, BIG),
    NUMBER("maxSessions", C, "32768", 1, 65536),
    NUMBER("maxSessionFrames", C, NULL, 0, BIG),
    NUMBER("idleTimeoutSeconds", C, "16", 0, SECONDS_MAX),
    NUMBER("initialHandshakeTimeoutSeconds", C, "0", 0, SECONDS_MAX),
    WORD("stripAnnotations", C, "both", strips),
    NUMBER("linkCapacity", C, NULL, 1, 65535),
    TEXT("failoverUrls", C, NULL),
    FLAG("healthz", C, "true"),
    FLAG("metrics", C, "true"),
    FLAG("websockets", C | OLD, "true"),
    FLAG("http", C, "false"),
    TEXT("httpRootDir", C | OLD, NULL),
    TEXT("messageLoggingComponents", C | OLD, NULL),
    TEXT("policyVhost", C | OLD, NULL),
    MAP("openProperties", C),
    FLAG("routeContainer", C | OLD, NULL),
    END,
};

static const struct mgmt_attr connector_attrs[] = {
    BASE,
    TEXT("host", C, "127.0.0.1"),
    PORT(C, "amqp"),
    TEXT("alternates", C, NULL),
    WORD("socketAddressFamily", C, NULL, families),
    WORD("role", C, "normal", roles),
    NUMBER("cost", C, "1", 1, BIG),
    TEXT("sslProfile", C, NULL),
    TEXT("proxyProfile", C, NULL),
    TEXT("saslMechanisms", C, NULL),
    FLAG("allowRedirect", C | OLD, "true"),
    NUMBER("maxFrameSize", C, "16384", 512, BIG),
    NUMBER("maxSessions", C, "32768", 1, 65536),
    NUMBER("maxSessionFrames", C, NULL, 0, BIG),
    NUMBER("idleTimeoutSeconds", C, "16", 0, SECONDS_MAX),
    WORD("stripAnnotations", C, "both", strips),
    NUMBER("linkCapacity", C, NULL, 1, 65535),
    FLAG("verifyHostname", C, "true"),
    TEXT("saslUsername", C | OLD, NULL),
    TEXT("saslPassword", C | OLD | SECRET, NULL),
    TEXT("policyVhost", C | OLD, NULL),
    MAP("openProperties", C),
    FLAG("routeContainer", C | OLD, NULL),
    SHOWN("failoverUrls"),
    SHOWN("connectionStatus"),
    SHOWN("connectionMsg"),
    END,
};

static const struct mgmt_attr tcp_listener_attrs[] = {
    BASE,
    TEXT("address", C, NULL),
    TEXT("host", C, ""),
    PORT(C | NEEDED, NULL),
    NUMBER("backlog", C, "0", 0, BIG),
    WORD("multiAddressStrategy", C, "none", strategies),
    TEXT("siteId", C, NULL),
    TEXT("sslProfile", C, NULL),
    FLAG("authenticatePeer", C, "false"),
    WORD("observer", CU, "auto", observers),
    COUNT("connectionsOpened"),
    COUNT("connectionsClosed"),
    COUNT("bytesIn"),
    COUNT("bytesOut"),
    SHOWN("operStatus"),
    SHOWN("connectionMsg"),
    NUMBER("idleTimeoutSeconds", CU, "86400", 0, SECONDS_MAX),
    NUMBER("halfClosedTimeoutSeconds", CU, "300", 0, SECONDS_MAX),
    NUMBER("keepAliveSeconds", C, "60", 0, 32767),
    WORD("encapsulation", C, "lite", encapsulations),
    END,
};

static const struct mgmt_attr tcp_connector_attrs[] = {
    BASE,
    TEXT("address", C | NEEDED, NULL),
    TEXT("host", C, "127.0.0.1"),
    PORT(C | NEEDED, NULL),
    TEXT("siteId", C, NULL),
    TEXT("processId", C, NULL),
    TEXT("sslProfile", C, NULL),
    FLAG("verifyHostname", C, "true"),
    COUNT("connectionsOpened"),
    COUNT("connectionsClosed"),
    COUNT("bytesIn"),
    COUNT("bytesOut"),
    SHOWN("operStatus"),
    SHOWN("connectionMsg"),
    FLAG("healthCheck", C, "true"),
    NUMBER("connectTimeoutSeconds", C, "10", 1, 3600),
    NUMBER("idleTimeoutSeconds", CU, "86400", 0, SECONDS_MAX),
    NUMBER("halfClosedTimeoutSeconds", CU, "300", 0, SECONDS_MAX),
    NUMBER("keepAliveSeconds", C, "60", 0, 32767),
    END,
};

static const struct mgmt_attr listener_address_attrs[] = {
    BASE,
    TEXT("address", C | NEEDED, NULL),
    NUMBER("value", C | NEEDED, NULL, 0, BIG),
    TEXT("listener", C | NEEDED, NULL),
    COUNT("connectionsOpened"),
    END,
};

static const struct mgmt_attr log_attrs[] = {
    BASE,
    WORD("module", C | NEEDED, NULL, modules),
    TEXT("enable", CU, "default"),
    FLAG("includeTimestamp", CU | OLD, NULL),
    FLAG("includeSource", CU | OLD, NULL),
    TEXT("outputFile", CU, NULL),
    END,
};

static const struct mgmt_attr log_stats_attrs[] = {
    BASE,
    COUNT("debugCount"),
    COUNT("infoCount"),
    COUNT("warningCount"),
    COUNT("errorCount"),
    COUNT("criticalCount"),
    END,
};

static const struct mgmt_attr config_address_attrs[] = {
    BASE,
    TEXT("prefix", C, NULL),
    WORD("distribution", C, "balanced", treatments),
    TEXT("pattern", C, NULL),
    NUMBER("priority", C, NULL, 0, 9),
    END,
};

static const struct mgmt_attr auto_link_attrs[] = {
    BASE,
    TEXT("address", C, NULL),
    WORD("direction", C | NEEDED, NULL, directions),
    TEXT("connection", C, NULL),
    TEXT("containerId", C, NULL),
    TEXT("externalAddress", C, NULL),
    SHOWN("linkRef"),
    SHOWN("operStatus"),
    SHOWN("lastError"),
    END,
};

static const struct mgmt_attr address_attrs[] = {
    BASE,
    SHOWN("key"),
    SHOWN("distribution"),
    COUNT("inProcess"),
    COUNT("subscriberCount"),
    COUNT("remoteCount"),
    LIST("remoteHostRouters", 0),
    COUNT("deliveriesIngress"),
    COUNT("deliveriesEgress"),
    COUNT("deliveriesTransit"),
    COUNT("deliveriesToContainer"),
    COUNT("deliveriesFromContainer"),
    COUNT("deliveriesEgressRouteContainer"),
    COUNT("deliveriesIngressRouteContainer"),
    COUNT("deliveriesEgressInterNetwork"),
    COUNT("deliveriesIngressInterNetwork"),
    LIST("transitOutstanding", 0),
    COUNT("trackedDeliveries"),
    COUNT("priority"),
    COUNT("deliveriesRedirectedToFallback"),
    FLAG("watch", 0, NULL),
    END,
};

static const struct mgmt_attr link_attrs[] = {
    BASE,
    SHOWN("linkName"),
    SHOWN("linkType"),
    SHOWN("linkDir"),
    SHOWN("owningAddr"),
    COUNT("capacity"),
    COUNT("undeliveredCount"),
    COUNT("unsettledCount"),
    COUNT("deliveryCount"),
    SHOWN("connectionId"),
    SHOWN("operStatus"),
    COUNT("presettledCount"),
    COUNT("droppedPresettledCount"),
    COUNT("acceptedCount"),
    COUNT("rejectedCount"),
    COUNT("releasedCount"),
    COUNT("modifiedCount"),
    COUNT("deliveriesDelayed1Sec"),
    COUNT("deliveriesDelayed10Sec"),
    COUNT("deliveriesStuck"),
    COUNT("openMovedStreams"),
    LIST("ingressHistogram", 0),
    COUNT("priority"),
    COUNT("settleRate"),
    COUNT("creditAvailable"),
    COUNT("zeroCreditSeconds"),
    END,
};

static const struct mgmt_attr connection_attrs[] = {
    TEXT("name", 0, NULL),
    SHOWN("identity"),
    SHOWN("host"),
    SHOWN("localSocket"),
    SHOWN("role"),
    SHOWN("protocol"),
    SHOWN("dir"),
    SHOWN("container"),
    SHOWN("sasl"),
    FLAG("isAuthenticated", 0, NULL),
    SHOWN("user"),
    FLAG("isEncrypted", 0, NULL),
    SHOWN("sslProto"),
    SHOWN("sslCipher"),
    MAP("properties", 0),
    COUNT("sslSsf"),
    SHOWN("type"),
    FLAG("ssl", 0, NULL),
    FLAG("opened", 0, NULL),
    FLAG("active", 0, NULL),
    WORD("adminStatus", U, NULL, admin_statuses),
    SHOWN("operStatus"),
    COUNT("uptimeSeconds"),
    COUNT("lastDlvSeconds"),
    FLAG("enableProtocolTrace", U, NULL),
    SHOWN("meshId"),
    COUNT("tlsOrdinal"),
    SHOWN("groupCorrelationId"),
    COUNT("groupOrdinal"),
    END,
};

static const struct mgmt_attr node_attrs[] = {
    BASE,
    SHOWN("id"),
    COUNT("protocolVersion"),
    COUNT("instance"),
    LIST("linkState", 0),
    SHOWN("nextHop"),
    LIST("validOrigins", 0),
    SHOWN("address"),
    COUNT("routerLink"),
    COUNT("cost"),
    COUNT("lastTopoChange"),
    COUNT("index"),
    END,
};

static const struct mgmt_attr allocator_attrs[] = {
    BASE,
    SHOWN("typeName"),
    COUNT("typeSize"),
    COUNT("transferBatchSize"),
    COUNT("localFreeListMax"),
    COUNT("globalFreeListMax"),
    COUNT("totalAllocFromHeap"),
    COUNT("totalFreeToHeap"),
    COUNT("heldByThreads"),
    COUNT("batchesRebalancedToThreads"),
    COUNT("batchesRebalancedToGlobal"),
    END,
};

static const struct mgmt_attr tcp_connection_attrs[] = {
    BASE,
    SHOWN("address"),
    SHOWN("host"),
    SHOWN("direction"),
    COUNT("bytesIn"),
    COUNT("bytesOut"),
    COUNT("uptimeSeconds"),
    COUNT("lastInSeconds"),
    COUNT("lastOutSeconds"),
    SHOWN("service"),
    SHOWN("replyTo"),
    SHOWN("state"),
    SHOWN("waitsFor"),
    COUNT("unacknowledged"),
    COUNT("unsent"),
    END,
};

static const struct mgmt_attr policy_attrs[] = {
    BASE,
    NUMBER("maxConnections", C, "65535", 0, BIG),
    NUMBER("maxMessageSize", C, NULL, 0, INT64_MAX),
    FLAG("enableVhostPolicy", C, "false"),
    FLAG("enableVhostNamePatterns", C, "false"),
    TEXT("policyDir", C, NULL),
    TEXT("defaultVhost", C, "$default"),
    COUNT("connectionsProcessed"),
    COUNT("connectionsDenied"),
    COUNT("connectionsCurrent"),
    COUNT("linksDenied"),
    COUNT("maxMessageSizeDenied"),
    COUNT("totalDenials"),
    END,
};

static const struct mgmt_attr vhost_attrs[] = {
    BASE,
    TEXT("hostname", C | NEEDED, NULL),
    NUMBER("maxConnections", CU, "65535", 0, 65535),
    NUMBER("maxMessageSize", CU, NULL, 0, INT64_MAX),
    NUMBER("maxConnectionsPerUser", CU, "65535", 0, 65535),
    NUMBER("maxConnectionsPerHost", CU, "65535", 0, 65535),
    FLAG("allowUnknownUser", CU, "false"),
    TEXT("aliases", CU, NULL),
    MAP("groups", CU),
    END,
};

static const struct mgmt_attr vhost_group_attrs[] = {
    BASE,
    TEXT("users", 0, NULL),
    TEXT("remoteHosts", 0, NULL),
    NUMBER("maxFrameSize", 0, NULL, 0, BIG),
    NUMBER("maxMessageSize", 0, NULL, 0, INT64_MAX),
    NUMBER("maxSessionWindow", 0, NULL, 0, BIG),
    NUMBER("maxSessions", 0, NULL, 0, 65535),
    NUMBER("maxSenders", 0, NULL, 0, 65535),
    NUMBER("maxReceivers", 0, NULL, 0, 65535),
    FLAG("allowDynamicSource", 0, "false"),
    FLAG("allowAnonymousSender", 0, "false"),
    FLAG("allowUserIdProxy", 0, "false"),
    FLAG("allowWaypointLinks", 0, "true"),
    FLAG("allowFallbackLinks", 0, "true"),
    FLAG("allowDynamicLinkRoutes", 0, "true"),
    FLAG("allowAdminStatusUpdate", 0, "true"),
    SHOWN("sources"),
    SHOWN("targets"),
    SHOWN("sourcePattern"),
    SHOWN("targetPattern"),
    NUMBER("maxConnectionsPerUser", 0, NULL, 0, 65535),
    NUMBER("maxConnectionsPerHost", 0, NULL, 0, 65535),
    END,
};

static const struct mgmt_attr vhost_stats_attrs[] = {
    BASE,
    SHOWN("id"),
    COUNT("connectionsApproved"),
    COUNT("connectionsDenied"),
    COUNT("connectionsCurrent"),
    MAP("perUserState", 0),
    MAP("perHostState", 0),
    COUNT("sessionDenied"),
    COUNT("senderDenied"),
    COUNT("receiverDenied"),
    COUNT("maxMessageSizeDenied"),
    END,
};

enum {
    CREATE = MGMT_OP_CREATE,
    READ = MGMT_OP_READ,
    UPDATE = MGMT_OP_UPDATE,
    DELETE = MGMT_OP_DELETE,
    ALL = CREATE | READ | UPDATE | DELETE,
};

enum { CONFIG = 1, SINGLE = 2 };

#define TYPE(id, n, c, o, f)                                                                       \
    static const struct mgmt_type id##_type = {.name = n,                                          \
                                               .config_name = c,                                   \
                                               .ops = o,                                           \
                                               .in_config = ((f)&CONFIG) != 0,                     \
                                               .is_single = ((f)&SINGLE) != 0,                     \
                                               .attrs = id##_attrs}

TYPE(router, "router", NULL, READ, CONFIG | SINGLE);
TYPE(metrics, "routerMetrics", NULL, READ, SINGLE);
TYPE(network, "network", NULL, READ | UPDATE, CONFIG | SINGLE);
TYPE(site, "site", NULL, READ, CONFIG | SINGLE);
TYPE(ssl_profile, "sslProfile", NULL, ALL, CONFIG);
TYPE(proxy_profile, "proxyProfile", NULL, ALL, CONFIG);
TYPE(listener, "listener", NULL, CREATE | READ | DELETE, CONFIG);
TYPE(connector, "connector", NULL, CREATE | READ | DELETE, CONFIG);
TYPE(tcp_listener, "tcpListener", NULL, ALL, CONFIG);
TYPE(tcp_connector, "tcpConnector", NULL, ALL, CONFIG);
TYPE(listener_address, "listenerAddress", NULL, CREATE | READ | DELETE, CONFIG);
TYPE(log, "log", NULL, READ | UPDATE, CONFIG);
TYPE(log_stats, "logStats", NULL, READ, 0);
TYPE(config_address, "router.config.address", "address", CREATE | READ | DELETE, CONFIG);
TYPE(auto_link, "router.config.autoLink", "autoLink", CREATE | READ | DELETE, CONFIG);
TYPE(address, "router.address", NULL, READ, 0);
TYPE(link, "router.link", NULL, READ, 0);
TYPE(connection, "connection", NULL, READ | UPDATE, 0);
TYPE(node, "router.node", NULL, READ, 0);
TYPE(allocator, "allocator", NULL, READ, 0);
TYPE(tcp_connection, "tcpConnection", NULL, READ, 0);
TYPE(policy, "policy", NULL, READ, CONFIG | SINGLE);
TYPE(vhost, "vhost", NULL, ALL, CONFIG);
TYPE(vhost_group, "vhostUserGroupSettings", NULL, READ, 0);
TYPE(vhost_stats, "vhostStats", NULL, READ, 0);

const struct mgmt_type *const mgmt_types[] = {
    &router_type,
    &metrics_type,
    &network_type,
    &site_type,
    &ssl_profile_type,
    &proxy_profile_type,
    &listener_type,
    &connector_type,
    &tcp_listener_type,
    &tcp_connector_type,
    &listener_address_type,
    &log_type,
    &log_stats_type,
    &config_address_type,
    &auto_link_type,
    &address_type,
    &link_type,
    &connection_type,
    &node_type,
    &allocator_type,
    &tcp_connection_type,
    &policy_type,
    &vhost_type,
    &vhost_group_type,
    &vhost_stats_type,
    NULL,
};

const struct mgmt_type *mgmt_find_type(struct str name)
{
    bool is_full = str_starts(name, STR("io.skupper.router."));

    if (is_full)
        name = str_skip(name, strlen("io.skupper.router."));
    for (int i = 0; mgmt_types[i]; i++) {
        const char *config_name = mgmt_types[i]->config_name;

        if (str_is(name, mgmt_types[i]->name) ||
            (!is_full && config_name && str_is(name, config_name)))
            return mgmt_types[i];
    }
    return NULL;
}
