// SPDX-License-Identifier: Apache-2.0
// Where and under which names other sites may link to a site: a RouterAccess of its own, which
// stands in for the one that its link access makes.
#include <stdlib.h>
#include <string.h>

#include "base/cut.h"
#include "base/err.h"
#include "cli/inside.h"
#include "site/site.h"

static bool is_given(const struct cli *c)
{
    return c->platform != ON_KUBERNETES &&
           (cli_is_given(c, "bind-host") || cli_is_given(c, "subject-alternative-names"));
}

// What stands between the commas.
static json_t *names_of(const char *text)
{
    json_t *names = json_array();
    struct str rest = str_of(text);

    while (rest.len > 0) {
        const char *comma = memchr(rest.ptr, ',', rest.len);
        struct str one = {rest.ptr, comma ? (size_t)(comma - rest.ptr) : rest.len};

        rest = str_skip(rest, one.len + (comma != NULL));
        one = str_trim(one, " ");
        json_array_append_new(names, json_stringn(one.ptr, one.len));
    }
    return names;
}

void cli_check_access(struct cli *c, bool is_open)
{
    json_t *names, *name;
    const char *bind;
    size_t i;

    if (!is_given(c))
        return;
    bind = cli_text(c, "bind-host");
    names = names_of(cli_text(c, "subject-alternative-names"));
    if (bind[0] && !site_is_host(str_of(bind)))
        cli_problem(c, "bind-host is not valid: \"%s\" is neither an IP address nor a host name",
                    bind);
    json_array_foreach(names, i, name) if (!site_is_host(str_of(json_string_value(name))))
        cli_problem(c,
                    "subject-alternative-names are not valid: \"%s\" is neither an IP address nor "
                    "a host name",
                    json_string_value(name));
    json_decref(names);
    if (!is_open)
        cli_problem(c, "bind-host and subject-alternative-names are about links from other sites: "
                       "the --enable-link-access option must be set to true");
}

static void set(json_t *spec, const char *field, json_t *take, bool is_empty)
{
    if (is_empty) {
        json_object_del(spec, field);
        json_decref(take);
    } else {
        json_object_set_new(spec, field, take);
    }
}

bool cli_set_access(struct cli *c, json_t *access)
{
    json_t *spec = json_object_get(access, "spec"), *names;
    const char *bind;

    if (is_given(c) && cli_is_given(c, "bind-host")) {
        bind = cli_text(c, "bind-host");
        set(spec, "bindHost", json_string(bind), !bind[0]);
    }
    if (is_given(c) && cli_is_given(c, "subject-alternative-names")) {
        names = names_of(cli_text(c, "subject-alternative-names"));
        set(spec, "subjectAlternativeNames", names, json_array_size(names) == 0);
    }
    if (!json_object_get(spec, "roles"))
        json_object_set_new(spec, "roles",
                            json_pack("[{s:s}, {s:s}]", "name", "inter-router", "name", "edge"));
    return json_object_get(spec, "bindHost") || json_object_get(spec, "subjectAlternativeNames");
}

char *cli_access_name(const char *site)
{
    return str_fmt("%s%s", SITE_OWN_ACCESS, site);
}

int cli_store_access(struct cli *c, struct store *s, const char *site)
{
    char *name = cli_access_name(site);
    json_t *access = store_find(s, "RouterAccess", name);
    struct why why = {""};
    int err = 0;

    if (is_given(c)) {
        if (!access)
            access = store_new(s, "RouterAccess", name);
        err = cli_set_access(c, access) ? store_put(s, access, &why)
                                        : store_remove(s, "RouterAccess", name, &why);
    } else if (access && cli_is_given(c, "enable-link-access") &&
               !cli_bool(c, "enable-link-access")) {
        err = store_remove(s, "RouterAccess", name, &why);
    }
    json_decref(access);
    free(name);
    return err < 0 && err != ERR_NOT_FOUND ? cli_fail(c, "%s", why.text) : EXIT_OK;
}
