# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy between a leaf and its database that cuts a connection at a chosen byte of a chosen
transaction, once for each cut it was given, and lets everything else through.

A transaction begins, for both ways, with the chunk that holds BEGIN. Its bytes are counted from
there ('begin'), or from the message that is COMMIT ('commit'; the way down: from the first byte that
the server says after it). up: towards the server."""
import re
import socket
import struct
import threading
import time
from collections import namedtuple

from loopback import Listener

# way 'up' or 'down'; base 'begin' or 'commit'; at: so many bytes still go through.
# how: 'fin' or 'rst' ends both connections; 'stall' holds that way for STALL_S, then goes on.
Cut = namedtuple('Cut', 'way base at how')
STALL_S = 1.2
HEADER_BYTES = 5  # before the text of a query: 'Q' and a length; or three of a length, a number, 3
COMMIT = re.compile(rb'COMMIT(?!TED)')  # BEGIN names an isolation level
BEGIN = {'postgresql': b'BEGIN ISOLATION', 'mysql': b'START TRANSACTION'}


class Session:
    """One connection, and where the transaction on it stands."""

    def __init__(self, client, server):
        self.ends = {'up': (client, server), 'down': (server, client)}
        self.lock = threading.Lock()
        self.cut = None
        self.number = None   # which transaction; None before the first
        self.counts = {}     # (way, base) -> bytes so far
        self.seen = {}       # way -> bytes, while they are kept
        self.over = False
        self.leaving = 0


class CutProxy:
    def __init__(self, port, begin):
        self.target = port
        self.begin = begin
        self.lock = threading.Lock()
        self.plan = []        # cuts, the next one first
        self.rest = 1
        self.resting = 0      # transactions that go through before the next cut
        self.done = []        # cuts that were made
        self.transactions = 0
        self.kept = None      # {way: bytes, 'commit_up': at, 'commit_down': at} of the last whole one
        self.keep = False
        self.delay_s = 0.0
        self.listener = Listener(self.connect)
        self.port = self.listener.port

    def close(self):
        self.listener.close()

    def start(self, cuts, rest=1):
        """From the next transaction on: a cut, then so many that go through (its second life), …"""
        with self.lock:
            self.plan = list(cuts)
            self.resting = 0
            self.rest = rest

    def left(self):
        with self.lock:
            return len(self.plan)

    # ---- connections

    def connect(self, client):
        try:
            server = socket.create_connection(('127.0.0.1', self.target))
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = Session(client, server)
        threading.Thread(target=self.pump, args=(session, 'down'), daemon=True).start()
        self.pump(session, 'up')

    def pump(self, session, way):
        source, sink = session.ends[way]
        try:
            while data := source.recv(65536):
                if self.delay_s:
                    time.sleep(self.delay_s)
                with session.lock:
                    passed, how = self.take(session, way, data)
                if passed:
                    sink.sendall(passed)
                if how == 'stall':
                    time.sleep(STALL_S)
                    sink.sendall(data[len(passed):])
                elif how is not None:
                    self.end(session, how)
                    return
        except OSError:
            pass
        self.end(session, 'fin')

    @staticmethod
    def end(session, how):
        """The other way's thread is in recv: a shutdown for reading wakes it, a close would wait for it."""
        for end in session.ends['up']:
            try:
                if how == 'rst':
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                    end.shutdown(socket.SHUT_RD)
                else:
                    end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        with session.lock:
            session.leaving += 1
            if session.leaving == 2:  # of both ways' threads
                for end in session.ends['up']:
                    end.close()

    # ---- what is said

    def take(self, session, way, data):
        """(what goes through, how it ends or None)."""
        if session.over:
            return b'', 'fin'
        if way == 'up' and self.begin in data:
            self.begin_transaction(session)
        if session.number is None:
            return data, None
        found = COMMIT.search(data) if way == 'up' else None
        commit = found.start() - HEADER_BYTES if found else None
        keep = session.cut.at if session.cut and session.cut.way == way else None
        if keep is not None and session.cut.base == 'commit':
            begun = session.counts.get((way, 'commit'))
            keep = (commit + keep if commit is not None else None) if begun is None else keep - begun
        elif keep is not None:
            keep -= session.counts[(way, 'begin')]
        if keep is not None and keep < len(data):
            cut, session.cut = session.cut, None
            session.over = cut.how != 'stall'
            with self.lock:
                self.done.append(cut)
            self.count(session, way, data, commit)
            return data[:max(keep, 0)], cut.how
        self.count(session, way, data, commit)
        return data, None

    def begin_transaction(self, session):
        with self.lock:
            self.transactions += 1
            session.number = self.transactions
            session.cut = None
            if self.resting > 0:
                self.resting -= 1
            elif self.plan:
                session.cut = self.plan.pop(0)
                self.resting = 0 if session.cut.how == 'stall' else self.rest
        session.counts = {('up', 'begin'): 0, ('down', 'begin'): 0}
        session.seen = {'up': b'', 'down': b''} if self.keep else {}

    def count(self, session, way, data, commit):
        counts = session.counts
        if way in session.seen:
            session.seen[way] += data
        if commit is not None:
            session.seen['commit_up'] = counts[('up', 'begin')] + commit
            session.seen['commit_down'] = counts[('down', 'begin')]
            counts[('up', 'commit')] = len(data) - commit
            counts[('down', 'commit')] = 0
        elif (way, 'commit') in counts:
            counts[(way, 'commit')] += len(data)
        counts[(way, 'begin')] += len(data)
        if way == 'down' and ('down', 'commit') in counts and 'up' in session.seen:
            self.kept = dict(session.seen)


def boundaries(scheme, data):
    """Where the messages of one way begin."""
    found, at = [], 0
    while at + HEADER_BYTES <= len(data):
        found.append(at)
        if scheme == 'postgresql':
            at += 1 + struct.unpack('>I', data[at + 1:at + 5])[0]
        else:
            at += 4 + int.from_bytes(data[at:at + 3], 'little')
    return found
