# SPDX-License-Identifier: Apache-2.0
"""Structural schemas of custom resources: defaults, pruning, validation, rules in CEL."""

import datetime
import re

from . import cel, errors

_TYPES = {"string": str, "boolean": bool, "array": list, "object": dict}
_DURATION = re.compile(r"[+-]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+)")


# ------------------------------------------------------------------------------ the schema itself

_NUMBERS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
            "minimum", "maximum")


def faults_of(schema, at, is_part=False):
    """What is wrong with a schema. A part, as in oneOf, need not say its type."""
    if not isinstance(schema, dict):
        return [errors.wrong_type(at, schema, "must be a schema")]
    faults = []
    free = is_part or schema.get("x-kubernetes-int-or-string") or \
        schema.get("x-kubernetes-preserve-unknown-fields")
    kinds = ("string", "integer", "number", "boolean", "array", "object")
    if "type" not in schema and not free:
        faults.append(errors.required(at + ".type", "must not be empty for specified object "
                                      "fields"))
    elif "type" in schema and schema["type"] not in kinds:
        faults.append(errors.unsupported(at + ".type", schema["type"], kinds))
    for word in _NUMBERS:
        if word in schema and not _is("number", schema[word]):
            faults.append(errors.wrong_type(at + "." + word, schema[word], "must be a number"))
    for word in ("required", "x-kubernetes-list-map-keys"):
        if word in schema and not (isinstance(schema[word], list) and
                                   all(isinstance(w, str) for w in schema[word])):
            faults.append(errors.wrong_type(at + "." + word, schema[word], "must be texts"))
    if not isinstance(schema.get("enum", []), list):
        faults.append(errors.wrong_type(at + ".enum", schema["enum"], "must be a list"))
    try:
        re.compile(schema.get("pattern", ""))
    except (re.error, TypeError):
        faults.append(errors.wrong(at + ".pattern", schema["pattern"],
                                   "must be a valid regular expression"))
    return faults + _faults_of_parts(schema, at) + _faults_of_rules(schema, at)


def _faults_of_parts(schema, at):
    faults, parts = [], []
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        return [errors.wrong_type(at + ".properties", properties, "must be schemas by name")]
    for name, inner in properties.items():
        if not (at == "openAPIV3Schema" and name in ("apiVersion", "kind", "metadata")):
            faults += faults_of(inner, "%s.properties[%s]" % (at, name))
    if "items" in schema:
        faults += faults_of(schema["items"], at + ".items")
    elif schema.get("type") == "array":
        faults.append(errors.required(at + ".items", "must be specified"))
    if not isinstance(schema.get("additionalProperties", True), bool):
        faults += faults_of(schema["additionalProperties"], at + ".additionalProperties")
    for word in ("oneOf", "anyOf", "allOf"):
        some = schema.get(word, [])
        parts += [(word, s) for s in (some if isinstance(some, list) else [some])]
    if "not" in schema:
        parts.append(("not", schema["not"]))
    for word, part in parts:
        faults += faults_of(part, "%s.%s" % (at, word), is_part=True)
    return faults


def _faults_of_rules(schema, at):
    rules, at = schema.get("x-kubernetes-validations", []), at + ".x-kubernetes-validations"
    if not isinstance(rules, list):
        return [errors.wrong_type(at, rules, "must be a list")]
    faults = []
    for rule in rules:
        if not isinstance(rule, dict) or any(not isinstance(v, str) for v in rule.values()) or \
                not rule.get("rule"):
            faults.append(errors.required(at + ".rule"))
            continue
        try:
            cel.parse(rule["rule"])
        except cel.CelError as error:
            faults.append(errors.wrong(at + ".rule", rule["rule"], "compilation failed: %s"
                                       % error))
    return faults


# ------------------------------------------------------------------------------ shape: in place

def shape(schema, obj, strict):
    """Prunes what the schema does not know and fills in defaults. With strict "Strict" what is not
    known is an error, with "Warn" the returned list names it."""
    unknown = []
    whole = dict(schema, properties={
        **(schema.get("properties") or {}), "apiVersion": {}, "kind": {},
        "metadata": {"x-kubernetes-preserve-unknown-fields": True}})
    _prune(whole, obj, "", unknown)
    _fill(schema, obj)
    if unknown and strict == "Strict":
        raise errors.bad_request("strict decoding error: " + ", ".join(
            'unknown field "%s"' % u for u in unknown))
    return ['unknown field "%s"' % u for u in unknown] if strict != "Ignore" else []


def _prune(schema, value, at, unknown):
    if isinstance(value, dict):
        known = schema.get("properties") or {}
        rest = schema.get("additionalProperties")
        keep = schema.get("x-kubernetes-preserve-unknown-fields")
        for name in list(value):
            inner = known.get(name, rest if isinstance(rest, dict) else None)
            here = "%s.%s" % (at, name) if at else name
            if inner is not None:
                _prune(inner, value[name], here, unknown)
            elif not keep and rest is not True:
                unknown.append(here)
                del value[name]
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for i, item in enumerate(value):
            _prune(schema["items"], item, "%s[%d]" % (at, i), unknown)


def _fill(schema, value):
    if isinstance(value, dict):
        for name, inner in (schema.get("properties") or {}).items():
            if name == "metadata":
                continue
            # A null where none is allowed is as good as nothing.
            if "default" in inner and value.get(name) is None and \
                    (name not in value or not inner.get("nullable")):
                value[name] = _copy(inner["default"])
            elif name in value and value[name] is None and not inner.get("nullable"):
                del value[name]
            if name in value:
                _fill(inner, value[name])
        rest = schema.get("additionalProperties")
        if isinstance(rest, dict):
            for name in [n for n in value if n not in (schema.get("properties") or {})]:
                if value[name] is None and not rest.get("nullable"):
                    del value[name]
                else:
                    _fill(rest, value[name])
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            _fill(schema["items"], item)


def _copy(value):
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


# ------------------------------------------------------------------------------------- validation

def check(schema, obj, old=None):
    faults = []
    for name, inner in (schema.get("properties") or {}).items():
        if name not in ("metadata", "apiVersion", "kind") and name in obj:
            _check(inner, obj[name], name, faults)
    _check_required(schema, obj, "", faults)
    _check_alternatives(schema, obj, "", faults)
    if not faults:
        _check_rules(schema, obj, old, "", faults)
    return faults


def _is(kind, value):
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool) or \
            isinstance(value, float) and value.is_integer()
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, _TYPES[kind])


def _name_of(value):
    if value is None:
        return "null"
    for name in ("boolean", "integer", "number", "string", "array", "object"):
        if _is(name, value):
            return name
    return "unknown"


def _check(schema, value, at, faults):
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, (int, str)) or isinstance(value, bool):
            faults.append(errors.wrong_type(at, value, "must be an integer or a string"))
    elif schema.get("type") and not _is(schema["type"], value):
        faults.append(errors.wrong_type(at, _name_of(value), "%s in body must be of type %s: \"%s\""
                                        % (at, schema["type"], _name_of(value))))
        return
    if "enum" in schema and value not in schema["enum"]:
        faults.append(errors.unsupported(at, value, schema["enum"]))
    if isinstance(value, str):
        _check_text(schema, value, at, faults)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_number(schema, value, at, faults)
    elif isinstance(value, list):
        _check_list(schema, value, at, faults)
    elif isinstance(value, dict):
        _check_map(schema, value, at, faults)
    _check_alternatives(schema, value, at, faults)


def _check_text(schema, value, at, faults):
    if len(value) < schema.get("minLength", 0):
        faults.append(errors.wrong(at, value, "%s in body should be at least %d chars long"
                                   % (at, schema["minLength"])))
    if len(value) > schema.get("maxLength", len(value)):
        faults.append(errors.wrong(at, value, "%s in body should be at most %d chars long"
                                   % (at, schema["maxLength"])))
    if "pattern" in schema and not re.search(schema["pattern"], value):
        faults.append(errors.wrong(at, value, "%s in body should match '%s'"
                                   % (at, schema["pattern"])))
    if not _fits_format(schema.get("format"), value):
        faults.append(errors.wrong(at, value, "%s in body must be of type %s: %s"
                                   % (at, schema["format"], errors.quoted(value))))


def _fits_format(name, value):
    if name == "duration":
        return bool(_DURATION.fullmatch(value))
    if name == "date-time":
        try:
            datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return False
    return True


def _check_number(schema, value, at, faults):
    if "minimum" in schema and value < schema["minimum"]:
        faults.append(errors.wrong(at, value, "%s in body should be greater than or equal to %s"
                                   % (at, schema["minimum"])))
    if "maximum" in schema and value > schema["maximum"]:
        faults.append(errors.wrong(at, value, "%s in body should be less than or equal to %s"
                                   % (at, schema["maximum"])))
    bits = {"int32": 31, "int64": 63}.get(schema.get("format"))
    if bits and not -2 ** bits <= value < 2 ** bits:
        faults.append(errors.wrong(at, value, "%s in body must be of type %s"
                                   % (at, schema["format"])))


def _check_list(schema, value, at, faults):
    if len(value) < schema.get("minItems", 0):
        faults.append(errors.wrong(at, value, "%s in body should have at least %d items"
                                   % (at, schema["minItems"])))
    if len(value) > schema.get("maxItems", len(value)):
        faults.append(("FieldValueTooMany", at, "Too many: %d: must have at most %d items"
                       % (len(value), schema["maxItems"])))
    for i, item in enumerate(value):
        _check(schema.get("items") or {}, item, "%s[%d]" % (at, i), faults)
    keys = schema.get("x-kubernetes-list-map-keys")
    how = schema.get("x-kubernetes-list-type")
    if how in ("set", "map"):
        seen = []
        for i, item in enumerate(value):
            if how == "map" and not isinstance(item, dict):
                continue  # its type was found fault with
            key = {k: item.get(k) for k in keys} if how == "map" else item
            if key in seen:
                faults.append(errors.duplicate("%s[%d]" % (at, i), key))
            seen.append(key)


def _check_required(schema, value, at, faults):
    for name in schema.get("required") or ():
        if name not in value:
            faults.append(errors.required("%s.%s" % (at, name) if at else name))


def _check_map(schema, value, at, faults):
    _check_required(schema, value, at, faults)
    known, rest = schema.get("properties") or {}, schema.get("additionalProperties")
    for name, item in value.items():
        inner = known.get(name, rest if isinstance(rest, dict) else None)
        if inner is not None:
            _check(inner, item, "%s.%s" % (at, name), faults)
    if len(value) < schema.get("minProperties", 0):
        faults.append(errors.wrong(at, value, "%s in body should have at least %d properties"
                                   % (at, schema["minProperties"])))
    if len(value) > schema.get("maxProperties", len(value)):
        faults.append(("FieldValueTooMany", at, "Too many: %d: must have at most %d items"
                       % (len(value), schema["maxProperties"])))


def _fits(schema, value, at):
    faults = []
    _check(schema, value, at, faults)
    return not faults


def _check_alternatives(schema, value, at, faults):
    for word, said in (("oneOf", "must validate one and only one schema (oneOf)"),
                       ("anyOf", "must validate at least one schema (anyOf)"),
                       ("allOf", "must validate all the schemas (allOf)")):
        if word not in schema:
            continue
        fitting = sum(_fits(s, value, at) for s in schema[word])
        good = {"oneOf": fitting == 1, "anyOf": fitting > 0,
                "allOf": fitting == len(schema[word])}[word]
        if not good:
            faults.append(errors.wrong(at, "", '"%s" %s. Found %s valid alternatives' % (
                at, said, fitting if fitting else "none")))
    if "not" in schema and _fits(schema["not"], value, at):
        faults.append(errors.wrong(at, "", '"%s" must not validate the schema (not)' % at))


def _check_rules(schema, value, old, at, faults):
    """Rules are checked where the schema has them; those that know `oldSelf` only where there was a
    value before."""
    for rule in schema.get("x-kubernetes-validations") or ():
        names = {"self": value}
        if "oldSelf" in rule["rule"]:
            if old is None:
                continue
            names["oldSelf"] = old
        if cel.evaluate(rule["rule"], names) is not True:
            message = rule.get("message") or "failed rule: " + rule["rule"]
            where = at + rule.get("fieldPath", "")
            faults.append(("FieldValueInvalid", where, "Invalid value: \"%s\": %s"
                           % (_name_of(value), message)))
    if isinstance(value, dict):
        known, rest = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, item in value.items():
            inner = known.get(name, rest if isinstance(rest, dict) else None)
            if inner is not None and item is not None:
                before = old.get(name) if isinstance(old, dict) else None
                _check_rules(inner, item, before, "%s.%s" % (at, name) if at else name, faults)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for i, item in enumerate(value):
            _check_rules(schema["items"], item, None, "%s[%d]" % (at, i), faults)
