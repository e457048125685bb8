// Reading executables in another thread: what it finds is what is found here. The file is this Node.js.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Executable } from '../../../src/discovery/executable.js';
import { Inspector } from '../../../src/discovery/inspector.js';
import type { Inspected } from '../../../src/discovery/inspector-thread.js';
import { targetsIn } from '../../../src/discovery/targets.js';

function open(path: string): Executable {
  const executable = Executable.open(path);
  assert.ok(executable !== null, path);
  return executable;
}

function inspect(inspector: Inspector, executable: Executable): Promise<Inspected> {
  return new Promise(resolve => inspector.inspect(executable, 'targets', resolve));
}

test('the thread finds what is there, file after file', async () => {
  const inspector = new Inspector();
  const executable = open(process.execPath);
  try {
    for (let turn = 0; turn < 2; turn++) {
      const answer = inspect(inspector, executable);
      assert.ok(inspector.isBusy);
      assert.deepEqual(await answer, { targets: targetsIn(executable), opacity: null, detail: '' });
      assert.ok(!inspector.isBusy);
    }
  } finally {
    executable.close();
    inspector.close();
  }
});

test('a file that was closed meanwhile has nothing in it; the next one is read', async () => {
  const inspector = new Inspector();
  const gone = open(process.execPath);
  const executable = open(process.execPath);
  gone.close();
  try {
    assert.deepEqual((await inspect(inspector, gone)).targets, []);
    assert.ok((await inspect(inspector, executable)).targets.length > 0);
  } finally {
    executable.close();
    inspector.close();
  }
});

test('after an end it can begin again', async () => {
  const inspector = new Inspector();
  const executable = open(process.execPath);
  try {
    inspector.inspect(executable, 'targets', () => assert.fail('it was ended'));
    inspector.close();
    assert.ok((await inspect(inspector, executable)).targets.length > 0);
  } finally {
    executable.close();
    inspector.close();
  }
});
