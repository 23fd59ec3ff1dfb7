// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

const char *err_text(int err)
{
    switch ((enum err)err) {
    case ERR_NONE:
        return "no error";
    case ERR_DECODE:
        return "malformed bytes";
    case ERR_LIMIT:
        return "over a limit";
    case ERR_NOT_FOUND:
        return "not found";
    case ERR_EXISTS:
        return "exists already";
    case ERR_INVALID:
        return "not allowed here";
    case ERR_IO:
        return "input or output failed";
    case ERR_AGAIN:
        return "not now";
    case ERR_CLOSED:
        return "the other side has gone";
    case ERR_UNSUPPORTED:
        return "not supported";
    }
    return "unknown error";
}
