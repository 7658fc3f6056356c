-- SPDX-License-Identifier: Apache-2.0
-- The latest whole reading of a pipeline's ledger, or the wish for one: a packed
-- penstock.ApiReconcile. NULL: there was none.
ALTER TABLE pipeline ADD COLUMN reconcile BLOB;
