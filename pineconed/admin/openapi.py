# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document of the admin API, made from the same structs and table as the server."""

from http import HTTPStatus
from typing import Any

import msgspec

from pineconed.admin import schema
from pineconed.admin.endpoints import ENDPOINTS, Endpoint

DOCUMENT_PATH = "/v1/openapi.json"

_REFERENCE = "#/components/schemas/{name}"
_DESCRIPTION = (
    "What a running pineconed knows and the few things that can be changed in it. "
    "The API is served on a Unix socket; whoever may open the socket may make every call: "
    "`curl --unix-socket /run/pineconed/admin.sock http://localhost/v1/status`. "
    "Parameters and fields of requests that are not in this document are refused; "
    "answers may gain fields within version 1."
)
_SHARED_ERRORS = (400, 500)


def document(version: str) -> dict[str, Any]:
    """The whole document as plain JSON values; `version` is that of pineconed."""
    answers = [endpoint.answer for endpoint in ENDPOINTS]
    bodies = [endpoint.request for endpoint in ENDPOINTS if endpoint.in_body]
    _, components = msgspec.json.schema_components([*answers, *bodies, schema.Error], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    paths[DOCUMENT_PATH] = {"get": _document_operation()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pineconed admin API",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://localhost", "description": "over the Unix socket"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(endpoint: Endpoint[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": endpoint.name, "summary": endpoint.summary}
    if endpoint.in_body:
        operation["requestBody"] = {"required": True, "content": _json(_schema_of(endpoint.request))}
    else:
        operation["parameters"] = _parameters(endpoint.request)
    operation["responses"] = _responses(endpoint)
    return operation


def _parameters(request: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """The fields of a request struct as parameters of the query string."""
    fields = _components_of(request)[request.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in fields["required"],
            "description": field.pop("description", ""),
            "schema": field,
        }
        for name, field in fields["properties"].items()
    ]


def _responses(endpoint: Endpoint[Any, Any]) -> dict[str, Any]:
    answer = _response(endpoint.success, _schema_of(endpoint.answer))
    responses = {str(endpoint.success): answer}
    statuses = {*_SHARED_ERRORS, *endpoint.errors, *((413,) if endpoint.in_body else ())}
    for status in sorted(statuses):
        responses[str(status)] = _response(status, _schema_of(schema.Error))
    return responses


def _document_operation() -> dict[str, Any]:
    return {
        "operationId": "getOpenApi",
        "summary": "This document",
        "parameters": [],
        "responses": {
            "200": _response(200, {"type": "object"}),
            "400": _response(400, _schema_of(schema.Error)),
        },
    }


def _response(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": _json(content)}


def _json(content: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": content}}


def _schema_of(kind: Any) -> dict[str, Any]:
    """The schema of a type, as a reference into the components."""
    (schema_,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return schema_


def _components_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return components
