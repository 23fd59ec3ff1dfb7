// SPDX-License-Identifier: Apache-2.0
// Configuration from where it stands: files, variables, what a pod has mounted.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "kube/config.h"
#include "pki/pki.h"

// The whole of a file, NUL-terminated. 0, ERR_LIMIT or, with errno, ERR_IO.
static int read_file(const char *path, size_t max, char **out, size_t *out_len, struct stat *seen)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t got = 1;
    char *text;

    if (fd < 0)
        return ERR_IO;
    if (fstat(fd, seen) < 0 || (S_ISREG(seen->st_mode) && (uint64_t)seen->st_size > max)) {
        close(fd);
        return ERR_LIMIT;
    }
    text = xcalloc(1, max + 1);
    while (len < max && got > 0) {
        got = read(fd, text + len, max - len);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            len += (size_t)got;
    }
    int error = errno;

    close(fd);
    if (got < 0 || len == max) {
        explicit_bzero(text, len);
        free(text);
        errno = error;
        return got < 0 ? ERR_IO : ERR_LIMIT;
    }
    *out = str_dup((struct str){text, len});
    *out_len = len;
    explicit_bzero(text, len);
    free(text);
    return 0;
}

static int tell(const char *path, int err, size_t max, struct why *why)
{
    if (err == ERR_LIMIT)
        why_set(why, "%.300s is larger than %zu KiB", path, max / 1024);
    else
        why_set(why, "cannot read %.300s: %s", path, strerror(errno));
    return err;
}

int material_refresh(struct material *m, struct why *why)
{
    struct stat st;
    size_t len = 0;
    char *text;
    int err;

    if (!m->path)
        return 0;
    if (m->text && stat(m->path, &st) == 0 && st.st_ino == m->seen.st_ino &&
        st.st_dev == m->seen.st_dev && st.st_size == m->seen.st_size &&
        st.st_mtim.tv_sec == m->seen.st_mtim.tv_sec &&
        st.st_mtim.tv_nsec == m->seen.st_mtim.tv_nsec)
        return 0;
    err = read_file(m->path, MATERIAL_MAX, &text, &len, &st);
    if (err < 0)
        return tell(m->path, err, MATERIAL_MAX, why);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]))
        text[--len] = '\0';
    if (len == 0 || strlen(text) != len) {
        why_set(why, "%.300s is empty, or no text", m->path);
        pki_wipe(text);
        return ERR_INVALID;
    }
    pki_wipe(m->text);
    m->text = text;
    m->seen = st;
    return 0;
}

// -------------------------------------------------------------------------------------- within a
// pod

static int load_mounted(const struct kube_config_opts *opts, const struct config_env *env,
                        struct kube_config **out, struct why *why)
{
    struct kube_config *c = xcalloc(1, sizeof(*c));
    struct material ns = {.path = str_fmt("%s/namespace", env->mount)};
    bool is_v6 = strchr(env->service_host, ':') != NULL;
    int err;

    c->context = xstrdup("");
    c->source = str_fmt("the service account of this pod (%s)", env->mount);
    c->server = str_fmt("https://%s%s%s:%s", is_v6 ? "[" : "", env->service_host, is_v6 ? "]" : "",
                        env->service_port);
    c->ca.path = str_fmt("%s/ca.crt", env->mount);
    c->token.path = str_fmt("%s/token", env->mount);
    err = material_refresh(&c->token, why);
    if (!err)
        err = material_refresh(&c->ca, why);
    if (!err && !(opts->ns && opts->ns[0]))
        err = material_refresh(&ns, why);
    if (err < 0) {
        why_prefix(why, "this is a pod, but its service account is not mounted");
        kube_config_free(c);
    } else {
        c->ns = xstrdup(ns.text ? ns.text : opts->ns);
        *out = c;
    }
    material_fini(&ns);
    return err;
}

// --------------------------------------------------------------------------------------- files

struct texts {
    struct config_source sources[CONFIG_FILES_MAX]; // views of these
    char *paths[CONFIG_FILES_MAX], *texts[CONFIG_FILES_MAX];
    size_t count;
};

static void texts_free(struct texts *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->paths[i]);
        pki_wipe(t->texts[i]);
    }
    free(t);
}

// A file that is not there is passed over if others may be: so kubectl does.
static int add_file(struct texts *t, char *take_path, bool must_be, struct why *why)
{
    struct stat st;
    size_t len = 0;
    char *text = NULL;
    int err = read_file(take_path, MATERIAL_MAX, &text, &len, &st);
    bool is_absent = err == ERR_IO && errno == ENOENT;

    if (!err) {
        t->paths[t->count] = take_path;
        t->texts[t->count] = text;
        t->sources[t->count++] = (struct config_source){take_path, {text, len}};
        return 0;
    }
    if (!is_absent || must_be)
        tell(take_path, err, MATERIAL_MAX, why);
    free(take_path);
    return !is_absent ? err : must_be ? ERR_NOT_FOUND : 0;
}

static int add_list(struct texts *t, const char *list, struct why *why)
{
    int err = 0;

    while (!err && *list) {
        size_t len = strcspn(list, ":");

        if (len > 0 && t->count == CONFIG_FILES_MAX) {
            why_set(why, "KUBECONFIG names more than %d files", CONFIG_FILES_MAX);
            return ERR_LIMIT;
        }
        if (len > 0)
            err = add_file(t, str_dup((struct str){list, len}), false, why);
        list += len + (list[len] == ':');
    }
    return err;
}

static int gather(struct texts *t, const struct kube_config_opts *opts,
                  const struct config_env *env, struct why *why)
{
    if (opts->kubeconfig)
        return add_file(t, xstrdup(opts->kubeconfig), true, why);
    if (env->kubeconfig && env->kubeconfig[0])
        return add_list(t, env->kubeconfig, why);
    return env->home ? add_file(t, str_fmt("%s/.kube/config", env->home), false, why) : 0;
}

int config_load(const struct kube_config_opts *opts, const struct config_env *env,
                struct kube_config **out, struct why *why)
{
    struct texts *t = xcalloc(1, sizeof(*t));
    bool has_list = env->kubeconfig && env->kubeconfig[0];
    bool is_pod = env->service_host && env->service_host[0] && env->service_port;
    int err = gather(t, opts, env, why);

    if (!err)
        err = config_read(t->sources, t->count, opts, out, why);
    texts_free(t);
    if (err <= 0)
        return err;
    if (is_pod)
        return load_mounted(opts, env, out, why);
    why_set(why,
            "no cluster is configured: there is nothing in %s%.200s; name a kubeconfig with "
            "--kubeconfig or in KUBECONFIG",
            has_list ? "KUBECONFIG=" : "~/.kube/config", has_list ? env->kubeconfig : "");
    return ERR_NOT_FOUND;
}

int kube_config_load(const struct kube_config_opts *opts, struct kube_config **out, struct why *why)
{
    struct config_env env = {.kubeconfig = getenv("KUBECONFIG"),
                             .home = getenv("HOME"),
                             .service_host = getenv("KUBERNETES_SERVICE_HOST"),
                             .service_port = getenv("KUBERNETES_SERVICE_PORT"),
                             .mount = "/var/run/secrets/kubernetes.io/serviceaccount"};

    return config_load(opts, &env, out, why);
}
