// SPDX-License-Identifier: Apache-2.0
// skupper link doctor, in a cluster: what the routers of a site meet in their pods. Each is asked
// how it fares with the link, and the agent beside it for the steps one by one.
#include <string.h>

#include "base/err.h"
#include "cli/inside.h"
#include "client/client.h"
#include "site/site.h"

enum { SLACK_MS = 5000 }; // for the answer's way, beyond the time that the agent may take

static void add_step(json_t *steps, const char *pod, const char *step, const char *result,
                     const char *message, const char *next)
{
    json_array_append_new(steps, json_pack("{s:s, s:s*, s:s, s:s, s:s*}", "step", step, "pod", pod,
                                           "result", result, "message", message, "next", next));
}

// False: the router is not connected.
static bool tell_router(const json_t *row, const char *pod, bool is_told, json_t *steps)
{
    const char *said = site_text(row, "connectionMsg");

    if (strcmp(site_text(row, "connectionStatus"), "SUCCESS") == 0) {
        add_step(steps, pod, "router", "ok", "the router is connected", NULL);
        return true;
    }
    add_step(steps, pod, "router", "failed", said[0] ? said : "the router is about to connect",
             is_told
                 ? "the steps below are taken beside it, with what it has"
                 : "this is what the router meets from within its pod; a step below that is ok "
                   "from here is something that is in the way there: a NetworkPolicy, the DNS of "
                   "the cluster, an egress rule");
    return false;
}

// Adds what the agent has told. False: a step failed.
static bool take_steps(json_t *told, const char *pod, json_t *steps)
{
    bool is_well = true;
    json_t *step;
    size_t i;

    json_array_foreach(told, i, step)
    {
        if (!json_is_object(step))
            continue;
        json_object_set_new(step, "pod", json_string(pod));
        json_array_append(steps, step);
        is_well &= strcmp(site_text(step, "result"), "failed") != 0;
    }
    return is_well;
}

// A question that nobody takes comes back at once.
static void tell_silence(int err, const struct why *why, const char *pod, json_t *steps)
{
    add_step(
        steps, pod, "agent", "skipped",
        err == ERR_CLOSED ? "nobody takes the steps there: the agent is of an older release or "
                            "of another make, or is starting"
                          : why->text,
        "steps that are taken elsewhere are told instead; they may go another way in this pod");
}

static bool ask_pod(struct client_line *line, const char *pod, const char *link, json_t *steps,
                    bool *is_told)
{
    struct client_request state = {.operation = "READ", .type = "connector", .name = link},
                          examine = {.agent = HOST_DOCTOR,
                                     .operation = HOST_DOCTOR_EXAMINE,
                                     .name = link,
                                     .timeout_ms = HOST_DOCTOR_MS + SLACK_MS};
    struct why no_row = {""}, silence = {""};
    json_t *row = NULL, *answer = NULL;
    bool is_well = true;
    int err;

    (void)client_line_ask(line, &state, &row, &no_row); // else there are words
    err = client_line_ask(line, &examine, &answer, &silence);
    if (row)
        is_well = tell_router(row, pod, err == 0, steps);
    else
        add_step(steps, pod, "router", "skipped", no_row.text, NULL);
    if (err == 0)
        is_well &= take_steps(json_object_get(answer, "steps"), pod, steps);
    else
        tell_silence(err, &silence, pod, steps);
    *is_told |= err == 0;
    json_decref(row);
    json_decref(answer);
    return is_well;
}

static const char not_asked[] = "docs/kubernetes.md says which right is needed to ask the router; "
                                "without it the steps are taken from this machine alone";

bool doctor_ask_pods(struct cli *c, const struct store *s, const char *link, json_t *steps,
                     bool *is_told)
{
    json_t *pods = reach_pods(s), *one;
    bool is_well = true;
    size_t i;

    *is_told = false;
    json_array_foreach(pods, i, one)
    {
        const char *pod = site_text(one, "metadata.name");
        struct why why = {""};
        struct reach router;

        if (reach_pod(s, pod, (uint32_t)cli_duration_ms(c, "timeout"), &router, &why) == 0)
            is_well &= ask_pod(router.line, pod, link, steps, is_told);
        else
            add_step(steps, pod, "router", "skipped", why.text, not_asked);
        reach_end(&router);
    }
    if (json_array_size(pods) == 0)
        add_step(steps, NULL, "router", "skipped", "no router of the site runs in a pod",
                 not_asked);
    json_decref(pods);
    return is_well;
}
