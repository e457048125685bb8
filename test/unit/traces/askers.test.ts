// It takes some calls of which all is known before it is believed that responses wake who has asked for them, and one other takes that away.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Askers } from '../../../src/traces/askers.js';

function noted(askers: Askers, count: number, isAsker: boolean): Askers {
  for (let at = 0; at < count; at++) askers.noteWoken(isAsker);
  return askers;
}

test('what one peer shows counts for all of the process, what speaks against it for that peer first', () => {
  const all = new Askers(null);
  const [one, other] = [new Askers(all), new Askers(all)];
  assert.equal(noted(one, 7, true).areWoken, false);
  assert.equal(noted(one, 1, true).areWoken, true);
  assert.equal(other.areWoken, true);
  noted(one, 8, true);
  assert.equal(noted(other, 1, false).areWoken, false);
  assert.equal(other.areDoubted, true);
  assert.equal(one.areWoken, true, 'twelve of sixteen are left');
  assert.equal(noted(one, 2, false).areWoken, false);
});

test('where responses wake nobody, something else is waited for', () => {
  const askers = noted(new Askers(new Askers(null)), 100, true);
  for (let at = 0; at < 7; at++) askers.noteAwaited(false);
  assert.equal(askers.areWoken, true);
  askers.noteAwaited(false);
  assert.equal(askers.areWoken, false);
  askers.noteAwaited(true);
  assert.equal(askers.areWoken, true);
});
