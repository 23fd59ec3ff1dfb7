# SPDX-License-Identifier: Apache-2.0
"""The three patches that are plain functions of a document: JSON merge patch (RFC 7386), JSON patch
(RFC 6902), and the strategic merge patch for kinds of the cluster itself. (Server-side apply, which
knows who set what, is in apply.py.)

Of the strategic patch: lists of objects with a merge key (shapes.py), `$patch: delete` and `replace`,
`$deleteFromPrimitiveList`; `$setElementOrder` and `$retainKeys` are taken off and not acted on."""

import copy

from . import errors, shapes


def merge(target, patch):
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


# ------------------------------------------------------------------------------------ JSON patch

def _steps(pointer):
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise _unfit("bad pointer %s" % pointer)
    return [s.replace("~1", "/").replace("~0", "~") for s in pointer[1:].split("/")]


def _unfit(why):
    return errors.ApiError(422, "Invalid", "the server rejected our request due to an error in our "
                           "request: %s" % why, {})


def _index(part, step, end):
    if step == "-" and end:
        return len(part)
    if not step.isdigit() or int(step) > len(part) - (0 if end else 1):
        raise _unfit("no element %s" % step)
    return int(step)


def _get(doc, steps):
    for step in steps:
        if isinstance(doc, dict) and step in doc:
            doc = doc[step]
        elif isinstance(doc, list):
            doc = doc[_index(doc, step, False)]
        else:
            raise _unfit("nothing at /%s" % "/".join(steps))
    return doc


def _add(doc, steps, value):
    part = _get(doc, steps[:-1])
    if isinstance(part, dict):
        part[steps[-1]] = value
    elif isinstance(part, list):
        part.insert(_index(part, steps[-1], True), value)
    else:
        raise _unfit("nothing at /%s" % "/".join(steps[:-1]))


def _remove(doc, steps):
    part, value = _get(doc, steps[:-1]), _get(doc, steps)
    del part[steps[-1] if isinstance(part, dict) else int(steps[-1])]
    return value


def json_patch(target, operations):
    if not isinstance(operations, list):
        raise errors.bad_request("a JSON patch is a list of operations")
    doc = copy.deepcopy(target)
    for o in operations:
        if not isinstance(o, dict) or not isinstance(o.get("path"), str) or \
                not isinstance(o.get("from", ""), str):
            raise errors.bad_request("no operation of a JSON patch: %r" % (o,))
        op, steps = o.get("op"), _steps(o["path"])
        if not steps:
            raise _unfit("the whole object cannot be replaced")
        if op == "test":
            if _get(doc, steps) != o.get("value"):
                raise _unfit("testing value %s failed" % o.get("path"))
        elif op == "remove":
            _remove(doc, steps)
        elif op == "replace":
            _get(doc, steps)
            part = _get(doc, steps[:-1])
            part[steps[-1] if isinstance(part, dict) else int(steps[-1])] = o.get("value")
        elif op == "add":
            _add(doc, steps, o.get("value"))
        elif op in ("move", "copy"):
            of = _steps(o.get("from", ""))
            value = _remove(doc, of) if op == "move" else copy.deepcopy(_get(doc, of))
            _add(doc, steps, value)
        else:
            raise _unfit("unknown operation %s" % op)
    return doc


# ------------------------------------------------------------------------- strategic merge patch

def strategic(target, patch, shape=None):
    shape = shape or shapes.ROOT
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {k: v for k, v in patch.items() if k != "$patch"}
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [v for v in result.get(name, []) if v not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            if value.get("$patch") == "delete":
                result.pop(key, None)
            else:
                result[key] = strategic(result.get(key), value, shape.member(key))
        elif isinstance(value, list):
            result[key] = _strategic_list(result.get(key) or [], value, shape.member(key))
        else:
            result[key] = value
    return result


def _strategic_list(target, patch, shape):
    keys = shape.keys[:1]  # the strategic patch knows one merge key
    if not keys and shape.is_set:
        return target + [v for v in patch if v not in target]
    if not keys or not all(isinstance(v, dict) for v in patch):
        return patch
    if any(v.get("$patch") == "replace" for v in patch):
        return [v for v in patch if v.get("$patch") != "replace"]
    key, result = keys[0], list(target)
    for value in patch:
        at = next((i for i, v in enumerate(result) if v.get(key) == value.get(key)), None)
        if value.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            result.append(strategic({}, value, shape.item()))
        else:
            result[at] = strategic(result[at], value, shape.item())
    return result
