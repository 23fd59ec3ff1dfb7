# SPDX-License-Identifier: Apache-2.0
"""What the API says when it says no: Status objects with the words of the real server, which people
look for in messages and programs in `reason` and `details`."""

import json


class ApiError(Exception):
    """An answer that is no success, raised from wherever it is found out."""

    def __init__(self, code, reason, message, details=None, headers=None):
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}

    def status(self):
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                  "message": self.message, "reason": self.reason, "code": self.code}
        if self.details:
            status["details"] = self.details
        return status


class PageNotFound(Exception):
    """A path that nobody serves: plain text, as the real server answers."""


def _details(kind, name="", causes=None):
    details = {}
    if name:
        details["name"] = name
    if kind.group:
        details["group"] = kind.group
    details["kind"] = kind.plural
    if causes:
        details["causes"] = causes
    return details


def bad_request(message):
    return ApiError(400, "BadRequest", message)


def unauthorized():
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(kind, name, message):
    subject = '%s "%s"' % (kind.qualified, name) if name else kind.qualified
    return ApiError(403, "Forbidden", "%s is forbidden: %s" % (subject, message),
                    _details(kind, name))


def terminating(kind, name, namespace):
    error = forbidden(kind, name, "unable to create new content in namespace %s because it is "
                      "being terminated" % namespace)
    error.details["causes"] = [{"reason": "NamespaceTerminating", "field": "metadata.namespace",
                                "message": "namespace %s is being terminated" % namespace}]
    return error


def not_found(kind, name):
    return ApiError(404, "NotFound", '%s "%s" not found' % (kind.qualified, name),
                    _details(kind, name))


def method_not_allowed():
    return ApiError(405, "MethodNotAllowed",
                    "the server does not allow this method on the requested resource", {})


def already_exists(kind, name):
    return ApiError(409, "AlreadyExists", '%s "%s" already exists' % (kind.qualified, name),
                    _details(kind, name))


MODIFIED = ("the object has been modified; please apply your changes to the latest version and "
            "try again")


def conflict(kind, name, message=MODIFIED):
    return ApiError(409, "Conflict", 'Operation cannot be fulfilled on %s "%s": %s'
                    % (kind.qualified, name, message), _details(kind, name))


def apply_conflict(causes):
    """`causes`: (who, path) of every field that somebody else has set."""
    if len(causes) == 1:
        told = "1 conflict: conflict with %s: %s" % causes[0]
    else:
        told = "%d conflicts: " % len(causes) + "\n".join(
            "conflicts with %s:\n%s" % (who, "\n".join("- " + p for w, p in causes if w == who))
            for who in dict.fromkeys(w for w, _ in causes))
    return ApiError(409, "Conflict", "Apply failed with " + told, {"causes": [
        {"reason": "FieldManagerConflict", "message": "conflict with " + who, "field": path}
        for who, path in causes]})


def expired(message):
    return ApiError(410, "Expired", message)


def too_old(asked, oldest):
    return expired("too old resource version: %d (%d)" % (asked, oldest))


def continue_too_old():
    return expired("The provided continue parameter is too old to display a consistent list "
                   "result. You must start a new list without the continue parameter.")


def too_large_body(limit):
    return ApiError(413, "RequestEntityTooLarge",
                    "Request entity too large: limit is %d" % limit)


def unsupported_media(accepted):
    return ApiError(415, "UnsupportedMediaType",
                    "the body of the request was in an unknown format - accepted media types "
                    "include: " + ", ".join(accepted))


def invalid(kind, name, causes):
    """`causes`: (reason, field, message) as fault() makes them."""
    told = ", ".join("%s: %s" % (field, message) if field else message
                     for _, field, message in causes)
    if len(causes) > 1:
        told = "[%s]" % told
    full = "%s.%s" % (kind.kind, kind.group) if kind.group else kind.kind
    details = {"name": name, "kind": kind.kind, "causes": [
        {"reason": reason, "message": message, "field": field or "<nil>"}
        for reason, field, message in causes]}
    if kind.group:
        details["group"] = kind.group
    return ApiError(422, "Invalid", '%s "%s" is invalid: %s' % (full, name, told), details)


def too_many_requests(seconds):
    return ApiError(429, "TooManyRequests",
                    "the server has received too many requests and has asked us to try again "
                    "later", {"retryAfterSeconds": seconds}, {"Retry-After": str(seconds)})


def internal(message):
    return ApiError(500, "InternalError", "Internal error occurred: " + message,
                    {"causes": [{"message": message}]})


def too_large_version(asked, current):
    return ApiError(504, "Timeout", "Timeout: Too large resource version: %d, current: %d"
                    % (asked, current),
                    {"causes": [{"reason": "ResourceVersionTooLarge",
                                 "message": "Too large resource version"}],
                     "retryAfterSeconds": 1}, {"Retry-After": "1"})


# ------------------------------------------------------------------- faults of a field, for 422

def quoted(value):
    return json.dumps(value, ensure_ascii=False)


def required(field, more=""):
    return ("FieldValueRequired", field, "Required value" + (": " + more if more else ""))


def wrong(field, value, why):
    return ("FieldValueInvalid", field, "Invalid value: %s: %s" % (quoted(value), why))


def wrong_type(field, value, why):
    return ("FieldValueTypeInvalid", field, "Invalid value: %s: %s" % (quoted(value), why))


def unsupported(field, value, allowed):
    return ("FieldValueNotSupported", field, "Unsupported value: %s: supported values: %s"
            % (quoted(value), ", ".join(quoted(a) for a in allowed)))


def duplicate(field, value):
    return ("FieldValueDuplicate", field, "Duplicate value: %s" % quoted(value))


def immutable(field, value):
    return ("FieldValueInvalid", field, "Invalid value: %s: field is immutable" % quoted(value))


def too_long(field, limit):
    return ("FieldValueTooLong", field, "Too long: may not be more than %d bytes" % limit)
