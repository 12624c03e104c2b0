"""The spider bulk, run for real: forms, wrappers, and every fault of a source."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tarfile
import zipfile

from registry_assets.process_manager.rules.acceptance import rejection


def tar_of(members, *, compressed=True):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compressed else "w") as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def zip_of(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def test_every_form_is_told_by_its_bytes_not_its_name(crawls, publisher):
    """JSON, JSON Lines, gzip, zip, tar and tar.gz, offered under names that say nothing, become plain documents."""
    a, lines = b'{"a": 1}', b'{"b": 1}\n{"b": 2}\n'
    urls = [
        publisher.add("/1", a),
        publisher.add("/2.jsonl", lines),
        publisher.add("/3?format=x", gzip.compress(a) + gzip.compress(b" ")),
        publisher.add("/4", zip_of({"x/one.json": a, "two.jsonl": lines})),
        publisher.add("/5", tar_of({"one.json": a}, compressed=False)),
        publisher.add("/6", tar_of({"deep/one.json.gz": gzip.compress(a), "two.json": b"\xef\xbb\xbf[]"})),
        publisher.add("/7", zip_of({"inner.tar.gz": tar_of({"a.json": a, "b.zip": zip_of({"c.json": a})})})),
    ]

    log = crawls.run(urls=" ".join(urls))

    assert crawls.files() == {
        "000001-1.json": a,
        "000002-2.jsonl": lines,
        "000003-3.json": a + b" ",
        "000004-000001-one.json": a,
        "000004-000002-two.jsonl": lines,
        "000005-000001-one.json": a,
        "000006-000001-one.json": a,
        "000006-000002-two.json": b"\xef\xbb\xbf[]",
        "000007-000001-a.json": a,
        "000007-000002-c.json": a,
    }, crawls.text()
    assert (log.finish_reason, log.items, log.errors, rejection(log)) == ("finished", 10, 0, None)


def test_files_lie_where_kingfisher_collect_puts_them(crawls, publisher):
    """The folder is the key, the moment, and the low 12 bits of the name's Adler-32 (observed layout)."""
    context = crawls.start(urls=publisher.add("/a.json", b"{}"))
    crawls.wait()

    moment = context["data_version"].replace("-", "").replace(":", "").replace(" ", "_")
    assert context["directory"] == f"pub/{moment}"
    (path,) = [p for p in (crawls.settings.files_store / "pub" / moment).rglob("*") if p.is_file()]
    # The low 16 bits of an Adler-32 are 1 + the sum of the bytes, here 1 + 919 = 0x398.
    assert path.parent.name == "398"
    assert list((crawls.settings.files_store / ".partial").iterdir()) == []


def test_local_files_folders_and_globs_are_copied_and_stay_where_they_are(crawls, tmp_path):
    """Paths, file URLs, `**` globs and folders are sources; nothing is changed at the source."""
    data = tmp_path / "data"
    (data / "sub dir" / "deeper").mkdir(parents=True)
    for number, name in enumerate(["a.json", "sub dir/b.json", "sub dir/deeper/c.json"]):
        (data / name).write_bytes(b'{"n": %d}' % number)
    (data / "sub dir" / "README.md").write_text("About these data")
    (data / ".hidden.json").write_text("no JSON at all")
    before = sorted((p, p.stat().st_mtime_ns) for p in data.rglob("*"))

    urls = json.dumps([str(data / "a.json"), (data / "sub dir/b.json").as_uri(), f"{data}/**/c.json", str(data)])
    log = crawls.run(urls=urls)

    assert list(crawls.files().values()) == [
        b'{"n": 0}',
        b'{"n": 1}',
        b'{"n": 2}',
        b'{"n": 0}',
        b'{"n": 1}',
        b'{"n": 2}',
    ]
    assert sorted((p, p.stat().st_mtime_ns) for p in data.rglob("*")) == before
    assert (log.errors, log.stats["skipped_count"]) == (0, 1)
    assert "README.md: not JSON" in crawls.text()


def test_each_fault_of_a_source_is_one_error_that_says_what_it_is(crawls, publisher, answer, tmp_path):
    """I8: a fault is counted once, with its URL and its cause."""
    good = gzip.compress(b'{"a": "' + b"x" * 100_000 + b'"}')
    broken_zip = bytearray(zip_of({"a.json": b'{"a": "' + bytes(range(97, 122)) * 40 + b'"}'}))
    broken_zip[60] ^= 0xFF
    faults = {
        "/404": (answer(b"", 404), "status=404"),
        "/500": (answer(b"", 500), "status=500"),
        "/html.json": (b"<html><body>Please log in</body></html>", "an HTML page instead of JSON"),
        "/cut.json.gz": (good[:-20], "a gzip file that is cut off or broken"),
        "/cut.tar.gz": (tar_of({"a.json": good})[:-30], "cut off or broken"),
        "/broken.zip": (bytes(broken_zip), "a zip file that is cut off or broken"),
        "/cut.zip": (zip_of({"a.json": b"{}"})[:-30], "a zip file that is cut off or broken"),
        "/empty.json": (b"", "an empty file"),
        "/blank.json.gz": (gzip.compress(b" \n"), "an empty file"),
        "/text.json": (b"Internal error", "not JSON: it begins with b'Internal error'"),
        "/short.json": (answer(b'{"a": 1}' * 1000, cut=100), "the connection ended after 100 bytes"),
        "/nothing.zip": (zip_of({}), "an archive without any file"),
    }
    urls = [publisher.add(path, body) for path, (body, _) in faults.items()]
    missing = str(tmp_path / "no such.json")

    log = crawls.run(urls=json.dumps([*urls, missing, publisher.add("/good.json", b"{}")]))

    text = crawls.text()
    for path, (_, meaning) in faults.items():
        lines = [line for line in text.splitlines() if " ERROR: " in line and f"{publisher.url(path)}" in line]
        assert len(lines) == 1, (path, lines, text)
        assert meaning in lines[0]
    assert "no such file or folder" in text
    assert (log.items, log.errors) == (1, len(faults) + 1)
    assert rejection(log).startswith("The crawl had a 0.9286 error rate (13 errors, 1 file): ")


def test_faults_that_pass_are_tried_again(crawls, publisher, answer):
    """A 500, a 429 and a connection that ends too early count for nothing if the next try succeeds."""
    body = b'{"a": "' + b"x" * 1000 + b'"}'
    urls = [
        publisher.add("/500", answer(b"", 500), body),
        publisher.add("/429", answer(b"", 429, {"Retry-After": "0"}), body),
        publisher.add("/cut", answer(body, cut=500), body),
    ]

    log = crawls.run(urls="\n".join(urls))

    assert list(crawls.files().values()) == [body] * 3
    assert (log.errors, log.stats["retry/count"]) == (0, 3)


def test_a_server_that_is_not_there_is_one_error(crawls):
    """Connection refused, after all tries, is a failed download."""
    log = crawls.run(urls="http://127.0.0.1:9/a.json")

    assert [(m.type, m.total) for m in log.messages] == [("Download errors", 1)]
    assert "Connection refused" in rejection(log)
    assert "(3 tries)" in rejection(log)


def test_a_server_that_says_nothing_is_given_up(crawls, publisher, answer):
    """DOWNLOAD_TIMEOUT is the longest silence, in seconds."""
    url = publisher.add("/slow", answer(b"{}", delay=30))
    log = crawls.run(urls=url, settings={"DOWNLOAD_TIMEOUT": "0.3", "RETRY_TIMES": "0"})

    assert "timed out" in rejection(log)


def test_redirects_are_followed_and_loops_of_them_are_errors(crawls, publisher, answer):
    """Scrapy follows redirects, up to a number of them."""
    publisher.add("/new", b"{}")
    moved = publisher.add("/old", answer(b"", 301, {"Location": "/new"}))
    loop = publisher.add("/loop", answer(b"", 302, {"Location": "/loop"}))

    log = crawls.run(urls=f"{moved} {loop}")

    assert list(crawls.files().values()) == [b"{}"]
    assert log.errors == 1


def test_names_in_archives_never_leave_their_folder(crawls, publisher, tmp_path):
    """Names of members become flat, safe file names; links and devices in archives are passed over, and counted."""
    names = [
        "../../../up.json",
        "/srv/absolute.json",
        "a/../../b.json",
        "C:\\x\\y.json",
        "same.json",
        "z" * 300 + ".json",
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in [*names, "same.json"]:
            info = tarfile.TarInfo(name)
            info.size = 2
            archive.addfile(info, io.BytesIO(b"{}"))
        link = tarfile.TarInfo("passwd.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)

    log = crawls.run(urls=publisher.add("/evil.tar.gz", buffer.getvalue()))

    files = crawls.files()
    assert list(files.values()) == [b"{}"] * 7
    assert list(files)[:5] == [
        "000001-000001-up.json",
        "000001-000002-absolute.json",
        "000001-000003-b.json",
        "000001-000004-y.json",
        "000001-000005-same.json",
    ]
    assert all(len(name) < 200 for name in files)
    assert (log.errors, log.stats["skipped_count"]) == (0, 1)
    inside = crawls.settings.files_store.resolve()
    assert all(p.is_relative_to(inside) for p in tmp_path.rglob("*up.json"))
    journal = [json.loads(line) for line in crawls.folder().journal.read_text().splitlines()]
    assert journal[0]["of"].endswith("/evil.tar.gz#../../../up.json")


def test_a_decompression_bomb_is_one_error_and_leaves_nothing(crawls, publisher):
    """A file that expands beyond the ratio is given up."""
    bomb = gzip.compress(b"[" + b" " * 3_000_000 + b"]")
    urls = [
        publisher.add("/bomb.json.gz", bomb),
        publisher.add("/bomb.zip", zip_of({"a.json": b"[" + b" " * 3_000_000})),
    ]

    log = crawls.run(urls=" ".join(urls), settings={"COLLECT_MAX_RATIO_FROM": "1000000"})

    assert crawls.files() == {}
    assert log.errors == 2
    assert "decompression bombs" in rejection(log)
    assert list((crawls.settings.files_store / ".partial").iterdir()) == []


def test_a_crawl_stores_no_more_than_its_cap(crawls, publisher):
    """COLLECT_MAX_BYTES ends the crawl, with that reason."""
    urls = [publisher.add(f"/{n}", b"[%s]" % (b" " * 600)) for n in range(5)]

    log = crawls.run(urls=" ".join(urls), settings={"COLLECT_MAX_BYTES": "1500", "CONCURRENT_REQUESTS": "1"})

    assert "raise COLLECT_MAX_BYTES" in rejection(log)
    assert sum(map(len, crawls.files().values())) <= 1500


def test_a_source_without_files_is_a_clear_failure(crawls, tmp_path):
    """An empty folder: one error that names it, and a crawl that isn't accepted."""
    (tmp_path / "empty").mkdir()

    log = crawls.run(urls=str(tmp_path / "empty"))

    assert crawls.files() == {}
    assert rejection(log) == (
        f"The crawl had a 1.0 error rate (1 error, 0 files): {tmp_path}/empty: no file there. "
        "Correct urls in spider_arguments. Look at the crawl's log and at the publisher's site, then run it again."
    )


def test_a_sample_ends_in_the_middle_of_an_archive(crawls, publisher):
    """The argument sample counts documents."""
    url = publisher.add("/many.zip", zip_of({f"{n}.json": b"{}" for n in range(50)}))

    log = crawls.run(urls=url, sample="7")

    assert len(crawls.files()) == 7
    assert log.finish_reason == "sample"


def test_pipes_devices_and_files_that_vanish_are_errors(crawls, tmp_path):
    """Opening a pipe waits for ever, and a device may never end."""
    import os

    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "good.json").write_text("{}")

    log = crawls.run(urls=f"{tmp_path}/*.json /dev/zero")

    assert (log.items, log.errors) == (1, 3)
    assert "/dev/zero: it isn't a file" in crawls.text()


def test_a_big_file_is_streamed_to_the_disk(crawls, publisher, answer):
    """ASK-16: whatever a file's size, the crawl's process stays under 200 MB, as plain text and compressed."""
    import psutil

    piece = b'{"releases": [' + b'"' + b"x" * 1_000_000 + b'"' + b"]}\n"
    pieces = 250

    def stream(write):
        for _ in range(pieces):
            write(piece)

    plain = publisher.add("/big.jsonl", answer(stream=stream, length=len(piece) * pieces))
    small = io.BytesIO()
    with gzip.GzipFile(fileobj=small, mode="wb", compresslevel=1) as file:
        stream(file.write)
    compressed = publisher.add("/big.jsonl.gz", small.getvalue())
    crawls.start(urls=f"{plain} {compressed}", settings={"COLLECT_MAX_RATIO": "1000"})
    process = psutil.Process(crawls.folder().process["pid"])
    peak = 0

    def ended(progress):
        nonlocal peak
        with contextlib.suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss)
        return progress.state not in {"pending", "running"}

    progress = crawls.until(ended)

    assert (progress.files, progress.bytes) == (2, 2 * len(piece) * pieces)
    assert 0 < peak < 200_000_000
