"""The first schema: publications, their jobs, tasks and notes, licences, and settings bundles."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LANGUAGES = ("en", "es", "ru")
KEY = "trim(key, 'abcdefghijklmnopqrstuvwxyz0123456789_') = '' AND length(key) BETWEEN 1 AND 100"
COUNTS = (
    "tenders_count",
    "tenderers_count",
    "tenders_items_count",
    "parties_count",
    "awards_count",
    "awards_items_count",
    "awards_suppliers_count",
    "contracts_count",
    "contracts_items_count",
    "contracts_transactions_count",
    "documents_count",
    "plannings_count",
    "milestones_count",
    "amendments_count",
)
REGIONS = ("", "MEA", "AS", "EECA", "EU", "LAC", "NA", "OC")
RETRIEVAL_FREQUENCIES = ("", "WEEKLY", "BIWEEKLY", "MONTHLY", "HALF_YEARLY", "ANNUALLY", "NEVER")
UPDATE_FREQUENCIES = (
    "UNKNOWN",
    "REAL_TIME",
    "HOURLY",
    "DAILY",
    "WEEKLY",
    "MONTHLY",
    "QUARTERLY",
    "HALF_YEARLY",
    "ANNUALLY",
)
STATUSES = ("PLANNED", "RUNNING", "COMPLETED")
JOB_RESULTS = ("", "SUCCEEDED", "FAILED", "CANCELLED")
TASK_RESULTS = ("", "OK", "FAILED")
TASK_TYPES = ("collect", "process", "exporter", "coverage", "flattener")
LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "UNKNOWN")

ACTIVE_JOB = "fk_collection_active_job_id_id"


def upgrade() -> None:
    """Create everything."""
    _create_license()
    _create_settings()
    _create_collection()
    _create_job()
    _create_task()
    if op.get_bind().dialect.name == "postgresql":  # SQLite has it from the beginning
        op.create_foreign_key(
            ACTIVE_JOB,
            "collection",
            "job",
            ["active_job_id", "id"],
            ["id", "collection_id"],
            ondelete="RESTRICT",
        )


def downgrade() -> None:
    """Drop everything."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(ACTIVE_JOB, "collection", type_="foreignkey")
    for table in ("task_note", "task", "job", "collection", "setting", "settings_bundle", "license"):
        op.drop_table(table)


def _create_license() -> None:
    _create_table(
        "license",
        _text("key"),
        *_translated("name"),
        *_translated("description"),
        _text("url"),
        _check("license", "key", KEY),
        _http("license", "url"),
        sa.UniqueConstraint("key", name="uq_license_key"),
    )


def _create_settings() -> None:
    _create_table(
        "settings_bundle",
        _text("name"),
        _check("settings_bundle", "name_filled", "name <> ''"),
        sa.UniqueConstraint("name", name="uq_settings_bundle_name"),
    )
    _create_table(
        "setting",
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        _text("key"),
        _text("value"),
        _check("setting", "key_filled", "key <> ''"),
        _foreign_key("setting", "bundle_id", "settings_bundle", "CASCADE"),
        sa.UniqueConstraint("bundle_id", "key", name="uq_setting_bundle_id_key"),
    )


def _create_collection() -> None:
    _create_table(
        "collection",
        _text("key"),
        _text("title"),
        *_translated("description"),
        *_translated("description_long"),
        *_translated("country"),
        _text("country_flag"),
        sa.Column("region", sa.String(20), nullable=False),
        *_translated("additional_data"),
        *_translated("language"),
        sa.Column("update_frequency", sa.String(20), nullable=False),
        *_translated("summary"),
        sa.Column("last_reviewed", sa.Date()),
        sa.Column("license_custom_id", sa.Integer()),
        _text("publication_policy"),
        _text("source_url"),
        _text("source_id"),
        sa.Column("spider_arguments", sa.JSON(), nullable=False),
        sa.Column("incremental", sa.Boolean(), nullable=False),
        sa.Column("retrieval_frequency", sa.String(20), nullable=False),
        sa.Column("settings_bundle_id", sa.Integer()),
        sa.Column("active_job_id", sa.Integer()),
        sa.Column("last_retrieved", sa.Date()),
        sa.Column("frozen", sa.Boolean(), nullable=False),
        *_translated("no_data_rationale"),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("date_from", sa.Date()),
        sa.Column("date_to", sa.Date()),
        _text("ocid_prefix"),
        _check("collection", "key", KEY),
        _http("collection", "source_url"),
        _choice("collection", "region", REGIONS),
        _choice("collection", "update_frequency", UPDATE_FREQUENCIES),
        _choice("collection", "retrieval_frequency", RETRIEVAL_FREQUENCIES),
        _check("collection", "title_filled", "title <> ''"),
        _check("collection", "source_id_filled", "source_id <> ''"),
        _check("collection", "dates_ordered", "date_from <= date_to"),
        _foreign_key("collection", "license_custom_id", "license", "RESTRICT"),
        _foreign_key("collection", "settings_bundle_id", "settings_bundle", "SET NULL"),
        sa.ForeignKeyConstraint(
            ["active_job_id", "id"],
            ["job.id", "job.collection_id"],
            name=ACTIVE_JOB,
            ondelete="RESTRICT",
            use_alter=True,
        ),
        sa.UniqueConstraint("active_job_id", name="uq_collection_active_job_id"),
        sa.UniqueConstraint("key", name="uq_collection_key"),
    )
    op.create_index("ix_collection_license_custom_id", "collection", ["license_custom_id"])
    op.create_index("ix_collection_settings_bundle_id", "collection", ["settings_bundle_id"])


def _create_job() -> None:
    _create_table(
        "job",
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Text()),
        sa.Column("start", sa.DateTime(timezone=True)),
        sa.Column("end", sa.DateTime(timezone=True)),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("result", sa.String(20), nullable=False),
        _text("note"),
        sa.Column("context", sa.JSON(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("keep_all_data", sa.Boolean(), nullable=False),
        sa.Column("coverage", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.Column("date_from", sa.Date()),
        sa.Column("date_to", sa.Date()),
        _text("ocid_prefix"),
        _text("license"),
        _text("publication_policy"),
        _choice("job", "status", STATUSES),
        _choice("job", "result", JOB_RESULTS),
        _check("job", "result_when_completed", "(status = 'COMPLETED') = (result <> '')"),
        _check("job", "start_when_running", "status <> 'RUNNING' OR start IS NOT NULL"),
        _check("job", "end_when_completed", "status <> 'COMPLETED' OR \"end\" IS NOT NULL"),
        *(_check("job", f"{name}_positive", f"{name} >= 0") for name in COUNTS),
        _foreign_key("job", "collection_id", "collection", "CASCADE"),
        sa.UniqueConstraint("id", "collection_id", name="uq_job_id_collection_id"),
        sa.UniqueConstraint("run_id", name="uq_job_run_id"),
    )
    op.create_index("ix_job_collection_id", "job", ["collection_id"])
    op.create_index("ix_job_status", "job", ["status"])
    incomplete = sa.text("status <> 'COMPLETED'")
    op.create_index(
        "uq_job_incomplete",
        "job",
        ["collection_id"],
        unique=True,
        sqlite_where=incomplete,
        postgresql_where=incomplete,
    )


def _create_task() -> None:
    _create_table(
        "task",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("result", sa.String(20), nullable=False),
        _text("note"),
        sa.Column("start", sa.DateTime(timezone=True)),
        sa.Column("end", sa.DateTime(timezone=True)),
        sa.Column("heartbeat", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _choice("task", "status", STATUSES),
        _choice("task", "result", TASK_RESULTS),
        _choice("task", "type", TASK_TYPES),
        _check("task", "result_when_completed", "status <> 'COMPLETED' OR result <> ''"),
        _check("task", "ok_when_completed", "result <> 'OK' OR status = 'COMPLETED'"),
        _check("task", "start_when_running", "status <> 'RUNNING' OR start IS NOT NULL"),
        _check("task", "end_when_completed", "status <> 'COMPLETED' OR \"end\" IS NOT NULL"),
        _check("task", "order_positive", '"order" >= 1'),
        _check("task", "attempts_positive", "attempts >= 0"),
        _foreign_key("task", "job_id", "job", "CASCADE"),
        sa.UniqueConstraint("job_id", "order", name="uq_task_job_id_order"),
        sa.UniqueConstraint("job_id", "type", name="uq_task_job_id_type"),
    )
    op.create_index("ix_task_status", "task", ["status"])
    _create_table(
        "task_note",
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(20), nullable=False),
        _text("note"),
        sa.Column("data", sa.JSON(), nullable=False),
        _choice("task_note", "level", LEVELS),
        _foreign_key("task_note", "task_id", "task", "CASCADE"),
    )
    op.create_index("ix_task_note_task_id", "task_note", ["task_id"])


def _create_table(name: str, *parts: Any) -> None:
    op.create_table(
        name,
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        *parts,
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        sqlite_autoincrement=True,  # the id of a deleted row is never given again
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _translated(name: str) -> list[sa.Column[str]]:
    return [sa.Column(f"{name}_{language}", sa.Text()) for language in LANGUAGES]


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def _choice(table: str, column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    quoted = ", ".join(f"'{value}'" for value in values)
    return _check(table, f"{column}_choice", f"{column} IN ({quoted})")


def _http(table: str, column: str) -> sa.CheckConstraint:
    condition = f"{column} = '' OR substr({column}, 1, 7) = 'http://' OR substr({column}, 1, 8) = 'https://'"
    return _check(table, f"{column}_http", condition)


def _foreign_key(table: str, column: str, target: str, ondelete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}", ondelete=ondelete)
