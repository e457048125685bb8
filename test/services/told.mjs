// A service in the middle of a chain that OpenTelemetry's SDK tells of: a SERVER span for each request, in the trace of its
// `traceparent` if it has one, and a CLIENT span for the call that it makes then, whose header it writes. Exported by OTLP.
// Usage: node told.mjs ADDRESS PORT NEXT-URL OTLP-URL
import http from 'node:http';
import { ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';

const [address, port, next, otlp] = process.argv.slice(2);
const exporter = {
  export(spans, done) {
    const headers = { 'content-type': 'application/x-protobuf' };
    const request = http.request(`${otlp}/v1/traces`, { method: 'POST', headers }, response => {
      response.resume().on('end', () => done({ code: response.statusCode === 200 ? 0 : 1 }));
    });
    request.on('error', error => done({ code: 1, error }));
    request.end(ProtobufTraceSerializer.serializeRequest(spans));
  },
  shutdown: () => Promise.resolve(),
};
const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({ 'service.name': 'told' }),
  spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 100, maxQueueSize: 65536 })],
});
const tracer = provider.getTracer('told');
const propagator = new W3CTraceContextPropagator();
const getter = { get: (carrier, key) => carrier[key], keys: Object.keys };
const setter = {
  set: (carrier, key, value) => {
    carrier[key] = value;
  },
};
const agent = new http.Agent({ keepAlive: true });

function spanOf(kind, path, parent) {
  return tracer.startSpan('GET', { kind, attributes: { 'url.path': path } }, parent);
}

http
  .createServer((request, response) => {
    const incoming = propagator.extract(ROOT_CONTEXT, request.headers, getter);
    const served = spanOf(SpanKind.SERVER, request.url, incoming);
    const called = spanOf(SpanKind.CLIENT, request.url, trace.setSpan(incoming, served));
    const headers = {};
    propagator.inject(trace.setSpan(ROOT_CONTEXT, called), headers, setter);
    http.get(`${next}${request.url}`, { agent, headers }, answer => {
      answer.resume().on('end', () => {
        called.end();
        response.end('done\n');
        served.end();
      });
    });
  })
  .listen(Number(port), address, () => console.log('ready'));
process.on('SIGTERM', () => process.exit(0));
