"""Every way in which Kingfisher Process fails, or loses something in silence, ends in waiting, retrying or failing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from registry_resources.exceptions import ConfigurationError, RecoverableError, UnexpectedError
from registry_resources.process.backend import ProcessState
from registry_resources.process.kingfisher_api import LIMIT
from tests.services.kingfisher_process import LOGIN, NOT_FOUND, SERVER_ERROR, Fault
from tests.support.kingfisher import VERSION, Kingfisher, release

WAIT, RETRY, FAIL, DONE = "wait", "retry", "fail", "done"
MINUTE = 60


def outcome(ask: Callable[[], Any]) -> tuple[str, str]:
    """What the process task would make of an answer, and the text that a person would read."""
    try:
        answer = ask()
    except RecoverableError as error:
        return RETRY, str(error)
    except (UnexpectedError, ConfigurationError) as error:
        return FAIL, str(error)
    state = getattr(answer, "state", ProcessState.COMPLETED)
    reason = getattr(answer, "reason", "") or getattr(answer, "failure", "")
    if state == ProcessState.FAILED or (state == ProcessState.COMPLETED and reason):
        return FAIL, reason
    return (WAIT, reason) if state == ProcessState.RUNNING else (DONE, reason)


HTML = "text/html; charset=utf-8"
ANSWERS = {
    "500": (Fault(500, SERVER_ERROR, HTML), RETRY, "it answered 500 Internal Server Error"),
    "500 in JSON": (Fault(500, '{"detail": "x"}'), RETRY, "it answered 500"),
    "502 of a proxy": (Fault(502, "<html>Bad Gateway</html>", HTML), RETRY, "it answered 502 Bad Gateway"),
    "503": (Fault(503), RETRY, "it answered 503"),
    "too many requests": (Fault(429), RETRY, "it answered 429"),
    "hanging": (Fault(hang=True), RETRY, "doesn't answer within 2 seconds"),
    "dropped": (Fault(drop=True), RETRY, "the connection failed or broke"),
    "cut off": (Fault(cut=30), RETRY, "the connection broke in the middle of its answer"),
    "dripping": (Fault(pace=0.05), RETRY, "comes too slowly"),
    "stopping halfway": (Fault(cut=30, hang=True), RETRY, "doesn't go on within 2 seconds"),
    "half of JSON": (Fault(body='[{"id": 1, "transform_'), RETRY, "breaks off, or is not valid JSON"),
    "no JSON": (Fault(body=b"\xff\xfe\x00"), RETRY, "breaks off, or is not valid JSON"),
    "nothing": (Fault(body=""), RETRY, "breaks off, or is not valid JSON"),
    "login page": (Fault(200, LOGIN, HTML), RETRY, "with a web page, such as a login"),
    "redirect to a login": (Fault(302, headers={"Location": "/login?next=/"}), RETRY, "it redirects to /login"),
    "401": (Fault(401, '{"detail": "x"}'), FAIL, "wants a login (401): put user and password into KINGFISHER_PROCESS"),
    "403": (Fault(403, LOGIN, HTML), FAIL, "wants a login (403)"),
    "400": (Fault(400, '"The collection must be a root collection"'), FAIL, '400: "The collection must be a root'),
    "405": (Fault(405, '{"detail": "Method \\"GET\\" not allowed."}'), FAIL, "it answered 405"),
    "404 of something else": (Fault(404, NOT_FOUND, HTML), FAIL, "correct KINGFISHER_PROCESS_URL"),
    "404": (Fault(404, '{"detail":"Not found."}'), FAIL, "is gone from Kingfisher Process"),
    "an empty list": (Fault(body="[]"), FAIL, "its answer is no list of collections"),
    "an object": (Fault(body='{"id": 1}'), FAIL, "its answer is no list of collections"),
    "null": (Fault(body="null"), FAIL, "its answer is no list of collections"),
    "numbers": (Fault(body="[1, 2]"), FAIL, "its answer is no list of collections"),
    "an id that is text": (Fault(body='[{"id": "1", "transform_type": ""}]'), FAIL, "no list of collections"),
    "a time that is a number": (
        Fault(body='[{"id": 1, "transform_type": "", "completed_at": 5}]'),
        FAIL,
        "no list of collections",
    ),
    "far too much": (Fault(body=b" " * (LIMIT + 1)), FAIL, "its answer is over 16 MiB"),
}


@pytest.mark.parametrize(("fault", "wanted", "text"), ANSWERS.values(), ids=ANSWERS)
def test_a_bad_answer_is_told_for_what_it_is(kingfisher: Kingfisher, fault: Fault, wanted: str, text: str) -> None:
    """DEF-13: what may pass is retried, what won't fails at once; the next good answer is taken as if nothing was."""
    root = kingfisher.completed()
    kingfisher.process.fail("/tree/", fault)
    found, said = outcome(lambda: kingfisher.status(root))
    assert (found, text in said) == (wanted, True), said
    assert kingfisher.status(root).state == ProcessState.COMPLETED


def test_a_service_that_is_down_is_waited_for(kingfisher: Kingfisher) -> None:
    root = kingfisher.completed()
    kingfisher.process.stop()
    found, said = outcome(lambda: kingfisher.status(root))
    assert (found, "it refuses connections: is it running?" in said) == (RETRY, True)
    kingfisher.process.start_again()
    assert kingfisher.status(root).state == ProcessState.COMPLETED


@dataclass(frozen=True)
class Stuck:
    """A collection that doesn't get on.

    Attributes:
        make: makes it, and returns its id.
        patience: minutes after which it is given up.
        text: the reason.
    """

    make: Callable[[Kingfisher], int]
    patience: float
    text: str


def cancelled(kingfisher: Kingfisher) -> int:
    return kingfisher.crawl({"a.json": [release(1)]})


def invalid_json(kingfisher: Kingfisher) -> int:
    root = kingfisher.crawl({"a.json": [release(1)]})
    kingfisher.process.load_invalid_json(root, "b.json")
    kingfisher.process.close(root)
    kingfisher.process.complete(root)
    return root


def invalid_json_and_files_that_wait(kingfisher: Kingfisher) -> int:
    root = kingfisher.crawl({"a.json": [release(1)]})
    kingfisher.process.load_invalid_json(root, "b.json", stays=False)
    kingfisher.process.close(root, files=3)
    return root


def unknown_format(kingfisher: Kingfisher) -> int:
    root = kingfisher.crawl()
    kingfisher.process.load(root, "a.json", [], known=False)
    kingfisher.process.close(root)
    kingfisher.process.complete(root)
    return root


def message_lost(kingfisher: Kingfisher) -> int:
    root = kingfisher.crawl({"a.json": [release(1)]})
    kingfisher.process.close(root, files=3)
    return root


def workers_down(kingfisher: Kingfisher) -> int:
    root = kingfisher.crawl({"a.json": [release(1)]})
    kingfisher.process.close(root)
    kingfisher.process.run("UPDATE collection SET compilation_started = true WHERE id <> %s", root)
    kingfisher.process.complete(root, only="original")
    return root


STUCK = {
    "cancelled": Stuck(cancelled, 10, "The crawl never closed its collection 1"),
    "invalid JSON": Stuck(invalid_json, 15, "a file is not valid JSON"),
    # Other files may wait behind those of other publications: nothing is seen of them, and nothing is wrong.
    "invalid JSON, and files that wait": Stuck(invalid_json_and_files_that_wait, 6 * 60, "a file is not valid JSON"),
    "unknown format": Stuck(unknown_format, 2, "no file's format is known"),
    "a message lost": Stuck(message_lost, 72 * 60, "doesn't get on (reading). Its workers or its message queue"),
    "workers down": Stuck(workers_down, 72 * 60, "doesn't get on (merging). Its workers or its message queue"),
}


@pytest.mark.parametrize("stuck", STUCK.values(), ids=STUCK)
def test_what_never_completes_is_given_up_with_what_it_looks_like(kingfisher: Kingfisher, stuck: Stuck) -> None:
    """There is no state of failure in a tree: it is waited for while it may still get on, then never again."""
    root = stuck.make(kingfisher)
    assert outcome(lambda: kingfisher.status(root)) == (WAIT, "")
    found, said = outcome(lambda: kingfisher.status(root, after=MINUTE))
    assert (found, stuck.text in said) == (WAIT, True), said
    assert outcome(lambda: kingfisher.status(root, after=(stuck.patience - 1.1) * MINUTE))[0] == WAIT
    found, said = outcome(lambda: kingfisher.status(root, after=0.2 * MINUTE))
    assert (found, stuck.text in said, "Materialise `collected`" in said) == (FAIL, True, True), said


def test_progress_renews_patience(kingfisher: Kingfisher) -> None:
    """A crawl whose files are still being read is not given up, however long that takes."""
    root = invalid_json(kingfisher)
    for number in range(2, 12):
        assert outcome(lambda: kingfisher.status(root, after=10 * MINUTE))[0] == WAIT
        kingfisher.process.load(root, f"{number}.json", [release(number)])
    assert outcome(lambda: kingfisher.status(root, after=10 * MINUTE))[0] == WAIT
    assert outcome(lambda: kingfisher.status(root, after=16 * MINUTE))[0] == FAIL


def test_what_takes_long_to_count_is_counted_again_before_it_is_given_up(
    kingfisher: Kingfisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With millions of releases, counts are hours old: what went on since has to be seen."""
    count = type(kingfisher.backend._database).stored

    def slowly(self: Any, *of: Any) -> Any:
        kingfisher.clock.now += 5 * MINUTE
        return count(self, *of)

    monkeypatch.setattr(type(kingfisher.backend._database), "stored", slowly)
    root = invalid_json(kingfisher)
    for number in range(2, 5):
        kingfisher.process.load(root, f"{number}.json", [release(number)])
        assert outcome(lambda: kingfisher.status(root, after=20 * MINUTE))[0] == WAIT
        assert outcome(lambda: kingfisher.status(root, after=MINUTE))[0] == WAIT
    assert outcome(lambda: kingfisher.status(root, after=20 * MINUTE))[0] == FAIL


@pytest.mark.parametrize("only", ["original", "compiled"])
def test_either_collection_may_complete_first(kingfisher: Kingfisher, only: str) -> None:
    """PRO-03: it is running until both are completed."""
    root = kingfisher.crawl({"a.json": [release(1)]})
    kingfisher.process.close(root)
    kingfisher.process.merge(root)
    kingfisher.process.complete(root, only=only)
    assert kingfisher.status(root).state == ProcessState.RUNNING
    kingfisher.process.complete(root)
    assert kingfisher.status(root).state == ProcessState.COMPLETED


def test_without_a_compiled_collection_it_fails(kingfisher: Kingfisher) -> None:
    """PRO-02, also when only the compiled one was deleted."""
    root, _ = kingfisher.process.create("ruritania", VERSION, compile=False)
    assert kingfisher.status(root).reason.startswith("No compiled collection")
    other = kingfisher.completed({"a.json": [release(1)]}) if kingfisher.process.wipe(root) else 0
    other = other or kingfisher.completed()
    kingfisher.process.wipe(kingfisher.process.compiled_of(other))
    assert kingfisher.status(other).reason.startswith("No compiled collection")
    for ask in (kingfisher.backend.metadata, kingfisher.compiled):
        with pytest.raises(UnexpectedError, match="No compiled collection"):
            ask(kingfisher.job(other))


def test_a_collection_that_was_deleted_is_gone_for_good(kingfisher: Kingfisher) -> None:
    """DEF-13: it is not asked for again and again."""
    root = kingfisher.completed()
    kingfisher.process.run("UPDATE collection SET deleted_at = now() WHERE id = %s", root)
    assert "is being deleted" in kingfisher.status(root).reason
    kingfisher.process.wipe(root)
    progress = kingfisher.status(root)
    assert (progress.state, "is gone" in progress.reason) == (ProcessState.FAILED, True)
    assert list(kingfisher.backend.notes(kingfisher.job(root))) == []


@pytest.mark.parametrize("number", [None, "", "x", "1 OR 1=1", "../1", "-1", "0", 0, 1.5, True, "1" * 30, "\u0661"])
def test_only_a_number_is_an_id(kingfisher: Kingfisher, number: Any) -> None:
    """DEF-11: what stands in the log is free text; it goes into no address."""
    assert kingfisher.status(number).reason.startswith("The crawl has left no collection")
    kingfisher.backend.wipe(kingfisher.job(number))
    assert kingfisher.process.requests == []


@pytest.mark.parametrize("context", [{"spider": "graustark"}, {"data_version": "2026-01-02 03:04:06"}])
def test_another_crawls_collection_is_neither_taken_nor_deleted(
    kingfisher: Kingfisher, context: dict[str, str]
) -> None:
    """I5: when Kingfisher Process' database was made anew, an old job's id is another crawl's."""
    root = kingfisher.completed()
    assert "is of another crawl" in kingfisher.status(root, **context).reason
    kingfisher.backend.wipe(kingfisher.job(root, **context))
    assert kingfisher.process.exists(root)
    assert not any(request.startswith("DELETE") for request in kingfisher.process.requests)
    same = {"spider": "ruritania", "data_version": VERSION}
    assert kingfisher.status(root, **same).state == ProcessState.COMPLETED


EMPTY: dict[str, tuple[dict[str, list[Any]], str]] = {
    "no files": ({}, "Collection is empty: the crawl has collected no files"),
    "an empty package": ({"a.json": []}, "Of 1 files, Kingfisher Process has stored no release of them"),
    "a null ocid": ({"a.json": [release(1), {"ocid": None}]}, "Of 1 files, Kingfisher Process has stored no release"),
    "no ocids at all": ({"a.json": [{"id": "1"}]}, "Of 1 files, Kingfisher Process has stored no release of them"),
}


@pytest.mark.parametrize(("files", "text"), EMPTY.values(), ids=EMPTY)
def test_a_collection_without_compiled_releases_fails(
    kingfisher: Kingfisher, files: dict[str, list[Any]], text: str
) -> None:
    """PRO-09, DEF-04: a definite end, once metadata and notes are stored."""
    root = kingfisher.crawl(files)
    kingfisher.process.finish(root)
    assert kingfisher.status(root).state == ProcessState.COMPLETED
    found, said = outcome(lambda: kingfisher.backend.metadata(kingfisher.job(root)))
    assert (found, said.startswith("Collection is empty"), text in said) == (FAIL, True, True), said


def test_a_collection_none_of_whose_ocids_merges_fails(kingfisher: Kingfisher) -> None:
    root = kingfisher.completed(without=["ocds-213czf-001", "ocds-213czf-002"])
    said = kingfisher.backend.metadata(kingfisher.job(root)).failure
    assert said.startswith("Collection is empty")
    assert "none of them could be merged" in said


METADATA = {
    "500": (Fault(500), RETRY, "it answered 500"),
    "hanging": (Fault(hang=True), RETRY, "doesn't answer within"),
    "deleted meanwhile": (
        Fault(404, '{"detail":"No Collection matches the given query."}'),
        FAIL,
        "no such collection",
    ),
    "a list": (Fault(body="[]"), FAIL, "its answer is no object"),
    "a date that is none": (Fault(body='{"published_from": "soon"}'), FAIL, "'soon' as the first or last date"),
    "empty": (Fault(body="{}"), DONE, ""),
    "wrong types": (Fault(body='{"license": 5, "ocid_prefix": []}'), DONE, ""),
}


@pytest.mark.parametrize(("fault", "wanted", "text"), METADATA.values(), ids=METADATA)
def test_bad_metadata_is_told_for_what_it_is(kingfisher: Kingfisher, fault: Fault, wanted: str, text: str) -> None:
    """PRO-04: it may be empty; PRO-05: a bad date ends the job."""
    root = kingfisher.completed()
    kingfisher.process.fail("/metadata/", fault)
    found, said = outcome(lambda: kingfisher.backend.metadata(kingfisher.job(root)))
    assert (found, text in said) == (wanted, True), said


NOTES = {
    "500": (Fault(500), RETRY, "it answered 500"),
    "hanging": (Fault(hang=True), RETRY, "doesn't answer within"),
    "cut off": (Fault(cut=40), RETRY, "broke in the middle"),
    "half of JSON": (Fault(body='{"ERROR": [["a", {}],'), RETRY, "breaks off, or is not valid JSON"),
    "login page": (Fault(200, LOGIN, HTML), RETRY, "with a web page"),
    "a note that is text": (Fault(body='{"ERROR": ["a"]}'), FAIL, "a note is no pair"),
    "data that is a list": (Fault(body='{"ERROR": [["a", []]]}'), FAIL, "a note is no pair"),
    "no levels": (Fault(body="{}"), DONE, ""),
}


@pytest.mark.parametrize(("fault", "wanted", "text"), NOTES.values(), ids=NOTES)
def test_bad_notes_are_told_for_what_they_are(kingfisher: Kingfisher, fault: Fault, wanted: str, text: str) -> None:
    root = kingfisher.completed(without=["ocds-213czf-001"])
    kingfisher.process.fail("/notes/", fault)
    found, said = outcome(lambda: kingfisher.backend.notes(kingfisher.job(root)))
    assert (found, text in said) == (wanted, True), said


def test_an_api_and_a_database_of_two_different_ones_are_noticed(kingfisher: Kingfisher) -> None:
    """Or a replica that lags behind: it may pass, and the text tells what to look at if it doesn't."""
    root = kingfisher.completed()
    kingfisher.process.run("UPDATE collection SET cached_compiled_releases_count = 5 WHERE id <> %s", root)
    found, said = outcome(lambda: kingfisher.backend.metadata(kingfisher.job(root)))
    assert (found, "counts 5 compiled releases" in said, "has 2" in said) == (RETRY, True, True)
