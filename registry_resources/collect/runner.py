"""The process of one crawl: runs Scrapy until the crawl ends, whatever becomes of the process that started it.

It is started as a file, also with the interpreter of a checkout of Kingfisher Collect, so it needs nothing but Scrapy
and the standard library at its start. It is told what to do on its standard input, which no list of processes shows.
Belongs here: the process: detaching, the log and its redaction and bound, progress, the end. Does not belong here:
spiders.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import logging
import os
import re
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# A file here is named as the package scrapy is.
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]

MAX_LOG = 64 << 20  # bytes of log, beyond which only its end is written
PROGRESS = 0.5  # seconds between two looks at the progress
LISTING = "SPIDERS: "
# What the end of a log consists of, which is written whatever its size.
ENDINGS = ("scrapy.statscollectors", "scrapy.core.engine")
# Values that every log is full of, and that are no secrets.
COMMON = re.compile(r"[\d.,-]*|true|false|none|debug|info|warning|error|critical", re.IGNORECASE)
SECRET_NAME = re.compile(r"key|token|secret|pass|cookie|clearance|auth|session|credential", re.IGNORECASE)

# For the log of a crawl that fails before it has settings.
LOG_SETTINGS = {
    "LOG_FORMAT": "%(asctime)s [%(name)s] %(levelname)s: %(message)s",
    "LOG_DATEFORMAT": "%Y-%m-%d %H:%M:%S",
    "LOG_LEVEL": "INFO",
}
GENERIC_SETTINGS = {
    "BOT_NAME": "ocds-data-registry",
    "SPIDER_MODULES": ["registry_resources.collect.spiders"],
    "USER_AGENT": "ocds-data-registry (Scrapy)",
    "DOWNLOAD_HANDLERS": {
        **dict.fromkeys(("http", "https"), "registry_resources.collect.download.StreamingHandler"),
        **dict.fromkeys(("file", "ftp", "s3", "data")),
    },
    "DOWNLOADER_MIDDLEWARES": {
        "scrapy.downloadermiddlewares.retry.RetryMiddleware": None,
        "registry_resources.collect.retry.BackoffRetryMiddleware": 550,
    },
    "DEFAULT_REQUEST_HEADERS": {"Accept": "application/json, */*;q=0.5", "Accept-Encoding": "gzip"},
    "COMPRESSION_ENABLED": False,  # bodies are stored as they come
    "COOKIES_ENABLED": False,
    "HTTPCACHE_ENABLED": False,
    "METAREFRESH_ENABLED": False,
    "REFERRER_POLICY": "no-referrer",
    "ROBOTSTXT_OBEY": False,
    "CONCURRENT_REQUESTS": 8,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 4,
    "DOWNLOAD_DELAY": 0,
    "DOWNLOAD_TIMEOUT": 180,  # seconds of silence, not of the whole download
    "RETRY_TIMES": 5,
    "RETRY_HTTP_CODES": [408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524],
    "RETRY_EXCEPTIONS": ["registry_resources.collect.problems.DownloadError"],
    "RETRY_GIVE_UP_LOG_LEVEL": "DEBUG",  # the spider counts each failed source once
    "RETRY_BACKOFF": 1,
    "RETRY_BACKOFF_MAX": 60,
    "RETRY_AFTER_MAX": 600,
    "COLLECT_MAX_RATIO": 200,
    "COLLECT_MAX_RATIO_FROM": 100_000_000,
    "COLLECT_MAX_BYTES": 200 << 30,
    "COLLECT_THREADS": 2,
}


def detach(crawl_dir: Path) -> None:
    """Go on in a process of its own, which nobody waits for, and write down its id."""
    if pid := os.fork():
        (crawl_dir / "process.json").write_text(json.dumps({"pid": pid}))
        os._exit(0)
    # A shell gives what it starts in the background a deaf ear for SIGINT, which is how a crawl is cancelled.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class RedactingFormatter(logging.Formatter):
    """Formats as another formatter does, without secrets."""

    def __init__(self, formatter: logging.Formatter, redact: Any) -> None:
        super().__init__()
        self._formatter, self._redact = formatter, redact

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        text: str = self._redact(self._formatter.format(record))
        return text


class LogBound(logging.Filter):
    """Keeps a log within its bound: beyond, lines are counted in the statistics but no longer written."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler, self._told = handler, False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        if record.name == "scrapy.crawler" and str(record.msg).startswith("Overridden settings"):
            return False  # it would show the values of the settings bundle
        stream = getattr(self._handler, "stream", None)
        if stream is None or self._told or stream.tell() < MAX_LOG:
            return not self._told or record.name in ENDINGS
        self._told = True
        record.msg, record.args = (
            "The log is full: from here on only its end is written, and messages are counted.",
            None,
        )
        return True


def load_redaction(secrets: dict[str, str]) -> Any:
    """The function that hides secrets in a text, those of the settings bundle among them."""
    # By its path, since a checkout's interpreter doesn't know the package.
    spec = importlib.util.spec_from_file_location("_redaction", HERE.parent / "redaction.py")
    if spec is None or spec.loader is None:
        raise ImportError("redaction.py")
    redaction = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(redaction)
    for name, value in secrets.items():
        if SECRET_NAME.search(name) or (len(value) >= 8 and not COMMON.fullmatch(value)):
            redaction.register_secret(value)
    return redaction.redact


def open_log(path: Path, settings: Any, redact: Any) -> None:
    """Open the log, redacted and bounded. Scrapy's own handler isn't used: each crawler replaces it."""
    logging.raiseExceptions = False  # a log that can't be written would be told, with what was to be hidden in it
    handler = logging.FileHandler(path, mode="a", encoding="utf-8", errors="backslashreplace")
    formatter = logging.Formatter(settings.get("LOG_FORMAT"), settings.get("LOG_DATEFORMAT"))
    handler.setFormatter(RedactingFormatter(formatter, redact))
    handler.setLevel(settings.get("LOG_LEVEL"))
    handler.addFilter(LogBound(handler))
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.NOTSET)


def make_settings(request: dict[str, Any]) -> Any:
    """Scrapy's settings: of the registry's spiders or of the checkout, then the bundle's, then where to write."""
    from scrapy.settings import Settings  # noqa: PLC0415 - after detaching, which must be quick
    from scrapy.utils.project import get_project_settings  # noqa: PLC0415

    os.environ["FILES_STORE"] = request["files_store"]
    if request["project"]:
        os.chdir(request["project"])
        sys.path.insert(0, request["project"])
        os.environ.pop("SCRAPY_SETTINGS_MODULE", None)
        settings = get_project_settings()
    else:
        sys.path.insert(0, request["package"])
        settings = Settings(GENERIC_SETTINGS)
    settings.setdict({"LOG_LEVEL": "INFO", "TELNETCONSOLE_ENABLED": False}, priority="project")
    settings.set("REMOTE_CONTROL_ENABLED", value=False, priority="project")  # no port is opened
    for name, value in request["settings"].items():
        try:
            settings.set(name, value, priority="cmdline")
        except ValueError as error:
            raise ValueError(f"the setting {name} of the settings bundle can't be used ({error})") from error
    settings.setdict({"FILES_STORE": request["files_store"], "REGISTRY_CRAWL": request}, priority="cmdline")
    settings.setdict({"LOG_FILE": None, "LOG_STDOUT": False, "JOBDIR": None}, priority="cmdline")
    return settings


class Watch:
    """Writes how far the crawl is, and where it writes, for those who ask."""

    def __init__(self, crawler: Any, request: dict[str, Any], start_lock: int) -> None:
        from scrapy import signals  # noqa: PLC0415

        self.crawler, self.request, self.start_lock = crawler, request, start_lock
        self.crawl_dir = Path(request["crawl_dir"])
        crawler.signals.connect(self.opened, signal=signals.spider_opened)
        self.reason = ""
        self._told = False
        self._reactor: Any = None
        self._call: Any = None
        crawler.signals.connect(self.closed, signal=signals.spider_closed)
        crawler.signals.connect(self.write, signal=signals.engine_stopped)

    def opened(self, spider: Any) -> None:
        """Write down the data version and the folder, and begin to watch."""
        from twisted.internet import reactor  # noqa: PLC0415

        self._reactor = reactor
        if self.request["project"]:
            self.locate(spider)
        self.look()

    def locate(self, spider: Any) -> None:
        """Write down where a checkout's spider writes: Kingfisher Collect names the folder after the crawl's start."""
        moment = self.request["arguments"].get("crawl_time", "").replace("T", " ")
        if not moment:
            started = self.crawler.stats.get_value("start_time")
            if started is None:  # the extension that sets it hasn't had its turn
                self._reactor.callLater(0, self.locate, spider)
                return
            moment = started.strftime("%Y-%m-%d %H:%M:%S")
            os.pwrite(self.start_lock, f"{int(started.timestamp()):<20}".encode(), 0)
        os.close(self.start_lock)  # the next crawl of this spider may start, once the second is over
        name = f"{spider.name}_sample" if getattr(spider, "sample", None) else spider.name
        write(self.crawl_dir / "located.json", {"data_version": moment, "name": name})

    def look(self) -> None:
        """Write the progress, and again a little later."""
        self.write()
        self._call = self._reactor.callLater(PROGRESS, self.look)

    def write(self) -> None:
        """Write the progress."""
        stats, store = self.crawler.stats, getattr(self.crawler.spider, "store", None)
        if store and not self.request["project"]:
            files, size = store.files, store.bytes + store.unfinished
        else:
            files = stats.get_value("file_count", stats.get_value("item_scraped_count", 0))
            size = stats.get_value("downloader/response_bytes", 0)
        try:
            write(self.crawl_dir / "progress.json", {"files": files, "bytes": size})
        except OSError:  # on a full disk the crawl ends by itself, with that reason
            if not self._told:
                logging.getLogger(__name__).warning("The progress can't be written to %s.", self.crawl_dir)
            self._told = True

    def closed(self, reason: str) -> None:
        """Remember the finish reason, and look no more."""
        self.reason = reason
        if self._call and self._call.active():
            self._call.cancel()


def write(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file under a temporary name and rename it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)


def wait_turn(request: dict[str, Any]) -> int:
    """Wait until no other crawl of this spider starts, and the second is over in which the last one did.

    Those that start in the same second would write into the same folder.
    """
    path = Path(request["crawl_dir"]).parent / f".start-{re.sub('[^A-Za-z0-9_-]', '_', request['spider'])}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    last = os.pread(descriptor, 20, 0).strip()
    while last.isdigit() and 0 <= time.time() - int(last) < 1:
        time.sleep(0.05)
    return descriptor


def crawl(request: dict[str, Any], redact: Any) -> str:
    """Run the crawl. Returns its finish reason, or "" if it has none."""
    from scrapy.crawler import CrawlerProcess  # noqa: PLC0415

    settings = make_settings(request)
    open_log(Path(request["crawl_dir"], "crawl.log"), settings, redact)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parameter's name changes with Scrapy's versions
        process = CrawlerProcess(settings, install_root_handler=False)
    start_lock = wait_turn(request) if request["project"] else -1
    crawler = process.create_crawler(request["spider"])
    watch = Watch(crawler, request, start_lock)  # signals hold it weakly
    deferred = process.crawl(crawler, **request["arguments"])
    failures: list[Any] = []
    deferred.addErrback(failures.append)
    process.start()
    for failure in failures:
        logging.getLogger("scrapy.crawler").error(
            "The crawl couldn't start: %s", failure.value, exc_info=failure.value
        )
    return watch.reason


def main() -> None:
    """Run the crawl that the standard input describes, or list the spiders of a checkout."""
    request = json.load(sys.stdin)
    sys.stdin.close()
    if request.get("list"):
        from scrapy.spiderloader import SpiderLoader  # noqa: PLC0415

        sys.stdout.write(LISTING + json.dumps(SpiderLoader.from_settings(make_settings(request)).list()) + "\n")
        return
    os.set_inheritable(request["lock"], False)
    detach(Path(request["crawl_dir"]))
    redact = load_redaction(request["settings"])
    end: dict[str, Any] = {"reason": ""}
    try:
        end = {"reason": redact(crawl(request, redact))}
    except BaseException as error:
        if not any(isinstance(handler, logging.FileHandler) for handler in logging.root.handlers):
            open_log(Path(request["crawl_dir"], "crawl.log"), LOG_SETTINGS, redact)
        what = redact(f"{type(error).__name__}: {error}")[:500]
        logging.getLogger("scrapy.crawler").critical("The crawl ended by an error: %s", what, exc_info=True)
        end = {"reason": "", "error": what}
    finally:
        logging.shutdown()
        for _ in range(3):
            try:
                write(Path(request["crawl_dir"]) / "end.json", end)
                break
            except OSError:
                time.sleep(1)
        # Not a return: threads may hang in a download that nobody waits for any more.
        os._exit(0)


if __name__ == "__main__":
    main()
