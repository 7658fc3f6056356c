-- SPDX-License-Identifier: Apache-2.0
CREATE TABLE t("order_id" INTEGER, "part_id" INTEGER, "supplier_id" INTEGER, "line" INTEGER, "quantity" INTEGER, "price" REAL, "discount" REAL, "tax" REAL, "returned" TEXT, "status" TEXT, "shipped" TEXT, "committed" TEXT, "received" TEXT, "instruction" TEXT, "mode" TEXT, "comment" TEXT);
