"""What Dagster knows of a run's relatives."""

from __future__ import annotations

from registry_assets import runs
from tests.support.registry import TestRegistry


def test_the_runs_that_a_run_retries_are_told_up_to_the_root(registry: TestRegistry) -> None:
    """The nearest first: the job of a run that was executed again as a whole is nearer than its root's."""
    job = registry.defs.resolve_job_def("refresh")

    def run(parent: str | None = None, root: str | None = None) -> str:
        return registry.instance.create_run_for_job(job, parent_run_id=parent, root_run_id=root).run_id

    first = run()
    second = run(first, first)
    third = run(second, first)
    found = [registry.instance.get_run_by_id(run_id) for run_id in (first, second, third)]
    assert [runs.ancestors(registry.instance, each) for each in found if each] == [
        (),
        (first,),
        (second, first),
    ]
    registry.instance.delete_run(second)
    assert found[2] is not None
    assert runs.ancestors(registry.instance, found[2]) == (second, first), "a run between them was deleted"
