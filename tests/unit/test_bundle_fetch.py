# SPDX-License-Identifier: Apache-2.0
"""Bundles from elsewhere: taken only as what their hash says, unpacked only to where bundles are, or not at all."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import os
import stat
import struct
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from unit.planted import car_card, car_mesh

from dinemo_ros.cli.main import main
from dinemo_ros.errors import BundleError, DocumentError
from dinemo_ros.io import download as download_module
from dinemo_ros.io.archive import unpack
from dinemo_ros.model import bundle_fetch
from dinemo_ros.model.bundle import CARD_FILE, find_bundle, is_installed, load_bundle, write_bundle
from dinemo_ros.model.bundle_fetch import fetch_bundle

LIMIT = 1 << 20  # bytes that archives of these tests may hold


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The folder of fetched bundles, of this test alone."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "dinemo_ros" / "bundles"


@pytest.fixture
def bundle(tmp_path):
    """Folder of a valid bundle of a category that is not shipped."""
    folder = write_bundle(tmp_path / "made" / "van", car_card(category="van"), b"fp32", car_mesh(), b"int8").path
    (folder / "README.md").write_text("terms")
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tar_of(path: Path, members: dict[str, bytes | Path], *others: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info in others:
            archive.addfile(info)
        for name, content in members.items():
            data = content.read_bytes() if isinstance(content, Path) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zip_of(path: Path, members: dict[str, bytes | Path]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content.read_bytes() if isinstance(content, Path) else content)
    return path


def files_of(folder: Path, below: str = "") -> dict[str, bytes | Path]:
    return {below + path.name: path for path in folder.iterdir()}


def assert_nothing_is_left(home: Path) -> None:
    assert not home.exists() or list(home.iterdir()) == []


class Server:
    """Answers on localhost: ``pages`` by path, each a function of the request handler."""

    def __init__(self) -> None:
        self.pages, self.asked = {}, []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append(self.path)
                with contextlib.suppress(OSError):
                    server.pages.get(self.path, lambda handler: handler.send_error(404))(self)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def gives(self, path: str, content: bytes, length: int | None = None, **headers: str) -> str:
        def answer(handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content) if length is None else length))
            handler.end_headers()
            handler.wfile.write(content)

        self.pages[path] = answer
        return self.address + path

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


@pytest.mark.parametrize("below", ["", "./", "van-1.0/", "a/b/"])
@pytest.mark.parametrize("pack, name", [(tar_of, "van.tar.gz"), (zip_of, "van.zip")])
def test_an_archive_is_kept_under_its_category_and_found(bundle, tmp_path, home, pack, name, below):
    archive = pack(tmp_path / name, files_of(bundle, below) | {"other/README.md": b"of another"})
    found = fetch_bundle(str(archive), sha256(archive))
    assert found.path == home / "van" == find_bundle("van") and not is_installed(found.path)
    assert found.card == load_bundle(bundle).card and found.int8() == b"int8"
    assert (home / "van" / "README.md").read_text() == "terms"
    assert sorted(os.listdir(home / "van")) == sorted(os.listdir(bundle)) and os.listdir(home) == ["van"]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o022 for path in (home / "van").iterdir()} == {0}


def test_a_folder_is_taken_with_the_hash_of_its_card(bundle, home):
    (bundle / "notes.txt").write_text("left")
    assert fetch_bundle(str(bundle), sha256(bundle / CARD_FILE).upper(), name="my-van").path == home / "my-van"
    assert find_bundle("my-van") == home / "my-van" and not (home / "my-van" / "notes.txt").exists()
    with pytest.raises(BundleError, match="has the sha256 .*, expected 0000"):
        fetch_bundle(str(bundle), "0" * 64, name="other")
    assert os.listdir(home) == ["my-van"]


def test_into_a_folder_of_ones_own(bundle, tmp_path, home):
    assert fetch_bundle(str(bundle), out=tmp_path / "here" / "it").path == tmp_path / "here" / "it"
    assert os.listdir(tmp_path / "here") == ["it"]
    assert_nothing_is_left(home)
    with pytest.raises(BundleError, match="here/it: there is something already"):
        fetch_bundle(str(bundle), out=tmp_path / "here" / "it")


def test_an_address(bundle, tmp_path, home, server):
    archive = tar_of(tmp_path / "van.tar.gz", files_of(bundle))
    address = server.gives("/van.tar.gz", archive.read_bytes())
    assert fetch_bundle(address, sha256(archive)).path == home / "van"


def test_an_address_without_a_hash_is_not_even_asked(server, home):
    with pytest.raises(BundleError, match="only taken with its hash; give --sha256"):
        fetch_bundle(server.gives("/van.tar.gz", b""))
    assert server.asked == [] and not home.exists()


@pytest.mark.parametrize("given", ["abc", "0" * 63, "g" * 64, "0" * 65])
def test_a_hash_that_is_none(bundle, given):
    with pytest.raises(BundleError, match=f"the sha256 '{given}' is none; give its 64 hexadecimal digits"):
        fetch_bundle(str(bundle), given)


def test_another_hash(bundle, tmp_path, home, server):
    archive = tar_of(tmp_path / "van.tar.gz", files_of(bundle))
    for source in (str(archive), server.gives("/van.tar.gz", archive.read_bytes())):
        with pytest.raises(BundleError, match=f"has the sha256 {sha256(archive)}, expected {'1' * 64}; nothing was"):
            fetch_bundle(source, "1" * 64)
    assert_nothing_is_left(home)


def test_a_download_that_is_cut_off(bundle, tmp_path, home, server):
    content = tar_of(tmp_path / "van.tar.gz", files_of(bundle)).read_bytes()
    address = server.gives("/van.tar.gz", content[:1000], len(content))
    with pytest.raises(BundleError, match=f"was cut off after 1000 of {len(content)} bytes; try again"):
        fetch_bundle(address, "1" * 64)
    assert_nothing_is_left(home)


@pytest.mark.parametrize("length", [3000, None])
def test_a_download_that_is_too_large(server, home, monkeypatch, length):
    """Told beforehand, or found out while it comes."""
    monkeypatch.setattr(bundle_fetch, "_LARGEST", 2000)

    def answer(handler) -> None:
        handler.send_response(200)
        if length:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(bytes(3000))

    server.pages["/large"] = answer
    with pytest.raises(BundleError, match="is larger than 1.95 KiB, which is the most that is fetched"):
        fetch_bundle(server.address + "/large", "1" * 64)
    assert_nothing_is_left(home)


def test_of_what_says_that_it_is_too_large_nothing_is_written(server):
    file = io.BytesIO()
    with pytest.raises(DocumentError, match="is larger than 2 bytes"):
        download_module.download(server.gives("/large", b"large"[:1], 5), file, 2, 10.0)
    assert file.getvalue() == b""


def test_a_download_that_takes_too_long(server):
    def drips(handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            stopped.wait(0.05)

    stopped = threading.Event()
    server.pages["/slow"] = drips
    try:
        with pytest.raises(DocumentError, match="was not complete after 0.3 s"):
            download_module.download(server.address + "/slow", io.BytesIO(), 1000, 0.3)
        server.pages["/silent"] = lambda handler: stopped.wait(5)
        with pytest.raises(DocumentError, match="cannot be fetched .*timed out"):
            download_module.download(server.address + "/silent", io.BytesIO(), 1000, 10.0, silence_s=0.2)
    finally:
        stopped.set()


@pytest.mark.parametrize("target", ["/van.tar.gz", "file:///etc/passwd", "https://127.0.0.1:1/x", "ftp://127.0.0.1/x"])
def test_redirections_from_http_are_refused(server, home, target):
    def answer(handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    server.pages["/moved"] = answer
    server.gives("/van.tar.gz", b"")
    with pytest.raises(BundleError, match="is redirected to .*; redirections are only followed from https to https|"
                                          "cannot be fetched .the server answers 302"):
        fetch_bundle(server.address + "/moved", "1" * 64)
    assert server.asked == ["/moved"]
    assert_nothing_is_left(home)


@pytest.mark.parametrize("before, after, followed", [
    ("https://a/x", "https://b/y", True), ("https://a/x", "http://a/x", False), ("http://a/x", "https://a/x", False),
    ("https://a/x", "file:///etc/passwd", False)])
def test_what_begins_encrypted_stays_so(before, after, followed):
    import email.message
    import urllib.request

    def ask():
        return download_module._Redirections().redirect_request(
            urllib.request.Request(before), io.BytesIO(), 302, "Found", email.message.Message(), after)

    if followed:
        assert ask().full_url == after
    else:
        with pytest.raises(DocumentError, match="redirections are only followed from https to https"):
            ask()


@pytest.mark.parametrize("address, reason", [
    ("file:///etc/passwd", "has the scheme file; only http and https addresses are fetched"),
    ("file:/etc/passwd", "has the scheme file; only http and https"), ("ftp://host/x.zip", "has the scheme ftp"),
    ("data:text/plain,x", "has the scheme data"), ("http://user:word@127.0.0.1/x", "no user or password"),
    ("http:///x", "give a host"), ("http://127.0.0.1/a b", "no blanks"), ("http://[::1/x", "is no address"),
    ("http://127.0.0.1:99999/x", "cannot be fetched"), ("http://127.0.0.1:1/x", "cannot be fetched .*refused")])
def test_other_addresses_are_refused_with_a_sentence(address, reason, home):
    with pytest.raises(BundleError, match=reason):
        fetch_bundle(address, "1" * 64)
    assert_nothing_is_left(home)


def test_what_the_server_has_not(server):
    with pytest.raises(BundleError, match="cannot be fetched .the server answers 404 Not Found"):
        fetch_bundle(server.address + "/none", "1" * 64)


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def special(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("x")
    info.type = kind
    return info


@pytest.mark.parametrize("name", ["../model.yaml", "/etc/model.yaml", "a/../../model.yaml", "a\\..\\model.yaml",
                                  "C:/model.yaml", ".."])
@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_members_that_lead_elsewhere_are_refused(bundle, tmp_path, home, pack, name):
    archive = pack(tmp_path / "evil", files_of(bundle) | {name: b"x"})
    with pytest.raises(BundleError, match="evil: has a member .* leads out of the archive's own folder"):
        fetch_bundle(str(archive))
    assert_nothing_is_left(home)
    assert not (tmp_path / "model.yaml").exists()


@pytest.mark.parametrize("other, reason", [
    (link("mesh.npz", "/etc/passwd", tarfile.SYMTYPE), "has a member 'mesh.npz' that is a link"),
    (link("x", "model.yaml", tarfile.LNKTYPE), "has a member 'x' that is a link"),
    (special(tarfile.CHRTYPE), "has a member 'x' that is no plain file"),
    (special(tarfile.FIFOTYPE), "that is no plain file"), (special(tarfile.GNUTYPE_SPARSE), "that is no plain file")])
def test_links_and_devices_are_refused(bundle, tmp_path, home, other, reason):
    archive = tar_of(tmp_path / "evil", files_of(bundle), other)
    with pytest.raises(BundleError, match=reason):
        fetch_bundle(str(archive))
    assert_nothing_is_left(home)


def test_a_link_in_a_zip_is_refused(bundle, tmp_path, home):
    archive = zip_of(tmp_path / "evil", {CARD_FILE: bundle / CARD_FILE})
    with zipfile.ZipFile(archive, "a") as file:
        info = zipfile.ZipInfo("mesh.npz")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(BundleError, match="has a member 'mesh.npz' that is a link; it is refused"):
        fetch_bundle(str(archive))
    assert_nothing_is_left(home)


class TestBombs:
    """Small archives that want much: refused by what they say, or where they lie about it, by what comes out."""

    @pytest.fixture
    def into(self, tmp_path):
        (tmp_path / "into").mkdir()
        return tmp_path / "into"

    @pytest.mark.parametrize("pack", [tar_of, zip_of])
    def test_a_member_that_says_how_large_it_is(self, tmp_path, into, pack):
        archive = pack(tmp_path / "bomb", {"model.yaml": b"x", "mesh.npz": bytes(2 * LIMIT)})
        with pytest.raises(DocumentError, match="holds more than 1 MiB unpacked"):
            unpack(archive, ["model.yaml", "mesh.npz"], into, LIMIT)
        assert list(into.iterdir()) == []

    @pytest.mark.parametrize("pack", [tar_of, zip_of])
    def test_members_that_nobody_wants_count_as_well(self, tmp_path, into, pack):
        archive = pack(tmp_path / "bomb", {"model.yaml": b"x", "other": bytes(2 * LIMIT)})
        with pytest.raises(DocumentError, match="holds more than 1 MiB unpacked"):
            unpack(archive, ["model.yaml"], into, LIMIT)

    @pytest.mark.parametrize("pack", [tar_of, zip_of])
    def test_many_members(self, tmp_path, into, pack):
        archive = pack(tmp_path / "bomb", {f"{k}": b"" for k in range(201)})
        with pytest.raises(DocumentError, match="has more than 200 members"):
            unpack(archive, ["model.yaml"], into, LIMIT)

    def test_a_zip_that_lies_about_a_size(self, tmp_path, into):
        archive = zip_of(tmp_path / "bomb", {"model.yaml": bytes(2 * LIMIT)})
        data = bytearray(archive.read_bytes())
        at = data.rfind(b"PK\x01\x02")
        data[at + 24:at + 28] = struct.pack("<I", 100)
        archive.write_bytes(data)
        with pytest.raises(DocumentError, match="is damaged, cut off|larger than it says"):
            unpack(archive, ["model.yaml"], into, LIMIT)
        assert sum(path.stat().st_size for path in into.iterdir()) <= 200

    def test_a_further_header_without_end(self, tmp_path, into):
        info = tarfile.TarInfo("long")
        info.type, info.size = tarfile.XHDTYPE, 64 << 20
        (tmp_path / "bomb").write_bytes(gzip.compress(info.tobuf() + bytes(2 << 20)))
        with pytest.raises(DocumentError, match="has a header of more than 1 MiB, which is refused"):
            unpack(tmp_path / "bomb", ["model.yaml"], into, LIMIT)

    def test_a_huge_list_of_members(self, tmp_path, into):
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 1 << 30, 0, 0)
        (tmp_path / "bomb").write_bytes(b"PK\x03\x04" + bytes(100) + end)
        with pytest.raises(DocumentError, match="has more than 200 members"):
            unpack(tmp_path / "bomb", ["model.yaml"], into, LIMIT)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b", b"PK\x03\x04", gzip.compress(b"no tar" * 1000)])
def test_what_is_no_archive(tmp_path, home, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BundleError, match="file: is (no archive that is read|damaged, cut off|cut off)"):
        fetch_bundle(str(tmp_path / "file"))
    assert_nothing_is_left(home)


@pytest.mark.parametrize("pack", [tar_of, zip_of])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_cut_archive(bundle, tmp_path, home, pack, share):
    archive = pack(tmp_path / "cut", files_of(bundle))
    archive.write_bytes(archive.read_bytes()[:int(share * archive.stat().st_size)])
    with pytest.raises(BundleError, match="cut: is (damaged, cut off|cut off)"):
        fetch_bundle(str(archive))
    assert_nothing_is_left(home)


@pytest.mark.parametrize("members, reason", [
    ({"a/model.yaml": b"", "b/model.yaml": b""}, "has 2 files model.yaml; one is needed"),
    ({"mesh.npz": b""}, "has no files model.yaml"), ({"model.yaml": b"", "./model.yaml": b"x"}, "model.yaml' twice")])
def test_one_bundle_is_needed(tmp_path, members, reason):
    with pytest.raises(BundleError, match=reason):
        fetch_bundle(str(tar_of(tmp_path / "archive", members)))


def test_a_bundle_that_is_no_good_is_not_kept(bundle, tmp_path, home):
    archive = tar_of(tmp_path / "van.tar.gz", files_of(bundle) | {"mesh.npz": b"damaged"})
    with pytest.raises(BundleError, match="mesh.npz: truncated or changed"):
        fetch_bundle(str(archive))
    assert_nothing_is_left(home)


class TestNames:
    """A fetched bundle never stands for a shipped one, nor for another fetched one."""

    @pytest.mark.parametrize("name", ["../x", "Van", ".van", "a/b", "-x", "x" * 65])
    def test_a_name_is_no_way_to_another_folder(self, bundle, name):
        with pytest.raises(BundleError, match="cannot be kept; allowed: up to 64 lower-case"):
            fetch_bundle(str(bundle), name=name)

    def test_of_a_shipped_bundle(self, bundle, tmp_path, home):
        with pytest.raises(BundleError, match="a bundle car came with the package and would be found first"):
            fetch_bundle(str(bundle), name="car")
        car = write_bundle(tmp_path / "car", car_card(), b"fp32", car_mesh()).path
        with pytest.raises(BundleError, match="a bundle car came with the package"):
            fetch_bundle(str(car))
        assert_nothing_is_left(home)

    def test_a_shipped_one_is_found_before_one_that_was_laid_there(self, bundle, home):
        home.mkdir(parents=True)
        bundle.rename(home / "car")
        assert find_bundle("car") != home / "car"

    def test_a_second_time(self, bundle, home):
        fetch_bundle(str(bundle))
        before = (home / "van").stat().st_ino
        with pytest.raises(BundleError, match="van: there is something already; remove it"):
            fetch_bundle(str(bundle))
        assert (home / "van").stat().st_ino == before and os.listdir(home) == ["van"]

    def test_the_sentence_about_what_there_is_names_it(self, bundle):
        fetch_bundle(str(bundle))
        with pytest.raises(BundleError, match=r"no bundle for category 'boat' is installed \(found: .*van\)"):
            find_bundle("boat")


def test_what_others_may_have_written_to_is_not_found_by_its_name(bundle, home):
    fetch_bundle(str(bundle))
    (home / "van").chmod(0o777)
    with pytest.raises(BundleError, match=r"van can be written by others \(mode 777\); it was fetched for this user"):
        find_bundle("van")


def test_nothing_is_kept_where_others_may_write(bundle, home):
    home.mkdir(parents=True)
    home.chmod(0o777)
    with pytest.raises(BundleError, match="bundles can be written by others .*; bundles are not kept there"):
        fetch_bundle(str(bundle))
    assert list(home.iterdir()) == []


def test_the_command(bundle, tmp_path, home, capsys):
    archive = tar_of(tmp_path / "van.tar.gz", files_of(bundle) | {"notes.txt": b""})
    assert main(["bundle", "fetch", str(archive), "--sha256", sha256(archive)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{home / 'van'}: van 0, license: not told; weights: not stated\n"
    assert "not taken, no part of a bundle: 'notes.txt'" in said.err
    assert main(["bundle", "show", "van"]) == 0
    assert main(["bundle", "fetch", "https://127.0.0.1/van.zip"]) == 1
    assert "error: https://127.0.0.1/van.zip: what comes from an address" in capsys.readouterr().err
