# SPDX-License-Identifier: Apache-2.0
"""YAML as people like to read it, with comments. Values are dicts, lists, texts, numbers and booleans;
Said(value, comment) is a value with a comment above it; Raw(text) stands as it is, for templates."""

import json
import re
import textwrap

WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z/.][A-Za-z0-9_./ (),;+-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


class Said:
    def __init__(self, value, comment):
        self.value = value
        self.comment = comment


class Raw(str):
    pass


def _scalar(value):
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS and not value.endswith(" "):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_short(value):
    """Fits on a line, as a list of words does."""
    return isinstance(value, list) and all(isinstance(v, (str, int)) for v in value) and \
        sum(len(str(v)) + 4 for v in value) < WIDTH - 24


def _comment(text, indent):
    lead = " " * indent + "# "
    return [lead + line for line in textwrap.wrap(text, WIDTH - len(lead))]


def _lines(value, indent):
    """The lines of a map or list."""
    lines, lead = [], " " * indent
    entries = value.items() if isinstance(value, dict) else [(None, v) for v in value]
    for key, item in entries:
        if isinstance(item, Said):
            lines += _comment(item.comment, indent)
            item = item.value
        head = lead + ("- " if key is None else _scalar(key) + ":")
        if key is None and isinstance(item, dict) and item:
            inner = _lines(item, indent + 2)
            first = next(i for i, line in enumerate(inner) if not line.lstrip().startswith("#"))
            lines += [line[2:] for line in inner[:first]]
            lines += [lead + "- " + inner[first][indent + 2:]] + inner[first + 1:]
        elif isinstance(item, (dict, list)) and not item:
            lines.append(head + (" " if key is not None else "") +
                         ("{}" if isinstance(item, dict) else "[]"))
        elif _is_short(item):
            gap = "" if key is None else " "
            lines.append(head + gap + "[" + ", ".join(_scalar(v) for v in item) + "]")
        elif isinstance(item, dict):
            lines += [head] + _lines(item, indent + 2)
        elif isinstance(item, list):
            lines += [head] + _lines(item, indent)
        else:
            lines += _text(head, item, indent, "" if key is None else " ")
    return lines


def _text(head, value, indent, gap):
    written = _scalar(value)
    if isinstance(value, str) and len(head) + len(written) + 1 > WIDTH and " " in value \
            and not isinstance(value, Raw):
        lead = " " * (indent + 2)
        return [head + gap + ">-"] + [lead + line for line in textwrap.wrap(
            value, WIDTH - len(lead), break_long_words=False, break_on_hyphens=False)]
    return [head + gap + written]


def document(value):
    """One document, with the comment of a Said above it."""
    lines = []
    if isinstance(value, Said):
        lines, value = _comment(value.comment, 0), value.value
    return "\n".join(lines + _lines(value, 0)) + "\n"


def documents(values):
    return "---\n".join(document(v) for v in values)
