// `underspan config print`, reloads, and hints for mistyped words.
import assert from 'node:assert/strict';
import test from 'node:test';
import { changesThatNeedRestart } from '../../../src/config/changes.js';
import { fileLayer } from '../../../src/config/file.js';
import { mergeLayers } from '../../../src/config/layers.js';
import { loadConfig } from '../../../src/config/load.js';
import { editDistance, nearest } from '../../../src/config/nearest.js';
import { renderConfig } from '../../../src/config/render.js';
import type { Config } from '../../../src/config/schema.js';

function parse(yaml: string): Config {
  const layer = fileLayer('F', yaml, problem => assert.fail(`${problem}\n${yaml}`));
  return mergeLayers([layer]);
}

const FULL = `
selection:
  include:
    - { exe: "/opt/*/bin", listen_port: [80, 8000-8100], command: "a b: #c" }
    - { pid: 7, peer_port: 5432 }
http:
  known_methods: [GET, "PURGE"]
  routes: [{ service: "shop*", patterns: ["/users/{id}", "/a b"] }]
otlp: { endpoint: "https://x:1", headers: {}, protocol: http/json, traces: { endpoint: "http://y/z" } }
exporters: [{ module: "@a/b", export: C, options: { deep: [1, "two", { three: null }] } }]
resource:
  attributes: { "team": "it's: \\"x\\"", empty: "" }
  service_names: [{ match: { script: app.py }, name: "yes" }]
log: { level: debug }
`;

test('what is printed reads back as the same configuration', () => {
  const config = parse(FULL);
  const printed = renderConfig(config, () => '');
  const again = parse(printed);
  assert.deepEqual(again, config, printed);
  assert.equal(config.resource.serviceNames[0]?.name, 'yes');
});

test('each value is printed with the place it comes from; headers are masked', () => {
  const { config, originOf } = loadConfig({
    environment: { OTEL_LOG_LEVEL: 'warn', OTEL_EXPORTER_OTLP_HEADERS: 'authorization=s3cret' },
    settings: [{ path: 'selection.include', value: [{ pid: 1 }], flag: '--pid' }],
  });
  const printed = renderConfig(config, originOf);
  assert.match(printed, /^ {2}level: warn # OTEL_LOG_LEVEL$/m);
  assert.match(printed, /^ {2}include: # --pid\n {4}- pid: 1$/m);
  assert.match(printed, /^ {2}head_bytes: 4096$/m);
  assert.match(printed, /^ {2}headers: \{ authorization: '\*\*\*' \} # OTEL_EXPORTER_OTLP_HEADERS$/m);
  assert.doesNotMatch(printed, /s3cret/);
});

test('a reload names the changed fields that it cannot apply', () => {
  const before = parse('log: {level: info}\n');
  const after = parse(
    'log: {level: debug}\nselection: {include: [{pid: 1}]}\nkernel: {max_connections: 512}\notlp: {traces: {timeout_ms: 5}}\n',
  );
  assert.deepEqual(changesThatNeedRestart(before, after), ['kernel.max_connections', 'otlp.traces.timeout_ms']);
  assert.deepEqual(changesThatNeedRestart(before, before), []);
});

test('hints: slips are recognised, other words are not', () => {
  assert.equal(nearest('prot', ['port', 'host']), 'port');
  assert.equal(nearest('PORT', ['port', 'host']), 'port');
  assert.equal(nearest('enpoint', ['endpoint', 'protocol']), 'endpoint');
  assert.equal(nearest('banana', ['endpoint', 'protocol']), '');
  assert.equal(editDistance('kitten', 'sitting', 9), 3);
  assert.equal(editDistance('ab', 'ba', 9), 1);
  assert.equal(editDistance('', 'abc', 9), 3);
  assert.equal(editDistance('abcdef', 'x', 3), 3);
});
