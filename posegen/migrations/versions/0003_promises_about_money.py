"""Promises about money that only code kept so far: counts, quota days, one retry a picture, a ledger that only grows."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COUNTED = "poses_completed + poses_failed + poses_cancelled"
CHECKS = {
    "users": {
        "quota_not_negative": "quota_used >= 0",
        "quota_has_day": "quota_used = 0 OR quota_day IS NOT NULL",
        "daily_quota_positive": "unlimited_daily_quota >= 1",
    },
    "generations": {
        "charge_not_negative": "credit_charged >= 0",
        "refund_not_negative": "credit_refunded >= 0",
        "quota_within_total": "quota_charged BETWEEN 0 AND total_expected_poses",
        "quota_has_day": "quota_charged = 0 OR (unlimited AND quota_day IS NOT NULL)",
        "total_positive": "total_expected_poses >= 1",
        "counts_not_negative": "poses_completed >= 0 AND poses_failed >= 0 AND poses_cancelled >= 0",
        "final_is_counted": (
            f"status IN ('pending', 'processing') OR (completed_at IS NOT NULL AND {COUNTED} = total_expected_poses)"
        ),
        "completed_has_picture": "status <> 'completed' OR poses_completed > 0",
        "failed_has_none": "status <> 'failed' OR poses_completed = 0",
    },
    "work_items": {
        "only_drawing_is_leased": "status = 'drawing' OR lease_until IS NULL",
        "drawing_has_attempt": "status <> 'drawing' OR attempt >= 1",
    },
}
FUNCTION = "posegen_refuse_ledger_change"
REFUSED = "ledger entries are only added"


def upgrade() -> None:
    op.create_table(
        "recovery_runs",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_recovery_runs_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_runs")),
    )
    op.create_table(
        "forgotten_generations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("credit_charged", sa.Integer(), nullable=False),
        sa.Column("credit_refunded", sa.Integer(), nullable=False),
        sa.Column("quota_day", sa.Date(), nullable=True),
        sa.Column("quota_kept", sa.Integer(), nullable=False),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "credit_refunded BETWEEN 0 AND credit_charged", name=op.f("ck_forgotten_generations_refund_within_charge")
        ),
        sa.CheckConstraint("quota_kept >= 0", name=op.f("ck_forgotten_generations_quota_not_negative")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_forgotten_generations_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forgotten_generations")),
    )
    op.create_index(
        op.f("ix_forgotten_generations_user_id_quota_day"), "forgotten_generations", ["user_id", "quota_day"]
    )
    op.add_column("generations", sa.Column("quota_day", sa.Date(), nullable=True))
    postgresql = op.get_bind().dialect.name == "postgresql"
    day = "CAST(created_at AT TIME ZONE 'UTC' AS date)" if postgresql else "date(created_at)"
    generations = sa.table("generations", sa.column("quota_day"), sa.column("quota_charged"))
    op.execute(sa.update(generations).values(quota_day=sa.text(day)).where(generations.c.quota_charged > 0))
    for table, checks in CHECKS.items():
        with op.batch_alter_table(table, schema=None) as batch_op:
            for name, condition in checks.items():
                batch_op.create_check_constraint(batch_op.f(f"ck_{table}_{name}"), condition)
            if table == "work_items":
                batch_op.add_column(sa.Column("retry_of", sa.String(length=36), nullable=True))
                batch_op.create_unique_constraint(batch_op.f("uq_work_items_retry_of"), ["retry_of"])
    _close_ledger(postgresql)


def downgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    _open_ledger(postgresql)
    for table, checks in CHECKS.items():
        with op.batch_alter_table(table, schema=None) as batch_op:
            for name in checks:
                batch_op.drop_constraint(batch_op.f(f"ck_{table}_{name}"), type_="check")
            if table == "work_items":
                batch_op.drop_constraint(batch_op.f("uq_work_items_retry_of"), type_="unique")
                batch_op.drop_column("retry_of")
            if table == "generations":
                batch_op.drop_column("quota_day")
    op.drop_table("forgotten_generations")
    op.drop_table("recovery_runs")


def _close_ledger(postgresql: bool) -> None:
    """Make the ledger one that only grows. A later version that rebuilds the table on SQLite must do this again."""
    if not postgresql:
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER ledger_entries_no_{change.lower()} BEFORE {change} ON ledger_entries"
                f" BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION '{REFUSED}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER ledger_entries_only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()"
    )


def _open_ledger(postgresql: bool) -> None:
    if not postgresql:
        for change in ("update", "delete"):
            op.execute(f"DROP TRIGGER ledger_entries_no_{change}")
        return
    op.execute("DROP TRIGGER ledger_entries_only_added ON ledger_entries")
    op.execute(f"DROP FUNCTION {FUNCTION}()")
