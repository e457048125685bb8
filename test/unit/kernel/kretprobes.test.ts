// Return probes in tracefs: how they are defined, found again and counted. The files are the test's own.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { Kretprobes } from '../../../src/kernel/kretprobes.js';

test('defined with all the instances that there can be, removed at the end; what a dead agent left goes first', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'underspan-tracefs-'));
  const events = path.join(folder, 'kprobe_events');
  const event = `inet_recvmsg_${process.pid}_0`;
  try {
    writeFileSync(
      events,
      [
        'r4096:underspan/inet_sendmsg_999999999_3 inet_sendmsg',
        `r4096:underspan/inet_sendmsg_${process.ppid}_0 inet_sendmsg`,
        'p:others/probe inet_sendmsg\n',
      ].join('\n'),
    );
    mkdirSync(path.join(folder, 'events/underspan', event), { recursive: true });
    writeFileSync(path.join(folder, 'events/underspan', event, 'id'), '1234\n');
    const before = readFileSync(events, 'utf8');
    const probes = new Kretprobes([path.join(folder, 'nowhere'), folder]);
    assert.equal(probes.missed(), 0);
    assert.equal(probes.define('inet_recvmsg'), 1234);
    writeFileSync(path.join(folder, 'kprobe_profile'), `  ${event}   1000   7\n  another_1_0  5  9\n`);
    assert.equal(probes.missed(), 7);
    probes.remove();
    probes.remove();
    assert.deepEqual(readFileSync(events, 'utf8').slice(before.length).trim().split('\n'), [
      '-:underspan/inet_sendmsg_999999999_3',
      `r4096:underspan/${event} inet_recvmsg`,
      `-:underspan/${event}`,
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('without tracefs: one sentence that says what to do', () => {
  assert.throws(() => new Kretprobes(['/nowhere']).define('inet_recvmsg'), /tracefs is not mounted \(mount -t tracefs/);
});
