// SPDX-License-Identifier: Apache-2.0
// libcurl, loaded when it is first asked for: most runs of the program, and most agents of a site
// on a host, never need it, and with all it brings it takes some 6 MiB.
#pragma once

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

struct curl_lib {
    CURLcode (*global_init)(long flags);
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *c, CURLoption option, ...);
    CURLcode (*easy_perform)(CURL *c);
    CURLcode (*easy_getinfo)(CURL *c, CURLINFO info, ...);
    CURLcode (*easy_send)(CURL *c, const void *data, size_t len, size_t *sent);
    CURLcode (*easy_recv)(CURL *c, void *data, size_t size, size_t *len);
    const char *(*easy_strerror)(CURLcode code);
    void (*easy_cleanup)(CURL *c);
    CURLM *(*multi_init)(void);
    CURLMcode (*multi_setopt)(CURLM *m, CURLMoption option, ...);
    CURLMcode (*multi_add_handle)(CURLM *m, CURL *c);
    CURLMcode (*multi_remove_handle)(CURLM *m, CURL *c);
    CURLMcode (*multi_socket_action)(CURLM *m, curl_socket_t s, int events, int *running);
    CURLMsg *(*multi_info_read)(CURLM *m, int *left);
    CURLMcode (*multi_cleanup)(CURLM *m);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
    void (*slist_free_all)(struct curl_slist *list);
    const char *why; // it could not be loaded; NULL: it is there
};

// From any thread. The same each time; nothing but `why` may be used when that is set.
const struct curl_lib *curl_lib(void);
