// SPDX-License-Identifier: Apache-2.0
// The site's router as commands reach it: on a host at the listener for its management, with the
// site's own certificate; in a cluster at the one in its pod, to which the API server leads.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/inside.h"
#include "client/client.h"
#include "kube/kube.h"
#include "site/site.h"

enum { POD_PORT = 5672 }; // at 127.0.0.1 of the pod, for the agent beside the router

// The port of the site's own listener for management; 0: there is none.
static long local_port(const struct store *s)
{
    json_t *state = cli_told(s, "internal/state.json");
    long port = (long)json_integer_value(
        json_object_get(json_object_get(state, "ports"), "skupper-local/normal"));

    json_decref(state);
    return port;
}

int reach_host(const struct store *s, uint32_t timeout_ms, struct reach *out, struct why *why)
{
    char *ca = host_path(&s->paths, "runtime/certs/skupper-local-client/ca.crt");
    char *cert = host_path(&s->paths, "runtime/certs/skupper-local-client/tls.crt");
    char *key = host_path(&s->paths, "runtime/certs/skupper-local-client/tls.key");
    struct net_tls_opts tls = {
        .name = "skupper-local-client", .ca_file = ca, .cert_file = cert, .key_file = key};
    char port[16];
    struct client_target target = {.name = "skupper",
                                   .host = "127.0.0.1",
                                   .port = port,
                                   .tls = &tls,
                                   .verify_host = true,
                                   .timeout_ms = timeout_ms};
    int err = ERR_NOT_FOUND;

    *out = (struct reach){0};
    snprintf(port, sizeof(port), "%ld", local_port(s));
    if (strcmp(port, "0") == 0)
        why_set(why, "it was never started");
    else
        err = client_line_new(&target, &out->line, why);
    free(ca);
    free(cert);
    free(key);
    return err;
}

// -------------------------------------------------------------------------------------- in a
// cluster

json_t *reach_pods(const struct store *s)
{
    json_t *pods = cluster_labelled(s, "Pod", "skupper.io/component=router"), *out = json_array();
    json_t *pod;
    size_t i;

    json_array_foreach(pods, i, pod)
    {
        if (strcmp(site_text(pod, "status.phase"), "Running") == 0)
            json_array_append(out, pod);
    }
    json_decref(pods);
    return out;
}

int reach_pod(const struct store *s, const char *pod, uint32_t timeout_ms, struct reach *out,
              struct why *why)
{
    struct client_target target = {
        .name = "skupper", .host = pod, .port = "5672", .timeout_ms = timeout_ms};
    int err;

    *out = (struct reach){0};
    err = kube_forward_new(s->kube, s->ns, pod, POD_PORT, &out->forward, why);
    if (err < 0)
        return err;
    target.fd = kube_forward_take(out->forward);
    err = client_line_new(&target, &out->line, why);
    if (err < 0)
        reach_end(out);
    return err;
}

// The first that answers: of two routers of a site either knows the way.
static int reach_any(struct cli *c, const struct store *s, uint32_t timeout_ms, struct reach *out)
{
    json_t *pods = reach_pods(s), *pod;
    struct why why = {""};
    int err = ERR_NOT_FOUND;
    size_t i;

    json_array_foreach(pods, i, pod)
    {
        err = reach_pod(s, site_text(pod, "metadata.name"), timeout_ms, out, &why);
        if (err == 0)
            break;
    }
    json_decref(pods);
    if (err == 0 || c->failure)
        return c->failure;
    if (!why.text[0])
        return cli_fail(c,
                        "No router of a site runs in the namespace \"%s\": \"skupper site status\" "
                        "tells of the site, \"kubectl get pods -l skupper.io/component=router\" of "
                        "its pods",
                        s->ns);
    return cli_fail(c, "The router does not answer: %s", why.text);
}

// ------------------------------------------------------------------------------------------ either

int cli_connect(struct cli *c, const struct store *s, uint32_t timeout_ms, struct reach *out)
{
    struct why why = {""};

    *out = (struct reach){0};
    if (c->platform == ON_KUBERNETES)
        return reach_any(c, s, timeout_ms, out);
    if (!store_is_running(s) || local_port(s) == 0)
        return cli_fail(c,
                        "The site of the namespace \"%s\" is not running: \"skupper system "
                        "start\" starts it",
                        s->ns);
    if (reach_host(s, timeout_ms, out, &why) < 0)
        return cli_fail(c,
                        "The router of this site does not answer: %s. Its log is %s/internal/"
                        "router.log",
                        why.text, s->paths.root);
    return EXIT_OK;
}

void reach_end(struct reach *r)
{
    client_line_free(r->line);
    kube_forward_free(r->forward);
    *r = (struct reach){0};
}
