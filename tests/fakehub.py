"""A Hugging Face Hub on 127.0.0.1: as much of its HTTP interface as huggingface_hub's client needs for models.

As on the real Hub, a repository starts with a commit of `.gitattributes`, `*.safetensors` are uploaded through LFS and
other files inside the commit, and what one may not see does not exist. Unlike there, LFS files come from `resolve`
itself instead of a CDN, nothing goes through Xet, and a card's metadata are not looked at. Each answer ends its
connection, so that a client keeps nothing of a server that was stopped.

A repository is the folder `<root>/<organisation>/<name>`: another FakeHub on the same root goes on with it.
"""

import base64
import hashlib
import http.server
import json
import re
import shutil
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

TOKENS = {"hf_write": "write", "hf_read": "read"}

REPO, REVISION = r"(?P<repo>[^/]+/[^/]+?)", r"(?P<revision>[^/]+)"
ROUTES = [  # methods, path, kind of request
    ("GET", "/api/whoami-v2", "whoami"),
    ("POST", "/api/validate-yaml", "validate"),
    ("POST", "/api/repos/create", "create"),
    ("DELETE", "/api/repos/delete", "delete"),
    ("PUT", f"/api/models/{REPO}/settings", "settings"),
    ("POST", f"/api/models/{REPO}/preupload/{REVISION}", "preupload"),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", "batch"),
    ("PUT", "/lfs/(?P<address>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})", "lfs"),
    ("POST", f"/api/models/{REPO}/commit/{REVISION}", "commit"),
    ("POST", f"/api/models/{REPO}/branch/(?P<name>[^/]+)", "branch"),
    ("POST", f"/api/models/{REPO}/tag/{REVISION}", "tag"),
    ("GET", f"/api/models/{REPO}(?:/revision/{REVISION})?", "info"),
    ("GET", f"/api/models/{REPO}/tree/{REVISION}", "tree"),
    ("POST", f"/api/models/{REPO}/paths-info/{REVISION}", "paths"),
    ("HEAD GET", f"/{REPO}/resolve/{REVISION}/(?P<path>.+)", "resolve"),
]
KINDS = {kind for _, _, kind in ROUTES}
WRITES = {"create", "delete", "settings", "preupload", "batch", "commit", "branch", "tag"}


@dataclass(frozen=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    token: str | None
    start: int  # of the wanted bytes
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What the client gets: `sent` bytes of the body (None: all; -1: not even the status), then the `end`."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    end: Literal["close", "reset", "stall"] = "close"


class Entry(NamedTuple):
    """A line of the log of requests. The status is 0 where a fault left the request undone."""

    kind: str
    method: str
    path: str
    status: int
    token: str | None


Fault = Callable[[Callable[[], Answer]], Answer]  # given the means to get the true answer, gives another


class Status(Exception):
    """An answer that tells of an error, in the two headers by which the client chooses its exception. Also a fault."""

    def __init__(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        message = message or HTTPStatus(status).phrase
        named = {"X-Error-Code": code, "X-Error-Message": message} if code else {"X-Error-Message": message}
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = json_answer({"error": message}, status, named | more)

    def __call__(self, handle: Callable[[], Answer]) -> Answer:
        return self.answer


@dataclass(frozen=True)
class Truncated:
    """The connection ends after so many bytes of the body: in order, or reset."""

    after: int
    reset: bool = False

    def __call__(self, handle: Callable[[], Answer]) -> Answer:
        return replace(handle(), sent=self.after, end="reset" if self.reset else "close")


@dataclass(frozen=True)
class Cut:
    """The connection ends without an answer: in order, or reset; before the request is carried out, or after."""

    reset: bool = False
    done: bool = False

    def __call__(self, handle: Callable[[], Answer]) -> Answer:
        answer = handle() if self.done else Answer(0)
        return replace(answer, sent=-1, end="reset" if self.reset else "close")


@dataclass(frozen=True)
class Stalled:
    """Nothing more comes after so many bytes of the body (-1: nothing at all), until the hub stops.

    The request is carried out, or not.
    """

    after: int = -1
    done: bool = True

    def __call__(self, handle: Callable[[], Answer]) -> Answer:
        return replace(handle() if self.done else Answer(0), sent=self.after, end="stall")


class Corrupted:
    """One bit of the body is wrong; its size is not."""

    def __call__(self, handle: Callable[[], Answer]) -> Answer:
        answer = handle()
        content = bytearray(answer.body)
        content[len(content) // 2] ^= 1
        return replace(answer, body=bytes(content))


@dataclass(frozen=True)
class WrongETag:
    """The file is announced under another hash."""

    etag: str

    def __call__(self, handle: Callable[[], Answer]) -> Answer:
        answer = handle()
        return replace(answer, headers={**answer.headers, "ETag": f'"{self.etag}"', "X-Linked-Etag": f'"{self.etag}"'})


class File(NamedTuple):
    """A file of a commit. Its blob is named by sha256 in LFS, by git's hash otherwise: the file's ETag."""

    etag: str
    size: int
    lfs: bool


def git_hash(content: bytes) -> str:
    """The name that git gives a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repository:
    """Commits, branches, tags and blobs in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = f"{folder.parent.name}/{folder.name}"
        self.state: dict[str, Any] = json.loads((folder / "repo.json").read_text())

    @classmethod
    def create(cls, folder: Path, *, private: bool) -> "Repository":
        (folder / "blobs").mkdir(parents=True)
        state = {"private": private, "branches": {"main": None}, "tags": {}, "commits": {}}
        (folder / "repo.json").write_text(json.dumps(state))
        repository = cls(folder)
        attributes = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
        repository.commit("main", {".gitattributes": repository.store(attributes, lfs=False)}, "initial commit")
        return repository

    def save(self) -> None:
        (self.folder / "repo.json").write_text(json.dumps(self.state))

    def blob(self, etag: str) -> Path:
        return self.folder / "blobs" / etag

    def store(self, content: bytes, *, lfs: bool) -> File:
        etag = hashlib.sha256(content).hexdigest() if lfs else git_hash(content)
        self.blob(etag).write_bytes(content)
        return File(etag, len(content), lfs)

    def oid(self, revision: str) -> str:
        """The commit that a branch, a tag or 40 hex digits name."""
        commits = {oid: oid for oid in self.state["commits"]}
        found = (commits | self.state["tags"] | self.state["branches"]).get(revision)
        if found is None:
            raise Status(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return str(found)

    def files(self, revision: str) -> dict[str, File]:
        return {path: File(*file) for path, file in self.state["commits"][self.oid(revision)]["files"].items()}

    def commit(self, branch: str, changes: Mapping[str, File | None], title: str) -> str:
        """Moves a branch by one commit; a file that becomes None is deleted."""
        parent = self.state["branches"][branch]
        files = {**(self.files(parent) if parent else {}), **changes}
        content = {"parent": parent, "title": title, "files": {path: file for path, file in files.items() if file}}
        oid = hashlib.sha1(json.dumps(content, sort_keys=True).encode()).hexdigest()
        self.state["commits"][oid] = content
        self.state["branches"][branch] = oid
        self.save()
        return oid

    def describe(self, path: str, file: File) -> dict[str, Any]:
        """A file as the Hub lists it."""
        if not file.lfs:
            return {"type": "file", "path": path, "size": file.size, "oid": file.etag}
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{file.etag}\nsize {file.size}\n".encode()
        lfs = {"oid": file.etag, "size": file.size, "pointerSize": len(pointer)}
        return {"type": "file", "path": path, "size": file.size, "oid": git_hash(pointer), "lfs": lfs}


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})


def route(request: Request) -> tuple[str, dict[str, Any]]:
    """The kind of a request, and what its path names."""
    for methods, pattern, kind in ROUTES:
        match = re.fullmatch(pattern, request.path)
        if match and request.method in methods.split():
            return kind, {name: value and unquote(value) for name, value in match.groupdict().items()}
    return "unknown", {}


def concerns(kind: str, method: str, wanted: str) -> bool:
    return wanted in (kind, f"{method} {kind}")


class FakeHub:
    """The server, and what tests ask of it. It runs inside a `with`, or from `start` to `stop`.

    Args:
        root: Where the repositories lie.
        port: Of 127.0.0.1.
    """

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"
        self.tokens = dict(TOKENS)
        self.log: list[Entry] = []
        self._faults: list[tuple[str, str, Fault]] = []
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listens, until `stop`."""
        self._server = _Server(self)
        # `stop` waits for the server's next look at whether it should end.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Refuses connections from now on, and ends those that stall."""
        if self._server is not None:
            self._server.stopping.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def fault(self, kind: str, fault: Fault, *, times: int = 1, path: str = "") -> None:
        """Lets the next `times` requests of a kind go wrong.

        Args:
            kind: Of `ROUTES`, with or without the method: "resolve", "HEAD resolve".
            fault: What happens to them.
            times: How many of them.
            path: Only those whose path ends so.
        """
        assert kind.split()[-1] in KINDS, f"no request is of kind {kind!r}"
        self._faults += [(kind, path, fault)] * times

    def heal(self) -> None:
        """Ends all faults."""
        self._faults.clear()

    def count(self, kind: str) -> int:
        """How many requests of a kind, with or without the method, have come."""
        assert kind.split()[-1] in KINDS, f"no request is of kind {kind!r}"
        return sum(concerns(entry.kind, entry.method, kind) for entry in self.log)

    def publish(self, repo_id: str, files: Mapping[str, bytes], *, private: bool = False) -> str:
        """Commits files to main without a request, in a repository that is created if need be; gives the commit."""
        folder = self.root / repo_id
        repository = Repository(folder) if folder.exists() else Repository.create(folder, private=private)
        changes = {path: repository.store(content, lfs=uses_lfs(path)) for path, content in files.items()}
        return repository.commit("main", changes, "published")

    def answer(self, request: Request) -> Answer:
        """The answer to a request, or what a fault makes of it."""
        kind, names = route(request)
        if request.path == "/api/agent-harnesses":  # the client asks once per process, whatever the test
            return json_answer({})
        with self._lock:
            fault = self._next_fault(kind, request)
            answer = fault(lambda: self._handle(kind, names, request))
            self.log.append(Entry(kind, request.method, request.path, answer.status, request.token))
        return answer

    def _next_fault(self, kind: str, request: Request) -> Fault:
        for index, (wanted, path, _) in enumerate(self._faults):
            if concerns(kind, request.method, wanted) and request.path.endswith(path):
                return self._faults.pop(index)[2]
        return lambda handle: handle()

    def _handle(self, kind: str, names: dict[str, Any], request: Request) -> Answer:
        try:
            self._authorize(kind, names, request)
            if "repo" in names:
                names["repo"] = self._open(names["repo"], request)
            handler: Callable[..., Answer] = getattr(self, f"_{kind}")
            return handler(request, **names)
        except Status as error:
            return error.answer

    def _authorize(self, kind: str, names: dict[str, Any], request: Request) -> None:
        """Refuses a token that is unknown, none where one is needed, and one that may only read for what writes."""
        if request.token is not None and request.token not in self.tokens:
            raise Status(401, message="Invalid credentials in Authorization header")
        if request.token is None and kind in WRITES | {"whoami"}:
            raise Status(401, "RepoNotFound" if "repo" in names else "", "Invalid username or password.")
        if kind in WRITES and self.tokens[str(request.token)] != "write":
            raise Status(403, message="you must use a write token")

    def _open(self, repo_id: str, request: Request) -> Repository:
        """A repository that the client may see.

        Of any other the real Hub says 404, but to a client without a token 401. The client takes such a 401 for
        RepoNotFound where the address is https; here it has to be told so by the header.
        """
        if (self.root / repo_id).exists():
            repository = Repository(self.root / repo_id)
            if request.token is not None or not repository.state["private"]:
                return repository
        if request.token is None:
            raise Status(401, "RepoNotFound", "Invalid username or password.")
        raise Status(404, "RepoNotFound", "Repository not found")

    def _unknown(self, request: Request) -> Answer:
        raise Status(404, message=f"the fake Hub does not know {request.method} {request.path}")

    def _whoami(self, request: Request) -> Answer:
        role = self.tokens[str(request.token)]
        return json_answer(
            {"type": "user", "name": "user", "orgs": [{"name": "org"}], "auth": {"accessToken": {"role": role}}}
        )

    def _validate(self, request: Request) -> Answer:
        return json_answer({"errors": [], "warnings": []})

    def _create(self, request: Request) -> Answer:
        wanted = json.loads(request.body)
        repo_id = f"{wanted['organization'] or 'user'}/{wanted['name']}"
        url = {"url": f"{self.endpoint}/{repo_id}"}
        if (self.root / repo_id).exists():
            return json_answer({**url, "error": "You already created this model repo"}, 409)
        Repository.create(self.root / repo_id, private=wants_private(wanted))
        return json_answer(url)

    def _delete(self, request: Request) -> Answer:
        wanted = json.loads(request.body)
        shutil.rmtree(self._open(f"{wanted['organization'] or 'user'}/{wanted['name']}", request).folder)
        return json_answer({})

    def _settings(self, request: Request, repo: Repository) -> Answer:
        repo.state["private"] = wants_private(json.loads(request.body))
        repo.save()
        return json_answer({})

    def _preupload(self, request: Request, repo: Repository, revision: str) -> Answer:
        known = repo.files(revision)
        paths = [file["path"] for file in json.loads(request.body)["files"]]
        modes = {path: "lfs" if uses_lfs(path) else "regular" for path in paths}
        return json_answer(
            {
                "files": [
                    {"path": path, "uploadMode": mode, "shouldIgnore": False}
                    | ({"oid": known[path].etag} if path in known else {})
                    for path, mode in modes.items()
                ]
            }
        )

    def _batch(self, request: Request, repo: Repository) -> Answer:
        objects = json.loads(request.body)["objects"]
        for wanted in objects:
            if not repo.blob(wanted["oid"]).exists():  # without actions, the client does not upload
                wanted["actions"] = {"upload": {"href": f"{self.endpoint}/lfs/{repo.id}/{wanted['oid']}"}}
        return json_answer({"transfer": "basic", "objects": objects})

    def _lfs(self, request: Request, address: str, oid: str) -> Answer:  # like a signed address, it needs no token
        if hashlib.sha256(request.body).hexdigest() != oid:
            raise Status(400, message="the content does not have the announced sha256")
        Repository(self.root / address).store(request.body, lfs=True)
        return Answer(200)

    def _commit(self, request: Request, repo: Repository, revision: str) -> Answer:
        if revision not in repo.state["branches"]:
            raise Status(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        lines = [json.loads(line) for line in request.body.splitlines()]
        (header,) = (line["value"] for line in lines if line["key"] == "header")
        if not repo.oid(revision).startswith(header.get("parentCommit", "")):
            raise Status(412, message="A commit has happened since. Please refresh and try again.")
        changes: dict[str, File | None] = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                changes[value["path"]] = repo.store(base64.b64decode(value["content"]), lfs=False)
            elif line["key"] == "lfsFile":
                changes[value["path"]] = File(value["oid"], repo.blob(value["oid"]).stat().st_size, lfs=True)
            elif line["key"] == "deletedFile":
                changes[value["path"]] = None
        oid = repo.commit(revision, changes, header["summary"])
        return json_answer({"commitOid": oid, "commitUrl": f"{self.endpoint}/{repo.id}/commit/{oid}"})

    def _branch(self, request: Request, repo: Repository, name: str) -> Answer:
        return self._new_ref(repo, "branches", name, json.loads(request.body).get("startingPoint", "main"))

    def _tag(self, request: Request, repo: Repository, revision: str) -> Answer:
        return self._new_ref(repo, "tags", json.loads(request.body)["tag"], revision)

    def _new_ref(self, repo: Repository, kind: str, name: str, revision: str) -> Answer:
        if name in repo.state[kind]:
            raise Status(409, message=f"Reference already exists: {name}")
        repo.state[kind][name] = repo.oid(revision)
        repo.save()
        return json_answer({})

    def _info(self, request: Request, repo: Repository, revision: str | None) -> Answer:
        oid = repo.oid(revision or "main")
        return json_answer(
            {
                "id": repo.id,
                "sha": oid,
                "private": repo.state["private"],
                "tags": [],
                "siblings": [{"rfilename": path} for path in repo.files(oid)],
            }
        )

    def _tree(self, request: Request, repo: Repository, revision: str) -> Answer:
        return json_answer([repo.describe(path, file) for path, file in repo.files(revision).items()])

    def _paths(self, request: Request, repo: Repository, revision: str) -> Answer:
        wanted = parse_qs(request.body.decode())["paths"]
        return json_answer([repo.describe(path, file) for path, file in repo.files(revision).items() if path in wanted])

    def _resolve(self, request: Request, repo: Repository, revision: str, path: str) -> Answer:
        oid = repo.oid(revision)
        file = repo.files(oid).get(path)
        if file is None:
            raise Status(404, "EntryNotFound", "Entry not found", X_Repo_Commit=oid)
        content = repo.blob(file.etag).read_bytes()
        headers = {"ETag": f'"{file.etag}"', "X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
        if request.start == 0:
            return Answer(200, content, headers)
        if request.start >= file.size:
            raise Status(416, Content_Range=f"bytes */{file.size}")
        headers["Content-Range"] = f"bytes {request.start}-{file.size - 1}/{file.size}"
        return Answer(206, content[request.start :], headers)


def uses_lfs(path: str) -> bool:
    """As the first commit's `.gitattributes` says."""
    return path.endswith(".safetensors")


def wants_private(wanted: Mapping[str, Any]) -> bool:
    """huggingface_hub 1 says private, 2 says visibility."""
    return wanted.get("private") is True or wanted.get("visibility") == "private"


class _Server(socketserver.ThreadingTCPServer):  # unlike http.server's, it does not ask for its own name
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, hub: FakeHub) -> None:
        self.hub = hub
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", hub.port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that hung up is none
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        answer = self.server.hub.answer(Request(self.command, urlsplit(self.path).path, token, start, body))
        if answer.sent != -1:
            self._send(answer)
        if answer.end == "stall":
            self.server.stopping.wait()
        elif answer.end == "reset":
            # With no time to linger, closing is a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in {**answer.headers, "Content-Length": len(answer.body), "Connection": "close"}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.sent])

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing on stderr: the hub has a log."""
