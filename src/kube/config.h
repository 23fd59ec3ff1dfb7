// SPDX-License-Identifier: Apache-2.0
// Where a server is and who we are, as kubeconfig files say it.
#pragma once

#include <sys/stat.h>

#include "kube/kube.h"

enum {
    MATERIAL_MAX = 1024 * 1024, // a certificate, key or token
    CONFIG_FILES_MAX = 64,
    EXEC_ARGS_MAX = 256,
};

// Text that is given, or that stands in a file which may change under us.
struct material {
    char *path; // NULL: it is given
    char *text; // wiped when it goes; NULL: none, or not read yet
    struct stat seen;
};
void material_fini(struct material *m);
static inline bool material_is_set(const struct material *m)
{
    return m->path || m->text;
}
// Reads the file if it is not the one that was read last; what it says without white space at its
// end. ERR_IO, ERR_LIMIT or ERR_INVALID (it is empty) with words; the old text stays.
int material_refresh(struct material *m, struct why *why);

enum exec_mode { EXEC_IF_AVAILABLE, EXEC_NEVER, EXEC_ALWAYS };

// A program that says who we are (client-go's credential plugins).
struct exec_plan {
    char *api_version;
    char **argv; // NULL at the end; argv[0] NULL: there is none
    char **env;  // "NAME=value", besides what is there; NULL at the end
    char *hint;  // how to install it
    bool says_cluster;
    enum exec_mode mode;
};

struct kube_config {
    char *context, *ns;
    char *server;   // without a slash at its end
    char *proxy;    // NULL: as the environment says
    char *tls_name; // expected in the server's certificate instead of its host; NULL
    bool is_insecure;
    struct material ca, cert, key, token;
    struct exec_plan exec;
    char *source; // what messages call the place all that is from
};

// A file of KUBECONFIG.
struct config_source {
    const char *path;
    struct str text;
};

// Merges the files, chooses. Returns as kube_config_load(), or 1 when nothing is in them and no
// file and no context was asked for.
int config_read(const struct config_source *sources, size_t count,
                const struct kube_config_opts *opts, struct kube_config **out, struct why *why);

// What the process was started with.
struct config_env {
    const char *kubeconfig, *home; // variables, NULL: not set
    const char *service_host, *service_port;
    const char *mount; // where a pod finds its token
};
int config_load(const struct kube_config_opts *opts, const struct config_env *env,
                struct kube_config **out, struct why *why);
