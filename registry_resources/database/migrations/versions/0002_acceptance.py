"""What a publication's versions held when they were published, why one was blocked, and who accepted it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = ("blocked", "accepted_at", "accepted_by", "accepted_reason")


def upgrade() -> None:
    """Add the columns, empty for what is there. No table is built anew, on SQLite either."""
    op.add_column("collection", sa.Column("history", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("job", sa.Column("blocked", sa.Text(), nullable=False, server_default=""))
    op.add_column("job", sa.Column("accepted_at", sa.DateTime(timezone=True)))
    op.add_column("job", sa.Column("accepted_by", sa.Text(), nullable=False, server_default=""))
    op.add_column("job", sa.Column("accepted_reason", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop the columns."""
    for name in reversed(COLUMNS):
        op.drop_column("job", name)
    op.drop_column("collection", "history")
