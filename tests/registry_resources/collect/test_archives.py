"""Finding documents in files, whatever they are wrapped in, in constant memory."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest

from registry_resources.collect.archives import MAX_ZIP_INDEX, Limits, documents
from registry_resources.collect.problems import BadContentError
from registry_resources.collect.sniff import Kind, sniff

A, B = b'{"a": 1}', b'[{"b": 2}]'


def found(data, tmp_path, limits=None, *, seekable=True):
    """Each thing found: its member and its bytes, or what is wrong with it."""
    result = []
    file = io.BytesIO(data)
    for document in documents(
        file, "file", limits or Limits(), tmp_path, size=len(data), seekable=file if seekable else None
    ):
        content = document.problem
        if document.stream is not None:
            try:
                content = b""
                while piece := document.stream.read(10_000):
                    content += piece
            except BadContentError as error:
                content = str(error)
        result.append((document.member, content))
    return result


def drain(document, lengths):
    while piece := document.stream.read(1 << 16):
        lengths.append(len(piece))


def tar_of(*members, format=tarfile.PAX_FORMAT):  # noqa: A002
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def zip_of(*members, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"{", Kind.JSON),
        (b" \r\n\t[1", Kind.JSON),
        (b"\xef\xbb\xbf {}", Kind.JSON),
        (b"\x1f\x8b\x08", Kind.GZIP),
        (b"PK\x03\x04", Kind.ZIP),
        (b"PK\x05\x06", Kind.ZIP),
        (b"name".ljust(257, b"\0") + b"ustar\x00", Kind.TAR),
    ],
)
def test_forms_are_told_by_their_marks(head, kind):
    """RFC 1952, APPNOTE.TXT, POSIX ustar, and RFC 8259 with a byte order mark tolerated."""
    assert sniff(head) is kind


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", "an empty file"),
        (b" \n", "an empty file"),
        (b"\n<!doctype HTML>", "an HTML page"),
        (b"<?xml version='1.0'?><html xmlns='x'>", "an HTML page"),
        (b"<?xml version='1.0'?><releases>", "XML"),
        (b"\xff\xfe{\0", "UTF-16"),
        (b"%PDF-1.7", "a PDF file"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a", "RAR"),
        (b"BZh91", "bzip2"),
        (b'"text"', "not JSON: it begins with"),
        (b"ocid,id\n", "not JSON: it begins with"),
    ],
)
def test_what_isnt_read_is_told_as_what_it_is(head, message):
    """The message says what the file is instead."""
    with pytest.raises(BadContentError, match=message):
        sniff(head)


@pytest.mark.parametrize("seekable", [True, False])
def test_documents_are_found_in_wrappers_within_wrappers(tmp_path, seekable):
    """A tar.gz in a zip, a zip in a tar, gzip of several members, padding after gzip."""
    data = zip_of(
        ("x/a.json", A),
        ("b.tar.gz", gzip.compress(tar_of(("b.json", B), ("c.zip", zip_of(("c.json", A)))))),
        ("d.json.gz", gzip.compress(A) + gzip.compress(b"\n") + b"\0" * 100),
    )
    assert found(data, tmp_path, seekable=seekable) == [
        ("x/a.json", A),
        ("b.tar.gz/b.json", B),
        ("b.tar.gz/c.zip/c.json", A),
        ("d.json.gz", A + b"\n"),
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_in_tar_files_are_read(tmp_path, format):  # noqa: A002
    """Names over 100 characters come in headers of their own."""
    name = "/".join(["folder" * 10] * 5) + "/é.json"
    assert found(tar_of((name, A), ("b", B), format=format), tmp_path) == [(name, A), ("b", B)]


def test_a_member_that_isnt_read_doesnt_disturb_the_next_one(tmp_path):
    """Whoever takes the documents needs not take all of each."""
    data = tar_of(("a.json", b"[" + b"1," * 50_000 + b"1]"), ("b.json", B))
    stream = io.BytesIO(data)
    heads = [d.stream.read(3) for d in documents(stream, "f", Limits(), tmp_path)]
    assert heads == [b"[1,", b'[{"']


@pytest.mark.parametrize("cut", [1, 9, 100, 5_000])
def test_a_cut_off_file_is_told_wherever_it_was_cut(tmp_path, cut):
    """Of gzip, zip and tar, each fault is told, and nothing but BadContentError is raised."""
    import random

    noise = "".join(random.Random(1).choices("abcdefgh", k=20_000)).encode()
    body = b'{"a": "' + noise + b'"}'
    for data in (
        gzip.compress(body),
        zip_of(("a.json", body)),
        gzip.compress(tar_of(("a.json", body), ("b.json", body))),
    ):
        contents = [content for _, content in found(data[:-cut], tmp_path)]
        assert any("cut off or broken" in content for content in contents if isinstance(content, str)), (cut, contents)


def test_a_plain_tar_file_that_is_cut_off_is_told(tmp_path):
    """Its last member ends too early."""
    data = tar_of(("a.json", A), ("b.json", b"[" + b" " * 5000 + b"]"))
    contents = dict(found(data[:3000], tmp_path))
    assert contents["a.json"] == A
    assert any("cut off" in text for text in contents.values() if isinstance(text, str))


def test_a_bomb_is_given_up_before_it_expands(tmp_path):
    """Beyond 100 MB, a file may expand to 200 times its size; here both are less, for the test's sake."""
    limits = Limits(ratio=100, ratio_from=1_000_000)
    bomb = b"[" + b" " * 50_000_000 + b"]"
    for data in (gzip.compress(bomb), zip_of(("a.json", bomb)), gzip.compress(tar_of(("a.json", bomb)))):
        generator = documents(io.BytesIO(data), "f", limits, tmp_path, size=len(data))
        document = next(generator)
        lengths: list[int] = []
        with pytest.raises(BadContentError, match="decompression bombs"):
            drain(document, lengths)
        assert 900_000 < sum(lengths) < 6_000_000  # 100 times what 50 MB of blanks are compressed


def test_many_small_members_are_a_bomb_together(tmp_path):
    """A zip file whose members share their bytes expands them again and again."""
    members = [(f"{n}.json", b"[" + b" " * 300_000 + b"]") for n in range(20)]
    contents = [content for _, content in found(zip_of(*members), tmp_path, Limits(ratio=100, ratio_from=1_000_000))]
    assert any("decompression bombs" in content for content in contents if isinstance(content, str))


def test_wrappers_within_each_other_have_an_end(tmp_path):
    """A file that wraps itself would be unwrapped for ever."""
    data = A
    for _ in range(8):
        data = gzip.compress(data)
    assert found(data, tmp_path) == [("", "more than 4 archives within each other")]


def test_an_index_that_fills_the_memory_is_refused_unread(tmp_path):
    """A zip file's index is held in memory, so its size is looked at first."""
    data = bytearray(zip_of(("a.json", A)))
    data[-10:-6] = (MAX_ZIP_INDEX + 1).to_bytes(4, "little")
    ((_, problem),) = found(bytes(data), tmp_path)
    assert "too many members" in problem


def test_a_header_that_fills_the_memory_is_refused_unread(tmp_path):
    """A tar file may announce a name of a gigabyte."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    ((_, problem),) = found(info.tobuf() + b"x" * 10_000, tmp_path)
    assert "cut off or broken" in problem


def test_encrypted_and_exotic_members_are_told(tmp_path):
    """One member that can't be read doesn't hide the others."""
    data = bytearray(zip_of(("a.json", A), ("b.json", B)))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1  # "encrypted"
    (first, second) = found(bytes(data), tmp_path)
    assert "can't be read" in first[1]
    assert second == ("b.json", B)


def test_what_stands_beside_the_data_is_no_error(tmp_path):
    """A read-me file, macOS's files, links: told, but not counted as errors; what claims to be JSON is."""
    buffer = io.BytesIO(
        zip_of(("README.md", b"# Data"), ("__MACOSX/._a.json", b"\0\5"), ("a.json", A), ("bad.json", b"oops"))
    )
    counts = {d.member: d.counts for d in documents(buffer, "f", Limits(), tmp_path, seekable=buffer) if d.problem}
    assert counts == {"README.md": False, "__MACOSX/._a.json": False, "bad.json": True}


@pytest.mark.parametrize("data", [zip_of(), tar_of(), gzip.compress(tar_of())], ids=["zip", "tar", "tar.gz"])
def test_an_archive_without_files_is_an_error(tmp_path, data):
    """Nothing is passed over in silence."""
    ((_, problem),) = found(data, tmp_path)
    assert problem in {"an archive without any file", "not JSON: it begins with b'" + "\\x00" * 40 + "'"}
