"""Add primary keys, indexes, unique constraints, checks and, last, foreign keys.

Revision ID: f44cb9bf81e3
Revises: 9cfa0201f1f1

Written by nasmigrate from plan 8e4eb6defad01cb5b7ce377abc601217d1fab83a6ae67badcdd9041e3a4b4f3e.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = 'f44cb9bf81e3'
down_revision: str | None = '9cfa0201f1f1'
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    op.create_primary_key('integrations_pkey', 'integrations', ['name'])
    op.create_primary_key('invoices_pkey', 'invoices', ['id'])
    op.create_primary_key('lease_tenants_pkey', 'lease_tenants', ['lease_id', 'tenant_id'])
    op.create_primary_key('leases_pkey', 'leases', ['id'])
    op.create_primary_key('migrations_pkey', 'migrations', ['filename'])
    op.create_primary_key('payments_pkey', 'payments', ['id'])
    op.create_primary_key('properties_pkey', 'properties', ['id'])
    op.create_primary_key('receipts_pkey', 'receipts', ['id'])
    op.create_primary_key('units_pkey', 'units', ['id'])
    op.create_primary_key('users_pkey', 'users', ['id'])
    op.create_index('idx_invoices_lease_period', 'invoices', ['lease_id', 'period'], unique=True)
    op.create_unique_constraint('invoices_number_key', 'invoices', ['number'])
    op.create_index(
        'idx_leases_one_active',
        'leases',
        ['unit_id'],
        unique=True,
        postgresql_where=sa.text('"status" = \'active\''),
    )
    op.create_index('idx_leases_tenant', 'leases', ['tenant_id'])
    op.create_index(
        'idx_payments_invoice',
        'payments',
        ['invoice_id'],
        postgresql_where=sa.text('NOT ("invoice_id" IS NULL)'),
    )
    op.create_index('idx_payments_lease', 'payments', ['lease_id', sa.column('created_at').desc()])
    op.create_index('idx_properties_city', 'properties', ['city', 'postal_code'])
    op.create_index('idx_properties_owner', 'properties', ['owner_id'])
    op.create_unique_constraint('properties_public_id_key', 'properties', ['public_id'])
    op.create_unique_constraint('receipts_payment_id_key', 'receipts', ['payment_id'])
    op.create_unique_constraint('units_property_id_label_key', 'units', ['property_id', 'label'])
    op.create_index('users_email_key', 'users', [sa.text('(lower("email" COLLATE "C"))')], unique=True)
    op.create_check_constraint(
        'integrations_check1',
        'integrations',
        sa.text('"kind" IN (\'payment\', \'mail\', \'storage\', \'calendar\')'),
    )
    op.create_check_constraint('invoices_check1', 'invoices', sa.text('"amount_cents" >= 0'))
    op.create_check_constraint('invoices_check2', 'invoices', sa.text('"tax_cents" >= 0'))
    op.create_check_constraint(
        'invoices_check3',
        'invoices',
        sa.text('"currency" IN (\'EUR\', \'CHF\', \'USD\')'),
    )
    op.create_check_constraint(
        'lease_tenants_check1',
        'lease_tenants',
        sa.text('("share" > \'0\'::double precision) AND ("share" <= \'1\'::double precision)'),
    )
    op.create_check_constraint(
        'leases_check1',
        'leases',
        sa.text('"status" IN (\'draft\', \'active\', \'ended\', \'terminated\')'),
    )
    op.create_check_constraint('leases_check2', 'leases', sa.text('"rent_cents" >= 0'))
    op.create_check_constraint('leases_check3', 'leases', sa.text('"deposit_cents" >= 0'))
    op.create_check_constraint(
        'leases_check4',
        'leases',
        sa.text('("end_date" IS NULL) OR ("end_date" >= "start_date")'),
    )
    op.create_check_constraint('payments_check1', 'payments', sa.text('"amount_cents" >= 0'))
    op.create_check_constraint(
        'payments_check2',
        'payments',
        sa.text('"method" IN (\'card\', \'sepa\', \'cash\', \'paypal\')'),
    )
    op.create_check_constraint(
        'payments_check3',
        'payments',
        sa.text('"status" IN (\'pending\', \'succeeded\', \'failed\', \'refunded\')'),
    )
    op.create_check_constraint('properties_check1', 'properties', sa.text('length("country") = 2'))
    op.create_check_constraint('receipts_check1', 'receipts', sa.text('"byte_size" >= 0'))
    op.create_check_constraint('units_check1', 'units', sa.text('"rooms" > 0'))
    op.create_check_constraint('units_check2', 'units', sa.text('"rent_cents" >= 0'))
    op.create_check_constraint(
        'users_check1',
        'users',
        sa.text('"role" IN (\'tenant\', \'landlord\', \'admin\')'),
    )
    op.create_check_constraint('users_check2', 'users', sa.text('"is_verified" IN (FALSE, TRUE)'))
    op.create_foreign_key(
        'integrations_created_by_fkey',
        'integrations',
        'users',
        ['created_by'],
        ['id'],
        ondelete='SET NULL',
    )
    op.create_foreign_key(
        'invoices_lease_id_fkey',
        'invoices',
        'leases',
        ['lease_id'],
        ['id'],
        ondelete='CASCADE',
    )
    op.create_foreign_key(
        'lease_tenants_lease_id_fkey',
        'lease_tenants',
        'leases',
        ['lease_id'],
        ['id'],
        ondelete='CASCADE',
    )
    op.create_foreign_key(
        'lease_tenants_tenant_id_fkey',
        'lease_tenants',
        'users',
        ['tenant_id'],
        ['id'],
        ondelete='CASCADE',
    )
    op.create_foreign_key('leases_unit_id_fkey', 'leases', 'units', ['unit_id'], ['id'], ondelete='RESTRICT')
    op.create_foreign_key(
        'leases_tenant_id_fkey',
        'leases',
        'users',
        ['tenant_id'],
        ['id'],
        ondelete='RESTRICT',
    )
    op.create_foreign_key(
        'payments_lease_id_fkey',
        'payments',
        'leases',
        ['lease_id'],
        ['id'],
        ondelete='CASCADE',
    )
    op.create_foreign_key(
        'payments_invoice_id_fkey',
        'payments',
        'invoices',
        ['invoice_id'],
        ['id'],
        ondelete='SET NULL',
    )
    op.create_foreign_key(
        'properties_owner_id_fkey',
        'properties',
        'users',
        ['owner_id'],
        ['id'],
        ondelete='CASCADE',
    )
    op.create_foreign_key(
        'receipts_payment_id_fkey',
        'receipts',
        'payments',
        ['payment_id'],
        ['id'],
        ondelete='CASCADE',
    )
    op.create_foreign_key(
        'units_property_id_fkey',
        'units',
        'properties',
        ['property_id'],
        ['id'],
        ondelete='CASCADE',
    )
    op.create_foreign_key(
        'users_referred_by_fkey',
        'users',
        'users',
        ['referred_by'],
        ['id'],
        ondelete='SET NULL',
    )


def downgrade() -> None:
    op.drop_constraint('users_referred_by_fkey', 'users', type_='foreignkey')
    op.drop_constraint('units_property_id_fkey', 'units', type_='foreignkey')
    op.drop_constraint('receipts_payment_id_fkey', 'receipts', type_='foreignkey')
    op.drop_constraint('properties_owner_id_fkey', 'properties', type_='foreignkey')
    op.drop_constraint('payments_invoice_id_fkey', 'payments', type_='foreignkey')
    op.drop_constraint('payments_lease_id_fkey', 'payments', type_='foreignkey')
    op.drop_constraint('leases_tenant_id_fkey', 'leases', type_='foreignkey')
    op.drop_constraint('leases_unit_id_fkey', 'leases', type_='foreignkey')
    op.drop_constraint('lease_tenants_tenant_id_fkey', 'lease_tenants', type_='foreignkey')
    op.drop_constraint('lease_tenants_lease_id_fkey', 'lease_tenants', type_='foreignkey')
    op.drop_constraint('invoices_lease_id_fkey', 'invoices', type_='foreignkey')
    op.drop_constraint('integrations_created_by_fkey', 'integrations', type_='foreignkey')
    op.drop_constraint('users_check2', 'users', type_='check')
    op.drop_constraint('users_check1', 'users', type_='check')
    op.drop_constraint('units_check2', 'units', type_='check')
    op.drop_constraint('units_check1', 'units', type_='check')
    op.drop_constraint('receipts_check1', 'receipts', type_='check')
    op.drop_constraint('properties_check1', 'properties', type_='check')
    op.drop_constraint('payments_check3', 'payments', type_='check')
    op.drop_constraint('payments_check2', 'payments', type_='check')
    op.drop_constraint('payments_check1', 'payments', type_='check')
    op.drop_constraint('leases_check4', 'leases', type_='check')
    op.drop_constraint('leases_check3', 'leases', type_='check')
    op.drop_constraint('leases_check2', 'leases', type_='check')
    op.drop_constraint('leases_check1', 'leases', type_='check')
    op.drop_constraint('lease_tenants_check1', 'lease_tenants', type_='check')
    op.drop_constraint('invoices_check3', 'invoices', type_='check')
    op.drop_constraint('invoices_check2', 'invoices', type_='check')
    op.drop_constraint('invoices_check1', 'invoices', type_='check')
    op.drop_constraint('integrations_check1', 'integrations', type_='check')
    op.drop_index('users_email_key', table_name='users')
    op.drop_constraint('units_property_id_label_key', 'units', type_='unique')
    op.drop_constraint('receipts_payment_id_key', 'receipts', type_='unique')
    op.drop_constraint('properties_public_id_key', 'properties', type_='unique')
    op.drop_index('idx_properties_owner', table_name='properties')
    op.drop_index('idx_properties_city', table_name='properties')
    op.drop_index('idx_payments_lease', table_name='payments')
    op.drop_index('idx_payments_invoice', table_name='payments')
    op.drop_index('idx_leases_tenant', table_name='leases')
    op.drop_index('idx_leases_one_active', table_name='leases')
    op.drop_constraint('invoices_number_key', 'invoices', type_='unique')
    op.drop_index('idx_invoices_lease_period', table_name='invoices')
    op.drop_constraint('users_pkey', 'users', type_='primary')
    op.drop_constraint('units_pkey', 'units', type_='primary')
    op.drop_constraint('receipts_pkey', 'receipts', type_='primary')
    op.drop_constraint('properties_pkey', 'properties', type_='primary')
    op.drop_constraint('payments_pkey', 'payments', type_='primary')
    op.drop_constraint('migrations_pkey', 'migrations', type_='primary')
    op.drop_constraint('leases_pkey', 'leases', type_='primary')
    op.drop_constraint('lease_tenants_pkey', 'lease_tenants', type_='primary')
    op.drop_constraint('invoices_pkey', 'invoices', type_='primary')
    op.drop_constraint('integrations_pkey', 'integrations', type_='primary')
