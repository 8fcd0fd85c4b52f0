# SPDX-License-Identifier: Apache-2.0
"""Which folders and files can only be this user's own, and what is done with all others: nothing."""

import os
import re
import socket
import time
from types import SimpleNamespace

import pytest
from strangers import ROOT_ONLY, STRANGER, given_away

from dinemo_ros.io import links
from dinemo_ros.process import own_folder
from dinemo_ros.process.own_folder import UntrustedError, open_folder, read_file, sweep, write_file


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "above" / "own"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def opened(folder):
    handle = open_folder(folder)
    yield handle
    os.close(handle)


def refused(path, make=False):
    with pytest.raises(UntrustedError) as caught:
        os.close(open_folder(path, make))
    return str(caught.value)


def test_folders_are_made_for_this_user_alone(tmp_path):
    before = os.umask(0)
    try:
        os.close(open_folder(tmp_path / "a" / "b" / "c", make=True))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")} == {0o755}
    with pytest.raises(FileNotFoundError):
        open_folder(tmp_path / "none" / "b")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o1777])
def test_a_folder_that_others_write_to(folder, mode):
    folder.chmod(mode)
    assert refused(folder) == f"can be written by others (mode {mode:o})"


@pytest.mark.parametrize("mode", [0o757, 0o777])
def test_a_folder_above_that_others_write_to(folder, mode):
    """They can put another one into its place."""
    folder.parent.chmod(mode)
    assert refused(folder) == refused(folder / "new", make=True) == (
        f"lies in {folder.parent}, which can be written by others (mode {mode:o})")
    folder.parent.chmod(mode | 0o1000)  # as /tmp: nobody moves what is another's
    os.close(open_folder(folder))


@pytest.mark.parametrize("account, acl, safe", [
    ({}, [], True), ({"gr_mem": ["anne"]}, [], True), ({"gr_mem": ["anne", "bert"]}, [], False),
    ({"gr_name": "staff"}, [], False), ({"others": 1000}, [], False), ({}, ["system.posix_acl_access"], False)])
def test_a_group_that_nobody_else_is_in(folder, monkeypatch, account, acl, safe):
    """Debian and Fedora give everybody one, and write permission to it."""
    import grp
    import pwd

    if os.geteuid() == 0:
        os.chown(folder.parent, -1, 1000)
    gid = folder.parent.stat().st_gid
    folder.parent.chmod(0o775)
    anne, bert = (SimpleNamespace(pw_name=name, pw_gid=group) for name, group in
                  (("anne", gid), ("bert", gid if "others" in account else 77)))
    group = SimpleNamespace(gr_name="anne", gr_mem=[])
    vars(group).update(account)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: anne)
    monkeypatch.setattr(pwd, "getpwall", lambda: [anne, bert])
    monkeypatch.setattr(grp, "getgrgid", lambda gid: group)
    monkeypatch.setattr(os, "listxattr", lambda path: acl)
    if safe:
        os.close(open_folder(folder))
    else:
        assert "can be written by others" in refused(folder)


@ROOT_ONLY
def test_roots_group_is_anybodys(folder):
    folder.parent.chmod(0o775)
    assert "can be written by others" in refused(folder)


@ROOT_ONLY
def test_folders_of_another_user(folder):
    given_away(folder)
    assert refused(folder) == f"belongs to another user ({STRANGER})"
    assert "belongs to another user" in refused(folder / "new", make=True) and not (folder / "new").exists()


@ROOT_ONLY
def test_links_of_another_user_on_the_way(folder, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder.parent)
    os.close(open_folder(link / "own"))
    given_away(link)
    assert "a link that another user" in refused(link / "own")


def test_root_as_it_looks_in_a_container_that_does_not_know_it(monkeypatch, tmp_path):
    texts = {"/proc/self/uid_map": "1000 1000 1\n", "/proc/sys/kernel/overflowuid": "65534\n"}
    monkeypatch.setattr(links.Path, "read_text", lambda self: texts[str(self)])
    links._root_elsewhere.cache_clear()
    try:
        assert links.owners() == {os.geteuid(), 0, 65534}
        texts["/proc/self/uid_map"] = "0 100000 65536\n"
        links._root_elsewhere.cache_clear()
        assert links.owners() == {os.geteuid(), 0}
    finally:
        links._root_elsewhere.cache_clear()


def test_a_relative_folder_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(own_folder.Path("cache"), make=True) == "is no absolute path" and not os.listdir(tmp_path)


def planted(folder, kind):
    path = folder / "entry"
    if kind == "link":
        (folder / "real").write_bytes(b"real")
        path.symlink_to("real")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(path))
    else:
        path.write_bytes(b"planted")
        if kind == "others may write":
            path.chmod(0o666)
        elif kind == "foreign":
            given_away(path)
    return path


@pytest.mark.parametrize("kind, why", [
    ("link", "is a link"), ("pipe", "is no regular file"), ("folder", "is no regular file"),
    ("socket", "is no regular file"), ("others may write", "can be written by others"), ("large", "is too large"),
    pytest.param("foreign", "belongs to another user", marks=ROOT_ONLY)])
def test_what_is_no_file_of_this_users_is_not_read(folder, opened, monkeypatch, kind, why):
    monkeypatch.chdir(folder)  # names of sockets are short
    planted(folder, kind)
    began = time.monotonic()
    with pytest.raises(UntrustedError, match=why):
        read_file(opened, "entry", 3)
    assert time.monotonic() - began < 1.0


def test_forty_gigabytes_of_nothing_are_not_read(folder, opened):
    with open(folder / "entry", "wb") as file:
        file.truncate(40 << 30)
    with pytest.raises(UntrustedError, match="is too large"):
        read_file(opened, "entry", 1 << 20)


def test_what_is_written_replaces_a_link_and_leaves_what_is_behind_it(folder, opened):
    planted(folder, "link")
    write_file(opened, "entry", b"new", durable=True)
    assert (folder / "real").read_bytes() == b"real" and (folder / "entry").read_bytes() == b"new"
    assert not (folder / "entry").is_symlink() and sorted(os.listdir(folder)) == ["entry", "real"]
    assert read_file(opened, "entry", 3) == b"new"


def test_only_own_old_files_of_our_names_are_swept(folder, opened, tmp_path):
    ours = re.compile(r"\.\w+\.part")
    old = [folder / name for name in (".a.part", "a.part", ".a.partial", ".new.part", ".link.part", ".pipe.part")]
    for path in old[:4]:
        path.write_bytes(b"")
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    old[4].symlink_to(precious)
    os.mkfifo(old[5])
    for path in (*old[:3], *old[4:]):
        os.utime(path, (0, 0), follow_symlinks=False)
    assert sweep(opened, ours) == [".a.part"]
    assert not old[0].exists() and all(os.path.lexists(path) for path in old[1:]) and precious.exists()


@ROOT_ONLY
def test_files_of_others_are_not_swept(folder, opened):
    path = given_away(planted(folder, "plain"))
    os.utime(path, (0, 0))
    assert sweep(opened, re.compile("entry")) == [] and path.exists()
