// Metrics against the access log: every request is counted once, by method and status, in OTLP and on /metrics, also when
// no span of it is exported.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DecodedMetric } from '../../src/otlp/decoded.js';
import { get, startAgent } from '../support/agent.js';
import { runLoad } from '../support/load-client.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { startNodeServer } from '../support/servers.js';

const REQUESTS = 1000;

/** Requests by method and status, `_OTHER` for methods that the conventions do not know. */
function countsOf(entries: readonly { method: string; status: number }[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { method, status } of entries) {
    const known = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].includes(method) ? method : '_OTHER';
    const key = `${known} ${status}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return sorted(counts);
}

function sorted(counts: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => a.localeCompare(b)));
}

/** The newest export of a histogram of one process, as counts by method and status. */
function histogramCounts(metrics: readonly DecodedMetric[], name: string, pid: number): Record<string, number> {
  const newest = metrics
    .filter(metric => metric.name === name && metric.resource.attributes.get('process.pid') === pid)
    .at(-1);
  const counts: Record<string, number> = {};
  for (const point of newest?.points ?? []) {
    const key = `${String(point.attributes.get('http.request.method'))} ${String(point.attributes.get('http.response.status_code'))}`;
    assert.equal(typeof point.value, 'object', `${name} is a histogram`);
    const { count } = point.value as { count: bigint | number };
    counts[key] = (counts[key] ?? 0) + Number(count);
  }
  return sorted(counts);
}

test('request metrics equal the access log, whatever the sampling', async t => {
  const receiver = await startOtlpReceiver({ grpc: true, http: false });
  const server = await startNodeServer();
  try {
    const agent = await startAgent({
      endpoint: receiver.grpcUrl,
      env: {
        OTEL_METRICS_EXPORTER: 'otlp,prometheus',
        OTEL_METRIC_EXPORT_INTERVAL: '500',
        OTEL_TRACES_SAMPLER: 'traceidratio',
        OTEL_TRACES_SAMPLER_ARG: '0.1',
      },
    });
    const options = { profile: server.profile, seed: 11, connections: 10, requests: REQUESTS, areUploadsEchoed: true };
    const { summary, entries } = await runLoad({ ...server.target, ...options });
    assert.equal(summary.failed, 0, summary.firstErrors.join('\n'));
    const log = await server.accessLog(REQUESTS);
    await sleep(1500);
    const { body } = await get(`${agent.adminUrl}/metrics`);
    await agent.stop();

    await t.test('http.server.request.duration', () => {
      const counts = histogramCounts(receiver.metrics(), 'http.server.request.duration', server.child.pid);
      assert.deepEqual(counts, countsOf(log));
    });
    await t.test('http.client.request.duration', () => {
      const clients = receiver.metrics().filter(metric => metric.name === 'http.client.request.duration');
      const counts = clients.map(metric =>
        histogramCounts(clients, metric.name, Number(metric.resource.attributes.get('process.pid'))),
      );
      const expected = JSON.stringify(countsOf(entries));
      assert.ok(
        counts.some(count => JSON.stringify(count) === expected),
        `${expected} not in ${JSON.stringify(counts.at(-1))}`,
      );
    });
    await t.test('/metrics has the same counts', () => {
      const line = /^http_server_request_duration_seconds_count\{(.*)\} (\d+)$/gm;
      const instance = new RegExp(`^target_info\\{.*process_pid="${server.child.pid}".*$`, 'm').exec(body)?.[0] ?? '';
      const id = /instance="([^"]+)"/.exec(instance)?.[1];
      assert.ok(id !== undefined, 'target_info names the process');
      let total = 0;
      for (const [, labels = '', count] of body.matchAll(line))
        if (labels.includes(`instance="${id}"`)) total += Number(count);
      assert.equal(total, REQUESTS);
    });
    await t.test('about a tenth of the spans was exported', inner => {
      const spans = receiver
        .spans()
        .filter(span => span.kind === 2 && span.resource.attributes.get('process.pid') === server.child.pid);
      inner.diagnostic(`${spans.length} of ${REQUESTS} SERVER spans at a ratio of 0.1`);
      assert.ok(spans.length > 50 && spans.length < 170, `${spans.length} of ${REQUESTS}`);
    });
  } finally {
    await server.stop();
    await receiver.close();
  }
});
