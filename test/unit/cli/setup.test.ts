// setup.mjs in a checkout made for it, with an npm that only notes what it is asked for. (What it installs with apt is
// not tried here: a test must not change the machine.)
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';

const folder = mkdtempSync(path.join(tmpdir(), 'underspan-setup-'));
after(() => rmSync(folder, { recursive: true }));
let checkouts = 0;

const NPM = `#!/bin/sh
echo "$@" >>npm.log
case "$1" in
ci) mkdir -p node_modules && cp package-lock.json node_modules/.package-lock.json ;;
run)
	[ -e broken ] && { echo 'error TS1234'; exit 2; }
	mkdir -p dist/src build
	for source in src/*.ts; do : >"dist/src/$(basename "$source" .ts).js"; done
	: >build/underspan.bpf.o
	: >build/host.node
	;;
esac
`;

class Checkout {
  readonly root = path.join(folder, String(checkouts++));

  constructor() {
    this.write('bin/npm', NPM, 0o755);
    this.write('package.json', JSON.stringify({ engines: { node: '>=20.6' } }));
    this.write('src/main.ts', '');
    this.write('src/other.ts', '');
    this.lock('1.0.0');
    copyFileSync('setup.mjs', path.join(this.root, 'setup.mjs'));
  }

  write(name: string, text: string, mode = 0o644): void {
    const file = path.join(this.root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text, { mode });
  }

  lock(version: string): void {
    const foreign = { 'node_modules/foreign': { version: '1.0.0', optional: true } };
    this.write(
      'package-lock.json',
      JSON.stringify({ packages: { '': {}, 'node_modules/a': { version }, ...foreign } }),
    );
  }

  has(name: string): boolean {
    return existsSync(path.join(this.root, name));
  }

  /** The exit code, what npm was asked for, and what was said. */
  setup(mode = 'build') {
    rmSync(path.join(this.root, 'npm.log'), { force: true });
    const env = { ...process.env, PATH: `${path.join(this.root, 'bin')}:${process.env.PATH}` };
    const { status, stderr } = spawnSync(process.execPath, ['setup.mjs', mode], {
      cwd: this.root,
      encoding: 'utf8',
      env,
    });
    const log = this.has('npm.log') ? readFileSync(path.join(this.root, 'npm.log'), 'utf8') : '';
    return {
      code: status,
      npm: log
        .split('\n')
        .map(line => line.split(' ')[0])
        .filter(Boolean),
      said: stderr,
    };
  }
}

test('a fresh checkout is installed and built; then there is nothing to do', () => {
  const checkout = new Checkout();
  const first = checkout.setup();
  assert.deepEqual([first.code, first.npm], [0, ['ci', 'run']], first.said);
  // Fast, since no process is started and nothing is said; a clock would judge the machine's load.
  assert.deepEqual(checkout.setup(), { code: 0, npm: [], said: '' });
});

test('a newer source is built, a newer lock file is installed', () => {
  const checkout = new Checkout();
  checkout.setup();
  const later = new Date(Date.now() + 2000);
  utimesSync(path.join(checkout.root, 'src/other.ts'), later, later);
  assert.deepEqual(checkout.setup().npm, ['run']);
  checkout.lock('1.0.1');
  assert.deepEqual(checkout.setup().npm[0], 'ci');
});

test('a missing output is built; what a removed source left behind is removed', () => {
  const checkout = new Checkout();
  checkout.setup();
  rmSync(path.join(checkout.root, 'build/host.node'));
  assert.deepEqual(checkout.setup().npm, ['run']);
  assert.ok(checkout.has('dist/src/other.js'));
  rmSync(path.join(checkout.root, 'src/other.ts'));
  assert.deepEqual(checkout.setup().npm, ['run']);
  assert.ok(!checkout.has('dist/src/other.js') && checkout.has('dist/src/main.js'));
});

test('a build that fails: its output, exit code 1, and the next try builds again', () => {
  const checkout = new Checkout();
  checkout.write('broken', '');
  const failed = checkout.setup();
  assert.equal(failed.code, 1);
  assert.match(failed.said, /error TS1234.*failed with exit code 2/s);
  rmSync(path.join(checkout.root, 'broken'));
  assert.deepEqual([checkout.setup().code, checkout.setup().npm], [0, []]);
});

test('an old Node and an unknown mode', () => {
  const checkout = new Checkout();
  checkout.write('package.json', JSON.stringify({ engines: { node: '>=99.1' } }));
  const old = checkout.setup();
  assert.equal(old.code, 3);
  assert.match(old.said, /Node 99\.1 or newer is needed, this is \d/);
  const unknown = checkout.setup('everything');
  assert.equal(unknown.code, 2);
  assert.match(unknown.said, /usage: node setup\.mjs (\w+\|)*build\|test\|bench/);
});

test('package-lock.json is complete: npm ci refuses one that leaves out the packages of other platforms', () => {
  interface Entry {
    readonly dependencies?: Readonly<Record<string, string>>;
    readonly optionalDependencies?: Readonly<Record<string, string>>;
  }
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, Entry> };
  const missing = Object.entries(packages).flatMap(([place, entry]) =>
    Object.keys({ ...entry.dependencies, ...entry.optionalDependencies }).filter(
      name => !(`node_modules/${name}` in packages) && !(`${place}/node_modules/${name}` in packages),
    ),
  );
  assert.deepEqual(missing, []);
});
