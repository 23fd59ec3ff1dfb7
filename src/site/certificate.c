// SPDX-License-Identifier: Apache-2.0
// Certificates wanted, TLS profiles of those that are there, and Secrets.
#include <stdlib.h>

#include "base/mem.h"
#include "site/inside.h"

static const char SERVICE_CA[] = "skupper-service-ca";
#define SECRET_MISSING "TLS credentials secret \"%s\" not found"

void certificate_authority(struct model *m, const char *name, const char *subject)
{
    if (json_object_get(m->certificates, name))
        return;
    json_object_set_new(m->certificates, name,
                        json_pack("{s:s, s:s, s:s, s:[], s:b, s:b, s:b}", "name", name, "ca", "",
                                  "subject", subject, "hosts", "client", 0, "server", 0, "signing",
                                  1));
}

static void add_hosts(json_t *to, const json_t *hosts)
{
    size_t i;
    json_t *host;

    json_array_foreach(hosts, i, host)
    {
        if (json_string_length(host) > 0)
            list_add(to, json_string_value(host));
    }
}

bool certificate_leaf(struct model *m, const char *name, const char *ca, const char *subject,
                      const json_t *hosts, enum certificate_use use)
{
    json_t *there = json_object_get(m->certificates, name);

    if (there && strcmp(site_text(there, "ca"), ca) != 0)
        return false;
    if (!there) {
        there = json_pack("{s:s, s:s, s:s, s:[], s:b, s:b, s:b}", "name", name, "ca", ca, "subject",
                          subject, "hosts", "client", 0, "server", 0, "signing", 0);
        json_object_set_new(m->certificates, name, there);
    }
    json_object_set_new(there, use == CERTIFICATE_SERVER ? "server" : "client", json_true());
    add_hosts(json_object_get(there, "hosts"), hosts);
    return true;
}

bool certificate_is_there(const struct model *m, const char *name)
{
    return json_is_integer(
        json_object_get(json_object_get(m->facts->certificates, name), "ordinal"));
}

// ---------------------------------------------------------------------------------------- profiles

// How many former certificates keep their connections: the Secret's word, else the site's, else 2.
static int64_t prior_valid(const struct model *m, const char *certificate)
{
    static const char key[] = "skupper.io/tls-prior-valid-revisions";
    const struct thing *secret = model_find(m, "Secret", certificate);
    const json_t *fact = json_object_get(m->facts->certificates, certificate);
    const char *text =
        secret ? thing_annotation(secret, key) : json_string_value(json_object_get(fact, "prior"));
    int64_t count;

    if (!text)
        text = site_setting(m, "tls-prior-valid-revisions", NULL);
    return text && site_number(str_of(text), 0, UINT32_MAX, &count) ? count : 2;
}

static void put_ordinals(const struct model *m, json_t *attrs, const char *certificate)
{
    const json_t *fact = json_object_get(m->facts->certificates, certificate);
    int64_t ordinal = json_integer_value(json_object_get(fact, "ordinal"));
    int64_t oldest = json_integer_value(json_object_get(fact, "oldest"));
    int64_t prior = prior_valid(m, certificate);

    if (ordinal - prior > oldest)
        oldest = ordinal - prior;
    if (ordinal > 0)
        json_object_set_new(attrs, "ordinal", json_integer(ordinal));
    if (oldest > 0)
        json_object_set_new(attrs, "oldestValidOrdinal", json_integer(oldest));
}

static void put_file(const struct model *m, json_t *attrs, const char *attr,
                     const char *certificate, const char *file)
{
    const char *base = m->facts->base ? m->facts->base : "";
    char *path = m->is_in_cluster ? str_fmt("%s/%s/%s", base, site_text(attrs, "name"), file)
                                  : str_fmt("%s/runtime/certs/%s/%s", base, certificate, file);

    json_object_set_new(attrs, attr, json_string(path));
    free(path);
}

// A profile that another resource uses with more of the certificate keeps it.
static json_t *profile_entity(struct model *m, const char *profile)
{
    json_t *there = json_object_get(m->entities[ENTITY_SSL_PROFILE], profile);

    return there ? there : model_entity(m, ENTITY_SSL_PROFILE, profile);
}

bool profile_use(struct model *m, struct thing *t, const char *condition, const char *profile,
                 const char *certificate, enum profile_parts parts)
{
    const json_t *fact = json_object_get(m->facts->certificates, certificate);
    const char *error = site_text(fact, "error");
    bool lacks_ca = json_is_true(json_object_get(fact, "lacks_ca"));
    json_t *attrs;

    if (!certificate_is_there(m, certificate)) {
        if (error[0])
            cond_error(t, condition, "certificate \"%s\": %s", certificate, error);
        else if (m->is_in_cluster && !json_object_get(m->certificates, certificate))
            cond_error(t, condition, SECRET_MISSING, certificate);
        else
            cond_pending(t, condition, "certificate \"%s\" is not there yet", certificate);
        return false;
    }
    if (lacks_ca && parts == PROFILE_WHOLE) {
        cond_error(t, condition, "TLS credentials secret \"%s\" has no ca.crt", certificate);
        return false;
    }
    if (error[0] && !m->is_in_cluster) // with what there is it works; there its own status tells
        cond_error(t, condition, "certificate \"%s\": %s", certificate, error);
    attrs = profile_entity(m, profile);
    if (!lacks_ca)
        put_file(m, attrs, "caCertFile", certificate, "ca.crt");
    if (parts != PROFILE_CA) {
        put_file(m, attrs, "certFile", certificate, "tls.crt");
        put_file(m, attrs, "privateKeyFile", certificate, "tls.key");
    }
    put_ordinals(m, attrs, certificate);
    return true;
}

bool service_tls(struct model *m, struct thing *t, const char *host)
{
    const char *name = spec_text(t, "tlsCredentials");
    json_t *hosts = json_pack("[s]", host);
    bool is_ok;

    certificate_authority(m, SERVICE_CA, SERVICE_CA);
    is_ok = certificate_leaf(m, name, SERVICE_CA, host, hosts, CERTIFICATE_SERVER);
    json_decref(hosts);
    if (!is_ok)
        cond_error(t, "Configured",
                   "spec.tlsCredentials: \"%s\" is the name of another certificate of this site; "
                   "choose a different one",
                   name);
    return is_ok;
}

// -------------------------------------------------------------------------- Certificate resources

void certificate_owner(struct model *m, const char *name, const struct thing *owner,
                       const json_t *hosts)
{
    json_t *entry = json_object_get(m->certificates, name);
    json_t *owners = json_object_get(entry, "owners");

    if (!owners) {
        owners = json_object();
        json_object_set_new(entry, "owners", owners);
    }
    json_object_set_new(owners, owner->key, hosts ? json_deep_copy(hosts) : json_array());
}

// One that the user wrote.
void certificate_apply(struct model *m, struct thing *t)
{
    const char *ca = spec_text(t, "ca");
    json_t *entry = json_object_get(m->certificates, t->name);

    if (entry) {
        cond_error(t, "Ready", "\"%s\" is the name of a certificate that the site makes itself",
                   t->name);
        return;
    }
    entry =
        json_pack("{s:s, s:s, s:s, s:[], s:b, s:b, s:b}", "name", t->name, "ca", ca, "subject",
                  spec_text(t, "subject"), "hosts", "client", (int)spec_bool(t, "client"), "server",
                  (int)spec_bool(t, "server"), "signing", (int)spec_bool(t, "signing"));
    add_hosts(json_object_get(entry, "hosts"), json_object_get(t->spec, "hosts"));
    json_object_set_new(m->certificates, t->name, entry);
}

static struct thing *resource_of(struct model *m, const json_t *entry)
{
    const char *name = site_text(entry, "name");
    struct thing *t = model_find(m, "Certificate", name);
    json_t *spec;

    if (t)
        return t;
    spec = json_pack("{s:O, s:O}", "ca", json_object_get(entry, "ca"), "subject",
                     json_object_get(entry, "subject"));
    if (json_array_size(json_object_get(entry, "hosts")) > 0)
        json_object_set(spec, "hosts", json_object_get(entry, "hosts"));
    for (const char *const *use = (const char *const[]){"client", "server", "signing", NULL}; *use;
         use++) {
        if (json_is_true(json_object_get(entry, *use)))
            json_object_set_new(spec, *use, json_true());
    }
    return model_make(m, "Certificate", name, spec);
}

// The CA is there, or is to be made: not of itself, and of none that is missing.
static bool authority_comes(const struct model *m, const char *ca)
{
    for (size_t i = 0; i <= json_object_size(m->certificates) && ca[0]; i++) {
        const json_t *entry = json_object_get(m->certificates, ca);

        if (certificate_is_there(m, ca))
            return true;
        if (!entry)
            return false;
        ca = site_text(entry, "ca");
    }
    return !ca[0];
}

static void tell_state(struct model *m, struct thing *t, const json_t *entry)
{
    const json_t *fact = json_object_get(m->facts->certificates, t->name);
    const char *ca = site_text(entry, "ca");
    const char *error = site_text(fact, "error"), *expires = site_text(fact, "expires");

    if (expires[0])
        json_object_set_new(t->status, "expiration", json_string(expires));
    if (cond_is_set(t, "Ready"))
        return;
    if (error[0])
        cond_error(t, "Ready", "%s", error);
    else if (certificate_is_there(m, t->name))
        cond_ready(t, "Ready");
    else if (!authority_comes(m, ca))
        cond_error(t, "Ready", "CA \"%s/%s\" not found", m->facts->namespace, ca);
    else
        cond_pending(t, "Ready", "Pending");
}

// A Secret of the input that bears the name is taken instead of making one.
static json_t *finished(const struct model *m, const json_t *entry)
{
    json_t *out = json_deep_copy(entry);
    const char *name = site_text(entry, "name");

    if (model_find(m, "Secret", name) && !json_object_get(out, "secret"))
        json_object_set_new(out, "secret", json_string(name));
    return out;
}

// First what signs itself, then what others may be signed by, then the rest.
static int stage_of(const json_t *entry)
{
    if (json_is_true(json_object_get(entry, "signing")))
        return site_text(entry, "ca")[0] ? 1 : 0;
    return 2;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void certificates_finish(struct model *m)
{
    size_t count = json_object_size(m->certificates), at = 0;
    const char **names = xcalloc(count + 1, sizeof(*names)), *name;
    json_t *entry;

    json_object_foreach(m->certificates, name, entry) names[at++] = name;
    qsort(names, count, sizeof(*names), by_text);
    for (int stage = 0; stage < 3; stage++) {
        for (size_t i = 0; i < count; i++) {
            entry = json_object_get(m->certificates, names[i]);
            if (stage_of(entry) != stage)
                continue;
            json_array_append_new(m->out->certificates, finished(m, entry));
            if (json_object_get(entry, "subject"))
                tell_state(m, resource_of(m, entry), entry);
        }
    }
    free(names);
}
