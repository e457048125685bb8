// The OTLP exporter specification's rules about endpoints, precedence and TLS.
import assert from 'node:assert/strict';
import test from 'node:test';
import { AgentError } from '../../../src/errors.js';
import { type OtlpSettings, resolveOtlpTarget, settingsFromEnv } from '../../../src/exporters/otlp-settings.js';

function fails(run: () => unknown, message: RegExp): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof AgentError);
    assert.equal(error.code, 'OTLP_SETTINGS');
    assert.match(error.message, message);
    return true;
  });
}

const http = (common: OtlpSettings, own: OtlpSettings = {}): string =>
  resolveOtlpTarget('traces', { protocol: 'http/protobuf', ...common }, own).url;
const grpc = (common: OtlpSettings, own: OtlpSettings = {}): [string, boolean] => {
  const { url, isSecure } = resolveOtlpTarget('traces', common, own);
  return [url, isSecure];
};

test('defaults: gRPC on the local machine, no compression, ten seconds', () => {
  assert.deepEqual(resolveOtlpTarget('traces', {}, {}), {
    signal: 'traces',
    protocol: 'grpc',
    url: 'localhost:4317',
    isSecure: false,
    headers: {},
    compression: 'none',
    timeoutMs: 10_000,
    certificate: null,
    clientKey: null,
    clientCertificate: null,
  });
});

test('HTTP: /v1/<signal> is appended to the common endpoint, not to the own one', () => {
  assert.equal(http({}), 'http://localhost:4318/v1/traces');
  assert.equal(http({ endpoint: 'http://collector:4318' }), 'http://collector:4318/v1/traces');
  assert.equal(http({ endpoint: 'https://collector/base/' }), 'https://collector/base/v1/traces');
  assert.equal(http({ endpoint: 'https://collector/base' }), 'https://collector/base/v1/traces');
  assert.equal(http({ endpoint: 'http://a:1' }, { endpoint: 'http://b:2' }), 'http://b:2/');
  assert.equal(http({}, { endpoint: 'http://b:2/otlp' }), 'http://b:2/otlp');
  const metrics = resolveOtlpTarget('metrics', { protocol: 'http/json', endpoint: 'http://c:1' }, {});
  assert.equal(metrics.url, 'http://c:1/v1/metrics');
});

test('gRPC: the scheme decides about TLS, without one `insecure` does', () => {
  assert.deepEqual(grpc({ endpoint: 'http://collector:4317' }), ['collector:4317', false]);
  assert.deepEqual(grpc({ endpoint: 'https://collector:4317' }), ['collector:4317', true]);
  assert.deepEqual(grpc({ endpoint: 'https://collector:4317', insecure: true }), ['collector:4317', true]);
  assert.deepEqual(grpc({ endpoint: 'collector:4317' }), ['collector:4317', true]);
  assert.deepEqual(grpc({ endpoint: 'collector:4317', insecure: true }), ['collector:4317', false]);
  assert.deepEqual(grpc({ endpoint: 'http://[::1]:4317' }), ['[::1]:4317', false]);
  assert.deepEqual(grpc({ endpoint: 'https://collector' }), ['collector:443', true]);
  assert.deepEqual(grpc({ endpoint: 'http://collector:80' }), ['collector:80', false]);
  assert.deepEqual(grpc({ endpoint: 'unix:///run/otel.sock' }), ['unix:///run/otel.sock', false]);
});

test('own settings win over common ones, headers of both are sent', () => {
  const target = resolveOtlpTarget(
    'traces',
    { protocol: 'http/protobuf', headers: { a: '1', b: '2' }, compression: 'gzip', timeoutMs: 5000 },
    { protocol: 'grpc', headers: { b: '3' }, timeoutMs: 100 },
  );
  assert.equal(target.protocol, 'grpc');
  assert.deepEqual(target.headers, { a: '1', b: '3' });
  assert.equal(target.compression, 'gzip');
  assert.equal(target.timeoutMs, 100);
});

test('what is not an endpoint says so', () => {
  fails(() => http({ endpoint: 'collector:4318' }), /'collector:4318' is not an endpoint/);
  fails(() => http({ endpoint: 'ftp://collector' }), /not an endpoint/);
  fails(() => grpc({ endpoint: 'http://' }), /not an endpoint/);
  fails(() => grpc({ clientKey: 'key.pem' }), /need each other/);
});

test('every variable is read, for both signals and for one', () => {
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: ' http://common:1 ',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_EXPORTER_OTLP_HEADERS: 'api-key=a%20b,tenant=x',
    OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
    OTEL_EXPORTER_OTLP_TIMEOUT: '1500',
    OTEL_EXPORTER_OTLP_CERTIFICATE: '/ca.pem',
    OTEL_EXPORTER_OTLP_CLIENT_KEY: '/key.pem',
    OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: '/cert.pem',
    OTEL_EXPORTER_OTLP_INSECURE: 'TRUE',
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://metrics:2/x',
    OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: '',
    OTEL_EXPORTER_OTLP_METRICS_HEADERS: 'tenant=y',
  };
  const common = settingsFromEnv(env);
  assert.deepEqual(common, {
    endpoint: 'http://common:1',
    protocol: 'http/json',
    headers: { 'api-key': 'a b', tenant: 'x' },
    compression: 'gzip',
    timeoutMs: 1500,
    certificate: '/ca.pem',
    clientKey: '/key.pem',
    clientCertificate: '/cert.pem',
    insecure: true,
  });
  const metrics = resolveOtlpTarget('metrics', common, settingsFromEnv(env, 'metrics'));
  assert.equal(metrics.url, 'http://metrics:2/x');
  assert.equal(metrics.protocol, 'http/json');
  assert.deepEqual(metrics.headers, { 'api-key': 'a b', tenant: 'y' });
  const traces = resolveOtlpTarget('traces', common, settingsFromEnv(env, 'traces'));
  assert.equal(traces.url, 'http://common:1/v1/traces');
});

test('values that are not allowed say what is', () => {
  fails(
    () => settingsFromEnv({ OTEL_EXPORTER_OTLP_PROTOCOL: 'thrift' }),
    /OTEL_EXPORTER_OTLP_PROTOCOL is 'thrift', allowed are grpc, http\/protobuf, http\/json/,
  );
  fails(
    () => settingsFromEnv({ OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: '-1' }, 'traces'),
    /OTEL_EXPORTER_OTLP_TRACES_TIMEOUT is '-1'/,
  );
  fails(() => settingsFromEnv({ OTEL_EXPORTER_OTLP_COMPRESSION: 'zstd' }), /allowed are none, gzip/);
});
