# SPDX-License-Identifier: Apache-2.0
"""The document is valid, complete, and true: every live answer is checked against it, errors too."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from pineconed.admin.endpoints import ENDPOINTS
from pineconed.admin.openapi import document
from tests.unit.admin.fakes import CHILD_KEY, OWN_KEY, World, key
from tests.unit.admin.requests import Reply, call

NODE = key(0x05).hex()

CALLS: list[tuple[str, str, bytes | None, int]] = [
    ("GET", "/v1/status", None, 200),
    ("GET", "/v1/status?x=1", None, 400),
    ("GET", "/v1/peers", None, 200),
    ("GET", "/v1/peers?state=up&direction=inbound&limit=1", None, 200),
    ("GET", f"/v1/peers?node={CHILD_KEY.hex()}", None, 200),
    ("GET", "/v1/peers?port=9999", None, 400),
    ("POST", "/v1/peers", b'{"uri": "tcp://192.0.2.50:1"}', 201),
    ("POST", "/v1/peers", b'{"uri": "tcp://192.0.2.99:4444"}', 409),
    ("POST", "/v1/peers", b'{"uri": 5}', 400),
    ("POST", "/v1/peers", b" " * 20_000, 413),
    ("DELETE", "/v1/peers?port=1", None, 200),
    ("DELETE", "/v1/peers?uri=tcp://192.0.2.99:4444", None, 200),
    ("DELETE", f"/v1/peers?key={CHILD_KEY.hex()}", None, 200),
    ("DELETE", "/v1/peers?port=250", None, 404),
    ("DELETE", "/v1/peers", None, 400),
    ("GET", "/v1/tree", None, 200),
    ("GET", "/v1/tree?x=1", None, 400),
    ("GET", "/v1/snake", None, 200),
    ("GET", f"/v1/snake?limit=3&cursor={NODE}", None, 200),
    ("GET", "/v1/snake?limit=0", None, 400),
    ("GET", "/v1/sessions", None, 200),
    ("GET", "/v1/sessions?limit=1&cursor=fd22::1", None, 200),
    ("GET", f"/v1/sessions?node={CHILD_KEY.hex()}", None, 200),
    ("GET", "/v1/sessions?cursor=nobody", None, 400),
    ("POST", "/v1/ping", b'{"to": "%s"}' % CHILD_KEY.hex().encode(), 200),
    ("POST", "/v1/ping", b'{"to": "%s"}' % OWN_KEY.hex().encode(), 400),
    ("POST", "/v1/ping", b'{"to": "fd01::1", "timeout_seconds": 31}', 400),
    ("POST", "/v1/ping", b" " * 20_000, 413),
    ("GET", f"/v1/routes?to={NODE}", None, 200),
    ("GET", "/v1/routes?to=fd01::1", None, 200),
    ("GET", "/v1/routes", None, 400),
    ("GET", "/v1/address?of=fdab::1", None, 200),
    ("GET", f"/v1/address?of={NODE}", None, 200),
    ("GET", "/v1/address?of=nobody", None, 400),
    ("GET", "/v1/log-level", None, 200),
    ("GET", "/v1/log-level?x=1", None, 400),
    ("PUT", "/v1/log-level", b'{"level": "debug"}', 200),
    ("PUT", "/v1/log-level", b'{"level": "loud"}', 400),
    ("PUT", "/v1/log-level", b" " * 20_000, 413),
    ("GET", "/v1/version", None, 200),
    ("GET", "/v1/version?x=1", None, 400),
    ("POST", "/v1/reload", None, 200),
    ("POST", "/v1/reload?x=1", None, 400),
    ("GET", "/v1/discovery", None, 200),
    ("GET", "/v1/discovery?x=1", None, 400),
    ("GET", "/v1/ble", None, 200),
    ("GET", "/v1/ble?x=1", None, 400),
    ("GET", "/v1/openapi.json", None, 200),
    ("GET", "/v1/openapi.json?x=1", None, 400),
]


def closed(schema: Any) -> Any:
    """The schema with objects that take no other fields, so that what is not described is found too."""
    if isinstance(schema, dict):
        result = {name: closed(value) for name, value in schema.items()}
        if isinstance(result.get("properties"), dict):
            result.setdefault("additionalProperties", False)
        return result
    return [closed(value) for value in schema] if isinstance(schema, list) else schema


def check(reply: Reply, method: str, target: str) -> None:
    """The answer is one that the document names for this call, and looks as it says."""
    described = closed(document("1.2.3"))
    responses = described["paths"][target.partition("?")[0]][method.lower()]["responses"]
    assert str(reply.status) in responses, f"{reply.status} is not described"
    content = responses[str(reply.status)]["content"]
    assert reply.headers["content-type"].split(";")[0] in content
    schema = {**content["application/json"]["schema"], "components": described["components"]}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(reply.json)


def test_the_document_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(document("1.2.3")).validate()


def test_every_call_is_described_and_nothing_else() -> None:
    paths = document("1.2.3")["paths"]
    described = {(method.upper(), path) for path, calls in paths.items() for method in calls}
    assert described == {(e.method, e.path) for e in ENDPOINTS} | {("GET", "/v1/openapi.json")}


def test_every_call_is_tried_below() -> None:
    tried = {(method, target.partition("?")[0], status) for method, target, _, status in CALLS}
    for path, calls in document("1.2.3")["paths"].items():
        for method, operation in calls.items():
            for status in operation["responses"]:
                elsewhere = status == "500" or (path, status) in {("/v1/ping", "409"), ("/v1/reload", "409")}
                assert elsewhere or (method.upper(), path, int(status)) in tried


@pytest.mark.parametrize(("method", "target", "body", "status"), CALLS)
def test_live_answers_are_as_described(
    socket_path: Path, method: str, target: str, body: bytes | None, status: int
) -> None:
    reply = call(socket_path, method, target, body)
    assert reply.status == status, reply.body
    check(reply, method, target)


@pytest.mark.parametrize("method_and_path", [("GET", "/v1/status"), ("GET", "/v1/openapi.json")])
def test_the_server_serves_this_document(socket_path: Path, method_and_path: tuple[str, str]) -> None:
    served = call(socket_path, "GET", "/v1/openapi.json").json
    assert served == document("1.2.3")
    method, path = method_and_path
    assert method.lower() in served["paths"][path]


def test_an_internal_error_is_as_described(socket_path: Path, world: World) -> None:
    world.node.broken = True
    reply = call(socket_path, "GET", "/v1/status")
    assert reply.status == 500
    check(reply, "GET", "/v1/status")


def test_a_refused_reload_is_as_described(socket_path: Path, world: World) -> None:
    world.outcome = "c.toml:3: tun.mtu: wrong"
    reply = call(socket_path, "POST", "/v1/reload")
    assert (reply.status, reply.json["error"]["code"]) == (409, "bad_config")
    check(reply, "POST", "/v1/reload")


def test_answers_without_optional_values_are_as_described(socket_path: Path, world: World) -> None:
    world.node.links, world.node.parent, world.tun_name = [], None, None
    world.dialer.rows = []
    for target in ("/v1/status", "/v1/peers"):
        check(call(socket_path, "GET", target), "GET", target)
