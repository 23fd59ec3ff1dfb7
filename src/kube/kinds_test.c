// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "check.h"
#include "kube/inside.h"

static void check_path(const struct kube_kind *k, const char *ns, const char *name,
                       const char *subresource, const char *want)
{
    struct text t = {0};

    kind_path(&t, k, ns, name, subresource);
    CHECK_STR(str_of(t.data), want);
    free(t.data);
}

TEST(objects_stand_where_the_api_has_them)
{
    check_path(kube_kind("v1", "Pod"), NULL, NULL, NULL, "/api/v1/pods");
    check_path(kube_kind("v1", "Pod"), "a", "b", "log", "/api/v1/namespaces/a/pods/b/log");
    check_path(kube_kind("apps/v1", "Deployment"), "a", NULL, NULL,
               "/apis/apps/v1/namespaces/a/deployments");
    check_path(kube_kind("v1", "Namespace"), "ignored", "a", NULL, "/api/v1/namespaces/a");
    check_path(kube_kind("v1", "Secret"), "a/../b", "x?y#z%", NULL,
               "/api/v1/namespaces/a%2F..%2Fb/secrets/x%3Fy%23z%25");
}

TEST(a_kind_is_found_by_version_and_name)
{
    json_t *site = json_pack("{s:s, s:s}", "apiVersion", "skupper.io/v2alpha1", "kind", "Site");

    CHECK(kube_kind_of(site) == kube_kind("skupper.io/v2alpha1", "Site"));
    CHECK_STR(str_of(kube_kind_of(site)->plural), "sites");
    CHECK(!kube_kind("skupper.io/v1", "Site"));
    CHECK(!kube_kind("v1", "Site"));
    CHECK(!kube_kind("", ""));
    json_object_del(site, "kind");
    CHECK(!kube_kind_of(site));
    json_decref(site);
}

TEST(parameters_are_escaped)
{
    struct text t = {0};

    text_add(&t, STR("/api"));
    text_add_param(&t, "limit", "5");
    text_add_param(&t, "labelSelector", "a=b,c!=\xc3\xa4&x");
    CHECK_STR(str_of(t.data), "/api?limit=5&labelSelector=a%3Db%2Cc%21%3D%C3%A4%26x");
    free(t.data);
}

TEST_MAIN(CASE(objects_stand_where_the_api_has_them), CASE(a_kind_is_found_by_version_and_name),
          CASE(parameters_are_escaped))
