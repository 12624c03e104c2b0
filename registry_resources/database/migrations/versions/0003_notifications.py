"""What people were told of publications that are not well, and the messages that wait to be sent."""

import datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "trouble",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("causes", sa.JSON(), nullable=False),
        sa.Column("proposed", sa.Boolean(), nullable=False),
        *_timestamps(),
        sa.PrimaryKeyConstraint("id", name="pk_trouble"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name="fk_trouble_collection_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("collection_id", name="uq_trouble_collection_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        *_timestamps(),
        sa.PrimaryKeyConstraint("id", name="pk_notice"),
        sa.UniqueConstraint("number", name="uq_notice_number"),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_notice_attempts_positive")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Drop both tables. What was told is told again after the next upgrade."""
    op.drop_table("notice")
    op.drop_table("trouble")


def _timestamps() -> list[sa.Column[datetime.datetime]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=False) for name in ("created", "modified")]
