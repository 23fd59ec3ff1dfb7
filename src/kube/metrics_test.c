// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "check.h"
#include "kube/inside.h"

TEST(answers_are_counted_by_status)
{
    struct kube *k = xcalloc(1, sizeof(*k));
    char *text = NULL;

    count_answer(k, 200);
    count_answer(k, 409);
    count_answer(k, 200);
    count_answer(k, 0);
    count_retry(k, 503);
    kube_put_metrics(k, &text);
    CHECK(strstr(text, "\nskupper_kubernetes_client_http_requests_total{status_code=\"200\"} 2\n"));
    CHECK(strstr(text, "\nskupper_kubernetes_client_http_requests_total{status_code=\"409\"} 1\n"));
    CHECK(strstr(text, "{status_code=\"<error>\"} 1\n"));
    CHECK(strstr(text, "\nskupper_kubernetes_client_http_retries_total{status_code=\"503\"} 1\n"));
    free(text);
    free(k);
}

// Names of objects and namespaces are no labels: there is no end of them.
TEST(times_are_told_by_the_sort_of_object)
{
    static const struct {
        const char *path, *endpoint;
    } rows[] = {
        {"/api/v1/namespaces/west/secrets/db?fieldManager=x", "secrets"},
        {"/api/v1/namespaces/east/secrets", "secrets"},
        {"/api/v1/secrets?limit=500", "secrets"},
        {"/apis/skupper.io/v2alpha1/namespaces/west/sites/west/status", "sites"},
        {"/apis/apps/v1/namespaces/west/deployments/a", "deployments"},
        {"/api/v1/namespaces/west", "namespaces"},
        {"/api/v1/namespaces", "namespaces"},
        {"/apis/skupper.io/v2alpha1", "other"},
        {"/version", "other"},
    };
    struct kube *k = xcalloc(1, sizeof(*k));
    char *text = NULL;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kube *one = xcalloc(1, sizeof(*one));

        count_time(one, rows[i].path, 0.1);
        CHECK_STR(str_of(one->counts.endpoints[0].name), rows[i].endpoint);
        free(one);
    }
    for (int i = 0; i < 2 * ENDPOINTS_MAX; i++) {
        char *path = str_fmt("/api/v1/kind%d", i);

        count_time(k, path, 0.1);
        free(path);
    }
    kube_put_metrics(k, &text);
    CHECK(strstr(text, "_count{endpoint=\"kind0\"} 1\n"));
    CHECK(strstr(text, "_count{endpoint=\"other\"} 49\n"));
    free(text);
    free(k);
}

TEST_MAIN(CASE(answers_are_counted_by_status), CASE(times_are_told_by_the_sort_of_object))
