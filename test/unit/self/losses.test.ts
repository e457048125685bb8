import assert from 'node:assert/strict';
import test from 'node:test';
import { DROP_REASONS, type DropReason } from '../../../src/exchanges/matcher.js';
import { type Losses, LossTeller } from '../../../src/self/losses.js';

const SECOND = 1e9;
const START = 5000 * SECOND;

function losses(dropped: Partial<Record<DropReason, number>> = {}, more: Partial<Losses> = {}): Losses {
  const none = Object.fromEntries(DROP_REASONS.map(reason => [reason, 0])) as Record<DropReason, number>;
  return { dropped: { ...none, ...dropped }, untold: 0, records: 0, connections: 0, ...more };
}

test('nothing is said while nothing is lost, nor of what was asked for', () => {
  const teller = new LossTeller();
  assert.equal(teller.tell(losses(), START), null);
  const asked = { sampled: 5, otlp: 1, filtered: 7, no_exporter: 2, budget: 9, unfinished: 3, unsynced: 4 };
  assert.equal(teller.tell(losses(asked), START + SECOND, true), null);
});

test('the first loss is told at once, with causes and a remedy', () => {
  const teller = new LossTeller();
  const text = teller.tell(losses({ ring_full: 70, gap: 2 }, { untold: 8, records: 150 }), START);
  assert.match(text ?? '', /^80 requests have no span \(ring_full 70, gap 2, not seen at all 8\); 150 records/);
  assert.match(text ?? '', /kernel\.data_ring_bytes/);
  assert.match(
    teller.tell(losses({}, { connections: 3 }), START, true) ?? '',
    /3 connections .*kernel\.max_connections/,
  );
});

test('what goes on is told after fifteen seconds, then every minute, each time what is new; at the end the rest', () => {
  const teller = new LossTeller();
  const told: [number, string][] = [];
  for (let second = 0; second < 200; second++) {
    const text = teller.tell(losses({ ring_full: 10 * (second + 1) }), START + second * SECOND);
    if (text !== null) told.push([second, text]);
  }
  const last = teller.tell(losses({ ring_full: 2000 }), START + 200 * SECOND, true);
  assert.deepEqual(
    told.map(([second]) => second),
    [0, 15, 75, 135, 195],
  );
  const counts = [...told.map(([, text]) => text), last ?? ''].map(text => Number(/^(\d+) requests/.exec(text)?.[1]));
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    2000,
  );
});

test('after a calm the next loss is told at once again', () => {
  const teller = new LossTeller();
  for (const second of [0, 15, 20]) teller.tell(losses({ gap: second + 1 }), START + second * SECOND);
  assert.notEqual(teller.tell(losses({ gap: 100 }), START + 400 * SECOND), null);
});
