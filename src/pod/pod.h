// SPDX-License-Identifier: Apache-2.0
// The agent beside a router in its pod. The controller writes the router's configuration into a
// ConfigMap and certificates into Secrets; the agent brings both to the router, as files and by
// management, and while it holds the site's lease it tells the network's status in another
// ConfigMap. Rules: docs/kubernetes.md.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/why.h"

struct pod_opts {
    const char *ns, *kubeconfig; // NULL: as kube_config_load() finds them
    const char *router_config;   // ConfigMap of the router's configuration
    const char *folder;          // where files may be written; the configuration stands in it
    const char *proxy_folder;    // likewise, passwords of proxies
    const char *deployment;      // owns what is written; NULL: nobody does
    const char *pod;             // its name, unlike that of any other pod
    const char *site_id, *site_name;
    const char *version;
    const char *router_host, *router_port;   // its management, without TLS
    const char *health_port;                 // "/healthz"
    const char *metrics_host, *metrics_port; // "/metrics"; port NULL: not told
};

// Waits until every certificate of the configuration is there, at most so long, then writes their
// files and the configuration of the router that is about to start. What is still missing then is
// left out, and the agent brings it later. Returns 0, or with words what stands in the way: no
// ConfigMap, no rights, no API server.
int pod_init(const struct pod_opts *opts, uint32_t wait_ms, struct why *why);

// The steps of one link of the configuration that the router starts with, which may block as long
// as each of them; each is told when it has been made. 0 also when one fails; ERR_NOT_FOUND (no
// such link, or no configuration), ERR_DECODE, ERR_IO, with words.
int pod_take_steps(const struct pod_opts *opts, const char *link, void (*told)(const json_t *step),
                   struct why *why);

// Runs until SIGTERM or SIGINT. Returns 0, or with words why it could not begin. Neither an API
// server nor a router that is away ends it.
int pod_run(const struct pod_opts *opts, struct why *why);

// The command line: flags with one or two dashes, or the environment (docs/kubernetes.md). Returns
// the exit status.
int pod_main(int argc, char **argv, const char *version);
