// `npm run test:backends`: the agent traces real traffic into the real Collector, Jaeger, Prometheus and, if a
// checkout of it is named, Tempo, which are then asked as their users ask them. The tests of one that cannot be had fail and say why; those of
// the others stand: without a Collector, the agent speaks to Jaeger itself. Truth is what an in-process receiver, the second destination of
// the same agent, decoded. The backends must have nothing to complain of in their logs.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Agent, get, startAgent } from '../support/agent.js';
import { ask, jaegerTrace, query, type StoredSpan, tempoTrace } from '../support/backend-queries.js';
import { BACKENDS, type BackendName, type Backends, startBackends } from '../support/backend-stage.js';
import { hasTempo } from '../support/backends.js';
import { Load } from '../support/load-client.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { freePort, runCommand, temporaryDirectory, until } from '../support/processes.js';
import { type Server, startNodeProxy, startNodeServer } from '../support/servers.js';
import { CLIENT, type DecodedSpan, SERVER, serviceOf, statusOf, text } from '../support/spans.js';

const SETTLE_MS = 60_000;

let backends: Backends;
let receiver: OtlpReceiver;
let server: Server;
let proxy: Server;
let agent: Agent;
const startUnixS = Math.floor(Date.now() / 1000) - 60;

before(
  async () => {
    const agentPort = await freePort();
    backends = await startBackends(`127.0.0.1:${agentPort}`);
    receiver = await startOtlpReceiver({ grpc: true });
    server = await startNodeServer({ env: { OTEL_SERVICE_NAME: 'stock' } });
    proxy = await startNodeProxy(server.port);
    const nobody = await freePort();
    const ports = [server.port, proxy.port];
    // Jaeger takes no metrics.
    const metricsExporters = backends.children.collector === undefined ? 'prometheus' : 'otlp,prometheus';
    agent = await startAgent({
      adminPort: agentPort,
      endpoint: backends.otlpUrl === '' ? receiver.grpcUrl : backends.otlpUrl,
      config: `
selection:
  include: [{ listen_port: ${JSON.stringify(ports)} }, { peer_port: ${JSON.stringify([...ports, nobody])} }]
${backends.otlpUrl === '' ? '' : `otlp: { also: [{ endpoint: '${receiver.grpcUrl}' }] }`}
metrics: { exporters: [${metricsExporters}], interval_ms: 1000 }
resource: { service_names: [{ name: gateway, match: { listen_port: ${proxy.port} } }] }
`,
      env: {
        OTEL_METRICS_EXPORTER: metricsExporters,
        UNDERSPAN_QUEUE_ENABLED: 'true',
        UNDERSPAN_QUEUE_DIR: temporaryDirectory('queue'),
      },
    });
    // Long enough for rates to be seen over several scrapes.
    for (let round = 0; round < 6; round++) {
      const load = { profile: server.profile, connections: 4, requests: 60, seed: 9 + round, pauseMs: 50 };
      await Promise.all([
        new Load({ ...proxy.target, ...load, firstNumber: round * 1000 }).result(),
        new Load({ ...server.target, ...load, firstNumber: round * 1000 + 500 }).result(),
      ]);
      await runCommand('curl', ['-s', '-m', '2', `http://127.0.0.1:${nobody}/`]);
    }
    await sleep(3000);
  },
  { timeout: 3 * 3_600_000 },
);

after(async () => {
  try {
    await agent?.stop();
  } finally {
    await Promise.all([proxy?.stop(), server?.stop(), receiver?.close(), backends?.stop()]);
  }
});

/** The spans that the second destination got, by trace. */
function truth(): Map<string, DecodedSpan[]> {
  const traces = new Map<string, DecodedSpan[]>();
  for (const span of receiver.spans()) {
    const known = traces.get(span.traceId);
    if (known === undefined) traces.set(span.traceId, [span]);
    else known.push(span);
  }
  return traces;
}

function comparable(span: DecodedSpan): StoredSpan {
  return {
    spanId: span.spanId,
    parentSpanId: span.parentSpanId,
    name: span.name,
    startUnixNs: span.startUnixNs,
    endUnixNs: span.endUnixNs,
    attributes: span.attributes.size,
  };
}

const byId = (a: StoredSpan, b: StoredSpan): number => (a.spanId < b.spanId ? -1 : 1);

/** Every trace is there, with the spans, parents and times of the truth to the nanosecond. */
async function assertTraces(name: string, load: (traceId: string) => Promise<StoredSpan[] | null>): Promise<number> {
  const traces = truth();
  assert.ok(traces.size >= 300, `${traces.size} traces`);
  for (const [traceId, spans] of traces) {
    const stored = await until(
      `${name} to have ${traceId}`,
      SETTLE_MS,
      async () => {
        const found = await load(traceId);
        return found !== null && found.length >= spans.length ? found : null;
      },
      250,
    );
    assert.deepEqual(stored.sort(byId), spans.map(comparable).sort(byId));
  }
  return traces.size;
}

test('the agent traced what is asked for below', () => {
  const spans = receiver.spans();
  assert.ok(spans.filter(span => span.kind === SERVER).length >= 720);
  assert.ok(spans.some(span => serviceOf(span) === 'gateway' && span.kind === CLIENT));
  assert.ok(spans.some(span => span.parentSpanId !== ''));
  assert.ok(
    spans.some(span => statusOf(span) >= 500) && spans.some(span => text(span, 'error.type') === 'ECONNREFUSED'),
  );
});

test('Jaeger: every trace, with parents and times intact', async t => {
  backends.need('jaeger');
  t.diagnostic(`${await assertTraces('Jaeger', id => jaegerTrace(backends.jaegerUrl, id))} traces`);
});

test('Jaeger: nothing is wrong with any span', async () => {
  backends.need('jaeger');
  const { data } = await ask<{ data: { spans: { spanID: string; warnings: string[] | null }[] }[] }>(
    `${backends.jaegerUrl}/api/traces?service=stock&limit=2000&lookback=1h`,
  );
  assert.ok(data.length > 100);
  const warned = data.flatMap(({ spans }) => spans.filter(({ warnings }) => (warnings ?? []).length > 0));
  assert.deepEqual(warned, []);
});

test('Jaeger: spans are found by their attributes', async () => {
  backends.need('jaeger');
  const wanted = receiver.spans().filter(span => serviceOf(span) === 'stock' && statusOf(span) >= 500);
  const status = statusOf(wanted[0] as DecodedSpan);
  const traceIds = new Set(wanted.filter(span => statusOf(span) === status).map(span => span.traceId));
  const tags = encodeURIComponent(JSON.stringify({ 'http.response.status_code': String(status) }));
  const { data } = await ask<{ data: { traceID: string }[] }>(
    `${backends.jaegerUrl}/api/traces?service=stock&tags=${tags}&limit=2000&lookback=1h`,
  );
  assert.deepEqual(data.map(trace => trace.traceID).sort(), [...traceIds].sort());
});

test('Jaeger: the graph of services has each call between them, once', async () => {
  backends.need('jaeger');
  const { data } = await ask<{ data: { parent: string; child: string; callCount: number }[] }>(
    `${backends.jaegerUrl}/api/dependencies?endTs=${Date.now() + 60_000}&lookback=3600000`,
  );
  const calls = new Map<string, number>();
  for (const spans of truth().values()) {
    for (const span of spans) {
      const parent = spans.find(({ spanId }) => spanId === span.parentSpanId);
      if (parent === undefined || serviceOf(parent) === serviceOf(span)) continue;
      const key = `${serviceOf(parent)} -> ${serviceOf(span)}`;
      calls.set(key, (calls.get(key) ?? 0) + 1);
    }
  }
  assert.ok(calls.has('gateway -> stock'), JSON.stringify([...calls]));
  // Steps inside a service are edges too, from it to itself.
  const between = data.filter(({ parent, child }) => parent !== child);
  assert.deepEqual(
    new Map(between.map(({ parent, child, callCount }) => [`${parent} -> ${child}`, callCount] as const).sort()),
    new Map([...calls].sort()),
  );
});

async function assertTempo(): Promise<void> {
  backends.need('tempo');
  const { tempoUrl, prometheusUrl } = backends;
  await assertTraces('Tempo', id => tempoTrace(tempoUrl, id));
  const search = async (traceql: string): Promise<string[]> => {
    const range = `start=${startUnixS}&end=${Math.ceil(Date.now() / 1000) + 60}&limit=5000`;
    const { traces = [] } = await ask<{ traces?: { traceID: string }[] }>(
      `${tempoUrl}/api/search?q=${encodeURIComponent(traceql)}&${range}`,
    );
    return traces.map(({ traceID }) => traceID.padStart(32, '0')).sort();
  };
  const idsOf = (wanted: (span: DecodedSpan) => boolean): string[] =>
    [
      ...new Set(
        receiver
          .spans()
          .filter(wanted)
          .map(span => span.traceId),
      ),
    ].sort();
  for (const [traceql, wanted] of [
    ['{ resource.service.name = "gateway" && kind = client }', s => serviceOf(s) === 'gateway' && s.kind === CLIENT],
    ['{ span.http.response.status_code >= 500 }', s => statusOf(s) >= 500],
    ['{ span.error.type = "ECONNREFUSED" }', s => text(s, 'error.type') === 'ECONNREFUSED'],
    [
      '{ resource.service.name = "gateway" } >> { resource.service.name = "stock" }',
      s => serviceOf(s) === 'stock' && idsOf(o => serviceOf(o) === 'gateway' && o.kind === CLIENT).includes(s.traceId),
    ],
  ] as [string, (span: DecodedSpan) => boolean][]) {
    const expected = idsOf(wanted);
    assert.ok(expected.length > 0, traceql);
    await until(`Tempo to find ${expected.length} for ${traceql}`, SETTLE_MS, async () =>
      (await search(traceql)).length === expected.length ? true : null,
    );
    assert.deepEqual(await search(traceql), expected, traceql);
  }
  const [edge] = await until(
    'the graph of services',
    SETTLE_MS,
    async () => {
      const found = await query(prometheusUrl, 'traces_service_graph_request_total{client="gateway",server="stock"}');
      return found.length > 0 ? found : null;
    },
    500,
  );
  assert.ok((edge?.value ?? 0) > 0);
}

if (hasTempo) test('Tempo: every trace, searched by TraceQL, and its graph of services', assertTempo);
else console.log('Tempo is not among the backends: UNDERSPAN_TEMPO_SOURCE=FOLDER names a checkout to build it from');

test('the Collector: as many calls in its span metrics as spans', async () => {
  backends.need('collector');
  const spans = receiver.spans();
  const counted = async () => {
    const samples = await query(backends.prometheusUrl, 'sum by (service_name) ({__name__=~".*calls_total"})');
    return new Map(samples.map(({ metric, value }) => [metric.service_name ?? metric.job ?? '', value]));
  };
  const expected = spans.filter(span => serviceOf(span) === 'stock').length;
  await until(
    `${expected} calls of stock`,
    SETTLE_MS,
    async () => ((await counted()).get('stock') === expected ? true : null),
    500,
  ).catch(async error => {
    throw new Error(`${String(error)}: ${JSON.stringify([...(await counted())])}`);
  });
});

/** Prometheus must count each request that was served, scraped from the agent (`via`) or brought by the Collector. */
async function assertServed(via: 'agent' | ''): Promise<void> {
  const served = receiver.spans().filter(span => serviceOf(span) === 'stock' && span.kind === SERVER).length;
  const expression = `sum(http_server_request_duration_seconds_count{job="stock",via="${via}"})`;
  let last: number | undefined;
  await until(
    `${served} requests`,
    SETTLE_MS,
    async () => {
      last = (await query(backends.prometheusUrl, expression))[0]?.value;
      return last === served ? true : null;
    },
    500,
  ).catch(error => {
    throw new Error(`${(error as Error).message}, ${last} are counted`);
  });
}

test('Prometheus: all scrapes succeed, and each request is counted on the page of the agent', async () => {
  const targets = await ask<{ data: { activeTargets: { scrapePool: string; health: string; lastError: string }[] } }>(
    `${backends.prometheusUrl}/api/v1/targets`,
  );
  assert.deepEqual(
    targets.data.activeTargets
      .map(({ scrapePool, health, lastError }) => `${scrapePool} ${health} ${lastError}`.trim())
      .sort(),
    backends.children.collector === undefined ? ['agent up'] : ['agent up', 'collector up', 'services up'],
  );
  await assertServed('agent');
});

test('the Collector: Prometheus has each request from it too', async () => {
  backends.need('collector');
  await assertServed('');
});

test('promtool finds nothing to complain of in /metrics and in the configuration', async () => {
  const file = path.join(temporaryDirectory('promtool'), 'metrics.txt');
  writeFileSync(file, (await get(`${agent.adminUrl}/metrics`)).body);
  const checked = await runCommand('sh', ['-c', `promtool check metrics < ${file}`]);
  assert.equal(checked.exitCode, 0, checked.describe());
  assert.equal(checked.stdout + checked.stderr, '');
  const config = await runCommand('promtool', ['check', 'config', 'docker/prometheus.yaml']);
  assert.equal(config.exitCode, 0, config.describe());
});

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string }[];
}

test('dashboards: every query of every panel finds data', async t => {
  const folder = 'docker/grafana/dashboards';
  let checked = 0;
  const empty: string[] = [];
  for (const file of readdirSync(folder)) {
    const { panels, templating } = JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as {
      panels: Panel[];
      templating: { list: { name: string; definition: string }[] };
    };
    for (const { definition } of templating.list) {
      const [, metric = '', label = ''] = /^label_values\((\w+), (\w+)\)$/.exec(definition) ?? [];
      assert.ok((await query(backends.prometheusUrl, `group by (${label}) (${metric})`)).length > 0, definition);
    }
    for (const { title, targets = [] } of panels) {
      for (const { expr } of targets) {
        const filled = expr.replace(/\$(service|agent)\b/g, '.+').replaceAll('$__rate_interval', '2m');
        assert.doesNotMatch(filled, /\$/, `${file}: ${title}`);
        checked++;
        if ((await query(backends.prometheusUrl, filled)).length === 0) empty.push(`${file}: ${title}: ${expr}`);
      }
    }
  }
  t.diagnostic(`${checked} queries`);
  assert.ok(checked > 30);
  assert.deepEqual(empty, []);
});

/** What the backends say at every start, about themselves. */
const HARMLESS: Readonly<Record<BackendName, readonly RegExp[]>> = {
  jaeger: [/ui assets not embedded/i],
  tempo: [],
  collector: [],
  prometheus: [],
};

for (const name of BACKENDS) {
  if (name === 'tempo' && !hasTempo) continue;
  test(`${name}: nothing to warn of in its log`, () => {
    backends.need(name);
    const { stdout = '', stderr = '' } = backends.children[name] ?? {};
    const complaints = `${stdout}\n${stderr}`
      .split('\n')
      .filter(line => /\b(warn|warning|error|panic)\b/i.test(line.slice(0, 120)))
      .filter(line => !HARMLESS[name].some(pattern => pattern.test(line)));
    assert.deepEqual(complaints, []);
  });
}
