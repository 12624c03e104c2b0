"""The task managers: how each kind of task is run, watched and wiped. One module a kind."""

from registry_assets.process_manager.tasks.collect import CollectTask
from registry_assets.process_manager.tasks.coverage import CoverageTask
from registry_assets.process_manager.tasks.exporter import ExporterTask
from registry_assets.process_manager.tasks.flattener import FlattenerTask
from registry_assets.process_manager.tasks.process import ProcessTask
from registry_assets.process_manager.util import TaskManager
from registry_resources.database import Task
from registry_resources.database.choices import TaskType

MANAGERS: dict[TaskType, type[TaskManager]] = {
    Task.Type.COLLECT: CollectTask,
    Task.Type.PROCESS: ProcessTask,
    Task.Type.EXPORTER: ExporterTask,
    Task.Type.COVERAGE: CoverageTask,
    Task.Type.FLATTENER: FlattenerTask,
}

__all__ = ["MANAGERS", "CollectTask", "CoverageTask", "ExporterTask", "FlattenerTask", "ProcessTask"]
