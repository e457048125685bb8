// Programs that come late, where the machine has nothing left for them.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { Host, ObjectHandle } from '../../../src/kernel/host.js';
import { LatePrograms } from '../../../src/kernel/late-programs.js';

const PROGRAM = 'go_read_enter';

test('a group whose object cannot be opened is refused, once, and with nothing thrown', () => {
  const refused: string[] = [];
  const closed: unknown[] = [];
  const host = {
    open: () => {
      throw new Error('too many open files');
    },
    close: (object: unknown) => closed.push(object),
  };
  const late = new LatePrograms({
    host: host as unknown as Host,
    maps: {} as ObjectHandle,
    btfPath: '',
    abilities: { hasTypedReads: false, hasMultiProbes: false, hasCopies: false } as never,
    programsOf: () => [PROGRAM],
    onRefused: (program, reason) => refused.push(`${program}: ${reason}`),
  });
  late.isSettled(PROGRAM);
  assert.equal(late.isSettled(PROGRAM), true);
  assert.deepEqual(refused, [`${PROGRAM}: too many open files`]);
  assert.equal(late.objectOf(PROGRAM), null);
  assert.deepEqual(late.programs(), []);
  late.close();
  assert.deepEqual(closed, []);
});
