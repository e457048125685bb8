// What people write, and what becomes of it: precedence, places of faults, OpenTelemetry's variables.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';
import type { Environment } from '../../../src/config/environment.js';
import { type LoadedConfig, loadConfig, type Setting } from '../../../src/config/load.js';
import { AgentError } from '../../../src/errors.js';

const folder = mkdtempSync(path.join(tmpdir(), 'underspan-config-'));
after(() => rmSync(folder, { recursive: true }));
const FILE = path.join(folder, 'a.yaml');

function load(yaml: string, environment: Environment = {}, settings: readonly Setting[] = []): LoadedConfig {
  writeFileSync(FILE, yaml);
  return loadConfig({ file: FILE, environment, settings });
}

/** The lines of the error, with the file's name shortened to F. */
function faults(yaml: string, environment: Environment = {}, settings: readonly Setting[] = []): string[] {
  try {
    load(yaml, environment, settings);
  } catch (error) {
    assert.ok(error instanceof AgentError, String(error));
    assert.equal(error.code, 'CONFIG_INVALID');
    assert.equal(error.exitCode, 2);
    return error.message.replaceAll(FILE, 'F').split('\n');
  }
  return assert.fail('no error');
}

test('nothing given: the defaults, complete', () => {
  const { config, warnings } = loadConfig({ environment: {} });
  assert.equal(config.capture.headBytes, 4096);
  assert.equal(config.kernel.dataRingBytes, 16777216);
  assert.deepEqual(config.selection, { include: [], exclude: [] });
  assert.deepEqual(config.traces.exporters, ['console']);
  assert.deepEqual(config.metrics.exporters, ['prometheus']);
  assert.equal(config.otlp.traces.endpoint, 'http://localhost:4317');
  assert.equal(config.admin.host, '127.0.0.1');
  assert.deepEqual(warnings, []);
});

test('flags win over the environment, the environment over the file, the file over the defaults', () => {
  const yaml = 'kernel: {drain_interval_ms: 20, max_connections: 1000}\nadmin: {port: 1111}\nlog: {level: debug}\n';
  const environment = { UNDERSPAN_KERNEL_DRAIN_INTERVAL_MS: '30', UNDERSPAN_KERNEL_MAX_CONNECTIONS: '2000' };
  const loaded = load(yaml, environment, [{ path: 'kernel.drain_interval_ms', value: '40', flag: '--set' }]);
  assert.equal(loaded.config.kernel.drainIntervalMs, 40);
  assert.equal(loaded.config.kernel.maxConnections, 2000);
  assert.equal(loaded.config.admin.port, 1111);
  assert.equal(loaded.config.log.level, 'debug');
  assert.equal(loaded.config.capture.headBytes, 4096);
  assert.equal(loaded.originOf(['kernel', 'drain_interval_ms']), '--set');
  assert.equal(loaded.originOf(['kernel', 'max_connections']), 'UNDERSPAN_KERNEL_MAX_CONNECTIONS');
  assert.equal(loaded.originOf(['admin', 'port']), `${FILE}:2:9`);
  assert.equal(loaded.originOf(['capture', 'head_bytes']), '');
});

test('our own variable wins over the standard one', () => {
  const both = { UNDERSPAN_TRACES_EXPORTERS: 'none', OTEL_TRACES_EXPORTER: 'otlp' };
  assert.deepEqual(loadConfig({ environment: both }).config.traces.exporters, ['none']);
});

test('a list of the stronger source replaces that of the weaker one', () => {
  const yaml = 'selection: {include: [{pid: 1}, {pid: 2}]}\n';
  const { config } = load(yaml, { UNDERSPAN_SELECTION_INCLUDE: '[{exe: nginx, listen_port: [80, 8000-8100]}]' });
  const listenPort = [
    { first: 80, last: 80 },
    { first: 8000, last: 8100 },
  ];
  assert.deepEqual(config.selection.include, [{ exe: 'nginx', listenPort }]);
});

test('an unknown key: its place, what was meant, what is allowed', () => {
  assert.deepEqual(faults('log:\n  level: info\n\nkernel:\n  max_conections: 5\n'), [
    'F:5:3: kernel: unknown key "max_conections" (did you mean max_connections?); allowed here: data_ring_bytes, ' +
      'control_ring_bytes, max_connections, max_followed_steps, drain_interval_ms, btf, front_end',
  ]);
});

test('a wrong value: its place and what is allowed', () => {
  const cases: readonly (readonly [yaml: string, fault: string])[] = [
    [
      'kernel:\n  max_connections: many',
      'F:2:20: kernel.max_connections: expected a whole number from 256 to 4194304, got "many"',
    ],
    [
      'kernel: {max_connections: 1.5e3x}',
      'F:1:27: kernel.max_connections: expected a whole number from 256 to 4194304, got "1.5e3x"',
    ],
    [
      'kernel: {data_ring_bytes: 3000000}',
      'F:1:27: kernel.data_ring_bytes: expected a power of two from 1048576 to 1073741824, got 3000000',
    ],
    [
      'capture: {head_bytes: 17000}',
      'F:1:23: capture.head_bytes: expected a whole number from 256 to 16384, got 17000',
    ],
    ['admin: {enabled: maybe}', 'F:1:18: admin.enabled: expected true or false, got "maybe"'],
    ['log: {level: inof}', 'F:1:14: log.level: expected error, warn, info or debug, got "inof" (did you mean info?)'],
    ['traces: {exporters: otlp}', 'F:1:21: traces.exporters: expected a list, got "otlp"'],
    ['traces: {exporters: [otlp, none]}', 'F:1:21: traces.exporters: none cannot stand together with others'],
    ['traces: {sampler_arg: 1.5}', 'F:1:23: traces.sampler_arg: expected a number from 0 to 1, got 1.5'],
    ['otlp: {endpoint: nowhere}', 'F:1:18: otlp.endpoint: expected a URL such as http://localhost:4317, got "nowhere"'],
    [
      'otlp: {traces: {timeout_ms: 0}}',
      'F:1:29: otlp.traces.timeout_ms: expected a whole number from 1 to 600000, got 0',
    ],
    [
      'selection: {include: [{pid: 0}]}',
      'F:1:29: selection.include[0].pid: expected a whole number from 1 to 4194304, got 0',
    ],
    [
      'selection: {include: [{command: "("}]}',
      'F:1:33: selection.include[0].command: not a regular expression: Invalid regular expression: /(/: Unterminated group',
    ],
    [
      'selection: {exclude: [{peer_port: 70000}]}',
      "F:1:35: selection.exclude[0].peer_port: expected a port (1 to 65535) or a range like '8000-8999', got 70000",
    ],
    [
      'selection: {exclude: [{}]}',
      'F:1:23: selection.exclude[0]: needs at least one of pid, exe, script, command, listen_port, peer_port and container',
    ],
    ['resource: {attributes: {a: 1}}', 'F:1:24: resource.attributes: a: expected text (put it into quotes), got 1'],
    [
      'http: {routes: [{service: a}]}',
      'F:1:17: http.routes[0]: patterns is missing: Patterns such as /users/{id} or /static/*, tried in order.',
    ],
    [
      'http: {routes: [{service: a, patterns: [users]}]}',
      'F:1:40: http.routes[0].patterns: expected a pattern that begins with /, got "users"',
    ],
    [
      'http: {known_methods: ["A B"]}',
      'F:1:23: http.known_methods: expected a method name (RFC 9110 section 9.1), got "A B"',
    ],
    ['log: [1]', 'F:1:6: log: expected a mapping with level and format, got [1]'],
  ];
  for (const [yaml, fault] of cases) assert.deepEqual(faults(`${yaml}\n`), [fault], yaml);
});

test('at most 31 selectors', () => {
  const yaml = (count: number) => `selection: {include: [${'{pid: 1}, '.repeat(count)}]}\n`;
  assert.equal(load(yaml(31)).config.selection.include.length, 31);
  assert.deepEqual(faults(yaml(32)), ['F:1:22: selection.include: has 32 entries, at most 31 are allowed']);
});

test('a secret never stands in a message', () => {
  const [fault] = faults('otlp: {headers: {authorization: [s3cret]}}\n');
  assert.match(fault!, /^F:1:17: otlp\.headers: authorization: expected text/);
  assert.doesNotMatch(fault!, /s3cret/);
});

test('text that is not YAML, a key given twice, two documents', () => {
  assert.match(faults('kernel: [\n').join('\n'), /^F:2:1: /);
  assert.match(faults('log: {level: info}\nlog: {level: warn}\n').join('\n'), /^F:2:1: Map keys must be unique/);
  assert.match(faults('log: {}\n---\nlog: {}\n').join('\n'), /^F:2:1: /);
});

test('aliases cannot blow up the memory', () => {
  const levels = ['a: &a [x,x,x,x,x,x,x,x,x]'];
  for (const [from, to] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg', 'gh', 'hi']) {
    levels.push(`${to}: &${to} [${Array(9).fill(`*${from}`).join(',')}]`);
  }
  assert.match(faults(`${levels.join('\n')}\n`).join('\n'), /Excessive alias count/);
});

test('a key named __proto__ is an unknown key', () => {
  assert.match(faults('__proto__: {polluted: true}\n')[0]!, /^F:1:1: unknown key "__proto__"/);
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
});

test('all faults are told at once, twenty at most', () => {
  assert.equal(faults('log: {level: a}\nadmin: {port: b}\n', { UNDERSPAN_CAPTURE_HEAD_BYTES: '1' }).length, 3);
  const many = Array.from({ length: 25 }, (_, index) => `k${index}: 1\n`).join('');
  const shown = faults(many);
  assert.equal(shown.length, 21);
  assert.equal(shown[20], '... and 5 more');
});

test('a file that is not there, is a folder, or is empty', () => {
  const missing = path.join(folder, 'missing.yaml');
  assert.throws(() => loadConfig({ file: missing, environment: {} }), { code: 'CONFIG_UNREADABLE', exitCode: 2 });
  assert.throws(() => loadConfig({ environment: { UNDERSPAN_CONFIG: folder } }), { code: 'CONFIG_UNREADABLE' });
  assert.deepEqual(load('').config, loadConfig({ environment: {} }).config);
  assert.deepEqual(load('kernel:\nselection:\n  include:\n').config, loadConfig({ environment: {} }).config);
});

test('the standard variables', () => {
  const { config, warnings } = loadConfig({
    environment: {
      OTEL_TRACES_EXPORTER: 'otlp, console',
      OTEL_METRICS_EXPORTER: 'prometheus',
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0.25',
      OTEL_BSP_SCHEDULE_DELAY: '200',
      OTEL_BSP_MAX_QUEUE_SIZE: '2048',
      OTEL_METRIC_EXPORT_INTERVAL: '500',
      OTEL_LOG_LEVEL: 'VERBOSE',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=prod,team=a%2Cb',
      OTEL_SERVICE_NAME: 'agent-7',
      OTEL_EXPORTER_PROMETHEUS_PORT: '9999',
      OTEL_EXPORTER_PROMETHEUS_HOST: '0.0.0.0',
      OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'Delta',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20x,b=c=d',
      OTEL_EXPORTER_OTLP_COMPRESSION: '',
    },
  });
  assert.deepEqual(warnings, []);
  assert.deepEqual(config.traces.exporters, ['otlp', 'console']);
  assert.deepEqual(config.metrics.exporters, ['prometheus']);
  assert.equal(config.traces.sampler, 'parentbased_traceidratio');
  assert.equal(config.traces.samplerArg, 0.25);
  assert.equal(config.traces.scheduleDelayMs, 200);
  assert.equal(config.traces.maxQueueSize, 2048);
  assert.equal(config.metrics.intervalMs, 500);
  assert.equal(config.log.level, 'debug');
  assert.deepEqual(config.resource.attributes, { 'deployment.environment.name': 'prod', team: 'a,b' });
  assert.equal(config.resource.agentName, 'agent-7');
  assert.equal(config.admin.port, 9999);
  assert.equal(config.admin.host, '0.0.0.0');
  assert.equal(config.metrics.temporality, 'delta');
  assert.deepEqual(config.otlp.traces.headers, { authorization: 'Bearer x', b: 'c=d' });
  assert.equal(config.otlp.traces.compression, 'none');
});

test('a wrong standard variable is a warning and counts as unset; a wrong one of ours is an error', () => {
  const environment = {
    OTEL_TRACES_EXPORTER: 'zipkin',
    OTEL_BSP_SCHEDULE_DELAY: 'soon',
    OTEL_RESOURCE_ATTRIBUTES: 'novalue',
    OTEL_EXPORTER_OTLP_HEADERS: 'a=%zz',
  };
  const { config, warnings } = loadConfig({ environment });
  assert.deepEqual(config.traces.exporters, ['console']);
  assert.equal(config.traces.scheduleDelayMs, 1000);
  assert.deepEqual([...warnings].sort(), [
    'OTEL_BSP_SCHEDULE_DELAY is ignored: expected a whole number from 10 to 60000, got "soon"',
    'OTEL_EXPORTER_OTLP_HEADERS is ignored: has a % that is not percent-encoding',
    'OTEL_RESOURCE_ATTRIBUTES is ignored: expected name=value pairs, separated by commas',
    'OTEL_TRACES_EXPORTER is ignored: expected otlp, console or none, got "zipkin"',
  ]);
  assert.deepEqual(faults('', { UNDERSPAN_TRACES_EXPORTERS: 'zipkin' }), [
    'UNDERSPAN_TRACES_EXPORTERS: expected otlp, console or none, got "zipkin"',
  ]);
  assert.deepEqual(faults('', { UNDERSPAN_ADMIN_ENABLED: 'perhaps' }), [
    'UNDERSPAN_ADMIN_ENABLED: expected true or false, got "perhaps"',
  ]);
});

test('a mistyped variable of ours is a warning', () => {
  const { warnings } = loadConfig({ environment: { UNDERSPAN_KERNEL_MAX_CONECTIONS: '5' } });
  assert.deepEqual(warnings, [
    'UNDERSPAN_KERNEL_MAX_CONECTIONS is not a variable of Underspan (did you mean UNDERSPAN_KERNEL_MAX_CONNECTIONS?)',
  ]);
});

test('a flag that names no field', () => {
  assert.deepEqual(faults('', {}, [{ path: 'max_connections', value: '5', flag: '--set max_connections' }]), [
    '--set max_connections: max_connections is not a field (did you mean kernel.max_connections?)',
  ]);
});

test('exporters follow from what is configured', () => {
  const exportersOf = (environment: Environment) => {
    const { config } = loadConfig({ environment });
    return [config.traces.exporters, config.metrics.exporters];
  };
  assert.deepEqual(exportersOf({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://a:1' }), [['otlp'], ['prometheus', 'otlp']]);
  assert.deepEqual(exportersOf({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://a:1' }), [['otlp'], ['prometheus']]);
  assert.deepEqual(exportersOf({ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://a:1' }), [
    ['console'],
    ['prometheus', 'otlp'],
  ]);
});

test('OTLP: an HTTP endpoint for both signals gets the path of each, a signal has its own verbatim', () => {
  const { otlp } = loadConfig({
    environment: {
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318/base/',
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'https://metrics/in',
      OTEL_EXPORTER_OTLP_METRICS_TIMEOUT: '5',
    },
  }).config;
  assert.equal(otlp.traces.endpoint, 'http://collector:4318/base/v1/traces');
  assert.equal(otlp.metrics.endpoint, 'https://metrics/in');
  assert.equal(otlp.traces.timeoutMs, 10000);
  assert.equal(otlp.metrics.timeoutMs, 5);
});

test('OTLP: gRPC endpoints stay as they are, and the protocol may differ by signal', () => {
  const { otlp } = load('otlp:\n  endpoint: http://collector:4317\n  metrics: {protocol: http/json}\n').config;
  assert.equal(otlp.traces.protocol, 'grpc');
  assert.equal(otlp.traces.endpoint, 'http://collector:4317');
  assert.equal(otlp.metrics.protocol, 'http/json');
  assert.equal(otlp.metrics.endpoint, 'http://collector:4317/v1/metrics');
  const bare = load('otlp: {endpoint: "[::1]:4317"}\n').config.otlp;
  assert.equal(bare.traces.endpoint, '[::1]:4317');
  const defaults = loadConfig({ environment: { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' } }).config.otlp;
  assert.equal(defaults.traces.endpoint, 'http://localhost:4318/v1/traces');
});

test('OTLP: over HTTP an endpoint needs its scheme', () => {
  assert.deepEqual(faults('otlp: {endpoint: "collector:4318", metrics: {protocol: http/json}}\n'), [
    'F:1:8: otlp.endpoint: collector:4318 has no http:// or https://, which http/json needs (metrics)',
  ]);
});

test('OTLP: an environment endpoint for both wins over the file, also over its endpoint for one signal', () => {
  const yaml = 'otlp: {traces: {endpoint: http://file/traces, headers: {a: b}}}\n';
  const { otlp } = load(yaml, { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://env:4317' }).config;
  assert.equal(otlp.traces.endpoint, 'http://env:4317');
  assert.deepEqual(otlp.traces.headers, { a: 'b' });
});

test('third-party exporters keep their options as they are', () => {
  const { config } = load(
    'exporters: [{module: m, export: E, options: {some_key: [1, {x: null}]}}, {module: n, export: F}]\n',
  );
  assert.deepEqual(config.exporters, [
    { module: 'm', export: 'E', options: { some_key: [1, { x: null }] } },
    { module: 'n', export: 'F', options: {} },
  ]);
});
