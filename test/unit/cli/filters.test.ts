import assert from 'node:assert/strict';
import test from 'node:test';
import { parseArguments } from '../../../src/cli/command.js';
import { COMMANDS } from '../../../src/cli/commands.js';
import {
  compilePathGlob,
  createFilter,
  filtersFrom,
  parseDuration,
  parsePorts,
  parseStatus,
} from '../../../src/cli/filters.js';
import type { TraceFilters } from '../../../src/cli/options.js';
import type { SpanFacts } from '../../../src/exporters/console-span.js';

const TRACE = COMMANDS.find(command => command.name === 'trace')!;

function filters(...words: string[]): TraceFilters {
  return filtersFrom(parseArguments(TRACE, words)!, true);
}

test('durations', () => {
  assert.equal(parseDuration('200ms'), 200e6);
  assert.equal(parseDuration('1.5s'), 1.5e9);
  assert.equal(parseDuration('500us'), 500e3);
  assert.equal(parseDuration('500µs'), 500e3);
  assert.equal(parseDuration('2m'), 120e9);
  for (const wrong of ['', '200', 'ms', '-1s', '1h', '1 s', '1e3ms', '.5s'])
    assert.equal(parseDuration(wrong), null, wrong);
});

test('statuses', () => {
  assert.deepEqual(parseStatus('500'), { first: 500, last: 500 });
  assert.deepEqual(parseStatus('5xx'), { first: 500, last: 599 });
  assert.deepEqual(parseStatus('4XX'), { first: 400, last: 499 });
  assert.deepEqual(parseStatus('400-404'), { first: 400, last: 404 });
  for (const wrong of ['', '5', '50x', '6xx', '404-400', '099', '1000']) assert.equal(parseStatus(wrong), null, wrong);
});

test('ports', () => {
  assert.deepEqual(parsePorts('80,8000-8001'), [
    { first: 80, last: 80 },
    { first: 8000, last: 8001 },
  ]);
  for (const wrong of ['', '0', '70000', '9-8', '80,', 'http']) assert.equal(parsePorts(wrong), null, wrong);
});

test('globs on paths', () => {
  const matches = (glob: string, path: string) => compilePathGlob(glob).test(path);
  assert.ok(matches('/users/*', '/users/7'));
  assert.ok(!matches('/users/*', '/users/7/orders'));
  assert.ok(matches('/users/**', '/users/7/orders'));
  assert.ok(matches('/a?c', '/abc') && !matches('/a?c', '/a/c'));
  assert.ok(matches('/a.b(c)[d]{e}|$', '/a.b(c)[d]{e}|$') && !matches('/a.b', '/axb'));
  assert.ok(!matches('/a', '/ab') && !matches('/a', '/b/a'));
});

test('all filters that are given must hold', () => {
  const facts: SpanFacts = { path: '/api/x', status: 503, durationNs: 300e6, port: 8080 };
  const shows = (...words: string[]) => createFilter(filters(...words))?.(facts) ?? true;
  assert.ok(shows());
  assert.ok(shows('--path', '/api/**', '--status', '5xx', '--min-duration', '300ms', '--port', '8000-9000'));
  assert.ok(!shows('--path', '/web/**'));
  assert.ok(!shows('--status', '4xx'));
  assert.ok(!shows('--min-duration', '301ms'));
  assert.ok(!shows('--port', '80', '--port', '443'));
  assert.ok(shows('--port', '80', '--port', '8080'));
});

test('of a kernel, ports select connections: what these say of their port does not matter', () => {
  const live = filtersFrom(parseArguments(TRACE, ['--port', '8080'])!, false);
  assert.deepEqual(live, {});
  assert.equal(createFilter(live), null);
});

test('a wrong filter is a usage error that says what is expected', () => {
  const cases = [
    ['--status', '5x', '--status 5x: expected a status like 500, 5xx or 400-499'],
    ['--min-duration', '200', '--min-duration 200: expected a duration like 200ms, 1.5s or 500us'],
    ['--port', 'http', '--port http: expected a port like 80 or 8000-8999'],
  ] as const;
  for (const [flag, value, message] of cases) assert.throws(() => filters(flag, value), { code: 'USAGE', message });
});
