"""A server on loopback that speaks as the hub of Hugging Face does, as far as ``huggingface_hub`` asks it to.

It keeps the files of each commit in memory: uploads in the body of a commit or, for what the hub calls large files, by
the protocol of git's large file storage; downloads by address of revision and file.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = ".safetensors"
"""Ending of the files that go by large file storage."""


class Hub:
    """What the server holds.

    Attributes:
        repos: By name, the files of each revision; a branch and its newest commit are two names of the same files.
        heads: By name and branch, the newest commit.
        blobs: Large files by digest.
        asked: Method and path of every request, in order.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.heads: dict[tuple[str, str], str] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []

    def commit(self, repo: str, branch: str, files: dict[str, bytes]) -> str:
        """Files that are added to a branch; the name of the commit."""
        older = self.repos[repo].get(self.heads.get((repo, branch), ""), {})
        together = {**older, **files}
        name = hashlib.sha1(repr((repo, branch, len(self.repos[repo]), sorted(together))).encode()).hexdigest()
        self.repos[repo][name] = together
        self.heads[repo, branch] = name
        return name

    def find(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit that a branch or a commit names, and its files."""
        commit = self.heads.get((repo, revision), revision)
        files = self.repos.get(repo, {}).get(commit)
        return None if files is None else (commit, files)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def answer(self) -> None:
        """Finds what is asked for."""
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.asked.append((self.command, path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else f"me/{asked['name']}"
            hub.repos.setdefault(name, {})
            if (name, "main") not in hub.heads:
                hub.commit(name, "main", {".gitattributes": b"*.safetensors filter=lfs\n"})
            return self.send({"url": f"{self.base}/{name}", "name": name, "id": "0"})
        if path == "/api/validate-yaml":
            return self.send({"errors": [], "warnings": []})
        if path == "/api/whoami-v2":
            return self.send({"type": "user", "name": "me", "orgs": []})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/(.+)", path):
            files = [
                {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                 "shouldIgnore": False, "oid": None}
                for file in json.loads(body)["files"]
            ]  # fmt: skip
            return self.send({"files": files})
        if re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            objects = [
                {"oid": o["oid"], "size": o["size"], "actions": {"upload": {"href": f"{self.base}/blobs/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            return self.send({"transfer": "basic", "objects": objects}, kind="application/vnd.git-lfs+json")
        if self.command == "PUT" and path.startswith("/blobs/"):
            name = path.removeprefix("/blobs/")
            assert hashlib.sha256(body).hexdigest() == name
            hub.blobs[name] = body
            return self.send({})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
            files = {}
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                if line["key"] == "lfsFile":
                    files[value["path"]] = hub.blobs[value["oid"]]
            commit = hub.commit(found[1], found[2], files)
            address = f"{self.base}/{found[1]}/commit/{commit}"
            return self.send({"success": True, "commitOid": commit, "commitUrl": address, "hookOutput": ""})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
            return self.describe(found[1], found[2] or "main")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?", path):
            known = hub.find(found[1], found[2])
            return self.send([
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in (known[1] if known else {}).items()
            ])  # fmt: skip
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.resolve(found[1], found[2], found[3])
        return self.refuse("EntryNotFound")

    def describe(self, repo: str, revision: str) -> None:
        """What a revision holds."""
        if repo not in self.hub.repos:
            return self.refuse("RepoNotFound")
        if (found := self.hub.find(repo, revision)) is None:
            return self.refuse("RevisionNotFound")
        files = [{"rfilename": name, "size": len(content)} for name, content in found[1].items()]
        return self.send(
            {"id": repo, "modelId": repo, "sha": found[0], "private": False, "siblings": files, "tags": []}
        )

    def resolve(self, repo: str, revision: str, name: str) -> None:
        """A file."""
        found = self.hub.find(repo, revision)
        if found is None or name not in found[1]:
            return self.refuse("EntryNotFound")
        content = found[1][name]
        headers = {"X-Repo-Commit": found[0], "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        return self.send(content, kind="application/octet-stream", headers=headers)

    @property
    def base(self) -> str:
        return f"http://{self.headers['Host']}"

    def refuse(self, code: str) -> None:
        """Says that it is not there."""
        self.send({"error": code}, status=404, headers={"X-Error-Code": code, "X-Error-Message": code})

    def send(
        self, content: Any, *, status: int = 200, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        """Answers."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def serving() -> Iterator[tuple[Hub, str]]:
    """A hub, and its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
