"""What Alembic runs: it uses the connection and the transaction it is handed.

Belongs here: how the models and the migrations are compared. Does not belong here: connecting (`database/schema.py`).
"""

from alembic import context

from registry_resources.database.base import Base
from registry_resources.database.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    # All or nothing, on SQLite too: its driver's own transactions are off.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
