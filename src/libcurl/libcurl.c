// SPDX-License-Identifier: Apache-2.0
#include "libcurl/libcurl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct curl_lib lib;

static void load(void)
{
    static const struct {
        const char *name;
        void *to;
    } calls[] = {
        {"curl_global_init", &lib.global_init},
        {"curl_easy_init", &lib.easy_init},
        {"curl_easy_setopt", &lib.easy_setopt},
        {"curl_easy_perform", &lib.easy_perform},
        {"curl_easy_getinfo", &lib.easy_getinfo},
        {"curl_easy_send", &lib.easy_send},
        {"curl_easy_recv", &lib.easy_recv},
        {"curl_easy_strerror", &lib.easy_strerror},
        {"curl_easy_cleanup", &lib.easy_cleanup},
        {"curl_multi_init", &lib.multi_init},
        {"curl_multi_setopt", &lib.multi_setopt},
        {"curl_multi_add_handle", &lib.multi_add_handle},
        {"curl_multi_remove_handle", &lib.multi_remove_handle},
        {"curl_multi_socket_action", &lib.multi_socket_action},
        {"curl_multi_info_read", &lib.multi_info_read},
        {"curl_multi_cleanup", &lib.multi_cleanup},
        {"curl_slist_append", &lib.slist_append},
        {"curl_slist_free_all", &lib.slist_free_all},
    };
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        lib.why = "libcurl.so.4 is not installed (Debian: libcurl4)";
        return;
    }
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        void *call = dlsym(library, calls[i].name);

        memcpy(calls[i].to, &call, sizeof(call));
        if (!call)
            lib.why = "the libcurl that is installed is too old";
    }
    if (!lib.why && lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort(); // no memory
}

const struct curl_lib *curl_lib(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, load);
    return &lib;
}
