"""Rows for tests of the database."""

from __future__ import annotations

from typing import Any

import pytest

from registry_resources.database import Collection, Job, License, Setting, SettingsBundle, Task, TaskNote


class Rows:
    """Makes rows that are right, but for what a test changes."""

    def collection(self, **values: Any) -> Collection:
        """A publication."""
        return Collection(**{"title": "Treasury", "source_id": "ruritania"} | values)

    def succeeded(self, collection: Collection) -> Job:
        """A job that ended well."""
        job = Job.plan(collection)
        job.initiate()
        for task in job.tasks:
            task.initiate()
            task.complete(Task.Result.OK)
        job.complete(Job.Result.SUCCEEDED)
        return job

    def filled(self) -> Collection:
        """A publication with everything: each table gets a row."""
        collection = self.collection(
            country_es="Ruritania",
            license_custom=License(name_en="Open", url="https://example.com/open"),
            settings_bundle=SettingsBundle(name="slow", settings=[Setting(key="DOWNLOAD_DELAY", value="1")]),
            spider_arguments={"urls": "a b"},
        )
        job = self.succeeded(collection)
        job.coverage = {"/ocid": 3}
        job.tasks[0].notes.append(TaskNote(level=TaskNote.Level.WARNING, note="n", data={"type": "HTTP 404"}))
        collection.active_job = job
        return collection


@pytest.fixture
def rows() -> Rows:
    return Rows()
