"""The pool that bounds how many crawls go on at once.

Does not belong here: its limit, which is `dagster.yaml`'s, or an administrator's, who changes it in Dagit.
"""

from __future__ import annotations

from dagster import DagsterInstance

CRAWLS = "crawls"


def open_pools(instance: DagsterInstance) -> None:
    """Give the pool its limit, if it has none yet.

    Dagster does so when it first looks at queued runs, but lets the runs of that first look pass: more processes would
    be started than may crawl, which then wait.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits or instance.global_op_concurrency_default_limit is None:
        return
    # What there is stays as it is: setting it to the default would undo what an administrator has set.
    if not any(pool.name == CRAWLS for pool in storage.get_pool_limits()):
        storage.initialize_concurrency_limit_to_default(CRAWLS)
