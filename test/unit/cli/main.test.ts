// The built command line as a process: help, versions, usage errors, streams that close.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { commandHelp } from '../../../src/cli/command.js';
import { COMMANDS } from '../../../src/cli/commands.js';

const MAIN = fileURLToPath(new URL('../../../src/main.js', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'underspan-main-'));
after(() => rmSync(folder, { recursive: true }));

function underspan(words: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { PATH = '' } = process.env;
  const result = spawnSync(process.execPath, [MAIN, ...words], { encoding: 'utf8', env: { PATH, ...env } });
  return { code: result.status, out: result.stdout, error: result.stderr };
}

test('help names every command, and every option of a command', () => {
  const { code, out, error } = underspan(['--help']);
  assert.equal(code, 0);
  assert.equal(error, '');
  for (const command of COMMANDS) assert.ok(out.includes(`  ${command.name} `), command.name);
  for (const command of COMMANDS) {
    const help = commandHelp(command);
    for (const [name, option] of Object.entries(command.options)) {
      assert.match(help, new RegExp(`--${option.isNegated === true ? 'no-' : ''}${name}`), `${command.name} ${name}`);
    }
    for (const line of help.split('\n')) assert.ok(line.length <= 120, line);
  }
  assert.equal(underspan(['trace', '--help']).out, commandHelp(COMMANDS.find(({ name }) => name === 'trace')!));
  assert.equal(
    underspan(['help', 'config', 'check']).out,
    commandHelp(COMMANDS.find(({ name }) => name === 'config check')!),
  );
});

test('no command: help, and the exit code of a usage error', () => {
  const { code, out } = underspan([]);
  assert.equal(code, 2);
  assert.match(out, /Usage: underspan COMMAND/);
});

test('usage errors: what is wrong, what was meant, where to look; exit code 2, no stack', () => {
  const cases: readonly (readonly [words: readonly string[], message: string])[] = [
    [['runn'], "unknown command 'runn' (did you mean run?)\n  See `underspan --help`."],
    [['config'], 'expected config check, config print, config schema\n  See `underspan --help`.'],
    [['config', 'chck'], "expected config check, config print, config schema, not 'chck'\n  See `underspan --help`."],
    [['run', '--confg', 'x'], 'unknown option --confg (did you mean --config?)\n  See `underspan run --help`.'],
    [['run', '--config'], "option '-c, --config <value>' argument missing\n  See `underspan run --help`."],
    [['run', '--config', 'a', '--config', 'b'], '--config is given twice\n  See `underspan run --help`.'],
    [['trace', '--json=x'], "option '--json' does not take an argument\n  See `underspan trace --help`."],
    [['run', 'extra'], "unexpected argument 'extra'\n  See `underspan run --help`."],
    [['record'], 'FILE is missing\n  See `underspan record --help`.'],
    [
      ['trace', '--status', 'x'],
      '--status x: expected a status like 500, 5xx or 400-499\n  See `underspan trace --help`.',
    ],
  ];
  for (const [words, message] of cases) {
    const { code, out, error } = underspan(words);
    assert.deepEqual({ code, out, error }, { code: 2, out: '', error: `underspan: ${message}\n` }, words.join(' '));
  }
});

test('config check: file, line and column; exit code 2', () => {
  const file = path.join(folder, 'wrong.yaml');
  writeFileSync(file, 'log:\n  levl: info\n');
  const { code, error } = underspan(['config', 'check', '-c', file]);
  assert.equal(code, 2);
  assert.match(
    error,
    new RegExp(`^underspan: ${file}:2:3: log: unknown key "levl" \\(did you mean level\\?\\); allowed here`),
  );
  writeFileSync(file, 'log:\n  level: info\n');
  assert.deepEqual(underspan(['config', 'check', '-c', file]), { code: 0, out: `${file}: ok\n`, error: '' });
  assert.equal(underspan(['config', 'check'], { UNDERSPAN_CONFIG: file }).out, `${file}: ok\n`);
});

test('config check: certificates that cannot be read, as `run` would say it', () => {
  const file = path.join(folder, 'files.yaml');
  const cases: [string, RegExp][] = [
    [
      'otlp: { traces: { endpoint: "https://a:4317", certificate: /none/ca.pem } }',
      /over OTLP: ENOENT.*\/none\/ca\.pem/,
    ],
    ['traces: { join: { redis: { url: "rediss://a", certificate: /none/ca.pem } } }', /redis: ENOENT.*\/none\/ca\.pem/],
    ['traces: { join: { redis: { url: "redis://a", also: ["a b"] } } }', /a b/],
  ];
  for (const [text, message] of cases) {
    writeFileSync(file, text);
    const { code, error } = underspan(['config', 'check', '-c', file]);
    assert.equal(code, 2, error);
    assert.match(error, message);
  }
});

test('config print and schema', () => {
  const { code, out } = underspan(['config', 'print'], { OTEL_LOG_LEVEL: 'warn' });
  assert.equal(code, 0);
  assert.match(out, /level: warn # OTEL_LOG_LEVEL/);
  assert.equal(JSON.parse(underspan(['config', 'schema']).out).title, 'Underspan');
});

test('a recording that is not there: exit code 2', () => {
  const file = path.join(folder, 'none.rec');
  const { code, error } = underspan(['replay', file]);
  assert.equal(code, 2);
  assert.match(error, new RegExp(`^underspan: cannot read the recording ${file}: ENOENT`));
});

test('disabled: nothing to do, exit code 0', () => {
  const { code, error } = underspan(['run'], { OTEL_SDK_DISABLED: 'true' });
  assert.equal(code, 0);
  assert.match(error, /disabled/);
});

test('a reader that goes away ends a command quietly', async () => {
  const child = spawn(process.execPath, [MAIN, 'config', 'schema'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let error = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    error += text;
  });
  const code = await new Promise(resolve => child.on('close', resolve));
  assert.equal(error, '');
  assert.equal(code, 0);
});
