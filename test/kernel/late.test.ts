// Programs that come late, on the running kernel: loaded aside over the maps that are in use, and gone with the rest.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Executable } from '../../src/discovery/executable.js';
import { Kernel } from '../../src/kernel/loader.js';
import { initialPid } from '../../src/own-pid.js';

const PROGRAM = 'go_read_enter';
/** A function that nobody calls here. */
const RARE = 'uv_version_string';
const LOADED_WITHIN_MS = 60_000;

function load(): Kernel {
  return Kernel.load({
    dataRingBytes: 1 << 16,
    controlRingBytes: 1 << 16,
    maxConnections: 64,
    headBytes: 256,
    btfPath: '',
    agentPid: initialPid(),
  });
}

const isThere = (kernel: Kernel): boolean => kernel.programs().some(({ name }) => name === PROGRAM);

test('the programs of a group that few need are loaded when they are asked for, and can then be attached', async () => {
  const kernel = load();
  try {
    assert.equal(isThere(kernel), false);
    assert.equal(kernel.isSettled('sys_enter'), true);
    const endMs = performance.now() + LOADED_WITHIN_MS;
    while (!kernel.isSettled(PROGRAM) && performance.now() < endMs) await sleep(5);
    assert.ok(isThere(kernel), `${PROGRAM} is not loaded`);
    assert.ok(kernel.programs().some(({ name }) => name === 'go_write_return'));
    const place = Executable.open(process.execPath)?.dynamicSymbols([RARE]).get(RARE)?.offset;
    assert.ok(place !== undefined, `${RARE} is not in ${process.execPath}`);
    kernel.attachUser(PROGRAM, process.execPath, [place], false);
    assert.ok(!kernel.reports.some(({ way }) => way === null), JSON.stringify(kernel.reports));
  } finally {
    kernel.close();
  }
});

test('what is still being loaded at the end goes, too', () => {
  const kernel = load();
  assert.equal(kernel.isSettled(PROGRAM), false);
  kernel.close();
});
