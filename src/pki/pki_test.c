// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "check.h"
#include "pki/pki.h"

enum { NOW = 1800000000, DAY = 86400 };

static struct pki_wish wish(const char *name)
{
    return (struct pki_wish){
        .name = name, .key = PKI_EC, .not_before = NOW, .not_after = NOW + PKI_LIFE_S};
}

static struct pki_pair make_ca(const char *name)
{
    struct pki_wish w = wish(name);
    struct pki_pair ca = {0};

    w.not_before = NOW - DAY;
    CHECK_EQ(pki_make_ca(&w, &ca, NULL), 0);
    return ca;
}

static struct pki_pair make_leaf(const struct pki_wish *w, const struct pki_pair *ca)
{
    struct pki_pair leaf = {0};
    struct why why = {""};

    if (pki_make_leaf(w, str_of(ca->cert), str_of(ca->key), &leaf, &why) < 0)
        fail_msg("%s", why.text);
    return leaf;
}

static X509 *parse(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    CHECK(cert);
    BIO_free(bio);
    return cert;
}

TEST(keys_are_written_as_others_read_them)
{
    struct pki_wish w = wish("ca");
    struct pki_pair p = {0};

    w.key = PKI_RSA;
    CHECK_EQ(pki_make_ca(&w, &p, NULL), 0);
    CHECK(str_starts(str_of(p.key), STR("-----BEGIN RSA PRIVATE KEY-----\n")));
    CHECK(str_starts(str_of(p.cert), STR("-----BEGIN CERTIFICATE-----\n")));
    pki_pair_fini(&p);
    CHECK(!p.key && !p.cert);
    pki_pair_fini(&p);
    w.key = PKI_EC;
    CHECK_EQ(pki_make_ca(&w, &p, NULL), 0);
    CHECK(str_starts(str_of(p.key), STR("-----BEGIN EC PRIVATE KEY-----\n")));
    pki_pair_fini(&p);
}

TEST(a_certificate_has_the_profile)
{
    static const char *const hosts[] = {" west.example ", "10.1.2.3",     "",
                                        "2001:DB8::1",    "west.example", "10.1.2.3"};
    struct pki_pair ca = make_ca("west site CA"), leaf;
    struct pki_wish w = wish("west");
    struct pki_info i = {0};
    X509 *cert;

    w.key = PKI_RSA;
    w.hosts = hosts;
    w.host_count = 6;
    leaf = make_leaf(&w, &ca);
    cert = parse(leaf.cert);
    CHECK_EQ(X509_get_version(cert), X509_VERSION_3);
    CHECK_EQ(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
    CHECK_EQ(X509_get_extended_key_usage(cert), XKU_SSL_SERVER | XKU_SSL_CLIENT);
    CHECK_EQ(X509_get_signature_nid(cert), NID_ecdsa_with_SHA256);
    CHECK_EQ(X509_NAME_entry_count(X509_get_subject_name(cert)), 1);
    X509_free(cert);
    CHECK_EQ(pki_inspect(str_of(leaf.cert), &i, NULL), 0);
    CHECK_STR(str_of(i.name), "west");
    CHECK_STR(str_of(i.issuer), "west site CA");
    CHECK_STR(str_of(i.key), "RSA 2048");
    CHECK_EQ(i.not_before, NOW);
    CHECK_EQ(i.not_after, NOW + PKI_LIFE_S);
    CHECK(!i.is_ca && !i.is_self_signed);
    CHECK_EQ(i.host_count, 3);
    CHECK_STR(str_of(i.hosts[0]), "10.1.2.3");
    CHECK_STR(str_of(i.hosts[1]), "2001:db8::1");
    CHECK_STR(str_of(i.hosts[2]), "west.example");
    CHECK(pki_has_hosts(&i, hosts, 6));
    CHECK(!pki_has_hosts(&i, hosts, 1));
    CHECK(!pki_has_hosts(&i, NULL, 0));
    pki_info_fini(&i);
    pki_pair_fini(&leaf);

    cert = parse(ca.cert);
    CHECK_EQ(X509_get_key_usage(cert),
             KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_KEY_CERT_SIGN);
    CHECK_EQ(X509_get_extended_key_usage(cert), XKU_SSL_SERVER | XKU_SSL_CLIENT);
    CHECK_EQ(X509_check_ca(cert), 1);
    X509_free(cert);
    CHECK_EQ(pki_inspect(str_of(ca.cert), &i, NULL), 0);
    CHECK(i.is_ca && i.is_self_signed);
    CHECK_STR(str_of(i.key), "EC P-256");
    CHECK_EQ(strlen(i.fingerprint), 64);
    CHECK(strlen(i.serial) > 20);
    pki_info_fini(&i);
    pki_pair_fini(&ca);
}

TEST(an_address_is_a_name_as_well)
{
    static const char *const hosts[] = {"10.1.2.3"};
    struct pki_pair ca = make_ca("ca"), leaf;
    struct pki_wish w = wish("x");
    GENERAL_NAMES *names;
    X509 *cert;
    int types = 0;

    w.hosts = hosts;
    w.host_count = 1;
    leaf = make_leaf(&w, &ca);
    cert = parse(leaf.cert);
    names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    CHECK_EQ(sk_GENERAL_NAME_num(names), 2);
    for (int i = 0; i < 2; i++)
        types |= 1 << sk_GENERAL_NAME_value(names, i)->type;
    CHECK_EQ(types, 1 << GEN_DNS | 1 << GEN_IPADD);
    GENERAL_NAMES_free(names);
    X509_free(cert);
    pki_pair_fini(&leaf);
    pki_pair_fini(&ca);
}

TEST(a_long_name_is_kept_whole)
{
    char name[PKI_NAME_MAX + 1] = "";
    struct pki_wish w = wish(name);
    struct pki_pair p = {0};
    struct pki_info i = {0};

    memset(name, 'x', PKI_NAME_MAX - 1);
    CHECK_EQ(pki_make_ca(&w, &p, NULL), 0);
    CHECK_EQ(pki_inspect(str_of(p.cert), &i, NULL), 0);
    CHECK_STR(str_of(i.name), name);
    pki_info_fini(&i);
    pki_pair_fini(&p);
    name[PKI_NAME_MAX - 1] = 'x';
    CHECK_EQ(pki_make_ca(&w, &p, NULL), ERR_LIMIT);
}

TEST(what_makes_no_certificate_is_refused_in_words)
{
    static const char *const space[] = {"a b"}, *const comma[] = {"a,DNS:b"}, *const utf8[] = {"é"};
    static const struct {
        const char *name;
        const char *const *hosts;
        int64_t life;
        const char *words;
    } rows[] = {
        {"", NULL, DAY, "a certificate needs a name"},
        {"a\nb", NULL, DAY, "a certificate needs a name"},
        {"\xff", NULL, DAY, "a certificate needs a name"},
        {"a", NULL, 0, "the certificate 'a' would end before it begins"},
        {"a", space, DAY, "host 'a b': neither"},
        {"a", comma, DAY, "host 'a,DNS:b': neither"},
        {"a", utf8, DAY, "host 'é': neither"},
    };
    struct pki_pair p = {0};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pki_wish w = wish(rows[i].name);
        struct why why = {""};

        w.hosts = rows[i].hosts;
        w.host_count = rows[i].hosts != NULL;
        w.not_after = NOW + rows[i].life;
        CHECK_EQ_FOR(rows[i].words, pki_make_ca(&w, &p, &why), ERR_INVALID);
        if (!str_starts(str_of(why.text), str_of(rows[i].words)))
            fail_msg("%s, not %s", why.text, rows[i].words);
    }
}

static char *pkcs8(const char *pem)
{
    BIO *in = BIO_new_mem_buf(pem, -1), *out = BIO_new(BIO_s_mem());
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    char *data, *text;
    long len;

    CHECK_EQ(PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    len = BIO_get_mem_data(out, &data);
    text = str_dup((struct str){data, (size_t)len});
    EVP_PKEY_free(key);
    BIO_free(in);
    BIO_free(out);
    return text;
}

TEST(a_ca_signs_whatever_form_its_key_has)
{
    for (int kind = PKI_RSA; kind <= PKI_EC; kind++)
        for (int form = 0; form < 2; form++) {
            struct pki_wish w = wish("the CA"), of = wish("leaf");
            struct pki_pair ca = {0}, leaf = {0};
            char *key;

            w.key = (enum pki_key)kind;
            CHECK_EQ(pki_make_ca(&w, &ca, NULL), 0);
            key = form ? pkcs8(ca.key) : str_dup(str_of(ca.key));
            CHECK(!form || str_starts(str_of(key), STR("-----BEGIN PRIVATE KEY-----")));
            CHECK_EQ(pki_make_leaf(&of, str_of(ca.cert), str_of(key), &leaf, NULL), 0);
            CHECK_EQ(pki_check(&(struct pki_check){.cert = str_of(leaf.cert),
                                                   .ca = str_of(ca.cert),
                                                   .use = PKI_CLIENT,
                                                   .now = NOW + DAY},
                               NULL),
                     0);
            CHECK_EQ(pki_check_key(str_of(ca.cert), str_of(key), NULL), 0);
            CHECK_EQ(pki_check_key(str_of(leaf.cert), str_of(key), NULL), ERR_INVALID);
            pki_wipe(key);
            pki_pair_fini(&leaf);
            pki_pair_fini(&ca);
        }
}

TEST(what_is_no_ca_signs_nothing)
{
    struct pki_pair ca = make_ca("ca"), other = make_ca("other"), leaf = {0}, none = {0};
    struct pki_wish w = wish("leaf");
    struct why why = {""};

    leaf = make_leaf(&w, &ca);
    CHECK_EQ(pki_make_leaf(&w, str_of(leaf.cert), str_of(leaf.key), &none, &why), ERR_INVALID);
    CHECK_STR(str_of(why.text), "the certificate 'leaf' is not one of a CA");
    CHECK_EQ(pki_make_leaf(&w, str_of(ca.cert), str_of(other.key), &none, &why), ERR_INVALID);
    CHECK_STR(str_of(why.text), "the key of the CA 'ca' does not belong to its certificate");
    CHECK_EQ(pki_make_leaf(&w, STR("x"), str_of(ca.key), &none, &why), ERR_DECODE);
    CHECK(strstr(why.text, "the CA's certificate holds no certificate"));
    CHECK_EQ(pki_make_leaf(&w, str_of(ca.cert), STR(""), &none, &why), ERR_DECODE);
    CHECK_STR(str_of(why.text), "the CA's key is empty");
    w.not_before = NOW - 2 * DAY;
    w.not_after = NOW - DAY;
    CHECK_EQ(pki_make_leaf(&w, str_of(ca.cert), str_of(ca.key), &none, &why), ERR_INVALID);
    CHECK(strstr(why.text, "is the clock right?"));
    w.not_before = NOW + PKI_LIFE_S;
    w.not_after = w.not_before + DAY;
    CHECK_EQ(pki_make_leaf(&w, str_of(ca.cert), str_of(ca.key), &none, &why), ERR_INVALID);
    CHECK(strstr(why.text, "the CA 'ca' has ended at 2032-01-14T08:00:00Z"));
    pki_pair_fini(&leaf);
    pki_pair_fini(&ca);
    pki_pair_fini(&other);
}

TEST(a_certificate_is_valid_no_longer_than_its_ca)
{
    struct pki_pair ca = make_ca("ca"), leaf;
    struct pki_wish w = wish("leaf");
    struct pki_info i = {0};

    w.not_before -= 2 * DAY;
    w.not_after += DAY;
    leaf = make_leaf(&w, &ca);
    CHECK_EQ(pki_inspect(str_of(leaf.cert), &i, NULL), 0);
    CHECK_EQ(i.not_before, NOW - DAY);
    CHECK_EQ(i.not_after, NOW + PKI_LIFE_S);
    pki_info_fini(&i);
    pki_pair_fini(&leaf);
    pki_pair_fini(&ca);
}

TEST(a_check_gives_the_reason_in_words)
{
    static const char *const hosts[] = {"west.example", "10.1.2.3"};
    struct pki_pair ca = make_ca("ca"), again = make_ca("ca"), other = make_ca("other"), leaf;
    struct pki_wish w = wish("west");
    char *both;

    w.hosts = hosts;
    w.host_count = 2;
    w.not_after = NOW + 10 * DAY;
    leaf = make_leaf(&w, &ca);
    both = str_fmt("%s%s", other.cert, ca.cert);
    const struct {
        const char *ca, *host;
        int64_t now;
        const char *words; // "": accepted
    } rows[] = {
        {ca.cert, NULL, NOW, ""},
        {ca.cert, "west.example", NOW, ""},
        {ca.cert, "WEST.example", NOW, ""},
        {ca.cert, "10.1.2.3", NOW, ""},
        {both, "10.1.2.3", NOW + 10 * DAY - 1, ""},
        {ca.cert, "east.example", NOW,
         "'west' is for 10.1.2.3, west.example, not for 'east.example'"},
        {ca.cert, "10.1.2.4", NOW, "'west' is for 10.1.2.3, west.example, not for '10.1.2.4'"},
        {ca.cert, NULL, NOW - 7200,
         "'west' is valid only from 2027-01-15T08:00:00Z on, in 2 h; is the clock of this machine "
         "right?"},
        {ca.cert, NULL, NOW + 13 * DAY,
         "'west' has ended at 2027-01-25T08:00:00Z, 3 days ago; it has to be made anew"},
        {other.cert, NULL, NOW, "'west' is signed by 'ca', but 'other' is the CA that is trusted"},
        {again.cert, NULL, NOW,
         "'west' is signed by another CA of the same name 'ca', with another key: has that CA been "
         "made anew?"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pki_check c = {.cert = str_of(leaf.cert),
                              .ca = str_of(rows[i].ca),
                              .host = rows[i].host,
                              .use = PKI_SERVER,
                              .now = rows[i].now};
        struct why why = {""};
        int err = pki_check(&c, &why);

        CHECK_STR(str_of(why.text), rows[i].words);
        CHECK_EQ_FOR(rows[i].words, err, rows[i].words[0] ? ERR_INVALID : 0);
    }
    free(both);
    pki_pair_fini(&leaf);
    pki_pair_fini(&ca);
    pki_pair_fini(&again);
    pki_pair_fini(&other);
}

TEST(a_ca_that_has_ended_is_named)
{
    struct pki_pair ca = make_ca("ca"), leaf;
    struct pki_wish w = wish("leaf");
    struct why why = {""};

    leaf = make_leaf(&w, &ca);
    CHECK_EQ(pki_check(&(struct pki_check){.cert = str_of(leaf.cert),
                                           .ca = str_of(ca.cert),
                                           .now = NOW + PKI_LIFE_S + 60},
                       &why),
             ERR_INVALID);
    CHECK(str_starts(str_of(why.text), STR("'ca' has ended")) ||
          str_starts(str_of(why.text), STR("'leaf' has ended")));
    CHECK_EQ(pki_check(&(struct pki_check){.cert = STR("nothing"), .ca = str_of(ca.cert)}, &why),
             ERR_DECODE);
    CHECK(strstr(why.text, "the certificate holds no certificate"));
    pki_pair_fini(&leaf);
    pki_pair_fini(&ca);
}

TEST(keys_with_a_password_are_refused_without_asking)
{
    struct pki_pair ca = make_ca("ca");
    BIO *in = BIO_new_mem_buf(ca.key, -1), *out = BIO_new(BIO_s_mem());
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    struct why why = {""};
    char *data;
    long len;

    CHECK_EQ(PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL),
             1);
    len = BIO_get_mem_data(out, &data);
    CHECK_EQ(pki_check_key(str_of(ca.cert), (struct str){data, (size_t)len}, &why), ERR_DECODE);
    CHECK(strstr(why.text, "without a password"));
    EVP_PKEY_free(key);
    BIO_free(in);
    BIO_free(out);
    pki_pair_fini(&ca);
}

TEST(renewal_is_spread_behind_its_share_of_the_life)
{
    int64_t first = INT64_MAX, last = 0;

    for (uint64_t seed = 0; seed < 1000; seed++) {
        int64_t at = pki_renew_at(NOW, NOW + 1000 * DAY, 70, seed);

        CHECK(at >= NOW + 700 * DAY && at < NOW + 750 * DAY);
        CHECK_EQ(at, pki_renew_at(NOW, NOW + 1000 * DAY, 70, seed));
        first = at < first ? at : first;
        last = at > last ? at : last;
    }
    CHECK(last - first > 40 * DAY);
    CHECK_EQ(pki_renew_at(NOW, NOW + 10, 50, 1), NOW + 5); // too short a life to spread
}

TEST(codes_use_all_letters_alike)
{
    unsigned seen[256] = {0};

    for (int i = 0; i < 5000; i++) {
        char code[PKI_CODE_LEN + 1];

        pki_code(code);
        CHECK_EQ(strlen(code), PKI_CODE_LEN);
        for (int k = 0; k < PKI_CODE_LEN; k++)
            seen[(uint8_t)code[k]]++;
    }
    for (int c = 0; c < 256; c++) { // 1,935 of each on average, and a deviation of 44
        CHECK_EQ(seen[c] > 0, isascii(c) && isalnum(c));
        CHECK(seen[c] == 0 || (seen[c] > 1600 && seen[c] < 2270));
    }
}

TEST(uuids_are_of_version_4)
{
    char a[PKI_UUID_LEN + 1], b[PKI_UUID_LEN + 1];

    pki_uuid(a);
    pki_uuid(b);
    CHECK(strcmp(a, b) != 0);
    for (int i = 0; i < PKI_UUID_LEN; i++)
        CHECK(i == 8 || i == 13 || i == 18 || i == 23
                  ? a[i] == '-'
                  : isdigit((uint8_t)a[i]) || (a[i] >= 'a' && a[i] <= 'f'));
    CHECK(a[14] == '4' && strchr("89ab", a[19]));
    CHECK_EQ(a[PKI_UUID_LEN], '\0');
}

// Checks that a CA trusts what the other has signed.
static void check_trusts(const char *ca, const struct pki_pair *leaf, int64_t now)
{
    struct pki_check check = {.cert = str_of(leaf->cert), .ca = str_of(ca), .now = now};
    struct why why = {""};

    if (pki_check(&check, &why) < 0)
        fail_msg("%s", why.text);
}

TEST(a_renewed_ca_and_the_old_one_accept_each_others_certificates)
{
    enum { LATER = NOW + PKI_LIFE_S - 30 * DAY };

    for (enum pki_key kind = PKI_RSA; kind <= PKI_EC; kind++) {
        struct pki_wish w = wish("west CA"), leaf = wish("client");
        struct pki_pair old = {0}, new = {0}, of_old, of_new;
        struct pki_info was, is;

        w.key = kind;
        CHECK_EQ(pki_make_ca(&w, &old, NULL), 0);
        of_old = make_leaf(&leaf, &old);
        CHECK_EQ(pki_renew_ca(str_of(old.cert), str_of(old.key), LATER, LATER + PKI_LIFE_S,
                              &new.cert, NULL),
                 0);
        new.key = str_dup(str_of(old.key));
        leaf.not_before = LATER;
        leaf.not_after = LATER + PKI_LIFE_S;
        of_new = make_leaf(&leaf, &new);
        check_trusts(new.cert, &of_old, LATER + DAY);
        check_trusts(old.cert, &of_new, LATER + DAY);
        check_trusts(new.cert, &of_new, LATER + 365 * DAY);
        CHECK_EQ(pki_inspect(str_of(old.cert), &was, NULL), 0);
        CHECK_EQ(pki_inspect(str_of(new.cert), &is, NULL), 0);
        CHECK_EQ(is.not_before, LATER);
        CHECK_EQ(is.not_after, LATER + PKI_LIFE_S);
        CHECK_STR(str_of(is.name), was.name);
        CHECK(strcmp(is.serial, was.serial) != 0);
        CHECK(is.is_ca && is.is_self_signed);
        pki_info_fini(&was);
        pki_info_fini(&is);
        pki_pair_fini(&of_old);
        pki_pair_fini(&of_new);
        pki_pair_fini(&old);
        pki_pair_fini(&new);
    }
}

TEST(who_is_no_ca_is_not_renewed)
{
    struct pki_pair ca = make_ca("west CA"), other = make_ca("east CA"), leaf;
    struct pki_wish w = wish("leaf");
    struct why why = {""};
    char *cert = NULL;

    leaf = make_leaf(&w, &ca);
    CHECK_EQ(pki_renew_ca(str_of(leaf.cert), str_of(leaf.key), NOW, NOW + DAY, &cert, &why),
             ERR_INVALID);
    CHECK_STR(str_of(why.text), "the certificate 'leaf' is not one of a CA");
    CHECK_EQ(pki_renew_ca(str_of(ca.cert), str_of(other.key), NOW, NOW + DAY, &cert, &why),
             ERR_INVALID);
    CHECK_STR(str_of(why.text), "the key of the CA 'west CA' does not belong to its certificate");
    CHECK_EQ(pki_renew_ca(str_of(ca.cert), str_of(ca.key), NOW, NOW, &cert, &why), ERR_INVALID);
    CHECK_EQ(pki_renew_ca(str_of("no"), str_of(ca.key), NOW, NOW + DAY, &cert, &why), ERR_DECODE);
    pki_pair_fini(&ca);
    pki_pair_fini(&other);
    pki_pair_fini(&leaf);
}

TEST(several_cas_are_made_side_by_side_or_none)
{
    struct pki_wish wishes[3] = {
        {.name = "one", .key = PKI_EC, .not_before = 1000, .not_after = 2000},
        {.name = "two", .key = PKI_EC, .not_before = 1000, .not_after = 2000},
        {.name = "three", .key = PKI_EC, .not_before = 1000, .not_after = 2000}};
    struct pki_pair pairs[3];
    struct pki_info info;
    struct why why = {""};

    CHECK_EQ(pki_make_cas(wishes, 3, pairs, NULL), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(pki_inspect(str_of(pairs[i].cert), &info, NULL), 0);
        CHECK_STR(str_of(info.name), wishes[i].name);
        CHECK(info.is_ca);
        CHECK_EQ(pki_check_key(str_of(pairs[i].cert), str_of(pairs[i].key), NULL), 0);
        pki_info_fini(&info);
        pki_pair_fini(&pairs[i]);
    }
    wishes[1].name = "";
    CHECK_EQ(pki_make_cas(wishes, 3, pairs, &why), ERR_INVALID);
    CHECK(why.text[0] != '\0');
    for (int i = 0; i < 3; i++)
        CHECK(pairs[i].cert == NULL && pairs[i].key == NULL);
}

TEST_MAIN(CASE(several_cas_are_made_side_by_side_or_none),
          CASE(keys_are_written_as_others_read_them), CASE(a_certificate_has_the_profile),
          CASE(an_address_is_a_name_as_well), CASE(a_long_name_is_kept_whole),
          CASE(what_makes_no_certificate_is_refused_in_words),
          CASE(a_ca_signs_whatever_form_its_key_has), CASE(what_is_no_ca_signs_nothing),
          CASE(a_certificate_is_valid_no_longer_than_its_ca),
          CASE(a_check_gives_the_reason_in_words), CASE(a_ca_that_has_ended_is_named),
          CASE(keys_with_a_password_are_refused_without_asking),
          CASE(renewal_is_spread_behind_its_share_of_the_life), CASE(codes_use_all_letters_alike),
          CASE(uuids_are_of_version_4),
          CASE(a_renewed_ca_and_the_old_one_accept_each_others_certificates),
          CASE(who_is_no_ca_is_not_renewed))
