// SPDX-License-Identifier: Apache-2.0
// Values of JSON that are seldom looked at: as objects and lists they take some twenty times what
// their text takes, in many small pieces. Folded, a value is one string, its own text.
#pragma once

#include <jansson.h>

// *value is an object, a list, or NULL; references that others have stay as they are. Once more
// does nothing.
void json_fold(json_t **value);
void json_unfold(json_t **value);
