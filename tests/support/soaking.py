"""Two months in the life of a registry, in a process of its own: `python -m tests.support.soaking FOLDER N DAYS SEED`.

The clock is simulated; the sensors, the runs, cleaning up and pruning are the real ones, and so are merging, exporting
and the files. Crawls are stood in for, so that they fail when they are told. Runs are forked from this process and may
be killed. A reader follows every pointer all the while, in another process. Prints what it saw, as JSON.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import json
import os
import random
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Collection as Several
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import time_machine
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from sqlalchemy import func, select

from registry_assets.definitions import build_defs
from registry_assets.partitions import sync_partitions
from registry_assets.process_manager import cleanup, planning
from registry_assets.process_manager.recovery import Memory
from registry_assets.process_manager.services import Services
from registry_assets.pruning import prune
from registry_assets.schedules import newest_runs
from registry_assets.sensors.out_of_date import out_of_date
from registry_assets.sensors.watch import look
from registry_resources.collect.backend import CrawlProgress, CrawlRequest, CrawlState
from registry_resources.collect.crawl_log import CrawlLog
from registry_resources.dagster_resources import CollectResource
from registry_resources.database import Collection, Database, Job, utcnow
from registry_resources.database.choices import RetrievalFrequency
from registry_resources.exceptions import UnexpectedError
from registry_resources.process.local import LocalProcess
from registry_resources.settings import Settings

# After today, since processes and files have the real clock's times: nothing that is there comes from the future.
BEGIN = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
STEP = datetime.timedelta(days=1)
FREQUENCIES = (
    [RetrievalFrequency.WEEKLY] * 4
    + [RetrievalFrequency.BIWEEKLY] * 4
    + [RetrievalFrequency.MONTHLY] * 8
    + [RetrievalFrequency.HALF_YEARLY] * 3
    + [RetrievalFrequency.ANNUALLY]
)
FAILING = 0.05
KILLED = 0.04
FAILURES = ("errors", "stopped", "cancelled", "lost", "empty", "invalid", "half", "refused")
AT_ONCE = 2
RELEASES = 60


class Crawls:
    """A collect backend whose crawls end at once, some of them badly: which ones, their ids decide."""

    name = "soak"
    poll = (0.01, 0.05)
    resumes = False
    makes_collections = False

    def __init__(self, settings: Settings) -> None:
        self.store = settings.files_store

    def _chance(self, crawl: str) -> random.Random:
        # The publication and the job, without what is drawn at random.
        return random.Random(crawl.rsplit("-", 1)[0])

    def failure(self, crawl: str) -> str:
        chance = self._chance(crawl)
        return chance.choice(FAILURES) if chance.random() < FAILING else ""

    def _directory(self, crawl: str) -> str:
        key, number, _ = crawl.rsplit("-", 2)
        return f"{key}/20300101_{int(number):06d}"

    def schedule(self, request: CrawlRequest) -> Mapping[str, str]:
        failure = self.failure(request.crawl)
        if failure == "refused":
            raise UnexpectedError("There is no spider of that name any more.")
        folder = self.store / self._directory(request.crawl)
        folder.mkdir(parents=True, exist_ok=True)
        growth = int((time.time() - BEGIN.timestamp()) / 86400)
        count = {"empty": 0, "half": RELEASES // 2}.get(failure, RELEASES + growth)
        for year, share in ((2022, 0.3), (2023, 0.3), (2024, 0.4)):
            releases = [
                {
                    "ocid": f"ocds-a1b2c3-{year}-{number}",
                    "id": str(number),
                    "date": f"{year}-03-04T05:06:07Z",
                    "tag": ["tender"],
                    "initiationType": "tender",
                    "tender": {"id": str(number), "title": f"Paving of road {number}", "value": {"amount": number}},
                    "parties": [{"id": "GB-1", "name": "Town council", "roles": ["buyer"]}],
                }
                for number in range(int(count * share))
            ]
            text = json.dumps({"uri": "https://publisher.example", "version": "1.1", "releases": releases})
            (folder / f"{year}.json").write_text("{" if failure == "invalid" else text)
        return self.context(request.crawl) | {"spider": request.spider, "job_id": request.crawl}

    def context(self, crawl: str) -> dict[str, str]:
        return {"scrapy_log": f"/soak/{crawl}.log", "directory": self._directory(crawl)}

    def status(self, crawl: str) -> CrawlProgress:
        if self.failure(crawl) == "lost":
            return CrawlProgress(CrawlState.LOST, reason="Scrapyd has forgotten this crawl.")
        return CrawlProgress(CrawlState.FINISHED, files=3, bytes=3_000)

    def log(self, crawl: str) -> CrawlLog:
        failure = self.failure(crawl)
        return CrawlLog(
            finish_reason="shutdown" if failure == "cancelled" else "finished",
            error_rate={"errors": 0.5, "empty": 1.0}.get(failure, 0.0),
            items=0 if failure == "empty" else 3,
            missing_next_link=failure == "stopped",
            attempts=1,
        )

    def cancel(self, crawl: str) -> None:
        """Nothing of it goes on."""

    def wipe(self, context: Mapping[str, object], spare: Several[str] = ()) -> None:
        directory = context.get("directory")
        if directory and directory not in spare:
            folder = self.store / str(directory)
            for path in folder.glob("*"):
                path.unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()
                folder.parent.rmdir()


class CrawlsResource(CollectResource):
    """Stands in for crawls."""

    def backend(self, settings: Settings) -> Any:
        return Crawls(settings)


class Soak:
    """A registry with its clock."""

    def __init__(self, folder: Path, publications: int, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        os.environ.update(REGISTRY_HOME=str(folder / "home"), REGISTRY_WORKERS="1", DAGSTER_DISABLE_TELEMETRY="1")
        self.settings = Settings.from_env()
        self.defs = build_defs({"collect": CrawlsResource()})
        self.keys = [f"p{number:03d}" for number in range(publications)]
        (folder / "dagster").mkdir(parents=True)
        (folder / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        database = Database(self.settings.database_url)
        database.migrate()
        with database.session() as session:
            for number, key in enumerate(self.keys):
                frequency = FREQUENCIES[number * 7 % len(FREQUENCIES)]
                session.add(
                    Collection(key=key, title=key, source_id="soak", retrieval_frequency=frequency, public=True)
                )
        with self.instance() as instance:
            sync_partitions(instance, database)
        database.dispose()
        self.run_keys: set[str] = set()
        self.cursor: str | None = None
        self.memory: str | None = None
        self.seen: Counter[str] = Counter()
        self.troubles: list[str] = []
        self.sizes: list[int] = []

    @contextlib.contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(str(self.folder / "dagster")) as instance:
            yield instance

    @contextlib.contextmanager
    def services(self) -> Iterator[Services]:
        database = Database(self.settings.database_url)
        try:
            yield Services(self.settings, database, Crawls(self.settings), LocalProcess(self.settings))
        finally:
            database.dispose()

    def live(self, days: int) -> None:
        """Let the days go by."""
        steps = int(datetime.timedelta(days=days) / STEP)
        for step in range(steps):
            with time_machine.travel(BEGIN + step * STEP, tick=True):
                self.tend()
                self.keep_house()
                self.check()

    def ask(self) -> list[dg.RunRequest]:
        """One tick of the out-of-date sensor. Returns what Dagster would make runs of."""
        with self.instance() as instance:
            context = dg.build_sensor_context(
                instance=instance,
                cursor=self.cursor,
                definitions=self.defs,
                resources={name: self.defs.resources[name] for name in ("settings", "database")},
            )
            result = out_of_date(context)
        self.cursor = result.cursor
        new = [request for request in result.run_requests or () if request.run_key not in self.run_keys]
        self.run_keys.update(str(request.run_key) for request in new)
        self.seen["ticks"] += 1
        return new

    def execute(self, requests: list[dg.RunRequest]) -> None:
        """Execute runs, some at once, each in a process of its own, and kill some."""
        waiting, running = list(requests), {}
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                request = waiting.pop(0)
                deadline = time.monotonic() + (self.chance.uniform(0, 6) if self.chance.random() < KILLED else 300)
                running[self._fork(request)] = deadline
            for child, deadline in list(running.items()):
                done, _ = os.waitpid(child, os.WNOHANG)
                if not done and time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    self.seen["killed"] += 1
                    done = child
                if done:
                    del running[child]
                    self.seen["runs"] += 1
            time.sleep(0.01)

    def _fork(self, request: dg.RunRequest) -> int:
        child = os.fork()
        if child:
            return child
        try:
            log = os.open(self.folder / "runs.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            with self.instance() as instance:
                job = self.defs.resolve_job_def("refresh")
                run = instance.create_run_for_job(
                    job, tags={**request.tags, "dagster/partition": str(request.partition_key)}
                )
                execute_run(InMemoryJob(job), run, instance, raise_on_error=False)
        finally:
            os._exit(0)

    def tend(self) -> None:
        """Let the sensors and the watch tick until there is nothing to do. That takes less than twenty minutes."""
        for _ in range(40):
            requests = self.ask()
            self.execute(requests)
            if self.look() and not requests:
                return
            self._wait(30)
        self.troubles.append(f"{utcnow()}: runs or jobs are stuck twenty minutes after their processes ended")

    def look(self) -> bool:
        """Let the watch look once. Returns whether nothing goes on after that."""
        with self.instance() as instance, self.services() as services:
            for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED])):
                instance.report_run_failed(run, "Dagster itself gives up runs that did not start.")
            memory = Memory.load(self.memory, time.time())
            self.seen["seen to by the watch"] += len(look(instance, services, memory))
            self.memory = memory.dump()
            flights = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            with services.database.session(read_only=True) as session:
                still = session.scalar(select(func.count()).where(Job.status != Job.Status.COMPLETED))
        return not flights and not still

    def _wait(self, seconds: float) -> None:
        time_machine.travel(utcnow() + datetime.timedelta(seconds=seconds), tick=True).start()

    def keep_house(self) -> None:
        """Clean up and prune, once a day here."""
        with self.instance() as instance, self.services() as services:
            report = cleanup.clean(services)
            self.seen["cleanups that could not do something"] += len(report.problems)
            for action in ("wipe", "delete", "exports", "orphan"):
                self.seen[f"cleaned up: {action}"] += report.count(action)
            self.seen["runs forgotten"] += prune(
                instance, keep_days=self.settings.dagster_keep_days, needed=newest_runs(services.database)
            ).runs
        self.sizes.append(sum(p.stat().st_size for p in self.settings.exporter_dir.rglob("*") if p.is_file()))

    def check(self) -> None:
        """Whatever is due has been done: every publication is as fresh as its frequency allows."""
        with self.services() as services, services.database.session(read_only=True) as session:
            late = [s.key for s in planning.standings(session, utcnow().date()) if s.verdict.due or s.waiting_job]
            open_jobs = session.scalars(select(Job.id).where(Job.status != Job.Status.COMPLETED)).all()
        if late or open_jobs:
            self.troubles.append(f"{utcnow()}: late {late}, open jobs {open_jobs}")

    def report(self) -> dict[str, Any]:
        """What became of everything."""
        with self.services() as services, services.database.session(read_only=True) as session:
            jobs = session.scalars(select(Job).where(Job.start.is_not(None)).order_by(Job.collection_id, Job.id)).all()
            for before, after in itertools.pairwise(jobs):
                if (
                    before.collection_id == after.collection_id
                    and before.end
                    and after.start
                    and before.end > after.start
                ):
                    self.troubles.append(f"jobs {before.id} and {after.id} went on at once")
            active = session.scalar(select(func.count()).where(Collection.active_job_id.is_not(None)))
            results = Counter(str(job.result) for job in jobs)
            reasons = Counter(job.note.partition(":")[2].strip()[:60] for job in jobs if job.note)
        with self.instance() as instance:
            runs = instance.get_runs_count()
        exports = [path for path in self.settings.exporter_dir.glob("*/*") if path.is_dir()]
        files = list(self.settings.files_store.rglob("*.json"))
        return {
            "publications": len(self.keys),
            "with a published version": active,
            "jobs": results,
            "reasons": reasons,
            "seen": self.seen,
            "run records": runs,
            "exports": len(exports),
            "crawled files left": len(files),
            "bytes of exports, day by day": self.sizes,
            "bytes of Dagster's records": sum(
                path.stat().st_size for path in (self.folder / "dagster").rglob("*") if path.is_file()
            ),
            "troubles": self.troubles,
        }


def follow(folder: Path, keys: list[str], stop: int) -> dict[str, Any]:
    """Read as an analyst's program does, with the standard library alone: the pointer, the manifest, every file."""
    root, read, torn = folder / "home" / "exports", 0, []
    while os.getppid() == stop:
        for key in keys:
            try:
                pointer = json.loads((root / key / "latest.json").read_bytes())
            except FileNotFoundError:
                continue
            version = root / key / pointer["directory"]
            try:
                manifest = (version / "manifest.json").read_bytes()
                assert hashlib.sha256(manifest).hexdigest() == pointer["manifest_sha256"], "the manifest"
                for entry in json.loads(manifest)["files"]:
                    content = (version / entry["name"]).read_bytes()
                    assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["name"]
            except (OSError, AssertionError) as e:
                torn.append(f"{version}: {e}")
            read += 1
        time.sleep(0.2)
        if (folder / "stop").exists():
            break
    return {"versions read": read, "torn": torn}


def main(folder: Path, publications: int, days: int, seed: int) -> None:
    """Live through it, and print the report."""
    warnings.simplefilter("ignore")
    soak = Soak(folder, publications, seed)
    parent = os.getpid()
    reader = os.fork()
    if reader == 0:
        try:
            (folder / "reader.json").write_text(json.dumps(follow(folder, soak.keys, parent)))
        finally:
            os._exit(0)
    began = time.monotonic()
    soak.live(days)
    (folder / "stop").touch()
    os.waitpid(reader, 0)
    report = soak.report() | json.loads((folder / "reader.json").read_text())
    sys.stdout.write(json.dumps(report | {"seconds": round(time.monotonic() - began)}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
