// SPDX-License-Identifier: Apache-2.0
#include "net/gcm.h"

#include <dlfcn.h>
#include <openssl/conf.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>

enum {
    IV_LEN = 12,
    TAG_LEN = 16,
    AAD_MAX = 16,
    TLS12_AAD_LEN = 13,    // sequence number, type, version, length
    TLS12_FIXED_LEN = 4,   // of the nonce, from the handshake
    TLS12_EXPLICIT_LEN = 8 // of the nonce, in each record
};

// What is used of the library: for keys of 16 and of 32 octets.
struct gcm_calls {
    aes_gcm_pre_t pre;
    aes_gcm_enc_dec_t encrypt, decrypt;
};

static struct gcm_calls calls_128, calls_256;

// One direction of a connection.
struct gcm {
    struct gcm_key_data key __attribute__((aligned(64)));
    struct gcm_context_data scratch __attribute__((aligned(64)));
    const struct gcm_calls *calls;
    size_t key_len;
    bool is_encrypting, has_key;
    bool has_nonce; // and nothing was encrypted under it yet
    bool is_done;   // `tag` belongs to what was encrypted
    bool has_tag;   // decrypting: `tag` is what the peer says
    bool is_tls12;  // `aad` is that of a record of TLS 1.2, which waits
    uint8_t iv[IV_LEN], tag[TAG_LEN], aad[AAD_MAX];
    size_t aad_len;
};

// ------------------------------------------------------------------------------------ one context

static struct gcm *gcm_new(const struct gcm_calls *calls, size_t key_len)
{
    struct gcm *g = aligned_alloc(64, sizeof(*g));

    if (!g)
        return NULL;
    memset(g, 0, sizeof(*g));
    g->calls = calls;
    g->key_len = key_len;
    return g;
}

static void *new_128(void *provider)
{
    (void)provider;
    return gcm_new(&calls_128, 16);
}

static void *new_256(void *provider)
{
    (void)provider;
    return gcm_new(&calls_256, 32);
}

static void free_context(void *context)
{
    if (context)
        OPENSSL_cleanse(context, sizeof(struct gcm));
    free(context);
}

static int set_params(void *context, const OSSL_PARAM *params);

static int start(struct gcm *g, bool is_encrypting, const uint8_t *key, size_t key_len,
                 const uint8_t *iv, size_t iv_len, const OSSL_PARAM *params)
{
    if ((key && key_len != g->key_len) || (iv && iv_len != IV_LEN))
        return 0;
    g->is_encrypting = is_encrypting;
    if (key) {
        g->calls->pre(key, &g->key);
        g->has_key = true;
    }
    if (iv)
        memcpy(g->iv, iv, IV_LEN);
    g->has_nonce = iv != NULL;
    g->is_done = g->has_tag = g->is_tls12 = false;
    g->aad_len = 0;
    return set_params(g, params);
}

static int start_encrypting(void *context, const unsigned char *key, size_t key_len,
                            const unsigned char *iv, size_t iv_len, const OSSL_PARAM params[])
{
    return start(context, true, key, key_len, iv, iv_len, params);
}

static int start_decrypting(void *context, const unsigned char *key, size_t key_len,
                            const unsigned char *iv, size_t iv_len, const OSSL_PARAM params[])
{
    return start(context, false, key, key_len, iv, iv_len, params);
}

static void run(struct gcm *g, uint8_t *out, const uint8_t *in, size_t len, uint8_t tag[TAG_LEN])
{
    (g->is_encrypting ? g->calls->encrypt : g->calls->decrypt)(
        &g->key, &g->scratch, out, in, len, g->iv, g->aad, g->aad_len, tag, TAG_LEN);
}

// RFC 5288 section 3: the explicit part of the nonce, what is encrypted, the tag; all in one place.
static int run_tls12(struct gcm *g, uint8_t *out, size_t *out_len, const uint8_t *in, size_t len)
{
    uint8_t *text = out + TLS12_EXPLICIT_LEN;
    size_t text_len = len - TLS12_EXPLICIT_LEN - TAG_LEN;
    bool ok = out == in && len >= TLS12_EXPLICIT_LEN + TAG_LEN;
    uint8_t tag[TAG_LEN];

    g->is_tls12 = false;
    if (!ok)
        return 0;
    if (g->is_encrypting) {
        memcpy(out, g->iv + TLS12_FIXED_LEN, TLS12_EXPLICIT_LEN);
        run(g, text, text, text_len, text + text_len);
        for (int i = IV_LEN - 1; i >= TLS12_FIXED_LEN && ++g->iv[i] == 0; i--)
            ;
    } else {
        memcpy(g->iv + TLS12_FIXED_LEN, in, TLS12_EXPLICIT_LEN);
        run(g, text, text, text_len, tag);
        ok = CRYPTO_memcmp(tag, text + text_len, TAG_LEN) == 0;
        if (!ok)
            OPENSSL_cleanse(text, text_len);
    }
    *out_len = g->is_encrypting ? len : text_len;
    return ok;
}

static int update(void *context, unsigned char *out, size_t *out_len, size_t out_size,
                  const unsigned char *in, size_t len)
{
    struct gcm *g = context;
    uint8_t tag[TAG_LEN];

    *out_len = 0;
    if (len == 0)
        return 1;
    if (!g->has_key || (out && out_size < len))
        return 0;
    if (g->is_tls12)
        return out && run_tls12(g, out, out_len, in, len);
    if (!g->has_nonce || g->is_done)
        return 0;
    if (!out) {
        if (g->aad_len > 0 || len > AAD_MAX)
            return 0;
        memcpy(g->aad, in, len);
        g->aad_len = len;
        return 1;
    }
    run(g, out, in, len, tag);
    g->is_done = true;
    g->has_nonce = false;
    *out_len = len;
    if (g->is_encrypting)
        memcpy(g->tag, tag, TAG_LEN);
    else if (!g->has_tag || CRYPTO_memcmp(g->tag, tag, TAG_LEN) != 0)
        return 0;
    return 1;
}

// A record without a text has been only authenticated so far.
static int finish(void *context, unsigned char *out, size_t *out_len, size_t out_size)
{
    struct gcm *g = context;
    uint8_t none = 0, tag[TAG_LEN];
    int ok = 1;

    (void)out;
    (void)out_size;
    *out_len = 0;
    if (!g->is_done) {
        if (!g->has_key || !g->has_nonce)
            return 0;
        run(g, &none, &none, 0, tag);
        if (g->is_encrypting)
            memcpy(g->tag, tag, TAG_LEN);
        else
            ok = g->has_tag && CRYPTO_memcmp(g->tag, tag, TAG_LEN) == 0;
        g->is_done = true;
        g->has_nonce = false;
    }
    return ok;
}

// -------------------------------------------------------------------------------------- parameters

// What is authenticated of a record of TLS 1.2 names the length of its text, which `aad` does not
// yet: it counts what comes before and behind the text.
static int set_tls12_aad(struct gcm *g, const OSSL_PARAM *p)
{
    size_t extra = TLS12_EXPLICIT_LEN + (g->is_encrypting ? 0 : TAG_LEN), len;

    if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size != TLS12_AAD_LEN)
        return 0;
    memcpy(g->aad, p->data, TLS12_AAD_LEN);
    len = (size_t)g->aad[TLS12_AAD_LEN - 2] << 8 | g->aad[TLS12_AAD_LEN - 1];
    if (len < extra)
        return 0;
    len -= extra;
    g->aad[TLS12_AAD_LEN - 2] = (uint8_t)(len >> 8);
    g->aad[TLS12_AAD_LEN - 1] = (uint8_t)len;
    g->aad_len = TLS12_AAD_LEN;
    g->is_tls12 = true;
    return 1;
}

static int set_tls12_fixed(struct gcm *g, const OSSL_PARAM *p)
{
    if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size != TLS12_FIXED_LEN)
        return 0;
    memcpy(g->iv, p->data, TLS12_FIXED_LEN);
    return !g->is_encrypting || RAND_bytes(g->iv + TLS12_FIXED_LEN, TLS12_EXPLICIT_LEN) == 1;
}

static int set_tag(struct gcm *g, const OSSL_PARAM *p)
{
    if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size != TAG_LEN || g->is_encrypting)
        return 0;
    if (p->data)
        memcpy(g->tag, p->data, TAG_LEN);
    g->has_tag = p->data != NULL;
    return 1;
}

static int is_number(const OSSL_PARAM *p, size_t wanted)
{
    size_t n;

    return OSSL_PARAM_get_size_t(p, &n) && n == wanted;
}

static int set_params(void *context, const OSSL_PARAM *params)
{
    struct gcm *g = context;
    int ok = 1;

    for (const OSSL_PARAM *p = params; p && p->key && ok; p++) {
        if (strcmp(p->key, OSSL_CIPHER_PARAM_AEAD_TAG) == 0)
            ok = set_tag(g, p);
        else if (strcmp(p->key, OSSL_CIPHER_PARAM_AEAD_TLS1_AAD) == 0)
            ok = set_tls12_aad(g, p);
        else if (strcmp(p->key, OSSL_CIPHER_PARAM_AEAD_TLS1_IV_FIXED) == 0)
            ok = set_tls12_fixed(g, p);
        else if (strcmp(p->key, OSSL_CIPHER_PARAM_IVLEN) == 0)
            ok = is_number(p, IV_LEN);
        else if (strcmp(p->key, OSSL_CIPHER_PARAM_KEYLEN) == 0)
            ok = is_number(p, g->key_len);
    }
    return ok;
}

static int get_params(void *context, OSSL_PARAM *params)
{
    struct gcm *g = context;
    int ok = 1;

    for (OSSL_PARAM *p = params; p && p->key && ok; p++) {
        if (strcmp(p->key, OSSL_CIPHER_PARAM_AEAD_TAG) == 0)
            ok = g->is_encrypting && g->is_done && p->data_size == TAG_LEN &&
                 OSSL_PARAM_set_octet_string(p, g->tag, TAG_LEN);
        else if (strcmp(p->key, OSSL_CIPHER_PARAM_AEAD_TLS1_AAD_PAD) == 0 ||
                 strcmp(p->key, OSSL_CIPHER_PARAM_AEAD_TAGLEN) == 0)
            ok = OSSL_PARAM_set_size_t(p, TAG_LEN);
        else if (strcmp(p->key, OSSL_CIPHER_PARAM_IVLEN) == 0)
            ok = OSSL_PARAM_set_size_t(p, IV_LEN);
        else if (strcmp(p->key, OSSL_CIPHER_PARAM_KEYLEN) == 0)
            ok = OSSL_PARAM_set_size_t(p, g->key_len);
    }
    return ok;
}

static int describe(OSSL_PARAM *params, size_t key_len)
{
    int ok = 1;

    for (OSSL_PARAM *p = params; p && p->key && ok; p++) {
        if (strcmp(p->key, OSSL_CIPHER_PARAM_MODE) == 0)
            ok = OSSL_PARAM_set_uint(p, EVP_CIPH_GCM_MODE);
        else if (strcmp(p->key, OSSL_CIPHER_PARAM_KEYLEN) == 0)
            ok = OSSL_PARAM_set_size_t(p, key_len);
        else if (strcmp(p->key, OSSL_CIPHER_PARAM_IVLEN) == 0)
            ok = OSSL_PARAM_set_size_t(p, IV_LEN);
        else if (strcmp(p->key, OSSL_CIPHER_PARAM_BLOCK_SIZE) == 0)
            ok = OSSL_PARAM_set_size_t(p, 1);
        else if (strcmp(p->key, OSSL_CIPHER_PARAM_AEAD) == 0 ||
                 strcmp(p->key, OSSL_CIPHER_PARAM_CUSTOM_IV) == 0)
            ok = OSSL_PARAM_set_int(p, 1);
    }
    return ok;
}

static int describe_128(OSSL_PARAM params[])
{
    return describe(params, 16);
}

static int describe_256(OSSL_PARAM params[])
{
    return describe(params, 32);
}

static const OSSL_PARAM *gettable(void *context, void *provider)
{
    static const OSSL_PARAM known[] = {
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, NULL),
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_AEAD_TAGLEN, NULL),
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, NULL, 0),
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_AEAD_TLS1_AAD_PAD, NULL),
        OSSL_PARAM_END,
    };

    (void)context;
    (void)provider;
    return known;
}

static const OSSL_PARAM *settable(void *context, void *provider)
{
    static const OSSL_PARAM known[] = {
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, NULL),
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_AAD, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_IV_FIXED, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)context;
    (void)provider;
    return known;
}

// ---------------------------------------------------------------------------------------- provider

#define CALL(id, function)                                                                         \
    {                                                                                              \
        id, (void (*)(void))(function)                                                             \
    }
#define CIPHER(bits)                                                                               \
    CALL(OSSL_FUNC_CIPHER_NEWCTX, new_##bits), CALL(OSSL_FUNC_CIPHER_GET_PARAMS, describe_##bits), \
        CALL(OSSL_FUNC_CIPHER_FREECTX, free_context),                                              \
        CALL(OSSL_FUNC_CIPHER_ENCRYPT_INIT, start_encrypting),                                     \
        CALL(OSSL_FUNC_CIPHER_DECRYPT_INIT, start_decrypting),                                     \
        CALL(OSSL_FUNC_CIPHER_UPDATE, update), CALL(OSSL_FUNC_CIPHER_FINAL, finish),               \
        CALL(OSSL_FUNC_CIPHER_GET_CTX_PARAMS, get_params),                                         \
        CALL(OSSL_FUNC_CIPHER_SET_CTX_PARAMS, set_params),                                         \
        CALL(OSSL_FUNC_CIPHER_GETTABLE_CTX_PARAMS, gettable),                                      \
        CALL(OSSL_FUNC_CIPHER_SETTABLE_CTX_PARAMS, settable),                                      \
    {                                                                                              \
        0, NULL                                                                                    \
    }

static const OSSL_DISPATCH cipher_128[] = {CIPHER(128)};
static const OSSL_DISPATCH cipher_256[] = {CIPHER(256)};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *may_not_keep)
{
    static const OSSL_ALGORITHM ciphers[] = {
        {"AES-128-GCM:id-aes128-GCM:2.16.840.1.101.3.4.1.6", "provider=" GCM_PROVIDER, cipher_128,
         NULL},
        {"AES-256-GCM:id-aes256-GCM:2.16.840.1.101.3.4.1.46", "provider=" GCM_PROVIDER, cipher_256,
         NULL},
        {NULL, NULL, NULL, NULL},
    };

    (void)provider;
    *may_not_keep = 0;
    return operation == OSSL_OP_CIPHER ? ciphers : NULL;
}

static int init_provider(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                         const OSSL_DISPATCH **out, void **provider)
{
    static const OSSL_DISPATCH calls[] = {CALL(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
                                          {0, NULL}};

    (void)in;
    *out = calls;
    *provider = (void *)(uintptr_t)handle;
    return 1;
}

// The library's manager is a table of calls and the state of queues that nobody uses here; what is
// wanted of it is copied.
static bool load_calls(void)
{
    void *library = dlopen("libIPSec_MB.so.1", RTLD_NOW | RTLD_LOCAL);
    MB_MGR *(*make)(uint64_t) = NULL;
    void (*init)(MB_MGR *, IMB_ARCH *) = NULL, (*drop)(MB_MGR *) = NULL;
    MB_MGR *manager;
    const uint64_t wanted = IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ | IMB_FEATURE_AVX512_SKX;
    bool ok = false;

    if (library) {
        *(void **)&make = dlsym(library, "alloc_mb_mgr");
        *(void **)&init = dlsym(library, "init_mb_mgr_auto");
        *(void **)&drop = dlsym(library, "free_mb_mgr");
    }
    manager = make && init && drop ? make(0) : NULL;
    if (manager) {
        init(manager, NULL);
        ok = (manager->features & wanted) == wanted;
        calls_128 =
            (struct gcm_calls){manager->gcm128_pre, manager->gcm128_enc, manager->gcm128_dec};
        calls_256 =
            (struct gcm_calls){manager->gcm256_pre, manager->gcm256_enc, manager->gcm256_dec};
        drop(manager);
    }
    if (library && !ok)
        dlclose(library);
    return ok;
}

static OSSL_LIB_CTX *shared;

// As the default context is configured by openssl.cnf, so is this one: its providers may read keys.
static void configure(OSSL_LIB_CTX *context)
{
    char *file = CONF_get1_default_config_file();

    if (file && !OSSL_LIB_CTX_load_config(context, file))
        ERR_clear_error(); // none is there, or what the default context says of it
    OPENSSL_free(file);
}

static void make_shared(void)
{
    bool is_slow = OPENSSL_version_major() == 3 && OPENSSL_version_minor() == 0;
    OSSL_LIB_CTX *context;

    // Who demands FIPS gets what FIPS has.
    if (!is_slow || EVP_default_properties_is_fips_enabled(NULL) || !load_calls())
        return;
    context = OSSL_LIB_CTX_new();
    if (!context)
        abort(); // no memory
    configure(context);
    if (EVP_default_properties_is_fips_enabled(context) ||
        !OSSL_PROVIDER_add_builtin(context, GCM_PROVIDER, init_provider) ||
        !OSSL_PROVIDER_load(context, "default") || !OSSL_PROVIDER_load(context, GCM_PROVIDER)) {
        OSSL_LIB_CTX_free(context);
        return;
    }
    shared = context;
}

OSSL_LIB_CTX *gcm_library_context(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_shared);
    return shared;
}

#else

OSSL_LIB_CTX *gcm_library_context(void)
{
    return NULL;
}

#endif
