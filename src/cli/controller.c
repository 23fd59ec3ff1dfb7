// SPDX-License-Identifier: Apache-2.0
// The controller of sites in a cluster. Each of its flags has an environment variable too, which
// counts where the flag is not given; an empty one is as if it were not set.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/inside.h"
#include "controller/controller.h"

static const struct {
    const char *flag, *variable;
} variables[] = {
    {"watch-namespace", "WATCH_NAMESPACE"},
    {"name", "CONTROLLER_NAME"},
    {"require-explicit-control", "REQUIRE_EXPLICIT_CONTROL"},
    {"disable-security-context", "DISABLE_SECURITY_CONTEXT"},
    {"without-definitions", "SKUPPER_WITHOUT_DEFINITIONS"},
    {"enable-grants", "SKUPPER_ENABLE_GRANTS"},
    {"grant-server-autoconfigure", "SKUPPER_GRANT_SERVER_AUTOCONFIGURE"},
    {"grant-server-base-url", "SKUPPER_GRANT_SERVER_BASE_URL"},
    {"grant-server-port", "SKUPPER_GRANT_SERVER_PORT"},
    {"grant-server-tls-credentials", "SKUPPER_GRANT_SERVER_TLS_CREDENTIALS"},
    {"claims-base-url", "SKUPPER_CLAIMS_BASE_URL"},
    {"claims-port", "SKUPPER_CLAIMS_PORT"},
    {"enabled-access-types", "SKUPPER_ENABLED_ACCESS_TYPES"},
    {"default-access-type", "SKUPPER_DEFAULT_ACCESS_TYPE"},
    {"cluster-host", "SKUPPER_CLUSTER_HOST"},
    {"ingress-domain", "SKUPPER_INGRESS_DOMAIN"},
    {"ingress-class-name", "SKUPPER_INGRESS_CLASS_NAME"},
    {"http-proxy-domain", "SKUPPER_HTTP_PROXY_DOMAIN"},
    {"gateway-class", "SKUPPER_GATEWAY_CLASS"},
    {"gateway-domain", "SKUPPER_GATEWAY_DOMAIN"},
    {"gateway-port", "SKUPPER_GATEWAY_PORT"},
    {"disable-metrics", "SKUPPER_METRICS_DISABLE"},
    {"metrics-address", "SKUPPER_METRICS_ADDRESS"},
};

// The flag, else its variable, else what it is at first.
static const char *value_of(const struct cli *c, const char *flag)
{
    const char *given = cli_text(c, flag);

    for (size_t i = 0; !cli_is_given(c, flag) && i < sizeof(variables) / sizeof(variables[0]);
         i++) {
        const char *text =
            strcmp(variables[i].flag, flag) == 0 ? getenv(variables[i].variable) : NULL;

        if (text && text[0])
            return text;
    }
    return given;
}

static bool is_on(const struct cli *c, const char *flag)
{
    const char *text = value_of(c, flag);

    return strchr("1tT", text[0]) && text[0];
}

static const char *variable(const char *name, const char *otherwise)
{
    const char *text = getenv(name);

    return text && text[0] ? text : otherwise;
}

// Images are of this version unless the environment names others; the caller frees.
static char *image(const char *name, const char *what)
{
    const char *given = variable(name, "");

    return given[0] ? xstrdup(given)
                    : str_fmt("%s/%s:%s", variable("SKUPPER_IMAGE_REGISTRY", "quay.io/skupper"),
                              what, cli_version);
}

static int run_controller(struct cli *c)
{
    char *router = image("SKUPPER_ROUTER_IMAGE", "skupper-router");
    char *adaptor = image("SKUPPER_KUBE_ADAPTOR_IMAGE", "kube-adaptor");
    const char *ns = cli_text(c, "namespace"), *file = cli_text(c, "kubeconfig");
    char host[256] = "";
    struct controller_opts opts = {
        .settings =
            {
                .ns = ns[0] ? ns : variable("NAMESPACE", NULL),
                .name = value_of(c, "name"),
                .version = cli_version,
                .router_image = router,
                .router_pull_policy = variable("SKUPPER_ROUTER_IMAGE_PULL_POLICY", NULL),
                .adaptor_image = adaptor,
                .adaptor_pull_policy = variable("SKUPPER_KUBE_ADAPTOR_IMAGE_PULL_POLICY", NULL),
                .has_grants = is_on(c, "enable-grants"),
                .leaves_security_context = is_on(c, "disable-security-context"),
                .access_types = value_of(c, "enabled-access-types"),
                .default_access = value_of(c, "default-access-type"),
                .cluster_host = value_of(c, "cluster-host"),
                .ingress_domain = value_of(c, "ingress-domain"),
                .ingress_class = value_of(c, "ingress-class-name"),
                .http_proxy_domain = value_of(c, "http-proxy-domain"),
                .gateway_class = value_of(c, "gateway-class"),
                .gateway_domain = value_of(c, "gateway-domain"),
                .gateway_port = (int)strtol(value_of(c, "gateway-port"), NULL, 10),
                .claims_place = value_of(c, "claims-base-url"),
                .claims_port = (int)strtol(value_of(c, "claims-port"), NULL, 10),
                .host_name = variable("HOSTNAME", host),
            },
        .kubeconfig = file[0] ? file : NULL,
        .watch_ns = value_of(c, "watch-namespace"),
        .is_explicit = is_on(c, "require-explicit-control"),
        .does_without_own = is_on(c, "without-definitions"),
        .grant_base_url = value_of(c, "grant-server-base-url"),
        .grant_port = value_of(c, "grant-server-port"),
        .exposes_grants = is_on(c, "grant-server-autoconfigure"),
        .grant_credentials = value_of(c, "grant-server-tls-credentials"),
        .metrics_address = is_on(c, "disable-metrics") ? "" : value_of(c, "metrics-address"),
    };
    struct why why = {""};
    int err;

    if (gethostname(host, sizeof(host) - 1) < 0)
        host[0] = '\0';
    err = controller_run(&opts, &why);
    free(router);
    free(adaptor);
    return err < 0 ? cli_fail(c, "%s", why.text) : EXIT_OK;
}

static const struct flag flags[] = {
    {"kubeconfig", 0, FLAG_TEXT, "", "path of the kubeconfig file", ON_HOSTS, NULL},
    {"watch-namespace", 0, FLAG_TEXT, "", "the only namespace to act in (WATCH_NAMESPACE)", 0,
     NULL},
    {"name", 0, FLAG_TEXT, "", "of this controller (CONTROLLER_NAME)", 0, NULL},
    {"require-explicit-control", 0, FLAG_BOOL, "false",
     "act only where the ConfigMap skupper names this controller", 0, NULL},
    {"disable-security-context", 0, FLAG_BOOL, "false",
     "leave security contexts of pods to the platform", 0, NULL},
    {"without-definitions", 0, FLAG_BOOL, "false",
     "do without the kinds of skupper.io, even where the cluster has them", 0, NULL},
    {"enable-grants", 0, FLAG_BOOL, "false", "serve AccessGrants (SKUPPER_ENABLE_GRANTS)", 0, NULL},
    {"grant-server-autoconfigure", 0, FLAG_BOOL, "false",
     "expose that server as a SecuredAccess of this pod", 0, NULL},
    {"grant-server-base-url", 0, FLAG_TEXT, "", "host:port at which that server is reached", 0,
     NULL},
    {"grant-server-port", 0, FLAG_TEXT, "9090", "on which it listens", 0, NULL},
    {"grant-server-tls-credentials", 0, FLAG_TEXT, "skupper-grant-server",
     "the Secret of its certificate", 0, NULL},
    {"claims-base-url", 0, FLAG_TEXT, "",
     "host:port at which claims of a site of version 1 are redeemed (default: this pod's)", 0,
     NULL},
    {"claims-port", 0, FLAG_NUMBER, "8081", "on which that server listens", 0, NULL},
    {"enabled-access-types", 0, FLAG_TEXT, "local,loadbalancer,route",
     "ways in that sites may choose (SKUPPER_ENABLED_ACCESS_TYPES)", 0, NULL},
    {"default-access-type", 0, FLAG_TEXT, "", "the one without a choice", 0, NULL},
    {"cluster-host", 0, FLAG_TEXT, "", "where ports of nodes are reached", 0, NULL},
    {"ingress-domain", 0, FLAG_TEXT, "", "of the names in Ingresses", 0, NULL},
    {"ingress-class-name", 0, FLAG_TEXT, "", "of Ingresses", 0, NULL},
    {"http-proxy-domain", 0, FLAG_TEXT, "", "of the names in HTTPProxies", 0, NULL},
    {"gateway-class", 0, FLAG_TEXT, "", "of the Gateway", 0, NULL},
    {"gateway-domain", 0, FLAG_TEXT, "", "of the names in TLSRoutes", 0, NULL},
    {"gateway-port", 0, FLAG_NUMBER, "8443", "of the Gateway", 0, NULL},
    {"disable-metrics", 0, FLAG_BOOL, "false", "serve neither metrics nor health", 0, NULL},
    {"metrics-address", 0, FLAG_TEXT, ":9000", "where metrics and health are served", 0, NULL},
    {0},
};

const struct command cli_controller_commands[] = {
    {.name = "controller",
     .args = "",
     .summary = "Runs sites in a Kubernetes cluster: what their resources ask for, is made",
     .more = "Runs in a pod with the rights that deploy/ gives it, or anywhere with a kubeconfig. "
             "Each flag can be given as a variable of the environment too, and with a single dash. "
             "Of several controllers of one name one acts.",
     .takes_one_dash = true,
     .flags = flags,
     .run = run_controller},
    {0},
};
