# SPDX-License-Identifier: Apache-2.0
"""The paths of the API: what a request asks for, who may ask, and the answer.

answer() gives a Response, or a Watch whose events the connection then sends."""

import base64
import json
import random
import re
import time

from . import errors, forward, rbac, selectors, tables
from .http1 import Response
from .kinds import Kind
from .objects import PATCHES, Writer
from .store import encode
from .watch import Watch

VERSION = {"major": "1", "minor": "32", "gitVersion": "v1.32.0-standin", "gitCommit": "",
           "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none",
           "compiler": "none", "platform": "linux/amd64"}


TOKEN_REQUEST = Kind("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests")


class Target:
    """What the path of a request names."""

    __slots__ = ("group", "version", "plural", "namespace", "name", "sub")

    def __init__(self, group, version, plural, namespace="", name="", sub=""):
        self.group = group
        self.version = version
        self.plural = plural
        self.namespace = namespace
        self.name = name
        self.sub = sub


class Forward:
    """A port of a pod that is led to; `real`: where it is on this machine."""

    def __init__(self, port, real):
        self.port, self.real = port, real


def target_of(path):
    """None: the path is none of a resource."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        raise errors.PageNotFound()
    target = Target(group, version, rest[0], namespace, *rest[1:])
    if not group and target.plural == "namespaces":
        target.namespace = target.name  # rights in a namespace include it
    return target


def verb_of(request, target):
    if request.method in ("GET", "HEAD"):
        if target.name:
            return "get"
        return "watch" if request.flag("watch") else "list"
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    if request.method not in verbs:
        raise errors.method_not_allowed()
    verb = verbs[request.method]
    return "deletecollection" if verb == "delete" and not target.name else verb


def _no_number(text):
    raise ValueError("invalid character in number: " + text)


def _number(text, what):
    if not text.isdigit():
        raise errors.bad_request('%s: Invalid value: "%s": strconv.ParseUint: parsing "%s": '
                                 "invalid syntax" % (what, text, text))
    return int(text)


class Api:
    def __init__(self, objects, authority, watches):
        self.objects = objects
        self.store = objects.store
        self.kinds = objects.kinds
        self.authority = authority
        self.watches = watches

    # ----------------------------------------------------------------- paths without a resource

    def plain(self, request, user):
        self.authority.require_path(user, request.path, request.method.lower())
        path = request.path.rstrip("/")
        if path in ("/healthz", "/livez", "/readyz"):
            return Response(200, b"ok", "text/plain; charset=utf-8")
        parts = path.strip("/").split("/")
        if path == "/version":
            return Response(200, VERSION)
        if path == "/api":
            return Response(200, {"kind": "APIVersions", "versions": ["v1"],
                                  "serverAddressByClientCIDRs": []})
        if path == "/apis":
            return Response(200, self.kinds.group_list())
        if path == "/api/v1":
            return Response(200, self.kinds.resource_list("", "v1"))
        groups = self.kinds.groups()
        if parts[0] == "apis" and len(parts) > 1 and parts[1] in groups:
            if len(parts) == 2:
                document = self.kinds.group_document(parts[1], groups[parts[1]])
                return Response(200, {"kind": "APIGroup", "apiVersion": "v1", **document})
            if len(parts) == 3 and parts[2] in groups[parts[1]]:
                return Response(200, self.kinds.resource_list(parts[1], parts[2]))
        raise errors.PageNotFound()

    # ----------------------------------------------------------------------------- one resource

    def answer(self, request, user, target, verb):
        # What nobody serves is "forbidden" to who has no right to it, as in the real server.
        self.authority.require(user, rbac.Attributes(
            verb, target.group, target.plural, target.sub, target.namespace,
            target.name or _only_name(request)))
        kind = self.kinds.find(target.group, target.version, target.plural)
        if not kind or (target.sub and target.sub not in kind.subs):
            raise errors.PageNotFound()
        if kind.namespaced and not target.namespace and (target.name or verb == "create"):
            raise errors.PageNotFound()
        namespace = target.namespace if kind.namespaced else ""
        if verb not in kind.verbs:
            raise errors.method_not_allowed()
        if verb in ("create", "update", "patch") or target.sub == "token":
            return self._write(request, user, kind, namespace, target, verb)
        if verb == "get":
            entry = self.objects.existing(kind, namespace, target.name)
            if target.sub == "scale":
                return Response(200, _scale(entry.obj))
            if target.sub == "portforward":
                # Newer servers want both verbs, whichever method the upgrade has.
                self.authority.require(user, rbac.Attributes(
                    "create", "", "pods", "portforward", namespace, target.name))
                return Forward(*forward.where(request, entry.obj))
            return self._shown(request, kind, entry)
        if verb in ("delete", "deletecollection"):
            return self._delete(request, kind, namespace, target.name)
        where = (target.namespace or None) if kind.namespaced else None
        if verb == "list":
            return self._list(request, kind, where)
        return self._watch(request, kind, where)

    def _shown(self, request, kind, entry, code=200, headers=None):
        if tables.wanted(request):
            return Response(code, tables.table(kind, [entry]), headers=headers)
        return Response(code, entry.raw, headers=headers)

    # ------------------------------------------------------------------------------------ writes

    @staticmethod
    def _body(request, accepted):
        content = request.headers.get("content-type", "application/json").partition(";")[0].strip()
        if content not in accepted:
            raise errors.unsupported_media(accepted)
        try:
            body = json.loads(request.body, parse_constant=_no_number)
            encode(body)  # what cannot be written again is no text of Unicode
        except (ValueError, RecursionError) as e:
            raise errors.bad_request("error decoding the request body: %s" % e) from None
        return body, content

    @staticmethod
    def _check_type(kind, obj):
        if not isinstance(obj, dict) or not isinstance(obj.setdefault("metadata", {}), dict):
            raise errors.bad_request("the object provided is unrecognized (must be of type %s)"
                                     % kind.kind)
        obj.setdefault("apiVersion", kind.api_version)
        obj.setdefault("kind", kind.kind)
        if (obj["apiVersion"], obj["kind"]) != (kind.api_version, kind.kind):
            raise errors.bad_request(
                "%s in version \"%s\" cannot be handled as a %s: the object's type does not match "
                "the path" % (obj["kind"], obj["apiVersion"], kind.kind))

    def _writer(self, request, user, how):
        manager = request.query.get("fieldManager", "")
        if how == "apply" and not manager:
            raise errors.ApiError(422, "Invalid", 'PatchOptions.meta.k8s.io "" is invalid: '
                                  "fieldManager: Required value: is required for apply patch", {})
        if request.flag("force") and how != "apply":
            raise errors.ApiError(422, "Invalid", 'PatchOptions.meta.k8s.io "" is invalid: force: '
                                  "Forbidden: may not be specified for non-apply patch", {})
        if not manager:
            agent = request.headers.get("user-agent", "")
            manager = agent.partition("/")[0].partition(" ")[0] or "unknown"
        return Writer(user, manager, request.query.get("dryRun") == "All", request.flag("force"),
                      request.query.get("fieldValidation", "Warn"))

    def _write(self, request, user, kind, namespace, target, verb):
        accepted = list(PATCHES) if verb == "patch" else ["application/json"]
        body, content = self._body(request, accepted)
        how = PATCHES.get(content) if verb == "patch" else ""
        if how != "json" and not isinstance(body, dict):
            raise errors.bad_request("the body is no object")
        if target.sub == "token":
            return self._token(kind, namespace, target.name, body)
        if target.sub == "scale":
            return self._scale(request, user, kind, namespace, target, verb, how, body)
        if kind.group in ("authorization.k8s.io", "authentication.k8s.io"):
            return Response(201, self._review(user, kind, body))
        who = self._writer(request, user, how)
        created = False
        if verb == "patch":
            if how == "apply":
                self._check_type(kind, body)
            entry, created = self.objects.patch(kind, namespace, target.name, how, body, who,
                                                target.sub)
        else:
            self._check_type(kind, body)
            if verb == "create":
                if target.name:
                    raise errors.method_not_allowed()
                entry, created = self.objects.create(kind, namespace, body, who), True
            else:
                entry = self.objects.update(kind, namespace, target.name, body, who, target.sub)
        headers = {"Warning": '299 - "%s"' % who.warnings[0]} if who.warnings else None
        return self._shown(request, kind, entry, 201 if created else 200, headers)

    def _token(self, kind, namespace, name, body):
        account = self.objects.existing(kind, namespace, name).obj
        seconds = (body.get("spec") or {}).get("expirationSeconds") or 3600
        if seconds < 600:
            raise errors.invalid(TOKEN_REQUEST, "", [errors.wrong(
                "spec.expirationSeconds", seconds,
                "may not specify a duration less than 10 minutes")])
        token = self.authority.issue_for_account(account, seconds)
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        return Response(201, {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
                              "metadata": {"name": name, "namespace": namespace},
                              "spec": {"audiences": [], "expirationSeconds": seconds},
                              "status": {"token": token, "expirationTimestamp": until}})

    def _scale(self, request, user, kind, namespace, target, verb, how, body):
        entry = self.objects.existing(kind, namespace, target.name)
        replicas = (body.get("spec") or {}).get("replicas") if isinstance(body, dict) else None
        if not isinstance(replicas, int):
            raise errors.bad_request("spec.replicas must be given")
        who = self._writer(request, user, how)
        entry, _ = self.objects.patch(kind, namespace, target.name, "merge",
                                      {"spec": {"replicas": replicas}}, who)
        return Response(200, _scale(entry.obj))

    def _review(self, user, kind, body):
        body = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {}, **body}
        spec = body.get("spec") or {}
        if kind.kind == "SelfSubjectReview":
            body["status"] = {"userInfo": {"username": user.name, "groups": user.groups}}
            return body
        if kind.kind == "SelfSubjectRulesReview":
            rules = list(self.authority.rules_of(user, spec.get("namespace", "")))
            if "system:masters" in user.groups:
                rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
            body["status"] = {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}
            return body
        if kind.kind == "SubjectAccessReview":
            user = rbac.User(spec.get("user", ""), spec.get("groups") or [])
        asked = spec.get("resourceAttributes")
        if asked is not None:
            allowed = self.authority.allows(user, rbac.Attributes(
                asked.get("verb", ""), asked.get("group", ""), asked.get("resource", ""),
                asked.get("subresource", ""), asked.get("namespace", ""), asked.get("name", "")))
        else:
            allowed = self.authority.allows_path(
                user, (spec.get("nonResourceAttributes") or {}).get("path", ""))
        body["status"] = {"allowed": allowed}
        return body

    def _delete(self, request, kind, namespace, name):
        options = {}
        if request.body:
            options, _ = self._body(request, ["application/json"])
            if not isinstance(options, dict) or not isinstance(
                    options.get("preconditions", {}), (dict, type(None))):
                raise errors.bad_request("no DeleteOptions")
        for field in ("propagationPolicy", "gracePeriodSeconds"):
            if field in request.query:
                value = request.query[field]
                options[field] = _number(value, field) if field == "gracePeriodSeconds" else value
        dry = request.query.get("dryRun") == "All" or options.get("dryRun") == ["All"]
        if name:
            entry, gone = self.objects.delete(kind, namespace, name, options, dry)
            if not gone:
                return Response(200, entry.raw)
            details = {"name": name, "kind": kind.plural, "uid": entry.obj["metadata"]["uid"]}
            if kind.group:
                details["group"] = kind.group
            return Response(200, {"kind": "Status", "apiVersion": "v1", "metadata": {},
                                  "status": "Success", "details": details})
        matches = selectors.both(request.query.get("labelSelector"),
                                 request.query.get("fieldSelector"), kind)
        where = namespace or None
        chosen = [e for e in self.store.entries(kind.key, where) if not matches or matches(e.obj)]
        for e in chosen:
            self.objects.delete(kind, e.namespace, e.name, options, dry)
        return Response(200, _list_of(kind, chosen, {"resourceVersion": str(self.store.version)}))

    # ------------------------------------------------------------------------------------- lists

    def _version(self, request):
        """The version asked for; None for the latest."""
        text = request.query.get("resourceVersion", "")
        if text in ("", "0"):
            return None
        version = _number(text, "resourceVersion")
        if version > self.store.version:
            raise errors.too_large_version(version, self.store.version)
        return version

    def _list(self, request, kind, namespace):
        query = request.query
        matches = selectors.both(query.get("labelSelector"), query.get("fieldSelector"), kind)
        limit = _number(query.get("limit", "0") or "0", "limit")
        match = query.get("resourceVersionMatch", "")
        after = None
        if query.get("continue"):
            version, after = _read_continue(query["continue"])
            try:
                entries = self.store.as_of(kind.key, version)
            except errors.ApiError:
                raise errors.continue_too_old() from None
        else:
            asked = self._version(request)
            exact = match == "Exact" or (asked and limit and not match)
            if match and "resourceVersion" not in query:
                raise errors.ApiError(422, "Invalid", 'ListOptions.meta.k8s.io "" is invalid: '
                                      "resourceVersionMatch: Forbidden: resourceVersionMatch is "
                                      "forbidden unless resourceVersion is provided", {})
            version = asked if exact and asked else self.store.version
            entries = self.store.as_of(kind.key, version)
        entries = [e for e in entries
                   if (namespace is None or e.namespace == namespace) and
                   (not matches or matches(e.obj))]
        if after:
            entries = [e for e in entries if (e.namespace, e.name) > after]
        meta = {"resourceVersion": str(version)}
        if limit and len(entries) > limit:
            last = entries[limit - 1]
            meta["continue"] = _write_continue(version, (last.namespace, last.name))
            if not matches:
                meta["remainingItemCount"] = len(entries) - limit
            entries = entries[:limit]
        if tables.wanted(request):
            return Response(200, tables.table(kind, entries, meta))
        return Response(200, _list_of(kind, entries, meta))

    def _watch(self, request, kind, namespace):
        query = request.query
        matches = selectors.both(query.get("labelSelector"), query.get("fieldSelector"), kind)
        initial = request.flag("sendInitialEvents")
        text = query.get("resourceVersion", "")
        render = tables.renderer(kind) if tables.wanted(request) else None
        watch = Watch(kind, namespace, matches, self.store.version,
                      request.flag("allowWatchBookmarks"), render)
        watch.seconds = _number(query.get("timeoutSeconds") or "0", "timeoutSeconds") or \
            random.randint(1800, 3600)
        if text in ("", "0") or initial:
            for entry in self.store.as_of(kind.key, self.store.version):
                watch.begin_with(entry)
            if initial:
                watch.push_bookmark(self.store.version, initial_end=True)
        else:
            watch.start = _number(text, "resourceVersion")
            try:
                for change in self.store.since(kind.key, watch.start):
                    watch.offer(change)
            except errors.ApiError as error:
                watch.push_error(error)
                return watch
        self.watches.add(watch)
        return watch


def _only_name(request):
    """Of a list or watch of one object by its name: who may do that need not see the others."""
    m = re.fullmatch(r"metadata\.name==?([^,!=]+)", request.query.get("fieldSelector", ""))
    return m[1] if m else ""


def _scale(obj):
    meta = obj["metadata"]
    selector = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {k: meta[k] for k in ("name", "namespace", "uid", "resourceVersion",
                                              "creationTimestamp")},
            "spec": {"replicas": obj["spec"].get("replicas", 0)},
            "status": {"replicas": (obj.get("status") or {}).get("replicas", 0),
                       "selector": ",".join("%s=%s" % i for i in selector.items())}}


def _list_of(kind, entries, meta):
    """Objects in lists of custom resources say what they are, those of the cluster's kinds do not."""
    cut = 0 if kind.crd else len(encode({"kind": kind.kind, "apiVersion": kind.api_version}))
    items = [e.raw if not cut else b"{" + e.raw[cut:] for e in entries]
    return b'{"kind":"%sList","apiVersion":"%s","metadata":%s,"items":[%s]}\n' % (
        kind.kind.encode(), kind.api_version.encode(), encode(meta), b",".join(items))


def _write_continue(version, key):
    return base64.urlsafe_b64encode(encode({"v": "meta.k8s.io/v1", "rv": version,
                                            "after": key})).decode()


def _read_continue(text):
    try:
        read = json.loads(base64.urlsafe_b64decode(text))
        return int(read["rv"]), tuple(read["after"])
    except (ValueError, KeyError, TypeError):
        raise errors.bad_request("continue key is not valid: %s" % text) from None

