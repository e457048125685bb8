// Connections that end with their process.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Connection } from '../../../src/connections/connection.js';
import { Owners } from '../../../src/connections/owners.js';

function connection(slot: number, pid: number): Connection {
  const made = new Connection(slot, 1);
  made.pid = pid;
  return made;
}

test('a process owns what it opened until that is removed', () => {
  const owners = new Owners();
  const [first, second, other] = [connection(1, 10), connection(2, 10), connection(3, 11)];
  for (const one of [first, second, other]) owners.add(one);
  assert.deepEqual(owners.of(10), [first, second]);
  owners.remove(first);
  owners.remove(connection(9, 10));
  assert.deepEqual(owners.of(10), [second]);
  assert.deepEqual(owners.of(12), []);
});
