# SPDX-License-Identifier: Apache-2.0
"""Bytes to typed rows, with nothing loaded."""
import re
import subprocess

import peers
from harness import Gate, Side, Skip, case, timed


def into_null(bench, source, **more):
    """Ours: discovered, read, decoded and typed, then dropped."""
    run = bench.load(source, 'null:', **more)
    run.result = int(re.search(r'loaded\s+([\d,]+) rows', run.output)[1].replace(',', ''))
    return run


def limit(bench, paths):
    """The limit's program: split and typed parse of 64 KiB blocks on one thread."""
    if subprocess.run([bench.tool('limit_parse')], stdout=subprocess.DEVNULL).returncode == 3:
        raise Skip('limit_parse needs AVX2 and PCLMUL')
    run = timed([bench.tool('limit_parse'), *paths])
    run.result = int(run.output.split()[0])
    return run


def duckdb_count(bench, paths):
    run = peers.duckdb(bench, 'count', paths)
    run.result = int(run.output)
    return run


@case('parse', objects=64)
def parse(bench):
    """CSV typed and dropped (null:) by one leaf, against the limit's program on one thread."""
    files = bench.data.csv(bench.objects)
    bench.compare(Side('penstock, 1 leaf', lambda: into_null(bench, files.glob, leaves=1)),
                  [Side('limit_parse', lambda: limit(bench, files.paths), 0.6)], files.raw_bytes,
                  Gate(cpu_a_gb=3.0))


@case('parse-duckdb', objects=8)
def parse_duckdb(bench):
    """CSV typed and dropped (null:), against DuckDB's count(*)."""
    peers.duckdb_home(not bench.args.no_gate)
    files = bench.data.csv(bench.objects)
    bench.compare(Side('penstock', lambda: into_null(bench, files.glob)),
                  [Side('DuckDB count', lambda: duckdb_count(bench, files.paths), 4.0)],
                  files.raw_bytes)


def decode_figure(bench, files, *more):
    """decode_bench: one thread, bytes to blocks, MB a CPU second, median of --rounds."""
    run = timed([bench.tool('decode_bench'), '--runs', str(bench.args.rounds), *more, *files.paths])
    print(f'{bench.name}: {run.output.strip()}')
    return float(re.search(r'median (\d+)', run.output)[1])


@case('decode', objects=8)
def decode(bench):
    """CSV to typed blocks inside one thread (decode_bench), MB a CPU second."""
    bench.figure('CSV', decode_figure(bench, bench.data.csv(bench.objects)), 'MB/CPU-s', least=600)
