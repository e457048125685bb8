// The Prometheus page: names, labels and values as the compatibility specification has them; both formats are read back
// line by line by a small strict parser, so that no escape or duplicate slips through.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Attributes, Service } from '../../../src/enrichment/service.js';
import { negotiateFormat, type PrometheusFormat, renderPrometheus } from '../../../src/exporters/prometheus.js';
import { labelName, prometheusName } from '../../../src/exporters/prometheus-name.js';
import type { MetricFamily, MetricPoint } from '../../../src/signals/metric-model.js';
import { Metrics } from '../../../src/signals/metrics.js';
import { clientExchange, opening, serverExchange, service } from '../signals/exchanges.js';

function point(value: MetricPoint['value'], attributes: Attributes = [], of: Service | null = service()): MetricPoint {
  return { service: of, attributes, startNs: 1, value };
}

function family(fields: Partial<MetricFamily>): MetricFamily {
  return { name: 'a.b', unit: '', description: 'Text.', type: 'counter', points: [point(1)], ...fields };
}

interface Sample {
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly value: number;
}

interface Page {
  readonly types: Map<string, string>;
  readonly samples: Sample[];
}

/** Reads a page; fails on a line that is neither comment nor sample, on a second TYPE, and on a repeated series. */
function parse(body: string, format: PrometheusFormat): Page {
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  const series = new Set<string>();
  assert.ok(body === '' || body.endsWith('\n'));
  const lines = body.split('\n').slice(0, -1);
  if (format === 'openmetrics') assert.equal(lines.pop(), '# EOF');
  for (const line of lines) {
    const comment = /^# (HELP|TYPE|UNIT) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/s.exec(line);
    if (comment !== null) {
      if (comment[1] === 'TYPE') {
        assert.equal(types.has(String(comment[2])), false, `second TYPE: ${line}`);
        types.set(String(comment[2]), String(comment[3]));
      }
      continue;
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/s.exec(line);
    assert.ok(sample !== null, `not a sample: ${line}`);
    const identity = `${sample[1]}{${sample[2]}}`;
    assert.equal(series.has(identity), false, `duplicate: ${line}`);
    series.add(identity);
    const value = Number(String(sample[3]).replace('Inf', 'Infinity'));
    samples.push({ name: String(sample[1]), labels: parseLabels(sample[2] ?? ''), value });
  }
  return { types, samples };
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text;
  while (rest !== '') {
    const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/.exec(rest);
    assert.ok(label !== null, `not a label: ${rest}`);
    const name = String(label[1]);
    assert.equal(Object.hasOwn(labels, name), false, `label twice: ${name}`);
    labels[name] = String(label[2]).replace(/\\(.)/gs, (_, escaped) => (escaped === 'n' ? '\n' : escaped));
    rest = rest.slice(label[0].length);
  }
  return labels;
}

function render(families: readonly MetricFamily[], format: PrometheusFormat = 'text'): Page {
  return parse(renderPrometheus(families, format).body, format);
}

test('names: dots, units, totals', () => {
  const cases: [MetricFamily['type'], string, string, string][] = [
    ['histogram', 'http.server.request.duration', 's', 'http_server_request_duration_seconds'],
    ['histogram', 'http.server.request.body.size', 'By', 'http_server_request_body_size_bytes'],
    ['updowncounter', 'http.server.active_requests', '{request}', 'http_server_active_requests'],
    ['counter', 'underspan.io.bytes', 'By', 'underspan_io_bytes_total'],
    ['counter', 'requests.total', '', 'requests_total'],
    ['counter', 'cpu', 's', 'cpu_seconds_total'],
    ['gauge', 'ring.fill', '1', 'ring_fill_ratio'],
    ['counter', 'parts', '1', 'parts_total'],
    ['gauge', 'speed', 'By/s', 'speed_bytes_per_second'],
    ['gauge', 'rate', '{request}/s', 'rate_per_second'],
    ['gauge', '(lambda).runs(#)', '', '_lambda_runs_'],
    ['gauge', '9lives', '', '_9lives'],
    ['gauge', 'a__b', 'furlong', 'a_b_furlong'],
  ];
  for (const [type, name, unit, expected] of cases) {
    assert.equal(prometheusName({ name, unit, type }).sample, expected, name);
  }
  assert.equal(labelName('http.request.method'), 'http_request_method');
  assert.equal(labelName('__x'), '_x');
});

test('each service is a target with job, instance and target_info', () => {
  const eu = {
    ...service(2, 'shop', 'eu'),
    attributes: [...service(2).attributes, ['service.namespace', 'eu']],
  } as Service;
  const { samples, types } = render([family({ points: [point(1), point(2, [], eu), point(3, [], null)] })]);
  assert.deepEqual(
    samples.filter(({ name }) => name === 'a_b_total').map(({ labels, value }) => [labels, value]),
    [
      [{ job: 'shop', instance: 'instance-1' }, 1],
      [{ job: 'eu/shop', instance: 'instance-2' }, 2],
      [{}, 3],
    ],
  );
  assert.deepEqual(
    samples.filter(({ name }) => name === 'target_info').map(({ labels }) => labels),
    [
      { job: 'shop', instance: 'instance-1', process_pid: '101' },
      { job: 'eu/shop', instance: 'instance-2', process_pid: '102' },
    ],
  );
  assert.equal(types.get('target_info'), 'gauge');
});

test('histograms are cumulative, with +Inf, sum and count', () => {
  const value = { bounds: [0.5, 1], counts: [2, 0, 3], sum: 12.5, count: 5, min: 0.1, max: 4 };
  const families = [family({ name: 'wait', unit: 's', type: 'histogram', points: [point(value, [['le', 'mine']])] })];
  for (const format of ['text', 'openmetrics'] as const) {
    const { samples } = render(families, format);
    const buckets = samples.filter(({ name }) => name === 'wait_seconds_bucket');
    assert.deepEqual(
      buckets.map(({ labels, value: count }) => [labels.le, count]),
      [
        ['0.5', 2],
        [format === 'text' ? '1' : '1.0', 2],
        ['+Inf', 5],
      ],
    );
    assert.equal(buckets[0]?.labels.exported_le, 'mine');
    assert.equal(samples.find(({ name }) => name === 'wait_seconds_sum')?.value, 12.5);
    assert.equal(samples.find(({ name }) => name === 'wait_seconds_count')?.value, 5);
  }
});

test('OpenMetrics names counters without _total, knows units and info', () => {
  const body = renderPrometheus([family({ name: 'io', unit: 'By' })], 'openmetrics').body;
  assert.ok(body.includes('# TYPE io_bytes counter\n# UNIT io_bytes bytes\nio_bytes_total{'));
  assert.ok(body.includes('# TYPE target info\n'));
  assert.ok(body.endsWith('# EOF\n'));
  assert.equal(renderPrometheus([], 'openmetrics').body, '# EOF\n');
  assert.equal(renderPrometheus([], 'text').body, '');
});

test('any text survives in labels, and never breaks a line', () => {
  const text = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('a"b', 'a\\', '\n', '\\n', 'a\\"\n', '# EOF', '"} 1\nfake 2'),
  );
  const attributes = fc.uniqueArray(fc.tuple(fc.string(), fc.oneof(text, fc.integer(), fc.boolean())), {
    selector: ([key]) => labelName(key),
    maxLength: 5,
  });
  fc.assert(
    fc.property(
      text,
      text,
      attributes,
      fc.constantFrom('text' as const, 'openmetrics' as const),
      (name, description, pairs, format) => {
        const of = { ...service(), name };
        const { samples } = render([family({ description, points: [point(1, pairs, of)] })], format);
        const sample = samples.find(each => each.name === 'a_b_total');
        assert.equal(sample?.labels.job, name);
        for (const [key, value] of pairs) {
          const clean = labelName(key);
          const label = ['job', 'instance', 'le'].includes(clean) ? `exported_${clean}` : clean;
          assert.equal(sample?.labels[label], typeof value === 'string' ? value : JSON.stringify(value));
        }
      },
    ),
  );
});

test('keys that become the same label share it, in the order of the keys', () => {
  const { samples } = render([
    family({
      points: [
        point(1, [
          ['a_b', 'y'],
          ['a.b', 'x'],
        ]),
      ],
    }),
  ]);
  assert.equal(samples[0]?.labels.a_b, 'x;y');
});

test('equal series of one instance are added up instead of spoiling the scrape', () => {
  const twin = { ...service(), id: 77 };
  const value = { bounds: [1], counts: [1, 2], sum: 9, count: 3, min: 0.5, max: 5 };
  const families = [
    family({ points: [point(1), point(2, [], twin)] }),
    family({ name: 'h', type: 'histogram', points: [point(value), point(value, [], twin)] }),
  ];
  const { samples } = render(families);
  assert.equal(samples.find(({ name }) => name === 'a_b_total')?.value, 3);
  assert.equal(samples.find(({ name }) => name === 'h_count')?.value, 6);
  assert.equal(samples.find(({ name }) => name === 'h_sum')?.value, 18);
  assert.equal(samples.filter(({ name }) => name === 'target_info').length, 1);
});

test('a name taken by another type is left out and reported; the same type is one family', () => {
  const families = [
    family({ name: 'a.b', points: [point(1)] }),
    family({ name: 'a_b', type: 'gauge', points: [point(2)] }),
    family({ name: 'a-b', points: [point(3, [['x', 1]])] }),
  ];
  const page = renderPrometheus(families);
  assert.deepEqual(page.conflicts, ['a_b']);
  const { samples } = parse(page.body, 'text');
  assert.deepEqual(
    samples.filter(({ name }) => name.startsWith('a_b')).map(({ value }) => value),
    [1, 3],
  );
  const value = { bounds: [1], counts: [1, 2], sum: 9, count: 3, min: 0.5, max: 5 };
  const unlike = renderPrometheus([
    family({ name: 'h', type: 'histogram', points: [point(value), point({ ...value, bounds: [2] })] }),
  ]);
  assert.deepEqual(unlike.conflicts, ['h']);
});

test('numbers without end are written as Prometheus reads them', () => {
  const families = [
    family({
      type: 'gauge',
      points: [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN].map((value, i) =>
        point(value, [['i', i]], null),
      ),
    }),
  ];
  assert.deepEqual(
    renderPrometheus(families)
      .body.split('\n')
      .filter(line => line.startsWith('a_b{')),
    ['a_b{i="0"} +Inf', 'a_b{i="1"} -Inf', 'a_b{i="2"} NaN'],
  );
});

test('the format follows the accept header', () => {
  assert.equal(negotiateFormat(undefined), 'text');
  assert.equal(negotiateFormat('*/*'), 'text');
  assert.equal(negotiateFormat('text/plain;version=0.0.4'), 'text');
  assert.equal(negotiateFormat('application/openmetrics-text; version=1.0.0'), 'openmetrics');
  // As Prometheus 2.42 and 3 ask.
  assert.equal(
    negotiateFormat(
      'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
    ),
    'openmetrics',
  );
  assert.equal(negotiateFormat('application/openmetrics-text;version=1.0.0;q=0.2,text/plain;q=0.5'), 'text');
  assert.equal(negotiateFormat('application/openmetrics-text;version=2.0.0'), 'text');
  assert.equal(negotiateFormat('application/openmetrics-text;q=0'), 'text');
  assert.equal(renderPrometheus([]).contentType, 'text/plain; version=0.0.4; charset=utf-8');
});

test('what Metrics gives is a valid page in both formats', () => {
  const metrics = new Metrics({ startNs: 1 });
  metrics.recordExchange(serverExchange({ opening: opening({ acceptWaitSeconds: 0.1 }) }), '/users/{id}');
  metrics.recordExchange(clientExchange({ errorType: 'ECONNRESET', status: 0 }), '');
  metrics.requestStarted(serverExchange());
  metrics.connectionOpened(service(), 'server');
  metrics.connectionClosed(service(), 'server', 10, 20);
  metrics.connect(service(), 0.001, 'ECONNREFUSED');
  const families = metrics.snapshot(2);
  assert.deepEqual(families.map(({ name }) => name).sort(), [
    'http.client.request.body.size',
    'http.client.request.duration',
    'http.server.active_requests',
    'http.server.request.body.size',
    'http.server.request.duration',
    'http.server.response.body.size',
    'underspan.accept.wait',
    'underspan.connect.duration',
    'underspan.connect.failures',
    'underspan.connection.closed',
    'underspan.connection.open',
    'underspan.connection.opened',
    'underspan.io.bytes',
    'underspan.measurements.dropped',
    'underspan.measurements.overflowed',
    'underspan.receive.wait',
  ]);
  for (const format of ['text', 'openmetrics'] as const) {
    const { samples } = render(families, format);
    const count = samples.find(({ name }) => name === 'http_server_request_duration_seconds_count');
    assert.deepEqual(count?.labels, {
      job: 'shop',
      instance: 'instance-1',
      http_request_method: 'GET',
      http_response_status_code: '200',
      http_route: '/users/{id}',
      network_protocol_version: '1.1',
      url_scheme: 'http',
    });
    assert.equal(samples.find(({ name }) => name === 'underspan_connect_failures_total')?.value, 1);
  }
});
