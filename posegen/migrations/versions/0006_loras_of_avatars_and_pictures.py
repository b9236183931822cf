"""An avatar has LoRAs of its own, and a picture says with which it was drawn."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("avatars", "generated_pictures"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(
                sa.Column("loras", sa.JSON(none_as_null=True), nullable=False, server_default=sa.text("'[]'"))
            )


def downgrade() -> None:
    for table in ("generated_pictures", "avatars"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column("loras")
