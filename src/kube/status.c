// SPDX-License-Identifier: Apache-2.0
// What an answer means. Pure.
#include <stdlib.h>

#include "kube/inside.h"

int kube_result_err(enum kube_result result)
{
    switch (result) {
    case KUBE_OK:
        return 0;
    case KUBE_NOT_FOUND:
        return ERR_NOT_FOUND;
    case KUBE_EXISTS:
        return ERR_EXISTS;
    case KUBE_CONFLICT:
    case KUBE_BUSY:
        return ERR_AGAIN;
    case KUBE_OWNED:
    case KUBE_REFUSED:
    case KUBE_FORBIDDEN:
    case KUBE_UNAUTHORIZED:
        return ERR_INVALID;
    case KUBE_UNREACHABLE:
        return ERR_CLOSED;
    case KUBE_UNUSABLE:
        return ERR_DECODE;
    }
    return ERR_INVALID;
}

void kube_answer_fini(struct kube_answer *a)
{
    json_decref(a->value);
    if (a->text)
        explicit_bzero(a->text, a->text_len);
    free(a->text);
    *a = (struct kube_answer){0};
}

static const char *text_at(const json_t *map, const char *key)
{
    const char *text = json_string_value(json_object_get(map, key));

    return text ? text : "";
}

// 409 is three things.
static enum kube_result judge_conflict(const json_t *status)
{
    const json_t *causes = json_object_get(json_object_get(status, "details"), "causes");
    const json_t *cause;
    size_t i;

    if (strcmp(text_at(status, "reason"), "AlreadyExists") == 0)
        return KUBE_EXISTS;
    json_array_foreach(causes, i, cause)
    {
        if (strcmp(text_at(cause, "reason"), "FieldManagerConflict") == 0)
            return KUBE_OWNED;
    }
    return KUBE_CONFLICT;
}

static enum kube_result judge_code(int code, const json_t *status)
{
    switch (code) {
    case 401:
        return KUBE_UNAUTHORIZED;
    case 403:
        return KUBE_FORBIDDEN;
    case 404:
        return KUBE_NOT_FOUND;
    case 409:
        return judge_conflict(status);
    case 410:
    case 429:
        return KUBE_BUSY;
    case 501:
        return KUBE_REFUSED;
    default:
        if (code >= 200 && code < 300)
            return KUBE_OK;
        return code >= 400 && code < 500   ? KUBE_REFUSED
               : code >= 500 && code < 600 ? KUBE_BUSY
                                           : KUBE_UNUSABLE;
    }
}

static const char *advice(enum kube_result result)
{
    switch (result) {
    case KUBE_FORBIDDEN:
        return "; a Role that allows it must be bound to this user";
    case KUBE_UNAUTHORIZED:
        return "; the credentials have expired or belong to another cluster: log in again";
    case KUBE_OWNED:
        return "; whoever owns these fields must give them up first";
    case KUBE_BUSY:
        return "; try again later";
    case KUBE_UNUSABLE:
        return "; is that the API of Kubernetes?";
    case KUBE_OK:
    case KUBE_NOT_FOUND:
    case KUBE_EXISTS:
    case KUBE_CONFLICT:
    case KUBE_REFUSED:
    case KUBE_UNREACHABLE:
        break;
    }
    return "";
}

static enum kube_result judge_fail(enum fail fail)
{
    return fail == FAIL_CUT           ? KUBE_UNUSABLE
           : fail == FAIL_CREDENTIALS ? KUBE_UNAUTHORIZED
                                      : KUBE_UNREACHABLE;
}

void outcome_fini(struct outcome *o)
{
    json_decref(o->status);
    o->status = NULL;
}

void judge(struct kube_answer *a, const struct outcome *o, const char *what)
{
    const char *message = text_at(o->status, "message");

    a->code = o->code;
    if (o->fail != FAIL_NONE) {
        a->result = judge_fail(o->fail);
        why_set(&a->why, "cannot %.200s: %.290s", what, o->why.text);
        return;
    }
    a->result = judge_code(o->code, o->status);
    if (a->result == KUBE_OK)
        return;
    snprintf(a->reason, sizeof(a->reason), "%s", text_at(o->status, "reason"));
    if (message[0])
        why_set(&a->why, "cannot %.120s: %.300s%s", what, message, advice(a->result));
    else
        why_set(&a->why, "cannot %.120s: the server answers %d%s", what, o->code,
                advice(a->result));
}
