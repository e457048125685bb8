// The contract between bpf/event.h and src/records/records.gen.ts: the generated file is the committed one, and a change
// of a struct without new readers fails the check (as it fails the build).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const CODEGEN = fileURLToPath(new URL('../../../bpf/codegen/records.js', import.meta.url));
const COMMITTED = 'src/records/records.gen.ts';

function folder(context: TestContext): string {
  const made = mkdtempSync(path.join(tmpdir(), 'underspan-codegen-'));
  context.after(() => rmSync(made, { recursive: true }));
  return made;
}

/** Compiles event_anchor.c with event.h as `change` makes it. */
function compile(directory: string, change: (header: string) => string): string {
  const header = readFileSync('bpf/event.h', 'utf8');
  const changed = change(header);
  writeFileSync(path.join(directory, 'event.h'), changed);
  copyFileSync('bpf/event_anchor.c', path.join(directory, 'event_anchor.c'));
  const object = path.join(directory, 'event_anchor.o');
  const include = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  const flags = ['-g', '-O2', '-target', 'bpf', `-I${include}`, '-c', path.join(directory, 'event_anchor.c')];
  const result = spawnSync('clang', [...flags, '-o', object], { encoding: 'utf8' });
  assert.equal(result.status, 0, result.stderr);
  return object;
}

function run(...argv: string[]): { status: number | null; stderr: string } {
  const { status, stderr } = spawnSync(process.execPath, [CODEGEN, ...argv], { encoding: 'utf8' });
  return { status, stderr };
}

test('what event.h generates is what is committed', context => {
  const directory = folder(context);
  const object = compile(directory, header => header);
  const target = path.join(directory, 'records.gen.ts');
  assert.equal(run(object, target).status, 0);
  assert.equal(readFileSync(target, 'utf8'), readFileSync(COMMITTED, 'utf8'));
  assert.equal(run('--check', object, COMMITTED).status, 0);
});

test('a moved field, a new value of an enum, a changed size: each is noticed', context => {
  for (const change of [
    (header: string) => header.replace(/(__u32 slot;\n\t)(__u32 generation;)/, '__u32 generation;\n\t__u32 slot;'),
    (header: string) => header.replace('EVENT_PROGRESS = 9,', 'EVENT_PROGRESS = 10,'),
    (header: string) =>
      header
        .replace('#define EVENT_PATH_MAX 112', '#define EVENT_PATH_MAX 120')
        .replace(/_Static_assert.*opened.*\n/, ''),
    (header: string) => header.replace('__u16 error_number; /* errno with', '__s16 error_number; /* errno with'),
  ]) {
    assert.notEqual(change(readFileSync('bpf/event.h', 'utf8')), readFileSync('bpf/event.h', 'utf8'));
    const { status, stderr } = run('--check', compile(folder(context), change), COMMITTED);
    assert.equal(status, 1);
    assert.match(stderr, /does not match bpf\/event\.h/);
  }
});

test('without arguments it says how it is used', () => {
  const { status, stderr } = run();
  assert.equal(status, 2);
  assert.match(stderr, /^usage: /);
});
