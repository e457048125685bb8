// What the kernel matrix demands of the agent's books: the one page is in order, and everything that is not is named.
import assert from 'node:assert/strict';
import test from 'node:test';
import { parseSamples, readCoverage } from '../../../src/cli/coverage.js';
import { faultsOfBooks, withoutSkipped } from '../../kernels/books.js';

/** A page with two exchanges that were exported, one that was left out on purpose, and `lines`. */
function faults(lines: readonly string[], unseenBytes = 0, begun = 3): string[] {
  const page = [
    `underspan_exchanges_begun_total{job="shop"} ${begun}`,
    'underspan_exchanges_ended_total{job="shop",outcome="exported"} 2',
    'underspan_exchanges_ended_total{job="shop",outcome="otlp"} 1',
    'underspan_exchanges_open 0',
    ...lines,
  ].join('\n');
  const coverage = readCoverage(parseSamples(page));
  assert.ok(coverage !== null);
  return faultsOfBooks(coverage, unseenBytes);
}

test('books without a loss are in order; what is left out on purpose is no loss', () => {
  const none = 'underspan_records_dropped_total{reason="data_ring_full"} 0';
  assert.deepEqual(faults([none, 'underspan_connections_dropped_total{reason="unknown_protocol"} 14']), []);
});

test('each kind of loss is named', () => {
  const lost = [
    'underspan_records_dropped_total{reason="unknown_connection"} 2',
    'underspan_connections_dropped_total{reason="slots_exhausted"} 1',
    'underspan_kernel_events_total{kind="read_fault"} 3',
    'underspan_spans_dropped_total{reason="queue_full"} 4',
  ];
  assert.deepEqual(faults(lost), [
    'records lost: unknown_connection 2',
    'connections not followed: slots_exhausted 1',
    'calls not read in full: read_fault 3',
    'spans lost: queue_full 4',
  ]);
  const gap = ['underspan_exchanges_ended_total{job="shop",outcome="gap"} 1'];
  assert.deepEqual(faults(gap, 0, 4), ['exchanges: otlp 1', 'exchanges: gap 1']);
  assert.deepEqual(faults([], 0, 4), ['1 exchanges should be open and 0 are']);
});

test('no more bytes are missed than went by unseen', () => {
  const missed = (bytes: number) => [`underspan_bytes_missed_bytes_total{reason="no_call_seen"} ${bytes}`];
  assert.deepEqual(faults(missed(1234), 1234), []);
  assert.deepEqual(faults(missed(6.7e9), 1234), ['6700000000 bytes are missed, and 1234 went by unseen']);
  assert.deepEqual(faults([], 1234), []);
  assert.deepEqual(faults(missed(1)), ['1 bytes are missed, and 0 went by unseen']);
});

test('runs that a preempting kernel skipped are taken out of the books, and where they are costly, what was lost for them', () => {
  const page = [
    'underspan_exchanges_begun_total{job="shop"} 3',
    'underspan_exchanges_ended_total{job="shop",outcome="exported"} 2',
    'underspan_exchanges_ended_total{job="shop",outcome="gap"} 1',
    'underspan_exchanges_open 0',
    'underspan_records_dropped_total{reason="missed_runs"} 4',
    'underspan_records_dropped_total{reason="data_ring_full"} 1',
    'underspan_bytes_missed_bytes_total{reason="no_call_seen"} 70',
  ].join('\n');
  const coverage = readCoverage(parseSamples(page));
  assert.ok(coverage !== null);
  assert.deepEqual(faultsOfBooks(withoutSkipped(coverage, true), 0), ['records lost: data_ring_full 1']);
  assert.deepEqual(faultsOfBooks(withoutSkipped(coverage, false), 0), [
    'records lost: data_ring_full 1',
    'exchanges: gap 1',
    '70 bytes are missed, and 0 went by unseen',
  ]);
});
