// SPDX-License-Identifier: Apache-2.0
// Certificates and their Secrets: what each is to be, whether it is that, and what the router's TLS
// profiles have to know when one changes.
//
// Routers take a changed certificate up without losing a connection: the profile in their
// configuration has an ordinal that grows with each change, and the Secret an annotation with the
// ordinal that belongs to its content. Beside it we keep a digest of that content: so a change is
// noticed also by a controller that was not there when it happened.
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"
#include "pki/pki.h"

enum { RENEW_PERCENT = 80 }; // of its life, then a new one is made
static const char CONTEXT[] = "internal.skupper.io/tls-profile-context";
static const char NOT_OURS[] = "secret exists but is not controlled by skupper";
static const char *const keys[] = {"ca.crt", "tls.crt", "tls.key"};
enum { KEYS = sizeof(keys) / sizeof(keys[0]) };

// ------------------------------------------------------------------------------------ profiles

static bool has_key(const json_t *secret, const char *key)
{
    return value_of(json_object_get(secret, "data"), key)[0] != '\0';
}

// Of the types that profiles are made of.
static bool counts(const json_t *secret)
{
    const char *type = site_text(secret, "type");

    return strcmp(type, "kubernetes.io/tls") == 0 ||
           ((type[0] == '\0' || strcmp(type, "Opaque") == 0) && has_key(secret, "ca.crt"));
}

static void digest_of(const json_t *data, char out[65])
{
    char *all = str_fmt("%s\n%s\n%s", value_of(data, keys[0]), value_of(data, keys[1]),
                        value_of(data, keys[2]));

    pki_digest(str_of(all), out);
    pki_wipe(all);
}

static void read_profiles(struct planning *p)
{
    json_t *pair;
    size_t i;

    p->profiles = json_object();
    json_array_foreach(p->config, i, pair)
    {
        const char *type = json_string_value(json_array_get(pair, 0));
        json_t *attrs = json_array_get(pair, 1);

        if (type && strcmp(type, "sslProfile") == 0 &&
            !json_object_get(p->profiles, site_text(attrs, "name")))
            json_object_set(p->profiles, site_text(attrs, "name"), attrs);
    }
}

// The ordinal of a profile for the content that the Secret has now.
static json_int_t ordinal_of(const struct planning *p, const json_t *secret, const char *profile)
{
    json_t *context = json_loads(annotation(secret, CONTEXT), 0, NULL);
    const json_t *one = site_item(context, "profileName", profile),
                 *attrs = json_object_get(p->profiles, profile);
    json_int_t told = json_integer_value(json_object_get(one, "ordinal"));
    json_int_t configured = json_integer_value(json_object_get(attrs, "ordinal"));
    char digest[65];

    digest_of(json_object_get(secret, "data"), digest);
    if (one && site_text(one, "digest")[0] && strcmp(site_text(one, "digest"), digest) != 0)
        told++;
    json_decref(context);
    return told > configured ? told : configured;
}

static void tell_profile(struct planning *p, const json_t *secret, const char *profile)
{
    bool is_tls = strcmp(site_text(secret, "type"), "kubernetes.io/tls") == 0;
    const json_t *attrs = json_object_get(p->profiles, profile);
    const json_t *oldest = json_object_get(attrs, "oldestValidOrdinal");
    const char *prior = annotation(secret, "skupper.io/tls-prior-valid-revisions");
    json_t *fact = json_object();

    for (size_t i = 1; is_tls && i < KEYS; i++)
        if (!has_key(secret, keys[i]))
            json_object_set_new(fact, "error",
                                json_sprintf("TLS credentials secret \"%s\" has no %s",
                                             site_text(secret, "metadata.name"), keys[i]));
    if (!has_key(secret, "ca.crt"))
        json_object_set_new(fact, "lacks_ca", json_true());
    if (!json_object_get(fact, "error"))
        json_object_set_new(fact, "ordinal", json_integer(ordinal_of(p, secret, profile)));
    if (json_is_integer(oldest))
        json_object_set(fact, "oldest", (json_t *)(uintptr_t)oldest);
    if (prior[0])
        json_object_set_new(fact, "prior", json_string(prior));
    json_object_set_new(p->certificates, profile, fact);
}

struct texts {
    char *ca, *cert, *key;
};

static struct texts texts_of(const json_t *secret)
{
    return (struct texts){.ca = site_secret_get(secret, "ca.crt"),
                          .cert = site_secret_get(secret, "tls.crt"),
                          .key = site_secret_get(secret, "tls.key")};
}

static void texts_fini(struct texts *t)
{
    free(t->ca);
    free(t->cert);
    pki_wipe(t->key);
}

static void tell_expiry(struct planning *p, const json_t *secret)
{
    json_t *fact = json_object_get(p->certificates, site_text(secret, "metadata.name"));
    char *cert = site_secret_get(secret, "tls.crt");
    struct pki_info info;
    char text[SITE_TIME_MAX];

    if (cert && pki_inspect(str_of(cert), &info, NULL) == 0) {
        site_time_text(info.not_after, text);
        json_object_set_new(fact, "expires", json_string(text));
        pki_info_fini(&info);
    }
    free(cert);
}

void certificates_read(struct planning *p)
{
    p->certificates = json_object();
    read_profiles(p);
    for (size_t i = 0; i < p->count; i++) {
        const char *name = site_text(p->seen[i], "metadata.name");
        char *profile;

        if (!is_kind(p->seen[i], "Secret") || !counts(p->seen[i]))
            continue;
        profile = str_fmt("%s-profile", name);
        tell_profile(p, p->seen[i], profile);
        tell_profile(p, p->seen[i], name);
        if (plan_seen(p, "Certificate", name))
            tell_expiry(p, p->seen[i]);
        free(profile);
    }
}

// The Secret a profile of the router is made of.
static const json_t *secret_of(const struct planning *p, const char *profile)
{
    static const char end[] = "-profile";
    const json_t *secret = plan_seen(p, "Secret", profile);
    size_t len = strlen(profile), cut = sizeof(end) - 1;
    char *name;

    if (secret || len <= cut || strcmp(profile + len - cut, end) != 0)
        return secret;
    name = str_dup((struct str){profile, len - cut});
    secret = plan_seen(p, "Secret", name);
    free(name);
    return secret;
}

static void note_time(struct planning *p, int64_t at)
{
    if (at < p->out->next_at)
        p->out->next_at = at;
}

// A certificate may be missing: it has no end then.
static int read_end(const char *key, const char *cert, int64_t *ends_at, struct why *why)
{
    struct pki_info info = {.not_after = INT64_MAX};
    int err = cert && cert[0] ? pki_inspect(str_of(cert), &info, why) : 0;

    if (err < 0)
        why_prefix(why, "%s", key);
    *ends_at = info.not_after;
    pki_info_fini(&info);
    return err;
}

// What can be said of a content whatever the time is.
static json_t *look_into(const json_t *secret)
{
    struct texts t = texts_of(secret);
    struct why why = {""};
    int64_t ends_at;
    bool is_readable = read_end("ca.crt", t.ca, &ends_at, &why) == 0 &&
                       read_end("tls.crt", t.cert, &ends_at, &why) == 0;

    if (is_readable && t.cert && t.cert[0] && t.key && t.key[0] &&
        pki_check_key(str_of(t.cert), str_of(t.key), &why) < 0)
        why_prefix(&why, "tls.key");
    texts_fini(&t);
    return json_pack("{s:b, s:I, s:s}", "readable", (int)is_readable, "ends_at",
                     (json_int_t)ends_at, "wrong", why.text);
}

// Of what look_into() has found, what counts now; "": nothing.
static void judge(const json_t *found, int64_t now, struct why *why)
{
    json_int_t ends_at = json_integer_value(json_object_get(found, "ends_at"));
    char text[SITE_TIME_MAX];

    why_set(why, "%s", site_text(found, "wrong"));
    if (!json_is_true(json_object_get(found, "readable")) || ends_at > now)
        return;
    site_time_text(ends_at, text);
    why_set(why, "tls.crt: the certificate has expired on %s", text);
}

// A Secret is used as it is, but what is wrong with its content is told. To look into hundreds of
// them takes long, so it is done once for each content.
static void note_flaw(struct planning *p, const json_t *secret, const char *digest)
{
    const char *name = site_text(secret, "metadata.name");
    json_t *found = json_object_get(p->f->checked, digest);
    char *key = site_key("Secret", name);
    struct why why;

    found = found ? json_incref(found) : look_into(secret);
    json_object_set_new(p->out->checked, digest, found);
    judge(found, p->f->now, &why);
    if (!why.text[0])
        note_time(p, json_integer_value(json_object_get(found, "ends_at")));
    else if (!json_object_get(p->out->issues, name))
        json_object_set_new(p->out->notes, key,
                            json_pack("{s:o, s:s, s:s, s:s}", "object", plan_identity(secret),
                                      "type", "Warning", "reason", "NotUsable", "message",
                                      why.text));
    free(key);
}

// {secret: [{"profileName", "ordinal", "digest"}]} of profiles that are configured.
void secret_contexts(struct planning *p)
{
    json_t *lists = json_object(), *pair, *list;
    const char *name;
    char digest[65];
    size_t i;

    json_array_foreach(p->out->site.router, i, pair)
    {
        const char *profile = site_text(json_array_get(pair, 1), "name");
        const json_t *secret;

        if (strcmp(json_string_value(json_array_get(pair, 0)), "sslProfile") != 0)
            continue;
        secret = secret_of(p, profile);
        if (!secret)
            continue;
        name = site_text(secret, "metadata.name");
        digest_of(json_object_get(secret, "data"), digest);
        list = json_object_get(lists, name);
        if (!list) {
            list = json_array();
            json_object_set_new(lists, name, list);
            note_flaw(p, secret, digest);
        }
        json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "profileName", profile, "ordinal",
                                              ordinal_of(p, secret, profile), "digest", digest));
    }
    json_object_foreach(lists, name, list)
    {
        char *text = json_dumps(list, JSON_COMPACT);

        if (strcmp(annotation(plan_seen(p, "Secret", name), CONTEXT), text) != 0 &&
            !json_object_get(p->out->issues, name))
            json_object_set_new(p->contexts, name, json_string(text));
        free(text);
    }
    json_decref(lists);
}

// ------------------------------------------------------------------------------------ Certificates

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Sorted, each once.
static json_t *sorted_hosts(const json_t *hosts)
{
    size_t count = json_array_size(hosts);
    const char **list = xcalloc(count + 1, sizeof(*list));
    json_t *out = json_array();

    for (size_t i = 0; i < count; i++)
        list[i] = json_string_value(json_array_get(hosts, i));
    qsort(list, count, sizeof(*list), by_text);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(list[i], list[i - 1]) != 0)
            json_array_append_new(out, json_string(list[i]));
    free(list);
    return out;
}

// "h1,h2"; the caller frees.
static char *joined(const json_t *hosts)
{
    char *all = xstrdup("");
    json_t *host;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)hosts, i, host)
    {
        char *longer = str_fmt("%s%s%s", all, i > 0 ? "," : "", json_string_value(host));

        free(all);
        all = longer;
    }
    return all;
}

static void put_owner(json_t *object, const json_t *owner, const json_t *hosts)
{
    json_t *refs = json_object_get(object_metadata(object), "ownerReferences"), *sorted;
    char *key = str_fmt("internal.skupper.io/hosts-%s", site_text(owner, "metadata.uid")), *text;

    if (!refs) {
        refs = json_array();
        json_object_set_new(object_metadata(object), "ownerReferences", refs);
    }
    json_array_append_new(
        refs, json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", site_text(owner, "apiVersion"),
                        "kind", site_text(owner, "kind"), "name", site_text(owner, "metadata.name"),
                        "uid", site_text(owner, "metadata.uid")));
    sorted = sorted_hosts(hosts);
    text = joined(sorted);
    if (text[0])
        json_object_set_new(object_annotations(object), key, json_string(text));
    json_decref(sorted);
    free(text);
    free(key);
}

static size_t seen_owners(const struct planning *p, const json_t *owners)
{
    const char *key;
    json_t *hosts;
    size_t count = 0;

    json_object_foreach((json_t *)(uintptr_t)owners, key, hosts) count +=
        map_get(&p->by_key, str_of(key)) != NULL;
    return count;
}

static void put_certificate(struct planning *p, const json_t *entry, const json_t *owners)
{
    const char *name = site_text(entry, "name"), *key;
    json_t *object, *spec, *hosts;
    char *told = site_key("Site", site_text(p->site, "metadata.name"));

    object = plan_object(p, SKUPPER_API, "Certificate", name, NULL, told);
    free(told);
    json_object_set_new(object_labels(object), "internal.skupper.io/certificate",
                        json_string("true"));
    json_object_set_new(object_annotations(object), CONTROLLED, json_string("true"));
    json_object_foreach((json_t *)(uintptr_t)owners, key, hosts)
    {
        const json_t *owner = map_get(&p->by_key, str_of(key));

        if (owner)
            put_owner(object, owner, hosts);
    }
    spec = json_pack("{s:O, s:O}", "ca", json_object_get(entry, "ca"), "subject",
                     json_object_get(entry, "subject"));
    hosts = sorted_hosts(json_object_get(entry, "hosts"));
    if (json_array_size(hosts) > 0)
        json_object_set(spec, "hosts", hosts);
    json_decref(hosts);
    for (const char *const *use = (const char *const[]){"client", "server", "signing", NULL}; *use;
         use++)
        if (json_is_true(json_object_get(entry, *use)))
            json_object_set_new(spec, *use, json_true());
    json_object_set_new(object, "spec", spec);
    template_apply(p, object);
}

// -------------------------------------------------------------------------------------- Secrets

// Signs itself: all that sign, unless another CA is named, and that one signs leaves alone.
static bool is_authority(const json_t *entry)
{
    return json_is_true(json_object_get(entry, "signing")) && !site_text(entry, "ca")[0];
}

static bool has_hosts(const struct pki_info *info, const json_t *hosts)
{
    size_t count = json_array_size(hosts);
    const char **list = xcalloc(count + 1, sizeof(*list));
    bool has;

    for (size_t i = 0; i < count; i++)
        list[i] = json_string_value(json_array_get(hosts, i));
    has = pki_has_hosts(info, list, count);
    free(list);
    return has;
}

// Why a Secret is not what its Certificate wants, in words for the log; NULL: it is. *renew_at:
// when it will have to be made anew.
static const char *what_is_wrong(const struct planning *p, const json_t *entry,
                                 const struct texts *t, int64_t *renew_at)
{
    const char *wrong = NULL;
    bool is_ca = is_authority(entry);
    struct pki_info info;

    *renew_at = INT64_MAX;
    if (!t->cert || !t->key || pki_inspect(str_of(t->cert), &info, NULL) < 0)
        return "it cannot be read";
    if (strcmp(info.name, site_text(entry, "subject")) != 0 || info.is_ca != is_ca)
        wrong = "it is for another subject";
    else if (!is_ca && !has_hosts(&info, json_object_get(entry, "hosts")))
        wrong = "it is for other hosts";
    else if (p->f->now >= info.not_after)
        wrong = "it has expired";
    else if (pki_check_key(str_of(t->cert), str_of(t->key), NULL) < 0)
        wrong = "its key is another one";
    if (!wrong)
        *renew_at =
            pki_renew_at(info.not_before, info.not_after, RENEW_PERCENT, (uint64_t)info.not_before);
    pki_info_fini(&info);
    return wrong;
}

static bool is_of_ca(const struct planning *p, const json_t *entry, const struct texts *t)
{
    const json_t *secret = plan_seen(p, "Secret", site_text(entry, "ca"));
    char *ca = site_secret_get(secret, "tls.crt");
    struct pki_check check = {.cert = str_of(t->cert), .ca = str_of(ca), .now = p->f->now};
    bool is = !ca || pki_check(&check, NULL) == 0;

    free(ca);
    return is;
}

// Everything of the Secret but its data.
static json_t *secret_shell(const struct planning *p, const json_t *entry,
                            const json_t *certificate)
{
    const char *name = site_text(entry, "name");
    json_t *secret = json_pack(
        "{s:s, s:s, s:s, s:{s:s, s:s, s:{s:s, s:s}, s:[{s:s, s:s, s:s, s:s}]}}", "apiVersion", "v1",
        "kind", "Secret", "type", "kubernetes.io/tls", "metadata", "name", name, "namespace",
        p->f->ns, "annotations", CONTROLLED, "true", "internal.skupper.io/certificate", name,
        "ownerReferences", "apiVersion", site_text(certificate, "apiVersion"), "kind",
        site_text(certificate, "kind"), "name", site_text(certificate, "metadata.name"), "uid",
        site_text(certificate, "metadata.uid"));
    json_t *hosts = sorted_hosts(json_object_get(entry, "hosts"));
    char *text = joined(hosts);

    if (text[0])
        json_object_set_new(object_annotations(secret), "internal.skupper.io/hosts",
                            json_string(text));
    template_apply(p, secret);
    free(text);
    json_decref(hosts);
    return secret;
}

// The profiles that are told of in the Secret, and the ordinals they get with a new content.
static json_t *next_ordinals(const struct planning *p, const json_t *seen, const char *name)
{
    json_t *context = json_loads(annotation(seen, CONTEXT), 0, NULL), *next = json_object(), *one;
    size_t i;

    json_array_foreach(context, i, one)
    {
        const char *profile = site_text(one, "profileName");

        if (profile[0])
            json_object_set_new(next, profile, json_integer(ordinal_of(p, seen, profile) + 1));
    }
    if (!json_object_get(next, name))
        json_object_set_new(next, name, json_integer(seen ? ordinal_of(p, seen, name) + 1 : 0));
    json_decref(context);
    return next;
}

static void put_issue(struct planning *p, const json_t *entry, const json_t *seen,
                      const char *wrong, bool renew)
{
    const char *name = site_text(entry, "name"), *ca = site_text(entry, "ca");
    const json_t *certificate = plan_owner(p, "Certificate", name);
    json_t *issue;

    // The Certificate owns it, the CA signs it: what is not there yet, or about to be made anew, is
    // waited for.
    if (!certificate || json_object_get(p->out->issues, ca) ||
        (ca[0] && !has_key(plan_seen(p, "Secret", ca), "tls.key")))
        return;
    issue = json_deep_copy(entry);
    json_object_del(issue, "secret");
    json_object_del(issue, "owners");
    json_object_set_new(issue, "why", json_string(wrong));
    json_object_set_new(issue, "renew", json_boolean(renew));
    json_object_set_new(issue, "profiles", next_ordinals(p, seen, name));
    json_object_set_new(issue, "secret", secret_shell(p, entry, certificate));
    json_object_set_new(p->out->issues, name, issue);
}

static void tell_error(struct planning *p, const char *name, const char *words)
{
    json_t *fact = json_object_get(p->certificates, name);

    if (!fact) {
        fact = json_object();
        json_object_set_new(p->certificates, name, fact);
    }
    json_object_set_new(fact, "error", json_string(words));
}

static void look_at_secret(struct planning *p, const json_t *entry)
{
    const char *name = site_text(entry, "name"), *wrong;
    const json_t *seen = plan_seen(p, "Secret", name);
    bool is_ca = is_authority(entry);
    struct texts t = texts_of(seen);
    int64_t renew_at;
    char *key = site_key("Secret", name);
    enum own own = plan_own(p, key);

    wrong = what_is_wrong(p, entry, &t, &renew_at);
    if (!wrong && own == OWN_OURS && !is_ca && !is_of_ca(p, entry, &t))
        wrong = "it was signed by another CA";
    if (!seen)
        put_issue(p, entry, NULL, "there is none", false);
    else if (own == OWN_FOREIGN && wrong)
        tell_error(p, name, NOT_OURS);
    else if (own == OWN_OURS && (wrong || p->f->now >= renew_at))
        put_issue(p, entry, seen, wrong ? wrong : "its end is near", is_ca && !wrong);
    else if (own == OWN_OURS)
        note_time(p, renew_at);
    if (value_of(p->f->refused, key)[0])
        tell_error(p, name, value_of(p->f->refused, key));
    free(key);
    texts_fini(&t);
}

void certificate_objects(struct planning *p)
{
    json_t *entry;
    size_t i;

    p->out->next_at = INT64_MAX;
    json_array_foreach(p->out->site.certificates, i, entry)
    {
        const json_t *owners = json_object_get(entry, "owners");
        char *key = site_key("Certificate", site_text(entry, "name"));
        bool is_users = plan_own(p, key) == OWN_FOREIGN;

        free(key);
        if (!site_text(entry, "subject")[0])
            continue; // a Secret that somebody uses
        if (!p->root && !is_users && seen_owners(p, owners) > 0)
            put_certificate(p, entry, owners);
        look_at_secret(p, entry);
    }
}

// ---------------------------------------------------------------------------------------- issuing

static struct pki_wish wish_of(const json_t *issue, const char **hosts, int64_t now)
{
    const json_t *list = json_object_get(issue, "hosts");
    size_t count = json_array_size(list);

    for (size_t i = 0; i < count; i++)
        hosts[i] = json_string_value(json_array_get(list, i));
    return (struct pki_wish){.name = site_text(issue, "subject"),
                             .hosts = hosts,
                             .host_count = count,
                             // Others read no other key of a CA.
                             .key = is_authority(issue) ? PKI_RSA : PKI_EC,
                             .not_before = now - PKI_SKEW_S,
                             .not_after = now + PKI_LIFE_S};
}

static int make_pair(const json_t *issue, const struct texts *ca, const struct texts *before,
                     int64_t now, struct pki_pair *out, struct why *why)
{
    const char **hosts =
        xcalloc(json_array_size(json_object_get(issue, "hosts")) + 1, sizeof(*hosts));
    struct pki_wish wish = wish_of(issue, hosts, now);
    int err;

    *out = (struct pki_pair){0};
    if (json_is_true(json_object_get(issue, "renew")) && before->cert && before->key) {
        err = pki_renew_ca(str_of(before->cert), str_of(before->key), wish.not_before,
                           wish.not_after, &out->cert, why);
        if (!err)
            out->key = xstrdup(before->key);
    } else if (is_authority(issue)) {
        err = pki_make_ca(&wish, out, why);
    } else if (ca->cert && ca->key) {
        err = pki_make_leaf(&wish, str_of(ca->cert), str_of(ca->key), out, why);
    } else {
        why_set(why, "the Secret of the CA \"%s\" has no certificate and key",
                site_text(issue, "ca"));
        err = ERR_NOT_FOUND;
    }
    free(hosts);
    return err;
}

static void put_context(json_t *secret, const json_t *profiles)
{
    json_t *list = json_array(), *ordinal;
    const char *profile;
    char digest[65], *text;

    digest_of(json_object_get(secret, "data"), digest);
    json_object_foreach((json_t *)(uintptr_t)profiles, profile, ordinal)
        json_array_append_new(list, json_pack("{s:s, s:O, s:s}", "profileName", profile, "ordinal",
                                              ordinal, "digest", digest));
    text = json_dumps(list, JSON_COMPACT);
    json_object_set_new(object_annotations(secret), CONTEXT, json_string(text));
    free(text);
    json_decref(list);
}

int controller_issue(const json_t *issue, const json_t *ca, const json_t *before, int64_t now,
                     json_t **out, struct why *why)
{
    struct texts of_ca = texts_of(ca), was = texts_of(before);
    struct pki_pair pair;
    int err = make_pair(issue, &of_ca, &was, now, &pair, why);

    if (!err) {
        *out = json_deep_copy(json_object_get(issue, "secret"));
        site_secret_fill(*out, of_ca.cert ? of_ca.cert : pair.cert, pair.cert, pair.key);
        if (!is_authority(issue))
            put_context(*out, json_object_get(issue, "profiles"));
        pki_pair_fini(&pair);
    }
    texts_fini(&of_ca);
    texts_fini(&was);
    return err;
}
