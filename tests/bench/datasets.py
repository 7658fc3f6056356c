# SPDX-License-Identifier: Apache-2.0
"""The inputs: made once a run (or once for ever with --data), warm in the page cache."""
import os
import subprocess

OBJECT_BYTES = 16 * 1024 * 1024


class Files:
    """Objects of one folder. raw_bytes are unwrapped, whatever is stored."""

    def __init__(self, folder, suffix, raw_bytes=0):
        self.suffix = suffix
        self.folder = folder
        self.paths = sorted(os.path.join(folder, name) for name in os.listdir(folder)
                            if name.endswith(suffix))
        self.raw_bytes = raw_bytes or sum(os.path.getsize(path) for path in self.paths)
        self.glob = os.path.join(folder, '*' + suffix)
        for path in self.paths:  # a cold page cache measures the disk
            with open(path, 'rb') as file:
                while file.read(1 << 20):
                    pass


class Data:
    def __init__(self, folder, generator):
        self.folder = folder
        self.generator = generator

    def make(self, name, fill):
        """A folder that is there whole or not at all."""
        folder = os.path.join(self.folder, name)
        if not os.path.isdir(folder):
            part = folder + '.part'
            subprocess.run(['rm', '-rf', part], check=True)
            os.mkdir(part)
            fill(part)
            os.rename(part, folder)
        return folder

    def generate(self, kind, objects, object_bytes):
        return self.make(f'{kind}-{objects}x{object_bytes}', lambda part: subprocess.run(
            [self.generator, part, str(objects), str(object_bytes), '42', kind], check=True,
            stdout=subprocess.DEVNULL))

    def csv(self, objects, object_bytes=OBJECT_BYTES):
        return Files(self.generate('csv', objects, object_bytes), '.csv')

    def ndjson(self, objects, object_bytes=OBJECT_BYTES):
        return Files(self.generate('ndjson', objects, object_bytes), '.ndjson')

    def csv_gz(self, objects):
        plain = self.csv(objects)

        def fill(part):
            for path in plain.paths:
                with open(os.path.join(part, os.path.basename(path) + '.gz'), 'wb') as out:
                    subprocess.run(['gzip', '-6', '-c', path], stdout=out, check=True)
        return Files(self.make(f'gz-{objects}', fill), '.gz', plain.raw_bytes)

    def cut(self, kind, path, objects):
        """The same records in so many files, each with the first line as its header."""
        def fill(part):
            size = os.path.getsize(path)
            with open(path, 'rb') as whole:
                header = whole.readline() if kind == 'csv' else b''
                for i in range(objects):
                    end = size * (i + 1) // objects
                    with open(os.path.join(part, f'part-{i:05}.{kind}'), 'wb') as out:
                        out.write(header)
                        while whole.tell() < end:
                            out.writelines(whole.readlines(min(1 << 20, end - whole.tell())))
        return Files(self.make(f'{kind}-cut{objects}-{os.path.getsize(path)}', fill), '.' + kind)
