// SPDX-License-Identifier: Apache-2.0
// The certificates of a site as files: those the user supplied, those of Secrets, those made here.
// A certificate stays as long as its subject, hosts and CA are the same and its end is far. A CA
// whose end is near stays the same for longer: others trust it, and nobody asks them.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/inside.h"
#include "pki/pki.h"

enum {
    RENEW_PERCENT = 80, // of its life, then a new one is made
    AGAIN_S = 10,       // after an error, which may have gone by itself
    LIVE_REVISIONS = 2, // so many older ones may go on with their connections
    SET_MAX = 32,       // names of files
    CERT_MODE = 0640,
    KEY_MODE = 0600,
};

// The three texts of one certificate, NUL-terminated or NULL.
struct triple {
    char *ca, *cert, *key;
};

static void triple_fini(struct triple *t)
{
    free(t->ca);
    free(t->cert);
    pki_wipe(t->key);
    *t = (struct triple){0};
}

struct certs {
    struct memory *memory;
    const struct host_paths *paths;
    const struct site_input *inputs;
    size_t input_count;
    int64_t now, renew_at;
};

char *certs_directory(const struct host_paths *paths, const char *name, bool is_ca)
{
    return host_path(paths, "runtime/%s/%s", is_ca ? "issuers" : "certs", name);
}

// 0 with *text NULL when there is no such file; ERR_IO when it is there and cannot be read.
static int read_text(const char *directory, const char *file, char **text, struct why *why)
{
    char *path = str_fmt("%s/%s", directory, file);
    size_t len = 0;
    int err = host_read(path, text, &len, why);

    free(path);
    return err == ERR_NOT_FOUND ? 0 : err;
}

// What is in a directory, some of it NULL. ERR_IO when something is there and cannot be read; then
// *out is empty.
static int read_triple(const char *directory, struct triple *out, struct why *why)
{
    int err;

    *out = (struct triple){0};
    err = read_text(directory, "ca.crt", &out->ca, why);
    if (!err)
        err = read_text(directory, "tls.crt", &out->cert, why);
    if (!err)
        err = read_text(directory, "tls.key", &out->key, why);
    if (err < 0)
        triple_fini(out);
    return err;
}

// The key first: where a certificate is, its key has been.
static int write_triple(const char *directory, const struct triple *t, struct why *why)
{
    const struct {
        const char *file, *text;
        mode_t mode;
    } files[] = {{"tls.key", t->key, KEY_MODE},
                 {"ca.crt", t->ca, CERT_MODE},
                 {"tls.crt", t->cert, CERT_MODE}};
    int err = host_make_directory(directory, why);

    for (size_t i = 0; !err && i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = str_fmt("%s/%s", directory, files[i].file);

        if (files[i].text)
            err = host_write(path, str_of(files[i].text), files[i].mode, why);
        free(path);
    }
    return err;
}

// ------------------------------------------------------------------------------- where it is from

// What is there of a set and what is not, "tls.crt" and "ca.crt, tls.key". A CA needs no ca.crt.
static bool is_partial(const struct triple *t, bool is_ca, char has[SET_MAX], char lacks[SET_MAX])
{
    const struct {
        const char *file, *text;
        bool is_needed;
    } files[] = {{"ca.crt", t->ca, !is_ca}, {"tls.crt", t->cert, true}, {"tls.key", t->key, true}};

    has[0] = lacks[0] = '\0';
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *list = files[i].text ? has : lacks;

        if (!files[i].text && !files[i].is_needed)
            continue;
        if (list[0])
            strcat(list, ", ");
        strcat(list, files[i].file);
    }
    return has[0] && lacks[0];
}

// A complete set of the user's; a partial one is passed over, with a note. ERR_NOT_FOUND: there is
// none, ERR_IO: there is one that cannot be read.
static int from_user(const struct certs *c, const char *name, bool is_ca, struct triple *out,
                     struct why *note, struct why *why)
{
    char *directory = host_path(c->paths, "input/%s/%s", is_ca ? "issuers" : "certs", name);
    char has[SET_MAX], lacks[SET_MAX];
    int err = read_triple(directory, out, why);

    if (!err && is_partial(out, is_ca, has, lacks))
        why_set(note,
                "%s has %s and not %s, so it is not used: put there what is missing, or remove the "
                "directory",
                directory, has, lacks);
    free(directory);
    if (err < 0 || (out->cert && out->key && (out->ca || is_ca)))
        return err;
    triple_fini(out);
    return ERR_NOT_FOUND;
}

static bool from_secret(const struct certs *c, const char *name, struct triple *out)
{
    for (size_t i = 0; name[0] && i < c->input_count; i++) {
        const json_t *secret = c->inputs[i].value;

        if (strcmp(site_text(secret, "kind"), "Secret") != 0 ||
            strcmp(site_text(secret, "metadata.name"), name) != 0)
            continue;
        *out = (struct triple){.ca = site_secret_get(secret, "ca.crt"),
                               .cert = site_secret_get(secret, "tls.crt"),
                               .key = site_secret_get(secret, "tls.key")};
        return true;
    }
    return false;
}

// Its wanted hosts; the array is the caller's, the texts are not.
static const char **hosts_of(const json_t *wish, size_t *count)
{
    const json_t *hosts = json_object_get(wish, "hosts");
    const char **list = xcalloc(json_array_size(hosts) + 1, sizeof(*list));

    *count = json_array_size(hosts);
    for (size_t i = 0; i < *count; i++)
        list[i] = json_string_value(json_array_get(hosts, i));
    return list;
}

static void note_renewal(struct certs *c, const struct pki_info *info)
{
    int64_t at =
        pki_renew_at(info->not_before, info->not_after, RENEW_PERCENT, (uint64_t)info->not_before);

    if (at < c->renew_at)
        c->renew_at = at;
}

static void note_text(struct certs *c, const char *cert)
{
    struct pki_info info;

    if (pki_inspect(str_of(cert), &info, NULL) < 0)
        return;
    note_renewal(c, &info);
    pki_info_fini(&info);
}

// Signs itself: all that sign, unless another CA is named, and that one signs leaves alone.
static bool is_authority(const json_t *wish)
{
    return json_is_true(json_object_get(wish, "signing")) && !site_text(wish, "ca")[0];
}

static bool is_of_now(const struct certs *c, const struct pki_info *info)
{
    return c->now >= info->not_before &&
           c->now < pki_renew_at(info->not_before, info->not_after, RENEW_PERCENT,
                                 (uint64_t)info->not_before);
}

// Is what stands there what is wanted, of the CA there is now, and far from its end?
static bool is_right(struct certs *c, const json_t *wish, const struct triple *t,
                     const struct triple *ca)
{
    struct pki_info info;
    const char **hosts;
    size_t count;
    bool ok;

    if (!t->cert || !t->key || pki_inspect(str_of(t->cert), &info, NULL) < 0)
        return false;
    hosts = hosts_of(wish, &count);
    ok = strcmp(info.name, site_text(wish, "subject")) == 0 && info.is_ca == is_authority(wish) &&
         (info.is_ca || pki_has_hosts(&info, hosts, count)) && is_of_now(c, &info) &&
         pki_check_key(str_of(t->cert), str_of(t->key), NULL) == 0;
    if (ok && ca->cert) {
        struct pki_check check = {.cert = str_of(t->cert), .ca = str_of(ca->cert), .now = c->now};

        ok = t->ca && strcmp(t->ca, ca->cert) == 0 && pki_check(&check, NULL) == 0;
    }
    if (ok)
        note_renewal(c, &info);
    free(hosts);
    pki_info_fini(&info);
    return ok;
}

static bool is_for_us_alone(const json_t *wish)
{
    return json_is_true(json_object_get(wish, "ours"));
}

// A CA's key is RSA, which is all that others read, unless it is for us alone; everything else is
// made in a moment with EC. *hosts is what the wish borrows, to be freed.
static struct pki_wish wish_of(const struct certs *c, const json_t *wish, const char ***hosts)
{
    bool is_ca = json_is_true(json_object_get(wish, "signing"));
    size_t count;

    *hosts = hosts_of(wish, &count);
    return (struct pki_wish){.name = site_text(wish, "subject"),
                             .hosts = *hosts,
                             .host_count = count,
                             .key = is_ca && !is_for_us_alone(wish) ? PKI_RSA : PKI_EC,
                             // Clocks that are a little behind take it too.
                             .not_before = c->now - PKI_SKEW_S,
                             .not_after = c->now + PKI_LIFE_S};
}

static int make(struct certs *c, const json_t *wish, const struct triple *ca, struct triple *out,
                struct why *why)
{
    const char **hosts;
    struct pki_wish w = wish_of(c, wish, &hosts);
    struct pki_pair pair = {0};
    int err = ca->cert ? pki_make_leaf(&w, str_of(ca->cert), str_of(ca->key), &pair, why)
                       : pki_make_ca(&w, &pair, why);

    free(hosts);
    if (err < 0)
        return err;
    *out = (struct triple){
        .ca = xstrdup(ca->cert ? ca->cert : pair.cert), .cert = pair.cert, .key = pair.key};
    note_text(c, out->cert);
    return 0;
}

// The words for a CA that stands there and is of no use. Another in its place would end all links
// that were made with it, so that is left to the user.
static void tell_damaged(const char *directory, const char *reason, struct why *why)
{
    why_set(why,
            "the CA in %s is of no use: %s; put a copy back, or remove the directory: then a new "
            "one is made, and all links made with the old one have to be made anew",
            directory, reason);
}

// A CA that stands there: *found becomes the same for longer when its end is near, with its key, so
// that links made with it go on. ERR_NOT_FOUND: one has to be made. Otherwise it is of no use.
static int keep_authority(struct certs *c, const json_t *wish, const char *directory,
                          struct triple *found, bool *is_new, struct why *why)
{
    struct pki_info info;
    struct why reason = {"its key is not there"};
    bool is_other;
    char *longer = NULL;
    int err;

    if (!found->cert)
        return ERR_NOT_FOUND;
    err = pki_inspect(str_of(found->cert), &info, &reason);
    if (err < 0) {
        tell_damaged(directory, reason.text, why);
        return err;
    }
    is_other = !info.is_ca || strcmp(info.name, site_text(wish, "subject")) != 0;
    *is_new = !is_of_now(c, &info);
    if (!is_other && !*is_new)
        note_renewal(c, &info);
    pki_info_fini(&info);
    if (is_other)
        return ERR_NOT_FOUND;
    err = found->key ? pki_check_key(str_of(found->cert), str_of(found->key), &reason) : ERR_DECODE;
    if (!err && *is_new)
        err = pki_renew_ca(str_of(found->cert), str_of(found->key), c->now - PKI_SKEW_S,
                           c->now + PKI_LIFE_S, &longer, &reason);
    if (err < 0) {
        tell_damaged(directory, reason.text, why);
        return ERR_DECODE;
    }
    if (*is_new) {
        free(found->ca);
        free(found->cert);
        *found = (struct triple){.ca = xstrdup(longer), .cert = longer, .key = found->key};
        note_text(c, longer);
    }
    return 0;
}

// ------------------------------------------------------------------------------------ one of them

static int load_ca(const struct certs *c, const char *name, struct triple *out, struct why *why)
{
    char *directory;
    int err;

    *out = (struct triple){0};
    if (!name[0])
        return 0;
    directory = certs_directory(c->paths, name, true);
    err = read_triple(directory, out, why);
    free(directory);
    if (err < 0 || (out->cert && out->key))
        return err;
    triple_fini(out);
    why_set(why, "the CA \"%s\" is not there", name);
    return ERR_NOT_FOUND;
}

// One that is made here: *found becomes what stands there, the same for longer, or a new one.
static int own(struct certs *c, const json_t *wish, const char *directory, struct triple *found,
               bool *is_new, struct why *why)
{
    struct triple ca;
    struct why reason = {""};
    int err = load_ca(c, site_text(wish, "ca"), &ca, why);

    if (err < 0)
        return err;
    err = read_triple(directory, found, &reason);
    if (is_authority(wish)) {
        if (err < 0)
            tell_damaged(directory, reason.text, why);
        else
            err = keep_authority(c, wish, directory, found, is_new, why);
    } else {
        *is_new = err < 0 || !is_right(c, wish, found, &ca);
        err = *is_new ? ERR_NOT_FOUND : 0;
    }
    if (err < 0)
        triple_fini(found);
    if (err == ERR_NOT_FOUND) {
        *is_new = true;
        err = make(c, wish, &ca, found, why);
    }
    triple_fini(&ca);
    return err;
}

// A Secret may have a CA alone, for those who only trust.
static int check_secret(const char *secret, struct triple *found, struct why *why)
{
    if (!found->cert == !found->key)
        return 0;
    why_set(why, "the Secret \"%s\" has %s and not %s, so it is not used: add what is missing",
            secret, found->cert ? "tls.crt" : "tls.key", found->cert ? "tls.key" : "tls.crt");
    triple_fini(found);
    return ERR_INVALID;
}

// Fills *found with what the certificate is to be; *is_new: it has to be written. *note: what the
// user gave is not used, and why.
static int settle(struct certs *c, const json_t *wish, const char *directory, struct triple *found,
                  bool *is_new, struct why *note, struct why *why)
{
    const char *name = site_text(wish, "name"), *secret = site_text(wish, "secret");
    bool is_ca = json_is_true(json_object_get(wish, "signing"));
    int err = from_user(c, name, is_ca, found, note, why);

    *is_new = true;
    if (err != ERR_NOT_FOUND)
        return err;
    if (from_secret(c, secret, found))
        return check_secret(secret, found, why);
    if (secret[0] && !site_text(wish, "subject")[0]) {
        why_set(why, "there is no Secret \"%s\" in the input", secret);
        return ERR_NOT_FOUND;
    }
    return own(c, wish, directory, found, is_new, why);
}

// Clients find the router with the help of this file.
static int write_connect(const char *directory, struct why *why)
{
    static const char text[] =
        "{\"scheme\": \"amqps\", \"host\": \"127.0.0.1\", \"tls\": {\"ca\": "
        "\"ca.crt\", \"cert\": \"tls.crt\", \"key\": \"tls.key\", \"verify\": "
        "true}}\n";
    char *path = str_fmt("%s/connect.json", directory);
    int err = host_write(path, str_of(text), CERT_MODE, why);

    free(path);
    return err;
}

// Counts a change of the content: the router goes over to it without losing a connection.
static void count(struct certs *c, const char *name, const char *print)
{
    json_t *all = memory_object(c->memory, "certificates"), *one = json_object_get(all, name);
    json_int_t ordinal = json_integer_value(json_object_get(one, "ordinal"));

    if (one && strcmp(site_text(one, "fingerprint"), print) == 0)
        return;
    ordinal = one ? ordinal + 1 : 0;
    json_object_set_new(
        all, name,
        json_pack("{s:s, s:I, s:I}", "fingerprint", print, "ordinal", ordinal, "oldest",
                  ordinal > LIVE_REVISIONS ? ordinal - LIVE_REVISIONS : (json_int_t)0));
}

static int ensure_one(struct certs *c, const json_t *wish, char expires[SITE_TIME_MAX],
                      struct why *note, struct why *why)
{
    const char *name = site_text(wish, "name");
    bool is_ca = json_is_true(json_object_get(wish, "signing")), is_new = false;
    char *directory = certs_directory(c->paths, name, is_ca);
    struct triple t = {0};
    struct pki_info info = {0};
    char *print, digest[65];
    int err = settle(c, wish, directory, &t, &is_new, note, why);

    expires[0] = '\0';
    if (!err && t.cert)
        err = pki_inspect(str_of(t.cert), &info, why);
    if (!err && t.cert && t.key)
        err = pki_check_key(str_of(t.cert), str_of(t.key), why);
    if (!err && is_new)
        err = write_triple(directory, &t, why);
    if (!err && json_is_true(json_object_get(wish, "client")) && t.key)
        err = write_connect(directory, why);
    if (!err) {
        // The CA counts too: who only trusts has nothing else.
        pki_digest(str_of(t.ca), digest);
        print = str_fmt("%s %s", info.fingerprint, digest);
        count(c, name, print);
        free(print);
        if (info.not_after)
            site_time_text(info.not_after, expires);
    }
    pki_info_fini(&info);
    triple_fini(&t);
    free(directory);
    return err;
}

// Is nothing there of a CA that has to be made with an RSA key?
static bool is_missing(const struct certs *c, const json_t *wish)
{
    const char *name = site_text(wish, "name");
    char *own_place = certs_directory(c->paths, name, true);
    char *users = host_path(c->paths, "input/issuers/%s", name);
    bool is = is_authority(wish) && !is_for_us_alone(wish) && !site_text(wish, "secret")[0] &&
              access(own_place, F_OK) != 0 && access(users, F_OK) != 0;

    free(own_place);
    free(users);
    return is;
}

// At the first start several CAs are missing. They are made side by side; what goes wrong here is
// told when each is looked at.
static void make_missing(const struct certs *c, const json_t *wanted)
{
    struct pki_wish wishes[PKI_CAS_MAX];
    struct pki_pair pairs[PKI_CAS_MAX];
    const char **hosts[PKI_CAS_MAX], *names[PKI_CAS_MAX];
    size_t i, count = 0;
    json_t *wish;

    json_array_foreach((json_t *)(uintptr_t)wanted, i, wish)
    {
        if (count == PKI_CAS_MAX || !is_missing(c, wish))
            continue;
        names[count] = site_text(wish, "name");
        wishes[count] = wish_of(c, wish, &hosts[count]);
        count++;
    }
    bool is_made = count > 1 && pki_make_cas(wishes, count, pairs, NULL) == 0;

    for (i = 0; i < count; i++) {
        char *directory = certs_directory(c->paths, names[i], true);

        if (is_made) {
            struct triple t = {.ca = pairs[i].cert, .cert = pairs[i].cert, .key = pairs[i].key};

            write_triple(directory, &t, NULL);
            pki_pair_fini(&pairs[i]);
        }
        free(hosts[i]);
        free(directory);
    }
}

json_t *certs_ensure(struct memory *m, const struct host_paths *paths, const json_t *wanted,
                     const struct site_input *inputs, size_t input_count, int64_t now,
                     int64_t *renew_at)
{
    struct certs c = {.memory = m,
                      .paths = paths,
                      .inputs = inputs,
                      .input_count = input_count,
                      .now = now,
                      .renew_at = INT64_MAX};
    json_t *facts = json_object(), *wish;
    size_t i;

    make_missing(&c, wanted);
    json_array_foreach((json_t *)(uintptr_t)wanted, i, wish)
    {
        const char *name = site_text(wish, "name");
        char expires[SITE_TIME_MAX];
        struct why note = {""}, why = {""};
        int err = ensure_one(&c, wish, expires, &note, &why);
        const json_t *known = json_object_get(memory_object(m, "certificates"), name);
        json_t *fact = json_pack("{s:O?, s:O?}", "ordinal", json_object_get(known, "ordinal"),
                                 "oldest", json_object_get(known, "oldest"));

        if (err < 0) {
            json_object_set_new(fact, "error", json_string(why.text));
            if (now + AGAIN_S < c.renew_at)
                c.renew_at = now + AGAIN_S;
        } else {
            json_object_set_new(fact, "expires", json_string(expires));
            if (note.text[0])
                json_object_set_new(fact, "error", json_string(note.text));
        }
        json_object_set_new(facts, name, fact);
    }
    *renew_at = c.renew_at;
    return facts;
}
