// Flags become the strongest layer of the configuration.
import assert from 'node:assert/strict';
import test from 'node:test';
import { parseArguments } from '../../../src/cli/command.js';
import { COMMANDS } from '../../../src/cli/commands.js';
import { settingsFrom } from '../../../src/cli/settings.js';
import { loadConfig } from '../../../src/config/load.js';
import type { Config } from '../../../src/config/schema.js';

function configOf(mode: 'run' | 'trace' | 'record' | 'replay', ...words: string[]): Config {
  const command = COMMANDS.find(candidate => candidate.name === mode)!;
  const settings = settingsFrom(parseArguments(command, words)!, mode);
  return loadConfig({ environment: { OTEL_TRACES_EXPORTER: 'otlp' }, settings }).config;
}

const ports = (first: number, last = first) => [{ first, last }];

test('values of one flag are alternatives, different flags hold together', () => {
  assert.deepEqual(configOf('trace', '--pid', '1', '-p', '2').selection.include, [{ pid: 1 }, { pid: 2 }]);
  assert.deepEqual(configOf('trace', '--exe', 'a', '--exe', 'b', '--script', 's').selection.include, [
    { exe: 'a', script: 's' },
    { exe: 'b', script: 's' },
  ]);
});

test("a port is the server's own or the one a client talks to", () => {
  assert.deepEqual(configOf('run', '--exe', 'a', '--port', '8000-8999').selection.include, [
    { exe: 'a', listenPort: ports(8000, 8999) },
    { exe: 'a', peerPort: ports(8000, 8999) },
  ]);
  const [server] = configOf('run', '--port', '80,81', '--port', '90').selection.include;
  assert.deepEqual(server, { listenPort: [...ports(80), ...ports(81), ...ports(90)] });
});

test('more combinations than the kernel can hold are refused', () => {
  const words = Array.from({ length: 32 }, (_, index) => ['--pid', String(index + 1)]).flat();
  assert.throws(() => configOf('trace', ...words), {
    code: 'CONFIG_INVALID',
    message: /--pid: has 32 entries, at most 31/,
  });
});

test('a quick look needs no listener and no backend, unless --set asks for it', () => {
  const quick = configOf('trace');
  assert.deepEqual(quick.traces.exporters, ['console']);
  assert.deepEqual(quick.metrics.exporters, ['none']);
  assert.equal(quick.admin.enabled, false);
  const asked = configOf('trace', '--set', 'admin.enabled=true', '--set', 'traces.exporters=console,otlp');
  assert.equal(asked.admin.enabled, true);
  assert.deepEqual(asked.traces.exporters, ['console', 'otlp']);
});

test('run and record export as configured; a replay selects nothing', () => {
  assert.deepEqual(configOf('run').traces.exporters, ['otlp']);
  const recording = configOf('record', 'FILE');
  assert.deepEqual(recording.traces.exporters, ['otlp']);
  assert.equal(recording.admin.enabled, true);
  const replay = configOf('replay', 'FILE', '--port', '80');
  assert.deepEqual(replay.selection.include, []);
  assert.equal(replay.admin.enabled, false);
});

test('--set and --log-level', () => {
  assert.equal(configOf('run', '--log-level', 'debug').log.level, 'debug');
  assert.equal(configOf('run', '--set', 'otlp.endpoint=http://a:1?x=y').otlp.traces.endpoint, 'http://a:1?x=y');
  assert.throws(() => configOf('run', '--set', 'nothing'), {
    code: 'USAGE',
    message: '--set nothing: expected PATH=VALUE',
  });
  assert.throws(() => configOf('run', '--log-level', 'loud'), {
    code: 'CONFIG_INVALID',
    message: /^--log-level: expected/,
  });
  assert.throws(() => configOf('run', '--pid', '1x'), { code: 'USAGE', message: '--pid 1x: expected a process id' });
});
