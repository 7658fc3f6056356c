-- SPDX-License-Identifier: Apache-2.0
-- Fields that are not loaded (columns.unknown: ignore): a packed penstock.ApiUnknownFields.
ALTER TABLE pipeline ADD COLUMN unknown BLOB;
