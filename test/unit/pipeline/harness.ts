// A whole pipeline for a test: real process table (over recorded facts), metrics, routes and sampler; the kernel is a
// tape of records. Out: decoded spans, verdicts, and the books, which have to balance at the end of every test.
import assert from 'node:assert/strict';
import { NO_HOST } from '../../../src/enrichment/host.js';
import { ProcessTable } from '../../../src/enrichment/process.js';
import { RecordedSource, unknownFacts } from '../../../src/enrichment/process-facts.js';
import { RouteTable } from '../../../src/enrichment/route.js';
import { type DecodedSpan, decodeTraces } from '../../../src/otlp/decode.js';
import { type ClosedConnection, Pipeline, type PipelineOptions } from '../../../src/pipeline.js';
import { ROLE_CLIENT } from '../../../src/records/records.gen.js';
import type { MetricFamily } from '../../../src/signals/metric-model.js';
import { Metrics } from '../../../src/signals/metrics.js';
import { Sampler } from '../../../src/traces/sampler.js';
import { Sampling } from '../../../src/traces/sampling.js';
import { MS, Story, type StoryOptions, Tape } from '../../support/record-builder.js';

/** Longer than a server's span waits for its client: so much later `play` looks at the clock. */
export const HOLD_NS = 100 * MS;

export class Harness {
  readonly tape = new Tape();
  readonly pipeline: Pipeline;
  readonly metrics = new Metrics({ startNs: 1 });
  readonly verdicts: { readonly slot: number; readonly generation: number; readonly verdict: number }[] = [];
  readonly evicted: { readonly slot: number; readonly generation: number }[] = [];
  readonly processes: string[] = [];
  readonly closed: ClosedConnection[] = [];
  readonly instrumented: string[] = [];
  /** Spans of exchanges and of connects, as they left. */
  readonly spans: DecodedSpan[] = [];

  constructor(options: Partial<PipelineOptions> = {}) {
    const source = new RecordedSource();
    source.add({ ...unknownFacts(100), exeName: 'shop', program: 'shop' });
    source.add({ ...unknownFacts(200), exeName: 'buyer', program: 'buyer' });
    source.add({ ...unknownFacts(300), exeName: 'dotnet', program: 'till.dll', language: 'dotnet' });
    source.add({ ...unknownFacts(400), exeName: 'php-fpm8.2', program: 'php-fpm' });
    const routes = new RouteTable();
    this.pipeline = new Pipeline({
      processes: new ProcessTable({
        source,
        rules: [],
        host: NO_HOST,
        version: '0',
        attributes: [],
        keepArgs: false,
        onForget: service => {
          this.metrics.forgetService(service.id);
          routes.forget(service.id);
        },
      }),
      routes,
      metrics: this.metrics,
      sampling: new Sampling(new Sampler('parentbased_always_on', 1)),
      tail: null,
      traceLimits: { maxRequests: 1e9, maxAgeNs: 1e18 },
      skipsInstrumented: true,
      onInstrumented: ({ name }, what) => this.instrumented.push(what === 'all' ? name : `${name}: ${what}`),
      joinWaitNs: 0,
      headBytes: 4096,
      maxExchanges: 10_000,
      responseTimeoutNs: 600e9,
      hasConnectSpans: true,
      knownMethods: [],
      captureQuery: false,
      wantsSpans: true,
      maxRequestSpans: 512,
      maxBufferedBytes: 8 << 20,
      scopeVersion: '0',
      ownPeers: [],
      isSelected: () => true,
      setVerdict: (slot, generation, verdict) => this.verdicts.push({ slot, generation, verdict }),
      evict: (slot, generation) => this.evicted.push({ slot, generation }),
      onProcess: (kind, pid, parentPid) => this.processes.push(`${kind} ${pid} ${parentPid}`),
      onClosedConnection: closed => this.closed.push(closed),
      ...options,
    });
  }

  server(options: StoryOptions = {}): Story {
    return new Story(this.tape, options);
  }

  client(options: StoryOptions = {}): Story {
    return new Story(this.tape, { role: ROLE_CLIENT, ...options });
  }

  /** Plays what was told so far; the spans that are ready, the oldest first. */
  play(batchRecords?: number): DecodedSpan[] {
    this.tape.play(this.pipeline, batchRecords);
    this.pipeline.tick(this.tape.nowNs + HOLD_NS);
    // What timed out just then waits for its client, too.
    this.pipeline.tick(this.tape.nowNs + 2 * HOLD_NS);
    return this.#take(this.pipeline.flush());
  }

  /** Ends the input; all spans of the test. Whatever began has ended in one way. */
  finish(batchRecords?: number): DecodedSpan[] {
    this.play(batchRecords);
    this.#take(this.pipeline.finish());
    this.assertBalanced();
    assert.equal(this.pipeline.activeExchanges, 0, 'exchanges under way at the end');
    assert.equal(this.pipeline.ledger.open, 0, 'exchanges that neither left nor were counted');
    assert.equal(this.activeRequests(), 0, 'active requests at the end');
    return this.spans;
  }

  /** What the ledger says is open is under way (or held for its client, which play lets go of). */
  assertBalanced(): void {
    const { ledger, activeExchanges } = this.pipeline;
    const drops = Object.values(ledger.dropped).reduce((sum, count) => sum + count, 0);
    assert.equal(ledger.started, ledger.spans + drops + activeExchanges, 'the books do not balance');
    assert.equal(this.exchangeSpans().length, ledger.spans, 'spans counted and spans written');
    const active = this.activeRequests();
    assert.ok(active >= 0 && active <= activeExchanges, `${active} active requests of ${activeExchanges} exchanges`);
  }

  activeRequests(): number {
    return this.pointSum('http.server.active_requests') + this.pointSum('http.client.active_requests');
  }

  exchangeSpans(): DecodedSpan[] {
    return this.spans.filter(span => span.kind !== 1);
  }

  families(): MetricFamily[] {
    return this.metrics.snapshot(this.tape.nowNs);
  }

  /** Sum of all points of a family of numbers. */
  pointSum(name: string): number {
    const family = this.families().find(candidate => candidate.name === name);
    return (family?.points ?? []).reduce((sum, point) => sum + (point.value as number), 0);
  }

  /** The reasons and numbers of what was dropped, zeros left out. */
  drops(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.pipeline.ledger.dropped).filter(([, count]) => count > 0));
  }

  #take(requests: readonly { readonly bytes: Uint8Array }[]): DecodedSpan[] {
    const spans = requests.flatMap(({ bytes }) => decodeTraces(bytes));
    this.spans.push(...spans);
    return spans;
  }
}

export function attribute(span: DecodedSpan | undefined, key: string): unknown {
  return span?.attributes.get(key);
}

/** A phase in whole nanoseconds; undefined if the span does not have it. */
export function phaseNs(span: DecodedSpan | undefined, name: string): number | undefined {
  const seconds = span?.attributes.get(`underspan.${name}`);
  return typeof seconds === 'number' ? Math.round(seconds * 1e9) : undefined;
}

/** `GET /a 200`, with the error type behind it if there is one: a span in one line. */
export function line(span: DecodedSpan): string {
  const parts = ['http.request.method', 'url.path', 'http.response.status_code', 'error.type'];
  return parts
    .map(key => span.attributes.get(key))
    .filter(value => value !== undefined)
    .join(' ');
}
