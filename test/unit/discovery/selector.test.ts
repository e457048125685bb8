import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Config } from '../../../src/config/schema.js';
import { compileGlob } from '../../../src/discovery/glob.js';
import {
  compileNameRules,
  compileSelection,
  type Masks,
  type SelectorCriteria,
} from '../../../src/discovery/selector.js';
import type { ProcessFacts } from '../../../src/enrichment/process-facts.js';
import { facts } from '../enrichment/facts.js';

const ID = '3f1c9b6e0a7d4852b1c0e9f8a7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4';
const python = facts('/usr/bin/python3.11', 'python3 /srv/app.py --port 80', { pid: 7 });
const nginx = facts('/usr/sbin/nginx', 'nginx', { pid: 8, containerId: ID, cgroup: `/docker/${ID}` });
const port = (first: number, last = first) => [{ first, last }];
const NONE: Masks = { include: 0, exclude: 0 };

test('without include selectors everything is included', () => {
  const selection = compileSelection({ include: [], exclude: [] });
  assert.deepEqual(selection.processMasks(python), { include: 1, exclude: 0 });
  assert.deepEqual(selection.anyPort, { include: 1, exclude: 0 });
  assert.deepEqual(selection.defaultMasks, { include: 1, exclude: 0 });
  assert.equal(selection.needsFacts, false);
});

test('where selectors name ports, the ports of OTLP are looked at for the processes that they mean, under a bit of their own', () => {
  const include = [{ exe: 'nginx' }, { exe: 'python3*', listenPort: port(80) }];
  const selection = compileSelection({ include, exclude: [{ peerPort: port(4317) }] }, true);
  assert.equal(selection.otlpBit, 0x80000000);
  assert.deepEqual(selection.processMasks(python), { include: 0x80000002, exclude: 1 });
  assert.deepEqual(selection.processMasks(nginx), { include: 1, exclude: 1 });
  assert.deepEqual(selection.peerPorts.get(4317), { include: 0x80000000, exclude: 1 });
  assert.deepEqual(selection.peerPorts.get(4318), { include: 0x80000000, exclude: 0 });
  assert.deepEqual(selection.localPorts.get(4318), { include: 0x80000000, exclude: 0 });
  assert.equal(compileSelection({ include, exclude: [] }).otlpBit, 0);
  assert.equal(compileSelection({ include: [{ exe: 'nginx' }], exclude: [] }, true).peerPorts.size, 0);
  const full = compileSelection(
    { include: Array.from({ length: 32 }, () => ({ listenPort: port(80) })), exclude: [] },
    true,
  );
  assert.equal(full.otlpBit, 0);
  assert.equal(full.peerPorts.size, 0);
});

const MATCHES: readonly (readonly [SelectorCriteria, ProcessFacts, boolean])[] = [
  [{ pid: 7 }, python, true],
  [{ pid: 8 }, python, false],
  [{ exe: 'python3*' }, python, true],
  [{ exe: 'python' }, python, false],
  [{ exe: '/usr/bin/*' }, python, true],
  [{ exe: '/usr/*' }, python, false],
  [{ exe: '/usr/**' }, python, true],
  [{ exe: 'curl' }, facts('', 'curl -s http://x', { exeName: 'curl' }), true],
  [{ script: 'app.py' }, python, true],
  [{ script: 'app' }, python, true],
  [{ script: '/srv/*.py' }, python, true],
  [{ script: '/srv/*.py' }, facts('/usr/bin/python3', 'python3 app.py', { cwd: '/srv' }), true],
  [{ script: '*' }, nginx, false],
  [{ script: 'shop*.jar' }, facts('/bin/java', 'java -jar /opt/shop-1.0.jar'), true],
  [{ command: 'app\\.py .*80$' }, python, true],
  [{ command: '^app' }, python, false],
  [{ container: ID.slice(0, 12) }, nginx, true],
  [{ container: 'abcd' }, nginx, false],
  [{ container: '*' }, python, false],
  [{ container: 'web*' }, facts('/bin/x', 'x', { containerId: 'web1', cgroup: '/lxc/web1' }), true],
  [{ exe: 'python3*', script: 'other.py' }, python, false],
];

for (const [selector, given, isMatch] of MATCHES) {
  test(`${JSON.stringify(selector)} ${isMatch ? 'meets' : 'does not meet'} ${given.args.join(' ')}`, () => {
    const included = compileSelection({ include: [selector], exclude: [] });
    assert.deepEqual(included.processMasks(given), { include: isMatch ? 1 : 0, exclude: 0 });
    assert.deepEqual(included.defaultMasks, NONE);
    const excluded = compileSelection({ include: [], exclude: [selector] });
    assert.deepEqual(excluded.processMasks(given), { include: 1, exclude: isMatch ? 1 : 0 });
    assert.deepEqual(excluded.defaultMasks, { include: 1, exclude: 0 });
  });
}

test('a process id alone needs no look at processes', () => {
  const selection = compileSelection({ include: [{ pid: 7 }, { pid: 9 }], exclude: [] });
  assert.equal(selection.needsFacts, false);
  assert.deepEqual([...selection.pids], [7, 9]);
});

test('ports: each selector sets its own bit, ranges are inclusive, port selectors leave anyPort', () => {
  const selection = compileSelection({
    include: [{ listenPort: port(80) }, { listenPort: [...port(80), ...port(8000, 8002)] }, { exe: 'nginx' }],
    exclude: [{ peerPort: port(5432) }],
  });
  assert.deepEqual(selection.localPorts.get(80), { include: 3, exclude: 0 });
  assert.deepEqual(selection.localPorts.get(8002), { include: 2, exclude: 0 });
  assert.equal(selection.localPorts.get(8003), undefined);
  assert.deepEqual(selection.peerPorts.get(5432), { include: 0, exclude: 1 });
  assert.deepEqual(selection.anyPort, { include: 4, exclude: 0 });
  assert.deepEqual(selection.defaultMasks, { include: 3, exclude: 1 });
});

test('the 32nd selector is a bit like any other, and there is no 33rd', () => {
  const include = Array.from({ length: 32 }, (_, i) => ({ pid: i + 1 }));
  assert.equal(compileSelection({ include, exclude: [] }).processMasks(facts('', '', { pid: 32 })).include, 0x80000000);
  assert.throws(() => compileSelection({ include: [...include, { pid: 50 }], exclude: [] }), RangeError);
});

test("the config's own types fit", () => {
  const selection: Config['selection'] = { include: [{ exe: 'nginx' }], exclude: [{ listenPort: port(22) }] };
  assert.equal(compileSelection(selection).needsFacts, true);
  const rules: Config['resource']['serviceNames'] = [{ match: { exe: 'nginx' }, name: 'edge' }];
  const [rule] = compileNameRules(rules);
  assert.equal(rule?.name, 'edge');
  assert.equal(rule?.matches(nginx), true);
  assert.equal(rule?.matches(python), false);
});

// ---- the masks against the plain meaning of selectors

interface Connection {
  readonly facts: ProcessFacts;
  readonly localPort: number;
  readonly peerPort: number;
}

function inRanges(ranges: SelectorCriteria['listenPort'], value: number): boolean {
  return (ranges ?? []).some(({ first, last }) => value >= first && value <= last);
}

function isMet(selector: SelectorCriteria, connection: Connection): boolean {
  const { exe, pid, listenPort, peerPort } = selector;
  if (pid !== undefined && pid !== connection.facts.pid) return false;
  if (exe !== undefined && exe !== connection.facts.exeName) return false;
  if (listenPort === undefined && peerPort === undefined) return true;
  return inRanges(listenPort, connection.localPort) || inRanges(peerPort, connection.peerPort);
}

test('property: the masks select exactly what the selectors say', () => {
  const smallPort = fc.integer({ min: 1, max: 6 });
  const ranges = fc.array(
    fc.tuple(smallPort, smallPort).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) })),
    {
      minLength: 1,
      maxLength: 2,
    },
  );
  const selector: fc.Arbitrary<SelectorCriteria> = fc.record(
    { pid: fc.integer({ min: 1, max: 3 }), exe: fc.constantFrom('a', 'b'), listenPort: ranges, peerPort: ranges },
    { requiredKeys: [] },
  );
  const connection = fc.record({
    facts: fc
      .record({ pid: fc.integer({ min: 1, max: 3 }), exe: fc.constantFrom('/x/a', '/x/b', '/x/c') })
      .map(({ pid, exe }) => facts(exe, exe, { pid })),
    localPort: smallPort,
    peerPort: smallPort,
  });
  const selectors = fc.array(selector, { maxLength: 4 });
  fc.assert(
    fc.property(selectors, selectors, connection, (include, exclude, given) => {
      const compiled = compileSelection({ include, exclude });
      const process = compiled.processMasks(given.facts);
      const local = compiled.localPorts.get(given.localPort) ?? NONE;
      const peer = compiled.peerPorts.get(given.peerPort) ?? NONE;
      const included = compiled.anyPort.include | local.include | peer.include;
      const excluded = compiled.anyPort.exclude | local.exclude | peer.exclude;
      const isSelected = (process.include & included) !== 0 && (process.exclude & excluded) === 0;
      const isMeant =
        (include.length === 0 || include.some(each => isMet(each, given))) && !exclude.some(each => isMet(each, given));
      assert.equal(isSelected, isMeant);
    }),
    { numRuns: 2000 },
  );
});

// ---- globs

const GLOBS: readonly (readonly [glob: string, text: string, isMatch: boolean])[] = [
  ['*.py', 'app.py', true],
  ['*.py', 'a/app.py', false],
  ['**.py', 'a/app.py', true],
  ['app?', 'app1', true],
  ['app?', 'app/', false],
  ['[a-c]x', 'bx', true],
  ['[!a-c]x', 'bx', false],
  ['[]]', ']', true],
  ['[z-a]', 'm', false],
  ['{node,deno}', 'deno', true],
  ['{node,de*}', 'deno', true],
  ['a{', 'a{', true],
  ['[', '[', true],
  ['a.b', 'axb', false],
  ['a\\*', 'a*', true],
  ['a\\*', 'ab', false],
  ['', '', true],
  ['a', 'aa', false],
  ['*', 'a\nb', true],
];
for (const [glob, text, isMatch] of GLOBS) {
  test(`glob ${glob} ${isMatch ? 'matches' : 'does not match'} ${JSON.stringify(text)}`, () => {
    assert.equal(compileGlob(glob)(text), isMatch);
  });
}

test('property: any text is a glob', () => {
  const pieces = fc.array(
    fc.constantFrom('*', '?', '[', ']', '{', '}', ',', '!', '^', '-', '\\', 'a', 'z', '/', '.', '(', '|'),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(pieces, fc.string(), (parts, text) => {
      assert.equal(typeof compileGlob(parts.join(''))(text), 'boolean');
    }),
    { numRuns: 3000 },
  );
});
