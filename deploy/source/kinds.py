# SPDX-License-Identifier: Apache-2.0
"""The twelve kinds of skupper.io/v2alpha1. Their fields, columns and short names are an interface that
exists; the words are ours. src/site/kinds.c has the same table for the programs, and
src/site/crds_test.c sees to it that the two agree.

The schemas accept all that the existing product accepts: what makes no sense beyond that is told in
the status of a resource, not by the API server, so that resources of an existing network stay valid.
There are no defaults in the schemas either, for the same reason: the programs fill them in."""

from .schema import (MESSAGE, STATUS, column, definition, flag, number, numbers, record, records, text,
                     texts, words)

SETTINGS = words("Further settings by name, for what has no field of its own. Names that are not "
                 "known are ignored.")
ROUTING_KEY = text("The name under which Listeners and Connectors of the whole network find each "
                   "other. Any text, the same on both sides.")
PROTOCOL = text("The protocol. Only `tcp`, which is the default, carries traffic.")
OBSERVER = text("How much of the traffic is looked at for the telemetry: `auto` finds out whether "
                "it is HTTP, `http1` and `http2` say so, `none` counts bytes only. Default: auto.",
                enum=["auto", "none", "http1", "http2"])


def tls_of_server(more=""):
    return text("The Secret (`tls.crt`, `tls.key`, `ca.crt`) with which clients are served over "
                "TLS. Empty: without TLS." + more)


def endpoints(description):
    return records(description,
                   name=text("The role: `inter-router` or `edge`."),
                   host=text("The name or the address of the host."),
                   port=text("The port, as text: \"55671\"."),
                   group=text("Which of the routers of a site with two this one is."))


SELECTED = records("The pods that are used at the moment.",
                   name=text("The name of the pod."), ip=text("Its address."))
HAS_LISTENER = flag("Somewhere in the network there is a Listener with this routing key.")

_SITE = definition(
    "Site", "sites", ["st"],
    "Makes this namespace a site of the network: a router is started here, which links lead to and "
    "from. One Site a namespace; the name of the Site is the name by which others know it.",
    record(
        "What is wanted of the site.",
        linkAccess=text(
            "How the routers of other sites reach this one. Empty or `none`: not at all, and only "
            "this site opens links. `default`: as the controller finds best here. Or one of the "
            "ways that the controller allows: `loadbalancer`, `route`, `nodeport`, `ingress-nginx`, "
            "`contour-http-proxy`, `gateway`, `local`."),
        serviceAccount=text(
            "The ServiceAccount of the router's pods. Empty: `skupper-router` is made for them, "
            "with a Role and a RoleBinding."),
        defaultIssuer=text(
            "The Secret with the CA that signs the certificates of links. Default: "
            "`skupper-site-ca`, which is made if it is not there."),
        ha=flag("Two routers instead of one, so that links and connections survive the loss of a "
                "node."),
        edge=flag("The router is a leaf of the network: it links to one other and carries no "
                  "traffic between others. Not together with `ha`."),
        settings=words(
            "Further settings: `size` (the name of a sizing ConfigMap), `router-logging` "
            "(`module:level,…`), `router-data-connection-count`, `tls-prior-valid-revisions` (how "
            "many renewals back a link may stay open; 0 closes it at each renewal), "
            "`disable-anti-affinity`, `ingressClassName`. Names that are not known are ignored.")),
    [STATUS, column("Sites In Network", "status.sitesInNetwork", "integer"), MESSAGE],
    "Configured: the objects of the site are made. Running: a router is ready. Resolved (only with "
    "`linkAccess`): others can reach it. Ready: all of these.",
    endpoints=endpoints("Where other sites reach this one."),
    sitesInNetwork=number("How many sites the network has, this one included."),
    network=records(
        "The whole network, as seen from here: one entry a site.",
        id=text("The UID of the Site."), name=text("Its name."),
        namespace=text("The namespace it is in."),
        platform=text("`kubernetes`, `linux`, `podman` or `docker`."),
        version=text("The version of the program that runs it."),
        links=records("The links that it opened.",
                      name=text("The name of the Link."),
                      remoteSiteId=text("The UID of the Site it leads to."),
                      remoteSiteName=text("The name of that Site."),
                      operational=flag("The link is up.")),
        services=records("What it has to do with, by routing key.",
                         routingKey=text("The routing key."),
                         connectors=texts("The hosts that its Connectors lead to."),
                         listeners=texts("The names of its Listeners."))),
    defaultIssuer=text("The CA in use."),
    controller=record("The controller that looks after this site.",
                      name=text("Its name."), namespace=text("The namespace it is in."),
                      version=text("Its version.")))

_LINK = definition(
    "Link", "links", ["ln"],
    "A link to another site. Usually nobody writes one: an AccessToken of the other site turns into "
    "it.",
    record(
        "Where the link leads, and with what.", ["endpoints"],
        endpoints=endpoints("Where the other site is reached: the first entry with the role that "
                            "this site needs is used."),
        tlsCredentials=text("The Secret (`tls.crt`, `tls.key`, `ca.crt`) by which this site is "
                            "known to the other, and the other to this one."),
        cost=number("How expensive the way over this link is: traffic takes the cheapest way there "
                    "is. At least 1, which is the default."),
        settings=words("`proxy-configuration`: the name of a Secret of type "
                       "`kubernetes.io/basic-auth` with `host`, `port` and, if it wants them, "
                       "`username` and `password` of an HTTP proxy on the way. Names that are not "
                       "known are ignored.")),
    [STATUS, column("Remote Site", "status.remoteSiteName"), MESSAGE],
    "Configured: the router knows of it. Operational: it is up. Ready: both.",
    remoteSiteId=text("The UID of the Site at the other end."),
    remoteSiteName=text("The name of the Site at the other end."))

_LISTENER = definition(
    "Listener", "listeners", ["lnr"],
    "Makes a service of the network usable here: a Service of this name and port appears, and what "
    "connects to it reaches the Connectors with the same routing key, wherever they are.",
    record(
        "What is offered here.", ["routingKey", "host", "port"],
        routingKey=ROUTING_KEY,
        host=text("The name of the Service to make. Several Listeners with the same host share one "
                  "Service, a port each. (On hosts without Kubernetes: the address to listen at.)"),
        port=number("The port of the Service."),
        type=PROTOCOL,
        tlsCredentials=tls_of_server(),
        observer=OBSERVER,
        exposePodsByName=flag("Also makes a Service for each single pod that a Connector elsewhere "
                              "exposes by name, for programs that talk to one pod and no other."),
        settings=SETTINGS),
    [column("Routing Key", "spec.routingKey"), column("Port", "spec.port", "integer"),
     column("Host", "spec.host"), STATUS,
     column("Has Matching Connector", "status.hasMatchingConnector", "boolean"), MESSAGE],
    "Configured: the Service is there. Matched: some Connector has the routing key. Ready: both.",
    hasMatchingConnector=flag("Somewhere in the network there is a Connector with this routing "
                              "key."))

_ONE_OF_TWO = {"rule": "has(self.priority) != has(self.weighted)",
               "message": "exactly one of the fields in [priority weighted] must be set"}
_MULTI_KEY_LISTENER = definition(
    "MultiKeyListener", "multikeylisteners", [],
    "A Listener with several routing keys, and a strategy that says which of them a connection goes "
    "to.",
    record(
        "What is offered here.", ["host", "port", "strategy"],
        host=text("The name of the Service to make. (On hosts without Kubernetes: the address to "
                  "listen at.)"),
        port=number("The port of the Service."),
        strategy=record(
            "How the routing key is chosen: exactly one of the two. Which of them it is cannot be "
            "changed later, but what it says can.",
            rules=[{"rule": "has(self.priority) == has(oldSelf.priority)",
                    "message": "strategy is immutable"}, _ONE_OF_TWO],
            priority=record(
                "The first key that can be reached.", ["routingKeys"],
                routingKeys={**texts("The routing keys, the preferred one first.", minItems=1,
                                     maxItems=256), "x-kubernetes-list-type": "set"}),
            weighted=record(
                "Connections are divided among the keys that can be reached.", ["routingKeys"],
                routingKeys=numbers("The routing keys with the weight of each: twice the weight, "
                                    "twice the connections.", minProperties=1,
                                    maxProperties=256))),
        tlsCredentials=tls_of_server(),
        observer=OBSERVER,
        requireClientCert=flag("Clients must show a certificate that the CA in the Secret has "
                               "signed."),
        settings=SETTINGS),
    [STATUS, MESSAGE, column("HasDestination", "status.hasDestination", "boolean")],
    "Configured: the Service is there. Operational: at least one key can be reached.",
    required=["spec"],
    hasDestination=flag("At least one of the routing keys has a Connector."),
    strategy=record("What can be reached at the moment.", rules=[_ONE_OF_TWO],
                    priority=record("Of a strategy by priority.", ["routingKeysReachable"],
                                    routingKeysReachable=texts("Those keys, the preferred one "
                                                               "first.")),
                    weighted=record("Of a strategy by weight.", ["routingKeysReachable"],
                                    routingKeysReachable=numbers("Those keys with their "
                                                                 "weights."))))

_CONNECTOR = definition(
    "Connector", "connectors", ["cnr"],
    "Offers something that runs here to the network: connections that Listeners with the same routing "
    "key accept, wherever they are, lead to these pods, or to this host.",
    {**record(
        "What is offered, and where it is.", ["routingKey", "port"],
        routingKey=ROUTING_KEY,
        port=number("The port of the pods or of the host."),
        selector=text("Selects the pods by their labels, as in `kubectl get pods -l`: "
                      "`app=backend`. Either this or `host`."),
        host=text("The host to connect to, where it is no pod of this namespace: the name of a "
                  "Service, a machine, an address. Either this or `selector`."),
        type=PROTOCOL,
        tlsCredentials=text("The Secret for TLS on the way to the server: `ca.crt`, and with "
                            "`useClientCert` also `tls.crt` and `tls.key`. Empty: without TLS."),
        useClientCert=flag("Shows the certificate in the Secret to the server."),
        verifyHostname=flag("The name in the certificate of the server must be the host that is "
                            "connected to."),
        includeNotReadyPods=flag("Uses pods that run but are not ready, too."),
        exposePodsByName=flag("Offers each single pod by its name as well, for Listeners that do "
                              "the same."),
        settings=SETTINGS),
     "oneOf": [{"required": ["selector"]}, {"required": ["host"]}]},
    [column("Routing Key", "spec.routingKey"), column("Port", "spec.port", "integer"),
     column("Host", "spec.host"), column("Selector", "spec.selector"), STATUS,
     column("Has Matching Listener", "status.hasMatchingListener", "boolean"), MESSAGE],
    "Configured: the router knows of it, and the selector finds pods. Matched: some Listener has the "
    "routing key. Ready: both.",
    hasMatchingListener=HAS_LISTENER, selectedPods=SELECTED)

_ATTACHED_CONNECTOR = definition(
    "AttachedConnector", "attachedconnectors", ["acnr"],
    "A Connector for pods of a namespace without a site: it stands beside the pods, and an "
    "AttachedConnectorBinding of the same name in the namespace of the site agrees to it.",
    record(
        "What is offered, and to which site.", ["siteNamespace", "selector", "port"],
        siteNamespace=text("The namespace of the Site that offers it to the network."),
        selector=text("Selects the pods of this namespace by their labels: `app=backend`."),
        port=number("The port of the pods."),
        tlsCredentials=text("The Secret for TLS on the way to the pods. It is in the namespace of "
                            "the site. Empty: without TLS."),
        useClientCert=flag("Shows the certificate in the Secret to the server."),
        includeNotReadyPods=flag("Uses pods that run but are not ready, too."),
        type=PROTOCOL, settings=SETTINGS),
    [column("Port", "spec.port", "integer"), column("Selector", "spec.selector"),
     column("Site Namespace", "spec.siteNamespace"), STATUS],
    "Configured: the site has a binding for it, and the selector finds pods. Ready: the same.",
    selectedPods=SELECTED)

_ATTACHED_CONNECTOR_BINDING = definition(
    "AttachedConnectorBinding", "attachedconnectorbindings", ["acnrb"],
    "Agrees to the AttachedConnector of the same name in another namespace, and says under which "
    "routing key its pods are offered.",
    record(
        "What is agreed to.", ["connectorNamespace", "routingKey"],
        connectorNamespace=text("The namespace of the AttachedConnector."),
        routingKey=ROUTING_KEY,
        exposePodsByName=flag("Offers each single pod by its name as well, for Listeners that do "
                              "the same."),
        settings=SETTINGS),
    [column("Routing Key", "spec.routingKey"),
     column("Connector Namespace", "spec.connectorNamespace"), STATUS,
     column("Has Matching Listener", "status.hasMatchingListener", "boolean")],
    "Configured: the connector is there and names this site. Matched: some Listener has the routing "
    "key. Ready: both.",
    hasMatchingListener=HAS_LISTENER)

_ACCESS_GRANT = definition(
    "AccessGrant", "accessgrants", ["grant", "gr"],
    "Lets other sites link to this one: whoever presents the code of the grant in time gets a "
    "certificate for a link. The status has all that an AccessToken for the other site needs.",
    record(
        "How often and how long.",
        redemptionsAllowed=number("How many times the grant may be used. Default: 1."),
        expirationWindow=text("How long it is valid from the moment it was first seen, as in "
                              "`15m`, `1h30m`. Default: 15m.", format="duration"),
        code=text("The secret word. Empty: one is made up, and stands in the status."),
        issuer=text("The Secret with the CA that signs. Default: that of the Site."),
        settings=SETTINGS),
    [column("Redemptions Allowed", "spec.redemptionsAllowed", "integer"),
     column("Redemptions Made", "status.redemptions", "integer"),
     column("Expiration", "status.expirationTime"), STATUS, MESSAGE],
    "Processed: it is valid. Resolved: there is a URL to use it at. Ready: both.",
    url=text("Where it is used, for the `url` of an AccessToken."),
    code=text("The secret word, for the `code` of an AccessToken."),
    ca=text("The certificate of the server behind the URL, for the `ca` of an AccessToken."),
    redemptions=number("How many times it was used."),
    expirationTime=text("Until when it can be used.", format="date-time"))

_ACCESS_TOKEN = definition(
    "AccessToken", "accesstokens", ["token", "to"],
    "Links this site to the one that gave out the token: it is exchanged, once, for a Secret and "
    "Links. `skupper token issue` writes one.",
    record(
        "What the other site's AccessGrant said.", ["url", "code", "ca"],
        url=text("Where the grant is used."),
        code=text("Its secret word."),
        ca=text("The certificate, in PEM, of the server behind the URL."),
        linkCost=number("The cost of the Links that are made, where it should be more than 1."),
        settings=SETTINGS),
    [column("URL", "spec.url"), column("Redeemed", "status.redeemed", "boolean"), STATUS, MESSAGE],
    "Redeemed: the Links are there; False says what was in the way.",
    redeemed=flag("It has been used."))

_ROUTER_ACCESS = definition(
    "RouterAccess", "routeraccesses", [],
    "Lets others reach ports of the router. The `linkAccess` of a Site makes one; a further one is "
    "for special cases.",
    record(
        "Which ports, and how.", ["roles", "tlsCredentials"],
        roles=records("What the router listens for.", ["name"],
                      name=text("`inter-router` for links of routers, `edge` for links of edge "
                                "routers, `normal` for clients."),
                      port=number("The port. Default: 45671 for `edge`, else 55671.")),
        tlsCredentials=text("The Secret (`tls.crt`, `tls.key`, `ca.crt`) that the router shows."),
        generateTlsCredentials=flag("That Secret is made, and renewed, here."),
        issuer=text("The Secret with the CA that signs it. Default: that of the Site."),
        accessType=text("The way in: `loadbalancer`, `route`, `nodeport`, `ingress-nginx`, "
                        "`contour-http-proxy`, `gateway` or `local`. Empty: as the controller "
                        "finds best here."),
        bindHost=text("The address that the router listens at. Empty: all."),
        subjectAlternativeNames=texts("Further names for the certificate. (Only on hosts without "
                                      "Kubernetes; here they follow from the way in.)"),
        settings=words("`domain` (of a route), `ingressClassName`. Names that are not known are "
                       "ignored.")),
    [STATUS, MESSAGE],
    "Configured: what it takes is there. Resolved: the addresses are known. Ready: both.",
    endpoints=endpoints("Where the ports are reached."))

_SECURED_ACCESS = definition(
    "SecuredAccess", "securedaccesses", [],
    "Lets others reach ports of some pods over TLS. Made by the controller, for RouterAccesses and "
    "for the server of grants; nobody has to write one.",
    record(
        "Which pods, and how.", ["selector", "ports"],
        selector=words("Selects the pods by their labels."),
        ports=records("The ports.", ["name", "port"],
                      name=text("What endpoints call it."), port=number("The port of the Service."),
                      targetPort=number("The port of the pods. Default: the same."),
                      protocol=text("Default: TCP.")),
        accessType=text("The way in, as in a RouterAccess. Empty: as the controller finds best "
                        "here."),
        certificate=text("The Certificate and the Secret with the names of all ways in. Default: "
                         "the name of this object."),
        issuer=text("The Secret with the CA that signs it. Empty: nothing is signed, the Secret is "
                    "somebody else's."),
        settings=words("`domain`, `ingressClassName`. Names that are not known are ignored.")),
    [STATUS, MESSAGE],
    "Configured: what it takes is there. Resolved: the addresses are known. Ready: both.",
    endpoints=endpoints("Where the ports are reached."),
    ca=text("The certificate of the CA, where it is needed to connect."))

_CERTIFICATE = definition(
    "Certificate", "certificates", [],
    "A certificate that is kept correct: a Secret of this name is made, and made anew when it expires "
    "or its names change. Made by the controller; nobody has to write one.",
    record(
        "What is in it.", ["ca", "subject"],
        ca=text("The Secret with the CA that signs it. Empty for a CA, which signs itself."),
        subject=text("The common name."),
        hosts=texts("The names and addresses it is for."),
        client=flag("It is for a client."), server=flag("It is for a server."),
        signing=flag("It is a CA and signs others."),
        settings=SETTINGS),
    [column("CA", "spec.ca"), column("Server", "spec.server", "boolean"),
     column("Client", "spec.client", "boolean"), column("Signing", "spec.signing", "boolean"),
     STATUS, column("Expiration", "status.expiration"), MESSAGE],
    "Ready: the Secret is there and correct.",
    expiration=text("When it expires.", format="date-time"))

ALL = [_SITE, _LINK, _LISTENER, _MULTI_KEY_LISTENER, _CONNECTOR, _ATTACHED_CONNECTOR,
       _ATTACHED_CONNECTOR_BINDING, _ACCESS_GRANT, _ACCESS_TOKEN, _ROUTER_ACCESS, _SECURED_ACCESS,
       _CERTIFICATE]
