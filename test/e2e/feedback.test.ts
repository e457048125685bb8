// No feedback: the agent's export, everybody's OTLP and the agent's admin page make no spans, whatever is selected.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { collectSpans, get, startAgent } from '../support/agent.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { Child, runCommand } from '../support/processes.js';
import { startNodeServer } from '../support/servers.js';
import { describe, number, pathOfSpan, pidOf } from '../support/spans.js';

/** A stranger that exports OTLP by itself, five times over one connection, to argument 1. */
const STRANGER = `
for (let n = 0; n < 5; n++) {
  const answer = await fetch(process.argv[1] + '/v1/traces', {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: new Uint8Array(0),
  });
  await answer.arrayBuffer();
  console.log(answer.status);
}
`;

for (const protocol of ['http/protobuf', 'http/json', 'grpc'] as const) {
  test(`exporting by ${protocol} to a receiver on the same host makes no spans`, async () => {
    const receiver = await startOtlpReceiver({ grpc: true, http: true });
    const server = await startNodeServer();
    const endpoint = protocol === 'grpc' ? receiver.grpcUrl : receiver.httpUrl;
    const metrics = { OTEL_METRICS_EXPORTER: 'otlp,prometheus', OTEL_METRIC_EXPORT_INTERVAL: '300' };
    const agent = await startAgent({ endpoint, protocol, env: metrics });
    try {
      for (let index = 0; index < 10; index++) {
        const child = await runCommand('curl', ['--silent', '--fail', `${server.url}/bytes/1/${index}`]);
        assert.equal(child.exitCode, 0, child.describe());
        assert.equal((await get(`${agent.adminUrl}/metrics`)).status, 200);
        const scrape = await runCommand('curl', ['--silent', '--fail', `${agent.adminUrl}/healthz`]);
        assert.equal(scrape.exitCode, 0, scrape.describe());
      }
      const stranger = new Child(process.execPath, ['--input-type=module', '--eval', STRANGER, receiver.httpUrl]);
      await stranger.finished(10_000);
      assert.equal(stranger.stdout, '200\n'.repeat(5), stranger.describe());
      const traffic = await collectSpans(receiver, span => pathOfSpan(span).startsWith('/bytes/1/'), 20);
      assert.equal(traffic.length, 20, 'the real requests are seen, on both sides');
      // Exports of exports would keep coming, each with the next.
      await sleep(800);
      const isFeedback = (path: string) => /^\/(v1\/|metrics|readyz|healthz|opentelemetry)/.test(path);
      const ours = new Set([agent.adminUrl, receiver.httpUrl, receiver.grpcUrl].map(url => Number(new URL(url).port)));
      const feedback = receiver
        .spans()
        .filter(
          span => pidOf(span) === agent.pid || (ours.has(number(span, 'server.port')) && isFeedback(pathOfSpan(span))),
        );
      assert.deepEqual(feedback.map(describe), []);
      // The metrics of the observed processes know nothing of it either: the test process served OTLP only.
      const { body } = await get(`${agent.adminUrl}/metrics`);
      const lines = body
        .split('\n')
        .filter(line => line.startsWith('http_') && /\/v1\/(traces|metrics)|\/readyz/.test(line));
      assert.deepEqual(lines, []);
      await agent.stop();
    } finally {
      await agent.child.stop(1000, 'SIGKILL');
      await server.stop();
      await receiver.close();
    }
  });
}
