// Where tasks of asyncio are followed, in the interpreter that is there and in its module: both are stripped in most systems.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';
import { Executable } from '../../../src/discovery/executable.js';
import { executorPlaces, queuePlaces } from '../../../src/discovery/python-queues.js';
import { TASK_SYMBOLS, type TaskPlace, taskPlaces } from '../../../src/discovery/python-tasks.js';
import { targetsIn } from '../../../src/discovery/targets.js';

const PYTHON = '/usr/bin/python3';
/** The interpreter's code, its own or a library's, and asyncio's, which may be a part of it. */
const SCRIPT = `
import _asyncio, re
print(getattr(_asyncio, '__file__', ''))
print(next((line.split()[-1] for line in open('/proc/self/maps') if re.search(r'libpython3.d', line)), ''))
`;

const directory = mkdtempSync(path.join(tmpdir(), 'underspan-python-'));
after(() => rmSync(directory, { recursive: true }));

function places(file: string): readonly TaskPlace[] | string | null {
  const executable = Executable.open(file) as Executable;
  const found = taskPlaces(executable, executable.dynamicSymbols(TASK_SYMBOLS), 'x64');
  if (found !== null && typeof found !== 'string') {
    for (const { offsets } of found) for (const offset of offsets) assert.ok(executable.isCode(offset));
  }
  executable.close();
  return found;
}

function files(): readonly [string, string] {
  const [module = '', library = ''] = execFileSync(PYTHON, ['-c', SCRIPT], { encoding: 'utf8' }).split('\n');
  const interpreter = library === '' ? realpathSync(PYTHON) : library;
  return [interpreter, module === '' ? interpreter : module];
}

test('contexts are followed where they are freed, copied and run, in that order; futures where they are set', () => {
  const found = [...new Set(files())].map(places);
  assert.ok(
    found.every(one => one !== null && typeof one !== 'string'),
    JSON.stringify(found),
  );
  const all = (found as readonly (readonly TaskPlace[])[]).flat();
  const expected = ['python_freed', 'python_copied', 'python_run', 'python_entered', 'python_future_set'];
  const known = [...all].sort((one, other) => expected.indexOf(one.program) - expected.indexOf(other.program));
  assert.deepEqual(
    known.map(({ program, isReturn }) => [program, isReturn]),
    expected.map(program => [program, program === 'python_copied']),
  );
  assert.deepEqual(
    all.map(({ program }) => program).filter(program => program !== 'python_future_set'),
    expected.slice(0, 4),
  );
});

test('uvloop is followed where its streams are written, in a build whose names lie in the ends of others', () => {
  const folder = '/usr/lib/python3/dist-packages/uvloop';
  const module = readdirSync(folder).find(name => /^loop\..*\.so$/.test(name));
  const found = places(path.join(folder, String(module)));
  assert.ok(found !== null && typeof found !== 'string', String(found));
  assert.deepEqual(
    found.map(({ program }) => program),
    ['uvloop_write'],
  );
  // write and writelines: of streams, of TLS over them, of their common ancestor.
  assert.ok((found[0]?.offsets.length ?? 0) >= 4, JSON.stringify(found));
});

test('queues are followed where they are filled and emptied: deques and buffers, and locks of futures', () => {
  const [interpreter] = files();
  const executable = Executable.open(interpreter) as Executable;
  const found = queuePlaces(executable, 'x64');
  for (const { offsets } of found) for (const offset of offsets) assert.ok(executable.isCode(offset));
  executable.close();
  assert.deepEqual(
    found.map(({ program, offsets }) => [program, offsets.length]),
    // Buffers also by their operators.
    Object.entries({
      ...{ deque_popleft: 1, deque_append: 1, buffer_find: 2, buffer_extend: 2 },
      ...{ lock_freed: 1, lock_taken: 2, deque_remove: 1 },
    }).map(([name, count]) => [`python_${name}`, count]),
  );
});

test('executors are followed where their queues are filled and emptied, in the module that has these', () => {
  const script = "import _queue; print(getattr(_queue, '__file__', ''))";
  const module = execFileSync(PYTHON, ['-c', script], { encoding: 'utf8' }).trim();
  const executable = Executable.open(module === '' ? files()[0] : module) as Executable;
  const found = executorPlaces(executable, 'x64');
  for (const { offsets } of found) for (const offset of offsets) assert.ok(executable.isCode(offset));
  executable.close();
  assert.deepEqual(
    found.map(({ program, offsets, isReturn }) => [program, offsets.length, isReturn]),
    ['got', 'get', 'put'].map(name => [`python_queue_${name}`, 2, name === 'got']),
  );
});

test('what is neither an interpreter nor asyncio has no such places', () =>
  assert.equal(places(process.execPath), null));

test('a damaged file gives fewer places, and no exception', () => {
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed % below;
  };
  const [, module] = files();
  const whole = readFileSync(module);
  const file = path.join(directory, 'damaged');
  for (let round = 0; round < 60; round++) {
    const bytes = Buffer.from(whole.subarray(0, 4 << 20));
    for (let at = 0; at < 400; at++) bytes[64 + random(bytes.length - 64)] = random(256);
    writeFileSync(file, bytes);
    const executable = Executable.open(file);
    if (executable === null) continue;
    taskPlaces(executable, executable.dynamicSymbols(TASK_SYMBOLS), 'x64');
    executable.close();
  }
});

test('greenlets are followed where they are made, end and are switched to, and where gevent schedules, in builds without their own symbols', () => {
  const folder = '/usr/lib/python3/dist-packages/greenlet';
  const module = readdirSync(folder).find(name => /^_greenlet\..*\.so$/.test(name));
  const loopFolder = '/usr/lib/python3/dist-packages/gevent/libev';
  const loop = readdirSync(loopFolder).find(name => /^corecext\..*\.so$/.test(name));
  const programs = [path.join(folder, String(module)), path.join(loopFolder, String(loop))].map(file => {
    const executable = Executable.open(file) as Executable;
    const found = targetsIn(executable).filter(({ kind }) => kind === 'greenlets');
    for (const { attachments } of found)
      for (const { offsets } of attachments) for (const offset of offsets) assert.ok(executable.isCode(offset));
    executable.close();
    return found.flatMap(({ attachments }) => attachments.map(({ program, offsets }) => [program, offsets.length]));
  });
  assert.deepEqual(programs, [
    [
      ['greenlet_made', 1],
      ['greenlet_ended', 1],
      ['greenlet_switched', 1],
    ],
    [['greenlet_schedules', 1]],
  ]);
});
