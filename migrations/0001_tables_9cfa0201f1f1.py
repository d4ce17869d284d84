"""Create the tables, without keys and constraints: rows are copied into them first.

Revision ID: 9cfa0201f1f1
Revises:

Written by nasmigrate from plan 8e4eb6defad01cb5b7ce377abc601217d1fab83a6ae67badcdd9041e3a4b4f3e.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '9cfa0201f1f1'
down_revision: str | None = None
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    op.create_table(
        'integrations',
        sa.Column('name', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('kind', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('config', postgresql.TEXT(collation='C'), server_default=sa.text("'{}'"), nullable=False),
        sa.Column('enabled', postgresql.BOOLEAN(), server_default=sa.text('FALSE'), nullable=False),
        sa.Column('created_by', postgresql.BIGINT(), nullable=True),
        sa.Column('updated_at', postgresql.TEXT(collation='C'), server_default=sa.text("(to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))"), nullable=True),
    )
    op.create_table(
        'invoices',
        sa.Column('id', postgresql.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column('lease_id', postgresql.BIGINT(), nullable=False),
        sa.Column('period', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('number', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('amount_cents', postgresql.BIGINT(), nullable=False),
        sa.Column('tax_cents', postgresql.BIGINT(), server_default=sa.text('0'), nullable=False),
        sa.Column('currency', postgresql.TEXT(collation='C'), server_default=sa.text("'EUR'"), nullable=False),
        sa.Column('due_date', postgresql.DATE(), nullable=False),
        sa.Column('is_paid', postgresql.BOOLEAN(), server_default=sa.text('FALSE'), nullable=False),
        sa.Column('created_at', postgresql.TEXT(collation='C'), server_default=sa.text("(to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))"), nullable=False),
    )
    op.create_table(
        'lease_tenants',
        sa.Column('lease_id', postgresql.BIGINT(), nullable=False),
        sa.Column('tenant_id', postgresql.BIGINT(), nullable=False),
        sa.Column('share', postgresql.DOUBLE_PRECISION(), server_default=sa.text('1.0'), nullable=False),
    )
    op.create_table(
        'leases',
        sa.Column('id', postgresql.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column('unit_id', postgresql.BIGINT(), nullable=False),
        sa.Column('tenant_id', postgresql.BIGINT(), nullable=False),
        sa.Column('status', postgresql.TEXT(collation='C'), server_default=sa.text("'draft'"), nullable=False),
        sa.Column('start_date', postgresql.DATE(), nullable=False),
        sa.Column('end_date', postgresql.DATE(), nullable=True),
        sa.Column('rent_cents', postgresql.BIGINT(), nullable=False),
        sa.Column('deposit_cents', postgresql.BIGINT(), server_default=sa.text('0'), nullable=False),
        sa.Column('terms', postgresql.TEXT(collation='C'), nullable=True),
        sa.Column('signed_at', postgresql.TEXT(collation='C'), nullable=True),
        sa.Column('created_at', postgresql.TIMESTAMP(precision=0), server_default=sa.text("(date_trunc('second', now() AT TIME ZONE 'UTC')::timestamp(0))"), nullable=True),
    )
    op.create_table(
        'migrations',
        sa.Column('filename', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('applied_at', postgresql.TIMESTAMP(precision=0), server_default=sa.text("(date_trunc('second', now() AT TIME ZONE 'UTC')::timestamp(0))"), nullable=True),
    )
    op.create_table(
        'payments',
        sa.Column('id', postgresql.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column('lease_id', postgresql.BIGINT(), nullable=False),
        sa.Column('invoice_id', postgresql.BIGINT(), nullable=True),
        sa.Column('amount_cents', postgresql.BIGINT(), nullable=False),
        sa.Column('currency', postgresql.TEXT(collation='C'), server_default=sa.text("'EUR'"), nullable=False),
        sa.Column('method', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('status', postgresql.TEXT(collation='C'), server_default=sa.text("'pending'"), nullable=False),
        sa.Column('provider_ref', postgresql.TEXT(collation='C'), nullable=True),
        sa.Column('note', postgresql.TEXT(collation='C'), nullable=True),
        sa.Column('metadata', postgresql.TEXT(collation='C'), nullable=True),
        sa.Column('is_manual', postgresql.BOOLEAN(), server_default=sa.text('FALSE'), nullable=False),
        sa.Column('paid_at', postgresql.TIMESTAMP(timezone=True, precision=3), nullable=True),
        sa.Column('created_at', postgresql.TIMESTAMP(precision=0), server_default=sa.text("(date_trunc('second', now() AT TIME ZONE 'UTC')::timestamp(0))"), nullable=False),
    )
    op.create_table(
        'properties',
        sa.Column('id', postgresql.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column('public_id', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('owner_id', postgresql.BIGINT(), nullable=False),
        sa.Column('slug', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('title', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('description', postgresql.TEXT(collation='C'), server_default=sa.text("''"), nullable=False),
        sa.Column('street', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('postal_code', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('city', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('country', postgresql.TEXT(collation='C'), server_default=sa.text("'DE'"), nullable=False),
        sa.Column('latitude', postgresql.DOUBLE_PRECISION(), nullable=True),
        sa.Column('longitude', postgresql.DOUBLE_PRECISION(), nullable=True),
        sa.Column('attributes', postgresql.TEXT(collation='C'), nullable=True),
        sa.Column('is_published', postgresql.BOOLEAN(), server_default=sa.text('FALSE'), nullable=False),
        sa.Column('created_at', postgresql.TIMESTAMP(precision=0), server_default=sa.text("(date_trunc('second', now() AT TIME ZONE 'UTC')::timestamp(0))"), nullable=False),
        sa.Column('updated_at', postgresql.TIMESTAMP(precision=0), server_default=sa.text("(date_trunc('second', now() AT TIME ZONE 'UTC')::timestamp(0))"), nullable=True),
    )
    op.create_table(
        'receipts',
        sa.Column('id', postgresql.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column('payment_id', postgresql.BIGINT(), nullable=False),
        sa.Column('public_id', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('file_name', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('mime_type', postgresql.TEXT(collation='C'), server_default=sa.text("'image/png'"), nullable=False),
        sa.Column('scan', postgresql.BYTEA(), nullable=True),
        sa.Column('byte_size', postgresql.BIGINT(), server_default=sa.text('0'), nullable=False),
        sa.Column('uploaded_at', postgresql.TIMESTAMP(timezone=True, precision=3), nullable=False),
    )
    op.create_table(
        'units',
        sa.Column('id', postgresql.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column('property_id', postgresql.BIGINT(), nullable=False),
        sa.Column('label', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('floor', postgresql.BIGINT(), nullable=True),
        sa.Column('rooms', postgresql.BIGINT(), server_default=sa.text('1'), nullable=False),
        sa.Column('area_m2', postgresql.DOUBLE_PRECISION(), nullable=False),
        sa.Column('rent_cents', postgresql.BIGINT(), nullable=False),
        sa.Column('has_balcony', postgresql.BOOLEAN(), server_default=sa.text('FALSE'), nullable=False),
        sa.Column('created_at', postgresql.TEXT(collation='C'), server_default=sa.text("(to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))"), nullable=True),
    )
    op.create_table(
        'users',
        sa.Column('id', postgresql.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column('email', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('password_hash', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('full_name', postgresql.TEXT(collation='C'), nullable=False),
        sa.Column('phone', postgresql.TEXT(collation='C'), nullable=True),
        sa.Column('role', postgresql.TEXT(collation='C'), server_default=sa.text("'tenant'"), nullable=False),
        sa.Column('is_verified', postgresql.BOOLEAN(), server_default=sa.text('FALSE'), nullable=False),
        sa.Column('newsletter', postgresql.BOOLEAN(), server_default=sa.text('TRUE'), nullable=True),
        sa.Column('preferences', postgresql.TEXT(collation='C'), server_default=sa.text("'{}'"), nullable=False),
        sa.Column('referred_by', postgresql.BIGINT(), nullable=True),
        sa.Column('last_login_at', postgresql.TIMESTAMP(timezone=True, precision=3), nullable=True),
        sa.Column('created_at', postgresql.TIMESTAMP(precision=0), server_default=sa.text("(date_trunc('second', now() AT TIME ZONE 'UTC')::timestamp(0))"), nullable=True),
        sa.Column('deleted_at', postgresql.TEXT(collation='C'), nullable=True),
    )


def downgrade() -> None:
    op.drop_table('users')
    op.drop_table('units')
    op.drop_table('receipts')
    op.drop_table('properties')
    op.drop_table('payments')
    op.drop_table('migrations')
    op.drop_table('leases')
    op.drop_table('lease_tenants')
    op.drop_table('invoices')
    op.drop_table('integrations')
