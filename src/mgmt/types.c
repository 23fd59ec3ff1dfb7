// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <string.h>

#include "mgmt/mgmt.h"

// Every entity type with its attributes: one table for configuration files, for management and for
// docs. Names, defaults and order are those that existing tools know.

#define C MGMT_CREATE
#define CU (MGMT_CREATE | MGMT_UPDATE)
#define U MGMT_UPDATE
#define R 0u
#define NEEDED MGMT_REQUIRED
#define OLD MGMT_IGNORED

#define TEXT(n, f, d)                                                                              \
    {                                                                                              \
        n, MGMT_STRING, f, d, NULL, 0, 0                                                           \
    }
#define NUMBER(n, f, d, lo, hi)                                                                    \
    {                                                                                              \
        n, MGMT_INT, f, d, NULL, lo, hi                                                            \
    }
#define FLAG(n, f, d)                                                                              \
    {                                                                                              \
        n, MGMT_BOOL, f, d, NULL, 0, 0                                                             \
    }
#define WORD(n, f, d, words)                                                                       \
    {                                                                                              \
        n, MGMT_ENUM, f, d, words, 0, 0                                                            \
    }
#define MAP(n, f)                                                                                  \
    {                                                                                              \
        n, MGMT_MAP, f, NULL, NULL, 0, 0                                                           \
    }
#define LIST(n, f)                                                                                 \
    {                                                                                              \
        n, MGMT_LIST, f, NULL, NULL, 0, 0                                                          \
    }
#define COUNT(n)                                                                                   \
    {                                                                                              \
        n, MGMT_INT, R, NULL, NULL, INT64_MIN, INT64_MAX                                           \
    }
#define SHOWN(n) TEXT(n, R, NULL)
#define END                                                                                        \
    {                                                                                              \
        NULL, MGMT_STRING, 0, NULL, NULL, 0, 0                                                     \
    }
#define BASE TEXT("name", C, NULL), SHOWN("identity"), SHOWN("type")

enum { BIG = INT32_MAX };

static const char *const modes[] = {"standalone", "interior", "edge", NULL};
static const char *const roles[] = {
    "normal", "inter-router", "route-container", "edge", "inter-edge", "inter-network", NULL};
static const char *const treatments[] = {"multicast", "closest", "balanced", "unavailable", NULL};
static const char *const strips[] = {"in", "out", "both", "no", NULL};
static const char *const families[] = {"IPv4", "IPv6", NULL};
static const char *const directions[] = {"in", "out", NULL};
static const char *const strategies[] = {"none", "priority", "weighted", NULL};
static const char *const observers[] = {"auto", "none", "http1", "http2", NULL};
static const char *const modules[] = {
    "ROUTER",         "ROUTER_CORE",   "ROUTER_HELLO",  "ROUTER_LS",
    "ROUTER_MA",      "MESSAGE",       "SERVER",        "AGENT",
    "CONTAINER",      "ERROR",         "POLICY",        "HTTP",
    "CONN_MGR",       "PYTHON",        "PROTOCOL",      "TCP_ADAPTOR",
    "HTTP_ADAPTOR",   "FLOW_LOG",      "ADDRESS_WATCH", "HTTP1_OBSERVER",
    "HTTP2_OBSERVER", "HTTP2_DECODER", "DEFAULT",       NULL};

static const struct mgmt_attr router_attrs[] = {
    BASE,
    TEXT("id", C, NULL),
    TEXT("vanId", C, NULL),
    WORD("mode", C, "standalone", modes),
    SHOWN("area"),
    SHOWN("version"),
    SHOWN("hostName"),
    NUMBER("helloIntervalSeconds", C, "1", 1, BIG),
    NUMBER("helloMaxAgeSeconds", C, "3", 1, BIG),
    NUMBER("raIntervalSeconds", C, "30", 1, BIG),
    NUMBER("raIntervalFluxSeconds", C, "4", 1, BIG),
    NUMBER("remoteLsMaxAgeSeconds", C, "60", 1, BIG),
    NUMBER("unreachableHoldoffSeconds", C | OLD, "1", 0, BIG),
    NUMBER("workerThreads", C, NULL, 1, 1024),
    TEXT("debugDumpFile", C | OLD, NULL),
    TEXT("saslConfigDir", C | OLD, NULL),
    TEXT("saslConfigName", C | OLD, "skrouterd"),
    FLAG("timestampsInUTC", C | OLD, NULL),
    TEXT("timestampFormat", C | OLD, NULL),
    WORD("defaultDistribution", C, "balanced", treatments),
    TEXT("metadata", C, NULL),
    TEXT("dataConnectionCount", C, "auto"),
    FLAG("dropTcpConnections", C, "true"),
    END};

static const struct mgmt_attr metrics_attrs[] = {BASE,
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
                                                 MAP("connectionCounters", R),
                                                 END};

static const struct mgmt_attr network_attrs[] = {BASE, TEXT("networkId", CU, NULL),
                                                 TEXT("tenantId", C, NULL), END};

static const struct mgmt_attr site_attrs[] = {BASE,
                                              TEXT("location", C, NULL),
                                              TEXT("provider", C, NULL),
                                              TEXT("version", C, NULL),
                                              TEXT("platform", C, NULL),
                                              TEXT("namespace", C, NULL),
                                              END};

static const struct mgmt_attr ssl_profile_attrs[] = {
    BASE,
    TEXT("ciphers", CU, NULL),
    TEXT("protocols", CU, NULL),
    TEXT("caCertFile", CU, NULL),
    TEXT("certFile", CU, NULL),
    TEXT("privateKeyFile", CU, NULL),
    TEXT("password", CU | MGMT_SECRET, NULL),
    NUMBER("ordinal", CU, "0", 0, INT64_MAX),
    NUMBER("oldestValidOrdinal", CU, "0", 0, INT64_MAX),
    TEXT("uidFormat", C | OLD, NULL),
    TEXT("uidNameMappingFile", C | OLD, NULL),
    END};

static const struct mgmt_attr proxy_profile_attrs[] = {BASE,
                                                       TEXT("host", CU | NEEDED, NULL),
                                                       TEXT("port", CU | NEEDED, NULL),
                                                       TEXT("username", CU, NULL),
                                                       TEXT("password", CU | MGMT_SECRET, NULL),
                                                       END};

#define CONNECTION_COMMON                                                                          \
    WORD("socketAddressFamily", C, NULL, families), WORD("role", C, "normal", roles),              \
        NUMBER("cost", C, "1", 1, BIG), TEXT("sslProfile", C, NULL),                               \
        TEXT("saslMechanisms", C, NULL), NUMBER("maxFrameSize", C, "16384", 512, BIG),             \
        NUMBER("maxSessions", C, "32768", 1, 65536), NUMBER("maxSessionFrames", C, NULL, 0, BIG),  \
        NUMBER("idleTimeoutSeconds", C, "16", 0, BIG / 1000),                                      \
        WORD("stripAnnotations", C, "both", strips), NUMBER("linkCapacity", C, NULL, 1, 65535),    \
        TEXT("policyVhost", C | OLD, NULL), LIST("messageLoggingComponents", C | OLD),             \
        MAP("openProperties", C)

static const struct mgmt_attr listener_attrs[] = {
    BASE,
    TEXT("host", C, ""),
    TEXT("port", C, "amqp"),
    CONNECTION_COMMON,
    FLAG("authenticatePeer", C, "false"),
    FLAG("requireEncryption", C, "false"),
    FLAG("requireSsl", C, "false"),
    NUMBER("initialHandshakeTimeoutSeconds", C, "0", 0, BIG / 1000),
    TEXT("failoverUrls", C, NULL),
    FLAG("healthz", C, "true"),
    FLAG("metrics", C, "true"),
    FLAG("websockets", C | OLD, "true"),
    FLAG("http", C, "false"),
    TEXT("httpRootDir", C | OLD, NULL),
    END};

static const struct mgmt_attr connector_attrs[] = {
    BASE,
    TEXT("host", C, "127.0.0.1"),
    TEXT("port", C, "amqp"),
    CONNECTION_COMMON,
    TEXT("proxyProfile", C, NULL),
    FLAG("allowRedirect", C | OLD, "true"),
    FLAG("verifyHostname", C, "true"),
    TEXT("saslUsername", C | OLD, NULL),
    TEXT("saslPassword", C | OLD | MGMT_SECRET, NULL),
    SHOWN("failoverUrls"),
    SHOWN("connectionStatus"),
    SHOWN("connectionMsg"),
    END};

static const struct mgmt_attr tcp_listener_attrs[] = {
    BASE,
    TEXT("address", C, NULL),
    TEXT("host", C, ""),
    TEXT("port", C | NEEDED, NULL),
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
    END};

static const struct mgmt_attr tcp_connector_attrs[] = {BASE,
                                                       TEXT("address", C | NEEDED, NULL),
                                                       TEXT("host", C, "127.0.0.1"),
                                                       TEXT("port", C | NEEDED, NULL),
                                                       TEXT("siteId", C, NULL),
                                                       TEXT("processId", C, NULL),
                                                       TEXT("sslProfile", C, NULL),
                                                       FLAG("verifyHostname", C, "true"),
                                                       COUNT("connectionsOpened"),
                                                       COUNT("connectionsClosed"),
                                                       COUNT("bytesIn"),
                                                       COUNT("bytesOut"),
                                                       END};

static const struct mgmt_attr listener_address_attrs[] = {BASE,
                                                          TEXT("address", C | NEEDED, NULL),
                                                          NUMBER("value", C | NEEDED, NULL, 0, BIG),
                                                          TEXT("listener", C | NEEDED, NULL),
                                                          COUNT("connectionsOpened"),
                                                          END};

static const struct mgmt_attr log_attrs[] = {BASE,
                                             WORD("module", C | NEEDED, NULL, modules),
                                             TEXT("enable", CU, "default"),
                                             FLAG("includeTimestamp", CU | OLD, NULL),
                                             FLAG("includeSource", CU | OLD, NULL),
                                             TEXT("outputFile", CU, NULL),
                                             END};

static const struct mgmt_attr log_stats_attrs[] = {BASE,
                                                   COUNT("debugCount"),
                                                   COUNT("infoCount"),
                                                   COUNT("warningCount"),
                                                   COUNT("errorCount"),
                                                   COUNT("criticalCount"),
                                                   END};

static const struct mgmt_attr config_address_attrs[] = {
    BASE,
    TEXT("prefix", C, NULL),
    WORD("distribution", C, "balanced", treatments),
    TEXT("pattern", C, NULL),
    NUMBER("priority", C, NULL, 0, 9),
    END};

static const struct mgmt_attr auto_link_attrs[] = {BASE,
                                                   TEXT("address", C | NEEDED, NULL),
                                                   WORD("direction", C | NEEDED, NULL, directions),
                                                   TEXT("connection", C, NULL),
                                                   TEXT("containerId", C, NULL),
                                                   TEXT("externalAddress", C, NULL),
                                                   SHOWN("linkRef"),
                                                   SHOWN("operStatus"),
                                                   SHOWN("lastError"),
                                                   END};

static const struct mgmt_attr address_attrs[] = {BASE,
                                                 SHOWN("key"),
                                                 SHOWN("distribution"),
                                                 COUNT("inProcess"),
                                                 COUNT("subscriberCount"),
                                                 COUNT("remoteCount"),
                                                 LIST("remoteHostRouters", R),
                                                 COUNT("deliveriesIngress"),
                                                 COUNT("deliveriesEgress"),
                                                 COUNT("deliveriesTransit"),
                                                 COUNT("deliveriesToContainer"),
                                                 COUNT("deliveriesFromContainer"),
                                                 COUNT("deliveriesEgressRouteContainer"),
                                                 COUNT("deliveriesIngressRouteContainer"),
                                                 COUNT("deliveriesEgressInterNetwork"),
                                                 COUNT("deliveriesIngressInterNetwork"),
                                                 COUNT("transitOutstanding"),
                                                 COUNT("trackedDeliveries"),
                                                 COUNT("priority"),
                                                 COUNT("deliveriesRedirectedToFallback"),
                                                 FLAG("watch", R, NULL),
                                                 END};

static const struct mgmt_attr link_attrs[] = {BASE,
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
                                              LIST("ingressHistogram", R),
                                              COUNT("priority"),
                                              COUNT("settleRate"),
                                              COUNT("creditAvailable"),
                                              COUNT("zeroCreditSeconds"),
                                              END};

static const struct mgmt_attr connection_attrs[] = {BASE,
                                                    SHOWN("host"),
                                                    SHOWN("localSocket"),
                                                    SHOWN("role"),
                                                    SHOWN("protocol"),
                                                    SHOWN("dir"),
                                                    SHOWN("container"),
                                                    SHOWN("sasl"),
                                                    FLAG("isAuthenticated", R, NULL),
                                                    SHOWN("user"),
                                                    FLAG("isEncrypted", R, NULL),
                                                    SHOWN("sslProto"),
                                                    SHOWN("sslCipher"),
                                                    MAP("properties", R),
                                                    COUNT("sslSsf"),
                                                    FLAG("ssl", R, NULL),
                                                    FLAG("opened", R, NULL),
                                                    FLAG("active", R, NULL),
                                                    TEXT("adminStatus", U, NULL),
                                                    SHOWN("operStatus"),
                                                    COUNT("uptimeSeconds"),
                                                    COUNT("lastDlvSeconds"),
                                                    FLAG("enableProtocolTrace", U, NULL),
                                                    SHOWN("meshId"),
                                                    COUNT("tlsOrdinal"),
                                                    SHOWN("groupCorrelationId"),
                                                    COUNT("groupOrdinal"),
                                                    END};

static const struct mgmt_attr node_attrs[] = {BASE,
                                              SHOWN("id"),
                                              COUNT("protocolVersion"),
                                              COUNT("instance"),
                                              LIST("linkState", R),
                                              SHOWN("nextHop"),
                                              LIST("validOrigins", R),
                                              SHOWN("address"),
                                              COUNT("routerLink"),
                                              COUNT("cost"),
                                              COUNT("lastTopoChange"),
                                              COUNT("index"),
                                              END};

static const struct mgmt_attr tcp_connection_attrs[] = {BASE,
                                                        SHOWN("address"),
                                                        SHOWN("host"),
                                                        SHOWN("direction"),
                                                        COUNT("bytesIn"),
                                                        COUNT("bytesOut"),
                                                        COUNT("uptimeSeconds"),
                                                        COUNT("lastInSeconds"),
                                                        COUNT("lastOutSeconds"),
                                                        END};

enum {
    CREATE = MGMT_OP_CREATE,
    READ = MGMT_OP_READ,
    UPDATE = MGMT_OP_UPDATE,
    DELETE = MGMT_OP_DELETE,
};

#define TYPE(id, name, config, ops, in_config, single, attrs)                                      \
    static const struct mgmt_type id = {name, config, ops, in_config, single, attrs}

TYPE(router, "router", NULL, READ, true, true, router_attrs);
TYPE(metrics, "routerMetrics", NULL, READ, false, true, metrics_attrs);
TYPE(network, "network", NULL, READ | UPDATE, true, true, network_attrs);
TYPE(site, "site", NULL, READ, true, true, site_attrs);
TYPE(ssl_profile, "sslProfile", NULL, CREATE | READ | UPDATE | DELETE, true, false,
     ssl_profile_attrs);
TYPE(proxy_profile, "proxyProfile", NULL, CREATE | READ | UPDATE | DELETE, true, false,
     proxy_profile_attrs);
TYPE(listener, "listener", NULL, CREATE | READ | DELETE, true, false, listener_attrs);
TYPE(connector, "connector", NULL, CREATE | READ | DELETE, true, false, connector_attrs);
TYPE(tcp_listener, "tcpListener", NULL, CREATE | READ | UPDATE | DELETE, true, false,
     tcp_listener_attrs);
TYPE(tcp_connector, "tcpConnector", NULL, CREATE | READ | DELETE, true, false, tcp_connector_attrs);
TYPE(listener_address, "listenerAddress", NULL, CREATE | READ | DELETE, true, false,
     listener_address_attrs);
TYPE(log_type, "log", NULL, READ | UPDATE, true, false, log_attrs);
TYPE(log_stats, "logStats", NULL, READ, false, false, log_stats_attrs);
TYPE(config_address, "router.config.address", "address", CREATE | READ | DELETE, true, false,
     config_address_attrs);
TYPE(auto_link, "router.config.autoLink", "autoLink", CREATE | READ | DELETE, true, false,
     auto_link_attrs);
TYPE(address, "router.address", NULL, READ, false, false, address_attrs);
TYPE(link, "router.link", NULL, READ, false, false, link_attrs);
TYPE(connection, "connection", NULL, READ | UPDATE, false, false, connection_attrs);
TYPE(node, "router.node", NULL, READ, false, false, node_attrs);
TYPE(tcp_connection, "tcpConnection", NULL, READ, false, false, tcp_connection_attrs);

const struct mgmt_type *const mgmt_types[] = {&router,
                                              &metrics,
                                              &network,
                                              &site,
                                              &ssl_profile,
                                              &proxy_profile,
                                              &listener,
                                              &connector,
                                              &tcp_listener,
                                              &tcp_connector,
                                              &listener_address,
                                              &log_type,
                                              &log_stats,
                                              &config_address,
                                              &auto_link,
                                              &address,
                                              &link,
                                              &connection,
                                              &node,
                                              &tcp_connection,
                                              NULL};

const struct mgmt_type *mgmt_find_type(struct str name)
{
    if (str_starts(name, STR("io.skupper.router.")))
        name = str_skip(name, strlen("io.skupper.router."));
    for (int i = 0; mgmt_types[i]; i++)
        if (str_is(name, mgmt_types[i]->name) ||
            (mgmt_types[i]->config_name && str_is(name, mgmt_types[i]->config_name)))
            return mgmt_types[i];
    return NULL;
}
