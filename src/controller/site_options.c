// SPDX-License-Identifier: Apache-2.0
// The options of the ConfigMap skupper-site, all that version 1 knows: those that are read, and
// those that are not, with the reason. One that is not read, not known, or has a value that makes
// no sense, is told; one that asks for nothing is not.
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"

static const char NO_CONSOLE[] = "there is no console of version 1 here; a network observer of "
                                 "version 2 shows this network too";
static const char NO_PROMETHEUS[] = "no Prometheus is started here; the router's page /metrics is "
                                    "at port 9090 of its pods";
static const char OWN_CONTROLLER[] = "the controller is not made by the site: say it in its "
                                     "Deployment";

enum form {
    TEXT,
    NAME,
    PAIRS,
    AMOUNT,
    LOGGING,
    YES_NO,
    MODE,
    COUNT,
    USER,
    FRAME,
    FRAMES,
    LETTER,
    SILENCE
};

static const struct option {
    const char *key; // "flow-collector*": all that begin so
    enum form form;
    const char *why;     // why it is not used; NULL: it is
    const char *nothing; // the value, in any case, that asks for nothing; NULL: none
} options[] = {
    {"name", NAME, NULL, NULL},
    {"router-mode", MODE, NULL, NULL},
    {"edge", YES_NO, NULL, NULL},
    {"ingress", TEXT, NULL, NULL},
    {"cluster-local", YES_NO, NULL, NULL},
    {"ingress-host", TEXT, NULL, NULL},
    {"ingress-annotations", PAIRS, NULL, NULL},
    {"router-ingress-host", TEXT, NULL, NULL},
    {"controller-ingress-host", TEXT, NULL, NULL},
    {"router-load-balancer-ip", TEXT, NULL, NULL},
    {"controller-load-balancer-ip", TEXT, NULL, NULL},
    {"router-service-annotations", PAIRS, NULL, NULL},
    {"controller-service-annotations", PAIRS, NULL, NULL},
    {"router-pod-annotations", PAIRS, NULL, NULL},
    {"router-pod-affinity", PAIRS, NULL, NULL},
    {"router-pod-antiaffinity", PAIRS, NULL, NULL},
    {"router-node-selector", PAIRS, NULL, NULL},
    {"routers", COUNT, NULL, NULL},
    {"run-as-user", USER, NULL, NULL},
    {"run-as-group", USER, NULL, NULL},
    {"router-logging", LOGGING, NULL, NULL},
    {"router-data-connection-count", COUNT, NULL, NULL},
    {"xp-router-max-frame-size", FRAME, NULL, NULL},
    {"xp-router-max-session-frames", FRAMES, NULL, NULL},
    {"router-cpu", AMOUNT, NULL, NULL},
    {"router-cpu-limit", AMOUNT, NULL, NULL},
    {"router-memory", AMOUNT, NULL, NULL},
    {"router-memory-limit", AMOUNT, NULL, NULL},
    {"config-sync-cpu", AMOUNT, NULL, NULL},
    {"config-sync-cpu-limit", AMOUNT, NULL, NULL},
    {"config-sync-memory", AMOUNT, NULL, NULL},
    {"config-sync-memory-limit", AMOUNT, NULL, NULL},
    {"service-controller", YES_NO, NULL, NULL},
    {"service-sync", YES_NO, NULL, NULL},
    {"enable-skupper-events", YES_NO, NULL, NULL},
    {"annotation-separator", LETTER, NULL, NULL},
    {"service-sync-site-ttl", SILENCE, NULL, NULL},
    {"cluster-permissions", TEXT,
     "targets in other namespaces are refused; an AttachedConnector of version 2 leads there",
     "false"},
    {"create-network-policy", YES_NO, NULL, NULL},
    {"router-disable-mutual-tls", TEXT,
     "who links to this site has to show a certificate, as always", "false"},
    {"router-drop-tcp-connections", TEXT,
     "connections end when one of their ends does, not with the service", "false"},
    {"router-console", TEXT, "the router has no console", "false"},
    {"console", TEXT, NO_CONSOLE, "false"},
    {"console-authentication", TEXT, NO_CONSOLE, "internal"},
    {"console*", TEXT, NO_CONSOLE, NULL},
    {"rest-api", TEXT, NO_CONSOLE, "false"},
    {"flow-collector", TEXT, NO_CONSOLE, "false"},
    {"flow-collector-record-ttl", TEXT, NO_CONSOLE, "15m0s"},
    {"flow-collector*", TEXT, NO_CONSOLE, NULL},
    {"prometheus-server-authentication", TEXT, NO_PROMETHEUS, "tls"},
    {"prometheus*", TEXT, NO_PROMETHEUS, NULL},
    {"controller-*", TEXT, OWN_CONTROLLER, NULL},
};

static const char DIGITS[] = "0123456789";

static bool is_named(const struct option *o, const char *key)
{
    size_t len = strlen(o->key);

    return o->key[len - 1] == '*' ? strncmp(o->key, key, len - 1) == 0 : strcmp(o->key, key) == 0;
}

static const struct option *find(const char *key)
{
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (is_named(&options[i], key))
            return &options[i];
    return NULL;
}

static bool is_between(const char *text, int64_t min, int64_t max)
{
    int64_t n;

    return site_number(str_of(text), min, max, &n);
}

// From a minute to as many hours as the agent can count.
static bool is_silence(const char *text)
{
    static const int64_t ns_per_minute = 60000000000;
    int64_t ns;

    return site_duration(str_of(text), &ns) && ns >= ns_per_minute && ns <= 60000 * ns_per_minute;
}

// A quantity as Kubernetes has it: 1, 0.5, 250m, 2Gi, 1e3.
static bool is_amount(const char *text)
{
    static const char *const suffixes[] = {"",  "m",  "k",  "M",  "G",  "T",  "P",
                                           "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    size_t whole = strspn(text, DIGITS), part = 0, power;
    const char *rest = text + whole;

    if (rest[0] == '.') {
        part = strspn(rest + 1, DIGITS);
        rest += 1 + part;
    }
    if (whole + part == 0)
        return false;
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
        if (strcmp(rest, suffixes[i]) == 0)
            return true;
    if (rest[0] != 'e' && rest[0] != 'E')
        return false;
    rest += rest[1] == '-' || rest[1] == '+' ? 2 : 1;
    power = strspn(rest, DIGITS);
    return power > 0 && rest[power] == '\0';
}

// What a value has to be; NULL: it is.
static const char *fault_of(enum form form, const char *text)
{
    bool is_yes_no = str_is_nocase(str_of(text), "true") || str_is_nocase(str_of(text), "false");

    switch (form) {
    case TEXT:
        return NULL;
    case NAME:
        return site_is_name(str_of(text))
                   ? NULL
                   : "it has to be of lower-case letters, digits, and '-' and '.' inside";
    case PAIRS:
        return strchr(text, '=') ? NULL : "it has to be of the form KEY=VALUE,…";
    case AMOUNT:
        return is_amount(text) ? NULL : "it has to be an amount, like 250m or 1Gi";
    case LOGGING:
        return site_is_logging(text) ? NULL : "it has to be of the form MODULE:level,… or level";
    case YES_NO:
        return is_yes_no ? NULL : "it has to be true or false";
    case MODE:
        return strcmp(text, "interior") == 0 || strcmp(text, "edge") == 0
                   ? NULL
                   : "it has to be interior or edge";
    case COUNT:
        return is_between(text, 0, 1000) ? NULL : "it has to be a number";
    case USER:
        return is_between(text, 0, INT32_MAX) ? NULL : "it has to be the number of a user or group";
    case FRAME:
        return is_between(text, 512, INT32_MAX) ? NULL : "it has to be a number from 512 on";
    case FRAMES:
        return is_between(text, 1, INT32_MAX) ? NULL : "it has to be a number from 1 on";
    case LETTER:
        return strlen(text) == 1 ? NULL : "it has to be one character";
    case SILENCE:
        return is_silence(text) ? NULL : "it has to be a duration of a minute or more, like 10m";
    }
    return NULL;
}

const char *site_option(const struct planning *p, const char *key)
{
    const struct option *o = find(key);
    const char *text = value_of(json_object_get(p->root, "data"), key);

    return o && text[0] && !fault_of(o->form, text) ? text : "";
}

bool site_option_is(const struct planning *p, const char *key, const char *word)
{
    return str_is_nocase(str_of(site_option(p, key)), word);
}

json_t *site_option_pairs(const struct planning *p, const char *key)
{
    const char *separator = site_option(p, "annotation-separator");

    return annotated_pairs_by(site_option(p, key), separator[0] ? separator[0] : ',');
}

json_t *site_option_number(const struct planning *p, const char *key)
{
    int64_t n;

    return site_number(str_of(site_option(p, key)), 0, INT32_MAX, &n) ? json_integer(n) : NULL;
}

static void note(struct planning *p, const char *key, const char *words)
{
    char *name = str_fmt("ConfigMap/" SITE_MAP " %s", key);
    char *message = str_fmt("the option %s is not used: %s", key, words);

    json_object_set_new(p->out->notes, name,
                        json_pack("{s:o, s:s, s:s, s:s}", "object", plan_identity(p->root), "type",
                                  "Warning", "reason", "NotUsed", "message", message));
    free(message);
    free(name);
}

void site_options_tell(struct planning *p)
{
    const char *key;
    json_t *value;

    json_object_foreach(json_object_get(p->root, "data"), key, value)
    {
        const char *text = json_string_value(value) ? json_string_value(value) : "";
        const struct option *o = find(key);
        const char *fault = o ? fault_of(o->form, text) : NULL;

        if (!text[0])
            continue;
        if (!o)
            note(p, key, "it is none of version 1");
        else if (fault)
            note(p, key, fault);
        else if (o->why && !(o->nothing && str_is_nocase(str_of(text), o->nothing)))
            note(p, key, o->why);
    }
    if (site_option_is(p, "create-network-policy", "true") && !p->f->settings->has_policies)
        note(p, "create-network-policy",
             "this controller has no right to NetworkPolicies, as its Role in "
             "deploy/skupper-version-1.yaml has it");
}
