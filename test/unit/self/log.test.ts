import assert from 'node:assert/strict';
import test from 'node:test';
import { clean, Logger, type LoggerOptions } from '../../../src/self/log.js';

function logger(options: Partial<LoggerOptions> = {}): { log: Logger; lines: string[]; clock: { ms: number } } {
  const lines: string[] = [];
  const clock = { ms: Date.UTC(2026, 0, 2, 3, 4, 5, 6) };
  const log = new Logger({
    level: 'info',
    format: 'text',
    write: line => lines.push(line),
    now: () => clock.ms,
    ...options,
  });
  return { log, lines, clock };
}

test('a line of text: time, level, message, fields', () => {
  const { log, lines } = logger();
  log.warn('queue is full', { exporter: 'otlp', spans: 7 });
  assert.deepEqual(lines, ['2026-01-02T03:04:05.006Z warn  queue is full exporter=otlp spans=7\n']);
});

test('a line of JSON', () => {
  const { log, lines } = logger({ format: 'json' });
  log.error('no', { reason: 'a\nb' });
  assert.deepEqual(JSON.parse(lines[0]!), {
    time: '2026-01-02T03:04:05.006Z',
    level: 'error',
    message: 'no',
    reason: 'a\nb',
  });
  assert.equal(lines[0]!.split('\n').length, 2);
});

test('levels, also changed while running', () => {
  const { log, lines } = logger({ level: 'error' });
  log.warn('a');
  log.setLevel('debug');
  log.debug('b');
  assert.equal(log.isEnabled('debug'), true);
  assert.deepEqual(
    lines.map(line => line.split(' ')[1]),
    ['debug'],
  );
});

test('the limit: once an interval for each key, and what was left out is said', () => {
  const { log, lines, clock } = logger();
  for (let index = 0; index < 5; index++) log.limited('k', 'warn', `n${index}`);
  log.limited('other', 'warn', 'x');
  clock.ms += 10_000;
  log.limited('k', 'warn', 'again', { a: 1 });
  log.limited('k', 'debug', 'too low to count');
  clock.ms += 10_000;
  log.limited('k', 'warn', 'last');
  assert.deepEqual(
    lines.map(line => line.slice(31).trimEnd()),
    ['n0', 'x', 'again a=1 repeated=4', 'last'],
  );
});

test('nothing from outside reaches the terminal as a control sequence or breaks a line', () => {
  assert.equal(clean('a\x1b[2Jb'), 'a\\x1b[2Jb');
  assert.equal(clean('a\nb\r'), 'a | b\\x0d');
  assert.equal(clean('\u009b31m \u202ex'), '\\x9b31m \\x202ex');
  assert.equal(clean('grün 漢字'), 'grün 漢字');
  assert.equal(clean('x'.repeat(5000)).length, 4099);
  const { log, lines } = logger();
  log.warn('m', { a: 'b\nc' });
  assert.equal(lines[0]!.split('\n').length, 2);
});
