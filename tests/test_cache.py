"""The store on disk: whole files or none, whatever happens."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings

import pytest

from tinygraph.__main__ import main
from tinygraph.compiler import store as store_module
from tinygraph.compiler.store import KINDS, CacheError, Store


def files(store):
    return sorted(p for kind in KINDS for p in (store.folder / kind).iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_returns_what_was_put(tmp_path, kind):
    store = Store(tmp_path / "cache")
    assert store.get(kind, "k1") is None
    for data in (b"", b"x = 1\n", bytes(range(256)) * 9):
        store.put(kind, "k1", data)
        assert store.get(kind, "k1") == data
        assert Store(store.folder).get(kind, "k1") == data
    assert len(files(store)) == 1


def test_a_source_stays_a_module(tmp_path):
    store = Store(tmp_path)
    store.put("source", "module", b"value = 42")
    scope = {}
    exec(store.path("source", "module").read_text(), scope)
    assert scope["value"] == 42


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[3:], lambda b: b"", lambda b: b"!" + b[1:]]
)
def test_a_damaged_file_is_a_miss_and_removed(tmp_path, damage):
    store = Store(tmp_path)
    store.put("kernel", "k", b"machine code" * 100)
    path = store.path("kernel", "k")
    path.write_bytes(damage(path.read_bytes()))
    assert store.get("kernel", "k") is None
    assert not path.exists()
    store.put("kernel", "k", b"again")
    assert store.get("kernel", "k") == b"again"


@pytest.mark.parametrize("key", ["", "../x", "a/b", "a.b"])
def test_refuses_keys_that_are_paths(tmp_path, key):
    with pytest.raises(ValueError, match="not an entry"):
        Store(tmp_path).get("kernel", key)


def test_a_file_in_place_of_the_folder_switches_caching_off(tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.warns(RuntimeWarning, match="not cached"):
        store = Store(tmp_path / "cache")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        store.put("kernel", "k", b"x")
        assert store.get("kernel", "k") is None


@pytest.mark.parametrize("error", [PermissionError(13, "read-only"), OSError(28, "no space left")])
def test_a_failing_write_warns_once_and_leaves_nothing(tmp_path, monkeypatch, error):
    store = Store(tmp_path)
    store.put("kernel", "before", b"1")

    def fail(*args):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.warns(RuntimeWarning, match="not cached"):
        store.put("kernel", "k", b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.put("kernel", "k", b"x")
    assert store.get("kernel", "k") is None
    assert store.get("kernel", "before") == b"1"
    assert len(files(store)) == 1


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_refuses_a_folder_that_others_can_write(tmp_path):
    folder = tmp_path / "cache"
    Store(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(CacheError, match="chmod 700"):
        Store(folder)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("kind", KINDS)
def test_refuses_a_subfolder_that_others_can_write(tmp_path, kind):
    Store(tmp_path / "cache").path(kind, "k").parent.chmod(0o770)
    with pytest.raises(CacheError, match=f"{kind} can be written by other users.*chmod 700"):
        Store(tmp_path / "cache")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_file_that_others_can_write_is_removed(tmp_path):
    store = Store(tmp_path)
    store.put("kernel", "k", b"x")
    store.path("kernel", "k").chmod(0o666)
    assert store.get("kernel", "k") is None
    assert not store.path("kernel", "k").exists()


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_removed(tmp_path):
    store = Store(tmp_path)
    store.put("kernel", "k", b"x")
    os.chown(store.path("kernel", "k"), 1234, 1234)
    assert store.get("kernel", "k") is None


def test_a_file_that_was_put_under_another_key_is_removed(tmp_path):
    store = Store(tmp_path)
    store.put("kernel", "a", b"x")
    for kind, key in (("kernel", "b"), ("program", "a")):
        store.path(kind, key).write_bytes(store.path("kernel", "a").read_bytes())
        assert store.get(kind, key) is None
    assert store.get("kernel", "a") == b"x"


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    store = Store(tmp_path / "cache")
    store.put("kernel", "k", b"x")
    shutil.rmtree(store.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for key in ("k", "other"):
            store.put("kernel", key, b"y")
            assert store.get("kernel", key) == b"y"
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_an_entry_too_large_for_the_folder_evicts_no_other(tmp_path):
    store = Store(tmp_path, limit=10_000)
    store.put("kernel", "small", bytes(1_000))
    store.put("kernel", "large", bytes(6_000))
    assert [p.stem for p in files(store)] == ["small"]


def test_several_processes_keep_to_one_limit(tmp_path):
    stores = [Store(tmp_path, limit=100_000) for _ in range(4)]
    for i in range(200):
        stores[i % 4].put("kernel", f"k{i}", bytes(1_000))
    assert sum(p.stat().st_size for p in files(stores[0])) <= 100_000 * 1.4


def test_the_command_shows_and_clears(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TINYGRAPH_CACHE", str(tmp_path))
    Store(tmp_path).put("kernel", "k", bytes(2_000_000))
    main(["cache"])
    assert re.search(r"2\.0 of 1,074 MB\n.*kernels +1 ", capsys.readouterr().out, re.DOTALL)
    main(["cache", "clear"])
    assert re.search(r"0\.0 of 1,074 MB\n.*kernels +0 ", capsys.readouterr().out, re.DOTALL)
    assert Store(tmp_path).entries() == []
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TINYGRAPH_CACHE", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="not cached"):
        main(["cache"])
    monkeypatch.setenv("TINYGRAPH_CACHE", str(tmp_path))
    tmp_path.chmod(0o777)
    if os.name == "posix":
        store_module._store.cache_clear()
        with pytest.raises(SystemExit, match="cache: the cache folder"):
            main(["cache"])


def test_the_command_lists_and_verifies(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TINYGRAPH_CACHE", str(tmp_path))
    store = Store(tmp_path)
    for key in ("a", "b"):
        store.put("kernel", key, bytes(1_000))
        os.utime(store.path("kernel", key), (1, 1))
    main(["cache", "ls", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [(e["kind"], e["key"]) for e in found["entries"]] == [("kernel", "a"), ("kernel", "b")]
    assert found["kinds"]["kernel"]["entries"] == 2 and found["bytes"] > 2_000
    main(["cache", "verify"])
    assert "every entry is as it was written" in capsys.readouterr().out
    assert store.entries()[0].used == 1  # being looked at is not being used
    store.path("kernel", "b").write_bytes(b"damaged")
    with pytest.raises(SystemExit) as ended:
        main(["cache", "verify"])
    assert ended.value.code == 1
    assert "damaged: kernel b" in capsys.readouterr().out
    assert [p.stem for p in files(store)] == ["a"]


def test_prunes_what_was_not_used_for_longest(tmp_path):
    store = Store(tmp_path, limit=10_000)
    now = time.time()
    for i in range(9):
        store.put("kernel", f"k{i}", bytes(1_000))
        os.utime(store.path("kernel", f"k{i}"), (now - 100 + i,) * 2)
    assert store.get("kernel", "k0") is not None  # used now
    store.put("kernel", "new", bytes(1_000))
    left = {p.stem for p in files(store)}
    assert {"k0", "k8", "new"} <= left
    assert "k1" not in left
    assert sum(p.stat().st_size for p in files(store)) <= 10_000


def test_removes_what_a_dead_process_left(tmp_path):
    store = Store(tmp_path)
    old, fresh = store.folder / "kernel" / ".old", store.folder / "kernel" / ".fresh"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    store.put("kernel", "k", b"x")
    assert not old.exists()
    assert fresh.exists()


WRITER = """
import sys
from tinygraph.compiler.store import Store
store = Store(sys.argv[1])
print("ready", flush=True)
while True:
    for i in range(4):
        store.put("kernel", f"k{i}", bytes([i]) * 3_000_000)
"""


def test_killed_and_concurrent_writers_never_show_half_a_file(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    store = Store(tmp_path)
    for _ in range(2):
        writers = [
            subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        for i in range(40):
            data = store.get("kernel", f"k{i % 4}")
            assert data is None or data == bytes([i % 4]) * 3_000_000
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
        for i in range(4):
            data = store.get("kernel", f"k{i}")
            assert data is None or data == bytes([i]) * 3_000_000
