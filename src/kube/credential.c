// SPDX-License-Identifier: Apache-2.0
// Who we are: a token or certificate as configured, from files that change, or from a plugin.
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "kube/config.h"
#include "kube/exchange.h"
#include "kube/plugin.h"
#include "pki/pki.h"
#include "site/site.h"

// A plugin that failed is not run again at once for every request that waits.
enum { AGAIN_MS = 5000 };

void credential_fini(struct credential *c)
{
    pki_wipe(c->token);
    pki_wipe(c->cert);
    pki_wipe(c->key);
    *c = (struct credential){0};
}

// ------------------------------------------------------------------------------ a plugin's answer

static char *copy_of(const json_t *map, const char *key)
{
    const char *text = json_string_value(json_object_get(map, key));

    return text && text[0] ? xstrdup(text) : NULL;
}

static int read_status(const json_t *status, struct credential *c, struct why *why)
{
    const char *expires = json_string_value(json_object_get(status, "expirationTimestamp"));

    c->token = copy_of(status, "token");
    c->cert = copy_of(status, "clientCertificateData");
    c->key = copy_of(status, "clientKeyData");
    if (!c->cert != !c->key || (!c->token && !c->cert)) {
        why_set(why, "its answer has no token, and no certificate with a key");
        return ERR_DECODE;
    }
    if (c->token && strpbrk(c->token, "\r\n")) {
        why_set(why, "the token in its answer is no line");
        return ERR_DECODE;
    }
    if (expires && !site_time(str_of(expires), &c->expires)) {
        why_set(why, "expirationTimestamp in its answer is no time: %.60s", expires);
        return ERR_DECODE;
    }
    return 0;
}

int credential_read(struct str text, const char *api_version, struct credential *out,
                    struct why *why)
{
    json_t *doc = json_loadb(text.ptr ? text.ptr : "", text.len, 0, NULL);
    const char *kind = json_string_value(json_object_get(doc, "kind"));
    const char *version = json_string_value(json_object_get(doc, "apiVersion"));
    struct credential c = {0};
    int err = ERR_DECODE;

    if (!kind || strcmp(kind, "ExecCredential") != 0)
        why_set(why, "its answer is no ExecCredential");
    else if (!version || strcmp(version, api_version) != 0)
        why_set(why, "its answer is of version %.60s, asked for was %.60s",
                version ? version : "(none)", api_version);
    else
        err = read_status(json_object_get(doc, "status"), &c, why);
    json_decref(doc);
    if (err < 0)
        credential_fini(&c);
    else
        *out = c;
    return err;
}

// ----------------------------------------------------------------------------------- having one

static bool is_good(const struct credential *c)
{
    return (c->token || c->cert) && (c->expires == 0 || time(NULL) < c->expires);
}

static int run_plugin(struct kube *k, struct mono now, struct why *why)
{
    int err;

    if (k->plugin)
        return ERR_AGAIN;
    if (k->plugin_why.text[0] && mono_before(now, k->plugin_again)) {
        *why = k->plugin_why;
        return ERR_INVALID;
    }
    err = plugin_start(k, why);
    if (!err)
        return ERR_AGAIN;
    k->plugin_why = *why;
    k->plugin_again = mono_add_ms(now, AGAIN_MS);
    return ERR_INVALID;
}

int credential_get(struct kube *k, struct mono now, struct why *why)
{
    struct kube_config *c = k->config;
    int err;

    if (c->exec.argv)
        return is_good(&k->credential) ? 0 : run_plugin(k, now, why);
    err = material_refresh(&c->token, why);
    if (!err)
        err = material_refresh(&c->cert, why);
    if (!err)
        err = material_refresh(&c->key, why);
    return err < 0 ? ERR_INVALID : 0;
}

void plugin_done(struct kube *k, struct credential *take, const char *words)
{
    credential_fini(&k->credential);
    k->credential = *take;
    k->plugin = NULL;
    why_set(&k->plugin_why, "%s", words);
    if (words[0])
        k->plugin_again = mono_add_ms(mono_now(), AGAIN_MS);
    else if (!is_good(&k->credential)) {
        k->plugin_again = mono_add_ms(mono_now(), AGAIN_MS);
        why_set(&k->plugin_why,
                "exec plugin %.150s: what it answered has expired; is the clock right?",
                k->config->exec.argv[0]);
    }
    exchanges_go(k);
}

// The text that was used is no longer what the file says.
static bool has_changed(struct material *m)
{
    char *old = m->text && m->path ? xstrdup(m->text) : NULL;
    bool is_new = old && material_refresh(m, NULL) == 0 && strcmp(old, m->text) != 0;

    pki_wipe(old);
    return is_new;
}

bool credential_refused(struct kube *k)
{
    if (k->config->exec.argv) {
        bool was_there = k->credential.token || k->credential.cert;

        credential_fini(&k->credential);
        return was_there;
    }
    return has_changed(&k->config->token) || has_changed(&k->config->cert);
}
