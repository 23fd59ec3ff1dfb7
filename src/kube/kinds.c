// SPDX-License-Identifier: Apache-2.0
// The kinds we have to do with, and where objects stand in the API.
#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"
#include "kube/inside.h"

#define SKUPPER "skupper.io", "v2alpha1"

static const struct kube_kind kinds[] = {
    {"", "v1", "ConfigMap", "configmaps", false},
    {"", "v1", "Event", "events", false},
    {"", "v1", "Namespace", "namespaces", true},
    {"", "v1", "Node", "nodes", true},
    {"", "v1", "Pod", "pods", false},
    {"", "v1", "Secret", "secrets", false},
    {"", "v1", "Service", "services", false},
    {"", "v1", "ServiceAccount", "serviceaccounts", false},
    {"apps", "v1", "DaemonSet", "daemonsets", false},
    {"apps", "v1", "Deployment", "deployments", false},
    {"apps", "v1", "ReplicaSet", "replicasets", false},
    {"apps", "v1", "StatefulSet", "statefulsets", false},
    {"apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", true},
    {"authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", true},
    {"coordination.k8s.io", "v1", "Lease", "leases", false},
    {"discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", false},
    {"gateway.networking.k8s.io", "v1", "Gateway", "gateways", false},
    {"gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", true},
    {"gateway.networking.k8s.io", "v1alpha2", "TLSRoute", "tlsroutes", false},
    {"networking.k8s.io", "v1", "Ingress", "ingresses", false},
    {"networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", false},
    {"policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", false},
    {"projectcontour.io", "v1", "HTTPProxy", "httpproxies", false},
    {"rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", true},
    {"rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", true},
    {"rbac.authorization.k8s.io", "v1", "Role", "roles", false},
    {"rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", false},
    {"route.openshift.io", "v1", "Route", "routes", false},
    {SKUPPER, "AccessGrant", "accessgrants", false},
    {SKUPPER, "AccessToken", "accesstokens", false},
    {SKUPPER, "AttachedConnector", "attachedconnectors", false},
    {SKUPPER, "AttachedConnectorBinding", "attachedconnectorbindings", false},
    {SKUPPER, "Certificate", "certificates", false},
    {SKUPPER, "Connector", "connectors", false},
    {SKUPPER, "Link", "links", false},
    {SKUPPER, "Listener", "listeners", false},
    {SKUPPER, "MultiKeyListener", "multikeylisteners", false},
    {SKUPPER, "RouterAccess", "routeraccesses", false},
    {SKUPPER, "SecuredAccess", "securedaccesses", false},
    {SKUPPER, "Site", "sites", false},
};

const struct kube_kind *kube_kind(const char *api_version, const char *kind)
{
    const char *slash = strchr(api_version, '/');
    struct str group = {api_version, slash ? (size_t)(slash - api_version) : 0};
    const char *version = slash ? slash + 1 : api_version;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].kind, kind) == 0 && str_is(group, kinds[i].group) &&
            strcmp(kinds[i].version, version) == 0)
            return &kinds[i];
    return NULL;
}

const struct kube_kind *kube_kind_of(const json_t *object)
{
    const char *api_version = json_string_value(json_object_get(object, "apiVersion"));
    const char *kind = json_string_value(json_object_get(object, "kind"));

    return api_version && kind ? kube_kind(api_version, kind) : NULL;
}

void text_add(struct text *t, struct str s)
{
    if (t->len + s.len + 1 > t->size) {
        t->size = (t->len + s.len + 1) * 2;
        t->data = xrealloc(t->data, t->size, 1);
    }
    if (s.len)
        memcpy(t->data + t->len, s.ptr, s.len);
    t->len += s.len;
    t->data[t->len] = '\0';
}

void text_add_escaped(struct text *t, const char *s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        char coded[] = {'%', hex[c >> 4], hex[c & 15]};

        if (isalnum(c) || strchr("-._~", c))
            text_add(t, (struct str){s, 1});
        else
            text_add(t, (struct str){coded, 3});
    }
}

void text_add_param(struct text *t, const char *name, const char *value)
{
    text_add(t, strchr(t->data, '?') ? STR("&") : STR("?"));
    text_add(t, str_of(name));
    text_add(t, STR("="));
    text_add_escaped(t, value);
}

static void add_step(struct text *t, const char *step)
{
    text_add(t, STR("/"));
    text_add_escaped(t, step);
}

void kind_path(struct text *t, const struct kube_kind *k, const char *ns, const char *name,
               const char *subresource)
{
    text_add(t, k->group[0] ? STR("/apis/") : STR("/api"));
    text_add(t, str_of(k->group));
    add_step(t, k->version);
    if (ns && ns[0] && !k->is_cluster) {
        add_step(t, "namespaces");
        add_step(t, ns);
    }
    add_step(t, k->plural);
    if (name)
        add_step(t, name);
    if (subresource)
        add_step(t, subresource);
}
