"""What a server does so that what it makes and reads can be trusted: signatures, near-copies, addresses of others."""

import base64
import datetime
import http.server
import io
import ipaddress
import json
import shutil
import threading
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from PIL import Image

import polymodal as pm
from polymodal.cli.main import main

uvicorn = pytest.importorskip("uvicorn")

from test_serve import picture_url, serving  # noqa: E402

from polymodal.serving import Addresses, Copies, Engine, Runs, Signer  # noqa: E402
from polymodal.serving.addresses import is_public  # noqa: E402
from polymodal.serving.errors import ApiError  # noqa: E402


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A signing certificate with the one that vouches for it, and its key: as an owner gets from an authority."""
    x509 = pytest.importorskip("cryptography.x509")
    pytest.importorskip("c2pa")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)

    def make(name, key, issuer, issuer_key, authority):
        named = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(named)
            .issuer_name(issuer or named)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True, key_cert_sign=authority, crl_sign=authority, decipher_only=False, **usage
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if not authority:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
        return builder.sign(issuer_key, hashes.SHA256())

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = make("An authority", root_key, None, root_key, True)
    leaf = make("An owner", key, root.subject, root_key, False)
    folder = tmp_path_factory.mktemp("keys")
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(leaf.public_bytes(pem) + root.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "chain.pem", folder / "key.pem"


def manifest(content, kind):
    import c2pa

    with c2pa.Reader(kind, io.BytesIO(content)) as reader:
        told = json.loads(reader.json())
    codes = {status["code"] for status in told.get("validation_status", [])}
    assert codes <= {"signingCredential.untrusted"}, codes  # its authority is on nobody's list
    return told["manifests"][told["active_manifest"]]


def test_what_is_made_says_that_a_model_made_it(trained, certificate):
    import polymodal.checkpoint

    with serving({"tiny": trained}, signer=Signer(*certificate)) as address:
        plain = {"prompt": "red disc", "seed": 1, "output_format": "png"}
        drawn = httpx.post(f"{address}/v1/images/generations", json=plain).raise_for_status().json()
        spoken = httpx.post(f"{address}/v1/audio/speech", json={"input": "red disc", "response_format": "wav"})
        row = httpx.post(f"{address}/v1/generate", json={"given": {}, "to": ["picture"]}).raise_for_status().json()
        pcm = httpx.post(f"{address}/v1/audio/speech", json={"input": "red disc", "response_format": "pcm"})
    native = base64.b64decode(row["samples"][0]["picture"].partition(",")[2])
    picture = base64.b64decode(drawn["data"][0]["b64_json"])
    digest = polymodal.checkpoint.digest_of(pm.open(trained).model)
    for content, kind in ((picture, "image/png"), (native, "image/png"), (spoken.content, "audio/wav")):
        said = {part["label"]: part["data"] for part in manifest(content, kind)["assertions"]}
        assert said["org.polymodal.run"] == {"run": "tiny", "sha256": digest}
        (action,) = said["c2pa.actions.v2"]["actions"]
        assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert Image.open(io.BytesIO(picture)).size == (16, 16)
    assert pcm.status_code == 200  # has no place for it


def test_keys_that_do_not_sign_are_refused_before_anything_listens(trained, certificate, tmp_path, capsys):
    chain, key = certificate
    (tmp_path / "broken.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for given in ((chain, tmp_path / "broken.pem"), (key, chain), (tmp_path / "none.pem", key)):
        with pytest.raises(pm.ConfigError, match=r"--sign .*cannot sign"):
            Signer(*given)
    assert main(["serve", str(trained), "--sign", str(chain), str(tmp_path / "none.pem")]) != 0
    assert "none.pem" in capsys.readouterr().err


def test_near_copies_of_training_rows_are_withheld(trained):
    pipeline = pm.open(trained)
    training = pipeline.data().train
    rows = training.unique("picture")
    copies = Copies(training)
    (real,) = [copies.check({"picture": rows.decode(rows.batch(np.arange(3)))["picture"]})]
    assert [error.status for error in real] == [403, 403, 403]
    assert f"row {rows.index[0] + 1} of the training data" in real[0].message
    engine = Engine(pipeline, withhold=lambda made, adapter: [real[0], *[None] * (len(made["picture"]) - 1)])
    try:
        first, second = engine.submit(engine.read({}, ["picture"]), ["picture"], n=2, seed=0)
        with pytest.raises(ApiError, match="near-copy"):
            first.result(timeout=60)
        assert second.result(timeout=60)["picture"].size == (16, 16)
    finally:
        engine.close()


def test_a_run_whose_data_nobody_named_is_not_searched_for_copies(trained, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    monkeypatch.setenv("POLYMODAL_CACHE", str(tmp_path / "cache"))
    assert main(["serve", str(run), "--refuse-copies", "--port", "0"]) != 0
    assert "never named on this machine" in capsys.readouterr().err
    source = pm.open(trained).recipe.data.source
    training = pm.open(trained).data(source).train
    named = Runs({"mine": run}, refuse_copies=True, data={"mine": source})
    try:
        (found,) = named.open("mine").engine.withhold(training.decode(training.batch(np.arange(1))), "")
        assert found.status == 403
    finally:
        named.close()


def test_where_the_training_rows_are_is_said_for_a_run_that_is_served(trained, capsys):
    for words, said in (
        (["--data", "x.csv"], "--refuse-copies"),
        (["--refuse-copies", "--data", "nowhere.csv"], "nowhere.csv"),
        (["--refuse-copies", "--data", "run=nowhere.csv"], "nowhere.csv"),
        (["--refuse-copies", "--data", "run:none=nowhere.csv"], "no run 'run:none'"),
    ):
        assert main(["serve", f"run={trained}", "--port", "0", *words]) != 0
        assert said in capsys.readouterr().err
    both = [f"run={trained}", f"other={trained}"]
    assert main(["serve", *both, "--port", "0", "--refuse-copies", "--data", "nowhere.csv"]) != 0
    assert "RUN=SOURCE" in capsys.readouterr().err


@contextmanager
def elsewhere(content=b"", status=200, headers=()):
    """Another machine with one file."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            for header in headers:
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/file.png?size=1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_pictures_of_others_are_fetched_where_that_is_allowed(trained):
    content = base64.b64decode(picture_url().partition(",")[2])
    fetch = Addresses(1 << 20, permitted=lambda address: address.is_loopback)
    with elsewhere(content) as url, serving({"tiny": trained}, fetch=fetch) as address:
        here = {"given": {"picture": picture_url()}, "to": ["name"], "seed": 3}
        there = {"given": {"picture": url}, "to": ["name"], "seed": 3}
        answers = [httpx.post(f"{address}/v1/generate", json=body).raise_for_status().json() for body in (here, there)]
        assert answers[0] == answers[1]
        parts = [{"type": "image_url", "image_url": {"url": url}}]
        body = {"messages": [{"role": "user", "content": parts}], "seed": 3}
        assert httpx.post(f"{address}/v1/chat/completions", json=body).status_code == 200


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x.png",
        "http://[::1]/x.png",
        "http://[::ffff:127.0.0.1]/x.png",
        "http://0.0.0.0/x.png",
        "http://2130706433/x.png",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:8000/health",
        "http://a@b@127.0.0.1/",
        "file:///etc/passwd",
        "ftp://example.org/x.png",
        "http:///x.png",
        "http://exa mple.org/",
        "/etc/passwd",
    ],
)
def test_no_private_address_is_asked(url):
    with pytest.raises(ApiError) as refused:
        Addresses(1000)(url, "image_url")
    assert refused.value.status == 400
    assert refused.value.param == "image_url"


def test_public_addresses_are_those_that_all_can_reach():
    assert is_public(ipaddress.ip_address("8.8.8.8"))
    assert not is_public(ipaddress.ip_address("2002:7f00:0001::"))  # 127.0.0.1 by way of IPv6
    assert not is_public(ipaddress.ip_address("224.0.0.1"))
    assert not is_public(ipaddress.ip_address("100.64.0.1"))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"content": b"x" * 2000}, "more than 1,000 bytes"),
        ({"status": 302, "headers": [("Location", "http://127.0.0.1/")]}, "status 302"),
        ({"status": 404}, "status 404"),
    ],
)
def test_what_is_fetched_is_a_file_of_permitted_size(answer, why):
    with elsewhere(**answer) as url, pytest.raises(ApiError, match=why):
        Addresses(1000, permitted=lambda address: True)(url, "image_url")
