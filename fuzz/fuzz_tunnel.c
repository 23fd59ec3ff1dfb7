// SPDX-License-Identifier: Apache-2.0
// Answers of an HTTP proxy: wherever they are cut, the same meaning, and the same octets left for
// the far end; what is refused is refused with words.
#include <assert.h>
#include <string.h>

#include "base/err.h"
#include "net/net.h"
#include "net/tunnel.h"

static int story(const struct net_proxy *p, const uint8_t *data, size_t len, size_t step,
                 size_t *used, struct why *why)
{
    struct tunnel t;
    int result = ERR_AGAIN;

    *used = 0;
    why->text[0] = '\0';
    assert(tunnel_init(&t, p, "far", "1", why) == 0);
    while (*used < len && result == ERR_AGAIN) {
        size_t part = len - *used < step ? len - *used : step;
        size_t taken = tunnel_feed(&t, data + *used, part, &result, why);

        assert(taken <= part && (taken == part || result != ERR_AGAIN));
        *used += taken;
    }
    assert(*used <= TUNNEL_ANSWER_MAX + 1);
    assert((result == 0 || result == ERR_AGAIN) == (why->text[0] == '\0'));
    tunnel_fini(&t);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct net_proxy *p;
    struct why whole, cut;
    size_t used, used_cut;

    if (!p && net_proxy_new(&(struct net_proxy_opts){.name = "p", .host = "h", .port = "1"}, &p,
                            NULL) < 0)
        return 0;
    if (len > 0) {
        assert(story(p, data, len, len, &used, &whole) ==
               story(p, data, len, 1 + data[len - 1] % 16, &used_cut, &cut));
        assert(used == used_cut && strcmp(whole.text, cut.text) == 0);
    }
    return 0;
}
