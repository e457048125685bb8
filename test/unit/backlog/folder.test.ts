// The folder of the backlogs: one agent at a time, one folder a destination, and nothing kept for ever.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { BacklogFolder } from '../../../src/backlog/folder.js';
import { lockFolder } from '../../../src/backlog/folder-lock.js';

const root = mkdtempSync(join(tmpdir(), 'underspan-folder-'));
after(() => rmSync(root, { recursive: true }));

let folders = 0;
const settings = (directory = join(root, String(folders++))) => ({
  directory,
  maxBytes: 1 << 20,
  maxAgeMs: 60_000,
  minFreeBytes: 0,
});

test('the second agent of a folder is told so, until the first has ended', async () => {
  const warnings: string[] = [];
  const own = settings();
  const first = await BacklogFolder.open(own, () => assert.fail());
  assert.equal(await BacklogFolder.open(own, message => warnings.push(message)), null);
  assert.match(warnings[0] ?? '', /another agent uses .*queue\.directory/);
  await first?.close();
  const third = await BacklogFolder.open(own, () => assert.fail());
  assert.ok(third !== null);
  await third.close();
  assert.deepEqual(readdirSync(own.directory), []);
});

test('an agent that was killed does not hold its folder; a folder deep down can be held', async () => {
  const folder = join(root, 'deep'.repeat(40), 'deeper'.repeat(20));
  mkdirSync(folder, { recursive: true });
  const module = new URL('../../../src/backlog/folder-lock.js', import.meta.url).href;
  const script = `const { lockFolder } = await import(${JSON.stringify(module)});
    console.log((await lockFolder(${JSON.stringify(folder)})) !== null);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  assert.equal(said.toString().trim(), 'true');
  assert.equal(await lockFolder(folder), null);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.ok(existsSync(join(folder, 'lock')));
  const lock = await lockFolder(folder);
  assert.ok(lock !== null);
  await lock.release();
  assert.equal(existsSync(join(folder, 'lock')), false);
});

test('only its owner reads what is kept', async () => {
  const own = settings();
  const folder = await BacklogFolder.open(own, () => assert.fail());
  const backlog = await folder?.openBacklog('otlp traces to a:4317 (grpc)', 1);
  await backlog?.append({ bytes: Buffer.from('x'), itemCount: 1, offeredUnixMs: Date.now() });
  const [name] = readdirSync(own.directory).filter(entry => entry !== 'lock');
  const inside = join(own.directory, name as string);
  assert.equal(statSync(own.directory).mode & 0o077, 0);
  for (const file of readdirSync(inside)) assert.equal(statSync(join(inside, file)).mode & 0o077, 0);
  await backlog?.close();
  await folder?.close();
});

test('destinations do not share what is kept, and come back to their own', async () => {
  const own = settings();
  for (const round of [0, 1]) {
    const folder = await BacklogFolder.open(own, () => assert.fail());
    for (const name of [
      'otlp traces to a:4317 (grpc)',
      'otlp traces to a:4317 (http)',
      'otlp metrics to a:4317 (grpc)',
    ]) {
      const backlog = await folder?.openBacklog(name, 1 / 3);
      assert.equal(backlog?.itemCount, round);
      if (round === 0) await backlog?.append({ bytes: Buffer.from(name), itemCount: 1, offeredUnixMs: Date.now() });
      else assert.equal(Buffer.from((await backlog?.next())?.bytes ?? []).toString(), name);
      await backlog?.close();
    }
    await folder?.close();
  }
});

test('what was kept for a destination that is gone is deleted when it is too old, and nothing else is', async () => {
  const own = settings();
  const old = new Date(Date.now() - 120_000);
  for (const [name, time] of [
    ['gone-0123456789ab', old],
    ['fresh-0123456789ab', new Date()],
    ['not ours', old],
  ] as const) {
    mkdirSync(join(own.directory, name), { recursive: true });
    writeFileSync(join(own.directory, name, '0000000001.log'), 'x');
    utimesSync(join(own.directory, name, '0000000001.log'), time, time);
  }
  const warnings: string[] = [];
  const folder = await BacklogFolder.open(own, message => warnings.push(message));
  await folder?.removeForgotten();
  assert.deepEqual(readdirSync(own.directory).sort(), ['fresh-0123456789ab', 'lock', 'not ours']);
  assert.equal(warnings.length, 1);
  await folder?.close();
});

test('a folder that cannot be used costs the keeping, and says so', async () => {
  const file = join(root, 'file');
  writeFileSync(file, '');
  chmodSync(file, 0o600);
  const warnings: string[] = [];
  assert.equal(await BacklogFolder.open(settings(join(file, 'below')), message => warnings.push(message)), null);
  assert.match(warnings[0] ?? '', /queue\.directory cannot be used: .*memory only.*ENOTDIR/);
});
