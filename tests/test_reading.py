"""One way into other people's files: what is no file, no text, no data or a bomb is told with its path, at once."""

from __future__ import annotations

import gzip
import io
import json
import os
import time
import zipfile

import numpy as np
import pytest

from wtal_bench.arrays import read_npy, read_npz
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.files import JsonError, parse_json, unplain
from wtal_bench.reading import gunzip, open_file, read_bytes, read_json, read_text, read_yaml


def npy(array: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


# ---- files ----


def test_a_sound_file_is_read(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_bytes(path) == path.read_bytes()
    assert read_text(path) == "a\nb\nc\n"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no such file. Do this."),
        (lambda path: path.mkdir(), "is a folder, not a file. Do this."),
        (os.mkfifo, "is a pipe, not a file. Do this."),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file. Do this."),
        (lambda path: path.symlink_to(path), "cannot be read (Too many levels of symbolic links). Do this."),
        (lambda path: path.write_bytes(b"x" * 101), "has 101 bytes, more than the 100 bytes that are read. Do this."),
    ],
    ids=["missing", "folder", "pipe", "device", "loop", "too large"],
)
def test_what_is_no_file_of_that_size_is_refused_at_once(tmp_path, make, said):
    path = tmp_path / "x"
    make(path)
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        read_bytes(path, kind=ConfigError, hint="Do this.", limit=100)
    assert str(caught.value) == f"{path}: {said}"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["a\0b", "n" * 5000, "caf\udce9"])
def test_names_no_file_can_have_are_refused(tmp_path, name):
    with pytest.raises(DataError):
        open_file(tmp_path / name)


def test_what_is_no_text_is_told_with_its_place(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"abc\xff")
    with pytest.raises(DataError, match=r"x\.txt: is no UTF-8 text \(invalid start byte at byte 3\)"):
        read_text(path)


# ---- data ----


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b"[NaN]", "it holds NaN"),
        (b"[1e999]", "it holds the number 1e999, which no float can hold"),
        (b"[" + b"9" * 400 + b"]", r"it holds the whole number 999999999999\.\.\. \(400 digits\)"),
        (b"[18446744073709551616]", "which 64 bits cannot hold"),
        (b"[" * 101 + b"]" * 101, "nested more than 100 deep"),
        (b"[" * 100_000, "nested more than 100 deep"),
        (b'{"a": ["\\ud800"]}', r"a\.0: '\\ud800' holds bytes that are no text"),
        (b'{"\\ud800": 1}', "the name '.ud800' holds bytes that are no text"),
        (b'"\xed\xa0\x80"', "no UTF-8 text"),
        (b"", "it is not valid JSON"),
    ],
)
def test_json_that_nothing_can_hold_is_refused(tmp_path, text, said):
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(DataError, match=rf"x\.json: .*{said}"):
        read_json(path)


@pytest.mark.parametrize(
    "number",
    [
        *("1e400", "-1.5E+309", "0.1e0310", "1e400\n", "1.7976931348623159e308", "1" + 400 * "0" + ".0"),
        *("1" + 150 * "0" + ".5e200", "1" + 250 * "0" + "e60", "1" + 230 * "0" + "e99"),
    ],
    ids=lambda number: number.strip() if len(number) < 30 else f"{len(number)} characters",
)
@pytest.mark.parametrize("around", ["{}", "[{}]", '{{"a": {}}}', '[ {} , "x"]', '["{{", -{}\t]'])
def test_a_number_beyond_floats_is_found_wherever_it_stands(number, around):
    with pytest.raises(JsonError, match=r"which no float can hold"):
        parse_json(around.format(number.lstrip("-")))


@pytest.mark.parametrize("text", ["1e99", "9" * 199 + ".0e99", "-1e-400", "1.7976931348623157e308", '["1e999", 0.5]'])
def test_large_numbers_that_floats_hold_are_read(text):
    assert parse_json(text) == json.loads(text)


def test_json_at_the_bounds_is_read(tmp_path):
    path = tmp_path / "x.json"
    for text, value in (
        (b"[18446744073709551615, -9223372036854775808]", [2**64 - 1, -(2**63)]),
        (b'["' + b"[" * 500 + b'"]', ["[" * 500]),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"\xef\xbb\xbf[1]", [1]),
    ):
        path.write_bytes(text)
        assert read_json(path) == value
    path.write_bytes(b"[" * 100 + b"]" * 100)
    assert str(read_json(path)).count("[") == 100


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key 'a' stands twice in one mapping, line 1 and line 3"),
        ("x:\n  - {lr: 1, lr: 2}\n", "the key 'lr' stands twice in one mapping, line 2"),
        (BOMB, "aliases stand for more than 100000 values"),
        (MERGES, "aliases stand for more than 100000 values"),
        ("a: " + "[" * 3000, "nested more than 100 deep, line 1"),
        ("a: !!int x", "int cannot be 'x', line 1"),
        ("a: !!bool 3", "bool cannot be '3', line 1"),
        ('a: "\\U00110000"', "it is no YAML"),
        ("a: !!binary x", "could not determine a constructor"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("a: &a [*a]", "a.0: holds itself"),
        ("1: 2", "1 cannot be the name of anything"),
        ("? [a]\n: b", "a key is a text, not a list or mapping, line 1"),
        ("a: " + "9" * 400, "a: is a whole number that 64 bits cannot hold"),
        ("a: .nan", "a: expected a finite number, got nan"),
        ('a: "\\ud800"', "holds bytes that are no text"),
        ("a: [", "it is no YAML: .*, line 1"),
        ("a: 1\n---\nb: 2", "but found another document, line 2"),
        ("\0", "it is no YAML"),
    ],
)
def test_yaml_is_plain_data_or_refused_with_its_line(tmp_path, text, said):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=rf"(?s)x\.yaml: .*{said}"):
        read_yaml(path, kind=ConfigError)
    assert time.monotonic() - began < 5


def test_yaml_reads_what_people_write(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: &a {k: v}\nb: {<<: *a, c: 2024-01-01}\nd: [1, 2.5, true, null, 'x']\ne: [*a, *a]\n")
    expected = {"a": {"k": "v"}, "b": {"k": "v", "c": "2024-01-01"}, "d": [1, 2.5, True, None, "x"]}
    assert read_yaml(path) == {**expected, "e": [{"k": "v"}] * 2}
    path.write_text("")
    assert read_yaml(path) is None


def test_plain_data_are_told_from_others():
    assert unplain({"a": [1, 2.5, None, True, "x", {"b": ()}]}) == ""
    assert unplain({"a": {1, 2}}) == "a: is a set, not a text, number, truth value, None, list or mapping"
    assert unplain(np.int64(3)) == "it is a int64, not a text, number, truth value, None, list or mapping"
    node: list = []
    node.append(node)
    assert unplain({"a": node}).startswith("a.0: holds itself")


# ---- gzip ----


def test_gzip_is_unpacked_whole():
    content = os.urandom(3 << 20) + b"x" * (5 << 20)
    assert gunzip(gzip.compress(content), "x.gz") == content
    assert gunzip(gzip.compress(b"a") + gzip.compress(b"b") + b"\0" * 9, "x.gz") == b"ab"
    assert gunzip(gzip.compress(b""), "x.gz") == b""


@pytest.mark.parametrize("cut", [1, 2, 9, 11, 30, -1, -5, -9])
def test_a_damaged_gzip_is_refused(cut):
    with pytest.raises(DataError, match=r"x\.gz: is a damaged gzip file"):
        gunzip(gzip.compress(os.urandom(100))[:cut], "x.gz")


def test_a_gzip_bomb_is_refused_before_it_is_in_memory():
    bomb = gzip.compress(b"\0" * (100 << 20))
    with pytest.raises(DataError, match=r"x\.gz: unpacks to more than \d+ MiB from \d+ bytes"):
        gunzip(bomb, "x.gz")
    with pytest.raises(DataError, match="unpacks to more than"):
        gunzip(gzip.compress(os.urandom(1000)) + bomb, "x.gz")


# ---- arrays ----


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.arange(6).reshape(2, 3).T, np.array(["a", "bc"]),
                                   np.zeros((0, 4), np.float16), np.array(3.5), np.arange(4, dtype=">i4")])  # fmt: skip
def test_arrays_are_read_as_numpy_reads_them(tmp_path, array):
    path = tmp_path / "x.npy"
    path.write_bytes(npy(array))
    for mapped in ("", "r", "c"):
        found = read_npy(path, mapped=mapped)
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert np.array_equal(found, array)


def header(text: str, content: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    body = text.encode()
    width = 2 if version == 1 else 4
    return (
        b"\x93NUMPY" + bytes([version, 0]) + (len(body) if length is None else length).to_bytes(width, "little") + body
    ) + content


def fields(descr: str = "'<f8'", shape: str = "(2, 3)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no .npy file, or truncated"),
        (b"\x93NUMPY\x09\x00", "is no .npy file"),
        (header("", length=60_000), "a header of 60000 bytes"),
        (header("x", version=2, length=2**32 - 1), "a header of 4294967295 bytes"),
        (header(fields(), length=900), "truncated in its header"),
        (header("(" * 900), "has a damaged header"),
        (header("9" * 5000), "has a damaged header"),
        (header("__import__('os')"), "has a damaged header"),
        (header("{}"), "has a damaged header"),
        (header(fields(shape=f"({10**15}, 2)")), "is truncated"),
        (header(fields(shape=f"({2**62}, {2**62}, 0)")), "no array has the shape"),
        (header(fields(shape="(-1, 3)"), b"\0" * 48), "no array has the shape"),
        (header(fields(shape="(True, 3)"), b"\0" * 48), "no array has the shape"),
        (header(fields(shape="(2.5,)"), b"\0" * 48), "no array has the shape"),
        (header(fields(order="3"), b"\0" * 48), "no array has the shape"),
        (header(fields(descr="[('a', '<f4')]"), b"\0" * 48), "only numbers and texts are read"),
        (header(fields(descr="'|V8'"), b"\0" * 48), "only numbers and texts are read"),
        (header(fields(descr="'<M8[s]'"), b"\0" * 48), "only numbers and texts are read"),
        (header(fields(descr="'<f3'"), b"\0" * 48), "only numbers and texts are read"),
        (header(fields(descr="'|O'"), b"\0" * 48), "which would have to be unpickled"),
        (npy(np.zeros((2, 3)))[:-1], "is truncated"),
    ],
)
def test_crafted_headers_are_refused_before_memory_is_asked_for(tmp_path, content, said):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.npy: .*{said}"):
        read_npy(path)


def test_a_header_of_python_2_is_read(tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(header(fields(shape="(2L, 3L)"), np.arange(6.0).tobytes()))
    assert np.array_equal(read_npy(path), np.arange(6.0).reshape(2, 3))


def archive(path, members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", packing) as target:
        for name, content in members.items():
            target.writestr(name, content)


def test_archives_are_read_or_refused_by_what_their_members_say(tmp_path):
    path = tmp_path / "x.npz"
    array = np.arange(6.0).reshape(2, 3)
    np.savez_compressed(path, a=array, b=array.T)
    first, second = read_npz(path, ["a", "b"])
    assert np.array_equal(first, array)
    assert np.array_equal(second, array.T)
    with pytest.raises(DataError, match=r"x\.npz: has no array 'c', it holds a, b"):
        read_npz(path, ["c"])
    archive(path, {"a.npy": npy(array)[:128] + b"\0" * (80 << 20)})
    with pytest.raises(DataError, match=r"array 'a': unpacks to 80 MiB from \d+ bytes"):
        read_npz(path, ["a"])
    archive(path, {"a.npy": header(fields(shape=f"({10**15}, 2)"))})
    with pytest.raises(DataError, match="is truncated"):
        read_npz(path, ["a"])
    archive(path, {"a.npy": npy(np.array([{}]), allow_pickle=True)})
    with pytest.raises(DataError, match="which would have to be unpickled"):
        read_npz(path, ["a"])
    content = bytearray(b"")
    archive(path, {"a.npy": npy(array)}, zipfile.ZIP_STORED)
    content[:] = path.read_bytes()
    content[150] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="is a damaged archive"):
        read_npz(path, ["a"])
