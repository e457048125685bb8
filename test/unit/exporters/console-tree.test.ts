import assert from 'node:assert/strict';
import test from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { toSpanView } from '../../../src/exporters/console-span.js';
import { Style } from '../../../src/exporters/console-style.js';
import { widthOf } from '../../../src/exporters/console-text.js';
import { renderTrace } from '../../../src/exporters/console-tree.js';
import { type SampleSpan, sampleSpan } from './console-samples.js';

process.env.TZ = 'UTC';

const PLAIN = new Style({ color: false, unicode: true, isTerminal: true, env: {} });
const COLOR = new Style({ color: true, unicode: true, isTerminal: true, env: {} });
const ASCII = new Style({ color: false, unicode: false, isTerminal: true, env: {} });

function render(
  samples: readonly SampleSpan[],
  options: { style?: Style; width?: number; isContinuation?: boolean } = {},
) {
  const { style = PLAIN, width = 120, isContinuation = false } = options;
  const spans = samples.map(sample => toSpanView(sampleSpan(sample)));
  return renderTrace(spans, { style, width, isContinuation, slowness: () => 0 });
}

const CHECKOUT: readonly SampleSpan[] = [
  { id: 'c0', service: 'curl', kind: 'connect', durationMs: 0.2 },
  {
    id: '01',
    service: 'curl',
    kind: 'client',
    startMs: 1.2,
    phases: [1, 36, 0, 2],
    connectMs: 1,
    status: 200,
    path: '/checkout/8412',
    authority: ['localhost', 80],
    links: ['c0'],
    bytes: [88, 5231],
  },
  {
    id: '02',
    parent: '01',
    service: 'nginx',
    kind: 'server',
    startMs: 2.2,
    phases: [8, 1, 25, 2],
    status: 200,
    path: '/checkout/8412',
    route: '/checkout/{id}',
    bytes: [88, 5231],
  },
  {
    id: '03',
    parent: '02',
    service: 'nginx',
    kind: 'client',
    startMs: 12.2,
    phases: [0, 20, 0, 2],
    index: 42,
    status: 502,
    error: '502',
    path: '/checkout/8412',
    authority: ['shop', 3000],
    bytes: [190, 102],
  },
];

test('a trace is a tree: who caused what, when, where the time went', () => {
  assert.deepEqual(render(CHECKOUT), [
    '  12:00:00.001 curl             → GET localhost:80/checkout/8412  200  39.0ms  ╌──────────────────▓  new 88B→5.2kB',
    '       +2.00ms └─nginx          ← GET /checkout/8412              200  36.0ms   ░░░░▒████████████▓   queued 8.00ms new',
    '✗      +12.0ms   └─nginx        → GET shop:3000/checkout/8412     502  22.0ms        ──────────▓     #42 190B→102B',
  ]);
});

test('the order of arrival does not matter', () => {
  assert.deepEqual(render([...CHECKOUT].reverse()), render(CHECKOUT));
});

test('a connect is a line of its own unless a request of the trace shows it', () => {
  const connect: SampleSpan = { id: 'c0', service: 'worker', kind: 'connect', durationMs: 3002 };
  assert.match(render([connect])[0] ?? '', /worker +→ connect 127\.0\.0\.1:8080 +ok +3\.00s +╌{20}/);
  const [failed] = render([{ ...connect, error: 'ETIMEDOUT' }]);
  assert.match(failed ?? '', /^✗ .*connect 127\.0\.0\.1:8080 +– .*ETIMEDOUT/);
  assert.equal(render(CHECKOUT).length, CHECKOUT.length - 1);
  const unlinked = CHECKOUT.map(sample => ({ ...sample, links: [] }));
  assert.equal(render(unlinked).length, CHECKOUT.length);
});

test('a target that is too long loses a local host before it loses path', () => {
  const long: SampleSpan = { id: '01', service: 'a', kind: 'client', phases: [1], path: '/status/200/item/1310' };
  assert.match(render([long])[0] ?? '', /→ GET :8080\/status\/200\/item\/1310 /);
  const far = { ...long, authority: ['shop.example.com', 80] as const };
  assert.match(render([far])[0] ?? '', /→ GET shop\.example\.com….*1310 /);
});

test('failures say what failed, with a mark and words, not only with a colour', () => {
  const [line] = render([
    { id: '01', service: 'shop', kind: 'server', phases: [0, 0, 5], error: 'ECONNRESET', path: '/a', bytes: [302, 0] },
  ]);
  assert.match(line ?? '', /^✗ .* – +5\.00ms .*ECONNRESET/);
});

test('spans whose parents form a circle are all shown', () => {
  const lines = render([
    { id: '01', parent: '02', service: 'a', kind: 'server', phases: [1] },
    { id: '02', parent: '01', service: 'b', kind: 'server', phases: [1] },
    { id: '03', parent: '03', service: 'c', kind: 'server', phases: [1] },
  ]);
  assert.equal(lines.length, 3);
});

test('a deep tree stays within a narrow terminal, with its branch and a piece of each name', () => {
  const ids = ['01', '02', '03', '04', '05', '06', '07', '08', '09'];
  const chain = ids.map((id, index): SampleSpan => {
    const parent = ids[index - 1];
    return { id, service: 'checkout', kind: 'server', phases: [1], ...(parent !== undefined && { parent }) };
  });
  const lines = render(chain, { width: 40 });
  assert.equal(lines.length, ids.length);
  for (const line of lines) assert.ok(widthOf(line) <= 40, line);
  assert.match(lines.at(-1) ?? '', /└─che…/);
});

test('a continuation says of what', () => {
  assert.match(render(CHECKOUT, { isContinuation: true })[0] ?? '', /continues a1000000/);
});

test("a parent that is somebody else's is told", () => {
  const [line] = render([{ id: '01', parent: 'ff', service: 'shop', kind: 'server', phases: [0, 0, 1], status: 200 }], {
    width: 200,
  });
  assert.match(line ?? '', /parent elsewhere/);
});

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.constant('\x1b[2J\x1b]0;x\x07'),
  fc.constant('東京'),
);
const sample: fc.Arbitrary<SampleSpan> = fc.record({
  id: fc.constantFrom('01', '02', '03', '04', '05'),
  parent: fc.constantFrom('01', '02', '03', '04', 'ff'),
  service: text,
  kind: fc.constantFrom('server' as const, 'client' as const, 'connect' as const),
  method: text,
  path: text,
  route: text,
  error: text,
  status: fc.integer({ min: 0, max: 599 }),
  startMs: fc.double({ min: -10, max: 1e6, noNaN: true }),
  phases: fc.array(fc.double({ min: 0, max: 1e5, noNaN: true }), { maxLength: 4 }),
  connectMs: fc.double({ min: 0, max: 1e5, noNaN: true }),
  index: fc.integer({ min: 0, max: 1e6 }),
});

test('no line is wider than the terminal or holds what a terminal obeys; colour changes nothing else', () => {
  fc.assert(
    fc.property(
      fc.array(sample, { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 40, max: 220 }),
      (samples, width) => {
        const plain = render(samples, { width });
        for (const line of plain) {
          assert.ok(widthOf(line) <= width, `${widthOf(line)} columns on ${width}: ${line}`);
          assert.doesNotMatch(line, /[\p{Cc}\p{Cf}]/u);
        }
        const uncolored = render(samples, { width, style: COLOR }).map(line =>
          stripVTControlCharacters(line).trimEnd(),
        );
        assert.deepEqual(uncolored, plain);
        for (const line of render(samples, { width, style: ASCII })) assert.match(line, /^[\x20-\x7e]*$/);
      },
    ),
    { numRuns: 500 },
  );
});
