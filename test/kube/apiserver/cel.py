# SPDX-License-Identifier: Apache-2.0
"""The part of CEL, the Common Expression Language, that rules of schemas are written in: literals,
fields, indexes, has(), size(), comparison, arithmetic, logic, `in`, `? :`, the macros all, exists,
exists_one, filter and map, and functions of texts. A rule that needs more is an error, not a guess."""

import functools
import re

_TOKEN = re.compile(r"""\s*(?:(?P<number>\d+\.\d+|\d+u?)|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<name>[A-Za-z_]\w*)|(?P<op>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}]))""", re.X)
_BINARY = {"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3,
           "+": 4, "-": 4, "*": 5, "/": 5, "%": 5}
_MACROS = {"all", "exists", "exists_one", "filter", "map"}


class CelError(Exception):
    pass


class _Parser:
    def __init__(self, text):
        self.tokens = []
        at = 0
        while text[at:].strip():
            m = _TOKEN.match(text, at)
            if not m:
                raise CelError("cannot read: " + text[at:])
            self.tokens.append((m.lastgroup, m[m.lastgroup]))
            at = m.end()
        self.at = 0

    def peek(self):
        return self.tokens[self.at][1] if self.at < len(self.tokens) and \
            self.tokens[self.at][0] != "text" else None

    def next(self):
        self.at += 1
        if self.at > len(self.tokens):
            raise CelError("the rule ends too early")
        return self.tokens[self.at - 1]

    def take(self, what):
        if self.peek() == what:
            self.at += 1
            return True
        return False

    def need(self, what):
        if not self.take(what):
            raise CelError("%s expected" % what)

    def whole(self):
        tree = self.ternary()
        if self.at != len(self.tokens):
            raise CelError("not understood: %s" % (self.tokens[self.at],))
        return tree

    def ternary(self):
        test = self.binary(1)
        if not self.take("?"):
            return test
        yes = self.ternary()
        self.need(":")
        return ("if", test, yes, self.ternary())

    def binary(self, least):
        left = self.unary()
        while _BINARY.get(self.peek(), 0) >= least:
            op = self.next()[1]
            left = ("op", op, left, self.binary(_BINARY[op] + 1))
        return left

    def unary(self):
        if self.take("!"):
            return ("not", self.unary())
        if self.take("-"):
            return ("minus", self.unary())
        tree = self.primary()
        while True:
            if self.take("."):
                name = self.next()[1]
                tree = ("call", tree, name, self.list(")")) if self.take("(") else \
                    ("field", tree, name)
            elif self.take("["):
                tree = ("index", tree, self.ternary())
                self.need("]")
            else:
                return tree

    def list(self, end):
        items = []
        while not self.take(end):
            items.append(self.ternary())
            if not self.take(","):
                self.need(end)
                break
        return items

    def primary(self):
        kind, text = self.next()
        if kind == "number":
            return ("value", float(text) if "." in text else int(text.rstrip("u")))
        if kind == "text":
            return ("value", re.sub(r"\\(.)", r"\1", text[1:-1]))
        if text == "(":
            tree = self.ternary()
            self.need(")")
            return tree
        if text == "[":
            return ("list", self.list("]"))
        if text in ("true", "false", "null"):
            return ("value", {"true": True, "false": False, "null": None}[text])
        if kind != "name":
            raise CelError("not understood: " + text)
        return ("call", None, text, self.list(")")) if self.take("(") else ("name", text)


@functools.lru_cache(maxsize=500)
def parse(text):
    return _Parser(text).whole()


def evaluate(text, names):
    """The value; a CelError's text when it cannot be told, which is never True."""
    try:
        return _value(parse(text), names)
    except CelError as error:
        return str(error)


def _value(tree, names):
    what = tree[0]
    if what == "value":
        return tree[1]
    if what == "name":
        if tree[1] not in names:
            raise CelError("no such name: " + tree[1])
        return names[tree[1]]
    if what == "list":
        return [_value(t, names) for t in tree[1]]
    if what == "field":
        of = _value(tree[1], names)
        if not isinstance(of, dict) or tree[2] not in of:
            raise CelError("no such key: " + tree[2])
        return of[tree[2]]
    if what == "index":
        of, at = _value(tree[1], names), _value(tree[2], names)
        try:
            return of[at]
        except (KeyError, IndexError, TypeError):
            raise CelError("no such key: %s" % at) from None
    if what == "not":
        return not _bool(_value(tree[1], names))
    if what == "minus":
        return -_value(tree[1], names)
    if what == "if":
        return _value(tree[2] if _bool(_value(tree[1], names)) else tree[3], names)
    if what == "op":
        return _operate(tree, names)
    return _call(tree, names)


def _bool(value):
    if not isinstance(value, bool):
        raise CelError("no boolean: %r" % (value,))
    return value


def _operate(tree, names):
    _, op, left, right = tree
    if op in ("&&", "||"):
        return _logic(op == "||", left, right, names)
    a, b = _value(left, names), _value(right, names)
    try:
        return {"==": lambda: a == b and isinstance(a, bool) == isinstance(b, bool),
                "!=": lambda: a != b, "<": lambda: a < b, "<=": lambda: a <= b,
                ">": lambda: a > b, ">=": lambda: a >= b, "in": lambda: a in b,
                "+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b,
                "/": lambda: a // b if isinstance(a, int) else a / b, "%": lambda: a % b}[op]()
    except (TypeError, ZeroDivisionError) as error:
        raise CelError(str(error)) from None


def _logic(short, left, right, names):
    """Either side may decide, whatever trouble the other is in."""
    try:
        if _bool(_value(left, names)) == short:
            return short
    except CelError:
        if _bool(_value(right, names)) == short:
            return short
        raise
    return _bool(_value(right, names))


def _has(args, names):
    if len(args) != 1 or args[0][0] != "field":
        raise CelError("has() takes a field")
    of = _value(args[0][1], names)
    return isinstance(of, dict) and args[0][2] in of


def _call(tree, names):
    _, of, name, args = tree
    if of is None and name == "has":
        return _has(args, names)
    if of is not None and name in _MACROS:
        return _macro(_value(of, names), name, args, names)
    values = ([] if of is None else [_value(of, names)]) + [_value(a, names) for a in args]
    functions = {
        "size": len, "int": int, "string": _text, "double": float,
        "startsWith": str.startswith, "endsWith": str.endswith,
        "contains": lambda a, b: b in a, "matches": lambda a, b: bool(re.search(b, a)),
        "lowerAscii": str.lower, "split": str.split, "trim": str.strip,
    }
    if name not in functions:
        raise CelError("no such function: " + name)
    try:
        return functions[name](*values)
    except (TypeError, ValueError) as error:
        raise CelError(str(error)) from None


def _text(value):
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _macro(over, name, args, names):
    if len(args) != 2 or args[0][0] != "name":
        raise CelError("%s() takes a name and an expression" % name)
    def at(item):
        return _value(args[1], {**names, args[0][1]: item})
    if name == "all":
        return all(_bool(at(i)) for i in over)
    if name == "exists":
        return any(_bool(at(i)) for i in over)
    if name == "exists_one":
        return sum(_bool(at(i)) for i in over) == 1
    if name == "filter":
        return [i for i in over if _bool(at(i))]
    return [at(i) for i in over]
