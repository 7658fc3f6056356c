// SPDX-License-Identifier: Apache-2.0
// DuckDB as a peer. usage (from the folder that holds node_modules):
//   node duck.mjs count|table|ndtable THREADS DATABASE FILE...
// Prints the number of rows.
import { createRequire } from 'module';
import path from 'path';

const require = createRequire(path.join(process.cwd(), 'x.js'));
const { DuckDBInstance } = require('@duckdb/node-api');
const [mode, threads, database, ...files] = process.argv.slice(2);
const list = `[${files.map((file) => `'${file.replaceAll("'", "''")}'`).join(', ')}]`;
const source = mode.startsWith('nd') ? `read_ndjson(${list})` : `read_csv(${list}, header = true)`;
const instance = await DuckDBInstance.create(mode === 'count' ? ':memory:' : database, { threads });
const connection = await instance.connect();
if (mode !== 'count') {
    await connection.run(`create or replace table t as select * from ${source}`);
    await connection.run('checkpoint');
}
const counted = await connection.runAndReadAll(
    `select count(*) from ${mode === 'count' ? source : 't'}`);
console.log(String(counted.getRows()[0][0]));
connection.closeSync();
instance.closeSync();
