# SPDX-License-Identifier: Apache-2.0
"""What every bench case uses: timed commands, interleaved rounds, ratios, gates.

A case is a function in cases/*.py under @case(NAME, ...). It gets a Bench and either calls
bench.compare() (ours beside its peers, the same data, the same rounds) or bench.figure() (one
program that measures itself). Raise Skip(why) for what this machine lacks.

Rounds are interleaved (ours, peer, ours, peer ...) so that a drifting machine hits both; the first
round warms the page cache and is dropped. CPU is user + system of a command and all its children;
peak RSS is that of its largest process."""
import dataclasses
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import typing

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CASES = {}
BUILD = ['']  # the build's folder, set once by bench.py


class Skip(Exception):
    """This machine lacks what the case needs."""


@dataclasses.dataclass
class Case:
    name: str
    run: typing.Callable
    objects: int  # 16 MiB each, where --objects says nothing
    what: str


def case(name, objects=8):
    """Registers a case; the function's first line says what it compares."""
    def add(function):
        CASES[name] = Case(name, function, objects, function.__doc__.strip().split('\n')[0])
        return function
    return add


@dataclasses.dataclass
class Run:
    """One timed command."""
    seconds: float
    cpu: float
    rss_kib: int
    result: object = None  # compared between sides where it is not None
    output: str = ''


@dataclasses.dataclass
class Side:
    """One competitor: run() does it once from nothing. least: our ratio to it must be so high."""
    name: str
    run: typing.Callable
    least: float = 0.0


@dataclasses.dataclass
class Gate:
    """What a comparison must hold beside its ratios; 0 = not judged."""
    cpu_a_gb: float = 0.0
    count_a_second: float = 0.0
    mb_a_second: float = 0.0
    rss_mib: float = 0.0


def busy_share():
    """Share of all processors that was not idle during a short look."""
    def look():
        with open('/proc/stat', encoding='ascii') as stat:
            fields = [int(x) for x in stat.readline().split()[1:]]
        return sum(fields), fields[3] + fields[4]
    total, idle = look()
    time.sleep(0.5)
    total2, idle2 = look()
    return 1 - (idle2 - idle) / max(1, total2 - total)


def remove(*paths):
    """Files with SQLite's companions, or folders; what is not there is fine."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        for end in ('', '-journal', '-wal', '-shm'):
            if os.path.lexists(path + end) and not os.path.isdir(path + end):
                os.unlink(path + end)


def timed(command, script=None, cwd=None, ends=(0,)):
    """Runs one command, feeding it script; one that ends otherwise ends the bench with its output."""
    with tempfile.NamedTemporaryFile() as figures:
        done = subprocess.run([bench_run(), figures.name, *command], cwd=cwd, text=True,
                              input=script or '', stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode not in ends:
            raise SystemExit(f'{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}')
        wall, cpu, rss = figures.read().split()
    return Run(float(wall), float(cpu), int(rss), output=done.stdout)


def bench_run():
    return os.path.join(BUILD[0], 'bench/bench_run')


def median_ratio(ours, theirs):
    """How many times as fast we are, round by round."""
    return statistics.median(b.seconds / a.seconds for a, b in zip(ours, theirs))


class Bench:
    """One case's run: its arguments, its folder, its verdicts."""

    def __init__(self, args, which, folder, data):
        self.args = args
        self.name = which.name
        self.folder = folder
        self.data = data
        self.objects = min(args.objects or which.objects, which.objects)
        self.scale = self.objects / which.objects
        self.good = True

    def path(self, name):
        return os.path.join(self.folder, name)

    def program(self, name):
        return os.path.join(ROOT, self.args.build, 'bin', name)

    def tool(self, name):
        """One of tests/bench/*.c."""
        return os.path.join(ROOT, self.args.build, 'bench', name)

    def needs(self, setting, what):
        """Skips the case where this build does not take that setting of a spec."""
        self.needs_spec(['null:', '--set', setting], what)

    def needs_url(self, url, what):
        """Skips the case where this build has no source for that URL."""
        self.needs_spec([url], what)

    def needs_spec(self, words, what):
        done = subprocess.run([self.program('penstock'), 'load', *words, '--into', 'null:',
                               '--table', 't', '--print-spec'], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Skip(f'{what} is not in this build')

    def miss(self, text):
        if self.args.no_gate:
            return
        print(f'{self.name}: MISSED: {text}')
        self.good = False

    def load(self, source, destination, *more, leaves=None, ends=(0,)):
        """A new `penstock load` with a fresh state, from exec to exit; 3 is: finished with rejects."""
        state = self.path('state')
        remove(state)
        os.sync()
        return timed([self.program('penstock'), 'load', source, '--into', destination, '--table', 't',
                      '--name', 'bench', '--state', state, '--leaves',
                      str(leaves or self.args.leaves), *more], ends=ends)

    def compare(self, ours, peers, raw_bytes, gate=Gate(), count=0, unit='files'):
        """Interleaved rounds of ours and all peers; prints a line a side and judges."""
        sides = [ours, *peers]
        runs = {side.name: [] for side in sides}
        before = busy_share()
        for turn in range(-1 if self.args.rounds > 1 else 0, self.args.rounds):
            results = {}
            for side in sides:
                run = side.run()
                if run.result is not None:
                    results[side.name] = run.result
                if turn >= 0:
                    runs[side.name].append(run)
            if len(set(map(str, results.values()))) > 1:
                print(f'{self.name}: MISSED: results differ: {results}')
                self.good = False
                return
        after = busy_share()
        for side in sides:
            self.show(side, runs, ours, raw_bytes, count, unit)
        result = runs[ours.name][0].result
        print(f'{self.name}: {raw_bytes / 1e6:.0f} MB raw, {len(runs[ours.name])} rounds, equal '
              f'{result}; machine busy before {before:.0%}, after {after:.0%}')
        self.judge(runs[ours.name], raw_bytes, gate, count, unit)
        for side in peers:
            ratio = median_ratio(runs[ours.name], runs[side.name])
            if ratio < side.least:
                self.miss(f'{ratio:.2f}x {side.name}, wanted at least {side.least}x')

    def show(self, side, runs, ours, raw_bytes, count, unit):
        mine = runs[side.name]
        seconds = statistics.median(run.seconds for run in mine)
        cpu = statistics.median(run.cpu for run in mine)
        spread = max(run.seconds for run in mine) / min(run.seconds for run in mine)
        rate = f', {count / seconds:.0f} {unit}/s' if count else ''
        ratio = '' if side is ours else f'; ours is {median_ratio(runs[ours.name], mine):.2f}x'
        print(f'{self.name}: {side.name}: {raw_bytes / 1e6 / seconds:.0f} MB/s{rate} ({seconds:.2f} s, '
              f'max/min {spread:.2f}), {cpu / raw_bytes * 1e9:.1f} CPU-s/GB, '
              f'{max(run.rss_kib for run in mine) / 1024:.0f} MiB peak{ratio}')

    def judge(self, mine, raw_bytes, gate, count, unit):
        seconds = statistics.median(run.seconds for run in mine)
        cpu = statistics.median(run.cpu for run in mine) / raw_bytes * 1e9
        rss = max(run.rss_kib for run in mine) / 1024
        if gate.cpu_a_gb and cpu > gate.cpu_a_gb:
            self.miss(f'{cpu:.1f} CPU-s/GB, wanted at most {gate.cpu_a_gb}')
        if gate.count_a_second and count / seconds < gate.count_a_second:
            self.miss(f'{count / seconds:.0f} {unit}/s, wanted at least {gate.count_a_second:.0f}')
        if gate.mb_a_second and raw_bytes / 1e6 / seconds < gate.mb_a_second:
            self.miss(f'{raw_bytes / 1e6 / seconds:.0f} MB/s, wanted at least {gate.mb_a_second:.0f}')
        if gate.rss_mib and rss > gate.rss_mib:
            self.miss(f'{rss:.0f} MiB peak, wanted at most {gate.rss_mib:.0f}')

    def figure(self, what, value, unit, least=0.0, most=0.0):
        """One measured figure of a program that measures itself."""
        print(f'{self.name}: {what}: {value:.4g} {unit}')
        if least and value < least:
            self.miss(f'{what} {value:.4g} {unit}, wanted at least {least:.4g}')
        if most and value > most:
            self.miss(f'{what} {value:.4g} {unit}, wanted at most {most:.4g}')
