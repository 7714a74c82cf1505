"""Servers behind an ingress: headers, tokens and TLS; and that no secret is ever shown."""

from __future__ import annotations

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servers import KEYS, ReceivedRequest, Reply, encrypted, http, serve

from pytest_dlperf import TLS, Http, OpenInference, RemoteError, TensorFlowServing, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = np.random.default_rng(0).random((3, 4)).astype(np.float32)
TENSOR = {"name": "rows", "datatype": "FP32", "shape": [-1, 4]}
MODEL = {"name": "echo", "inputs": [TENSOR], "outputs": [TENSOR]}
ECHOED = {"name": "rows", "datatype": "FP32", "shape": [3, 4], "data": ROWS.ravel().tolist()}
TOKEN = "s3cr3t-t0ken-of-the-tests"  # noqa: S105 - of these tests
HEADERS = {"Host": "models.example", "Authorization": f"Bearer {TOKEN}", "X-Tenant": "tests"}
CA = str(KEYS / "ca.pem")
CLIENT = {"certificate": str(KEYS / "client.pem"), "key": str(KEYS / "client.key")}
Target = TensorFlowServing | OpenInference


def ingress(request: ReceivedRequest) -> Reply:
    """Lets in who names the host and has the token; each refusal repeats what was sent."""
    if request.headers.get("host") != "models.example":
        return http(b"default backend - 404", "404 Not Found")
    sent = request.headers.get("authorization", "")
    if sent != f"Bearer {TOKEN}":
        return http({"error": f"bad token: {sent}"}, "401 Unauthorized")
    if request.path.endswith(":predict"):
        return http({"predictions": request.json["instances"]})
    if request.method == "POST":
        return http({"outputs": [ECHOED]})
    return http({} if request.path == "/v2" else MODEL)


def serving(url: str, **more: Any) -> Target:  # noqa: ANN401
    """TensorFlow Serving."""
    return TensorFlowServing(url, "echo", **more)


def open_inference(url: str, **more: Any) -> Target:  # noqa: ANN401
    """The Open Inference Protocol over HTTP."""
    return OpenInference(url, "echo", **more)


BOTH = pytest.mark.parametrize("kind", [serving, open_inference])


@BOTH
def test_headers_reach_the_server_with_every_request(kind: Callable[..., Target]) -> None:
    """Metadata and inference alike; the Host replaces that of the URL, and occurs once."""
    with serve(ingress) as server:
        target = kind(server.url, headers=HEADERS)
        np.testing.assert_allclose(target.infer(ROWS), ROWS)
        np.testing.assert_allclose(target.infer(ROWS), ROWS)

    assert {request.headers["host"] for request in server.requests} == {"models.example"}
    assert {request.headers["x-tenant"] for request in server.requests} == {"tests"}
    assert len(server.connections) == 1


@BOTH
@pytest.mark.parametrize(
    ("headers", "kind_of_error", "advice"),
    [
        ({}, "status 404", "behind an ingress: headers={'Host': ...}?"),
        ({"Host": "models.example"}, "status 401", "no valid credentials: sent Host"),
        (HEADERS | {"Authorization": f"Basic {TOKEN}"}, "status 401", "sent Host, Authorization"),
    ],
)
def test_a_refusal_names_the_likely_cause(
    kind: Callable[..., Target], headers: dict[str, str], kind_of_error: str, advice: str
) -> None:
    """And no secret, though the server repeats it."""
    with serve(ingress) as server, pytest.raises(RemoteError) as raised:
        kind(server.url, headers=headers).infer(ROWS)

    assert raised.value.kind == kind_of_error
    assert advice in str(raised.value)
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("403 Forbidden", "the credentials do not allow it, or a proxy refuses"),
        ("421 Misdirected Request", "server_name= of TLS"),
        ("302 Found", "redirects are not followed"),
        ("503 Service Unavailable", "the ingress reaches no server for this Host?"),
        ("500 Internal Server Error", ""),
    ],
)
def test_other_refusals(status: str, advice: str) -> None:
    """Each has advice of its own, where there is any."""
    with serve(lambda _: http(b"no", status)) as server, pytest.raises(RemoteError) as raised:
        serving(server.url, headers=HEADERS).infer(ROWS)

    assert advice in str(raised.value)
    assert ("(" in str(raised.value)) == bool(advice)


@pytest.mark.parametrize(
    "kind", [partial(TensorFlowServing, model="m"), partial(OpenInference, model="m"), Http]
)
def test_secrets_are_in_no_traceback(kind: Callable[..., Target]) -> None:
    """Of a target that is refused; pytest shows the arguments of the innermost function."""
    with pytest.raises(UsageError) as raised:
        kind("ftp://localhost", headers=HEADERS)

    assert TOKEN not in str(raised.getrepr(funcargs=True))


@BOTH
def test_secrets_are_in_no_text(kind: Callable[..., Target]) -> None:
    """Neither what reports show of a target nor what Python shows of it."""
    target = kind("http://127.0.0.1:1", headers=HEADERS)

    with pytest.raises(RemoteError) as raised:
        target.infer(ROWS)

    for text in (repr(target), str(target), target.description, str(raised.value)):
        assert TOKEN not in text


@BOTH
@pytest.mark.parametrize(
    ("tls", "advice"),
    [
        (None, "name the file of its authority: tls=TLS(ca=...)"),
        (TLS(ca=CA), "tls=TLS(server_name=...)"),
        (TLS(ca=CA, server_name="other.example"), "tls=TLS(server_name=...)"),
        (TLS(ca=CA, server_name="models.example"), ""),
        (TLS(verify=False), ""),
    ],
)
def test_tls(kind: Callable[..., Target], tls: TLS | None, advice: str) -> None:
    """A server with a certificate by one's own CA, asked for by an address; one connection."""
    with serve(ingress, encrypted()) as server:
        target = kind(server.url, headers=HEADERS, tls=tls)
        if not advice:
            np.testing.assert_allclose(target.infer(ROWS), ROWS)
            np.testing.assert_allclose(target.infer(ROWS), ROWS)
            assert len({request.connection for request in server.requests}) == 1
            return
        with pytest.raises(RemoteError) as raised:
            target.infer(ROWS)
    assert raised.value.kind == "TLS failed"
    assert advice in str(raised.value)


@pytest.mark.parametrize("client", [{}, CLIENT])
def test_a_server_that_wants_a_certificate(client: dict[str, str]) -> None:
    """mTLS: with the client's certificate it answers, without it the error says so."""
    tls = TLS(ca=CA, server_name="models.example", **client)
    with serve(ingress, encrypted(clients=True)) as server:
        target = serving(server.url, headers=HEADERS, tls=tls)
        if client:
            np.testing.assert_allclose(target.infer(ROWS), ROWS)
            return
        with pytest.raises(RemoteError) as raised:
            target.infer(ROWS)
    assert raised.value.kind in {"TLS failed", "connection closed"}
    if raised.value.kind == "TLS failed":
        assert "it wants a client certificate" in str(raised.value)


def test_a_port_without_tls() -> None:
    """The error asks whether the port is the right one."""
    with serve(ingress) as server, pytest.raises(RemoteError, match="speak TLS"):
        serving(server.url.replace("http:", "https:")).infer(ROWS)


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ([("Host", "x")], "of type list"),
        ("Host: x", "of type str"),
        (None, "of type NoneType"),
        ({"Ho st": "x"}, "'Ho st' is no name of a header"),
        ({"": "x"}, "'' is no name"),
        ({3: "x"}, "3 is no name"),
        ({"Host:": "x"}, "'Host:' is no name"),
        ({"Authorization": None}, "is the variable set?"),
        ({"Authorization": ""}, "is the variable of the environment set?"),
        ({"Authorization": "Bearer "}, "is the variable set?"),
        ({"Authorization": f"Bearer {TOKEN}\n"}, r"strip\(\)"),
        ({"Authorization": f"Bearer\r\nX: {TOKEN}"}, "printable ASCII"),
        ({"Authorization": f"Bearer {TOKEN}é"}, "printable ASCII"),
        ({"Authorization": TOKEN.encode()}, "of type bytes"),
        ({"Content-Type": "text/plain"}, "set by the protocol"),
        ({"content-length": "3"}, "set by the protocol"),
        ({"Host": "a", "host": "b"}, "occurs twice"),
    ],
)
@pytest.mark.parametrize("kind", [serving, open_inference])
def test_headers_that_cannot_be_sent(
    kind: Callable[..., Target], headers: object, problem: str
) -> None:
    """Are refused when the target is made; the name is shown, the value never."""
    with pytest.raises(UsageError, match=problem) as raised:
        kind("http://localhost:1", headers=headers)

    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("name", ["grpc-timeout", "token-bin", "User-Agent"])
def test_headers_that_grpc_keeps_for_itself(name: str) -> None:
    """Metadata of these names has another meaning there."""
    with pytest.raises(UsageError, match="set by the protocol"):
        OpenInference("grpc://localhost:1", "echo", headers={name: "x"})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"ca": "missing.pem"}, r"ca='missing.pem'.*No such file"),
        ({"ca": __file__}, "expected certificates in PEM"),
        ({"ca": 3}, r"TLS\(ca=3\)"),
        ({"key": CLIENT["key"]}, "without a certificate"),
        ({"certificate": "missing.pem"}, "No such file"),
        ({"certificate": CLIENT["certificate"]}, "expected a certificate and its private key"),
        ({**CLIENT, "key": str(KEYS / "server.key")}, "(?i)key.values.mismatch"),
        ({**CLIENT, "key": str(KEYS / "encrypted.key")}, "is encrypted"),
        ({"verify": "no"}, "expected True or False"),
        ({"verify": False, "ca": CA}, "no authority is asked"),
    ],
)
def test_tls_settings_that_cannot_be_used(settings: dict[str, Any], problem: str) -> None:
    """Are refused when they are made, in words."""
    with pytest.raises(UsageError, match=problem):
        TLS(**settings)


@pytest.mark.parametrize(
    ("url", "tls", "problem"),
    [
        ("http://localhost:1", TLS(), "http:// is not encrypted"),
        ("grpc://localhost:1", TLS(), r"write grpcs://localhost:1"),
        ("grpcs://localhost:1", TLS(verify=False), "gRPC verifies every server"),
        ("https://localhost:1", CA, r"expected TLS\(ca="),
    ],
)
def test_tls_where_it_does_not_fit(url: str, tls: Any, problem: str) -> None:  # noqa: ANN401
    """Settings that would have no effect are refused."""
    with pytest.raises(UsageError, match=problem):
        OpenInference(url, "echo", tls=tls)


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{TOKEN}@models.example",
        f"ftp://user:{TOKEN}@models.example",
        f"https://models.example?token={TOKEN}",
        f"models.example?token={TOKEN}",
        f"https://models.example:port?token={TOKEN}",
        f"https://{TOKEN}@:1/#{TOKEN}",
    ],
)
def test_secrets_in_a_url_are_refused_and_not_shown(url: str) -> None:
    """They would be recorded with the target's description."""
    with pytest.raises(UsageError) as raised:
        TensorFlowServing(url, "echo")

    assert TOKEN not in str(raised.value)


@contextlib.contextmanager
def over_grpc(*, tls: bool, clients: bool = False) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server over gRPC that lets in who has the token; the metadata of each call."""
    grpc = pytest.importorskip("grpc")
    messages = pytest.importorskip("tritonclient.grpc.service_pb2")
    service = pytest.importorskip("tritonclient.grpc.service_pb2_grpc")
    calls: list[dict[str, str]] = []

    class Model(service.GRPCInferenceServiceServicer):  # type: ignore[misc, name-defined]
        def ModelMetadata(self, request: Any, context: Any) -> object:  # noqa: ANN401, N802
            calls.append(dict(context.invocation_metadata()))
            if calls[-1].get("authorization") != f"Bearer {TOKEN}":
                sent = json.dumps(calls[-1].get("authorization"))
                context.abort(grpc.StatusCode.UNAUTHENTICATED, f"bad token {sent}")
            tensor = messages.ModelMetadataResponse.TensorMetadata(**TENSOR)
            return messages.ModelMetadataResponse(
                name=request.name, inputs=[tensor], outputs=[tensor]
            )

        def ModelInfer(self, request: Any, context: Any) -> object:  # noqa: ANN401, N802
            calls.append(dict(context.invocation_metadata()))
            output = messages.ModelInferResponse.InferOutputTensor(
                name="rows", datatype="FP32", shape=request.inputs[0].shape
            )
            return messages.ModelInferResponse(
                outputs=[output], raw_output_contents=request.raw_input_contents
            )

    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    service.add_GRPCInferenceServiceServicer_to_server(Model(), server)
    if tls:
        pair = ((KEYS / "server.key").read_bytes(), (KEYS / "server.pem").read_bytes())
        roots = (KEYS / "ca.pem").read_bytes() if clients else None
        secure = grpc.ssl_server_credentials([pair], roots, require_client_auth=clients)
        port = server.add_secure_port("127.0.0.1:0", secure)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"{'grpcs' if tls else 'grpc'}://127.0.0.1:{port}", calls
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("tls", "clients"),
    [
        (None, False),
        (TLS(ca=CA, server_name="models.example"), False),
        (TLS(ca=CA, server_name="models.example", **CLIENT), True),
    ],
)
def test_headers_and_tls_over_grpc(tls: TLS | None, *, clients: bool) -> None:
    """Headers are metadata of every call, named in small letters; the Host is its authority."""
    with over_grpc(tls=tls is not None, clients=clients) as (url, calls):
        target = OpenInference(url, "echo", headers=HEADERS, tls=tls)
        np.testing.assert_array_equal(target.infer(ROWS), ROWS)

    assert len(calls) == 2
    assert all(call["x-tenant"] == "tests" for call in calls)
    assert TOKEN not in repr(target)


def test_a_refusal_over_grpc() -> None:
    """It names the likely cause, and not the token that the server repeats."""
    with over_grpc(tls=False) as (url, _), pytest.raises(RemoteError) as raised:
        OpenInference(url, "echo", headers={"Authorization": f"Basic {TOKEN}"}).infer(ROWS)

    assert raised.value.kind == "status UNAUTHENTICATED"
    assert "no valid credentials: sent Authorization" in str(raised.value)
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("tls", [None, TLS(ca=CA), TLS(server_name="models.example")])
def test_a_handshake_that_fails_over_grpc(tls: TLS | None) -> None:
    """An authority that is not known, or another name."""
    with over_grpc(tls=True) as (url, _), pytest.raises(RemoteError) as raised:
        OpenInference(url, "echo", tls=tls, timeout=5).infer(ROWS)

    assert raised.value.kind == "TLS failed"
    assert "tls=TLS(ca=...)" in str(raised.value)
