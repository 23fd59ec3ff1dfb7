// SPDX-License-Identifier: Apache-2.0
// The kinds that a plan reads, and which of their fields: what is not named here is not kept.
#include "controller/inside.h"

#define KEEP(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

#define OWN "metadata.labels", "metadata.annotations", "metadata.ownerReferences"
#define AGE "metadata.creationTimestamp"

// Of objects of others that annotations make to services.
#define WORKLOAD "metadata.annotations[skupper.io/*]", AGE
#define FIRST_PORTS "spec.template.spec.containers.ports.containerPort"

const struct controller_kind controller_kinds[] = {
    {SKUPPER_API, "Site", NULL, true, NULL, NULL},
    {SKUPPER_API, "Link", NULL, true, NULL, NULL},
    {SKUPPER_API, "Listener", NULL, true, NULL, NULL},
    {SKUPPER_API, "MultiKeyListener", NULL, true, NULL, NULL},
    {SKUPPER_API, "Connector", NULL, true, NULL, NULL},
    {SKUPPER_API, "AttachedConnector", NULL, true, NULL, NULL},
    {SKUPPER_API, "AttachedConnectorBinding", NULL, true, NULL, NULL},
    {SKUPPER_API, "AccessGrant", NULL, true, NULL, NULL},
    {SKUPPER_API, "AccessToken", NULL, true, NULL, NULL},
    {SKUPPER_API, "RouterAccess", NULL, true, NULL, NULL},
    {SKUPPER_API, "SecuredAccess", NULL, true, NULL, NULL},
    {SKUPPER_API, "Certificate", NULL, true, NULL, NULL},
    {"v1", "Pod",
     KEEP("metadata.labels", "status.phase", "status.podIP", "status.conditions.type",
          "status.conditions.status", "status.conditions.message"),
     false, NULL, NULL},
    {"v1", "Service", KEEP(OWN, AGE, "spec", "status.loadBalancer"), false, NULL, NULL},
    {"v1", "ServiceAccount", KEEP(OWN), false, NULL, NULL},
    {"v1", "Secret",
     KEEP(OWN, "type", "data[ca.crt]", "data[tls.crt]", "data[tls.key]", "data.host", "data.port",
          "data.username"),
     false, NULL, NULL},
    {"v1", "ConfigMap",
     KEEP(OWN, "data[skrouterd.json]", "data.NetworkStatus", "data.controller", "data.name",
          "data.kind", "data.labelSelector", "data.exclude", "data[router-*]", "data[adaptor-*]",
          "data.CONTROLLER_LOG_LEVEL"),
     false, NULL, NULL},
    {"v1", "ConfigMap", KEEP(OWN, "data"), false, NULL, SITE_MAP},
    {"v1", "ConfigMap", KEEP(OWN, "data"), false, NULL, "skupper-services"},
    {"apps/v1", "Deployment", KEEP(OWN, AGE, "spec"), false, NULL, NULL},
    {"apps/v1", "StatefulSet",
     KEEP(WORKLOAD, "spec.selector.matchLabels", "spec.serviceName", "spec.replicas", FIRST_PORTS),
     true, NULL, NULL},
    {"apps/v1", "DaemonSet", KEEP(WORKLOAD, "spec.selector.matchLabels", FIRST_PORTS), true, NULL,
     NULL},
    {"discovery.k8s.io/v1", "EndpointSlice", NULL, true, SLICE_LABEL "=" SLICE_VALUE, NULL},
    {"rbac.authorization.k8s.io/v1", "Role", NULL, false, NULL, NULL},
    {"rbac.authorization.k8s.io/v1", "RoleBinding", NULL, false, NULL, NULL},
    {"networking.k8s.io/v1", "Ingress", NULL, false, NULL, NULL},
    {"networking.k8s.io/v1", "NetworkPolicy", NULL, true, NULL, SITE_POLICY},
    {"route.openshift.io/v1", "Route", NULL, true, NULL, NULL},
    {"projectcontour.io/v1", "HTTPProxy", NULL, true, NULL, NULL},
    {"gateway.networking.k8s.io/v1", "Gateway", NULL, true, NULL, NULL},
    {"gateway.networking.k8s.io/v1alpha2", "TLSRoute", NULL, true, NULL, NULL},
    {NULL, NULL, NULL, false, NULL, NULL},
};
