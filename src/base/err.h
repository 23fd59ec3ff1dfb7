// SPDX-License-Identifier: Apache-2.0
// What can go wrong in the world. Functions return 0 (or a count) on success and one of these on
// failure; results go through the last argument and are written only on success.
#pragma once

enum err {
    ERR_NONE = 0,
    ERR_DECODE = -1, // bytes that the format does not allow
    ERR_LIMIT = -2,  // well formed, but more than we accept
    ERR_NOT_FOUND = -3,
    ERR_EXISTS = -4,
    ERR_INVALID = -5, // well formed and understood, but not allowed here
    ERR_IO = -6,      // the operating system said no; errno tells
    ERR_AGAIN = -7,   // not now; an event will tell when
    ERR_CLOSED = -8,  // the other side has gone
    ERR_UNSUPPORTED = -9,
};

// A short English phrase for a negative enum err; never NULL.
const char *err_text(int err);
