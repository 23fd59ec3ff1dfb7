# SPDX-License-Identifier: Apache-2.0
"""Who somebody is, and what they may: tokens and certificates, then the rules of the Roles and
ClusterRoles that are bound to them, looked up anew for each request."""

import secrets
import time

from . import errors

GROUP = "rbac.authorization.k8s.io"
ANONYMOUS_PATHS = ("/healthz", "/livez", "/readyz", "/version")


class User:
    def __init__(self, name, groups, uid=""):
        self.name = name
        self.groups = list(groups)
        self.uid = uid


class Attributes:
    """What somebody wants to do."""

    def __init__(self, verb, group, resource, sub="", namespace="", name=""):
        self.verb = verb
        self.group = group
        self.resource = resource
        self.sub = sub
        self.namespace = namespace
        self.name = name

    @property
    def full(self):
        return "%s/%s" % (self.resource, self.sub) if self.sub else self.resource


class Authority:
    def __init__(self, store):
        self.store = store
        self.tokens = {}  # token -> (User, expires, account or None)

    # ---------------------------------------------------------------------------- who they are

    def issue(self, user, groups=(), seconds=None):
        token = secrets.token_urlsafe(24)
        self.tokens[token] = (User(user, list(groups) + ["system:authenticated"]),
                              time.time() + seconds if seconds else None, None)
        return token

    def issue_for_account(self, account, seconds):
        """A token of a ServiceAccount; it ends with the account."""
        meta = account["metadata"]
        token = secrets.token_urlsafe(24)
        user = User("system:serviceaccount:%s:%s" % (meta["namespace"], meta["name"]),
                    ["system:serviceaccounts", "system:serviceaccounts:" + meta["namespace"],
                     "system:authenticated"], meta["uid"])
        self.tokens[token] = (user, time.time() + seconds, (meta["namespace"], meta["name"]))
        return token

    def who(self, request):
        given = request.headers.get("authorization", "")
        if given:
            scheme, _, token = given.partition(" ")
            known = self.tokens.get(token.strip()) if scheme.lower() == "bearer" else None
            if not known or (known[1] and known[1] < time.time()) or not self._account_is(known):
                raise errors.unauthorized()
            return known[0]
        if request.peer:
            return User(request.peer["name"], request.peer["groups"] + ["system:authenticated"])
        return User("system:anonymous", ["system:unauthenticated"])

    def _account_is(self, known):
        if not known[2]:
            return True
        account = self.store.get(("", "serviceaccounts"), *known[2])
        return account and account.obj["metadata"]["uid"] == known[0].uid

    # ---------------------------------------------------------------------------- what they may

    def rules_of(self, user, namespace):
        """Every rule that is bound to a user, in the cluster and in the namespace."""
        for e in self.store.entries((GROUP, "clusterrolebindings")):
            if _is_subject(user, e.obj, ""):
                yield from self._role(e.obj["roleRef"], "")
        if namespace:
            for e in self.store.entries((GROUP, "rolebindings"), namespace):
                if _is_subject(user, e.obj, namespace):
                    yield from self._role(e.obj["roleRef"], namespace)

    def _role(self, ref, namespace):
        plural = "clusterroles" if ref["kind"] == "ClusterRole" else "roles"
        entry = self.store.get((GROUP, plural), "" if plural == "clusterroles" else namespace,
                               ref["name"])
        return (entry.obj.get("rules") or []) if entry else []

    def allows(self, user, a):
        if "system:masters" in user.groups:
            return True
        return any(_rule_allows(rule, a) for rule in self.rules_of(user, a.namespace))

    def allows_path(self, user, path):
        if "system:masters" in user.groups or path in ANONYMOUS_PATHS:
            return True
        return "system:authenticated" in user.groups  # system:discovery

    def require(self, user, a):
        if self.allows(user, a):
            return
        where = 'in the namespace "%s"' % a.namespace if a.namespace else "at the cluster scope"
        qualified = "%s.%s" % (a.resource, a.group) if a.group else a.resource
        subject = '%s "%s"' % (qualified, a.name) if a.name else qualified
        details = {"kind": a.resource}
        if a.group:
            details["group"] = a.group
        if a.name:
            details["name"] = a.name
        raise errors.ApiError(
            403, "Forbidden",
            '%s is forbidden: User "%s" cannot %s resource "%s" in API group "%s" %s'
            % (subject, user.name, a.verb, a.full, a.group, where), details)

    def require_path(self, user, path, verb):
        if not self.allows_path(user, path):
            raise errors.ApiError(403, "Forbidden", 'forbidden: User "%s" cannot %s path "%s"'
                                  % (user.name, verb, path), {})

    def check_no_escalation(self, user, kind, obj, namespace):
        """Nobody hands out rights they do not have: the rules of a role that is written, or of
        the role that a binding refers to."""
        if "system:masters" in user.groups:
            return
        name = obj["metadata"]["name"]
        if kind.plural in ("roles", "clusterroles"):
            if self.allows(user, Attributes("escalate", GROUP, kind.plural, "", namespace, name)):
                return
            rules = obj.get("rules") or []
        else:
            ref = obj["roleRef"]
            plural = "clusterroles" if ref["kind"] == "ClusterRole" else "roles"
            if self.allows(user, Attributes("bind", GROUP, plural, "", namespace, ref["name"])):
                return
            rules = self._role(ref, namespace)
        held = list(self.rules_of(user, namespace))
        lacking = [r for r in rules if not _covered(r, held)]
        if lacking:
            said = "\n".join(_said(r) for r in lacking)
            raise errors.forbidden(kind, name, 'user "%s" (groups=%s) is attempting to grant RBAC '
                                   "permissions not currently held:\n%s"
                                   % (user.name, _list(user.groups), said))


def _is_subject(user, binding, namespace):
    for s in binding.get("subjects") or ():
        if s["kind"] == "User" and s["name"] == user.name:
            return True
        if s["kind"] == "Group" and s["name"] in user.groups:
            return True
        if s["kind"] == "ServiceAccount" and user.name == "system:serviceaccount:%s:%s" % (
                s.get("namespace") or namespace, s["name"]):
            return True
    return False


def _rule_allows(rule, a):
    return _has(rule.get("verbs"), a.verb) and _has(rule.get("apiGroups"), a.group) and \
        _has_resource(rule.get("resources"), a) and \
        (not rule.get("resourceNames") or a.name in rule["resourceNames"])


def _has(listed, wanted):
    return bool(listed) and ("*" in listed or wanted in listed)


def _has_resource(listed, a):
    return _has(listed, a.full) or bool(a.sub and listed and "*/" + a.sub in listed)


def _covered(rule, held):
    """Every single right of a rule is one that is held."""
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            plain, _, sub = resource.partition("/")
            for verb in rule.get("verbs") or ():
                for name in rule.get("resourceNames") or ("",):
                    a = Attributes(verb, group, plain, sub, "", name)
                    if not any(_rule_allows(h, a) for h in held):
                        return False
    return True


def _list(words):
    return "[%s]" % " ".join('"%s"' % w for w in words)


def _said(rule):
    def of(name):
        return "[%s]" % ", ".join('"%s"' % w for w in rule.get(name) or ())
    said = "{APIGroups:%s, Resources:%s" % (of("apiGroups"), of("resources"))
    if rule.get("resourceNames"):
        said += ", ResourceNames:" + of("resourceNames")
    return said + ", Verbs:%s}" % of("verbs")
